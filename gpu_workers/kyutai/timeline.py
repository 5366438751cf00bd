"""When the words of a reply sound: from the steps at which the model read them to samples. Pure.

The model speaks a word as long after it has read it as its audio is delayed: step and frame of audio bear the same
number. So while a frame is given out, the text of the next second and a half is known, and where most words stop.
"""

from collections import deque
from typing import NamedTuple

#: The first frames are a click, in which nothing is said: the model reads its first word after them (moshi drops as
#: many in `TTSModel.simple_generate`).
DROPPED = 2


class Heard(NamedTuple):
    """What a frame holds, as in SpeechFrame."""

    words: list[tuple[int, int, int]]
    spoken: int
    spoken_to: int
    last: bool


class Timeline:
    """One reply. Steps are the model's, counted from the reply's first; positions are samples given out."""

    def __init__(self, first_word: int, frame_samples: int) -> None:
        self._frame = frame_samples
        self._next = self._spoken = first_word
        self._spoken_to = 0
        self._given = 0
        self._starts: deque[tuple[int, int]] = deque()
        """(word, position) of those whose sound has not begun in what was given out."""
        self._stops: deque[tuple[int, int]] = deque()
        """(word, position) of those that have begun and are not complete."""
        self._end: int | None = None

    def read(self, word: int, step: int) -> None:
        """The model begins to read `word`, or another part of it. Words passed over are silent: moments before it."""
        at = self._position(step)
        self._starts.extend((number, at) for number in range(self._next, word + 1))
        self._next = max(self._next, word + 1)

    def end(self, words: int, step: int) -> None:
        """All `words` of the reply were read and said by the text of this step."""
        self.read(words - 1, step)
        self._end = step

    def frame(self, step: int) -> Heard:
        """The next frame is given out; the model has read up to `step`."""
        self._given += self._frame
        last = self._end is not None and self._given >= self._end * self._frame
        begun = []
        while self._starts and (self._starts[0][1] < self._given or last):
            number, start = self._starts.popleft()
            stop = self._starts[0][1] if self._starts else self._position(self._end or step + 1)
            begun.append((number, start, stop))
            self._stops.append((number, stop))
        while self._stops and (self._stops[0][1] <= self._given):
            number, self._spoken_to = self._stops.popleft()
            self._spoken = number + 1
        return Heard(begun, self._spoken, self._spoken_to, last)

    def nothing(self, words: int) -> Heard:
        """The reply ends without a sound: every word of it is a moment."""
        silent = [(number, 0, 0) for number in range(self._next, words)]
        return Heard(silent, max(words, self._next), 0, last=True)

    def _position(self, step: int) -> int:
        return max(0, step - DROPPED) * self._frame
