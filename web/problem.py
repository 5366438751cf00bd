"""Errors as HTTP tells them: a status, the OpenAI API's JSON, and when or how to try again."""

from flask import Response, jsonify

from config.errors import AntiphonError, ClientError, KeyRefused, TooMany

#: How to come in, for programs that ask (RFC 6750).
CHALLENGE = 'Bearer realm="antiphon"'


def problem(error: AntiphonError) -> Response:
    """The whole answer."""
    told = {
        "type": error.type,
        "code": error.wire_code if isinstance(error, ClientError) else error.code,
        "message": str(error),
        "param": getattr(error, "param", None),
    }
    answer = jsonify({"error": told})
    answer.status_code = error.http_status
    if isinstance(error, KeyRefused):
        answer.headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, TooMany):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer
