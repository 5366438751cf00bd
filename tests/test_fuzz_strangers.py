"""Who knocks, with whatever in hand: headers, addresses, tokens and bodies at random. Nobody gets in by them, and
nothing breaks."""

import io
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import redis_keys as keys
from config.auth import AuthSettings
from config.errors import ClientError, SessionUnknown
from tests import wild
from tests.test_fuzz_events import ga
from web import client_secrets
from web.dialects.ga_events import SessionConfig
from web.handshake import Handshake, dialect_name, resume_token
from web.items import Item
from web.minutes import FORMATS, minutes
from web.upload_form import FormRules, receive, require_length
from web.visitor import Visitor, is_loopback, key_of, who
from web.waiting import digest, waiting

#: What a header may hold: WSGI gives bytes as Latin-1.
headers = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.sampled_from(
        [
            "Bearer ",
            "bearer x",
            "Basic eDp5",
            "http://localhost:8000",
            "https://[::1",
            "http://[::1]:x",
            "null",
            "//",
            "[",
            "]:1",
            "127.0.0.1",
            "::1%lo",
            "1.2.3.4:80",
            "[::ffff:127.0.0.1]:1",
            "localhost.",
            "a" * 300,
            "http://a:99999999999",
        ]
    ),
)
protocols = st.lists(
    st.one_of(
        headers,
        st.builds(
            str.__add__,
            st.sampled_from(["realtime", "antiphon-resume.", "openai-insecure-api-key."]),
            headers,
        ),
    ),
    max_size=4,
)
queries = st.dictionaries(
    st.sampled_from(["dialect", "model", "extensions", "x"]),
    st.one_of(headers, st.sampled_from(["ga", "unmute", "antiphon"])),
    max_size=3,
)


@given(query=queries, offered=protocols, authorized=st.booleans(), header=headers)
def test_a_handshake_has_a_dialect_or_is_refused(query, offered, authorized, header):
    handshake = Handshake(query, tuple(offered), authorized, header)
    try:
        assert dialect_name(handshake) in ("ga", "unmute")
    except ClientError as error:
        assert error.param == "dialect"
    assert handshake.extensions <= {"antiphon"}
    assert handshake.resume_token == resume_token(offered, header)


@given(authorization=headers, offered=protocols)
def test_a_key_is_what_came_with_a_request_or_nothing(authorization, offered):
    key = key_of(authorization, offered)
    assert not key or key in authorization or any(one.endswith(key) for one in offered)


@given(peer=headers, forwarded=headers, by_proxy=st.booleans(), host=headers, origin=headers)
def test_a_visitor_from_elsewhere_is_never_taken_for_one_of_this_machine(
    peer, forwarded, by_proxy, host, origin
):
    visitor = Visitor(peer, forwarded, by_proxy, host, origin)
    assert visitor.address(()) == (visitor.address(AuthSettings().proxies))
    assert not visitor.is_local() or (is_loopback(peer) and not by_proxy)
    visitor.is_same_origin()
    visitor.may_come_from(["http://localhost:8000"])
    assert who(peer).startswith("address/")


class OneSession:
    """Leases that know one session, begun with a secret."""

    def read(self, sid, fields):
        known = {keys.TOKEN: digest("secret").encode(), keys.STATE: b"state"}
        return [known.get(field) if sid == "here" else None for field in fields]


@given(token=st.one_of(headers, headers.map("here.{}".format), headers.map(".{}".format)))
def test_a_wrong_token_is_refused_in_the_same_words_whatever_it_is(token):
    with pytest.raises(SessionUnknown) as refused:
        waiting(OneSession(), token)  # type: ignore[arg-type]
    assert str(refused.value) == "there is no such session to resume; connect anew"


def test_the_right_token_is_not():
    assert waiting(OneSession(), "here.secret").sid == "here"  # type: ignore[arg-type]


bodies = st.one_of(
    wild.written(wild.bent(wild.fitting(client_secrets.ClientSecretAsked))).map(str.encode),
    wild.bent(wild.fitting(SessionConfig)).map(lambda session: json.dumps({"session": session}).encode()),
    st.binary(max_size=60),
)


@given(body=bodies)
def test_an_ephemeral_key_is_made_of_a_session_that_can_be_kept_or_refused(body):
    try:
        asked = client_secrets.read(body)
        shown = ga().preset(asked.session or {})
    except ClientError as error:
        assert str(error)
        return
    assert client_secrets.read(json.dumps({"session": asked.session}).encode()).session == asked.session
    assert shown["object"] in ("realtime.session", "realtime.transcription_session")


RULES = FormRules(2000, 1.0)

parts = st.builds(
    lambda name, filename, kind, data: (
        f'--x\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n{kind}\r\n'.encode()
        + data
        + b"\r\n"
    ),
    st.sampled_from(["file", "x", "", '"']),
    st.sampled_from(["", '; filename="a.wav"', "; filename*=utf-8''%ff", '; filename="']),
    st.sampled_from(["", "Content-Type: audio/wav\r\n", "Content-Transfer-Encoding: base64\r\n", ":\r\n"]),
    st.binary(max_size=100),
)


@given(
    sent=st.lists(parts, max_size=10),
    kind=st.sampled_from(
        ["multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "\xff", ""]
    ),
    length=st.one_of(st.none(), st.text(string.digits + "-x٣", max_size=6), st.just("9" * 5000)),
    rest=st.binary(max_size=40),
)
def test_a_form_is_read_or_refused_with_a_reason(sent, kind, length, rest):
    body = b"".join(sent) + b"--x--\r\n" + rest
    environ = {
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)) if length is None else length,
        "wsgi.input": io.BytesIO(body),
        "REQUEST_METHOD": "POST",
    }
    try:
        require_length(environ, RULES)
        form = receive(environ, RULES)
    except ClientError as error:
        assert str(error)
        return
    assert 0 < len(form.file) <= RULES.file_bytes


@given(
    said=st.lists(
        st.builds(
            Item,
            st.sampled_from(["user", "assistant", "system", "tool"]),
            wild.texts,
            id=wild.texts,
            cut=st.booleans(),
            span=st.one_of(st.none(), st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))),
        ),
        max_size=5,
    )
)
def test_a_transcript_is_written_of_whatever_was_said(said):
    told = minutes("sess_x", said, closed=False)
    for _, write in FORMATS.values():
        assert isinstance(write(told), bytes | str)
