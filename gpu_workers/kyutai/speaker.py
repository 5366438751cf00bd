"""One reply as the speech model sees it: which token it reads at each step, and what its frames hold. No tensors here.

moshi's state machine decides when a word is read: the model asks for one, and must wait while it still has tokens.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from moshi.models.tts import Entry

from gpu_workers.kyutai.script import Script
from gpu_workers.kyutai.timeline import Heard, Timeline

#: Steps of a pause in which the word before it sounds: 0.8 s. More would be silence that the next words wait for.
LAST_WORD = 10


class Speaker:
    """Feeds a script to the machine. Steps are counted from the reply's first."""

    def __init__(
        self, machine: Any, script: Script, timeline: Timeline, padding_between: int, lead: int
    ) -> None:
        """lead: steps from reading a word to its first frame of audio."""
        self.script = script
        self._machine = machine
        self._state = machine.new_state([])
        self._timeline = timeline
        self._padding = padding_between
        self._ahead: int = machine.second_stream_ahead
        self._numbers: deque[int] = deque()
        """Words that the entries of the machine's state belong to."""
        self._rest = lead + LAST_WORD
        self._resting = self._silent = False
        """A pause was put behind the text; the model reads it."""
        self._begun = False
        """Something has been, or will be, read."""

    def ready(self) -> bool:
        """Whether the text suffices for a step: the model reads a word and, on a second stream, one after it."""
        state = self._state
        if self._resting and self.script.complete:
            self._go_on()
        short = self._ahead + 1 - len(state.entries)
        if short > 0 and not self.script.complete:
            for piece in self.script.take(short):
                self._enter(piece.tokens, piece.number)
            if self.script.rests and self._begun and not self._resting:
                self._pause()
            short = self._ahead + 1 - len(state.entries)
        return short <= 0 or bool(state.queued) or state.forced_padding > 0 or self.script.complete

    @property
    def mute(self) -> bool:
        """Whether the text is over, and there was nothing in it to be spoken. Asked after `ready`."""
        return self.script.complete and not self._begun

    def nothing(self) -> Heard:
        """What a mute reply ends with."""
        return self._timeline.nothing(self.script.words)

    def read(self, sampled: int, step: int) -> int:
        """The token that the model reads at this step, having asked for `sampled`."""
        state = self._state
        token, consumed = self._machine.process(step, state, sampled)
        if consumed:
            number = self._numbers.popleft()
            self._silent = number < 0
            if not self._silent:
                self._timeline.read(number, step)
            state.transcript.clear()  # moshi keeps every word of a reply; we keep their times
            state.consumption_times.clear()
        if state.end_step == step:
            self._timeline.end(self.script.words, step)
        return int(token)

    def frame(self, step: int) -> Heard:
        """A frame of audio is made at this step: the words in it."""
        return self._timeline.frame(step)

    def _pause(self) -> None:
        """The text stops: the model must go on until its last word sounds. moshi knows words without tokens as breaks;
        so many that the last words are read without others ahead of them."""
        self._resting = True
        for padding in (self._rest, *[0] * self._ahead):
            self._state.entries.append(Entry([], "", padding))
            self._numbers.append(-1)

    def _go_on(self) -> None:
        """What is left of a pause is not waited for."""
        self._resting = False
        while self._state.entries and not self._state.entries[-1].tokens:
            self._state.entries.pop()
            self._numbers.pop()
        if self._silent:
            self._state.forced_padding = 0

    def _enter(self, tokens: Sequence[int], number: int) -> None:
        """Puts a piece into the machine's queue; the first one says who speaks, as moshi's own scripts do."""
        if self._resting:
            self._go_on()
        if not self._begun:
            tokens = [self._machine.token_ids.main, *tokens]
            self._begun = True
        padding = self._padding + len(tokens) - 1 if self._padding else 0
        self._state.entries.append(Entry(list(tokens), "", padding))
        self._numbers.append(number)
