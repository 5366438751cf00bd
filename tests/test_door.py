"""Who is let in: stock clients against a running server with keys and limits, and one without keys."""

import json
import socket
import urllib.request
import uuid
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import httpx
import openai
import psutil
import pytest
import redis
from click.testing import CliRunner
from openai import OpenAI
from websockets import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from cli.call import CallFailed
from cli.keys import add, remove
from cli.loadtest.runner import probe
from cli.main import main
from config import api_keys
from config import redis_keys as keys
from config.voice_messages import CustomVoice
from tasks import recordings
from tests.house import House, open_house, wait_for
from web.client_secrets import RECEIVE_S

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: Where an answer comes at once, on a machine under load.
DEADLINE_S = 10.0

#: Addresses of documentation, each of one test: their limits are their own.
ADDRESSES = iter(f"198.51.100.{number}" for number in range(1, 255))

FAST = {
    "ANTIPHON_LLM__OPTIONS": '{"first_word_s": 0.05, "word_interval_s": 0.01}',
    "ANTIPHON_TTS__OPTIONS": '{"first_audio_after_s": 0.05, "word_audio_s": 0.08}',
}

#: What the tests below run into.
LIMITS = {
    "ANTIPHON_AUTH__PROXIES": "127.0.0.1/32",
    "ANTIPHON_AUTH__ORIGINS": "https://app.example",
    "ANTIPHON_AUTH__ADDRESS_SESSIONS": "3",
    "ANTIPHON_AUTH__ADDRESS_STARTS_PER_MINUTE": "12",
    "ANTIPHON_AUTH__ADDRESS_REQUESTS_PER_MINUTE": "30",
    "ANTIPHON_AUTH__KEY_SESSIONS": "8",
    "ANTIPHON_LOG_LEVEL": "DEBUG",
}


class Keyed:
    """A house with keys. `secrets` are all that was ever sent to it."""

    def __init__(self, house: House, file: Path) -> None:
        self.house = house
        self.file = file
        self.secrets: list[str] = []
        self.key = self.new("tests")
        self.client = OpenAI(api_key=self.key, base_url=self.http, max_retries=0)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.house.port}/v1"

    def new(self, name: str, sessions: int | None = None) -> str:
        self.secrets.append(add(self.file, name, sessions))
        return self.secrets[-1]

    def ephemeral(self, **asked: Any) -> str:
        self.secrets.append(self.client.realtime.client_secrets.create(**asked).value)
        return self.secrets[-1]

    @contextmanager
    def dialled(
        self,
        key: str | None = None,
        *,
        offers: tuple[str, ...] = (),
        address: str = "",
        query: str = "",
        **headers: str,
    ) -> Iterator[ClientConnection]:
        """A WebSocket, by a header where a key is given; closed with 1000."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if address:
            sent["X-Forwarded-For"] = address
        with connect(
            f"{self.house.url}{query}", additional_headers=sent, compression=None,
            subprotocols=[Subprotocol(offer) for offer in offers] or None,
        ) as socket:  # fmt: skip
            yield socket

    def refused(self, *arguments: Any, **options: Any) -> tuple[int, dict[str, Any], Any]:
        """Status, error and headers of a handshake that comes to nothing."""
        with pytest.raises(InvalidStatus) as answered, self.dialled(*arguments, **options):
            pass
        answer = answered.value.response
        return answer.status_code, json.loads(answer.body or b"{}")["error"], answer.headers


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    file = folder / "api-keys"
    file.touch()
    env = {**FAST, **LIMITS, "ANTIPHON_AUTH__KEYS_FILE": str(file)}
    with open_house(folder, workers=1, env=env) as house:
        yield Keyed(house, file)


def event(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(socket.recv(timeout=DEADLINE_S))  # type: ignore[no-any-return]


def created(socket: ClientConnection) -> dict[str, Any]:
    said = event(socket)
    assert said["type"] == "session.created"
    return said["session"]  # type: ignore[no-any-return]


# --- keys


def test_a_key_opens_a_session_by_header_and_by_subprotocol_of_which_realtime_is_chosen(keyed: Keyed) -> None:
    with keyed.dialled(keyed.key, query="?model=x") as socket:
        created(socket)
        assert socket.subprotocol is None
    offers = ("realtime", f"openai-insecure-api-key.{keyed.key}", "openai-agents-sdk.0.17")
    with keyed.dialled(offers=offers) as socket:
        created(socket)
        assert socket.subprotocol == "realtime"


@pytest.mark.parametrize(
    ("key", "offers", "code"),
    [
        (None, (), "invalid_api_key"),
        (None, ("realtime",), "invalid_api_key"),
        ("ak_wrong", (), "invalid_api_key"),
        ("ek_wrong", (), "invalid_api_key"),
        ("", (), "invalid_api_key"),
        (None, ("realtime", "openai-insecure-api-key.ak_wrong"), "invalid_api_key"),
        ("k" * 5000, (), "invalid_api_key"),
    ],
)
def test_without_a_key_of_ours_there_is_no_upgrade(
    keyed: Keyed, key: str | None, offers: tuple[str, ...], code: str
) -> None:
    status, error, headers = keyed.refused(key, offers=offers)
    assert (status, error["code"], error["type"]) == (401, code, "invalid_request_error")
    assert headers["WWW-Authenticate"].startswith("Bearer")


def test_unmute_comes_in_with_a_key_where_it_is_asked_for_by_name(keyed: Keyed) -> None:
    with keyed.dialled(keyed.key, offers=("realtime",), query="?dialect=unmute") as socket:
        session = {"allow_recording": False, "instructions": {"type": "constant", "text": "Be kind."}}
        socket.send(json.dumps({"type": "session.update", "session": session}))
        assert event(socket)["type"] == "session.updated"


def test_the_sdk_gets_its_own_error_for_a_wrong_key(keyed: Keyed) -> None:
    wrong = OpenAI(api_key="ak_wrong", base_url=keyed.http, max_retries=0)
    with pytest.raises(openai.AuthenticationError) as refused:
        wrong.realtime.client_secrets.create()
    assert refused.value.code == "invalid_api_key"


def test_a_key_that_is_taken_back_is_refused_at_once_with_all_that_came_of_it(keyed: Keyed) -> None:
    key = keyed.new("leaver")
    leaver = OpenAI(api_key=key, base_url=keyed.http, max_retries=0)
    ephemeral = leaver.realtime.client_secrets.create().value
    with keyed.dialled(key) as socket:
        token = created(socket)["antiphon"]["resume_token"]
        remove(keyed.file, "leaver")
        assert keyed.refused(key)[0] == keyed.refused(ephemeral)[0] == 401
        assert keyed.refused(X_Antiphon_Resume=token)[0] == 401
        socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
        assert event(socket)["type"] == "input_audio_buffer.cleared", "what runs goes on"


def test_what_can_be_done_by_http_wants_a_key_but_for_whether_it_works(keyed: Keyed) -> None:
    def status(path: str, method: str = "GET", key: str = "") -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(f"{keyed.http}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    assert (status("/health"), status("/scale")) == (200, 200)
    assert "antiphon_sessions_refused_total" in keyed.house.get("/metrics")
    assert (status("/voices"), status("/voices", key=keyed.key)) == (401, 200)
    assert (status("/voices", "POST"), status("/voices", "POST", keyed.key)) == (401, 501)
    assert (status("/nothing"), status("/nothing", key=keyed.key)) == (401, 404)
    assert status("/realtime") == 401, "no upgrade was asked for"
    assert status("/realtime/client_secrets", "POST") == 401
    assert status("/voices", key=keyed.ephemeral()) == 403


# --- ephemeral keys


def test_a_transcript_wants_its_session_s_token_and_no_key(keyed: Keyed) -> None:
    with keyed.dialled(keyed.key) as socket:
        session = created(socket)
        path = f"{keyed.http}/sessions/{session['id']}/transcript"
        shown = {name: f"Bearer {secret}" for name, secret in (
            ("token", session["antiphon"]["resume_token"]), ("key", keyed.key),
        )}  # fmt: skip
        answers = {name: httpx.get(path, headers={"Authorization": said}) for name, said in shown.items()}
    assert (answers["token"].status_code, answers["token"].json()["items"]) == (200, [])
    assert (answers["key"].status_code, answers["key"].json()["error"]["code"]) == (403, "session_unknown")


def test_a_cloned_voice_is_deleted_with_the_key_that_made_it_alone(keyed: Keyed) -> None:
    voice, other = str(uuid.uuid4()), keyed.new("stranger")
    with keyed.house.media.server.client(0) as media:
        recordings.keep_voice(media, voice, CustomVoice("null", b""), 60, 100)
        recordings.own_voice(media, voice, "tests", 60)
    path = f"{keyed.http}/voices/custom:{voice}"
    shown = [{}, {"Authorization": f"Bearer {other}"}, {"Authorization": f"Bearer {keyed.key}"}]
    assert [httpx.delete(path, headers=headers).status_code for headers in shown] == [401, 404, 200]


def test_an_ephemeral_key_carries_a_session_that_is_there_before_it_is_created(keyed: Keyed) -> None:
    session: dict[str, Any] = {
        "type": "realtime", "model": "house", "instructions": "Speak of tea.",
        "audio": {"output": {"speed": 1.25}, "input": {"turn_detection": None}},
    }  # fmt: skip
    made = keyed.client.realtime.client_secrets.create(
        session=session,  # type: ignore[arg-type]
        expires_after={"anchor": "created_at", "seconds": 60},
    )
    keyed.secrets.append(made.value)
    assert made.value.startswith("ek_")
    assert made.session.type == "realtime"
    assert (made.session.instructions, made.session.object) == ("Speak of tea.", "realtime.session")
    for _ in range(2):
        with keyed.dialled(offers=("realtime", f"openai-insecure-api-key.{made.value}")) as socket:
            begun = created(socket)
            assert (begun["instructions"], begun["model"]) == ("Speak of tea.", "house")
            assert begun["audio"]["output"]["speed"] == 1.25
            assert begun["audio"]["input"]["turn_detection"] is None
            socket.send(
                '{"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}}'
            )
            updated = event(socket)["session"]
            assert (updated["instructions"], updated["output_modalities"]) == ("Speak of tea.", ["text"])


def test_an_expired_ephemeral_key_begins_nothing_and_ends_nothing(keyed: Keyed) -> None:
    key = keyed.ephemeral()
    with keyed.dialled(key) as socket:
        token = created(socket)["antiphon"]["resume_token"]
        with keyed.house.state.server.client(0) as state:
            name = keys.ephemeral_key(api_keys.digest(key))
            assert 0 < state.ttl(name) <= 600
            assert state.pexpire(name, 1)
            wait_for(lambda: not state.exists(name), "the key to expire")
        assert keyed.refused(key)[0] == 401
        socket.send('{"type": "input_audio_buffer.clear"}')
        assert event(socket)["type"] == "input_audio_buffer.cleared"
        socket.socket.shutdown(2)
    with keyed.dialled(key, X_Antiphon_Resume=token) as socket:
        assert created(socket)["antiphon"]["resumed"] is True


#: 128 bits.
TOOL_OF_LARGE_NUMBERS = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object", "maximum": 1 << 127},
}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "never"}}, "expires_after.anchor"),
        ({"session": {"audio": {"output": {"speed": 7}}}}, "session.audio.output.speed"),
        ({"session": {"audio": {"output": {"voice": "nobody"}}}}, "session.audio.output.voice"),
        ({"session": {"instructions": "x" * 200_000}}, "session"),
        ({"session": []}, "session"),
        ({"session": {"type": "realtime", "tools": [TOOL_OF_LARGE_NUMBERS]}}, "session"),
    ],
)
def test_an_ephemeral_key_is_not_made_for_what_could_not_begin(
    keyed: Keyed, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        keyed.client.post("/realtime/client_secrets", body=body, cast_to=object)
    assert refused.value.param == param


def test_who_begins_a_request_and_does_not_go_on_is_told_and_let_go(keyed: Keyed) -> None:
    begun = f"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keyed.key}\r\n"
    with socket_of(keyed.house) as raw:
        raw.sendall(f"{begun}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{".encode())
        raw.settimeout(RECEIVE_S + DEADLINE_S)
        assert raw.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_body_that_is_no_json_is_refused_as_such(keyed: Keyed) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        keyed.client.post("/realtime/client_secrets", content=b"{[" * 9, cast_to=object)
    assert refused.value.code == "invalid_json"


# --- going on


def test_a_session_goes_on_by_its_token_alone_and_nobody_learns_of_it_by_another(keyed: Keyed) -> None:
    with keyed.dialled(keyed.ephemeral()) as socket:
        session = created(socket)
        token = session["antiphon"]["resume_token"]
        socket.send('{"type": "input_audio_buffer.clear"}')
        event(socket)
        socket.socket.shutdown(2)
    sid = token.partition(".")[0]
    wrong = [f"{sid}.wrong", "unknown.wrong", f"{sid}", f"{sid}.", ".", "."]
    told = [keyed.refused(keyed.key, X_Antiphon_Resume=token) for token in wrong]
    told.append(keyed.refused(offers=("realtime", f"antiphon-resume.{sid}.wrong")))
    assert {status for status, _, _ in told} == {403}
    assert len({json.dumps(error) for _, error, _ in told}) == 1, "all are told the same"
    with keyed.dialled(offers=("realtime", f"antiphon-resume.{token}")) as socket:
        again = created(socket)
        assert (again["id"], again["antiphon"]["resumed"]) == (session["id"], True)


def test_a_token_in_the_url_is_none(keyed: Keyed) -> None:
    with keyed.dialled(keyed.key) as socket:
        token = created(socket)["antiphon"]["resume_token"]
        with keyed.dialled(keyed.key, query=f"?antiphon-resume={token}&resume={token}") as other:
            assert created(other)["antiphon"]["resumed"] is False


# --- origins


def test_pages_of_other_origins_are_refused_whatever_key_they_have(keyed: Keyed) -> None:
    status, error, _ = keyed.refused(keyed.key, Origin="https://evil.example")
    assert (status, error["code"]) == (403, "origin_not_allowed")
    for origin in ("https://app.example", f"http://127.0.0.1:{keyed.house.port}"):
        with keyed.dialled(keyed.key, Origin=origin) as socket:
            created(socket)


def test_a_page_that_is_allowed_may_ask_and_read_and_others_may_not(keyed: Keyed) -> None:
    def asked(origin: str, method: str = "OPTIONS") -> Any:
        headers = {"Origin": origin, "Authorization": f"Bearer {keyed.key}"}
        request = urllib.request.Request(f"{keyed.http}/voices", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.headers["Access-Control-Allow-Origin"]

    assert asked("https://app.example") == asked("https://app.example", "GET") == "https://app.example"
    with pytest.raises(HTTPError, match="403"):
        asked("https://evil.example")


# --- limits


def test_an_address_has_so_many_sessions_at_once(keyed: Keyed) -> None:
    address = next(ADDRESSES)
    with (
        keyed.dialled(keyed.key, address=address) as one,
        keyed.dialled(keyed.key, address=address),
        keyed.dialled(keyed.key, address=f"203.0.113.9, {address}"),
    ):
        status, error, headers = keyed.refused(keyed.key, address=address)
        assert (status, error["code"], error["type"]) == (429, "rate_limit_exceeded", "requests")
        assert int(headers["Retry-After"]) > 0
        with keyed.dialled(keyed.key, address=next(ADDRESSES)):
            pass
        one.close()
        wait_for(lambda: may_begin(keyed, address), "the place of the one that left")


def may_begin(keyed: Keyed, address: str, key: str = "") -> bool:
    try:
        with keyed.dialled(key or keyed.key, address=address):
            return True
    except InvalidStatus:
        return False


def test_a_key_has_so_many_sessions_at_once_from_wherever(keyed: Keyed) -> None:
    key = keyed.new("busy")
    sockets = []
    try:
        for _ in range(8):
            dialled = keyed.dialled(key)
            dialled.__enter__()
            sockets.append(dialled)
        assert keyed.refused(key)[0] == 429
        with keyed.dialled(keyed.key):
            pass
    finally:
        for dialled in sockets:
            dialled.__exit__(None, None, None)


def test_who_tries_keys_is_slowed_down(keyed: Keyed) -> None:
    address = next(ADDRESSES)
    statuses = [keyed.refused(f"ak_{number}", address=address)[0] for number in range(14)]
    assert statuses == [401] * 12 + [429] * 2
    status, error, headers = keyed.refused(keyed.key, address=address)
    assert (status, int(headers["Retry-After"])) == (429, 5)
    assert "your address may show 12 keys or tokens a minute that are wrong" in error["message"]


def test_who_guesses_tokens_of_transcripts_is_slowed_down_and_owners_elsewhere_are_not(keyed: Keyed) -> None:
    with keyed.dialled(keyed.key) as socket:
        session = created(socket)
        path = f"{keyed.http}/sessions/{session['id']}/transcript"
        token, address, other = session["antiphon"]["resume_token"], next(ADDRESSES), next(ADDRESSES)

        def asked(shown: str, address: str) -> httpx.Response:
            return httpx.get(path, headers={"X-Antiphon-Resume": shown, "X-Forwarded-For": address})

        assert asked(token, address).status_code == 200
        guessed = [asked(f"{token}x", address) for _ in range(13)]
        assert [answer.status_code for answer in guessed] == [403] * 12 + [429]
        assert int(guessed[-1].headers["Retry-After"]) > 0
        assert [asked(token, one).status_code for one in (address, other)] == [429, 200]


def test_requests_beyond_their_limit_are_told_when_to_come_again(keyed: Keyed) -> None:
    address = next(ADDRESSES)
    headers = {"Authorization": f"Bearer {keyed.key}", "X-Forwarded-For": address}
    asks = [
        ("GET", "voices"),
        ("POST", "voices"),
        ("GET", "voice-donation"),
        ("POST", "voice-donation"),
        ("GET", "models"),
    ]
    answers = [httpx.request(method, f"{keyed.http}/{path}", headers=headers) for method, path in asks * 7]
    over = [answer for answer in answers if answer.status_code == 429]
    assert 1 <= len(over) <= 5, "30 a minute, of which some may have come back"
    assert all(answer.status_code != 429 for answer in answers[:30])
    assert {int(answer.headers["Retry-After"]) for answer in over} <= {1, 2}
    assert "your address may make 30 requests a minute" in over[0].json()["error"]["message"]


def test_one_who_loses_conversations_on_purpose_has_no_more_of_them(keyed: Keyed) -> None:
    key = keyed.new("few", sessions=1)
    with keyed.dialled(key) as socket:
        token = created(socket)["antiphon"]["resume_token"]
        assert keyed.refused(key)[0] == 429
        socket.socket.shutdown(2)
    wait_for(lambda: keyed.house.holder("web", token.partition(".")[0]) is None, "the loss to be known")
    status, _, headers = keyed.refused(key)
    assert (status, int(headers["Retry-After"]) > 0) == (429, True), "it may come back"
    with keyed.dialled(X_Antiphon_Resume=token) as socket:
        assert created(socket)["antiphon"]["resumed"] is True
        assert keyed.refused(key)[0] == 429
    wait_for(lambda: may_begin(keyed, next(ADDRESSES), key), "its goodbye to be known")


# --- commands


def test_the_load_test_sends_its_key(keyed: Keyed) -> None:
    probe(keyed.house.url, "ga", keyed.key)
    with pytest.raises(CallFailed, match="refused with HTTP 401: send an API key"):
        probe(keyed.house.url, "ga")


def test_talk_says_why_it_was_refused_and_not_the_key(keyed: Keyed, tmp_path: Path) -> None:
    said = CliRunner().invoke(
        main,
        ["talk", "--in", str(speech(tmp_path)), "--url", keyed.house.url],
        env={"ANTIPHON_API_KEY": "ak_quite-wrong"},
    )
    assert said.exit_code == 2
    assert "HTTP 401 this API key is not, or not any more, one of this server's" in said.output
    assert "quite-wrong" not in said.output


def speech(folder: Path) -> Path:

    file = folder / "silence.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(24_000)
        out.writeframes(bytes(4800))
    return file


# --- logs


def test_no_key_stands_in_any_log_or_in_redis(keyed: Keyed) -> None:
    """Last of its module: with all that was sent before it, right and wrong, at the level DEBUG."""
    wrong = "ak_wrong-and-yet-not-to-be-read"
    keyed.refused(wrong)
    keyed.refused(offers=("realtime", f"openai-insecure-api-key.{wrong}"))
    for line in (
        f"Authorization Bearer {wrong}",
        f"Authorization : Bearer {wrong}",
        f"GET /?key={wrong} HTTP/9",
    ):
        with socket_of(keyed.house) as raw:
            raw.sendall(f"GET /v1/voices?key={wrong} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n".encode())
            assert raw.recv(4096).startswith(b"HTTP/1.1 400"), "which gunicorn logs"
    with keyed.dialled(offers=("realtime", f"openai-insecure-api-key.{keyed.ephemeral()}")) as socket:
        token = created(socket)["antiphon"]["resume_token"]
        said = "".join(log.read_text(errors="replace") for log in keyed.house.folder.glob("*.log"))
        assert "somebody was not let in: invalid_api_key" in said, "it does say that"
        assert "a request was refused that is no HTTP" in said
        said += keyed.house.get("/metrics") + "".join(command_lines(keyed.house))
        for box in (keyed.house.state, keyed.house.media):
            with box.server.client(0) as client:
                said += "".join(f"{name!r} {kept(client, name)!r}" for name in client.scan_iter("*"))
    assert api_keys.digest(keyed.secrets[-1]) in said, "its hash is"
    for secret in (*keyed.secrets, wrong, token.partition(".")[2]):
        assert secret not in said
        assert secret[3:] not in said


def socket_of(house: House) -> socket.socket:
    """To speak no HTTP over."""
    return socket.create_connection(("127.0.0.1", house.port), timeout=DEADLINE_S)


def command_lines(house: House) -> Iterator[str]:
    """Of all its processes, which everybody on a machine can read."""
    assert house.web is not None
    pids = [
        house.web_child(),
        house.web.pid,
        *(child.pid for group in house.workers.values() for child in group),
    ]
    for pid in pids:
        yield " ".join(psutil.Process(pid).cmdline())


def kept(client: redis.Redis, name: bytes) -> object:
    """All that stands under a name."""
    return {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"list": lambda name: client.lrange(name, 0, -1),
        b"zset": lambda name: client.zrange(name, 0, -1),
        b"stream": client.xrange,
        b"none": lambda name: None,
    }[client.type(name)](name)  # type: ignore[operator]
