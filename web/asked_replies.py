"""Replies that a client asked for to be other than its session has them, and those that belong to no conversation."""

from collections import deque

from config.errors import ClientError
from web.reply_options import ReplyOptions

#: More outside the conversation do not wait for their turn.
MOST_WAITING = 8


class AskedReplies:
    """One that is about to begin; and, first come first served, those that wait until nobody else has the turn."""

    def __init__(self, newest: ReplyOptions | None) -> None:
        """newest: what an earlier connection was asked for."""
        self.newest = newest
        """What the next reply is to be; None: as the session has it."""
        self._event_id: str | None = None
        """Of the client's event that asked for it."""
        self._waiting: deque[ReplyOptions] = deque()

    def wait(self, options: ReplyOptions | None, *, busy: bool) -> bool:
        """Whether it has to wait. busy: somebody has the turn. Raises ClientError where too many do."""
        if options is None or not options.aside or not (busy or self._waiting):
            return False
        if len(self._waiting) >= MOST_WAITING:
            raise ClientError(
                f"{MOST_WAITING} responses outside the conversation wait already", code="too_many_responses"
            )
        self._waiting.append(options)
        return True

    def next_aside(self) -> bool:
        """Nobody has the turn: whether one that waited begins now."""
        if self._waiting:
            self.newest = self._waiting.popleft()
        return self.newest is not None and self.newest.aside

    def take(self, options: ReplyOptions | None, event_id: str | None) -> None:
        """The client asked for the next reply."""
        self.newest, self._event_id = options, event_id

    def give_up(self) -> str | None:
        """There will be none: the words that it was to answer are lost. Returns the id of the event that asked."""
        event_id, self.newest, self._event_id = self._event_id, None, None
        return event_id

    def begin(self, usual: ReplyOptions) -> ReplyOptions:
        """What the reply that begins is; usual: as the session has it."""
        options = self.newest or usual
        self.give_up()
        return options
