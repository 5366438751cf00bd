"""From an LLM's words to what a voice can say: where to cut, and what is no speech. Pure; no word is ever lost."""

import re
from collections.abc import Sequence

from pydantic import BaseModel, Field

#: Marks of layout around words, which a voice would read aloud.
_AROUND = re.compile("[*`~\u200b-\u200f\ufe00-\ufe0f\ufeff]+")

#: Marks between words, and pictures.
_BETWEEN = re.compile(
    "[_#|<>\\[\\]{}\\\\^\u2028\u2029\u2190-\u2bff\U0001f000-\U0001faff\U000e0000-\U000e007f]+"
)

#: Typographic signs that not every phonemiser knows, and the plain ones.
_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": ", ", "—": ", ", "…": "...", "\u00a0": " "}
)

_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]”’]*\s*$")
_CLAUSE_END = re.compile(r"[,;:—–]+[\"')\]”’]*\s*$")

#: Not the end of a sentence, though they look like it.
_ABBREVIATIONS = frozenset(
    {"mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "etc.", "e.g.", "i.e.", "no.", "jr.", "sr."}
)

#: A breath is natural before these.
_OPENERS = frozenset(
    {
        "and",
        "or",
        "but",
        "so",
        "because",
        "that",
        "which",
        "who",
        "when",
        "where",
        "while",
        "if",
        "as",
        "than",
    }
    | {"to", "of", "in", "on", "at", "for", "with", "from", "by"}
)


class Rules(BaseModel, frozen=True):
    """How long clauses are. Short ones are heard soon, long ones sound better."""

    first_words: int = Field(6, gt=1)
    """The first clause ends after this many words even without punctuation: somebody waits for it."""
    shortest_first_words: int = Field(2, gt=0)
    """Fewer words than this are spoken alone only if they are a whole sentence."""
    clause_words: int = Field(6, gt=0)
    """From this length on a comma ends a later clause; a sentence's end always does."""
    longest_words: int = Field(24, gt=1)
    """A later clause is cut here."""


def clause(words: Sequence[str], rules: Rules, *, first: bool, done: bool) -> int:
    """How many of `words` to speak next, in one go; 0: wait for more. `done`: no more will come."""
    shortest = rules.shortest_first_words if first else rules.clause_words
    longest = rules.first_words if first else rules.longest_words
    for count, word in enumerate(words[:longest], 1):
        if ends_sentence(word) or (count >= shortest and _CLAUSE_END.search(word)):
            return count
    if len(words) > longest:
        return _good_place(words, longest, shortest)
    return len(words) if done else 0


def _good_place(words: Sequence[str], longest: int, shortest: int) -> int:
    """Before the last word that opens a phrase, not too near the beginning; else after `longest` words."""
    for count in range(longest, max(shortest, longest // 2) - 1, -1):
        if words[count].strip().lower() in _OPENERS:
            return count
    return longest


def ends_sentence(word: str) -> bool:
    """A full stop, question or exclamation mark ends it; that of an abbreviation or an initial does not."""
    bare = word.strip().lower().lstrip("\"'(")
    if bare in _ABBREVIATIONS or re.fullmatch(r"[a-z]\.", bare):
        return "\n" in word
    return bool(_SENTENCE_END.search(word)) or "\n" in word


def pause_ms(word: str) -> int:
    """The silence that belongs after a clause that ends with `word`."""
    if ends_sentence(word):
        return 260
    return 130 if _CLAUSE_END.search(word) else 0


def speakable(word: str) -> str:
    """What of a word a voice can say, without spaces around it; "" for markup and pictures."""
    plain = _BETWEEN.sub(" ", _AROUND.sub("", word.translate(_PLAIN)))
    joined = " ".join(plain.split())
    return joined if any(sign.isalnum() for sign in joined) else ""
