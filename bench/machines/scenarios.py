"""What happens to a fleet while people talk, and what they notice of it: one run of talkers for each scenario."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from bench.figures import Spread, spread
from bench.machines.fleet import MACHINES, MEDIA, WEB, Fleet, machine_of
from bench.machines.wire import Counted, Quality
from bench.server import BenchFailed
from cli.loadtest import sounds
from cli.loadtest.gathered import OK, UNANSWERED, Gathered
from cli.loadtest.generator import RAMP_PER_SESSION_S, Generator, Health, Order, health
from config import redis_keys as keys
from config.redis_keys import STAGES
from tasks import streams
from tasks.leases import parse_holder

#: One packet is one frame of the null engine.
PACKET_MS = 80

#: Between the opening of the last session and the first figure, and from there to what happens.
SETTLE_S, HAPPENS_S = 3.0, 6.0

#: Turns of a conversation: then the talker begins another, which needs a listener anew.
TURNS = 2

#: How closely leases are watched.
LOOK_S = 0.03

#: Nobody waits longer for a machine to be replaced, or to come back.
PATIENCE_S = 30.0

#: All machines but the talkers': the delay is that between machines, and a talker's own comes on top.
SERVING = MACHINES[1:]


@dataclass
class Times:
    """How soon a fleet got over something, in seconds. None: it did not."""

    taken_over: list[float | None] = field(default_factory=list)
    """From a cut until each session or reply that was worked on there was worked on elsewhere."""
    back: float | None = None
    """From the end of a cut until work was taken there again."""
    workers: set[str] = field(default_factory=set)
    """Machines that did the scaled stage's work after it was scaled."""


Happening = Callable[[Fleet, Times], None]


@dataclass(frozen=True)
class Scenario:
    """Something that happens, and what is allowed to come of it."""

    name: str
    happens: Happening | None = None
    quality: Quality | None = None
    """Of every link between the machines, all the time."""
    tells: bool = False
    """Talkers may be told of it: there is nobody else to do the work."""


@dataclass(frozen=True)
class Noticed:
    """What talkers noticed."""

    scenario: Scenario
    gathered: Gathered
    times: Times
    wire: Counted
    trouble: str = ""
    """Why what was to happen did not."""

    @property
    def turns(self) -> int:
        """That were spoken."""
        return len(self.gathered.turns)

    @property
    def answered(self) -> int:
        """Of these."""
        return sum(turn.outcome == OK for turn in self.gathered.turns)

    @property
    def unanswered(self) -> int:
        """Never answered."""
        return sum(turn.outcome == UNANSWERED for turn in self.gathered.turns)

    @property
    def latency(self) -> Spread:
        """From the last packet of voice to the first audio, in ms."""
        return spread(turn.voice_to_voice_ms for turn in self.gathered.answered())

    @property
    def late_ms(self) -> list[float]:
        """Of each reply that was late in its middle."""
        return [turn.late_ms for turn in self.gathered.turns if turn.late_ms > 0]

    @property
    def health(self) -> Health:
        """Whether the talkers kept time."""
        return health(self.gathered)


def play(fleet: Fleet, scenario: Scenario, sessions: int, seconds: float) -> Noticed:
    """Runs it to its end and mends everything. Raises BenchFailed."""
    return fleet.layout.inside(lambda: _play(fleet, scenario, sessions, seconds))


def _play(fleet: Fleet, scenario: Scenario, sessions: int, seconds: float) -> Noticed:
    speech = sounds.speech("a hum", sounds.hums(), "ga", PACKET_MS)
    order = Order(
        url=fleet.url, dialect="ga", speech=speech, sessions=sessions, ramp_s=RAMP_PER_SESSION_S * sessions,
        warm_up_s=SETTLE_S, seconds=seconds, conversations=None, turns=TURNS, counts_ramp=False,
    )  # fmt: skip
    times, troubles = Times(), list[str]()
    if scenario.quality is not None:
        fleet.layout.worsen(scenario.quality, SERVING)
    before = fleet.layout.count()
    try:
        with Generator(order) as talkers:
            happening = threading.Thread(
                target=_happen, args=(fleet, scenario, times, talkers.begin_s + HAPPENS_S, troubles)
            )
            happening.start()
            gathered = talkers.run(lambda _: None)
            happening.join()
    finally:
        fleet.layout.mend()
        fleet.layout.worsen(Quality(), ())
    after = fleet.layout.count()
    counted = Counted(after.carried - before.carried, after.lost - before.lost, after.cpu_s - before.cpu_s)
    fleet.when_ready(*(machine for machine in fleet.processes if machine[:3] in STAGES))
    return Noticed(scenario, gathered, times, counted, "; ".join(troubles))


def _happen(fleet: Fleet, scenario: Scenario, times: Times, at_s: float, troubles: list[str]) -> None:
    time.sleep(max(0.0, at_s - time.monotonic()))
    try:
        if scenario.happens is not None:
            scenario.happens(fleet, times)
    except (BenchFailed, streams.RedisError) as error:
        troubles.append(str(error))


# --- what can happen


def cut_worker(machine: str, seconds: float) -> Happening:
    """The machine's link carries nothing for so long."""

    def happens(fleet: Fleet, times: Times) -> None:
        with streams.connect(fleet.url_of("state")) as state:
            stage = machine[:3]
            began_s = time.monotonic()
            while not (had := _held(state, stage, machine)) and time.monotonic() < began_s + PATIENCE_S:
                time.sleep(LOOK_S)
            fleet.layout.cut(machine)
            cut_s = time.monotonic()
            took: dict[str, float] = {}
            while time.monotonic() < cut_s + seconds:
                took |= {
                    key: time.monotonic() - cut_s for key in had - took.keys() - _held(state, stage, machine)
                }
                time.sleep(LOOK_S)
            times.taken_over += [took.get(key) for key in had]
            fleet.layout.mend()
            mended_s = time.monotonic()
            while not (_held(state, stage, machine) - had) and time.monotonic() < mended_s + PATIENCE_S:
                time.sleep(LOOK_S)
            back_s = time.monotonic() - mended_s
            times.back = back_s if back_s < PATIENCE_S else None

    return happens


def cut_pair(one: str, other: str, seconds: float) -> Happening:
    """Nothing passes between two machines for so long."""

    def happens(fleet: Fleet, _times: Times) -> None:
        fleet.layout.cut(one, other)
        time.sleep(seconds)
        fleet.layout.mend()

    return happens


def add_workers(*machines: str) -> Happening:
    """More machines of a stage, and a while to see who does its work."""

    def happens(fleet: Fleet, times: Times) -> None:
        for machine in machines:
            fleet.start_worker(machine)
        fleet.when_ready(*machines)
        ready_s = time.monotonic()
        with streams.connect(fleet.url_of("state")) as state:
            while time.monotonic() < ready_s + HAPPENS_S:
                times.workers |= set(_holders(state, machines[0][:3]).values())
                time.sleep(LOOK_S)

    return happens


def _holders(state: streams.Client, stage: str) -> dict[str, str]:
    """The machine behind each lease of a stage, by the lease's name, reply and epoch."""
    names = list(state.scan_iter(match=keys.lease(stage, "*"), count=1000))
    found = {}
    for name, value in zip(names, state.mget(names) if names else [], strict=True):
        if (holder := parse_holder(cast("bytes | None", value))) is not None:
            found[f"{name} {holder.reply} {holder.epoch}"] = machine_of(holder)
    return found


def _held(state: streams.Client, stage: str, machine: str) -> set[str]:
    return {name for name, of in _holders(state, stage).items() if of == machine}


WEB_MEDIA_S, CUT_S, LLM_CUT_S = 1.0, 10.0, 5.0


def between_machines(delay_ms: float, jitter_ms: float = 0.0, loss: float = 0.0) -> Scenario:
    """Delay one way, and loss, on every link."""
    name = f"{2 * delay_ms:g} ms round trip" if delay_ms else "no delay"
    if jitter_ms:
        name += f" ± {2 * jitter_ms:g}"
    return Scenario(f"{name}, {100 * loss:g} % lost", quality=Quality(delay_ms, jitter_ms, loss))


SCENARIOS = (
    Scenario("undisturbed"),
    between_machines(0.5, 0.1),
    between_machines(2.5, 0.5),
    between_machines(5, 1),
    between_machines(20, 5),
    between_machines(0, 0, 0.001),
    between_machines(0, 0, 0.01),
    between_machines(20, 5, 0.01),
    Scenario(f"link of one of two stt machines cut for {CUT_S:g} s", cut_worker("stt1", CUT_S)),
    Scenario(
        f"link of the only llm machine cut for {LLM_CUT_S:g} s", cut_worker("llm1", LLM_CUT_S), tells=True
    ),
    Scenario(f"nothing between web and media for {WEB_MEDIA_S:g} s", cut_pair(WEB, MEDIA, WEB_MEDIA_S)),
    Scenario("tts scaled from one machine to three", add_workers("tts2", "tts3")),
    Scenario("undisturbed, again"),
    Scenario(f"link of one of three tts machines cut for {CUT_S:g} s", cut_worker("tts1", CUT_S)),
)
