"""Characters: a mistake in the file is named by its line; who can speak; whom a client means."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from config import settings, voices
from config.engine_choice import EngineChoice
from config.errors import ClientError, ConfigError
from config.settings import Settings
from web.roles import cast, find, listing, speaker

FILE = Path(__file__).parent.parent / "voices.yaml"

GOOD = """\
- name: Ada
  description: Tests
  language: en
  instructions:
    type: constant
    text: You are Ada.
  source:
    path_on_server: test/ada
  engine_voices: {piper: joe}
  aliases: [alloy]
- name: Bo
  description: Tests too
  language: fr
  instructions: {type: smalltalk}
  source: {path_on_server: test/bo}
  engine_voices: {piper: siwis, kyutai: bo.wav}
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "voices.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def using(
    stt: str = "moonshine", llm: str = "smollm2", tts: str = "piper", languages: str = "en"
) -> Settings:
    def chosen(engine: str) -> EngineChoice:
        return EngineChoice(engine=engine, slots=1, languages=tuple(languages.split()))

    return Settings(stt=chosen(stt), llm=chosen(llm), tts=chosen(tts))


# --- the file


def test_a_good_file_is_read_in_its_order(tmp_path):
    ada, bo = voices.load(written(tmp_path, GOOD))
    assert (ada.name, ada.good, ada.names()) == ("Ada", True, ("ada", "test/ada", "alloy"))
    assert bo.spoken.language == "fr"


def test_a_name_may_look_like_a_boolean(tmp_path):
    first = voices.load(
        written(tmp_path, GOOD.replace("name: Ada", "name: No").replace("language: en", "language: no"))
    )[0]
    assert (first.name, first.language) == ("No", "no")


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


MISTAKES = {
    "a field that does not exist": (
        changed("  language: en", "  langauge: en"),
        3,
        "unknown field 'langauge'; there are: name",
    ),
    "the same inside a part": (
        changed("    text:", "    txt:"),
        6,
        "unknown field 'instructions.txt'; there are: type",
    ),
    "a field left out": (changed("  language: fr\n", ""), 11, "'language' is missing; add it"),
    "a field left out of a part": (
        changed("{path_on_server: test/bo}", "{}"),
        15,
        "'source.path_on_server' is missing",
    ),
    "a type that does not exist": (
        changed("type: constant", "type: chat"),
        5,
        "instructions.type: Input should be 'constant'",
    ),
    "constant without a text": (changed("    text: You are Ada.\n", ""), 4, "need a text"),
    "an unknown language": (
        changed("language: fr", "language: french"),
        13,
        "unknown language 'french'; there are: ar",
    ),
    "an unknown language of the prompt": (
        changed("{type: smalltalk}", "{type: news, language: xx}"),
        14,
        "unknown language 'xx'",
    ),
    "a yes that is none": (
        changed("  description: Tests\n", "  good: maybe\n  description: Tests\n"),
        2,
        "good: Input should be a valid boolean",
    ),
    "a list where fields should be": (
        changed("{path_on_server: test/bo}", "[a]"),
        15,
        "source must have fields",
    ),
    "no voice at all": (changed("{piper: joe}", "{}"), 9, "engine_voices"),
    "an empty voice": (changed("{piper: joe}", "{piper: ''}"), 9, "engine_voices.piper"),
    "a field given twice": (
        changed("  language: en\n", "  language: en\n  language: fr\n"),
        4,
        "'language' is given twice",
    ),
    "a sound of freesound.org without its credit": (
        changed("{path_on_server: test/bo}", "{source_type: freesound, path_on_server: test/bo}"),
        15,
        "needs its url and sound_instance",
    ),
    "a credit that lacks something": (
        changed(
            "{path_on_server: test/bo}",
            "{path_on_server: test/bo, sound_instance: {id: 7, name: a, username: b}}",
        ),
        15,
        "'source.sound_instance.license' is missing",
    ),
    "a credit with a field that does not exist": (
        changed("{path_on_server: test/bo}", "{path_on_server: test/bo, sound_instance: {ident: 7}}"),
        15,
        "unknown field 'source.sound_instance.ident'; there are: id, name, username, license",
    ),
    "two of one name": (changed("name: Bo", "name: ADA"), 11, "'ada' already means 'Ada'"),
    "an alias that is another's path": (changed("[alloy]", "[test/bo]"), 11, "'test/bo' already means 'Ada'"),
    "a bracket left open": (changed("[alloy]", "[alloy"), 11, "not valid YAML"),
    "a tab": (changed("  language: en", "\tlanguage: en"), 3, "not valid YAML"),
    "a character that cannot be": (changed("Tests too", "Te\x07sts"), 12, "not valid YAML"),
    "two documents": (GOOD + "---\n- name: Cy\n", 17, "not valid YAML"),
    "a word": ("hello", 1, "must be a list of characters"),
    "a mapping": ("name: Ada", 1, "must be a list of characters"),
    "an empty list": ("[]", 1, "must be a list of characters"),
    "a list of words": ("- Ada\n- Bo\n", 1, "a character must have fields"),
    "nothing": ("# nothing\n", 1, "the file is empty"),
    "a list that holds itself": ("- &a [*a]\n", 1, "not valid YAML"),
    "another encoding": (GOOD.encode().replace(b"Tests too", b"T\xe9st"), 12, "save it as UTF-8"),
}


@pytest.mark.parametrize(("text", "line", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_names_the_place(tmp_path, text, line, said):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        voices.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert said in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        voices.load(tmp_path / "nowhere.yaml")


def test_a_sound_of_freesound_is_listed_with_its_credit_as_unmute_lists_it(tmp_path):
    source = (
        "{source_type: freesound, path_on_server: unmute-prod-website/freesound/7_a.mp3, start_time: 3, "
        "url: 'https://freesound.org/people/b/sounds/7/', sound_instance: {id: 7, name: a.wav, username: b, "
        "license: 'https://creativecommons.org/licenses/by/4.0/'}}"
    )
    text = changed("  source:\n    path_on_server: test/ada\n", f"  source: {source}\n")
    first = listing(cast(voices.load(written(tmp_path, text)), using()))[0]
    assert first["source"] == {
        "source_type": "freesound",
        "path_on_server": "unmute-prod-website/freesound/7_a.mp3",
        "url": "https://freesound.org/people/b/sounds/7/",
        "start_time": 3,
        "sound_instance": {
            "id": 7, "name": "a.wav", "username": "b", "license": "https://creativecommons.org/licenses/by/4.0/",
        },
    }  # fmt: skip


# --- who can speak

FRENCH = "French is not among the languages of"

REASONS = {
    "its language and voice are there": (using(languages="en fr"), "Bo", ""),
    "null engines serve all": (using("null", "null", "null"), "Bo", ""),
    "the engines lack its language": (using(), "Bo", f"{FRENCH} stt (moonshine), llm (smollm2), tts (piper)"),
    "one engine lacks it": (using("null", "null"), "Bo", f"{FRENCH} tts (piper)"),
    "the engine has no voice for it": (
        using(tts="kyutai"),
        "Ada",
        "it has no voice for the tts engine kyutai",
    ),
}


@pytest.mark.parametrize(("settings", "name", "reason"), REASONS.values(), ids=REASONS)
def test_who_cannot_speak_is_told_why(tmp_path, settings, name, reason):
    roles = cast(voices.load(written(tmp_path, GOOD)), settings)
    assert next(role.unavailable for role in roles if role.character.name == name) == reason


def test_those_who_can_speak_come_first(tmp_path):
    roles = cast(voices.load(written(tmp_path, GOOD)), using(tts="kyutai", languages="en fr"))
    assert [role.character.name for role in roles] == ["Bo", "Ada"]


def mixing(*engines: str) -> Settings:
    """The null engines, but for speech several that share a worker."""
    options = {"engines": {engine: {} for engine in engines}}
    tts = EngineChoice(engine="mixed", slots=1, languages=("en", "fr"), options=options)
    return using("null", "null").model_copy(update={"tts": tts})


def test_where_engines_are_mixed_a_voice_is_all_wishes_in_the_character_s_order(tmp_path):
    roles = cast(voices.load(written(tmp_path, GOOD)), mixing("kyutai", "piper"))
    assert [role.voice for role in roles] == ["piper/joe", "piper/siwis,kyutai/bo.wav"]
    roles = cast(voices.load(written(tmp_path, GOOD)), mixing("kyutai", "kokoro"))
    assert {role.character.name: role.unavailable for role in roles} == {
        "Bo": "",
        "Ada": "it has no voice for the tts engine kyutai or kokoro",
    }


def test_by_default_one_character_wishes_for_kokoro_and_all_can_do_without():
    roles = cast(voices.load(FILE), settings.load("embedded"))
    wishes = [role.voice.split(",") for role in roles if not role.unavailable]
    assert sum(first.startswith("kokoro/") for first, *_ in wishes) == 1
    assert all(any(wish.startswith("piper/") for wish in all_of) for all_of in wishes)


# --- whom a client means

MEANT = {
    "nobody in particular": ("", "joe"),
    "a name": ("Ada", "joe"),
    "a name in another case": ("aDA", "joe"),
    "a path": ("test/ada", "joe"),
    "an alias": ("alloy", "joe"),
}


@pytest.mark.parametrize(("wanted", "voice"), MEANT.values(), ids=MEANT)
def test_a_voice_is_found_by(tmp_path, wanted, voice):
    assert speaker(cast(voices.load(written(tmp_path, GOOD)), using()), wanted) == voice


REFUSED = {
    "an unknown one": ("Zoe", "voice_not_found", "there is no voice 'Zoe'; voices: Ada"),
    "the engine's own name": ("joe", "voice_not_found", "there is no voice 'joe'"),
    "an unavailable one": ("bo", "voice_unavailable", "Bo is not available: French is not"),
    "an endless one": ("x" * 10_000, "voice_not_found", f"there is no voice '{'x' * 60}'; voices: Ada"),
}


@pytest.mark.parametrize(("wanted", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_a_voice_is_refused_with_those_there_are(tmp_path, wanted, code, said):
    with pytest.raises(ClientError) as caught:
        find(cast(voices.load(written(tmp_path, GOOD)), using()), wanted, param="session.audio.output.voice")
    assert caught.value.wire_code == code
    assert str(caught.value).startswith(said)
    assert caught.value.param == "session.audio.output.voice"


def test_when_nobody_can_speak_none_is_offered(tmp_path):
    with pytest.raises(ClientError, match="voices: none"):
        find(cast(voices.load(written(tmp_path, GOOD)), using(languages="de")), "")


def test_a_character_that_is_not_good_is_found_but_not_listed(tmp_path):
    text = changed("  description: Tests\n", "  good: no\n  description: Tests\n")
    roles = cast(voices.load(written(tmp_path, text)), using())
    assert [entry["name"] for entry in listing(roles)] == ["Bo"]
    assert speaker(roles, "Ada") == "joe"
    with pytest.raises(ClientError):
        find(roles, "")


# --- our own


class _Instructions(BaseModel):
    type: str
    language: Literal["en", "fr", "en/fr", "fr/en"] | None = None


class _Source(BaseModel):
    source_type: Literal["file"]
    path_on_server: str
    description: str | None = None
    description_link: str | None = None


class _Entry(BaseModel, extra="forbid"):
    """The fields that Unmute's load tester knows of a voice."""

    name: str | None = None
    comment: str | None = None
    good: bool | None = None
    instructions: _Instructions | None = None
    source: _Source


def test_our_characters_fit_the_embedded_engines_but_for_one():
    roles = cast(voices.load(FILE), using())
    assert len(roles) >= 8
    assert [role.character.name for role in roles if role.unavailable] == ["Odile"]
    assert {role.character.instructions.type for role in roles} >= {
        "constant", "smalltalk", "guess_animal", "quiz_show", "unmute_explanation"
    }  # fmt: skip


@pytest.mark.parametrize("engine", ["null", "piper", "kokoro", "kyutai"])
def test_every_character_has_a_voice_of_every_engine_that_knows_its_language(engine):
    roles = cast(voices.load(FILE), using("null", "null", engine, "en" if engine == "piper" else "en fr"))
    assert [role.character.name for role in roles if role.unavailable] == (
        ["Odile"] if engine == "piper" else []
    )


def test_the_list_is_what_unmutes_clients_expect():
    entries = listing(cast(voices.load(FILE), using()))
    for entry in entries[:-1]:
        _Entry.model_validate(entry)
    assert entries[-1]["available"] is False
    assert entries[-1]["unavailable_reason"].startswith("French is not among")


def test_the_list_is_served(server):
    code = "from web.app import app; print(app.test_client().get('/v1/voices').get_data(as_text=True))"
    environment = {
        **os.environ,
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": server.url(0),
        "ANTIPHON_MEDIA_URL": server.url(1),
    }
    ran = subprocess.run(
        [sys.executable, "-c", code],
        check=False, cwd=FILE.parent, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    names = [entry["name"] for entry in json.loads(ran.stdout)]
    assert names == [character.name for character in voices.load(FILE)]
