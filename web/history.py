"""What was said in a conversation, as far as it was heard, and the orders for replies that follow from it. Pure."""

from collections.abc import Iterable

import msgspec

from config.messages import ChatMessage, Order
from config.settings import TurnSettings
from web import prompt
from web.config import Wishes
from web.past_replies import PastReplies, PastReply
from web.reply import Reply

#: Messages kept in the saved state.
SAVED_MESSAGES = 200


class History:
    """Grows at its end; what was heard of a reply can still be mended."""

    def __init__(self, messages: Iterable[ChatMessage], settings: TurnSettings) -> None:
        self._messages = list(messages)
        self._settings = settings
        self._past = PastReplies()

    @property
    def newest(self) -> list[ChatMessage]:
        """What is saved."""
        return self._messages[-SAVED_MESSAGES:]

    def add(self, message: ChatMessage) -> None:
        """Something was said or typed."""
        self._messages.append(message)

    def keep(self, reply: Reply, now_s: float, *, whole: bool) -> None:
        """What was heard of a reply, marked where the user cut it short."""
        text = reply.text if whole else reply.heard_text(now_s)
        mark = "" if text == reply.text else prompt.INTERRUPTED
        place = len(self._messages) if text else None
        if text:
            self._messages.append(ChatMessage("assistant", text + mark))
        self._past.add(reply.number, PastReply(reply.words, reply.spans, reply.playback.sent, place))

    def mend(self, number: int, samples: int) -> bool:
        """The client says how much it played of a reply that is over; whether that changes anything."""
        return self._past.mend(self._messages, number, samples)

    def order(self, number: int, wishes: Wishes, *more: ChatMessage) -> Order:
        """What workers need for reply `number`. more: what has probably been said, too."""
        return prompt.order(number, wishes, [*self._messages, *more])

    def goodbye(self, number: int, wishes: Wishes) -> Order:
        """The same, with the words to say."""
        texts = self._settings.goodbyes
        text = texts.get(wishes.language.partition("-")[0]) or next(iter(texts.values()), "")
        return msgspec.structs.replace(self.order(number, wishes), say=text)
