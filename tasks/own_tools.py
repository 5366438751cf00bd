"""The server's own tools in replies: who is offered which, what the model is shown of them, and how they are run."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from config.errors import ConfigError, StageFailed
from config.messages import Order, Tool, ToolCall
from config.own_tools import ToolSettings
from config.tokens import text_tokens
from gpu_workers.engine import Prompt
from gpu_workers.language.chat_messages import fitting
from tasks.streams import RedisError
from tasks.talk import Talk
from tasks.tool_threads import ToolThreads
from tasks.toolbox import Toolbox

log = logging.getLogger(__name__)

#: A reply made ahead is asked about so often, once it would call a function: its turn ends within a second, or never.
ASK_S = 0.05

#: Longest wait for that; a web process that died says neither.
HOLD_S = 10.0

#: Of a model's window, for being told of functions.
MOST_SHARE = 0.5

#: What a model is told that does not stop asking.
ENOUGH = "No more functions can be called in this answer. Answer with what you know."

#: What it is told of a function that must not run twice, after its worker died.
UNKNOWN = "It is not known whether this was done: the server failed meanwhile. It was not tried again."

#: Whether a reply is certain to be wanted; waits for Redis, and raises RedisError.
LetOut = Callable[[str, int], bool]


class OwnTools:
    """For one LLM loop."""

    def __init__(
        self,
        toolbox: Toolbox,
        settings: ToolSettings,
        let_out: LetOut = lambda sid, reply: True,
        window_tokens: int | None = None,
    ) -> None:
        """window_tokens: prompt and answer of the model, where that is known."""
        self._toolbox = toolbox
        self._settings = settings
        self._let_out = let_out
        self._window = window_tokens
        self._tools = [own.tool for own in toolbox.values()]
        self._threads = ToolThreads(settings)

    @property
    def most_rounds(self) -> int:
        """Answers of the model in one reply: one after each call, and one that must be the last."""
        return self._settings.most_calls + 2

    @property
    def patience_s(self) -> float:
        """Calls that run together are over by then."""
        return self._settings.timeout_s + 1.0

    def _offered(self, order: Order) -> list[Tool]:
        """Ours, where the client leaves the choice to the model and has none of the same name."""
        if order.tool_choice != "auto":
            return []
        taken = {tool.name for tool in order.tools}
        return [tool for tool in self._tools if tool.name not in taken]

    def runs(self, call: ToolCall, order: Order) -> bool:
        """Whether it is ours to run, and not the client's."""
        return any(tool.name == call.name for tool in self._offered(order))

    def prompt(
        self, order: Order, sid: str, talk: Talk | None = None, max_tokens: int | None = None
    ) -> Prompt:
        """What the model is asked, ahead or now; with the same beginning, whenever it is."""
        own, messages = self._offered(order), list(order.messages)
        if talk is not None:
            messages += talk.messages()
        most = order.max_tokens if max_tokens is None else max_tokens
        if own and self._window is not None:
            messages = fitting(messages, self._window - order.max_tokens - _tokens([*order.tools, *own]))
        choice = order.tool_choice
        if own and talk is not None and talk.asked >= self._settings.most_calls:
            choice = "none"
        answered = talk.answered if talk is not None else ""
        return Prompt(messages, order.temperature, most, answered, sid, [*order.tools, *own], choice)

    def phrase(self, order: Order, *, before_client_calls: bool = False) -> str:
        """What bridges a wait in this reply; empty: nothing."""
        on = self._settings.wait_phrase_after_ms > 0
        if before_client_calls:
            on = self._settings.wait_phrase_before_client_calls
        return self._settings.wait_phrase(order.language) if on and order.spoken else ""

    async def hold(self, sid: str, reply: int) -> None:
        """Until the reply is certain to be wanted. StageFailed when nobody says so."""
        deadline = time.monotonic() + HOLD_S
        while not await asyncio.to_thread(self._is_let_out, sid, reply):
            if time.monotonic() > deadline:
                raise StageFailed("nobody let out a reply that was made ahead")
            await asyncio.sleep(ASK_S)

    def _is_let_out(self, sid: str, reply: int) -> bool:
        try:
            return self._let_out(sid, reply)
        except RedisError:
            return False

    async def run(
        self, calls: Sequence[ToolCall], phrase: str, *, before: int, again: bool
    ) -> AsyncGenerator[str | list[str], None]:
        """The phrase, if it takes so long; then the results. before: calls of earlier rounds of this reply; again: a
        predecessor began these."""
        running = [
            asyncio.create_task(self._run(call, again=again, count=before + number))
            for number, call in enumerate(calls, 1)
        ]
        try:
            if phrase:
                _, slow = await asyncio.wait(running, timeout=self._settings.wait_phrase_after_ms / 1e3)
                if slow:
                    yield phrase
            yield await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()

    async def _run(self, call: ToolCall, *, again: bool, count: int) -> str:
        own = self._toolbox.get(call.name)
        if own is None:  # its predecessor had other functions
            return "There is no such function any more."
        if count > self._settings.most_calls:
            return ENOUGH
        if again and own.once:
            log.warning("tool %s: not run again after its worker's death", call.name)
            return UNKNOWN
        return await self._threads.run(own, call.arguments)


def require_room(toolbox: Toolbox, window_tokens: int | None) -> None:
    """Raises ConfigError where a model that is told of all these has too little room left for a conversation."""
    needed = _tokens([own.tool for own in toolbox.values()])
    if window_tokens is not None and needed > window_tokens * MOST_SHARE:
        raise ConfigError(
            f"the functions of tools.folder make about {needed} tokens, of {window_tokens} that prompt and answer "
            "have: shorten their docstrings, name fewer in tools.enabled, or give the model more room"
        )


def _tokens(tools: Sequence[Tool]) -> int:
    return text_tokens(msgspec.json.encode(tools).decode())
