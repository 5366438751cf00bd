"""What the stack files say, against what the code is and does; tests/test_deploy_runs.py runs their commands."""

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from config.redis_keys import STAGES
from config.settings import Settings
from tests.stack_files import (
    COMPOSE,
    COMPOSE_FILES,
    COMPOSE_LLM_URL,
    DOCKERFILE,
    OURS,
    OVERLAYS,
    REDIS,
    ROOT,
    SAID,
    STACK,
    SWARM,
    VARIABLE,
    WORKERS,
    constant,
    docker,
    instructions,
    mebibytes,
    merged,
    read,
    required,
    seconds,
    service,
    sourced,
    stage,
)

ENVS = [SWARM / "staging.env", SWARM / "production.env"]
STACK_FILES = [STACK, *OVERLAYS.values()]

#: Others' programs.
THEIRS = ("traefik", "docker-api", "prometheus", "grafana", "cadvisor")

#: What the script `deploy` makes of files.
COMPUTED = {"STACK", "REDIS_CONFIG", "VOICES_CONFIG", "TRAEFIK_CONFIG", "MONITORING_CONFIG"}

#: Those that belong to one file of its own on a volume, or to ports of a node.
ALONE = (*REDIS, "traefik", "prometheus", "grafana")

every_env = pytest.mark.parametrize("env", ENVS, ids=lambda path: path.stem)


# --- the stack files


def test_docker_reads_the_stack_as_these_tests_do():
    theirs = merged()["services"]
    mine = read(STACK)["services"]
    assert set(theirs) == set(mine)
    for name, said in theirs.items():
        assert said["image"] == mine[name]["image"]
        assert said.get("command") == mine[name].get("command")
        assert said["deploy"].get("replicas") == mine[name]["deploy"].get("replicas")


@every_env
def test_docker_accepts_the_stack_of_an_env_file_with_every_overlay(env):
    variables = {**sourced(env), **{name: SAID[name] for name in SAID}}
    for overlay in OVERLAYS:
        merged(overlay, **variables)
    for either in ("gpu-llm", "llm-url"):  # `deploy` refuses both
        everything = merged("gpu", either, "tls", **variables)
        assert everything["services"]["web"]["deploy"]["replicas"] == int(variables["WEB_REPLICAS"])
        assert everything["services"]["tts"]["image"].endswith(f"-{variables['TTS_TARGET']}")
    assert {*OVERLAYS} == {"gpu", "gpu-llm", "llm-url", "tls"}


def test_there_is_a_service_for_each_queue_and_no_stranger():
    assert set(read(STACK)["services"]) == {*OURS, *REDIS, *THEIRS}


@every_env
def test_the_env_files_give_every_variable_and_no_other(env):
    used = {name for path in STACK_FILES for name, _, _ in VARIABLE.findall(path.read_text())}
    assert set(sourced(env)) == (used - COMPUTED) | {"OVERLAYS"}


def test_the_two_env_files_tell_of_the_same_variables_in_the_same_order():
    staging, production = (re.findall(r"^([A-Z_]+)=", env.read_text(), re.MULTILINE) for env in ENVS)
    assert staging == production


@every_env
def test_what_only_the_operator_knows_is_left_open(env):
    said = sourced(env)
    for name in set().union(*map(required, STACK_FILES)):
        assert said[name] == "", f"{name} would be deployed as it is"


def test_production_runs_several_of_each_so_that_one_may_die():
    said = sourced(SWARM / "production.env")
    assert (said["WEB_REPLICAS"], said["LLM_REPLICAS"], said["TTS_REPLICAS"]) == ("16", "8", "8")
    assert int(said["STT_REPLICAS"]) >= 2


@pytest.mark.parametrize("name", sorted(required(STACK)))
def test_a_variable_that_is_missing_is_named_with_what_it_is_for(name):
    done = docker(**{key: value for key, value in SAID.items() if key != name})
    assert done.returncode != 0
    assert re.search(rf"required variable {name} is missing a value: (is|says) .{{20}}", done.stderr)


def test_no_variable_is_without_default_or_message():
    for path in (*STACK_FILES, *COMPOSE_FILES, COMPOSE_LLM_URL):
        assert not re.search(r"(?<!\$)\$(?![{$])|(?<!\$)\$\{[^}:]*\}", path.read_text()), path


@pytest.mark.parametrize("name", OURS)
def test_replicas_come_from_a_variable(name):
    assert service(name)["deploy"]["replicas"] == (0 if name == "voices" else 1)
    assert service(name, **{f"{name.upper()}_REPLICAS": "7"})["deploy"]["replicas"] == 7


def test_each_queue_has_an_image_of_its_choice_and_all_have_one_version():
    chosen = {f"{name.upper()}_TARGET": f"kind-of-{name}" for name in WORKERS}
    services = read(STACK, ANTIPHON_IMAGE="host/ours", ANTIPHON_VERSION="7", **chosen)["services"]
    for name in WORKERS:
        assert services[name]["image"] == f"host/ours:7-kind-of-{name}"
    assert services["web"]["image"] == services["flower"]["image"] == "host/ours:7-web"


@pytest.mark.parametrize("path", [STACK, *COMPOSE_FILES], ids=lambda path: path.stem)
def test_images_have_a_version_and_ours_is_the_project_s(path):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    targets = {said.split(" AS ")[1] for word, said in instructions() if word == "FROM"}
    for name, said in read(path)["services"].items():
        if "image" not in said:  # it extends one
            continue
        repository, tag = said["image"].rsplit(":", 1)
        assert re.match(r"v?\d+\.\d+\.\d+", tag), name
        if repository == "antiphon":
            assert tag.removeprefix(f"{version}-") in targets, name


@every_env
def test_images_of_the_env_files_are_those_of_the_stack(env):
    defaults = {name: text for name, _, text in VARIABLE.findall(STACK.read_text())}
    said = sourced(env)
    for name in said:
        if name.endswith("_IMAGE") or name == "ANTIPHON_VERSION":
            assert said[name] == defaults[name]
    assert {said[f"{name.upper()}_TARGET"] for name in WORKERS} <= {"cpu", "kyutai", "vllm"}


@pytest.mark.parametrize("name", OURS)
def test_a_service_may_take_longer_to_stop_than_it_needs(name):
    needs_s = max(constant("tasks/worker.py", "DRAIN_S"), constant("web/gunicorn.py", "graceful_timeout"))
    assert seconds(service(name)["stop_grace_period"]) >= needs_s + 5
    assert seconds(service(name, COMPOSE / "cpu.yml")["stop_grace_period"]) >= needs_s + 5


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("path", [STACK, COMPOSE / "cpu.yml"], ids=lambda path: path.stem)
def test_what_is_set_is_a_setting(name, path):
    for variable in service(name, path)["environment"]:
        field_name = variable.removeprefix("ANTIPHON_").lower().split("__")[0]
        assert variable.startswith("ANTIPHON_") and field_name in Settings.model_fields


def test_every_service_is_watched_limited_and_bounded_in_what_it_logs():
    for name, one in read(STACK)["services"].items():
        assert one["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert mebibytes(one["deploy"]["resources"]["limits"]["memory"]) > 0, name
        reserved = one["deploy"]["resources"]["reservations"]["memory"]
        assert mebibytes(reserved) <= mebibytes(one["deploy"]["resources"]["limits"]["memory"]), name
        assert "cpus" not in one["deploy"]["resources"]["limits"], f"{name}: a throttled step is late"
        assert one["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name
        assert one["deploy"]["restart_policy"]["condition"] == "any", name


@pytest.mark.parametrize("name", [name for name in (*OURS, "docker-api") if name != "cadvisor"])
def test_an_update_starts_the_new_before_it_ends_the_old_and_takes_back_what_fails(name):
    said = service(name)["deploy"]
    assert said["update_config"]["order"] == said["rollback_config"]["order"] == "start-first"
    assert said["update_config"]["failure_action"] == "rollback"


@pytest.mark.parametrize("name", ALONE)
def test_what_owns_a_volume_or_a_port_is_there_once_and_never_twice(name):
    said = service(name)["deploy"]
    assert said["replicas"] == 1
    assert said["update_config"]["order"] == said["rollback_config"]["order"] == "stop-first"


@every_env
@pytest.mark.parametrize("name", REDIS)
def test_a_redis_has_more_memory_than_it_fills(env, name):
    variables = sourced(env)
    said = service(name, **variables)
    most = mebibytes(said["command"][-1])
    spare = 2.0 if name == "redis-state" else 1.25  # its file is rewritten by a copy of the process
    assert mebibytes(said["deploy"]["resources"]["limits"]["memory"]) >= most * spare


@pytest.mark.parametrize("env", ENVS, ids=lambda path: path.stem)
def test_a_web_process_that_is_near_its_limit_is_told_of_while_there_is_memory_left(env):
    """By what was measured (docs/benchmarks.md), and the number of sessions at which the alert fires."""
    measured = (ROOT / "docs/benchmarks.md").read_text().partition("**Memory at the end of each run**")[2]
    rows = re.findall(r"^\| step 0 ms \| (\d+) \| \d+ \| (\d+) \|", measured, re.MULTILINE)
    (few, least_mb), (many, most_mb) = (tuple(map(int, row)) for row in (rows[0], rows[-1]))
    assert few < many
    rules = (ROOT / "deploy/prometheus/rules/alerts.yml").read_text()
    fires = re.search(r"alert: AntiphonWebFull\n(?: +#.*\n)? +expr: .* > (\d+)\n", rules)
    assert fires
    needs_mb = least_mb + (int(fires[1]) - few) * (most_mb - least_mb) / (many - few)
    assert needs_mb < 0.6 * 1.048576 * mebibytes(sourced(env)["WEB_MEMORY"])


def test_redis_is_reached_from_its_own_network_alone_which_leads_nowhere():
    said = read(STACK)
    for path in (STACK, COMPOSE / "cpu.yml"):
        networks = read(path)
        assert networks["networks"]["data"]["internal"] is True
        for name, one in networks["services"].items():
            assert ("data" in one["networks"]) is (name in (*OURS, *REDIS)), name
            assert "ports" not in one or name not in REDIS, name
    for network in said["networks"].values():
        assert (network["driver"], network["driver_opts"]) == ("overlay", {"encrypted": "true"})


def test_nothing_is_published_but_the_way_in():
    published = {name for name, one in read(STACK)["services"].items() if "ports" in one}
    assert published == {"traefik"}
    for path in COMPOSE_FILES:
        for one in read(path)["services"].values():
            assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), path


def test_the_docker_socket_is_held_by_the_proxy_alone():
    holders = {name for name, one in read(STACK)["services"].items() if "docker.sock" in json.dumps(one)}
    assert holders == {"docker-api"}


def test_passwords_are_secrets_and_stand_nowhere():
    said = read(STACK)
    assert all(secret["external"] is True for secret in said["secrets"].values())
    for name in (*OURS, *REDIS):
        assert "redis_password" in said["services"][name]["secrets"], name
    assert "flower_password" in said["services"]["flower"]["secrets"]
    for path in (STACK, COMPOSE / "cpu.yml"):
        for name, one in read(path)["services"].items():
            for variable, value in one.get("environment", {}).items():
                secret = re.search(r"(?i)password|token|secret|key", variable)
                assert not secret or str(value).startswith("/run/secrets/"), f"{name}: {variable}"
    for path in (
        *STACK_FILES,
        *COMPOSE_FILES,
        COMPOSE_LLM_URL,
        *ENVS,
        DOCKERFILE,
        *(ROOT / "deploy").glob("[a-z]*"),
    ):
        if path.is_file():
            assert not re.search(r"://[^$\s/]*:[^$\s/]*@|\b[0-9a-f]{16,}\b", path.read_text()), path
    assert not re.search(r"(?im)^(ARG|ENV)\b.*(password|token|secret|key)", DOCKERFILE.read_text())


def test_the_servers_have_the_names_that_the_entrypoint_looks_for():
    names = re.findall(r"_SERVER:-([\w-]+):6379", (ROOT / "deploy/entrypoint").read_text())
    assert tuple(names) == REDIS


def test_prometheus_is_told_where_metrics_are_and_of_which_queue():
    services = read(STACK)["services"]
    for name in WORKERS:
        port = services[name]["environment"]["ANTIPHON_METRICS_PORT"]
        assert services[name]["deploy"]["labels"] == {"antiphon.metrics.port": port, "antiphon.queue": name}
    for name in ("web", "flower", "traefik", "prometheus", "grafana", "cadvisor"):
        assert services[name]["deploy"]["labels"]["antiphon.metrics.port"].isdigit(), name
        assert "antiphon" in services[name]["networks"], f"Prometheus comes by that network to {name}"


def test_files_that_services_are_given_have_names_that_change_with_them():
    said = read(STACK, VOICES_FILE="/elsewhere/voices.yaml", STACK="mine", REDIS_CONFIG="abc")
    assert said["configs"]["redis"]["name"] == "mine_redis_abc"
    for name, config in said["configs"].items():
        assert config["name"].startswith("mine_"), name
    given = {config["source"] for one in said["services"].values() for config in one.get("configs", [])}
    assert given == set(said["configs"])


def test_files_that_services_are_given_are_there():
    for path in (STACK, COMPOSE / "cpu.yml"):
        said = read(path)
        files = [config["file"] for config in said.get("configs", {}).values()]
        for one in said["services"].values():
            files += [
                volume.split(":")[0] for volume in one.get("volumes", []) if str(volume).startswith("..")
            ]
        assert len(files) > 5
        assert [file for file in files if not (path.parent / file).exists()] == []


# --- on GPUs


def test_on_gpus_each_worker_asks_for_one_and_leaves_before_its_successor_takes_it():
    services = merged("gpu", "gpu-llm")["services"]
    for name in STAGES:
        said = services[name]["deploy"]
        (asked,) = said["resources"]["reservations"]["generic_resources"]
        assert asked == {"discrete_resource_spec": {"kind": "gpu", "value": 1}}
        assert "node.labels.antiphon.gpu == true" in said["placement"]["constraints"]
        assert said["update_config"]["order"] == said["rollback_config"]["order"] == "stop-first"
        assert said["update_config"]["failure_action"] == "rollback"
        assert said["resources"]["limits"]["memory"]
        assert services[name]["healthcheck"]["test"][-1] == name
    assert "generic_resources" not in services["web"]["deploy"]["resources"]["reservations"]


def test_stages_that_share_a_gpu_ask_for_a_seat_on_it():
    services = merged("gpu", "gpu-llm", GPU_KIND="gpu-seat")["services"]
    for name in STAGES:
        (asked,) = services[name]["deploy"]["resources"]["reservations"]["generic_resources"]
        assert asked["discrete_resource_spec"]["kind"] == "gpu-seat", name


def test_a_language_model_behind_a_url_takes_no_gpu_from_the_others():
    services = merged("gpu", "llm-url")["services"]
    gpus = {name for name, one in services.items() if "generic_resources" in json.dumps(one)}
    assert gpus == {"stt", "tts"}
    said = services["llm"]["deploy"]
    assert "constraints" not in said["placement"] and said["update_config"]["order"] == "start-first"


def test_workers_on_gpus_take_turns_on_a_volume_that_they_share():
    services = merged("gpu", "gpu-llm")["services"]
    for name in STAGES:
        said = services[name]
        turns = [volume["target"] for volume in said["volumes"] if volume.get("source") == "turns"]
        assert turns == [said["environment"]["TMPDIR"]]
        assert turns[0] in dict(stage("common"))["RUN"], "a volume has the owner of the image's folder"


def test_production_runs_gpu_images_only_where_it_asks_for_gpus():
    for env in ENVS:
        said = sourced(env)
        gpu = {said["STT_TARGET"], said["LLM_TARGET"], said["TTS_TARGET"]} & {"kyutai", "vllm"}
        overlays = {"gpu", "gpu-llm"} if gpu else set()
        assert {*said["OVERLAYS"].split()} == overlays
        assert bool(gpu) is (said["ANTIPHON_PROFILE"] == "gpu")


def test_a_certificate_of_ones_own_takes_the_place_of_acme():
    assert merged()["services"]["traefik"]["environment"]["TLS_BY"] == "acme"
    said = merged("tls")["services"]["traefik"]
    assert said["environment"]["TLS_BY"] == "files"
    assert {secret["source"] for secret in said["secrets"]} == {"tls_certificate", "tls_key"}


def test_the_key_of_a_language_model_reaches_its_workers_alone():
    """And what the profile says of its own model's context is forgotten."""
    services = merged("llm-url", ANTIPHON_PROFILE="gpu", LLM_CONTEXT_TOKENS="9000")["services"]
    keyed = {name for name, one in services.items() if "llm_key" in json.dumps(one.get("secrets", []))}
    assert keyed == {"llm"}
    (target,) = [one["target"] for one in services["llm"]["secrets"] if one["source"] == "llm_key"]
    environment = services["llm"]["environment"] | {target.removeprefix("env."): "the-key"}
    told = "from config.settings import load; c = load().llm; print(c.engine, c.window_tokens, c.options)"
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=ROOT, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("openai 9000 ") and "'api_key': 'the-key'" in done.stdout
