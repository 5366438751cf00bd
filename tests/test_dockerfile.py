"""The Dockerfile and what gets into its images, against locks, Makefile and stack; and what linters say of deploy/."""

import json
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from cli import programs
from config.redis_keys import STAGES
from config.settings import load
from tests.stack_files import DOCKERFILE, ROOT, instructions, service, stage, tool

#: The images, and the locks that each is made of.
IMAGES = {
    "web": ["web"],
    "cpu": ["base", "models", "kokoro"],
    "kyutai": ["base", "models", "kokoro", "kyutai", "torch"],
    "vllm": ["vllm"],
}


def test_all_stages_stand_on_one_pinned_base_and_the_last_is_for_cpus():
    (image,) = [said.split("=", 1)[1] for word, said in instructions() if word == "ARG"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", image), "locks are compiled for Python 3.11"
    stages = [said.split(" AS ") for word, said in instructions() if word == "FROM"]
    names = [name for _, name in stages]
    assert all(base == "${PYTHON_IMAGE}" or base in names for base, _ in stages)
    assert set(IMAGES) <= set(names) and names[-1] == "cpu"


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_made_of_its_locks_by_hashes_as_make_installs(name):
    makefile = (ROOT / "Makefile").read_text()
    flags = re.search(r"^INSTALL := \$\(PIP\) (.*)$", makefile, re.MULTILINE)
    assert flags
    built = " ".join(said for word, said in stage(f"{name}-environment") if word == "RUN")
    assert re.findall(r"-r requirements/([\w-]+)\.txt", built) == IMAGES[name]
    assert built.count("pip install") == built.count(f"pip {flags[1]} -r") + 1
    assert "pip install --quiet --no-deps --no-build-isolation -e ." in built
    for lock in IMAGES[name]:
        assert "--hash=sha256:" in (ROOT / f"requirements/{lock}.txt").read_text()
    copies = [said for word, said in stage(name) if word == "COPY"]
    assert copies == [f"--from={name}-environment {folder} {folder}" for folder in ("/opt/venv", "/app")]


@pytest.mark.parametrize("name", IMAGES)
def test_the_locks_of_an_image_agree(name):
    pinned: dict[str, set[str]] = {}
    for lock in IMAGES[name]:
        for package, version in re.findall(
            r"^([\w.-]+)==([^ ;\\]+)", (ROOT / f"requirements/{lock}.txt").read_text(), re.M
        ):
            pinned.setdefault(package, set()).add(version)
    assert {package: versions for package, versions in pinned.items() if len(versions) > 1} == {}


def test_the_lock_of_the_web_has_the_versions_of_the_server_and_no_engine():
    pins = {
        lock: dict(
            re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / f"requirements/{lock}.txt").read_text(), re.M)
        )
        for lock in ("base", "web")
    }
    assert pins["web"].items() <= pins["base"].items()
    assert not {"torch", "onnxruntime", "xllamacpp", "piper-tts", "soundfile"} & set(pins["web"])
    assert (
        "requirements/web.in -c requirements/base.txt -o requirements/web.txt"
        in (ROOT / "Makefile").read_text()
    )


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_not_root_s_and_has_what_its_packages_call(name):
    steps = stage(name)
    (user,) = [said for word, said in steps if word == "USER"]
    assert user.isdigit() and user != "0", "a number: Docker can tell that it is not root"
    installed = {part for word, said in steps if word == "RUN" for part in said.split()}
    assert {"libopus0", *({"libgomp1"} if name != "web" else set())} <= installed
    said = dict(pair.split("=", 1) for word, args in steps if word == "ENV" for pair in args.split())
    assert {**programs.FRUGAL, **programs.OFFLINE}.items() <= said.items()
    assert (name in ("kyutai", "vllm")) is ("NVIDIA_DRIVER_CAPABILITIES" in said)


@pytest.mark.parametrize("name", ["web", *STAGES])
def test_a_service_starts_as_up_starts_it(name):
    """The same program with the same options; what differs is where it listens, its name and its slots."""
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
    for path in ("deploy/compose/secrets/redis_password", "deploy/swarm/production.env", ".git/config"):
        assert not any(fnmatch(path, pattern) for pattern in let_in)


def test_the_image_of_the_web_starts_it_and_all_enter_by_one_door():
    assert json.loads(dict(stage("web"))["CMD"]) == service("web")["command"]
    for name in IMAGES:
        (entry,) = json.loads(dict(stage(name))["ENTRYPOINT"])
        assert os.access(ROOT / Path(entry).relative_to("/app"), os.X_OK)


# --- what others say of these files


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = subprocess.run([tool("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_finds_nothing_in_our_scripts():
    scripts = [
        path
        for folder in ("deploy", "deploy/swarm", "deploy/compose", "tools", ".ci")
        for path in sorted((ROOT / folder).iterdir())
        if path.is_file() and re.match(r"#!/bin/(ba)?sh", path.read_text(errors="replace"))
    ]
    assert len(scripts) >= 5
    done = subprocess.run(
        [tool("shellcheck"), *map(str, scripts)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("variable", [{}, {"ORT_DISABLE_TELEMETRY": "0"}])
def test_onnx_runtime_reports_to_nobody(variable):
    """The thread that would is begun when it is imported: none more than where it was told not to."""

    def threads(module: str, said: dict[str, str]) -> str:
        script = f"import {module}, os; print(len(os.listdir('/proc/self/task')))"
        others = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        return subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env={**others, **said}, capture_output=True, text=True, check=True
        ).stdout  # fmt: skip

    assert threads("gpu_workers.onnx", variable) == threads("onnxruntime", {"ORT_DISABLE_TELEMETRY": "1"})
