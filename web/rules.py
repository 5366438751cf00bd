"""How one session takes turns: the operator's settings and the client's wishes, in samples. Pure."""

from dataclasses import dataclass
from typing import Literal

from config.settings import SAMPLE_RATE, TurnSettings

Detection = Literal["semantic", "silence", "manual"]


def samples(ms: float) -> int:
    """Milliseconds as session samples."""
    return int(ms * SAMPLE_RATE / 1000)


@dataclass(frozen=True)
class Rules:
    """How this session takes turns. Lengths are samples."""

    detection: Detection = "semantic"
    sure: float = 0.9
    """End-of-turn probability from which the shortest pause will do."""
    unsure: float = 0.05
    """Probability up to which the longest wait is waited."""
    min_pause: int = SAMPLE_RATE // 5
    longest_wait: int = SAMPLE_RATE * 8 // 5
    longest_turn: int = SAMPLE_RATE * 30
    user_silence: int = 0
    """Silence that gives the assistant the turn; 0: never."""
    goodbye_after: int = 0
    """The assistant says goodbye at the silence of this number in a row; 0: never."""
    create_response: bool = True
    interrupt_response: bool = True
    echo_settle: int = SAMPLE_RATE * 3
    interrupt_voice: int = SAMPLE_RATE
    interrupt_words: int = 1
    resume_silence: int = SAMPLE_RATE // 2
    false_mutes: int = 2
    """After so many mutes for nothing only words interrupt this reply."""
    prepare: bool = False
    """Replies are begun before the turn is over."""
    prepare_p_end: float = 0.2
    prepare_most: int = 2

    @classmethod
    def of(cls, settings: TurnSettings, *, prepare: bool = False) -> "Rules":
        """The operator's settings, for a session that asked for nothing else."""
        return cls(
            sure=settings.sure_p_end,
            unsure=settings.unsure_p_end,
            min_pause=samples(settings.min_pause_ms),
            longest_wait=samples(settings.longest_wait_ms),
            longest_turn=samples(settings.longest_turn_s * 1000),
            goodbye_after=settings.goodbye_after_silences,
            echo_settle=samples(settings.echo_settle_s * 1000),
            interrupt_voice=samples(settings.interrupt_voice_ms),
            interrupt_words=settings.interrupt_words,
            resume_silence=samples(settings.resume_silence_ms),
            false_mutes=settings.false_mutes,
            prepare=prepare,
            prepare_p_end=settings.preempt_p_end,
            prepare_most=settings.preempt_most,
        )

    def wait(self, p_end: float) -> int:
        """The pause that ends a turn which is over with this probability.

        Falls geometrically from the longest wait to the shortest pause: the surer, the sooner.
        """
        if self.detection != "semantic":
            return self.min_pause
        if self.longest_wait <= self.min_pause or p_end >= self.sure:
            return min(self.min_pause, self.longest_wait)
        share = max(0.0, (p_end - self.unsure) / (self.sure - self.unsure))
        return int(self.longest_wait * (max(self.min_pause, 1) / self.longest_wait) ** share)
