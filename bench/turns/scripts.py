"""Puts dialogues together from the pools: which lines, in which voice, in which noise, under which overlay. Pure."""

from collections.abc import Iterator, Sequence
from random import Random

from bench.turns.bursts import COUGHS, ROOMS
from bench.turns.dialogue import Category, Dialogue, Overlay, Phrase
from bench.turns.human import HUMAN
from bench.turns.noises import AMBIENT
from bench.turns.pool import Pool, phrases
from bench.turns.scripts_a import POOL_A
from bench.turns.scripts_b import POOL_B
from bench.turns.voices import VOICES, Seed

POOLS: dict[Seed, Pool] = {"A": POOL_A, "B": POOL_B}

#: How many dialogues of each category, and with how many turns.
ENDPOINTING: dict[Category, tuple[int, tuple[int, ...]]] = {
    "plain": (30, (1, 2, 2, 3)),
    "hesitation": (45, (1, 2, 2)),
    "spelling": (20, (1, 2)),
    "number": (20, (1, 2)),
    "list": (20, (1, 2)),
    "short": (20, (2, 3)),
}
NOISY = 15
OVERLAYS: dict[Category, int] = {
    "interruption": 24,
    "backchannel": 24,
    "cough": 14,
    "room": 12,
    "echo": 10,
}

#: Signal to noise of the noisy ones, dB, by turns.
SNR_DB = (20.0, 10.0)

#: An overlay sounds so long after the reply began, ms.
AFTER_MS = (1500, 5000)

#: What is mixed in noise: lines of these.
NOISY_LINES: tuple[Category, ...] = ("hesitation", "number", "plain", "list", "spelling")


class Deck:
    """Gives every card once, in any order, before it gives one again."""

    def __init__(self, cards: Sequence[str], rng: Random) -> None:
        self._cards, self._rng, self._left = cards, rng, list[str]()

    def draw(self) -> str:
        """The next."""
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        return self._left.pop()


class Author:
    """Writes all dialogues of a seed; the same seed gives the same."""

    def __init__(self, seed: Seed) -> None:
        self._rng = Random(f"turns {seed}")
        self._seed: Seed = seed
        self._decks = {name: Deck(lines, self._rng) for name, lines in vars(POOLS[seed]).items()}
        self._voices = Deck([voice.name for voice in VOICES[seed] for _ in range(voice.share)], self._rng)

    def all(self) -> Iterator[Dialogue]:
        """Category by category."""
        for category, (count, turns) in ENDPOINTING.items():
            for number in range(count):
                yield self._dialogue(category, number, self._turns(category, turns))
        for number in range(NOISY):
            lines = self._turns(NOISY_LINES[number % len(NOISY_LINES)], (1, 2))
            yield self._dialogue("noisy", number, lines, noise_db=SNR_DB[number % len(SNR_DB)])
        yield from HUMAN[self._seed]
        for category, count in OVERLAYS.items():
            for number in range(count):
                yield self._dialogue(
                    category, number, [self._line("questions")], overlay=self._overlay(category, number)
                )

    def _dialogue(
        self,
        category: Category,
        number: int,
        turns: list[tuple[Phrase, ...]],
        noise_db: float | None = None,
        overlay: Overlay | None = None,
    ) -> Dialogue:
        name = f"{self._seed}-{category}-{number:02}"
        return Dialogue(name, category, self._voices.draw(), tuple(turns), noise_db, overlay)

    def _turns(self, category: Category, counts: tuple[int, ...]) -> list[tuple[Phrase, ...]]:
        return [self._line(category) for _ in range(self._rng.choice(counts))]

    def _line(self, kind: str) -> tuple[Phrase, ...]:
        return phrases(self._decks[kind].draw(), self._rng)

    def _overlay(self, category: Category, number: int) -> Overlay:
        after_ms = self._rng.randint(*AFTER_MS)
        if category in ("interruption", "backchannel"):
            return Overlay(self._decks[f"{category}s"].draw(), after_ms)
        return Overlay("", after_ms)


def sound_of(dialogue: Dialogue) -> str:
    """Which wordless sound lies over it; the numbers of a category go through all of them."""
    kinds = [*COUGHS] if dialogue.category == "cough" else [*ROOMS, "babble"]
    return kinds[int(dialogue.name.rpartition("-")[2]) % len(kinds)]


def noise_of(dialogue: Dialogue) -> str:
    """Which noise a noisy dialogue has: each kind at each level."""
    kinds = [*AMBIENT, "babble"]
    return kinds[int(dialogue.name.rpartition("-")[2]) // len(SNR_DB) % len(kinds)]
