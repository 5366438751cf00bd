"""Numbers in words, by num2words: cardinals, decimals, ordinals, years, digits. Takes text as people write it."""

import re

from num2words import num2words

#: Longer numbers than this nobody reads as one; they are read digit by digit.
LONGEST = 15

#: A number as English writes it: thousands with commas, a decimal point.
NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,5}|[0-9]{1,15})(?:\.[0-9]{1,15})?"

_DIGITS = {"en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]}


def cardinal(number: str, language: str = "en") -> str:
    """'1,234' or '1234' or '1234.5', with a decimal point; a leading zero ('007') makes it a row of digits."""
    whole, _, rest = number.replace(",", "").partition(".")
    if len(whole) > LONGEST or (len(whole) > 1 and whole[0] == "0"):
        said = digits(whole, language)
    else:
        said = _words(int(whole or "0"), "cardinal", language)
    return f"{said} {_POINT.get(language, 'point')} {digits(rest, language)}" if rest else said


def ordinal(number: str, language: str = "en") -> str:
    """'23' or '1,000' as a rank."""
    plain = number.replace(",", "")
    return _words(int(plain), "ordinal", language) if len(plain) <= LONGEST else digits(plain, language)


def year(number: str, language: str = "en") -> str:
    """'1999' as a year."""
    return _words(int(number), "year", language)


def digits(number: str, language: str = "en") -> str:
    """'042' one by one; what is no digit is left out."""
    return " ".join(_digit(sign, language) for sign in number if sign in "0123456789")


def one(number: str) -> bool:
    """Whether what is counted stands in the singular."""
    return number in ("1", "1.0", "1.00")


#: The decimal sign's name.
_POINT = {"en": "point", "fr": "virgule"}


def _digit(sign: str, language: str) -> str:
    if language not in _DIGITS:
        _DIGITS[language] = [_words(value, "cardinal", language) for value in range(10)]
    return _DIGITS[language][int(sign)]


def _words(value: int, form: str, language: str) -> str:
    """Without the commas that num2words puts between thousands: a voice would stop at each."""
    return re.sub(r",(?=\s)", "", str(num2words(value, to=form, lang=language)))
