"""The door, in Flask: every request is judged before its route, a WebSocket's before its upgrade.

What is not named here wants a key, so that nobody forgets to ask for one.
"""

import logging
from collections.abc import Callable
from typing import TypeVar, cast

from flask import Flask, Response, g, request

from config import metrics
from config.auth import AuthSettings
from config.errors import AntiphonError, RedisAway, SessionUnknown
from tasks.streams import RedisError
from web.guard import REALTIME, Caller, Guard, Knock
from web.handshake import RESUME_HEADER, resume_token
from web.patience import promptly
from web.presence import Fate, Stay
from web.problem import problem
from web.visitor import Visitor, key_of

log = logging.getLogger(__name__)

Shared = TypeVar("Shared")

#: Nobody is asked for a key there: whether and how well the server works, which Prometheus, balancers and autoscalers
#: ask. It names no session; proxies keep what is for operators from the rest of the world.
PUBLIC = frozenset({"/", "/v1/health", "/v1/scale", "/metrics", "/v1/openapi.json"})

#: What is a session's own wants its resume token, which the route asks for, and no key.
OF_SESSIONS = "/v1/sessions/"

#: Files of the page; who opens it is asked for a key there, where one is wanted.
OF_PAGE = "/page/"

#: A browser that was told what it may ask need not ask again for so long.
PREFLIGHT_S = 600

#: Headers by which proxies say that they stand between.
OF_PROXIES = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


class Door:
    """Stands before all routes of an app."""

    def __init__(self, guard: Guard, rules: AuthSettings) -> None:
        self._guard = guard
        self._rules = rules

    def install(self, flask: Flask) -> None:
        """From here on."""
        flask.before_request(self.before)
        flask.after_request(self.after)
        flask.teardown_request(self.over)

    def before(self) -> Response | None:
        """Lets the request pass (None), or answers it."""
        if request.path in PUBLIC or request.path.startswith(OF_PAGE):
            return None
        if request.method == "OPTIONS" and visitor().may_come_from(self._rules.origins):
            return Response(status=204)  # a browser asks what it may ask; it sends no key with that
        try:
            if request.path.startswith(OF_SESSIONS):
                self._guard.count_request(knock())
            else:
                g.caller, g.stay = self._judged(knock())
        except AntiphonError as error:
            return refused(error)
        except RedisError as error:
            if not _upgrades():
                return refused(RedisAway(type(error).__name__))
            g.redis_error = error  # said with a close code, as to who is here already: SDKs come again then
        return None

    def _judged(self, asks: Knock) -> tuple[Caller, Stay | None]:
        """A conversation may wait for Redis to come back; who asks something is told at once that it is away."""
        return self._guard.judge(asks) if _upgrades() else promptly(lambda: self._guard.judge(asks))

    def after(self, answer: Response) -> Response:
        """A token that was wrong is counted; a page of another origin that is allowed may read the answer, and send any
        header: SDKs have their own."""
        if answer.status_code == SessionUnknown.http_status and request.path.startswith(OF_SESSIONS):
            try:
                self._guard.mistook(knock())
            except AntiphonError as error:
                answer = refused(error)
        asks = visitor()
        if asks.origin and asks.may_come_from(self._rules.origins) and not asks.is_same_origin():
            answer.headers["Access-Control-Allow-Origin"] = asks.origin
            answer.headers["Access-Control-Expose-Headers"] = "Retry-After"
            if request.method == "OPTIONS":
                wanted = request.headers.get("Access-Control-Request-Headers")
                answer.headers["Access-Control-Allow-Headers"] = wanted or "Authorization, Content-Type"
                answer.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
                answer.headers["Access-Control-Max-Age"] = str(PREFLIGHT_S)
            answer.headers.add("Vary", "Origin")
        return answer

    def over(self, _error: BaseException | None) -> None:
        """A conversation's connection counts no more."""
        if stay := g.pop("stay", None):
            stay.leave()


def caller() -> Caller:
    """Who was let in with this request."""
    return cast(Caller, g.caller)


def parts(fate: Fate) -> None:
    """What becomes of the conversation whose connection is over."""
    if stay := g.get("stay"):
        stay.fate = fate


def known(runtime: Callable[[], Shared]) -> Shared:
    """The process's runtime, where Redis was there to judge who comes. Raises RedisError where it was not."""
    if error := g.get("redis_error"):
        raise error
    return runtime()


def refused(error: AntiphonError) -> Response:
    """The answer to somebody who is not let in; counted, where a conversation was wanted."""
    if request.path == REALTIME:
        metrics.sessions_refused.labels(getattr(error, "wire_code", error.code)).inc()
        log.info("somebody was not let in: %s", error.code)
    return problem(error)


def visitor() -> Visitor:
    """Where the request comes from."""
    headers = request.headers
    return Visitor(
        peer=request.remote_addr or "",
        forwarded=",".join(headers.getlist("X-Forwarded-For")),
        by_proxy=any(name in headers for name in OF_PROXIES),
        host=headers.get("Host", ""),
        origin=headers.get("Origin", ""),
    )


def knock() -> Knock:
    """The request, as it is judged."""
    realtime = request.path == REALTIME
    offered = subprotocols() if realtime else ()
    return Knock(
        visitor=visitor(),
        secret=key_of(request.headers.get("Authorization", ""), offered),
        token=resume_token(offered, request.headers.get(RESUME_HEADER, "")) if realtime else "",
        path=request.path,
    )


def subprotocols() -> tuple[str, ...]:
    """What a WebSocket's client offers."""
    offered = ",".join(request.headers.getlist("Sec-WebSocket-Protocol"))
    return tuple(part.strip() for part in offered.split(",") if part.strip())


def _upgrades() -> bool:
    return request.path == REALTIME and request.headers.get("Upgrade", "").lower() == "websocket"
