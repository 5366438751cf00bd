"""The corpus of turn-taking: scripts that are always the same, seeds that share nothing, sound measured rightly."""

import itertools
from collections import Counter
from random import Random

import numpy as np
import pytest

from bench.turns import bursts, cutting, hums, noises, pool, render, scripts
from bench.turns.cutting import RATE
from bench.turns.dialogue import OVERLAID, Phrase, Sound, Stretch
from bench.turns.voices import VOICES
from gpu_workers.clauses.spelt import ipa_in_kokoro

SEEDS = ("A", "B")
DIALOGUES = {seed: list(scripts.Author(seed).all()) for seed in SEEDS}

both_seeds = pytest.mark.parametrize("seed", SEEDS)


def pauses(seed):
    return [
        phrase.pause_ms
        for dialogue in DIALOGUES[seed]
        for turn in dialogue.turns
        for phrase in turn
        if phrase.pause_ms
    ]


def tone(seconds, hz=220.0):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32) * 0.3


@both_seeds
def test_the_same_seed_writes_the_same_scripts(seed):
    assert list(scripts.Author(seed).all()) == DIALOGUES[seed]


@both_seeds
def test_there_are_enough_dialogues_and_pauses(seed):
    assert len(DIALOGUES[seed]) >= 200
    assert sum(pause >= 300 for pause in pauses(seed)) >= 400
    assert len({dialogue.name for dialogue in DIALOGUES[seed]}) == len(DIALOGUES[seed])


@both_seeds
def test_every_category_has_its_share(seed):
    counts = Counter(dialogue.category for dialogue in DIALOGUES[seed])
    assert counts.pop("human") >= 3
    assert counts == {
        "plain": 30, "hesitation": 45, "spelling": 20, "number": 20, "list": 20, "short": 20, "noisy": 15,
        "interruption": 24, "backchannel": 24, "cough": 14, "room": 12, "echo": 10,
    }  # fmt: skip


@both_seeds
def test_only_the_last_phrase_of_a_turn_has_no_pause_after_it(seed):
    for turn in (turn for dialogue in DIALOGUES[seed] for turn in dialogue.turns):
        assert turn[-1].pause_ms == 0
        assert all(90 <= phrase.pause_ms <= 1500 for phrase in turn[:-1])


@both_seeds
def test_an_overlay_lies_over_one_question_and_noise_under_the_noisy(seed):
    for dialogue in DIALOGUES[seed]:
        assert (dialogue.overlay is not None) == (dialogue.category in OVERLAID)
        assert (dialogue.noise_db is not None) == (dialogue.category == "noisy")
        if dialogue.overlay:
            assert len(dialogue.turns) == 1
            assert 1500 <= dialogue.overlay.after_ms <= 5000


@both_seeds
def test_no_text_holds_a_mark_or_a_field_of_the_pools(seed):
    for dialogue in DIALOGUES[seed]:
        for phrase in itertools.chain(*dialogue.turns):
            assert phrase.text and not set(phrase.text) & set("~/&|{}")


def test_the_seeds_share_no_line_no_sentence_and_no_speaker():
    lines = {seed: pool.texts(scripts.POOLS[seed]) for seed in SEEDS}
    assert all(len(lines[seed]) == len(set(lines[seed])) for seed in SEEDS)
    assert not set(lines["A"]) & set(lines["B"])
    sentences = {
        seed: {
            "".join(phrase.text for phrase in sentence).lower()
            for dialogue in DIALOGUES[seed]
            for turn in dialogue.turns
            for sentence in render.sentences(turn)
        }
        for seed in SEEDS
    }
    assert not sentences["A"] & sentences["B"]
    speakers = {seed: {(voice.engine, voice.speaker) for voice in VOICES[seed]} for seed in SEEDS}
    assert not speakers["A"] & speakers["B"]
    assert all(len(voices) >= 3 for voices in speakers.values())


def test_the_pools_are_of_like_size_and_like_marks():
    for field in vars(scripts.POOLS["A"]):
        lines = [getattr(scripts.POOLS[seed], field) for seed in SEEDS]
        assert len(lines[0]) == len(lines[1]), field
        for mark in "|&/":
            counts = [sum(line.count(mark) for line in side) for side in lines]
            assert abs(counts[0] - counts[1]) <= 0.25 * max(counts) + 1, (field, mark)


def test_a_line_becomes_phrases_with_pauses_as_its_marks_say():
    made = pool.phrases("I'd like to | go,~ um, & now. / Can I?", Random(1))
    assert [phrase.text for phrase in made] == ["I'd like to", "go,", "um,", "now.", "Can I?"]
    for phrase, mark in zip(made, "|~&/", strict=False):
        low, high = pool.PAUSES_MS[mark]
        assert low <= phrase.pause_ms <= high


def test_a_number_that_ends_a_line_ends_with_a_full_stop():
    made = pool.phrases("It's {phone}.", Random(2))
    assert [phrase.text[-1] for phrase in made] == [","] * (len(made) - 1) + ["."]


def test_a_sentence_is_said_in_one_go_and_a_hum_by_itself():
    texts = ["Hmm,", "I'd go", "there.", "Mm,", "or here?", "No."]
    said = render.sentences([Phrase(text) for text in texts])
    assert [[phrase.text for phrase in sentence] for sentence in said] == [
        ["Hmm,"], ["I'd go", "there."], ["Mm,"], ["or here?"], ["No."],
    ]  # fmt: skip


def test_names_are_spelt_in_groups_that_together_are_the_name():
    for seed in range(50):
        groups = pool.grouped("ABERYSTWYTH", Random(seed))
        assert "".join(itertools.chain(*groups)) == "ABERYSTWYTH"
        assert all(2 <= len(group) <= 5 for group in groups)


@pytest.mark.parametrize(
    ("text", "letters"),
    [("M A R,", 1), ("A table", 0), ("K A, T A,", 2), ("a B", 0), ("A,", 1), ("Was it A", 0)],
)
def test_a_letter_a_is_told_from_the_article(text, letters):
    assert ipa_in_kokoro(text).count("[A]") == letters


def test_phrases_are_found_where_they_sound():
    sound = render.joined([tone(0.5), tone(0.3), tone(0.4)], [700, 310, 0])
    gaps = [(after.begin - before.end) / RATE for before, after in itertools.pairwise(sound.phrases)]
    assert gaps == pytest.approx([0.7, 0.31], abs=0.03)
    assert sound.phrases[0].begin < 0.02 * RATE
    assert len(sound.pcm) == int((0.5 + 0.3 + 0.4 + 0.7 + 0.31) * RATE)


def test_a_sentence_is_cut_where_it_is_softest_near_the_word_boundary():
    gap = np.zeros(int(0.05 * RATE), np.float32)
    pcm = np.concatenate([gap, tone(0.4), gap, tone(0.6), gap])
    early, late = int(0.43 * RATE), int(0.47 * RATE)  # the alignment is 20 ms off
    first, second = cutting.cuts(pcm, [Stretch(0, early), Stretch(late, len(pcm))])
    assert len(first) / RATE == pytest.approx(0.4, abs=0.01)
    assert len(second) / RATE == pytest.approx(0.6, abs=0.01)


def test_a_drawl_makes_the_end_longer_without_a_click_or_another_pitch():
    pcm = tone(1.0)
    long = cutting.drawled(pcm, int(0.3 * RATE), 1.5)
    assert len(long) / RATE == pytest.approx(1.15, abs=0.03)
    assert np.abs(np.diff(long)).max() < 3 * np.abs(np.diff(pcm)).max()
    spectrum = np.abs(np.fft.rfft(long[-int(0.4 * RATE) :]))
    assert np.argmax(spectrum) * RATE / int(0.4 * RATE) == pytest.approx(220, abs=5)


@pytest.mark.parametrize("level_db", [-30.0, -23.0, -17.0])
def test_speech_is_brought_to_its_level(level_db):
    sound = render.levelled(render.joined([tone(0.5), tone(0.5)], [800, 0]), level_db)
    assert cutting.rms_db(sound.pcm) == pytest.approx(level_db, abs=0.5)


def test_loud_sound_is_not_clipped():
    click = np.zeros(RATE, np.float32)
    click[100] = 1.0
    click[:2000] += 0.001 * tone(1.0)[:2000]
    assert np.abs(render.levelled(Sound(click, ()), -10.0).pcm).max() <= 0.95 + 1e-6


@pytest.mark.parametrize("kind", sorted({**bursts.COUGHS, **bursts.ROOMS}))
def test_bursts_are_finite_audible_and_always_the_same(kind):
    make = {**bursts.COUGHS, **bursts.ROOMS}[kind]
    pcm = make(np.random.default_rng(3))
    assert np.isfinite(pcm).all()
    assert 0.15 < len(pcm) / RATE < 4
    assert np.abs(pcm).max() > 0.1
    assert np.array_equal(pcm, make(np.random.default_rng(3)))


@pytest.mark.parametrize("kind", sorted(noises.AMBIENT))
def test_ambient_noise_has_unit_level_and_loops_without_a_click(kind):
    pcm = noises.AMBIENT[kind](np.random.default_rng(5), 4 * RATE)
    assert np.sqrt(np.mean(pcm**2)) == pytest.approx(1.0, abs=0.01)
    steps = np.abs(np.diff(pcm))
    assert abs(float(pcm[0] - pcm[-1])) <= steps.max() * 1.01


@pytest.mark.parametrize("text", ["Mm-hm.", "Mm.", "Hmm.", "mhm"])
def test_hums_have_the_pitch_of_the_speaker(text):
    pcm = hums.hum(text, 200.0)
    assert 0.25 < len(pcm) / RATE < 0.8
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)), 4 * RATE))
    assert 150 < np.argmax(spectrum) / 4 < 270


def test_a_hum_is_parted_from_the_words_after_it():
    assert hums.apart("Mm-hm, okay.") == (Phrase("Mm-hm.", 60), Phrase("Okay."))
    assert hums.apart("Mm.") == (Phrase("Mm."),)
    assert hums.apart("Yeah.") == (Phrase("Yeah."),)
    assert hums.is_hum("Hmm.") and not hums.is_hum("Mm, right.")


@both_seeds
def test_recordings_of_people_belong_to_one_seed(seed):
    files = {dialogue.voice for dialogue in DIALOGUES[seed] if dialogue.category == "human"}
    other = {dialogue.voice for dialogue in DIALOGUES["B" if seed == "A" else "A"]}
    assert files and not files & other
