"""Turns scripts into sound: phrases are said as the sentences that they are, then parted by their pauses."""

import zlib
from collections.abc import Sequence

import numpy as np

from bench.turns import cutting, voices
from bench.turns.cutting import RATE
from bench.turns.dialogue import Phrase, Sound, Stretch
from bench.turns.spelt import MARKS
from bench.turns.voices import Voice
from gpu_workers.engine import Pcm

#: Speech is brought to this level, dBFS of what sounds; a voice may differ from it.
LEVEL_DB = -23.0

#: A hesitation in mid-phrase draws out so much of the last syllable, 220 ms, by one of these factors.
TAIL, DRAWLS = 5_280, (1.25, 1.45, 1.7)

#: Below this, silence only joins two words: it is no hesitation, and nothing is drawn out.
HESITATION_MS = 300


def sentences(phrases: Sequence[Phrase]) -> list[list[Phrase]]:
    """Phrases that belong to one sentence together: a full stop or question mark ends one."""
    found: list[list[Phrase]] = [[]]
    for phrase in phrases:
        found[-1].append(phrase)
        if phrase.text.endswith((".", "?", "!")):
            found.append([])
    return [sentence for sentence in found if sentence]


def pieces(voice: Voice, phrases: Sequence[Phrase], speed: float) -> list[Pcm]:
    """The sound of each phrase, without silence around it."""
    found: list[Pcm] = []
    for sentence in sentences(phrases):
        pcm, parts = voices.say(voice, [phrase.text for phrase in sentence], speed)
        for phrase, piece in zip(sentence, cutting.cuts(pcm, parts), strict=True):
            hesitates = phrase.pause_ms >= HESITATION_MS and phrase.text[-1] not in MARKS
            drawl = DRAWLS[zlib.crc32(phrase.text.encode()) % len(DRAWLS)]
            found.append(cutting.drawled(piece, TAIL, drawl) if hesitates else piece)
    return found


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


def spoken(voice: Voice, phrases: Sequence[Phrase], speed: float = 1.0, level_db: float = LEVEL_DB) -> Sound:
    """A turn as this voice says it."""
    sound = joined(pieces(voice, phrases, speed), [phrase.pause_ms for phrase in phrases])
    return levelled(sound, level_db + voice.level_db)


def levelled(sound: Sound, level_db: float) -> Sound:
    """At this level, and never clipped."""
    gain = 10 ** ((level_db - cutting.rms_db(sound.pcm)) / 20)
    peak = float(np.max(np.abs(sound.pcm), initial=0)) * gain
    gain *= min(1.0, 0.95 / peak) if peak else 1.0
    return Sound((sound.pcm * gain).astype(np.float32), sound.phrases)
