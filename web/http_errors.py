"""Errors over HTTP: all of them JSON in OpenAI's shape, whoever raised them, for the whole app."""

import re

from flask import Blueprint, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import RequestRedirect, WebsocketMismatch
from wsproto.events import RejectConnection
from wsproto.utilities import RemoteProtocolError

from config.errors import AntiphonError, RedisAway
from config.metrics import errors
from tasks.streams import RedisError
from web.answering import answered
from web.answers import Error, ErrorAnswer
from web.problem import code_of, problem

#: What went wrong, by status, where it has another name in OpenAI's answers or none in HTTP that a program would like.
CODES = {413: "request_too_large", 500: "internal_error"}

#: What werkzeug says to everybody is for people in front of a page.
MESSAGES = {
    404: "there is nothing at this address; GET /v1/openapi.json lists what there is",
    413: "the request is larger than anything that is taken here",
    500: "the server failed at this request; its log says why",
}

MISMATCH = "conversations are held over a WebSocket at /v1/realtime, everything else is plain HTTP"


HANDSHAKE = "this is not the handshake of a WebSocket (RFC 6455): {}"


def refused(error: AntiphonError) -> Response:
    """The response to what raised it; counted."""
    errors.labels(code_of(error)).inc()
    return problem(error)


def redis_away(error: RedisError) -> Response:
    """Whatever was asked for: it can be asked for again when Redis is back."""
    return refused(RedisAway(type(error).__name__))


def no_handshake(error: RemoteProtocolError) -> Response:
    """A WebSocket was asked for in a way that makes none; no connection stands yet."""
    said = Error("invalid_request_error", "bad_handshake", HANDSHAKE.format(error))
    hint = error.event_hint
    if not isinstance(hint, RejectConnection):
        return answered(ErrorAnswer(said), 400)
    answer = answered(ErrorAnswer(said), hint.status_code)
    for name, value in hint.headers:  # the version that is spoken here
        answer.headers[name.decode()] = value.decode()
    return answer


def http_error(error: HTTPException) -> Response | HTTPException:
    """What Flask itself refuses. Headers of the refusal, such as the methods that are allowed, stay."""
    if isinstance(error, RequestRedirect) or error.code is None:
        return error
    response = answered(ErrorAnswer(_told(error, error.code)), error.code)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _told(error: HTTPException, status: int) -> Error:
    if isinstance(error, WebsocketMismatch):
        return Error("invalid_request_error", "websocket_mismatch", MISMATCH)
    code = CODES.get(status) or re.sub(r"[^a-z]+", "_", error.name.lower())
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return Error(kind, code, MESSAGES.get(status) or error.description or error.name)


def handle(blueprint: Blueprint) -> None:
    """Makes them the answers of the whole app."""
    blueprint.app_errorhandler(AntiphonError)(refused)
    blueprint.app_errorhandler(RedisError)(redis_away)
    blueprint.app_errorhandler(HTTPException)(http_error)
    blueprint.app_errorhandler(RemoteProtocolError)(no_handshake)
