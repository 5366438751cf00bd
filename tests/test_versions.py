"""Two releases side by side: what the one before says is understood, what the next one says too, and nobody else's.

`tests/data/` holds messages and sessions as version 1 wrote them: recorded then, never written anew.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from config import messages, metrics, versions, voice_messages
from config import redis_keys as keys
from config.errors import VersionRefused
from config.messages import Pause, Result, Unknown, VoiceStarted, Words, decode_order, decode_result, encode
from config.versions import VERSION, understands
from tests.house import Child, House, open_house, wait_for
from tests.talker import REPLY, Talker
from web import saved
from web.inbox import Inbox
from web.turn_state import Phase
from web.waiting import digest

DATA = Path(__file__).parent / "data"

RECORDED = json.loads((DATA / "messages-v1.json").read_text())["messages"]


def plain(message: object) -> Any:
    """As JSON would have it."""
    return msgspec.json.decode(msgspec.json.encode(message))


def named(one: dict[str, Any]) -> str:
    return f"{one['decoder'].removeprefix('decode_')} {one['kind']}"


each_recorded = pytest.mark.parametrize("recorded", RECORDED, ids=named)


def decoder(recorded: dict[str, Any]) -> Callable[[bytes], Any]:
    where = messages if hasattr(messages, recorded["decoder"]) else voice_messages
    found: Callable[[bytes], Any] = getattr(where, recorded["decoder"])
    return found


@each_recorded
def test_what_version_1_said_is_understood(recorded: dict[str, Any]) -> None:
    decoded = decoder(recorded)(base64.b64decode(recorded["data"]))
    said, now = recorded["said"], plain(decoded)
    if isinstance(said, list):  # new fields stand at the end
        assert now[: len(said)] == said or recorded["kind"] in _NESTED
        assert type(getattr(decoded, "body", decoded)).__name__ == recorded["kind"]
    else:
        assert {name: now[name] for name in said} == said


#: Their bodies may have grown inside, which the check above does not follow.
_NESTED: tuple[str, ...] = ("Words",)


def bodies(recorded: dict[str, Any], message: object) -> list[list[Any]]:
    """The message as this version writes it, and the part of it that a newer version could make longer."""
    value = msgspec.msgpack.decode(encode(message))
    return [value, value[-1]] if recorded["decoder"] == "decode_result" else [value]


@each_recorded
def test_fields_that_only_the_next_version_knows_are_dropped(recorded: dict[str, Any]) -> None:
    read = decoder(recorded)
    plainly = read(base64.b64decode(recorded["data"]))
    message = bodies(recorded, plainly)
    message[-1] += [{"mood": "curious"}, 7]  # into the body first: the envelope holds it
    longer = read(msgspec.msgpack.encode(message[0]))
    assert longer == plainly


@each_recorded
def test_fields_with_a_default_may_be_missing(recorded: dict[str, Any]) -> None:
    read = decoder(recorded)
    decoded = read(base64.b64decode(recorded["data"]))
    body = getattr(decoded, "body", decoded)
    defaults = [field for field in msgspec.structs.fields(body) if not field.required]
    message = bodies(recorded, decoded)
    if defaults:
        del message[-1][-len(defaults) :]
    shorter = read(msgspec.msgpack.encode(message[0]))
    shorter = getattr(shorter, "body", shorter)
    for field in msgspec.structs.fields(body):
        usual = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        expected = usual if field in defaults else getattr(body, field.name)
        assert getattr(shorter, field.name) == expected


# --- kinds of messages


def said(version: int, seq: int, body: list[Any]) -> bytes:
    return msgspec.msgpack.encode([version, "stt", 1, 0, seq, 0, body])


def test_a_kind_that_only_the_next_version_knows_leaves_no_hole_in_the_order() -> None:
    before = metrics.messages_dropped._value.get()
    stored = [
        said(VERSION + 1, 1, ["voice_started", 10]),
        said(VERSION + 1, 2, ["mood", "curious", 3]),
        said(VERSION + 1, 3, ["pause", 20, 200, 0.5]),
    ]
    reads = 0

    def read(*_: object) -> list[Result]:
        nonlocal reads
        reads += 1
        return []

    inbox = Inbox(read, {})
    taken = [r for data in stored for r in inbox.accept(decode_result(data), first_owner=True)]
    assert [result.body for result in taken] == [VoiceStarted(10), Unknown("mood"), Pause(20, 200, 0.5)]
    assert reads == 0
    assert metrics.messages_dropped._value.get() == before + 1


def test_it_is_said_once_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_complained", set())
    for seq in range(1, 6):
        decode_result(said(VERSION + 1, seq, ["mood", "curious"]))
    (line,) = [record.getMessage() for record in caplog.records]
    assert "'mood'" in line
    assert f"version {VERSION + 1}" in line
    assert "curious" not in line


def test_a_known_kind_that_does_not_fit_is_an_error_and_no_other_version() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_result(said(VERSION, 1, ["pause", "early", 200, 0.5]))
    with pytest.raises(msgspec.DecodeError):
        decode_result(b"\xc1 rubbish")


@pytest.mark.parametrize("version", [VERSION - 2, VERSION + 2])
def test_who_is_two_versions_away_is_refused_with_what_to_do(version: int) -> None:
    with pytest.raises(VersionRefused, match="one release at a time"):
        decode_result(said(version, 1, ["voice_started", 10]))
    assert not understands(version)


def test_neighbours_understand_each_other() -> None:
    assert all(understands(version) for version in (VERSION - 1, VERSION, VERSION + 1))


def test_our_own_messages_come_back_as_they_were() -> None:
    result = Result(VERSION, "llm", 1, 2, 3, 0, Words(0, ["so "], 1.5))
    assert decode_result(encode(result)) == result


# --- sessions


def recorded_session(name: str) -> dict[str, bytes]:
    return {
        field: base64.b64decode(value)
        for field, value in json.loads((DATA / f"session-v1-{name}.json").read_text()).items()
    }


@pytest.mark.parametrize(("name", "phase"), [("ga", Phase.HEARING), ("unmute", Phase.LISTENING)])
def test_a_session_that_version_1_saved_is_read(name: str, phase: Phase) -> None:
    before = saved.decode(recorded_session(name)["state"])
    assert before.dialect == name
    assert before.turn.phase is phase
    assert before.turn.reply == 1
    assert [message.role for message in before.history][-1] == "assistant"
    assert before.listening
    assert before.applied["llm"][1] > 1


def test_a_session_of_the_next_version_is_read_too() -> None:
    state = msgspec.msgpack.decode(recorded_session("ga")["state"])
    state["mood"] = {"curious": 1}
    state["turn"]["mood"] = "curious"
    assert saved.decode(msgspec.msgpack.encode(state)) == saved.decode(recorded_session("ga")["state"])


# --- a whole stack

SPEECH_S = 1.3

#: A process that speaks another version: its messages say so, and the bodies of a later one are longer.
OTHER_VERSION = """
import sys
import config.versions
own, config.versions.VERSION = config.versions.VERSION, {version}
import msgspec, config.messages as messages
if {version} > own:
    plainly = messages.encode
    def encode(message):
        value = msgspec.msgpack.decode(plainly(message))
        (value[-1] if isinstance(message, messages.Result) else value).append("mood")
        return msgspec.msgpack.encode(value)
    messages.encode = encode
from celery.__main__ import main
sys.argv = ["celery", "-A", "tasks", "worker", "-Q", "{stage}", "-n", "{name}", "--without-mingle", "--without-gossip"]
sys.exit(main())
"""


def start_other(house: House, stages: str, version: int) -> Child:
    name = f"{stages.replace(',', '-')}-of-{version}"
    child = house._spawn(name, ["-c", OTHER_VERSION.format(stage=stages, version=version, name=name)])
    for stage in stages.split(","):
        house.workers[stage].append(child)
    return child


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    env = {"ANTIPHON_TURN__USER_SILENCE_TIMEOUT_S": "1.5"}
    with open_house(tmp_path_factory.mktemp("versions"), workers=1, env=env) as house:
        yield house


def restore(house: House, name: str) -> str:
    """Puts a recorded session into the house; its resume token."""
    sid = f"recorded-{name}"
    fields = recorded_session(name) | {keys.TOKEN: digest("secret").encode()}
    with house.state.server.client(0) as client:
        client.hset(keys.session(sid), mapping=fields)  # type: ignore[arg-type]
    return f"{sid}.secret"


async def _turn(house: House) -> None:
    async with Talker(house.url) as talker:
        talker.speak(SPEECH_S)
        answer = await talker.answered(1)
        assert answer.transcript == REPLY
        assert talker.user_texts == ["one two three"]
        assert not talker.errors, talker.story()
        assert not talker.complaints, talker.story()


@pytest.mark.server
@pytest.mark.slow
def test_a_session_begun_before_the_update_goes_on_after_it(house: House) -> None:
    async def scene() -> None:
        talker = Talker(house.url)
        talker._token = restore(house, "ga")
        talker._tasks = [asyncio.create_task(talker._live())]
        created = await talker.until("session.created")
        assert created.event["session"]["antiphon"]["resumed"]
        assert created.event["session"]["instructions"] == "You are brief."
        talker._tasks.append(asyncio.create_task(talker._microphone()))
        talker.speak(SPEECH_S)
        answer = await talker.answered(1)
        assert answer.transcript == REPLY
        await talker.__aexit__()

    asyncio.run(scene())


@pytest.mark.server
@pytest.mark.slow
def test_so_does_one_of_unmutes_page(house: House) -> None:
    async def scene() -> None:
        protocols: list[Any] = ["realtime", f"antiphon-resume.{restore(house, 'unmute')}"]
        async with connect(house.url, subprotocols=protocols) as page, asyncio.timeout(40):
            assert json.loads(await page.recv())["type"] == "session.updated"
            while json.loads(await page.recv())["type"] != "response.created":
                pass
        with house.state.server.client(0) as client:
            order = decode_order(client.hget(keys.session("recorded-unmute"), keys.ORDER) or b"")
        assert order.reply == 2
        assert [message.role for message in order.messages][:3] == ["system", "user", "assistant"]
        assert order.messages[2].content == REPLY, "it knows what it said before the update"

    asyncio.run(scene())


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize(
    ("stages", "version"),
    [(("stt", "llm"), VERSION - 1), (("stt", "llm"), VERSION + 1), (("tts",), VERSION + 1)],
)
def test_a_neighbour_in_the_fleet_works_with_the_others(
    stages: tuple[str, ...], version: int, house: House
) -> None:
    usual = [child for stage in stages for child in house.workers[stage]]
    other = start_other(house, ",".join(stages), version)
    try:
        house.ready()
        assert other.alive, other.log.read_text()[-2000:]
        for child in usual:
            child.drain()
        assert all(house.health()["stages"][stage]["workers"] == 1 for stage in stages)
        asyncio.run(_turn(house))
    finally:
        other.drain()  # a killed one would be met by the next for some seconds
        house.furnish(workers=1)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("version", [VERSION - 2, VERSION + 2])
def test_a_stranger_is_refused_says_why_and_is_shown(version: int, house: House) -> None:
    stranger = start_other(house, "tts", version)
    house.workers["tts"].remove(stranger)
    assert stranger.process.wait(40) == 3
    said = [line for line in stranger.log.read_text().splitlines() if "antiphon worker:" in line]
    assert len(said) == 1
    assert f"this is {version}" in said[0]
    assert f"speaks version {VERSION}" in said[0]
    wait_for(lambda: "refused" in house.health(), "the refusal to be shown")
    ((name, why),) = house.health()["refused"].items()
    assert name.endswith(f"-{stranger.pid}")
    assert why in said[0]
    assert house.health()["stages"]["tts"] == {"workers": 1, "slots": 256, "free": 256}
    with house.state.server.client(0) as client:
        client.delete(keys.worker("tts", name))
    asyncio.run(_turn(house))
