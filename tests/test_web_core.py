"""The pure rooms of the web tier: session time, pacing, the reply in hand, results in order, overdue stages."""

import pytest

from config.messages import Result, Speech, SpokenWord, TextDone, VoiceStarted, Words
from config.tuning import OwnershipSettings
from web.clock import STALL_S, SessionClock
from web.config import Wishes
from web.inbox import Inbox
from web.pacing import Playback
from web.packets import opus_samples, packets_samples
from web.reply import Reply
from web.reply_options import ReplyOptions
from web.stage_watch import StageWatch, Verdict

S = 24_000

USUAL = ReplyOptions(Wishes())


def test_session_time_is_the_audio_received() -> None:
    clock = SessionClock(100.0)
    assert clock.receive(S, 101.0) == 0
    assert clock.receive(480, 101.02) == S
    assert clock.now(101.03) == S + 480


def test_without_audio_the_clock_goes_on() -> None:
    clock = SessionClock(100.0)
    clock.receive(S, 101.0)
    assert clock.now(101.0 + STALL_S + 2.0) == pytest.approx(3 * S, abs=1)


def test_a_burst_after_a_stall_does_not_count_twice() -> None:
    clock = SessionClock(100.0)
    clock.receive(S, 101.0)
    clock.receive(2 * S, 103.0)
    assert clock.now(103.0) == 3 * S


def speech(pos: int, packets: int, *words: SpokenWord, spoken: int = 0, spoken_to: int = 0) -> Speech:
    """Audio of `packets` packets of 20 ms."""
    return Speech(pos, packets * 480, [b"x" * 960] * packets, list(words), spoken, spoken_to)


def test_audio_leaves_no_more_than_its_lead_ahead() -> None:
    playback = Playback(lead_ms=160)
    sent_at = []
    now_s = 0.0
    while playback.sent < 2 * S:
        if playback.due_s(now_s, 1920) <= 0:
            playback.send(1920, now_s)
            sent_at.append(now_s)
        now_s += 0.001
    assert [round(at, 2) for at in sent_at[:6]] == [0.0, 0.0, 0.08, 0.16, 0.24, 0.32]


def test_what_was_sent_and_not_yet_played_was_not_heard() -> None:
    playback = Playback(lead_ms=160)
    playback.send(S, 10.0)
    assert playback.heard(10.5) == S // 2
    assert playback.heard(12.0) == S
    assert playback.left_s(10.25) == pytest.approx(0.75)


def test_a_player_that_ran_dry_hears_nothing_meanwhile() -> None:
    playback = Playback(lead_ms=160)
    playback.send(S, 10.0)
    playback.send(S, 13.0)
    assert playback.heard(13.5) == S + S // 2


def test_the_clients_position_counts_up_to_what_was_sent() -> None:
    playback = Playback(lead_ms=160)
    playback.send(S, 10.0)
    playback.report(S // 4)
    assert playback.heard(11.0) == S // 4
    playback.report(9 * S)
    assert playback.heard(11.0) == S


def test_a_later_connection_goes_on_from_what_was_sent() -> None:
    playback = Playback(lead_ms=160, sent=3 * S)
    assert playback.heard(0.0) == 3 * S
    playback.send(S, 5.0)
    assert playback.heard(5.5) == 3 * S + S // 2


def reply() -> Reply:
    """A reply of three words."""
    made = Reply(1, Playback(lead_ms=160), 0.0, USUAL)
    made.add_words(Words(0, ["one ", "two ", "three."], 0.0), 0.1)
    return made


def test_words_that_come_twice_are_taken_once() -> None:
    made = reply()
    assert made.add_words(Words(1, ["two ", "three."], 0.0), 0.2) == []
    assert made.add_words(Words(2, ["three.", " four."], 0.0), 0.2) == [" four."]
    assert made.text == "one two three. four."


def test_history_ends_with_the_last_word_that_began_to_sound() -> None:
    made = reply()
    made.add_speech(speech(0, 50, SpokenWord(0, 0, 9600), SpokenWord(1, 9600, 20000)), 0.2)
    made.add_speech(speech(S, 50, SpokenWord(2, S, 2 * S)), 0.2)
    while (piece := made.next_speech()) is not None:
        made.playback.send(piece.samples, 1.0)
    assert made.heard_text(1.0 + 9600 / S) == "one"
    assert made.heard_text(1.5) == "one two"
    assert made.heard_text(9.0) == "one two three."


def test_a_successors_audio_replaces_what_its_predecessor_left_unfinished() -> None:
    made = reply()
    for pos in (0, 1920, 3840):
        made.add_speech(speech(pos, 4), 0.2)
    made.add_speech(speech(1920, 4), 0.3)
    assert [piece.pos for piece in made.audio] == [0, 1920]


def test_audio_sent_before_is_not_sent_again() -> None:
    made = Reply(1, Playback(lead_ms=160, sent=1920 + 480), 0.0, USUAL)
    made.add_speech(speech(0, 4), 0.2)
    made.add_speech(speech(1920, 4), 0.2)
    piece = made.next_speech()
    assert piece is not None
    assert len(piece.packets) == 3


def test_a_text_reply_is_complete_with_its_text() -> None:
    made = reply()
    made.options = ReplyOptions(Wishes(text_only=True))
    assert not made.all_sent
    made.text_done = TextDone(3, "stop")
    assert made.all_sent


def result(epoch: int, seq: int, stage: str = "stt", reply: int = 0) -> Result:
    """A result, its place in its own text."""
    return Result(1, stage, epoch, reply, seq, 0, VoiceStarted(epoch * 1000 + seq))


class Store:
    """What the media server has stored."""

    def __init__(self, *results: Result) -> None:
        self.results = list(results)

    def read(self, stage: str, reply: int, epoch: int, seq: int) -> list[Result]:
        """As `tasks.streams.results_after`."""
        return [r for r in self.results if r.stage == stage and (r.epoch, r.seq) > (epoch, seq)]


def test_results_are_taken_in_order_and_once() -> None:
    inbox = Inbox(Store().read, {})
    assert inbox.accept(result(1, 1), first_owner=True) == [result(1, 1)]
    assert inbox.accept(result(1, 2), first_owner=True) == [result(1, 2)]
    assert inbox.accept(result(1, 2), first_owner=True) == []


def test_a_hole_is_read_back() -> None:
    stored = [result(1, n) for n in range(1, 5)]
    inbox = Inbox(Store(*stored).read, {"stt": (1, 1)})
    assert inbox.accept(result(1, 4), first_owner=False) == stored[1:]


def test_a_new_owners_first_word_brings_the_last_of_the_old_one() -> None:
    stored = [result(1, 1), result(1, 2), result(2, 1)]
    inbox = Inbox(Store(*stored).read, {"stt": (1, 1)})
    assert inbox.accept(result(2, 1), first_owner=False) == stored[1:]


def test_an_old_owner_is_not_heard() -> None:
    inbox = Inbox(Store().read, {"stt": (2, 1)})
    assert inbox.accept(result(1, 9), first_owner=False) == []


def test_when_the_store_was_lost_what_came_is_taken() -> None:
    inbox = Inbox(Store().read, {"stt": (1, 1)})
    assert inbox.accept(result(1, 5), first_owner=False) == [result(1, 5)]


def test_a_reply_taken_up_again_is_read_from_its_first_result() -> None:
    stored = [result(1, 1, "tts", 1), result(2, 1, "tts", 2), result(2, 2, "tts", 2)]
    inbox = Inbox(Store(*stored).read, {"tts": (2, 2)})
    inbox.read_again("tts", 2)
    assert inbox.catch_up("tts", 2) == stored[1:]


RULES = OwnershipSettings()


@pytest.mark.parametrize(
    ("claimed", "waited_s", "room", "verdict"),
    [
        pytest.param(True, 0.1, False, Verdict.RESUBMIT, id="its owner died"),
        pytest.param(False, 1.0, True, Verdict.FINE, id="it was only just submitted"),
        pytest.param(False, 3.5, True, Verdict.RESUBMIT, id="nobody took it though somebody could"),
        pytest.param(False, 3.5, False, Verdict.WAITING, id="nobody can"),
    ],
)
def test_a_stage_that_nobody_holds(claimed: bool, waited_s: float, room: bool, verdict: Verdict) -> None:
    watch = StageWatch("llm", 1, 100.0, 100.0)
    if claimed:
        watch.seen(100.0)
    assert watch.judge(100.0 + waited_s, RULES, room=room) is verdict


def test_the_client_is_told_once() -> None:
    watch = StageWatch("llm", 1, 100.0, 100.0)
    assert watch.judge(104.0, RULES, room=False) is Verdict.WAITING
    watch.told = True
    assert watch.judge(105.0, RULES, room=False) is Verdict.FINE


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        pytest.param(bytes([0x78]) + b"x", 480, id="hybrid fullband, one frame of 20 ms"),
        pytest.param(bytes([0x79]) + b"x", 960, id="two of them"),
        pytest.param(bytes([0x7B, 3]) + b"x", 1440, id="three of them, counted"),
        pytest.param(bytes([0xF0]) + b"x", 240, id="CELT, 10 ms"),
        pytest.param(b"", 0, id="nothing"),
        pytest.param(bytes([0x7B]), 0, id="a count that is missing"),
        pytest.param(bytes([0x7B, 63]), 0, id="longer than any packet may be"),
    ],
)
def test_the_length_of_an_opus_packet_is_in_its_first_byte(packet: bytes, samples: int) -> None:
    assert opus_samples(packet) == samples


def test_the_length_of_pcm_is_half_its_bytes() -> None:
    assert packets_samples([b"xx", b"xxxx"], "pcm16") == 3
    assert packets_samples([b"x", b"xxx"], "pcmu") == packets_samples([b"xxxx"], "pcma") == 12
