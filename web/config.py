"""What a client asked of its session, free of any dialect."""

from dataclasses import replace
from typing import Literal

import msgspec

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE, TurnSettings
from web.turn import Rules


class Truncation(msgspec.Struct, frozen=True):
    """What happens to a conversation that outgrows the model's context."""

    how: Literal["auto", "disabled"] = "auto"
    """auto: the oldest of it is left out. disabled: the reply fails."""
    retention: float | None = None
    """Share of the room that is kept when something must go; None: the server's own way."""
    history_tokens: int | None = None
    """Longest history, in tokens, where the model has room for more."""


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
    threshold: float | None = None
    """Voice probability from which it counts as voice; None: the operator's."""
    prefix_ms: int | None = None
    """Audio before the onset of a voice that counts as part of the utterance; None: none."""
    patience: float = 1.0
    """semantic: the waits are so many times as long as the operator's."""
    idle_timeout_s: float | None = None
    """Silence after a reply that gives the assistant the turn; None: as `user_silence_s` says."""
    create_response: bool = True
    interrupt_response: bool = True
    temperature: float | None = None
    max_tokens: int = 256
    truncation: Truncation = Truncation()
    speed: float = 1.0
    user_silence_s: float = 0.0
    """Silence that gives the assistant the turn; 0: never."""
    allow_recording: bool = False
    """What happens in the session may be kept for `antiphon replay`, if the operator wants it."""

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
