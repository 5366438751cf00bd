"""A dialect of Unmute's on the bench: what a client sends it, what a session tells it, and what it says, read."""

import base64
import json
from typing import Any

import numpy as np
import opuslib

from config.messages import SpokenWord
from config.settings import SAMPLE_RATE
from web import characters
from web.casting import Part
from web.config import Wishes
from web.dialects.base import AudioOut, ReplyOutcome
from web.dialects.unmute import UnmuteDialect
from web.reply_options import ReplyOptions

USUAL = ReplyOptions(Wishes())

SMALLTALK = {
    "instructions": {"type": "smalltalk", "language": None},
    "voice": "v.wav",
    "allow_recording": False,
}


def new() -> UnmuteDialect:
    return UnmuteDialect("0123456789abcdef", 320, casting)


def casting(instructions: object, voice: str) -> Part:
    """The voice knows itself; what it is told is checked as the server checks it."""
    wanted = characters.instructions(instructions)
    return Part(f"You: {wanted.text or wanted.type}", voice, (wanted.language or "en")[:2])


def update(session: dict[str, Any]) -> str:
    return json.dumps({"type": "session.update", "event_id": "event_1", "session": session})


def append(pages: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pages).decode()})


def packets(count: int) -> list[bytes]:
    encoder = opuslib.Encoder(SAMPLE_RATE, 1, opuslib.APPLICATION_AUDIO)
    hum = (8000 * np.sin(np.arange(480) / 10)).astype("<i2").tobytes()
    return [encoder.encode(hum, 480) for _ in range(count)]


def speech(number: int, *words: tuple[int, str], count: int = 4) -> AudioOut:
    spoken = [(SpokenWord(index, 0, 960), word) for index, word in words]
    return AudioOut(number, packets(count), count * 480, spoken)


def outcome(number: int, text: str, heard: str | None = None, status: str = "completed") -> ReplyOutcome:
    return ReplyOutcome(
        number, status, "turn_detected" if status == "cancelled" else "", text if heard is None else heard, text, 0,
        status == "cancelled", 10, 5, 120.0, 80.0,
    )  # fmt: skip


def read(messages: list[str]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages]


def kinds(messages: list[str]) -> list[str]:
    return [event["type"] for event in read(messages)]
