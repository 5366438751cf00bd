"""How Prometheus finds its targets in a swarm: a real one, with our configuration, and a Docker that only talks."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tests import prometheus_run
from tests.ports import free_port
from tests.prometheus_run import Prometheus
from tests.up_run import eventually

ROOT = Path(__file__).parent.parent

#: What the proxy of the stack lets pass (`docker-api` in deploy/swarm/stack.yml).
LET_PASS = re.compile(r"/_ping|(/v1\.\d+)?/(version|services|tasks|nodes|networks)")

#: Something answers there: see CADVISOR.
CADVISOR_PORT = free_port()

NETWORKS = {"n-app": "antiphon_antiphon", "n-data": "antiphon_data", "n-in": "ingress"}
NODES = {"node-a": "alpha", "node-b": "beta"}

#: Deploy labels by service.
SERVICES: dict[str, dict[str, str]] = {
    "antiphon_web": {"antiphon.metrics.port": "8000"},
    "antiphon_tts": {"antiphon.metrics.port": "9400", "antiphon.queue": "tts"},
    "antiphon_tts-small": {"antiphon.metrics.port": "9400", "antiphon.queue": "tts"},
    "antiphon_cadvisor": {"antiphon.metrics.port": str(CADVISOR_PORT)},
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

SERVICE = "container_label_com_docker_swarm_service_name"

#: A service's container, a slice of the system, and a name that no dashboard shows.
CADVISOR = f"""\
container_cpu_usage_seconds_total{{{SERVICE}="antiphon_tts-small",id="/d/1",image="i",name="t.1"}} 5
container_cpu_usage_seconds_total{{{SERVICE}="",id="/",image="",name=""}} 9
container_fs_reads_total{{{SERVICE}="antiphon_tts",id="/d/1",image="i",name="t.1"}} 3
machine_cpu_cores 4
"""

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


class Docker(BaseHTTPRequestHandler):
    """Docker's API, and cAdvisor's page."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        kind, body = "text/plain", CADVISOR.encode()
        if path != "/metrics":
            self.asked.append(f"{self.command} {path}")
            kind, body = "application/json", json.dumps(ANSWERS.get(path.rpartition("/")[2], "OK")).encode()
        self.send_response(200)
        self.send_header("Api-Version", "1.45")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@contextmanager
def answering(address: str, port: int) -> Iterator[int]:
    """The port on which Docker is."""
    server = ThreadingHTTPServer((address, port), Docker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with answering("127.0.0.1", 0) as docker, answering("127.0.1.6", CADVISOR_PORT):
        text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
        assert text.count("docker-api:2375") == 1
        said = yaml.safe_load(text.replace("docker-api:2375", f"127.0.0.1:{docker}"))
        said["rule_files"], said["alerting"] = [], {}
        with prometheus_run.running(tmp_path_factory.mktemp("swarm"), said) as running:
            eventually(lambda: running.series("machine_cpu_cores"))
            yield running


@pytest.fixture(scope="module")
def targets(prometheus: Prometheus) -> dict[str, dict[str, str]]:
    """Labels by the address that is scraped."""
    active = prometheus.ask("targets", state="active")["activeTargets"]
    return {target["scrapeUrl"]: target["labels"] for target in active}


def test_what_carries_the_label_is_scraped_on_the_network_that_leads_there_and_nothing_else(targets):
    assert set(targets) == {
        "http://127.0.1.1:8000/metrics",
        "http://127.0.1.2:9400/metrics",
        "http://127.0.1.3:9400/metrics",
        "http://127.0.1.5:9400/metrics",
        f"http://127.0.1.6:{CADVISOR_PORT}/metrics",
    }


def test_a_target_says_its_queue_its_replica_and_its_node(targets):
    told = {url.split("/")[2].split(":")[0]: labels for url, labels in targets.items()}
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
    assert told["127.0.1.6"] == {"job": "cadvisor", "node": "beta", "instance": f"127.0.1.6:{CADVISOR_PORT}"}


def test_two_services_of_one_queue_are_not_taken_for_one(targets):
    """tts on large cards and tts on small ones: one job, but never the same replica."""
    of_tts = [labels["replica"] for labels in targets.values() if labels["job"] == "tts"]
    assert len(of_tts) == len(set(of_tts)) == 3


def test_of_a_nodes_containers_those_of_services_are_kept_by_their_service(prometheus):
    series = prometheus.series('{job="cadvisor", __name__=~"(container|machine)_.+"}')
    told = [one["metric"] for one in series]
    where = {"job": "cadvisor", "node": "beta", "instance": f"127.0.1.6:{CADVISOR_PORT}"}
    used = {"__name__": "container_cpu_usage_seconds_total", "service": "tts-small", "name": "t.1"}
    assert sorted(told, key=len) == [{"__name__": "machine_cpu_cores", **where}, {**used, **where}]


def test_prometheus_asks_for_no_more_than_the_proxy_lets_pass(prometheus):
    refused = [one for one in Docker.asked if not LET_PASS.fullmatch(one.split()[1])]
    assert refused == [] and len(Docker.asked) > 4
