"""Tells a conversation as it happens: lines for people, JSON lines for programs. Decides nothing."""

import sys
from collections.abc import Sequence
from typing import TextIO

import msgspec

from cli import happenings as h
from cli.measure import Notice


def printable(text: str) -> str:
    """Text from elsewhere, without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() else " " for char in text)


class Narrator:
    """Writes what was understood and answered to `people`, one JSON line per event to `programs`; None is silent."""

    def __init__(self, people: TextIO | None, programs: TextIO | None) -> None:
        self._people = people
        self._programs = programs
        self._replying: str | None = None

    def tell(self, happening: h.Happening, notices: Sequence[Notice]) -> None:
        """Writes what this happening, and what the book made of it, is worth."""
        for notice in notices:
            self._event(notice)
        match happening:
            case h.ReplyWord(reply, text) if text:
                self._reply_word(reply, text)
            case h.UserText(_, text, final=True):
                self._line(f"you: {text}" if text else "you: (nothing understood)")
            case h.ServerError(_, message):
                self._line(f"server: {message}")
            case h.LineLost(code):
                self._line(f"the line was lost ({code}), calling again")
            case h.LineBack():
                self._line("the line is back")
        for notice in notices:
            self._afterword(notice)

    def _afterword(self, notice: Notice) -> None:
        if notice.event == "interrupted":
            self._line("(interrupted)")
        elif notice.event == "reply_done":
            self._line()

    def _event(self, notice: Notice) -> None:
        if self._programs is None:
            return
        line = {"event": notice.event, "t_ms": round(1000 * notice.t, 1), **notice.fields}
        print(msgspec.json.encode(line).decode(), file=self._programs, flush=True)

    def _reply_word(self, reply: str, text: str) -> None:
        if self._people is None:
            return
        if self._replying != reply:
            self._line()
            self._people.write("assistant: ")
            self._replying = reply
            text = text.lstrip()
        self._people.write(printable(text))
        self._people.flush()

    def _line(self, text: str | None = None) -> None:
        """Ends a reply that is being written, then writes a line of its own."""
        if self._people is None:
            return
        if self._replying is not None:
            self._people.write("\n")
            self._replying = None
        if text is not None:
            self._people.write(printable(text) + "\n")
        self._people.flush()


def narrator(*, events: bool, json: bool) -> Narrator:
    """People read stdout, or stderr where stdout is the report's; nothing but JSON lines goes to a stderr of events."""
    people = None if json and events else sys.stderr if json else sys.stdout
    return Narrator(people, sys.stderr if events else None)
