"""A call: one conversation over a WebSocket, with the microphone as a clockwork of 20 ms packets.

Packet n leaves at start + (n + 1) * 20 ms, reckoned from one start, so nothing drifts. After the file comes
silence, until the conversation is over.

When the line is lost, microphone time goes on. Once the session is taken up again, what fell due meanwhile is
sent as one burst, at most its last 2 s, so that no word of a short break is missed; older audio is given
up, for a server has no use for a minute of the past. A packet of the burst counts as sent when it
fell due: that is when the user said it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import urlsplit

from websockets import exceptions as ws
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from cli import happenings as h
from cli.credentials import FINAL, headers, told
from cli.dialect import Dialect
from cli.measure import TurnBook
from cli.sound import PACKET_S, SILENCE, Clip
from config.errors import AntiphonError

#: The server admits or refuses a session within 20 s; a busy machine gets a little more.
OPENING_S = 30.0
#: The assistant that speaks first gets this long to begin; then the user does.
GREETING_S = 20.0
#: After these codes a session may be waiting for us: the ones SDKs reconnect on, and 1006, which is no close at all.
RESUMABLE = frozenset({1001, 1005, 1006, 1011, 1012, 1013, 1015})
RESUME_S = 15.0
RESUME_EVERY_S = 0.25
#: At most this much of the microphone is caught up after a break.
BURST_PACKETS = round(2.0 / PACKET_S)
#: In a file without a turn so far, a last word may still be heard so long after its end.
LINGER_S = 2.0
#: Larger than any event a server sends: a second of base64 PCM is 64 kB.
MAX_MESSAGE_BYTES = 4 * 2**20

_UNREACHABLE = (OSError, ws.InvalidHandshake, ws.InvalidURI, TimeoutError)


class CallFailed(AntiphonError):
    """The conversation could not be held, or not to its end."""

    code = "call_failed"


@dataclass(frozen=True)
class Plan:
    """What is to be said, to whom, and when to stop."""

    url: str
    clip: Clip
    #: Stop after so many turns; None: when the file and the last reply have ended.
    turns: int | None = None
    #: How long after the file's end the last reply may end.
    timeout_s: float = 60.0
    api_key: str | None = field(default=None, repr=False)


class Call:
    """Holds the conversation; every happening goes to `tell` with its time in seconds since the call was made."""

    def __init__(
        self, plan: Plan, dialect: Dialect, book: TurnBook, tell: Callable[[h.Happening, float], None]
    ) -> None:
        self._plan = plan
        self._dialect = dialect
        self._book = book
        self._tell = tell
        self._zero = monotonic()
        self._dialled_at = -RESUME_EVERY_S
        self._resume_token: str | None = None
        self._opened = self._ready = False
        self._started_at: float | None = None
        self._ready_at = 0.0
        self._position = 0
        self._burst_until = 0
        self._file_from: int | None = None
        self._file_ended_at: float | None = None

    @property
    def began(self) -> bool:
        """Whether the server ever listened to us."""
        return self._started_at is not None

    @property
    def said_enough(self) -> bool:
        """The turns that were asked for are over: what is said after them is nobody's concern."""
        return self._plan.turns is not None and self._book.exchanges_over(self._now()) >= self._plan.turns

    async def run(self) -> None:
        """Talk until done. Raises CallFailed with one line that says what went wrong."""
        lost_at: float | None = None
        while True:
            try:
                async with await self._dial(lost_at) as socket:
                    await self._open(socket)
                    if lost_at is not None:
                        self._catch_up()
                    return await self._converse(socket)
            except ws.ConnectionClosed as closed:
                if self._hung_up(closed):
                    return None
                lost_at = self._now()

    def _now(self) -> float:
        return monotonic() - self._zero

    def _note(self, happening: h.Happening, t: float | None = None) -> None:
        self._tell(happening, self._now() if t is None else t)

    # The line.

    async def _dial(self, lost_at: float | None) -> ClientConnection:
        """A new connection; after a break, tries until the 15 s in which the server keeps the session are over."""
        while True:
            await asyncio.sleep(max(0.0, self._dialled_at + RESUME_EVERY_S - self._now()))
            self._dialled_at = self._now()
            try:
                return await self._connect()
            except _UNREACHABLE as error:
                if lost_at is None or _is_final(error):
                    raise CallFailed(f"cannot reach {self._plan.url}: {_reason(error)}") from None
                if self._now() > lost_at + RESUME_S:
                    raise CallFailed(
                        f"the line was lost and not found again in {RESUME_S:.0f} s: {_reason(error)}"
                    ) from None

    async def _connect(self) -> ClientConnection:
        host = urlsplit(self._plan.url).hostname or ""
        offers = [Subprotocol(name) for name in self._dialect.subprotocols(self._resume_token)]
        return await connect(
            self._plan.url,
            subprotocols=offers or None,
            additional_headers=headers(self._plan.api_key),
            compression=None,  # base64 of sound shrinks little and costs time on the path we measure
            max_size=MAX_MESSAGE_BYTES,
            close_timeout=1,
            proxy=None if host in {"127.0.0.1", "localhost", "::1"} else True,
        )

    def _hung_up(self, closed: ws.ConnectionClosed) -> bool:
        """Whether the server ended a conversation that was over anyway; False: call again. Raises CallFailed."""
        frame = closed.rcvd
        code = 1006 if frame is None else frame.code
        words = f"{code} {frame.reason}".strip() if frame is not None and frame.reason else str(code)
        if code == 1000 and self._file_ended_at is not None and self._book.settled(self._now()):
            return True
        if self._started_at is None and self._resume_token is None:
            raise CallFailed(f"the server closed the line before the conversation began ({words})")
        if code not in RESUMABLE:
            raise CallFailed(f"the server ended the conversation ({words})")
        if self._resume_token is None:
            raise CallFailed(f"the line was lost ({words}), and the server offers no way back")
        self._note(h.LineLost(code))
        self._check_deadline()
        return False

    async def _open(self, socket: ClientConnection) -> None:
        """From an open socket to a server that listens. A resumed session is listening already."""
        self._opened = False
        try:
            async with asyncio.timeout(OPENING_S):
                for message in self._dialect.hello():
                    await socket.send(message)
                while not self._opened:
                    await self._hear(socket)
                if not self._ready:
                    for message in self._dialect.configure():
                        await socket.send(message)
                while not self._ready:
                    await self._hear(socket)
        except TimeoutError:
            wanted = "accept the session" if self._opened else "open a session"
            raise CallFailed(f"{self._plan.url} did not {wanted} within {OPENING_S:.0f} s") from None

    async def _hear(self, socket: ClientConnection) -> None:
        message = await socket.recv()
        t = self._now()
        for happening in self._dialect.understand(message):
            match happening:
                case h.SessionOpened(session, token):
                    self._ready = self._ready and session == self._book.session
                    self._opened = True
                    self._resume_token = token or self._resume_token
                case h.SessionReady():
                    self._ready = True
                    self._ready_at = self._ready_at or t
                case h.ServerError(message=words, refused=True) if not self._ready:
                    raise CallFailed(f"the server refused the session: {words}")
            self._note(happening, t)

    # The conversation.

    async def _converse(self, socket: ClientConnection) -> None:
        """Speak and listen on this connection until all is said, or the line is lost."""
        listening = asyncio.create_task(self._listen(socket))
        speaking = asyncio.create_task(self._speak(socket))
        try:
            await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done() and isinstance(speaking.exception(), ws.ConnectionClosed):
                await listening  # what the server said before it left is still in the socket's queue
            for task in (speaking, listening):
                if task.done():
                    task.result()
        finally:
            for task in (speaking, listening):
                task.cancel()
            await asyncio.gather(speaking, listening, return_exceptions=True)

    async def _listen(self, socket: ClientConnection) -> None:
        while True:
            await self._hear(socket)

    async def _speak(self, socket: ClientConnection) -> None:
        if self._started_at is None:
            self._started_at = self._now()
        while not self._over():
            due = self._due(self._position)
            await asyncio.sleep(max(0.0, due - self._now()))
            self._begin_file()
            await self._send(socket, due)

    def _due(self, position: int) -> float:
        assert self._started_at is not None
        return self._started_at + (position + 1) * PACKET_S

    async def _send(self, socket: ClientConnection, due: float) -> None:
        clip, index = self._plan.clip, self._index()
        spoken = index is not None and 0 <= index < len(clip.packets)
        packet = clip.packets[index] if spoken and index is not None else SILENCE
        for message in self._dialect.append(packet):
            await socket.send(message)
        t = due if self._position < self._burst_until else self._now()
        heard = (clip.loud[index], clip.clear[index]) if spoken and index is not None else (False, False)
        self._note(h.PacketSent(*heard), t)
        self._position += 1
        self._end_file()

    def _index(self) -> int | None:
        """The clip's packet whose turn it is; None while the file waits."""
        return None if self._file_from is None else self._position - self._file_from

    def _begin_file(self) -> None:
        if self._file_from is not None:
            return
        t = self._now()
        if self._dialect.assistant_first and not self._book.greeted(t):
            if self._book.replies or t < self._ready_at + GREETING_S:
                return
            self._note(
                h.ServerError("no_greeting", f"the assistant did not speak first within {GREETING_S:.0f} s")
            )
        self._file_from = self._position
        self._note(h.FileStarted())

    def _end_file(self) -> None:
        index = self._index()
        if self._file_ended_at is None and index is not None and index >= len(self._plan.clip.packets):
            self._note(h.FileEnded())
            self._file_ended_at = self._now()

    def _catch_up(self) -> None:
        """After a break: give up all but the last 2 s of what fell due, and send the rest at once."""
        skipped = 0
        if self._started_at is not None:
            due = int((self._now() - self._started_at) / PACKET_S)
            skipped = max(0, due - self._position - BURST_PACKETS)
            self._position += skipped
            self._burst_until = max(self._position, due)
            self._end_file()
        self._note(h.LineBack(round(1000 * skipped * PACKET_S)))

    def _over(self) -> bool:
        """Whether all is said and answered. Raises CallFailed when that takes too long."""
        t = self._now()
        if self.said_enough:
            return True
        if self._plan.turns is None and self._file_ended_at is not None and self._book.settled(t):
            return bool(self._book.turns) or t > self._file_ended_at + LINGER_S
        self._check_deadline()
        return False

    def _check_deadline(self) -> None:
        """Raise CallFailed once the answer is overdue. A file that may never begin is bounded too."""
        waiting = self._file_from is None and self._ready
        since = self._ready_at + GREETING_S if waiting else self._file_ended_at
        if since is None or self._now() < since + self._plan.timeout_s:
            return
        over, wanted = self._book.exchanges_over(self._now()), self._plan.turns
        count = f"; {over} of {wanted} turns are over" if wanted is not None else ""
        what = "the assistant's first words have no end" if waiting else "no end of the conversation"
        after = "" if waiting else f" within {self._plan.timeout_s:g} s of the file's end"
        raise CallFailed(f"{what}{after}{count}")


def _is_final(error: BaseException) -> bool:
    return isinstance(error, ws.InvalidStatus) and error.response.status_code in FINAL


def _reason(error: BaseException) -> str:
    """Why a connection could not be made, in a few words."""
    match error:
        case ws.InvalidStatus():
            return f"HTTP {error.response.status_code} {told(error.response.body or b'')[:300]}".strip()
        case ConnectionRefusedError():
            return "connection refused; is the server running?"
        case TimeoutError():
            return "no answer"
        case OSError() if error.strerror:
            return error.strerror
    return str(error) or type(error).__name__
