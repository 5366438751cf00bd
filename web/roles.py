"""Which characters the engines in use can play, and whom a client means by a voice. Pure.

By the wire a voice is a character's name, its `path_on_server` or one of its aliases; `find` makes of it the name
that the TTS engine knows.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal

from config.engine_choice import EngineChoice
from config.errors import ClientError
from config.redis_keys import STAGES
from config.settings import Settings
from config.voice_messages import CUSTOM_PREFIX
from config.voices import LANGUAGES, SHOWN_CHARACTERS, Character
from web.characters import system_prompt
from web.config import Wishes
from web.prompt import too_long

#: Whether a cloned voice is there, by its id.
Cloned = Callable[[str], bool]

#: The name of one: ours are random UUIDs, and nothing else is looked up.
CUSTOM = re.compile(re.escape(CUSTOM_PREFIX) + r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")

#: What the null engine, which has no voices, is given for one.
NULL_VOICE = "null"


@dataclass(frozen=True)
class Role:
    """A character, as the engines in use can play it."""

    character: Character
    voice: str
    """The TTS engine's name for it; empty if it has none."""
    unavailable: str
    """Why nobody can talk to it; empty if everybody can."""


def cast(characters: Sequence[Character], settings: Settings) -> list[Role]:
    """A role for each character, those that can be talked to first."""
    roles = [_role(character, settings) for character in characters]
    return sorted(roles, key=lambda role: bool(role.unavailable))


def _role(character: Character, settings: Settings) -> Role:
    engines = {stage: settings.stage(stage) for stage in STAGES}
    lacking = [f"{stage} ({of.engine})" for stage, of in engines.items() if not of.knows(character.language)]
    voice = _voice(character, settings.tts)
    reason = ""
    if lacking:
        reason = f"{LANGUAGES[character.language]} is not among the languages of {', '.join(lacking)}"
    elif not voice:
        reason = (
            f"it has no voice for the tts engine {' or '.join(settings.tts.mixes) or settings.tts.engine}"
        )
    elif why := too_long(Wishes(instructions=_told(character, settings)), settings.llm.window_tokens):
        reason = f"in the voices file, {why}"
    return Role(character, voice, reason)


def _told(character: Character, settings: Settings) -> str:
    """Its instructions on some day, with as many headlines as there may be: else their length hardly varies."""
    headlines = ["-" * settings.news.most_characters] if settings.news.key else None
    return system_prompt(character.spoken, datetime(2000, 1, 1, tzinfo=UTC), Random(0), headlines)


def _voice(character: Character, tts: EngineChoice) -> str:
    """As the engine names it; of several engines, all that the character could have, in its own order.

    Which of them are installed, and free, the worker alone knows.
    """
    if tts.engine == "null":
        return NULL_VOICE
    if tts.mixes:
        return ",".join(f"{name}/{of}" for name, of in character.engine_voices.items() if name in tts.mixes)
    return character.engine_voices.get(tts.engine, "")


def find(
    roles: Sequence[Role],
    wanted: str,
    *,
    param: str = "session.voice",
    cloned: Cloned = lambda _: False,
    what: Literal["voice", "character"] = "voice",
) -> Role:
    """Who is meant by `wanted`; if nobody in particular, the first that can be talked to; so too for a cloned voice.

    Raises ClientError `voice_not_found` or `voice_unavailable`, or the same of a character: `what` says as what the
    field `param` named them.
    """
    if what == "voice" and wanted.startswith(CUSTOM_PREFIX):
        if not CUSTOM.fullmatch(wanted) or not cloned(wanted.removeprefix(CUSTOM_PREFIX)):
            said = "this cloned voice has expired or is unknown; send the recording again"
            raise ClientError(said, code="voice_not_found", param=param)
        return replace(find(roles, "", param=param), voice=wanted)
    available = [role for role in roles if role.character.good and not role.unavailable]
    names = ", ".join(role.character.name for role in available) or "none"
    if not wanted and available:
        return available[0]
    for role in roles:
        if wanted.casefold() in role.character.names():
            if role.unavailable:
                said = f"{role.character.name} is not available: {role.unavailable}; {what}s: {names}"
                raise ClientError(said, code=f"{what}_unavailable", param=param)
            return role
    said = f"there is no {what} {wanted[:SHOWN_CHARACTERS]!r}; {what}s: {names}"
    raise ClientError(said, code=f"{what}_not_found", param=param)


def speaker(
    roles: Sequence[Role], wanted: str, *, param: str = "session.voice", cloned: Cloned = lambda _: False
) -> str:
    """The TTS engine's name for the voice `wanted`, or the cloned voice's own. Raises as `find` does."""
    return find(roles, wanted, param=param, cloned=cloned).voice


def listing(roles: Sequence[Role]) -> list[dict[str, Any]]:
    """The good ones in the shape of Unmute's GET /v1/voices.

    Unmute's load tester takes the first and refuses fields it does not know. So what we add, `available` and
    `unavailable_reason`, stands only where it is needed, and the rest goes where unknown fields are let pass.
    """
    return [_listed(role) for role in roles if role.character.good]


def _listed(role: Role) -> dict[str, Any]:
    character = role.character
    entry: dict[str, Any] = {
        "name": character.name,
        "comment": character.description,
        "good": True,
        "instructions": character.spoken.model_dump(exclude_none=True),
        "source": character.source.model_dump(exclude_none=True),
    }
    if role.unavailable:
        entry |= {"available": False, "unavailable_reason": role.unavailable}
    return entry
