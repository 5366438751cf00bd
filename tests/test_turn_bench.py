"""The turn-taking bench: how turns and interruptions are scored, virtual threads, and a dialogue in virtual time."""

import numpy as np
import pytest

from bench.speech import Synthesizer
from bench.turns import findings, score, virtual_run
from bench.turns.dialogue import Dialogue, Phrase, Rendered, Sound, Stretch
from bench.turns.findings import Found
from bench.turns.live_score import Observed, OverlayFound, found, heard_of
from bench.turns.live_user import ReplyLog
from bench.turns.overlay_tally import of, others
from bench.turns.player import Player
from bench.turns.score import Ended
from bench.turns.tally import tallies
from bench.turns.virtual_models import Library, Memo
from bench.turns.virtual_run import DialogueSeen, TurnSeen
from bench.turns.virtual_work import STOP_S, Desk
from config.settings import SAMPLE_RATE
from config.tuning import TurnSettings
from gpu_workers.endpoint.listener import Decode, Rank
from gpu_workers.endpoint.utterance import Segment, Utterance
from gpu_workers.stt.embedded import Settings

# --- what became of a turn


def stretches(*spans_ms):
    return [Stretch(begin * 24, end * 24) for begin, end in spans_ms]


#: A phrase of 1 s, a pause of 500 ms, a phrase of 1 s, a pause of 200 ms, a phrase of 1 s.
PHRASES = stretches((0, 1000), (1500, 2500), (2700, 3700))


def ended(at_ms, stopped_ms):
    return Ended(at_ms * 24, stopped_ms * 24)


CASES = {
    "the end was seen after the last word": ([(3950, 3690)], {"delay_ms": 250.0}),
    "an end in a pause is a cut-off of it": (
        [(1300, 980), (3950, 3690)],
        {"cuts": [300.0, None], "cut_off": 1, "delay_ms": 250.0},
    ),
    "an end that was announced when the next phrase had begun is one, too": (
        [(1600, 1010), (3950, 3690)],
        {"cuts": [600.0, None], "cut_off": 1, "delay_ms": 250.0},
    ),
    "an end on a short pause counts in its own row": (
        [(2720, 2490), (3950, 3690)],
        {"cuts": [None, 220.0], "cut_off": 0, "cut_short": 1, "delay_ms": 250.0},
    ),
    "an end inside a phrase counts there, too": (
        [(2100, 1800), (3950, 3690)],
        {"cut_off": 0, "cut_short": 1, "delay_ms": 250.0},
    ),
    "a pause is cut off once": (
        [(1250, 980), (1450, 1010), (3950, 3690)],
        {"cuts": [250.0, None], "cut_off": 1, "delay_ms": 250.0},
    ),
    "no end at all was missed": ([], {"missed": True, "delay_ms": None}),
    "an end after 5 s was missed": ([(8701, 3690)], {"missed": True, "delay_ms": None}),
    "an end after almost 5 s was only slow": ([(8690, 3690)], {"delay_ms": 4990.0}),
    "an end inside the last phrase alone gives no delay and misses nothing": (
        [(3500, 3200)],
        {"cut_short": 1, "delay_ms": None},
    ),
    "a cut-off alone leaves the rest of the turn missed": (
        [(1300, 980)],
        {"cut_off": 1, "cuts": [300.0, None], "missed": True, "delay_ms": None},
    ),
    "a second end after the last word is a phantom": (
        [(3950, 3690), (5500, 5100)],
        {"delay_ms": 250.0, "phantoms": 1},
    ),
    "an end before the first word is a phantom": (
        [(20, -900), (3950, 3690)],
        {"delay_ms": 250.0, "phantoms": 1},
    ),
    "a last phrase that was not heard leaves an end that belongs to the pause before it": (
        [(3950, 2490)],
        {"cuts": [None, 1450.0], "cut_short": 1, "missed": True, "delay_ms": None},
    ),
}


@pytest.mark.parametrize(("ends", "expected"), CASES.values(), ids=CASES.keys())
def test_a_turn_is_scored(ends, expected):
    judged = score.judge(PHRASES, [ended(*one) for one in ends])
    nothing = {"cuts": [None, None], "cut_off": 0, "cut_short": 0, "missed": False, "phantoms": 0}
    measured = {
        "cuts": [pause.cut_ms for pause in judged.pauses],
        "cut_off": judged.cut_off,
        "cut_short": judged.cut_short,
        "missed": judged.missed,
        "phantoms": judged.phantoms,
        "delay_ms": judged.delay_ms,
    }
    assert measured == {**nothing, **expected}


def test_only_pauses_of_300_ms_count():
    assert [pause.counts for pause in score.judge(PHRASES, []).pauses] == [True, False]


def test_a_turn_of_one_phrase_has_no_pauses():
    judged = score.judge(PHRASES[:1], [ended(1240, 990)])
    assert (judged.pauses, judged.delay_ms) == ((), 240.0)


# --- virtual threads


def decode():
    utterance = Utterance(0, 0)
    return Decode(utterance, Segment(0), np.zeros(0, np.float32), 0, Rank.PARTIAL)


def job(desk, seconds, name, wanted=None):
    def run():
        desk.spend(seconds)
        desk.results.put((0, None, wanted, name))

    return run


def shown(desk):
    names = []
    while not desk.results.empty():
        names.append(desk.results.get()[3])
    return names


def test_a_result_is_there_when_its_time_is_over():
    desk = Desk()
    desk.pool(1).submit(0, job(desk, 0.1, "a"))
    desk.until(0.099)
    assert shown(desk) == []
    desk.until(0.1)
    assert shown(desk) == ["a"]


def test_jobs_wait_for_a_free_thread_and_begin_the_moment_there_is_one():
    desk = Desk()
    pool = desk.pool(2)
    for name, seconds in (("long", 0.10), ("short", 0.03), ("next", 0.03)):
        pool.submit(0, job(desk, seconds, name))
    desk.until(0.059)
    assert shown(desk) == ["short"]
    desk.until(0.060)
    assert shown(desk) == ["next"]
    desk.until(0.5)
    assert shown(desk) == ["long"]


def test_the_urgent_job_goes_first_and_equals_in_their_order():
    desk = Desk()
    pool = desk.pool(1)
    for name, rank in (("running", 1), ("partial", 1), ("partial too", 1), ("final", 0)):
        pool.submit(rank, job(desk, 0.01, name))
    desk.until(1.0)
    assert shown(desk) == ["running", "final", "partial", "partial too"]


def test_two_pools_do_not_wait_for_each_other():
    desk = Desk()
    desk.pool(1).submit(0, job(desk, 0.05, "decode"))
    desk.pool(1).submit(0, job(desk, 0.02, "judgement"))
    desk.until(0.02)
    assert shown(desk) == ["judgement"]


def test_an_abandoned_decode_frees_its_thread_and_has_no_result():
    desk = Desk()
    pool, wanted = desk.pool(1), decode()
    pool.submit(0, job(desk, 1.0, "unwanted", wanted))
    pool.submit(0, job(desk, 0.1, "wanted"))
    desk.until(0.5)
    wanted.abandoned = True
    desk.until(0.5 + STOP_S + 0.1)
    assert shown(desk) == [None, "wanted"]


def test_a_job_sees_the_time_that_it_took():
    desk, seen = Desk(), []

    def run():
        seen.append(desk.clock())
        desk.spend(0.25)
        seen.append(desk.clock())

    pool = desk.pool(1)
    desk.until(2.0)
    pool.submit(0, run)
    assert seen == [2.0, 2.25]


def test_a_model_is_asked_once_for_the_same_sound():
    memo, asked = Memo(":memory:"), []

    def model():
        asked.append(1)
        return "words"

    sound, other = np.zeros(16, np.float32), np.ones(16, np.float32)
    first = memo.ask("a", sound, model)
    assert memo.ask("a", sound, model) == first
    assert len(asked) == 1
    memo.ask("a", other, model)
    memo.ask("b", sound, model)
    assert len(asked) == 3


# --- a whole dialogue


@pytest.fixture(scope="module")
def halting():
    """A sentence with a pause of 900 ms in its middle, then a short answer, by the installed voice."""
    speak = Synthesizer().speak

    def pcm(text):
        packets = b"".join(speak(text).clip.packets)
        samples = np.frombuffer(packets, "<i2").astype(np.float32) / 32768
        heard = np.flatnonzero(np.abs(samples) > 0.01)
        return samples[heard[0] : heard[-1]]

    pieces = [pcm("I would like a table for"), np.zeros(21_600, np.float32), pcm("four people.")]
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    sounds = (
        Sound(np.concatenate(pieces), (Stretch(0, ends[0]), Stretch(ends[1], ends[2]))),
        Sound(answer := pcm("Yes, please."), (Stretch(0, len(answer)),)),
    )
    turns = ((Phrase("I would like a table for", 900), Phrase("four people.")), (Phrase("Yes, please."),))
    return Rendered(Dialogue("halting", "hesitation", "joe", turns), sounds)


@pytest.mark.model
def test_a_dialogue_is_played_in_virtual_time_with_the_real_models(halting, tmp_path):
    engine = Settings()
    hasty = TurnSettings(unsure_p_end=0.0, sure_p_end=0.001, usual_wait_ms=400, longest_wait_ms=400)
    patient = TurnSettings(min_pause_ms=1300, usual_wait_ms=1400, longest_wait_ms=1500)
    library = Library(engine, Memo(tmp_path / "memo.sqlite"))
    seen = virtual_run.see(halting, [hasty, patient], library, engine)
    hastily, patiently = seen.by_rules
    assert [turn.found.cut_off for turn in hastily] == [1, 0]
    assert [turn.found.cut_off for turn in patiently] == [0, 0]
    assert all(150 < turn.found.delay_ms < 500 for turn in hastily)
    assert all(1200 < turn.found.delay_ms < 1700 for turn in patiently)
    assert all("table" in turns[0].understood[0].lower() for turns in seen.by_rules)
    assert "people" in patiently[0].understood[0].lower()

    again = Library(engine, Memo(tmp_path / "memo.sqlite"))
    assert virtual_run.see(halting, [hasty, patient], again, engine) == seen
    assert again.memo.missed == 0


# --- the player


def second(value=0.5):
    return np.full(SAMPLE_RATE, value, np.float32)


def test_a_player_begins_with_the_first_audio_and_waits_when_it_has_none():
    player = Player()
    player.give(1.0, second())
    player.give(1.5, second())
    assert player.runs_out == 3.0
    player.give(4.0, second())
    assert player.runs_out == 5.0
    assert player.stall(0.0, 9.0) == (3.0, 4.0)
    assert player.stall(3.5, 9.0) is None


def test_what_sounded_leaves_out_the_waits():
    player = Player()
    player.give(1.0, second(0.1))
    player.give(4.0, second(0.2))
    assert len(player.sounded(1.5)) == SAMPLE_RATE // 2
    assert len(player.sounded(3.0)) == SAMPLE_RATE
    assert player.sounded(4.5)[-1] == np.float32(0.2)
    assert len(player.sounded(0.5)) == 0


def test_a_window_of_what_sounds_holds_waits_and_sound_where_they_are():
    player = Player()
    player.give(1.0, second(0.1))
    player.give(2.5, second(0.2))
    window = player.window(1.5, 2 * SAMPLE_RATE)
    quarters = window.reshape(4, -1).mean(axis=1)
    assert quarters == pytest.approx([0.1, 0.0, 0.2, 0.2], abs=1e-3)
    assert not player.window(9.0, 480).any()


# --- sounds over replies

REPLY = "Once upon a time there was a ship that sailed the sea."


@pytest.mark.parametrize(
    ("understood", "expected"),
    [
        ("", 0),
        ("Once upon a time,", 4),
        ("Wants upon a dime there was", 6),
        ("once upon time there was a", 7),
        ("Once upon a time there was a shh", 8),
        ("Once upon a time there was a shop is a matter of nature", 8),
        ("Once upon a time", 4),
        (REPLY, 12),
    ],
)
def test_an_ear_that_mishears_still_finds_the_place(understood, expected):
    assert heard_of(understood, REPLY) == expected


def observed(category="interruption", *, onset=2.0, ends=3.0, audio=(), told_at=None, **log):
    kept = ReplyLog(words=REPLY, **log)
    for t, seconds in audio:
        kept.player.give(t, np.zeros(int(seconds * SAMPLE_RATE), np.float32))
    return Observed("one", category, False, onset, ends, kept, told_at)


def test_an_interruption_is_timed_from_its_onset():
    one = found(
        observed(
            audio=[(0.0, 1.9), (1.8, 0.5), (2.15, 0.1)],
            told_at=2.5,
            done_at=2.51,
            status="cancelled",
            heard="Once upon a time",
            muted_at=[1.0, 2.12],
        ),
        lambda pcm: "Once upon a time there",
    )
    assert (one.cancelled_ms, one.last_packet_ms, one.last_audible_ms, one.muted_ms) == (
        510.0,
        150.0,
        500.0,
        120.0,
    )
    assert one.interrupted
    assert (one.kept_words, one.sounded_words, one.history_off) == (4, 5, -1)


def test_the_ear_hears_what_was_played_until_the_client_was_told():
    lengths = []
    found(
        observed(audio=[(0.0, 9.0)], told_at=2.5, done_at=2.6, status="cancelled"),
        lambda pcm: lengths.append(len(pcm) / SAMPLE_RATE) or "",
    )
    assert lengths == [2.5]


def test_what_a_server_does_not_tell_is_not_counted_as_history():
    one = found(observed(audio=[(0.0, 3.0)], done_at=2.5, status="cancelled"), lambda pcm: "once")
    assert one.history_off is None


def test_a_late_cancel_is_no_interruption_in_time():
    one = found(observed(audio=[(0.0, 9.0)], done_at=5.1, status="cancelled"), lambda pcm: "")
    assert not one.interrupted


def test_a_mute_that_was_taken_back_shows_as_silence():
    one = found(
        observed("cough", audio=[(0.0, 2.2), (3.4, 2.0)], status="completed", done_at=6.0), lambda _: ""
    )
    assert one.cancelled_ms is None
    assert one.silent_ms == (200.0, 1400.0)
    assert one.resumed_ms == 400.0


def test_a_reply_that_goes_on_was_never_silent():
    one = found(observed("cough", audio=[(0.0, 2.2), (2.1, 2.0)]), lambda _: "")
    assert (one.cancelled_ms, one.silent_ms, one.resumed_ms) == (None, None, None)


def over(category, cancelled_ms=None, **more):
    return OverlayFound("x", category, False, cancelled_ms, **more)


def test_overlays_are_added_up_the_worst_first():
    mixed = [
        over("interruption", 400.0),
        over("interruption", 3500.0),
        over("interruption"),
        over("cough"),
        over("cough", resumed_ms=1200.0, silent_ms=(1.0, 2.0)),
        over("echo", 500.0),
    ]
    assert of(mixed, "interruption").missed == 2
    assert [(name, tally.cancelled, tally.count) for name, tally in others(mixed)] == [
        ("echo", 1, 1),
        ("cough", 0, 2),
    ]
    cough = of(mixed, "cough")
    assert (cough.silent, cough.back_late) == (1, 1)


def test_history_is_wrong_by_more_than_one_word():
    kept = [
        over("interruption", 1.0, kept="a", sounded="a", kept_words=kept_words, sounded_words=4)
        for kept_words in (2, 3, 4, 5, 6)
    ]
    tally = of([*kept, over("interruption", 1.0)], "interruption")
    assert (len(tally.histories), tally.history_wrong) == (5, 2)


# --- what is told


def seen(name, category, *turns):
    return DialogueSeen(name, category, "joe", None, (tuple(turns),))


def turn(ends, phrases=PHRASES):
    spans = tuple((phrase.begin / 24, phrase.end / 24) for phrase in phrases)
    judged = score.judge(phrases, [ended(*one) for one in ends])
    return TurnSeen(judged, tuple("abc"[: len(phrases)]), spans, ("a b c",))


DIALOGUES = [
    seen("calm", "plain", turn([(3950, 3690)]), turn([(4000, 3690)])),
    seen("cut", "list", turn([(1300, 980), (3950, 3690)])),
]


def test_turns_are_added_up_by_category_the_worst_first():
    whole = tallies(DIALOGUES)
    assert list(whole.by_category) == ["list", "plain"]
    assert (whole.all.pauses, whole.all.cut_off, whole.all.turns) == (3, 1, 3)
    assert whole.all.share == pytest.approx(100 / 3)
    assert whole.all.delay.median == 250.0


def test_the_section_says_which_bars_were_missed():
    section = findings.section(Found("A", ["in force"], 160, DIALOGUES, [over("echo", 5.0), over("echo")], 3))
    missed = {bar.what: bar.measured for bar in section.bars if not bar.reached}
    assert missed["cut-offs, of pauses ≥ 300 ms"] == "33.3 %"
    assert missed["false interruptions"] == "50.0 %"
    assert missed["missed interruptions"] == "– %", "what was not measured is not reached"
    assert "end-of-turn delay, median" not in missed
    assert section.data["dialogues"][1]["turns"][0]["pauses"][0]["cut_ms"] == 300.0


def test_a_part_that_could_not_be_measured_reached_no_bar():
    section = findings.section(Found("A", ["in force"], 160, [], [], 5, {"on": [], "off": []}))
    assert len(section.bars) == 6
    assert not any(bar.reached for bar in section.bars)


def test_a_part_that_was_left_out_has_no_bars():
    assert not findings.section(Found("A", ["in force"], 160)).bars
