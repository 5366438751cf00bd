"""The server's own tools: what a folder of Python files offers a model, and what its author is told."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from cli.main import main
from config.errors import ConfigError
from config.own_tools import ToolSettings
from tasks.toolbox import load
from tests import papers

WEATHER = '''
from datetime import date
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"

class Place(BaseModel):
    town: str
    land: str = "Italy"

def weather(
    place: Place, title: Annotated[str, "How to address the user"], day: date | None = None,
    unit: Unit = Unit.C, wind: Literal["kn", "kmh"] = "kn", hours: Annotated[int, Field(ge=1, le=48)] = 24,
) -> dict[str, str]:
    """The forecast of a place.

    Cheap: ask whenever it helps.
    """
    return {"place": place.town, "title": title, "unit": unit.value, "hours": str(hours)}

def _helper(): ...
'''


def folder(tmp_path: Path, **files: str) -> ToolSettings:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    return ToolSettings(folder=tmp_path)  # type: ignore[call-arg]


def test_there_are_none_unless_a_folder_is_named() -> None:
    assert load(ToolSettings()) == {}  # type: ignore[call-arg]


def test_hints_make_the_schema_and_the_docstring_the_description(tmp_path: Path) -> None:
    (own,) = load(folder(tmp_path, weather=WEATHER)).values()
    assert own.tool.name == "weather"
    assert own.tool.description == "The forecast of a place.\n\nCheap: ask whenever it helps."
    schema = own.tool.parameters
    assert schema["required"] == ["place", "title"] and schema["additionalProperties"] is False
    of = schema["properties"]
    assert of["title"] == {"type": "string", "description": "How to address the user"}
    assert of["wind"] == {"type": "string", "enum": ["kn", "kmh"], "default": "kn"}
    assert (of["hours"]["minimum"], of["hours"]["maximum"]) == (1, 48)
    assert "title" not in json.dumps(schema["$defs"])


def test_arguments_are_checked_and_arrive_as_the_hints_say(tmp_path: Path) -> None:
    own = load(folder(tmp_path, weather=WEATHER))["weather"]
    given = own.read('{"place": {"town": "Rome"}, "title": "Dr", "unit": "fahrenheit"}')
    assert own.run(given, 1.0) == {"place": "Rome", "title": "Dr", "unit": "fahrenheit", "hours": "24"}
    with pytest.raises(ValidationError, match="hours"):
        own.read('{"place": {"town": "Rome"}, "title": "Dr", "hours": 100}')
    with pytest.raises(ValidationError, match="town_name"):
        own.read('{"place": {"town": "Rome"}, "title": "Dr", "town_name": "Rome"}')


def test_names_that_pydantic_keeps_to_itself_may_be_parameters(tmp_path: Path) -> None:
    text = "def find(schema: str, model_config: int = 1, _x: int = 2) -> str:\n  'Finds.'\n  return schema * _x\n"
    own = load(folder(tmp_path, find=text))["find"]
    assert set(own.tool.parameters["properties"]) == {"schema", "model_config", "_x"}
    assert own.run(own.read('{"schema": "a", "_x": 3}'), 1.0) == "aaa"


def test_a_coroutine_is_run_to_its_end(tmp_path: Path) -> None:
    text = 'import asyncio\nasync def wait() -> str:\n    """Waits."""\n    await asyncio.sleep(0)\n    return "over"\n'
    own = load(folder(tmp_path, wait=text))["wait"]
    assert own.run({}, 1.0) == "over"


def test_files_may_share_what_a_file_with_an_underscore_holds(tmp_path: Path) -> None:
    helper = "def shout(text: str) -> str:\n    return text.upper()\n"
    text = 'from _shared_by_test import shout\ndef loud(text: str) -> str:\n    """Loud."""\n    return shout(text)\n'
    own = load(folder(tmp_path, loud=text, _shared_by_test=helper))
    assert list(own) == ["loud"] and own["loud"].run({"text": "a"}, 1.0) == "A"


def test_only_those_that_are_enabled_are_offered(tmp_path: Path) -> None:
    text = 'def one() -> str:\n    """1"""\ndef two() -> str:\n    """2"""\n'
    settings = folder(tmp_path, numbers=text)
    assert list(load(settings)) == ["one", "two"]
    assert list(load(settings.model_copy(update={"enabled": ["two"]}))) == ["two"]
    with pytest.raises(ConfigError, match=r"'three'; in the folder there are: one, two"):
        load(settings.model_copy(update={"enabled": ["three"]}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("def f(x: int): return x", r"bad\.py: function 'f' has no docstring", id="no docstring"),
        pytest.param("def f(x):\n  '''F.'''", r"parameter 'x' has no type hint; say e\.g\. x: str", id="no hint"),
        pytest.param("def f(*x: int):\n  '''F.'''", "cannot be given by name", id="arguments without names"),
        pytest.param("def f(x: int, /):\n  '''F.'''", "cannot be given by name", id="by place alone"),
        pytest.param("def f(x: Nobody):\n  '''F.'''", "Nobody", id="a name that is not there"),
        pytest.param(
            "class C: ...\ndef f(x: C):\n  '''F.'''", "no JSON schema can be made of its hints", id="no JSON"
        ),
        pytest.param("def f():\n  '''F.'''\n  yield 1", "yields", id="a generator"),
        pytest.param("\ndef f(:", r"bad\.py:2: it cannot be imported: SyntaxError", id="no Python"),
        pytest.param("\nimport nowhere_to_be_found", r"bad\.py:2: .*install it where", id="a package is missing"),
        pytest.param("x = 1\n1 / 0", r"bad\.py:2: it cannot be imported: ZeroDivisionError", id="it fails"),
        pytest.param("raise SystemExit(3)", r"bad\.py:1: it cannot be imported: SystemExit", id="it ends"),
        pytest.param("def _f(): ...", "there is no function in it", id="nothing to offer"),
        pytest.param(f"def {'f' * 65}():\n  '''F.'''", "at most 64 letters", id="a long name"),
        pytest.param("def größe():\n  '''F.'''", "letters, digits", id="a name that models do not take"),
    ],
)  # fmt: skip
def test_what_cannot_be_offered_is_an_error_that_names_file_and_remedy(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        load(folder(tmp_path, bad=text))


def test_two_functions_of_one_name_are_an_error(tmp_path: Path) -> None:
    text = 'def f() -> str:\n    """F."""\n'
    with pytest.raises(ConfigError, match=r"b\.py: there is a function 'f' in a\.py already"):
        load(folder(tmp_path, a=text, b=text))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        load(ToolSettings(folder=tmp_path / "tools"))  # type: ignore[call-arg]


# --- the guide, and the command


def guide(tmp_path: Path) -> ToolSettings:
    """The functions of docs/tools.md."""
    blocks = [
        block.text for block in papers.blocks(papers.ROOT / "docs/tools.md") if block.language == "python"
    ]
    return folder(tmp_path, **{f"guide{number}": text for number, text in enumerate(blocks)})


def test_the_functions_of_the_guide_are_tools_that_work(tmp_path: Path) -> None:
    found = load(guide(tmp_path))
    assert {name: own.once for name, own in found.items()} == {
        "time_of_day": False, "roll_dice": False, "book_table": True,
    }  # fmt: skip
    assert len(found["roll_dice"].run(found["roll_dice"].read('{"count": 3}'), 1.0)) == 3
    clock = found["time_of_day"]
    with pytest.raises(ValueError, match="no such zone"):
        clock.run(clock.read('{"zone": "Europe/Nowhere"}'), 1.0)
    assert ":" in clock.run(clock.read("{}"), 1.0)


def test_the_command_shows_what_there_is(tmp_path: Path) -> None:
    guide(tmp_path)
    shown = CliRunner().invoke(main, ["tools", str(tmp_path)])
    assert shown.exit_code == 0 and [line.split()[:3] for line in shown.output.splitlines()] == [
        ["NAME", "PARAMETERS", "REPEATED"], ["time_of_day", "zone", "may"], ["roll_dice", "count", "may"],
        ["book_table", "people,", "time"],
    ]  # fmt: skip
    document = json.loads(CliRunner().invoke(main, ["tools", str(tmp_path), "--json"]).output)
    assert document[1]["function"]["parameters"]["properties"]["count"]["description"] == "How many dice"


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    folder(tmp_path, bad="def f(x): ...")
    shown = CliRunner().invoke(main, ["tools", str(tmp_path)])
    assert shown.exit_code == 2 and "bad.py: function 'f' has no docstring" in shown.output


def test_the_command_says_where_there_is_no_folder() -> None:
    assert "ANTIPHON_TOOLS__FOLDER" in CliRunner().invoke(main, ["tools"]).output
