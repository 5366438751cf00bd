"""The operator's commands on a running `antiphon up`: what they show, and what becomes of sessions and workers."""

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import websockets
from click.testing import CliRunner, Result
from websockets.asyncio.client import ClientConnection, connect

from cli.main import main
from config.versions import VERSION
from tests.conftest import needs_redis
from tests.up_run import ANTIPHON, ROOT, UpRun, antiphon, eventually

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpRun]:
    """One run for all tests; each leaves it as it found it."""
    needs_redis()
    run = UpRun(tmp_path_factory.mktemp("operator") / "data")
    try:
        run.wait_for("^ready")
        yield run
    finally:
        run.clean()


def ask(run: UpRun, *arguments: str) -> Result:
    """A command about the run, in this process."""
    return CliRunner().invoke(main, [*arguments, "--data-dir", str(run.data)])


def document(run: UpRun, *arguments: str) -> Any:
    ran = ask(run, *arguments, "--json")
    return json.loads(ran.stdout)


def worker(run: UpRun, stage: str) -> str:
    """Its name, once it is ready."""
    found: list[str] = []

    def ready() -> bool:
        services = document(run, "status")["services"]
        found[:] = [one["name"] for one in services if (one["stage"], one["state"]) == (stage, "ready")]
        return len(found) == 1

    eventually(ready)
    return found[0]


async def session(run: UpRun) -> tuple[ClientConnection, str]:
    """A client that has a place, and its session's id."""
    client = await connect(f"ws://127.0.0.1:{run.port}/v1/realtime?model=test")
    created = json.loads(await asyncio.wait_for(client.recv(), 40))
    sid = str(created["session"]["id"])
    await asyncio.to_thread(eventually, lambda: "stt" in listed(run, sid)["holders"])
    return client, sid


def listed(run: UpRun, sid: str) -> dict[str, Any]:
    """A session, as the list shows it."""
    (one,) = [one for one in document(run, "sessions", "list") if sid == f"sess_{one['sid']}"]
    return dict(one)


def test_status_finds_the_server_of_this_machine_and_shows_all_of_it(shared: UpRun) -> None:
    for stage in ("web", "stt", "llm", "tts"):
        worker(shared, stage)
    ran = ask(shared, "status")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.startswith(f"up (pid {shared.process.pid}) runs on {shared.data}")
    for stage in ("stt", "llm", "tts"):
        assert re.search(
            rf"^{stage} +\S+-\d+ .* null +{VERSION} +0 +256 +ready +\d\.\d s$", ran.stdout, re.MULTILINE
        )
    assert re.search(r"^media +\S+ \S+ +\d.* MB of 1024 MB$", ran.stdout, re.MULTILINE)


def test_status_is_the_same_by_the_servers_address(shared: UpRun) -> None:
    environment = psutil.Process(shared.pid("web")).environ()
    url, media = environment["ANTIPHON_REDIS_URL"], environment["ANTIPHON_MEDIA_URL"]
    ran = CliRunner().invoke(main, ["status", "--json", "--redis-url", url, "--media-url", media])
    assert ran.exit_code == 0, ran.output
    elsewhere, here = json.loads(ran.stdout), document(shared, "status")
    assert [one["name"] for one in elsewhere["services"]] == [one["name"] for one in here["services"]]
    assert elsewhere["versions"] == [VERSION] and "up" in here and "up" not in elsewhere


def test_watching_draws_on_a_terminal_until_ctrl_c_and_once_elsewhere(shared: UpRun) -> None:
    ran = ask(shared, "status", "--watch")
    assert ran.exit_code == 0 and ran.stdout.count("SERVICE") == 1 and "\x1b" not in ran.stdout
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [*ANTIPHON, "status", "--watch", "--data-dir", str(shared.data)]
    watching = subprocess.Popen(command, stdout=there, stderr=there, cwd=ROOT)
    os.close(there)
    try:
        drawn = b""
        while drawn.count(b"SERVICE") < 2:
            assert select.select([here], [], [], 20)[0], drawn
            drawn += os.read(here, 65_536)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(40) == 0
        assert os.read(here, 65_536).endswith(b"\x1b[?25h\x1b[?1049l"), "the screen before is back"
    finally:
        watching.kill()
        os.close(here)
    assert drawn.startswith(b"\x1b[?1049h")


def test_a_session_is_listed_and_ended_with_a_reason_that_its_client_hears(shared: UpRun) -> None:
    async def scene() -> None:
        client, sid = await session(shared)
        found = await asyncio.to_thread(listed, shared, sid)
        assert (found["dialect"], found["phase"]) == ("ga", "listening")
        assert set(found["holders"]) == {"web", "stt"}
        shown = await asyncio.to_thread(ask, shared, "sessions", "list")
        assert found["sid"] in shown.stdout and shown.stdout.endswith("1 sessions\n")
        ended = await asyncio.to_thread(ask, shared, "sessions", "end", sid, "--reason", "moved")
        assert ended.exit_code == 0, ended.output
        with pytest.raises(websockets.ConnectionClosed) as closed:
            async with asyncio.timeout(40):
                while True:
                    await client.recv()
        assert closed.value.rcvd and (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "moved")

    asyncio.run(scene())
    eventually(lambda: document(shared, "sessions", "list") == [])


def test_a_drained_worker_ends_and_its_session_goes_on_with_the_next(shared: UpRun) -> None:
    async def scene() -> None:
        client, sid = await session(shared)
        before = worker(shared, "stt")
        ran = await asyncio.to_thread(ask, shared, "drain", before, "--wait", "--timeout", "30")
        assert ran.exit_code == 0, ran.output
        assert f"{before} has ended after" in ran.stdout

        def moved() -> bool:
            return listed(shared, sid)["holders"].get("stt", before) != before

        await asyncio.to_thread(eventually, moved)
        await client.close()

    asyncio.run(scene())


def test_a_reload_is_passed_on(shared: UpRun) -> None:
    begin = len(shared.lines)
    ran = ask(shared, "voices", "reload")
    assert ran.exit_code == 0 and str(shared.process.pid) in ran.stdout
    shared.wait_for("^the characters are read again", begin)


def test_the_doctor_finds_a_running_server_well(shared: UpRun) -> None:
    worker(shared, "stt")  # the one before was drained
    arguments = ("--profile", "null", "--port", str(shared.port), "--data-dir", str(shared.data))
    ran = antiphon("doctor", "--patience", "40", *arguments, "--json")
    found = json.loads(ran.stdout)["findings"]
    assert not [one for one in found if one["verdict"] == "fail"], ran.stdout
    assert ran.returncode == 0
    said = {(one["check"], one["what"]) for one in found}
    assert ("ports", f"{shared.port} (web) is the running server's") in said
    assert any(check == "fleet" and what.startswith("4 processes at work") for check, what in said)
    assert sum(one["check"] == "redis" and one["verdict"] == "ok" for one in found) == 2
