"""The `antiphon` command: a table of subcommands, each imported only when it is called."""

import importlib
import os
from typing import cast

import click

from config.errors import AntiphonError

#: The caller must mend something: an argument, a file, a setting, a server that is not there.
MUST_MEND = 2

#: Subcommand → the module that holds a click command of the same name, and its line in the help.
COMMANDS = {
    "up": ("cli.up", "Start everything on this machine."),
    "status": ("cli.status", "Show a deployment: services, slots, queues, sessions, Redis, versions."),
    "doctor": (
        "cli.doctor.command",
        "Check this machine and its surroundings, and say how to mend what is wrong.",
    ),
    "drain": ("cli.drain", "Let a worker finish, hand its sessions over, and end."),
    "sessions": ("cli.sessions", "List the sessions there are, or end one."),
    "keys": ("cli.keys", "Make API keys, list them, and take them back."),
    "voices": ("cli.voices", "Check voices.yaml, and have it read again."),
    "tools": ("cli.tools", "Check the functions that the LLM may call, and show what it is told of them."),
    "replay": ("cli.replay", "Decide a recorded session again, and compare."),
    "recordings": ("cli.recordings", "List, delete and prune recorded sessions."),
    "models": ("cli.models", "List, fetch and check the weights of models."),
    "loadtest": ("cli.loadtest.command", "Simulate many talkers, and judge the server against targets."),
    "talk": ("cli.talk", "Speak a sound file to the server and hear the answer."),
}


#: Says of variables what there is to say.
REPORTS_ITSELF = "doctor"


def _may_be_slip(name: str) -> bool:
    """Where there is none, settings need not be imported to know it."""
    return name.upper().startswith("ANTIPHON_") and name.upper() != "ANTIPHON_API_KEY"


class Commands(click.Group):
    """Keeps `antiphon --help` free of imports, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command."""
        if cmd_name not in COMMANDS:
            return None
        return cast(click.Command, getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Tells of variables that were set in vain, before anything is done without them."""
        name, command, rest = super().resolve_command(ctx, args)
        if name != REPORTS_ITSELF and not ctx.resilient_parsing and any(map(_may_be_slip, os.environ)):
            for slip in importlib.import_module("config.settings").slips():
                click.echo(f"antiphon: {slip}", err=True)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """One line on stderr for what the caller must mend; no traceback."""
        try:
            return super().invoke(ctx)
        except AntiphonError as error:
            click.echo(f"antiphon: {error}", err=True)
            ctx.exit(MUST_MEND)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "antiphon"
            click.echo(f"{command}: {error.format_message().rstrip('.')} (see {command} --help)", err=True)
            ctx.exit(MUST_MEND)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Antiphon: a voice server that you host yourself."""


if __name__ == "__main__":
    main()
