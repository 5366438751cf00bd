"""Speech that was made once is kept under build/: what a model said for these phonemes, this fast."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import soundfile

from bench.turns.cutting import RATE
from bench.turns.engines import Speech

FOLDER = Path("build/turns")


def kept(key: tuple[object, ...], make: Callable[[], Speech]) -> Speech:
    """The speech of that key, made if it is not there yet."""
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
    path = FOLDER / digest[:2] / f"{digest}.wav"
    if not path.is_file():
        _write(path, make())
    pcm, _ = soundfile.read(path, dtype="float32")
    return Speech(pcm, tuple(json.loads(path.with_suffix(".json").read_text())))


def _write(path: Path, speech: Speech) -> None:
    """The sound last, and under another name first: two benches may make it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(speech.edges))
    fresh = path.with_suffix(f".{id(speech)}.new")
    soundfile.write(fresh, speech.pcm, RATE, "PCM_16", format="WAV")
    fresh.replace(path)
