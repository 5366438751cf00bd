"""The stock `openai-agents` package, its realtime session: a spoken conversation with a function and a barge-in."""

import asyncio
from collections.abc import Callable
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from user import PACKET_S, User, said

user = User()


@function_tool
def weather(town: str) -> str:
    """The weather of a town."""
    user.report.tools.append(town)
    return "sunny"


def show(history: list[Any]) -> None:
    messages = [item for item in history if item.type == "message" and item.content]
    user.report.transcripts = [said(item.role, item.content[0].transcript) for item in messages]


def note(event: Any) -> None:
    """What came over the wire, before the package made something of it."""
    if event.type != "raw_server_event":
        return
    user.report.event(event.data["type"])
    if event.data["type"] == "conversation.item.truncated":
        user.report.truncated_ms.append(event.data["audio_end_ms"])


HANDLERS: dict[str, Callable[[Any], object]] = {
    "raw_model_event": lambda event: note(event.data),
    "audio": lambda event: user.hear(event.audio.data),
    "audio_interrupted": lambda event: user.stop_listening(),
    "history_updated": lambda event: show(event.history),
    "agent_end": lambda event: user.answered(),
    "error": lambda event: user.report.errors.append(str(event.error)),
}


async def microphone(session: RealtimeSession) -> None:
    while True:
        for packet in user.due():
            await session.send_audio(packet)
        await asyncio.sleep(PACKET_S)


async def main() -> None:
    agent = RealtimeAgent(name="Guide", instructions=user.instructions, tools=[weather])
    model = {"url": f"{user.url}/realtime?model=antiphon", "api_key": "any"}
    async with await RealtimeRunner(agent).run(model_config=model) as session:
        user.speak()
        speaking = asyncio.create_task(microphone(session))
        async for event in session:
            HANDLERS.get(event.type, lambda _: None)(event)
            if user.satisfied:
                break
        speaking.cancel()
    user.report.print()


asyncio.run(main())
