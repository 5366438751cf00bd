"""A session: one conversation over one connection, in one greenlet, fed through a mailbox.

A later connection makes a new Session from what this one saved.
"""

import logging
from collections.abc import Iterable

import gevent
from gevent.event import Event

from config import redis_keys as keys
from config.errors import (
    AntiphonError,
    ClientError,
    MemoryFull,
    Overloaded,
    SessionDismissed,
    SessionTaken,
    StageWaiting,
)
from config.messages import Dismissed, End, Result, Speech
from config.settings import SAMPLE_RATE
from tasks import redis_view, streams
from tasks.leases import Holder, Lease
from web import saved
from web.admission import Ticket
from web.conversation import Conversation
from web.dialects import base
from web.dictation import Dictations
from web.fair_share import ERROR_S, price_s
from web.mailbox import Gap, GivenUp, Mailbox
from web.presence import Fate
from web.runtime import Runtime
from web.socket import ClientGone, ClientSocket
from web.stage_watch import StageWatch
from web.stages import STAGE_NAMES

log = logging.getLogger(__name__)

#: A reader that finds the mailbox full waits this long; then the client is told.
MAILBOX_WAIT_S = 5.0

#: Close codes that end the session: the client said that it is done, or broke the rules. With any other it may return.
GOODBYES = (1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009)


class Session:
    """What the reader, the fan-out and the watchdog see of a conversation."""

    def __init__(
        self, runtime: Runtime, socket: ClientSocket, dialect: base.Dialect, lease: Lease, token: str,
        before: saved.Saved | None, ticket: Ticket,
    ) -> None:  # fmt: skip
        self.sid = lease.sid
        self.lease = lease
        self._runtime = runtime
        self._socket = socket
        self._dialect = dialect
        self._token = token
        self._resumed = before is not None
        self._mailbox = Mailbox(runtime.settings.limits.mailbox_items)
        dictations = Dictations(runtime, self.sid, self._mailbox.wake)
        self._conversation = Conversation(
            runtime, lease, dialect, self._send, before, self._hang_up, dictations
        )
        self._ticket = ticket
        #: It goes on, and waits: what is heard now has no position yet, and is dropped.
        self._unplaced = self._resumed and bool(ticket.place)
        self._turned_away = False
        self._ended = False
        #: Set once the conversation knows where it is: audio read before would be given a wrong position.
        self._placed = Event()
        self._turning: base.Request | None = None
        """A request that divides the input, until it is served: `_served` says when."""
        self._served = Event()

    def run(self) -> Fate:
        """Serves the connection until it ends; says what becomes of the conversation."""
        self._runtime.fanout.add(self.sid, self)
        self._runtime.watchdog.add(self)
        self._conversation.input.open()
        worker = gevent.spawn(self._serve)
        self._placed.wait()
        try:
            for raw in self._socket.messages():
                if not self._receive(raw):
                    break  # more of them may have arrived with it, and nobody will read them
        finally:
            self._ended = True
            self._runtime.watchdog.remove(self)
            self._conversation.input.close()
            self._runtime.fanout.remove(self.sid, self)
            self._mailbox.post(Gap())
            worker.join(timeout=2.0)
            worker.kill()
            try:
                self._conversation.end()
            finally:
                fate = self._part()
        return fate

    def _serve(self) -> None:
        try:
            self._send(self._dialect.greeting(resumed=self._resumed, token=self._token))
            if self._stand_in_line():
                self._converse()
        except AntiphonError as error:
            log.info("a session is closed: %s", error.code)
            self._socket.close(error.close_code or 1011, str(error))
        except streams.RedisError as error:
            self._lost_redis(error)
        except Exception:
            log.exception("a session failed")
            self._socket.close(1011, "internal error")
        finally:
            self._placed.set()
            self._served.set()

    def _converse(self) -> None:
        if self._resumed:
            self._conversation.pick_up()
        else:
            self._conversation.begin()
        self._unplaced = False
        self._placed.set()
        while not self._ended:
            for mail in self._mailbox.take(self._conversation.patience_s()):
                self._conversation.handle(mail)
                if mail is self._turning:
                    self._served.set()
            self._conversation.look_at_time()

    def _lost_redis(self, error: streams.RedisError) -> None:
        log.warning("a session lost Redis: %s", type(error).__name__)
        if redis_view.out_of_memory(error):
            self._socket.close(1013, str(MemoryFull()))
        else:
            self._socket.close(1012, "the server lost its memory for a moment; reconnect to go on")

    def _stand_in_line(self) -> bool:
        """Whether there is a place, after waiting for it. What is said meanwhile is kept, as much as is of anybody's
        input (`audio_keep_s`), and answered then."""
        if not self._ticket.place:
            return True
        self._placed.set()
        try:
            served = self._ticket.wait(lambda place: self._send(self._dialect.queued(place)), self._is_here)
        except Overloaded:
            self._turned_away = True
            raise
        if served:
            self._send(self._dialect.served())
        return served

    def _in_line(self) -> bool:
        """Nobody takes its letters yet, which is no fault of its client's: who sends many is held up, not closed."""
        return bool(self._ticket.place) and self._is_here()

    def _said_enough(self) -> bool:
        """Nobody listens yet, so nobody trims what is kept of it."""
        heard = self._conversation.input.clock.received
        return heard >= self._runtime.settings.limits.audio_keep_s * SAMPLE_RATE

    def _is_here(self) -> bool:
        return not self._ended and self._socket.open

    def _part(self) -> Fate:
        """A client that said goodbye ends the session; one that vanished may come back."""
        rules = self._runtime.settings.ownership
        media = self._runtime.media
        over = self._turned_away or self._socket.close_code in GOODBYES
        parted = False
        try:
            if over:
                self._conversation.save({keys.CLOSED: 1}, ttl_s=rules.resume_s)
                self._runtime.intake.add(self.sid, End())
                streams.forget_media(media, self.sid, int(rules.orphan_s) + 5)
            else:
                self._conversation.save({}, ttl_s=rules.resume_s)
                streams.forget_media(media, self.sid, rules.resume_s)
            self._runtime.leases.let_go(self.lease, done=False)
            parted = True
            return Fate.OVER if over else Fate.WAITS
        except SessionTaken:
            self._ticket.place = 0  # one in the line, too, is the later connection's now
            return Fate.ELSEWHERE
        except streams.RedisError:
            log.debug("a session parted without saving")
            return Fate.WAITS
        finally:
            self._ticket.give_back(over=over and parted)

    def _receive(self, raw: str) -> bool:
        """In the reader's greenlet: audio goes straight to the intake, all else to the mailbox. False: no more."""
        try:
            requests = self._dialect.receive(raw)
        except ClientError as error:
            self._socket.share.charge(ERROR_S)
            return self._hand_in(error)
        for request in requests:
            self._socket.share.charge(price_s(request, self._conversation.memory.bytes))
            if isinstance(request, base.AppendAudio):
                if not self._unplaced and not (self._in_line() and self._said_enough()):
                    self._conversation.input.hear(request.packets, request.samples, request.format)
            elif not self._hand_in(request):
                return False
            elif isinstance(request, base.CommitInput | base.ClearInput):
                self._wait_for(request)
        return True

    def _wait_for(self, request: base.Request) -> None:
        """What is said after it belongs to the next turn, and is heard only when this one is over. It is served within
        some ms; who waits for a place is served later, and then altogether."""
        if self._in_line() or self._ended:
            return
        self._turning = request
        self._served.wait(MAILBOX_WAIT_S)
        self._turning = None
        self._served.clear()

    def _hand_in(self, letter: base.Request | ClientError) -> bool:
        if self._mailbox.put(letter, MAILBOX_WAIT_S, self._in_line):
            return True
        self._socket.close(1008, "events come faster than they can be served")
        return False

    def take(self, result: Result) -> None:
        """In the fan-out's greenlet: what workers say goes to the mailbox; an operator is obeyed at once.

        Sound that comes after sound in hand waits until that is due, at most a packet.
        """
        if isinstance(result.body, Dismissed):
            gevent.spawn(self._socket.close, SessionDismissed.close_code, result.body.reason)
            return
        later = isinstance(result.body, Speech) and self._conversation.replier.plays_on
        self._mailbox.post(result, wake=not later)

    def _hang_up(self) -> None:
        gevent.sleep(self._runtime.settings.turn.goodbye_wait_s)  # nobody gets the turn meanwhile
        self._socket.close(1000, "goodbye")

    def _send(self, messages: Iterable[str]) -> bool:
        """Whether they left; none does once the client has gone, or was told to go."""
        try:
            self._socket.send(messages)
        except ClientGone:
            return False
        return True

    # --- what the watchdog asks

    def watches(self) -> Iterable[StageWatch]:
        """What is expected now."""
        return self._conversation.stages.watches()

    def saw(self, holder: Holder, stage: str) -> None:
        """Somebody works on it; a lease that is ahead of what was taken means that a message was lost."""
        self._conversation.stages.owned(stage, holder.owner)
        if self._conversation.inbox.behind(stage, holder.epoch, holder.last_seq):
            self._mailbox.post(Gap())

    def may_have_missed(self) -> None:
        """Nobody was there to say or to hear it: what was said last may not have arrived."""
        self._mailbox.post(Gap())

    def waits_for(self, stage: str) -> None:
        """The client is told; the turn is kept."""
        self.tell(StageWaiting(f"{STAGE_NAMES[stage]} is being restarted or is full; your turn is kept"))

    def tell(self, error: AntiphonError) -> None:
        """Something the client should know."""
        self._mailbox.post(error)

    def give_up(self, stage: str) -> None:
        """The reply cannot be made."""
        self._mailbox.post(GivenUp(stage))

    def taken_over(self) -> None:
        """Another web process owns the session. The watchdog need not wait for a client that is slow to take it."""
        gevent.spawn(self._socket.close, 1012, "this session goes on over another connection")

    def hand_over(self) -> None:
        """This process ends: the client shall come back, to another."""
        self._socket.close(1012, "the server restarts; reconnect to go on")
