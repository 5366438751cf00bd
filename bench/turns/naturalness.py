"""Measures the corpus against the end-of-turn model: how often it takes a pause for an end, and an end for one.

A corpus is good where this is as with people: pauses in mid-sentence sound like going on, ends sound like ends. It is
not a benchmark of the model: `python -m bench.turns.naturalness A`.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import soxr

from bench.turns import corpus
from bench.turns.cutting import RATE
from bench.turns.dialogue import OVERLAID, Rendered, Sound
from bench.turns.voices import Seed
from gpu_workers.endpoint.smart_turn import SmartTurn
from gpu_workers.engine import Pcm

#: The model hears so much of a pause, as the endpointer lets it.
HEARD_MS = 200

#: Pauses that count as such.
PAUSE_MS = 300

Groups = dict[tuple[str, str], list[float]]


def _ended(model: SmartTurn, sound: Sound, noise: Pcm, phrase: int) -> float:
    end = sound.phrases[phrase].end
    heard = np.concatenate([sound.pcm[:end], np.zeros(HEARD_MS * RATE // 1000, np.float32)])
    heard = heard + np.resize(noise, len(heard))
    return model.p_end(np.asarray(soxr.resample(heard, RATE, 16_000), np.float32))


def measure(dialogues: Iterable[Rendered]) -> tuple[Groups, Groups]:
    """p(end) at pauses and at ends, by ("category" | "voice" | "mark", which)."""
    model = SmartTurn(2)
    pauses: Groups = defaultdict(list)
    ends: Groups = defaultdict(list)
    for rendered in dialogues:
        noise = rendered.noise if rendered.noise is not None else np.zeros(1, np.float32)
        for sound, phrases in zip(rendered.turns, rendered.dialogue.turns, strict=True):
            for number, phrase in enumerate(phrases):
                if phrase.pause_ms < PAUSE_MS and number + 1 < len(phrases):
                    continue
                place = pauses if number + 1 < len(phrases) else ends
                p_end = _ended(model, sound, noise, number)
                for key in _keys(rendered, phrase.text):
                    place[key].append(p_end)
    return pauses, ends


def _keys(rendered: Rendered, text: str) -> Sequence[tuple[str, str]]:
    dialogue = rendered.dialogue
    mark = text[-1] if not text[-1].isalnum() else "none"
    return ("all", ""), ("category", dialogue.category), ("voice", dialogue.voice), ("mark", mark)


def main() -> None:
    """Prints the shares."""
    seed: Seed = "A" if "A" in sys.argv[1:2] else "B"
    pauses, ends = measure(
        rendered
        for rendered in corpus.load(seed, say=lambda _: None)
        if rendered.dialogue.category not in OVERLAID
    )
    print(f"seed {seed}: share with p(end) > 0.5 (count), median")
    for key in sorted({*pauses, *ends}):
        cells = []
        for name, place in (("pauses", pauses), ("ends", ends)):
            if values := place.get(key):
                share = np.mean(np.array(values) > 0.5)
                cells.append(f"{name} {share:6.1%} ({len(values):3}) {np.median(values):.2f}")
        print(f"{key[0]:9}{key[1]:15}" + "   ".join(cells))


if __name__ == "__main__":
    main()
