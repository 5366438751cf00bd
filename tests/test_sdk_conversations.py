"""The official clients, unmodified, each hold a spoken conversation, with a function and a barge-in, with our server.

They are installed as the registries have them, apart from our own packages: `make setup-sdks`.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.settings import SAMPLE_RATE
from tests import papers
from tests.conftest import missing
from tests.house import House
from tests.scripted_llm import Answer, Json, ScriptedLlm, scripted_llm
from tests.sdk_client import scripted_house
from tests.sdk_programs import CLIENTS, ENVIRONMENT, NODE_PACKAGES, ROOT, Client, Talking, pinned_openai
from tests.talker import hum

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: What is said to who barges in, for some 5 s; no word of it twice.
STORY = (  # noqa: SIM905
    "Once upon a time there lived some fisher who had one boat and two nets but no luck at all until that morning "
    "when the sea gave him this door"
).split()

#: The null engine makes three words of it, one each 0.4 s.
HUM_S = 1.2

#: Sound of a word of the null engine, two of its frames.
WORD_MS = 160


#: How to point the clients here, and which of them a program there is for.
GUIDE = ROOT / "docs/sdks.md"
AGENTS = {"python": ROOT / "tests/sdk/agents_realtime.py", "js": ROOT / "tests/node/agents_realtime.mjs"}


def script(request: Json) -> Answer:
    """Three turns: a greeting, the weather by a function, a story; and an answer to who interrupted that."""
    last = request["messages"][-1]
    if last["role"] == "tool":
        return ["It ", "is ", "sunny ", "in ", "Rome."], []
    turn = sum(message["role"] == "user" for message in request["messages"])
    if turn == 2 or "weather" in last["content"]:
        return [], [("weather", {"town": "Rome"})]
    if turn == 3:
        return [f"{word} " for word in STORY], []
    return ["Good ", "morning."] if turn == 1 else ["Of ", "course."], []


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedLlm]:
    with scripted_llm(script) as model:
        yield model


@pytest.fixture(scope="module")
def house(model: ScriptedLlm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with scripted_house(model, tmp_path_factory, "sdks", word_audio_s=WORD_MS / 1000) as house:
        yield house


@pytest.fixture(scope="module")
def talking(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Talking]]:
    """All that are installed, at the same time."""
    voice = tmp_path_factory.mktemp("voice") / "hum.pcm"
    voice.write_bytes(hum(int(HUM_S * SAMPLE_RATE), 0))
    url = f"ws://127.0.0.1:{house.port}/v1"
    started: dict[str, Talking] = {}
    for client in CLIENTS:
        if client.installed:
            started[client.name] = Talking(client.command, url, str(voice), instructions(client))
    yield started
    for one in started.values():
        one.close()


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    return request.param


@pytest.fixture
def report(client: Client, talking: dict[str, Talking], house: House) -> dict[str, Any]:
    if client.name not in talking:
        missing(f"{client.name} (make setup-sdks)")
    try:
        return talking[client.name].report()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{house.said()}") from error


def instructions(client: Client) -> str:
    return f"You guide users of {client.name}."


def last_prompt(model: ScriptedLlm, client: Client) -> list[Json]:
    """What the model knew of a conversation when it spoke last."""
    about = [
        request["messages"]
        for request in model.requests
        if request["messages"][0]["content"].startswith(instructions(client))
    ]
    return about[-1]


def test_three_spoken_turns_are_understood_and_answered(report: dict[str, Any]) -> None:
    said = report["transcripts"]
    assert [line for line in said if line.startswith("user")] == ["user: one two three"] * 4
    assert said[1] == "assistant: Good morning." and said[3] == "assistant: It is sunny in Rome."
    assert said[5].startswith("assistant: Once upon") and said[7:] == ["assistant: Of course."]


def test_no_error_is_shown(report: dict[str, Any]) -> None:
    assert report["errors"] == []


def test_the_function_is_called_once_and_its_result_reaches_the_model(
    report: dict[str, Any], client: Client, model: ScriptedLlm
) -> None:
    assert report["tools"] == ["Rome"]
    prompt = last_prompt(model, client)
    asked = [call["function"]["name"] for message in prompt for call in message.get("tool_calls", ())]
    assert asked == ["weather"]
    assert [message["content"] for message in prompt if message["role"] == "tool"] == ["sunny"]


def test_who_barges_in_is_heard_and_the_client_truncates(report: dict[str, Any]) -> None:
    assert report["interrupted"] >= 1
    servers, clients = report["truncated_ms"]  # the server cuts, and answers the client's own truncation
    assert 0 < servers <= clients < len(STORY) * WORD_MS
    events = report["events"]
    story = len(events) - events[::-1].index("conversation.item.truncated")
    ended = [
        event
        for event in events[:story]
        if event in ("input_audio_buffer.speech_started", "response.output_audio.done")
    ]
    assert ended[-2:] == ["input_audio_buffer.speech_started", "response.output_audio.done"]


def test_the_servers_history_holds_what_was_heard(
    report: dict[str, Any], client: Client, model: ScriptedLlm
) -> None:
    told = last_prompt(model, client)[-2]
    assert told["role"] == "assistant"
    heard = told["content"].split()
    assert heard == STORY[: len(heard)]
    assert abs(len(heard) - report["truncated_ms"][-1] / WORD_MS) <= 1
    assert report["transcripts"][5] == "assistant: " + " ".join(heard), "the client shows the same"


def test_the_sound_comes_hardly_before_it_is_played(report: dict[str, Any]) -> None:
    """Behaviour 3: clients reckon by wall time how much was heard, and never truncate what is done."""
    assert report["ahead_ms"] < 500


@pytest.mark.parametrize("block", papers.blocks(GUIDE), ids=lambda block: block.id)
def test_the_programs_of_the_guide_hear_an_answer(block: papers.Block, house: House, tmp_path: Path) -> None:
    (client,) = (one for one in CLIENTS if one.program == AGENTS[block.language])
    if not client.installed:
        missing(f"{client.name} (make setup-sdks)")
    (tmp_path / "node_modules").symlink_to(NODE_PACKAGES)
    program = tmp_path / f"program{client.program.suffix}"
    program.write_text(block.text.replace("127.0.0.1:8000", f"127.0.0.1:{house.port}"))
    done = subprocess.run(
        [client.interpreter, program],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    heard_ms = (tmp_path / "answer.pcm").stat().st_size / 48
    assert abs(heard_ms - 5 * WORD_MS) <= WORD_MS, "it is sunny in Rome"


def test_the_programs_have_the_same_openai_package_as_the_tests() -> None:
    dev, programs = pinned_openai()
    assert dev == programs
