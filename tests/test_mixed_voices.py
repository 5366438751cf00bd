"""Several engines in one worker: which of them speaks a reply."""

import threading
from pathlib import Path

import pytest

from config.engine_choice import EngineChoice
from config.errors import ConfigError, EngineMissing
from config.voice_messages import CustomVoice
from gpu_workers import loader
from gpu_workers.engine import Needs, VoiceOptions
from tests import tiny_kokoro
from tests.engine_drivers import Mouths

SLOTS = 3


@pytest.fixture
def kokoro(tmp_path):
    """Options of a tiny model."""
    return tiny_kokoro.write(tmp_path)


def mixed(**engines):
    return loader.load("tts", choice(engines), SLOTS)


def choice(engines):
    return EngineChoice(engine="mixed", slots=SLOTS, options={"engines": engines})


def loudness(engine, slot, voice):
    """How loud the first frame is: the voices of the tiny model differ by that, the null engine's is louder."""
    mouths = Mouths(engine, voice=voice).open(slot).say(slot, "Hello.").run(wait_s=10)
    return round(float(max(abs(mouths.frames[slot][0].pcm))), 1)


@pytest.mark.model
def test_the_first_wish_that_is_there_speaks(kokoro):
    engine = mixed(kokoro={"options": kokoro}, null={})
    engine.warm_up()
    assert set(engine.voices()) == {"kokoro/af_low", "kokoro/bm_middle", "kokoro/ff_high", "null/null"}
    assert loudness(engine, 0, "kokoro/bm_middle,null/null") == 0.4
    assert loudness(engine, 0, "pocket/anna, kokoro/af_low") == 0.2
    assert loudness(engine, 0, "kokoro/nobody,kokoro/ff_high") == 0.6


@pytest.mark.model
def test_a_busy_engine_is_passed_over_while_another_can_speak(kokoro):
    engine = mixed(kokoro={"options": kokoro, "at_once": 1}, null={})
    engine.warm_up()
    engine.open(0, VoiceOptions("kokoro/ff_high"))
    assert loudness(engine, 1, "kokoro/af_low,null/null") > 0.2, "it is the null engine's"
    assert loudness(engine, 1, "kokoro/af_low") == 0.2, "late is better than never"
    engine.close(1)
    engine.close(0)
    assert loudness(engine, 1, "kokoro/af_low,null/null") == 0.2


def test_a_voice_of_no_engine_is_refused():
    engine = mixed(null={})
    with pytest.raises(ConfigError, match="there are engines null"):
        engine.open(0, VoiceOptions("kokoro/af_low"))


@pytest.mark.model
def test_a_cloned_voice_is_shown_to_each_engine(kokoro):
    engine = mixed(null={}, kokoro={"options": kokoro})
    engine.open(0, VoiceOptions("whoever", custom=CustomVoice("nobody", b"")))
    engine.close(0)


@pytest.mark.model
def test_a_late_fault_of_one_engine_is_none_of_a_reply_that_another_speaks(kokoro):
    Path(kokoro["model"]).write_bytes(b"no model")
    engine = mixed(kokoro={"options": kokoro | {"preload": False}}, null={})
    engine.open(0, VoiceOptions("kokoro/af_low"))
    for load in [thread for thread in threading.enumerate() if thread.name == "kokoro"]:
        load.join(timeout=40)
    engine.open(0, VoiceOptions("null/null"))
    assert not engine.faults()


def test_an_engine_that_is_missing_is_left_out_unless_it_is_required(caplog, tmp_path):
    caplog.set_level("INFO")
    options = {"voices": str(tmp_path / "none")}
    engine = mixed(null={}, kokoro={"options": options})
    assert engine.voices() == ("null/null",)
    assert "antiphon models pull kokoro-voices" in caplog.text
    assert loader.needs("tts", choice({"null": {}, "kokoro": {"options": options}}), SLOTS) == Needs()
    with pytest.raises(EngineMissing, match="antiphon models pull"):
        mixed(null={}, kokoro={"options": options, "required": True})


@pytest.mark.parametrize(
    ("engines", "said"),
    [
        pytest.param({"nonsense": {}}, "unknown tts engine 'nonsense'", id="an engine there is not"),
        pytest.param({"mixed": {}}, "cannot hold itself", id="itself"),
        pytest.param({}, "engines", id="none"),
        pytest.param({"null": {"threads": 1}}, "engines.null.threads", id="a misplaced option"),
        pytest.param({"null": {"options": {"frame_samples": 0}}}, "frame_samples", id="a wrong option"),
    ],
)
def test_a_wrong_mixture_is_named(engines, said):
    with pytest.raises(ConfigError, match=said):
        loader.load("tts", choice(engines), SLOTS)


@pytest.mark.model
def test_frames_must_be_of_one_length(kokoro):
    with pytest.raises(ConfigError, match="one length"):
        mixed(kokoro={"options": kokoro}, null={"options": {"frame_samples": 960}})
