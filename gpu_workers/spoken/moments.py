"""How English says when: dates, times of day, years, decades."""

import re

from gpu_workers.spoken.numbers import cardinal, ordinal, year
from gpu_workers.spoken.owned import Rule, Said, following

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_BY_SHORT = {name[:3]: name for name in MONTHS} | {"Sept": "September"}

#: "May 5" is a day, "may 5" is not: months have capitals.
MONTH = rf"(?:{'|'.join(MONTHS)}|(?:{'|'.join(_BY_SHORT)})\b\.?)"
_TAIL = r"(?![\w:%]|[.,/-][0-9])"
_LATER = r"(?:\s?[-–]\s?(?P<to>[0-9]{1,2})(?:st|nd|rd|th)?)?"

#: Behind these words four digits from 1001 on are a year; from 1900 to 2099 they always are.
_BEFORE_YEARS = frozenset(
    {
        "in",
        "since",
        "by",
        "from",
        "until",
        "till",
        "of",
        "around",
        "circa",
        "year",
        "before",
        "after",
        "during",
        "to",
    }
)
_LAST_HOUR, _MIDDAY = 24, 12


def _month(name: str) -> str:
    return _BY_SHORT.get(name.rstrip(".")[:4], _BY_SHORT.get(name[:3], name))


def _is_day(day: str) -> bool:
    return 1 <= int(day) <= 31


def _month_first(match: re.Match[str]) -> Said:
    """November 23, 2026."""
    if not _is_day(match["day"]):
        return None
    said = [(match.start(), _month(match["month"])), (match.start("day"), ordinal(match["day"]))]
    if match["to"]:
        said.append((match.start("to"), f"to {ordinal(match['to'])}"))
    if match["year"]:
        said[-1] = (said[-1][0], said[-1][1] + ",")
        said.append((match.start("year"), year(match["year"])))
    return said


def _day_first(match: re.Match[str]) -> Said:
    """23 November 2026, the 3rd of May, 5-7 May."""
    if not _is_day(match["day"]):
        return None
    named = match.string[max(0, match.start() - 5) : match.start()].lower().split()[-1:] == ["the"]
    said = [(match.start("day"), ("" if named else "the ") + ordinal(match["day"]))]
    if match["to"]:
        said.append((match.start("to"), f"to {ordinal(match['to'])}"))
    said.append((match.start("of") if match["of"] else said[-1][0], "of"))
    said.append((match.start("month"), _month(match["month"])))
    if match["year"]:
        said[-1] = (said[-1][0], said[-1][1] + ",")
        said.append((match.start("year"), year(match["year"])))
    return said


def _numeric(match: re.Match[str]) -> Said:
    """2026-11-23; 11/23/2026, as Americans write, unless that is no month; 23.11.2026."""
    first, second = int(match["first"]), int(match["second"])
    if match["dot"] == "." or first > len(MONTHS):
        first, second = second, first
    return _dated(first, second, match["year"])


def _iso(match: re.Match[str]) -> Said:
    return _dated(int(match["month"]), int(match["day"]), match["year"])


def _dated(month: int, day: int, number: str) -> Said:
    if not 1 <= month <= len(MONTHS) or not _is_day(str(day)):
        return None
    return f"{MONTHS[month - 1]} {ordinal(str(day))}, {year(number)}"


def _time(match: re.Match[str]) -> Said:
    hour, minute = match["hour"], match["minute"] or "00"
    if int(hour) > _LAST_HOUR or int(minute) > 59:
        return None
    said = _clock(int(hour), int(minute), named=bool(match["half"]))
    if match["second"]:
        said += f" and {cardinal(str(int(match['second'])))} seconds"
    if not match["half"]:
        return [(match.start(), said)]
    stop = "." if match[0].endswith(".") and _ends(match) else ""
    return [(match.start(), said), (match.start("half"), f"{match['half'].upper()}-M{stop}")]


def _clock(hour: int, minute: int, *, named: bool) -> str:
    if minute:
        return f"{cardinal(str(hour))} {'oh ' if minute < 10 else ''}{cardinal(str(minute))}"
    if named:
        return cardinal(str(hour))
    if hour % _LAST_HOUR == 0:
        return "midnight"
    return cardinal(str(hour)) + (" o'clock" if hour <= _MIDDAY else " hundred")


def _ends(match: re.Match[str]) -> bool:
    """Whether a sentence may end behind the match: nothing follows, or a capital does."""
    rest = following(match)
    return not rest or rest[0].isupper()


def _half(match: re.Match[str]) -> str:
    return f"{match[1].upper()}-M{'.' if match[0].endswith('.') and _ends(match) else ''}"


def _year(match: re.Match[str]) -> Said:
    before = match.string[max(0, match.start() - 12) : match.start()].lower().split()
    likely = 1900 <= int(match[0]) < 2100 or (before[-1:] and before[-1] in _BEFORE_YEARS)
    return year(match[0]) if likely and int(match[0]) > 1000 else None


def _decade(match: re.Match[str]) -> str:
    """1990s, '90s, 90s."""
    number = match[1]
    said = year(number) if len(number) == 4 else cardinal(number)
    return f"{said[:-1]}ies" if said.endswith("y") else f"{said}s"


_YEAR = r"(?:,?\s(?P<year>[12][0-9]{3}))?"

RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"(?<![\w.,/-])(?P<year>[0-9]{{4}})-(?P<month>[0-9]{{2}})-(?P<day>[0-9]{{2}}){_TAIL}"),
        _iso,
    ),
    (
        re.compile(
            rf"(?<![\w.,/-])(?P<first>[0-9]{{1,2}})(?P<dot>[/.])(?P<second>[0-9]{{1,2}})(?P=dot)(?P<year>[12][0-9]{{3}}){_TAIL}"
        ),
        _numeric,
    ),
    (
        re.compile(rf"\b(?P<month>{MONTH})\s(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?{_LATER}{_YEAR}{_TAIL}"),
        _month_first,
    ),
    (
        re.compile(
            rf"(?<![\w.,/:-])(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?{_LATER}\s(?P<of>of\s)?(?P<month>{MONTH})(?!\w){_YEAR}{_TAIL}"
        ),
        _day_first,
    ),
    (
        re.compile(
            r"(?<![\w.,:/-])(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
            r"(?:\s?(?P<half>[AaPp])\.?[Mm]\b\.?)?(?![\w:]|[.,][0-9])"
        ),
        _time,
    ),
    (
        re.compile(
            r"(?<![\w.,:/])(?P<hour>[0-9]{1,2})(?P<minute>(?!))?(?P<second>(?!))?\s?(?P<half>[AaPp])(?:[Mm]\b|\.[Mm]\.?(?!\w))\.?"
        ),
        _time,
    ),
    (re.compile(r"(?<![\w.])([ap])\.m\.?(?!\w)"), _half),
    (re.compile(r"(?<![\w.,/-])([12][0-9]{2}0)'?s\b"), _decade),
    (re.compile(r"(?<![\w.,/-])'?([2-9]0)'?s\b"), _decade),
)

#: Last of all: a year is a bare number that nothing else has claimed.
YEARS: tuple[Rule, ...] = ((re.compile(r"(?<![\w.,/$€£-])[12][0-9]{3}(?![\w/%-]|[.,][0-9])"), _year),)
