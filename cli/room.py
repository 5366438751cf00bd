"""How many more sessions a deployment has room for, counted as admission counts: from what the fleet says. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from config.redis_keys import WEB
from tasks import fleet
from tasks.fleet import NO_LIMIT, Member


@dataclass(frozen=True)
class Room:
    """For sessions that are still to come."""

    sessions: int
    bound_by: str
    """The stage that says so: its slots are the first to be taken."""
    stages: dict[str, int | None]
    """For how many more the slots of each suffice; None: for any number."""
    closed: str
    """Why nobody is let in all the same; empty if somebody is."""

    def __str__(self) -> str:
        if self.closed:
            return f"nobody is let in: {self.closed}"
        return f"room for {self.sessions} more: {self.bound_by} is the tightest"


def room(members: Sequence[Member], held: int) -> Room | None:
    """What `held` places leave. None when no web process says what it reserves for a session."""
    doors = [member for member in members if member.stage == WEB and member.works]
    llm = [door.llm_share for door in doors if door.llm_share is not None]
    tts = [door.tts_share for door in doors if door.tts_share is not None]
    if not llm or not tts:
        return None
    # web processes that differ, as while settings are changed: the more careful
    fits = fleet.rooms(members, max(llm), max(tts))
    left = {stage: max(0, sessions - held) for stage, sessions in fits.items()}
    tightest = min(left, key=fits.__getitem__)
    stages = {stage: None if fits[stage] == NO_LIMIT else count for stage, count in left.items()}
    closed = doors[0].closed if all(door.closed for door in doors) else ""
    return Room(0 if closed else left[tightest], tightest, stages, closed)
