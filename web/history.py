"""What was said in a conversation, as far as it was heard, and the orders for replies that follow from it."""

import logging
import time
from collections.abc import Iterable

import msgspec

from config import metrics
from config import redis_keys as keys
from config.errors import PromptTooLong
from config.messages import ChatMessage, Order, encode
from config.settings import Settings
from tasks.leases import Value
from web import actions, prompt
from web.config import Wishes
from web.past_replies import PastReplies, PastReply
from web.reply import Reply

log = logging.getLogger(__name__)

#: The stages that make replies.
MAKERS = ("llm", "tts")

#: Fields of the session's state.
Fields = dict[str, Value]

#: Messages kept in the saved state.
SAVED_MESSAGES = 200


class History:
    """Grows at its end; what was heard of a reply can still be mended."""

    def __init__(self, messages: Iterable[ChatMessage], settings: Settings) -> None:
        self._messages = list(messages)
        self._goodbyes = settings.turn.goodbyes
        self._context_tokens = settings.llm.window_tokens
        self._past = PastReplies()
        self._logs = settings.log_speech
        self._began: int | None = None
        """Its place when the reply under way began: what is typed meanwhile comes after it; None: nobody knows."""
        self.dropped = 0
        """Messages that the newest order had no room for."""
        self.drafted: Order | None = None
        """The newest draft of a prompt."""
        self.refused: PromptTooLong | None = None
        """Why the newest order could not be made; whoever takes it up sets it back."""

    @property
    def newest(self) -> list[ChatMessage]:
        """What is saved."""
        return self._messages[-SAVED_MESSAGES:]

    def add(self, message: ChatMessage) -> None:
        """Something was said or typed."""
        self._messages.append(message)
        self._log(message)

    def _keep(self, reply: Reply, now_s: float, *, whole: bool) -> None:
        """What was heard of a reply, marked where the user cut it short."""
        text = reply.text if whole else reply.heard_text(now_s)
        mark = "" if text == reply.text else prompt.INTERRUPTED
        here = len(self._messages) if self._began is None else self._began
        place = here if text else None
        if text:
            self._messages.insert(here, ChatMessage("assistant", text + mark))
            self._log(self._messages[here])
        self._past.add(reply.number, PastReply(reply.words, reply.spans, reply.playback.sent, place))

    def _log(self, message: ChatMessage) -> None:
        """For those who asked for it; `config.logs` warns of it."""
        if self._logs:
            log.info("%s: %s", message.role, message.content)

    def mend(self, number: int, samples: int) -> bool:
        """The client says how much it played of a reply that is over; whether that changes anything."""
        return self._past.mend(self._messages, number, samples)

    def draft(self, number: int, wishes: Wishes) -> Fields:
        """The order of a reply that nobody asked for yet; nothing where it would have no room, or is known already."""
        order = prompt.draft(number, wishes, self._messages, self._context_tokens)
        if order is None or order == self.drafted:
            return {}
        self.drafted = order
        return {keys.DRAFT: encode(order)}

    def remember(
        self, action: actions.Action, wishes: Wishes, reply: Reply | None, next_number: int
    ) -> Fields:
        """What an action changes in what was said, and in the state to be saved."""
        match action:
            case actions.TakeText(text=text) if text:
                self.add(ChatMessage("user", text))
            case actions.CancelReply() | actions.EndReply() if reply is not None:
                self._keep(reply, time.monotonic(), whole=isinstance(action, actions.EndReply))
                self._began = None
            case actions.StartReply() | actions.ConfirmReply():
                self._began = len(self._messages)
        match action:
            case actions.SpeechBegan() | actions.EndReply():
                return self.draft(next_number, wishes)
            case actions.StartReply() | actions.PrepareReply():
                return {keys.REPLY: action.reply, **self._order(action, wishes)}
            case actions.CancelReply(reply=number) | actions.DropReply(reply=number):
                # a worker that has not yet claimed it need not begin
                return {keys.done(stage): number for stage in MAKERS}
        return {}

    def _order(self, action: actions.StartReply | actions.PrepareReply, wishes: Wishes) -> Fields:
        """What workers need for a reply; nothing where the prompt has no room, and then nobody works on it."""
        more, say = [], ""
        if isinstance(action, actions.PrepareReply):
            more = [ChatMessage("user", action.text)]
        elif action.goodbye:
            say = self._goodbye(wishes.language)
        try:
            asked = prompt.ask(action.reply, wishes, [*self._messages, *more], self._context_tokens)
        except PromptTooLong as error:
            self.refused = error
            return {}
        metrics.history_dropped.inc(max(0, asked.dropped - self.dropped))
        self.dropped = asked.dropped
        return {keys.ORDER: encode(msgspec.structs.replace(asked.order, say=say))}

    def _goodbye(self, language: str) -> str:
        texts = self._goodbyes
        return texts.get(language.partition("-")[0]) or next(iter(texts.values()), "")
