"""Errors over HTTP: whatever raised them, JSON in OpenAI's shape."""

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from config.errors import ClientError, CloningAway, SessionUnknown
from config.settings import load
from tasks.streams import RedisError
from tests.samples import Change
from web.routes import BODY_BYTES, http


def raises(error: Exception) -> None:
    raise error


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    app = Flask("test")
    app.register_blueprint(http)
    app.add_url_rule(
        "/bad", view_func=lambda: raises(ClientError("no", param="voice", code="voice_not_found"))
    )
    app.add_url_rule("/away", "away", lambda: raises(CloningAway("later")))
    app.add_url_rule("/theirs", "theirs", lambda: raises(SessionUnknown("show it")))
    app.add_url_rule("/redis", "redis", lambda: raises(RedisError("password of the server")))
    app.add_url_rule("/broken", "broken", lambda: raises(ZeroDivisionError("what somebody said")))
    app.add_url_rule("/reads", "reads", lambda: str(len(request.get_data())), methods=["POST"])
    return app.test_client()


@pytest.mark.parametrize(
    ("path", "status", "kind", "code", "param"),
    [
        ("/v1/nothing", 404, "invalid_request_error", "not_found", None),
        ("/bad", 400, "invalid_request_error", "voice_not_found", "voice"),
        ("/theirs", 403, "invalid_request_error", "session_unknown", None),
        ("/away", 503, "server_error", "voice_cloning_unavailable", None),
        ("/redis", 503, "server_error", "redis_away", None),
        ("/broken", 500, "server_error", "internal_error", None),
    ],
)
def test_every_error_has_the_same_four_fields(client, path, status, kind, code, param):
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (status, "application/json")
    told = answer.get_json()["error"]
    assert set(told) == {"type", "code", "message", "param"}
    assert (told["type"], told["code"], told["param"]) == (kind, code, param)
    assert told["message"]


def test_a_method_that_is_not_allowed_is_told_with_those_that_are(client):
    answer = client.put("/v1/health")
    assert answer.get_json()["error"]["code"] == "method_not_allowed"
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_a_body_that_no_route_would_read_is_refused_unread(client):
    assert client.post("/reads", data=b"x" * BODY_BYTES).text == str(BODY_BYTES)
    answer = client.post("/reads", data=b"x" * (BODY_BYTES + 1))
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "request_too_large")


def test_a_session_s_configuration_is_no_larger_than_a_body_may_be():
    assert load("null").limits.message_bytes <= BODY_BYTES


@pytest.mark.parametrize("path", ["/away", "/redis"])
def test_who_may_come_again_is_told_when(client, path):
    assert int(client.get(path).headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/v1/nothing", "/theirs", "/broken"])
def test_who_need_not_come_again_is_not(client, path):
    assert "Retry-After" not in client.get(path).headers


@pytest.mark.parametrize("path", ["/redis", "/broken"])
def test_nothing_of_what_is_inside_is_told(client, path):
    answer = client.get(path).text
    assert "password" not in answer and "somebody" not in answer and "Traceback" not in answer


def test_refusals_are_counted_by_their_code(client):
    counted = Change("antiphon_errors_total", code="voice_not_found")
    client.get("/bad")
    assert counted() == 1


@pytest.mark.parametrize("path", ["/v1/openapi.json", "/v1/nothing", "/bad"])
def test_nothing_is_kept_that_may_be_another_thing_tomorrow(client, path):
    assert client.get(path).headers["Cache-Control"] in ("no-store", "no-cache")
    assert client.get("/bad").headers["Cache-Control"] == "no-store"


def test_the_document_is_sent_once_to_who_asks_whether_it_has_changed(client):
    first = client.get("/v1/openapi.json")
    again = client.get("/v1/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")


def test_an_address_that_is_nearly_one_of_ours_leads_nowhere(client):
    answer = client.get("/v1//openapi.json")
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")
