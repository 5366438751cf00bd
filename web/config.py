"""What a client asked of its session, free of any dialect."""

from dataclasses import replace
from typing import Literal

import msgspec

from config.messages import AudioFormat, Tool
from config.settings import SAMPLE_RATE
from config.tuning import TurnSettings
from web.rules import Rules, samples


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
    goodbye: bool = False
    """The assistant may take its leave and hang up."""
    tools: tuple[Tool, ...] = ()
    """Functions of the client's that the assistant may ask for."""
    tool_choice: str = "auto"
    """'auto', 'none', 'required', or the name of the function that must be called."""
    listen_only: bool = False
    """Nobody answers: what is said is written down."""
    allow_recording: bool = False
    """What happens in the session may be kept for `antiphon replay`, if the operator wants it."""
    record_audio: bool = False
    """And what the user says, as sound: only with the former, and if the operator wants that, too."""

    def rules(self, settings: TurnSettings, *, prepare: bool = False) -> Rules:
        """The operator's turn-taking, as far as the client wished nothing else."""
        rules = Rules.of(settings, prepare=prepare)
        patience = settings.patience * (self.patience if self.detection == "semantic" else 1.0)
        silence_s = self.user_silence_s if self.idle_timeout_s is None else self.idle_timeout_s
        if self.listen_only:
            silence_s = 0.0
        longest = samples(self.pause_ms) if self.pause_ms is not None else rules.longest_wait * patience
        shortest = rules.min_pause * patience
        if self.detection == "silence" and self.pause_ms is not None:
            shortest = longest
        return replace(
            rules,
            detection=self.detection,
            create_response=self.create_response and not self.listen_only,
            interrupt_response=self.interrupt_response,
            user_silence=int(silence_s * SAMPLE_RATE),
            goodbye_after=rules.goodbye_after if self.goodbye else 0,
            min_pause=int(shortest),
            usual_wait=int(min(rules.usual_wait * patience, longest)),
            longest_wait=int(longest),
        )
