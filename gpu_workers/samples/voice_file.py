"""Reads a recording that a stranger sent: bounded in time, rate and channels before and while it is decoded."""

import io
import math

import numpy as np
import soundfile

from config.errors import BadVoiceSample
from gpu_workers.engine import Pcm

#: Below, a recording holds too little of a voice: telephones send 8 kHz.
LOWEST_RATE = 16_000

#: Above, it is no recording of a voice, only a large one.
HIGHEST_RATE = 192_000

#: Mono or stereo; what has more is no recording of one person.
MOST_CHANNELS = 2

#: Decoded at a time: however many frames a header claims, no more memory is taken than the sound there is.
BLOCK_S = 1.0

#: Decoded beyond the longest recording: of one that is hardly longer the error says how long it is.
SLACK_S = 1.0

UNREADABLE = "the file cannot be decoded; send WAV, FLAC, MP3 or Ogg (Opus or Vorbis)"


def read(data: bytes, longest_s: float) -> tuple[Pcm, int]:
    """Mono samples in [-1, 1] and their rate, of a WAV, FLAC, MP3 or Ogg file.

    Raises BadVoiceSample for what cannot be decoded, is longer than `longest_s` and `SLACK_S`, or is no recording of
    one voice.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            _require_sane(rate, file.channels)
            return _mono(file, longest_s), rate
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise BadVoiceSample(UNREADABLE) from error


def _require_sane(rate: int, channels: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise BadVoiceSample(
            f"the recording has {rate} samples a second; "
            f"record at {LOWEST_RATE} to {HIGHEST_RATE}, best at 44100 or 48000"
        )
    if channels > MOST_CHANNELS:
        raise BadVoiceSample(f"the recording has {channels} channels; record in mono or stereo")


def _mono(file: soundfile.SoundFile, longest_s: float) -> Pcm:
    """Channels are averaged."""
    most = math.ceil((longest_s + SLACK_S) * file.samplerate)
    blocks: list[Pcm] = []
    count = 0
    while len(block := file.read(int(BLOCK_S * file.samplerate), dtype="float32", always_2d=True)):
        count += len(block)
        if count > most:
            raise BadVoiceSample(
                f"the recording is longer than {longest_s:g} s: send at most that, about 10 s of talk are best"
            )
        blocks.append(block.mean(axis=1))
    joined = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return np.nan_to_num(joined).clip(-1.0, 1.0)
