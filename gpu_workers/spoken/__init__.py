"""From the words of a clause as an LLM writes them to what a person would say. Pure; every word keeps its number."""

from collections.abc import Sequence

from gpu_workers.spoken import english, french
from gpu_workers.spoken.markup import plain, tidy
from gpu_workers.spoken.owned import Owned, Rule

#: Languages whose numbers and signs we say; of all others only the markup is taken out, and the voice reads the rest.
RULES: dict[str, Sequence[Rule]] = {"en": english.RULES, "fr": french.RULES}


def spoken(words: Sequence[str], language: str = "en") -> list[str]:
    """What to say for each of `words`, which are spoken in one go: one text for each, "" where there is nothing to say.

    What several words say together is dealt out among them in order. `language` is a tag such as "en" or "fr-CA".
    """
    clause = Owned(words)
    plain(clause)
    clause.rewrite(RULES.get(language.partition("-")[0].lower(), ()))
    return tidy(clause.words())
