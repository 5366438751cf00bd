"""A day of sessions against a scaling policy, in virtual time: who waits, who is sent away, how workers come and go.

The line of admission and the policy under test are the product's; sessions and workers are numbers.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from config.tuning import AdmissionSettings, ScaleSettings
from web import scale

HOUR_S = 3600.0

#: Who scales asks so often: `deploy/swarm/autoscale` and KEDA both.
POLL_S = 15.0

#: A worker is warm so long after it was started, at the least and at the most.
START_S = (60.0, 120.0)

#: A conversation lasts so long on average, by an exponential law.
SESSION_S = 300.0

#: Slots of one worker.
SLOTS = {"stt": 32, "llm": 16, "tts": 8}

#: Seats that a session really takes on average; admission reckons with more of LLM and TTS.
BUSY = {"stt": 1.0, "llm": 0.1, "tts": 0.3}

#: The next change of a queue within this time the other way round counts as flapping.
FLAP_S = 600.0

#: Workers of a queue, decided every POLL_S from: queue, what is seen, sessions, now, and how many are starting.
Policy = Callable[[str, scale.QueueLoad, scale.Sessions, float, int], int]


@dataclass(frozen=True)
class Curve:
    """Sessions that people want to have at once, by the second of the day."""

    night: float = 8.0
    day: float = 90.0
    lunch: float = 45.0
    burst: float = 35.0
    """Sessions that come within two minutes beside the rest, at each of `bursts_h`."""
    bursts_h: tuple[float, ...] = (8.5, 11.0, 16.25, 20.0)
    begin_h: float = 0.0
    end_h: float = 24.0

    def arrivals_per_s(self, now_s: float) -> float:
        """New sessions a second."""
        hour = now_s / HOUR_S
        wave = max(0.0, math.sin(math.pi * (hour - 6.0) / 16.0)) if 6.0 <= hour <= 22.0 else 0.0
        noon = math.exp(-(((hour - 12.5) / 0.4) ** 2))
        wanted = self.night + self.day * wave + self.lunch * noon
        bursting = any(0 <= now_s - at_h * HOUR_S < 120.0 for at_h in self.bursts_h)
        return wanted / SESSION_S + (self.burst / 120.0 if bursting else 0.0)


@dataclass
class Pool:
    """The workers of one queue."""

    slots_each: int
    warm: int
    starting: list[float] = field(default_factory=list)
    """When those that were started will be warm."""
    changes: list[tuple[float, int]] = field(default_factory=list)
    """When how many more or fewer were asked for."""
    worker_s: float = 0.0

    def pass_time(self, now_s: float, step_s: float) -> None:
        """Those that are warm by now join."""
        self.warm += sum(ready_s <= now_s for ready_s in self.starting)
        self.starting = [ready_s for ready_s in self.starting if ready_s > now_s]
        self.worker_s += step_s * (self.warm + len(self.starting))

    def want(self, replicas: int, now_s: float, dice: np.random.Generator) -> None:
        """Starts what is missing; what is too much goes, those that start first."""
        difference = replicas - self.warm - len(self.starting)
        if difference:
            self.changes.append((now_s, difference))
        self.starting += [now_s + dice.uniform(*START_S) for _ in range(difference)]
        for _ in range(-difference):
            if self.starting:
                self.starting.pop()
            else:
                self.warm -= 1

    @property
    def slots(self) -> int:
        """Of those that are warm."""
        return self.warm * self.slots_each

    @property
    def flaps(self) -> int:
        """Changes that took back the one before within `FLAP_S`."""
        pairs = zip(self.changes, self.changes[1:], strict=False)
        return sum(
            (before < 0) != (after < 0) and then_s - at_s < FLAP_S
            for (at_s, before), (then_s, after) in pairs
        )


@dataclass(frozen=True)
class Outcome:
    """What a day was like."""

    sessions: int
    refused: int
    waits_s: Sequence[float]
    """Of those who waited at all and got a place."""
    changes: int
    flaps: int
    worker_hours: float
    least_hours: float
    """Worker hours if at every moment there were just as many as the sessions held need."""
    displaced: int
    """Sessions whose slots were taken away without others being free."""

    @property
    def refused_share(self) -> float:
        """Of all that came."""
        return self.refused / max(1, self.sessions)

    @property
    def waited_share(self) -> float:
        """Of all that came."""
        return len(self.waits_s) / max(1, self.sessions)


class World:
    """Sessions, the line, and the pools."""

    def __init__(self, curve: Curve, shares: AdmissionSettings, rules: ScaleSettings, seed: int) -> None:
        self._curve = curve
        self._shares = shares
        self._rules = rules
        self._dice = np.random.default_rng(seed)
        self._ends_s: list[float] = []
        self._line: deque[float] = deque()
        self.pools = {queue: Pool(each, rules.replicas(queue).least) for queue, each in SLOTS.items()}
        self._came = self._refused = self._displaced = 0
        self._waits_s: list[float] = []
        self._least_s = 0.0

    def live(self, policy: Policy, step_s: float = 1.0) -> Outcome:
        """The whole day."""
        now_s, next_poll_s = self._curve.begin_h * HOUR_S, 0.0
        while now_s < self._curve.end_h * HOUR_S:
            self._step(now_s, step_s)
            if now_s >= next_poll_s:
                next_poll_s = now_s + POLL_S
                self._poll(policy, now_s)
            now_s += step_s
        pools = self.pools.values()
        return Outcome(
            self._came, self._refused, self._waits_s,
            sum(len(pool.changes) for pool in pools), sum(pool.flaps for pool in pools),
            sum(pool.worker_s for pool in pools) / HOUR_S, self._least_s / HOUR_S, self._displaced,
        )  # fmt: skip

    def _step(self, now_s: float, step_s: float) -> None:
        for pool in self.pools.values():
            pool.pass_time(now_s, step_s)
        while self._ends_s and self._ends_s[0] <= now_s:
            heapq.heappop(self._ends_s)
        came = int(self._dice.poisson(self._curve.arrivals_per_s(now_s) * step_s))
        self._came += came
        self._line.extend([now_s] * came)
        room = self._room()
        while self._line and len(self._ends_s) < room:
            waited_s = now_s - self._line.popleft()
            if waited_s > 0:
                self._waits_s.append(waited_s)
            heapq.heappush(self._ends_s, now_s + self._dice.exponential(SESSION_S))
        while self._line and now_s - self._line[0] > self._shares.longest_wait_s:
            self._line.popleft()
            self._refused += 1
        while len(self._line) > self._shares.most_waiting:
            self._line.pop()
            self._refused += 1
        sessions = scale.Sessions(len(self._ends_s))
        for queue, each in SLOTS.items():
            self._least_s += step_s * max(
                1, math.ceil(scale.seats_expected(queue, sessions, self._shares) / each)
            )

    def _room(self) -> int:
        """Sessions that admission lets in: by the stage with the fewest slots for its share."""
        shares = {"stt": 1.0, "llm": self._shares.llm_share, "tts": self._shares.tts_share}
        return min(math.floor(pool.slots / shares[queue] + 1e-9) for queue, pool in self.pools.items())

    def _poll(self, policy: Policy, now_s: float) -> None:
        held = len(self._ends_s)
        sessions = scale.Sessions(held, len(self._line))
        for queue, pool in self.pools.items():
            taken = min(pool.slots, int(self._dice.binomial(held, BUSY[queue])))
            load = scale.QueueLoad(pool.warm, pool.slots, taken)
            wanted = policy(queue, load, sessions, now_s, len(pool.starting))
            bounds = self._rules.replicas(queue)
            pool.want(min(bounds.most, max(bounds.least, wanted)), now_s, self._dice)
        self._displaced += max(0, held - self._room())


class Ours:
    """`/v1/scale`: the functions themselves, and a memory as Redis keeps it."""

    def __init__(self, rules: ScaleSettings, shares: AdmissionSettings) -> None:
        self._rules = rules
        self._shares = shares
        self._memory: dict[str, dict[int, float]] = {queue: {} for queue in SLOTS}

    def __call__(
        self, queue: str, load: scale.QueueLoad, sessions: scale.Sessions, now_s: float, _starting: int
    ) -> int:
        """As the route answers."""
        now = scale.demand(queue, load, sessions, self._rules, self._shares)
        at, memory = scale.piece(now_s), self._memory[queue]
        memory[at] = max(memory.get(at, 0.0), now.seats)
        return scale.advise(queue, now, load, memory, at, self._rules, SLOTS[queue]).replicas


class OfTheMoment:
    """As many as are needed now, up and down at once: ours without a memory."""

    def __init__(self, rules: ScaleSettings, shares: AdmissionSettings) -> None:
        self._rules = rules
        self._shares = shares

    def __call__(
        self, queue: str, load: scale.QueueLoad, sessions: scale.Sessions, _now_s: float, _starting: int
    ) -> int:
        """No memory, no quiet time."""
        seats = scale.demand(queue, load, sessions, self._rules, self._shares).seats
        return scale.workers(seats, SLOTS[queue], self._rules.free_share)


class Thresholds:
    """One more above three quarters, one less below half of the slots taken, as a simple cron job does it."""

    def __init__(self, _rules: ScaleSettings, shares: AdmissionSettings) -> None:
        self._shares = shares

    def __call__(
        self, queue: str, load: scale.QueueLoad, sessions: scale.Sessions, _now_s: float, starting: int
    ) -> int:
        """Counts those that are starting, or it would run away."""
        there = load.replicas + starting
        seats = max(load.taken, scale.seats_expected(queue, scale.Sessions(sessions.held), self._shares))
        share = seats / max(1, load.slots)
        return there + 1 if share > 0.75 and not starting else there - 1 if share < 0.5 else there
