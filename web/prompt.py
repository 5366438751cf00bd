"""What the LLM is asked: instructions and history to messages, within the room that the model has. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec

from config.errors import ClientError, PromptTooLong
from config.messages import MAX_MESSAGES, ChatMessage, Order, ToolCall
from config.tokens import message_tokens
from web.config import Truncation, Wishes
from web.items import Item

#: Spoken answers are short; models are not, unless told.
DEFAULT_INSTRUCTIONS = (
    "You are a friendly voice assistant. What you write is read aloud: answer in plain English, in one or two short "
    "spoken sentences, without lists, markup or emoji."
)

#: Messages of the history that are sent along, at most: what a session that asks for nothing else pays for.
HISTORY_MESSAGES = 24

#: Older ones are dropped so many at a time: each drop changes the beginning, and the LLM reads all of it again.
HISTORY_BLOCK = 12

#: As many as one order may carry, beside the system message and two openings.
MOST_MESSAGES = MAX_MESSAGES - 3

#: What is kept of the room for the history when some must go, for the same reason.
RETENTION = 0.5

#: Least room beside the instructions: one question.
QUESTION_TOKENS = 128

#: Marks where the user cut the assistant short; the LLM never sees it.
INTERRUPTED = "—"

#: Said on the user's behalf when the assistant shall begin and nobody has spoken yet.
OPENING = "Hello!"

#: It may stand before the first message and after the last.
_OPENING_TOKENS = 2 * message_tokens(ChatMessage("user", OPENING))

#: Warmer for the first message, steadier after: what Unmute found pleasant.
FIRST_TEMPERATURE, TEMPERATURE = 0.7, 0.3


@dataclass(frozen=True)
class Asked:
    """What the workers need, and what they do not get."""

    order: Order
    dropped: int
    """Messages of the history, the oldest, that are left out."""


def ask(number: int, wishes: Wishes, history: Sequence[ChatMessage], context_tokens: int | None) -> Asked:
    """What makes reply `number`, in a model whose prompt and answer have `context_tokens`; None: nobody knows.

    Raises PromptTooLong where the newest words have no room, or nothing may be dropped.
    """
    answer = wishes.max_tokens if context_tokens is None else min(wishes.max_tokens, context_tokens // 2)
    room = None
    if context_tokens is not None:
        room = context_tokens - answer - _system_tokens(wishes) - _OPENING_TOKENS
    dropped = surplus(history, wishes.truncation, room)
    usual = FIRST_TEMPERATURE if number == 1 else TEMPERATURE
    order = Order(
        number,
        messages(wishes.instructions, history[dropped:]),
        wishes.voice,
        wishes.output_format,
        usual if wishes.temperature is None else wishes.temperature,
        answer,
        wishes.speed,
        wishes.language,
        tools=list(wishes.tools),
        tool_choice=wishes.tool_choice,
        spoken=not wishes.text_only,
    )
    return Asked(order, dropped)


def messages(instructions: str, history: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The prompt: one system message, then user and assistant in turns; what a tool said follows the call of it."""
    prompt = [ChatMessage("system", instructions or DEFAULT_INSTRUCTIONS)]
    for message in _answered(history):
        content = message.content.removesuffix(INTERRUPTED).strip()
        if message.role == "tool":
            prompt.append(ChatMessage("tool", content, tool_call_id=message.tool_call_id))
            continue
        if not content and not message.tool_calls:
            continue
        if message.role == "assistant" and len(prompt) == 1:
            prompt.append(ChatMessage("user", OPENING))
        if prompt[-1].role == message.role:
            joined = f"{prompt[-1].content} {content}".strip()
            prompt[-1] = ChatMessage(message.role, joined, prompt[-1].tool_calls + message.tool_calls)
        else:
            prompt.append(ChatMessage(message.role, content, message.tool_calls))
    if prompt[-1].role not in ("user", "tool"):
        prompt.append(ChatMessage("user", OPENING))
    return prompt


#: After the last message of a history.
_END = ChatMessage("system", "")


def _answered(history: Sequence[ChatMessage]) -> Iterator[ChatMessage]:
    """Without calls that nobody has answered, and answers to calls that are not there; each answer behind its call.

    Models take it for an error where one stands alone, and whatever was said while a tool ran stands between them.
    """
    answers = {message.tool_call_id: message for message in history if message.role == "tool"}
    calls: list[ToolCall] = []
    for message in (*history, _END):
        if message.role == "tool":
            continue
        consulted = _consulted(message)
        if calls and (consulted or not message.tool_calls):
            yield ChatMessage("assistant", "", tuple(calls))
            yield from (answers[call.id] for call in calls)
            calls = []
        yield from consulted
        if message.content:
            yield ChatMessage(message.role, message.content)
        calls += [call for call in message.tool_calls if call.id in answers]


def _consulted(message: ChatMessage) -> list[ChatMessage]:
    """What a reply asked the server's own functions, and what they gave: a model that does not see that it asked would
    make up the next answer."""
    exchanges = message.consulted if isinstance(message, Item) else ()
    return [told for exchange in exchanges for told in exchange.messages()]


def _tokens(message: ChatMessage) -> int:
    return message_tokens(message) + sum(map(message_tokens, _consulted(message)))


def surplus(history: Sequence[ChatMessage], wish: Truncation, room: int | None) -> int:
    """How many of the oldest messages must go, so that the rest has `room` tokens. The newest of the user's stays.

    The answer grows in steps only: between two of them the prompt begins the same, and an engine's cache serves it.
    Raises PromptTooLong.
    """
    limits = [limit for limit in (room, wish.history_tokens) if limit is not None]
    if wish.how == "disabled":
        if (limits and sum(map(_tokens, history)) > limits[0]) or _count(history) > MOST_MESSAGES:
            raise PromptTooLong(
                "the conversation has outgrown the model's context, and truncation is disabled"
            )
        return 0
    by_tokens = _step(history, min(limits), wish.retention) if limits else 0
    told = _count(history) - len(history)
    most = max(0, MOST_MESSAGES - told) if wish.retention is not None and limits else HISTORY_MESSAGES
    dropped = min(max(by_tokens, _old(len(history), most)), _newest_words(history))
    if room is not None and sum(map(_tokens, history[dropped:])) > room:
        raise PromptTooLong(f"what was said last is too long: the model has room for {max(0, room)} tokens")
    return dropped


def _count(history: Sequence[ChatMessage]) -> int:
    """Messages that a prompt would have of it."""
    return len(history) + sum(len(_consulted(message)) for message in history)


def _step(history: Sequence[ChatMessage], limit: int, retention: float | None) -> int:
    """The fewest that free a whole number of blocks, each of which is what is not retained of the limit."""
    reached = list(accumulate(map(_tokens, history), initial=0))
    if reached[-1] <= limit:
        return 0
    block = max(1, int(limit * (1 - (RETENTION if retention is None else retention))))
    to_free = -(-(reached[-1] - limit) // block) * block
    return next((count for count, freed in enumerate(reached) if freed >= to_free), len(history))


def _old(count: int, most: int) -> int:
    return -(-max(0, count - most) // HISTORY_BLOCK) * HISTORY_BLOCK


def _newest_words(history: Sequence[ChatMessage]) -> int:
    """The place of the user's newest message; without one, of the last."""
    spoken = (place for place in reversed(range(len(history))) if history[place].role == "user")
    return next(spoken, max(0, len(history) - 1))


def _system_tokens(wishes: Wishes) -> int:
    """The instructions, and the tools, which models are told of in the same place."""
    told = wishes.instructions or DEFAULT_INSTRUCTIONS
    tools = msgspec.json.encode(wishes.tools).decode() if wishes.tools else ""
    return message_tokens(ChatMessage("system", told + tools))


def too_long(wishes: Wishes, context_tokens: int | None) -> str:
    """Why the model cannot take these instructions and tools and still be asked something; empty if it can."""
    if context_tokens is None:
        return ""
    room = context_tokens - min(wishes.max_tokens, context_tokens // 2) - QUESTION_TOKENS
    needed = _system_tokens(wishes) + _OPENING_TOKENS
    if needed <= room:
        return ""
    what = "instructions and tools" if wishes.tools else "instructions"
    return f"these {what} make about {needed} tokens; the model has room for {max(0, room)}"


def require_room(wishes: Wishes, context_tokens: int | None) -> None:
    """Raises ClientError, to who sent the instructions, where nothing else would fit beside them."""
    if why := too_long(wishes, context_tokens):
        raise ClientError(why, param="session.instructions", code=PromptTooLong.code)


def draft(
    number: int, wishes: Wishes, history: Sequence[ChatMessage], context_tokens: int | None
) -> Order | None:
    """The order of a reply that nobody asked for yet, to be read ahead; None where it would have no room."""
    try:
        return ask(number, wishes, history, context_tokens).order
    except PromptTooLong:
        return None
