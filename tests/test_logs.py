"""Lines of the log: whom they are about, in text and in JSON; and no speech in them unless that is asked for."""

import json
import logging
import threading
from collections.abc import Iterator
from io import StringIO

import gevent
import pytest

from config import logs
from config.settings import Settings, load
from gpu_workers.engine import Slot
from tasks.leases import Lease
from tasks.seat import Seat
from web.history import History
from web.items import Item

log = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with logs.about():
        yield
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def written(monkeypatch: pytest.MonkeyPatch, **settings: object) -> StringIO:
    """Where the lines go from now on."""
    out = StringIO()
    monkeypatch.setattr("sys.stderr", out)
    logs.set_up(load("null").model_copy(update=settings), "tts-1@here")
    return out


def test_a_line_of_json_says_when_who_what_and_about_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(monkeypatch, log_format="json")
    with logs.about(session="s1", reply=3, trace="ab"):
        log.warning("slot %d is\ngiven up", 4)
    (line,) = map(json.loads, out.getvalue().splitlines())
    assert line.pop("time").endswith("+00:00") and line.pop("pid")
    assert line == {
        "level": "WARNING", "logger": "tests.logs", "message": "slot 4 is\ngiven up", "process": "tts-1@here",
        "session": "s1", "reply": 3, "trace": "ab",
    }  # fmt: skip


def test_a_traceback_is_one_string_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(monkeypatch, log_format="json")
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("it failed")
    (line,) = map(json.loads, out.getvalue().splitlines())
    assert "ValueError: no" in line["error"]


def test_a_line_of_text_ends_with_whom_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(monkeypatch)
    log.info("nobody's")
    with logs.about(session="s1"):
        logs.note(reply=2)
        log.info("somebody's")
        logs.note(reply=0)
        log.info("the session's")
    ends = [line.partition("tests.logs: ")[2] for line in out.getvalue().splitlines()]
    assert ends == ["nobody's", "somebody's [session=s1 reply=2]", "the session's [session=s1]"]


def test_what_a_loop_says_of_a_seat_goes_before_what_its_thread_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = written(monkeypatch)
    seat = Seat(Lease("tts", "s2", "tts-1", 1, 5), Slot(0))
    with logs.about(session="s1", reply=1):
        log.error("given up", extra=seat.about)
    assert "[session=s2 reply=5]" in out.getvalue()


def test_greenlets_and_threads_do_not_mix_up_their_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(monkeypatch)

    def serve(sid: str) -> None:
        logs.note(session=sid)
        gevent.sleep(0)
        log.info("of %s", sid)

    gevent.joinall([gevent.spawn(serve, sid) for sid in ("g1", "g2", "g3")])
    threads = [threading.Thread(target=serve, args=(sid,)) for sid in ("t1", "t2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.info("of nobody")
    ends = {line.partition("tests.logs: ")[2] for line in out.getvalue().splitlines()}
    assert ends == {"of nobody", *(f"of {sid} [session={sid}]" for sid in ("g1", "g2", "g3", "t1", "t2"))}


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        ("Invalid request from ip=192.0.2.7: Invalid HTTP Header: 'Authorization Bearer ak_key'", ()),
        ("Error handling request %s %s", ("GET", "/v1/voices?key=ak_key")),
        ("Error handling request %s", ("/v1/voices?key=ak_key",)),
    ],
)
def test_what_gunicorn_says_of_a_request_holds_nothing_that_a_client_sent(
    told: str, arguments: tuple[str, ...]
) -> None:
    record = logging.LogRecord("gunicorn.error", logging.WARNING, "", 0, told, arguments, None)
    assert logs.WithoutRequests().filter(record)
    assert "ak_key" not in record.getMessage() and "192.0.2.7" not in record.getMessage()
    assert "request" in record.getMessage()


def test_a_variable_that_names_no_setting_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_AUTH__KEYS_FIEL", "/etc/keys")
    monkeypatch.setenv("ANTIPHON_AUTH__OPEN", "false")
    (line,) = written(monkeypatch).getvalue().splitlines()
    assert "ANTIPHON_AUTH__KEYS_FIEL names no setting" in line
    assert "did you mean ANTIPHON_AUTH__KEYS_FILE?" in line


@pytest.mark.parametrize("asked", [False, True])
def test_speech_is_in_the_log_only_for_who_asked_and_a_warning_says_so(
    asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = written(monkeypatch, log_speech=asked, log_level="DEBUG")
    settings: Settings = load("null").model_copy(update={"log_speech": asked})
    History([], settings).add(Item("user", "my secret"))
    assert ("what users and the assistant SAY" in out.getvalue()) is asked
    assert ("user: my secret" in out.getvalue()) is asked
