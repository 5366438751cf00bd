"""Asks programs whether they do their work: Redis by a ping, workers by their heartbeat, the web by its health."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from cli.programs import Program
from tasks import beats, streams

#: The web answers in milliseconds; a machine that loads models may be slow.
ANSWER_DEADLINE_S = 2.0


@dataclass(frozen=True)
class Address:
    """Where the web listens, and what stands in front of its address."""

    host: str
    port: int
    tls: bool

    @property
    def bind(self) -> str:
        """As gunicorn takes it."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def near(self) -> str:
        """The host by which this machine reaches itself."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    def url(self, host: str | None = None) -> str:
        """The page's address, for a browser here or, by `host`, elsewhere."""
        return f"{'https' if self.tls else 'http'}://{_bracketed(host or self.near)}:{self.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Probe:
    """Looks from outside, as a client would."""

    def __init__(self, programs: Mapping[str, Program], urls: tuple[str, str], address: Address) -> None:
        self._programs = programs
        self._redis = {
            "state": streams.connect(urls[0], connections=2),
            "media": streams.connect(urls[1], connections=2),
        }
        self._address = address

    def unreachable(self) -> list[str]:
        """Which of `state` and `media` do not answer."""
        return [name for name, client in self._redis.items() if not streams.answers(client)]

    def serving(self, pids: Mapping[str, int]) -> list[str]:
        """Those of the given programs that serve, by the very processes given."""
        return [name for name, pid in pids.items() if pid and self._serves(name, pid)]

    def _serves(self, name: str, pid: int) -> bool:
        if name in self._redis:
            return streams.answers(self._redis[name])
        stage = self._programs[name].stage
        return self._web_answers() if stage is None else self._beats(stage, pid)

    def _beats(self, stage: str, pid: int) -> bool:
        try:
            workers = beats.workers(self._redis["state"], stage)
        except streams.RedisError:
            return False
        return f"{socket.gethostname()}-{pid}" in workers

    def _web_answers(self) -> bool:
        """Any answer will do: it is 503 while stages load."""
        return self._health() is not None

    def healthy(self) -> bool:
        """A conversation is possible, as the web says."""
        return bool((self._health() or {}).get("ok"))

    def _health(self) -> dict[str, object] | None:
        try:
            connection = self._connection()
            connection.request("GET", "/v1/health")
            answer = json.loads(connection.getresponse().read())
            connection.close()
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    def _connection(self) -> http.client.HTTPConnection:
        near, port = self._address.near, self._address.port
        if not self._address.tls:
            return http.client.HTTPConnection(near, port, timeout=ANSWER_DEADLINE_S)
        # It is our own certificate, on our own machine
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(near, port, timeout=ANSWER_DEADLINE_S, context=context)
