"""Environment variables that look like settings and are none: what `antiphon doctor` says of them. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

from cli.doctor.finding import Finding, ok, warn
from config.settings import Settings
from config.variables import DELIMITER, PREFIX, ours, slips


def check(names: Iterable[str]) -> Iterator[Finding]:
    """names: of the environment's variables."""
    said = ours(names)
    found = list(slips(said, Settings))
    for slip in found:
        yield warn("variables", f"{slip.name} names no setting, and changes nothing", slip.remedy)
    if not found:
        yield ok("variables", f"{len(said)} set, each of which names a setting")


def check_options(stage: str, environment: Mapping[str, str], known: Collection[str]) -> Iterator[Finding]:
    """Variables that set options which the stage's engine does not know. known: those it does."""
    base = f"{PREFIX}{stage.upper()}{DELIMITER}OPTIONS"
    given = {
        name: name.upper().removeprefix(base + DELIMITER).partition(DELIMITER)[0].lower()
        for name in environment
        if name.upper().startswith(base + DELIMITER)
    }
    for name, option in given.items():
        if option not in known:
            nearest = get_close_matches(option, known, 1, 0)
            mend = f"the nearest is {base}{DELIMITER}{nearest[0].upper()}" if nearest else "it has none"
            yield warn("variables", f"{name}: the engine of {stage} has no such option", mend)
