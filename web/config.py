"""What a client asked of its session, free of any dialect."""

from typing import Literal

import msgspec

from config.messages import AudioFormat


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The effective configuration of a session."""

    instructions: str = ""
    voice: str = ""
    language: str = "en"
    input_format: AudioFormat = "pcm16"
    output_format: AudioFormat = "pcm16"
    text_only: bool = False
    detection: Literal["semantic", "silence", "manual"] = "semantic"
    p_end: float | None = None
    pause_ms: int | None = None
    """silence: the pause that ends a turn. semantic: the longest wait."""
    create_response: bool = True
    interrupt_response: bool = True
    temperature: float | None = None
    max_tokens: int = 256
    speed: float = 1.0
    user_silence_s: float = 0.0
    """Silence that gives the assistant the turn; 0: never."""
