"""Odd but legal programs of the stock OpenAI client, as people write them; each ends where its author expects it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.house import House
from tests.raw_client import DEADLINE_S, silence, voice
from tests.raw_client import connected as raw
from tests.scripted_llm import Answer, Json, ScriptedLlm, scripted_llm
from tests.sdk_client import WEATHER, SdkClient, connected, scripted_house
from tests.sdk_client import talk as converse

pytestmark = [pytest.mark.server, pytest.mark.slow]


def script(request: Json) -> Answer:
    """Counts as far as it is asked to; asks for the weather where it may and is told to; else repeats."""
    last = request["messages"][-1]
    if last["role"] == "tool":
        return [f"It is {last['content']}."], []
    text = last["content"]
    if text.startswith("Count"):
        return [f"{number} " for number in range(int(text.split()[1]))], []
    if "weather" in text and request.get("tools") and request.get("tool_choice") != "none":
        return [], [("weather", {"town": "Rome"})]
    return [f"{word} " for word in text.split()], []


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedLlm]:
    with scripted_llm(script) as model:
        yield model


@pytest.fixture(scope="module")
def house(model: ScriptedLlm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with scripted_house(model, tmp_path_factory, "odd") as house:
        yield house


def talk(house: House, program: Callable[[SdkClient], Awaitable[None]]) -> None:
    """Errors are what some of these programs wait for."""
    converse(house, program, strict=False)


def test_everything_is_sent_before_anything_is_read(house: House) -> None:
    async def program(client: SdkClient) -> None:
        await client.connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await client.say("One.")
        await client.say("Two.")
        await client.connection.response.create()
        done = await client.until("response.done")
        assert done.response.output[0].content[0].text.split() == ["One.", "Two."]
        assert client.events[0].type == "session.created" and not client.errors()

    talk(house, program)


def test_two_responses_at_once_are_one_and_an_error(house: House) -> None:
    async def program(client: SdkClient) -> None:
        await client.say("Count 20")
        await client.connection.response.create(event_id="first")
        await client.connection.response.create(event_id="second")
        await client.until("response.done")
        assert client.errors() == [("conversation_already_has_active_response", "second")]
        assert len(client.of("response.created")) == 1

    talk(house, program)


def test_a_response_is_cancelled_before_anything_of_it_came_and_twice(house: House) -> None:
    async def program(client: SdkClient) -> None:
        await client.say("Count 20")
        await client.connection.response.create()
        await client.connection.response.cancel()
        await client.connection.response.cancel(event_id="again")
        done = await client.until("response.done")
        assert (done.response.status, done.response.status_details.reason) == (
            "cancelled",
            "client_cancelled",
        )
        await client.until("error")
        assert client.errors() == [("response_cancel_not_active", "again")]
        await client.say("Go on.")
        await client.connection.response.create()
        assert (await client.until("response.done")).response.status == "completed"

    talk(house, program)


def test_the_session_changes_while_it_answers_and_the_answer_does_not(house: House) -> None:
    async def program(client: SdkClient) -> None:
        await client.say("Count 20")
        await client.connection.response.create()
        await client.until("response.output_audio.delta")
        await client.connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"], "instructions": "Be brief."}
        )
        done = await client.until("response.done")
        assert done.response.output[0].content[0].type == "output_audio"
        await client.say("Hello.")
        await client.connection.response.create()
        assert (await client.until("response.done")).response.output[0].content[0].text == "Hello."

    talk(house, program)


def test_a_tool_is_answered_late_and_the_talk_goes_on_meanwhile(house: House) -> None:
    async def program(client: SdkClient) -> None:
        await client.connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"], "tools": [WEATHER]}
        )
        await client.say("The weather?")
        await client.connection.response.create()
        (call,) = (await client.until("response.done")).response.output
        await client.say("Hello.")
        await client.connection.response.create(response={"tool_choice": "none"})
        told = (await client.until("response.done")).response.output[0].content[0].text
        assert told == "The weather? Hello.", "what nobody has answered yet is not told to the model"
        await client.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        )
        await client.connection.response.create(response={"tool_choice": "none"})
        assert (await client.until("response.done")).response.status == "completed"
        assert not client.errors()

    talk(house, program)


def test_a_limit_of_words_makes_the_response_incomplete(house: House, model: ScriptedLlm) -> None:
    async def program(client: SdkClient) -> None:
        await client.say("Count 3")
        await client.connection.response.create(
            response={"max_output_tokens": 1, "output_modalities": ["text"]}
        )
        done = await client.until("response.done")
        assert model.requests[-1]["max_tokens"] == 1
        assert done.response.max_output_tokens == 1

    talk(house, program)


def test_turn_detection_is_switched_off_and_on_again_in_one_talk(house: House) -> None:
    async def program(client: SdkClient) -> None:
        update = client.connection.session.update
        await update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})  # type: ignore[typeddict-item]
        await client.append(voice(0.9) + silence(1.0))
        await client.connection.input_audio_buffer.commit()
        await client.until("conversation.item.input_audio_transcription.completed")
        assert not client.of("input_audio_buffer.speech_started") and not client.of("response.created")
        await update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        )
        await client.until("session.updated")
        await client.append(voice(0.9) + silence(1.0))
        await client.until("response.done")
        assert len(client.of("input_audio_buffer.speech_started")) == 1
        assert not client.errors()

    talk(house, program)


def test_vad_that_neither_answers_nor_is_interrupted_only_tells(house: House) -> None:
    async def program(client: SdkClient) -> None:
        detection: Any = {"type": "server_vad", "create_response": False, "interrupt_response": False}
        await client.connection.session.update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
        )
        await client.append(voice(0.9) + silence(1.0))
        await client.until("conversation.item.input_audio_transcription.completed")
        assert not client.of("response.created")
        await client.connection.response.create()
        await client.until("response.done")
        assert not client.errors()

    talk(house, program)


def test_what_is_cleared_was_never_said(house: House) -> None:
    async def program(client: SdkClient) -> None:
        session: Any = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await client.connection.session.update(session=session)
        await client.append(voice(1.3))
        await client.connection.input_audio_buffer.clear()
        await client.connection.input_audio_buffer.commit(event_id="empty")
        await client.until("error")
        assert client.errors() == [("input_audio_buffer_commit_empty", "empty")]
        await client.append(voice(0.5))
        await client.connection.input_audio_buffer.commit()
        completed = await client.until("conversation.item.input_audio_transcription.completed")
        assert len(completed.transcript.split()) == 1 and completed.usage.seconds == 0.5

    talk(house, program)


def test_a_whole_history_is_put_in_before_the_first_word(house: House, model: ScriptedLlm) -> None:
    async def program(client: SdkClient) -> None:
        create = client.connection.conversation.item.create
        call: Any = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
        items: list[Any] = [
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Rhyme."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "The weather?"}]},
            call,
            {"type": "function_call_output", "call_id": "c1", "output": "wet"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wet."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
        ]
        for number, item in enumerate(items):
            await create(item={"id": f"old{number}", **item})
        await client.connection.response.create(response={"output_modalities": ["text"]})
        await client.until("response.done")
        assert not client.errors()
        asked = model.requests[-1]["messages"]
        assert asked[0]["content"].endswith(" Rhyme.")
        roles = [message["role"] for message in asked]
        assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
        order = [event.item.id for event in client.of("conversation.item.added")]
        assert order[: len(items)] == [f"old{number}" for number in range(len(items))]

    talk(house, program)


def test_responses_beside_the_conversation_run_one_after_the_other_and_keep_their_names(house: House) -> None:
    async def program(client: SdkClient) -> None:
        for number in range(3):
            said: Any = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": f"Nr {number}"}],
            }
            await client.connection.response.create(
                response={
                    "conversation": "none", "input": [said], "output_modalities": ["text"],
                    "metadata": {"number": str(number)},
                }
            )  # fmt: skip
        done = [(await client.until("response.done")).response for _ in range(3)]
        told = [(response.metadata, response.output[0].content[0].text.strip()) for response in done]
        assert told == [({"number": str(number)}, f"Nr {number}") for number in range(3)]
        assert not client.of("conversation.item.added") and not client.errors()

    talk(house, program)


def test_frames_that_are_no_events_cost_their_sender_alone(house: House) -> None:
    async def run() -> None:
        async with connect(f"{house.url}?model=x") as binary, connect(f"{house.url}?model=x") as huge:
            await binary.send(b"\x00\x01")
            await huge.send("x" * (1 << 19))
            for socket, code in ((binary, 1003), (huge, 1009)):
                async with asyncio.timeout(DEADLINE_S):
                    await socket.wait_closed()
                assert socket.close_code == code
        async with connected(house, strict=False) as client:
            await client.say("Still there?")
            await client.connection.response.create()
            assert (await client.until("response.done")).response.status == "completed"

    asyncio.run(run())


def test_a_character_is_named_and_the_model_is_told_all_that_it_knows(
    house: House, model: ScriptedLlm
) -> None:
    async def run() -> None:
        async with raw(house.url, "model=x&extensions=antiphon") as client:
            names = [voice["name"] for voice in json.loads(house.get("/v1/voices"))]
            session = await client.update(
                antiphon={"character": names[1]}, output_modalities=["text"], instructions=""
            )
            assert (session["antiphon"]["character"], session["audio"]["output"]["voice"]) == (
                names[1],
                names[1],
            )
            await client.write("Good morning.")
            await client.send("response.create")
            await client.until("response.done")
            assert names[1] in model.requests[-1]["messages"][0]["content"]
            refused = await client.refused("session.update", session={"antiphon": {"character": "Nobody"}})
            assert refused["code"] == "character_not_found" and names[1] in refused["message"]

    asyncio.run(run())
