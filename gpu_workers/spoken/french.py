"""How French says numbers, percentages and euros; the rest is left to the voice."""

import re

from gpu_workers.spoken.numbers import cardinal, ordinal
from gpu_workers.spoken.owned import Rule, Said

#: Thousands with (narrow) spaces, a decimal comma.
_NUMBER = r"(?P<whole>[0-9]{1,3}(?:[ \u00a0\u202f][0-9]{3}){1,4}|[0-9]{1,15})(?:,(?P<rest>[0-9]{1,15}))?"
_ALONE = rf"(?<![\w.,])(?P<minus>-)?{_NUMBER}"


def _number(match: re.Match[str]) -> str:
    whole = re.sub(r"\s", "", match["whole"])
    said = cardinal(f"{whole}.{match['rest']}" if match["rest"] else whole, "fr")
    return f"moins {said}" if match["minus"] else said


def _counted(match: re.Match[str]) -> Said:
    unit = {"€": "euros", "%": "pour cent"}[match["unit"]]
    single = match["whole"] in ("0", "1") and match["unit"] == "€"
    return [(match.start(), _number(match)), (match.start("unit"), "euro" if single else unit)]


def _ordinal(match: re.Match[str]) -> str:
    if match[1] == "1":
        return "première" if match[2] in ("re", "ère") else "premier"
    return ordinal(match[1], "fr")


def _hour(match: re.Match[str]) -> Said:
    minutes = f" {cardinal(str(int(match[2])), 'fr')}" if match[2] and int(match[2]) else ""
    hours = "une" if match[1] in ("1", "01") else cardinal(str(int(match[1])), "fr")
    return f"{hours} heure{'' if hours in ('une', 'zéro') else 's'}{minutes}"


RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<![\w.,])([0-9]{1,2})\s?[hH]([0-9]{2})?(?!\w)"), _hour),
    (re.compile(r"(?<![\w.,])([0-9]{1,9})(ers?|ères?|re|e|ème|èmes)(?!\w)"), _ordinal),
    (re.compile(rf"{_ALONE}\s?(?P<unit>[€%])"), _counted),
    (re.compile(rf"{_ALONE}(?![\w]|[.,][0-9])"), _number),
    (re.compile(r"\s&\s"), lambda _: " et "),
)
