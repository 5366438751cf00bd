"""Endpointing as tables: probabilities in, facts out. Frames of 32 ms, no model."""

import pytest

from config.messages import VoiceEnded, VoiceStarted
from gpu_workers.endpoint.endpointer import Endpointer, PauseAsked, Rules

FRAME = 768
RULES = Rules(onset=0.5, offset=0.35, onset_ms=64, hangover_ms=96, lag_ms=0, ask_ms=(160, 500))

#: One letter a frame: voice, doubt (between the thresholds), silence.
LOUD = {"v": 0.9, "d": 0.4, "-": 0.05}


def at(frame):
    return frame * FRAME


def heard(frames, rules=RULES):
    ear = Endpointer(rules)
    return [
        (number + 1, what)
        for number, letter in enumerate(frames)
        for what in ear.hear(LOUD[letter], at(number), at(number + 1))
    ]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param("----------", [], id="silence is nothing"),
        pytest.param("--v-------", [], id="a click is nothing"),
        pytest.param("dddddddddd", [], id="doubt alone begins nothing"),
        pytest.param("--vv", [(4, VoiceStarted(at(2)))], id="voice begins where it rose, once it has lasted"),
        pytest.param("--vdv", [(5, VoiceStarted(at(2)))], id="doubt does not undo a rise"),
        pytest.param("--v-vv", [(6, VoiceStarted(at(4)))], id="silence does"),
        pytest.param("vvddddddvv", [(2, VoiceStarted(0))], id="doubt does not end voice"),
        pytest.param(
            "vvv--vv---d", [(2, VoiceStarted(0)), (10, VoiceEnded(at(7)))], id="a stop in a word ends nothing"
        ),
        pytest.param(
            "vvvv" + "-" * 18,
            [
                (2, VoiceStarted(0)),
                (7, VoiceEnded(at(4))),
                (9, PauseAsked(at(4), 160)),
                (20, PauseAsked(at(4), 512)),
            ],
            id="a pause is asked about at each length once",
        ),
        pytest.param(
            "vvvv----v-" + "----",
            [(2, VoiceStarted(0)), (7, VoiceEnded(at(4))), (10, PauseAsked(at(4), 192))],
            id="a click in a pause delays the question and ends no pause",
        ),
        pytest.param(
            "vv---" + "--" + "vv---" + "--",
            [
                (2, VoiceStarted(0)),
                (5, VoiceEnded(at(2))),
                (7, PauseAsked(at(2), 160)),
                (9, VoiceStarted(at(7))),
                (12, VoiceEnded(at(9))),
                (14, PauseAsked(at(9), 160)),
            ],
            id="a new pause is asked about anew",
        ),
    ],
)  # fmt: skip
def test_voice_and_pauses(frames, expected):
    assert heard(frames) == expected


def test_the_detectors_lag_is_taken_off_the_end():
    late = RULES.model_copy(update={"lag_ms": 32})
    assert (6, VoiceEnded(at(3))) in heard("vvvv---", late)


def test_an_end_is_never_before_its_beginning():
    late = RULES.model_copy(update={"lag_ms": 500})
    facts = dict((type(what), what) for _, what in heard("--vv--------------------", late))
    assert facts[VoiceEnded].at >= facts[VoiceStarted].at


def test_a_closed_utterance_is_not_asked_about():
    ear = Endpointer(RULES)
    for number in range(4):
        ear.hear(0.9, at(number), at(number + 1))
    ear.hear(0.0, at(4), at(5))
    ear.hear(0.0, at(5), at(6))
    ear.hear(0.0, at(6), at(7))
    ear.forget()
    assert not [what for number in range(7, 40) for what in ear.hear(0.0, at(number), at(number + 1))]
