"""What of Kyutai's speech needs no tensors: the script, the times of its words, and who takes part in a step."""

import pytest

from gpu_workers.kyutai.rota import Candidate, Rules, choose
from gpu_workers.kyutai.script import LONGEST_PIECE, PATIENCE, Script, Tokens
from gpu_workers.kyutai.timeline import Timeline

FRAME = 1920


def encode(word):
    """A token for each sign; 0 for what is not known."""
    return [ord(sign) if sign.isascii() else 0 for sign in word]


def script(first_word=0, language="en"):
    return Script(Tokens(encode, unknown=0), language, first_word)


def texts(pieces):
    return [(piece.number, "".join(map(chr, piece.tokens))) for piece in pieces]


def whole(*words, **how):
    """Everything that is read of a reply."""
    written = script(**how)
    written.write(words, last=True)
    pieces = []
    while not written.complete:
        pieces += written.take(3)
    return texts(pieces)


# --- the script


def test_words_wait_only_until_the_model_knows_enough_of_them():
    written = script()
    written.write(["One "])
    assert not written.take(3)
    written.write(["two "])
    assert not written.take(3)
    written.write(["or "])
    assert texts(written.take(3)) == [(0, "One"), (1, "two"), (2, "or")]
    written.write(["more "])
    assert texts(written.take(1)) == [(3, "more")]


def test_the_end_of_the_text_lets_everything_through():
    written = script()
    written.write(["Hello "])
    assert not written.take(3) and not written.complete
    written.write([], last=True)
    assert texts(written.take(3)) == [(0, "Hello")]
    assert written.complete


def test_a_number_waits_for_what_may_belong_to_it():
    written = script()
    written.write(["It ", "costs ", "$5 "])
    assert texts(written.take(3)) == [(0, "It"), (1, "costs")]
    assert not written.take(1)
    written.write(["million "])
    assert [text for _, text in texts(written.take(1))] == ["five", "million", "dollars"]


def test_a_word_that_is_said_in_several_keeps_its_number():
    assert whole("I ", "have ", "21 ", "cats.") == [
        (0, "I"), (1, "have"), (2, "twenty-one"), (3, "cats."),
    ]  # fmt: skip
    assert {number for number, _ in whole("The ", "year ", "1984 ", "came.")} == {0, 1, 2, 3}


def test_what_has_no_sound_has_no_piece():
    assert whole("Well ", "😀 ", "— ", "*smiles* ", "then.") == [(0, "Well,"), (4, "then.")]
    assert whole("😀") == []


def test_unknown_signs_are_passed_over():
    assert whole("你好 ", "caf中e ", "end.") == [(1, "cafe"), (2, "end.")]


def test_a_word_that_is_too_long_is_read_in_parts():
    pieces = whole("a" * 250, "end.")
    assert "".join(text for _, text in pieces) == "a" * 250 + "end."
    assert max(len(text) for _, text in pieces) == LONGEST_PIECE
    assert {number for number, _ in pieces} == {0, 1}


def test_colons_and_parentheses_part_pieces():
    assert [text for _, text in whole("note:this ", "(and ", "that)")] == ["note", "this", "and", "that"]


def test_words_are_numbered_from_the_first_that_nobody_has_spoken():
    assert whole("Back ", "again.", first_word=7) == [(7, "Back"), (8, "again.")]


def test_what_is_never_closed_does_not_wait_for_ever():
    written = script()
    taken = []
    for _ in range(3 * PATIENCE):
        written.write(["1 "])
        taken += written.take(3)
    assert taken


def test_the_rest_of_the_text_is_seen_by_what_is_read_first():
    written = script()
    written.write(["On ", "May ", "5, ", "2021 ", "we ", "met."])
    said = " ".join(text for _, text in texts(written.take(3)))
    assert "fifth" in said and "twenty twenty-one" in said


# --- the times of words


def given(timeline, *steps):
    return [timeline.frame(step) for step in steps]


def test_a_word_sounds_in_the_frame_of_the_step_that_read_it():
    timeline = Timeline(0, FRAME)
    timeline.read(0, step=2)
    timeline.read(1, step=5)
    timeline.end(2, step=7)
    frames = given(timeline, 20, 21, 22, 23, 24, 25, 26)
    assert [frame.words for frame in frames] == [
        [(0, 0, 3 * FRAME)], [], [], [(1, 3 * FRAME, 5 * FRAME)], [], [], [],
    ]  # fmt: skip
    assert [frame.spoken for frame in frames] == [0, 0, 1, 1, 2, 2, 2]
    assert [frame.spoken_to for frame in frames] == [0, 0, *[3 * FRAME] * 2, *[5 * FRAME] * 3]
    assert [frame.last for frame in frames] == [*[False] * 6, True]


def test_silent_words_are_moments_in_their_place():
    timeline = Timeline(3, FRAME)
    timeline.read(4, step=2)
    timeline.read(7, step=3)
    timeline.end(10, step=4)
    words = [word for frame in given(timeline, 20, 21, 22, 23) for word in frame.words]
    assert words == [
        (3, 0, 0), (4, 0, FRAME), (5, FRAME, FRAME), (6, FRAME, FRAME), (7, FRAME, 2 * FRAME),
        (8, 2 * FRAME, 2 * FRAME), (9, 2 * FRAME, 2 * FRAME),
    ]  # fmt: skip


def test_a_word_in_several_parts_lasts_until_the_next_word():
    timeline = Timeline(0, FRAME)
    for step in (2, 5, 8):
        timeline.read(0, step)
    timeline.read(1, step=9)
    assert timeline.frame(20).words == [(0, 0, 7 * FRAME)]


def test_a_word_whose_successor_is_not_written_yet_ends_with_what_is_known():
    timeline = Timeline(0, FRAME)
    timeline.read(0, step=2)
    (word,) = timeline.frame(20).words
    assert word == (0, 0, 19 * FRAME)
    timeline.read(1, step=21)
    timeline.end(2, step=23)
    later = [word for step in range(21, 42) for word in timeline.frame(step).words]
    assert later == [(1, 19 * FRAME, 21 * FRAME)]


def test_a_reply_of_nothing_reports_its_words():
    heard = Timeline(2, FRAME).nothing(4)
    assert (heard.words, heard.spoken, heard.last) == ([(2, 0, 0), (3, 0, 0)], 4, True)
    assert Timeline(2, FRAME).nothing(2).spoken == 2


# --- who takes part

A_STARTS = Candidate(0, ready=True, starting=True)
B_STARTS = Candidate(1, ready=True, starting=True)
C_SPEAKS = Candidate(2, ready=True, starting=False, spare_s=0.5)
C_HURRIES = Candidate(2, ready=True, starting=False, spare_s=0.1)
C_LATE = Candidate(2, ready=True, starting=False, spare_s=-1.0)
C_UNHEARD = Candidate(2, ready=True, starting=False)
D_WAITS = Candidate(3, ready=False, starting=False, spare_s=0.0)
E_WAITS = Candidate(4, ready=False, starting=True)


@pytest.mark.parametrize(
    ("candidates", "taken", "slots", "text_only"),
    [
        pytest.param([], 0, None, None, id="nobody is wanted"),
        pytest.param([D_WAITS, E_WAITS], 0, None, None, id="nobody has text"),
        pytest.param([C_SPEAKS], 0, [2], False, id="one speaks"),
        pytest.param([D_WAITS, C_SPEAKS], 0, [2], False, id="who has no text holds nobody up"),
        pytest.param([A_STARTS], 0, [0], True, id="one starts"),
        pytest.param([A_STARTS, B_STARTS], 3, [0, 1], True, id="starts go together"),
        pytest.param([A_STARTS], 4, None, None, id="then the loop has its turn"),
        pytest.param([A_STARTS, C_SPEAKS], 0, [0], True, id="a start goes before whoever can wait"),
        pytest.param([A_STARTS, C_SPEAKS], 1, [0], True, id="twice"),
        pytest.param([A_STARTS, C_SPEAKS], 2, [0, 2], False, id="then everybody has a step"),
        pytest.param([A_STARTS, C_HURRIES], 0, [0, 2], False, id="nobody who runs out waits for a start"),
        pytest.param([C_LATE, A_STARTS], 0, [2, 0], False, id="a start goes on beside whoever is late"),
        pytest.param([A_STARTS, C_UNHEARD], 0, [0], True, id="who is not heard yet can wait"),
        pytest.param([E_WAITS, C_SPEAKS], 0, [2], False, id="a start without text takes no step"),
        pytest.param([A_STARTS, D_WAITS], 0, [0], True, id="who has no text is not in a hurry"),
    ],
)
def test_who_takes_part_in_a_step(candidates, taken, slots, text_only):
    step = choose(candidates, taken, Rules())
    if slots is None:
        assert step is None
    else:
        assert (list(step.slots), step.text_only) == (slots, text_only)


def test_starts_may_be_told_to_wait_for_full_steps():
    assert not choose([A_STARTS, C_SPEAKS], 0, Rules(between=0)).text_only
