"""Recordings of people, cut into turns, with the pauses that the readers made. Pure, but for `sound`.

Seed A has the one recording, seed B the other. Both are read with long pauses between clauses; a turn takes in some of
them, and so its pauses are a person's own. Texts: Beckett, *Worstward Ho*; Dickens, *A Tale of Two Cities*.
"""

import itertools
from functools import cache

import soundfile
import soxr

from bench.turns import cutting
from bench.turns.cutting import RATE
from bench.turns.dialogue import Dialogue, Phrase, Sound, Stretch
from gpu_workers import weights
from gpu_workers.engine import Pcm

#: Where each clause begins and ends, seconds, and what it is: read off the recordings' loudness.
CLAUSES: dict[str, tuple[tuple[float, float, str], ...]] = {
    "beckett.wav": (
        (0.30, 2.92, "Ever tried. Ever failed."),
        (3.52, 4.15, "No matter."),
        (4.25, 5.58, "Try again."),
        (6.64, 9.96, "Fail again. Fail better."),
    ),
    "two_cities.wav": (
        (1.19, 2.83, "It was the best of times,"),
        (2.97, 4.56, "it was the worst of times,"),
        (4.82, 6.21, "it was the age of wisdom,"),
        (6.58, 8.21, "it was the age of foolishness,"),
        (8.81, 10.31, "it was the epoch of belief,"),
        (10.75, 12.79, "it was the epoch of incredulity,"),
        (13.46, 14.78, "it was the season of light,"),
        (15.14, 16.69, "it was the season of darkness,"),
        (17.56, 18.75, "it was the spring of hope,"),
        (18.97, 20.47, "it was the winter of despair,"),
        (21.23, 24.01, "we had everything before us, we had nothing before us,"),
        (24.64, 26.05, "we were all going direct to heaven,"),
        (26.55, 28.28, "we were all going direct the other way"),
        (29.09, 29.62, "in short,"),
        (29.92, 32.41, "the period was so far like the present period,"),
        (32.78, 36.59, "that some of its noisiest authorities insisted on its being received,"),
        (36.93, 37.46, "for good"),
        (37.60, 38.36, "or for evil,"),
        (38.69, 41.64, "in the superlative degree of comparison only."),
    ),
}

#: The clauses of each turn, from and to (exclusive); one line is a dialogue.
PLANS: dict[str, tuple[str, tuple[tuple[tuple[int, int], ...], ...]]] = {
    "A": ("beckett.wav", (((0, 1), (1, 3), (3, 4)), ((0, 3),), ((1, 4),))),
    "B": (
        "two_cities.wav",
        (
            ((0, 2), (2, 4)),
            ((4, 6), (6, 8)),
            ((8, 10), (10, 11)),
            ((11, 13),),
            ((13, 19),),
            ((4, 8),),
            ((8, 13),),
        ),
    ),
}

#: The readers' rooms are louder than a synthesizer's: their breaths and echoes are not speech.
AUDIBLE_DB = 30.0


def _turn(file: str, first: int, beyond: int) -> tuple[Phrase, ...]:
    cuts = CLAUSES[file][first:beyond]
    gaps = [round(1000 * (after[0] - before[1])) for before, after in itertools.pairwise(cuts)]
    return tuple(Phrase(cut[2], gap) for cut, gap in zip(cuts, [*gaps, 0], strict=True))


def _dialogues(seed: str) -> tuple[Dialogue, ...]:
    file, plans = PLANS[seed]
    return tuple(
        Dialogue(f"{seed}-human-{number:02}", "human", file, tuple(_turn(file, *cut) for cut in plan))
        for number, plan in enumerate(plans)
    )


HUMAN = {"A": _dialogues("A"), "B": _dialogues("B")}


@cache
def recording(file: str) -> Pcm:
    """At 24 kHz, mono."""
    pcm, rate = soundfile.read(
        weights.find("moonshine_voice", f"assets/{file}", "moonshine-voice"), dtype="float32", always_2d=True
    )
    resampled: Pcm = soxr.resample(pcm[:, 0], rate, RATE, "HQ").astype("float32")
    return resampled


def sound(dialogue: Dialogue, number: int) -> Sound:
    """One turn of a dialogue of HUMAN: the recording as it is, and where each clause sounds in it."""
    file, plans = PLANS[dialogue.name.partition("-")[0]]
    first, beyond = plans[int(dialogue.name.rpartition("-")[2])][number]
    cuts = [(round(begin * RATE), round(end * RATE)) for begin, end, _ in CLAUSES[file][first:beyond]]
    begin, pcm = cuts[0][0], recording(file)
    found = []
    for start, stop in cuts:
        heard = cutting.sounding(pcm[start:stop], AUDIBLE_DB)
        found.append(Stretch(start - begin + heard.begin, start - begin + heard.end))
    return Sound(cutting.faded(pcm[begin : cuts[-1][1]]), tuple(found))
