"""Who speaks, and as what: from the voice and the instructions a client asks for to prompt, engine voice and language.

Pure; time and dice are handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Protocol

from config.voices import LANGUAGES, Instructions
from web import characters, roles


@dataclass(frozen=True)
class Part:
    """What the workers need to know of a character."""

    prompt: str
    voice: str
    """The TTS engine's name for it."""
    language: str


class Casting(Protocol):
    """Finds the part. Raises ClientError that names the field and says what there is."""

    def __call__(self, instructions: object, voice: str) -> Part:
        """`instructions` as they came from JSON; None: the character's own."""
        ...


def play(
    cast: Sequence[roles.Role],
    instructions: object,
    voice: str,
    *,
    now: datetime,
    dice: Random,
    cloned: roles.Cloned = lambda _: False,
    headlines: Sequence[str] | None = None,
) -> Part:
    """The part for a client of Unmute's kind. What the instructions leave open, the character of the voice decides."""
    role = roles.find(cast, voice, cloned=cloned)
    wanted = role.character.spoken if instructions is None else characters.instructions(instructions)
    if wanted.language is None:
        wanted = wanted.model_copy(update={"language": role.character.language})
    return _part(role, wanted, now, dice, headlines)


def enact(
    cast: Sequence[roles.Role],
    name: str,
    language: str,
    *,
    now: datetime,
    dice: Random,
    headlines: Sequence[str] | None = None,
) -> Part:
    """The part of a character that a GA client names. language: what its user speaks; empty, or one that no prompt can
    name: the character's own. Raises ClientError `character_not_found` or `character_unavailable`."""
    role = roles.find(cast, name, param="session.antiphon.character", what="character")
    wanted, code = role.character.spoken, language.partition("-")[0].lower()
    if code in LANGUAGES:
        wanted = wanted.model_copy(update={"language": code})
    return _part(role, wanted, now, dice, headlines)


def _part(
    role: roles.Role, wanted: Instructions, now: datetime, dice: Random, headlines: Sequence[str] | None
) -> Part:
    language = (wanted.language or role.character.language).partition("/")[0]
    return Part(characters.system_prompt(wanted, now, dice, headlines), role.voice, language)
