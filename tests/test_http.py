"""HTTP of a running server: every operation of its OpenAPI document is called and answers as the document says."""

import asyncio
import http.client
import io
import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import pytest
from openai import NotFoundError, OpenAI
from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_core.validation.response.exceptions import InvalidData
from websockets.sync.client import connect

from config.redis_keys import VOICES, custom_voices, voice_upload
from config.voice_messages import CUSTOM_PREFIX, CustomVoice, VoiceMade
from tasks import beats, recordings
from tests import fair_clock
from tests.house import House, open_house, wait_for
from tests.talker import REPLY, Talker
from web.operations import OPERATIONS, written

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: For a machine under load.
DEADLINE_S = 30.0

#: What a recording begins with; nobody here listens to the rest.
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100)

#: Engines that take no time: what is tested is what is told of them.
QUICK = {
    "ANTIPHON_LLM__OPTIONS": '{"first_word_s": 0.02, "word_interval_s": 0.005}',
    "ANTIPHON_TTS__OPTIONS": '{"first_audio_after_s": 0.02, "word_audio_s": 0.08}',
    "ANTIPHON_VOICES__ENCODER": "null",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("http")
    env = {**QUICK, "ANTIPHON_DONATION__DIR": str(folder / "donations")}
    with open_house(folder, workers=1, env=env) as house:
        yield house


@pytest.fixture(scope="module")
def encoder(house: House) -> Iterator[None]:
    """Somebody who makes a voice of any recording, without listening to it."""
    over = threading.Event()

    def serve() -> None:
        with house.state.server.client(0) as state, house.media.server.client(0) as media:
            while not over.wait(0.02):
                beats.beat(state, VOICES, "encoder", {"free": 1, "missing": ""}, 30.0)
                for key in media.scan_iter(voice_upload("*")):
                    upload = key.decode().rpartition(":")[2]
                    if recordings.take_recording(media, upload) is not None:
                        recordings.answer_recording(media, upload, VoiceMade(kept_voice(house)))
            beats.retire(state, VOICES, "encoder")

    serving = threading.Thread(target=serve)
    serving.start()
    yield
    over.set()
    serving.join()


def kept_voice(house: House, owner: str = "") -> str:
    """A cloned voice, as an encoder leaves it; its name."""
    voice = str(uuid.uuid4())
    with house.media.server.client(0) as media:
        assert recordings.keep_voice(media, voice, CustomVoice("null", b"data"), 60, 1000)
        if owner:
            recordings.own_voice(media, voice, owner, 60)
    return CUSTOM_PREFIX + voice


@dataclass(frozen=True)
class Talk:
    """A conversation that is over."""

    session_id: str
    token: str


def created(socket: Any) -> Talk:
    session = json.loads(socket.recv(DEADLINE_S))["session"]
    return Talk(session["id"], session["antiphon"]["resume_token"])


def typed(house: House, *texts: str) -> Talk:
    """A conversation in writing."""
    with connect(f"{house.url}?model=antiphon", open_timeout=DEADLINE_S) as socket:
        talk = created(socket)
        for text in texts:
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "user", "content": content}
            socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
            socket.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
            while json.loads(socket.recv(DEADLINE_S))["type"] != "response.done":
                pass
        return talk


@pytest.fixture(scope="module")
def talk(house: House) -> Talk:
    return typed(house, "Hello.", "And who are you?")


# --- each operation as its schema says


def strict() -> dict[str, Any]:
    """The document, in which a field that it does not name is a mistake."""
    document = deepcopy(json.loads(written()))
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document


#: Subtitles are text, which openapi-core need not know.
READS = Config(extra_media_type_deserializers={"application/x-subrip": lambda sent, **_: sent.decode()})


@cache
def document() -> OpenAPI:
    """It judges answers."""
    return OpenAPI.from_dict(strict(), config=READS)  # type: ignore[arg-type]


Call = Callable[[httpx.Client, House, Talk], httpx.Response]


def transcript(client: httpx.Client, talk: Talk, query: str = "", **headers: str) -> httpx.Response:
    shown = {"Authorization": f"Bearer {talk.token}", **headers}
    return client.get(f"/v1/sessions/{talk.session_id}/transcript{query}", headers=shown)


def donate(client: httpx.Client) -> httpx.Response:
    text = client.get("/v1/voice-donation").json()
    given = {"email": "a@example.org", "nickname": "a", "verification_id": text["id"]}
    files = {"file": ("me.wav", io.BytesIO(WAV + bytes(200_000)), "audio/wav")}
    return client.post("/v1/voice-donation", files=files, data={"metadata": json.dumps(given)})


def upload(client: httpx.Client, data: bytes, field: str = "file", to: str = "/v1/voices") -> httpx.Response:
    return client.post(to, files={field: ("me.wav", io.BytesIO(data), "audio/wav")})


#: The operation, the status of its answer, and how to get that.
CALLS: list[tuple[str, int, Call]] = [
    ("getHealth", 200, lambda client, house, talk: client.get("/v1/health")),
    ("listVoices", 200, lambda client, house, talk: client.get("/v1/voices")),
    ("cloneVoice", 200, lambda client, house, talk: upload(client, WAV)),
    ("cloneVoice", 400, lambda client, house, talk: upload(client, WAV, field="voice")),
    (
        "cloneVoice",
        411,
        lambda client, house, talk: client.post("/v1/voices", content=iter([b"by", b"the way"])),
    ),
    ("cloneVoice", 415, lambda client, house, talk: upload(client, b"<html>")),
    ("deleteVoice", 200, lambda client, house, talk: client.delete(f"/v1/voices/{kept_voice(house)}")),
    ("deleteVoice", 404, lambda client, house, talk: client.delete("/v1/voices/custom:nobody")),
    ("beginDonation", 200, lambda client, house, talk: client.get("/v1/voice-donation")),
    ("donateVoice", 200, lambda client, house, talk: donate(client)),
    ("donateVoice", 400, lambda client, house, talk: upload(client, WAV, to="/v1/voice-donation")),
    ("donateVoice", 411, lambda client, house, talk: client.post("/v1/voice-donation", content=iter([b"x"]))),
    (
        "createClientSecret",
        200,
        lambda client, house, talk: client.post("/v1/realtime/client_secrets", json={}),
    ),
    (
        "createClientSecret",
        400,
        lambda client, house, talk: client.post(
            "/v1/realtime/client_secrets", json={"expires_after": {"seconds": 1}}
        ),
    ),
    ("listModels", 200, lambda client, house, talk: client.get("/v1/models")),
    ("getModel", 200, lambda client, house, talk: client.get("/v1/models/antiphon")),
    ("getModel", 404, lambda client, house, talk: client.get("/v1/models/someone")),
    ("getTranscript", 200, lambda client, house, talk: transcript(client, talk)),
    ("getTranscript", 200, lambda client, house, talk: transcript(client, talk, "?format=srt")),
    ("getTranscript", 200, lambda client, house, talk: transcript(client, talk, "?format=text")),
    ("getTranscript", 400, lambda client, house, talk: transcript(client, talk, "?format=doc")),
    ("getTranscript", 403, lambda client, house, talk: transcript(client, Talk(talk.session_id, "x.y"))),
    ("getScale", 200, lambda client, house, talk: client.get("/v1/scale")),
    ("getDocument", 200, lambda client, house, talk: client.get("/v1/openapi.json")),
    ("getMetrics", 200, lambda client, house, talk: client.get("/metrics")),
]

#: A WebSocket: what travels there other tests hold.
NOT_PLAIN = {"converse"}


@pytest.fixture
def client(house: House) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{house.port}", timeout=DEADLINE_S) as client:
        yield client


def judged(name: str, answer: httpx.Response) -> None:
    """Raises where an answer is not as the document says."""
    (operation,) = (operation for operation in OPERATIONS if operation.name == name)
    asked = MockRequest(
        str(answer.request.url.copy_with(path="/", query=None)).rstrip("/"),
        answer.request.method,
        answer.request.url.path,
        args=dict(answer.request.url.params),
        headers=dict(answer.request.headers),
    )
    document().validate_response(
        asked,
        MockResponse(
            answer.content, answer.status_code, dict(answer.headers), answer.headers["Content-Type"].partition(";")[0]
        ),
    )  # fmt: skip
    described = json.loads(written())["paths"][operation.path][operation.method.lower()]["responses"]
    assert str(answer.status_code) in described, "its status is not described"


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize(
    ("name", "status", "call"), CALLS, ids=[f"{name} {status}" for name, status, _ in CALLS]
)
def test_an_operation_answers_as_its_schema_says(name, status, call, client, house, talk):
    answer = call(client, house, talk)
    assert answer.status_code == status, answer.text
    judged(name, answer)


def test_every_operation_is_called():
    assert {name for name, _, _ in CALLS} == {operation.name for operation in OPERATIONS} - NOT_PLAIN


def test_an_answer_that_is_not_as_the_schema_says_is_noticed(client):
    answer = client.get("/v1/models/antiphon")
    wrong = httpx.Response(200, json={**answer.json(), "price": 1}, request=answer.request)
    with pytest.raises(InvalidData):
        judged("getModel", wrong)


def test_plain_http_where_conversations_are_held_is_told_so(client):
    answer = client.get("/v1/realtime?model=antiphon")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "websocket_mismatch")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Sec-WebSocket-Key": "abc"}, 400),
        ({"Sec-WebSocket-Version": "13"}, 400),
        ({"Sec-WebSocket-Key": "abc", "Sec-WebSocket-Version": "8"}, 426),
    ],
)
def test_a_handshake_that_is_none_is_told_so(headers, status, client):
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", **headers}
    answer = client.get("/v1/realtime?model=antiphon", headers=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "bad_handshake")
    assert answer.headers.get("Sec-WebSocket-Version", "13") == "13"


# --- health and models


def test_health_tells_of_each_service_its_slots_and_who_waits(client):
    told = client.get("/v1/health").json()
    assert [told[f"{name}_up"] for name in ("stt", "llm", "tts")] == [True] * 3
    assert told["redis"] == {"state": True, "media": True}
    slots = {stage: said["slots"] for stage, said in told["stages"].items()}
    assert set(slots) == {"stt", "llm", "tts"} and all(slots.values())
    assert told["queue"]["room"] > 0 and told["queue"]["waiting"] == 0
    assert told["queue"]["tasks"] == {"stt": 0, "llm": 0, "tts": 0}


def test_the_stock_client_lists_models_and_asks_for_one(house):
    stock = OpenAI(base_url=f"http://127.0.0.1:{house.port}/v1", api_key="none", max_retries=0)
    models = list(stock.models.list())
    assert [model.id for model in models] == ["antiphon", "null"]
    assert stock.models.retrieve("null").antiphon["stages"] == ["stt", "llm", "tts"]
    with pytest.raises(NotFoundError) as refused:
        stock.models.retrieve("someone/else")
    assert refused.value.code == "model_not_found"


# --- voices


@pytest.mark.usefixtures("encoder")
def test_a_voice_is_deleted_by_who_knows_its_name_and_is_no_more(house, client):
    name = upload(client, WAV).json()["name"]
    assert client.delete(f"/v1/voices/{name}").json() == {"id": name, "object": "voice", "deleted": True}
    assert client.delete(f"/v1/voices/{name}").status_code == 404
    with house.media.server.client(0) as media:
        assert not recordings.has_voice(media, name.removeprefix(CUSTOM_PREFIX))
        assert media.zscore(custom_voices(), name.removeprefix(CUSTOM_PREFIX)) is None


def test_a_voice_of_a_key_is_not_deleted_by_others_who_learn_nothing(house, client):
    name = kept_voice(house, owner="a-key")
    theirs, none = client.delete(f"/v1/voices/{name}"), client.delete(f"/v1/voices/custom:{uuid.uuid4()}")
    assert theirs.status_code == none.status_code == 404
    assert theirs.content == none.content
    with house.media.server.client(0) as media:
        assert recordings.has_voice(media, name.removeprefix(CUSTOM_PREFIX))


def test_a_large_recording_is_refused_before_it_is_sent(house, encoder):
    asking = http.client.HTTPConnection("127.0.0.1", house.port, timeout=DEADLINE_S)
    asking.putrequest("POST", "/v1/voices")
    asking.putheader("Content-Type", "multipart/form-data; boundary=x")
    asking.putheader("Content-Length", str(5 << 20))
    asking.endheaders()
    answer = asking.getresponse()
    assert (answer.status, json.load(answer)["error"]["code"]) == (413, "upload_too_big")
    asking.close()


# --- transcripts


def test_what_was_typed_and_answered_stands_in_the_transcript(client, talk):
    told = transcript(client, talk).json()
    said = [(entry["role"], entry["text"], entry["spoken"]) for entry in told["items"]]
    answer = ("assistant", REPLY, False)
    assert said == [("user", "Hello.", False), answer, ("user", "And who are you?", False), answer]
    assert (told["session_id"], told["closed"]) == (talk.session_id, True)
    times = [entry["start"] for entry in told["items"]]
    assert times == sorted(times)


def test_what_was_spoken_has_the_times_at_which_it_sounded(house, client):
    async def conversation() -> tuple[Talk, float]:
        async with Talker(house.url) as user:
            await asyncio.sleep(0.5)
            began_s = user.sent / 24_000
            user.speak(1.3)
            await user.answered(1)
            token = user.of("session.created")[0].event["session"]["antiphon"]["resume_token"]
            talk = Talk(f"sess_{user.sid}", token)
            told = await asyncio.to_thread(transcript, client, talk)
            assert not told.json()["closed"]
            return talk, began_s

    talk, began_s = asyncio.run(conversation())
    asked, answer = transcript(client, talk).json()["items"]
    assert (asked["text"], answer["text"]) == ("one two three", REPLY)
    assert asked["spoken"] and answer["spoken"]
    assert asked["start"] == pytest.approx(began_s, abs=0.3)
    assert asked["end"] - asked["start"] == pytest.approx(1.3, abs=0.3)
    assert answer["start"] >= asked["end"]
    assert answer["end"] - answer["start"] == pytest.approx(20 * 0.08, abs=0.6), "20 words of 80 ms"


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "*/*", "application/json"),
        ("", "text/html", "application/json"),
        ("", "application/x-subrip", "application/x-subrip"),
        ("", "text/plain;q=0.9, application/json;q=0.1", "text/plain"),
        ("?format=srt", "application/json", "application/x-subrip"),
        ("?format=json", "text/plain", "application/json"),
    ],
)
def test_the_query_wins_over_what_is_accepted(query, accept, kind, client, talk):
    answer = transcript(client, talk, query, Accept=accept)
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert answer.headers["Cache-Control"] == "no-store"


def test_subtitles_and_text_say_the_same(client, talk):
    text = transcript(client, talk, "?format=text").text.splitlines()
    assert text[0] == "User: Hello." and text[1] == f"Assistant: {REPLY}"
    subtitles = transcript(client, talk, "?format=srt").text
    assert [line for line in subtitles.splitlines() if line in text] == text


def test_the_token_may_stand_in_the_header_for_tokens_where_a_key_is_shown(client, talk):
    answer = transcript(
        client, talk, Authorization="Bearer sk-something", **{"X-Antiphon-Resume": talk.token}
    )
    assert answer.status_code == 200


def test_who_has_not_the_token_learns_nothing(client, house, talk):
    sid, secret = talk.token.split(".")
    other = typed(house)
    tokens = [
        "x",
        f"{sid}.",
        f"{sid}.{secret}x",
        f"nobody.{secret}",
        other.token,
        f"{other.token.split('.')[0]}.{secret}",
    ]
    answers = [transcript(client, Talk(talk.session_id, token)) for token in tokens]
    answers.append(client.get(f"/v1/sessions/{talk.session_id}/transcript"))
    answers.append(transcript(client, Talk("sess_nobody", talk.token)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(403, answers[0].content)}
    assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer in answers}) == 1


def test_a_session_in_which_nothing_was_said_has_an_empty_transcript(client, house):
    silent = typed(house)
    assert transcript(client, silent).json()["items"] == []
    assert transcript(client, silent, "?format=srt").content == b""


# --- a Redis that hangs. The last: until it is found again nobody here has a worker


@pytest.mark.parametrize("which", ["media", "state"])
def test_who_asks_how_things_are_is_answered_while_redis_hangs(house, client, which):
    box = getattr(house, which)
    box.process.send_signal(signal.SIGSTOP)
    try:
        for path in ("/v1/health", "/v1/models"):
            asked_s = fair_clock.now_s()
            answer = client.get(path)
            assert fair_clock.now_s() - asked_s < 2.0, path
            if path == "/v1/health":
                assert answer.status_code == 503 and not answer.json()["redis"][which]
        assert (answer.status_code == 503) == (which == "state")
        if which == "state":  # as the page asks why its conversation was refused
            asked_s = fair_clock.now_s()
            answer = client.post("/v1/realtime", headers={"X-Antiphon-Resume": f"{'0' * 32}.token"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "redis_away")
            assert fair_clock.now_s() - asked_s < 2.0
    finally:
        box.process.send_signal(signal.SIGCONT)
    wait_for(lambda: house.health().get("ok", False), "the house to be well again")
