"""Kokoro: from words to phonemes, whose sound is whose, and what happens when parts of it are missing or wrong."""

import itertools
import threading
import time
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soxr

from config.errors import EngineMissing
from config.settings import load as load_settings
from gpu_workers.clauses import phonemes
from gpu_workers.engine import VoiceOptions
from gpu_workers.moonshine import Moonshine
from gpu_workers.tts import kokoro
from tests import speech, tiny_kokoro
from tests.conftest import missing
from tests.engine_drivers import Mouths

pytestmark = pytest.mark.model

IDS = {" ": 16, "a": 1, "b": 2, ",": 3}


def test_phonemes_know_whose_they_are():
    assert kokoro.signs(["ab,", "", "a?b"], IDS) == [(1, 0), (2, 0), (3, None), (16, None), (1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("ab ab", ["ab ab"], id="short"),
        pytest.param("ab ab ab", ["ab ", "ab ab"], id="behind a pause"),
        pytest.param("abababab", ["ababa", "bab"], id="without any"),
    ],
)
def test_a_line_is_cut_where_it_pauses(line, pieces):
    signs = [(ord(char), None if char == " " else 0) for char in line]
    found = ["".join(chr(sign) for sign, _ in piece) for piece in kokoro.cut(signs, 5)]
    assert found == pieces


def test_english_is_dealt_out_to_its_words():
    words = ["twenty five", "cats,", "(the", "U.S.", "😀", "A", "and", "B", "said", "“uh”."]
    read = phonemes.reader("af_any").read(words)
    assert len(read) == len(words)
    assert read[0].count(" ") == 1 and read[1].endswith(",") and not read[4]
    assert read[5] == "ˈA" and read[9] == "ˈʌː."
    assert phonemes.reader("bf_any").read(["bath"]) != phonemes.reader("af_any").read(["bath"])


def test_french_words_that_run_into_each_other_are_dealt_out():
    words = ["Les", "amis", "sont", "allés", "à", "Paris."]
    read = phonemes.reader("ff_any").read(words)
    assert len(read) == len(words) and all(read)
    assert phonemes.dealt(["ab", "cd"], [["ab"], ["cd"]]) == ["ab", "cd"]
    assert phonemes.dealt(["abcd"], [["ab"], ["cd"]]) == ["ab", "cd"]
    assert phonemes.dealt([], [[], []]) == ["", ""]


# --- the engine, over a tiny model


@pytest.fixture
def tiny(tmp_path):
    return tiny_kokoro.write(tmp_path)


def test_words_are_where_the_models_durations_say(tiny):
    engine = kokoro.KokoroTts(kokoro.Settings(**tiny))
    words = ["Hello", "", "there,", "friend."]
    read = phonemes.reader("af_low").read(["Hello", "there,", "friend."])
    unit = tiny_kokoro.UNITS * tiny_kokoro.UNIT
    spoken = engine.synthesise(words, "af_low", 1.0)
    assert spoken.spans[0] == (unit, unit * (1 + len(read[0]))), "behind the padding"
    assert spoken.spans[1][0] == spoken.spans[1][1]
    assert spoken.spans[2][1] - spoken.spans[2][0] == unit * len(read[1].strip(","))
    assert len(engine.synthesise(words, "af_low", 3.0).pcm) == len(spoken.pcm) // 3


def test_a_clause_longer_than_the_model_takes_is_spoken_in_pieces(tiny):
    engine = kokoro.KokoroTts(kokoro.Settings(**tiny))
    words = ["twenty five " * 60, "a" * 300, "end."]
    spans = engine.synthesise(words, "af_low", 1.0).spans
    assert all(start < stop for start, stop in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert not len(engine.synthesise(["😀"], "af_low", 1.0).pcm), "nothing to say"


def test_what_is_not_preloaded_is_loaded_by_the_first_reply(tiny):
    runner = kokoro.build(kokoro.Settings(**tiny, preload=False), 2)
    runner.warm_up()
    assert not runner._kokoro.loaded
    mouths = Mouths(runner).open(0).say(0, "Hello there.").run(wait_s=10)
    assert mouths.frames[0][-1].spoken == 2 and runner._kokoro.loaded


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(b"no model", id="no model at all"),
        pytest.param(tiny_kokoro.model().replace(b"tokens", b"tokenz"), id="another export"),
        pytest.param(tiny_kokoro.model().replace(b"/encoder/Clip", b"/encoder/Clap"), id="without durations"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_a_fault_of_the_reply(tiny, model):
    runner = kokoro.build(kokoro.Settings(**tiny, preload=False), 2)
    runner.warm_up()
    Path(tiny["model"]).write_bytes(model)
    runner.open(1, VoiceOptions("af_low"))
    deadline = time.monotonic() + 5
    while not (faults := runner.faults()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(faults) == [1] and "cannot be loaded" in faults[1]
    assert not runner.faults()


def test_a_load_that_fails_late_is_no_fault_of_the_next_reply_in_its_slot(tiny):
    runner = kokoro.build(kokoro.Settings(**tiny, preload=False), 2)
    Path(tiny["model"]).write_bytes(b"no model")
    with runner._kokoro._loading:
        runner.open(1, VoiceOptions("af_low"))
        (load,) = [thread for thread in threading.enumerate() if thread.name == "kokoro"]
        runner.close(1)
    load.join(timeout=40)
    assert not load.is_alive() and not runner.faults()


def test_missing_and_broken_files_are_named(tiny, tmp_path, caplog):
    with pytest.raises(EngineMissing, match="antiphon models pull kokoro-voices"):
        kokoro.KokoroTts(kokoro.Settings(model=tiny["model"], voices=tmp_path / "none"))
    with pytest.raises(EngineMissing, match=r"none\.onnx"):
        kokoro.KokoroTts(kokoro.Settings(model=tmp_path / "none.onnx", voices=tiny["voices"]))
    short = Path(tiny["voices"], "af_low.bin")
    short.write_bytes(b"1234")
    engine = kokoro.KokoroTts(kokoro.Settings(**tiny))
    assert "af_low.bin is no voice of Kokoro, it has 4 bytes" in caplog.text
    assert set(engine.voices()) == {"bm_middle", "ff_high"}, "who wishes it gets another, not silence"
    assert engine.synthesise(["Hello."], "bm_middle", 1.0).spans


def test_voices_whose_language_nobody_reads_are_not_offered(tiny):
    np.full(510 * 256, 0.1, "<f4").tofile(Path(tiny["voices"], "zf_one.bin"))
    assert kokoro.KokoroTts(kokoro.Settings(**tiny)).voices() == ("af_low", "bm_middle", "ff_high")


# --- the real one

#: Where its voices may lie: as workers find them, and as the turn-taking bench does.
FOLDERS = ("build/models/kokoro-voices", "build/voices")


@pytest.fixture(scope="module")
def real():
    models_dir = getattr(load_settings("embedded"), "models_dir", Path("build/models")).expanduser()
    folders = [models_dir / "kokoro-voices", *map(Path, FOLDERS)]
    there = [folder for folder in folders if (folder / "af_bella.bin").is_file()]
    if not there:
        missing("Kokoro's voices (make kokoro)")
    return kokoro.KokoroTts(kokoro.Settings(voices=there[0]))


def test_it_is_understood_and_its_words_are_where_they_sound(real):
    text = "It was the best of times, it was the worst of times."
    spoken = real.synthesise(text.split(), "af_bella", 1.0)
    understood = Moonshine(1).transcribe(heard(spoken.pcm))
    assert jiwer.wer(speech.plain(text), speech.plain(understood)) <= 0.1, understood
    second = spoken.spans[6][0]  # "it was the worst of times."
    understood = Moonshine(1).transcribe(heard(spoken.pcm[second:]))
    assert jiwer.wer("it was the worst of times", speech.plain(understood)) <= 0.2, understood


def heard(pcm):
    return np.asarray(soxr.resample(np.concatenate([pcm, np.zeros(4_800)]), 24_000, 16_000), np.float32)
