"""The compose files, against the stack whose services they run on one machine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from config.redis_keys import STAGES
from tests.stack_files import (
    COMPOSE,
    COMPOSE_FILES,
    COMPOSE_LLM_URL,
    OURS,
    OVERLAYS,
    REDIS,
    VARIABLE,
    WORKERS,
    read,
    required,
    service,
    tool,
)

#: A stack serves the world through a proxy of its own; Compose this machine, through none.
OF_THE_WORLD = ("ANTIPHON_AUTH__OPEN", "ANTIPHON_AUTH__PROXIES")


@pytest.mark.parametrize("path", [*COMPOSE_FILES, COMPOSE_LLM_URL], ids=lambda path: path.stem)
def test_a_compose_file_follows_the_specification(path):
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [*OURS, *REDIS, "prometheus", "grafana"])
def test_compose_runs_the_stack_s_services_with_the_same_commands_and_checks(name):
    ours, theirs = service(name, COMPOSE / "cpu.yml"), service(name)
    fixed = {"redis-state": "256mb", "redis-media": "512mb"}
    command = [*theirs.get("command", [])]
    if name in fixed:
        command[-1] = fixed[name]
    if name != "prometheus":  # it keeps less
        assert ours.get("command", []) == command
    assert ours["healthcheck"] == theirs["healthcheck"]
    assert ours["image"] == theirs["image"]
    for variable, value in theirs.get("environment", {}).items():
        if variable in OF_THE_WORLD:
            continue
        assert name == "grafana" or ours["environment"][variable] == value


@pytest.mark.parametrize("path", COMPOSE_FILES[1:], ids=lambda path: path.stem)
def test_compose_on_gpus_extends_what_runs_without(path):
    services = read(path)["services"]
    assert set(services) == set(read(COMPOSE / "cpu.yml")["services"])
    assert all(one["extends"] == {"file": "cpu.yml", "service": name} for name, one in services.items())
    for name in WORKERS:
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia" and len(device["device_ids"]) == 1
        assert services[name]["environment"]["ANTIPHON_PROFILE"] == "gpu"
        assert services[name]["healthcheck"] == {"start_period": "600s"}, "large models load for minutes"
    used = [
        services[name]["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for name in STAGES
    ]
    assert used == ([["0"]] * 3 if path.stem == "gpu1" else [["0"], ["1"], ["2"]])


def test_compose_asks_a_language_model_behind_a_url_as_a_swarm_does():
    ours, theirs = read(COMPOSE_LLM_URL)["services"], read(OVERLAYS["llm-url"])["services"]
    assert {name: one["environment"] for name, one in ours.items()} == {
        name: one["environment"] for name, one in theirs.items()
    }
    (key,) = ours["llm"]["secrets"]
    assert key in theirs["llm"]["secrets"], "by the same name, the entrypoint's"
    assert ours["llm"]["image"] == service("llm", COMPOSE / "cpu.yml")["image"], "the small image does"
    assert required(COMPOSE_LLM_URL) == required(OVERLAYS["llm-url"])


def test_the_example_of_compose_lists_every_variable_with_its_default():
    text = (COMPOSE / "example.env").read_text()
    said = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    used: dict[str, set[str]] = {}
    for path in (*COMPOSE_FILES, COMPOSE_LLM_URL):
        for name, kind, default in VARIABLE.findall(path.read_text()):
            used.setdefault(name, set()).add(default if kind == "-" else "")
    assert set(said) == set(used)
    for name, defaults in used.items():
        assert len(defaults) > 1 or said[name] in defaults, name


def test_secrets_of_compose_are_made_once_and_read_by_nobody_else(tmp_path):
    script = tmp_path / "make-secrets"
    shutil.copy2(COMPOSE / "make-secrets", script)
    named = {Path(secret["file"]).name for secret in read(COMPOSE / "cpu.yml")["secrets"].values()}
    subprocess.run([str(script)], check=True)
    first = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(first) == named and all(re.fullmatch(r"[0-9a-f]{64}\n", text) for text in first.values())
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    subprocess.run([str(script)], check=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == first
