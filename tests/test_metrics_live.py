"""Every metric is observed where it happens: real processes, null engines, one conversation, and failures."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import websockets
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from config import redis_keys as keys
from config.settings import SAMPLE_RATE
from tasks.laps import PARTS
from tests.house import House, open_house, wait_for
from tests.talker import PATIENCE_S, Talker
from tests.test_metrics import DECLARED, codes

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: Metrics that a conversation in which nothing fails leaves alone, and the tests that move them.
MOVED_ELSEWHERE = {
    "service_misses": "test_who_waits_is_counted_while_it_waits_and_when_it_leaves",
    "hard_service_misses": "test_who_waits_is_counted_while_it_waits_and_when_it_leaves",
    "stt_misses": "test_who_waits_is_counted_while_it_waits_and_when_it_leaves",
    "stt_hard_misses": "test_who_waits_is_counted_while_it_waits_and_when_it_leaves",
    "tts_misses": "test_a_reply_that_nobody_speaks_is_missed",
    "tts_hard_misses": "test_a_reply_that_nobody_speaks_is_missed",
    "sessions_waiting": "test_who_waits_is_counted_while_it_waits_and_when_it_leaves",
    "queue_length": "test_who_waits_is_counted_while_it_waits_and_when_it_leaves",
    "queue_age": "test_who_waits_is_counted_while_it_waits_and_when_it_leaves",
    "force_disconnects": "test_a_client_that_breaks_the_rules_is_counted",
    "errors": "test_a_client_that_breaks_the_rules_is_counted",
    "sessions_refused": "test_a_client_that_breaks_the_rules_is_counted",
    "recoveries": "test_work_of_a_dead_worker_is_counted",
    "gaps": "test_work_of_a_dead_worker_is_counted",
    "vllm_hard_errors": "test_a_reply_that_the_model_fails_to_write_is_counted",
    "fatal_service_misses": "test_metrics.test_a_connection_that_the_server_ends_is_counted_by_why",
    "hard_errors": "test_metrics.test_a_connection_that_the_server_ends_is_counted_by_why",
    "late_audio": "test_metrics.test_the_lateness_of_a_reply_is_told_once_at_its_end",
    "seats_lost": "test_loop_failures.test_a_seat_whose_lease_was_lost_is_counted",
    "slots_shed": "test_loop_failures.test_a_slot_that_goes_wrong_ends_its_own_seat_alone",
    "messages_dropped": "test_versions.test_a_kind_that_only_the_next_version_knows_leaves_no_hole_in_the_order",
    "history_dropped": "test_history.test_what_a_prompt_has_no_room_for_is_counted_once",
    "tool_seconds": "test_own_tools.test_runs_are_counted_by_how_they_ended",
    "voices_cloned": "test_voice_cloning.test_cloned_voices_are_counted_by_what_became_of_them",
    "voice_donation_submissions": "test_unmute_live.test_a_voice_is_given_away",
}


def given_codes() -> set[str]:
    """Those that an error of a class with many is given where it is raised."""
    sources = "".join(path.read_text() for path in (Path(__file__).parent.parent / "web").rglob("*.py"))
    return set(re.findall(r'code="(\w+)"', sources))


#: What each label may be. A session is never among it.
VALUES: dict[str, Callable[[str], bool]] = {
    "stage": {*keys.STAGES, keys.VOICES}.__contains__,
    "queue": {*keys.STAGES, keys.VOICES}.__contains__,
    "part": PARTS.__contains__,
    "server": ("state", "media").__contains__,
    "kind": ("used", "max", "total").__contains__,
    "outcome": ("completed", "cancelled", "failed", "used", "wasted", "true", "false").__contains__,
    "code": {*codes(), *given_codes()}.__contains__,
    "reason": {*codes(), "redis_away"}.__contains__,
    "version": re.compile(r"\d+\.\d+\.\d+|unknown").fullmatch,  # type: ignore[dict-item]
    "le": lambda bound: float(bound) > 0 or bound == "0.0",
}

SETTINGS = {
    "ANTIPHON_OBSERVE__LOOK_S": "0.2",
    "ANTIPHON_OBSERVE__PING_S": "0.3",
    # still writing when it is interrupted
    "ANTIPHON_LLM__OPTIONS": json.dumps({"first_word_s": 0.25, "word_interval_s": 0.25}),
    # so unsure of a pause that a reply is begun ahead
    "ANTIPHON_STT__OPTIONS": json.dumps({"p_end": 0.5}),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house"), workers=1, env=SETTINGS) as house:
        yield house


@pytest.fixture
def house(stack: House) -> House:
    stack.furnish(workers=1)
    return stack


def families(page: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page)}


def moved(pages: list[str]) -> set[str]:
    """Families of which anything is not zero."""
    return {
        name
        for page in pages
        for name, family in families(page).items()
        if any(sample.value for sample in family.samples if not sample.name.endswith("_created"))
    }


def shown(name: str) -> str:
    """A declared metric's name on a page, without what its kind appends."""
    return str(DECLARED[name]._name)


def test_a_conversation_moves_every_metric_that_needs_no_failure(house: House) -> None:
    pages = asyncio.run(_converse(house))
    seen = moved(pages)
    still = {name for name in DECLARED if shown(name) not in seen} - set(MOVED_ELSEWHERE)
    assert not still, f"{still} {house.said(of='web')}"
    for page in pages:
        for family in families(page).values():
            if not family.name.startswith(("antiphon_", "worker_")):
                continue
            for sample in family.samples:
                for label, said in sample.labels.items():
                    assert VALUES[label](said), f"{sample.name} has {label}={said!r}"


def test_what_a_conversation_leaves_alone_has_a_test_of_its_own() -> None:
    assert set(MOVED_ELSEWHERE) <= set(DECLARED)
    for where in MOVED_ELSEWHERE.values():
        module, _, name = where.rpartition(".")
        source = (Path(__file__).parent / f"{module or 'test_metrics_live'}.py").read_text()
        assert f"def {name}(" in source, where


async def _converse(house: House) -> list[str]:
    """A reply that a noise mutes in vain, one that is interrupted, and one that is heard to its end."""
    house.health()
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(1.3)
        await _sounds(talker, 1.2)
        talker.speak(0.25)
        await asyncio.sleep(1.0)
        talker.speak(1.8)
        (first,) = [await talker.answered(1)]
        assert first.status == ["cancelled"], talker.story()
        second = await talker.answered(2)
        assert second.status == ["completed"], talker.story()
        pages = await asyncio.to_thread(house.pages)
        talker.speak(1.0)
        await talker.until("response.created", count=3)
        pages += await asyncio.to_thread(house.pages)
    await asyncio.sleep(0.3)
    return pages + await asyncio.to_thread(house.pages)


async def _sounds(talker: Talker, seconds: float) -> None:
    await talker.wait(
        lambda: any(answer.samples >= seconds * SAMPLE_RATE for answer in talker.answers.values()),
        PATIENCE_S,
        f"{seconds} s of audio",
    )


async def eventually(true: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_for, true, what)


def test_who_waits_is_counted_while_it_waits_and_when_it_leaves(house: House) -> None:
    asyncio.run(_wait_for_stt(house))


async def _wait_for_stt(house: House) -> None:
    names = ("service_misses", "stt_misses", "hard_service_misses", "stt_hard_misses")
    before = {name: house.metric(f"worker_{name}_total") for name in names}
    house.workers["stt"][0].kill()

    def more(name: str) -> float:
        return house.metric(f"worker_{name}_total") - before[name]

    async with Talker(house.url):
        await eventually(lambda: house.metric("antiphon_sessions_waiting") == 1, "a session that waits")
        await eventually(lambda: house.metric("antiphon_queue_length", queue="stt") == 1, "its task")
        await eventually(lambda: house.metric("antiphon_queue_age_seconds", queue="stt") > 0.5, "its age")
        await eventually(lambda: more("stt_misses") == 1, "the miss")
        assert (more("service_misses"), more("stt_hard_misses")) == (1, 0)
        await eventually(lambda: house.metric("antiphon_workers", stage="stt") == 0, "nobody there")
        assert house.metric("antiphon_slots", stage="tts") == 256
    await eventually(lambda: more("stt_hard_misses") == 1, "the client that left")
    assert more("hard_service_misses") == 1
    house.start_worker("stt")
    await eventually(lambda: house.metric("antiphon_queue_length", queue="stt") == 0, "an empty queue")
    await eventually(lambda: house.metric("antiphon_queue_age_seconds", queue="stt") == 0, "its age")


def test_a_reply_that_nobody_speaks_is_missed(house: House) -> None:
    asyncio.run(_wait_for_tts(house))


async def _wait_for_tts(house: House) -> None:
    missed = house.metric("worker_tts_misses_total")
    given_up = house.metric("worker_hard_tts_misses_total")
    house.workers["tts"][0].kill()
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(1.3)
        await talker.until("response.created")
        await eventually(lambda: house.metric("worker_tts_misses_total") == missed + 1, "the miss")
        assert house.metric("worker_hard_tts_misses_total") == given_up
    await eventually(lambda: house.metric("worker_hard_tts_misses_total") == given_up + 1, "the end of it")


def test_work_of_a_dead_worker_is_counted(house: House) -> None:
    asyncio.run(_recover(house))


async def _recover(house: House) -> None:
    recovered = house.metric("antiphon_recoveries_total", stage="stt")
    gaps = house.metric("antiphon_gaps_total", stage="stt")
    async with Talker(house.url) as talker:
        await eventually(lambda: house.holder("stt", talker.sid) is not None, "somebody who listens")
        house.workers["stt"][0].kill()
        house.start_worker("stt")
        await eventually(
            lambda: house.metric("antiphon_recoveries_total", stage="stt") > recovered, "the recovery"
        )
        await eventually(
            lambda: house.metric("antiphon_gaps_total", stage="stt") > gaps, "what was read again"
        )


def test_a_reply_that_the_model_fails_to_write_is_counted(house: House) -> None:
    asyncio.run(_fail_to_write(house))


async def _fail_to_write(house: House) -> None:
    house.workers["llm"][0].kill()
    options = json.dumps({"first_word_s": 0.1, "fails": {"raise_at_step": 2, "raise_steps": 1000}})
    frail = house.start_worker("llm", ANTIPHON_LLM__OPTIONS=options)
    house.ready()
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(1.3)
        (answer,) = [await talker.answered(1)]
        assert answer.status == ["failed"], talker.story()
    said = families(house.get("/metrics", frail.metrics_port))["worker_vllm_hard_errors"]
    assert said.samples[0].value >= 1
    frail.kill()


def test_a_client_that_breaks_the_rules_is_counted(house: House) -> None:
    asyncio.run(_break_rules(house))


async def _break_rules(house: House) -> None:
    forced = house.metric("worker_force_disconnects_total")
    errors = house.metric("antiphon_errors_total", code="invalid_event")
    refused = house.metric("antiphon_sessions_refused_total", reason="session_unknown")
    async with websockets.connect(f"{house.url}?model=x") as socket:
        await socket.send("[]")
        async for text in socket:  # what is not dealt with when a client goes is dropped
            if json.loads(text)["type"] == "error":
                break
        await socket.send(b"not text")
        await socket.wait_closed()
    token = websockets.Subprotocol("antiphon-resume.nobody.x")
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(house.url, subprotocols=[websockets.Subprotocol("realtime"), token])
    await eventually(lambda: house.metric("worker_force_disconnects_total") == forced + 1, "one closed")
    assert house.metric("antiphon_errors_total", code="invalid_event") == errors + 1
    assert house.metric("antiphon_sessions_refused_total", reason="session_unknown") == refused + 1


def test_a_port_that_is_taken_ends_the_worker_with_a_line_that_says_so(house: House) -> None:
    taken = house.workers["tts"][0].metrics_port
    child = house.start_worker("tts", ANTIPHON_METRICS_PORT=str(taken))
    house.workers["tts"].remove(child)
    assert child.process.wait(20) == 3
    (line,) = [line for line in child.log.read_text().splitlines() if "antiphon worker: port" in line]
    assert f"port {taken} of 127.0.0.1 is in use" in line and "ANTIPHON_METRICS_PORT" in line


# --- several web processes


@pytest.fixture(scope="module")
def twins(stack: House) -> Iterator[House]:
    """The same stack behind a gunicorn of two processes."""
    assert stack.web is not None
    before, port = stack.web, stack.port
    stack.port, stack.env = 0, {**stack.env, "WEB_CONCURRENCY": "2"}
    stack.start_web()
    stack.ready()
    yield stack
    assert stack.web is not None
    stack.web.drain()
    stack.web, stack.port = before, port
    del stack.env["WEB_CONCURRENCY"]


def serving(house: House) -> set[int]:
    assert house.web is not None
    return {process.pid for process in psutil.Process(house.web.pid).children()}


def folder_of(house: House) -> Path:
    """Where the server's processes keep their metrics: each holds it open."""
    files = [Path(file.path) for pid in serving(house) for file in psutil.Process(pid).open_files()]
    (folder,) = {file.parent for file in files if file.suffix == ".db"}
    return folder


def test_any_process_answers_for_all_and_a_death_takes_nothing_back(twins: House) -> None:
    asyncio.run(_kill_one_of_two(twins))


async def _kill_one_of_two(house: House) -> None:
    pids = serving(house)
    assert len(pids) == 2
    begun = house.metric("worker_sessions_total")
    talkers = [Talker(house.url) for _ in range(12)]
    for talker in talkers:
        await talker.__aenter__()
    try:
        for _ in range(6):  # whoever answers
            assert house.metric("worker_active_sessions") == 12
            assert house.metric("worker_sessions_total") == begun + 12
            assert house.metric("antiphon_slots", stage="stt") == 256, "the fleet is there once"
        held = {pid: len(psutil.Process(pid).net_connections("tcp")) for pid in pids}
        victim = max(held, key=held.__getitem__)
        spent_s = house.metric("process_cpu_seconds_total")
        assert spent_s > psutil.Process(victim).cpu_times().user, "of all processes"
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: victim not in serving(house) and len(serving(house)) == 2, "another process")
        await eventually(lambda: house.metric("worker_active_sessions") == 12, "all clients back")
        assert house.metric("worker_sessions_total") >= begun + 12, "counters do not fall"
        assert house.metric("process_cpu_seconds_total") >= spent_s, "nor what the dead one has worked"
        try:
            await eventually(lambda: house.metric("antiphon_sessions") == 12, "all sessions watched")
        except AssertionError:
            stories = [(talker.closes, talker.connections) for talker in talkers]
            here = {name: house.metric(name) for name in ("antiphon_sessions", "worker_active_sessions")}
            raise AssertionError(f"{here} {stories} {house.said(of='web')}") from None
        assert not list(folder_of(house).glob(f"*_{victim}.db"))
    finally:
        for talker in talkers:
            await talker.__aexit__()
    await eventually(lambda: house.metric("worker_active_sessions") == 0, "nobody left")


def test_a_server_that_ends_leaves_no_files(house: House) -> None:
    assert house.web is not None
    folder = folder_of(house)
    assert folder.is_dir()
    house.web.drain()
    assert not folder.exists()
