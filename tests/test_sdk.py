"""The stock OpenAI client, unmodified, against a running server: functions, items, responses of their own kind."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.house import House
from tests.scripted_llm import Answer, Json, ScriptedLlm, scripted_llm
from tests.sdk_client import WEATHER, SdkClient, scripted_house, talk

pytestmark = [pytest.mark.server, pytest.mark.slow]


def script(request: Json) -> Answer:
    """Asks for the weather of each town that is named and not known yet; then says what it was told."""
    last = request["messages"][-1]
    if last["role"] == "tool":
        results = [message["content"] for message in request["messages"] if message["role"] == "tool"]
        return ["It ", "is ", *(f"{result} " for result in results)], []
    towns = [town for town in ("Rome", "Oslo") if town in last["content"]]
    if request.get("tools") and towns and request.get("tool_choice") != "none":
        said = ["Let ", "me ", "see."] if "please" in last["content"] else []
        return said, [("weather", {"town": town}) for town in towns]
    return ["You ", "said: ", last["content"]], []


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedLlm]:
    with scripted_llm(script) as model:
        yield model


@pytest.fixture(scope="module")
def house(model: ScriptedLlm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with scripted_house(model, tmp_path_factory, "sdk") as house:
        yield house


def transcript(response: Any) -> str:
    """What a response said."""
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    return " ".join((part.transcript or part.text or "").strip() for part in parts)


def calls(response: Any) -> list[Any]:
    return [item for item in response.output if item.type == "function_call"]


def test_functions_are_called_and_their_results_answered(house: House, model: ScriptedLlm) -> None:
    async def conversation(client: SdkClient) -> None:
        await client.configure(tools=[WEATHER])
        await client.write("How is it in Rome and Oslo?")
        asked = calls(await client.answer())
        assert [(call.name, call.arguments) for call in asked] == [
            ("weather", '{"town": "Rome"}'), ("weather", '{"town": "Oslo"}'),
        ]  # fmt: skip
        for call, weather in zip(asked, ("sunny", "cold"), strict=True):
            await client.result(call, weather)
        assert transcript(await client.answer()) == "It is sunny cold"
        roles = [message["role"] for message in model.requests[-1]["messages"]]
        assert roles == ["system", "user", "assistant", "tool", "tool"]
        await client.write("Thanks.")
        assert transcript(await client.answer()) == "You said: Thanks."

    talk(house, conversation)


def test_a_reply_may_speak_before_it_asks(house: House) -> None:
    async def conversation(client: SdkClient) -> None:
        await client.configure(tools=[WEATHER])
        await client.write("Rome, please!")
        response = await client.answer()
        assert transcript(response) == "Let me see." and [call.name for call in calls(response)] == [
            "weather"
        ]
        await client.result(calls(response)[0], "wet")
        assert transcript(await client.answer()) == "It is wet"

    talk(house, conversation)


def test_items_are_listed_asked_for_and_deleted(house: House, model: ScriptedLlm) -> None:
    async def conversation(client: SdkClient) -> None:
        await client.configure(output_modalities=["text"])
        first = await client.write("Forget this.")
        assert transcript(await client.answer()) == "You said: Forget this."
        await client.connection.conversation.item.retrieve(item_id=first)
        assert (await client.until("conversation.item.retrieved")).item.content[0].text == "Forget this."
        await client.connection.conversation.item.delete(item_id=first)
        assert (await client.until("conversation.item.deleted")).item_id == first
        await client.write("Well?")
        await client.answer()
        assert "Forget this." not in [message["content"] for message in model.requests[-1]["messages"]]

    talk(house, conversation)


def test_a_response_outside_the_conversation_is_answered_and_forgotten(
    house: House, model: ScriptedLlm
) -> None:
    async def conversation(client: SdkClient) -> None:
        await client.configure(instructions="Be kind.")
        await client.write("Hello.")
        said = [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Classify: tea"}]}
        ]
        aside = await client.answer(
            conversation="none", input=said, output_modalities=["text"], instructions="Classify.",
            metadata={"topic": "sorting"},
        )  # fmt: skip
        assert (aside.metadata, aside.conversation_id) == ({"topic": "sorting"}, None)
        assert transcript(aside) == "You said: Classify: tea"
        asked = model.requests[-1]["messages"]
        assert [message["content"] for message in asked] == ["Classify.", "Classify: tea"]
        assert transcript(await client.answer()) == "You said: Hello."
        assert [message["content"] for message in model.requests[-1]["messages"]] == ["Be kind.", "Hello."]

    talk(house, conversation)
