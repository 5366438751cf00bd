"""How many workers a queue should have. Pure: from what is seen of the fleet and remembered of the last minutes.

Up at once, down only after a quiet time. What is remembered is the most slots that were needed in each half minute, so
all web processes that share the memory advise the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from config.tuning import AdmissionSettings, ScaleSettings

#: Length of a piece of the memory.
PIECE_S = 30.0

#: A queue that is pressed gets so many more workers, of those it has.
MORE = 0.25

#: By the start of a piece, in pieces since 1970: the most slots that were needed in it.
Recent = Mapping[int, float]


@dataclass(frozen=True)
class QueueLoad:
    """What is seen of one queue and its workers."""

    replicas: int
    """Workers that are warm and take work."""
    slots: int
    """Of all of them."""
    taken: int
    queued: int = 0
    """Tasks that nobody has taken."""
    oldest_s: float = 0.0
    """Age of the oldest of them."""


@dataclass(frozen=True)
class Sessions:
    """What is seen of the conversations."""

    held: int
    """They have a place."""
    waiting: int = 0
    """They wait for one in admission's line."""
    late_replies: int = 0
    """Replies with late audio in the last minute."""


@dataclass(frozen=True)
class Demand:
    """Slots that are needed now, and what says so."""

    seats: float
    why: str


@dataclass(frozen=True)
class Advice:
    """Workers that there should be, and what says so."""

    replicas: int
    why: str


def seats_expected(queue: str, sessions: Sessions, shares: AdmissionSettings) -> float:
    """Slots that all sessions, those that wait among them, are expected to need: as admission counts them, for it lets
    in no more than the slots allow by the same shares."""
    share = {"stt": 1.0, "llm": shares.llm_share, "tts": shares.tts_share}.get(queue, 0.0)
    return share * (sessions.held + sessions.waiting)


def demand(
    queue: str, load: QueueLoad, sessions: Sessions, rules: ScaleSettings, shares: AdmissionSettings
) -> Demand:
    """Slots for what there is to do now. A queue that is pressed although it has slots needs more of them."""
    found = Demand(max(load.taken + load.queued, seats_expected(queue, sessions, shares)), "slots")
    late = sessions.late_replies > rules.late_share * max(1, sessions.held)
    pressed = {
        "oldest task": load.queued > 0 and load.oldest_s > rules.oldest_s,
        "late audio": queue == "tts" and late,
    }
    more = max(1, load.slots) * (1 + MORE) * (1 - rules.free_share)
    for why, so in pressed.items():
        if so and more > found.seats:
            found = Demand(more, why)
    return found


def workers(seats: float, slots_each: float, free_share: float) -> int:
    """As many as leave this share of their slots free."""
    return math.ceil(seats / (slots_each * (1 - free_share)) - 1e-9)


def piece(now_s: float) -> int:
    """The piece of the memory that this moment belongs to."""
    return int(now_s // PIECE_S)


def pieces_kept(rules: ScaleSettings) -> int:
    """How many pieces are remembered before the one that lasts."""
    return math.ceil(rules.quiet_s / PIECE_S)


def advise(
    queue: str, now: Demand, load: QueueLoad, recent: Recent, at: int, rules: ScaleSettings, slots_each: int
) -> Advice:
    """Workers that there should be. recent: of the pieces up to `at`, the one that lasts. slots_each: slots of one
    worker, where none says it.

    What was needed lately is kept, and of what there is only that goes which leaves `spare_share` more free than must
    be. While less is remembered than a quiet time, as after a loss of Redis, nobody is sent away.
    """
    kept = pieces_kept(rules)
    remembered = {begun: seats for begun, seats in recent.items() if at - kept <= begun <= at}
    each = load.slots / load.replicas if load.replicas and load.slots else slots_each
    lasting = max([now.seats, *remembered.values()])
    found = Advice(workers(now.seats, each, rules.free_share), now.why)
    whole = min(remembered, default=at) <= at - kept
    calm = workers(lasting, each, rules.free_share + rules.spare_share) if whole else load.replicas
    held = max(workers(lasting, each, rules.free_share), min(load.replicas, calm))
    if held > found.replicas:
        found = Advice(held, "quiet time")
    bounds = rules.replicas(queue)
    if found.replicas < bounds.least:
        return Advice(bounds.least, "least")
    if found.replicas > bounds.most:
        return Advice(bounds.most, f"most; {found.replicas} are needed")
    return found
