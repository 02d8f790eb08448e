"""Text that may be stored and logged: no secrets that can be told by their form, one line, bounded.

What is recognised: credentials in URLs, values that belong to a name such as ``password`` or ``api_key`` (assigned, in
JSON, in a header, in a query, on a command line, in SQL), bearer tokens and well-known kinds of keys, the parameters of
an SQL statement as SQLAlchemy shows them, and the arguments of a program that failed. Rather too much is masked than
too little: the exception itself still has everything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from retrywrap.classifiers.guard import read, text_of, type_name
from retrywrap.classifiers.programs import program_name

__all__ = ["LONGEST", "is_masked", "safe_message", "safe_text"]

LONGEST = 500
"""Characters that a message has at most."""

_WINDOW = 4096  # what is looked at: bounds the time, and leaves enough text where much is masked
_COMMAND = "Command "  # so begin the texts of `subprocess`
_MASK = "***"

# What was looked at and holds nothing to mask: an operation that is retried fails with the same text again.
_kept: dict[str, str] = {}
_MOST_KEPT = 128

# What tells most messages clean at once: each pattern below needs one of these words, in lower case ...
_WORDS = (
    "pass", "pwd", "secret", "token", "key", "auth", "cred", "cookie", "sig", "session", "identified", "@", "eyj", "gh",
    "_pat_", "glpat-", "xox", "sk-", "-----begin", "[parameters", "row contains", "akia", "basic", "bearer", "aiza",
    "k_live_", "k_test_", "hvs.", "npm_", "pypi-", "sg.",
)  # fmt: skip
# ... one of these characters, but for four of the words ...
_MARKS = r"[$@=:>%\"'_.(-]"
# ... and one of these, each of which holds one of the words.
_HINTS = (
    "pass", "pwd", "secret", "token", "-key", "_key", " key", "ikey", "skey", "tkey", "ekey", "nkey", "dkey",
    "rkey", "auth", "cred", "cookie", "sig", "session", "identified", "@", "eyj", "ghp_", "gho_", "ghs_", "ghu_",
    "ghr_", "_pat_", "glpat-", "xox", "sk-", "-----begin", "[parameters", "row contains", "akia", "basic", "bearer",
    "aiza", "k_live_", "k_test_", "hvs.", "npm_", "pypi-", "sg.",
)  # fmt: skip
_MARKLESS = "bearer", "basic", "akia", "aiza"

_NAMES = (
    r"(?=[acefmpst])(?:pass(?:word|wd|phrase|code)?|secret|token"
    r"|(?:api|access|account|private|encryption|shared|secret|signing|master|subscription|functions|client|stripe)"
    r"[-_ ]?key"
    r"|credentials?|session[-_]?id|pwd|(?<![a-z])(?:auth|sig(?:nature)?))"
    r"(?:s|\d{1,3}|[-_.][\w.-]{0,40}|(?-i:String|Value|Hash|Key|Text|Data|Binary|Digest|Header|Param)s?)?"
    r"(?:\[\w{0,10}\])?"
)
_IS = (
    r"(?:(?:\\{0,3}[\"'`]\]?|%22|(?<!\[auth)\]|\](?=\s{0,40}=))?\s{0,40}"
    r"(?:={1,3}>?|:=?|>|(?:%(?:25)?20|\+){0,3}%(?:25)?3[da])(?:%(?:25)?2[02]|(?<=%3[da])\+)*"
    r"|\\{0,3}[\"'],)\s{0,40}"
)
_DOUBLE = r'"(?:[^"\\]|\\.|"")*+"?'
_SINGLE = r"'(?:[^'\\]|\\.|'')*+'?"
_QUOTED = rf"(?:b?(?:{_DOUBLE}|{_SINGLE})|[enru](?:{_DOUBLE}|{_SINGLE})[^\s,;\])}}&]*)"
_INNER = r"(?<=\w)[\"'](?=\w)"  # a quote within a word delimits nothing
# In lists such as Password=two words;Port=1, a value ends with the semicolon. ODBC and JSON have braces.
_LISTED = rf"(?:(?<==)|(?<==\s))(?:[^;=\n\"'{{]|{_INNER})+(?=;\s{{0,3}}[\w ]{{1,40}}=)"
# Where blanks separate the pairs, as for libpq, on command lines and in queries, a semicolon is part of the value.
_BEFORE = r"[='?&#-](?:(?<==)[^\s;=]{1,200}+\s{1,3}|(?<=')\s{1,3}|(?<=[?&#])|(?<![\w-]-)(?<=-)-?)[\w-]{0,30}"
_TWO_WORDS = r"(?:application|connect(?:ion)?|current|data|initial|integrated|packet|persist|user|workstation)\s"
_BLANKS = rf"(?<==)[^\s\"'{{\[*]\S{{0,200}};(?!{_TWO_WORDS})[^\s;]{{1,200}}+(?=\s{{1,3}}\w{{1,40}}=)"
_ESCAPED = r"[benru]?\\{1,3}[\"'][^\\\n]*+\S*"  # quoted within a text that was quoted itself
# Lists, tables and tuples may hold others; what is deeper than any that a message shows is taken to the text's end.
_NESTED = r"[\[({].*"
for _ in range(3):
    _inside = rf"{_DOUBLE}|{_SINGLE}|{_NESTED}"
    _NESTED = (
        rf"(?:\[(?:{_inside}|[^\[({{\]\"'])*+\]?|\((?:{_inside}|[^\[({{)\"'])*+\)?"
        rf"|\{{(?:{_inside}|[^\[({{}}\"'])*+\}}?)"
    )
_BRACED = r"(?<=[^:=]=)\{(?![\"'{\[(\s])(?:[^}]|\}\})*+\}?"  # as ODBC has it, where a brace is written twice
_BARE = r"(?=[\[({][^\"'\[({\s})\]])"  # a word in brackets, which are a part of a password rather than of a list
_REST = r"[^\s,;\])}\"']*"  # what is joined to a list's end
_VALUE = (
    rf"(?:{_QUOTED}|{_ESCAPED}|{_BLANKS}|{_LISTED}"
    rf"|{_BRACED}{_REST}|(?:(?P<bare>{_BARE})|){_NESTED}(?(bare)\S*|{_REST})|\S+)"
)
_USER = r"(?:[^\s/?#:\"<>]|\"(?=\w))"
_JOINT = r"[\"'][\]}),:]{1,5}[\[{(\"']"  # what stands between two texts of a list in JSON
_PATTERNS = (
    (
        r"-----BEGIN [A-Z\d ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----.*?"
        r"(?:-----END [A-Z\d ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----|\Z)",
        _MASK,
    ),
    (r"\[parameters: [^\n]*", f"[parameters: {_MASK}]"),
    (r"(?i:(row contains )\().*", rf"\g<1>({_MASK})"),
    # What a database says of a row by the names of its columns.
    (
        rf"(?i:(key \([^()\n]{{0,100}}{_NAMES}(?![a-z])[^()\n]{{0,100}}\)=\()).*?"
        r"(?=\)\s{1,3}(?:already exists|is not present|is still referenced|conflicts)|\Z)",
        rf"\g<1>{_MASK}",
    ),
    (
        r"(?i:(duplicate entry )\\{0,3}'(?:(?!\\{0,3}' for key ).)*+(?:(?<=.{200})\Z|(\\{0,3}' for key )"
        rf"(?=\\{{0,3}}'[^'\n]{{0,100}}?(?:{_NAMES}(?![a-z])|\Z))))",
        rf"\g<1>'{_MASK}\g<2>",
    ),
    (rf"(?i:(<(?:\w{{1,20}}:)?{_NAMES}(?:\s[^<>\n]{{0,200}})?>)[^<\n]{{1,500}})", rf"\g<1>{_MASK}"),
    (rf"(?i:(\([^()\n]{{0,300}}?{_NAMES}[^()\n]{{0,300}}\)\s{{0,3}}values\s{{0,3}}\()).*", rf"\g<1>{_MASK})"),
    # Before URLs: in such as jdbc:sqlserver://h;password=p@q, a URL's password would seem to end at the @.
    (
        rf"(?i:(;\s{{0,3}}{_NAMES}\s{{0,3}}=\s{{0,3}})(?![\"'{{])(?:[^;\n\"']|{_INNER})+(?:[\"'][^\s;]*+)?)",
        rf"\g<1>{_MASK}",
    ),
    # A colon and a number before what ends a URL's host are a port; all else up to the last @ may be the password.
    (rf"://(?:{_USER}*+:(?!\d{{1,5}}(?:[/?#<>;]|{_JOINT}))\S*|{_USER}+)@", f"://{_MASK}@"),
    (r"(?i:(jdbc:oracle:\w{1,10}:[^\s/@]{1,128}/)\S{1,200}(?=@))", rf"\g<1>{_MASK}"),
    # In Go's names of data sources, a password may hold anything; the address in parentheses tells where it ended.
    (r":(?!//)(?=[^\s(]{1,200}+\()\S{1,200}@(?=\w[\w+-]{0,20}\([^()\s]{0,200}\)/)", f":{_MASK}@"),
    (r":[^\s/]{1,200}+(?<=@)(?=/\w)", f":{_MASK}@"),
    (rf":(?=[^\s:/]{{1,200}}@)(?:[^\s:/\"']|{_INNER}){{1,200}}@(?=[\w\[(])", f":{_MASK}@"),
    (rf"(?i:((?:authorization|cookies?){_IS})(?:{_QUOTED}|[^\n]+))", rf"\g<1>{_MASK}"),
    (r"\b((?i:bearer|basic)(?:\s{1,3}|%20)[\"']?)(?=[\w.~+/-]{0,200}[\d=])[\w.~+/=-]{8,}", rf"\g<1>{_MASK}"),
    (
        rf"(?i:({_BEFORE}{_NAMES}\s{{0,3}}(?:={{1,3}}>?\s{{1,3}}|=(?![=>]{{0,2}}\s)))(?![\"'{{\[(])\S+)",
        rf"\g<1>{_MASK}",
    ),
    (rf"(?i:({_NAMES}{_IS}){_VALUE})", rf"\g<1>{_MASK}"),
    (
        r"(?i:((?:identified(?:\s{1,3}with\s{1,3}[\w'\"]{1,60})?\s{1,3}(?:by|as)|password"
        r"|user\s{1,3}\S{1,100}\s{1,3}pass)"
        r"(?:\s{0,3}\(\s{0,3}|\s{1,3}))"
        rf"(?:[en]?(?:{_QUOTED}|{_ESCAPED})|\$(\w{{0,20}})\$.*?\$\2\$))",
        rf"\g<1>{_MASK}",
    ),
    (
        r"(?i:(?<![\w-])(--?[\w-]{0,30}(?:pass|pwd|secret|token|key|auth|cred)[\w-]{0,30}(?:\\{0,3}[\"'])?,?\s{1,3})"
        rf"(?:{_QUOTED}|{_ESCAPED}|\S+))",
        rf"\g<1>{_MASK}",
    ),
    (
        r"(?<![\w-])(?:gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|sk-[\w-]{16,}"
        r"|AKIA[A-Z\d]{12,}|AIza[\w-]{16,}|[rs]k_(?:live|test)_\w{10,}|hvs\.[\w-]{20,}|npm_[A-Za-z\d]{20,}"
        r"|pypi-[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{10,}|eyJ[\w-]{8,}\.[\w.-]{8,})",
        _MASK,
    ),
)


class _Compiled(NamedTuple):
    mark: Callable[[str], object]
    hint: Callable[[str], object]
    rules: tuple[tuple[re.Pattern[str], str], ...]


@functools.cache
def _compiled() -> _Compiled:
    """Compile at the first message: it costs more than importing the whole package may."""
    hints = "|".join(map(re.escape, _HINTS))
    rules = tuple((re.compile(pattern, re.DOTALL), mask) for pattern, mask in _PATTERNS)
    return _Compiled(re.compile(_MARKS).search, re.compile(hints).search, rules)


def safe_message(error: BaseException) -> str:
    """Return an error's text as it may be stored and logged: redacted, escaped to one line, bounded.

    Args:
        error: Any exception, even one whose ``__str__`` raises. Its text is what ``str()`` gives; of a program that
            failed, without the program's arguments; the name of its class where it has none.
    """
    text = text_of(error)
    kept = _kept.get(text)
    if kept is not None:
        return kept
    if text.startswith(_COMMAND):
        return safe_text(_without_arguments(error, text))
    masked = _masked(text)
    safe = _one_line(masked) or safe_text(type_name(type(error)))
    if text and masked == text and len(text) <= LONGEST:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[text] = safe
    return safe


def safe_text(text: str) -> str:
    """Return a text as it may be stored and logged: redacted, escaped to one line, at most 500 characters.

    Args:
        text: The text; the time that this takes is bounded, however long it is.
    """
    return _one_line(_masked(str.__str__(text)))  # a subclass may answer as it likes


def is_masked(text: str) -> bool:
    """Return whether anything in a text is taken for a secret: a part of it alone would not be told to be one.

    Args:
        text: The text.
    """
    return _masked(text) != text


def _masked(text: str) -> str:
    if len(text) > _WINDOW:
        return _redacted(text[:_WINDOW] + "@").removesuffix("@")  # the end may be in the midst of a URL's password
    return _redacted(text) if _suspicious(text) else text


def _one_line(text: str) -> str:
    text = text.strip()
    if len(text) <= LONGEST and text.isprintable():
        return text
    text = text[: LONGEST + 1].replace("\n", "\\n").replace("\t", "\\t")  # most texts hold no others
    if not text.isprintable():
        text = "".join(map(_escaped, text[: LONGEST + 1]))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _suspicious(text: str) -> bool:
    lower = text.lower()
    for word in _WORDS:
        if word in lower:
            break
    else:
        return False
    mark, hint, _ = _compiled()
    if mark(text) or any(word in lower for word in _MARKLESS):
        return hint(lower) is not None
    return False


def _redacted(text: str) -> str:
    for pattern, mask in _compiled().rules:
        text = pattern.sub(mask, text)
    return text


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def _without_arguments(error: BaseException, text: str) -> str:
    """Return the text of `subprocess`'s errors with the program's name in place of its whole command line."""
    command = read(error, "cmd")
    certain = command is not None
    if not certain:
        command = read(error, "command")  # as in docker's ContainerError; with others it may be anything
        if not isinstance(command, str | list | tuple):
            return text
    try:
        line = str.__str__(str(command))
        if not line:
            return text
        shown = f"{program_name(command) or _MASK} …"
        for written in (f"'{line}'", repr(command)):  # the second from Python 3.15 on
            if text.startswith(written, len(_COMMAND)):
                return f"{_COMMAND}'{shown}'{text[len(_COMMAND) + len(written) :]}"
        return text.replace(line, shown, 1) if certain else text
    except Exception:  # then the text does not hold the command either
        return text
