"""Every metric, by name. Label sets are closed; a session id is never a label."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

# When each was made: as many lines of a page again as there are counters, and nobody asks.
disable_created_metrics()

#: Fine around the targets of plumbing (10 and 25 ms), coarse beyond.
FINE_BUCKETS_S = (0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.010, 0.0125, 0.015, 0.020, 0.025, 0.035,
                  0.050, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)  # fmt: skip

#: Around the targets of a turn: STT 50 ms, LLM 200 ms, TTS 450 ms.
TURN_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.1, 1.4, 2.0, 3.0, 5.0, 10.0)

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

frame_wait = Histogram(
    "antiphon_frame_wait_seconds",
    "From the web's receipt of the packet that completes a frame to the start of the STT step that holds it: what all "
    "but the engine adds to STT. Of a large step, some frames.",
    buckets=FINE_BUCKETS_S,
)
step_seconds = Histogram(
    "antiphon_step_seconds", "Duration of one batched step.", ["stage"], buckets=FINE_BUCKETS_S
)
step_batch = Histogram("antiphon_step_batch", "Slots in one batched step.", ["stage"], buckets=BATCH_BUCKETS)
loop_seconds = Counter(
    "antiphon_loop_seconds_total", "Time of a stage's loop by what it did; the parts add up to all of it.",
    ["stage", "part"],
)  # fmt: skip
loop_cpu_seconds = Counter(
    "antiphon_loop_cpu_seconds_total", "The same, as CPU time: waiting for Redis or a GPU costs none.",
    ["stage", "part"],
)  # fmt: skip
seats_taken = Gauge(
    "antiphon_seats",
    "Seats of a worker taken now, by the stage's loop.",
    ["stage"],
    multiprocess_mode="livesum",
)
seats_lost = Counter("antiphon_seats_lost_total", "Seats whose lease was lost.", ["stage"])
slots_shed = Counter("antiphon_slots_shed_total", "Slots that an engine could not serve any more.", ["stage"])
first_token = Histogram(
    "antiphon_llm_first_token_seconds", "From the claim of a reply to the first piece of its text.",
    buckets=TURN_BUCKETS_S,
)  # fmt: skip
first_word = Histogram(
    "antiphon_llm_first_word_seconds", "From the claim of a reply to its first word.", buckets=TURN_BUCKETS_S
)
tool_seconds = Histogram(
    "antiphon_tool_seconds",
    "Runs of the server's own functions, by how they ended.",
    ["outcome"],
    buckets=TURN_BUCKETS_S,
)
first_audio = Histogram(
    "antiphon_tts_first_audio_seconds", "From the first word at the TTS worker to its first audio.",
    buckets=TURN_BUCKETS_S,
)  # fmt: skip
word_lag = Histogram(
    "antiphon_word_lag_seconds", "From a word out of the LLM to its event at the client's socket.",
    buckets=FINE_BUCKETS_S,
)  # fmt: skip
reply_wait = Histogram(
    "antiphon_reply_wait_seconds", "From the end of the turn to the first audio sent.", buckets=TURN_BUCKETS_S
)
clock_ahead = Gauge(
    "antiphon_clock_ahead_seconds",
    "By how much this machine's wall clock is ahead of the media server's; nothing but logs goes by it.",
    multiprocess_mode="livemostrecent",
)
sessions = Gauge("antiphon_sessions", "Sessions with a client connected now.", multiprocess_mode="livesum")
turns = Counter("antiphon_turns_total", "Turns by how they ended.", ["outcome"])
preempted = Counter("antiphon_preempted_total", "Replies made ahead, by what became of them.", ["outcome"])
mute_time = Histogram(
    "antiphon_mute_seconds", "From a mute that nothing confirmed to its end.", buckets=TURN_BUCKETS_S
)
interruptions = Counter("antiphon_interruptions_total", "Mutes by what followed.", ["outcome"])
recoveries = Counter("antiphon_recoveries_total", "Work submitted again by the watchdog.", ["stage"])
history_dropped = Counter(
    "antiphon_history_dropped_total",
    "Messages that a prompt had no room for and the session's prompt before still had.",
)
gaps = Counter("antiphon_gaps_total", "Results read back from replay.", ["stage"])
errors = Counter("antiphon_errors_total", "Errors told to clients.", ["code"])
voice_to_voice = Histogram(
    "antiphon_voice_to_voice_seconds",
    "From the end of the user's voice, in the audio received, to the first audio of the reply sent.",
    buckets=TURN_BUCKETS_S,
)  # fmt: skip
end_of_turn = Histogram(
    "antiphon_end_of_turn_seconds",
    "From the end of the user's voice, in the audio received, to the decision that the turn is over.",
    buckets=TURN_BUCKETS_S,
)  # fmt: skip
barge_in_mute = Histogram(
    "antiphon_barge_in_mute_seconds",
    "From the onset of a voice, in the user's audio, to the silence of the reply it interrupts: what was sent before "
    "plays out first, unless the client was told to stop.",
    buckets=TURN_BUCKETS_S,
)  # fmt: skip
late_audio = Histogram(
    "antiphon_late_audio_seconds",
    "How long the client's player, by our model of it, had nothing to play in the middle of a reply: of each reply in "
    "which that happened, the sum.",
    buckets=FINE_BUCKETS_S,
)
replies_spoken = Counter(
    "antiphon_replies_spoken_total", "Replies whose audio was sent to its end or interrupted."
)
realtime_factor = Histogram(
    "antiphon_realtime_factor",
    "Seconds of audio made per second, from a reply's first word at the TTS worker until its audio is complete or as "
    "far ahead of the listener as it may be. Waits for further words count.",
    buckets=(0.5, 0.8, 1, 1.2, 1.5, 2, 3, 5, 10, 20, 50),
)  # fmt: skip
words_per_second = Histogram(
    "antiphon_words_per_second",
    "Words written per second, from a reply's first word to its last.",
    buckets=(2, 4, 6, 10, 15, 25, 50, 100, 200),
)
ping = Histogram(
    "antiphon_ping_seconds", "Round trip of a WebSocket ping to a client.",
    buckets=(0.001, 0.002, 0.005, 0.010, 0.025, 0.050, 0.1, 0.2, 0.5, 1, 2, 5),
)  # fmt: skip
redis_round_trip = Histogram(
    "antiphon_redis_round_trip_seconds",
    "A PING from this process to a Redis server.",
    ["server"],
    buckets=FINE_BUCKETS_S,
)
# What follows is the whole fleet's, as each web process sees it in Redis every `observe.look_s`: over several of them
# take the maximum, not the sum.
slots = Gauge(
    "antiphon_slots", "Seats there are, over all workers.", ["stage"], multiprocess_mode="livemostrecent"
)
slots_free = Gauge(
    "antiphon_slots_free",
    "Seats nobody has, over all workers.",
    ["stage"],
    multiprocess_mode="livemostrecent",
)
workers = Gauge("antiphon_workers", "Workers that take work.", ["stage"], multiprocess_mode="livemostrecent")
queue_length = Gauge(
    "antiphon_queue_length", "Tasks that nobody has taken.", ["queue"], multiprocess_mode="livemostrecent"
)
queue_age = Gauge(
    "antiphon_queue_age_seconds",
    "Time since the oldest task that nobody has taken was asked for; 0 without one.",
    ["queue"], multiprocess_mode="livemostrecent",
)  # fmt: skip
redis_memory = Gauge(
    "antiphon_redis_memory_bytes",
    "Memory of a Redis server (state, media): used, and max, the most it may take (0: no limit).",
    ["server", "kind"], multiprocess_mode="livemostrecent",
)  # fmt: skip

sessions_waiting = Gauge(
    "antiphon_sessions_waiting",
    "Connected sessions in admission's line, and those that nobody listens to: their STT task is unclaimed.",
    multiprocess_mode="livesum",
)
sessions_refused = Counter(
    "antiphon_sessions_refused_total",
    "Connections that were not let in: by the code of the error that they were told, redis_away, or why there was no "
    "place: line_full, waited, memory.",
    ["reason"],
)
messages_dropped = Counter(
    "antiphon_messages_dropped_total", "Messages of a kind that only another version knows."
)
voices_cloned = Counter("antiphon_voices_cloned_total", "Recordings by what became of them.", ["outcome"])
build_info = Gauge(
    "antiphon_build_info", "1, for each running version.", ["version"], multiprocess_mode="livemax"
)


def announce() -> None:
    """Shows which version runs in this process; called once by each entry point, after its last fork."""
    try:
        running = version("antiphon")
    except PackageNotFoundError:  # run from a copy of the files
        running = "unknown"
    build_info.labels(running).set(1)


@dataclass(frozen=True)
class GpuLoad:
    """How a GPU is used now, by everybody on it."""

    used_bytes: int
    total_bytes: int
    busy: float | None
    """Share of the last moments in which it worked; None: not told, as by MIG slices."""


class GpuMetrics(Collector):
    """A worker's GPU: asked when somebody scrapes, never by a loop. A GPU that does not answer is left out."""

    def __init__(self, sample: Callable[[], GpuLoad | None]) -> None:
        self._sample = sample

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "antiphon_gpu_memory_bytes",
                "Memory of this worker's GPU: in use, by whomever, and in all.",
                labels=["kind"],
            ),
            GaugeMetricFamily(
                "antiphon_gpu_utilisation_ratio",
                "Part of the last moments in which this worker's GPU worked.",
            ),
        )

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The families, without asking the GPU."""
        return self._families()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The families with what is so now."""
        memory, utilisation = self._families()
        if (load := self._sample()) is not None:
            memory.add_metric(["used"], load.used_bytes)
            memory.add_metric(["total"], load.total_bytes)
            if load.busy is not None:
                utilisation.add_metric([], load.busy)
        return memory, utilisation


def watch_gpu(sample: Callable[[], GpuLoad | None], registry: CollectorRegistry = REGISTRY) -> None:
    """Shows a GPU among this process's metrics from now on."""
    registry.register(GpuMetrics(sample))
