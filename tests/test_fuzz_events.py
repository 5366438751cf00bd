"""Whatever a client sends, both dialects answer with requests or with one clear error, and soon."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from config.errors import ClientError
from config.messages import decode_order, encode
from config.tuning import LimitSettings
from tests import wild
from tests.pages import sealed
from web import prompt, saved
from web.casting import Part
from web.characters import instructions
from web.dialects import ga_events, unmute_events
from web.dialects.base import AddItem, Configure, CreateReply, Dialect, Request
from web.dialects.ga import GaDialect
from web.dialects.ga_character import PARAM
from web.dialects.unmute import UnmuteDialect
from web.items import Item
from web.ogg import OggOpusWriter
from web.turn_state import Turn

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
        "0123456789abcdef",
        160,
        speaker,
        actor,
        extensions=frozenset(("antiphon",)),
        context_tokens=CONTEXT_TOKENS,
    )


def actor(name: str, language: str) -> Part:
    """All that are asked for are there, but one."""
    if name == "Nobody":
        raise ClientError("there is no character 'Nobody'", code="character_not_found", param=PARAM)
    return Part(f"You are {name}.", name, language or "en")


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


LONGEST = LimitSettings().message_bytes

#: CPU time that no message may take: others wait meanwhile, and audio of 160 ms is all that clients have in hand.
MOST_S = 0.1


def update(session: str) -> str:
    return f'{{"type": "session.update", "session": {session}}}'


def create(item: str) -> str:
    return f'{{"type": "conversation.item.create", "item": {item}}}'


def filled(one: str, size: int) -> str:
    return ", ".join([one] * (size // (len(one) + 2)))


def numbered(one: str, size: int) -> str:
    return ", ".join(one.replace("#", str(n)) for n in range(size // (len(one) + 6)))


#: Messages of about so many bytes, each of another kind that might take longer than it is long.
LARGE: dict[str, Callable[[int], str]] = {
    "a name": lambda size: f'{{"type": "{"x" * size}"}}',
    "an unknown event": lambda size: f'{{"type": {"[" * 300}{filled("1", size)}{"]" * 300}}}',
    "brackets": lambda size: "[" * size,
    "objects": lambda size: '{"a":' * (size // 5),
    "a deep session": lambda size: update('{"tools": ' + "[" * (size // 2) + "]" * (size // 2) + "}"),
    "a wide session": lambda size: update(f'{{"tools": [{filled("[[[[1]]]]", size)}]}}'),
    "many fields": lambda size: update(f"{{{numbered(FIELD, size)}}}"),
    "one field many times": lambda size: update(f'{{{filled(chr(34) + "instructions" + chr(34) + ": null", size)}}}'),
    "many tools": lambda size: update(f'{{"tools": [{numbered(TOOL, size)}]}}'),
    "a tool with many arguments": lambda size: update(
        f'{{"tools": [{TOOL[:-1]}, "parameters": {{{numbered(FIELD, size)}}}}}]}}'
    ),
    "instructions": lambda size: update(f'{{"instructions": "{"word " * (size // 5)}"}}'),
    "escapes": lambda size: update(f'{{"instructions": "{chr(92) + "u00e9"}{(chr(92) + "u00e9") * (size // 6)}"}}'),
    "a long number": lambda size: update(f'{{"max_output_tokens": {"9" * size}}}'),
    "a long fraction": lambda size: update(f'{{"temperature": 0.{"9" * size}}}'),
    "a message": lambda size: create(ITEM.replace("Hello.", "x" * size)),
    "parts": lambda size: create(f'{{"type": "message", "role": "user", "content": [{filled("{}", size)}]}}'),
    "inputs": lambda size: f'{{"type": "response.create", "response": {{"input": [{filled(ITEM, size)}]}}}}',
    "sound": lambda size: wild.append(bytes(size * 3 // 4)),
    "no base64": lambda size: f'{{"type": "input_audio_buffer.append", "audio": "{"!" * size}"}}',
    "pages' beginnings": lambda size: wild.append(b"OggS" * (size * 3 // 16)),
    "empty pages": lambda size: wild.append(EMPTY_PAGE * (size * 3 // 4 // len(EMPTY_PAGE))),
    "pages that lie": lambda size: wild.append((b"OggS" + bytes(22) + b"\xff") * (size * 3 // 4 // 27)),
    "a page of many packets": lambda size: wild.append(MANY_PACKETS * (size * 3 // 4 // len(MANY_PACKETS))),
}  # fmt: skip

FIELD = '"k#": 1'
TOOL = '{"type": "function", "name": "f#"}'
ITEM = '{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}'
HEAD = OggOpusWriter(1).head()
EMPTY_PAGE = sealed(b"OggS" + bytes(22) + b"\0")
MANY_PACKETS = HEAD + OggOpusWriter(1).pages([b"\x08"] * 255)


def cpu_s(dialect: Dialect, raw: str) -> float:
    """The least of some times: what else the machine does is not counted."""
    took = []
    for _ in range(3):
        began = time.thread_time()
        answers(dialect, raw)
        took.append(time.thread_time() - began)
    return min(took)


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("new", [ga, unmute], ids=["ga", "unmute"])
def test_the_largest_message_takes_no_longer_than_others_can_wait(new, kind: str) -> None:
    small, large = LARGE[kind](LONGEST // 16)[: LONGEST // 16 + 200], LARGE[kind](LONGEST - 1000)
    assert LONGEST * 0.6 < len(large) <= LONGEST
    assert cpu_s(new(), large) < max(MOST_S / 10, 4 * 16 * cpu_s(new(), small)), (
        "it grows with the size, no faster"
    )
    assert cpu_s(new(), large) < MOST_S


# --- what was found


def test_an_event_of_very_many_parts_is_refused_before_it_is_read() -> None:
    for dialect in (ga(), unmute()):
        with pytest.raises(ClientError, match="10000 objects"):
            dialect.receive(update(f'{{"tools": [{filled("[]", 50_000)}]}}'))


@pytest.mark.parametrize(
    "field",
    [
        '"tracing": {"metadata": N}',
        '"tools": [{"type": "function", "name": "f", "parameters": {"a": [N]}}]',
        '"unknown": N',
    ],
)
@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40])
def test_a_whole_number_that_cannot_be_saved_is_refused(field: str, number: int) -> None:
    with pytest.raises(ClientError, match="beyond 64 bits") as error:
        ga().receive(update(f"{{{field.replace('N', str(number))}}}"))
    assert error.value.param == "session"


def test_in_a_response_too() -> None:
    parameters = f'{{"type": "function", "name": "f", "parameters": {{"a": {2**64}}}}}'
    with pytest.raises(ClientError, match="beyond 64 bits") as error:
        ga().receive(f'{{"type": "response.create", "response": {{"tools": [{parameters}]}}}}')
    assert error.value.param == "response"


def test_the_largest_number_that_can_be_saved_is_kept() -> None:
    dialect = ga()
    dialect.receive(
        update(f'{{"tools": [{TOOL[:-1]}, "parameters": {{"a": {2**64 - 1}, "b": {-(2**63)}}}}}]}}')
    )
    require_storable(dialect, [])


def test_variables_of_a_prompt_that_no_sdk_could_read_again_are_refused() -> None:
    with pytest.raises(ClientError) as error:
        ga().receive(update('{"prompt": {"id": "p", "variables": {"a": [1]}}}'))
    assert (error.value.param or "").startswith("session.prompt.variables")


@pytest.mark.parametrize("audio", ['{"type": "x"}', '{"input": {"type": "x"}}', '{"output": {"type": null}}'])
def test_a_type_where_there_is_none_takes_nothing_away(audio: str) -> None:
    dialect = ga()
    dialect.receive(update(f'{{"audio": {audio}}}'))
    (told,) = dialect.configured()
    SERVER.validate_python(json.loads(told), strict=False)
    assert json.loads(told)["session"]["audio"]["input"]["transcription"]["model"]
    assert json.loads(told)["session"]["audio"]["output"]["format"]


def test_a_tool_without_a_name_is_refused_before_a_worker_must() -> None:
    with pytest.raises(ClientError) as error:
        ga().receive(update('{"tools": [{"type": "function", "name": ""}]}'))
    assert error.value.param == "session.tools[0].name"


def test_a_message_in_many_parts_is_no_longer_than_one_in_one() -> None:
    part = f'{{"type": "input_text", "text": "{"x" * 15_000}"}}'
    with pytest.raises(ClientError, match="longer than 20000") as error:
        ga().receive(create(f'{{"type": "message", "role": "user", "content": [{part}, {part}]}}'))
    assert error.value.param == "item.content"


@pytest.mark.parametrize("session", ["null", "5", "[]", '{"a": 1e999}'])
def test_an_unmute_session_that_is_none_is_an_error_and_not_the_end(session: str) -> None:
    with pytest.raises(ClientError) as error:
        unmute().receive(update(session))
    assert (error.value.param or "").startswith("session")
