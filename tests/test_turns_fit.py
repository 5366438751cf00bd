"""The arithmetic behind the weights of the turn's end: on made-up judgements whose truth is known."""

import numpy as np
import pytest

from bench.turns import fit
from bench.turns.judgements import Judgement


def judgement(number, *, end, sound=0.5, text="It is a sentence.", ms=144):
    return Judgement(f"A-plain-{number:02}", "plain", 0, 1.0, ms, sound, text, end)


def made_up(rng, weights, count=4000):
    rows = np.column_stack([np.ones(count), rng.normal(0, 2, count), rng.integers(0, 2, count)])
    return rows, (rng.random(count) < fit.chances(rows @ weights)).astype(float)


def test_the_weights_that_made_the_data_are_found():
    rows, ends = made_up(np.random.default_rng(0), np.array([-1.0, 0.7, 2.0]))
    found = fit.fit(rows, ends, np.zeros(3), np.full(3, 10.0))
    assert found == pytest.approx([-1.0, 0.7, 2.0], abs=0.25)


def test_a_sign_that_never_occurs_keeps_what_was_set_by_hand():
    rows, ends = made_up(np.random.default_rng(1), np.array([-1.0, 0.7, 0.0]))
    rows[:, 2] = 0
    assert fit.fit(rows, ends, np.array([0.0, 0.0, -3.0]), np.ones(3))[2] == -3.0


def test_a_weight_that_is_held_stays_near_its_prior():
    rows, ends = made_up(np.random.default_rng(2), np.array([-1.0, 0.7, 2.0]))
    assert abs(fit.fit(rows, ends, np.zeros(3), np.array([1.0, 1.0, 0.001]))[2]) < 0.05


def test_a_prior_far_from_the_data_does_not_make_it_diverge():
    rows, ends = made_up(np.random.default_rng(3), np.array([-1.0, 0.7, 2.0]), count=300)
    assert np.abs(fit.fit(rows, ends, np.array([40.0, -30.0, 50.0]), np.full(3, 5.0))).max() < 60


@pytest.mark.parametrize(
    ("p_end", "expected"),
    [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5, 0.5, 0.5, 0.5], 0.5)],
)
def test_auc_is_the_share_of_pairs_in_order(p_end, expected):
    assert fit.auc(np.array(p_end), np.array([0.0, 0.0, 1.0, 1.0])) == expected


def test_words_that_tell_ends_from_pauses_are_learnt_from_other_dialogues():
    judged = [
        judgement(number, end=end, text="I would like to see it." if end else "I would like to see the.")
        for number in range(60)
        for end in (True, False)
    ]
    model = fit.Model((*fit.HEARD, *fit.SIGNS), words=True)
    assert fit.auc(model.out_of_sample(judged), np.array([float(one.end) for one in judged])) == 1.0
    deaf = fit.Model(fit.HEARD, words=False)
    assert fit.auc(deaf.out_of_sample(judged), np.array([float(one.end) for one in judged])) == 0.5


def test_the_report_counts_pauses_and_ends_and_names_the_worst():
    said = []
    judged = [
        judgement(number, end=number % 3 == 0, sound=0.9 if number % 3 == 0 else 0.2) for number in range(30)
    ]
    fit.weigh(judged, said.append)
    assert any(
        line.startswith("sound as it is, first: 20 pauses, 10 ends; above .5: 0.0% of pauses, 100.0%")
        for line in said
    )
    assert any("It is a sentence." in line for line in said)
