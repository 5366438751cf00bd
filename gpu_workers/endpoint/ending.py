"""How probable it is that a turn is over: the sound of its end, its words, the length of the pause. Pure."""

from collections.abc import Mapping
from math import exp, log, log2

from gpu_workers.endpoint.completeness import signs

#: The sound's opinion is kept from certainty: Smart Turn says .999 and errs.
SURE = 0.995

#: Pauses are counted in doublings of this (ms), the shortest that is judged.
SHORT_PAUSE = 140

#: By hand, until fitted.
WEIGHTS: Mapping[str, float] = {
    "bias": -0.2,
    "sound": 0.6,
    "pause": 0.5,
    "nothing": -1.5,
    "question_mark": 1.2,
    "comma": -2.0,
    "trails_off": -2.0,
    "unmarked": -0.8,
    "determiner": -4.0,
    "preposition": -3.5,
    "particle": -1.5,
    "conjunction": -4.0,
    "auxiliary": -3.0,
    "subject": -3.5,
    "degree": -1.5,
    "filler": -3.5,
    "transitive": -2.0,
    "opening": -4.0,
    "half": -2.5,
    "answer": 1.5,
    "courtesy": 1.0,
    "question": 1.0,
    "list_open": -1.5,
    "list_closed": 0.5,
    "letters": -2.5,
    "digits_open": -3.0,
    "digits_done": 1.0,
    "number": -0.3,
    "address_open": -3.0,
    "address_done": 2.0,
    "one_word": -1.0,
    "code": -0.5,
    "capitals": -1.0,
    "words": 1.0,
}

#: The same without words: for a judgement that is due before the text is there.
DEAF_WEIGHTS: Mapping[str, float] = {"bias": -0.5, "sound": 0.6, "pause": 0.5}


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
