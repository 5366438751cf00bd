"""What a client asked of its session, free of any dialect."""

from dataclasses import replace
from typing import Literal

import msgspec

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE, TurnSettings
from web.rules import Rules, samples


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
    goodbye: bool = False
    """The assistant may take its leave and hang up."""

    def rules(self, settings: TurnSettings, *, prepare: bool = False) -> Rules:
        """The operator's turn-taking, as far as the client wished nothing else."""
        rules = Rules.of(settings, prepare=prepare)
        patience = settings.patience
        longest = samples(self.pause_ms) if self.pause_ms is not None else rules.longest_wait * patience
        shortest = rules.min_pause * patience
        if self.detection == "silence" and self.pause_ms is not None:
            shortest = longest
        return replace(
            rules,
            detection=self.detection,
            create_response=self.create_response,
            interrupt_response=self.interrupt_response,
            user_silence=int(self.user_silence_s * SAMPLE_RATE),
            goodbye_after=rules.goodbye_after if self.goodbye else 0,
            min_pause=int(shortest),
            longest_wait=int(longest),
        )
