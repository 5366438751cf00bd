"""Sounds without words, made of numbers: rooms, streets, coughs, doors. Pure; seeded."""

from collections.abc import Callable

import numpy as np

from bench.turns.cutting import RATE
from gpu_workers.engine import Pcm

Rng = np.random.Generator


def shaped(rng: Rng, samples: int, exponent: float, low_hz: float = 40, high_hz: float = 11_000) -> Pcm:
    """Noise of unit RMS whose power falls with frequency ** exponent: 0 is white, 1 pink, 2 brown. Loops seamlessly."""
    frequencies = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum = rng.normal(size=len(frequencies)) + 1j * rng.normal(size=len(frequencies))
    inside = (frequencies >= low_hz) & (frequencies <= high_hz)
    spectrum *= np.where(inside, np.maximum(frequencies, 1.0) ** (-exponent / 2), 0)
    return unit(np.fft.irfft(spectrum, samples))


def unit(pcm: np.ndarray) -> Pcm:
    """With an RMS of 1."""
    return np.asarray(pcm / max(1e-9, float(np.sqrt(np.mean(np.square(pcm))))), np.float32)


def envelope(times_s: list[float], gains: list[float], samples: int) -> Pcm:
    """Lines between points."""
    return np.interp(np.arange(samples) / RATE, times_s, gains).astype(np.float32)


def resonant(pcm: Pcm, formants: list[tuple[float, float, float]]) -> Pcm:
    """Through peaks of (Hz, width in Hz, gain), as a mouth or a box would."""
    frequencies = np.fft.rfftfreq(len(pcm), 1 / RATE)
    gain = sum(g / (1 + ((frequencies - hz) / width) ** 2) for hz, width, g in formants)
    return unit(np.fft.irfft(np.fft.rfft(pcm) * gain, len(pcm)))


# --- what goes on all the time


def room_tone(rng: Rng, samples: int) -> Pcm:
    """What a quiet room sounds like."""
    return shaped(rng, samples, 1.2)


def hiss(rng: Rng, samples: int) -> Pcm:
    """White, as of a cheap microphone."""
    return shaped(rng, samples, 0.3, 80)


def pink(rng: Rng, samples: int) -> Pcm:
    """As of rain."""
    return shaped(rng, samples, 1.0)


def fan(rng: Rng, samples: int) -> Pcm:
    """A hum with harmonics, and air."""
    time = np.arange(samples) / RATE
    base = RATE / round(RATE / rng.uniform(90, 130))
    hum = sum(
        rng.uniform(0.3, 1) / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6)) for k in range(1, 7)
    )
    return unit(unit(np.asarray(hum)) * 0.7 + shaped(rng, samples, 1.5))


def street(rng: Rng, samples: int) -> Pcm:
    """Rumble, tyres that come and go, now and then a horn far away."""
    time = np.arange(samples) / RATE
    swell = 0.4 + sum(
        np.exp(-(((time - rng.uniform(0, samples / RATE)) / rng.uniform(0.6, 1.6)) ** 2))
        for _ in range(max(1, samples // (4 * RATE)))
    )
    horn = np.sin(2 * np.pi * 410 * time) * (np.abs(time - rng.uniform(1, samples / RATE - 1)) < 0.25)
    return unit(
        shaped(rng, samples, 1.8, 30, 900) + 0.9 * swell * shaped(rng, samples, 0.8, 300, 6000) + 0.3 * horn
    )


AMBIENT: dict[str, Callable[[Rng, int], Pcm]] = {"hiss": hiss, "pink": pink, "fan": fan, "street": street}
