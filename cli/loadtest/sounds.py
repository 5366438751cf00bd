"""What talkers say: sound files of a folder, sentences by the installed Piper voice, or a hum; as packets."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from cli import sound
from cli.loadtest.plan import Speech, Utterance
from cli.sound import PACKET_SAMPLES, RATE, Clip
from config.errors import ConfigError, EngineMissing
from config.messages import AudioFormat

#: What a folder of speech may hold; other files in it are passed over.
ENDINGS = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif"})

#: So many files of a folder are read, at most; they are held in memory, once per process.
MOST_FILES = 200

#: Longer files are refused: one turn of a talker is no audio book.
LONGEST_S = 60.0

#: One sentence each, without a pause that a server could take for the end.
SENTENCES = (
    "What is the capital of France?",
    "Tell me something about the sea.",
    "How many days are there in a year?",
    "Why is the sky blue?",
    "Can you name three animals that live in the forest?",
    "Please give me a short piece of advice.",
    "How far away is the moon?",
    "What would you take with you to a lonely island?",
    "Who wrote the play about Romeo and Juliet?",
    "When was the telephone invented?",
)

HUM_HZ = 140.0

#: Of the hums, so that talkers do not all stop together.
HUM_S = (1.2, 2.4)
HUMS = 16

Pcm = NDArray[np.int16]


class Voice(Protocol):
    """Says a text as 16-bit PCM at 24 kHz."""

    def speak(self, text: str) -> Pcm:
        """The sound."""


def hums() -> list[Clip]:
    """Voiced sounds without words: all that null engines ask for, and no other engine understands."""
    dice = Random(0)
    made = []
    for _ in range(HUMS):
        t = np.arange(round(dice.uniform(*HUM_S) * RATE)) / RATE
        tone = np.sum([np.sin(2 * np.pi * k * HUM_HZ * t) / k for k in range(1, 8)], axis=0)
        made.append(sound.cut((0.15 * tone * 32767).astype("<i2")))
    return made


def folder(path: Path) -> list[Clip]:
    """All sound files of the folder. Raises ConfigError."""
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
    except OSError as error:
        raise ConfigError(f"--speech {path}: {error.strerror or error}") from None
    if not files:
        kinds = ", ".join(sorted(ENDINGS))
        raise ConfigError(f"--speech {path}: no sound file in it (looked for {kinds})")
    clips = [sound.load(file) for file in files[:MOST_FILES]]
    for file, clip in zip(files, clips, strict=False):
        if clip.seconds > LONGEST_S:
            raise ConfigError(f"{file}: {clip.seconds:.0f} s long; a turn may have {LONGEST_S:.0f} s")
        if not any(clip.loud):
            raise ConfigError(f"{file}: holds nothing audible")
    return clips


def spoken() -> list[Clip]:
    """Sentences by the Piper voice that is installed here. Raises EngineMissing."""
    try:
        module = importlib.import_module("cli.loadtest.piper_voice")
    except ImportError as error:
        raise EngineMissing(f"speech cannot be made: {error.name} is not installed") from None
    voice = cast(Voice, module.InstalledVoice())
    return [sound.cut(voice.speak(text)) for text in SENTENCES]


def choose(asked: str | None) -> tuple[str, list[Clip]]:
    """What is said, in words for the report, and the clips. Raises ConfigError."""
    if asked == "hum":
        return "a hum", hums()
    if asked not in (None, "piper"):
        return f"files of {Path(str(asked)).name}", folder(Path(str(asked)))
    try:
        return "sentences by the installed Piper voice", spoken()
    except EngineMissing:
        if asked == "piper":
            raise
        return "a hum, for no Piper voice is installed (null engines alone take it for speech)", hums()


# --- packets


Coded = Callable[[Sequence[bytes]], list[bytes]]


def speech(
    source: str, clips: Iterable[Clip], dialect: str, packet_ms: int, audio_format: AudioFormat = "pcm16"
) -> Speech:
    """The clips as packets of the dialect's codec, or of the format in GA. Raises ConfigError without libopus."""
    windows = packet_ms * RATE // 1000 // PACKET_SAMPLES
    coded = _coded("opus" if dialect == "unmute" else audio_format)
    utterances = [_utterance(clip, windows, coded) for clip in clips]
    silence = coded([sound.SILENCE] * windows)
    return Speech(source, windows * PACKET_SAMPLES, utterances, silence, audio_format)


def _coded(audio_format: AudioFormat) -> Coded:
    match audio_format:
        case "pcm16":
            return _pcm
        case "opus":
            return _opus()
        case "pcmu" | "pcma":
            return _g711(audio_format)


def _utterance(clip: Clip, windows: int, coded: Coded) -> Utterance:
    """Begins with the first audible window and ends with the packet that holds the last one."""
    voiced = [number for number, loud in enumerate(clip.loud) if loud]
    begin, end = voiced[0], voiced[-1] + 1
    count = -(-(end - begin) // windows)
    packets = [clip.packets[begin + n * windows : min(end, begin + (n + 1) * windows)] for n in range(count)]
    filled = [[*packet, *[sound.SILENCE] * (windows - len(packet))] for packet in packets]
    return Utterance([coded(packet) for packet in filled], 0, count)


def _pcm(windows: Sequence[bytes]) -> list[bytes]:
    return [b"".join(windows)]


def _g711(law: AudioFormat) -> Coded:
    """One encoder for all that has its 2 ms to look ahead: each window gives a packet. Raises ConfigError."""
    encoder = importlib.import_module("cli.ga_sound").encoder(law)
    encoder.encode(np.zeros(RATE // 500, np.float32))
    return lambda windows: [
        b"".join(encoder.encode(np.frombuffer(b"".join(windows), "<i2").astype(np.float32) / 32768.0))
    ]


def _opus() -> Coded:
    """One encoder for all; between utterances it only forgets the last 20 ms. Raises ConfigError without libopus."""
    encoder = importlib.import_module("cli.ogg_opus").PacketEncoder()
    return lambda windows: [encoder.encode(window) for window in windows]
