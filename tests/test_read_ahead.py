"""When the LLM is asked to read a prompt ahead."""

from config.messages import ChatMessage, Order
from web.read_ahead import KNOWN_S, ReadAhead


def order(text: str) -> Order:
    return Order(1, [ChatMessage("user", text)], "v", "pcm16")


def test_a_draft_is_asked_for_once_while_it_is_known() -> None:
    asked: list[str] = []
    moments = iter([100.0, 100.0 + KNOWN_S - 1, 100.0 + KNOWN_S])
    ahead = ReadAhead(lambda: asked.append("prefill"), lambda: next(moments))
    draft = order("hello")
    ahead.ask(draft)
    ahead.ask(draft)
    assert len(asked) == 1
    ahead.ask(draft)
    assert len(asked) == 2


def test_every_new_draft_is_asked_for() -> None:
    asked: list[str] = []
    ahead = ReadAhead(lambda: asked.append("prefill"))
    for number in range(3):
        ahead.ask(order(f"{number}"))
    assert len(asked) == 3
