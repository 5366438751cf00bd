"""What the listener would be asked about the corpus, and what the answers are: material to fit `ending` with.

The embedded engine's parts run one after the other here, without threads, so that every judgement has its words and
a run gives the same rows again. Nobody answers: a turn goes on to its end, whatever was thought of its pauses.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np

from bench.turns.dialogue import Rendered, Sound
from config.settings import SAMPLE_RATE
from gpu_workers.downsample import Downsampler
from gpu_workers.endpoint.listener import Decode, Judge, Listener, Rules
from gpu_workers.endpoint.offset import Offset
from gpu_workers.endpoint.silero import FRAME, SileroVad
from gpu_workers.endpoint.smart_turn import SmartTurn
from gpu_workers.engine import Pcm
from gpu_workers.moonshine import Moonshine

#: Session samples of a frame.
STEP = FRAME * 3 // 2

#: Quiet after a turn: the last judgement of a pause comes after 1 s of it.
TAIL_S = 1.3

#: A voice that ends so shortly before the last phrase does ended with it.
SLACK_S = 0.4


@dataclass(frozen=True)
class Judgement:
    """One question about a pause and what was known of it."""

    dialogue: str
    category: str
    turn: int
    at_s: float
    """Where in the turn's sound the voice stopped."""
    ms: int
    """Length of the pause when it was judged."""
    sound: float
    """Smart Turn's opinion."""
    text: str
    """What was understood of the turn so far."""
    end: bool
    """The turn was over."""


class Room:
    """The models, and the listener of one dialogue at a time."""

    def __init__(self) -> None:
        self._vad = SileroVad(1, 1)
        self._smart_turn = SmartTurn(1)
        self._moonshine = Moonshine(1)

    def judgements(self, rendered: Rendered) -> Iterator[Judgement]:
        """Those of all turns, in order."""
        self._vad.reset(0)
        self._offset, self._down = Offset(1), Downsampler(1)
        self._listener, self._heard = Listener(Rules(), 0), 0  # type: ignore[call-arg]
        dialogue = rendered.dialogue
        for number, turn in enumerate(rendered.turns):
            begin, over = self._heard, turn.phrases[-1].end / SAMPLE_RATE - SLACK_S
            for judge, sound in self._listen(_in_room(turn, rendered.noise, self._heard)):
                at_s = (judge.at - begin) / SAMPLE_RATE
                yield Judgement(
                    dialogue.name, dialogue.category, number, round(at_s, 3), judge.ms, round(sound, 5),
                    judge.utterance.text, at_s >= over,
                )  # fmt: skip
            self._listener.commit(self._heard)

    def _listen(self, pcm: Pcm) -> Iterator[tuple[Judge, float]]:
        for frame in pcm[: len(pcm) // STEP * STEP].reshape(-1, STEP):
            self._heard += STEP
            small = self._down.convert({0: self._offset.remove(0, frame)})
            self._listener.hear(small[0], self._vad.probabilities(small)[0], None)
            wanted, self._listener.wanted = self._listener.wanted, []
            for decode in wanted:
                if isinstance(decode, Decode):
                    self._listener.decoded(decode, self._moonshine.transcribe(decode.pcm))
            for judge in wanted:
                if isinstance(judge, Judge):
                    yield judge, self._smart_turn.p_end(judge.pcm)


def _in_room(turn: Sound, noise: Pcm | None, at: int) -> Pcm:
    """The turn and some quiet after it, in the dialogue's noise as it goes on from session sample `at`."""
    pcm = np.concatenate([turn.pcm, np.zeros(int(TAIL_S * SAMPLE_RATE), np.float32)])
    if noise is None:
        return pcm
    return pcm + np.take(noise, np.arange(at, at + len(pcm)), mode="wrap")


def write(dialogues: Iterable[Rendered], path: Path) -> None:
    """A line of JSON for each judgement."""
    room = Room()
    with path.open("w") as file:
        for number, rendered in zip(count(1), dialogues, strict=False):
            for judgement in room.judgements(rendered):
                file.write(json.dumps(asdict(judgement)) + "\n")
            if number % 20 == 0:
                file.flush()


def read(path: Path) -> list[Judgement]:
    """What `write` wrote."""
    return [Judgement(**json.loads(line)) for line in path.read_text().splitlines()]
