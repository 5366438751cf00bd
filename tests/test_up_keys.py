"""`antiphon up` and API keys: what it says of them, and that one that is made while it runs is in force at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from websockets import InvalidStatus
from websockets.sync.client import connect

from cli.main import main
from tests.conftest import needs_redis
from tests.up_run import UpRun

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture
def started() -> Iterator[list[UpRun]]:
    """Nothing of them is left."""
    needs_redis()
    runs: list[UpRun] = []
    yield runs
    for run in runs:
        run.clean()


def let_in(run: UpRun, key: str = "") -> int:
    """The status of a handshake."""
    headers = {"Authorization": f"Bearer {key}"} if key else None
    try:
        with connect(f"ws://127.0.0.1:{run.port}/v1/realtime", additional_headers=headers):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_a_server_for_others_says_who_is_let_in_and_takes_its_first_key_while_it_runs(
    tmp_path: Path, started: list[UpRun]
) -> None:
    run = UpRun(tmp_path / "data", "--host", "0.0.0.0")
    started.append(run)
    run.wait_for("^ready")
    run.wait_for("there are no API keys, so only this machine is let in")
    run.wait_for(f"antiphon keys new NAME --file {tmp_path / 'data' / 'api-keys'}")
    assert let_in(run) == 101
    made = CliRunner().invoke(main, ["keys", "new", "me", "--data-dir", str(tmp_path / "data")])
    assert (let_in(run), let_in(run, made.stdout.strip())) == (401, 101)
    CliRunner().invoke(main, ["keys", "new", "you", "--data-dir", str(tmp_path / "data")])
    CliRunner().invoke(main, ["keys", "remove", "me", "--data-dir", str(tmp_path / "data")])
    assert let_in(run, made.stdout.strip()) == 401


@pytest.mark.parametrize(
    ("text", "says"), [(None, "No such file"), ("secret", "line 1: not NAME:sha256:DIGEST")]
)
def test_a_keys_file_that_is_none_starts_nothing(
    tmp_path: Path, started: list[UpRun], text: str | None, says: str
) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    run = UpRun(tmp_path / "data", ANTIPHON_AUTH__KEYS_FILE=str(file))
    started.append(run)
    assert run.end() == 2
    (line,) = run.errors()
    assert str(file) in line
    assert says in line
