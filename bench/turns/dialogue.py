"""A scripted dialogue: what a user says, with every pause, and what sounds while the assistant speaks. Pure data."""

from dataclasses import dataclass
from typing import Literal

from gpu_workers.engine import Pcm

#: What a dialogue tries. Those of the first group have turns to be ended, those of the second an overlay on a reply.
Category = Literal[
    "plain",  # whole sentences and questions, with the pauses of fluent speech
    "hesitation",  # pauses of 0.3-1.5 s in mid-sentence, some with "um" or "uh"
    "spelling",  # e-mail addresses and names, letter by letter
    "number",  # phone numbers, dates, amounts, in groups
    "list",  # things one after another
    "short",  # "Yes." "No, thanks." "At nine."
    "noisy",  # any of them in noise at 20 or 10 dB
    "human",  # recordings of people
    "interruption",  # the user takes the floor
    "backchannel",  # "mm-hm", "yeah", "right"
    "cough",  # coughs, clicks, bangs, laughter: voice-like or loud, no words
    "room",  # bursts of noise, babble or music
    "echo",  # the assistant's own voice, leaking back at -20 dB
]

OVERLAID: frozenset[Category] = frozenset({"interruption", "backchannel", "cough", "room", "echo"})


@dataclass(frozen=True)
class Phrase:
    """Words without a pause, and the silence after them (ms) while the turn goes on; 0 after the last one."""

    text: str
    pause_ms: int = 0


@dataclass(frozen=True)
class Overlay:
    """What sounds while the assistant speaks: `after_ms` after the first audio of the reply."""

    text: str
    """"" for what has no words, and for an echo, which is the reply itself."""
    after_ms: int


@dataclass(frozen=True)
class Dialogue:
    """One session: the turns in order; an overlay, if any, over the reply to the last of them."""

    name: str
    """Unique in the corpus."""
    category: Category
    voice: str
    turns: tuple[tuple[Phrase, ...], ...]
    noise_db: float | None = None
    """Signal to noise; None: a quiet room."""
    overlay: Overlay | None = None


@dataclass(frozen=True)
class Stretch:
    """From sample `begin` to `end` (exclusive), 24 kHz, of the sound it belongs to."""

    begin: int
    end: int


@dataclass(frozen=True)
class Sound:
    """Mono float32 at 24 kHz, and where in it each phrase sounds: measured on the audio, not assumed."""

    pcm: Pcm
    phrases: tuple[Stretch, ...]


@dataclass(frozen=True)
class Rendered:
    """A dialogue as sound. `noise`, if there is any, is played under everything, in a loop, silences included."""

    dialogue: Dialogue
    turns: tuple[Sound, ...]
    overlay: Sound | None = None
    """None for an echo: only who hears the reply can make it."""
    noise: Pcm | None = None
