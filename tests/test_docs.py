"""What the papers say, where it can be looked up: links, files, targets, commands, settings, metrics, tables.

What they tell to do is done by test_docs_run.py.
"""

import re
import subprocess
import sys
from functools import cache

import click
import pytest
import yaml

from cli.main import main
from config.settings import Settings
from config.variables import OTHERS
from tests import papers, promql
from tests.papers import PAPERS, ROOT
from tools import configuration_tables, model_tables

every_paper = pytest.mark.parametrize("paper", PAPERS, ids=papers.name)

#: Settings of these sections are spoken of as `section.name`. (`llm.reply` is a task, `turn.resumed` a span.)
SPOKEN = (
    "pacing",
    "ownership",
    "observe",
    "limits",
    "admission",
    "scale",
    "tracing",
    "news",
    "donation",
    "tools",
)

#: Where all settings stand.
REFERENCE = configuration_tables.PAPER.file

#: A variable that `antiphon doctor` is shown to find.
SLIP = "ANTIPHON_TURN__PATIENC"

#: Commands of `antiphon` in running text: the name, then what belongs to it.
CALL = re.compile(r"(?:^|[\s(/])antiphon ((?:[a-z]+|--?[a-z])(?![\w:…]).*)")


@every_paper
def test_links_lead_somewhere(paper):
    for file, anchor in papers.links(paper):
        assert file.exists(), file
        assert not anchor or anchor in papers.anchors(file), f"{papers.name(file)}#{anchor}"


@every_paper
def test_files_that_are_named_are_there(paper):
    rooms = "web|tasks|gpu_workers|config|cli|deploy|tests|requirements|tools|docs|bench"
    named = re.findall(rf"`((?:{rooms})/[\w./-]+)`", paper.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@every_paper
def test_it_begins_with_what_it_is_for(paper):
    lines = paper.read_text().splitlines()
    assert re.match("# .", lines[0]) and lines[1] == "" and re.match(r"[\w`*]", lines[2]), lines[:3]


def test_every_guide_stands_in_the_index():
    listed = {file for file, _ in papers.links(ROOT / "docs/README.md")}
    assert set((ROOT / "docs").glob("*.md")) - {ROOT / "docs/README.md"} <= listed


# --- commands


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@every_paper
def test_make_targets_that_are_named_are_there(paper):
    named = {word for text in said(paper) for word in re.findall(r"(?:^|[\s(])make ([a-z-]+)\b", text)}
    assert named - targets() == set()


def said(paper):
    """All code of a paper, by the line."""
    return [*papers.spans(paper), *(line for block in papers.blocks(paper) for line in command_lines(block))]


def command_lines(block):
    return block.commands() if block in papers.shell_blocks(block.paper) else []


@every_paper
def test_commands_have_the_options_that_are_named(paper):
    for text in said(paper):
        if found := CALL.search(text):
            check_call(papers.words(found[1]), text)


def check_call(words, text):
    """Follows subcommands, then looks at options."""
    command: click.Command = main
    context = click.Context(main)
    for word in words:
        if word in ("|", "&&", ";", "…"):
            return
        if word.startswith("-") and word.strip("-"):
            option = word.partition("=")[0]
            known = {name for one in command.get_params(context) for name in one.opts}
            assert "…" in option or option in known, f"{text}: {command.name} has no {option}"
        elif isinstance(command, click.Group):
            for alternative in word.split("|"):
                assert command.get_command(context, alternative), f"{text}: no command {alternative}"
            command = command.get_command(context, word.split("|")[0]) or command


# --- settings


@cache
def variables() -> set[str]:
    """Of settings and options, those of engines that share a worker as if each were alone."""
    rows = REFERENCE.read_text()
    return {*re.findall(r"`(ANTIPHON_\w+)`", rows), *OTHERS}


@every_paper
def test_variables_that_are_named_set_something(paper):
    named = set(re.findall(r"\bANTIPHON_\w*[A-Z0-9]\b(?!__|…|_…|\*)", paper.read_text())) - {SLIP}
    sections = {f"ANTIPHON_{section.upper()}" for section in Settings.model_fields}
    for name in named - variables() - sections:
        alone = re.sub(r"__OPTIONS__ENGINES__\w+?__OPTIONS__", "__OPTIONS__", name)
        assert alone in variables(), name


@every_paper
def test_settings_that_are_named_are_there(paper):
    for span in papers.spans(paper):
        if found := re.fullmatch(rf"({'|'.join(SPOKEN)})\.([a-z_]+)", span):
            section, name = found.groups()
            assert name in Settings.model_fields[section].annotation.model_fields, span


def test_the_reference_is_as_declared():
    done = subprocess.run(
        [sys.executable, "-m", "tools.configuration_tables", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_value_of_the_reference_has_its_reason():
    rows = [line.split(" | ") for line in REFERENCE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 300
    assert [cells[0] for cells in rows if len(cells) != 6 or not cells[-1].strip(" |")] == []


def test_the_reference_has_every_setting():
    rows = REFERENCE.read_text()
    for section, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        for name in inner or [""]:
            assert f"| `{f'{section}.{name}'.rstrip('.')}" in rows, (section, name)


@pytest.mark.parametrize("default", ["turn.patience", "limits.message_bytes", "scale.voices.most", "profile"])
def test_the_reference_tells_the_defaults_that_are_in_force(default):
    value: object = Settings.model_construct()
    for part in default.split("."):
        value = getattr(value, part)
    assert re.search(rf"^\| `{re.escape(default)}` \| [^|]* \| `{value}`", REFERENCE.read_text(), re.M)


def test_the_reference_has_a_table_for_every_engine():
    rows = REFERENCE.read_text()
    engines = [
        file
        for stage in ("stt", "llm", "tts", "voices")
        for file in (ROOT / "gpu_workers" / stage).glob("[!_]*.py")
    ]
    assert engines
    for file in engines:
        assert f"\n### {file.parent.name}: {file.stem}\n" in rows


# --- metrics, models


@cache
def stack_objects() -> set[str]:
    """What a deployed stack calls its things: `antiphon_` and a name of the stack file."""
    found = set()
    for file in [*(ROOT / "deploy/swarm").glob("stack*.yml"), *(ROOT / "deploy/compose").glob("*.yml")]:
        whole = yaml.safe_load(file.read_text())
        for kind in ("services", "volumes", "secrets", "configs", "networks"):
            found |= {f"antiphon_{name}".replace("-", "_") for name in whole.get(kind) or {}}
    return found


@every_paper
def test_metrics_that_are_named_are_declared(paper):
    known = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in promql.known()} | set(promql.known())
    named = {
        found for span in papers.spans(paper) for found in re.findall(r"\bantiphon_[a-z_]+[a-z]\b", span)
    }
    assert {name for name in named - known if not is_of_the_stack(name)} == set()


def is_of_the_stack(name):
    return any(
        one.startswith(name) for one in stack_objects()
    )  # with a dash in it, its name ends there for us


def test_the_models_are_those_of_the_catalogue():
    paper = model_tables.PAPER
    assert paper.written(model_tables.made()) == paper.file.read_text(), f"make {paper.target}"
