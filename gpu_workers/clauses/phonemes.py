"""How words sound, in the alphabet that Kokoro was taught. Speaks nothing.

English comes from hibari-tts' dictionaries, American and British, and a small net for words that are in none; other
languages from the espeak-ng that piper-tts carries.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from hibari.g2p import G2P
from piper import PiperVoice
from piper.config import PhonemeType, PiperConfig

from gpu_workers.clauses.spelt import ipa_in_kokoro

#: First letter of a Kokoro voice, and espeak-ng's name for its language. Japanese (j) and Chinese (z) voices want
#: phonemes that neither source makes.
ESPEAK = {"e": "es", "f": "fr", "h": "hi", "i": "it", "p": "pt-br"}

#: First letters of the voices that can be read for.
READABLE = "ab" + "".join(ESPEAK)

#: Sounds that espeak writes with two signs and Kokoro with one; longer ones first.
_ONE_SIGN = {
    "tʃ": "ʧ", "dʒ": "ʤ", "ts": "ʦ", "dz": "ʣ", "tɕ": "ʨ", "dʑ": "ʥ", "aɪ": "I", "aʊ": "W", "eɪ": "A", "oʊ": "O",
    "əʊ": "Q", "ɔɪ": "Y", "c\u0327": "ç",
}  # fmt: skip
_TWO_SIGNS = re.compile("|".join(_ONE_SIGN))


class Reader(Protocol):
    """Reads one language aloud, silently."""

    def read(self, words: Sequence[str]) -> list[str]:
        """The phonemes of each word as it sounds among the others, its punctuation behind them."""
        ...


def reader(voice: str) -> Reader:
    """The one for a voice, by the first letter of its name; loaded once."""
    return _reader(voice[:1])


@cache
def _reader(letter: str) -> Reader:
    return Foreign(ESPEAK[letter]) if letter in ESPEAK else English(british=letter == "b")


@cache
def english(british: bool) -> Any:
    """Text to phonemes; about 100 MB."""
    return G2P(british=british)


class English:
    """A word sounds by what stands around it: the end, the start; to read, have read."""

    def __init__(self, british: bool) -> None:
        self._g2p = english(british)

    def read(self, words: Sequence[str]) -> list[str]:
        """Tokens are dealt out to the words by the letters they stand for."""
        found = [""] * len(words)
        tidy = [" ".join(word.split()) for word in words]
        ends = [len(" ".join(tidy[: number + 1])) for number in range(len(tidy))]
        at = number = 0
        tokens = self._g2p.phonemize_tokens(self._g2p.tokenize(ipa_in_kokoro(" ".join(tidy))))
        for token in tokens:
            while number < len(words) - 1 and at >= ends[number]:
                number += 1
            found[number] += (token.phonemes or "") + (" " if token.whitespace else "")
            at += len(token.text) + len(token.whitespace)
        return [phonemes.strip() for phonemes in found]


class Foreign:
    """Read by espeak-ng through Piper, whose lock keeps two threads from speaking two languages to it at once."""

    def __init__(self, language: str) -> None:
        names: Mapping[str, Any] = {
            "num_symbols": 0,
            "num_speakers": 1,
            "sample_rate": 0,
            "phoneme_id_map": {},
        }
        config = PiperConfig(**names, espeak_voice=language, phoneme_type=PhonemeType.ESPEAK)
        self._espeak = PiperVoice(session=None, config=config)

    def read(self, words: Sequence[str]) -> list[str]:
        """In one go, for words run into each other; then dealt out."""
        return dealt(self._line(" ".join(words)).split(), [self._line(word).split() for word in words])

    def _line(self, text: str) -> str:
        signs = "".join(sign for sentence in self._espeak.phonemize(text) for sign in [*sentence, " "])
        return _TWO_SIGNS.sub(lambda found: _ONE_SIGN[found[0]], signs)


def dealt(together: Sequence[str], alone: Sequence[Sequence[str]]) -> list[str]:
    """The groups of a clause for each word, of which it is known how it is read alone.

    Exact where the groups add up; else, as where two words run together, by each word's share of the signs.
    """
    if sum(map(len, alone)) == len(together):
        left = iter(together)
        return [" ".join(next(left) for _ in groups) for groups in alone]
    line = " ".join(together)
    share = len(line) / max(1, sum(len("".join(groups)) for groups in alone))
    found, at, exact = [], 0, 0.0
    for groups in alone:
        exact += share * len("".join(groups))
        found.append(line[at : round(exact)].strip())
        at = round(exact)
    return found
