"""The user's utterances as a GA client is told of them: their ids, lengths and early words."""

import json

import pytest

from config.messages import Transcript
from config.settings import SAMPLE_RATE
from tests.ga_line import Line

S = SAMPLE_RATE

COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"


def later(line: Line) -> Line:
    """The same session over another connection."""
    again = Line()
    again.dialect.restore(json.loads(json.dumps(line.dialect.snapshot())))
    return again


def test_who_comes_back_while_speaking_keeps_the_item():
    line = Line()
    (began,) = line.hear(line.dialect.speech_began(S))
    (again,) = later(line).hear(later(line).dialect.speech_began(S, again=True))
    assert again["item_id"] == began["item_id"]


def test_an_utterance_whose_end_was_told_after_the_last_save_gives_its_id_to_no_other():
    line = Line()
    (began,) = line.hear(line.dialect.speech_began(S))
    again = later(line)  # the first connection went on, told the end, and died
    (second,) = again.hear(again.dialect.speech_began(5 * S))
    assert second["item_id"] != began["item_id"]


def test_the_usage_of_a_transcript_is_the_length_of_the_voice():
    line = Line()
    line.hear(line.dialect.speech_began(2 * S))
    line.hear(line.dialect.speech_stopped(5 * S))
    line.hear(line.dialect.committed(6 * S))
    line.hear(line.dialect.user_text("Hello."))
    assert line.last(COMPLETED)["usage"] == {"type": "duration", "seconds": 3.0}


def test_where_the_client_ends_turns_it_is_what_came_since_the_last():
    line = Line()
    line.update(audio={"input": {"turn_detection": None}})
    line.hear(line.dialect.cleared(S))
    for to in (2 * S, 5 * S):
        line.hear(line.dialect.committed(to))
    for text in ("one", "two"):
        line.hear(line.dialect.user_text(text))
    told = [event["usage"]["seconds"] for event in line.events if event["type"] == COMPLETED]
    assert told == [1.0, 3.0]


def test_a_later_connection_tells_the_length_of_an_utterance_that_was_not_understood_yet():
    line = Line()
    line.hear(line.dialect.speech_began(2 * S))
    line.hear(line.dialect.speech_stopped(3 * S))
    line.hear(line.dialect.committed(3 * S))
    again = later(line)
    again.hear(again.dialect.user_text("Hello."))
    assert again.last(COMPLETED)["usage"]["seconds"] == 1.0


@pytest.mark.parametrize(
    ("final", "deltas"),
    [
        ("one two three", ["one", " two", " three"]),
        ("one two", ["one", " two"]),
        ("on two three", ["one", " two", " three"]),
    ],
)
def test_in_a_transcription_session_words_come_before_the_end_and_the_end_has_the_whole(final, deltas):
    line = Line()
    assert line.update(type="transcription")["type"] == "transcription"
    line.hear(line.dialect.speech_began(S))
    for text, to in (("one", 2), ("one two", 3), ("one two tree", 4)):
        line.hear(line.dialect.partial_text(Transcript(text, S, to * S)))
    line.hear(line.dialect.committed(4 * S))
    line.hear(line.dialect.user_text(final))
    assert [event["delta"] for event in line.events if event["type"] == DELTA] == deltas
    assert line.last(COMPLETED)["transcript"] == final


def test_in_a_conversation_no_word_comes_before_the_end():
    line = Line()
    line.hear(line.dialect.speech_began(S))
    for to in (2, 3):
        line.hear(line.dialect.partial_text(Transcript("one two", S, to * S)))
    assert DELTA not in line.kinds()


def test_who_comes_back_in_the_middle_of_an_utterance_is_not_told_its_words_again():
    line = Line()
    line.update(type="transcription")
    line.hear(line.dialect.speech_began(S))
    for to in (2, 3):
        line.hear(line.dialect.partial_text(Transcript("once upon a", S, to * S)))
    assert line.last(DELTA)["delta"] == "once upon a"
    again = later(line)
    again.hear(again.dialect.speech_began(S, again=True))
    for to in (4, 5):
        again.hear(again.dialect.partial_text(Transcript("once upon a time", S, to * S)))
    assert [event["delta"] for event in again.events if event["type"] == DELTA] == [" time"]
