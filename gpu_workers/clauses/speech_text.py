"""Where an LLM's words are cut into clauses, which are spoken in one go. Pure; no word is ever lost."""

import re
from collections.abc import Sequence

from pydantic import BaseModel, Field

from gpu_workers.spoken import joins
from gpu_workers.spoken.english import BEFORE_NUMBERS, LAST, SHORT, TITLES
from gpu_workers.spoken.tables import word_set

#: Always the end of a sentence, in any script; a full stop is looked at more closely.
_SENTENCE_MARKS = frozenset("!?。！？؟।")
_CLAUSE_MARKS = frozenset(",;:—–،、，；：")

#: With these a sentence begins that follows "U.S." or "vitamin C."; other capitals there are names.
_STARTERS = word_set(
    """
    the a an it he she they we i you this that these those but and in on at if when what there here so then our my
    your his her their its is are do does did can will would who why how where for after before because as with to
    no yes
    """
)

#: A breath is natural before these.
_OPENERS = word_set(
    """
    and or but so because that which who when where while if as than to of in on at for with from by
    """
)

#: A clause that ends with one of these sounds cut off.
_LEANING = (
    word_set(
        """
    a an the my your his her its our their this these some any no every each very more most too
    """
    )
    | _OPENERS
)

#: No word of any language that puts spaces between words is so long.
LONGEST_WORD = 100

#: Words without spaces between them: up to their script's punctuation, or so many signs.
_PART = re.compile(
    rf"[^。！？；，、：]{{1,{LONGEST_WORD}}}[。！？；，、：]*[」』）”’\s]*|[。！？；，、：]+[」』）”’\s]*"
)

#: An address is not cut: it is said by its domain.
_ADDRESS = re.compile(r"[^\s:]{0,300}?(?:https?://|www\.)[^\s<>\"]*\s*")


class Rules(BaseModel, frozen=True):
    """How long clauses are. Short ones are heard soon, long ones sound better."""

    first_words: int = Field(4, gt=1)
    """The first clause ends after this many words even without punctuation: somebody waits for it. Each word more costs
    about 40 ms of silence, half of it in the LLM."""
    shortest_first_words: int = Field(2, gt=0)
    """Fewer words than this are spoken alone only if they are a whole sentence."""
    clause_words: int = Field(6, gt=0)
    """From this length on a comma ends a later clause; a sentence's end always does."""
    longest_words: int = Field(24, gt=1)
    """A later clause is cut here."""
    longest_characters: int = Field(300, ge=LONGEST_WORD)
    """A clause is cut here too: a model's time and memory grow with what it says in one go."""

    @property
    def horizon(self) -> int:
        """More words than this never change where a clause is cut."""
        return max(self.first_words, self.longest_words) + joins.LONGEST + 1


def clause(words: Sequence[str], rules: Rules, *, first: bool, done: bool) -> int:
    """How many of `words` to speak next, in one go; 0: wait for more. `done`: no more will come."""
    shortest = rules.shortest_first_words if first else rules.clause_words
    longest = rules.first_words if first else rules.longest_words
    characters = 0
    for count, word in enumerate(words[:longest], 1):
        characters += len(word)
        if characters > rules.longest_characters:
            return max(1, count - 1)
        following = words[count] if count < len(words) else None
        ends = ends_sentence(word, following, alone=count == 1)
        if (ends or (count >= shortest and ends_clause(word))) and joins.may_cut(words, count, done=done):
            return count
    if len(words) < longest:
        return len(words) if done else 0
    return _good_place(words, longest, shortest, done=done)


def _good_place(words: Sequence[str], longest: int, shortest: int, *, done: bool) -> int:
    """Before the last word that opens a phrase, not too near the beginning; else not behind a word that leans on the
    next; never within what belongs together: for that the cut is put off by a few words."""
    places = range(longest, max(shortest, longest // 2) - 1, -1)
    able = [count for count in places if joins.may_cut(words, count, done=done)]
    firm = [count for count in able if _bare(words[count - 1]) not in _LEANING]
    opening = [count for count in firm if count < len(words) and _bare(words[count]) in _OPENERS]
    if found := opening or firm or (able if longest in able else ()):
        return found[0]
    latest = longest + joins.LONGEST
    for count in range(longest + 1, min(len(words), latest) + 1):
        if joins.may_cut(words, count, done=done):
            return count
    return longest if done or len(words) >= latest else 0


def _bare(word: str) -> str:
    return word[:LONGEST_WORD].strip().lower()


def ends_sentence(word: str, following: str | None = None, *, alone: bool = False) -> bool:
    """Whether a sentence ends with it. `following`: the next word, if known; `alone`: it is the clause's first."""
    mark = _last_mark(word)
    if "\n" in word or mark != ".":
        return "\n" in word or mark in _SENTENCE_MARKS
    name = _bare(word).strip("\"'([*_)]").removesuffix(".")
    if name in BEFORE_NUMBERS and following is None:
        return alone
    return not _abbreviates(name, following or "", alone=alone)


def _abbreviates(name: str, following: str, *, alone: bool) -> bool:
    """Whether the full stop behind `name` is not, or not only, the end of a sentence."""
    next_name = following.strip("\"'([*_ .,")
    capital = next_name[:1].isupper()
    if name in TITLES or name in SHORT:
        return True
    if name in BEFORE_NUMBERS:
        return next_name[:1].isdigit()
    if name.endswith((".", "…")) or name in LAST or name in ("a.m", "p.m"):
        return not capital
    if re.fullmatch(r"(?:[a-z]\.){0,6}[a-z]", name):  # U.S., J.
        return not (capital and next_name.lower() in _STARTERS)
    return alone and bool(re.fullmatch(r"[0-9]{1,2}", name))  # the number of a list's item


def ends_clause(word: str) -> bool:
    """Whether it ends with a comma or another sign of a breath."""
    return (
        _last_mark(word) in _CLAUSE_MARKS
        or word.strip().endswith(("...", "…"))
        or word.strip() in ("-", "--")
    )


def pause_ms(word: str, following: str | None = None) -> int:
    """The silence that belongs after a clause that ends with `word`."""
    if ends_sentence(word, following):
        return 260
    return 130 if ends_clause(word) else 0


def parts(word: str) -> list[str]:
    """A word, or what is spoken of it at a time: of languages without spaces, and of what is no word at all."""
    if _ADDRESS.fullmatch(word) or not _PART.match(word):
        return [word]
    return _PART.findall(word)


def _last_mark(word: str) -> str:
    """The last mark of punctuation behind all letters, whatever closes or decorates it; "" if there is none."""
    for sign in reversed(word):
        if sign in ".…":
            return "."
        if sign in _SENTENCE_MARKS or sign in _CLAUSE_MARKS:
            return sign
        if sign.isalnum():
            break
    return ""
