"""A reply that was held back goes on: from which word, how softly, and what of it was heard."""

import numpy as np
import opuslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.messages import Speech, SpokenWord, Words
from tasks import g711
from tasks.codec import G711Encoder, OpusEncoder
from web.config import Wishes
from web.fade import PACKET_SAMPLES, faded_in
from web.items import Item, Items
from web.pacing import Playback
from web.past_replies import PastReplies, PastReply
from web.reply import Reply
from web.reply_options import ReplyOptions

S = 24_000
FRAME = 4 * PACKET_SAMPLES


def spoken(samples: int, word: int = 12_000, gap: int = 2_400) -> Reply:
    """A reply of words of half a second with gaps between them, sent as far as `samples`."""
    made = Reply(1, Playback(lead_ms=160), 0.0, ReplyOptions(Wishes()))
    count = 3 * S // (word + gap)
    made.add_words(Words(0, [f"w{number} " for number in range(count)], 0.0), 0.0)
    spans = [(number * (word + gap), number * (word + gap) + word) for number in range(count)]
    for pos in range(0, 3 * S, FRAME):
        words = [
            SpokenWord(number, *span) for number, span in enumerate(spans) if pos <= span[0] < pos + FRAME
        ]
        packets = [f"{pos + at * PACKET_SAMPLES}".encode() for at in range(4)]
        made.add_speech(Speech(pos, FRAME, packets, words, 0, 0), 0.0)
    while made.playback.sent < samples and (piece := made.next_speech()) is not None:
        made.playback.send(piece.samples, 0.0)
    made.cut_at = made.playback.sent
    return made


def first_packet(made: Reply) -> bytes:
    piece = made.next_speech()
    assert piece is not None
    assert piece.packets[0] == str(piece.pos).encode(), "a piece begins where it says"
    return piece.packets[0]


def test_it_goes_on_from_the_beginning_of_the_word_that_was_cut() -> None:
    made = spoken(20_000)  # in the second word, which begins at 14 400
    begin = made.rewind(most=S)
    assert begin == 14_400
    assert first_packet(made) == b"14400"


def test_a_later_connection_does_not_count_what_it_cannot_send_again() -> None:
    made = spoken(0)
    made.playback = Playback(lead_ms=160, sent=19_200)  # an earlier one sent half of the second word
    piece = made.next_speech()
    assert piece is not None
    made.playback.send(piece.samples, 0.0)
    made.cut_at = made.playback.sent
    begin = made.rewind(most=S)
    assert first_packet(made) == str(begin).encode()


def test_between_two_words_nothing_is_said_twice() -> None:
    made = spoken(13_440)
    assert made.rewind(most=S) == made.playback.sent == 13_440
    assert first_packet(made) == b"13440"


def test_of_a_very_long_word_only_the_end_is_said_again() -> None:
    made = spoken(2 * S, word=3 * S, gap=0)
    assert made.rewind(most=S // 2) >= made.cut_at - S // 2 - PACKET_SAMPLES


def test_a_player_that_stopped_at_once_gets_what_it_did_not_play() -> None:
    made = spoken(26_880)
    made.playback.stop(0.5)
    made.cut_at = made.playback.heard(0.5)
    assert made.cut_at == 12_000
    assert made.rewind(most=S) <= 12_000


@given(st.integers(FRAME, 3 * S), st.integers(0, 2 * S))
def test_after_any_cut_every_packet_from_there_on_is_sent_in_order(cut: int, most: int) -> None:
    made = spoken(cut)
    begin = made.rewind(most)
    assert max(0, made.cut_at - most - PACKET_SAMPLES) <= begin <= made.cut_at
    sent = []
    while (piece := made.next_speech()) is not None:
        made.playback.send(piece.samples, 0.0)
        sent += piece.packets
    assert sent == [str(pos).encode() for pos in range(begin, -(-3 * S // FRAME) * FRAME, PACKET_SAMPLES)]


def test_the_time_of_the_mute_is_not_heard() -> None:
    made = spoken(20_000)
    sent = made.playback.sent
    assert made.playback.heard(9.0) == sent
    begin = made.rewind(most=S)
    assert made.playback.heard(9.5) == begin
    made.playback.send(S, 10.0)
    assert made.playback.heard(10.5) == begin + S // 2


TONE = (0.3 * np.sin(2 * np.pi * 300 * np.arange(20 * PACKET_SAMPLES) / S)).astype(np.float32)


def level(pcm: np.ndarray) -> list[float]:
    return [float(np.sqrt(np.mean(packet**2))) for packet in pcm.reshape(-1, PACKET_SAMPLES)]


def test_pcm_rises_from_nothing_and_the_rest_is_untouched() -> None:
    packets = [(piece * 32767).astype("<i2").tobytes() for piece in TONE.reshape(20, -1)]
    faded = faded_in(packets, [], "pcm16", 60)
    levels = level(np.frombuffer(b"".join(faded), "<i2") / 32768)
    assert levels[0] < levels[1] < levels[2] < levels[3]
    assert faded[3:] == packets[3:]
    assert np.frombuffer(faded[0], "<i2")[0] == 0


@pytest.mark.parametrize("law", g711.LAWS)
def test_g711_rises_too(law: g711.Law) -> None:
    coder = G711Encoder(law)
    packets = coder.encode(TONE) + coder.flush()
    faded = faded_in(packets, [], law, 60)
    levels = [float(np.sqrt(np.mean((g711.expand(packet, law) / 32768) ** 2))) for packet in faded]
    assert levels[0] < levels[1] < levels[2] < levels[3]
    assert faded[3:] == packets[3:]
    assert {len(packet) for packet in faded} == {160}
    assert abs(g711.expand(faded[0], law)[0]) <= 8


def test_opus_rises_too_and_what_follows_sounds_as_it_did() -> None:
    packets = OpusEncoder().encode(TONE)

    def heard(stream: list[bytes]) -> np.ndarray:
        decoder = opuslib.Decoder(S, 1)
        for packet in packets[:6]:
            decoder.decode_float(packet, PACKET_SAMPLES)
        pcm = [np.frombuffer(decoder.decode_float(packet, PACKET_SAMPLES), np.float32) for packet in stream]
        return np.concatenate(pcm)

    faded = faded_in(packets[6:], packets[:6], "opus", 40)
    soft, plain = level(heard(faded)), level(heard(packets[6:]))
    assert soft[0] < 0.6 * plain[0]
    assert soft[0] < soft[1] < soft[2]
    assert soft[4:] == pytest.approx(plain[4:], rel=0.1), "80 ms later nobody hears a difference"


@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from(["opus", "pcm16", "pcmu", "pcma"]))
def test_packets_that_cannot_be_read_stay_as_many(packets: list[bytes], audio_format: str) -> None:
    even = [packet[: len(packet) // 2 * 2] for packet in packets]
    assert len(faded_in(even, even, audio_format, 40)) == len(even)  # type: ignore[arg-type]


def past() -> tuple[Items, PastReplies]:
    """Three words, of which the server believes that one was heard."""
    history = Items([Item("user", "hi"), Item("assistant", "one—", id="a4")])
    replies = PastReplies()
    spans = {0: (0, 9_000), 1: (12_000, 20_000), 2: (24_000, 30_000)}
    replies.add(4, PastReply(["one ", "two ", "three."], spans, 2 * S, "a4"))
    return history, replies


def test_a_client_that_heard_more_or_less_mends_the_history() -> None:
    history, replies = past()
    assert replies.mend(history, 4, 13_000)
    assert history[1].content == "one two—"
    assert replies.mend(history, 4, 2 * S)
    assert history[1].content == "one two three."
    assert replies.mend(history, 4, 0)
    assert history[1].content == ""


def test_said_twice_it_changes_nothing() -> None:
    history, replies = past()
    assert replies.mend(history, 4, 13_000)
    assert not replies.mend(history, 4, 13_000)


def test_of_unknown_replies_there_is_nothing_to_mend() -> None:
    history, replies = past()
    assert not replies.mend(history, 3, 0)
    assert not PastReplies().mend(history, 4, 0)
