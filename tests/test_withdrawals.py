"""A consent that is taken back ends recordings also where the process that heard of it cannot reach, or died."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from config import redis_keys as keys
from tasks import kept
from tasks.shared_time import shared_time
from tests.redis_server import Server
from tests.test_recorder import ALL, NO, PCM, RULES, WORDS, Clock, Threads, names
from web import record_folder, withdrawals
from web.config import Wishes
from web.happenings import Tick
from web.recorder import Recorder
from web.turn_state import Turn
from web.withdrawals import EVENTS, SETTLED_S, SOUND, Withdrawals


@pytest.fixture(autouse=True)
def _nobody_else(state: redis.Redis) -> Iterator[None]:
    yield
    state.delete(keys.withdrawn())


def files(folder: Path, session: str, age_s: float = 60.0) -> None:
    """Words and sound of a session, not changed for so long."""
    folder.mkdir(exist_ok=True)
    changed_s = time.time() - age_s
    for path in (
        record_folder.events_file(folder, session),
        record_folder.sound_file(folder, session, 0, "wav"),
    ):
        path.write_bytes(b"x")
        os.utime(path, (changed_s, changed_s))


def withdrawn(state: redis.Redis, session: str, what: str, ago_s: float) -> None:
    kept.note(state, keys.withdrawn(), f"{session}/{what}", shared_time.now_s() - ago_s, 3600)


SETTLED = SETTLED_S + 1


def test_a_process_deletes_in_its_own_folder_what_another_was_told_of(tmp_path, state, new_sid):
    mine, other = new_sid(), new_sid()
    files(tmp_path, mine)
    files(tmp_path, other)
    withdrawn(state, mine, EVENTS, SETTLED)
    withdrawn(state, mine, SOUND, SETTLED)
    Withdrawals(tmp_path, state).look()
    assert names(tmp_path) == {f"{other}.jsonl", f"{other}.0.wav"}


def test_a_process_that_was_away_deletes_when_it_is_back(tmp_path, state, sid):
    files(tmp_path, sid, age_s=20_000)
    withdrawn(state, sid, EVENTS, 10_000)
    Withdrawals(tmp_path, state).look()
    assert names(tmp_path) == {f"{sid}.0.wav"}, "consent to the sound was not taken back"


def test_what_still_changes_is_left_until_nobody_writes_what_they_had_in_hand(tmp_path, state, sid):
    files(tmp_path, sid)
    withdrawn(state, sid, EVENTS, SETTLED_S - 5)
    Withdrawals(tmp_path, state).look()
    assert f"{sid}.jsonl" in names(tmp_path)


def test_what_was_recorded_by_a_later_consent_stays(tmp_path, state, sid):
    files(tmp_path, sid, age_s=0)
    withdrawn(state, sid, EVENTS, 3 * SETTLED_S)
    Withdrawals(tmp_path, state).look()
    assert f"{sid}.jsonl" in names(tmp_path)


def test_a_disk_that_refuses_is_tried_again_and_told_once(tmp_path, state, sid, monkeypatch, caplog):
    files(tmp_path, sid)
    withdrawn(state, sid, EVENTS, SETTLED)
    process = Withdrawals(tmp_path, state)
    with monkeypatch.context() as broken:

        def refuse(path: Path) -> bool:
            raise OSError(5, "Input/output error")

        broken.setattr(record_folder, "erase", refuse)
        process.look()
        process.look()
    assert caplog.text.count("could not be deleted yet: Input/output error") == 1
    assert f"{sid}.jsonl" in names(tmp_path)
    process.look()
    assert names(tmp_path) == {f"{sid}.0.wav"}


def record(folder: Path, sid: str, told: Withdrawals, *steps: Wishes) -> None:
    pen = Recorder(
        folder, sid, sound=True, withdrawals=told, background=Threads(), clock=Clock(),
    )  # fmt: skip
    for at, wishes in enumerate(steps):
        pen.consent(wishes)
        pen.note(Turn(), Tick(at), RULES, ())
        pen.hear(at * 480, PCM)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        pytest.param([NO, WORDS], set(), id="a consent that stands"),
        pytest.param([NO], set(), id="nothing was ever recorded"),
        pytest.param([ALL, NO], {EVENTS, SOUND}, id="all of it is taken back"),
        pytest.param([ALL, WORDS], {SOUND}, id="that for sound is taken back"),
        pytest.param([WORDS, NO], {EVENTS}, id="there was no sound"),
        pytest.param([ALL, NO, ALL], set(), id="it is given again"),
        pytest.param([ALL, NO, WORDS], {SOUND}, id="it is given again for words"),
    ],
)
def test_all_processes_are_told_of_what_was_taken_back(tmp_path, state, sid, steps, told):
    record(tmp_path, sid, Withdrawals(tmp_path, state), *steps)
    noted = kept.noted(state, keys.withdrawn(), 0.0, shared_time.now_s() + 60)
    assert {name for name, _ in noted} == {f"{sid}/{what}" for what in told}


def test_a_later_connection_that_consents_again_takes_it_off_the_list(tmp_path, state, sid):
    withdrawn(state, sid, EVENTS, 1.0)
    withdrawn(state, sid, SOUND, 1.0)
    pen = Recorder(
        tmp_path,
        sid,
        sound=True,
        went_on=True,
        withdrawals=Withdrawals(tmp_path, state),
        background=Threads(),
    )
    pen.consent(ALL)
    assert kept.noted(state, keys.withdrawn(), 0.0, shared_time.now_s() + 60) == []


@pytest.mark.parametrize(
    ("taken_back", "left"), [((EVENTS, SOUND), set()), ((SOUND,), {".jsonl"}), ((), {".jsonl", ".wav"})]
)
def test_a_connection_that_was_replaced_writes_nothing_that_the_later_one_took_back(
    tmp_path, state, sid, taken_back, left
):
    pen = Recorder(tmp_path, sid, sound=True, withdrawals=Withdrawals(tmp_path, state), background=Threads())
    pen.consent(ALL)
    pen.note(Turn(), Tick(0), RULES, ())
    pen.hear(0, PCM)
    for what in taken_back:
        withdrawn(state, sid, what, 0.0)
    pen.close(ALL)
    assert {Path(name).suffix for name in names(tmp_path)} == left


def test_without_redis_it_is_deleted_here_and_told_when_redis_is_back(tmp_path, server: Server, state, sid):
    with redis.Redis(port=1, socket_connect_timeout=0.2) as away:
        process = Withdrawals(tmp_path, away)
        record(tmp_path, sid, process, WORDS, NO)
        assert names(tmp_path) == set()
        with pytest.raises(redis.RedisError):
            process.look()
    process._state = state
    process.look()
    assert [name for name, _ in kept.noted(state, keys.withdrawn(), 0.0, shared_time.now_s() + 60)] == [
        f"{sid}/{EVENTS}"
    ]


def test_what_is_heard_while_redis_is_told_is_recorded_no_more(tmp_path, state, sid):
    class Listens(Withdrawals):
        def tell(self, session: str, what: str, *, withdrawn: bool = True) -> None:
            pen.hear(480, PCM)  # the reader's greenlet runs meanwhile
            super().tell(session, what, withdrawn=withdrawn)

    pen = Recorder(
        tmp_path, sid, sound=True, withdrawals=Listens(tmp_path, state), background=Threads(), clock=Clock()
    )
    pen.consent(ALL)
    pen.hear(0, PCM)
    pen.consent(NO)
    pen.close(NO)
    assert names(tmp_path) == set()


def test_the_list_forgets_after_a_day(state, sid):
    withdrawn(state, sid, EVENTS, 0.0)
    assert 0 < state.ttl(keys.withdrawn()) <= 3600
    kept.note(state, keys.withdrawn(), "later", shared_time.now_s() + 7200, 3600)
    assert [name for name, _ in kept.noted(state, keys.withdrawn(), 0.0, float("inf"))] == ["later"]
    assert withdrawals.KEEP_S == 24 * 3600
