"""The fleet: every process that beats, what it says of itself, and who of them cannot work with the others.

What is needed of Redis comes through `tasks.streams`; the rest is pure.
"""

import math
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from config.messages import Drain
from config.redis_keys import BEATING, STAGES, WEB
from config.tuning import AdmissionSettings
from config.versions import VERSION, refusal, understands
from tasks import beats, streams

#: A process that was refused is shown for so long.
REFUSED_S = 60.0


@dataclass(frozen=True)
class Member:
    """A worker's stage, or a web process (stage `web`), as it advertises itself."""

    stage: str
    name: str
    host: str
    pid: int
    gpu: str
    model: str
    speaks: int
    """Version of our messages."""
    slots: int
    free: int
    draining: bool
    refused: str
    """Why it may not work with the others; it has ended, and is still shown."""
    age_s: float
    """Since its last beat, by Redis' clock."""
    taken: int | None = None
    """Slots that somebody holds, while it drains too; None: a worker of an older release does not say, then."""
    sessions: int = 0
    """web: those it serves, the waiting among them."""
    waiting: int = 0
    closed: str = ""
    """web: why it lets nobody in, however many slots are free; empty if it does."""
    llm_share: float | None = None
    """web: the share of a slot that it reserves for each session; None: it does not say, or is a worker."""
    tts_share: float | None = None

    @property
    def works(self) -> bool:
        """New work may go to it."""
        return not self.draining and not self.why_not

    @property
    def why_not(self) -> str:
        """Why its slots are not counted; empty if they are."""
        if self.refused or understands(self.speaks):
            return self.refused
        return refusal(self.name, self.speaks)


def introduction() -> dict[str, str]:
    """What every member says of itself in each beat."""
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "speaks": str(VERSION)}


def look(state: streams.Client, stages: Iterable[str] = BEATING) -> list[Member]:
    """All that beat, in two round trips. Raises RedisError."""
    return [
        _member(stage, name, said, age_s)
        for stage, found in beats.advertised(state, tuple(stages)).items()
        for name, (said, age_s) in found.items()
    ]


def _member(stage: str, name: str, said: Mapping[str, str], age_s: float) -> Member:
    """From a heartbeat, of whichever version. Names end with the process id, before it comes the host."""
    host, _, pid = name.rpartition("-")
    numbers = {field: _whole(said.get(field)) for field in ("slots", "free", "sessions", "waiting")}
    draining = said.get("draining") == "1"
    taken = None if draining else numbers["slots"] - numbers["free"]
    return Member(
        stage=stage,
        name=name,
        host=said.get("host") or host,
        pid=_whole(said.get("pid") or pid),
        gpu=said.get("gpu", ""),
        model=said.get("model", ""),
        speaks=_whole(said.get("speaks", "1")),  # version 1 did not say
        draining=draining,
        refused=said.get("refused", ""),
        age_s=age_s,
        taken=_whole(said["taken"]) if "taken" in said else taken,
        closed=said.get("closed", ""),
        llm_share=_share(said.get("llm_share")),
        tts_share=_share(said.get("tts_share")),
        **numbers,
    )


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _share(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d+(\.\d+)?", text) else None


def refuse(state: streams.Client, stage: str, name: str, why: str) -> None:
    """Leaves a note for those who look at the fleet; the process itself ends."""
    beats.beat(state, stage, name, {**introduction(), "slots": 0, "free": 0, "refused": why}, REFUSED_S)


def strangers(members: Iterable[Member]) -> list[Member]:
    """Those alive that speak a version too far from ours."""
    return [member for member in members if not member.refused and not understands(member.speaks)]


def meets(members: Iterable[Member]) -> str | None:
    """Why this process, which is new, may not join; None when it may. It is the newcomer that is refused, for who is at
    work serves somebody."""
    for member in strangers(members):
        kind = "web process" if member.stage == WEB else f"worker of {member.stage}"
        return refusal(f"the {kind} {member.name}", member.speaks)
    return None


#: Sessions for which a stage suffices of which none needs any.
NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class Capacity:
    """How many sessions there is room for, and which stage says so."""

    sessions: int
    bound_by: str
    """A stage: the one whose slots are the fewest, or that nobody serves."""


def capacity(members: Iterable[Member], rules: AdmissionSettings) -> Capacity:
    """Sessions for which the slots suffice: each listens all the time, and speaks some of it."""
    room = rooms(members, rules.llm_share, rules.tts_share)
    tightest = min(STAGES, key=room.__getitem__)
    return Capacity(room[tightest], tightest)


def rooms(members: Iterable[Member], llm_share: float, tts_share: float) -> dict[str, int]:
    """Sessions for which the slots of each stage suffice."""
    shares = {"stt": 1.0, "llm": llm_share, "tts": tts_share}
    slots = dict.fromkeys(STAGES, 0)
    for member in members:
        if member.stage in slots and member.works:
            slots[member.stage] += member.slots
    return {stage: int(min(_room(slots[stage], shares[stage]), NO_LIMIT)) for stage in STAGES}


def _room(slots: int, share: float) -> float:
    """Rounding must not cost a session: 7 slots at 0.35 are 20."""
    if not slots:
        return 0
    return math.floor(slots / share + 1e-9) if share else math.inf


def counts(members: Iterable[Member], stages: Iterable[str] = STAGES) -> dict[str, dict[str, int]]:
    """Workers that take work, their slots and the free ones, of each stage."""
    answer = {stage: {"workers": 0, "slots": 0, "free": 0} for stage in stages}
    for member in members:
        if member.stage in answer and member.works:
            said = answer[member.stage]
            said["workers"] += 1
            said["slots"] += member.slots
            said["free"] += member.free
    return answer


def drain(state: streams.Client, media: streams.Client, name: str) -> bool:
    """Tells a worker to finish its replies, hand its sessions over, and end with status 0. False: nobody of that name.

    Who supervises it may start it again. It has ended when `look` does not show it any more. Raises RedisError.
    """
    known = any(member.name == name and member.stage != WEB for member in look(state))
    if known:
        streams.command(media, name, Drain())
    return known
