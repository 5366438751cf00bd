"""What a GA client was sent of the replies' audio, and which place in a reply a truncation names. Pure.

Clients count what they were sent. After a mute some of a reply is sent a second time; a client that asked for our
extensions is told so and counts in the reply's own time, any other counts what came twice twice.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from config.errors import ClientError
from config.settings import SAMPLE_RATE
from web.dialects.base import HeardUpTo
from web.items import no_such

#: Replies that can still be truncated; a call of ten minutes has about so many.
KEPT_REPLIES = 64

#: SDKs count wall time from the first audio on. A mute, which they cannot see, puts them ahead of what they were sent;
#: such a place means "all of it". Nothing of a client's can be ahead so far.
CLOCK_SLACK_S = 10


class SentReply(msgspec.Struct):
    """What left of one reply. JSON types only: it is part of the saved state."""

    number: int
    text_only: bool = False
    sent: int = 0
    """Samples that were sent, in the client's counting."""
    jumps: list[tuple[int, int]] = []
    """After so many sent samples the sound went on from that reply sample."""
    whole: bool = False
    """It was sent to its end, so `sent` is its length."""

    def in_reply(self, place: int) -> int:
        """The reply sample that the client heard at `place` of its counting."""
        since, start = max((jump for jump in self.jumps if jump[0] <= place), default=(0, 0))
        return start + place - since

    def at_client(self, sample: int) -> int:
        """Where the client has a reply sample; of one that it has twice, the later place."""
        since, start = max((jump for jump in self.jumps if jump[1] <= sample), default=(0, 0))
        return min(self.sent, since + sample - start)


class SentAudio:
    """The newest replies, by number."""

    def __init__(self, *, told_of_mutes: bool, known: Iterable[Mapping[str, Any]] = ()) -> None:
        self._told_of_mutes = told_of_mutes
        self._replies = {reply.number: reply for reply in msgspec.convert(list(known), list[SentReply])}

    def begin(self, number: int, *, text_only: bool) -> None:
        """A reply that is not known yet."""
        self._replies.setdefault(number, SentReply(number, text_only))
        for old in sorted(self._replies)[:-KEPT_REPLIES]:
            del self._replies[old]

    def send(self, number: int, samples: int) -> int:
        """More of it leaves; returns where it begins, in the client's counting."""
        reply = self._replies.get(number)
        if reply is None:
            return 0
        begin, reply.sent = reply.sent, reply.sent + samples
        return begin

    def take_back(self, number: int, samples: int) -> None:
        """The newest of it did not leave."""
        if number in self._replies:
            self._replies[number].sent -= samples

    def go_back(self, number: int, sample: int) -> None:
        """Its sound goes on from an earlier reply sample."""
        reply = self._replies.get(number)
        if reply is None:
            return
        if self._told_of_mutes:
            reply.sent = min(reply.sent, sample)
        else:
            reply.jumps.append((reply.sent, sample))

    def end(self, number: int, *, whole: bool) -> None:
        """Nothing more comes of it."""
        if number in self._replies:
            self._replies[number].whole = whole

    def client_ms(self, number: int, sample: int) -> int:
        """A reply sample in the client's counting."""
        reply = self._replies.get(number)
        return (reply.at_client(sample) if reply else sample) * 1000 // SAMPLE_RATE

    def truncation(self, number: int | None, item_id: str, end_ms: int, event_id: str | None) -> HeardUpTo:
        """What a client means by `end_ms` of a reply's item. Raises ClientError where it can mean nothing."""
        reply = self._replies.get(number or 0)
        if number is None or reply is None:
            raise no_such("truncate", item_id)
        if reply.text_only:
            raise ClientError(
                "this item has no audio to truncate", param="item_id", code="unsupported_content_type"
            )
        place, slack = end_ms * SAMPLE_RATE // 1000, 0 if reply.whole else CLOCK_SLACK_S * SAMPLE_RATE
        if place > reply.sent + slack:
            raise ClientError(
                f"{end_ms} ms are beyond this item's audio: {reply.sent * 1000 // SAMPLE_RATE} ms",
                param="audio_end_ms",
                code="invalid_value",
            )
        return HeardUpTo(reply.in_reply(min(place, reply.sent)), number, event_id)

    def snapshot(self) -> list[Any]:
        """For a later connection."""
        return [msgspec.to_builtins(reply) for reply in self._replies.values()]
