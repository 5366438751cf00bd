"""What one run of a loop is to do, and what its two processes found. They get and give it as JSON."""

from typing import Literal

import msgspec

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE

FRAME_SAMPLES = 1920
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE

#: Redis list by which tasks reach the worker. Celery is measured elsewhere: one task costs it milliseconds, once.
TASKS = "bench:tasks"


class Plan(msgspec.Struct, frozen=True):
    """One run. Moments are of the clock that all processes of a machine share (`time.time`)."""

    stage: Literal["stt", "tts"]
    slots: int
    format: AudioFormat
    state_url: str
    media_url: str
    worker: str
    begin_s: float
    """From here on it is measured; sessions begin before."""
    end_s: float
    users: int
    """Sessions at once."""
    batch: int | None = None
    step_fixed_ms: float = 8.0
    step_per_slot_ms: float = 0.05


class Period(msgspec.Struct):
    """What the loop's thread did in about 80 ms, in seconds: by the clock, and as CPU time."""

    seconds: float
    wall: dict[str, float]
    cpu: dict[str, float]


class Found(msgspec.Struct):
    """What the worker saw between the plan's moments."""

    periods: list[Period] = []
    batches: list[int] = []
    """Slots of each step."""
    process_cpu_s: float = 0.0
    frame_wait_s: list[float] = []
    """stt: from the arrival of a frame to its step."""
    frames: int = 0
    replies: int = 0
    late_frames: int = 0
    late_replies: int = 0
    worst_s: float = 0.0
    first_audio_s: list[float] = []
    lost: int = 0
    """Seats that were lost or refused: should be none."""


class Fed(msgspec.Struct):
    """What the feeder did."""

    began: int = 0
    ended: int = 0
    late_s: list[float] = []
    """How late entries left: the feeder's own tardiness."""
