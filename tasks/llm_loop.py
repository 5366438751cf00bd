"""The LLM loop: one asyncio thread that streams every reply's words into its text stream."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from config import logs, unmute_metrics
from config.errors import AntiphonError, DeviceLost, StageFailed
from config.messages import (
    MOST_CALLS,
    Called,
    Cancel,
    Command,
    Consulted,
    Consulting,
    Failed,
    Order,
    TextDone,
    ToolCall,
    Words,
)
from config.own_tools import ToolSettings
from gpu_workers.engine import TokenEngine, Usage
from tasks.leases import Emitter
from tasks.loop import Loop
from tasks.loop_metrics import Writing
from tasks.own_tools import OwnTools
from tasks.seat import Seat
from tasks.shared_time import shared_time
from tasks.streams import RedisError
from tasks.talk import Talk

log = logging.getLogger(__name__)

#: Words of all replies that come within this time leave in one round trip; a reply's first word does not wait.
GATHER_S = 0.005

#: Longest sleep while there are replies, whose leases may be lost meanwhile, and with nothing to do.
BUSY_S, IDLE_S = 0.05, 0.2

#: Prompts that are read ahead at once, for each slot. A session has one at a time; more would keep replies waiting.
PREFILLS_PER_SLOT = 2


@dataclass(eq=False)
class Pen(Seat):
    """A seat that writes."""

    order: Order | None = None
    talk: Talk = field(default_factory=Talk)
    """What was said of it, by a predecessor too."""
    begun: int = 0
    """Words a predecessor left in the text stream."""
    again: bool = False
    """A predecessor asked for functions, and did not live to tell what they gave."""
    part: str = ""
    """The beginning of a word that is not complete."""
    opens: bool = True
    """What comes next begins the reply, or goes on after a wait: spaces before it are dropped."""
    said_again: str = ""
    """What an engine that cannot continue repeats, and nobody wants twice."""
    task: asyncio.Task[None] | None = None
    writing: Writing = field(init=False)

    @property
    def count(self) -> int:
        """Words sent so far; the number of the next one."""
        return len(self.talk.words)


class LlmLoop(Loop):
    """Its turns are coroutines: `turn` is one slice of the event loop."""

    stage = "llm"

    def __init__(
        self, engine: TokenEngine, emitter: Emitter, slots: int, own: OwnTools | None = None
    ) -> None:
        """own: the server's own tools; none without."""
        super().__init__(emitter, slots)
        self._engine = engine
        self._own = own or OwnTools({}, ToolSettings())  # type: ignore[call-arg]
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._prefills: set[asyncio.Task[None]] = set()
        self._device_lost: DeviceLost | None = None
        self._gathered: asyncio.TimerHandle | None = None
        """Ends the wait for company."""

    def enter(self, seat: Seat) -> None:
        """Hands a seat over and wakes the loop."""
        super().enter(seat)
        self._loop.call_soon_threadsafe(self._wake.set)

    def tell(self, command: Command) -> None:
        """Passes a command on and wakes the loop."""
        super().tell(command)
        self._loop.call_soon_threadsafe(self._wake.set)

    def run(self) -> None:
        """Warms and serves inside one event loop."""
        asyncio.set_event_loop(self._loop)
        super().run()
        self._loop.run_until_complete(self._engine.close())

    def warm_up(self) -> None:
        """Before `start`, in the caller's thread: the engine's first run, on the loop that will serve it."""
        self._loop.run_until_complete(self._engine.warm_up())

    def prefill(self, draft: Order, sid: str) -> None:
        """From any thread: a reply that probably comes. Where too many prompts are being read, it is left to it."""
        prompt = self._own.prompt(draft, sid)

        def start() -> None:
            if len(self._prefills) >= PREFILLS_PER_SLOT * self.slots:
                return
            task = self._loop.create_task(self._engine.prefill(prompt))
            self._prefills.add(task)
            task.add_done_callback(self._prefilled)

        self._loop.call_soon_threadsafe(start)

    def _prefilled(self, task: asyncio.Task[None]) -> None:
        """What went wrong with a prompt goes wrong again with its reply, and is told there; but for the device."""
        self._prefills.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, DeviceLost):
            self._lose_device(error)
        elif error is not None:
            log.warning("a prompt could not be read ahead: %s", type(error).__name__)

    def _lose_device(self, error: DeviceLost) -> None:
        self._device_lost = error
        self._wake.set()

    def turn(self) -> None:
        """Lets replies run until something is to be sent."""
        self.laps.lap("hand_over")
        self._loop.run_until_complete(self._doze())
        self.laps.lap_events()
        if self._device_lost is not None:
            raise self._device_lost
        self.outbox.flush()
        self.laps.lap("publish")
        self.see_off()

    async def _doze(self) -> None:
        alarm = self._loop.call_later(BUSY_S if self.seats else IDLE_S, self._wake.set)
        await self._wake.wait()
        alarm.cancel()
        self._wake.clear()
        if self._gathered is not None:
            self._gathered.cancel()
            self._gathered = None

    def _gather(self) -> None:
        """Something waits to be sent: soon, with what comes meanwhile."""
        if self._gathered is None:
            self._gathered = self._loop.call_later(GATHER_S, self._wake.set)

    def begin(self, seat: Seat) -> None:
        """Starts the reply's coroutine."""
        assert isinstance(seat, Pen)
        seat.begun, seat.opens, seat.again = seat.count, not seat.count, seat.talk.open
        seat.task = self._loop.create_task(self._write(seat))
        self._gather()  # that it was claimed is to be told

    def end(self, seat: Seat) -> None:
        """Stops it."""
        if isinstance(seat, Pen) and seat.task is not None:
            seat.task.cancel()

    def obey(self, command: Command) -> None:
        """Cancels a reply."""
        if isinstance(command, Cancel):
            seat = self.seats.get((command.sid, command.reply))
            if seat is not None and not seat.lost:
                unmute_metrics.vllm_interrupts.inc()
                seat.call_off()

    async def _write(self, pen: Pen) -> None:
        assert pen.order is not None
        logs.note(**pen.about)
        usage = Usage()
        writing = pen.writing = Writing(pen.order.messages)
        try:
            async with contextlib.aclosing(self._pieces(pen, pen.order, usage)) as pieces:
                async for piece in pieces:
                    writing.piece()
                    if isinstance(piece, str):
                        self._put(pen, piece)
                    elif pen.talk.called < MOST_CALLS:
                        self._call(pen, piece)
            self._finish(pen, usage)
        except asyncio.CancelledError:
            raise
        except DeviceLost as error:
            unmute_metrics.vllm_hard_errors.inc()
            self._lose_device(error)
        except Exception as error:
            unmute_metrics.vllm_hard_errors.inc()
            why = str(error) if isinstance(error, AntiphonError) else type(error).__name__
            log.error("llm engine failed: %s", why, extra=pen.about)
            self.outbox.add(pen, Failed("llm_failed", why))
            self._try_flush()
            self.leave(pen, done=True)
        finally:
            writing.over()

    def _pieces(self, pen: Pen, order: Order, usage: Usage) -> AsyncGenerator[str | ToolCall, None]:
        """The model's, or the words that were ordered. One whose predecessor asked for calls has no more to say."""
        if pen.talk.called:
            return _read_out("")
        if order.say:
            return _read_out(order.say.removeprefix(pen.talk.answered))
        return self._answers(pen, order, usage)

    async def _answers(self, pen: Pen, order: Order, usage: Usage) -> AsyncGenerator[str | ToolCall, None]:
        """The model's answer; and where it asks for functions of ours, the next one, which knows their results."""
        for _ in range(self._own.most_rounds):
            if not pen.talk.open:
                asked: list[ToolCall] = []
                async with contextlib.aclosing(self._answer(pen, order, usage)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, ToolCall) and self._own.runs(piece, order):
                            asked.append(piece)
                        else:
                            yield piece
                if not asked:
                    return
                await self._own.hold(pen.sid, order.reply)
                self._consult(pen, asked)
            await self._run_own(pen, order)
            if pen.talk.called:  # the model goes on when it knows the client's results, too
                return
            if usage.output_tokens >= order.max_tokens:
                usage.stopped = "length"
                return
        raise StageFailed("the model asks for functions without end")

    async def _answer(self, pen: Pen, order: Order, usage: Usage) -> AsyncGenerator[str | ToolCall, None]:
        """One answer of the model; `usage` counts them all."""
        left = order.max_tokens - usage.output_tokens
        prompt, spent = self._own.prompt(order, pen.sid, pen.talk, left), Usage()
        pen.said_again = "" if self._engine.continues else prompt.answered
        pieces: AsyncGenerator[str | ToolCall, None] = self._engine.generate(prompt, spent)  # type: ignore[assignment]
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece
        usage.input_tokens += spent.input_tokens
        usage.output_tokens += spent.output_tokens
        usage.stopped = spent.stopped

    def _consult(self, pen: Pen, asked: list[ToolCall]) -> None:
        """Functions of ours are asked for: what was said before is spoken meanwhile, and the web knows why it waits."""
        self._end_sentence(pen)
        self._tell(pen, Consulting(asked, self._own.patience_s))

    async def _run_own(self, pen: Pen, order: Order) -> None:
        """Runs what was asked for last. A function that takes long is bridged, unless something was said already."""
        calls, again = pen.talk.rounds[-1].calls, pen.again
        pen.again = False
        phrase = "" if pen.count else self._own.phrase(order)
        before = pen.talk.asked - len(calls)
        async with contextlib.aclosing(self._own.run(calls, phrase, before=before, again=again)) as news:
            async for said in news:
                if isinstance(said, str):
                    self._bridge(pen, said)
                else:
                    self._tell(pen, Consulted(said))
        pen.opens = True

    def _bridge(self, pen: Pen, phrase: str) -> None:
        """Words that the model never said."""
        if phrase:
            self._say(pen, [f"{word} " for word in phrase.split()], filler=True)

    def _tell(self, pen: Pen, body: Called | Consulting | Consulted) -> None:
        """Whoever waits for it should not wait longer."""
        self.outbox.add(pen, body)
        pen.talk.take(body)
        self._try_flush()

    def _say(self, pen: Pen, words: list[str], *, filler: bool = False) -> None:
        """Sends whole words."""
        body = Words(pen.count, words, shared_time.now_s(), filler)
        self.outbox.add(pen, body)
        first = pen.count == pen.begun
        pen.talk.take(body)
        if not filler:
            pen.writing.wrote(len(words))
        pen.mark("first_word")
        if first or filler:
            self._try_flush()
        else:
            self._gather()

    def _put(self, pen: Pen, piece: str) -> None:
        """Adds a piece; sends the words it completes."""
        if pen.said_again:
            piece = self._skip_repeated(pen, piece)
        pen.part = (pen.part + piece).lstrip() if pen.opens else pen.part + piece
        *whole, pen.part = _split_keeping_space(pen.part)
        if whole:
            pen.opens = False
            self._say(pen, whole)

    def _call(self, pen: Pen, call: ToolCall) -> None:
        """A function of the client's is asked for."""
        self._end_word(pen)
        if not pen.count and not pen.talk.called and pen.order is not None:
            self._bridge(pen, self._own.phrase(pen.order, before_client_calls=True))
        self._tell(pen, Called(pen.talk.called, call))

    @staticmethod
    def _skip_repeated(pen: Pen, piece: str) -> str:
        """Strips what the predecessor said already, as long as the new answer repeats it."""
        known, pen.said_again = pen.said_again, ""
        if known.startswith(piece):
            pen.said_again = known[len(piece) :]
            return ""
        return piece[len(known) :] if piece.startswith(known) else piece

    def _end_word(self, pen: Pen) -> None:
        """Nothing comes after it that could belong to it."""
        word, pen.part = pen.part, ""
        if word.strip():
            self._say(pen, [word])

    def _end_sentence(self, pen: Pen) -> None:
        """What follows a wait is another sentence: it is spoken so, and reads so in the transcript."""
        said = pen.part.rstrip()
        if said and said[-1].isalnum() | (said[-1] in ",;:-–—"):
            said = said.rstrip(",;:-–— ") + "."
        pen.part = said and said + " "
        self._end_word(pen)

    def _finish(self, pen: Pen, usage: Usage) -> None:
        self._end_word(pen)
        reason = "length" if usage.stopped == "length" else "stop"
        self.outbox.add(pen, TextDone(pen.count, reason, usage.input_tokens, usage.output_tokens))  # type: ignore[arg-type]
        self._try_flush()
        self.leave(pen, done=True)

    def _try_flush(self) -> None:
        with contextlib.suppress(RedisError):
            self.outbox.flush()


async def _read_out(text: str) -> AsyncGenerator[str | ToolCall, None]:
    yield text


def _split_keeping_space(text: str) -> list[str]:
    """Whole words, each with the space that follows it; the last element is what is not yet whole."""
    words: list[str] = []
    start = 0
    for at in range(1, len(text)):
        if text[at - 1].isspace() and not text[at].isspace() and text[start:at].strip():
            words.append(text[start:at])
            start = at
    rest = text[start:]
    if rest[-1:].isspace() and rest.strip():
        return [*words, rest, ""]
    return [*words, rest]
