"""The WSGI application: `gunicorn -c python:web.gunicorn web.app:app`."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, request
from flask_sock import Sock
from simple_websocket import Server

from config import logs, metrics
from config.settings import load
from tasks.streams import RedisError
from web import door, session_metrics, startup
from web.client_secrets import secrets_of
from web.donation_routes import donation
from web.entrance import admit, without_redis
from web.fair_share import FairShare
from web.guard import Guard
from web.handshake import RESUME_HEADER, Handshake
from web.keyring import Keyring
from web.page_routes import page
from web.prefix import Prefixed
from web.routes import http
from web.runtime import begin, drain, flush, runtime
from web.socket import ClientSocket, NoThread
from web.visitor import has_bearer


class NoDeflate:
    """Takes the offer of compression away: it costs more CPU than the whole session, and audio does not shrink."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Passes the request on."""
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        return self._app(environ, start_response)


def create_app() -> Flask:
    """The app; Redis is not touched before the first request."""
    settings = load()
    logs.set_up(settings, "web")
    metrics.announce()
    flask = Flask(__name__)
    flask.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["realtime"], "thread_class": NoThread}
    keyring = Keyring(settings.auth)
    guard = Guard(settings.auth, keyring, runtime)
    door.Door(guard, settings.auth).install(flask)
    for blueprint in (http, secrets_of(guard), donation, page):
        flask.register_blueprint(blueprint)
    sock = Sock(flask)

    @sock.route("/v1/realtime")
    def realtime(server: Server) -> None:
        limits = settings.limits
        client = ClientSocket(
            server,
            message_bytes=limits.message_bytes,
            spill_bytes=limits.spill_bytes,
            silent_s=limits.client_silent_s,
            share=FairShare(limits.client_share, limits.client_burst_s, time.monotonic()),
        )
        handshake = Handshake(
            query=request.args.to_dict(),
            subprotocols=door.subprotocols(),
            authorized=has_bearer(request.headers.get("Authorization", "")),
            resume_header=request.headers.get(RESUME_HEADER, ""),
        )
        with session_metrics.connection():
            try:
                shared = door.known(runtime)
            except RedisError as error:
                without_redis(client, error)
                return
            with shared.pinger.watching(client.ping):
                door.parts(admit(shared, client, handshake, door.caller()))

    flask.extensions["antiphon_begin"] = begin
    flask.extensions["antiphon_drain"] = drain
    flask.extensions["antiphon_flush"] = flush
    flask.extensions["antiphon_reload"] = lambda: runtime().reload()
    flask.extensions["antiphon_check"] = lambda: startup.check(settings, keyring)
    flask.wsgi_app = NoDeflate(Prefixed(flask.wsgi_app))  # type: ignore[method-assign]
    return flask


app = create_app()
