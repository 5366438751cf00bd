"""Runs the server's own tools: a thread for each call, so many at once, so long each. All that happens is a result."""

import asyncio
import logging
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

import pydantic_core
from pydantic import ValidationError

from config import metrics
from config.own_tools import ToolSettings
from tasks.toolbox import OwnTool

log = logging.getLogger(__name__)

#: Ends a result that was cut.
CUT = " … (the rest was cut off)"


class ToolThreads:
    """Used from one event loop. A thread that was given up is left to end by itself; until then it counts."""

    def __init__(self, settings: ToolSettings) -> None:
        self._settings = settings
        self._room = asyncio.Semaphore(settings.at_once)

    async def run(self, own: OwnTool, arguments: str) -> str:
        """What the model is told of a call; never raises but when it is cancelled."""
        began = time.monotonic()
        text, outcome, why = await self._outcome(own, arguments)
        took_s = time.monotonic() - began
        metrics.tool_seconds.labels(outcome).observe(took_s)
        level = logging.INFO if outcome == "done" else logging.WARNING
        log.log(
            level, "tool %s: %s after %.2f s%s", own.tool.name, outcome, took_s, f" ({why})" if why else ""
        )
        most = self._settings.result_characters
        return text if len(text) <= most else text[: most - len(CUT)] + CUT

    async def _outcome(self, own: OwnTool, arguments: str) -> tuple[str, str, str]:
        """The result; how it ended, and why, for the log, where nothing stands that a user said."""
        try:
            given = own.read(arguments)
        except ValidationError as refused:
            return f"The arguments do not fit: {_faults(refused)}.", "refused", "arguments"
        try:
            async with asyncio.timeout(self._settings.timeout_s) as limit:
                await self._room.acquire()
                value, error = await self._in_thread(own, given)
        except TimeoutError:
            assert limit.expired()
            return f"There is no result: it took longer than {self._settings.timeout_s:g} s.", "given up", ""
        if error is not None:
            return _failure(error), "failed", _whereabouts(error, own)
        try:
            return _as_text(value), "done", ""
        except pydantic_core.PydanticSerializationError:
            return "The function failed.", "failed", f"it returned {type(value).__name__}, which is no JSON"

    async def _in_thread(self, own: OwnTool, given: dict[str, Any]) -> tuple[Any, BaseException | None]:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def end(value: Any, error: BaseException | None) -> None:
            self._room.release()
            if not ended.done():
                ended.set_result((value, error))

        def work() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = own.run(given, self._settings.timeout_s), None
            except BaseException as error:  # SystemExit, too: the worker goes on
                outcome = None, error
            with suppress(RuntimeError):  # the loop is closed: the worker ends
                loop.call_soon_threadsafe(end, *outcome)

        threading.Thread(target=work, name=f"tool-{own.tool.name}", daemon=True).start()
        return await ended


def _failure(error: BaseException) -> str:
    """A function tells the model what it should know by a ValueError; others speak of the server's inside."""
    if isinstance(error, ValueError) and str(error):
        return f"The function failed: {error}"
    return f"The function failed ({type(error).__name__})."


def _whereabouts(error: BaseException, own: OwnTool) -> str:
    """The kind of an exception and its line in the function's file; its message may hold what a user said."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(own.file)]
    return f"{type(error).__name__} at {own.file.name}:{lines[-1]}" if lines else type(error).__name__


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'all of it'}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)
    )


def _as_text(value: Any) -> str:
    """Text as it is; anything else as JSON. Nothing returned means that it is done."""
    if value is None:
        return "Done."
    return value if isinstance(value, str) else pydantic_core.to_json(value).decode()
