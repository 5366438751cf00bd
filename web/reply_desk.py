"""What a client asks of replies: one now, or one beside the conversation when nobody else has the turn."""

import time
from collections.abc import Callable

from web import happenings, requests
from web.asked_replies import AskedReplies
from web.dialects import base
from web.history import History
from web.turn import Phase, Turn
from web.turn_times import TurnTimes


class ReplyDesk:
    """Raises ClientError, before anything is changed, where there can be no reply now."""

    def __init__(
        self,
        asked: AskedReplies,
        history: History,
        times: TurnTimes,
        turn: Callable[[], Turn],
        happen: Callable[[happenings.Happening], None],
        changed: Callable[[], None],
    ) -> None:
        """turn: as it is now. changed: called where what was made ahead is not what is asked for."""
        self._asked = asked
        self._history = history
        self._times = times
        self._turn = turn
        self._happen = happen
        self._changed = changed

    def ask(self, request: base.CreateReply) -> None:
        """A reply shall be made."""
        options = None if request.options is None else self._history.resolved(request.options)
        if self._asked.wait(options, busy=self._turn().phase is not Phase.LISTENING):
            return
        happening = requests.happening(request, self._turn(), received=0)
        if options is not None:
            self._changed()
        self._asked.take(options, request.event_id)
        self._begin(happening)

    def look(self) -> None:
        """What was asked for beside the conversation has its turn when nobody else has."""
        if self._turn().phase is Phase.LISTENING and self._asked.next_aside():
            self._begin(happenings.ReplyAsked())

    def _begin(self, happening: happenings.Happening) -> None:
        self._times.reply_asked(time.monotonic())
        self._happen(happening)
