"""A GA client names a character: its prompt, voice and language are the session's if it said nothing else."""

import json
from datetime import UTC, datetime
from random import Random

import pytest

from config.errors import ClientError
from config.voices import load
from tests.ga_line import Line
from tests.papers import ROOT
from tests.test_voices import using
from web.casting import enact, play
from web.roles import cast

ROLES = cast(load(ROOT / "voices.yaml"), using())
TODAY = datetime(2026, 8, 2, 9, 30, tzinfo=UTC)


def refusal(line: Line, **session: object) -> ClientError:
    with pytest.raises(ClientError) as raised:
        line.send("session.update", session={"type": "realtime", **session})
    return raised.value


def name(line: Line, who: str | None) -> dict:
    return line.update(antiphon={"character": who})


def test_a_character_brings_its_prompt_its_voice_and_its_language():
    line = Line("antiphon")
    session = name(line, "Nora")
    assert session["antiphon"]["character"] == "Nora"
    assert (session["audio"]["output"]["voice"], session["instructions"]) == ("Nora", "")
    wishes = line.dialect.wishes
    assert (wishes.voice, wishes.instructions, wishes.language) == (
        "engine-Nora", "You are Nora. Speak Czech.", "cs",
    )  # fmt: skip


def test_what_the_client_says_itself_wins():
    line = Line("antiphon")
    audio = {"output": {"voice": "cedar"}, "input": {"transcription": {"language": "fr"}}}
    session = line.update(antiphon={"character": "Nora"}, instructions="Be brief.", audio=audio)
    assert session["audio"]["output"]["voice"] == "cedar"
    wishes = line.dialect.wishes
    assert (wishes.voice, wishes.instructions, wishes.language) == ("engine-cedar", "Be brief.", "fr")
    line.update(instructions="")
    assert line.dialect.wishes.instructions == "You are Nora. Speak fr."


def test_a_voice_that_was_chosen_stays_until_another_character_is_named():
    line = Line("antiphon")
    name(line, "Nora")
    line.update(audio={"output": {"voice": "cedar"}})
    assert name(line, "Nora")["audio"]["output"]["voice"] == "cedar"
    assert name(line, "Rufus")["audio"]["output"]["voice"] == "Rufus"


@pytest.mark.parametrize("nobody", [None, ""])
def test_a_character_can_be_taken_back(nobody):
    line = Line("antiphon")
    name(line, "Nora")
    assert not name(line, nobody)["antiphon"]["character"]
    assert (line.dialect.wishes.instructions, line.dialect.wishes.language) == ("", "en")


def test_an_unknown_character_changes_nothing():
    line = Line("antiphon")
    before = name(line, "Nora")
    error = refusal(line, antiphon={"character": "Nobody"}, instructions="Be brief.")
    assert (error.param, error.wire_code) == ("session.antiphon.character", "character_not_found")
    assert line.update() == before


def test_who_did_not_ask_for_extensions_is_told_how():
    line = Line()
    error = refusal(line, antiphon={"character": "Nora"})
    assert error.param == "session.antiphon.character" and "?extensions=antiphon" in str(error)
    assert line.update(antiphon={"character": None})["antiphon"]["character"] is None


def test_once_the_voice_was_heard_another_character_may_only_keep_it():
    line = Line("antiphon")
    name(line, "Nora")
    line.answer(1, "Yes.")
    name(line, "Nora")
    error = refusal(line, antiphon={"character": "Rufus"})
    assert (error.param, error.wire_code) == ("session.antiphon.character", "cannot_update_voice")
    line.update(antiphon={"character": "Rufus"}, audio={"output": {"voice": "Nora"}})
    wishes = line.dialect.wishes
    assert (wishes.voice, wishes.instructions) == ("engine-Nora", "You are Rufus. Speak Czech.")


def test_one_response_may_have_other_instructions_and_keeps_the_language():
    line = Line("antiphon")
    name(line, "Nora")
    (asked,) = line.send("response.create", response={"instructions": "Only count."})
    assert (asked.options.wishes.instructions, asked.options.wishes.language) == ("Only count.", "cs")
    (asked,) = line.send("response.create", response={"max_output_tokens": 9})
    assert asked.options.wishes.instructions == "You are Nora. Speak Czech."


def test_a_session_that_goes_on_keeps_its_prompt_word_by_word():
    line = Line("antiphon")
    name(line, "Nora")
    saved = json.loads(json.dumps(line.dialect.snapshot()))
    later = Line("antiphon")
    later.dialect._casting = lambda who, language: pytest.fail("it is cast already")
    later.dialect.restore(saved)
    assert later.dialect.wishes == line.dialect.wishes
    (created,) = later.hear(later.dialect.greeting(resumed=True, token="s.t"))
    assert created["session"]["antiphon"]["character"] == "Nora"
    name(later, "Nora")
    assert later.dialect.wishes == line.dialect.wishes


def test_a_session_of_an_earlier_version_goes_on_without():
    line = Line("antiphon")
    saved = line.dialect.snapshot()
    del saved["played"], saved["session"]["antiphon"]["character"]
    line.dialect.restore(saved)
    assert line.update()["antiphon"]["character"] is None


# --- what a character is


def part(who, language=""):
    return enact(ROLES, who, language, now=TODAY, dice=Random(1))


def test_a_character_is_told_what_unmutes_clients_have_it_told():
    for role in [role for role in ROLES if not role.unavailable]:
        who = role.character.name
        assert part(who) == play(ROLES, None, who, now=TODAY, dice=Random(1))


def test_a_language_that_a_prompt_can_name_is_spoken_and_another_is_the_characters():
    who = ROLES[0].character.name
    assert "Speak French." in part(who, "fr").prompt and part(who, "fr").language == "fr"
    assert "Speak Portuguese." in part(who, "pt-BR").prompt
    assert part(who, "tlh") == part(who)


@pytest.mark.parametrize("who", ["nobody at all", "custom:0b4c62f0-5f0e-4f2c-9a51-8a2d7d3f5f7e"])
def test_who_is_no_character_is_told_who_is(who):
    with pytest.raises(ClientError, match="there is no character") as raised:
        part(who)
    assert ROLES[0].character.name in str(raised.value)
    assert (raised.value.param, raised.value.wire_code) == (
        "session.antiphon.character",
        "character_not_found",
    )
