"""The addresses by which Unmute's front end asks when it was built for a proxy: `/api` before those of its backend.

Unmute's own proxy takes the prefix away. One that cannot may send `/api/` here as it is. No more than that front end
asks for has such an address: what proxies keep from the world by its path must not be there under a second one.
"""

from collections.abc import Callable, Iterable
from typing import Any

PREFIX = "/api"

SERVED = frozenset({"/v1/realtime", "/v1/health", "/v1/voices", "/v1/voice-donation"})


class Prefixed:
    """Before a WSGI application."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Passes the request on."""
        path: str = environ.get("PATH_INFO", "")
        if path.startswith(PREFIX) and (bare := path.removeprefix(PREFIX)) in SERVED:
            environ["PATH_INFO"] = bare
        return self._app(environ, start_response)
