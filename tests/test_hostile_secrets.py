"""Secrets that can be told by their form come out nowhere, wherever they come in."""

from __future__ import annotations

import functools
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import cli, examples, listening, raised_by
from hypothesis import example, given
from hypothesis import strategies as st

from retrywrap import Registry, RetryBudget, RetryExhausted, Verdict, configure, registry, retry_scope, with_retry
from retrywrap.classifiers.redact import safe_text
from retrywrap.errors import ConfigurationError, DeadlineExceeded
from retrywrap.testing import VirtualClock, reset

_ANY = "'\"@;:/?#+=%&!"
_IN_SINGLE, _IN_DOUBLE = _ANY.replace("'", ""), _ANY.replace('"', "")
_LISTED = _ANY.replace(";", "")  # which ends a value there
_QUERY, _COOKIE, _IN_MARKUP = "'@;:/?+=%!", "'@:/?#+=%&!", "'\"@;:/?#+=%!"
_TOKEN = "';+=%&!"
FORMS: dict[str, str] = {
    # URLs: who, and what is asked for
    "postgresql://backup:{}@db.example:5432/x": _ANY,
    "mysql+pymysql://root:{}@db/x?charset=utf8": _ANY,
    "redis://:{}@cache:6379/0": _ANY,
    "amqp://user:{}@mq:5672/%2f": _ANY,
    "mongodb+srv://u:{}@cluster0.example.net/?retryWrites=true": _ANY,
    "https://{}@github.com/a/b.git": _TOKEN,
    "https://{}:x@h/a": _TOKEN,
    "GET https://h/p?token={}&page=2": _QUERY,
    "https://account.blob.example/c?sv=1&sig={}": _QUERY,
    "https://s3.example/b/k?X-Amz-Date=1&X-Amz-Signature={}": _QUERY,
    "https://s3.example/b/k?X-Amz-Credential={}%2F2024": _QUERY,
    "https://s3.example/b/k?X-Amz-Security-Token={}": _QUERY,
    "https://h/cb#access_token={}&state=1": _QUERY,
    "https://h/?api_key={}": _QUERY,
    "https://h/?password%3D{}": _QUERY,
    "https://maps.example/?key=AIzaSy{}0123456789": "",
    # Headers
    "Authorization: Bearer {}": "+/",
    "Authorization: Basic {}": "+/",
    'got Bearer "{}0123456789"': "+/",
    "q=Bearer%20{}0123456789": "+/",
    "Proxy-Authorization: Basic {}": "+/",
    'authorization: Digest username="u", response="{}"': _IN_DOUBLE,
    "{{'Authorization': 'Bearer {}', 'Accept': '*/*'}}": "+/",
    "[(b'authorization', b'Bearer {}')]": "+/",
    "Cookie: sid={}; theme=dark": _COOKIE,
    "Set-Cookie: a=1; session={}; HttpOnly": _COOKIE,
    "X-Api-Key: {}": _ANY,
    "X-Auth-Token: {}": _ANY,
    # Connection strings
    "Server=db;Uid=sa;Pwd={};Encrypt=yes": _LISTED,
    "Driver={{ODBC 18}};Server=db;Pwd={{{} two}}": _ANY,
    "Server=db;Password={} two;Database=x": _LISTED,
    "Password={} two;Server=db": _LISTED,
    "host=db port=5432 user=u password={} dbname=x": _ANY,
    "password={} dbname=x": _ANY,
    "host=db password='{} two' dbname=x": _IN_SINGLE,
    "jdbc:mysql://h/db?user=u&password={}": _QUERY,
    "jdbc:sqlserver://h:1433;user=sa;password={};": _LISTED,
    "jdbc:oracle:thin:scott/{}@//h:1521/x": _ANY,
    "jdbc:oracle:oci:scott/{}@h:1521:x": _ANY,
    "user:{}@tcp(db:3306)/x": _ANY,
    "user:{}@unix(/run/db.sock)/x": _ANY,
    "user:{}@/x": "'@;?#+=%&!",
    "DefaultEndpointsProtocol=https;AccountKey={}==;EndpointSuffix=x": "+/=",
    "Endpoint=sb://h/;SharedAccessKey={}=": "+/=",
    # Keys of clouds and others
    "aws_secret_access_key = {}": "+/=",
    "export AWS_SECRET_ACCESS_KEY={}": "+/=",
    "aws_session_token={}": "+/=",
    "bad ghp_{}0123456789": "",
    "bad github_pat_{}0123456789": "",
    "bad glpat-{}0123456789": "",
    "bad xoxb-{}-0123456789": "",
    "bad sk-{}0123456789": "",
    "bad hvs.{}0123456789": "",
    "bad npm_{}0123456789": "",
    "bad pypi-{}0123456789": "",
    "bad SG.{}0123456789.{}0123456789": "",
    "STRIPE_KEY={}": _LISTED,
    "bad sk_live_{}0123456789": "",
    "jwt eyJhbGciOiJI{}.eyJzdWIi{}.c2ln": "",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----": "+/=",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n{}": "+/=",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{}\n-----END PGP PRIVATE KEY BLOCK-----": "+/=",
    # Assigned, in whatever notation
    "password={}": _LISTED,
    "passwd => {}": _ANY,
    "Password:             {}": _ANY,
    "{{'password': '{} two', 'x': 1}}": _IN_SINGLE,
    '{{"client_secret":"{}","e":1}}': _IN_DOUBLE,
    '{{\\"password\\": \\"{}\\"}}': _IN_DOUBLE,
    "{{'password': b'{}'}}": _IN_SINGLE,
    "{{'password': {{'value': '{}'}}}}": _IN_SINGLE,
    "passwords: ['x', '{}']": _IN_SINGLE,
    "<password>{}</password>": _IN_MARKUP,
    "secret_key = '{} two'": _IN_SINGLE,
    "auth=('root', '{}'), timeout=5": _IN_SINGLE,
    "{{'auth': ('root', '{}')}}": _IN_SINGLE,
    '{{"credentials": {{"kind": {{"t": 1}}, "value": "{}"}}}}': _IN_DOUBLE,
    "{{'tokens': [['a', 'x]'], ['b', '{}']]}}": _IN_SINGLE,
    "passwords: [[[[[['{}']]]]]]": _IN_SINGLE,
    "password == {}": _LISTED,
    "password := {}": _LISTED,
    "' password ==> {} '": _LISTED,
    '<password type="plain">{}</password>': _IN_MARKUP,
    "Array ( [password] => {} )": _ANY,
    "environ['DB_PASSWORD'] = '{}'": _IN_SINGLE,
    'config["password"]="{} two"': _IN_DOUBLE,
    "headers['X-Auth-Token'] = {}": _LISTED,
    "auth=(\n    'root',\n    '{}',\n)": _IN_SINGLE,
    "get(cookies={{'sid': '{}'}})": _IN_SINGLE,
    "<password>two {}</password>": _IN_MARKUP,
    "userPwd={}": _LISTED,
    '{{"apiKeyValue": "{}"}}': _IN_DOUBLE,
    "masterkey={}": _LISTED,
    "password[]={}&x=1": _QUERY,
    "password=(aB)c,{}": _LISTED,
    "password%22%3A%22{}%22": "",
    "password%3A%20{}": "",
    # Command lines and SQL
    "mysqldump --password {} db": _ANY,
    "tool --api-token={} x": _ANY,
    "['mysqldump', '--password', '{}', 'db']": _IN_SINGLE,
    "ALTER USER x PASSWORD '{}'": _IN_SINGLE,
    "CREATE USER x IDENTIFIED BY '{}'": _IN_SINGLE,
    "(1) x\n[parameters: {{'a': '{}'}}]\n(Background)": _IN_SINGLE,
    "ALTER USER 'u'@'%' IDENTIFIED WITH mysql_native_password BY '{}'": _IN_SINGLE,
    "CREATE USER u PASS '{}'": _IN_SINGLE,
    "UPDATE t SET `password`='{}'": _IN_SINGLE,
    "SET password = N'two {}'": _IN_SINGLE,
    "INSERT INTO users(id,password)VALUES(1,'{}')": _IN_SINGLE,
    "Duplicate entry '{}' for key 'users.api_token'": _ANY,
    "SET PASSWORD FOR 'u'@'h' = PASSWORD('{}')": _IN_SINGLE,
    "CREATE USER u PASSWORD E'{}'": _IN_SINGLE,
    "CREATE USER u PASSWORD $x${}$x$": _ANY,
    "INSERT INTO users (id, password) VALUES (1, '{}')": _IN_SINGLE,
    "DETAIL:  Key (id, api_token)=(1, {}) already exists.": _ANY,
    "DETAIL:  Failing row contains (1, {}).": _ANY,
}
"""Where a secret stands in texts of the kinds that redaction promises to know, and the marks that it may hold there."""

_WINDOW = 6  # so much of a secret tells it: five letters and marks of one may stand in a text by chance
_PART = st.from_regex(r"[A-Z][a-z][0-9][a-z]", fullmatch=True)


@st.composite
def _filled(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a form, and a secret with such marks between its letters as may stand there."""
    form = draw(st.sampled_from(sorted(FORMS)))
    marks = st.text(FORMS[form], max_size=2) if FORMS[form] else st.just("")
    pieces = draw(st.lists(st.tuples(marks, _PART), min_size=3, max_size=7, unique_by=lambda piece: piece[1]))
    return form, "".join(["Zq", *(mark + part for mark, part in pieces)])


AROUND = st.one_of(*[st.text(max_size=40)] * 9, st.text(max_size=8).map(lambda text: text * 700))
FILLED = _filled()


def is_shown(secret: str, text: str) -> bool:
    """Whether a secret, or any part of it that is long enough to tell, is in a text."""
    return any(secret[start : start + _WINDOW] in text for start in range(len(secret) - _WINDOW + 1))


@examples(80)
@given(AROUND, FILLED, AROUND)
@example("", ("postgresql://u:{}@h", "ZqAa0a'Bb1b@Cc2c/Dd3d"), "")
@example("'", ("passwd => {}", "ZqAa0aBb1bCc2c"), "'")
def test_no_form_is_shown_whatever_surrounds_it(before: str, filled: tuple[str, str], after: str) -> None:
    """A secret in any of the forms is masked in any text, also where the text is cut."""
    form, secret = filled
    text = f"{before} {form.replace('{}', secret).replace('{{', '{').replace('}}', '}')} {after}"
    assert not is_shown(secret, safe_text(text))


@pytest.mark.parametrize("form", FORMS)
def test_each_form_alone_is_masked(form: str) -> None:
    """And what stands there instead shows that something was."""
    text = form.format(*["ZqSecret0123456789"] * 2)
    assert "Secret" in text
    assert "Secret" not in safe_text(text)
    assert "***" in safe_text(text)


def _raise(error: BaseException) -> Any:
    raise error


def _fails(error: BaseException, **parameters: Any) -> object:
    """Run an operation that always raises this; return the error that comes out, with all its notes of ours."""
    return raised_by(with_retry(**{"max": 1, "interval": 1, **parameters})(_raise), error)


def _caused(text: str) -> Exception:
    error = ConnectionResetError("gone")
    error.__cause__ = error.__context__ = ConnectionRefusedError(text)
    error.add_note(text)
    return error


def _in_a_scope(text: str) -> object:
    with retry_scope(name=text, max=0, timeout=60):
        return _fails(ConnectionResetError("gone"))


def _too_late(text: str) -> object:
    scope = retry_scope(timeout=1, name="scope")
    with scope:
        from retrywrap.run import clock as clocks

        clocks.current().sleep(2, scope.link())
        late = raised_by(scope.call, functools.partial(_raise, text))
    assert type(late) is DeadlineExceeded
    return late


def _with_listener(text: str) -> object:
    from retrywrap import subscribe

    end = subscribe(functools.partial(lambda said, event: _raise(ValueError(said)), text))
    try:
        return _fails(ConnectionResetError("gone"))
    finally:
        end()


class _Budget(RetryBudget):
    def __init__(self, text: str) -> None:
        super().__init__(capacity=5, cost=5)
        self.text = text

    def withdraw(self, now: float, throttled: bool) -> float | None:
        raise ValueError(self.text)

    def __repr__(self) -> str:
        return f"<budget {self.text}>"


class _Waits:
    """An iterable of seconds that holds none."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Any:
        return iter([self.text])

    def __repr__(self) -> str:
        return f"<waits {self.text}>"


def _bad_configuration(text: str) -> object:
    named: list[dict[str, Any]] = [{text: 3}, {"x": {"interval": text}}, {"x": {text: 1}}]
    documents = [{"error_store_path": 3, text: 1}, {"backup_path": [text]}, {"x": text}, {"enable": text}]
    for document in [*documents, *({"policies": policies} for policies in named)]:
        refused = raised_by(configure, document)
        assert type(refused) is ConfigurationError
    return [raised_by(configure, text), refused]


PLACES: dict[str, Callable[[str], object]] = {
    "message": lambda text: _fails(ConnectionResetError(text)),
    "args": lambda text: _fails(OSError(104, "reset", text)),
    "unknown": lambda text: _fails(RuntimeError(text)),
    "cause and notes": lambda text: _fails(_caused(text)) and None,
    "group": lambda text: _fails(ExceptionGroup(text, [ConnectionResetError(text)])),
    "arguments": lambda text: raised_by(with_retry(max=1)(lambda *_: _raise(KeyError())), text, iter([text])),
    "name": lambda text: _fails(ConnectionResetError("gone"), name=text),
    "scope": _in_a_scope,
    "late": _too_late,
    "predicate": lambda text: _fails(KeyError("x"), on=lambda error: _raise(ValueError(text))),
    "a partial as predicate": lambda text: _fails(KeyError("x"), on=functools.partial(_predicate, said=text)),
    "classifier": lambda text: _fails(KeyError("x"), classifier=lambda error: Verdict.of(-6, text, rule=text)),
    "classifier fails": lambda text: _fails(KeyError("x"), classifier=functools.partial(_predicate, said=text)),
    "interval": lambda text: _fails(ConnectionResetError(), interval=_Waits(text)),
    "before_retry": lambda text: _fails(ConnectionResetError(), before_retry=lambda _: _raise(OSError(5, text))),
    "budget": lambda text: _fails(ConnectionResetError(), budget=_Budget(text)),
    "listener": _with_listener,
    "bad result": lambda text: _message(raised_by(with_retry(max=1, results=lambda _: True)(lambda: text))),
    "judge fails": lambda text: _message(
        raised_by(with_retry(results=lambda _: _raise(ValueError(text)))(lambda: text))
    ),
    "by hand": lambda text: registry.record_error(-6, text, text),
    "program": lambda text: _fails(subprocess.CalledProcessError(75, ["tool", "-p", text])),
    "configuration": _bad_configuration,
    "RetryExhausted": lambda text: _message(_fails(ConnectionResetError(text), reraise=False)),
    "unknown policy": lambda text: raised_by(with_retry(policy=text)(lambda: None)),
    "unknown parameter": lambda text: raised_by(lambda: with_retry(**{text: 1})),
    "a wrong value": lambda text: raised_by(lambda: with_retry(max=[text])),
    "a name that is none": lambda text: raised_by(lambda: with_retry(name=[text])),
}


def _predicate(error: object, said: str) -> bool:
    raise ValueError(said)


def _message(error: Any) -> str:
    """Return what a `RetryExhausted` says, whose ``result`` is the caller's own value."""
    assert type(error) is RetryExhausted
    return f"{error} {error.args}"


def _told_by(thing: object) -> str:
    """Return the text of an error that is retrywrap's own, and the notes that retrywrap left on another's."""
    if isinstance(thing, list):
        return " ".join(map(_told_by, thing))
    if not isinstance(thing, BaseException):
        return repr(thing)
    notes = [note for note in getattr(thing, "__notes__", []) if note.startswith("retrywrap")]
    own = "retrywrap" in type(thing).__module__ or type(thing) in (TypeError, ValueError)
    return " ".join([*notes, str(thing) if own else "", *(repr(pickle.dumps(note)) for note in notes)])


@examples(80)
@given(st.sampled_from(sorted(PLACES)), FILLED, st.text(max_size=20))
def test_no_channel_shows_a_secret(
    tmp_path_factory: pytest.TempPathFactory, place: str, filled: tuple[str, str], around: str
) -> None:
    """Log, events, registry, error log, notes, own errors, reports, pickles: none has what came in anywhere."""
    form, secret = filled
    text = f"{around.encode(errors='replace').decode()} {form.format(secret, secret)} {around}"
    with VirtualClock(), listening(tmp_path_factory.mktemp("log", numbered=True)) as heard:
        came = PLACES[place](text)
        told = f"{_told_by(came)}\n{heard.everything()}"
        reset()
    assert not is_shown(secret, told), place


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_one_where_a_text_comes_in(clock: VirtualClock, tmp_path: Path, place: str) -> None:
    """Each place above works with a text that is no secret, and no two forms are the same."""
    with listening(tmp_path) as heard:
        assert PLACES[place]("a harmless text") is not None or place == "cause and notes"
        refused = {
            "configuration",
            "late",
            "unknown policy",
            "unknown parameter",
            "a wrong value",
            "a name that is none",
        }
        assert bool(heard.events) is (place not in refused)
    assert len(set(FORMS)) == len(FORMS)


COMMANDS: list[Callable[[str, str], list[str]]] = [
    lambda text, secret: ["explain", f"ConnectionResetError({text!r})"],
    lambda text, secret: ["explain", "--json", f"ConnectionResetError({text!r})"],
    lambda text, secret: ["explain", text],
    lambda text, secret: ["explain", "--table", text],
    lambda text, secret: ["plan", f"--password={secret}"],
    lambda text, secret: ["plan", "--backoff", text],
    lambda text, secret: ["plan", "--backoff", f"fixed(password={secret.replace(';', '')})"],
    lambda text, secret: ["explain", f"OSError(password={secret.replace(';', '')})"],
    lambda text, secret: ["plan", "--max", text],
    lambda text, secret: ["errors", text],
    lambda text, secret: ["errors", ".", "--since", text],
    lambda text, secret: ["errors", ".", "--code", text],
    lambda text, secret: ["inventory", text],
    lambda text, secret: ["run", "--retry-on", text, "--", "false"],
    lambda text, secret: ["run", "--name", text, "--max", "0", "--", "false", "--password", secret],
    lambda text, secret: ["run", "--", text],
]


@examples(40)
@given(st.sampled_from(COMMANDS), FILLED)
def test_the_command_line_does_not_repeat_a_secret(
    command: Callable[[str, str], list[str]], filled: tuple[str, str]
) -> None:
    """Neither what it cannot use, nor what it explains, nor the arguments of a program that it runs."""
    form, secret = filled
    arguments = command(form.format(secret, secret), secret)
    outcome = cli(*arguments)
    assert outcome.status in (0, 1, 2, 127)
    assert not is_shown(secret, outcome.out + outcome.err), arguments


def test_a_module_that_cannot_be_imported_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inventory, and explain, of a module whose import fails on a connection."""
    (tmp_path / "hostile_module.py").write_text("raise ConnectionError('postgres://u:' + 'hunter2@db refused')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for arguments in (["inventory", "hostile_module"], ["explain", "hostile_module.Error"]):
        outcome = cli(*arguments)
        assert outcome.status == 2
        assert "postgres://***@db refused" in outcome.err


def test_a_registry_of_its_own_masks_as_well(clock: VirtualClock) -> None:
    """Masking is done before anybody is told, whoever that is."""
    own = Registry()
    _fails(ConnectionResetError("password=hunter2"), registry=own, name="token=hunter2")
    assert own.last_error.message == "password=***"
    assert list(own.operations) == ["token=***"]
