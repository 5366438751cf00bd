"""`antiphon up` with null engines and real processes: ready, watched, refused, killed, stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from cli.roster import Died, Roster, Serves
from cli.supervisord import Standing
from tests.conftest import needs_redis
from tests.fake_nvml import L4, L40S, machine, nvml
from tests.ports import free_port
from tests.up_run import ANTIPHON, ROOT, UpRun, antiphon, eventually, one_line

__all__ = ["nvml"]

#: A reply of 1 s, so that talking takes no longer than it must.
BRIEF = {"ANTIPHON_LLM__OPTIONS": '{"words": 3}'}

NAMES = ("state", "media", "web", "stt", "llm", "tts", "tts.2")


@pytest.fixture(scope="module", autouse=True)
def needs_a_server() -> None:
    needs_redis()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpRun]:
    """One run for all tests that leave it running."""
    run = UpRun(tmp_path_factory.mktemp("up") / "data", "--workers", "tts=2", **BRIEF)
    try:
        run.wait_for("^ready")
        yield run
    finally:
        run.clean()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data: Path) -> Iterator[type[UpRun]]:
    """Makes runs that are ended whatever happens."""
    runs: list[UpRun] = []

    class Run(UpRun):
        def __init__(self, *arguments: str, port: int | None = None, **environment: str) -> None:
            super().__init__(data, *arguments, port=port, **environment)
            runs.append(self)

    yield Run
    for run in runs:
        run.clean()


@pytest.fixture
def hum(tmp_path: Path) -> Path:
    """1.5 s that the null engine takes for a voice, then silence."""
    t = np.arange(36_000) / 24_000
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 8)) * 0.15
    soundfile.write(tmp_path / "hum.wav", np.concatenate([voice, np.zeros(12_000)]), 24_000)
    return tmp_path / "hum.wav"


def talk(said: Path, url: str, **environment: str) -> dict[str, Any]:
    """The one turn."""
    ran = antiphon("talk", "--in", str(said), "--url", url, "--json", **environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])["turns"][0]


# --- one run, ready


def test_it_says_each_program_and_the_address_that_works(shared):
    for name in NAMES:
        assert shared.said(rf"^  {name} +ready after \d")
    address = shared.said("^ready").split()[-1]
    with urllib.request.urlopen(f"{address}/v1/health") as answer:
        assert json.load(answer)["ok"]


def test_pid_files_name_the_processes_themselves(shared):
    told = {name: " ".join(shared.process_of(name).cmdline()) for name in NAMES}
    assert all(conf in told[name] for name, conf in (("state", "state.conf"), ("media", "media.conf")))
    assert "gunicorn" in told["web"]
    assert all(f"-Q {name.partition('.')[0]} " in told[name] for name in ("stt", "llm", "tts", "tts.2"))
    parents = {shared.process_of(name).ppid() for name in NAMES}
    assert parents == {shared.pid("supervisord")}  # none of them is a child of another


def test_the_password_is_on_no_command_line_and_in_no_log(shared):
    password = (shared.data / "redis.password").read_text()
    assert len(password) >= 32
    assert (shared.data / "redis.password").stat().st_mode & 0o077 == 0
    assert not [process for process in shared.alive() if password in " ".join(process.cmdline())]
    assert not [path for path in (shared.data / "log").iterdir() if password in path.read_text()]


def test_state_is_on_the_disk_and_media_is_not(shared):
    kept = [path for path in shared.data.rglob("*") if path.suffix in (".aof", ".rdb")]
    assert kept and {path.relative_to(shared.data).parts[0] for path in kept} == {"redis-state"}


def test_status_shows_each_process(shared):
    ran = antiphon("status", "--data-dir", str(shared.data))
    assert ran.returncode == 0
    assert ran.stdout.startswith(f"up (pid {shared.process.pid}) runs on {shared.data}")
    assert all(f"{name:<6} pid {shared.pid(name)}" in ran.stdout for name in NAMES)


def test_status_of_nothing(data):
    ran = antiphon("status", "--data-dir", str(data))
    assert (ran.returncode, ran.stdout) == (1, f"nothing runs on {data}\n")


def test_it_talks(shared, hum):
    turn = talk(hum, f"ws://127.0.0.1:{shared.port}/v1/realtime")
    assert turn["assistant_text"] and turn["reply_audio_s"] > 0


def test_a_second_up_on_the_directory_is_refused(shared):
    ran = antiphon("up", "--profile", "null", "--data-dir", str(shared.data), "--port", str(free_port()))
    assert ran.returncode == 2
    line = one_line(ran.stderr.splitlines())
    assert f"pid {shared.process.pid}" in line and str(shared.data) in line


def test_every_process_shows_its_metrics_where_the_start_said(shared):
    said = shared.wait_for("^metrics: ")
    assert re.findall(r"\((.*?)\)", said) == list(NAMES[3:])
    for port in re.findall(r"\d+(?= \()", said):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert 'antiphon_build_info{version="' in answer.read().decode()


def test_a_port_for_metrics_that_is_taken_is_refused_before_anything_starts(data):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ran = antiphon(
            "up", "--profile", "null", "--port", str(free_port()), "--data-dir", str(data),
            ANTIPHON_METRICS_PORT=str(port),
        )  # fmt: skip
    assert ran.returncode == 2
    assert f"port {port} of 127.0.0.1, for a worker's metrics, is in use" in one_line(ran.stderr.splitlines())


def test_what_dies_after_ready_is_started_again_and_said(shared):
    begin = len(shared.lines)
    before = {name: shared.pid(name) for name in ("tts", "web", "media")}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    for name in before:
        shared.wait_for(rf"^{name} died \(terminated by SIGKILL\); it is started again", begin)
        shared.wait_for(rf"^{name} is back after \d", begin)
    assert all(shared.pid(name) != pid for name, pid in before.items())
    assert not shared.said("^(stt|llm|state|tts.2) ", begin)


def test_ctrl_c_stops_all_in_order(shared):
    os.killpg(shared.process.pid, signal.SIGINT)
    assert shared.end() == 0
    assert shared.errors() == []
    assert shared.alive() == []
    stops = [
        line
        for line in (shared.data / "log/supervisord.log").read_text().splitlines()
        if " stopped: " in line
    ]
    order = [line.split("stopped: ")[1].split()[0] for line in stops]
    assert order[0] == "web" and set(order[-2:]) == {"state", "media"} and len(order) == len(NAMES)
    assert not any("SIGKILL" in line for line in stops)
    assert [path.name for path in (shared.data / "run").glob("*.pid")] == ["up.pid"]


# --- what ends it before it is ready


def test_a_mistake_in_the_voices_file_is_named_by_its_line(data, tmp_path):
    file = tmp_path / "voices.yaml"
    file.write_text("- name: Nora\n  goood: yes\n")
    ran = antiphon("up", "--profile", "null", "--data-dir", str(data), ANTIPHON_VOICES_FILE=str(file))
    assert ran.returncode == 2
    assert f"{file}, line 2" in one_line(ran.stderr.splitlines())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "nosuch"], "unknown profile 'nosuch'"),
        (["--workers", "tts=zero"], "tts=zero"),
        (["--workers", "ears=2"], "there are stt, llm, tts"),
        (["--host", "nosuch.invalid"], "nosuch.invalid"),
        (["--data-dir", f"{__file__}/data"], "Not a directory"),
        (["--redis-url", "127.0.0.1:6379"], "redis://"),
        (["--redis-url", "redis://:secret@127.0.0.1:1/0"], "no Redis server answers at --redis-url"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_line(data, arguments, says):
    ran = antiphon("up", "--profile", "null", "--port", str(free_port()), "--data-dir", str(data), *arguments)
    assert ran.returncode == 2
    line = one_line(ran.stderr.splitlines())
    assert says in line and "secret" not in line


def test_a_busy_port_is_one_line(start):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        run = start(port=busy.getsockname()[1])
        assert run.end() == 2
    assert f"port {run.port} of 127.0.0.1 is in use" in one_line(run.errors())
    assert run.alive() == []


def test_a_missing_engine_is_one_line_and_nothing_is_left(start):
    run = start(ANTIPHON_STT__ENGINE="nothere")
    assert run.end() == 2
    assert one_line(run.errors()).startswith("antiphon: stt ended: unknown stt engine 'nothere'")
    assert run.alive() == []


def test_a_program_that_dies_before_ready_ends_it(start):
    run = start()
    eventually((run.data / "run/llm.pid").exists)
    os.kill(run.pid("llm"), signal.SIGKILL)
    assert run.end() == 2
    assert "llm died (terminated by SIGKILL)" in one_line(run.errors())
    assert run.alive() == []


# --- killed


@pytest.mark.parametrize("killed", [("up",), ("up", "supervisord")], ids=" and ".join)
def test_killed_it_leaves_nothing(start, killed):
    run = start()
    eventually((run.data / "run/web.pid").exists)
    for pid in [run.pid(name) for name in killed]:
        os.kill(pid, signal.SIGKILL)
    run.end()
    eventually(lambda: not run.alive(), 15)


def test_killed_it_starts_again_at_once(start, server, hum):
    run = start()
    run.wait_for("^ready")
    run.process.kill()
    again = start("--tls-self-signed", "--redis-url", server.url(2), "--media-url", server.url(3), **BRIEF)
    again.wait_for("^ready")
    programs = ("supervisord", "web", "gunicorn's worker", "stt", "llm", "tts")  # both servers were given
    assert len(again.alive()) == len(programs)

    trusted = str(again.data / "tls/certificate.pem")
    assert talk(hum, f"wss://localhost:{again.port}/v1/realtime", SSL_CERT_FILE=trusted)["reply_audio_s"] > 0

    os.kill(again.pid("supervisord"), signal.SIGKILL)
    assert again.end() == 2
    assert "supervisor ended (terminated by SIGKILL)" in one_line(again.errors())
    assert again.alive() == []


def test_a_second_ctrl_c_waits_for_nobody(start):
    run = start()
    run.wait_for("^ready")
    run.process_of("stt").suspend()
    run.process.send_signal(signal.SIGINT)
    run.wait_for("^stopping")
    eventually(lambda: not psutil.pid_exists(run.pid("web")))
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130
    assert run.alive() == []


def test_a_leash_put_on_after_the_parent_died_starts_nothing(tmp_path):
    command = [
        sys.executable,
        "-I",
        "-S",
        ROOT / "cli/leash.py",
        "SIGTERM",
        tmp_path / "x.pid",
        "echo",
        "alive",
    ]
    ran = subprocess.run(command, check=False, env={"LEASH_HOLDER": "1"}, capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stdout == ""


# --- the cards


@pytest.mark.parametrize("gpu", ["1", "MIG-8a1b", "GPU-0c9e-11"])
def test_the_gpu_is_chosen_before_anything_is_imported_that_could_look_at_one(gpu):
    code = """
import os, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("gpu_workers", "torch", "onnxruntime", "pynvml", "vllm", "moshi"):
            print(name, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Spy())
sys.argv = ["celery", "-A", "tasks", "worker", "-Q", "tts", "--gpu", sys.argv[1]]
from celery.__main__ import main
main()
"""
    environment = {**os.environ, "ANTIPHON_PROFILE": "null", "CUDA_VISIBLE_DEVICES": "0,1"}
    command = [sys.executable, "-c", code, gpu]
    ran = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    first, *seen = ran.stdout.split()
    assert seen == [gpu, "PCI_BUS_ID"], f"{first}: {ran.stderr}"


def test_a_worker_whose_device_is_gone_is_started_again_and_said(start, hum):
    run = start(ANTIPHON_STT__OPTIONS='{"fails": {"device_at_step": 10}}')
    run.wait_for("^ready")
    url = f"ws://127.0.0.1:{run.port}/v1/realtime"
    talking = subprocess.Popen(
        [*ANTIPHON, "talk", "--in", str(hum), "--url", url], cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        run.wait_for(
            "^stt ended: stt gives 1 seats back and ends: .* asked to lose its device; it is started"
        )
    finally:
        talking.kill()
        talking.wait()
    run.wait_for(
        r"^stt is back after \d"
    )  # nobody talks any more: the next ten steps would take its device, too


def asking(**gpu_mb: int) -> dict[str, str]:
    """Null engines that say they need so much of a GPU."""
    return {
        f"ANTIPHON_{stage.upper()}__OPTIONS": json.dumps({"asks": {"gpu_mb": mb}})
        for stage, mb in gpu_mb.items()
    }


def refused(data: Path, *arguments: str, **environment: str) -> str:
    """The one line by which `up` says what to mend, before it starts anything."""
    ran = antiphon(
        "up",
        "--profile",
        "null",
        "--port",
        str(free_port()),
        "--data-dir",
        str(data),
        *arguments,
        **environment,
    )
    assert ran.returncode == 2
    assert not (data / "log").exists() or not list((data / "log").glob("*.log"))
    return one_line(ran.stderr.splitlines())


def test_three_stages_share_one_gpu(start, nvml):
    run = start("--gpu", "0", **machine(nvml, L40S), **asking(stt=2600, llm=18_400, tts=5300))
    run.wait_for("^ready")
    assert run.said(r"^GPU 0 \(L40S\): 45600 of 46068 MB free$")
    assert run.said(r"^  stt +null +256 slots +2600 MB$") and run.said(r"^  llm +null +256 slots +18400 MB$")
    assert run.said(r"^  left +19300 MB$")
    for name in ("stt", "llm", "tts"):
        assert run.process_of(name).cmdline()[-2:] == ["--gpu", "0"]


def test_three_that_do_not_fit_on_one_gpu_are_refused_together(data, nvml):
    said = refused(data, "--gpu", "0", **machine(nvml, L4), **asking(stt=2600, llm=18_400, tts=5300))
    assert said.startswith(
        "antiphon: stt engine 'null' needs 2600 MB with 256 slots and llm engine 'null' needs 18400"
    )
    assert "GPU 0 (L4) has 22000 of 23034 MB free" in said


def test_a_second_worker_of_a_stage_counts(data, nvml):
    env = {**machine(nvml, L4), **asking(tts=12_000)}
    said = refused(data, "--gpu", "tts=0", "--workers", "tts=2", **env)
    assert said.count("tts engine 'null' needs 12000 MB") == 2


def test_a_gpu_that_is_not_there(data, nvml):
    said = refused(data, "--gpu", "0,1,2", **machine(nvml, L40S, L4), **asking(stt=1))
    assert said == "antiphon: there is no GPU 2; there are: 0 (L40S), 1 (L4)"


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_a_gpu_on_a_machine_without_any(data):
    assert refused(data, "--gpu", "0").startswith("antiphon: no NVIDIA driver answers here")


def test_a_gpu_for_engines_that_need_none(data, nvml):
    assert "none of these needs a GPU: stt engine 'null'" in refused(
        data, "--gpu", "0", **machine(nvml, L40S)
    )


@pytest.mark.parametrize(
    ("gpus", "share"), [("stt=0,llm=1,tts=0", True), ("0", False)], ids=["alone", "with others"]
)
def test_an_engine_that_is_alone_on_its_gpu_takes_more_of_it(data, nvml, gpus, share):
    env = {
        **machine(nvml, "L40S:46000:30000:0", "L40S:46000:30000:0"),
        **asking(stt=20_000, tts=9000),
    }
    alone = {
        "ANTIPHON_LLM__OPTIONS__ASKS__GPU_MB": "4000",
        "ANTIPHON_LLM__OPTIONS_ALONE": '{"asks__gpu_share": 0.9}',
    }
    said = refused(data, "--gpu", gpus, **env, **alone)
    assert ("llm engine 'null' needs 41400 MB" in said) == share
    assert ("llm engine 'null' needs 4000 MB" in said) == (not share)


def test_an_engine_that_cannot_be_asked_says_why(data, nvml):
    said = refused(data, "--gpu", "0", **machine(nvml, L40S), ANTIPHON_TTS__ENGINE="nothere")
    assert said.startswith("antiphon: unknown tts engine 'nothere'; there are: ")


def test_an_interpreter_that_is_not_there_is_named_with_what_makes_it(data):
    said = refused(data, ANTIPHON_LLM__PYTHON=".venv-nothere/bin/python")
    assert said == (
        "antiphon: llm engine 'null' is run by .venv-nothere/bin/python, which is not there; "
        "`make setup-nothere` makes it"
    )


def test_a_worker_runs_by_the_interpreter_of_its_profile(start, tmp_path):
    own = tmp_path / "python"
    own.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@" --hostname from-elsewhere\n')
    own.chmod(0o755)
    run = start(ANTIPHON_LLM__PYTHON=str(own))
    run.wait_for("^ready")
    assert "from-elsewhere" in run.process_of("llm").cmdline()
    assert "from-elsewhere" not in run.process_of("tts").cmdline()


# --- the roster

UP, OTHER, DOWN = Standing(7, down=False), Standing(8, down=False), Standing(0, down=True)
ABSENT = Standing(0, down=False)


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        ([ABSENT, UP], [Serves("tts", 1.0)]),
        ([UP, UP, UP], [Serves("tts", 0.0)]),
        ([DOWN, DOWN], [Died("tts")]),
        ([UP, DOWN, OTHER], [Serves("tts", 0.0), Died("tts"), Serves("tts", 1.0)]),
        ([UP, OTHER], [Serves("tts", 0.0), Died("tts"), Serves("tts", 0.0)]),
        ([UP, DOWN, OTHER, DOWN], [Serves("tts", 0.0), Died("tts"), Serves("tts", 1.0), Died("tts")]),
    ],
    ids=[
        "what comes up serves",
        "what serves is said once",
        "what could not be started died, once",
        "what died and serves again took its time",
        "another process is a death that nobody saw",
        "it may die again",
    ],
)
def test_the_roster(standings, expected):
    roster, changes = Roster(["tts"], 0.0), []
    for moment, standing in enumerate(standings):
        changes += roster.note_standings({"tts": standing}, float(moment))
        changes += roster.note_serving(list(roster.awaited), float(moment))
    assert [str(change) for change in changes] == [str(change) for change in expected]


# --- a signal that stops nothing


def test_hang_up_reads_the_characters_again_and_a_mistake_leaves_them(data, tmp_path):
    file = tmp_path / "voices.yaml"
    plain = (ROOT / "voices.yaml").read_text()
    file.write_text(plain)
    run = UpRun(data, ANTIPHON_VOICES_FILE=str(file))
    try:
        run.wait_for(r"^ready after")
        web = run.pid("web")

        def names():
            with urllib.request.urlopen(f"http://127.0.0.1:{run.port}/v1/voices", timeout=5) as answer:
                return [voice["name"] for voice in json.load(answer)]

        file.write_text(plain.replace("- name: Nora", "- nam: Norah"))
        run.process.send_signal(signal.SIGHUP)
        assert f"{file}, line " in run.wait_for("stay as they were")
        assert "Nora" in names()
        file.write_text(plain.replace("- name: Nora", "- name: Norah"))
        run.process.send_signal(signal.SIGHUP)
        run.wait_for("are read again")
        eventually(lambda: "Norah" in names())
        assert run.pid("web") == web
        assert not run.said("died")
    finally:
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 0
