"""`antiphon loadtest` as an operator runs it: on a real server with null engines, and with what cannot work."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from socket import SHUT_RDWR
from subprocess import PIPE, Popen
from threading import Event, Thread
from time import monotonic

import msgspec
import pytest
from click.testing import CliRunner
from websockets.sync.server import ServerConnection, serve

from cli.loadtest import sounds
from cli.loadtest.crowd import Crowd
from cli.loadtest.gathered import Gathered, joined
from cli.loadtest.generator import Generator, Order
from cli.loadtest.line import MOST_UNSENT_BYTES, Line, LineFailed
from cli.loadtest.plan import Plan
from cli.loadtest.talker import OVERDUE_S, Talker
from cli.loadtest.wires import GaWire
from cli.main import main
from tests.house import House, open_house
from tests.ports import free_port
from tests.test_handshakes import FAST
from tests.up_run import ANTIPHON, ROOT, antiphon

#: Whether a machine under load holds targets is not what is tested.
LENIENT = (
    "--target-stt-ms", "9000", "--target-llm-ms", "9000", "--target-tts-ms", "9000", "--target-ping-ms", "9000",
    "--target-realtime-factor", "0.01", "--target-late-replies", "99",
)  # fmt: skip

#: The generator could not keep time: on such a machine the command says so, and that is right.
INVALID = 2


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house"), workers=1, env=FAST) as house:
        yield house


def url(house: House) -> str:
    return f"ws://127.0.0.1:{house.port}/v1/realtime"


def held(status: int, valid: bool) -> bool:
    return status == (0 if valid else INVALID)


@pytest.mark.server
@pytest.mark.slow
def test_talkers_of_both_dialects_are_answered_and_judged(house: House, tmp_path: Path) -> None:
    arguments = ("--sessions", "3", "--turns", "1", "--processes", "2", "--speech", "hum", *LENIENT)
    conversations = {"ga": 2, "unmute": 1}
    running = {}
    for dialect, number in conversations.items():
        files = ("--json", str(tmp_path / f"{dialect}.json"), "--html", str(tmp_path / f"{dialect}.html"))
        command = [*ANTIPHON, "loadtest", url(house), "--dialect", dialect, *arguments, *files]
        command += ["--conversations", str(number)]
        running[dialect] = Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True)
    for dialect, child in running.items():
        said, complained = child.communicate(timeout=90)
        data = json.loads((tmp_path / f"{dialect}.json").read_text())
        assert held(child.returncode, data["valid"]), said + complained
        assert data["failures"] == {}
        assert [turn["outcome"] for turn in data["turns"]] == ["ok"] * 3 * conversations[dialect]
        assert data["conversations"] == 3 * conversations[dialect]
        assert "TTS start p95" in said
        for name in (
            "STT",
            "LLM",
            "TTS start",
            "voice to voice",
            "realtime factor",
            "ping",
            "end of turn (VAD)",
        ):
            assert data["figures"][name]["count"] >= 3, name
        # 300 ms of silence make a pause, and the engines take 50 and 50 ms
        assert all(turn["voice_to_voice_ms"] > 390 for turn in data["turns"])
        assert ("greeting" in data["figures"]) == (dialect == "unmute")
        assert (tmp_path / f"{dialect}.html").read_text().startswith("<!doctype html>")
        assert any(row["name"] == "antiphon_word_lag_seconds" for row in data["server"])


@pytest.mark.server
@pytest.mark.slow
def test_a_target_that_nobody_can_hold_is_missed(house: House) -> None:
    ran = antiphon(
        "loadtest", url(house), "--sessions", "1", "--turns", "1", "--speech", "hum", "--target-tts-ms", "0.1"
    )
    assert ran.returncode in (1, INVALID), ran.stdout + ran.stderr
    assert "MISSED TTS start p95" in ran.stdout
    assert "targets missed: TTS start" in ran.stdout.splitlines()[-1]


@pytest.mark.server
@pytest.mark.slow
def test_a_search_of_one_step_tells_what_it_found(house: House, tmp_path: Path) -> None:
    ran = antiphon(
        "loadtest", url(house), "--find-capacity", "--sessions", "2", "--max-sessions", "2", "--seconds", "12",
        "--speech", "hum", "--json", str(tmp_path / "found.json"), *LENIENT,
    )  # fmt: skip
    data = json.loads((tmp_path / "found.json").read_text())
    assert held(ran.returncode, data["valid"]), ran.stdout + ran.stderr
    assert [step["sessions"] for step in data["steps"]] == [2]
    if data["valid"]:
        assert "capacity: at least 2 sessions, the most that were tried" in ran.stdout


# --- lines to servers that behave badly

Script = Callable[[ServerConnection], None]


@contextmanager
def scripted(script: Script) -> Iterator[str]:
    """A server that does what the script says with each connection."""
    with serve(script, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/realtime"
        finally:
            server.shutdown()
            thread.join()


def created(socket: ServerConnection) -> None:
    socket.send('{"type": "session.created", "session": {}}')


def refuses(socket: ServerConnection) -> None:
    created(socket)
    socket.recv(5)
    socket.send(
        '{"type": "error", "error": {"type": "invalid_request_error", "code": "no_voice", "message": "whose?"}}'
    )
    socket.recv(5)


def waits(socket: ServerConnection) -> None:
    created(socket)
    socket.recv(5)
    socket.send('{"type": "error", "error": {"code": "stage_waiting", "message": "wait"}}')
    socket.close(1013, "still full")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (lambda socket: socket.close(1013, "full"), "closed with 1013: full"),
        (refuses, "error no_voice: whose?"),
        (waits, "closed with 1013: still full"),
        (lambda socket: socket.socket.shutdown(SHUT_RDWR), "line lost"),
    ],
    ids=["full", "refuses the configuration", "lets wait and sends away", "hangs up"],
)
def test_a_server_that_gives_no_session_is_told_by_its_reason(script: Script, told: str) -> None:
    with scripted(script) as there:
        assert refused(there).startswith(f"antiphon: {there}: {told}")


def test_messages_in_fragments_and_pongs_are_heard() -> None:
    def speak(socket: ServerConnection) -> None:
        socket.send(iter(["one ", "mess", "age"]))
        socket.send("another")
        socket.recv(5)

    async def listen(there: str) -> tuple[list[bytes], list[float], LineFailed | None]:
        heard: list[bytes] = []
        pongs: list[float] = []
        done = asyncio.Event()
        line = Line(
            there, (), lambda message, _: (heard.append(message), done.set() if len(heard) == 2 else None)[0]
        )
        await line.open()
        line.pong = lambda seconds: (pongs.append(seconds), line.send(b"bye"))[0]
        async with asyncio.timeout(20):
            await done.wait()
            line.ping(monotonic())
            why = await line.ended
        line.hang_up()
        return heard, pongs, why

    with scripted(speak) as there:
        heard, pongs, why = asyncio.run(listen(there))
    assert heard == [b"one message", b"another"]
    assert len(pongs) == 1
    assert 0 < pongs[0] < 20
    assert why is not None
    assert why.cause == "closed with 1000"


def test_a_server_that_stops_reading_is_left() -> None:
    release = Event()

    async def pour(there: str) -> LineFailed | None:
        line = Line(there, (), lambda message, now_s: None)
        await line.open()
        for _ in range(32 * MOST_UNSENT_BYTES // 2**16):
            line.send(bytes(2**16))
        return await asyncio.wait_for(line.ended, 20)

    with scripted(lambda socket: assert_released(release, socket)) as there:
        try:
            why = asyncio.run(pour(there))
        finally:
            release.set()
    assert why is not None
    assert why.cause == "server does not read"


def assert_released(release: Event, socket: ServerConnection) -> None:
    """Reads nothing until then."""
    assert release.wait(40)


def test_a_run_ends_though_a_session_that_was_asked_for_never_comes() -> None:
    release = Event()

    def opens_nothing(socket: ServerConnection) -> None:
        created(socket)
        assert_released(release, socket)

    async def crowd(there: str) -> Crowd:
        now_s = monotonic()
        plan = Plan(
            url=there, dialect="ga", speech=sounds.speech("hum", sounds.hums()[:1], "ga", 80), sessions=2, first=0,
            of=2, process=0, zero_s=now_s, ramp_s=0, begin_s=now_s, end_s=now_s + 0.2, conversations=None,
        )  # fmt: skip
        found = Crowd(plan, lambda gathered: told.append(gathered.failed))
        async with asyncio.timeout(5):
            await found.hold()
        return found

    told: list[int] = []
    with scripted(opens_nothing) as there:
        try:
            found = asyncio.run(crowd(there))
        finally:
            release.set()
    assert sum(told) == 0, "nobody waited for long"
    late = Talker(found._plan, GaWire(), Random(0), found._found)
    assert not found._ended(late, 0.0, OVERDUE_S + 0.1, queued=True)
    assert found._found.causes() == {"no session in time": 1}


def test_a_session_that_stood_in_line_until_the_run_was_over_was_not_held() -> None:
    """There is one place; who has it hangs up when the run ends, and only then comes the other's turn."""
    left, asked, places = Event(), [], iter((True, False))

    def has_one_place(socket: ServerConnection) -> None:
        assert socket.request is not None
        asked.append(socket.request.path)
        created(socket)
        socket.recv(5)
        if not next(places):
            socket.send('{"type": "antiphon.queued", "place": 1}')
            assert left.wait(10)
        socket.send('{"type": "session.updated"}')
        for _ in socket:
            pass
        left.set()

    async def crowd(there: str) -> Gathered:
        now_s, parts = monotonic(), []
        plan = Plan(
            url=there, dialect="ga", speech=sounds.speech("hum", sounds.hums()[:1], "ga", 80), sessions=2, first=0,
            of=2, process=0, zero_s=now_s, ramp_s=0, begin_s=now_s, end_s=now_s + 0.4, conversations=None,
        )  # fmt: skip
        run = Crowd(plan, lambda part: parts.append(msgspec.json.encode(part)))
        async with asyncio.timeout(5):
            await run.hold()
        return joined(msgspec.json.decode(part, type=Gathered) for part in parts)

    with scripted(has_one_place) as there:
        found = asyncio.run(crowd(there))
    assert asked == ["/v1/realtime?extensions=antiphon"] * 2
    assert (found.queued, found.conversations) == (1, 0)
    assert (found.unheard, found.waited_to_the_end) == (2, 1)
    assert len(found.openings) == 1, "what came after the end is not measured"


def test_what_a_process_of_talkers_wrote_before_it_was_killed_is_kept(tmp_path: Path) -> None:
    generator = Generator(
        Order("ws://h/", "ga", sounds.speech("hum", sounds.hums()[:1], "ga", 80), sessions=1, ramp_s=0)
    )
    whole = msgspec.json.encode(Gathered(conversations=3)).decode()
    child = Popen(["printf", "%s\\n%s", whole, whole[:5]], stdout=PIPE)
    generator._listen(0, child)
    assert generator._take() == set()
    assert generator._take() == {0}
    child.wait(5)
    assert generator.found.conversations == 3


def test_talkers_do_not_outlive_the_command(tmp_path: Path) -> None:
    now_s = monotonic()
    plan = Plan(
        url=f"ws://127.0.0.1:{free_port()}/", dialect="ga", speech=sounds.speech("hum", sounds.hums(), "ga", 80),
        sessions=1, first=0, of=1, process=0, zero_s=now_s, ramp_s=0, begin_s=now_s, conversations=None,
    )  # fmt: skip
    path = tmp_path / "plan"
    path.write_bytes(msgspec.msgpack.encode(plan))
    child = Popen([ANTIPHON[0], "-m", "cli.loadtest.crowd", str(path)], cwd=ROOT, stdout=PIPE)
    try:
        assert child.stdout is not None
        assert b"cannot connect" in child.stdout.readline()
        child.stdout.close()
        assert child.wait(20) == 1
    finally:
        child.kill()
        child.wait()


# --- what cannot work is said in one line


def refused(*arguments: str) -> str:
    ran = CliRunner().invoke(main, ["loadtest", *arguments])
    assert ran.exit_code == 2, ran.output
    (line,) = ran.output.splitlines()
    return line


def test_a_server_that_is_not_there() -> None:
    there = f"ws://127.0.0.1:{free_port()}/v1/realtime"
    assert refused(there) == f"antiphon: {there}: cannot connect: Connection refused"


@pytest.mark.server
@pytest.mark.slow
def test_a_page_that_is_no_websocket(house: House) -> None:
    line = refused(f"ws://127.0.0.1:{house.port}/v1/health")
    assert "/v1/health: refused with HTTP 400: conversations are held over a WebSocket" in line


@pytest.mark.parametrize(
    "there", ["http://host/v1/realtime", "host:8000", "ws://", "ws://[::1", "ws://host:port/"]
)
def test_an_address_that_is_none(there: str) -> None:
    assert "not the address of a WebSocket" in refused(there)


def test_a_page_of_metrics_that_is_not_there() -> None:
    def gives_a_session(socket: ServerConnection) -> None:
        created(socket)
        socket.recv(5)
        socket.send('{"type": "session.updated"}')
        for _ in socket:
            pass

    there = f"http://127.0.0.1:{free_port()}/metrics"
    with scripted(gives_a_session) as server:
        said = refused(server, "--speech", "hum", "--metrics", there)
    assert said == f"antiphon: --metrics {there}: no page of metrics there"


def test_a_host_without_tls() -> None:
    with scripted(created) as there:
        assert "cannot connect: " in refused(there.replace("ws://", "wss://"))


def test_two_addresses() -> None:
    assert "give the URL once" in refused("ws://a/", "--url", "ws://b/")


@pytest.mark.parametrize(
    "option", [("--sessions", "0"), ("--turns", "0"), ("--ramp", "-1"), ("--target-stt-ms", "0")]
)
def test_numbers_out_of_range(option: tuple[str, str]) -> None:
    assert f"Invalid value for '{option[0]}'" in refused(*option)


def test_a_folder_without_speech(tmp_path: Path) -> None:
    assert f"--speech {tmp_path}: no sound file in it" in refused("--speech", str(tmp_path))


def test_a_file_of_speech_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"nothing")
    assert "a.wav: is not a sound file" in refused("--speech", str(tmp_path))


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_report_that_cannot_be_written_is_refused_before_anybody_talks(option: str, tmp_path: Path) -> None:
    assert "cannot be written" in refused(option, str(tmp_path / "nowhere" / "report"))
    assert "cannot be written" in refused(option, str(tmp_path))
