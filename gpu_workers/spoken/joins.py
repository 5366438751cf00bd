"""Which words belong together, so that no clause ends between them: '5 | km', 'Dr. | Smith', '*clears | throat*'."""

import re
from collections.abc import Sequence

from gpu_workers.spoken.amounts import CODES, MAGNITUDES, UNITS
from gpu_workers.spoken.english import BEFORE_NUMBERS, SHORT, TITLES
from gpu_workers.spoken.markup import LEAD
from gpu_workers.spoken.moments import MONTH
from gpu_workers.spoken.tables import word_set

#: So many words a construct may have; one that is not closed by then never will be, and its signs mean nothing.
LONGEST = 6

_NUMBER = re.compile(r"\W{0,3}[0-9][0-9.,:/]{0,20}%?(?<![.,:])")
_ORDINAL = re.compile(r"\W?[0-9]{1,4}(?:st|nd|rd|th)")
_DAY = re.compile(r"[0-9]{1,2}(?:st|nd|rd|th)?,")
_MONTH_NAME = re.compile(MONTH)
_CODE = re.compile(CODES)
_INITIAL = re.compile(r"\W?(?:[A-Z]\.){1,4}")
_SIGN = re.compile(r"[-–—×x*/+=÷<>→±]|->|=>|==")
_MONTH_HEAD = re.compile(rf"{MONTH}(?!\w)")

#: What may stand behind a number and be one with it.
_BEHIND = (
    frozenset(UNITS)
    | frozenset(MAGNITUDES)
    | frozenset(CODES.split("|"))
    | word_set("am pm a.m p.m AM PM thousand million billion trillion percent € sq")
)

_SHORT = frozenset(TITLES) | frozenset(SHORT) | frozenset(BEFORE_NUMBERS) - {"no"}

_STAGE = rf"(?<!\w)(?:[*_](?=[a-z])|[\[(])(?:{LEAD}|[a-z]{{2,12}}ly\s?$)"
_STAGE = rf"(?<!\w)(?:[*_](?=[a-z])|[\[(])(?:{LEAD}|[a-z]{{2,12}}ly\s?$)"
_OPEN = re.compile(rf"{_STAGE}|</?[A-Za-z]|\]\([^()\s]{{0,300}}(?=\s|$)", re.I)
_CLOSES = {"*": "*", "_": "_", "[": "]", "(": ")", "<": ">", "]": ")"}


def may_cut(words: Sequence[str], count: int, *, done: bool) -> bool:
    """Whether a clause may end after `count` words. `done`: no more will come; else what may come counts as a no."""
    before = words[count - 2].strip() if count > 1 else ""
    left = words[count - 1]
    if "\n" in left:
        return True
    left = left.strip()
    if count < len(words):
        kept = _together(before, left, words[count].strip())
    else:
        kept = not done and _wants_more(before, left)
    return not kept and not _inside(words, count, done=done)


def _wants_more(before: str, left: str) -> bool:
    """Whether the word may belong to one that is not known yet."""
    return bool(
        _NUMBER.fullmatch(left)
        or _ORDINAL.fullmatch(left)
        or _MONTH_NAME.fullmatch(left)
        or _CODE.fullmatch(left)
        or _INITIAL.fullmatch(left)
        or _abbreviates(left)
        or (_SIGN.fullmatch(left) and _NUMBER.fullmatch(before))
        or (left == "of" and _ORDINAL.fullmatch(before))
        or (_DAY.fullmatch(left) and _MONTH_NAME.fullmatch(before))
    )


def _together(before: str, left: str, right: str) -> bool:
    if not _wants_more(before, left) or not right:
        return False
    digit = right[0].isdigit() or (right[0] in "$€£(-" and right[1:2].isdigit())
    month = bool(_MONTH_HEAD.match(right))
    if _NUMBER.fullmatch(left):
        return digit or month or right.rstrip(".,;:!?)") in _BEHIND or bool(_SIGN.fullmatch(right))
    if _ORDINAL.fullmatch(left) or left == "of":
        return month or right == "of"
    if _MONTH_NAME.fullmatch(left) or _CODE.fullmatch(left) or _DAY.fullmatch(left):
        return digit
    return not _INITIAL.fullmatch(left) or right[0].isupper()


def _abbreviates(word: str) -> bool:
    return word.endswith(".") and word[:12].lower().strip("(\"'").rstrip(".") in _SHORT


def _inside(words: Sequence[str], count: int, *, done: bool) -> bool:
    """Whether the place behind `count` words is within a stage direction, a tag or a link, or may turn out to be."""
    for first in range(max(0, count - LONGEST + 1), count):
        if not any(sign in words[first] for sign in "*_[(<"):
            continue
        text, complete = _line(words[first : first + LONGEST])
        head = len(words[first])
        found = _OPEN.search(text)
        if found is None or found.start() >= head:
            continue
        closed = text.find(_CLOSES[found[0][0]], found.end())
        if closed < 0 and not (done or complete) and len(words) < first + LONGEST:
            return True
        if closed >= sum(len(word) for word in words[first:count]):
            return True
    return False


def _line(words: Sequence[str]) -> tuple[str, bool]:
    """The words up to a line's end, and whether it was reached."""
    for place, word in enumerate(words, 1):
        if "\n" in word:
            return "".join(words[:place]), True
    return "".join(words), False
