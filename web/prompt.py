"""What the LLM is asked: instructions and history to messages. Pure."""

from collections.abc import Sequence

from config.messages import ChatMessage, Order
from web.config import Wishes

#: Spoken answers are short; models are not, unless told.
DEFAULT_INSTRUCTIONS = (
    "You are a friendly voice assistant. What you write is read aloud: answer in plain English, in one or two short "
    "spoken sentences, without lists, markup or emoji."
)

#: Messages of the history that are sent along, at most.
HISTORY_MESSAGES = 24

#: Older ones are dropped so many at a time: each drop changes the beginning, and the LLM reads all of it again.
HISTORY_BLOCK = 12

#: Marks where the user cut the assistant short; the LLM never sees it.
INTERRUPTED = "—"

#: Said on the user's behalf when the assistant shall begin and nobody has spoken yet.
OPENING = "Hello!"

#: Warmer for the first message, steadier after: what Unmute found pleasant.
FIRST_TEMPERATURE, TEMPERATURE = 0.7, 0.3


def messages(instructions: str, history: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The prompt: one system message, then user and assistant in turns."""
    prompt = [ChatMessage("system", instructions or DEFAULT_INSTRUCTIONS)]
    for message in _newest(history):
        content = message.content.removesuffix(INTERRUPTED).strip()
        if not content:
            continue
        if message.role == "assistant" and len(prompt) == 1:
            prompt.append(ChatMessage("user", OPENING))
        if prompt[-1].role == message.role:
            prompt[-1] = ChatMessage(message.role, f"{prompt[-1].content} {content}")
        else:
            prompt.append(ChatMessage(message.role, content))
    if prompt[-1].role != "user":
        prompt.append(ChatMessage("user", OPENING))
    return prompt


def _newest(history: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    surplus = max(0, len(history) - HISTORY_MESSAGES)
    return history[-(-surplus // HISTORY_BLOCK) * HISTORY_BLOCK :]


def order(number: int, wishes: Wishes, history: Sequence[ChatMessage]) -> Order:
    """What the workers need to make reply `number`."""
    usual = FIRST_TEMPERATURE if number == 1 else TEMPERATURE
    return Order(
        number,
        messages(wishes.instructions, history),
        wishes.voice,
        wishes.output_format,
        usual if wishes.temperature is None else wishes.temperature,
        wishes.max_tokens,
        wishes.speed,
    )
