"""What turn-taking remembers: whose turn it is, what is known of the utterance, and which reply is the newest. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

#: The words of a user who says nothing; no client is told that they said it.
SILENCE = "..."


class Phase(Enum):
    """Whose turn it is."""

    LISTENING = auto()  #: nobody speaks; the microphone is open
    HEARING = auto()  #: the user is speaking
    THINKING = auto()  #: the user's turn ended; no reply audio is out yet
    SPEAKING = auto()  #: the reply plays; the user may barge in


@dataclass(frozen=True)
class Turn:
    """Everything turn-taking remembers."""

    phase: Phase = Phase.LISTENING
    reply: int = 0
    """Number of the newest reply; 0: none yet."""
    voice: bool = False
    """The user's voice sounds now."""
    voice_from: int = 0
    voice_to: int = 0
    """Onset and end of the newest utterance's voice."""
    ends_at: int | None = None
    """When the pause has lasted long enough to end the turn."""
    p_end: float = 0.0
    """Probability that the newest pause ends the turn."""
    text: str = ""
    """What is understood of the open utterance."""
    text_to: int = 0
    """Voice up to here was listened to for `text`, or for nothing."""
    settled_to: int = 0
    """All voice up to here is in `text`."""
    taken_to: int = -1
    """Utterances up to here are in the history."""
    awaiting: bool = False
    """The turn ended; its transcript is still to come."""
    more: int = 0
    """Turns that the client ended meanwhile, whose transcripts are to come after that."""
    committed: int = -1
    """Where the client itself ended its newest turn."""
    lost_to: int = -1
    """Turns that ended here or before were given up: a transcript of theirs that comes yet is nobody's."""
    reply_wanted: bool = False
    """A reply starts as soon as the transcript is there, if it has words."""
    reply_asked: bool = False
    """The client itself waits for that reply, words or not."""
    prepared: int = 0
    """Number of the reply that is made ahead; 0: none."""
    prepared_for: str = ""
    """The text it answers."""
    prepared_times: int = 0
    """Replies made ahead in this turn."""
    room: bool = False
    """Workers have slots to spare."""
    muted: bool = False
    false_mutes: int = 0
    """Mutes of this reply that nothing confirmed."""
    quiet_since: int = 0
    """Nobody has spoken since."""
    silences: int = 0
    """How often in a row the user left the turn to the assistant."""

    @property
    def awaited(self) -> int:
        """Transcripts that are still to come."""
        return 1 + self.more if self.awaiting else 0

    @property
    def replying(self) -> bool:
        """A reply is being made or played, and the client knows."""
        return self.phase is Phase.SPEAKING or (self.phase is Phase.THINKING and not self.awaiting)
