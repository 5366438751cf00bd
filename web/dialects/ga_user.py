"""What a GA client is told of its user: utterances, the items they become, and their transcripts. Sans-IO."""

from collections.abc import Callable, Iterable
from typing import Any

from config.errors import AntiphonError, StageFailed
from config.messages import Transcript
from config.settings import SAMPLE_RATE
from web.config import Wishes
from web.dialects import ga_items as items
from web.dialects.ga_shapes import Names
from web.dialects.ga_teller import PARTIAL, Teller
from web.transcript import AppendOnly
from web.turn_state import SILENCE

Json = dict[str, Any]

#: Its events begin like this.
TRANSCRIPTION = "conversation.item.input_audio_transcription"

#: Attributes, less their underscores, that a later connection goes on with.
KEPT = ("user_items", "open_item", "unread_items", "heard_to")


class User:
    """An utterance has its item's id from its first sound on, and its transcript some time after its end."""

    def __init__(
        self, names: Names, teller: Teller, wishes: Callable[[], Wishes], session: Callable[[], Json]
    ) -> None:
        """wishes, session: as they are now."""
        self._names = names
        self._teller = teller
        self._event = teller.event
        self._wishes = wishes
        self._session = session
        self._user_items = 0
        self._open_item = ""
        """The item that is being spoken."""
        self._open_from: int | None = None
        """Where its sound begins; None: where the one before it ended."""
        self._unread_items: list[str] = []
        """Committed items whose transcripts are still to come."""
        self._seconds: dict[str, float] = {}
        """How long these are."""
        self._aside: set[str] = set()
        """Items that came with their sound, while it is listened to."""
        self._heard_to = 0
        """Where the newest utterance ended: the padding of the next begins no earlier."""
        self._early = AppendOnly()
        self._told_early = False
        """Some of the open item's transcript was told while it was spoken."""

    # --- ids

    @property
    def spoke(self) -> bool:
        """Ever."""
        return self._user_items > 0

    def next_item(self) -> str:
        """An id that no item has."""
        self._user_items += 1
        return self._names.user_item(self._user_items)

    def closing_item(self) -> str:
        """Id of the item that is committed next."""
        self._open_item = self._open_item or self.next_item()
        return self._open_item

    @property
    def oldest_unread(self) -> str:
        """Id of the item that waits longest for its transcript; empty: none does."""
        return self._unread_items[0] if self._unread_items else ""

    def reads(self, item_id: str) -> bool:
        """Its transcript is still to come."""
        return item_id in self._unread_items or item_id in self._aside

    # --- the voice

    def speech_began(self, at: int, *, again: bool) -> list[str]:
        """The item that the utterance will become gets its id now. Its audio begins some time before the voice.

        again: it has one. Else one that is still open was closed, and this connection does not know.
        """
        if not again:
            self._open_item = ""
        padded = at - (self._wishes().prefix_ms or 0) * SAMPLE_RATE // 1000
        self._open_from = min(at, max(padded, self._heard_to))
        item_id = self.closing_item()
        start_ms = _ms(self._open_from)
        return [self._event("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=start_ms)]

    def speech_stopped(self, at: int) -> list[str]:
        """The voice ended."""
        self._heard_to = at
        return [
            self._event("input_audio_buffer.speech_stopped", item_id=self._open_item, audio_end_ms=_ms(at))
        ]

    def committed(self, at: int | None) -> list[str]:
        """The user's item, its transcript still unknown."""
        item_id = self.closing_item()
        self._unread_items.append(item_id)
        self._seconds[item_id] = self._length_s(at)
        self._open_item, self._open_from = "", None
        committed = self._event(
            "input_audio_buffer.committed", item_id=item_id, previous_item_id=self._teller.last_item
        )
        return [committed, *self._teller.whole_item(items.unread(item_id))]

    def _length_s(self, at: int | None) -> float:
        """Of the open item, which was spoken to its end or, where the client ends it, up to `at`."""
        began, ended = self._open_from, self._heard_to
        if began is None or ended < began:
            began, ended = self._heard_to if began is None else began, at or 0
            self._heard_to = max(self._heard_to, ended)
        return round(max(0, ended - began) / SAMPLE_RATE, 3)

    def cleared(self, at: int | None) -> list[str]:
        """The input was forgotten."""
        self._open_item, self._open_from, self._told_early = "", None, False
        self._heard_to = max(self._heard_to, at or 0)
        return [self._event("input_audio_buffer.cleared")]

    def idle_timeout(self, at: int) -> list[str]:
        """The silence becomes an item of the user's, without words."""
        since = max(0, at - int((self._wishes().idle_timeout_s or 0) * SAMPLE_RATE))
        self._open_from, self._heard_to = since, at
        triggered = self._event(
            "input_audio_buffer.timeout_triggered",
            item_id=self.closing_item(),
            audio_start_ms=_ms(since),
            audio_end_ms=_ms(at),
        )
        return [triggered, *self.committed(at)]

    # --- its text

    def partial_text(self, heard: Transcript, *, ours: bool) -> list[str]:
        """In a transcription session, the words that will hardly change any more; else nothing, for a delta cannot be
        taken back. ours: the client knows an event that is no delta."""
        if ours and self._open_item and not self._wishes().listen_only:
            return [self._event(PARTIAL, item_id=self._open_item, text=heard.text)]
        if not self._wishes().listen_only or self._unread_items:
            return []
        words, _ = self._early.partial(heard)
        return self._about(self.closing_item(), [self._delta(words)]) if words else []

    def user_text(self, text: str) -> list[str]:
        """The transcript of the oldest item that waits for one."""
        text = "" if text == SILENCE else text
        rest = self._early.final(text)[0] if self._wishes().listen_only else text
        delta = [self._delta(rest)] if rest else []
        self._told_early = False
        return self._about_unread(*delta, self._completed(self.oldest_unread, text))

    def _completed(self, item_id: str, text: str) -> tuple[str, Json]:
        usage = {"type": "duration", "seconds": self._seconds.pop(item_id, 0.0)}
        return "completed", {"transcript": text, "usage": usage}

    def _delta(self, words: str) -> tuple[str, Json]:
        before, self._told_early = " " if self._told_early else "", True
        return "delta", {"delta": before + words}

    def not_understood(self) -> list[str]:
        """The transcript of that item will not come."""
        self._told_early = False
        return self._about_unread(self._failed(self.oldest_unread, StageFailed("no transcript came in time")))

    def _failed(self, item_id: str, why: AntiphonError) -> tuple[str, Json]:
        self._seconds.pop(item_id, None)
        return "failed", {"error": {"type": why.type, "code": why.code, "message": str(why)}}

    def reads_aside(self, item_id: str, samples: int) -> None:
        """An item came with its sound, which is listened to now."""
        self._aside.add(item_id)
        self._seconds[item_id] = round(samples / SAMPLE_RATE, 3)

    def understood_aside(self, item_id: str, text: str | AntiphonError) -> list[str]:
        """What it says, or why nobody will know."""
        self._aside.discard(item_id)
        if isinstance(text, AntiphonError):
            return self._about(item_id, [self._failed(item_id, text)])
        delta = [("delta", {"delta": text})] if text else []
        return self._about(item_id, [*delta, self._completed(item_id, text)])

    def lost_aside(self) -> list[str]:
        """Sound of items that was listened to for an earlier connection is gone: nobody will know what it says."""
        why = StageFailed("the connection that brought this audio was lost before it was understood")
        return [event for item_id in sorted(self._aside) for event in self.understood_aside(item_id, why)]

    def _about_unread(self, *told: tuple[str, Json]) -> list[str]:
        return self._about(self._unread_items.pop(0), told) if self._unread_items else []

    def _about(self, item_id: str, told: Iterable[tuple[str, Json]]) -> list[str]:
        if self._session()["audio"]["input"]["transcription"] is None:
            return []
        return [
            self._event(f"{TRANSCRIPTION}.{kind}", item_id=item_id, content_index=0, **fields)
            for kind, fields in told
        ]

    # --- going on later

    def snapshot(self) -> Json:
        """For a later connection."""
        kept = {name: getattr(self, f"_{name}") for name in KEPT}
        aside = sorted(self._aside)
        early = {"early": self._early.snapshot(), "told_early": self._told_early}
        return {**kept, **early, "open_from": self._open_from, "seconds": self._seconds, "aside": aside}

    def restore(self, snapshot: Json) -> None:
        """Goes on from it; one of an earlier version knows no lengths, no items with sound, nor words told early."""
        for name in KEPT:
            setattr(self, f"_{name}", snapshot[name])
        self._open_from, self._seconds = snapshot.get("open_from"), snapshot.get("seconds", {})
        self._aside = set(snapshot.get("aside", ()))
        self._early.restore(snapshot.get("early", {}))
        self._told_early = snapshot.get("told_early", False)


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE
