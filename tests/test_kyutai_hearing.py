"""What a streaming recogniser's tokens, pauses and silences become, without a model: all of it is pure."""

import numpy as np
import pytest

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from gpu_workers.endpoint.endpointer import Rules as VoiceRules
from gpu_workers.kyutai import pauses
from gpu_workers.kyutai.hearer import MAX_WORDS, Hearer, Rules
from gpu_workers.kyutai.lane import MAX_WAITING, Lane
from gpu_workers.kyutai.pauses import PauseHead
from gpu_workers.kyutai.words import MAX_PIECES, Word, WordReader, confidence

SIZE = 1920


# --- words


def read(*tokens, sure=0.5):
    """Words of one token a frame; a piece is its number."""
    reader = WordReader(lambda pieces: " " + "-".join(map(str, pieces)))
    return [reader.hear(t, sure, n * SIZE, (n + 1) * SIZE) for n, t in enumerate(tokens)], reader


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ((3, 3, 0, 7, 8, 3), [("7-8", 2, 5)]),
        ((0, 7, 0, 8, 3), [("7", 0, 2), ("8", 2, 4)]),
        ((7, 8, 3, 3), [("7-8", 0, 2)]),
        ((0, 3, 7, 3), [("7", 2, 3)]),
        ((0, 0, 0, 3), []),
        ((0, 1, 7, 2, 3), [("7", 0, 3)]),
        ((3, 3, 3), []),
    ],
    ids=[
        "a word begins at the boundary before its pieces and ends with the last of them",
        "a boundary ends the word before it",
        "without a boundary it begins with its first piece",
        "padding takes a boundary back",
        "boundaries alone are no words",
        "the ends of a text are no pieces",
        "padding is nothing",
    ],
)
def test_tokens_become_words(tokens, words):
    got = [word for word in read(*tokens)[0] if word]
    assert [(word.text, word.start // SIZE, word.to // SIZE) for word in got] == words


def test_a_word_is_told_with_the_token_that_ends_it():
    told, _ = read(0, 7, 8, 3, 3)
    assert [word is not None for word in told] == [False, False, False, True, False]


def test_a_word_that_never_ends_is_cut():
    told, reader = read(0, *[9] * (2 * MAX_PIECES))
    assert sum(word is not None for word in told) == 2
    assert not reader.open


@pytest.mark.parametrize(
    ("tokens", "is_open"),
    [((0,), True), ((0, 7), True), ((0, 7, 3), False), ((0, 3), False), ((0, 0), False), ((0, 7, 0), True)],
)
def test_a_word_is_open_from_its_boundary_to_its_end(tokens, is_open):
    assert read(*tokens)[1].open is is_open


def test_confidence_is_the_geometric_mean_of_the_pieces():
    sure, doubtful = read(0, 7, 3, sure=0.9)[0][2], read(0, 7, 8, 3, sure=0.3)[0][3]
    assert confidence([sure]) == pytest.approx(0.9)
    assert confidence([sure, doubtful]) == pytest.approx((0.9 * 0.3 * 0.3) ** (1 / 3))
    assert confidence([]) == 1.0
    assert confidence([read(0, 7, 3, sure=0.0)[0][2]]) > 0


# --- what the model hears


def frame(value):
    return np.full(SIZE, value, np.float32)


def test_a_token_is_about_the_audio_of_the_delay_ago():
    lane = Lane(48_000, SIZE, delay=6, prefix=0)
    about = []
    for number in range(9):
        lane.add(frame(number))
        lane.take()
        about.append(lane.about)
    assert about == [None] * 6 + [48_000, 49_920, 51_840]


def test_a_flush_comes_after_what_waits_and_what_came_meanwhile_after_it():
    lane = Lane(0, SIZE, delay=2, prefix=0)
    lane.add(frame(1))
    lane.flush()
    lane.add(frame(2))
    taken = [lane.take() for _ in range(len(lane))]
    assert [None if item.pcm is None else item.pcm[0] for item in taken] == [1, *[None] * 5, 2]
    assert [item.ends_flush for item in taken] == [False] * 5 + [True, False]


def test_a_flush_reaches_the_end_of_the_audio():
    lane = Lane(0, SIZE, delay=6, prefix=0)
    for _ in range(3):
        lane.add(frame(0))
    lane.flush()
    while len(lane):
        lane.take()
    assert lane.about == 3 * SIZE - 1, "words about the silence belong to the audio before it"


def test_a_full_lane_drops_the_oldest_audio_and_keeps_positions_and_flushes():
    lane = Lane(0, SIZE, delay=2, prefix=0)
    lane.flush()
    for number in range(MAX_WAITING + 10):
        lane.add(frame(number))
    assert len(lane) == MAX_WAITING and lane.dropped == 15
    taken = [lane.take() for _ in range(len(lane))]
    assert sum(item.ends_flush for item in taken) == 1
    assert [item.begin // SIZE for item in taken if item.pcm is not None] == list(range(15, MAX_WAITING + 10))


def test_flushes_of_a_full_lane_bring_no_more_silence():
    lane = Lane(0, SIZE, delay=6, prefix=0)
    for _ in range(100):
        lane.flush()
    assert len(lane) < MAX_WAITING + 9 + 100
    assert sum(lane.take().ends_flush for _ in range(len(lane))) == 100


# --- pause heads


def p_end(*answers, **rules):
    head = PauseHead(pauses.Rules(ignored_steps=0, **rules))
    for answer in answers:
        head.hear(answer)
    return head.p_end


def test_published_thresholds_are_those_of_turn_taking():
    assert p_end(0.6) == pytest.approx(0.9)
    assert p_end(0.4) == pytest.approx(0.2)
    assert 0.2 < p_end(0.5) < 0.9 < p_end(0.8) < 1


def test_the_first_answers_of_a_stream_mean_nothing():
    head = PauseHead(pauses.Rules())
    for _ in range(12):
        head.hear(0.9)
        assert head.p_end is None
    head.hear(0.9)
    assert head.p_end is not None


def test_smoothing_takes_a_half_life():
    assert p_end(*[0.0] * 40, 1.0, smooth_ms=80) == pytest.approx(p_end(0.5))


def test_thresholds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="speech_below"):
        pauses.Rules(pause_above=0.3)


# --- one speaker


class Speaker:
    """Speaks and is silent in frames of 32 ms; words are handed in as the model would."""

    FRAME = 768

    def __init__(self, language="en", **rules):
        # Voice ends where it ends, so that the figures below can be read.
        voice = VoiceRules(lag_ms=0)
        self.ear = Hearer(Rules(**{"voice": voice, "slack_ms": 0} | rules), 0, language)
        self.at = 0

    def voice(self, ms, probability=0.9, level=-20.0):
        for _ in range(round(ms / 32)):
            self.at += self.FRAME
            self.ear.hear(probability, level, self.at)
            self.ear.judge(None)
        return self

    def silence(self, ms):
        return self.voice(ms, 0.05, -70.0)

    def word(self, text, start, known, *, more=False, sure=0.9):
        word = Word(text, start, start + SIZE, 1, float(np.log(sure))) if text else None
        self.ear.read(word, known, more=more)
        self.ear.judge(None)
        return self

    @property
    def facts(self):
        told, self.ear.facts = self.ear.facts, []
        return told

    def forget(self):
        self.ear.facts = []

    def of(self, kind):
        return [fact for fact in self.facts if isinstance(fact, kind)]


def test_voice_is_told_after_64_ms_with_its_onset():
    speaker = Speaker().silence(480).voice(64)
    assert speaker.facts == [VoiceStarted(15 * 768)]


def test_words_replace_what_was_understood_before():
    speaker = Speaker().silence(480).voice(960)
    onset = 15 * 768
    speaker.forget()
    speaker.word("one", onset, onset + SIZE).word("two", onset + 4_800, onset + 6_720)
    told = speaker.of(Transcript)
    assert [fact.text for fact in told] == ["one", "one two"]
    assert [fact.to for fact in told] == [onset + SIZE, onset + 6_720]
    assert not any(fact.settled for fact in told)
    assert all(fact.start == onset - 7_200 and fact.confidence == pytest.approx(0.9) for fact in told)


def test_words_without_voice_are_nobodys():
    speaker = Speaker().silence(960)
    speaker.word("ghost", 4_800, 9_600)
    speaker.ear.commit(speaker.at)
    assert speaker.facts == [Transcript("", speaker.at, speaker.at, settled=True, final=True)]


def test_voice_that_was_listened_to_in_vain_is_told_once():
    speaker = Speaker().voice(1_280)
    speaker.forget()
    for known in range(0, 12_000, SIZE):
        speaker.word(None, 0, known)
    (told,) = speaker.of(Transcript)
    assert told.text == "" and told.to >= 7_200


def test_an_utterance_is_settled_when_the_words_have_reached_the_end_of_its_voice():
    speaker = Speaker().voice(960).silence(320)
    end = 30 * 768
    assert speaker.of(VoiceEnded) == [VoiceEnded(end)]
    speaker.word("all", 4_800, end - SIZE)
    speaker.word(None, 0, end, more=True)
    assert not any(fact.settled for fact in speaker.of(Transcript)), "a word is still coming"
    speaker.word("there", 9_600, end + SIZE)
    assert speaker.of(Transcript)[-1] == Transcript(
        "all there", 0, end, settled=True, confidence=pytest.approx(0.9)
    )


def test_a_word_that_is_a_frame_late_is_waited_for():
    speaker = Speaker(slack_ms=80).voice(960).silence(640)
    end = 30 * 768
    speaker.word("on", 4_800, end + SIZE - 1)
    assert not any(fact.settled for fact in speaker.of(Transcript))
    speaker.word("time", 9_600, end + SIZE)
    assert [(fact.text, fact.settled) for fact in speaker.of(Transcript)] == [("on time", True)]


def test_a_pause_is_judged_by_words_where_no_head_knows():
    speaker = Speaker().voice(960).silence(160)
    (deaf,) = speaker.of(Pause)
    speaker.silence(480).word("Yes.", 4_800, 30 * 768 + SIZE)
    assert speaker.of(Pause)[-1].p_end > deaf.p_end > 0


def test_french_words_are_not_judged_by_english_rules():
    told = []
    for text in ("Yes.", "because the"):
        speaker = Speaker("fr").voice(960).silence(160)
        speaker.word(text, 4_800, 30 * 768 + SIZE)
        told.append(speaker.of(Pause)[-1])
    assert told[0] == told[1]


def test_a_head_that_is_sure_is_told_at_once_and_once():
    speaker = Speaker().voice(960).silence(160)
    speaker.forget()
    speaker.silence(64)
    for _ in range(3):
        speaker.ear.judge(0.95)
    assert speaker.of(Pause) == [Pause(30 * 768, 224, 0.95)]


def test_nobody_judges_while_there_is_voice():
    speaker = Speaker().voice(960)
    speaker.ear.judge(0.99)
    assert not speaker.of(Pause)


def test_a_commit_before_the_words_have_come_waits_for_the_flush():
    speaker = Speaker().voice(960).silence(320)
    speaker.word("one", 4_800, 9_600)
    owed = speaker.ear.commit(speaker.at)
    assert owed is not None and not any(fact.final for fact in speaker.of(Transcript))
    assert speaker.ear.mark == 0
    speaker.word("two", 14_400, 16_320)
    speaker.ear.flushed(owed)
    assert speaker.of(Transcript) == [
        Transcript("one two", 0, 30 * 768, settled=True, final=True, confidence=pytest.approx(0.9))
    ]
    assert speaker.ear.mark >= 30 * 768


def test_a_commit_after_all_words_is_answered_at_once():
    speaker = Speaker().voice(960).silence(960)
    speaker.word("done", 4_800, 30 * 768 + SIZE)
    assert speaker.ear.commit(speaker.at) is None
    assert speaker.of(Transcript)[-1].final


def test_words_on_both_sides_of_a_commit_go_to_their_utterances():
    speaker = Speaker().voice(960).silence(640)
    first = speaker.ear.commit(speaker.at)
    border = speaker.at
    speaker.voice(960)
    speaker.word("before", 9_600, 12_000).word("after", border + 2_400, border + 4_800)
    speaker.ear.flushed(first)
    speaker.silence(320)
    second = speaker.ear.commit(speaker.at)
    if second is not None:
        speaker.ear.flushed(second)
    assert [fact.text for fact in speaker.of(Transcript) if fact.final] == ["before", "after"]


def test_voice_that_began_just_before_a_commit_is_the_next_utterances():
    speaker = Speaker().voice(960).silence(640)
    onset = speaker.voice(128).of(VoiceStarted)[-1].at
    speaker.word("first", 9_600, onset + 9_600)
    speaker.ear.commit(speaker.at)
    assert speaker.of(Transcript)[-1].to == 30 * 768
    speaker.voice(320)
    assert speaker.of(VoiceStarted) == [VoiceStarted(onset)]
    speaker.word("second", onset, onset + 12_000)
    assert speaker.of(Transcript)[-1].text == "second"


def test_what_was_cleared_is_not_said():
    speaker = Speaker().voice(960)
    speaker.word("gone", 4_800, 9_600)
    speaker.ear.clear(speaker.at)
    speaker.word("too", 9_600, 12_000)
    speaker.forget()
    speaker.silence(320)
    speaker.ear.commit(speaker.at)
    assert [fact.text for fact in speaker.of(Transcript)] == [""]


def test_who_speaks_for_hours_costs_no_more():
    speaker = Speaker().voice(960)
    for number in range(2 * MAX_WORDS):
        speaker.word(f"w{number}", 4_800 + number, 9_600 + number)
        last = speaker.of(Transcript)[-1]
    assert len(last.text.split()) <= MAX_WORDS and last.text.endswith(f"w{2 * MAX_WORDS - 1}")
