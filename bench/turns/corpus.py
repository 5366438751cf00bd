"""The corpus of turn-taking: scripted dialogues of seed A or B as sound, made once and kept under build/."""

import hashlib
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from bench.turns import bursts, cache, cutting, human, hums, noises, render, scripts, speaking, voices
from bench.turns.cutting import RATE
from bench.turns.dialogue import Category, Dialogue, Phrase, Rendered, Sound
from bench.turns.voices import Seed
from gpu_workers.engine import Pcm

#: dBFS of a quiet room: silence is never all zeros.
ROOM_TONE_DB = -65.0

#: A loop of noise, seconds.
NOISE_S = 12

#: Level of an overlay without words, against speech: from a cough across the room to a bang beside the microphone.
BURST_DB = (-8.0, 8.0)

#: Processes that make speech.
MAKERS = 2

#: People in the background: how many at once.
BABBLERS = 5


def dialogues(seed: Seed) -> list[Dialogue]:
    """All scripts of a seed, always the same; no sound."""
    return list(scripts.Author(seed).all())


def load(
    seed: Seed, say: Callable[[str], object] = print, only: Collection[Category] | None = None
) -> Iterator[Rendered]:
    """The dialogues as sound, one after the other; speech that is not in the cache yet is made first."""
    chosen = [dialogue for dialogue in dialogues(seed) if only is None or dialogue.category in only]
    prepare(chosen, lambda done: say(f"corpus {seed}: {done} of {len(chosen)} dialogues made"))
    yield from map(rendered, chosen)


def prepare(chosen: Sequence[Dialogue], say: Callable[[int], object]) -> None:
    """Makes the speech of these dialogues, unless that was done: two processes, for the models use one core each."""
    digest = hashlib.sha256(repr((chosen, voices.VOICES)).encode()).hexdigest()[:24]
    made = cache.FOLDER / f"{digest}.made"
    if made.is_file():
        return
    with ProcessPoolExecutor(MAKERS, get_context("spawn")) as pool:
        for number, _ in enumerate(pool.map(_make, chosen, chunksize=1), 1):
            if number % 20 == 0 or number == len(chosen):
                say(number)
    made.parent.mkdir(parents=True, exist_ok=True)
    made.touch()


def _make(dialogue: Dialogue) -> None:
    rendered(dialogue)


def rendered(dialogue: Dialogue) -> Rendered:
    """One dialogue as sound."""
    turns = tuple(_turn(dialogue, number) for number in range(len(dialogue.turns)))
    return Rendered(dialogue, turns, _overlay(dialogue), _noise(dialogue))


def _rng(*key: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32("/".join(map(str, key)).encode()))


def _turn(dialogue: Dialogue, number: int) -> Sound:
    if dialogue.category == "human":
        return render.levelled(human.sound(dialogue, number), render.LEVEL_DB)
    return said(dialogue.voice, dialogue.turns[number])


def said(name: str, phrases: tuple[Phrase, ...]) -> Sound:
    """Phrases in the voice of that name."""
    return speaking.spoken(voices.named(name), phrases)


def _overlay(dialogue: Dialogue) -> Sound | None:
    if dialogue.overlay is None or dialogue.category == "echo":
        return None
    if dialogue.overlay.text:
        return said(dialogue.voice, hums.apart(dialogue.overlay.text))
    rng = _rng(dialogue.name)
    kind = scripts.sound_of(dialogue)
    pcm = babble(dialogue, 2 * RATE) if kind == "babble" else {**bursts.COUGHS, **bursts.ROOMS}[kind](rng)
    soft = cutting.faded(pcm)
    level_db = render.LEVEL_DB + rng.uniform(*BURST_DB)
    return render.levelled(Sound(soft, (cutting.sounding(soft, 30),)), level_db)


def _noise(dialogue: Dialogue) -> Pcm:
    rng = _rng(dialogue.name, "noise")
    tone = noises.room_tone(rng, NOISE_S * RATE) * np.float32(10 ** (ROOM_TONE_DB / 20))
    if dialogue.noise_db is None:
        return tone
    kind = scripts.noise_of(dialogue)
    noise = (
        babble(dialogue, NOISE_S * RATE) if kind == "babble" else noises.AMBIENT[kind](rng, NOISE_S * RATE)
    )
    level_db = render.LEVEL_DB + voices.named(dialogue.voice).level_db - dialogue.noise_db
    return np.asarray(tone + noises.unit(noise) * 10 ** (level_db / 20), np.float32)


def babble(dialogue: Dialogue, samples: int) -> Pcm:
    """Several of the seed's voices at once, each saying something else, around and around."""
    seed: Seed = "A" if dialogue.name.startswith("A") else "B"
    rng, lines = _rng(dialogue.name, "babble"), scripts.POOLS[seed].babble
    others = [voice.name for voice in voices.VOICES[seed] if voice.name != dialogue.voice]
    out = np.zeros(samples, np.float32)
    for number, line in enumerate(rng.permutation(len(lines))[:BABBLERS]):
        pcm = said(others[number % len(others)], (Phrase(lines[line]),)).pcm
        pcm = noises.unit(pcm) * np.float32(rng.uniform(0.5, 1.0))
        out += np.roll(np.resize(pcm, samples), int(rng.integers(samples)))
    return noises.unit(out)
