"""`antiphon tools`: the server's own functions that the LLM may call, as a worker would load them."""

import json
from pathlib import Path

import click

from cli import columns
from config.own_tools import ToolSettings
from config.settings import load
from tasks import toolbox
from tasks.toolbox import Toolbox

#: Of a docstring's first line in the table.
MOST_SHOWN = 60


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--profile", help="Whose settings count; by default ANTIPHON_PROFILE, or embedded.")
@click.option("--json", "as_json", is_flag=True, help="What the LLM is told, in OpenAI's format.")
def tools(folder: Path | None, profile: str | None, as_json: bool) -> None:
    """Load the functions of a folder (by default that of the settings), and show each.

    The files are imported, as LLM workers do at their start. Exits 2 at the first that cannot be used, and says why.

    \b
      antiphon tools
      antiphon tools drafts/tools --json
    """
    settings = load(profile).tools
    if folder is not None:
        settings = ToolSettings(folder=folder)  # type: ignore[call-arg]
    found = toolbox.load(settings)
    click.echo(json.dumps(document(found), indent=2) if as_json else "\n".join(lines(found, settings)))


def document(found: Toolbox) -> list[dict[str, object]]:
    """As it is sent to an LLM server."""
    return [
        {
            "type": "function",
            "function": {
                "name": own.tool.name,
                "description": own.tool.description,
                "parameters": own.tool.parameters,
            },
        }
        for own in found.values()
    ]


def lines(found: Toolbox, settings: ToolSettings) -> list[str]:
    """For people: a line for each."""
    if settings.folder is None:
        return ["no tools: ANTIPHON_TOOLS__FOLDER names no folder (docs/tools.md)"]
    rows = [
        (
            name,
            ", ".join(own.tool.parameters.get("properties", ())) or columns.NONE,
            "never" if own.once else "may",
            own.file.name,
            columns.cut(own.tool.description.splitlines()[0], MOST_SHOWN),
        )
        for name, own in found.items()
    ]
    return [*columns.table(("NAME", "PARAMETERS", "REPEATED", "FILE", "WHAT THE LLM READS"), rows)]
