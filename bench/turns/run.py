"""The whole turn-taking bench: which dialogues, under which rules, by which player."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from bench.report import Section
from bench.server import BenchFailed
from bench.talker import Answered
from bench.turns import corpus, findings, live, virtual_run
from bench.turns.dialogue import OVERLAID, Category, Dialogue
from bench.turns.findings import Found
from bench.turns.live_score import OverlayFound
from bench.turns.voices import Seed
from config.settings import load
from config.tuning import TurnSettings
from gpu_workers.stt.embedded import Settings

#: Plain turns asked with and without pre-emptive replies.
VOICE_TO_VOICE = 16

#: How patient the rules of the trade-off curve are, in times of those in force.
PATIENCE = (0.4, 0.55, 0.7, 0.85, 1.2, 1.5, 2.0)

#: Of each category, for a smoke test.
QUICK = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Scope:
    """What is measured."""

    seed: Seed = "A"
    only: Collection[Category] | None = None
    sweep: bool = False
    virtual: bool = True
    live: bool = True
    quick: bool = False

    def chosen(self, categories: Collection[Category]) -> list[Dialogue]:
        """Dialogues of these categories, as far as they are wanted."""
        found = [
            one
            for one in corpus.dialogues(self.seed)
            if one.category in categories and (self.only is None or one.category in self.only)
        ]
        if not self.quick:
            return found
        kinds = {one.category for one in found}
        return [
            one for kind in sorted(kinds) for one in islice((d for d in found if d.category == kind), QUICK)
        ]


def measure(scope: Scope, say: Say) -> Section:
    """The parts that were asked for."""
    settings = load("embedded")
    rules = variants(settings.turn) if scope.sweep else [("in force", settings.turn)]
    every: set[Category] = {one.category for one in corpus.dialogues(scope.seed)}
    spoken_over = scope.chosen(OVERLAID) if scope.live else []
    listened_to = scope.chosen(every - OVERLAID) if scope.virtual else []
    corpus.prepare(
        [*listened_to, *spoken_over], lambda done: say(f"turns: speech of {done} dialogues is there")
    )
    return findings.section(
        Found(
            scope.seed,
            [name for name, _ in rules],
            settings.pacing.lead_ms,
            _virtual(listened_to, [one for _, one in rules], settings.stage("stt").options, say)
            if listened_to
            else (),
            _overlays(spoken_over, say) if spoken_over else (),
            len(spoken_over),
            _voice_to_voice(scope, say) if scope.live and scope.only is None else None,
        )
    )


def variants(base: TurnSettings) -> list[tuple[str, TurnSettings]]:
    """The settings in force, then more and less patient ones."""
    other = [
        (f"patience × {value}", base.model_copy(update={"patience": base.patience * value}))
        for value in PATIENCE
    ]
    return [("in force", base), *other]


def _virtual(
    dialogues: Sequence[Dialogue], rules: Sequence[TurnSettings], options: dict[str, object], say: Say
) -> list[virtual_run.DialogueSeen]:
    say(f"turns: {len(dialogues)} dialogues in virtual time, {len(rules)} sets of rules")
    engine = Settings.model_validate(options)
    return list(virtual_run.play_all(map(corpus.rendered, dialogues), rules, engine, say))


def _overlays(dialogues: Sequence[Dialogue], say: Say) -> list[OverlayFound]:
    """None where there was no server: what was measured before is not lost for it."""
    found: list[OverlayFound] = []
    try:
        for one in live.overlays(map(corpus.rendered, dialogues), say):
            found.append(one)
    except BenchFailed as error:
        say(f"turns: {error}")
    return found


def _voice_to_voice(scope: Scope, say: Say) -> dict[str, list[Answered]]:
    plain = scope.chosen({"plain"})[: QUICK if scope.quick else VOICE_TO_VOICE]
    try:
        return live.voice_to_voice([corpus.rendered(one) for one in plain], say)
    except BenchFailed as error:
        say(f"turns: {error}")
        return {"on": [], "off": []}
