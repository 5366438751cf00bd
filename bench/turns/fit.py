"""Fits the weights of `gpu_workers.endpoint.ending` to seed A of the corpus, and says how good they are.

    python -m bench.turns.fit ask build/judgements.jsonl     every judgement of seed A, 10 minutes on two cores
    python -m bench.turns.fit weigh build/judgements.jsonl   weights to copy into ending.py, and the figures

Logistic regression. A weight is drawn to what was set by hand (PRIOR), so that a sign which the corpus hardly has keeps
a sensible one. The figures are out of sample: each dialogue is judged by weights fitted to the others.
"""

import argparse
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.turns.judgements import Judgement, read, write
from gpu_workers.endpoint import ending
from gpu_workers.endpoint.completeness import SIGNS

Matrix = npt.NDArray[np.float64]

#: By hand: what a reader of English would say before looking at any data.
PRIOR: Mapping[str, float] = {
    "bias": -0.2, "sound": 0.5, "pause": 0.5, "nothing": -1.5, "question_mark": 1.2, "comma": -2.0,
    "trails_off": -2.0, "unmarked": -0.8, "determiner": -4.0, "preposition": -3.5, "particle": -1.5,
    "conjunction": -4.0, "auxiliary": -3.0, "subject": -3.5, "degree": -1.5, "filler": -3.5, "transitive": -2.0,
    "opening": -4.0, "half": -2.5, "answer": 1.5, "courtesy": 1.0, "question": 1.0, "list_open": -1.5,
    "list_closed": 0.5, "letters": -2.5, "digits_open": -3.0, "digits_done": 0.0, "number": -0.3,
    "address_open": -3.0, "address_done": 2.0, "one_word": -1.0, "fragment": 1.0, "code": -0.5,
    "capitals": -1.0, "words": 4.0,
}  # fmt: skip

#: How far a weight may be from the prior's before it must be earned: its standard deviation.
SPREAD = 1.0

#: Weights that the corpus may not choose freely. Its voices are synthetic, cut where no person would pause, and Smart
#: Turn was made for people: the corpus alone would hardly listen to it. Its turns are all of 8 to 14 words: it alone
#: would count words and trust nothing else. And its numbers are longer than phone numbers are.
HELD: Mapping[str, float] = {"sound": 0.03, "words": 0.2, "digits_done": 0.3}

#: Newton's method takes a dozen steps here, and stops when none moves a weight by more than this.
MAX_STEPS = 100
SMALL_STEP = 1e-6

#: Parts of the corpus for the figures out of sample.
FOLDS = 8

#: A judgement after more of a pause than this is not an early one (ms).
EARLY_MS = 250

HEARD = ("bias", "sound", "pause")


def fit(rows: Matrix, ends: Matrix, prior: Matrix, spread: Matrix) -> Matrix:
    """Weights of the likeliest logistic model, given the prior; by Newton's method, in shorter steps if need be."""
    weights = prior.copy()
    for _ in range(MAX_STEPS):
        p = chances(rows @ weights)
        slope = rows.T @ (ends - p) - (weights - prior) / spread**2
        bend = (rows * (p * (1 - p))[:, None]).T @ rows + np.diag(spread**-2.0)
        step = np.linalg.solve(bend, slope)
        before = _cost(rows, ends, weights, prior, spread)
        while _cost(rows, ends, weights + step, prior, spread) > before and np.abs(step).max() > SMALL_STEP:
            step /= 2
        weights += step
        if np.abs(step).max() < SMALL_STEP:
            break
    return weights


def chances(scores: Matrix) -> Matrix:
    """Scores as probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(scores, -50, 50))), np.float64)


def _cost(rows: Matrix, ends: Matrix, weights: Matrix, prior: Matrix, spread: Matrix) -> float:
    """How unlikely the ends are, given the weights, and the weights, given the prior."""
    scores = rows @ weights
    return float(
        np.sum(np.logaddexp(0, scores) - ends * scores) + np.sum((weights - prior) ** 2) / (2 * SPREAD**2)
    )


class Model:
    """A logistic model over some of the evidence."""

    def __init__(self, names: Sequence[str], *, words: bool) -> None:
        self.names = names
        self._words = words
        self._prior = np.array([PRIOR[name] for name in names])
        self._spread = np.array([HELD.get(name, SPREAD) for name in names])

    def rows(self, judged: Sequence[Judgement]) -> Matrix:
        """The evidence of each judgement."""
        read_all = [ending.read(one.sound, one.text if self._words else None, one.ms) for one in judged]
        return np.array([[evidence.get(name, 0.0) for name in self.names] for evidence in read_all])

    def fit(self, judged: Sequence[Judgement]) -> Matrix:
        """Weights, in the order of the names."""
        return fit(self.rows(judged), _ends(judged), self._prior, self._spread)

    def out_of_sample(self, judged: Sequence[Judgement]) -> Matrix:
        """p_end of each judgement, by weights that were fitted to other dialogues."""
        part = np.array([zlib.crc32(one.dialogue.encode()) % FOLDS for one in judged])
        rows, p_end = self.rows(judged), np.zeros(len(judged))
        for fold in range(FOLDS):
            others = [one for one, of in zip(judged, part, strict=True) if of != fold]
            p_end[part == fold] = chances(rows[part == fold] @ self.fit(others))
        return p_end


def _ends(judged: Sequence[Judgement]) -> Matrix:
    return np.array([float(one.end) for one in judged])


def auc(p_end: Matrix, ends: Matrix) -> float:
    """Probability that an end is thought more of than a pause."""
    better = p_end[ends == 1][:, None] - p_end[ends == 0][None, :]
    return float(np.mean((better > 0) + 0.5 * (better == 0)))


def report(name: str, p_end: Matrix, judged: Sequence[Judgement], say: Callable[[str], None] = print) -> None:
    """How well pauses and ends are told apart, and whether a probability means what it says."""
    ends = _ends(judged)
    loss = -np.mean(np.log(np.clip(np.where(ends == 1, p_end, 1 - p_end), 1e-3, 1)))
    pauses, over = p_end[ends == 0], p_end[ends == 1]
    say(
        f"{name}: {len(pauses)} pauses, {len(over)} ends; above .5: {np.mean(pauses > 0.5):.1%} of pauses,"
        f" {np.mean(over > 0.5):.1%} of ends; above .9: {np.mean(pauses > 0.9):.1%}, {np.mean(over > 0.9):.1%};"
        f" AUC {auc(p_end, ends):.3f}; log loss {loss:.3f}"
    )


def calibration(p_end: Matrix, judged: Sequence[Judgement], say: Callable[[str], None] = print) -> None:
    """Of the judgements in each tenth of probability, how many were ends."""
    ends, tenth = _ends(judged), np.minimum(9, (p_end * 10).astype(int))
    for which in range(10):
        of = tenth == which
        if of.any():
            say(f"  p_end {p_end[of].mean():.2f}: {ends[of].mean():.2f} were ends ({int(of.sum())})")


def weigh(judged: Sequence[Judgement], say: Callable[[str], None] = print) -> None:
    """Fits, prints the weights and the figures."""
    full, deaf = Model((*HEARD, *SIGNS), words=True), Model(HEARD, words=False)
    for title, model in (("WEIGHTS", full), ("DEAF_WEIGHTS", deaf)):
        say(title)
        for name, weight in zip(model.names, model.fit(judged), strict=True):
            say(f'    "{name}": {weight:.2f},')
    early = [one for one in judged if one.ms <= EARLY_MS]
    opinions = {
        "sound as it is": np.array([one.sound for one in judged]),
        "sound, weighed": deaf.out_of_sample(judged),
        "sound and words": full.out_of_sample(judged),
    }
    first = np.array([one.ms <= EARLY_MS for one in judged])
    for name, p_end in opinions.items():
        report(f"{name}, all", p_end, judged, say)
        report(f"{name}, first", p_end[first], early, say)
    calibration(opinions["sound and words"], judged, say)
    by_category(opinions["sound and words"][first], early, say)


def by_category(p_end: Matrix, judged: Sequence[Judgement], say: Callable[[str], None] = print) -> None:
    """The same for each kind of dialogue, and the pauses that look most like ends."""
    for category in sorted({one.category for one in judged}):
        of = np.array([one.category == category for one in judged])
        report(f"  {category}", p_end[of], [one for one in judged if one.category == category], say)
    worst = sorted(zip(p_end, judged, strict=True), key=lambda pair: -pair[0] if not pair[1].end else 0.0)
    for p, one in worst[:40]:
        say(f"  {p:.2f} (sound {one.sound:.2f}) after {one.ms} ms: {one.category}: {one.text!r}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("ask", "weigh"))
    parser.add_argument("file", type=Path)
    wanted = parser.parse_args()
    if wanted.what == "ask":
        from bench.turns import corpus

        write(corpus.load("A"), wanted.file)
    else:
        weigh(read(wanted.file))


if __name__ == "__main__":
    main()
