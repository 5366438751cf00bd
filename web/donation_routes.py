"""HTTP: voice donations. Errors are told in both shapes: `detail` for Unmute's clients, `error` as everywhere else."""

from flask import Blueprint, Response, jsonify, request

from config.errors import AntiphonError, RedisAway
from config.metrics import errors
from tasks.streams import RedisError
from web.answering import answered
from web.problem import code_of, problem
from web.runtime import runtime

donation = Blueprint("donation", __name__)


@donation.errorhandler(AntiphonError)
def refused(error: AntiphonError) -> Response:
    """What is wrong, and where."""
    errors.labels(code_of(error)).inc()
    return problem(error, detail=True)


@donation.errorhandler(RedisError)
def redis_away(error: RedisError) -> Response:
    """It can be asked for again when Redis is back."""
    return refused(RedisAway(type(error).__name__))


@donation.get("/v1/voice-donation")
def begin() -> Response:
    """A text to read aloud, and the id under which the recording of it is taken."""
    return answered(runtime().donations.begin())


@donation.post("/v1/voice-donation")
def submit() -> Response:
    """Takes the recording in the form's field `file`, with `metadata` about who gives it."""
    runtime().donations.submit(request.environ)
    return jsonify({})
