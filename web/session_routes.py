"""HTTP for the owner of a session, who shows its resume token: what was said in it."""

import msgspec
from flask import Blueprint, Response, request

from config import redis_keys as keys
from config.errors import ClientError, SessionUnknown, VersionRefused
from tasks.leases import Leases
from web import minutes, saved
from web.answers import Minutes
from web.handshake import RESUME_HEADER
from web.runtime import runtime
from web.waiting import fields_of

sessions = Blueprint("sessions", __name__)

#: Session ids on the wire have a prefix, as OpenAI's have.
PREFIX = "sess_"

SHOW = "show the resume token of this session: Authorization: Bearer TOKEN"


@sessions.get("/v1/sessions/<session_id>/transcript")
def transcript(session_id: str) -> Response:
    """Who said what, and when: as JSON, subtitles or text."""
    kind, write = minutes.FORMATS[_format()]
    told = owned(runtime().leases, session_id, shown_token())
    response = Response(write(told), content_type=kind if kind.endswith("json") else f"{kind}; charset=utf-8")
    response.headers["Vary"] = "Accept"
    return response


def shown_token() -> str:
    """The header for tokens comes first: a proxy may want Authorization for itself."""
    shown = request.authorization
    bearer = shown.token if shown is not None and shown.type == "bearer" else None
    return request.headers.get(RESUME_HEADER) or bearer or ""


def owned(leases: Leases, session_id: str, token: str) -> Minutes:
    """The minutes of a session whose token this is. Raises SessionUnknown, the same for a session that is not there."""
    sid = session_id.removeprefix(PREFIX)
    if token.partition(".")[0] != sid:
        raise SessionUnknown(SHOW)
    try:
        _, (state, closed) = fields_of(leases, token, [keys.STATE, keys.CLOSED])
    except SessionUnknown:
        raise SessionUnknown(SHOW) from None
    try:
        history = saved.decode(state).history if state else []
    except msgspec.DecodeError as error:
        raise VersionRefused("this session was saved by another version of the server") from error
    return minutes.minutes(PREFIX + sid, history, closed=bool(closed))


def _format() -> str:
    """What the query asks for, else what the client takes best."""
    wanted = request.args.get("format")
    if wanted is None:
        by_kind = {kind: name for name, (kind, _) in minutes.FORMATS.items()}
        best = request.accept_mimetypes.best_match(by_kind, default="application/json")
        return by_kind[best]
    if wanted not in minutes.FORMATS:
        raise ClientError(
            f"format is one of {', '.join(minutes.FORMATS)}", param="format", code="invalid_value"
        )
    return wanted
