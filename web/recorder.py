"""Records a session, where the operator wants it and as far as the client consents.

What happens is recorded by one consent, the user's sound by a second. What one is taken back for is deleted at once.
"""

import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from web import record, record_folder
from web.actions import Action
from web.config import Wishes
from web.disk import in_thread
from web.happenings import Happening
from web.pen import Background, Pen
from web.rules import Rules
from web.runtime import Runtime
from web.sound_track import SoundTrack
from web.turn_state import Turn
from web.withdrawals import EVENTS, SOUND, Withdrawals

#: A session that ends waits so long for the disk.
CLOSE_S = 1.0


class Recorder:
    """One session's recording. Says nothing until it is allowed to.

    sound: the operator allows that, too. went_on: an earlier connection may have recorded something. withdrawals: tells
    other processes of a consent that is taken back.
    """

    def __init__(
        self, folder: Path | None, session: str, *,
        sound: bool = False, went_on: bool = False, withdrawals: Withdrawals | None = None,
        background: Background = in_thread, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._folder = folder or Path()
        self._on, self._sound_on = folder is not None, folder is not None and sound
        self._session = session
        self._clock = clock
        self._events = Pen(lambda: self._files(sound=False), background=background, clock=clock)
        self._sound = Pen(lambda: self._files(sound=True), background=background, clock=clock)
        self._events_there = self._sound_there = self._on and went_on
        """There may be something to delete."""
        self._went_on = went_on
        self._withdrawals = withdrawals
        self._withdrawn = {EVENTS, SOUND} if self._on and went_on else set()
        """What a consent may have been taken back for, also of an earlier connection."""
        self._allowed = False
        self._steps = -1
        """Since the header; -1: there is none yet."""
        self._rules: Rules | None = None
        self._before: dict[str, Any] = {}
        self._at = 0
        self._format = ""
        """Of the sound that is recorded; empty: none is."""
        self._track: SoundTrack | None = None
        self._track_file = Path()

    # --- consent

    def consent(self, wishes: Wishes) -> None:
        """The client consents, or refuses, or does no longer; what it does not consent to is deleted."""
        self._allowed = self._on and wishes.allow_recording
        sound = self._sound_on and wishes.allow_recording and wishes.record_audio
        ended = set()
        if not self._allowed and self._events_there:
            self._events.erase()
            self._steps, self._events_there = -1, False
            ended.add(EVENTS)
        if not sound and self._sound_there:
            self._sound.erase()
            self._sound_there = False
            ended.add(SOUND)
        audio_format = wishes.input_format if sound else ""
        if audio_format != self._format:
            self._format, self._track = audio_format, None
        wanted = {what for what, is_wanted in ((EVENTS, self._allowed), (SOUND, sound)) if is_wanted}
        self._tell(ended, wanted & self._withdrawn)

    def _tell(self, ended: set[str], begun: set[str]) -> None:
        """Last of all: others may be heard while Redis is waited for."""
        self._withdrawn = (self._withdrawn | ended) - begun
        if self._withdrawals is not None:
            for what in ended | begun:
                self._withdrawals.tell(self._session, what, withdrawn=what in ended)

    def _files(self, *, sound: bool) -> list[Path]:
        found = record_folder.of(self._folder, self._session)
        return [file.path for file in found if file.is_sound is sound]

    # --- what is recorded

    def hear(self, at: int, packets: Sequence[bytes]) -> None:
        """Packets of the user's, the first of them at session sample `at`."""
        if not self._format:
            return
        if self._track is None:
            self._track = SoundTrack(self._format, zlib.crc32(f"{self._session}.{at}".encode()))
            self._track_file = record_folder.sound_file(self._folder, self._session, at, self._track.kind)
            self._sound_there = True
        self._sound.write(self._track_file, self._track.more(packets))

    def note(
        self,
        before: Turn,
        happening: Happening,
        rules: Rules,
        decided: Sequence[Action],
        now: int | None = None,
    ) -> None:
        """`happening` met a turn in the state `before`. now: its session sample, where it carries none itself."""
        if not self._allowed:
            return
        state = record.fields_of(before)
        if self._steps < 0:
            self._begin(rules, state)
        elif rules is not self._rules and rules != self._rules:
            self._add(record.Change(rules=record.fields_of(rules)))
        self._rules = rules
        self._steps += 1
        self._at = _sample_of(happening, now, self._at)
        changed = {name: value for name, value in state.items() if self._before.get(name, self) != value}
        self._before = state
        self._add(
            record.Step(
                order=self._steps,
                at=self._at,
                before=changed,
                happened=record.named(happening),
                decided=[record.named(action) for action in decided],
            )
        )

    def _begin(self, rules: Rules, state: dict[str, Any]) -> None:
        self._steps, self._before, self._events_there = 0, state, True
        if self._went_on:
            self._write(b"\n")  # the process before may have died in the middle of a line
        self._add(
            record.Header(
                version=record.VERSION, began_s=time.time(), rules=record.fields_of(rules), turn=state
            )
        )

    def _add(self, line: record.Line) -> None:
        self._write(record.encode(line) + b"\n")

    def _write(self, data: bytes) -> None:
        self._events.write(record_folder.events_file(self._folder, self._session), data)

    def _drop_withdrawn(self) -> None:
        """A later connection may have taken back what this one still has in hand."""
        told = self._withdrawals
        if told is not None and self._events_there and told.has(self._session, EVENTS):
            self._events.erase()
            self._allowed = False
        if told is not None and self._sound_there and told.has(self._session, SOUND):
            self._sound.erase()

    def close(self, wishes: Wishes) -> None:
        """The recording is whole, as far as `wishes`, the newest, still allow it. Waits a moment for the disk."""
        self.consent(wishes)
        self._drop_withdrawn()
        if self._allowed and self._steps >= 0:
            self._add(record.End(steps=self._steps))
        self._allowed, self._format, self._steps = False, "", -1
        deadline = self._clock() + CLOSE_S
        self._events.close(deadline)
        self._sound.close(deadline)


def recorder_of(runtime: Runtime, session: str, *, went_on: bool) -> Recorder:
    """As the operator wants it."""
    settings, withdrawals = runtime.settings, runtime.withdrawals
    return Recorder(
        settings.record_dir, session, sound=settings.record_audio, went_on=went_on, withdrawals=withdrawals
    )


def _sample_of(happening: Happening, now: int | None, last: int) -> int:
    own = getattr(happening, "at", getattr(happening, "to", None))
    return next(sample for sample in (now, own, last) if sample is not None)
