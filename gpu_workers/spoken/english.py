"""How English is said: the rules in their order, and its abbreviations, acronyms, signs and Roman numerals."""

import re

from gpu_workers.spoken import addresses, amounts, moments
from gpu_workers.spoken.acronyms import acronym
from gpu_workers.spoken.addresses import spell
from gpu_workers.spoken.numbers import NUMBER, cardinal, digits, ordinal
from gpu_workers.spoken.owned import Rule, Said, following

#: With a full stop behind them. A title's stop is never a sentence's end.
TITLES = {
    "dr": "doctor", "mr": "mister", "mrs": "missus", "ms": "miz", "prof": "professor", "gen": "general",
    "col": "colonel", "sgt": "sergeant", "capt": "captain", "lt": "lieutenant", "rev": "reverend", "gov": "governor",
    "sen": "senator", "rep": "representative", "mt": "mount", "st": "saint", "ft": "fort", "hon": "honorable",
}  # fmt: skip

#: These come in the middle of a sentence too.
SHORT = {
    "e.g": "for example", "i.e": "that is", "vs": "versus", "approx": "approximately", "ca": "circa", "cf": "compare",
    "est": "established", "incl": "including", "viz": "namely", "a.k.a": "also known as", "resp": "respectively",
}  # fmt: skip

#: These may well end one.
LAST = {
    "etc": "et cetera", "jr": "junior", "sr": "senior", "inc": "incorporated", "ltd": "limited", "corp": "corporation",
    "co": "company", "dept": "department", "govt": "government", "ave": "avenue", "blvd": "boulevard", "rd": "road",
    "ph.d": "P-H-D", "min": "minutes", "hrs": "hours", "max": "maximum", "avg": "average", "ext": "extension",
    "jan": "January", "feb": "February", "apr": "April", "aug": "August", "sept": "September",
    "sep": "September", "oct": "October", "nov": "November", "dec": "December", "al": "al",
}  # fmt: skip

#: These only before a number.
BEFORE_NUMBERS = {
    "no": "number", "nos": "numbers", "fig": "figure", "p": "page", "pp": "pages", "vol": "volume", "ch": "chapter",
    "sec": "section", "eq": "equation", "v": "version", "ver": "version",
}  # fmt: skip

_EVERY = TITLES | SHORT | LAST

#: Without a stop.
_BARE = {"vs": "versus", "w/": "with", "w/o": "without", "b/c": "because", "n/a": "N-A", "and/or": "and or"}

_MONARCHS = (
    "Henry|Louis|Elizabeth|Charles|George|Edward|Richard|William|James|Philip|Frederick|Catherine|Napoleon|Paul|"
    "Benedict|Pius|Leo|Ramesses|Ivan|Alexander|Gustav|Christian|Albert"
)
_PARTS = (
    "World War|Chapter|Part|Act|Volume|Type|Phase|Section|Level|Title|Book|Article|Super Bowl|Final Fantasy"
)
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}

_SIGNS = {
    "&": "and", "+": "plus", "=": "equals", "==": "equals", "→": "to", "->": "to", "-->": "to", "=>": "to",
    "⇒": "to", "←": "from", "±": "plus or minus", "×": "times", "÷": "divided by", "≥": "at least",
    ">=": "at least", "≤": "at most", "<=": "at most", "≈": "about", "≠": "is not", "!=": "is not", "∞": "infinity",
    "√": "square root of", "§": "section", "@": "at", "%": "percent", "$": "dollars", "€": "euros", "£": "pounds",
    "π": "pi", "°": "degrees", "^": "to the power of", ">": "greater than", "<": "less than", "∈": "in",
}  # fmt: skip


def _stop(match: re.Match[str]) -> str:
    """The full stop of an abbreviation ends the sentence too when nothing follows."""
    return "" if following(match) else "."


def _abbreviation(match: re.Match[str]) -> Said:
    short = match[1].lower()
    if short in TITLES:
        if not following(match)[:1].isupper() or not match[1][0].isupper():
            return "street" + _stop(match) if match[1] == "St" else None
        before = match.string[max(0, match.start() - 20) : match.start()].split()[-1:]
        street = short == "st" and before and before[0][:1].isupper() and before[0][-1:].isalpha()
        return "Street" if street else TITLES[short].capitalize()
    if short == "al" and match.string[max(0, match.start() - 3) : match.start()] != "et ":
        return None
    said = _EVERY[short]
    return (said.capitalize() if match[1][0].isupper() else said) + (_stop(match) if short in LAST else "")


def _dotted(match: re.Match[str]) -> str:
    """U.S. and J.R.R."""
    return spell(match[0].replace(".", "")) + _stop(match)


def _initial(match: re.Match[str]) -> str:
    return match[1]


def _roman(number: str) -> int:
    values = [_ROMAN[sign] for sign in number]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def _reign(match: re.Match[str]) -> Said:
    """Henry VIII; of single letters only V and X, for I is a word."""
    return [*_as_it_stands(match), (match.start(2), f"the {ordinal(str(_roman(match[2])))}")]


def _numbered(match: re.Match[str]) -> Said:
    return [*_as_it_stands(match), (match.start(2), cardinal(str(_roman(match[2]))))]


def _as_it_stands(match: re.Match[str]) -> list[tuple[int, str]]:
    """The words of the first group."""
    return [(match.start(1) + word.start(), word[0]) for word in re.finditer(r"\S+", match[1])]


def _sign(match: re.Match[str]) -> str:
    return f" {_SIGNS[match[0].strip()]} "


def _product(match: re.Match[str]) -> Said:
    """2×3 is times; 4x6 is a size."""
    return [(match.start(1), "times" if match[1] == "×" else "by")]


def _slash(match: re.Match[str]) -> Said:
    short = match[1].islower() and match[2].islower() and len(match[1]) < 5 and len(match[2]) < 5
    return [(match.start(1), match[1]), (match.start(2), f"{'or' if short else 'slash'} {match[2]}")]


def _any(names: dict[str, str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_ABBREVIATIONS: tuple[Rule, ...] = (
    (
        re.compile(rf"(?<![\w.])({_any(BEFORE_NUMBERS)})\.\s?(?=[0-9])", re.I),
        lambda m: BEFORE_NUMBERS[m[1].lower()] + " ",
    ),
    (re.compile(r"(?<!\w)v(?=[0-9])"), lambda _: "version "),
    (re.compile(rf"(?<![\w./])({_any(_EVERY)})\.(?![\w])", re.I), _abbreviation),
    (re.compile(r"(?<![\w.])(e\.g|i\.e)(?![\w.])", re.I), _abbreviation),
    (re.compile(rf"(?<![\w/])({_any(_BARE)})(?![\w/])", re.I), lambda match: _BARE[match[1].lower()]),
    (re.compile(r"(?<![\w.-])(?:[A-Za-z]\.){2,6}(?!\w)"), _dotted),
    (re.compile(r"(?<![\w.'-])([A-HJ-Z])\.(?=\s[A-Z][a-z])"), _initial),
    (re.compile(rf"\b({_MONARCHS})\s([IVX]{{2,6}}|[VX])\b"), _reign),
    (re.compile(rf"\b((?i:{_PARTS}))\s([IVXL]{{2,6}}|[VX])\b(?!')"), _numbered),
    (re.compile(r"\b(World War|Chapter|Act|Volume|Phase|Type)\s(I)\b(?!')"), _numbered),
)

_SIGN_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)([CFJ])#(?!\w)"), lambda match: f"{match[1]} sharp"),
    (re.compile(r"(?<!\w)C\+\+"), lambda _: "C plus plus"),
    (re.compile(r"(?<=[A-Za-z0-9)])\s?[²]|\^2(?![0-9])"), lambda _: " squared"),
    (re.compile(r"(?<=[A-Za-z0-9)])\s?[³]|\^3(?![0-9])"), lambda _: " cubed"),
    (re.compile(r"#(?=[0-9])"), lambda _: "number "),
    (re.compile(r"(?<!\w)#(?=[A-Za-z])"), lambda _: "hashtag "),
    (re.compile(r"~(?=[0-9$€£])"), lambda _: "about "),
    (re.compile(r"(?<=[0-9])\s?([x×])\s?(?=[0-9])"), _product),
    (
        re.compile(r"(?<![\w&])([A-Z]{1,4})&([A-Z]{1,4})(?![\w&])"),
        lambda match: f"{spell(match[1])} and {spell(match[2])}",
    ),
    (re.compile(r"(?<=[0-9])\s?-\s(?=[0-9])"), lambda _: " minus "),
    (re.compile(r"(?<![\w)])-(?=\.?[0-9])"), lambda _: "minus "),
    (
        re.compile(r"-->|->|=>|>=|<=|!=|==|[&+=→⇒←±×÷≥≤≈≠∞√§@%$€£π°^∈]|(?<=\s)[<>](?=\s)|[<>](?=\s?[0-9])"),
        _sign,
    ),
    (re.compile(r"(?<![\w/])([A-Za-z]{1,30})\s?/\s?([A-Za-z]{1,30})(?![\w/])"), _slash),
    (re.compile(r"(?<=\w)/(?=\w)"), lambda _: " slash "),
)

_NUMBERS: tuple[Rule, ...] = (
    (
        re.compile(r"(?<![\w.,])([0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,12})(?:st|nd|rd|th)\b"),
        lambda match: ordinal(match[1]),
    ),
    (re.compile(r"(?<=[A-Za-z])-?(?=[0-9])|(?<=[0-9])-?(?=[^\W\d_])"), lambda _: " "),
    *moments.YEARS,
    (re.compile(r"(?<![\w.,])(?:[0-9]{1,4}\.){2,5}[0-9]{1,4}(?![\w])"), lambda match: _version(match[0])),
    (
        re.compile(r"(?<![\w.,])([0-9]{1,2}):([0-9]{1,3})(?![\w:])"),
        lambda m: f"{cardinal(m[1])} to {cardinal(m[2])}",
    ),
    (re.compile(r"(?<![\w.,])\.([0-9]{1,15})(?![\w])"), lambda match: f"point {digits(match[1])}"),
    (re.compile(rf"(?<![0-9.,]){NUMBER}(?![0-9]|[.,][0-9])"), lambda match: _plain(match[0])),
    (re.compile(r"[0-9]{1,400}"), lambda match: f" {_plain(match[0])} "),
)

#: From so many digits on, a number without commas is a code, not an amount, unless it is round.
_CODE = 8


def _plain(number: str) -> str:
    code = number.isdigit() and len(number) >= _CODE and not number.endswith("000")
    return digits(number) if code else cardinal(number)


def _version(number: str) -> str:
    """1.2.3, 192.168.0.1"""
    parts = number.split(".")
    between = " dot " if len(parts) > 3 else " point "
    return between.join(map(_short if len(parts) > 3 else cardinal, parts))


def _short(number: str) -> str:
    """'192' as in an address: one ninety-two."""
    if len(number) == 3 and number[0] != "0" and number[1] != "0":
        return f"{cardinal(number[0])} {cardinal(number[1:])}"
    return cardinal(number)


RULES: tuple[Rule, ...] = (
    *addresses.RULES,
    *moments.RULES,
    *amounts.RULES,
    *_ABBREVIATIONS,
    *_SIGN_RULES,
    *_NUMBERS,
    (re.compile(r"(?<![A-Za-z0-9_-])([A-Z]{2,6})('?s)?(?![A-Za-z0-9_])"), acronym),
)
