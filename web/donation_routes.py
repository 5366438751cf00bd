"""HTTP: voice donations. Errors are told in both shapes: `detail` for Unmute's clients, `error` as everywhere else."""

import msgspec
from flask import Blueprint, Response, jsonify, request

from config.errors import AntiphonError, ClientError
from config.metrics import errors
from tasks.streams import RedisError
from web.runtime import runtime

donation = Blueprint("donation", __name__)


@donation.errorhandler(AntiphonError)
def refused(error: AntiphonError) -> tuple[Response, int]:
    """What is wrong, and where."""
    wire_code = error.wire_code if isinstance(error, ClientError) else error.code
    errors.labels(wire_code).inc()
    told = {
        "type": error.type, "code": wire_code, "message": str(error), "param": getattr(error, "param", None),
    }  # fmt: skip
    return jsonify({"detail": str(error), "error": told}), error.http_status


@donation.errorhandler(RedisError)
def redis_away(error: RedisError) -> tuple[Response, int]:
    """It can be asked for again when Redis is back."""
    why = f"Redis does not answer: {type(error).__name__}"
    return jsonify({"detail": why, "error": why}), 503


@donation.get("/v1/voice-donation")
def begin() -> Response:
    """A text to read aloud, and the id under which the recording of it is taken."""
    return jsonify(msgspec.to_builtins(runtime().donations.begin()))


@donation.post("/v1/voice-donation")
def submit() -> Response:
    """Takes the recording in the form's field `file`, with `metadata` about who gives it."""
    runtime().donations.submit(request.environ)
    return jsonify({})
