"""What a client asked of its session, free of any dialect."""

from dataclasses import replace
from typing import Literal

import msgspec

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE, TurnSettings
from web.turn import Rules


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The effective configuration of a session."""

    instructions: str = ""
    voice: str = ""
    language: str = "en"
    input_format: AudioFormat = "pcm16"
    output_format: AudioFormat = "pcm16"
    text_only: bool = False
    detection: Literal["semantic", "silence", "manual"] = "semantic"
    pause_ms: int | None = None
    """silence: the pause that ends a turn. semantic: the longest wait."""
    create_response: bool = True
    interrupt_response: bool = True
    temperature: float | None = None
    max_tokens: int = 256
    speed: float = 1.0
    user_silence_s: float = 0.0
    """Silence that gives the assistant the turn; 0: never."""

    def rules(self, settings: TurnSettings) -> Rules:
        """The operator's turn-taking, as far as the client wished nothing else."""
        rules = replace(
            Rules.of(settings),
            detection=self.detection,
            create_response=self.create_response,
            interrupt_response=self.interrupt_response,
            user_silence=int(self.user_silence_s * SAMPLE_RATE),
        )
        if self.pause_ms is None:
            return rules
        pause = self.pause_ms * SAMPLE_RATE // 1000
        if self.detection == "silence":
            return replace(rules, min_pause=pause)
        return replace(rules, longest_wait=pause)
