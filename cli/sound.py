"""Sound as the talk client sees it: files in and out, 20 ms packets, what counts as audible. No clock, no socket."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from config.errors import ConfigError

RATE = 24_000
#: The window on which loudness is judged, and the packet of the microphone: one packet is one window.
PACKET_SAMPLES = 480
PACKET_S = PACKET_SAMPLES / RATE
PACKET_BYTES = 2 * PACKET_SAMPLES
SILENCE = bytes(PACKET_BYTES)

#: Root mean square of a 20 ms window against a full-scale square wave, from which it is audible. Quiet speech in a
#: room lies near -35 dBFS, the noise of a fair microphone under -55.
AUDIBLE_DBFS = -45.0
#: Windows this far under the file's loud ones may be noise that the server rightly ignores.
NOISE_BELOW_SPEECH_DB = 20.0


@dataclass(frozen=True)
class Clip:
    """A sound file cut into packets, with what is audible (`loud`) and what is surely speech (`clear`) in it."""

    packets: tuple[bytes, ...]
    loud: tuple[bool, ...]
    clear: tuple[bool, ...]

    @property
    def seconds(self) -> float:
        """The clip's length, counted in whole packets."""
        return len(self.packets) * PACKET_S


def load(path: Path) -> Clip:
    """Read any file libsndfile reads, mix to mono, resample to 24 kHz, cut. Raises ConfigError."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ConfigError(f"{path}: {_why_unreadable(path, error)}") from None
    if not len(samples):
        raise ConfigError(f"{path}: holds no sound")
    mono = samples.mean(axis=1)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE)
    return cut(np.asarray(np.clip(mono, -1, 1) * 32767, dtype="<i2"))


def _why_unreadable(path: Path, error: Exception) -> str:
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a directory"
    if isinstance(error, PermissionError):
        return "may not be read"
    return "is not a sound file that libsndfile can read"


def cut(samples: NDArray[np.int16]) -> Clip:
    """Packets of 480 samples, the last one filled with silence."""
    whole = np.zeros(-(-len(samples) // PACKET_SAMPLES) * PACKET_SAMPLES, dtype="<i2")
    whole[: len(samples)] = samples
    windows = whole.reshape(-1, PACKET_SAMPLES)
    levels = np.array([level_dbfs(window) for window in windows])
    loud = levels > AUDIBLE_DBFS
    speech = float(np.percentile(levels[loud], 95)) if loud.any() else 0.0
    clear = loud & (levels > speech - NOISE_BELOW_SPEECH_DB)
    return Clip(
        tuple(window.tobytes() for window in windows),
        tuple(bool(is_loud) for is_loud in loud),
        tuple(bool(is_clear) for is_clear in clear),
    )


def level_dbfs(window: NDArray[np.int16]) -> float:
    """Root mean square of the window in dB of full scale; digital silence is -inf."""
    power = float(np.mean(np.square(window.astype(np.float64) / 32768)))
    return 10 * float(np.log10(power)) if power > 0 else float("-inf")


class Listener:
    """Finds the first audible window in a stream of PCM that comes in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def hears(self, pcm: bytes) -> bool:
        """Whether a window completed by this piece is audible."""
        data = self._rest + pcm
        whole = len(data) // PACKET_BYTES * PACKET_BYTES
        self._rest = data[whole:]
        windows = np.frombuffer(data[:whole], dtype="<i2").reshape(-1, PACKET_SAMPLES)
        return any(level_dbfs(window) > AUDIBLE_DBFS for window in windows)


def check_writable(path: Path) -> None:
    """Raise ConfigError where a reply could not be saved, before a conversation is spent on it."""
    known = soundfile.available_formats()
    if path.suffix.lstrip(".").upper() not in known:
        raise ConfigError(f"{path}: its ending names no sound format; .wav always works")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: the directory {path.parent} does not exist")


def save(path: Path, pcm: bytes) -> None:
    """Write the reply in the format the file's ending names. Raises ConfigError."""
    try:
        soundfile.write(path, np.frombuffer(pcm, dtype="<i2"), RATE)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ConfigError(f"{path}: the reply could not be saved: {error}") from None
