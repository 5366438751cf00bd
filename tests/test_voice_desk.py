"""The worker's desk for recordings, on a real server that misbehaves."""

import pytest
import redis

from config import redis_keys as keys
from config.settings import load
from tasks import recordings
from tasks.voices import Desk
from tests import speech
from tests.conftest import missing
from tests.voice_files import encoded, talk

#: No other test uses it: what is kept there is spoilt.
DATABASE = 7


@pytest.fixture
def desk(server, monkeypatch):
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    monkeypatch.setenv("ANTIPHON_VOICES__ENCODER", "null")
    load.cache_clear()
    settings = load("null")
    load.cache_clear()
    with server.client(DATABASE) as client:
        desk = Desk(settings, "me", client, client, {})
        desk.open()
        yield desk
        desk.close()


@pytest.mark.server
@pytest.mark.model
def test_a_voice_that_cannot_be_kept_does_not_pass_for_an_encoder_that_hangs(desk):
    recordings.offer_recording(desk._media, "one", encoded(talk(5)))
    desk._media.set(keys.custom_voices(), "no list of voices")
    with pytest.raises(redis.RedisError):
        desk.clone("one")
    assert desk._encoder is not None and not desk._since, "or the worker would end, and its talks with it"
