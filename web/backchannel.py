"""Which words only say "I am listening", and which are the assistant's own, come back through the air. Pure."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

#: Said while listening on, and taken for nothing more; sounds that recognisers make of coughs and breaths among them.
BACKCHANNELS = frozenset((
    "ah", "aha", "ahh", "alright", "cool", "eh", "er", "erm", "exactly", "fine", "gosh", "great", "ha", "haha",
    "hah", "hm", "hmm", "hmmm", "huh", "indeed", "interesting", "k", "mhm", "mm", "mmm", "mmhm", "mmhmm", "nice",
    "oh", "ok", "okay", "ooh", "right", "sure", "true", "uh", "uhhuh", "um", "umm", "whoa", "wow", "yeah", "yep",
    "yes", "yup",
))  # fmt: skip

#: The same, in more than one word.
_PHRASES = (
    "i see", "uh huh", "mm hm", "mm hmm", "m hm", "m hmm", "of course", "got it", "go on", "i know", "that's right",
    "thats right", "all right", "i understand", "makes sense", "oh really", "really", "no way", "very good",
)  # fmt: skip

#: Words around the one that sounds in which an echo's words are looked for: an echo comes late, and a recogniser drops
#: and invents some.
ECHO_WORDS = 14

#: So much of a text must be the assistant's own for it to be an echo.
ECHO_SHARE = 0.6

#: Of a longer text it is enough that so much of its letters are, in pieces of so many: what comes back is misheard.
ECHO_LETTERS, PIECE, LONG_TEXT = 0.7, 4, 16

#: Words with which people take the floor; whoever says one of them alone is no echo of it.
_FLOOR = frozenset(
    ("stop", "wait", "no", "hold", "hey", "pause", "quiet", "enough", "sorry", "excuse", "actually")
)


def words_of(text: str) -> list[str]:
    """Its words in lower case, without punctuation."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in nothing but case and punctuation."""
    return words_of(one) == words_of(other)


def asks_for_floor(text: str) -> int:
    """How many words of it want to be answered; 0 for "mm-hm", for "yeah, right" and for nothing at all."""
    joined = f" {' '.join(words_of(text))} "
    for phrase in _PHRASES:
        while f" {phrase} " in joined:
            joined = joined.replace(f" {phrase} ", " ", 1)
    return sum(word not in BACKCHANNELS for word in joined.split())


def is_scrap(text: str) -> bool:
    """A word or two, and none with which people take the floor: what a recogniser makes of a bit of sound."""
    words = words_of(text)
    return len(words) <= 2 and _FLOOR.isdisjoint(words)


def is_echo(text: str, spoken: Sequence[str]) -> bool:
    """Whether `text` is what the assistant was saying: `spoken`, its newest words, as they were written."""
    heard = words_of(text)
    own = words_of(" ".join(spoken))[-ECHO_WORDS - len(heard) :]
    if not heard or not own or (len(heard) <= 2 and not _FLOOR.isdisjoint(heard)):
        return False
    return _in_order(heard, own) >= ECHO_SHARE * len(heard) or _letters_alike("".join(heard), "".join(own))


def _letters_alike(heard: str, own: str) -> bool:
    if len(heard) < LONG_TEXT:
        return False
    blocks = SequenceMatcher(None, heard, own, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size >= PIECE) >= ECHO_LETTERS * len(heard)


def _in_order(heard: Sequence[str], own: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(own) + 1)
    for word in heard:
        before = 0
        for at, mine in enumerate(own, 1):
            before, row[at] = row[at], before + 1 if word == mine else max(row[at], row[at - 1])
    return row[-1]
