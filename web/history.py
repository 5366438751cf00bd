"""What was said in a conversation, as far as it was heard, and the orders for replies that follow from it."""

import logging
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from config import metrics
from config import redis_keys as keys
from config.errors import ClientError, PromptTooLong
from config.messages import Order, encode
from config.settings import Settings
from tasks.leases import Value
from web import actions, prompt
from web.clock import SessionClock
from web.config import Wishes
from web.items import Item, Items, Span, no_such
from web.moments import Times, answer
from web.past_replies import PastReplies, PastReply
from web.reply import Reply
from web.reply_options import ReplyOptions
from web.saved import Saved

log = logging.getLogger(__name__)

#: The stages that make replies.
MAKERS = ("llm", "tts")

#: Fields of the session's state.
Fields = dict[str, Value]

#: An utterance is deleted before its text is known, or a reply while it is made: there are few of them at a time.
MOST_DELETED = 64

#: Messages kept in the saved state, and characters of them: it is written with every turn.
SAVED_MESSAGES, SAVED_CHARACTERS = 200, 400_000


@dataclass(frozen=True)
class Scene:
    """What else is known when something is decided."""

    wishes: Wishes
    """Of the session."""
    asked: ReplyOptions | None
    """What the next reply is to be, where that is something else."""
    reply: Reply | None
    next_number: int
    user_item: str
    """Id of the utterance whose text comes next."""
    said: Span | None = None
    """When it was said."""
    closing_item: str = ""
    """Id of the utterance that is over, whenever its text comes; empty: none is, or it has no id."""


class History:
    """Grows at its end; what was heard of a reply can still be mended."""

    def __init__(
        self,
        items: Iterable[Item],
        settings: Settings,
        clock: SessionClock | None = None,
        since_reply: int | None = None,
        deleted: Iterable[str] = (),
    ) -> None:
        """clock: the session's; without one, of a session that begins now. since_reply, deleted: as they were saved."""
        self._items = Items(items)
        self._clock = clock or SessionClock(time.monotonic())
        last = max((item.span[1] for item in self._items if item.span), default=0)
        self._times = Times(self._clock, time.monotonic(), not_before=last)
        self._goodbyes = settings.turn.goodbyes
        self._context_tokens = settings.llm.window_tokens
        self._past = PastReplies()
        self._logs = settings.log_speech
        self._began = None if since_reply is None else max(0, len(self._items) - since_reply)
        """Its place when the reply under way began: what is typed meanwhile comes after it; None: nobody knows."""
        self._deleted: deque[str] = deque(deleted, maxlen=MOST_DELETED)
        """Ids of items that were deleted; what is said of them later is not kept."""
        self.dropped = 0
        """Messages that the newest order had no room for."""
        self.drafted: Order | None = None
        """The newest draft of a prompt."""
        self.refused: PromptTooLong | None = None
        """Why the newest order could not be made; whoever takes it up sets it back."""

    @classmethod
    def of(cls, before: Saved | None, settings: Settings, clock: SessionClock) -> "History":
        """Of a session that goes on, or begins."""
        if before is None:
            return cls([], settings, clock)
        return cls(before.history, settings, clock, before.since_reply, before.deleted)

    @property
    def deleted(self) -> list[str]:
        """Ids of items that were deleted, the newest last."""
        return list(self._deleted)

    @property
    def newest(self) -> list[Item]:
        """What is saved."""
        return self._items.newest(SAVED_MESSAGES, SAVED_CHARACTERS)

    @property
    def since_reply(self) -> int | None:
        """Items that came after the reply under way began; None: nobody knows."""
        return None if self._began is None else len(self._items) - self._began

    def append(self, item_id: str, text: str) -> bool:
        """More is understood of an item; False: it is not there any more."""
        place = self._items.place(item_id)
        if place is None:
            return False
        item = self._items[place]
        self._items.replace(place, msgspec.structs.replace(item, content=f"{item.content} {text}".strip()))
        self._forget_oldest()
        return True

    def find(self, item_id: str) -> Item | None:
        """The item of this id."""
        return self._items.find(item_id)

    def add(self, item: Item, after: str | None = None, *, under_way: str = "") -> str | None:
        """Something was said or typed, after that item, or at the end; the id of the one before it.

        under_way: id of the reply that is being made. Raises ClientError where it can go there not.
        """
        if item.span is None:
            item = msgspec.structs.replace(item, span=self._times.now(time.monotonic()))
        place = self._place_after(after, under_way)
        self._items.insert(place, item)
        if item.id in self._deleted and item.id != under_way:
            self._deleted.remove(item.id)
        if self._began is not None and place < self._began:
            self._began += 1
        self._log(item)
        before = self._items.id_before(place)
        self._forget_oldest()
        return after if after and after == under_way else before

    def _place_after(self, after: str | None, under_way: str) -> int:
        """Behind the reply that is being made, which has its place already, or as the items have it."""
        if after and after == under_way and self._began is not None:
            return self._began
        return self._items.place_after(after)

    def _forget_oldest(self) -> None:
        gone = self._items.forget_oldest()
        if self._began is not None:
            self._began = max(0, self._began - gone)

    def delete(self, item_id: str, *, under_way: str = "") -> None:
        """It has never been said. under_way: as in `add`. Raises ClientError where there is none."""
        place = self._items.place(item_id)
        if place is None and not (under_way and item_id == under_way and item_id not in self._deleted):
            raise no_such("delete", item_id)
        self._deleted.append(item_id)
        if place is None:
            return
        self._remove(place)

    def _keep(self, reply: Reply, now_s: float, *, whole: bool) -> None:
        """What was heard of a reply, marked where the user cut it short, and what it asked for."""
        if reply.options.aside:
            return
        text, cut = reply.kept(now_s, whole=whole)
        told = bool(reply.item_id and reply.words) and reply.item_id not in self._deleted
        span = self._times.told(answer(reply, self._clock.now(now_s), now_s), now_s)
        here = len(self._items) if self._began is None else self._began
        kept = [
            Item("assistant", "", (call,), id=call_id, span=span) for call_id, call in reply.calls.items()
        ]
        if told or (text and not reply.item_id):
            said = text + (prompt.INTERRUPTED if cut and text else "")
            spoken = not reply.options.wishes.text_only
            kept.insert(0, Item("assistant", said, id=reply.item_id, spoken=spoken, cut=cut, span=span))
        if (
            reply.consulted and not kept
        ):  # the model must know, or it runs them again; clients know of no such item
            kept = [Item("assistant", "", span=span)]
        if kept:
            kept[0] = msgspec.structs.replace(kept[0], consulted=reply.consulted)
        for item in kept:
            here = self._put(here, item)
            self._log(item)
        words = ["" if number in reply.fillers else word for number, word in enumerate(reply.words)]
        past = PastReply(words, reply.spans, reply.playback.sent, reply.item_id if told else "")
        self._past.add(reply.number, past)

    def _put(self, place: int, item: Item) -> int:
        """One of ours, and the place after it; a client that took its id has lost its own."""
        taken = self._items.place(item.id)
        if taken is not None:
            self._remove(taken)
            place -= taken < place
        self._items.insert(place, item)
        return place + 1

    def _remove(self, place: int) -> None:
        self._items.remove(place)
        if self._began is not None and place < self._began:
            self._began -= 1

    def _understood(self, item_id: str, text: str, said: Span | None) -> None:
        """The text of an utterance, which has its place since it was over; where nothing was, there is no text."""
        place = self._items.place(item_id)
        item = Item("user", text, id=item_id, spoken=True, span=said)
        if place is not None:
            self._items.replace(place, item)
            self._log(item)
        elif text and item_id not in self._deleted:
            self.add(item)

    def _told(self, said: Span | None) -> Span | None:
        return said and self._times.told(said, time.monotonic())

    def _log(self, message: Item) -> None:
        """For those who asked for it; `config.logs` warns of it."""
        if self._logs:
            log.info("%s: %s", message.role, message.content)

    def mend(self, number: int, samples: int) -> bool:
        """The client says how much it played of a reply that is over; whether that changes anything."""
        return self._past.mend(self._items, number, samples)

    def draft(self, number: int, wishes: Wishes) -> Fields:
        """The order of a reply that nobody asked for yet; nothing where it would have no room, or is known already."""
        if wishes.listen_only:
            return {}
        order = prompt.draft(number, wishes, self._items.telling, self._context_tokens)
        if order is None or order == self.drafted:
            return {}
        self.drafted = order
        return {keys.DRAFT: encode(order)}

    @property
    def last_id(self) -> str | None:
        """Of the newest item that a client knows."""
        return self._items.id_before(len(self._items))

    def remember(self, action: actions.Action, scene: Scene) -> Fields:
        """What an action changes in what was said, and in the state to be saved."""
        self._note(action, scene)
        self._forget_oldest()
        return self._changed(action, scene)

    def _note(self, action: actions.Action, scene: Scene) -> None:
        reply = scene.reply
        match action:
            case actions.CloseUtterance() | actions.UserSilent() if scene.closing_item:
                self._put(
                    len(self._items),
                    Item("user", "", id=scene.closing_item, spoken=True, span=self._told(scene.said)),
                )
            case actions.TakeText(text=text):
                self._understood(scene.user_item, text, self._told(scene.said))
            case actions.CancelReply() | actions.EndReply() if reply is not None:
                self._keep(reply, time.monotonic(), whole=isinstance(action, actions.EndReply))
                self._began = None
            case actions.StartReply() | actions.ConfirmReply():
                self._began = len(self._items)

    def _changed(self, action: actions.Action, scene: Scene) -> Fields:
        match action:
            case actions.ConfirmReply():
                return {keys.LET_OUT: action.reply}
            case actions.SpeechBegan() | actions.EndReply():
                return self.draft(scene.next_number, scene.wishes)
            case actions.StartReply() | actions.PrepareReply():
                certain = isinstance(action, actions.StartReply)
                let_out: Fields = {keys.LET_OUT: action.reply} if certain else {}
                return {keys.REPLY: action.reply, **let_out, **self._order(action, scene)}
            case actions.CancelReply(reply=number) | actions.DropReply(reply=number):
                # a worker that has not yet claimed it need not begin
                return {keys.done(stage): number for stage in MAKERS}
        return {}

    def resolved(self, options: ReplyOptions) -> ReplyOptions:
        """With the items that it refers to. Raises ClientError where one is not there."""
        if options.input is None:
            return options
        found = [self._items.find(item.id) if _refers(item) else item for item in options.input]
        if None in found:
            lost = next(item.id for item, there in zip(options.input, found, strict=True) if there is None)
            raise ClientError(f"there is no item {lost!r}", param="response.input", code="invalid_value")
        return msgspec.structs.replace(options, input=found)

    def _order(self, action: actions.StartReply | actions.PrepareReply, scene: Scene) -> Fields:
        """What workers need for a reply; nothing where the prompt has no room, and then nobody works on it."""
        wishes, said, say = scene.wishes, self._items.telling, ""
        if isinstance(action, actions.PrepareReply):
            said.append(Item("user", action.text))
        elif action.goodbye:
            say = self._goodbye(wishes.language)
        elif scene.asked is not None:
            wishes, said = scene.asked.wishes, said if scene.asked.input is None else scene.asked.input
        try:
            asked = prompt.ask(action.reply, wishes, said, self._context_tokens)
        except PromptTooLong as error:
            self.refused = error
            return {}
        metrics.history_dropped.inc(max(0, asked.dropped - self.dropped))
        self.dropped = asked.dropped
        return {keys.ORDER: encode(msgspec.structs.replace(asked.order, say=say))}

    def _goodbye(self, language: str) -> str:
        texts = self._goodbyes
        return texts.get(language.partition("-")[0]) or next(iter(texts.values()), "")


def _refers(item: Item) -> bool:
    return not (item.content or item.spoken or item.tool_calls or item.role == "tool")
