"""Who speaks in the corpus: voices of seed A, other voices of seed B. Pure data."""

from dataclasses import dataclass
from typing import Literal

Seed = Literal["A", "B"]


@dataclass(frozen=True)
class Voice:
    """A speaker as the corpus has it."""

    name: str
    engine: Literal["piper", "kokoro", "hibari"]
    speaker: str
    speed: float = 1.0
    """Slower than 1 is slower."""
    pitch: float = 1.0
    """By resampling: above 1 a smaller head."""
    level_db: float = 0.0
    """Louder or softer than the corpus' level: people sit near the microphone, or do not."""
    hum_hz: float = 150.0
    """The pitch of its "mm-hm", which no synthesizer here can say."""
    share: int = 1
    """How often it speaks, against the others: the fast engines more often."""


#: Who may speak. No speaker is in both seeds; each has women and men, Americans and Britons, one fast engine.
VOICES: dict[Seed, tuple[Voice, ...]] = {
    "A": (
        Voice("joe", "piper", "joe", speed=0.95, level_db=0.0, hum_hz=98, share=3),
        Voice("bella", "kokoro", "af_bella", speed=1.0, level_db=-3.0, hum_hz=198, share=2),
        Voice("michael", "kokoro", "am_michael", speed=1.0, level_db=2.5, hum_hz=123, share=2),
        Voice("isabella", "kokoro", "bf_isabella", speed=0.95, level_db=4.0, hum_hz=219, share=1),
    ),
    "B": (
        Voice("heart", "hibari", "af_heart", speed=0.95, level_db=1.0, hum_hz=207, share=3),
        Voice("fenrir", "kokoro", "am_fenrir", speed=1.0, level_db=-4.0, hum_hz=147, share=2),
        Voice("emma", "kokoro", "bf_emma", speed=1.0, level_db=3.0, hum_hz=188, share=2),
        Voice("george", "kokoro", "bm_george", speed=1.0, level_db=-1.0, hum_hz=153, share=1),
    ),
}


def named(name: str) -> Voice:
    """The voice of that name; KeyError if there is none."""
    return {voice.name: voice for voices in VOICES.values() for voice in voices}[name]
