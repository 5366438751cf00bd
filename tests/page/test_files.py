"""The page as it is served: its headers, its size, and that it needs nobody else."""

import gzip
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.page.programs import PAGE
from web.page_routes import KINDS, page

#: What the issue of the page allows, all files together, as they travel.
MOST_BYTES = 150_000

FILES = sorted(path for path in PAGE.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def client() -> Iterator[FlaskClient]:
    flask = Flask(__name__)
    flask.register_blueprint(page)
    with flask.test_client() as client:
        yield client


def test_the_page_stands_at_the_root(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200 and answer.mimetype == "text/html"
    assert b'id="talk"' in answer.data


def named(client: FlaskClient) -> list[str]:
    """Files that the page asks for."""
    return re.findall(r'"(/page/[^"]+)"', client.get("/").get_data(as_text=True))


def test_a_browser_learns_of_all_modules_at_once_and_keeps_them_until_they_change(
    client: FlaskClient,
) -> None:
    asked = named(client)
    modules = {path.name for path in FILES if path.suffix == ".js" and not path.name.endswith("_worklet.js")}
    assert modules <= {Path(path).name for path in asked}
    for path in asked:
        answer = client.get(path)
        assert answer.status_code == 200 and "immutable" in answer.headers["Cache-Control"]


def test_what_changed_has_another_address(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PAGE, tmp_path / "page")
    monkeypatch.setattr("web.page_routes.FOLDER", tmp_path / "page")
    before = set(named(client))
    (tmp_path / "page/js/loudness.js").write_text("export const another = true;")
    after = set(named(client))
    assert before and after and before.isdisjoint(after)
    outdated = client.get(before.pop())
    assert outdated.status_code == 200 and outdated.headers["Cache-Control"] == "no-store"


def test_it_runs_its_own_scripts_and_nobody_else_s(client: FlaskClient) -> None:
    policy = client.get("/", headers={"Host": "talk.example:8000"}).headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (
        rules["default-src"] == "'none'"
        and rules["script-src"] == "'self'"
        and rules["style-src"] == "'self'"
    )
    assert rules["connect-src"] == "'self' ws://talk.example:8000 wss://talk.example:8000"
    assert "unsafe" not in policy and "*" not in policy


@pytest.mark.parametrize("path", ["/", "/page/js/main.js"])
def test_what_is_served_is_what_it_says_it_is(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (
        "microphone=(self)" in headers["Permissions-Policy"] and "camera=()" in headers["Permissions-Policy"]
    )
    assert headers["Referrer-Policy"] == "no-referrer"


def test_what_did_not_change_is_not_sent_again(client: FlaskClient) -> None:
    first = client.get("/page/js/main.js", headers={"Accept-Encoding": "gzip"})
    again = client.get(
        "/page/js/main.js", headers={"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]}
    )
    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.data) == (304, b"")


def test_it_travels_packed_where_the_browser_can_unpack_it(client: FlaskClient) -> None:
    plain, packed = (
        client.get("/page/css/layout.css", headers={"Accept-Encoding": coding})
        for coding in ("identity", "gzip")
    )
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.data) == plain.data
    assert plain.headers["ETag"] != packed.headers["ETag"]


@pytest.mark.parametrize(
    "name",
    [
        "../app.py",
        "..%2fapp.py",
        "js/../../app.py",
        "js",
        "",
        "nothing.js",
        "v-0",
        "v-0/../../app.py",
        "v-0/nothing.js",
        "%2e%2e/config.py",
        "/etc/passwd",
    ],
)
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/page/{name}").status_code in (404, 308)


def test_all_of_it_together_is_small(client: FlaskClient) -> None:
    sent = [
        client.get(f"/page/{path.relative_to(PAGE)}", headers={"Accept-Encoding": "gzip"}) for path in FILES
    ]
    assert all(answer.status_code == 200 for answer in sent)
    assert sum(len(answer.data) for answer in sent) < MOST_BYTES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_another_server(path: Path) -> None:
    assert path.suffix in KINDS
    others = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text()))
    assert others <= {"http://www.w3.org/2000/svg"}
