"""How English says addresses of the net: URLs, e-mail addresses, file names, paths, handles."""

import re

from gpu_workers.spoken.numbers import cardinal, digits
from gpu_workers.spoken.owned import Rule, Said

#: Endings by which a domain is known without "https://" or "www." before it.
_ENDINGS = (
    "com|org|net|edu|gov|info|io|ai|dev|app|co|me|tv|us|uk|ca|de|fr|es|it|nl|be|ch|at|se|no|dk|fi|pl|eu|in|jp|cn|au|"
    "br|ru"
)

#: Names of files are said with their ending.
_FILES = (
    "py|js|ts|md|txt|json|yaml|yml|toml|csv|pdf|png|jpg|jpeg|gif|svg|html|css|cpp|rs|go|java|sh|exe|zip|gz|mp3|mp4|wav|"
    "docx|xlsx|log|sql|xml|onnx"
)

#: An address longer than this nobody wants to hear; its domain is said.
_LONGEST = 60

_SIGNS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", "+": "plus", "~": "tilde", ":": "colon",
    "%": "percent", "=": "equals", "&": "and", "#": "hash", "?": "question mark",
}  # fmt: skip

_PART = re.compile(r"[A-Za-z]+|[0-9]+|[^\W\d_]+|.", re.S)
_SCHEME = re.compile(r"^(?:[a-z]{2,8}://)?(?:www\.)?", re.I)
_ENDS = ".,;:!?)'\"*_"

#: Short names that are words.
_WORDS = frozenset(
    {
        "com",
        "org",
        "net",
        "gov",
        "edu",
        "info",
        "app",
        "dev",
        "me",
        "co",
        "no",
        "in",
        "at",
        "be",
        "to",
        "go",
        "log",
        "zip",
        "exe",
    }
    | {
        "doc",
        "api",
        "js",
        "the",
        "and",
        "my",
        "is",
        "of",
        "or",
        "on",
        "it",
        "we",
        "us",
        "you",
        "all",
        "new",
        "up",
        "bob",
    }
) - {"api", "js", "us", "it"}


def spell(word: str) -> str:
    """Its letters' names, in one go: 'U-S-B'. Hyphens keep a phonemiser from taking A for the article."""
    return "-".join(word.upper())


def speak(address: str) -> str:
    """'antiphon.org/docs' as it is dictated."""
    return " ".join(filter(None, map(_part, _PART.findall(address))))


def _part(part: str) -> str:
    if part[0] in "0123456789":
        return cardinal(part) if len(part) <= 2 and part[0] != "0" else digits(part)
    if part.isascii() and part.isalpha():
        return _name(part.lower())
    return _SIGNS.get(part, part if part.isalnum() else "")


def _name(name: str) -> str:
    """A word, or its letters where nobody could say it."""
    short = len(name) == 2 and name not in _WORDS
    mute = 1 < len(name) <= 4 and not set(name) & set("aeiouy")
    return spell(name) if short or mute else name


def _address(match: re.Match[str]) -> Said:
    """Without scheme and query; a long one by its domain."""
    found = match[0].rstrip(_ENDS)
    end = "".join(sign for sign in match[0][len(found) :] if sign in ".,;:!?")
    body = _SCHEME.sub("", found, count=1).partition("?")[0].partition("#")[0].rstrip("/")
    if len(body) > _LONGEST:
        body = body.partition("/")[0][:_LONGEST]
    return f"{speak(body)}{end}" if body else None


def _file(match: re.Match[str]) -> str:
    return f"{speak(match[1])} dot {_name(match[2].lower())}"


RULES: tuple[Rule, ...] = (
    (
        re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}"),
        _address,
    ),
    (re.compile(r"(?<!\w)(?:[a-z]{2,8}://|www\.)[^\s<>\"]+", re.I), _address),
    (
        re.compile(
            rf"(?<![\w@./-])(?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}\.){{1,4}}(?:{_ENDINGS})(?::[0-9]{{1,5}})?(?:/[^\s<>\"]*)?(?![\w@])"
        ),
        _address,
    ),
    (re.compile(rf"(?<![\w./-])([\w-]{{1,60}})\.({_FILES})(?!\w)"), _file),
    (re.compile(r"(?<![\w/.<)])~?(?:/[A-Za-z_.][\w.-]{0,60}){1,10}/?(?=[\s,;!?)]|$)"), _address),
    (re.compile(r"(?<![\w@])@(?=\w)"), lambda _: "at "),
)
