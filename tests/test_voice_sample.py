"""Which recordings a voice is cloned from: pure rules on made-up sound, and files that lie."""

import struct

import numpy as np
import pytest

from config.errors import BadVoiceSample
from gpu_workers.samples import voice_file
from gpu_workers.samples.voice_sample import (
    FRAME,
    Rules,
    Sample,
    above_noise_db,
    clipped_share,
    lufs,
    normalised,
    require_fit,
    window,
)
from tests.voice_files import KINDS, encoded

RATE = 24_000
RULES = Rules()


def tone(seconds, level=0.1, hz=220.0):
    time = np.arange(int(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def made(*pieces, noise=1e-4):
    """A sample of pieces (voiced?, seconds, level)."""
    rng = np.random.default_rng(1)
    sound, voiced = [], []
    for speaks, seconds, level in pieces:
        frames = round(seconds * RATE / FRAME)
        sound.append(tone(frames * FRAME / RATE, level) if speaks else np.zeros(frames * FRAME, np.float32))
        voiced += [speaks] * frames
    pcm = np.concatenate(sound)
    return Sample((pcm + rng.normal(0, noise, len(pcm))).astype(np.float32), np.array(voiced))


GOOD = [(True, 4, 0.1), (False, 1, 0), (True, 4, 0.1), (False, 1, 0)]


def test_a_good_recording_is_taken():
    require_fit(made(*GOOD), 0.0, RULES)


@pytest.mark.parametrize(
    ("sample", "clipped", "words"),
    [
        pytest.param(made((True, 2.5, 0.1)), 0.0, "2.5 s long: record at least 3 s", id="too short"),
        pytest.param(made((True, 31, 0.1)), 0.0, "send at most 30 s", id="too long"),
        pytest.param(made(*GOOD), 0.2, "overdriven .20% of it", id="clipped"),
        pytest.param(made((True, 5, 0.001), noise=1e-6), 0.0, "too soft", id="too soft"),
        pytest.param(made((False, 5, 0), noise=0), 0.0, "silent", id="silent"),
        pytest.param(made((False, 5, 0), noise=0.05), 0.0, "nothing of it is speech", id="noise alone"),
        pytest.param(
            made((True, 1, 0.1), (False, 5, 0)), 0.0, "only 1.0 s of it is speech", id="little speech"
        ),
        pytest.param(made(*GOOD, noise=0.06), 0.0, "quieter place", id="loud background"),
    ],
)
def test_a_bad_recording_is_refused_in_words_to_act_on(sample, clipped, words):
    with pytest.raises(BadVoiceSample, match=words):
        require_fit(sample, clipped, RULES)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(BadVoiceSample, match=r"2.0 s long.*; it is overdriven.*; it is too soft"):
        require_fit(made((True, 2, 0.001), noise=1e-6), 0.5, RULES)


def test_the_window_holds_the_most_speech():
    sample = made((True, 3, 0.1), (False, 9, 0), (True, 9, 0.1), (False, 9, 0))
    best = window(sample, RULES)
    assert best.speech_s == pytest.approx(9, abs=0.1)
    assert best.seconds <= RULES.window_s
    assert best.seconds == pytest.approx(9, abs=0.4), "quiet around it is cut off"


def test_of_two_windows_with_as_much_speech_the_louder_is_taken():
    sample = made((True, 10, 0.05), (False, 5, 0), (True, 10, 0.2))
    assert np.abs(window(sample, RULES).pcm).max() > 0.15


def test_a_window_rather_begins_and_ends_in_a_pause():
    sample = made((True, 4, 0.1), (False, 0.4, 0), (True, 5.4, 0.1), (False, 0.4, 0), (True, 4, 0.1))
    voiced = window(sample, RULES).voiced
    assert not voiced[0] or not voiced[-1]


def test_a_short_sample_is_taken_whole():
    sample = made((True, 4, 0.1))
    assert len(window(sample, RULES).pcm) == len(sample.pcm)


def test_a_sample_without_a_whole_frame_of_quiet_has_a_background_too():
    assert above_noise_db(made((True, 5, 0.1))) < 10, "a steady tone is its own background"
    assert above_noise_db(made(*GOOD, noise=0)) == np.inf


@pytest.mark.parametrize("level", [0.01, 0.1, 0.9])
def test_loudness_is_made_the_same(level):
    assert lufs(normalised(made((True, 5, level)).pcm, RULES)) == pytest.approx(RULES.loudness_lufs, abs=0.1)


def test_peaks_bound_the_loudness():
    pcm = tone(5, 0.01)
    pcm[::RATE] = 0.5
    assert np.abs(normalised(pcm, RULES)).max() == pytest.approx(RULES.peak, abs=1e-3)


def test_silence_stays_silence():
    silent = np.zeros(RATE, np.float32)
    assert not normalised(silent, RULES).any()


@pytest.mark.parametrize(("gain", "clipped"), [(1.0, False), (3.0, True)])
def test_cut_tops_are_seen_before_resampling_hides_them(gain, clipped):
    rng = np.random.default_rng(2)
    loud = np.clip(rng.normal(0, 0.3, 5 * RATE) * gain, -1, 1).astype(np.float32)
    assert (clipped_share(loud) > RULES.clipped_share) == clipped


# --- files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_every_kind_are_read(kind, channels):
    pcm, rate = voice_file.read(encoded(tone(3.5), kind, channels), 30.0)
    assert rate == KINDS[kind][2]
    assert len(pcm) == pytest.approx(3.5 * rate, rel=0.02)
    middle = pcm[rate : 2 * rate]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.1 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "cannot be decoded", id="nothing"),
        pytest.param(b"RIFF\xff\xff\xff\xffWAVE" + bytes(100), "cannot be decoded", id="a torn wav"),
        pytest.param(bytes(range(256)) * 100, "cannot be decoded", id="no sound"),
        pytest.param(encoded(tone(1), "ogg with opus")[:200], "cannot be decoded", id="a torn ogg"),
        pytest.param(encoded(tone(4), rate=8_000), "8000 samples a second", id="a telephone's rate"),
        pytest.param(encoded(tone(4), channels=6), "6 channels", id="six channels"),
        pytest.param(encoded(tone(40)), "longer than 30 s", id="too long"),
        pytest.param(
            encoded(np.zeros(RATE * 3600, np.float32), "flac"), "longer than 30 s", id="an hour of nothing"
        ),
    ],
)
def test_files_that_are_no_recording_of_a_voice_are_refused(data, words):
    with pytest.raises(BadVoiceSample, match=words):
        voice_file.read(data, 30.0)


def test_a_header_that_claims_hours_costs_no_memory():
    data = bytearray(encoded(tone(3.5)))
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFF00)
    try:
        pcm, rate = voice_file.read(bytes(data), 30.0)
    except BadVoiceSample:
        return
    assert len(pcm) <= 3.6 * rate


def test_what_is_no_number_becomes_silence():
    pcm = tone(3.5)
    pcm[100:200], pcm[300] = np.nan, np.inf
    read, _ = voice_file.read(encoded(pcm, "wav of floats", rate=RATE), 30.0)
    assert np.isfinite(read).all() and np.abs(read).max() <= 1
