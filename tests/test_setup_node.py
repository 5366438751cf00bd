"""deploy/swarm/setup_node.py on machines that are folders and a few programs that answer as the real ones do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack_files import OVERLAYS, ROOT, STACK, read

SCRIPT = ROOT / "deploy/swarm/setup_node.py"

TWO_GPUS = """GPU 0: NVIDIA L40S (UUID: GPU-aaaa-1)
GPU 1: NVIDIA L40S (UUID: GPU-bbbb-2)
"""
SLICED = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-cccc-3)
  MIG 3g.40gb     Device  0: (UUID: MIG-dddd-4)
  MIG 3g.40gb     Device  1: (UUID: MIG-eeee-5)
"""
ONE_GPU = "GPU 0: NVIDIA L4 (UUID: GPU-ffff-6)\n"

MANAGER = {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": True}


class Machine:
    """A root folder, and programs on PATH that say what they are told to and note what they are asked to do."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.notes = folder / "notes"
        self.program("docker", "case $1 in version) echo 28.2.2 ;; info) echo '{}' ;; esac")
        self.program("timedatectl", "echo yes")
        for name in ("sysctl", "systemd-tmpfiles", "systemctl"):
            self.program(name, f'echo {name} "$@" >> {self.notes}')

    def program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def gpus(self, listed: str) -> None:
        self.program("nvidia-smi", f"cat <<'E'\n{listed}E")
        self.program("nvidia-container-runtime", "true")

    def swarm(self, said: dict[str, object], labels: dict[str, str] | None = None) -> None:
        self.program(
            "docker",
            f"""case "$1 $2" in
    "version "*) echo 28.2.2 ;;
    "info "*) echo '{json.dumps(said)}' ;;
    "node inspect") echo '{json.dumps(labels or {})}' ;;
    "node update") echo docker "$@" >> {self.notes} ;;
esac""",
        )

    def file(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def daemon(self) -> dict[str, object]:
        return json.loads(self.file("etc/docker/daemon.json").read_text())

    @property
    def done(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def setup(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), "--root", str(self.root), *options],
            env={"PATH": f"{self.bin}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(machine):
    machine.gpus(TWO_GPUS)
    said = machine.setup("--dry-run")
    assert said.returncode == 0, said.stdout
    assert "would    write /etc/docker/daemon.json" in said.stdout
    assert [*machine.root.rglob("*")] == [] and machine.done == []


def test_the_second_run_finds_nothing_to_do(machine):
    machine.gpus(TWO_GPUS)
    assert "did      write" in machine.setup().stdout
    before, done = (
        {path: path.read_text() for path in machine.root.rglob("*") if path.is_file()},
        machine.done,
    )
    again = machine.setup()
    assert again.returncode == 0 and "did " not in again.stdout
    assert {path: path.read_text() for path in machine.root.rglob("*") if path.is_file()} == before
    assert machine.done == done


def test_each_gpu_becomes_one_thing_that_the_swarm_can_give(machine):
    machine.gpus(TWO_GPUS)
    machine.setup()
    assert machine.daemon["node-generic-resources"] == ["gpu=GPU-aaaa-1", "gpu=GPU-bbbb-2"]
    assert machine.daemon["default-runtime"] == "nvidia"
    for overlay, service in (("gpu", "stt"), ("gpu", "tts"), ("gpu-llm", "llm")):
        deploy = read(OVERLAYS[overlay])["services"][service]["deploy"]
        (asked,) = deploy["resources"]["reservations"]["generic_resources"]
        kind = asked["discrete_resource_spec"]["kind"]
        assert all(one.startswith(f"{kind}=") for one in machine.daemon["node-generic-resources"])


def test_of_a_gpu_in_slices_the_slices_are_given(machine):
    machine.gpus(SLICED)
    machine.setup()
    assert machine.daemon["node-generic-resources"] == ["gpu=MIG-dddd-4", "gpu=MIG-eeee-5"]


def test_one_gpu_can_have_seats_for_several_workers(machine):
    machine.gpus(ONE_GPU)
    machine.setup("--gpu-seats", "3")
    assert machine.daemon["node-generic-resources"] == ["gpu-seat=3"]
    machine.setup()
    assert machine.daemon["node-generic-resources"] == ["gpu=GPU-ffff-6"], "it can be taken back"


def test_seats_on_several_gpus_are_refused(machine):
    machine.gpus(TWO_GPUS)
    said = machine.setup("--gpu-seats", "3")
    assert said.returncode == 1 and "one GPU" in said.stdout
    assert [*machine.root.rglob("*")] == []


def test_what_stood_in_docker_s_file_stays(machine):
    machine.gpus(ONE_GPU)
    before = {
        "data-root": "/big",
        "log-opts": {"max-size": "50m"},
        "node-generic-resources": ["FPGA=1", "GPU=GPU-old"],
        "runtimes": {"nvidia": {"path": "/opt/nvidia-container-runtime"}},
    }
    machine.file("etc/docker/daemon.json").write_text(json.dumps(before))
    machine.setup()
    assert machine.daemon == {
        **before,
        "node-generic-resources": ["FPGA=1", "gpu=GPU-ffff-6"],
        "default-runtime": "nvidia",
    }
    kept = machine.file("etc/docker/daemon.json.before-antiphon")
    assert json.loads(kept.read_text()) == before


def test_log_sizes_are_not_given_to_a_log_driver_that_knows_none(machine):
    machine.file("etc/docker/daemon.json").write_text('{"log-driver": "journald"}')
    assert machine.setup().returncode == 0
    assert machine.daemon == {"log-driver": "journald"}, (
        "Docker would not start with options it does not know"
    )


@pytest.mark.parametrize("text", ["{", "{'a': 1}", "{,}"])
def test_a_file_of_docker_s_that_cannot_be_read_is_named_and_left(machine, text):
    machine.file("etc/docker/daemon.json").write_text(text)
    said = machine.setup()
    assert said.returncode == 1 and "MEND     /etc/docker/daemon.json is no JSON" in said.stdout
    assert machine.file("etc/docker/daemon.json").read_text() == text


def test_live_restore_is_told_for_docker_joins_no_swarm_with_it(machine):
    machine.file("etc/docker/daemon.json").write_text('{"live-restore": true}')
    said = machine.setup()
    assert said.returncode == 1 and "live-restore" in said.stdout


@pytest.mark.parametrize(
    "text",
    ['#swarm-resource = "DOCKER_RESOURCE_GPU"\n[nvidia-container-cli]\n', "[nvidia-container-cli]\n", ""],
)
def test_nvidia_s_runtime_is_told_which_variable_names_the_gpus(machine, text):
    machine.gpus(ONE_GPU)
    path = machine.file("etc/nvidia-container-runtime/config.toml")
    path.write_text(text)
    machine.setup()
    assert path.read_text().startswith('swarm-resource = "DOCKER_RESOURCE_GPU"\n')
    assert path.read_text().endswith(text.split("\n", 1)[1] if text.startswith("#") else text)


def test_gpus_without_nvidia_s_toolkit_are_told(machine):
    machine.program("nvidia-smi", f"cat <<'E'\n{ONE_GPU}E")
    said = machine.setup()
    assert said.returncode == 1 and "install the NVIDIA Container Toolkit" in said.stdout


@pytest.mark.parametrize(
    ("version", "told"), [("24.0.9", "too old: 25.0 or later"), ("", "no Docker Engine answers")]
)
def test_a_docker_that_is_old_or_silent_is_told(machine, version, told):
    machine.program("docker", f"[ $1 = version ] && echo {version}; true")
    said = machine.setup()
    assert said.returncode == 1 and told in said.stdout


def test_a_clock_that_nobody_keeps_is_told(machine):
    machine.program("timedatectl", "echo no")
    said = machine.setup()
    assert said.returncode == 1 and "MEND     the clock" in said.stdout


def test_kernel_settings_hold_now_and_after_a_boot(machine):
    machine.setup()
    assert "vm.overcommit_memory = 1" in machine.file("etc/sysctl.d/60-antiphon.conf").read_text()
    assert "madvise" in machine.file("etc/tmpfiles.d/antiphon.conf").read_text()
    assert [note.split()[0] for note in machine.done] == ["sysctl", "systemd-tmpfiles"]


def test_docker_is_started_again_only_if_asked_and_only_if_its_file_changed(machine):
    assert (
        "systemctl restart docker" in machine.setup().stdout
        and "systemctl restart docker" not in machine.done
    )
    machine.file("etc/docker/daemon.json").unlink()
    machine.setup("--restart-docker")
    machine.setup("--restart-docker")
    assert machine.done.count("systemctl restart docker") == 1


def test_a_manager_labels_itself_once(machine):
    machine.swarm(MANAGER)
    machine.setup("--label", "state", "--label", "edge")
    asked = "docker node update --label-add antiphon.state=true --label-add antiphon.edge=true n1"
    assert machine.done[-1] == asked
    machine.swarm(MANAGER, {"antiphon.state": "true", "antiphon.edge": "true"})
    assert "ok       labels: state, edge" in machine.setup("--label", "state", "--label", "edge").stdout
    assert machine.done.count(asked) == 1


def test_a_worker_node_says_what_a_manager_must_be_told(machine):
    machine.gpus(ONE_GPU)
    machine.swarm({**MANAGER, "ControlAvailable": False})
    said = machine.setup()
    assert "note     on a manager: docker node update --label-add antiphon.gpu=true n1" in said.stdout
    assert said.returncode == 0


def test_a_machine_in_no_swarm_is_told_what_comes_after(machine):
    machine.swarm({"LocalNodeState": "inactive"})
    said = machine.setup("--label", "monitor")
    assert (
        "note     this machine is in no swarm yet" in said.stdout and "antiphon.monitor=true" in said.stdout
    )


def test_a_firewall_is_opened_to_the_other_nodes_alone(machine):
    machine.program(
        "ufw", f"case $1 in status) echo 'Status: active' ;; *) echo ufw \"$@\" >> {machine.notes} ;; esac"
    )
    assert "give --peers" in machine.setup().stdout
    machine.setup("--peers", "10.0.0.0/24")
    opened = [note for note in machine.done if note.startswith("ufw allow")]
    assert opened[0] == "ufw allow from 10.0.0.0/24 to any port 2377 proto tcp"
    assert opened[-1] == "ufw allow from 10.0.0.0/24 to any proto esp"
    assert len(opened) == 5 and all("from 10.0.0.0/24" in note for note in opened)


def test_its_labels_are_those_by_which_services_are_placed():
    said = (STACK.read_text() + OVERLAYS["gpu"].read_text()).split("node.labels.antiphon.")[1:]
    placed = {part.split(" ")[0] for part in said}
    offered = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True
    )
    assert all(f"{label}" in offered.stdout for label in placed) and placed == {
        "state",
        "edge",
        "monitor",
        "gpu",
    }
