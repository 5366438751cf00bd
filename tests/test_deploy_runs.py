"""The stack's own commands and health checks, run as plain processes, each with the packages of its image alone."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests import only_locked
from tests.conftest import needs_redis
from tests.ports import free_port
from tests.stack_files import OURS, REDIS, ROOT, WORKERS, mebibytes, seconds, service
from tests.test_dockerfile import IMAGES

#: A machine under load starts eight processes.
START_DEADLINE_S = 60.0

#: Clients use the first line of the secret; both servers take any.
PASSWORDS = ("0123456789abcdef", "fedcba9876543210")

#: What no container's packages bring: programs of others' images, made of what is here.
PROGRAMS = {
    "docker-entrypoint.sh": 'shift; exec "{server}" "$@"',
    "python": 'exec "{python}" "$@"',
    "valkey-cli": (
        '[ "$1" = ping ] && exec "{python}" -c \'import os, redis\n'
        'ok = redis.Redis(port=int(os.environ["PORT"]), password=os.environ["REDISCLI_AUTH"]).ping()\n'
        'print("PONG" if ok else "")\''
    ),
}


@dataclass
class House:
    """All our services of the stack on this machine: the same commands, other ports and folders."""

    folder: Path
    binary: str
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, psutil.Popen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in (*OURS, *REDIS)}
        (self.folder / "secrets").mkdir()
        (self.folder / "secrets/redis_password").write_text("\n".join(PASSWORDS) + "\n")
        (self.folder / "secrets/flower_password").write_text("let-me-in\n")
        (self.folder / "bin").mkdir()
        for name, script in PROGRAMS.items():
            text = script.format(server=self.binary, python=sys.executable)
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.folder / "bin" / name).chmod(0o755)
        for name in OURS:
            image = service(name)["image"].rsplit("-", 1)[1]
            rooms = ("gpu_workers", "cli") if name == "web" else ()
            only_locked.lay(self.folder / f"packages-{name}", *IMAGES[image], rooms=rooms)

    def environment(self, name: str) -> dict[str, str]:
        """What its container would have, and where things are here."""
        variables = {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PORT": str(self.ports[name]),
            "SECRETS_DIR": str(self.folder / "secrets"),
            "CONFIG_FILE": str(self.folder / f"{name}.conf"),
            "STATE_SERVER": f"127.0.0.1:{self.ports['redis-state']}",
            "MEDIA_SERVER": f"127.0.0.1:{self.ports['redis-media']}",
        }
        if name in OURS:
            variables["PYTHONPATH"] = f"{self.folder}/packages-{name}:{ROOT}"
            variables["ANTIPHON_VOICES__ENCODER"] = "null"
            variables |= service(name, ANTIPHON_PROFILE="null", ANTIPHON_LOG_LEVEL="WARNING")["environment"]
        if name in WORKERS:
            variables |= {
                "ANTIPHON_METRICS_PORT": str(self.ports[name]),
                "ANTIPHON_METRICS_HOST": "127.0.0.1",
            }
        return variables

    def _here(self, name: str, word: str) -> str:
        """A word of a command with this machine's folders and ports."""
        word = word.replace("/run/secrets", str(self.folder / "secrets"))
        word = {"/redis": str(ROOT / "deploy/redis")}.get(word, word.replace("/app/", f"{ROOT}/"))
        for inside in ("8000", "5555"):
            word = re.sub(rf"(?<!\d){inside}(?!\d)", str(self.ports[name]), word)
        return word

    def start(self, name: str) -> None:
        command = [self._here(name, word) for word in service(name)["command"]]
        cwd = ROOT
        if name in REDIS:
            cwd = self.folder / name
            cwd.mkdir()
        else:
            command = [str(ROOT / "deploy/entrypoint"), *command]
        with (self.folder / f"{name}.log").open("w") as log:
            self.running[name] = psutil.Popen(
                command, cwd=cwd, env=self.environment(name), stdout=log, stderr=log
            )

    def check(self, name: str) -> bool:
        """Whether the service's own health check is content. Docker runs it without the image's entrypoint."""
        kind, *command = [self._here(name, word) for word in service(name)["healthcheck"]["test"]]
        done = subprocess.run(
            ["sh", "-c", *command] if kind == "CMD-SHELL" else command,
            cwd=ROOT, env=self.environment(name), capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode == 0

    def until_healthy(self, name: str) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not self.check(name):
            log = (self.folder / f"{name}.log").read_text()[-3000:]
            assert self.running[name].poll() is None, f"{name} ended: {log}"
            assert time.monotonic() < deadline, f"{name} is not healthy: {log}"
            time.sleep(0.3)

    def client(self, name: str, password: str | None) -> redis.Redis:
        never = Retry(NoBackoff(), 0)  # else a refused password is tried again for seconds
        return redis.Redis(
            port=self.ports[name], password=password, protocol=2, decode_responses=True, retry=never
        )

    def stop(self) -> None:
        for process in reversed(self.running.values()):
            if process.poll() is None:
                process.kill()
        for process in self.running.values():
            process.wait(40)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The whole stack with null engines."""
    house = House(tmp_path_factory.mktemp("house"), needs_redis())
    with ExitStack() as stack:
        stack.callback(house.stop)
        for name in (*REDIS, *OURS):
            house.start(name)
            if name in REDIS:
                _until_answers(house, name)
        yield house


def _until_answers(house: House, name: str) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        try:
            house.client(name, PASSWORDS[0]).ping()
            return
        except redis.ConnectionError:
            log = (house.folder / f"{name}.log").read_text()
            assert time.monotonic() < deadline and house.running[name].poll() is None, log
            time.sleep(0.05)


def get(url: str, user: str = "") -> tuple[int, bytes]:
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.server
@pytest.mark.slow
class TestTheStackRuns:
    """In this order; the last ones stop what the first ones need."""

    def test_redis_wants_a_password_and_keeps_only_what_it_may(self, house):
        for name in REDIS:
            with pytest.raises(redis.AuthenticationError):
                house.client(name, None).ping()
            for password in PASSWORDS:
                assert house.client(name, password).ping(), "while it is changed, both are taken"
            client = house.client(name, PASSWORDS[0])
            kept = "yes" if name == "redis-state" else "no"
            assert client.config_get("appendonly", "save") == {"appendonly": kept, "save": ""}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            most = mebibytes(service(name)["command"][-1])
            assert client.config_get("maxmemory") == {"maxmemory": str(int(most * (1 << 20)))}
        assert (house.folder / "redis-state/appendonlydir").is_dir()
        assert list((house.folder / "redis-media").iterdir()) == []

    @pytest.mark.parametrize("name", [*REDIS, *OURS])
    def test_the_service_starts_with_its_image_s_packages_and_its_health_check_says_so(self, house, name):
        house.until_healthy(name)

    def test_a_conversation_is_possible(self, house):
        status, body = get(f"http://127.0.0.1:{house.ports['web']}/v1/health")
        assert (status, json.loads(body)["ok"], json.loads(body)["voice_cloning_up"]) == (200, True, True)

    @pytest.mark.parametrize("name", ["web", *WORKERS])
    def test_metrics_are_where_the_labels_say(self, house, name):
        assert service(name)["deploy"]["labels"]["antiphon.metrics.port"] in ("8000", "9400")
        status, body = get(f"http://127.0.0.1:{house.ports[name]}/metrics")
        assert status == 200 and b"# TYPE" in body

    def test_flower_asks_for_its_password(self, house):
        url = f"http://127.0.0.1:{house.ports['flower']}/workers"
        assert get(url)[0] == 401
        assert get(url, "antiphon:wrong")[0] == 401
        assert get(url, "antiphon:let-me-in")[0] == 200

    def test_no_password_is_seen_in_a_list_of_processes(self, house):
        for name, process in house.running.items():
            family = [process, *process.children(recursive=True)]
            said = " ".join(" ".join(one.cmdline()) for one in family)
            assert not any(secret in said for secret in (*PASSWORDS, "let-me-in")), name

    @pytest.mark.parametrize("name", ["tts", "voices", "web"])
    def test_a_service_that_is_stopped_ends_by_itself_and_in_time(self, house, name):
        process = house.running[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(seconds(service(name)["stop_grace_period"])) == 0

    @pytest.mark.parametrize("name", ["tts", "voices", "web"])
    def test_what_is_gone_is_not_healthy(self, house, name):
        assert not house.check(name)

    def test_redis_out_of_reach_is_no_fault_of_a_worker(self, house):
        house.running["redis-state"].kill()
        house.running["redis-state"].wait(40)
        assert house.check("stt")
        assert not house.check("redis-state")


# --- the entrypoint alone


def entered(folder: Path, secrets: dict[str, str], *command: str, **variables: str):
    """What a command prints that comes in by the entrypoint."""
    (folder / "secrets").mkdir()
    for name, text in secrets.items():
        (folder / "secrets" / name).write_text(text)
    return subprocess.run(
        [str(ROOT / "deploy/entrypoint"), *command], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "SECRETS_DIR": str(folder / "secrets"), **variables},
    )  # fmt: skip


def test_clients_of_redis_use_the_first_of_its_passwords(tmp_path):
    done = entered(tmp_path, {"redis_password": "new\nold\n"}, "sh", "-c", "echo $ANTIPHON_REDIS_URL")
    assert done.stdout == "redis://:new@redis-state:6379/0\n"


def test_a_secret_can_be_a_setting(tmp_path):
    name = "ANTIPHON_LLM__OPTIONS__API_KEY"
    done = entered(tmp_path, {f"env.{name}": "a key with spaces"}, "sh", "-c", f'echo "${name}"')
    assert done.stdout == "a key with spaces\n"


def test_an_empty_secret_is_told_and_nothing_starts(tmp_path):
    done = entered(tmp_path, {"redis_password": ""}, "echo", "started")
    assert (done.returncode, done.stdout) == (3, "") and "redis_password is empty" in done.stderr


@pytest.mark.parametrize(
    ("swarm_gave", "worker_sees"),
    [("GPU-1a2b,GPU-3c4d", "GPU-1a2b"), ("MIG-5e6f", "MIG-5e6f"), ("2", "unset"), ("", "unset")],
)
def test_a_worker_is_kept_to_the_gpu_that_swarm_gave_its_container(tmp_path, swarm_gave, worker_sees):
    done = entered(
        tmp_path, {}, "sh", "-c", "echo ${CUDA_VISIBLE_DEVICES-unset}", DOCKER_RESOURCE_GPU=swarm_gave
    )
    assert done.stdout == f"{worker_sees}\n"


@pytest.mark.parametrize(("role", "secret"), [("state", ""), ("cache", "word")])
def test_a_redis_without_password_or_role_does_not_start(tmp_path, role, secret):
    (tmp_path / "redis_password").write_text(secret)
    done = subprocess.run(
        [str(ROOT / "deploy/redis"), role, "1mb"], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "SECRETS_DIR": str(tmp_path), "CONFIG_FILE": str(tmp_path / "conf")},
    )  # fmt: skip
    assert done.returncode == 3 and done.stderr.startswith("redis: ")
