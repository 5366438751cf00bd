"""How one session takes turns: the operator's settings and the client's wishes, in samples. Pure."""

from dataclasses import dataclass
from typing import Literal

from config.settings import SAMPLE_RATE
from config.tuning import TurnSettings

Detection = Literal["semantic", "silence", "manual"]


def samples(ms: float) -> int:
    """Milliseconds as session samples."""
    return int(ms * SAMPLE_RATE / 1000)


@dataclass(frozen=True)
class Rules:
    """How this session takes turns. Lengths are samples."""

    detection: Detection = "semantic"
    sure: float = 0.65
    """End-of-turn probability, early in a pause, from which the shortest pause will do."""
    certain: float = 0.9
    """The same, later: what grows with a pause is mostly the pause."""
    early: int = SAMPLE_RATE * 35 // 100
    """Until then it is early."""
    unsure: float = 0.2
    """Probability up to which the longest wait is waited; between, the usual one."""
    min_pause: int = SAMPLE_RATE // 5
    usual_wait: int = SAMPLE_RATE * 116 // 100
    longest_wait: int = SAMPLE_RATE * 9 // 5
    longest_turn: int = SAMPLE_RATE * 30
    user_silence: int = 0
    """Silence that gives the assistant the turn; 0: never."""
    goodbye_after: int = 0
    """The assistant says goodbye at the silence of this number in a row; 0: never."""
    create_response: bool = True
    interrupt_response: bool = True
    echo_settle: int = SAMPLE_RATE * 3
    interrupt_voice: int = SAMPLE_RATE
    interrupt_unknown_voice: int = SAMPLE_RATE * 4
    interrupt_words: int = 1
    interrupt_confidence: float = 0.6
    scrap_confidence: float = 0.8
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
            certain=settings.certain_p_end,
            early=samples(settings.early_ms),
            unsure=settings.unsure_p_end,
            min_pause=samples(settings.min_pause_ms),
            usual_wait=samples(settings.usual_wait_ms),
            longest_wait=samples(settings.longest_wait_ms),
            longest_turn=samples(settings.longest_turn_s * 1000),
            goodbye_after=settings.goodbye_after_silences,
            echo_settle=samples(settings.echo_settle_s * 1000),
            interrupt_voice=samples(settings.interrupt_voice_ms),
            interrupt_unknown_voice=samples(settings.interrupt_unknown_voice_ms),
            interrupt_words=settings.interrupt_words,
            interrupt_confidence=settings.interrupt_confidence,
            scrap_confidence=settings.scrap_confidence,
            resume_silence=samples(settings.resume_silence_ms),
            false_mutes=settings.false_mutes,
            prepare=prepare,
            prepare_p_end=settings.preempt_p_end,
            prepare_most=settings.preempt_most,
        )

    def believed_at(self, onset: int, listened_to: int) -> int:
        """When a voice that lasts is an interruption; later, if it was listened to and nothing was understood."""
        return onset + (self.interrupt_unknown_voice if listened_to > onset else self.interrupt_voice)

    def wait(self, p_end: float, pause: int) -> int:
        """The pause that ends the turn, when one of `pause` samples was judged its end with this probability."""
        if self.detection != "semantic" or p_end >= (self.sure if pause <= self.early else self.certain):
            return self.min_pause
        return self.usual_wait if p_end >= self.unsure else self.longest_wait
