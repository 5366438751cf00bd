"""Calls of tools that a model writes as plain text, because its server does not read them. They must not be spoken."""

from config.errors import StageFailed

#: With these, models of the known families begin a call.
MARKS = (
    "<tool_call", "<function_call", "<function=", "<|tool_call", "<|python_tag|>", "<｜tool", "[TOOL_CALLS]",
    "functools[",
)  # fmt: skip

#: An answer that begins with an object of one of these fields is a call, too; nobody speaks so.
FIELDS = ('{"name":', '{"function":', '{"tool_calls":', '[{"name":', '{"type":"function"')

#: The longest of them, and the spaces that may stand in it.
LONGEST = 40


class TextCalls:
    """Lets text through, but for an end that may be the beginning of a call."""

    def __init__(self, *, offered: bool) -> None:
        """offered: the model knows of tools; without, everything is let through."""
        self._watching = offered
        self._begins = True
        self._held = ""

    def take(self, piece: str) -> str:
        """What of the text is certainly none. StageFailed, which says how to mend it, where there is one."""
        if not self._watching:
            return piece
        text, self._held = self._held + piece, ""
        if any(mark in text for mark in MARKS) or (self._begins and _is(text, FIELDS)):
            raise StageFailed(
                "the model wrote its call of a tool as text: its server must read it (vLLM: --enable-auto-tool-choice "
                "and --tool-call-parser; llama.cpp: --jinja), or it is no model for tools"
            )
        if self._begins and _may_become(text, FIELDS):
            self._held = text
            return ""
        self._begins = self._begins and not text.strip()
        at = _where_a_mark_may_begin(text)
        self._held = text[at:]
        return text[:at]

    def rest(self) -> str:
        """The answer is over: what was held is text."""
        held, self._held = self._held, ""
        return held


def _packed(text: str) -> str:
    return "".join(text[: 2 * LONGEST].split())


def _is(text: str, beginnings: tuple[str, ...]) -> bool:
    return _packed(text).startswith(beginnings)


def _may_become(text: str, beginnings: tuple[str, ...]) -> bool:
    packed = _packed(text)
    return bool(packed) and any(beginning.startswith(packed) for beginning in beginnings)


def _where_a_mark_may_begin(text: str) -> int:
    """The end of the text, unless it ends with the beginning of a mark."""
    for at in range(max(0, len(text) - LONGEST), len(text)):
        if any(mark.startswith(text[at:]) for mark in MARKS):
            return at
    return len(text)
