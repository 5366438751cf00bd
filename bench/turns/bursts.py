"""Short sounds without words: coughs, clicks, bangs, laughter, music. Pure; seeded."""

from collections.abc import Callable

import numpy as np

from bench.turns.cutting import RATE
from bench.turns.noises import Rng, envelope, resonant, shaped, unit
from gpu_workers.engine import Pcm


def _throat(rng: Rng, length_s: float, pitch_hz: float, breath: float) -> Pcm:
    """Voice of an open mouth: pulses with jitter, and breath, through three formants."""
    samples = int(length_s * RATE)
    drift = pitch_hz * (1 + 0.15 * np.cumsum(rng.normal(size=samples)) / np.sqrt(samples * RATE / 50))
    phase = np.cumsum(drift / RATE)
    pulses = np.diff(np.floor(phase), prepend=0).astype(np.float32)
    source = unit(pulses + 1e-6) * (1 - breath) + shaped(rng, samples, 0.5) * breath
    formants = [
        (rng.uniform(550, 800), 120.0, 1.0),
        (rng.uniform(1000, 1500), 180.0, 0.6),
        (2600.0, 300.0, 0.25),
    ]
    return resonant(np.asarray(source, np.float32), formants)


def cough(rng: Rng) -> Pcm:
    """One to three barks: a burst, a rough voice that dies away, breath."""
    parts = []
    for _ in range(rng.integers(1, 4)):
        length = rng.uniform(0.22, 0.38)
        bark = _throat(rng, length, rng.uniform(110, 260), rng.uniform(0.2, 0.7))
        shape = envelope([0, 0.012, 0.06, 0.16, length], [0, 1, 0.65, 0.45, 0], len(bark))
        parts += [bark * shape, np.zeros(int(rng.uniform(0.08, 0.3) * RATE), np.float32)]
    return np.concatenate(parts[:-1])


def throat_clearing(rng: Rng) -> Pcm:
    """A low rough growl, twice."""
    parts = []
    for _ in range(2):
        length = rng.uniform(0.25, 0.45)
        growl = _throat(rng, length, rng.uniform(75, 130), rng.uniform(0.15, 0.4))
        time = np.arange(len(growl)) / RATE
        rough = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(22, 34) * time)
        shape = envelope([0, 0.05, length * 0.6, length], [0, 0.8, 0.6, 0], len(growl))
        parts += [growl * shape * rough.astype(np.float32), np.zeros(int(0.07 * RATE), np.float32)]
    return np.concatenate(parts[:-1])


def sneeze(rng: Rng) -> Pcm:
    """Breath drawn in with voice, then a hiss."""
    inward = _throat(rng, 0.35, rng.uniform(180, 300), 0.8)
    inward = inward * envelope([0, 0.3, 0.35], [0, 0.4, 0], len(inward))
    out = shaped(rng, int(0.3 * RATE), -0.3, 1500, 10_000)
    out = out * envelope([0, 0.02, 0.12, 0.3], [0, 1, 0.5, 0], len(out))
    return np.concatenate([inward, np.zeros(int(0.05 * RATE), np.float32), out])


def laughter(rng: Rng) -> Pcm:
    """Ha-ha-ha: breathy vowels, five a second, falling."""
    pitch, parts = rng.uniform(160, 320), []
    for number in range(rng.integers(3, 7)):
        length = rng.uniform(0.1, 0.15)
        breath = shaped(rng, int(0.06 * RATE), 0.3, 500, 7000) * 0.25
        vowel = _throat(rng, length, pitch * (1 - 0.05 * number), 0.35)
        parts += [
            breath,
            vowel * envelope([0, 0.02, length], [0, 1, 0], len(vowel)) * np.float32(0.93**number),
        ]
    return np.concatenate(parts)


def sigh(rng: Rng) -> Pcm:
    """A yawn or a sigh: a breathy vowel that glides down."""
    length = rng.uniform(0.7, 1.2)
    vowel = _throat(rng, length, rng.uniform(120, 260), rng.uniform(0.4, 0.65))
    return vowel * envelope([0, 0.15, length * 0.5, length], [0, 0.9, 0.6, 0], len(vowel))


def keyboard(rng: Rng) -> Pcm:
    """A dozen keys."""
    out = np.zeros(int(1.6 * RATE), np.float32)
    for _ in range(rng.integers(8, 15)):
        at, length = int(rng.uniform(0, 1.5) * RATE), int(0.03 * RATE)
        key = shaped(rng, length, 0.2, 800, 9000) * envelope([0, 0.001, 0.008, 0.03], [0, 1, 0.2, 0], length)
        out[at : at + length] += key * np.float32(rng.uniform(0.5, 1))
    return out


def door(rng: Rng) -> Pcm:
    """A bang, and the room after it."""
    samples = int(0.8 * RATE)
    bang = shaped(rng, samples, 1.6, 40, 3000) * envelope(
        [0, 0.004, 0.06, 0.3, 0.8], [0, 1, 0.35, 0.05, 0], samples
    )
    click = np.zeros(samples, np.float32)
    click[: int(0.01 * RATE)] = shaped(rng, int(0.01 * RATE), 0, 1000, 9000) * 0.4
    return np.asarray(bang + click, np.float32)


def knock(rng: Rng) -> Pcm:
    """Three or four knocks on a table."""
    parts = []
    for _ in range(rng.integers(3, 5)):
        length = int(0.09 * RATE)
        body = resonant(shaped(rng, length, 0.8), [(rng.uniform(180, 320), 60.0, 1.0), (900.0, 200.0, 0.3)])
        parts += [
            body * envelope([0, 0.002, 0.09], [0, 1, 0], length),
            np.zeros(int(0.13 * RATE), np.float32),
        ]
    return np.concatenate(parts)


def dishes(rng: Rng) -> Pcm:
    """A glass or a plate that rings."""
    samples = int(0.9 * RATE)
    time = np.arange(samples) / RATE
    ring = sum(
        rng.uniform(0.3, 1) * np.sin(2 * np.pi * hz * time) * np.exp(-time * rng.uniform(6, 18))
        for hz in rng.uniform(1800, 7000, 6)
    )
    return unit(np.asarray(ring))


def music(rng: Rng) -> Pcm:
    """A few bars from another room: chords of soft tones, low-passed."""
    length, parts = 0.45, []
    root = rng.uniform(180, 260)
    for step in rng.choice([0, 3, 5, 7, 8, 10], size=5):
        time = np.arange(int(length * RATE)) / RATE
        tone = sum(
            np.sin(2 * np.pi * root * 2 ** ((step + third) / 12) * k * time) / k**1.5
            for third in (0, 4, 7)
            for k in (1, 2, 3, 4)
        )
        parts.append(np.asarray(tone * np.exp(-time * 2.5) * np.minimum(1, time / 0.01), np.float32))
    return unit(np.concatenate(parts))


def vacuum(rng: Rng) -> Pcm:
    """A machine that runs for two seconds."""
    samples = int(rng.uniform(1.2, 2.4) * RATE)
    time = np.arange(samples) / RATE
    whine = sum(np.sin(2 * np.pi * 210 * k * time) / k for k in range(1, 9))
    shape = envelope([0, 0.25, samples / RATE - 0.3, samples / RATE], [0, 1, 1, 0], samples)
    return np.asarray((unit(np.asarray(whine)) * 0.4 + shaped(rng, samples, 0.5, 200)) * shape, np.float32)


def gust(rng: Rng) -> Pcm:
    """Wind, or a lorry that passes."""
    samples = int(rng.uniform(1.0, 2.2) * RATE)
    swell = np.hanning(samples).astype(np.float32)
    return shaped(rng, samples, rng.uniform(0.8, 1.8), 40, 5000) * swell


COUGHS: dict[str, Callable[[Rng], Pcm]] = {
    "cough": cough,
    "throat": throat_clearing,
    "sneeze": sneeze,
    "laughter": laughter,
    "keyboard": keyboard,
    "sigh": sigh,
    "door": door,
    "knock": knock,
    "dishes": dishes,
}

ROOMS: dict[str, Callable[[Rng], Pcm]] = {"music": music, "vacuum": vacuum, "gust": gust}
