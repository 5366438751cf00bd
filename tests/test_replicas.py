"""A conversation goes on over another web process of the same Redis: what it was, and who may take it."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from websockets import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from config import redis_keys as keys
from tests.house import Child, House, open_house, wait_for
from tests.talker import PATIENCE_S, Talker
from tests.whole import SPEECH_S, assert_whole

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: Where an answer comes at once, on a machine under load.
DEADLINE_S = 10.0

#: How long conversations wait here for their clients.
RESUME_S = 4


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    env = {"ANTIPHON_OWNERSHIP__RESUME_S": str(RESUME_S)}
    with open_house(tmp_path_factory.mktemp("replicas"), workers=1, env=env) as house:
        yield house


Replica = tuple[Child, int]


@pytest.fixture(scope="module")
def replica(house: House) -> Replica:
    """Another web process, and its port."""
    return house.start_replica()


def url(port: int) -> str:
    return f"ws://127.0.0.1:{port}/v1/realtime"


def event(line: ClientConnection, kind: str) -> dict[str, Any]:
    """The next of this kind."""
    while True:
        said: dict[str, Any] = json.loads(line.recv(timeout=DEADLINE_S))
        if said["type"] == kind:
            return said


def resumed(port: int, token: str) -> ClientConnection:
    """A line over which a conversation goes on."""
    offers = [Subprotocol("realtime"), Subprotocol(f"antiphon-resume.{token}")]
    return connect(url(port), subprotocols=offers, compression=None, legacy=True)


def begun(port: int) -> tuple[ClientConnection, str, str]:
    """A conversation, its id and its token."""
    line = connect(url(port), compression=None, legacy=True)
    session = event(line, "session.created")["session"]
    line.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
    event(line, "session.updated")
    return line, session["id"].removeprefix("sess_"), session["antiphon"]["resume_token"]


def test_nobody_comes_back_after_the_time_is_over(house: House) -> None:
    line, sid, token = begun(house.port)
    line.socket.shutdown(socket.SHUT_RDWR)
    with house.state.server.client(0) as state:
        wait_for(lambda: state.ttl(keys.session(sid)) <= RESUME_S, "the session to wait for its client")
        wait_for(lambda: not state.exists(keys.session(sid)), "its end")
    with pytest.raises(InvalidStatus, match="403"):
        resumed(house.port, token)


# --- who may take it


def test_who_gave_up_waiting_takes_nothing_from_the_connection_that_came_after(
    house: House, replica: Replica
) -> None:
    """A process hangs; the client gives up, and goes on at another one. Then the first one wakes up."""
    other, port = replica
    line, _, token = begun(port)
    sleeper = house.web_child(other)
    line.socket.shutdown(socket.SHUT_RDWR)
    os.kill(sleeper, signal.SIGSTOP)
    try:
        with socket.create_connection(("127.0.0.1", port)) as abandoned:
            abandoned.sendall(
                f"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\nX-Antiphon-Resume: {token}\r\n"
                "\r\n".encode()
            )
        now = resumed(house.port, token)
        assert event(now, "session.created")["session"]["antiphon"]["resumed"] is True
    finally:
        os.kill(sleeper, signal.SIGCONT)
    wait_for(
        lambda: "did not wait to be let in" in other.log.read_text(), "the sleeper to look at who gave up"
    )
    now.send(json.dumps({"type": "input_audio_buffer.clear"}))
    assert event(now, "input_audio_buffer.cleared"), "it is still this line's"
    now.close()


def test_the_newest_connection_has_the_conversation_and_the_one_before_is_told(
    house: House, replica: Replica
) -> None:
    line, sid, token = begun(house.port)
    for at in (replica[1], house.port):
        later = resumed(at, token)
        assert event(later, "session.created")["session"]["id"] == f"sess_{sid}"
        with pytest.raises(Exception, match="1012"):
            event(line, "session.closed")
        line = later
    line.close()
    with house.state.server.client(0) as state:
        wait_for(lambda: state.hexists(keys.session(sid), keys.CLOSED), "the goodbye to be known")
    with pytest.raises(InvalidStatus, match="403"):
        resumed(house.port, token)


# --- what goes on


def test_a_reply_goes_on_over_another_replica_when_the_first_is_killed_in_the_middle_of_it(
    house: House, replica: Replica
) -> None:
    """The last of its module: the replica is no more."""
    asyncio.run(_killed_in_the_middle(house, *replica))


async def _killed_in_the_middle(house: House, other: Child, port: int) -> None:
    async with Talker(url(port), session={"audio": {"output": {"voice": "Tilda"}}}) as talker:
        await asyncio.sleep(0.3)
        talker.speak(SPEECH_S)
        await talker.wait(
            lambda: any(answer.samples > 24_000 for answer in talker.answers.values()), PATIENCE_S, "audio"
        )
        talker._url = f"{house.url}?model=test"
        house.kill_web_whole(other)
        assert_whole(talker, await talker.answered(1))
        created = talker.of("session.created")
        assert [heard.event["session"]["antiphon"]["resumed"] for heard in created] == [False, True]
        voices = [
            heard.event["session"]["audio"]["output"]["voice"] for heard in talker.of("session.created")
        ]
        assert voices[1] == talker.of("session.updated")[0].event["session"]["audio"]["output"]["voice"]
        user, reply = (heard.event["item"]["id"] for heard in talker.of("conversation.item.added")[:2])
        for item in (user, reply):
            await talker.send("conversation.item.retrieve", item_id=item)
        await talker.until("conversation.item.retrieved", count=2)
        roles = [heard.event["item"]["role"] for heard in talker.of("conversation.item.retrieved")]
        assert roles == ["user", "assistant"], "the history is there"
