"""Turn-taking as a client sees it, over a whole stack with the null engines: mutes, replies ahead, silences."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets
from click.testing import CliRunner
from websockets.asyncio.client import connect

from cli.replay import replay
from tests.house import SLOW_LLM, SLOW_TTS, House, open_house
from tests.talker import REPLY, Heard, Talker

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: Shorter than the null engine's first word: a cough.
COUGH_S = 0.24

#: Two words.
WORDS_S = 0.9

#: The end of a turn is half sure: the wait is long enough to make the reply ahead, and to go on speaking.
HALF_SURE = {"p_end": 0.4}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the house records."""
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Iterator[House]:
    """Impatient with who is silent, hesitant about the end of a turn."""
    env = {
        "ANTIPHON_STT__OPTIONS": json.dumps(HALF_SURE),
        "ANTIPHON_TURN__USER_SILENCE_TIMEOUT_S": "0.4",
        "ANTIPHON_TURN__ECHO_SETTLE_S": "0",
        "ANTIPHON_TURN__GOODBYES": json.dumps({"en": "Well then, bye!"}),
        "ANTIPHON_RECORD_DIR": str(recordings),
    }
    with open_house(tmp_path_factory.mktemp("turns"), workers=1, env=env) as house:
        yield house


async def speaking(talker: Talker) -> None:
    """The user asks, and the answer sounds."""
    talker.speak(WORDS_S)
    await talker.until("response.output_audio.delta", count=5)


def test_a_cough_holds_the_reply_and_it_goes_on(house: House) -> None:
    async def scene() -> None:
        async with Talker(house.url, query="&extensions=antiphon") as talker:
            await speaking(talker)
            talker.speak(COUGH_S)
            muted = await talker.until("antiphon.output.muted")
            resumed = await talker.until("antiphon.output.resumed")
            answer = await talker.answered(1)
            assert answer.status == ["completed"], talker.story()
            assert answer.transcript == REPLY
            assert resumed.event["audio_end_ms"] <= muted.event["audio_end_ms"], (
                "a word is begun again, or none was cut"
            )
            between = talker.heard[talker.heard.index(muted) : talker.heard.index(resumed)]
            assert not [heard for heard in between if heard.kind == "response.output_audio.delta"], (
                talker.story()
            )
            assert resumed.at_s - muted.at_s < COUGH_S + 1.0
            assert not talker.complaints, talker.complaints

    asyncio.run(scene())


def test_a_stock_client_is_told_nothing_of_a_cough(house: House) -> None:
    async def scene() -> None:
        async with Talker(house.url) as talker:
            await speaking(talker)
            talker.speak(COUGH_S)
            answer = await talker.answered(1)
            assert answer.status == ["completed"], talker.story()
            assert len(talker.of("input_audio_buffer.speech_started")) == 1, talker.story()
            assert not [heard for heard in talker.heard if heard.kind.startswith("antiphon.")]

    asyncio.run(scene())


def test_words_end_the_reply_and_what_was_heard_is_kept(house: House) -> None:
    async def scene() -> None:
        async with Talker(house.url) as talker:
            await speaking(talker)
            talker.speak(WORDS_S)
            answer = await talker.answered(1)
            assert answer.status == ["cancelled"], talker.story()
            done = talker.of("response.done")[0].event["response"]
            heard = done["antiphon"]["heard"]
            assert heard and REPLY.startswith(heard) and heard != REPLY, heard
            assert done["status_details"]["reason"] == "turn_detected"
            truncated = await talker.until("conversation.item.truncated")
            assert 0 < truncated.event["audio_end_ms"] <= answer.samples / 24
            assert not talker.complaints, talker.complaints

    asyncio.run(scene())


def test_a_reply_made_ahead_comes_at_once_and_one_for_nothing_is_never_seen(house: House) -> None:
    async def scene() -> None:
        used, wasted = (
            house.metric("antiphon_preempted_total", outcome=outcome) for outcome in ("used", "wasted")
        )
        async with Talker(house.url) as talker:
            talker.speak(
                WORDS_S, 0.45, WORDS_S
            )  # long enough for a reply ahead, too short for the turn's end
            answer = await talker.answered(1)
            assert answer.transcript == REPLY
            assert len(talker.answers) == 1, talker.story()
            assert talker.user_texts == ["one two three four"], "one turn"
            assert house.metric("antiphon_preempted_total", outcome="wasted") == wasted + 1
            assert house.metric("antiphon_preempted_total", outcome="used") == used + 1
            stopped, sound = talker.of("input_audio_buffer.speech_stopped")[0], first_sound(talker)
            assert sound.at_s - stopped.at_s < SLOW_LLM["first_word_s"] + SLOW_TTS["first_audio_after_s"]
            assert not talker.complaints, talker.complaints

    asyncio.run(scene())


def first_sound(talker: Talker) -> Heard:
    return talker.of("response.output_audio.delta")[0]


def test_the_third_silence_is_goodbye_and_the_call_ends(house: House) -> None:
    async def scene() -> list[dict[str, object]]:
        events, heard_s = [], 0.0
        async with connect(house.url, subprotocols=["realtime"], compression=None) as socket:  # type: ignore[list-item]
            session = {"instructions": {"type": "constant", "text": "Be brief."}, "allow_recording": False}
            await socket.send(json.dumps({"type": "session.update", "session": session}))
            async with asyncio.timeout(30):
                with pytest.raises(websockets.ConnectionClosedOK) as ended:
                    while True:
                        events.append(json.loads(await socket.recv()))
                        if events[-1]["type"] == "response.audio.done":
                            heard_s = time.monotonic()
        assert ended.value.rcvd is not None and ended.value.rcvd.code == 1000
        assert time.monotonic() - heard_s > 0.9, "a player that buffers loses nothing of the goodbye"
        return events

    events = asyncio.run(scene())
    said = [event["text"] for event in events if event["type"] == "response.text.done"]
    assert said == [REPLY, REPLY, REPLY, "Well then, bye!"]
    history = next(event for event in reversed(events) if event["type"] == "unmute.additional_outputs")[
        "args"
    ]
    assert [line["content"] for line in history["chat_history"] if line["role"] == "user"] == ["..."] * 3  # type: ignore[index]


def test_a_recorded_session_replays_to_the_same_decisions(house: House, recordings: Path) -> None:
    async def scene() -> str:
        consent = {"antiphon": {"allow_recording": True}}
        async with Talker(house.url, session=consent) as talker:
            await speaking(talker)
            talker.speak(COUGH_S, 0.8, WORDS_S)
            await talker.answered(2)
            return talker.sid

    sid = asyncio.run(scene())
    done = CliRunner().invoke(replay, [str(recordings / f"{sid}.jsonl")])
    assert done.exit_code == 0, done.output
    assert "mute" in done.output.lower(), done.output


def test_without_consent_nothing_is_recorded(house: House, recordings: Path) -> None:
    async def scene() -> str:
        async with Talker(house.url) as talker:
            await speaking(talker)
            return talker.sid

    assert not (recordings / f"{asyncio.run(scene())}.jsonl").exists()
