"""Errors over HTTP: all of them JSON in OpenAI's shape, whoever raised them, for the whole app."""

import logging
import re

import msgspec
from flask import Blueprint, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import RequestRedirect, WebsocketMismatch

from config.errors import AntiphonError, ClientError, RedisAway
from config.metrics import errors
from tasks.streams import RedisError
from web.answers import Error, ErrorAnswer

log = logging.getLogger(__name__)

#: Who is told to come again may do so after so long: what was away is back by then, or they are told again.
RETRY_AFTER_S = 2

#: What went wrong, by status, where it has another name in OpenAI's answers or none in HTTP that a program would like.
CODES = {413: "request_too_large", 500: "internal_error"}

#: What werkzeug says to everybody is for people in front of a page.
MESSAGES = {
    404: "there is nothing at this address; GET /v1/openapi.json lists what there is",
    413: "the request is larger than anything that is taken here",
    500: "the server failed at this request; its log says why",
}


def answered(told: object, status: int = 200) -> Response:
    """A struct of `web.answers` as a response."""
    return Response(msgspec.json.encode(told), status, content_type="application/json")


def error_of(error: AntiphonError) -> Error:
    """As it looks in JSON."""
    code = error.wire_code if isinstance(error, ClientError) else error.code
    return Error(error.type, code, str(error), getattr(error, "param", None))


def refused(error: AntiphonError) -> Response:
    """The response to what raised it; counted."""
    told = error_of(error)
    errors.labels(told.code).inc()
    response = answered(ErrorAnswer(told), error.http_status)
    if error.retryable:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def redis_away(error: RedisError) -> Response:
    """Whatever was asked for: it can be asked for again when Redis is back."""
    return refused(RedisAway(f"Redis does not answer: {type(error).__name__}"))


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
        return Error("invalid_request_error", "websocket_mismatch", _mismatch(error))
    code = CODES.get(status) or re.sub(r"[^a-z]+", "_", error.name.lower())
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return Error(kind, code, MESSAGES.get(status) or error.description or error.name)


def _mismatch(_: WebsocketMismatch) -> str:
    return "conversations are held over a WebSocket at /v1/realtime, everything else is plain HTTP"


def handle(blueprint: Blueprint) -> None:
    """Makes them the answers of the whole app."""
    blueprint.app_errorhandler(AntiphonError)(refused)
    blueprint.app_errorhandler(RedisError)(redis_away)
    blueprint.app_errorhandler(HTTPException)(http_error)
