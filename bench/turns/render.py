"""Puts phrases together to a turn: with their pauses, at a level, and with the places where each sounds. Pure."""

from collections.abc import Sequence

import numpy as np

from bench.turns import cutting, hums
from bench.turns.cutting import RATE
from bench.turns.dialogue import Phrase, Sound, Stretch
from gpu_workers.engine import Pcm

#: Speech is brought to this level, dBFS of what sounds; a voice may differ from it.
LEVEL_DB = -23.0


def sentences(phrases: Sequence[Phrase]) -> list[list[Phrase]]:
    """Phrases said in one go: up to a full stop or question mark. A hum stands alone: no synthesizer says it."""
    found: list[list[Phrase]] = [[]]
    for phrase in phrases:
        if hums.is_hum(phrase.text):
            found += [[phrase], []]
            continue
        found[-1].append(phrase)
        if phrase.text.endswith((".", "?", "!")):
            found.append([])
    return [sentence for sentence in found if sentence]


def joined(parts: Sequence[Pcm], pauses_ms: Sequence[int]) -> Sound:
    """The parts with silence after each; where they sound is measured."""
    pcm: list[Pcm] = []
    phrases, at = [], 0
    for part, pause_ms in zip(parts, pauses_ms, strict=True):
        soft = cutting.faded(part)
        heard = cutting.sounding(soft)
        phrases.append(Stretch(at + heard.begin, at + heard.end))
        silence = np.zeros(pause_ms * RATE // 1000, np.float32)
        pcm += [soft, silence]
        at += len(soft) + len(silence)
    return Sound(np.concatenate(pcm), tuple(phrases))


def levelled(sound: Sound, level_db: float) -> Sound:
    """At this level, and never clipped."""
    gain = 10 ** ((level_db - cutting.rms_db(sound.pcm)) / 20)
    peak = float(np.max(np.abs(sound.pcm), initial=0)) * gain
    gain *= min(1.0, 0.95 / peak) if peak else 1.0
    return Sound((sound.pcm * gain).astype(np.float32), sound.phrases)
