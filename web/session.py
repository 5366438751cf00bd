"""A session: one conversation over one connection, in one greenlet, fed through a mailbox.

A later connection makes a new Session from what this one saved.
"""

import logging
from collections.abc import Iterable

import gevent
from gevent.event import Event

from config import redis_keys as keys
from config.errors import ClientError, SessionTaken, StageWaiting
from config.messages import End, Result, Speech
from tasks import streams
from tasks.leases import Holder, Lease
from web import saved
from web.conversation import Conversation
from web.dialects import base
from web.mailbox import Gap, GivenUp, Mailbox
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
        before: saved.Saved | None,
    ) -> None:  # fmt: skip
        self.sid = lease.sid
        self.lease = lease
        self._runtime = runtime
        self._socket = socket
        self._dialect = dialect
        self._token = token
        self._resumed = before is not None
        self._mailbox = Mailbox(runtime.settings.limits.mailbox_items)
        self._conversation = Conversation(runtime, lease, dialect, self._send, before, self._hang_up)
        self._ended = False
        #: Set once the conversation knows where it is: audio read before would be given a wrong position.
        self._placed = Event()

    def run(self) -> None:
        """Serves the connection until it ends."""
        self._runtime.fanout.add(self.sid, self._take)
        self._runtime.watchdog.add(self)
        self._conversation.input.open()
        worker = gevent.spawn(self._serve)
        self._placed.wait()
        try:
            for raw in self._socket.messages():
                self._receive(raw)
        finally:
            self._ended = True
            self._runtime.watchdog.remove(self)
            self._conversation.input.close()
            self._runtime.fanout.remove(self.sid, self._take)
            self._mailbox.post(Gap())
            worker.join(timeout=2.0)
            worker.kill()
            self._conversation.end()
            self._part()

    def _serve(self) -> None:
        try:
            self._send(self._dialect.greeting(resumed=self._resumed, token=self._token))
            if self._resumed:
                self._conversation.pick_up()
            else:
                self._conversation.begin()
            self._placed.set()
            while not self._ended:
                for mail in self._mailbox.take(self._conversation.patience_s()):
                    self._conversation.handle(mail)
                self._conversation.look_at_time()
        except SessionTaken as error:
            self._socket.close(error.close_code or 1011, str(error))
        except streams.RedisError as error:
            log.warning("a session lost Redis: %s", type(error).__name__)
            self._socket.close(1012, "the server lost its memory for a moment; reconnect to go on")
        except Exception:
            log.exception("a session failed")
            self._socket.close(1011, "internal error")
        finally:
            self._placed.set()

    def _part(self) -> None:
        """A client that said goodbye ends the session; one that vanished may come back."""
        rules = self._runtime.settings.ownership
        media = self._runtime.media
        try:
            if self._socket.close_code in GOODBYES:
                self._conversation.save({keys.CLOSED: 1}, ttl_s=rules.resume_s)
                self._runtime.intake.add(self.sid, End())
                streams.forget_media(media, self.sid, int(rules.orphan_s) + 5)
            else:
                self._conversation.save({}, ttl_s=rules.resume_s)
                streams.forget_media(media, self.sid, rules.resume_s)
            self._runtime.leases.let_go(self.lease, done=False)
        except (streams.RedisError, SessionTaken):
            log.debug("a session parted without saving")

    def _receive(self, raw: str) -> None:
        """In the reader's greenlet: audio goes straight to the intake, all else to the mailbox."""
        try:
            for request in self._dialect.receive(raw):
                if isinstance(request, base.AppendAudio):
                    self._conversation.input.hear(request.packets, request.samples)
                elif not self._mailbox.put(request, MAILBOX_WAIT_S):
                    self._socket.close(1008, "events come faster than they can be served")
        except ClientError as error:
            self._mailbox.post(error)

    def _take(self, result: Result) -> None:
        """In the fan-out's greenlet. Sound that comes after sound in hand waits until that is due, at most a packet."""
        later = isinstance(result.body, Speech) and self._conversation.plays_on
        self._mailbox.post(result, wake=not later)

    def _hang_up(self) -> None:
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
        """The owner of a stage is gone; what it said last may not have arrived."""
        self._mailbox.post(Gap())

    def waits_for(self, stage: str) -> None:
        """The client is told; the turn is kept."""
        self._mailbox.post(
            StageWaiting(f"{STAGE_NAMES[stage]} is being restarted or is full; your turn is kept")
        )

    def give_up(self, stage: str) -> None:
        """The reply cannot be made."""
        self._mailbox.post(GivenUp(stage))

    def taken_over(self) -> None:
        """Another web process owns the session."""
        self._socket.close(1012, "this session goes on over another connection")

    def hand_over(self) -> None:
        """This process ends: the client shall come back, to another."""
        self._socket.close(1012, "the server restarts; reconnect to go on")
