"""Replies on their way to a client of Unmute's kind: what it is told while they are made."""

import json
from collections.abc import Iterable

from config.messages import TextDone, Words
from config.tuning import PacingSettings
from tests.unmute_bench import USUAL, new
from web.replier import Replier


class Client:
    """Reads along."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.replier = Replier(new(), self.tell, PacingSettings())

    def tell(self, messages: Iterable[str]) -> bool:
        self.told += [json.loads(message)["type"] for message in messages]
        return True


WRITTEN = (Words(0, ["Tea, ", "please?"], 0.0), TextDone(2, "stop"))


def test_the_text_is_told_as_done_once_it_is_written() -> None:
    client = Client()
    client.replier.start(1, 9.0, USUAL)
    for body in WRITTEN:
        client.replier.take(body, 9.5)
    assert client.told == [
        "response.created",
        "unmute.response.text.delta.ready",
        "response.text.done",
    ]


def test_a_reply_made_ahead_is_told_of_when_it_is_wanted() -> None:
    client = Client()
    client.replier.prepare(1, 9.0, USUAL)
    for body in WRITTEN:
        client.replier.take(body, 9.5)
    assert client.told == []
    client.replier.confirm(9.6)
    assert client.told == [
        "response.created",
        "unmute.response.text.delta.ready",
        "response.text.done",
    ]
