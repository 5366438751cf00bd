"""Replies that come and go on one engine in virtual time: who hears a gap, by the rule that chooses who steps. Pure.

The clock is ours, so a run of minutes takes seconds, gives the same figures everywhere, and compares rules on the same
replies.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from config.settings import SAMPLE_RATE
from gpu_workers.batcher import Batcher, Playback

FRAME_SAMPLES = 1920
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE

#: How often the web reports what was heard.
REPORT_S = 0.5

#: A step that finds nobody in want of sound is tried again so much later: the loop's own beat.
BEAT_S = 0.004

#: Gaps shorter than this are rounding.
EPSILON_S = 1e-6


@dataclass(frozen=True)
class Load:
    """What the engine can do, and what is asked of it."""

    share: float
    """Of the engine's capacity that is wanted in the mean."""
    batch: int = 32
    fixed_s: float = 0.008
    per_slot_s: float = 0.00005
    loop_s: float = 0.0
    """Of the loop itself, between two steps."""
    ahead_s: float = 2.0
    first_audio_s: float = 0.2
    """A new reply wants its first sound so soon."""
    silent_steps: int = 0
    """Steps a new reply takes before it sounds."""
    reply_s: tuple[float, float] = (3.0, 8.0)
    between_s: tuple[float, float] = (0.0, 2.0)
    """From the end of a reply, as heard, to the next of that session."""
    seconds: float = 60.0
    seed: int = 1

    def step_s(self, slots: int) -> float:
        """Length of a step."""
        return self.fixed_s + self.per_slot_s * slots + self.loop_s

    @property
    def capacity(self) -> float:
        """Replies that full steps keep sounding."""
        return self.batch / self.step_s(self.batch) * FRAME_S

    @property
    def sessions(self) -> int:
        """So many that their replies want `share` of the capacity, in the mean."""
        reply, between = sum(self.reply_s) / 2, sum(self.between_s) / 2
        steps = reply + self.silent_steps * FRAME_S
        return round(self.share * self.capacity * (reply + between) / steps)


@dataclass
class _Reply:
    number: int
    slot: int
    asked_s: float
    frames: int
    playback: Playback
    silent: int
    report_s: float = 0.0
    first_s: float | None = None
    made: int = 0
    chosen_s: float = -1.0


@dataclass
class Outcome:
    """What listeners noticed."""

    frames: int = 0
    replies: int = 0
    late_replies: int = 0
    """Replies with a gap in them."""
    late_frames: int = 0
    worst_s: float = 0.0
    first_audio_s: list[float] = field(default_factory=list)
    busy_s: float = 0.0


#: Gives at most `batch` slots of those that want a step.
Rule = Callable[[Mapping[int, "_Reply"], int, float], list[int]]


def earliest_deadline(wanted: Mapping[int, _Reply], batch: int, now_s: float) -> list[int]:
    """The product's."""
    return Batcher(batch).choose({slot: reply.playback.ends_s for slot, reply in wanted.items()}, now_s)


def first_come(wanted: Mapping[int, _Reply], batch: int, now_s: float) -> list[int]:
    """Whoever asked first."""
    return sorted(wanted, key=lambda slot: wanted[slot].asked_s)[:batch]


def slot_order(wanted: Mapping[int, _Reply], batch: int, now_s: float) -> list[int]:
    """Lowest slot first."""
    return sorted(wanted)[:batch]


def round_robin(wanted: Mapping[int, _Reply], batch: int, now_s: float) -> list[int]:
    """Whoever stepped longest ago."""
    return sorted(wanted, key=lambda slot: wanted[slot].chosen_s)[:batch]


def least_reported(wanted: Mapping[int, _Reply], batch: int, now_s: float) -> list[int]:
    """The least sound in hand by the last report, up to half a second old."""
    return sorted(wanted, key=lambda slot: wanted[slot].playback.in_hand)[:batch]


RULES: dict[str, Rule] = {
    "earliest deadline": earliest_deadline,
    "least in hand by last report": least_reported,
    "round robin": round_robin,
    "first come": first_come,
    "slot order": slot_order,
}


class _House:
    """The sessions: each has a reply now, or one to come."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.dice = random.Random(load.seed)
        self.speaking: dict[int, _Reply] = {}
        self.next_s = {slot: self.dice.uniform(0, 6.5) for slot in range(load.sessions)}
        self.numbers = 0

    def begin_due(self, now_s: float) -> None:
        """Asks for the replies whose time has come."""
        for slot in [slot for slot, at_s in self.next_s.items() if at_s <= now_s]:
            asked_s = self.next_s.pop(slot)
            frames = round(self.dice.uniform(*self.load.reply_s) / FRAME_S)
            playback = Playback(0, asked_s + self.load.first_audio_s, SAMPLE_RATE)
            self.numbers += 1
            self.speaking[slot] = _Reply(
                self.numbers, slot, asked_s, frames, playback, self.load.silent_steps
            )

    def report_due(self, now_s: float) -> None:
        """Tells what was heard, of everybody whose turn it is."""
        for reply in self.speaking.values():
            if reply.first_s is not None and now_s >= reply.report_s:
                reply.report_s += REPORT_S
                heard_s = min(now_s - reply.first_s, reply.made * FRAME_S)
                reply.playback.hear(round(heard_s * SAMPLE_RATE), now_s)

    def end(self, reply: _Reply, now_s: float) -> None:
        """All of it was made: the slot is free."""
        del self.speaking[reply.slot]
        assert reply.first_s is not None
        heard_s = max(now_s, reply.first_s + reply.frames * FRAME_S)
        self.next_s[reply.slot] = heard_s + self.dice.uniform(*self.load.between_s)


def play(load: Load, rule: Rule) -> Outcome:
    """All that happens in `load.seconds`."""
    house, outcome, now_s = _House(load), Outcome(), 0.0
    ahead = round(load.ahead_s * SAMPLE_RATE)
    while now_s < load.seconds:
        house.begin_due(now_s)
        house.report_due(now_s)
        wanted = {slot: reply for slot, reply in house.speaking.items() if reply.playback.in_hand < ahead}
        chosen = rule(wanted, load.batch, now_s)
        if not chosen:
            now_s += BEAT_S
            continue
        took_s = load.step_s(len(chosen))
        now_s += took_s
        outcome.busy_s += took_s
        for slot in chosen:
            _take_frame(house, house.speaking[slot], outcome, now_s)
    return outcome


def _take_frame(house: _House, reply: _Reply, outcome: Outcome, now_s: float) -> None:
    reply.chosen_s = now_s
    if reply.silent:
        reply.silent -= 1
        return
    if reply.first_s is None:
        reply.first_s, reply.report_s = now_s, now_s + REPORT_S
        outcome.replies += 1
        outcome.first_audio_s.append(now_s - reply.asked_s)
    late_s = now_s - (reply.first_s + reply.made * FRAME_S)
    if late_s > EPSILON_S:
        outcome.late_frames += 1
        outcome.worst_s = max(outcome.worst_s, late_s)
        if reply.number > 0:
            outcome.late_replies += 1
            reply.number = -reply.number
    reply.made += 1
    reply.playback.make(FRAME_SAMPLES, now_s)
    outcome.frames += 1
    if reply.made == reply.frames:
        house.end(reply, now_s)
