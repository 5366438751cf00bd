"""Says turns in the voices of the corpus; what a voice said before comes from the cache."""

import functools
import zlib
from collections.abc import Sequence

import numpy as np
import soxr

from bench.turns import cache, cutting, hums, render
from bench.turns.cutting import RATE
from bench.turns.dialogue import Phrase, Sound, Stretch
from bench.turns.engines import Engine, Speech
from bench.turns.voice_kokoro import Hibari, Kokoro
from bench.turns.voice_piper import Piper
from bench.turns.voices import Voice
from gpu_workers.clauses.spelt import MARKS
from gpu_workers.engine import Pcm

#: A hesitation in mid-phrase draws out so much of the last syllable, 220 ms, by one of these factors.
TAIL, DRAWLS = 5_280, (1.25, 1.45, 1.7)

#: Below this, silence only joins two words: it is no hesitation, and nothing is drawn out.
HESITATION_MS = 300


@functools.cache
def engine(kind: str, speaker: str) -> Engine:
    """Loaded once."""
    match kind:
        case "piper":
            return Piper(speaker)
        case "kokoro":
            return Kokoro(speaker)
        case _:
            return Hibari()


def say(voice: Voice, pieces: Sequence[str], speed: float = 1.0) -> tuple[Pcm, list[Stretch]]:
    """One sentence by this voice, `speed` times as fast as it speaks usually, and where each piece lies in it."""
    speaker = engine(voice.engine, voice.speaker)
    reading = speaker.read(pieces)
    pace = round(voice.speed * speed / voice.pitch, 3)
    speech = cache.kept(
        (voice.engine, voice.speaker, pace, reading.ids), lambda: speaker.speak(reading.ids, pace)
    )
    if voice.pitch == 1.0:
        return speech.pcm, speech.stretches(reading)
    shifted = np.asarray(soxr.resample(speech.pcm, RATE * voice.pitch, RATE), np.float32)
    edges = tuple(round(edge / voice.pitch) for edge in speech.edges)
    return shifted, Speech(shifted, edges).stretches(reading)


def pieces(voice: Voice, phrases: Sequence[Phrase], speed: float) -> list[Pcm]:
    """The sound of each phrase, without silence around it."""
    found: list[Pcm] = []
    for sentence in render.sentences(phrases):
        if hums.is_hum(sentence[0].text):
            found.append(hums.hum(sentence[0].text, voice.hum_hz))
            continue
        pcm, parts = say(voice, [phrase.text for phrase in sentence], speed)
        for phrase, piece in zip(sentence, cutting.cuts(pcm, parts), strict=True):
            hesitates = phrase.pause_ms >= HESITATION_MS and phrase.text[-1] not in MARKS
            drawl = DRAWLS[zlib.crc32(phrase.text.encode()) % len(DRAWLS)]
            found.append(cutting.drawled(piece, TAIL, drawl) if hesitates else piece)
    return found


def spoken(
    voice: Voice, phrases: Sequence[Phrase], speed: float = 1.0, level_db: float = render.LEVEL_DB
) -> Sound:
    """A turn as this voice says it."""
    sound = render.joined(pieces(voice, phrases, speed), [phrase.pause_ms for phrase in phrases])
    return render.levelled(sound, level_db + voice.level_db)
