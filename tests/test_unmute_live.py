"""A client written from Unmute's documentation against a running server: a talk, and all that goes with the dialect."""

import asyncio
import io
import itertools
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from config import redis_keys as keys
from tests.house import House, open_house, wait_for
from tests.unmute_page import RATE, UnmutePage, visiting

pytestmark = [pytest.mark.server, pytest.mark.slow]

HEADLINE = "Otters return to the old canal"

#: Two words of the null engine's.
WORDS_S = 0.9


@pytest.fixture(scope="module")
def news() -> Iterator[str]:
    """A server that answers as NewsAPI does, to who has the key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == "news-key"
            body = json.dumps(
                {"status": "ok", "articles": [{"title": HEADLINE, "source": {"name": "The Reed"}}]}
            )
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v2/top-headlines"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the house keeps recordings and donations."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, news: str, folder: Path) -> Iterator[House]:
    env = {
        "ANTIPHON_LLM__OPTIONS": '{"first_word_s": 0.02, "word_interval_s": 0.01}',
        "ANTIPHON_TTS__OPTIONS": '{"first_audio_after_s": 0.02, "word_audio_s": 0.12}',
        "ANTIPHON_TURN__ECHO_SETTLE_S": "0",
        "ANTIPHON_NEWS__URL": news,
        "ANTIPHON_NEWS__KEY": "news-key",
        "ANTIPHON_DONATION__DIR": str(folder / "donations"),
        "ANTIPHON_RECORD_DIR": str(folder / "recordings"),
        "ANTIPHON_RECORD_AUDIO": "true",
    }
    with open_house(tmp_path_factory.mktemp("unmute"), workers=1, env=env) as house:
        yield house


def visit(house: House, scene: Callable[[UnmutePage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with visiting(house.url) as page:
            await scene(page)

    asyncio.run(run())


def http(house: House, path: str) -> str:
    return f"http://127.0.0.1:{house.port}{path}"


def test_a_talk_of_three_turns_with_an_interruption(house: House) -> None:
    async def scene(page: UnmutePage) -> None:
        health = json.loads(await asyncio.to_thread(house.get, "/v1/health"))
        assert all(health[name] for name in ("ok", "stt_up", "llm_up", "tts_up"))
        voice = json.loads(await asyncio.to_thread(house.get, "/v1/voices"))[0]["source"]["path_on_server"]
        await asyncio.sleep(0.3)
        assert not page.heard, "nothing is said before the session is configured"
        await page.configure(voice=voice)
        assert (await page.until("session.updated"))["session"]["voice"] == voice
        await page.until("response.audio.done")  # the assistant speaks first
        first = page.of("response.text.done")[0]["text"]
        assert page.history == [("assistant", first)]

        page.speak(WORDS_S)
        await page.until("response.created", 2)
        await page.until("response.audio.delta", len(page.of("response.audio.delta")) + 6)
        page.speak(1.6)  # over the assistant
        await page.until("unmute.interrupted_by_vad")
        await page.until("response.created", 3)
        await page.until("response.audio.done", 2)

        assert [role for role, _ in page.history] == ["assistant", "user", "assistant", "user", "assistant"]
        assert page.history[2][1].endswith("—") and len(page.history[2][1]) < len(first)
        assert page.user_words.split() == [
            w for role, said in page.history if role == "user" for w in said.split()
        ]
        assert page.samples_heard > 2 * len(first.split()) * 0.1 * RATE
        assert not page.of("error")

    visit(house, scene)


def test_a_reply_is_told_in_the_order_that_the_load_tester_wants(house: House) -> None:
    async def scene(page: UnmutePage) -> None:
        await page.configure()
        await page.until("response.audio.done")
        kinds = [event["type"] for event in page.heard]
        order = [
            "session.updated", "response.created", "unmute.response.text.delta.ready", "response.text.delta",
            "response.audio.delta", "response.audio.done",
        ]  # fmt: skip
        assert [kind for kind in dict.fromkeys(kinds) if kind in order] == order
        last_sound = len(kinds) - kinds[::-1].index("response.audio.delta")
        assert kinds.index("response.text.done") < last_sound, "it is written long before it is heard"
        assert kinds.index("response.text.done") > kinds.index("unmute.response.text.delta.ready")
        assert kinds[-2:] == ["unmute.additional_outputs", "response.audio.done"]
        said = " ".join(event["delta"] for event in page.of("response.text.delta"))
        ready = "".join(event["delta"] for event in page.of("unmute.response.text.delta.ready"))
        assert said == ready == page.of("response.text.done")[0]["text"]

    visit(house, scene)


def test_who_debugs_is_shown_what_goes_on_every_second(house: House) -> None:
    async def scene(page: UnmutePage) -> None:
        await page.configure()
        await page.until("response.audio.done")
        page.speak(WORDS_S)
        await page.until("response.audio.done", 2)
        debug = [outputs["debug_dict"] for outputs in page.outputs]
        assert {shown["conversation_state"] for shown in debug} == {
            "bot_speaking",
            "waiting_for_user",
            "user_speaking",
        }
        times = [shown["last_receive_time"] for shown in debug]
        assert times == sorted(times) and times[-1] > times[0]
        sounding = [shown["tts_throughput"] for shown in debug if "tts_throughput" in shown]
        assert sounding and all(throughput["ratio"] > 0.5 for throughput in sounding)
        assert all(said["time_received"] >= said["time_received_yielded"] for said in sounding)
        assert set(debug[-1]["timing"]) == {"pause_detection", "to_first_token", "tts_audio"}
        assert 0 < debug[-1]["timing"]["pause_detection"] < 5
        assert {shown["connection"]["stt"] for shown in debug[1:]} == {"connected"}
        assert "connected" in {shown["connection"]["tts"] for shown in debug}
        assert all(0 <= shown["stt_pause_prediction"] <= 1 for shown in debug[1:])
        assert 0 <= debug[-1]["time_since_last_message"] < 5

    visit(house, scene)


def test_it_is_shown_while_nobody_speaks_too(house: House) -> None:
    async def scene(page: UnmutePage) -> None:
        await page.configure()
        await page.until("response.audio.done")
        shown = len(page.outputs)
        await page.until("unmute.additional_outputs", shown + 3)
        quiet = page.outputs[shown:]
        assert {outputs["debug_dict"]["conversation_state"] for outputs in quiet} == {"waiting_for_user"}
        times = [outputs["debug_dict"]["last_receive_time"] for outputs in quiet]
        assert all(0.9 < later - before < 1.5 for before, later in itertools.pairwise(times))

    visit(house, scene)


# --- its front end


#: Where Next.js serves a page that is being worked on; its backend is expected at another port of the same machine.
IN_DEVELOPMENT = "http://localhost:3000"


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/health", "GET"),
        ("/v1/voices", "GET"),
        ("/v1/voices", "POST"),
        ("/v1/voice-donation", "GET"),
        ("/v1/voice-donation", "POST"),
    ],
)
def test_a_front_end_at_another_port_may_ask_and_read_the_answer(
    house: House, path: str, method: str
) -> None:
    headers = {
        "Origin": IN_DEVELOPMENT,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-of-its-own",
    }
    may = httpx.options(http(house, path), headers=headers)
    assert may.is_success
    assert may.headers["Access-Control-Allow-Origin"] == IN_DEVELOPMENT
    assert method in may.headers["Access-Control-Allow-Methods"]
    assert may.headers["Access-Control-Allow-Headers"] == "content-type,x-of-its-own"
    said = httpx.request(method, http(house, path), headers={"Origin": IN_DEVELOPMENT})
    assert said.headers["Access-Control-Allow-Origin"] == IN_DEVELOPMENT, "of refusals, too"
    assert said.is_success is (method == "GET")
    foreign = httpx.options(http(house, path), headers={**headers, "Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in foreign.headers


def test_a_front_end_that_was_built_for_a_proxy_finds_all_behind_its_prefix(house: House) -> None:
    for path in ("/v1/health", "/v1/voices", "/v1/voice-donation"):
        assert httpx.get(http(house, f"/api{path}")).is_success
    for path in ("/metrics", "/v1/scale", "/v1/models"):
        assert httpx.get(http(house, f"/api{path}")).status_code == 404

    async def scene() -> None:
        async with visiting(house.url.replace("/v1/", "/api/v1/")) as page:
            await page.configure()
            await page.until("response.audio.done")

    asyncio.run(scene())


def test_a_second_visit_in_the_same_page_begins_anew(house: House) -> None:
    """It connects again without loading anew, and may send pages of its old stream first."""

    async def scene(page: UnmutePage) -> None:
        await page.configure()
        await page.until("response.audio.delta")

    visit(house, scene)

    async def again() -> None:
        async with visiting(house.url, stale=True) as page:
            await page.configure("quiz_show")
            await page.until("response.audio.done")
            assert page.samples_heard and not page.of("error")

    asyncio.run(again())


def test_what_does_not_fit_is_told_and_the_talk_goes_on(house: House) -> None:
    async def scene(page: UnmutePage) -> None:
        await page.configure(voice="custom:00000000-0000-4000-8000-000000000000")
        error = (await page.until("error"))["error"]
        assert (error["type"], error["details"]) == ("invalid_request_error", {"field": "session.voice"})
        assert "expired or is unknown" in error["message"]
        await page.send("response.create")
        assert "no event type" in (await page.until("error", 2))["error"]["message"]
        await page.send("unmute.input_audio_buffer.append_anonymized", number_of_samples=480)
        await page.configure()
        await page.until("response.audio.done")
        assert len(page.of("error")) == 2

    visit(house, scene)


def test_the_end_is_told_in_a_message_too(house: House) -> None:
    async def scene(page: UnmutePage) -> None:
        await page.configure()
        await page.until("session.updated")
        await page.send_bytes(b"\0")
        code, reason = await page.end()
        error = page.of("error")[-1]["error"]
        assert code == 1003
        assert (error["type"], error["message"]) == ("fatal", reason)
        assert page.heard[-1]["type"] == "error"

    visit(house, scene)


def test_news_are_told_to_who_shall_talk_about_them(house: House) -> None:
    with house.media.server.client(0) as media:
        wait_for(lambda: bool(media.keys(keys.headlines("*"))), "headlines", house.web)

    async def prompt() -> str:
        async with visiting(house.url) as page:
            await page.configure("news")
            created = await page.until("response.created")
            return str(created["response"]["chat_history"][0]["content"])

    assert f"- {HEADLINE} (The Reed)" in asyncio.run(prompt())


# --- recording


def recordings(folder: Path) -> list[str]:
    there = folder / "recordings"
    return sorted(path.name for path in there.iterdir()) if there.exists() else []


def test_recording_needs_two_consents_and_ends_with_the_first(house: House, folder: Path) -> None:
    async def scene(page: UnmutePage) -> None:
        await page.configure(allow_recording=True, antiphon={"record_audio": True})
        updated = await page.until("session.updated")
        assert updated["session"]["antiphon"]["record_audio"] is True
        sid = updated["session"]["id"].removeprefix("sess_")
        await page.until("response.audio.done")
        page.speak(WORDS_S)
        await page.until("response.audio.done", 2)
        await asyncio.to_thread(wait_for, lambda: len(recordings(folder)) == 2, "two files")
        sound, events = (folder / "recordings" / name for name in recordings(folder))
        assert (events.name, sound.suffix) == (f"{sid}.jsonl", ".ogg") and sound.name.startswith(f"{sid}.")
        pcm, rate = soundfile.read(io.BytesIO(sound.read_bytes()))
        assert rate == RATE and len(pcm) > RATE and abs(pcm).max() > 0.1
        header = json.loads(events.read_text().splitlines()[0])
        assert header["began_s"] > 1_700_000_000

        await page.configure(allow_recording=True)
        await page.until("session.updated", 2)
        await asyncio.to_thread(wait_for, lambda: recordings(folder) == [events.name], "the sound's end")
        await page.configure(allow_recording=False)
        await page.until("session.updated", 3)
        await asyncio.to_thread(wait_for, lambda: not recordings(folder), "the recording's end")
        page.speak(WORDS_S)
        await page.until("response.audio.done", 3)

    visit(house, scene)
    assert not recordings(folder)


# --- donations


def test_a_voice_is_given_away(house: House, folder: Path) -> None:
    text = httpx.get(http(house, "/v1/voice-donation")).json()
    assert set(text) == {"id", "text", "created_at_timetamp"}
    sound = io.BytesIO()
    soundfile.write(sound, [0.1, -0.1] * RATE * 3, RATE, format="WAV", subtype="PCM_16")
    metadata = {"email": "someone@example.org", "nickname": "Someone", "verification_id": text["id"]}

    def submit(**about: Any) -> httpx.Response:
        return httpx.post(
            http(house, "/v1/voice-donation"),
            files={"file": ("voice.wav", sound.getvalue(), "audio/wav")},
            data={"metadata": json.dumps({**metadata, **about})},
            timeout=20,
        )

    refused = submit(nickname="n" * 31)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "metadata.nickname")
    assert refused.json()["detail"] == refused.json()["error"]["message"]
    assert (submit().status_code, submit().status_code) == (200, 400)
    record = json.loads((folder / "donations" / f"{text['id']}.json").read_text())
    assert record["verification"]["text"] == text["text"]
    assert (folder / "donations" / record["file"]).read_bytes() == sound.getvalue()
    assert (
        "someone@example.org" not in house.said()
        and house.metric("worker_voice_donation_submissions_total") == 1
    )
