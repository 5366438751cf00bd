"""Who is meant by the name of a cloned voice, and who runs where voices are cloned."""

from datetime import UTC, datetime
from random import Random

import pytest

from cli import programs
from config.engine_choice import EngineChoice, VoiceSettings
from config.errors import ClientError, ConfigError
from config.settings import load
from config.voice_messages import CUSTOM_PREFIX, CustomVoice
from config.voices import load as characters
from gpu_workers import loader
from gpu_workers.engine import VoiceOptions
from web.casting import play
from web.roles import cast, find, speaker

NAME = CUSTOM_PREFIX + "6f1c3f0e-8d4b-4a27-9a43-0d7f0a4f1f55"


@pytest.fixture(scope="module")
def roles():
    settings = load("null")
    return cast(characters(settings.voices_file), settings)


def test_a_cloned_voice_is_spoken_by_the_first_character(roles):
    assert speaker(roles, NAME, cloned=lambda _: True) == NAME
    assert find(roles, NAME, cloned=lambda _: True).character is find(roles, "").character


def test_a_page_of_unmutes_gets_a_part_with_a_cloned_voice(roles):
    part = play(
        roles, None, NAME, now=datetime(2026, 1, 1, tzinfo=UTC), dice=Random(1), cloned=lambda _: True
    )
    assert part.voice == NAME and part.prompt


def test_it_is_looked_up_by_its_id(roles):
    asked = []
    speaker(roles, NAME, cloned=lambda voice: not asked.append(voice))
    assert asked == [NAME.removeprefix(CUSTOM_PREFIX)]


@pytest.mark.parametrize(
    "name", [NAME + "0", NAME.upper(), "custom:", "custom:../1", "custom:*", NAME + "\n"]
)
def test_what_is_no_id_of_ours_is_not_looked_up(roles, name):
    def never(voice):
        raise AssertionError(voice)

    with pytest.raises(ClientError):
        speaker(roles, name, cloned=never)


def test_one_that_is_gone_is_not_found_in_the_field_that_named_it(roles):
    with pytest.raises(ClientError, match="expired or is unknown") as caught:
        speaker(roles, NAME, param="session.audio.output.voice", cloned=lambda _: False)
    assert (caught.value.wire_code, caught.value.param) == ("voice_not_found", "session.audio.output.voice")


@pytest.mark.model
def test_an_engine_that_clones_no_voices_says_so():
    engine = loader.load("tts", EngineChoice(engine="piper", slots=1), 1)
    with pytest.raises(ConfigError, match="cannot speak with cloned voices"):
        engine.open(0, VoiceOptions("joe", custom=CustomVoice("mimi", b"")))


def test_a_worker_for_voices_runs_only_where_an_encoder_is_named():
    settings = load("null")
    assert "voices" not in [program.name for program in programs.workers(settings, {}, "run")]
    cloning = settings.model_copy(update={"voices": VoiceSettings(encoder="null")})
    (worker,) = [program for program in programs.workers(cloning, {}, "run") if program.stage == "voices"]
    assert worker.command[worker.command.index("-Q") + 1] == "voices"
