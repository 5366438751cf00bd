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
    "bias": -3.72,
    "sound": 0.38,
    "pause": 0.48,
    "nothing": -1.50,
    "question_mark": -0.17,
    "comma": -0.91,
    "trails_off": -2.55,
    "unmarked": -0.70,
    "determiner": -2.75,
    "preposition": -2.87,
    "particle": -1.88,
    "conjunction": -2.62,
    "auxiliary": -1.25,
    "subject": -1.55,
    "degree": -0.50,
    "filler": -4.05,
    "transitive": -2.10,
    "opening": -2.27,
    "half": -2.60,
    "answer": 4.90,
    "courtesy": 0.25,
    "question": 1.14,
    "list_open": -1.04,
    "list_closed": 0.79,
    "letters": -0.77,
    "digits_open": -2.23,
    "digits_done": -0.39,
    "number": -0.57,
    "address_open": -3.40,
    "address_done": 1.09,
    "one_word": 0.46,
    "fragment": 2.10,
    "code": -0.05,
    "capitals": -2.82,
    "words": 4.61,
}

#: The same without words: for a judgement that is due before the text is there.
DEAF_WEIGHTS: Mapping[str, float] = {"bias": -1.08, "sound": 0.35, "pause": 0.48}


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
