"""What a client of Unmute's kind is shown beside the talk: its history, and figures for whoever debugs. Sans-IO.

Names of the figures as in kyutai-labs/unmute at 84aa28d (`unmute_handler.py`).
"""

from collections.abc import Callable
from typing import Any, Literal

from config.messages import ChatMessage
from config.settings import SAMPLE_RATE
from web.dialects.base import ReplyOutcome
from web.prompt import INTERRUPTED
from web.signs import Signs

#: Messages of the history that clients are shown.
HISTORY_MESSAGES = 100

#: It is shown so often, in session samples, as by Unmute.
EVERY = SAMPLE_RATE

#: What Unmute's clients read where a session has no ears.
NO_PREDICTION = -1

State = Literal["waiting_for_user", "user_speaking", "bot_speaking"]


class Insight:
    """Of one session."""

    def __init__(self) -> None:
        self.history: list[ChatMessage] = []
        self.state: State = "waiting_for_user"
        self.signs: Callable[[], Signs] = Signs
        self._received = 0
        self._asked_at = 0
        self._since_words_s: float | None = None
        self._timing: dict[str, float] = {}
        self._dropped = 0
        self._said: list[str] = []
        """Words of the reply under way whose sound was sent."""
        self._saying: list[str] = []
        """Words of the user's turn under way that were told."""
        self._sent = 0
        self._sounds_since: int | None = None

    # --- what happens

    def received(self, samples: int) -> None:
        """Audio of the user's, spoken or silent: by it time is told."""
        self._received += samples

    def user_spoke(self) -> None:
        """Their voice began: the figures of the turn before are over."""
        self.state, self._timing = "user_speaking", {}

    def turn_ended(self) -> None:
        """Theirs: so long after their voice."""
        self._note_words(signs := self.signs())
        if signs.since_voice_s is not None:
            self._timing["pause_detection"] = round(signs.since_voice_s, 3)

    def user_says(self, words: str) -> None:
        """Some words of theirs are known."""
        self._saying.append(words)

    def user_said(self, text: str) -> None:
        """A turn of theirs, or nothing after all."""
        self._saying = []
        self.state = "user_speaking" if text else "waiting_for_user"
        if text:
            self.history = joined(self.history, "user", text)

    def reply_began(self) -> None:
        """The assistant has the turn."""
        self.state, self._said, self._sent, self._sounds_since = "bot_speaking", [], 0, None

    def reply_sounds(self, samples: int, words: list[str]) -> None:
        """Sound of it was sent."""
        if self._sounds_since is None:
            self._sounds_since = self._received
        self._sent += samples
        self._said += words

    def reply_ended(self, outcome: ReplyOutcome) -> None:
        """What was heard of it goes into the history. Words over it that did not end it are nobody's turn."""
        self._said = []
        if outcome.status == "completed":
            self._saying = []
        if self.state == "bot_speaking":
            self.state = "waiting_for_user"
        if outcome.text:
            said = outcome.text + INTERRUPTED * (outcome.text != outcome.full_text)
            self.history = joined(self.history, "assistant", said)
        if outcome.llm_first_token_ms is not None:
            self._timing["to_first_token"] = outcome.llm_first_token_ms / 1000
        if outcome.tts_first_audio_ms is not None:
            self._timing["tts_audio"] = outcome.tts_first_audio_ms / 1000
        self._dropped = outcome.dropped

    # --- what is shown

    def due(self) -> bool:
        """Whether to show it; said once for each second of audio."""
        if self._received - self._asked_at < EVERY:
            return False
        self._asked_at = self._received
        return True

    def args(self, voice: str) -> dict[str, Any]:
        """Of `unmute.additional_outputs`: the history without the system message, and the figures."""
        signs = self.signs()
        debug: dict[str, Any] = {
            "timing": self._timing,
            "connection": {"stt": signs.stt, "tts": signs.tts},
            "chatbot": {},  # always empty, in Unmute too
            "conversation_state": self.state,
            "last_receive_time": round(self._received / SAMPLE_RATE, 3),
            "stt_pause_prediction": NO_PREDICTION if signs.stt == "none" else round(signs.p_end, 3),
            "tts_voice": voice,
        }
        self._note_words(signs)
        if self._since_words_s is not None:
            debug["time_since_last_message"] = self._since_words_s
        if self._sounds_since is not None:
            debug["tts_throughput"] = self._throughput(self._sounds_since, max(signs.made, self._sent))
        if self._dropped:
            debug["dropped_messages"] = self._dropped
        return {"chat_history": self._heard_so_far(), "debug_dict": debug, "debug_plot_data": []}

    def _heard_so_far(self) -> list[ChatMessage]:
        """The history, and what sounds or is understood just now; who interrupts speaks second."""
        shown = self.history
        if self._said:
            shown = joined(shown, "assistant", " ".join(self._said))
        if self._saying:
            shown = joined(shown, "user", " ".join(self._saying))
        return shown

    def _note_words(self, signs: Signs) -> None:
        """The figure stays when the turn is over, as Unmute's does."""
        if signs.since_words_s is not None:
            self._since_words_s = round(signs.since_words_s, 3)

    def _throughput(self, since: int, made: int) -> dict[str, float]:
        """Sound made, sound sent, and time since the first of it, in seconds."""
        sent_s, since_s = self._sent / SAMPLE_RATE, (self._received - since) / SAMPLE_RATE
        return {
            "time_received": round(made / SAMPLE_RATE, 2),
            "time_received_yielded": round(sent_s, 2),
            "time_since_start": round(since_s, 2),
            "ratio": round(sent_s / (since_s + 0.01), 2),
        }


def joined(history: list[ChatMessage], role: Literal["user", "assistant"], text: str) -> list[ChatMessage]:
    """With a message more, or a longer one if the same was speaking; the oldest go."""
    if history and history[-1].role == role:
        return [*history[:-1], ChatMessage(role, f"{history[-1].content} {text}")]
    return [*history, ChatMessage(role, text)][-HISTORY_MESSAGES:]
