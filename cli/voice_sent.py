"""When the voice that a turn holds was sent. Pure.

What was sent last before the turn's end came may be the next words already: a turn ends in a pause, and who reads out
a recording does not wait. So the server's own word counts, where it gives one, of where in the sound the voice ended.
"""

from collections import deque

from cli.sound import PACKET_S

#: Audible packets that are remembered: a minute of them.
KEPT = round(60 / PACKET_S)

#: So long behind the end that the server names a voice may still be heard: what fades is no voice to every ear. Nobody
#: ends a turn in a pause that is shorter.
TAIL_S = 0.2

#: Where the server names no place: with a packet heard so short before the turn's end, it was not that pause.
PAUSE_S = 3 * PACKET_S


class VoiceSent:
    """The audible packets since the last turn."""

    def __init__(self) -> None:
        self._packets: deque[tuple[float, float]] = deque(maxlen=KEPT)
        """Where in the sound sent, and when."""
        self._to_s: float | None = None
        self.comparable = True
        """The server counts the same sound as we: none was lost on the way."""

    def __bool__(self) -> bool:
        return bool(self._packets)

    def sent(self, at_s: float, t: float) -> None:
        """An audible packet left, which begins there in the sound."""
        self._packets.append((at_s, t))

    def ended(self, to_s: float | None) -> None:
        """The server says that the voice ended there; None: it does not say where."""
        self._to_s = to_s if self.comparable else None

    def take(self, t: float) -> float | None:
        """The turn ended now: when the last of its voice was sent; None: nobody knows. What was sent after it stays."""
        packets, to_s, self._to_s = self._packets, self._to_s, None
        if to_s is None:
            last = packets[-1][1] if packets else None
            packets.clear()
            return None if last is None or t - last < PAUSE_S else last
        last = None
        while packets and packets[0][0] < to_s + TAIL_S:
            last = packets.popleft()[1]
        return last
