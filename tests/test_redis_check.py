"""What is said of a Redis server that does not fit: first of made-up facts, then of a real server."""

import os
import subprocess
import sys

import pytest
import redis

from config.errors import ConfigError
from tasks import redis_check, streams
from tasks.redis_check import Facts, Severity, judge
from tests.house import ROOT
from tests.redis_server import Server

#: Nothing is wrong with these.
STATE = Facts((7, 2, 5), "Redis", 1 << 20, 1 << 29, "noeviction", True, 128 << 20, 64 << 20, 0.01)
MEDIA = Facts((8, 0, 1), "Valkey", 1 << 20, 1 << 30, "noeviction", False, 0, 0, -0.4)


def changed(facts: Facts, **fields: object) -> Facts:
    return Facts(**{**vars(facts), **fields})  # type: ignore[arg-type]


def test_nothing_is_said_of_servers_as_they_should_be() -> None:
    assert judge("state", STATE, "web1") == judge("media", MEDIA, "web1") == []


WRONG = {
    "an old Redis is refused": ("state", {"version": (6, 2, 14)}, Severity.REFUSE, "6.2.14", "7.0"),
    "eviction is refused": ("media", {"policy": "allkeys-lru"}, Severity.REFUSE, "allkeys-lru", "noeviction"),
    "no limit of memory is told of": ("media", {"most_bytes": 0}, Severity.WARN, "maxmemory", "1gb"),
    "too little memory is told of": ("media", {"most_bytes": 4 << 20}, Severity.WARN, "4 MB (maxmemory)", "1gb"),
    "state without a file is told of": ("state", {"appendonly": False}, Severity.WARN, "restarts", "appendonly yes"),
    "speech on a disk is told of": ("media", {"appendonly": True}, Severity.WARN, "disk", "appendonly no"),
    "a short buffer is told of": ("media", {"pubsub_soft_bytes": 8 << 20}, Severity.WARN, "pubsub", "128mb"),
    "a slow clock is told of, and whose": ("state", {"ahead_s": -2.5}, Severity.WARN, "web1 is 2.5 s behind", "chrony"),
    "a clock far off is told of": ("media", {"ahead_s": 70.0}, Severity.WARN, "web1 is 70.0 s ahead of", "chrony"),
}  # fmt: skip


@pytest.mark.parametrize(("server", "fields", "severity", "what", "remedy"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said_with_its_remedy(
    server: str, fields: dict[str, object], severity: Severity, what: str, remedy: str
) -> None:
    (finding,) = judge(server, changed(STATE if server == "state" else MEDIA, **fields), "web1")
    assert (finding.server, finding.severity) == (server, severity)
    assert what in finding.what
    assert remedy in finding.remedy


def test_of_what_a_hosted_server_does_not_tell_nothing_is_said() -> None:
    silent = Facts(version=(7, 0, 0))
    assert judge("state", silent, "web1") == judge("media", silent, "web1") == []


def test_the_worst_comes_first_and_all_that_is_refused_is_one_line() -> None:
    facts = changed(STATE, most_bytes=0, policy="volatile-ttl", version=(5, 0, 0))
    findings = judge("state", facts, "web1")
    assert [finding.severity for finding in findings] == [Severity.REFUSE, Severity.REFUSE, Severity.WARN]
    warned: list[str] = []
    with pytest.raises(ConfigError, match=r"volatile-ttl.*noeviction") as refused:
        redis_check.tell(findings, lambda _, line: warned.append(line))
    assert "5.0.0" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(warned) == 1


def test_a_real_server_is_read(state: redis.Redis, media: redis.Redis) -> None:
    facts = redis_check.ask(state)
    assert facts.version is not None
    assert facts.version >= redis_check.OLDEST_REDIS
    assert (facts.policy, facts.appendonly, facts.most_bytes) == ("noeviction", False, 0)
    assert facts.pubsub_hard_bytes == 32 << 20
    assert abs(facts.ahead_s) < 0.5, "it is this host's own clock"
    found = redis_check.check(state, media)
    assert not redis_check.refusals(found)
    assert {finding.server for finding in found} == {"state"}, "one server is not judged twice"


def test_a_full_server_is_known_by_its_share(state: redis.Redis) -> None:
    assert redis_check.memory(state).share == 0.0
    used = redis_check.memory(state).used_bytes
    assert redis_check.Memory(used, 2 * used).share == pytest.approx(0.5)


STARTS = {
    "web": ["-m", "gunicorn", "-c", "python:web.gunicorn", "-b", "127.0.0.1:0", "web.app:app"],
    "worker": ["-m", "celery", "-A", "tasks", "worker", "-Q", "stt", "--without-mingle", "--without-gossip"],
}


@pytest.mark.server
@pytest.mark.parametrize("arguments", STARTS.values(), ids=list(STARTS))
def test_nothing_starts_with_a_server_that_throws_data_away(
    arguments: list[str], server: Server, state: redis.Redis
) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    env |= {
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": server.url(0),
        "ANTIPHON_MEDIA_URL": server.url(1),
        "PYTHONPATH": str(ROOT),
    }
    state.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert redis_check.memory(state).evicts
        ran = subprocess.run(
            [sys.executable, *arguments],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    finally:
        state.config_set("maxmemory-policy", "noeviction")
    assert ran.returncode == 3, ran.stderr[-2000:]
    (line,) = [line for line in (ran.stderr + ran.stdout).splitlines() if "allkeys-lru" in line]
    assert "set maxmemory-policy noeviction" in line


def test_a_wrong_password_is_told_as_such_and_which_server_does_not_take_it(
    server: Server, state: redis.Redis
) -> None:
    media = streams.connect(f"redis://:mistaken@127.0.0.1:{server.port}/1", connections=2)
    try:
        (finding,) = redis_check.check(state, media)
    finally:
        media.close()
    assert (finding.server, finding.severity) == ("media", Severity.WARN)
    assert "the media Redis does not take our password; give the right one" in str(finding)
    assert "mistaken" not in str(finding)
