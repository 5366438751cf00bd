"""Which slot of a model's prompt cache serves which session. For one asyncio loop."""

import asyncio
from itertools import count


class Seats:
    """`size` seats. A session gets its own again if it can, else the one that was left longest ago."""

    def __init__(self, size: int) -> None:
        self._holders: list[str] = [""] * size
        self._left = [-1] * size
        self._busy: set[int] = set()
        self._turns = count()
        self._changed = asyncio.Event()

    @property
    def busy(self) -> int:
        """Seats that a request has."""
        return len(self._busy)

    def idle(self, session: str) -> bool:
        """The session would not wait."""
        return self._choose(session) is not None

    async def take(self, session: str) -> int:
        """A seat for one request; waits while there is none, or while the session's own is taken by the session."""
        while (seat := self._choose(session)) is None:
            self._changed.clear()
            await self._changed.wait()
        self._busy.add(seat)
        self._holders[seat] = session
        return seat

    def give_back(self, seat: int) -> None:
        """The request on it is over."""
        self._busy.discard(seat)
        self._left[seat] = next(self._turns)
        self._changed.set()

    def _choose(self, session: str) -> int | None:
        if session and session in self._holders:
            own = self._holders.index(session)
            return None if own in self._busy else own
        free = [seat for seat in range(len(self._holders)) if seat not in self._busy]
        return min(free, key=self._left.__getitem__) if free else None
