"""What turn-taking decided about the user's turn: told to the client and to the STT."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from config.messages import Clear, Commit
from web import actions
from web.dialects.base import Dialect
from web.turn_times import TurnTimes
from web.user_input import UserInput


class UserWork:
    """Does it; the state was saved before."""

    def __init__(
        self,
        dialect: Dialect,
        send: Callable[[Iterable[str]], bool],
        input: UserInput,
        times: TurnTimes,
        voice_began: Callable[[], None],
    ) -> None:
        """voice_began: called when the client knows that the user speaks."""
        self._dialect = dialect
        self._send = send
        self._input = input
        self._times = times
        self._voice_began = voice_began
        self.closed_to = -1
        """All input up to this session sample was committed or forgotten, over this connection."""
        self.acts: dict[type, Callable[[Any], object]] = {
            actions.SpeechBegan: self._speech_began,
            actions.SpeechStopped: self._speech_stopped,
            actions.CloseUtterance: self._close_utterance,
            actions.TakeText: lambda a: send(dialect.user_text(a.text)),
            actions.UserSilent: self._user_silent,
            actions.ForgetInput: self._forget_input,
            actions.SkipVoice: lambda a: input.put(Clear(a.pos)),
        }
        """How each is done."""

    def items_of(self, decided: Sequence[actions.Action]) -> tuple[str, str]:
        """Id of the utterance that is closed by this, and of the one whose text comes next, which may be the same."""
        closes = any(isinstance(action, actions.CloseUtterance | actions.UserSilent) for action in decided)
        closing = self._dialect.closing_item() if closes else ""
        return closing, self._dialect.unread_item() or closing

    def not_understood(self, utterances: int) -> None:
        """What was said in so many that ended will never be known."""
        for _ in range(utterances):
            self._send(self._dialect.not_understood())

    def _speech_began(self, action: actions.SpeechBegan) -> None:
        self._send(self._dialect.speech_began(action.at))
        self._voice_began()

    def _speech_stopped(self, action: actions.SpeechStopped) -> None:
        self._times.voice_over(time.monotonic(), self._input.ago_s(action.at))
        self._send(self._dialect.speech_stopped(action.at))

    def _user_silent(self, action: actions.UserSilent) -> None:
        self._times.reply_asked(time.monotonic())
        self._send(self._dialect.idle_timeout(action.at))

    def _close_utterance(self, action: actions.CloseUtterance) -> None:
        self.closed_to = action.pos
        self._input.put(Commit(action.pos))
        self._send(self._dialect.committed(action.pos))

    def _forget_input(self, action: actions.ForgetInput) -> None:
        self.closed_to = action.pos
        self._input.put(Clear(action.pos))
        self._send(self._dialect.cleared(action.pos))
