"""Several servers of one model: which to ask next, and which to pass over for a while. Pure but for its clock."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, SecretStr

from config.environment import by_commas

#: A server that fails at every probe is asked this many times more rarely in the end.
RAREST = 8


class Upstream(BaseModel, frozen=True):
    """One server."""

    url: str = Field(pattern=r"^https?://[^\s,]+$")
    """Base URL, with its /v1."""
    model: str = ""
    """Name of the model as this server knows it; empty: as the engine's `model`."""
    api_key: SecretStr = SecretStr("")
    """Sent as a Bearer token to this server and no other. Never logged."""

    @property
    def headers(self) -> dict[str, str]:
        """Of each request to it."""
        key = (
            self.api_key.get_secret_value().strip()
        )  # a file's last line end, which HTTP refuses by showing the key
        return {"Authorization": f"Bearer {key}"} if key else {}


def listed(value: Any) -> Any:
    """A list of servers as one may write it: URLs, or all of it; in an environment variable, URLs and commas."""
    value = by_commas(value)
    if not isinstance(value, list | tuple):
        return value
    return [{"url": entry} if isinstance(entry, str) else entry for entry in value]


@dataclass
class _Circuit:
    failures: int = 0
    """In a row; 0: it is well."""
    until: float = 0.0
    probing: bool = False


class Circuits:
    """Which of `count` servers, in order of preference, are well.

    One that failed is passed over until it has cooled down; then one request at a time probes it. Where all are down
    they are asked all the same: an error later is no worse than one at once.
    """

    def __init__(self, count: int, cool_down_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._circuits = [_Circuit() for _ in range(count)]
        self._cool_down_s = cool_down_s
        self._clock = clock

    def next(self, tried: Collection[int]) -> int | None:
        """The server to ask now; None when all were tried. Tell how it went: succeeded, failed or dropped."""
        left = [number for number in range(len(self._circuits)) if number not in tried]
        if not left:
            return None
        number = next(filter(self._usable, left), left[0])
        circuit = self._circuits[number]
        circuit.probing = circuit.failures > 0
        return number

    def first(self) -> int | None:
        """The server that is preferred now, for what may as well not be done; None: all are down or being probed."""
        return next((number for number, circuit in enumerate(self._circuits) if not circuit.failures), None)

    def _usable(self, number: int) -> bool:
        circuit = self._circuits[number]
        return not circuit.failures or (circuit.until <= self._clock() and not circuit.probing)

    def succeeded(self, number: int) -> None:
        """It said something."""
        self._circuits[number] = _Circuit()

    def failed(self, number: int) -> None:
        """It did not; passed over for longer each time."""
        circuit = self._circuits[number]
        circuit.probing = False
        factor = min(2**circuit.failures, RAREST)
        circuit.failures += 1
        circuit.until = self._clock() + self._cool_down_s * factor

    def dropped(self, number: int) -> None:
        """Nobody waited for the outcome."""
        self._circuits[number].probing = False
