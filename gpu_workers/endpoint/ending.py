"""How probable it is that a turn is over: the sound of its end, its words, the length of the pause. Pure."""

from collections.abc import Mapping
from math import exp, log, log2

from gpu_workers.endpoint.completeness import signs

#: The sound's opinion is kept from certainty: Smart Turn says .999 and errs.
SURE = 0.995

#: Pauses are counted in doublings of this (ms), the shortest that is judged.
SHORT_PAUSE = 140

#: Fitted by `python -m bench.turns.fit` to the judgements of seed A (see there for what was held by hand, and why).
#: A sign's weight is in logits: -4 makes an even chance one in fifty.
WEIGHTS: Mapping[str, float] = {
    "bias": -4.12,
    "sound": 0.40,
    "pause": 0.41,
    "nothing": -1.50,
    "question_mark": -0.19,
    "comma": -0.67,
    "trails_off": -2.10,
    "unmarked": -1.37,
    "determiner": -4.43,
    "preposition": -4.36,
    "particle": -1.97,
    "conjunction": -4.42,
    "auxiliary": -1.48,
    "subject": -3.87,
    "degree": -0.34,
    "filler": -2.50,
    "transitive": -0.94,
    "opening": -1.32,
    "half": -2.59,
    "answer": 4.44,
    "courtesy": 0.36,
    "question": 1.44,
    "list_open": -0.42,
    "list_closed": 0.34,
    "letters": -3.01,
    "digits_open": -2.43,
    "digits_done": -0.85,
    "number": 0.22,
    "address_open": -3.21,
    "address_done": 1.48,
    "one_word": 0.34,
    "fragment": 2.14,
    "code": -0.76,
    "capitals": -1.33,
    "words": 5.02,
}

#: The same without words: for a judgement that is due before the text is there.
DEAF_WEIGHTS: Mapping[str, float] = {"bias": -1.19, "sound": 0.35, "pause": 0.45}


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
