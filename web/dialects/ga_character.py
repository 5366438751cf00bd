"""The character that a GA session names, an extension: what of the session follows from it. Pure.

What is told to the model stays the same while the session names the same character, over lost connections, too:
a quiz keeps its questions, and what an engine has read of the prompt stays read.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from config.errors import ClientError
from web.casting import Part
from web.config import Wishes

Json = dict[str, Any]

#: From a character's name, and the language that its client wants or nothing, to its part. Raises ClientError.
Casting = Callable[[str, str], Part]

PARAM = "session.antiphon.character"


class Played(msgspec.Struct, frozen=True):
    """Who answers, and by which prompt."""

    name: str = ""
    """As the client has it; empty: nobody in particular."""
    asked_language: str = ""
    prompt: str = ""
    language: str = ""

    def wishes(self, asked: Wishes) -> Wishes:
        """What the client left open is the character's."""
        if not self.name:
            return asked
        told = asked.instructions or self.prompt
        return msgspec.structs.replace(
            asked, instructions=told, language=self.asked_language or self.language
        )


def played(before: Played, session: Json, casting: Casting) -> Played:
    """Whom the session names now. Raises ClientError where there is no such character."""
    name, language = named(session), _language(session)
    if (name, language) == (before.name, before.asked_language):
        return before
    if not name:
        return Played()
    part = casting(name, language)
    return Played(name, language, part.prompt, part.language)


def named(session: Json) -> str:
    """By a session object; empty: nobody."""
    return session["antiphon"].get("character") or ""


def _language(session: Json) -> str:
    return (session["audio"]["input"]["transcription"] or {}).get("language") or ""


def with_its_voice(before: Json, session: Json, patch: Json) -> Json:
    """An update that names another character and no voice asks for its voice, too. patch: as it came, and it fits."""
    name = named(session)
    output = (patch.get("audio") or {}).get("output") or {}
    if name in ("", named(before)) or output.get("voice") is not None:
        return session
    audio = session["audio"]
    return {**session, "audio": {**audio, "output": {**audio["output"], "voice": name}}}


def require_extension(before: Json, session: Json, *, ours: bool) -> None:
    """Raises ClientError where a client names a character that did not ask for our extensions."""
    if not ours and named(session) not in ("", named(before)):
        raise ClientError(
            "a character is an extension: connect with ?extensions=antiphon to name one",
            param=PARAM,
            code="invalid_parameter",
        )
