"""Places and the line for them, on a real server: over several web processes, some of which die."""

import time
from collections.abc import Callable, Sequence

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from config import redis_keys as keys
from config.settings import load
from config.tuning import AdmissionSettings
from config.versions import VERSION
from tasks import fleet
from tasks.leases import LINE_FULL, Reservations
from web.admission import Admission

#: No place ends by itself while a test runs.
LONG_MS = 600_000


@pytest.fixture
def desk(state: redis.Redis) -> Reservations:
    """Nobody has a place yet."""
    state.delete(keys.reserved(), keys.waiting(), keys.waiting_until())
    return Reservations(state, LONG_MS, LONG_MS)


def expire(state: redis.Redis, listing: str, sid: str) -> None:
    """As if its deadline had passed."""
    state.zadd(listing, {sid: 1})


def test_those_who_find_no_place_stand_in_line_and_come_in_its_order(desk: Reservations) -> None:
    assert [desk.ask(sid, 2, 5) for sid in "abcde"] == [0, 0, 1, 2, 3]
    desk.give_back("a")
    assert desk.ask("d", 2, 5) == 2, "c was first"
    assert desk.ask("c", 2, 5) == 0
    assert desk.ask("d", 2, 5) == 1
    assert desk.count() == (2, 2)


def test_who_comes_new_does_not_overtake_the_line_although_a_place_is_free(desk: Reservations) -> None:
    assert [desk.ask(sid, 1, 5) for sid in "ab"] == [0, 1]
    desk.give_back("a")
    assert desk.ask("c", 1, 5) == 2
    assert desk.ask("b", 1, 5) == 0


def test_a_full_line_takes_nobody_but_who_goes_on(desk: Reservations) -> None:
    assert [desk.ask(sid, 1, 1) for sid in "abc"] == [0, 1, LINE_FULL]
    assert desk.ask("back", 1, 1, first=True) == 1, "before those that are new"
    assert desk.ask("b", 1, 1) == 2
    desk.give_back("a")
    assert desk.ask("b", 1, 1) == 2
    assert desk.ask("back", 1, 1) == 0, "asked again it need not say that it goes on"


def test_who_has_a_place_keeps_it_when_asked_again_even_if_the_fleet_has_shrunk(desk: Reservations) -> None:
    assert desk.ask("a", 1, 5) == 0
    assert desk.ask("a", 0, 5, first=True) == 0
    assert desk.ask("b", 0, 5) == 1


def test_a_dead_web_process_loses_its_places_and_its_line(desk: Reservations, state: redis.Redis) -> None:
    assert [desk.ask(sid, 1, 5) for sid in "abc"] == [0, 1, 2]
    expire(state, keys.waiting_until(), "b")
    assert desk.ask("c", 1, 5) == 1
    expire(state, keys.reserved(), "a")
    assert desk.ask("c", 1, 5) == 0
    assert desk.count() == (1, 0)


def test_places_of_who_is_gone_are_not_counted_although_nobody_has_come_since(
    desk: Reservations, state: redis.Redis
) -> None:
    assert [desk.ask(sid, 1, 5) for sid in "abc"] == [0, 1, 2]
    assert desk.count() == (1, 2)
    expire(state, keys.reserved(), "a")
    expire(state, keys.waiting_until(), "b")
    assert desk.count() == (0, 1)


def test_sessions_that_live_keep_their_places_although_they_were_forgotten(
    desk: Reservations, state: redis.Redis
) -> None:
    assert [desk.ask(sid, 2, 5) for sid in "ab"] == [0, 0]
    expire(state, keys.reserved(), "a")
    desk.hold(["a", "b"])
    assert desk.ask("c", 2, 5) == 1
    state.delete(keys.reserved())  # a server that came back without them
    desk.hold(["a", "b"])
    assert desk.ask("c", 2, 5) == 1


def test_a_place_is_not_renewed_for_ever(desk: Reservations, state: redis.Redis) -> None:
    desk.ask("a", 1, 5)
    seconds, _ = state.time()
    deadline_ms = state.zscore(keys.reserved(), "a")
    assert deadline_ms is not None
    assert 0 < deadline_ms - seconds * 1000 <= LONG_MS + 1000


class Interrupted(Reservations):
    """Something happens after it was decided whose places are kept, and before the server is told."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def hold(self, sids: Sequence[str]) -> None:
        self.meanwhile()
        super().hold(sids)


def test_a_place_given_back_while_places_are_kept_is_not_taken_again(
    desk: Reservations, state: redis.Redis, media: redis.Redis
) -> None:
    admission = Admission(load("null"), "web-1", state, media)
    admission.capacity = fleet.Capacity(3, "stt")
    admission.reservations = interrupted = Interrupted(state, LONG_MS, LONG_MS)
    admission._seen_s = time.monotonic()
    over, away, _ = [admission.ask(sid) for sid in "abc"]

    def meanwhile() -> None:
        over.give_back(over=True)
        away.give_back(over=False)

    interrupted.meanwhile = meanwhile
    admission._keep_places()
    assert {sid.decode() for sid in state.zrange(keys.reserved(), 0, -1)} == {"b", "c"}, "b may come back"


Step = tuple[str, str]


@given(
    st.integers(0, 3),
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from(["ask", "leave", "die"]), st.sampled_from("abcdefg")), max_size=30),
)
def test_in_any_history_there_are_never_too_many_and_nobody_overtakes(
    state: redis.Redis, room: int, most: int, history: list[Step]
) -> None:
    state.delete(keys.reserved(), keys.waiting(), keys.waiting_until())
    desk = Reservations(state, LONG_MS, LONG_MS)
    inside: set[str] = set()
    line: list[str] = []
    for what, sid in history:
        if what == "ask":
            answer = desk.ask(sid, room, most)
            expected = _ask(sid, room, most, inside, line)
            assert answer == expected, (sid, inside, line)
        elif what == "leave":
            desk.give_back(sid)
            inside.discard(sid)
            line[:] = [other for other in line if other != sid]
        else:
            for listing, has in ((keys.reserved(), sid in inside), (keys.waiting_until(), sid in line)):
                if has:
                    expire(state, listing, sid)
            inside.discard(sid)
            line[:] = [other for other in line if other != sid]
        assert len(inside) <= room
        assert len(line) <= most


def _ask(sid: str, room: int, most: int, inside: set[str], line: list[str]) -> int:
    """What should be answered, in plain words."""
    if sid in inside:
        return 0
    before = line.index(sid) if sid in line else len(line)
    if before < room - len(inside):
        inside.add(sid)
        line[:] = [other for other in line if other != sid]
        return 0
    if sid not in line:
        if len(line) >= most:
            return LINE_FULL
        line.append(sid)
    return before + 1


# --- what there is room for


def member(stage: str, slots: int, **says: object) -> fleet.Member:
    """A worker that takes work, unless it says otherwise."""
    plain: dict[str, object] = {
        "name": f"host-{stage}-1", "host": "host", "pid": 1, "gpu": "", "model": "null", "speaks": VERSION,
        "free": slots, "draining": False, "refused": "", "age_s": 0.1,
    }  # fmt: skip
    return fleet.Member(stage=stage, slots=slots, **{**plain, **says})  # type: ignore[arg-type]


RULES = AdmissionSettings()  # type: ignore[call-arg]

MakeMember = Callable[..., fleet.Member]


@pytest.mark.parametrize(
    ("slots", "sessions", "bound_by"),
    [
        ((8, 8, 8), 8, "stt"),
        ((100, 7, 100), 20, "llm"),
        ((100, 100, 9), 15, "tts"),
        ((100, 1, 100), 2, "llm"),
        ((8, 0, 8), 0, "llm"),
    ],
)
def test_the_stage_with_the_fewest_slots_says_how_many_there_is_room_for(
    slots: tuple[int, int, int], sessions: int, bound_by: str
) -> None:
    fleet_now = [member(stage, count) for stage, count in zip(keys.STAGES, slots, strict=True)]
    assert fleet.capacity(fleet_now, RULES) == fleet.Capacity(sessions, bound_by)


@pytest.mark.parametrize(
    "says",
    [{"draining": True}, {"refused": "too old"}, {"speaks": VERSION + 2}, {"speaks": VERSION - 2}],
    ids=["it drains", "it was refused", "it is too new", "it is too old"],
)
def test_slots_of_who_takes_no_work_of_ours_are_not_counted(says: dict[str, object]) -> None:
    others = [member("stt", 8), member("llm", 8), member("tts", 16)]
    odd = member("stt", 8, **says)
    assert fleet.capacity([*others, odd], RULES).sessions == 8
    assert fleet.counts([*others, odd])["stt"]["slots"] == 8
    neighbour = member("stt", 8, speaks=VERSION - 1)
    assert fleet.capacity([*others, neighbour], RULES).sessions == 16


def test_a_newcomer_is_refused_by_who_is_at_work_and_not_by_who_was_refused() -> None:
    assert fleet.meets([member("llm", 1), member("web", 0, speaks=VERSION + 1)]) is None
    why = fleet.meets([member("llm", 1), member("web", 0, speaks=VERSION - 2, name="web-box-7")])
    assert why is not None
    assert "web-box-7" in why
    assert f"version {VERSION - 2}" in why
    assert fleet.meets([member("llm", 1, speaks=VERSION - 2, refused="too old")]) is None
