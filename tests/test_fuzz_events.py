"""Whatever a client sends, both dialects answer with requests or with one clear error, and soon."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from config.errors import ClientError
from config.messages import decode_order, encode
from web import prompt, saved
from web.casting import Part
from web.characters import instructions
from web.dialects import ga_events, unmute_events
from web.dialects.base import AddItem, Configure, CreateReply, Dialect, Request
from web.dialects.ga import GaDialect
from web.dialects.unmute import UnmuteDialect
from web.items import Item
from web.turn import Turn
from tests import wild

SERVER = TypeAdapter(RealtimeServerEvent)

#: Room of the embedded model.
CONTEXT_TOKENS = 4096

ga_messages = wild.written(
    st.one_of(
        wild.bent(wild.fitting(ga_events.ClientEvent)),
        wild.updates(ga_events.SessionUpdate, ga_events.SessionConfig),
        wild.anything,
    )
)
unmute_messages = wild.written(st.one_of(wild.bent(wild.fitting(unmute_events.ClientEvent)), wild.anything))


def speaker(voice: str) -> str:
    if voice == "nobody":
        raise ClientError(
            "there is no voice 'nobody'", code="voice_not_found", param="session.audio.output.voice"
        )
    return voice


def ga() -> GaDialect:
    return GaDialect(
        "0123456789abcdef", 160, speaker, extensions=frozenset(("antiphon",)), context_tokens=CONTEXT_TOKENS
    )


def casting(wanted: object, voice: str) -> Part:
    """What it is told is checked as the server checks it."""
    told = instructions(wanted)
    return Part(f"You: {told.text or told.type}", voice, told.language or "en")


def unmute() -> UnmuteDialect:
    return UnmuteDialect("0123456789abcdef", 320, casting, context_tokens=CONTEXT_TOKENS)


def answers(dialect: Dialect, raw: str) -> tuple[list[Request], list[str]]:
    """What a session makes of a message."""
    try:
        requests = dialect.receive(raw)
    except ClientError as error:
        return [], dialect.error(error)
    return requests, dialect.configured() if Configure() in requests else []


def require_storable(dialect: Dialect, requests: list[Request]) -> None:
    """What is kept of it can be saved, read again, and given to workers."""
    items = [request.item for request in requests if isinstance(request, AddItem)]
    options = [request.options for request in requests if isinstance(request, CreateReply)]
    for option in options or [None]:
        state = saved.Saved(dialect.name, dialect.snapshot(), Turn(), items, {}, 0, options=option)
        assert saved.encode(saved.decode(saved.encode(state))) == saved.encode(state)
        wishes = option.wishes if option else dialect.wishes
        said: list[Item] = items if option is None or option.input is None else option.input
        if (order := prompt.draft(1, wishes, said, CONTEXT_TOKENS)) is not None:
            assert decode_order(encode(order)) == order


@given(raw=ga_messages)
def test_a_ga_client_gets_requests_or_an_error_that_its_sdk_understands(raw: str) -> None:
    assume(wild.utf8(raw))
    dialect = ga()
    requests, told = answers(dialect, raw)
    for message in told:
        SERVER.validate_python(json.loads(message), strict=False)
    require_storable(dialect, requests)
    ga().restore(dialect.snapshot())


@given(raw=unmute_messages)
def test_an_unmute_client_gets_requests_or_an_error(raw: str) -> None:
    assume(wild.utf8(raw))
    dialect = unmute()
    requests, told = answers(dialect, raw)
    for message in told:
        assert json.loads(message)["type"] in ("error", "session.updated")
    require_storable(dialect, requests)
    unmute().restore(dialect.snapshot())


def update(session: str) -> str:
    return '{"type": "session.update", "event_id": "event_7", "session": %s}' % session
