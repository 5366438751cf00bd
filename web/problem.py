"""Errors as HTTP tells them: a status, the OpenAI API's JSON, and when or how to try again."""

from flask import Response
from msgspec import UNSET

from config.errors import AntiphonError, ClientError, KeyRefused
from web.answering import answered
from web.answers import Error, ErrorAnswer

#: How to come in, for programs that ask (RFC 6750).
CHALLENGE = 'Bearer realm="antiphon"'

#: Who is told to come again may do so after so long: what was away is back by then, or they are told again.
RETRY_AFTER_S = 2


def told(error: AntiphonError) -> Error:
    """In JSON."""
    return Error(error.type, code_of(error), str(error), getattr(error, "param", None))


def code_of(error: AntiphonError) -> str:
    """What programs know it by."""
    return error.wire_code if isinstance(error, ClientError) else error.code


def problem(error: AntiphonError, *, detail: bool = False) -> Response:
    """The whole answer. detail: with the message where Unmute's clients look for it, too."""
    answer = answered(ErrorAnswer(told(error), str(error) if detail else UNSET), error.http_status)
    if isinstance(error, KeyRefused):
        answer.headers["WWW-Authenticate"] = CHALLENGE
    if error.retryable:
        answer.headers["Retry-After"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    return answer
