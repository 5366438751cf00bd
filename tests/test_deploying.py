"""The way into a stack (Traefik's routes), and the script that deploys it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import missing
from tests.stack_files import (
    COMPOSE_FILES,
    OVERLAYS,
    ROOT,
    SAID,
    STACK,
    SWARM,
    VARIABLE,
    read,
    required,
    service,
    sourced,
)

ENVS = [SWARM / "staging.env", SWARM / "production.env"]
#: What a swarm has that lacks nothing of production.env.
LABELLED = "state edge monitor gpu"
SECRETS = "antiphon_redis_password antiphon_flower_password antiphon_grafana_password"

every_env = pytest.mark.parametrize("env", ENVS, ids=lambda path: path.stem)


def routes(tls_by: str) -> dict:
    """routes.yml as Traefik reads it: the few things it uses of Go's templates, done here."""
    text = (SWARM / "traefik/routes.yml").read_text()
    environment = {**SAID, "TLS_BY": tls_by}

    def listed(name: str) -> list[str]:
        return environment[name].split(",")

    text = re.sub(r'\{\{ env "(\w+)" \}\}', lambda found: environment[found[1]], text)
    text = re.sub(
        r'\{\{-? if eq \(env "TLS_BY"\) "(\w+)" \}\}(.*?)(?:\{\{ else \}\}(.*?))?\{\{-? end \}\}',
        lambda found: found[2] if found[1] == tls_by else (found[3] or ""),
        text, flags=re.DOTALL,
    )  # fmt: skip
    text = re.sub(
        r'\{\{- range splitList "," \(env "(\w+)"\) \}\}(.*?)\{\{- end \}\}',
        lambda found: "".join(found[2].replace("{{ trim . }}", one.strip()) for one in listed(found[1])),
        text, flags=re.DOTALL,
    )  # fmt: skip
    assert "{{" not in text
    return yaml.safe_load(text)


def test_the_world_reaches_conversations_and_no_metrics():
    rule = routes("acme")["http"]["routers"]["talk"]["rule"]
    assert rule == "Host(`voice.example.org`) && !PathPrefix(`/metrics`) && !PathPrefix(`/v1/scale`)"


def test_grafana_flower_and_advice_on_scaling_are_for_the_networks_of_operators():
    said = routes("acme")["http"]
    for name in ("grafana", "flower", "scale"):
        assert "operators" in said["routers"][name]["middlewares"]
    assert said["middlewares"]["operators"]["ipAllowList"]["sourceRange"] == ["192.0.2.0/24", "2001:db8::/32"]


@pytest.mark.parametrize("tls_by", ["acme", "files"])
def test_everything_is_behind_tls_and_leads_to_a_service_on_its_port(tls_by):
    said = routes(tls_by)
    services = read(STACK)["services"]
    for router in said["http"]["routers"].values():
        assert router["entryPoints"] == ["secure"]
        assert router["tls"] == ({"certResolver": "acme"} if tls_by == "acme" else {})
        (server,) = said["http"]["services"][router["service"]]["loadBalancer"]["servers"]
        _, name, port = re.split(r"://|:", server["url"])
        assert services[name]["deploy"]["labels"]["antiphon.metrics.port"] == port
    assert ("certificates" in said["tls"]) is (tls_by == "files")


def test_traefik_knows_the_entry_points_that_routes_name():
    environment = service("traefik")["environment"]
    assert environment["TRAEFIK_ENTRYPOINTS_SECURE_ADDRESS"] == ":443"
    assert environment["TRAEFIK_ENTRYPOINTS_PLAIN_HTTP_REDIRECTIONS_ENTRYPOINT_TO"] == "secure"
    assert {port["target"] for port in service("traefik")["ports"]} == {80, 443}
    for port in service("traefik")["ports"]:
        assert port["mode"] == "host", "through Swarm's ingress all operators would have one address"


# --- the script that deploys


def deploy(
    env: Path,
    folder: Path,
    secrets: str = "",
    labels: str = "",
    options: str = "--check",
    running: str = "",
    gpus: int = 99,
):
    """Runs it with a docker that knows these secrets, labels, services and GPUs; says what it is asked to deploy."""
    if shutil.which("docker") is None:
        missing("the docker client")
    fake = folder / "bin/docker"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(
        f"""#!/bin/sh
case "$1 $2" in
    "stack config") exec {shutil.which("docker")} "$@" ;;
    "secret ls") printf '%s\\n' {secrets} ;;
    "node ls") for label in {labels}; do case "$*" in *"antiphon.$label=true"*) echo node ;; esac; done ;;
    "node inspect") printf 'gpu 1\\n\\ngpu-seat 3\\ngpu {gpus - 1}\\n' ;;
    "service ls") printf '%s\\n' {running} ;;
    *) echo "$@ tts=$TTS_REPLICAS voices=$VOICES_REPLICAS $TRAEFIK_CONFIG" ;;
esac
"""
    )
    fake.chmod(0o755)
    return subprocess.run(
        [str(SWARM / "deploy"), *options.split(), str(env)], capture_output=True, text=True, check=False,
        env={"PATH": f"{fake.parent}:{os.environ['PATH']}"},
    )  # fmt: skip


def filled(env: Path, folder: Path) -> Path:
    """An env file as an operator would have filled it in."""
    text = env.read_text()
    for name, value in SAID.items():
        text = re.sub(rf"^{name}=$", f'{name}="{value}"', text, flags=re.MULTILINE)
    (folder / env.name).write_text(text)
    return folder / env.name


@every_env
def test_deploying_names_every_variable_that_is_missing(env, tmp_path):
    done = deploy(env, tmp_path)
    assert done.returncode == 1
    assert set(re.findall(r"deploy: (\w+) is not set in", done.stderr)) == {*required(STACK), "API_KEYS"}


def test_deploying_names_secrets_and_labels_that_are_missing(tmp_path):
    done = deploy(filled(ENVS[0], tmp_path), tmp_path, "antiphon_staging_redis_password", "state edge")
    assert done.returncode == 1
    assert re.findall(r"there is no secret (\w+)", done.stderr) == [
        "antiphon_staging_flower_password", "antiphon_staging_grafana_password",
    ]  # fmt: skip
    assert re.findall(r"label antiphon.(\w+)=true;", done.stderr) == ["monitor"]


def test_deploying_takes_the_overlays_of_the_env_file_and_waits(tmp_path):
    env = filled(ENVS[1], tmp_path)
    assert "antiphon.gpu=true" in deploy(env, tmp_path, SECRETS, "state edge monitor").stderr
    done = deploy(env, tmp_path, SECRETS, LABELLED, options="")
    assert done.returncode == 0, done.stderr
    assert f"stack deploy --prune --with-registry-auth --detach=false -c {STACK}" in done.stdout
    assert f"-c {OVERLAYS['gpu']} -c {OVERLAYS['gpu-llm']} antiphon" in done.stdout
    assert re.search(r" [0-9a-f]{12}$", done.stdout.strip()), "the routes have a version made of them"


def test_an_overlay_that_is_not_there_is_named(tmp_path):
    env = filled(ENVS[0], tmp_path)
    env.write_text(env.read_text().replace('OVERLAYS=""', "OVERLAYS=gpus"))
    done = deploy(env, tmp_path)
    assert (done.returncode, "there is no stack.gpus.yml" in done.stderr) == (1, True)


def with_overlays(env: Path, overlays: str) -> Path:
    env.write_text(re.sub(r"^OVERLAYS=.*$", f'OVERLAYS="{overlays}"', env.read_text(), flags=re.MULTILINE))
    return env


def test_a_language_model_is_on_gpus_here_or_behind_a_url_and_not_both(tmp_path):
    done = deploy(with_overlays(filled(ENVS[1], tmp_path), "gpu gpu-llm llm-url"), tmp_path)
    assert done.returncode == 1
    assert "names gpu-llm and llm-url: is the language model on GPUs here, or behind a URL?" in done.stderr


def test_a_language_model_that_wants_a_gpu_and_gets_none_is_told_of(tmp_path):
    done = deploy(with_overlays(filled(ENVS[1], tmp_path), "gpu"), tmp_path)
    assert (done.returncode, "name gpu-llm in OVERLAYS" in done.stderr) == (1, True)


def test_a_language_model_behind_a_url_wants_its_key(tmp_path):
    env = with_overlays(filled(ENVS[1], tmp_path), "gpu llm-url")
    done = deploy(env, tmp_path, SECRETS, LABELLED)
    assert re.findall(r"there is no secret (\w+)", done.stderr) == ["antiphon_llm_key"]
    assert "docker secret create antiphon_llm_key" in (ROOT / "docs/deploying.md").read_text()


#: As `docker service ls` has it: tasks that run, and how many shall.
GROWN = "'antiphon_tts 11/12' 'antiphon_llm 3/3' 'antiphon_voices 1/2' 'antiphon_cadvisor 99/99' 'other_stt 50/50'"


def test_gpus_that_are_nowhere_are_missed_before_anything_waits_for_them(tmp_path):
    env = filled(ENVS[1], tmp_path)
    done = deploy(env, tmp_path, SECRETS, LABELLED, gpus=17)
    assert done.returncode == 1
    assert (
        "STT_REPLICAS=2 TTS_REPLICAS=8 LLM_REPLICAS=8 want 18 of the generic resource gpu; the nodes"
        in done.stderr
    )
    assert "have 17 (setup_node.py" in done.stderr
    assert deploy(env, tmp_path, SECRETS, LABELLED, gpus=18).returncode == 0
    behind_url = SECRETS + " antiphon_llm_key"
    assert deploy(with_overlays(env, "gpu llm-url"), tmp_path, behind_url, LABELLED, gpus=10).returncode == 0


def test_an_update_takes_no_replicas_away_that_were_added(tmp_path):
    done = deploy(filled(ENVS[1], tmp_path), tmp_path, SECRETS, LABELLED, "", GROWN)
    told, deployed = done.stdout.splitlines()
    assert (
        told
        == "deploy: antiphon_tts keeps the 11 replicas that run; TTS_REPLICAS is 8 (--reset-replicas puts it back)"
    )
    assert " tts=11 voices=0 " in deployed, "and nobody has voices who wants none"


def test_an_update_puts_replicas_back_where_it_is_told_to(tmp_path):
    done = deploy(filled(ENVS[1], tmp_path), tmp_path, SECRETS, LABELLED, "--reset-replicas", GROWN)
    told, deployed = done.stdout.splitlines()
    assert told == "deploy: antiphon_tts goes back from 11 replicas to 8"
    assert " tts=8 voices=0 " in deployed


def test_a_look_tells_what_would_be_kept_and_deploys_nothing(tmp_path):
    done = deploy(filled(ENVS[1], tmp_path), tmp_path, SECRETS, LABELLED, running=GROWN)
    assert "antiphon_tts keeps the 11 replicas" in done.stdout and "stack deploy" not in done.stdout


# --- the guide


def test_the_guide_names_variables_that_are_there():
    known = set(sourced(ENVS[0])) | {
        name for path in COMPOSE_FILES for name, _, _ in VARIABLE.findall(path.read_text())
    }
    known |= {"REDIS_CONFIG", "VOICES_CONFIG", "TRAEFIK_CONFIG", "MONITORING_CONFIG", "PYTHON_IMAGE"}
    for guide in ("deploying", "multi-gpu", "security"):
        text = (ROOT / f"docs/{guide}.md").read_text()
        named = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=[^`]*)?`", text))
        ours = {name for name in named if not name.startswith(("ANTIPHON_", "CUDA_", "DOCKER_RESOURCE_"))}
        assert ours <= known, guide


def test_the_guide_quotes_what_is_said_of_a_missing_variable(tmp_path):
    (quoted,) = re.findall(r"^    (deploy: .*)$", (ROOT / "docs/deploying.md").read_text(), re.MULTILINE)
    env = tmp_path / "my.env"
    shutil.copy(ENVS[0], env)
    assert quoted in deploy(env, tmp_path).stderr.replace(str(env), "my.env").splitlines()


def test_the_guide_shows_the_labels_and_secrets_that_are_asked_for():
    text = (ROOT / "docs/deploying.md").read_text()
    stack = STACK.read_text() + OVERLAYS["gpu"].read_text()  # gpu-llm asks for the same label
    assert set(re.findall(r"antiphon\.(\w+)=true", text)) == set(
        re.findall(r"node\.labels\.antiphon\.(\w+)", stack)
    )
    made = re.findall(r"docker secret create (antiphon_[a-z_]+password) -", text)
    assert set(made) == {secret["name"] for secret in read(STACK)["secrets"].values()}
