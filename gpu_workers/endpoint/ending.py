"""How probable it is that a turn is over: the sound of its end, its words, the length of the pause. Pure."""

from collections.abc import Mapping
from math import exp, log, log2

from gpu_workers.endpoint.completeness import signs

#: The sound's opinion is kept from certainty: Smart Turn says .999 and errs.
SURE = 0.995

#: Pauses are counted in doublings of this (ms), the shortest that is judged.
SHORT_PAUSE = 140

#: Fitted by `python -m bench.turns.fit` to the judgements of 197 dialogues of seed A; what was held by hand, and why,
#: is said there.
#: A sign's weight is in logits: -4 makes an even chance one in fifty.
WEIGHTS: Mapping[str, float] = {
    "bias": -4.10,
    "sound": 0.39,
    "pause": 0.45,
    "nothing": -1.50,
    "question_mark": -0.23,
    "comma": -0.67,
    "trails_off": -2.12,
    "unmarked": -1.80,
    "determiner": -4.45,
    "preposition": -4.39,
    "particle": -2.04,
    "conjunction": -4.44,
    "auxiliary": -1.63,
    "subject": -3.84,
    "degree": -0.40,
    "filler": -2.66,
    "transitive": -0.82,
    "opening": -0.86,
    "half": -2.58,
    "answer": 4.70,
    "courtesy": 0.47,
    "question": 1.63,
    "list_open": -0.55,
    "list_closed": 0.71,
    "letters": -2.79,
    "digits_open": -2.21,
    "digits_done": -1.04,
    "number": -0.24,
    "address_open": -3.23,
    "address_done": 1.45,
    "one_word": 0.82,
    "fragment": 1.98,
    "code": -0.58,
    "capitals": -1.37,
    "words": 4.82,
}

#: The same without words: for a judgement that is due before the text is there.
DEAF_WEIGHTS: Mapping[str, float] = {"bias": -1.23, "sound": 0.35, "pause": 0.47}


def p_end(sound: float, text: str | None, pause_ms: int) -> float:
    """Probability that the turn is over.

    sound: Smart Turn's opinion. text: what was understood of the turn, all of it; None: not known yet.
    """
    evidence = read(sound, text, pause_ms)
    weights = DEAF_WEIGHTS if text is None else WEIGHTS
    return 1 / (1 + exp(-sum(weights[name] * value for name, value in evidence.items())))


def read(sound: float, text: str | None, pause_ms: int) -> dict[str, float]:
    """The evidence that is weighed, by name."""
    believed = min(SURE, max(1 - SURE, sound))
    heard = {
        "bias": 1.0,
        "sound": log(believed / (1 - believed)),
        "pause": max(0.0, log2(max(1, pause_ms) / SHORT_PAUSE)),
    }
    return heard if text is None else heard | signs(text)
