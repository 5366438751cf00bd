"""A constant offset goes, the sound stays."""

import numpy as np

from gpu_workers.endpoint.offset import Offset

FRAME = 768


def through(pcm):
    offset = Offset(2)
    return np.concatenate([offset.remove(1, frame) for frame in pcm.reshape(-1, FRAME)])


def tone(frames, hertz=120.0):
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(frames * FRAME) / 24_000)).astype(np.float32)


def test_an_offset_is_gone_from_the_first_frame_on():
    assert np.abs(through(np.full(20 * FRAME, 0.3, np.float32))).max() < 1e-6


def test_a_low_voice_passes_whole():
    before = tone(60)
    after = through(before)[20 * FRAME :]
    assert abs(np.std(after) / np.std(before[20 * FRAME :]) - 1) < 0.02


def test_an_offset_that_begins_later_is_gone_within_a_second_without_a_jump():
    step = np.concatenate([np.zeros(10 * FRAME), np.full(40 * FRAME, 0.5)]).astype(np.float32)
    after = through(step)
    assert np.abs(after[-5 * FRAME :]).max() < 0.02
    assert np.abs(np.diff(after))[10 * FRAME + 1 :].max() < 1e-3


def test_a_reset_slot_believes_its_next_frame():
    offset = Offset(1)
    offset.remove(0, np.full(FRAME, 0.5, np.float32))
    offset.reset(0)
    assert np.abs(offset.remove(0, np.full(FRAME, -0.5, np.float32))).max() < 1e-6


def test_many_slots_at_once_are_what_each_is_alone():
    alone, together, rng = Offset(3), Offset(3), np.random.default_rng(0)
    for _ in range(5):
        frames = {slot: (rng.normal(0.2, 0.1, FRAME)).astype(np.float32) for slot in (2, 0)}
        clean = together.remove_all(frames)
        for slot, frame in frames.items():
            assert np.allclose(clean[slot], alone.remove(slot, frame), atol=1e-6)
    assert together.remove_all({}) == {}
