"""Who steps: deadlines, places that are scarce, and listeners who must not hear a gap. All in virtual time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.steps import virtual
from bench.steps.virtual import Load, earliest_deadline, first_come, play
from gpu_workers.batcher import CATCH_UP_X, DRY_S, Batcher, Playback, due

FRAME_S = 0.08
RATE = 24_000

deadlines = st.dictionaries(st.integers(0, 30), st.floats(-5, 5), max_size=30)


@given(deadlines, st.integers(1, 40))
def test_the_earliest_deadlines_step_and_never_more_than_a_batch(wanted, batch):
    chosen = Batcher(batch).choose(wanted, 0.0)
    assert len(set(chosen)) == len(chosen) == min(batch, len(wanted))
    left = [wanted[slot] for slot in wanted.keys() - set(chosen)]
    assert not left or max(wanted[slot] for slot in chosen) <= min(left)


@given(deadlines, st.integers(1, 40))
def test_the_most_urgent_comes_first(wanted, batch):
    chosen = [wanted[slot] for slot in Batcher(batch).choose(wanted, 0.0)]
    assert chosen == sorted(chosen)


def test_of_equal_deadlines_the_first_steps():
    assert Batcher(2).choose({7: 1.0, 3: 1.0, 5: 1.0}, 0.0) == [7, 3]


def test_who_had_nothing_to_give_lets_others_go_first():
    batcher = Batcher(1)
    batcher.stepped([1], [], 0.0)
    assert batcher.choose({1: 0.0, 2: 9.0}, 0.1) == [2]


def test_a_place_that_nobody_wants_is_a_try_for_who_had_nothing():
    batcher = Batcher(2)
    batcher.stepped([1, 2], [], 0.0)
    assert batcher.choose({1: 5.0, 2: 0.0, 3: 9.0}, 0.1) == [3, 2]


@pytest.mark.parametrize("how", ["fed", "waited", "gave"])
def test_who_had_nothing_is_as_urgent_as_before_once_there_may_be_something(how):
    batcher = Batcher(1)
    batcher.stepped([1], [], 0.0)
    if how == "fed":
        batcher.fed(1)
    if how == "gave":
        batcher.stepped([1], [1], 0.05)
    assert batcher.choose({1: 0.0, 2: 9.0}, DRY_S if how == "waited" else 0.1) == [1]


def test_a_silent_neighbour_does_not_keep_a_speaker_waiting():
    """Many replies whose text has not come yet, all overdue: they must not take the one place from who can speak."""
    batcher, given_to_speaker = Batcher(1), 0
    wanted = {**{slot: -1.0 for slot in range(20)}, 99: 1.0}
    for step in range(100):
        (slot,) = batcher.choose(wanted, step * 0.01)
        batcher.stepped([slot], [slot] if slot == 99 else [], step * 0.01)
        given_to_speaker += slot == 99
    assert given_to_speaker > 15


# --- playback


def test_before_there_is_sound_the_deadline_is_when_it_is_wanted():
    playback = Playback(0, 7.0, RATE)
    playback.make(0, 1.0)
    assert (playback.ends_s, playback.begun) == (7.0, False)


def test_sound_in_hand_puts_the_deadline_off_by_its_length():
    playback = Playback(0, 7.0, RATE)
    playback.make(RATE, 1.0)
    playback.make(RATE, 1.5)
    assert (playback.ends_s, playback.in_hand) == (3.0, 2 * RATE)


def test_after_a_gap_the_listener_goes_on_from_the_new_sound():
    playback = Playback(0, 0.0, RATE)
    playback.make(RATE, 1.0)
    playback.make(RATE, 5.0)
    assert playback.ends_s == 6.0


def test_what_was_heard_is_believed_over_what_was_reckoned():
    playback = Playback(0, 0.0, RATE)
    playback.make(2 * RATE, 1.0)
    playback.hear(RATE // 2, 2.0)  # the client began late: half of what was reckoned
    assert (playback.ends_s, playback.in_hand) == (3.5, RATE * 3 // 2)


def test_an_old_report_changes_nothing():
    playback = Playback(0, 0.0, RATE)
    playback.make(2 * RATE, 1.0)
    playback.hear(RATE, 2.0)
    playback.hear(RATE // 2, 2.5)
    assert (playback.heard_to, playback.ends_s) == (RATE, 3.0)


def test_a_successor_counts_from_where_it_begins():
    playback = Playback(5 * RATE, 0.0, RATE)
    playback.make(RATE, 1.0)
    assert (playback.in_hand, playback.made_to) == (RATE, 6 * RATE)


# --- input


def test_a_frame_is_due_when_it_comes():
    assert due(5.0, 4.92, FRAME_S) == 5.0


def test_a_backlog_is_due_at_twice_the_pace_of_speech():
    dues = list(itertools.accumulate([10.0] * 5, lambda last, now: due(now, last, FRAME_S)))
    assert dues[-1] == pytest.approx(10.0 + 4 * FRAME_S / CATCH_UP_X)


class Ears:
    """Some with a backlog of 100 frames, some live; a frame of a live one comes every 80 ms."""

    def __init__(self, backlogs: int, live: int) -> None:
        self.late = range(backlogs)
        self.live = range(backlogs, backlogs + live)
        self.todo = {slot: [] for slot in (*self.late, *self.live)}
        self.last = dict.fromkeys(self.todo, 0.0)
        self.next_s = {slot: slot * 0.007 for slot in self.live}
        for slot in self.late:
            for _ in range(100):
                self.arrive(slot, 0.0)

    def arrive(self, slot: int, at_s: float) -> None:
        self.last[slot] = due(at_s, self.last[slot], FRAME_S)
        self.todo[slot].append((self.last[slot], at_s))

    def go_on(self, now: float) -> None:
        for slot in self.live:
            while self.next_s[slot] <= now:
                self.arrive(slot, self.next_s[slot])
                self.next_s[slot] += FRAME_S


def waits(backlogs: int, live: int, batch: int, step_s: float) -> tuple[float, int]:
    """The longest wait of a live frame, and steps until the backlogs are done."""
    batcher, ears, longest, steps = Batcher(batch), Ears(backlogs, live), 0.0, 0
    while any(ears.todo[slot] for slot in ears.late):
        now = steps * step_s
        ears.go_on(now)
        for slot in batcher.choose({slot: frames[0][0] for slot, frames in ears.todo.items() if frames}, now):
            _, at_s = ears.todo[slot].pop(0)
            longest = max(longest, now - at_s) if slot in ears.live else longest
        steps += 1
    return longest, steps


def test_a_session_that_catches_up_does_not_make_live_ones_late():
    longest, _ = waits(backlogs=4, live=3, batch=4, step_s=0.02)
    assert longest <= 3 * 0.02, "four backlogs want all four places of every step"


def test_a_session_that_catches_up_takes_every_place_that_is_free():
    _, steps = waits(backlogs=2, live=1, batch=4, step_s=0.02)
    assert steps <= 101, "a frame a step: nobody else wanted the places"


# --- the whole, with replies that come and go


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("silent_steps", [0, 18], ids=["sounds at once", "sounds after 18 steps"])
def test_nobody_hears_a_gap_up_to_95_percent_of_capacity(share, silent_steps):
    outcome = play(Load(share, silent_steps=silent_steps, seconds=25.0), earliest_deadline)
    assert outcome.replies > 100
    assert (outcome.late_replies, outcome.late_frames) == (0, 0)


def test_first_come_first_served_makes_gaps_where_deadlines_make_none():
    load = Load(0.95, seconds=40.0)
    assert play(load, first_come).late_replies > 10
    assert play(load, earliest_deadline).late_replies == 0


def test_a_new_reply_is_heard_soon_though_hundreds_speak():
    outcome = play(Load(0.95, seconds=25.0), earliest_deadline)
    assert max(outcome.first_audio_s) < 0.2


def test_past_its_capacity_an_engine_starves_nobody():
    outcome = play(Load(1.3, seconds=25.0), earliest_deadline)
    assert max(outcome.first_audio_s) < 1.0, "a newcomer becomes as urgent as any"
    assert outcome.worst_s < 10.0


def test_the_virtual_house_is_as_busy_as_it_was_told():
    load = Load(0.8, seconds=60.0)
    outcome = play(load, earliest_deadline)
    assert outcome.frames * virtual.FRAME_S / load.seconds / load.capacity == pytest.approx(0.8, rel=0.05)
