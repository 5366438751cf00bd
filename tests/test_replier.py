"""The reply under way: when it is over, and whose words are heard then."""

import json
from collections.abc import Iterable

from config.messages import Speech, SpeechDone, SpokenWord, TextDone, Words
from config.tuning import PacingSettings
from tests.ga_line import Line
from web.config import Wishes
from web.dialects.base import AudioOut
from web.replier import Replier
from web.reply_options import ReplyOptions
from web.stage_watch import StageWatch

S = 24_000


class Spoken:
    """A reply of one second, all of it sent at 10 s; what the client was told is not looked at."""

    def __init__(self, *extensions: str, text_done: bool = True) -> None:
        self.told: list[str] = []
        self.leaves = True
        self.dialect = dialect = Line(*extensions).dialect
        dialect.lead_ms = 2000
        self.replier = Replier(dialect, self.tell, PacingSettings())
        self.replier.start(1, 9.0, ReplyOptions(dialect.wishes))
        words = [SpokenWord(0, 0, S // 2), SpokenWord(1, S // 2, S)]
        for body in (
            Words(0, ["Tea, ", "please?"], 0.0),
            *([TextDone(2, "stop")] if text_done else []),
            Speech(0, S, [bytes(960)] * 50, words, 2, S),
            SpeechDone(S),
        ):
            self.replier.take(body, 9.5)
        self.replier.pump(10.0)

    def tell(self, messages: Iterable[str]) -> bool:
        if self.leaves:
            self.told += messages
        return self.leaves


def test_a_mute_that_held_nothing_back_does_not_delay_the_end() -> None:
    spoken = Spoken()
    spoken.replier.mute(10.75)
    assert spoken.replier.patience_s(10.75) == 0.25
    assert not spoken.replier.heard_all(10.9)
    assert spoken.replier.heard_all(11.0), "a voice over the last sound answers it"


def test_a_reply_whose_text_did_not_come_is_not_over() -> None:
    spoken = Spoken(text_done=False)
    assert not spoken.replier.heard_all(12.0) and spoken.replier.patience_s(12.0) is None
    spoken.replier.take(TextDone(2, "stop"), 12.5)
    assert spoken.replier.heard_all(12.5)


def test_a_text_that_is_spoken_and_lost_is_not_waited_for_without_end() -> None:
    """Nobody holds the writer's stage any more, and whoever is asked again finds it done."""
    spoken = Spoken(text_done=False)
    asked_again = StageWatch("llm", 1, submitted_s=14.0, missing_since_s=9.0)
    limit_s = PacingSettings().first_word_deadline_s
    assert spoken.replier.overdue(9.5 + limit_s, [asked_again]) is None
    assert spoken.replier.overdue(9.6 + limit_s, [asked_again]) is asked_again and spoken.replier.spoken


def test_work_that_lay_in_a_queue_is_late_only_since_somebody_took_it() -> None:
    """Workers may be away for longer than a stage may be silent."""
    replier = Replier(Line().dialect, lambda _: True, PacingSettings())
    replier.start(1, 10.0, ReplyOptions(Wishes()))
    again = StageWatch("llm", 1, submitted_s=12.0, missing_since_s=12.0)
    limit_s = PacingSettings().first_word_deadline_s
    assert replier.overdue(30.0, [again]) is None
    again.seen(30.0)
    again.seen(30.0 + limit_s)
    assert replier.overdue(30.0 + limit_s, [again]) is None
    assert replier.overdue(30.1 + limit_s, [again]) is again


def test_a_player_that_stopped_for_a_mute_has_not_heard_the_end() -> None:
    spoken = Spoken("antiphon")
    spoken.replier.mute(10.75)
    assert not spoken.replier.heard_all(12.0)
    assert spoken.replier.patience_s(12.0) is None, "nothing to wait for but what the user says"


def test_what_did_not_leave_is_neither_heard_nor_told() -> None:
    spoken = Spoken()
    reply = spoken.replier.reply
    assert reply is not None
    sent, told = reply.playback.sent, reply.told
    spoken.replier.take(Speech(S, S // 10, [bytes(960)] * 5, [SpokenWord(2, S, S + 2400)], 3, S + 2400), 10.5)

    spoken.leaves = False
    spoken.replier.pump(20.0)
    assert (reply.playback.sent, reply.told) == (sent, told), "a successor sends it"
    assert not spoken.replier.heard_all(30.0)
    assert spoken.replier.patience_s(20.0) != 0, "there is nothing to hurry for"


def test_what_did_not_leave_is_no_part_of_what_clients_are_told_of_places() -> None:
    spoken = Spoken("antiphon")
    missed = Speech(S, S // 10, [bytes(960)] * 5, [], 2, S)
    spoken.replier.take(missed, 10.5)
    spoken.leaves = False
    spoken.replier.pump(20.0)
    (event,) = spoken.dialect.reply_audio(AudioOut(1, missed.packets, missed.samples, []))
    assert json.loads(event)["antiphon"]["start_ms"] == 1000, (
        "a successor sends it, and says where it belongs"
    )


def test_the_last_words_come_back_when_the_reply_is_over() -> None:
    spoken = Spoken()
    spoken.replier.end("completed", "", 11.0)
    assert spoken.replier.echoes("tea please", 11.2)
    assert not spoken.replier.echoes("coffee", 11.2)
