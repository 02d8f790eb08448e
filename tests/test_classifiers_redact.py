"""Messages that may be stored: no secrets, one line, bounded, whatever the error's text is."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrywrap.classifiers import redact, safe_message
from retrywrap.classifiers.redact import LONGEST, safe_text

SECRET = "hunter2"

MASKED = [
    # URLs
    ("postgresql://bob:hunter2@db:5432/x failed", "postgresql://***@db:5432/x failed"),
    ("redis://:hunter2@h/0", "redis://***@h/0"),
    ("amqp://u:p@ss/hunter2@h:1/", "amqp://***@h:1/"),
    ("https://hunter2@github.com/x", "https://***@github.com/x"),
    ("dsn user:hunter2@tcp(h:3306)/db", "dsn user:***@tcp(h:3306)/db"),
    ("http://h/a and http://u:hunter2@i/b", "http://h/a and http://***@i/b"),
    ("postgresql://backup:it'shunter2@db:5432/x failed", "postgresql://***@db:5432/x failed"),
    ('postgresql://backup:it"shunter2@db:5432/x failed', "postgresql://***@db:5432/x failed"),
    ("redis://:p'hunter2@h/0", "redis://***@h/0"),
    ("https://o'neil:hunter2@h/", "https://***@h/"),
    ("https://tok'hunter2@h/", "https://***@h/"),
    ('https://tok"hunter2@h/', "https://***@h/"),
    ("https://tok@hunter2@h/", "https://***@h/"),
    ("https://joe@example.com:a/hunter2@h/", "https://***@h/"),
    ("amqp://u:p<hunter2@h", "amqp://***@h"),
    ("user:p@hunter2@tcp(h:3306)/db", "user:***@tcp(h:3306)/db"),
    ("user:p:/'\"hunter2@unix(/run/m.sock)/db", "user:***@unix(/run/m.sock)/db"),
    ("user:it's#'hunter2@/db", "user:***@/db"),
    ("user:it's@hunter2@h", "user:***@h"),
    ("jdbc:oracle:thin:scott/p@hunter2@//h:1521/x", "jdbc:oracle:thin:scott/***@//h:1521/x"),
    ('jdbc:oracle:thin:scott/"p@hunter2"@h:1521:x', "jdbc:oracle:thin:scott/***@h:1521:x"),
    # Lists: a semicolon ends a value where semicolons separate
    ("host=db password=a;hunter2 dbname=x", "host=db password=*** dbname=x"),
    ("host=db password=a;b=hunter2", "host=db password=***"),
    ("host='a b' password=a;b=hunter2", "host='a b' password=***"),
    ("password=a;hunter2 dbname=x", "password=*** dbname=x"),
    ("password=a;b=hunter2 dbname=x", "password=*** dbname=x"),
    ("/?user=u&password=a;b=hunter2", "/?user=u&password=***"),
    ("tool --db-password=a;b=hunter2 x", "tool --db-password=*** x"),
    ("Server=db;Password=it's hunter2;Port=1", "Server=db;Password=***;Port=1"),
    ("Password=it's hunter2;Port=1", "Password=***;Port=1"),
    ("Password=two hunter2;Initial Catalog=x", "Password=***;Initial Catalog=x"),
    ("Password=hunter2;Server=h;Initial Catalog=x", "Password=***;Server=h;Initial Catalog=x"),
    ("jdbc:sqlserver://h:1433;user=sa;password=a'#b@hunter2;x=1", "jdbc:sqlserver://h:1433;user=sa;password=***;x=1"),
    ("jdbc:sqlserver://h;password=a:b@hunter2", "jdbc:sqlserver://h;password=***"),
    ("code=5 Password=two hunter2;Port=1", "code=5 Password=***;Port=1"),
    # A name, and what it is
    ("password=hunter2 x", "password=*** x"),
    ("Password: hunter2", "Password: ***"),
    ("passwd => hunter2", "passwd => ***"),
    ("' passwd => hunter2 '", "' passwd => *** '"),
    ("' passwd ==> hunter2 '", "' passwd ==> *** '"),
    ("passwd == hunter2", "passwd == ***"),
    ("passwd := hunter2", "passwd := ***"),
    ("/?user=u&password=>{abc}hunter2", "/?user=u&password=***"),
    ("' password=>[abc]hunter2 x'", "' password=*** x'"),
    ("password=(abc)hunter2 x=1", "password=*** x=1"),
    ("get(auth=('root', 'hunter2'), timeout=5)", "get(auth=***, timeout=5)"),
    ("{'auth': ('root', 'hunter2'), 'x': 1}", "{'auth': ***, 'x': 1}"),
    ('{"credentials": {"kind": {"t": 1}, "value": "hunter2"}, "x": 1}', '{"credentials": ***, "x": 1}'),
    ("{'tokens': [['a', 'x'], ['b', 'hunter2']], 'x': 1}", "{'tokens': ***, 'x': 1}"),
    ('passwords: ["a]b", "hunter2"] and more', "passwords: *** and more"),
    ("{'password': {'x': 'a}b', 'y': 'hunter2'}}", "{'password': ***}"),
    ("{'password': [[[[[['hunter2']]]]]], 'x': 1}", "{'password': ***"),
    ('<password type="plain">hunter2</password>', '<password type="plain">***</password>'),
    ("Driver={ODBC};Pwd={a}}hunter2};Server=x", "Driver={ODBC};Pwd=***;Server=x"),
    ("Uid=x;PWD={a;b}}c;hunter2};Server=x", "Uid=x;PWD=***;Server=x"),
    ("Uid=x;Pwd={ab]cd hunter2};Server=x", "Uid=x;Pwd=***;Server=x"),
    ("tokens=[a}, hunter2] x", "tokens=*** x"),
    ("password=[a)b hunter2] x", "password=*** x"),
    ("password: {ab)c, hunter2: d} x", "password: *** x"),
    ("get(credentials={'kind': {'t': 1}, 'value': 'hunter2'}, x=1)", "get(credentials=***, x=1)"),
    ("Array ( [password] => hunter2 )", "Array ( [password] => *** )"),
    ("password%22%3A%22hunter2%22", "password%22%3A%22***"),
    ("Key (api_token)=(hunter2) already exists.", "Key (api_token)=(***) already exists."),
    ("Key (api_token)=(hunter2) is not present in x", "Key (api_token)=(***) is not present in x"),
    ("INSERT INTO users (id, password) VALUES (1, 'hunter2')", "INSERT INTO users (id, password) VALUES (***)"),
    ("SET PASSWORD FOR 'u'@'h' = PASSWORD('hunter2')", "SET PASSWORD FOR 'u'@'h' = PASSWORD(***)"),
    ("IDENTIFIED WITH caching_sha2_password BY 'hunter2'", "IDENTIFIED WITH caching_sha2_password BY ***"),
    ("CREATE USER u PASSWORD $$hunter2$$", "CREATE USER u PASSWORD ***"),
    ("CREATE USER u PASSWORD E'hunter2'", "CREATE USER u PASSWORD ***"),
    ("PGPASSWORD=hunter2 pg_dump", "PGPASSWORD=*** pg_dump"),
    ("db_password2=hunter2", "db_password2=***"),
    ("pwd=hunter2", "pwd=***"),
    ("aws_secret_access_key = hunter2", "aws_secret_access_key = ***"),
    ("secretKey: hunter2", "secretKey: ***"),
    ("X-Auth-Token: hunter2", "X-Auth-Token: ***"),
    ("encryption_key = hunter2", "encryption_key = ***"),
    ("Server=x;AccountKey=hunter2==", "Server=x;AccountKey=***"),
    ("GET /?sig=hunter2&x=1", "GET /?sig=***"),
    ("/?access_token=hunter2", "/?access_token=***"),
    ("sessionid=hunter2", "sessionid=***"),
    ("api key: hunter2", "api key: ***"),
    ("ApiKey=hunter2", "ApiKey=***"),
    ("accessKey=hunter2", "accessKey=***"),
    ("account-key=hunter2", "account-key=***"),
    ("privateKey=hunter2", "privateKey=***"),
    ("EncryptionKey=hunter2", "EncryptionKey=***"),
    ("sharedkey=hunter2", "sharedkey=***"),
    ("credentials=hunter2", "credentials=***"),
    ("auth=hunter2", "auth=***"),
    ("signature: hunter2", "signature: ***"),
    ("session_id=hunter2", "session_id=***"),
    ("pass: hunter2", "pass: ***"),
    ("secrets: hunter2", "secrets: ***"),
    ("passphrase: hunter2", "passphrase: ***"),
    ("token: hunter2", "token: ***"),
    ("password%3Dhunter2", "password%3D***"),
    ("<password>hunter2</password>", "<password>***"),
    # Quoted
    ("{'password': 'hunter2 hunter2', 'x': 1}", "{'password': ***, 'x': 1}"),
    ('{"api_key":"hunter2","e":1}', '{"api_key":***,"e":1}'),
    ("{'password': b'hunter2', 'x': 1}", "{'password': ***, 'x': 1}"),
    (r"password='a\'hunter2' x", "password=*** x"),
    ("password='a''hunter2' x", "password=*** x"),
    ('password="hunter2', "password=***"),
    (r"{\"password\": \"hunter2\"}", r"{\"password\": ***"),
    # Headers
    ("Authorization: Bearer hunter2hunter2", "Authorization: ***"),
    ('Authorization: Digest username="u", response="hunter2"', "Authorization: ***"),
    ("('authorization', 'Bearer hunter2') x", "('authorization', ***) x"),
    ("(b'authorization', b'Bearer hunter2') x", "(b'authorization', ***) x"),
    ("Set-Cookie: a=1; b=hunter2\nx", r"Set-Cookie: ***\nx"),
    ("invalid bearer hunter2hunter2", "invalid bearer ***"),
    ("Basic aHVudGVyMg==", "Basic ***"),
    # Command lines
    ("--password hunter2 x", "--password *** x"),
    ("--api-token=hunter2 x", "--api-token=*** x"),
    ("run ['m', '-pass', 'hunter2', 'x']", "run ['m', '-pass', *** 'x']"),
    # SQL
    ("ALTER USER x PASSWORD 'hunter2'", "ALTER USER x PASSWORD ***"),
    ("CREATE USER x IDENTIFIED BY 'hunter2'", "CREATE USER x IDENTIFIED BY ***"),
    ("no\n[parameters: {'a': 'hunter2'}]\n(Background)", r"no\n[parameters: ***]\n(Background)"),
    ("DETAIL:  Failing row contains (1, hunter2).", "DETAIL:  Failing row contains (***)"),
    (r"f('ALTER USER x PASSWORD \'two hunter2\'')", "f('ALTER USER x PASSWORD ***"),
    (r"f('tool --password \'two hunter2\'')", "f('tool --password ***"),
    (r"f('password=\'two hunter2\'')", "f('password=***"),
    (r"f('[\'m\', \'--password\', \'two hunter2\']')", r"f('[\'m\', \'--password\', ***"),
    (r"f('(\'password\', \'two hunter2\')')", r"f('(\'password\', ***"),
    # Keys that are known by their form
    ("bad ghp_0123456789hunter2 key", "bad *** key"),
    ("bad gho_0123456789hunter2", "bad ***"),
    ("bad ghs_0123456789hunter2", "bad ***"),
    ("bad ghu_0123456789hunter2", "bad ***"),
    ("bad ghr_0123456789hunter2", "bad ***"),
    ("bad github_pat_0123456789hunter2", "bad ***"),
    ("bad glpat-0123456789hunter2", "bad ***"),
    ("bad xoxb-0123456789hunter2", "bad ***"),
    ("bad sk-0123456789hunter2", "bad ***"),
    ("bad AKIAIOSFODNN7EXAMPLE", "bad ***"),
    ("bad eyJhbGciOiJI.eyJodW50ZXIy.c2ln", "bad ***"),
    ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nx", r"***\nx"),
    ("-----BEGIN PRIVATE KEY-----\nhunter2", "***"),
    ("bad npm_0123456789abcdefhunter2", "bad ***"),
    # Names with more to them
    ("config[password]: hunter2", "config[password]: ***"),
    ("headers[Authorization]: c2VjcmV0hunter2", "headers[Authorization]: ***"),
    ("user[password]%3Dhunter2", "user[password]%3D***"),
    ("password=n'ab'hunter2", "password=***"),
    ('password: r"x"hunter2', "password: ***"),
    ("environ['DB_PASSWORD'] = 'hunter2'", "environ['DB_PASSWORD'] = ***"),
    ('config["password"]="hunter2"', 'config["password"]=***'),
    ("password[]=hunter2&x=1", "password[]=***"),
    ("tokens[0]=hunter2", "tokens[0]=***"),
    ("userPwd=hunter2", "userPwd=***"),
    ("passwordHash=hunter2", "passwordHash=***"),
    ('{"SecretString": "hunter2"}', '{"SecretString": ***}'),
    ("password%253Dhunter2", "password%253D***"),
    ("password+%3D+hunter2", "password+%3D+***"),
    # Brackets that are a password's own
    ("password=(aB)c,hunter2", "password=***"),
    ("password: (aB)'hunter2", "password: ***"),
    ("password:={a;b};hunter2", "password:=***"),
    ("auth=(\n    'root',\n    'hunter2',\n), x=1", "auth=***, x=1"),
    # Databases
    ("UPDATE t SET `password`='hunter2'", "UPDATE t SET `password`=***"),
    ("SET password = N'two hunter2' WHERE", "SET password = *** WHERE"),
    ("Duplicate entry 'it's hunter2' for key 'users.api_token'", "Duplicate entry '***' for key 'users.api_token'"),
]

LEFT_ALONE = [
    "[Errno 111] Connection refused",
    "[Errno 2] No such file or directory: '/var/lib/backup/x.dat'",
    "Access denied for user 'backup'@'10.0.0.1'",
    "http://api:8080/users/joe@example.com: 500 Server Error",
    "Permission denied (publickey,password).",
    'password authentication failed for user "joe"',
    "basic authentication required",
    "died with signal: 9",
    "author: joe, design: x, passed: 5",
    "bearer of news",
    "we did not pass 'x'",
    "TokenError: EOF in multi-line statement",
    "Duplicate entry 'bob' for key 'users.name'",
    "Duplicate entry '7' for key 'books.author_id'",
    "Duplicate entry '7-3' for key 'cars.passenger_id'",
    "duplicate entry 'a=b' in the zip; author notified",
    "npm_config_legacy_peer_deps is unknown",
    "[auth]: [Errno 111] Connection refused",
    "at 12:30 user@host said so",
    "KeyError: 'x'",
    '{"url":"http://host:80","mail":"joe@example.com"}',
    '{"url":"http://host","mail":"joe@example.com"}',
    '[{"url":"http://host:80"},{"mail":"joe@example.com"}]',
    "<a>http://host:80</a><b>joe@example.com</b>",
    "'http://host:x' 'joe@example.com'",
]


@pytest.mark.parametrize(("text", "masked"), MASKED, ids=[text[:40] for text, _ in MASKED])
def test_secrets_are_masked(text: str, masked: str) -> None:
    """What can be told to be a secret is replaced, and what surrounds it stays."""
    assert safe_text(text) == masked
    assert SECRET not in safe_text(f"at first {text}")
    assert safe_message(RuntimeError(text)) == masked


def test_every_hint_holds_one_of_the_words_that_are_looked_for_first() -> None:
    """A text that is passed by for want of the words could not hold a hint either."""
    assert [hint for hint in redact._HINTS if not any(word in hint for word in redact._WORDS)] == []


@pytest.mark.parametrize("joint", ["", "-", "_", " "])
@pytest.mark.parametrize("word", ["api", "access", "account", "private", "encryption", "shared", "secret", "signing",
                                  "master", "subscription", "functions", "client", "stripe"])  # fmt: skip
def test_no_key_is_passed_by_for_want_of_a_hint(word: str, joint: str) -> None:
    """Whichever key it is, and however that is written."""
    for name in (f"{word}{joint}key", f"{word}{joint}Key", f"{word}{joint}KEY".upper()):
        assert safe_text(f"{name}=hunter2") == f"{name}=***"


def test_a_text_that_was_seen_before_comes_out_the_same() -> None:
    """What is kept is what was clean: the same text, the line that it became; never a secret, nor a long text."""
    redact._kept.clear()
    for text in ("plain", "two\nlines", "password=hunter2", "x" * (LONGEST + 1), ""):
        first, second = (safe_message(RuntimeError(text)) for _ in range(2))
        assert first == second
    assert redact._kept == {"plain": "plain", "two\nlines": r"two\nlines"}


def test_few_texts_are_kept() -> None:
    """However many different texts errors have, only some are kept."""
    for number in range(1000):
        safe_message(RuntimeError(f"error {number}"))
    assert 0 < len(redact._kept) <= 128


def test_a_failed_programs_text_is_not_known_by_another_errors() -> None:
    """The text of an error that only looks like a failed program's does not let that one's arguments out."""
    program = subprocess.CalledProcessError(1, ["tool", "hush"])
    assert "hush" in safe_message(RuntimeError(str(program)))
    assert "hush" not in safe_message(program)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_no_secret_stays(text: str) -> None:
    """Common messages, also such as talk of passwords and keys, come through unchanged."""
    assert safe_text(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\u2028b\x85c\x00", r"a\u2028b\x85c\x00"),
        ("\udc80", r"\udc80"),
        ("\u202eevil", r"\u202eevil"),
        ("  text \n", "text"),
        ("ünïcödé 數據", "ünïcödé 數據"),
    ],
)
def test_one_printable_line(text: str, line: str) -> None:
    """What is not printable is escaped: line ends of every kind, terminal escapes, text direction, lone surrogates."""
    assert safe_text(text) == line


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 4096, 4097, 10_000])
def test_length_is_bounded(length: int) -> None:
    """A text of at most 500 characters is whole; a longer one is cut to 500, the last of which shows the cut."""
    text = safe_text("x" * length)
    assert text == ("x" * length if length <= LONGEST else "x" * (LONGEST - 1) + "…")


def test_escaping_does_not_outgrow_the_bound() -> None:
    """The bound holds for the text as it is shown, escapes included."""
    text = safe_text("\x01" * 400)
    assert len(text) == LONGEST
    assert text.endswith("…")


def test_a_secret_is_masked_though_the_cut_falls_into_it() -> None:
    """What ends beyond the part that is looked at is masked as well: the start of a password is a secret too."""
    text = "password='" + "a" * 3900 + "' postgresql://bob:" + SECRET + "x" * 1000 + "@db/x"
    assert safe_text(text) == "password=*** postgresql://***"


@pytest.mark.parametrize(
    "unit",
    ["x", "a:", "://", "://a:b", "-", "--", "--p", "pass", "password=", "'", '"', "\\", "eyJ-", "a.a-", "a@",
     "-----BEGIN PRIVATE KEY", "[parameters: ", "authorization: '", "bearer ", "\x1b", "basic aa", "password ' ",
     "row contains (", "://a'", "://\"a:", ":a'", ":@", ":@tcp(", "=a password=a;", "password=a;a", "&-", "--a",
     "duplicate entry '", "pwd[", "pwd`]", "pwd%20", "user a pass ", "pwdHash", "pwd=(a",
     ";pwd=a'a", "jdbc:oracle:a:a/@", "=a ", ";", "=a pass"],
)  # fmt: skip
def test_time_is_bounded_for_long_and_nasty_texts(unit: str) -> None:
    """Ten megabytes of what the patterns look for are through in a moment."""
    text = unit * (10_000_000 // len(unit))
    before = time.perf_counter()
    shown = safe_text(text)
    assert time.perf_counter() - before < 2
    assert len(shown) <= LONGEST


@settings(deadline=None)
@given(st.text(max_size=6000))
def test_every_text_becomes_one_bounded_printable_line(text: str) -> None:
    """For any text whatever: at most 500 characters, all of them printable, and encodable."""
    line = safe_text(text)
    assert len(line) <= LONGEST
    assert line.isprintable()
    line.encode("utf-8")


@settings(deadline=None)
@given(st.text(), st.from_regex(r"[A-Za-z!$%^*_+.~-][A-Za-z0-9!$%^*_+.~'\"@:;/?#=&-]{6,40}", fullmatch=True), st.text())
def test_a_url_never_shows_its_password(before: str, password: str, after: str) -> None:
    """Whatever stands around it, a password in a URL's usual place is not in the line."""
    line = safe_text(f"{before} mysql://root:{password}@host/db {after}")
    assert f":{password}@" not in line


def test_an_error_without_a_text_shows_its_class() -> None:
    """An empty message would say nothing; the name of the class does."""
    assert safe_message(TimeoutError()) == "TimeoutError"
    assert safe_message(type("Od\nd", (Exception,), {})("  ")) == r"Od\nd"


def test_an_error_whose_text_cannot_be_had() -> None:
    """A `__str__` that raises costs the message, nothing else."""

    class Mute(Exception):
        __qualname__ = "Mute"

        def __str__(self) -> str:
            raise ValueError("password=hunter2")

    assert safe_message(Mute()) == "Mute (no text: its __str__ raised ValueError)"


def test_a_string_subclass_as_text() -> None:
    """A text that is no plain string is made one before anything is asked of it."""

    class Sly(str):
        def __len__(self) -> int:
            raise RuntimeError

    assert safe_text(Sly("password=hunter2")) == "password=***"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["/usr/bin/mysqldump", "-phunter2", "--all"], "mysqldump …"),
        (("curl", "-u", "joe:hunter2"), "curl …"),
        ("PGPASSWORD=hunter2 pg_dump -h db", "pg_dump …"),
        ("echo hunter2 | gzip", "*** …"),
        (b"rsync hunter2", "rsync …"),
        (Path("/opt/hunter2/run"), "run …"),
        ([], "*** …"),
    ],
)
def test_a_failed_program_shows_no_arguments(command: Any, shown: str) -> None:
    """The errors of `subprocess` show the program's name in place of its command line, whatever form that has."""
    failed = subprocess.CalledProcessError(2, command)
    late = subprocess.TimeoutExpired(command, 5)
    killed = subprocess.CalledProcessError(-9, command)
    assert safe_message(failed) == f"Command '{shown}' returned non-zero exit status 2."
    assert safe_message(late) == f"Command '{shown}' timed out after 5 seconds"
    assert safe_message(killed) == f"Command '{shown}' died with <Signals.SIGKILL: 9>."


@pytest.mark.parametrize("form", ["Command '{}' failed", "Command {!r} failed"], ids=["to 3.14", "from 3.15"])
@pytest.mark.parametrize(
    "command", [["/bin/tool", "hunter2"], "tool hunter2", "tool 'hunter2'", b"tool hunter2", Path("/opt/hunter2/tool")]
)
def test_no_way_to_write_a_command_line_shows_its_arguments(command: Any, form: str) -> None:
    """Python's releases write it between quotes, or as its repr."""

    class Failed(subprocess.CalledProcessError):
        def __str__(self) -> str:
            return form.format(self.cmd)

    assert safe_message(Failed(1, command)) == "Command 'tool …' failed"
    form = f"Command failed: {form}"
    assert "hunter2" not in safe_message(Failed(1, command))


def test_a_command_that_is_called_so_shows_no_arguments() -> None:
    """Docker's errors have it under that name."""

    class ContainerError(Exception):
        command = "mysql -phunter2"

    error = ContainerError("Command 'mysql -phunter2' in image 'x' returned non-zero exit status 1: None")
    assert safe_message(error) == "Command 'mysql …' in image 'x' returned non-zero exit status 1: None"


def test_a_real_failed_program_shows_no_arguments() -> None:
    """So it is with an error that `subprocess` itself raised."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.run(["/bin/sh", "-c", "exit 3", SECRET], check=True, env=dict(os.environ))
    assert SECRET in str(caught.value)
    assert safe_message(caught.value) == "Command 'sh …' returned non-zero exit status 3."


def test_texts_that_only_look_like_a_failed_program() -> None:
    """An error that begins so but has no command, an empty or an unreadable one, keeps its text."""

    class Strange:
        def __str__(self) -> str:
            raise RuntimeError

    assert safe_message(ValueError("Command returned None")) == "Command returned None"
    named: Any = RuntimeError("Command timed out")
    for command in ("timed", 1, ["out"]):
        named.command = command
        assert safe_message(named) == "Command timed out"
    error = RuntimeError("Command 'x' is unknown")
    assert safe_message(error) == "Command 'x' is unknown"
    for command in ("", Strange(), None):
        error.cmd = command  # type: ignore[attr-defined]  # as any library may have it
        assert safe_message(error) == "Command 'x' is unknown"
