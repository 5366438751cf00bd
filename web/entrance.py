"""From a handshake to a session: which dialect, a new session or one that goes on, and its web lease."""

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from random import Random
from typing import Any

import msgspec

from config import metrics
from config import redis_keys as keys
from config.errors import AntiphonError, ClientError, MemoryFull, Overloaded, SessionTaken, SessionUnknown
from config.versions import VERSION
from tasks.leases import Refusal, Value
from tasks.redis_view import out_of_memory
from tasks.shared_time import shared_time
from tasks.streams import RedisError
from web import saved
from web.admission import Ticket
from web.casting import enact, play
from web.dialects.base import Dialect
from web.dialects.ga import GaDialect
from web.dialects.unmute import UnmuteDialect, last_words
from web.guard import Caller
from web.handshake import Handshake, dialect_name
from web.presence import Fate
from web.roles import Cloned, Role, find, speaker
from web.runtime import Runtime
from web.session import Session
from web.socket import ClientGone, ClientSocket
from web.waiting import digest, unknown, waiting

log = logging.getLogger(__name__)


def make_dialect(
    name: str, sid: str, runtime: Runtime, handshake: Handshake, *, resumed: bool = False
) -> Dialect:
    """A dialect's translator for one connection.

    resumed: its cloned voice was there once. If it is not any more, the next reply says so; the session is kept.
    """
    settings, cast = runtime.settings, runtime.roles
    cloned: Cloned = (lambda _: True) if resumed else runtime.uploads.made

    def today() -> dict[str, Any]:
        """What a prompt depends on, as it is now."""
        now, newest = datetime.now().astimezone(), runtime.headlines.newest
        return {"now": now, "dice": Random(sid), "headlines": newest}

    if name == "unmute":
        return UnmuteDialect(
            sid,
            settings.pacing.unmute_lead_ms,
            lambda instructions, voice: play(cast, instructions, voice, cloned=cloned, **today()),
            settings.turn.user_silence_timeout_s,
            settings.llm.window_tokens,
        )
    return GaDialect(
        sid,
        settings.pacing.lead_ms,
        Speakers(cast, cloned, resumed=resumed),
        lambda character, language: enact(cast, character, language, **today()),
        model=handshake.query.get("model", "antiphon")[:64],
        voice=find(cast, "").character.name,
        extensions=handshake.extensions,
        context_tokens=settings.llm.window_tokens,
        transcribes=handshake.transcribes,
    )


class Speakers:
    """Finds the engine's name for a voice. resumed: the session had one before; if its character was taken out of the
    voices file since, another goes on, once."""

    def __init__(self, roles: Sequence[Role], cloned: Cloned, *, resumed: bool) -> None:
        self._roles = roles
        self._cloned = cloned
        self._forgives = resumed

    def __call__(self, voice: str) -> str:
        """Raises ClientError with the names there are."""
        try:
            return speaker(self._roles, voice, param="session.audio.output.voice", cloned=self._cloned)
        except ClientError:
            if not self._forgives:
                raise
            self._forgives = False
            return find(self._roles, "").voice


def admit(runtime: Runtime, socket: ClientSocket, handshake: Handshake, caller: Caller) -> Fate:
    """Serves a connection to its end. What goes wrong before a session stands closes it with a reason."""
    token = handshake.resume_token
    before = Fate.ELSEWHERE if token else Fate.OVER
    if dialect_name(handshake) == UnmuteDialect.name:
        socket.last_words = last_words
    try:
        if runtime.closing:
            raise SessionTaken("the server restarts; reconnect to go on")
        session = (
            _resume(runtime, socket, handshake, token)
            if token
            else _begin(runtime, socket, handshake, caller)
        )
    except AntiphonError as error:
        if not isinstance(error, Overloaded):  # admission has counted that one, and knows why
            metrics.sessions_refused.labels(error.code).inc()
        socket.close(error.close_code or 1008, str(error))
        return before
    except RedisError as error:
        without_redis(socket, error)
        return before
    except ClientGone:
        log.info("a client did not wait to be let in")
        return before
    return session.run()


def without_redis(socket: ClientSocket, error: RedisError) -> None:
    """No session can begin: the client is told to come again."""
    metrics.sessions_refused.labels("redis_away").inc()
    log.warning("a session could not begin without Redis: %s", type(error).__name__)
    if out_of_memory(error):
        socket.close(1013, str(MemoryFull()))
    else:
        socket.close(1012, "the server lost its memory for a moment; reconnect to go on")


def _begin(runtime: Runtime, socket: ClientSocket, handshake: Handshake, caller: Caller) -> Session:
    _require_here(socket)
    sid, secret = secrets.token_hex(16), secrets.token_urlsafe(24)
    dialect = make_dialect(dialect_name(handshake), sid, runtime, handshake)
    if caller.session and isinstance(dialect, GaDialect):
        dialect.preset(caller.session)
    fields: dict[str, Value] = {
        keys.TOKEN: digest(secret),
        keys.REPLY: "0",
        keys.VERSION: VERSION,
        keys.SINCE: shared_time.now_s(),
        keys.DIALECT: dialect.name,
        keys.OWNER: caller.mark,
        keys.MEMBER: caller.member,
    }
    with _place(runtime, sid, first=False) as ticket:
        runtime.leases.create(sid, fields, runtime.settings.ownership.session_s)
        return _claimed(runtime, socket, dialect, f"{sid}.{secret}", None, ticket)


def _resume(runtime: Runtime, socket: ClientSocket, handshake: Handshake, token: str) -> Session:
    found = waiting(runtime.leases, token)
    try:
        before = saved.decode(found.state)
    except msgspec.DecodeError as error:
        raise SessionUnknown("this session was saved by another version; connect anew") from error
    dialect = make_dialect(before.dialect, found.sid, runtime, handshake, resumed=True)
    dialect.restore(before.snapshot)
    _require_here(socket)
    with _place(runtime, found.sid, first=True) as ticket:
        _require_here(
            socket
        )  # the last moment: the session may go on over a later connection of the same client
        return _claimed(runtime, socket, dialect, token, before, ticket)


def _require_here(socket: ClientSocket) -> None:
    """Who gave up waiting takes no place, and no session from the connection that came after. Raises ClientGone."""
    if socket.hung_up:
        raise ClientGone


def _claimed(
    runtime: Runtime,
    socket: ClientSocket,
    dialect: Dialect,
    token: str,
    before: saved.Saved | None,
    ticket: Ticket,
) -> Session:
    lease = runtime.leases.claim("web", ticket.sid, runtime.name, seize=True)
    if isinstance(lease, Refusal):
        raise unknown()
    return Session(runtime, socket, dialect, lease, token, before, ticket)


@contextmanager
def _place(runtime: Runtime, sid: str, *, first: bool) -> Iterator[Ticket]:
    """A place, given back if nothing comes of it."""
    ticket = runtime.admission.ask(sid, first=first)
    try:
        yield ticket
    except BaseException:
        ticket.give_back(over=not first)  # a session that goes on keeps its place while it waits
        raise
