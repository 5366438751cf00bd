"""A worker and its GPU: `celery -A tasks worker --gpu N` as a user runs it, refused or warm."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.redis_keys import queue_lists
from tasks import loading
from tasks.beats import workers as advertised
from tests import redis_server
from tests.fake_nvml import FULL, L4, L40S, machine, nvml
from tests.house import wait_for
from tests.ports import free_port

__all__ = ["nvml"]

ROOT = Path(__file__).parent.parent

#: The operator must mend something; the device is gone (tasks/worker.py).
MUST_MEND, DEVICE_LOST = 3, 71


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANTIPHON_", "CUDA_"))}
    return {**kept, "ANTIPHON_PROFILE": "null", **more}


def asking(stage: str, **needs: Any) -> dict[str, str]:
    """A null engine that says it needs this."""
    return {f"ANTIPHON_{stage.upper()}__OPTIONS": json.dumps({"asks": needs})}


def command(*arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "--without-mingle",
        "-l",
        "INFO",
        *arguments,
    ]


def refused(*arguments: str, status: int = MUST_MEND, **env: str) -> str:
    """The worker's one line; no Redis is there to be asked for anything."""
    ran = subprocess.run(
        command(*arguments), check=False, cwd=ROOT, capture_output=True, text=True, timeout=60,
        env=environment(ANTIPHON_REDIS_URL="redis://127.0.0.1:1/0", **env),
    )  # fmt: skip
    assert ran.returncode == status, ran.stderr
    (line,) = re.findall(r"antiphon worker: (.*)", ran.stderr)
    return line


# --- refused


def test_a_gpu_that_does_not_exist(nvml):
    said = refused("-Q", "tts", "--gpu", "2", **machine(nvml, L40S, L4))
    assert said == "there is no GPU 2; there are: 0 (L40S), 1 (L4)"


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_a_gpu_on_a_machine_without_any():
    assert refused("-Q", "tts", "--gpu", "0").startswith("--gpu 0: no NVIDIA driver answers here")


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_an_engine_that_needs_a_gpu_on_a_machine_without_any():
    said = refused("-Q", "tts", **asking("tts", gpu_mb=1))
    assert said.startswith("tts engine 'null' needs a GPU, and no NVIDIA driver answers here")


def test_a_gpu_that_is_too_small(nvml):
    said = refused(
        "-Q", "tts", "--gpu", "1", "--slots", "9", **machine(nvml, L40S, FULL), **asking("tts", gpu_mb=5300)
    )
    assert said.startswith(
        "tts engine 'null' needs 5300 MB with 9 slots; GPU 1 (T4) has 100 of 15360 MB free: give fewer slots"
    )


def test_a_share_of_a_gpu_that_others_use(nvml):
    said = refused(
        "-Q", "llm", "--gpu", "0", **machine(nvml, "L40S:40000:20000:0"), **asking("llm", gpu_share=0.6)
    )
    assert "needs 24000 MB" in said


def test_none_chosen_of_several(nvml):
    said = refused("-Q", "tts", **machine(nvml, L40S, L4), **asking("tts", gpu_mb=1))
    assert said.endswith("there are several; say which: --gpu 0 (L40S), --gpu 1 (L4)")


def test_the_environment_chooses_where_the_command_does_not(nvml):
    said = refused(
        "-Q", "tts", CUDA_VISIBLE_DEVICES="1,0", **machine(nvml, L40S, FULL), **asking("tts", gpu_mb=900)
    )
    assert "GPU 1 (T4) has 100" in said


def test_all_gpus_hidden(nvml):
    said = refused("-Q", "tts", CUDA_VISIBLE_DEVICES="", **machine(nvml, L40S), **asking("tts", gpu_mb=1))
    assert "hides all" in said


def test_several_queues_for_an_engine_that_shares_its_process_with_none(nvml):
    said = refused(
        "-Q",
        "stt,tts",
        "--gpu",
        "0",
        "--slots",
        "4",
        **machine(nvml, L40S),
        **asking("tts", shares_process=False),
    )
    assert said == (
        "tts engine 'null' shares its process with no other; start one worker for each queue: "
        "celery -A tasks worker -Q stt --gpu 0 --slots 4; celery -A tasks worker -Q tts --gpu 0 --slots 4"
    )


def test_queues_that_are_no_stages():
    assert refused("-Q", "ears").startswith("-Q must name stages: stt, llm, tts")


def test_a_device_with_no_memory_left_for_what_is_loaded():
    said = refused("-Q", "tts", status=DEVICE_LOST, **failing("tts", no_memory_at_start=True))
    assert said == "the null engine was asked to find no memory"


@pytest.mark.parametrize("name", ["x", "-1", "0,1", "GPU", "1; rm"])
def test_what_names_no_gpu_at_all(name):
    ran = subprocess.run(
        command("-Q", "tts", f"--gpu={name}"), check=False, cwd=ROOT, capture_output=True, text=True,
        timeout=60, env=environment(),
    )  # fmt: skip
    assert ran.returncode == 2
    assert "neither a number such as 0 nor a UUID" in " ".join(ran.stderr.split())


def test_the_help_tells_of_both_options():
    ran = subprocess.run(
        command("--help"), check=True, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment()
    )
    said = " ".join(ran.stdout.split())
    assert "--gpu NUMBER|UUID The one GPU this worker may use" in said
    assert "--slots N Sessions or replies" in said


# --- warm


def failing(stage: str, **faults: Any) -> dict[str, str]:
    """A null engine that does this."""
    return {f"ANTIPHON_{stage.upper()}__OPTIONS": json.dumps({"fails": faults})}


class Warming:
    """A worker as it starts, and what it wrote so far."""

    def __init__(self, server: redis_server.Server, log: Path, *arguments: str, **env: str) -> None:
        self.log = log
        self._server = server
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command(*arguments), cwd=ROOT, stdout=out, stderr=out,
                env=environment(
                    ANTIPHON_REDIS_URL=server.url(4), ANTIPHON_MEDIA_URL=server.url(5), **env
                ),
            )  # fmt: skip

    def says(self, what: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return what in self.log.read_text()

    def advertised(self, stage: str) -> list[dict[str, str]]:
        with self._server.client(4) as client:
            said = advertised(client, stage)
        return [fields for name, fields in said.items() if name.endswith(f"-{self.process.pid}")]


@pytest.fixture
def start(server: redis_server.Server, tmp_path: Path) -> Iterator[Any]:
    """Starts workers that are ended whatever happens."""
    begun: list[Warming] = []

    def begin(*arguments: str, **env: str) -> Warming:
        begun.append(Warming(server, tmp_path / f"worker{len(begun)}.log", *arguments, **env))
        return begun[-1]

    yield begin
    for worker in begun:
        worker.process.kill()
        worker.process.wait()


def test_slots_are_advertised_when_the_engine_is_warm_and_not_before(start):
    worker = start("-Q", "tts", "--slots", "3", **failing("tts", warm_up_s=1.5))
    wait_for(lambda: worker.says("loading engine"), "the worker to load")
    while not (seen := worker.advertised("tts")) and not worker.says("tts ready"):
        time.sleep(0.02)
    assert seen == [] and worker.says("tts ready")
    wait_for(lambda: bool(worker.advertised("tts")), "the worker to advertise itself")
    assert worker.advertised("tts")[0]["free"] == "3"


def test_a_task_waits_until_the_engine_is_warm(start, server: redis_server.Server):
    submit = "from tasks import submit; submit.speak('no-such-session', 1)"
    env = environment(ANTIPHON_REDIS_URL=server.url(4), ANTIPHON_MEDIA_URL=server.url(5))
    subprocess.run([sys.executable, "-c", submit], check=True, cwd=ROOT, env=env, timeout=60)
    worker = start("-Q", "tts", **failing("tts", warm_up_s=1.5))
    with server.client(4) as client:
        while (waiting := sum(map(client.llen, queue_lists("tts")))) and not worker.says("tts ready"):
            time.sleep(0.02)
        assert waiting == 1
        wait_for(lambda: client.llen("tts") == 0, "the task to be taken")


def test_several_queues_warm_on_one_gpu_are_counted_together(start, nvml):
    needs = {**asking("stt", gpu_mb=20_000), **asking("tts", gpu_mb=20_000)}
    worker = start("-Q", "stt,tts", "--gpu", "0", **machine(nvml, L40S), **needs)
    wait_for(lambda: bool(worker.advertised("stt") and worker.advertised("tts")), "both")
    assert worker.advertised("tts")[0]["gpu"] == "0"
    said = refused("-Q", "stt,tts", "--gpu", "0", **machine(nvml, "L40S:46068:39999:0"), **needs)
    assert "and tts engine 'null' needs 20000 MB" in said


def test_a_worker_shows_its_gpu_and_its_seats_to_prometheus(start, nvml):
    port = free_port()
    worker = start(
        "-Q", "tts", ANTIPHON_METRICS_PORT=str(port), **machine(nvml, L40S), **asking("tts", gpu_mb=1)
    )
    wait_for(lambda: bool(worker.advertised("tts")), "the worker to be warm")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        said = answer.read().decode()
    (total,) = re.findall(r'antiphon_gpu_memory_bytes{kind="total"} (\S+)', said)
    assert float(total) == 46068 << 20
    assert "antiphon_gpu_utilisation_ratio 0.25" in said
    assert 'antiphon_seats{stage="tts"} 0.0' in said


def test_a_worker_waits_for_another_that_loads_on_its_gpu(start, nvml, tmp_path):
    env = {"TMPDIR": str(tmp_path), **machine(nvml, L40S), **asking("tts", gpu_mb=1)}
    with loading.turn_on("GPU-0", folder=tmp_path):
        worker = start("-Q", "tts", "--gpu", "0", **env)
        wait_for(lambda: worker.says("another worker loads on this GPU"), "the worker to wait")
        assert not worker.says("loading engine")
    wait_for(lambda: worker.says("tts ready"), "the worker to be warm")
