"""`POST /v1/realtime/client_secrets`: ephemeral keys for browsers, each with the session that it carries. Shapes:
openai-python, `types/realtime/client_secret_create_*`."""

import secrets
import time
from typing import Annotated, Any, Literal

import gevent
import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from config import api_keys
from config.errors import AntiphonError, ClientError, RedisAway, TooMany, UploadSlow
from tasks import ephemeral
from tasks.ephemeral import Ephemeral
from tasks.streams import RedisError
from web import door
from web.answering import answered
from web.answers import ClientSecret
from web.dialects.ga import GaDialect
from web.dialects.ga_session import MAX_SESSION_BYTES
from web.dialects.reading import misfit
from web.entrance import make_dialect
from web.guard import Guard
from web.handshake import Handshake
from web.problem import problem
from web.runtime import runtime

#: Life of a key that is not asked for with another; the API's own.
USUAL_S = 600

#: What a request has besides the session.
REST_BYTES = 1 << 10

#: By then all of it has come: 128 KiB over 256 kbit/s take 4 s.
RECEIVE_S = 5.0


class ExpiresAfter(msgspec.Struct):
    """How long a key lives."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, msgspec.Meta(ge=10, le=7200)] = USUAL_S


class ClientSecretAsked(msgspec.Struct):
    """The request."""

    expires_after: ExpiresAfter | None = None
    session: dict[str, Any] | None = None


def read(body: bytes) -> ClientSecretAsked:
    """Raises ClientError that names the field."""
    try:
        return msgspec.json.decode(body or b"{}", type=ClientSecretAsked)
    except msgspec.ValidationError as error:
        raise misfit(str(error)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ClientError("the body is not JSON, or nested too deeply", code="invalid_json") from error


def secrets_of(guard: Guard) -> Blueprint:
    """The route; who asks is limited as by beginning a conversation."""
    routes = Blueprint("client_secrets", __name__)

    @routes.post("/v1/realtime/client_secrets")
    def client_secrets() -> Response:
        try:
            guard.count(door.knock(), door.caller())
            return answered(_made(read(_body()), door.caller().mark))
        except RequestEntityTooLarge:
            return problem(
                ClientError(f"a session object may have {MAX_SESSION_BYTES} bytes", param="session")
            )
        except AntiphonError as error:
            return problem(error)
        except RedisError as error:
            return problem(RedisAway(type(error).__name__))

    return routes


def _body() -> bytes:
    """Raises RequestEntityTooLarge, and UploadSlow: who begins a request and does not go on must not stay for ever."""
    request.max_content_length = MAX_SESSION_BYTES + REST_BYTES
    with gevent.Timeout(RECEIVE_S, UploadSlow(f"the request did not arrive within {RECEIVE_S:g} s")):
        return request.get_data(cache=False)


def _made(asked: ClientSecretAsked, owner: str) -> ClientSecret:
    """The answer. Raises ClientError, TooMany and RedisError."""
    shared, session = runtime(), asked.session or {}
    shown = _effective(session)
    life_s = (asked.expires_after or ExpiresAfter()).seconds
    expires_at = int(time.time()) + life_s
    secret, rules = api_keys.new_secret(api_keys.EPHEMERAL_PREFIX), shared.settings.auth
    key = Ephemeral(owner, expires_at, session)
    try:
        wait_ms = ephemeral.keep(
            shared.state, api_keys.digest(secret), key, life_s, rules.ephemeral_keys, rules.ephemeral_bytes
        )
    except OverflowError as error:
        raise ClientError("a number in the session has more than 64 bits", param="session") from error
    if wait_ms:
        wait_s = -(-wait_ms // 1000)
        raise TooMany(
            f"this API key may have {rules.ephemeral_keys} ephemeral keys, with {rules.ephemeral_bytes >> 20} MiB of "
            f"sessions; the first expires in {wait_s} s",
            wait_s,
        )
    return ClientSecret(secret, expires_at, shown)


def _effective(session: dict[str, Any]) -> dict[str, Any]:
    """The session as it will begin. Raises ClientError for what does not fit."""
    dialect = make_dialect("ga", secrets.token_hex(16), runtime(), Handshake({}, (), authorized=True))
    assert isinstance(dialect, GaDialect)
    return dialect.preset(session)
