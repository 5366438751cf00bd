"""What the papers tell to do is done: their commands and programs run around one server with null engines.

A block of commands is one script, in a folder that looks like the project's. A line that cannot run here is left out,
and stands in `NOT_RUN` with the reason; test_docs.py looks at its options all the same.
"""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from config.settings import SAMPLE_RATE
from tests import papers
from tests.conftest import needs_redis
from tests.papers import PAPERS, ROOT, Block
from tests.up_run import UpRun

#: What a line looks like, and why it is not run. The first that fits counts.
NOT_RUN = {
    r"^docker |^cd deploy|^cp example.env|^\./make-secrets|^openssl|^deploy/swarm/":
        "there is no Docker Engine; test_deploy*.py and test_compose.py judge the files and run their commands",
    r"^\(?echo (OLD|NEW|KEY)": "the same: it is piped to docker, or for it",
    r"^scp |^ssh ": "needs a second machine",
    r"^sudo ": "needs root; test_machines.py says so, too",
    r"setup_node\.py": "changes the machine; test_setup_node.py runs it dry",
    r"^gunicorn |\bcelery -A": "a server for ever, with hosts of the reader's; every `antiphon up` runs the same",
    r"^export ANTIPHON_": "hosts of the reader's",
    r"\bmake run|antiphon up": "serves until it is ended; test_up.py runs it",
    r"^make (setup|test|check|fmt|bench|monitoring)|^\.ci/run|pre-commit":
        "installs, measures, writes into the project, or is what runs this",
    r"models pull": "fetches gigabytes; test_weight_pull.py fetches from a hub of its own",
    r"models check": "ends with 1 where no weights are; test_models.py",
    r"^promtool": "only some machines have it; test_monitoring_rules.py looks for it",
    r"127\.0\.0\.1:9\d\d\d": "ports that depend on what else the machine runs; test_metrics_ports.py",
    r"loadtest.* (wss://|--find-capacity)": "somebody else's server, or minutes; test_loadtest*.py search less far",
    r"\bPUBLIC_HOST\b": "a host of the reader's",
    r"antiphon (drain vm-|sessions end )": "a worker, a session of the reader's; test_operator_live.py has its own",
    r"antiphon keys (new|remove) ": "shuts the other readers out; test_api_keys.py has a file of its own",
    r"^git clone|^pnpm |unmute/loadtest": "Unmute's own programs, from elsewhere; docs/unmute.md says what was tried",
    r"drafts/|ANTIPHON_TURN__PATIENC=": "shows what becomes of a slip; test_operator.py and test_doctor.py have such",
}  # fmt: skip

#: The longest that one block may take; most take a second.
DEADLINE_S = 50.0

#: Blocks that run at a time.
AT_ONCE = 4

#: `antiphon` as the guides call it. What would go to the guides' port goes to the run's, and a load test is small.
#: That a busy machine could not make its load in time, and that it says so (INVALID), is no mistake of the guide.
SHIM = """#!/bin/sh
case "$1" in
    loadtest) set -- "$@" --sessions 1 --turns 1 --speech hum ;;
esac
case "$1 $*" in
    *--url*|*--help*) ;;
    talk*|loadtest*) set -- "$@" --url ws://127.0.0.1:{port}/v1/realtime ;;
esac
[ "$1" = loadtest ] || exec {python} -m cli.main "$@"
said=$({python} -m cli.main "$@")
status=$?
echo "$said"
case "$status $said" in
    "2 "*INVALID*) exit 0 ;;
esac
exit $status
"""


def why_not(command: str) -> str | None:
    return next((pattern for pattern in NOT_RUN if re.search(pattern, command)), None)


@cache
def scripts() -> list[Block]:
    """Blocks of which something runs."""
    found = [block for paper in PAPERS for block in papers.shell_blocks(paper)]
    return [block for block in found if any(not why_not(command) for command in block.commands())]


@cache
def programs() -> list[Block]:
    """But for those of docs/sdks.md: test_sdk_conversations.py has the packages that they need."""
    others = [paper for paper in PAPERS if papers.name(paper) != "docs/sdks.md"]
    return [block for paper in others for block in papers.blocks(paper) if block.language == "python"]


@dataclass(frozen=True)
class Outcome:
    folder: Path
    done: subprocess.CompletedProcess[str]


class Reader:
    """Somebody who tries what stands in the guides, a few blocks at a time."""

    def __init__(self, run: UpRun, folder: Path) -> None:
        self._run, self._folder = run, folder
        self._pool = ThreadPoolExecutor(AT_ONCE)
        shim = folder / "bin/antiphon"
        shim.parent.mkdir()
        shim.write_text(SHIM.format(port=run.port, python=sys.executable))
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
        self._environment = {
            **os.environ,
            "PATH": f"{shim.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        self._outcomes: dict[str, Future[Outcome]] = {}
        blocks = [*programs(), *scripts()]
        for block in sorted(
            blocks, key=lambda block: "antiphon loadtest" not in block.text
        ):  # the longest first
            self._outcomes[block.id] = self._pool.submit(self._tried, block)

    def outcome(self, block: Block) -> Outcome:
        return self._outcomes[block.id].result(DEADLINE_S * 3)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _tried(self, block: Block) -> Outcome:
        folder = self._project(block)
        if block.language == "python":
            command = [sys.executable, "-c", self._here(block.text)]
        else:
            lines = [line for line in block.commands() if not why_not(line)]
            command = ["bash", "-eo", "pipefail", "-c", self._here("\n".join(lines))]
        done = subprocess.run(
            command, cwd=folder, env=self._environment, capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        return Outcome(folder, done)

    def _here(self, text: str) -> str:
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self._run.port}").replace(
            ".venv/bin/antiphon", "antiphon"
        )

    def _project(self, block: Block) -> Path:
        """A folder like the project's, with a data directory in which a server runs, and something to say."""
        folder = self._folder / re.sub(r"\W", "-", block.id)
        folder.mkdir()
        for one in ROOT.iterdir():
            if not one.name.startswith(".") and one.name not in ("data", "build"):
                (folder / one.name).symlink_to(one)
        (folder / "data").symlink_to(self._run.data)
        hum = np.sin(np.arange(SAMPLE_RATE * 3 // 2) * 0.06) * 8000
        soundfile.write(folder / "speech.wav", hum.astype(np.int16), SAMPLE_RATE)
        return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    needs_redis()
    folder = tmp_path_factory.mktemp("guides")
    run = UpRun(folder / "data")
    try:
        run.wait_for("^ready")
        reader = Reader(run, folder)
        yield reader
        reader.close()
    finally:
        run.clean()


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("block", scripts(), ids=lambda block: block.id)
def test_commands_do_what_they_are_there_for(reader: Reader, block: Block) -> None:
    done = reader.outcome(block).done
    assert done.returncode == 0, f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def sounds(file: Path, read: Callable[[Path], tuple[np.ndarray, int]]) -> bool:
    audio, rate = read(file)
    return rate == SAMPLE_RATE and len(audio) > rate and bool(abs(audio).max() > 0.01)


def raw(file: Path) -> tuple[np.ndarray, int]:
    return np.frombuffer(file.read_bytes(), np.int16) / 32768, SAMPLE_RATE


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("block", programs(), ids=lambda block: block.id)
def test_programs_with_the_stock_sdk_hear_an_answer(reader: Reader, block: Block) -> None:
    outcome = reader.outcome(block)
    assert outcome.done.returncode == 0, outcome.done.stderr[-3000:]
    assert "alpha bravo" in outcome.done.stdout
    if "speech.wav" in block.text:
        assert "you: one two three" in outcome.done.stdout
    answers = {".wav": soundfile.read, ".pcm": raw}
    (file,) = (file for file in outcome.folder.glob("answer.*"))
    assert sounds(file, answers[file.suffix])


def test_the_readme_and_the_quick_start_have_a_program_each() -> None:
    assert [papers.name(block.paper) for block in programs()] == ["README.md", "docs/quick-start.md"]


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_each_reason_not_to_run_a_line_has_such_a_line(pattern: str) -> None:
    """Else the next line that could run would be left out by it, unseen."""
    lines = [line for paper in PAPERS for block in papers.shell_blocks(paper) for line in block.commands()]
    assert pattern in {why_not(line) for line in lines}


def test_most_kinds_of_commands_run() -> None:
    ran = "\n".join(line for block in scripts() for line in block.commands() if not why_not(line))
    for command in (
        "talk",
        "status",
        "doctor",
        "voices check",
        "voices reload",
        "sessions list",
        "models list",
    ):
        assert f"antiphon {command}" in ran
    assert "curl -s http://127.0.0.1:8000/v1/health" in ran
