"""What a client asks of replies: one now, or one beside the conversation when nobody else has the turn.

One that answers sound which is still listened to waits for its words.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import msgspec

from config.errors import AntiphonError, ClientError
from web import happenings, requests
from web.asked_replies import MOST_WAITING, AskedReplies
from web.dialects import base
from web.dictation import Dictations
from web.history import History
from web.turn_state import Phase, Turn
from web.turn_times import TurnTimes


class ReplyDesk:
    """Raises ClientError, before anything is changed, where there can be no reply now."""

    def __init__(
        self, asked: AskedReplies, history: History, times: TurnTimes, turn: Callable[[], Turn],
        happen: Callable[[happenings.Happening], None], changed: Callable[[], None], dictations: Dictations,
        complain: Callable[[AntiphonError, str | None], None],
    ) -> None:  # fmt: skip
        """turn: as it is now. changed: called where what was made ahead is not what is asked for. complain: tells the
        client why there is no reply after all."""
        self._asked = asked
        self._history = history
        self._times = times
        self._turn = turn
        self._happen = happen
        self._changed = changed
        self._dictations = dictations
        self._complain = complain
        self._later: deque[base.CreateReply] = deque()

    def ask(self, request: base.CreateReply) -> None:
        """A reply shall be made, now or when it is known what it answers."""
        if request.sounds or self._dictations.pending:
            self._wait(request)
        else:
            self._ask_now(request)

    def _wait(self, request: base.CreateReply) -> None:
        if len(self._later) == MOST_WAITING:
            raise ClientError(
                f"{MOST_WAITING} responses wait for their audio already", code="too_many_responses"
            )
        self._dictations.require_room(len(request.sounds))
        if request.options is not None and request.options.input is not None:
            own = msgspec.structs.replace(request.options, input=list(request.options.input))
            request = replace(request, options=own)
        self._later.append(request)
        for place, sound in request.sounds:
            assert request.options is not None
            self._dictations.ask(sound, request.options.wishes, partial(self._understood, request, place))

    def _understood(self, request: base.CreateReply, place: int, text: str | AntiphonError) -> None:
        """One of the items that it answers is known, or never will be."""
        if request not in self._later:
            return
        if isinstance(text, AntiphonError):
            self._later.remove(request)
            self._complain(type(text)(f"the audio of response.input[{place}]: {text}"), request.event_id)
            return
        assert request.options is not None and request.options.input is not None
        items = request.options.input
        items[place] = msgspec.structs.replace(items[place], content=f"{items[place].content} {text}".strip())

    def _ask_now(self, request: base.CreateReply) -> None:
        options = None if request.options is None else self._history.resolved(request.options)
        if self._asked.wait(options, busy=self._turn().phase is not Phase.LISTENING):
            return
        happening = requests.happening(request, self._turn(), received=0)
        if options is not None:
            self._changed()
        self._asked.take(options, request.event_id)
        self._begin(happening)

    def look(self) -> None:
        """What waited for words has them; what was asked for beside the conversation has its turn when nobody else
        has."""
        while self._later and not self._dictations.pending:
            request = self._later.popleft()
            try:
                self._ask_now(request)
            except ClientError as error:
                self._complain(error, request.event_id)
        if self._turn().phase is Phase.LISTENING and self._asked.next_aside():
            self._begin(happenings.ReplyAsked())

    def _begin(self, happening: happenings.Happening) -> None:
        self._times.reply_asked(time.monotonic())
        self._happen(happening)
