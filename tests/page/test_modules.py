"""The page's modules, without a browser: their types, and the tests of those that are pure."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.page.programs import FOLDER, PAGE, node, package

#: It takes a second; this is for a machine under load.
DEADLINE_S = 120

#: A module that is longer owns more than one noun.
MAX_LINES = 300


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    found = node()
    if found is None:
        missing("Node.js (make setup-sdks)")
    return subprocess.run(
        [str(found), *map(str, command)],
        check=False,
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def test_the_pure_modules_do_what_their_tests_say() -> None:
    done = ran("--no-warnings", "--test", *sorted(FOLDER.glob("*.test.js")))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


@pytest.mark.parametrize("config", ["tsconfig.json", "tsconfig.worklets.json", "tsconfig.tests.json"])
def test_the_types_are_right(config: str) -> None:
    compiler = package("typescript/bin/tsc")
    if compiler is None:
        missing("TypeScript (make setup-sdks)")
    done = ran(compiler, "-p", config)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


@pytest.mark.parametrize("module", sorted(PAGE.glob("js/*.js")), ids=lambda path: path.stem)
def test_a_module_is_short_and_says_first_what_it_owns(module: Path) -> None:
    lines = module.read_text().splitlines()
    assert len(lines) <= MAX_LINES
    assert lines[0].startswith("/**")
