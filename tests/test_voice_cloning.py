"""The whole way, by real processes and the fake encoder: a recording becomes a voice, a session speaks with it."""

import asyncio
import json
import re

import httpx
import pytest
import redis

from config.redis_keys import custom_voice, voice_upload
from config.voice_messages import CUSTOM_PREFIX
from tests import speech
from tests.conftest import missing
from tests.house import House, open_house, wait_for
from tests.talker import REPLY, Talker
from tests.unmute_page import visiting
from tests.voice_files import encoded, talk

pytestmark = [pytest.mark.server, pytest.mark.model]

#: A cloned voice's life here, longer than any of these tests.
KEEP_S = 90


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    env = {"ANTIPHON_VOICES__ENCODER": "null", "ANTIPHON_VOICES__KEEP_S": str(KEEP_S)}
    with open_house(tmp_path_factory.mktemp("house"), workers=1, env=env) as house:
        house.workers["voices"] = []
        child = house.start_worker("voices")
        wait_for(lambda: house.health().get("voice_cloning_up", False), "voices to be cloned", child)
        yield house


def send(house: House, data: bytes) -> httpx.Response:
    url = f"http://127.0.0.1:{house.port}/v1/voices"
    return httpx.post(url, files={"file": ("me.wav", data, "audio/wav")}, timeout=30)


def cloned(house: House) -> str:
    answer = send(house, encoded(talk(9)))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["name"])


def media(house: House) -> redis.Redis:
    return house.media.server.client(0)


def test_a_page_of_unmutes_speaks_with_a_cloned_voice(house):
    voice = cloned(house)

    async def conversation():
        async with visiting(house.url) as page:
            await page.configure(voice=voice)
            await page.until("response.audio.done")
            return page.of("response.created")[0]["response"]["voice"], page.samples_heard, page.of("error")

    spoken, samples, errors = asyncio.run(conversation())
    assert (spoken, errors) == (voice, [])
    assert samples > 24_000


def talker(house: House, voice: str) -> Talker:
    session = {"audio": {"output": {"voice": voice}, "input": {"turn_detection": None}}}
    return Talker(house.url, session=session)


def test_a_session_speaks_with_a_cloned_voice_which_then_lives_longer(house):
    voice = cloned(house)
    assert voice.startswith(CUSTOM_PREFIX)
    key = custom_voice(voice.removeprefix(CUSTOM_PREFIX))

    async def conversation():
        async with talker(house, voice) as user:
            updated = await user.until("session.updated")
            assert updated.event["session"]["audio"]["output"]["voice"] == voice
            with media(house) as client:
                client.expire(key, 20)
            await user.send("response.create")
            answer = await user.answered(1)
            with media(house) as client:
                assert client.ttl(key) > 20, "who speaks with a voice keeps it"
            return answer, user.errors, user.complaints

    answer, errors, complaints = asyncio.run(conversation())
    assert (answer.status, answer.transcript.strip()) == (["completed"], REPLY)
    assert answer.samples > 24_000
    assert not errors and not complaints
    with media(house) as client:
        assert not list(client.scan_iter(voice_upload("*"))), "the recording is gone"
        assert len(client.get(key)) < 1000, "and only what the encoder made of it was kept"


def test_a_voice_that_expired_before_a_session_is_not_found(house):
    voice = cloned(house)
    with media(house) as client:
        client.delete(custom_voice(voice.removeprefix(CUSTOM_PREFIX)))
    assert refusal(house, voice) == ("voice_not_found", "session.audio.output.voice")


@pytest.mark.parametrize(
    "name", ["custom:", "custom:nobody", "custom:*", f"custom:{'0' * 8}-0000-0000-0000-{'0' * 12}"]
)
def test_a_voice_that_never_was_is_not_found(house, name):
    assert refusal(house, name) == ("voice_not_found", "session.audio.output.voice")


def refusal(house, voice):
    async def conversation():
        async with Talker(house.url) as user:
            await user.send(
                "session.update",
                session=json.loads(json.dumps({"type": "realtime", "audio": {"output": {"voice": voice}}})),
            )
            error = (await user.until("error")).event["error"]
            assert "expired or is unknown" in error["message"]
            return error["code"], error["param"]

    return asyncio.run(conversation())


def test_a_voice_that_expires_in_a_session_fails_the_reply_and_says_so(house):
    voice = cloned(house)

    async def conversation():
        async with talker(house, voice) as user:
            with media(house) as client:
                client.delete(custom_voice(voice.removeprefix(CUSTOM_PREFIX)))
            await user.send("response.create")
            answer = await user.answered(1)
            return answer, user.errors

    answer, errors = asyncio.run(conversation())
    assert answer.status == ["failed"]
    assert "expired" in errors[0]["message"]


def test_a_session_whose_voice_expired_can_be_resumed(house):
    voice = cloned(house)

    async def conversation():
        async with talker(house, voice) as user:
            with media(house) as client:
                client.delete(custom_voice(voice.removeprefix(CUSTOM_PREFIX)))
            user._socket.transport.abort()
            await user.until("session.created", count=2)
            await user.send("response.create")
            await user.answered(1)
            return user.closes, user.errors

    closes, errors = asyncio.run(conversation())
    assert 1008 not in closes
    assert "expired" in errors[0]["message"]


def test_a_recording_that_is_unfit_is_refused_in_words(house):
    answer = send(house, encoded(talk(2)))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "voice_sample_unusable" and error["param"] == "file"
    assert "record at least 3 s" in error["message"]


def test_a_file_that_is_torn_is_refused_in_words(house):
    answer = send(house, encoded(talk(5), "ogg with opus")[:300])
    assert answer.status_code == 400
    assert "cannot be decoded" in answer.json()["error"]["message"]


def test_a_large_file_is_refused(house):
    assert send(house, encoded(talk(9)) + bytes(5 << 20)).status_code == 413


def test_nothing_of_a_recording_is_logged(house):
    voice = cloned(house)
    said = house.said()
    assert voice not in said and "me.wav" not in said


def test_cloned_voices_are_counted_by_what_became_of_them(house):
    submitted = house.metric("worker_voice_donation_submissions_total")
    (worker,) = house.workers["voices"]

    def made() -> float:
        page = house.get("/metrics", worker.metrics_port)
        found = re.search(r'antiphon_voices_cloned_total{outcome="made"} (\S+)', page)
        return float(found[1]) if found else 0.0

    before = made()
    cloned(house)
    assert made() == before + 1
    assert house.metric("worker_voice_donation_submissions_total") == submitted, "nobody gave it away"
    wait_for(lambda: house.metric("antiphon_workers", stage="voices") == 1, "the encoder to be seen")


def test_while_no_worker_clones_it_is_away_and_the_talks_go_on(house):
    (child,) = house.workers["voices"]
    child.drain()
    answer = send(house, encoded(talk(5)))
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "voice_cloning_unavailable"
    assert house.health()["ok"]
