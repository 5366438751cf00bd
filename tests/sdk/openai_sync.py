"""The stock `openai` package, its synchronous client: a spoken conversation with a function and a barge-in."""

import base64
import threading
import time

from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from openai_events import WEATHER, Talk
from user import PACKET_S, User


def microphone(user: User, connection: RealtimeConnection, over: threading.Event) -> None:
    while not over.is_set():
        for packet in user.due():
            connection.input_audio_buffer.append(audio=base64.b64encode(packet).decode())
        time.sleep(PACKET_S)


def main() -> None:
    user = User()
    talk, over = Talk(user), threading.Event()
    openai = OpenAI(api_key="any", base_url=user.url.replace("ws", "http"), websocket_base_url=user.url)
    with openai.realtime.connect(model="antiphon") as connection:
        connection.session.update(
            session={"type": "realtime", "instructions": user.instructions, "tools": [WEATHER]}
        )
        speaking = threading.Thread(target=microphone, args=(user, connection, over))
        speaking.start()
        for event in connection:
            for answer in talk.answers(event):
                connection.send(answer)
            if user.satisfied:
                break
        over.set()
        speaking.join()
    user.report.print()


main()
