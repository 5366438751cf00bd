"""The stock `openai` package, its asynchronous client: a spoken conversation with a function and a barge-in."""

import asyncio
import base64

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai_events import WEATHER, Talk
from user import PACKET_S, User


async def microphone(user: User, connection: AsyncRealtimeConnection) -> None:
    while True:
        for packet in user.due():
            await connection.input_audio_buffer.append(audio=base64.b64encode(packet).decode())
        await asyncio.sleep(PACKET_S)


async def main() -> None:
    user = User()
    talk = Talk(user)
    openai = AsyncOpenAI(api_key="any", base_url=user.url.replace("ws", "http"), websocket_base_url=user.url)
    async with openai.realtime.connect(model="antiphon") as connection:
        await connection.session.update(
            session={"type": "realtime", "instructions": user.instructions, "tools": [WEATHER]}
        )
        speaking = asyncio.create_task(microphone(user, connection))
        async for event in connection:
            for answer in talk.answers(event):
                await connection.send(answer)
            if user.satisfied:
                break
        speaking.cancel()
    user.report.print()


asyncio.run(main())
