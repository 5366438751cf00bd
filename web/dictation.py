"""Sound that is no live voice, in items that clients write: each is understood by a listening of its own.

The session's own listening is a voice that goes on, and positions in it. What was recorded before has no place there.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import gevent
from gevent.event import Event

from config import redis_keys as keys
from config.errors import AntiphonError, ClientError, Overloaded, StageFailed
from config.messages import Audio, Commit, End, Failed, InEntry, Listen, Result, Transcript, encode
from config.settings import SAMPLE_RATE
from config.versions import VERSION
from tasks import streams, submit
from tasks.leases import Value
from tasks.shared_time import shared_time
from web.config import Wishes
from web.dialects.base import AppendAudio
from web.runtime import Runtime

log = logging.getLogger(__name__)

#: Silence behind the sound, so that the last frame of any engine is whole.
PAD_SAMPLES = SAMPLE_RATE // 10

#: 10 s of sound are understood in less than a second, once a recogniser has room.
DEADLINE_S = 10.0

#: Recognisers are for the sessions that have a place. In a full house one may be free all the same, or soon; what
#: nobody takes up by then would wait for somebody to hang up.
ROOM_S = 3.0

#: Results that were lost on the way are looked for so often.
LOOK_S = 1.0

#: More of one session do not wait: each takes a recogniser that others want.
MOST_WAITING = 8

#: What is to be done with the words, or with the reason why there are none.
Then = Callable[[str | AntiphonError], None]


class Dictation:
    """One sound, from its first sample to its transcript. The fan-out gives it what is heard."""

    def __init__(self, runtime: Runtime, sid: str, sound: AppendAudio, wishes: Wishes) -> None:
        """sid: of the listening, which nobody else knows."""
        self._runtime = runtime
        self._sid = sid
        self._sound = sound
        self._listen = Listen(
            sound.format or wishes.input_format, wishes.language, wishes.threshold, wishes.prefix_ms
        )
        self._over = Event()
        self._claimed = False
        self._text: str | None = None

    def understand(self) -> str:
        """Waits for the words. Raises Overloaded where nobody has room to listen, and StageFailed."""
        runtime, sid = self._runtime, self._sid
        runtime.fanout.add(sid, self)
        try:
            fields: dict[str, Value] = {
                keys.LISTEN: encode(self._listen),
                keys.VERSION: VERSION,
                keys.REPLY: "0",
            }
            runtime.leases.create(sid, fields, int(2 * DEADLINE_S))
            for entry in self._entries():
                runtime.intake.add(sid, entry)
            submit.listen(sid)
            self._wait()
        except streams.RedisError as error:
            log.warning("an item was not understood: %s", type(error).__name__)
            raise not_understood() from error
        finally:
            runtime.fanout.remove(sid, self)
            self._close()
        if self._text is not None:
            return self._text
        if self._claimed:
            raise not_understood()
        raise Overloaded("no recogniser is free for this audio; send it again later, or give its transcript")

    def _entries(self) -> list[InEntry]:
        samples, now = self._sound.samples, shared_time.now_s()
        return [
            Audio(0, self._sound.packets, now, self._listen.format),
            Audio(samples, [bytes(2 * PAD_SAMPLES)], now, "pcm16"),
            Commit(samples + PAD_SAMPLES),
        ]

    def _wait(self) -> None:
        for looks in range(int(DEADLINE_S / LOOK_S)):
            if self._over.wait(LOOK_S) or (looks * LOOK_S >= ROOM_S and not self._claimed):
                return
            for result in streams.results_after(self._runtime.media, "stt", self._sid, 0, 0, 0):
                self.take(result)

    def _close(self) -> None:
        """Whoever listens need not any more, and nobody begins to."""
        self._runtime.intake.add(self._sid, End())
        with suppress(streams.RedisError):
            self._runtime.leases.create(self._sid, {keys.CLOSED: 1}, int(DEADLINE_S))
            streams.keep_media(self._runtime.media, self._sid, int(DEADLINE_S))

    # --- what the fan-out sees

    def take(self, result: Result) -> None:
        """The last word ends it; the first says that somebody listens."""
        self._claimed = True
        if isinstance(result.body, Transcript) and result.body.final:
            self._text = result.body.text.strip()
            self._over.set()
        elif isinstance(result.body, Failed):
            self._over.set()

    def may_have_missed(self) -> None:
        """What was missed is read back, soon."""


def not_understood() -> StageFailed:
    """The words did not come in time."""
    return StageFailed("no transcript came in time")


class Dictations:
    """Those of one session, one after the other. What is to be done with them is done in the session's own greenlet."""

    def __init__(self, runtime: Runtime, sid: str, wake: Callable[[], None]) -> None:
        """wake: called when one is understood."""
        self._runtime = runtime
        self._sid = sid
        self._wake = wake
        self._waiting: deque[tuple[Dictation, Then]] = deque()
        self._understood: deque[tuple[Then, str | AntiphonError]] = deque()
        self._worker: gevent.Greenlet | None = None
        self._unsettled = 0

    @property
    def pending(self) -> bool:
        """Some were asked for and nothing is done with them yet."""
        return self._unsettled > 0

    @property
    def ready(self) -> bool:
        """There is something to do."""
        return bool(self._understood)

    def require_room(self, sounds: int) -> None:
        """Raises ClientError where so many more would be too many."""
        if self._unsettled + sounds > MOST_WAITING:
            raise ClientError(
                f"{MOST_WAITING} audio items wait to be understood already", code="too_many_audio_items"
            )

    def ask(self, sound: AppendAudio, wishes: Wishes, then: Then) -> None:
        """It shall be understood. Raises ClientError where too many wait."""
        self.require_room(1)
        self._unsettled += 1
        listening = f"{self._sid}-{secrets.token_hex(8)}"
        self._waiting.append((Dictation(self._runtime, listening, sound, wishes), then))
        if self._worker is None:
            self._worker = gevent.spawn(self._work)

    def _work(self) -> None:
        while self._waiting:
            dictation, then = self._waiting.popleft()
            text: str | AntiphonError = not_understood()
            try:
                text = dictation.understand()
            except AntiphonError as error:
                text = error
            except Exception:  # all others of the session, and replies to them, wait for this greenlet
                log.exception("an item was not understood")
            self._understood.append((then, text))
            self._wake()
        self._worker = None

    def settle(self) -> None:
        """Does what is to be done with those that are understood."""
        while self._understood:
            then, text = self._understood.popleft()
            self._unsettled -= 1
            then(text)

    def close(self) -> None:
        """Nobody waits for them any more."""
        self._waiting.clear()
        if self._worker is not None:
            self._worker.kill(block=False)
