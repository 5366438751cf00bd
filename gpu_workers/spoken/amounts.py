"""How English says amounts: money, percentages, things measured, fractions, ranges, telephone numbers."""

import re

from gpu_workers.spoken.numbers import NUMBER, cardinal, digits, one, ordinal, year
from gpu_workers.spoken.owned import Rule, Said

#: Currencies: one, many, a hundredth.
_MONEY = {
    "$": ("dollar", "dollars", "cent"),
    "US$": ("U-S dollar", "U-S dollars", "cent"),
    "€": ("euro", "euros", "cent"),
    "£": ("pound", "pounds", "penny"),
    "¥": ("yen", "yen", ""),
    "₹": ("rupee", "rupees", ""),
    "₩": ("won", "won", ""),
    "USD": ("U-S dollar", "U-S dollars", "cent"),
    "EUR": ("euro", "euros", "cent"),
    "GBP": ("pound", "pounds", "penny"),
    "JPY": ("yen", "yen", ""),
    "CHF": ("Swiss franc", "Swiss francs", ""),
    "CAD": ("Canadian dollar", "Canadian dollars", "cent"),
    "AUD": ("Australian dollar", "Australian dollars", "cent"),
    "CNY": ("yuan", "yuan", ""),
    "INR": ("rupee", "rupees", ""),
}

MAGNITUDES = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "tn": "trillion",
}

#: Units: one, many. Case counts.
UNITS = {
    "km": ("kilometer", "kilometers"),
    "m": ("meter", "meters"), "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"),
    "μm": ("micrometer", "micrometers"), "nm": ("nanometer", "nanometers"), "mi": ("mile", "miles"),
    "ft": ("foot", "feet"), "yd": ("yard", "yards"), "km²": ("square kilometer", "square kilometers"),
    "m²": ("square meter", "square meters"), "cm²": ("square centimeter", "square centimeters"),
    "m³": ("cubic meter", "cubic meters"), "cm³": ("cubic centimeter", "cubic centimeters"),
    "sq ft": ("square foot", "square feet"), "ha": ("hectare", "hectares"),
    "kg": ("kilogram", "kilograms"), "g": ("gram", "grams"), "mg": ("milligram", "milligrams"),
    "μg": ("microgram", "micrograms"), "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "l": ("liter", "liters"), "L": ("liter", "liters"), "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"), "cl": ("centiliter", "centiliters"), "dl": ("deciliter", "deciliters"),
    "kB": ("kilobyte", "kilobytes"), "KB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"), "PB": ("petabyte", "petabytes"),
    "kbps": ("kilobit per second", "kilobits per second"), "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"), "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"), "GHz": ("gigahertz", "gigahertz"), "W": ("watt", "watts"),
    "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts"), "GW": ("gigawatt", "gigawatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"), "V": ("volt", "volts"), "mV": ("millivolt", "millivolts"),
    "kV": ("kilovolt", "kilovolts"), "mA": ("milliamp", "milliamps"), "mAh": ("milliamp hour", "milliamp hours"),
    "Ω": ("ohm", "ohms"), "s": ("second", "seconds"), "sec": ("second", "seconds"), "secs": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"), "μs": ("microsecond", "microseconds"), "ns": ("nanosecond", "nanoseconds"),
    "min": ("minute", "minutes"), "mins": ("minute", "minutes"), "h": ("hour", "hours"), "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"), "mph": ("mile per hour", "miles per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"),
    "rpm": ("revolution per minute", "revolutions per minute"), "bpm": ("beat per minute", "beats per minute"),
    "fps": ("frame per second", "frames per second"), "px": ("pixel", "pixels"),
    "dpi": ("dot per inch", "dots per inch"),
    "dB": ("decibel", "decibels"), "Pa": ("pascal", "pascals"), "hPa": ("hectopascal", "hectopascals"),
    "kPa": ("kilopascal", "kilopascals"), "psi": ("P-S-I", "P-S-I"), "cal": ("calorie", "calories"),
    "kcal": ("kilocalorie", "kilocalories"), "kJ": ("kilojoule", "kilojoules"), "hp": ("horsepower", "horsepower"),
    "°C": ("degree Celsius", "degrees Celsius"), "° C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"), "° F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"), "%": ("percent", "percent"), "¢": ("cent", "cents"),
}  # fmt: skip

#: What something is counted by, behind a slash.
_PER = {
    "h": "hour", "hr": "hour", "hour": "hour", "s": "second", "sec": "second", "second": "second", "min": "minute",
    "minute": "minute", "day": "day", "d": "day", "week": "week", "wk": "week", "month": "month", "mo": "month",
    "year": "year", "yr": "year", "kg": "kilogram", "g": "gram", "l": "liter", "L": "liter", "km": "kilometer",
    "m": "meter", "m²": "square meter", "m³": "cubic meter", "person": "person", "user": "user", "night": "night",
    "item": "item", "lb": "pound", "gal": "gallon", "GB": "gigabyte", "token": "token", "s²": "second squared",
}  # fmt: skip

_FRACTIONS = {"2": "half", "4": "quarter"}

#: Numbers that everybody reads in one way only.
_FIXED = {"24/7": "twenty-four seven", "9/11": "nine eleven", "50/50": "fifty fifty"}

_FULL_NUMBER = 7  # digits of a telephone number without its area


def _any(
    names: dict[str, object] | dict[str, str] | dict[str, tuple[str, str]] | dict[str, tuple[str, str, str]],
) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_BEFORE = r"(?<![\w.,:/])"
_SIGNED = rf"(?P<minus>-)?(?P<number>{NUMBER})"
_TO = rf"(?:\s?[-–]\s?(?P<sign2>[$€£])?(?P<to>{NUMBER}))?"
_EACH = rf"(?:\s?/\s?(?P<per>{_any(_PER)})(?!\w))?"
_MAGNITUDE = r"(?:[\s-]?(?P<magnitude>thousand|million|billion|trillion|bn|mn|tn|[kKmMbB])(?!\w))?"
_SIGNS = r"US\$|[$€£¥₹₩]"
CODES = "|".join(name for name in _MONEY if len(name) == 3 and name.isalpha())

_SIGN_FIRST = re.compile(
    rf"(?<![\w.])(?P<minus>-)?(?P<sign>{_SIGNS}|(?:{CODES})\s)\s?(?P<number>{NUMBER}){_TO}{_MAGNITUDE}(?![0-9]){_EACH}"
)
_SIGN_LAST = re.compile(rf"{_BEFORE}{_SIGNED}{_TO}{_MAGNITUDE}\s?(?P<sign>[€£]|(?:{CODES})(?!\w)){_EACH}")
_MEASURED = re.compile(rf"{_BEFORE}{_SIGNED}(?:%?{_TO})(?:\s|-)?(?P<unit>{_any(UNITS)})(?!\w){_EACH}")


_Parts = list[tuple[int, str]]


def _count(match: re.Match[str]) -> _Parts:
    """The number, or the range, of a match."""
    said = [(match.start(), ("minus " if match["minus"] else "") + cardinal(match["number"]))]
    return [*said, (match.start("to"), f"to {cardinal(match['to'])}")] if match["to"] else said


def _each(match: re.Match[str]) -> _Parts:
    return [(match.start("per"), f"per {_PER[match['per']]}")] if match["per"] else []


def _money(match: re.Match[str]) -> Said:
    """There are as many things to say as there are places, but the currency's name comes last, wherever its sign is."""
    name, names, cent = _MONEY[match["sign"].strip()]
    number, magnitude = match["number"], match["magnitude"]
    whole, _, rest = number.partition(".")
    said = [words for _, words in _count(match)]
    if magnitude:
        said += [MAGNITUDES.get(magnitude.lower(), magnitude), names]
    elif len(rest) == 2 and cent and not match["to"]:
        large, small = _coins(whole, rest, (name, names, cent))
        said = [("minus " if match["minus"] else "") + large, small]
    else:
        said.append(name if one(number) and not match["to"] else names)
    glued = match.end("sign") == match.start("number") and not match["sign"].endswith(" ")
    groups = [
        group for group in ("number", "to", "magnitude", "" if glued else "sign") if group and match[group]
    ]
    if glued:
        said[-2:] = [" ".join(said[-2:])]
    return [*zip(sorted(map(match.start, groups)), said, strict=True), *_each(match)]


def _coins(whole: str, rest: str, names: tuple[str, str, str]) -> tuple[str, str]:
    """'5', '20': five dollars, and twenty cents. A part that is nought is left out, and the other one comes in two."""
    cents = "pence" if names[2] == "penny" and rest != "01" else names[2] + ("" if rest == "01" else "s")
    unit = names[0] if one(whole) else names[1]
    if not int(rest):
        return cardinal(whole), unit
    small = cardinal(str(int(rest)))
    return (small, cents) if whole == "0" else (f"{cardinal(whole)} {unit}", f"and {small} {cents}")


def _measured(match: re.Match[str]) -> Said:
    name, names = UNITS[match["unit"]]
    said = (name if one(match["number"]) and not match["to"] else names).split(" ", 1)
    places = [match.start("unit") + word.start() for word in re.finditer(r"\S+", match["unit"])]
    parts = zip(places, said, strict=True) if len(places) > 1 else [(places[0], " ".join(said))]
    return [*_count(match), *parts, *_each(match)]


def _height(match: re.Match[str]) -> Said:
    return [(match.start(), f"{cardinal(match[1])} foot"), (match.start(2), cardinal(match[2]))]


def _fraction(match: re.Match[str]) -> Said:
    if match[0] in _FIXED:
        return _FIXED[match[0]]
    above, below = match["above"], match["below"]
    whole = match["whole"]
    if whole and int(above) >= max(1, int(below)):
        return None
    if not 1 < int(below) <= 100 or int(above) >= int(below):
        said = f"{cardinal(above)} over {cardinal(below)}"
    else:
        part = _FRACTIONS.get(below) or ordinal(below)
        many = "halves" if part == "half" else f"{part}s"
        said = f"{'a' if whole and above == '1' else cardinal(above)} {part if above == '1' else many}"
    if whole:
        return [(match.start("whole"), cardinal(whole)), (match.start("above"), f"and {said}")]
    return said


def _range(match: re.Match[str]) -> Said:
    """'3-5', '3 - 5', '1939-45': to; with spaces and falling, or before a result: minus."""
    first, last = match["from"], match["to"]
    falls = float(first.replace(",", "")) > float(last.replace(",", ""))
    minus = match["equals"] or (match["gap"] and falls)
    years = len(first) == 4 and len(last) in (2, 4) and first[:2] in ("17", "18", "19", "20")
    say = year if years and not minus else cardinal
    between = match.start("dash"), "minus" if minus else "to"
    return [(match.start("from"), say(first)), between, (match.start("to"), say(last))]


def _phone(match: re.Match[str]) -> Said:
    """Digit by digit, with a breath between groups; None if it is no telephone number."""
    text = match[0]
    groups = list(re.finditer(r"[0-9]+", text))
    shape = [len(group[0]) for group in groups]
    known = shape in ([3, 3, 4], [1, 3, 3, 4]) or (shape == [3, 4] and "-" in text)
    if not known and (
        "." in text
        or not (text[0] in "+(0" and sum(shape) >= _FULL_NUMBER and (len(shape) > 1 or text[0] == "+"))
    ):
        return None
    said = [f"{digits(group[0])}," for group in groups]
    said[-1] = said[-1][:-1]
    said[0] = "plus " + said[0] if text[0] == "+" else said[0]
    return [(match.start() + group.start(), words) for group, words in zip(groups, said, strict=True)]


_TELEPHONE = re.compile(
    r"(?<![\w.,/:$€£-])(?:\+[0-9]{1,3}[\s.-]?)?(?:\([0-9]{1,5}\)[\s.-]?)?[0-9]{1,5}(?:[\s.-][0-9]{2,5}){0,6}"
    r"(?![\w/:%]|[.,-][0-9]|\s?[€£°])"
)

RULES: tuple[Rule, ...] = (
    (_TELEPHONE, _phone),
    (re.compile(r"(?<![\w.,])\+[0-9]{7,15}(?!\w)"), _phone),
    (re.compile(r"(?<![\w.,/-])(911|112|999)(?![\w/%-]|[.,][0-9])"), lambda match: digits(match[0])),
    (_SIGN_FIRST, _money),
    (_SIGN_LAST, _money),
    (re.compile(r"(?<![\w.,])([0-9])'\s?([0-9]{1,2})(?:\"|'')"), _height),
    (_MEASURED, _measured),
    (
        re.compile(
            r"(?<![\w./,])(?:(?P<whole>[0-9]{1,4})\s)?(?P<above>[0-9]{1,3})/(?P<below>[0-9]{1,3})(?![\w/]|[.,][0-9])"
        ),
        _fraction,
    ),
    (
        re.compile(
            rf"(?<![\w.,/-])(?P<from>{NUMBER})(?P<gap>\s)?(?P<dash>[-–])\s?(?P<to>{NUMBER})"
            r"(?![\w/]|[.,-][0-9])(?=(?P<equals>\s?=)?)"
        ),
        _range,
    ),
)
