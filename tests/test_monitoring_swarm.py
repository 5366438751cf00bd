"""How Prometheus finds its targets in a swarm: a real one, with our configuration, and a Docker that only talks."""

import json
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import promql
from tests.conftest import missing
from tests.up_run import eventually, free_port

ROOT = Path(__file__).parent.parent

#: What the proxy of the stack lets pass (`docker-api` in deploy/swarm/stack.yml).
LET_PASS = re.compile(r"/_ping|(/v1\.\d+)?/(version|services|tasks|nodes|networks)")

NETWORKS = {"n-app": "antiphon_antiphon", "n-data": "antiphon_data", "n-in": "ingress"}
NODES = {"node-a": "alpha", "node-b": "beta"}

#: Deploy labels by service.
SERVICES: dict[str, dict[str, str]] = {
    "antiphon_web": {"antiphon.metrics.port": "8000"},
    "antiphon_tts": {"antiphon.metrics.port": "9400", "antiphon.queue": "tts"},
    "antiphon_tts-small": {"antiphon.metrics.port": "9400", "antiphon.queue": "tts"},
    "antiphon_cadvisor": {"antiphon.metrics.port": "8080"},
    "antiphon_redis-state": {},
    "shop_frontend": {"antiphon.metrics.port": "none of yours"},
}


def task(
    service: str, node: str, slot: int, *networks: tuple[str, str], state: str = "running", published: int = 0
) -> dict[str, Any]:
    """As Docker's API tells it; networks: id and address."""
    ports = [{"Protocol": "tcp", "PublishMode": "host", "PublishedPort": published, "TargetPort": 8000}]
    return {
        "ID": f"{service}.{slot}.{node}",
        "ServiceID": service,
        "NodeID": node,
        "Slot": slot,
        "DesiredState": state,
        "Spec": {"ContainerSpec": {"Image": "antiphon:1", "Labels": {}}},
        "Status": {"State": "running", "PortStatus": {"Ports": ports} if published else {}},
        "NetworksAttachments": [
            {"Network": {"ID": network}, "Addresses": [f"{address}/24"]} for network, address in networks
        ],
    }


TASKS = [
    task("antiphon_web", "node-a", 1, ("n-in", "10.0.0.9"), ("n-app", "127.0.1.1"), published=8000),
    task("antiphon_tts", "node-a", 1, ("n-app", "127.0.1.2"), ("n-data", "10.0.2.2")),
    task("antiphon_tts", "node-b", 2, ("n-data", "10.0.2.3"), ("n-app", "127.0.1.3")),
    task("antiphon_tts", "node-b", 3, ("n-app", "127.0.1.4"), state="shutdown"),
    task("antiphon_tts-small", "node-b", 1, ("n-app", "127.0.1.5")),
    task("antiphon_cadvisor", "node-b", 0, ("n-app", "127.0.1.6")),
    task("antiphon_redis-state", "node-a", 1, ("n-app", "127.0.1.7")),
    task("shop_frontend", "node-a", 1, ("n-app", "127.0.1.8")),
]

ANSWERS: dict[str, Any] = {
    "tasks": TASKS,
    "services": [
        {
            "ID": name,
            "Spec": {"Name": name, "Labels": labels, "Mode": {"Replicated": {"Replicas": 1}}},
            "Endpoint": {"VirtualIPs": []},
        }
        for name, labels in SERVICES.items()
    ],
    "nodes": [
        {
            "ID": node,
            "Spec": {"Role": "manager", "Availability": "active", "Labels": {}},
            "Description": {"Hostname": name, "Platform": {}, "Engine": {}},
            "Status": {"State": "ready", "Addr": "10.1.0.1"},
        }
        for node, name in NODES.items()
    ],
    "networks": [
        {"Id": network, "Name": name, "Driver": "overlay", "Scope": "swarm", "Labels": {}}
        for network, name in NETWORKS.items()
    ],
}


@dataclass
class Swarm:
    """What was asked, and what Prometheus made of the answers."""

    asked: list[str] = field(default_factory=list)
    targets: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels by the address that is scraped."""


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    if (found := promql.program("prometheus")) is None:
        missing("prometheus (tools/dev-packages)")
        return
    seen = Swarm()

    class Docker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            seen.asked.append(f"{self.command} {path}")
            body = json.dumps(ANSWERS.get(path.rpartition("/")[2], "OK")).encode()
            self.send_response(200)
            self.send_header("Api-Version", "1.45")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    docker = ThreadingHTTPServer(("127.0.0.1", 0), Docker)
    threading.Thread(target=docker.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("swarm")
    text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    assert text.count("docker-api:2375") == 1
    said = yaml.safe_load(text.replace("docker-api:2375", f"127.0.0.1:{docker.server_port}"))
    said["rule_files"], said["alerting"] = [], {}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(said))
    port = free_port()
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            [found, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=log, stderr=log,
        )  # fmt: skip

    def look() -> int:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/api/v1/targets?state=active", timeout=5
            ) as told:
                active = json.load(told)["data"]["activeTargets"]
        except OSError:
            return 0
        seen.targets = {target["scrapeUrl"]: target["labels"] for target in active}
        return len({target["scrapePool"] for target in active}) == 2

    try:
        eventually(look)
        yield seen
    finally:
        child.terminate()
        child.wait(10)
        docker.shutdown()
        docker.server_close()


def test_what_carries_the_label_is_scraped_on_the_network_that_leads_there_and_nothing_else(swarm):
    assert set(swarm.targets) == {
        "http://127.0.1.1:8000/metrics",
        "http://127.0.1.2:9400/metrics",
        "http://127.0.1.3:9400/metrics",
        "http://127.0.1.5:9400/metrics",
        "http://127.0.1.6:8080/metrics",
    }


def test_a_target_says_its_queue_its_replica_and_its_node(swarm):
    told = {url.split("/")[2].split(":")[0]: labels for url, labels in swarm.targets.items()}
    assert told["127.0.1.1"] == {
        "job": "web",
        "replica": "web.1",
        "node": "alpha",
        "instance": "127.0.1.1:8000",
    }
    assert told["127.0.1.3"] == {
        "job": "tts",
        "replica": "tts.2",
        "node": "beta",
        "instance": "127.0.1.3:9400",
    }
    assert told["127.0.1.6"] == {"job": "cadvisor", "node": "beta", "instance": "127.0.1.6:8080"}


def test_two_services_of_one_queue_are_not_taken_for_one(swarm):
    """tts on large cards and tts on small ones: one job, but never the same replica."""
    of_tts = [labels["replica"] for labels in swarm.targets.values() if labels["job"] == "tts"]
    assert len(of_tts) == len(set(of_tts)) == 3


def test_prometheus_asks_for_no_more_than_the_proxy_lets_pass(swarm):
    refused = [one for one in swarm.asked if not LET_PASS.fullmatch(one.split()[1])]
    assert refused == [] and len(swarm.asked) > 4
