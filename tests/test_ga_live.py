"""Odd but legal programs against a running server: transcription sessions, items without words, pushed turns."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types.realtime import RealtimeTranscriptionSessionCreateRequest

from tests.house import House, open_house, wait_for
from tests.raw_client import Json, RawClient, base64_of, connected, silence, typed, voice
from tests.scripted_llm import Answer, ScriptedLlm, scripted_llm

pytestmark = [pytest.mark.server, pytest.mark.slow]


def script(request: Json) -> Answer:
    """Says what it was told, in as many words as are asked for."""
    last = request["messages"][-1]["content"]
    count = int(last.split()[1]) if last.startswith("Count") else 0
    return ["You ", "said: ", last, *(f" {number}" for number in range(count))], []


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedLlm]:
    with scripted_llm(script) as model:
        yield model


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def house(model: ScriptedLlm, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    env = {
        "ANTIPHON_RECORD_DIR": str(recordings),
        "ANTIPHON_LLM__ENGINE": "openai",
        "ANTIPHON_LLM__OPTIONS": f'{{"url": "{model.url}"}}',
        "ANTIPHON_TTS__OPTIONS": '{"first_audio_after_s": 0.02, "word_audio_s": 0.08}',
    }
    with open_house(tmp_path_factory.mktemp("ga"), workers=1, env=env) as house:
        yield house


def talk(house: House, program: Callable[[RawClient], Awaitable[None]], query: str = "model=test") -> None:
    async def run() -> None:
        async with connected(house.url, query) as client:
            await program(client)

    asyncio.run(run())


MANUAL = {"input": {"turn_detection": None}}
TRANSCRIBED = "conversation.item.input_audio_transcription"


# --- transcription sessions


async def is_only_listened_to(client: RawClient) -> None:
    for _ in range(2):
        await client.speak(1.6)
        completed = await client.until(f"{TRANSCRIBED}.completed")
    deltas = [
        event["delta"]
        for event in client.of(f"{TRANSCRIBED}.delta")
        if event["item_id"] == completed["item_id"]
    ]
    assert len(deltas) > 1 and "".join(deltas) == completed["transcript"]
    assert completed["usage"]["type"] == "duration" and 1.2 < completed["usage"]["seconds"] < 2.2
    kinds = client.kinds()
    told_early = kinds.index(f"{TRANSCRIBED}.delta") < kinds.index("input_audio_buffer.speech_stopped")
    assert told_early, "words are told while they are said"
    assert (await client.refused("response.create"))["code"] == "invalid_parameter"
    assert (await client.refused("response.cancel"))["code"] == "response_cancel_not_active"
    assert (await client.refused("session.update", session={"type": "realtime"}))["param"] == "session.type"
    await client.append(silence(0.5))
    await client.send("session.update", session={"audio": {"input": {"noise_reduction": None}}})
    assert (await client.until("session.updated"))["session"]["type"] == "transcription"
    assert not [kind for kind in client.kinds() if kind.startswith("response.")]


def test_a_session_may_ask_for_transcripts_alone(house: House) -> None:
    async def program(client: RawClient) -> None:
        session = await client.update(type="transcription")
        assert (session["object"], session["audio"].keys()) == ("realtime.transcription_session", {"input"})
        assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        RealtimeTranscriptionSessionCreateRequest.model_validate(session, strict=True)
        await is_only_listened_to(client)

    talk(house, program)


def test_a_connection_may_ask_for_transcripts_alone(house: House) -> None:
    async def program(client: RawClient) -> None:
        assert client.events[0]["session"]["type"] == "transcription"
        await is_only_listened_to(client)

    talk(house, program, "intent=transcription")


def test_transcripts_of_turns_that_the_client_ends(house: House) -> None:
    async def program(client: RawClient) -> None:
        await client.send("session.update", session={"type": "transcription", "audio": MANUAL})
        assert (await client.until("session.updated"))["session"]["audio"]["input"]["turn_detection"] is None
        for seconds in (0.8, 1.2):
            await client.append(voice(seconds))
            await client.send("input_audio_buffer.commit")
            completed = await client.until(f"{TRANSCRIBED}.completed")
            assert completed["transcript"] and completed["usage"]["seconds"] == pytest.approx(
                seconds, abs=0.01
            )
        assert (await client.refused("input_audio_buffer.commit"))[
            "code"
        ] == "input_audio_buffer_commit_empty"
        assert "input_audio_buffer.speech_started" not in client.kinds()

    talk(house, program)


def test_turns_may_be_pushed_faster_than_they_are_understood(house: House, model: ScriptedLlm) -> None:
    async def program(client: RawClient) -> None:
        await client.update(audio=MANUAL, output_modalities=["text"])
        for seconds in (0.5, 0.9, 1.3):
            await client.append(voice(seconds) + silence(0.3))
            await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        await client.until("response.done")
        told = client.of(f"{TRANSCRIBED}.completed")
        assert [len(event["transcript"].split()) for event in told] == [1, 2, 3]
        assert [event["item_id"] for event in told] == [
            event["item_id"] for event in client.of("input_audio_buffer.committed")
        ]
        assert len(model.requests[-1]["messages"][-1]["content"].split()) == 6
        assert (await client.refused("input_audio_buffer.commit"))[
            "code"
        ] == "input_audio_buffer_commit_empty"

    talk(house, program)


def test_a_conversation_that_has_begun_stays_one(house: House) -> None:
    async def program(client: RawClient) -> None:
        await client.write("Hello.")
        error = await client.refused("session.update", session={"type": "transcription"})
        assert (error["code"], error["param"]) == ("invalid_parameter", "session.type")
        await client.send("response.create")
        await client.until("response.done")

    talk(house, program)


# --- items without words


def test_an_utterance_without_words_is_deleted_put_back_and_followed(house: House) -> None:
    async def program(client: RawClient) -> None:
        await client.update(audio=MANUAL)
        await client.append(silence(0.4))
        await client.send("input_audio_buffer.commit")
        item_id = (await client.until(f"{TRANSCRIBED}.completed"))["item_id"]
        after = await client.write("After it.", previous_item_id=item_id)
        assert client.events[-1]["previous_item_id"] == item_id
        await client.send("conversation.item.delete", item_id=item_id)
        await client.until("conversation.item.deleted")
        content = [{"type": "input_audio", "transcript": ""}]
        empty = {"id": item_id, "type": "message", "role": "user", "content": content}
        await client.send("conversation.item.create", item=empty, previous_item_id="root")
        await client.until("conversation.item.done")
        await client.send("conversation.item.retrieve", item_id=item_id)
        assert (await client.until("conversation.item.retrieved"))["item"]["content"] == content
        await client.send("conversation.item.delete", item_id=after)
        assert (await client.until("conversation.item.deleted"))["item_id"] == after
        error = await client.refused("conversation.item.delete", item_id=after)
        assert error["code"] == "item_delete_invalid_item_id"

    talk(house, program)


def test_what_is_typed_before_the_transcript_comes_follows_what_was_said(
    house: House, model: ScriptedLlm
) -> None:
    async def program(client: RawClient) -> None:
        await client.update(audio=MANUAL)
        await client.append(voice(0.9))
        await client.send("input_audio_buffer.commit")
        await client.send("conversation.item.create", item=typed("And this."))
        await client.send("response.create")
        await client.until("response.done")
        assert model.requests[-1]["messages"][-1]["content"].endswith(" And this.")

    talk(house, program)


def test_a_reply_that_nobody_heard_is_deleted_and_put_back(house: House) -> None:
    async def program(client: RawClient) -> None:
        await client.write("Count 30")
        await client.send("response.create")
        await client.until("response.output_audio_transcript.delta")
        await client.send("response.cancel")
        item = (await client.until("response.done"))["response"]["output"][0]
        await client.send("conversation.item.retrieve", item_id=item["id"])
        shown = (await client.until("conversation.item.retrieved"))["item"]
        assert shown["status"] == "incomplete"
        await client.send("conversation.item.delete", item_id=item["id"])
        await client.until("conversation.item.deleted")
        await client.send("conversation.item.create", item=shown)
        assert (await client.until("conversation.item.done"))["item"]["id"] == item["id"]

    talk(house, program)


def test_a_client_that_forgets_everything_may_do_so_while_it_is_answered(
    house: House, model: ScriptedLlm
) -> None:
    async def program(client: RawClient) -> None:
        first = await client.write("Count 30")
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        reply = client.of("response.output_item.added")[0]["item"]["id"]
        meanwhile = await client.write("Right behind it.", previous_item_id=reply)
        for item_id in (first, reply):
            await client.send("conversation.item.delete", item_id=item_id)
            await client.until("conversation.item.deleted")
        await client.send("response.cancel")
        await client.until("response.done")
        await client.send("response.create")
        await client.until("response.done")
        said = [message["content"] for message in model.requests[-1]["messages"][1:]]
        assert said == ["Right behind it."] and meanwhile != reply

    talk(house, program)


# --- replies that were asked for


def test_who_asks_is_answered_though_nothing_was_understood(house: House, model: ScriptedLlm) -> None:
    async def program(client: RawClient) -> None:
        await client.update(audio=MANUAL, instructions="Be kind.")
        await client.append(silence(0.5))
        await client.send("input_audio_buffer.commit")
        await client.send(
            "response.create", response={"instructions": "Be brief.", "output_modalities": ["text"]}
        )
        assert (await client.until("response.created"))["response"]["output_modalities"] == ["text"]
        await client.until("response.done")
        assert model.requests[-1]["messages"][0]["content"] == "Be brief."
        await client.write("Hello.")
        await client.send("response.create")
        await client.until("response.done")
        assert model.requests[-1]["messages"][0]["content"] == "Be kind.", "those options were of that reply"

    talk(house, program)


def test_limits_are_told_behind_the_response_that_they_are_of(house: House) -> None:
    async def program(client: RawClient) -> None:
        await client.write("Hello.")
        await client.send("response.create")
        limits = await client.until("rate_limits.updated")
        assert client.kinds()[-2:] == ["response.created", "rate_limits.updated"]
        assert limits["rate_limits"] == []

    talk(house, program)


# --- from one connection to the next


def test_who_comes_back_while_speaking_is_told_so_again(house: House) -> None:
    async def run() -> None:
        async with connected(house.url) as first:
            token = first.events[0]["session"]["antiphon"]["resume_token"]
            await first.append(voice(0.8))
            began = await first.until("input_audio_buffer.speech_started")
            first.socket.transport.abort()
        async with connected(house.url, additional_headers={"X-Antiphon-Resume": token}) as second:
            again = await second.until("input_audio_buffer.speech_started")
            assert again["item_id"] == began["item_id"]
            await second.speak(0.5)
            assert (await second.until("input_audio_buffer.committed"))["item_id"] == began["item_id"]

    asyncio.run(run())


def test_a_key_that_carries_consent_is_consent_from_the_beginning(house: House, recordings: Path) -> None:
    openai = OpenAI(api_key="any", base_url=f"http://127.0.0.1:{house.port}/v1")
    session: Any = {"type": "realtime", "antiphon": {"allow_recording": True}}
    key = openai.realtime.client_secrets.create(session=session).value

    async def run() -> None:
        header = {"Authorization": f"Bearer {key}"}
        async with connected(house.url, additional_headers=header) as client:
            assert client.events[0]["session"]["antiphon"]["allow_recording"]
            await client.speak(0.9)
            await client.until("response.created")
            assert "session.updated" not in client.kinds()

    before = set(recordings.rglob("*.jsonl"))
    asyncio.run(run())
    wait_for(lambda: bool(set(recordings.rglob("*.jsonl")) - before), "a recording")


def test_a_key_may_carry_a_transcription_session(house: House) -> None:
    openai = OpenAI(api_key="any", base_url=f"http://127.0.0.1:{house.port}/v1")
    secret = openai.realtime.client_secrets.create(session={"type": "transcription"})
    assert secret.session.type == "transcription"

    async def run() -> None:
        async with connected(
            house.url, additional_headers={"Authorization": f"Bearer {secret.value}"}
        ) as client:
            assert client.events[0]["session"]["type"] == "transcription"

    asyncio.run(run())


# --- items that are sound


def sound(pcm: bytes, **item: str) -> Json:
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "audio": base64_of(pcm)}],
        **item,
    }


def test_an_item_may_be_sound_and_is_understood_before_it_is_answered(
    house: House, model: ScriptedLlm
) -> None:
    async def program(client: RawClient) -> None:
        await client.update(output_modalities=["text"])
        await client.send("conversation.item.create", item=sound(voice(1.3), id="mine"))
        await client.send("conversation.item.retrieve", item_id="mine")
        await client.send("response.create", event_id="r1")
        shown = (await client.until("conversation.item.retrieved"))["item"]["content"]
        assert shown == [{"type": "input_audio", "transcript": None}]
        completed = await client.until(f"{TRANSCRIBED}.completed")
        assert completed["item_id"] == "mine" and completed["usage"]["seconds"] == 1.3
        await client.until("response.done")
        assert model.requests[-1]["messages"][-1]["content"] == completed["transcript"] != ""
        await client.send("conversation.item.retrieve", item_id="mine")
        shown = (await client.until("conversation.item.retrieved"))["item"]["content"]
        assert shown == [{"type": "input_audio", "transcript": completed["transcript"]}]

    talk(house, program)


def test_sound_in_an_item_does_not_disturb_who_speaks(house: House) -> None:
    async def program(client: RawClient) -> None:
        await client.append(voice(0.8))
        await client.until("input_audio_buffer.speech_started")
        await client.send("conversation.item.create", item=sound(voice(0.9), id="mine"))
        await client.append(voice(0.8))
        while "mine" not in [event["item_id"] for event in client.of(f"{TRANSCRIBED}.completed")]:
            await client.next()
        await client.append(silence(1.0))
        live = await client.until(f"{TRANSCRIBED}.completed")
        assert len(live["transcript"].split()) == 4 and live["usage"]["seconds"] == pytest.approx(
            1.6, abs=0.2
        )
        assert len(client.of("input_audio_buffer.speech_started")) == 1
        await client.until("response.done")

    talk(house, program)


def test_a_response_may_answer_sound_alone(house: House, model: ScriptedLlm) -> None:
    async def program(client: RawClient) -> None:
        said = [typed("What is this?"), sound(voice(0.9)), sound(silence(0.4))]
        options = {"conversation": "none", "input": said, "output_modalities": ["text"]}
        await client.send("response.create", response=options)
        done = (await client.until("response.done"))["response"]
        assert done["status"] == "completed"
        (asked,) = model.requests[-1]["messages"][1:]
        assert asked["content"].startswith("What is this? ") and len(asked["content"].split()) == 5
        assert not client.of(f"{TRANSCRIBED}.completed"), "they are no items of the conversation"

    talk(house, program)


def test_sound_that_is_none_or_too_much_is_an_error_that_says_so(house: House) -> None:
    async def program(client: RawClient) -> None:
        error = await client.refused("conversation.item.create", item=sound(b"odd"))
        assert (error["code"], error["param"]) == ("invalid_audio", "item.content[0].audio")
        for _ in range(60):
            await client.send("conversation.item.create", item=sound(voice(0.1)))
        error = (await client.until("error"))["error"]
        assert error["code"] == "too_many_audio_items"
        await client.send("response.create")
        while not client.of("response.done"):  # other errors may come before it
            await client.next()

    talk(house, program)
