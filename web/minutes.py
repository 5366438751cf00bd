"""The minutes of a session: who said what, and when, as JSON, subtitles (SRT) or text. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from config.settings import SAMPLE_RATE
from web.answers import CalledFunction, FunctionResult, Minutes, SaidMessage
from web.history import SAVED_CHARACTERS, SAVED_MESSAGES
from web.items import Item, size
from web.prompt import INTERRUPTED
from web.turn_state import SILENCE

#: Who speaks, as subtitles and text name them.
SPEAKERS = {"user": "User", "assistant": "Assistant"}

#: What was typed took no time; a subtitle must be read.
SHORTEST_S = 1.0

#: The least that subtitles can tell apart.
STEP_S = 0.001


def minutes(session_id: str, history: Sequence[Item], *, closed: bool) -> Minutes:
    """Of the history that was saved."""
    said = [entry for item in history for entry in _entries(item)]
    return Minutes(session_id, closed, said, _note(history))


def _note(history: Sequence[Item]) -> str | None:
    """What may be missing. Of how long that was which was dropped nobody knows, so it is said early."""
    if len(history) >= SAVED_MESSAGES:
        return f"only the newest {SAVED_MESSAGES} items are kept"
    if sum(map(size, history)) >= SAVED_CHARACTERS // 2:
        return f"only the newest items are kept, of {SAVED_CHARACTERS} characters in all"
    return None


def _entries(item: Item) -> Iterator[SaidMessage | CalledFunction | FunctionResult]:
    start, end = (None, None) if item.span is None else (at / SAMPLE_RATE for at in item.span)
    start, end = (None if at is None else round(at, 3) for at in (start, end))
    text = item.content.removesuffix(INTERRUPTED) if item.cut else item.content
    if item.role == "tool":
        yield FunctionResult(item.id, item.tool_call_id, item.content, start, end)
    elif text and not _silence(item):
        yield SaidMessage(item.id, item.role, text, item.spoken, item.cut, start, end)
    for call in item.tool_calls:
        yield CalledFunction(item.id, call.id, call.name, call.arguments, start, end)


def _silence(item: Item) -> bool:
    """It stands in the history for a user who said nothing."""
    return item.role == "user" and item.content == SILENCE


# --- for people


@dataclass(frozen=True)
class _Line:
    who: str
    text: str
    start_s: float
    end_s: float


def _lines(told: Minutes) -> Iterator[_Line]:
    """What was said, each in a line of its own. What no time is known of came right after what stands before it."""
    before_s = 0.0
    for entry in told.items:
        if not isinstance(entry, SaidMessage) or entry.role not in SPEAKERS:
            continue
        start_s = before_s if entry.start is None else entry.start
        end_s = max(start_s + SHORTEST_S, entry.end or 0.0)
        before_s = end_s
        dash = INTERRUPTED if entry.interrupted else ""
        yield _Line(SPEAKERS[entry.role], " ".join(entry.text.split()) + dash, start_s, end_s)


def as_json(told: Minutes) -> bytes:
    """As the document of our HTTP says."""
    return msgspec.json.encode(told)


def as_text(told: Minutes) -> bytes:
    """A line for each who spoke."""
    return "".join(f"{line.who}: {line.text}\n" for line in _lines(told)).encode()


def as_srt(told: Minutes) -> bytes:
    """Subtitles by session time: in order, numbered from 1, each begun after the one before it."""
    cues: list[_Line] = []
    for line in sorted(_lines(told), key=lambda line: line.start_s):
        start_s = max(line.start_s, cues[-1].start_s + STEP_S) if cues else line.start_s
        cues.append(replace(line, start_s=start_s, end_s=max(line.end_s, start_s + STEP_S)))
    return "\n".join(_cues(cues)).encode()


def _cues(lines: Iterable[_Line]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        text = line.text.replace("-->", "->")  # the arrow belongs to the times
        yield f"{number}\n{_clock(line.start_s)} --> {_clock(line.end_s)}\n{line.who}: {text}\n"


def _clock(at_s: float) -> str:
    ms = round(at_s * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


#: By the name that `?format=` gives: the content type, and how it is made.
FORMATS: dict[str, tuple[str, Callable[[Minutes], bytes]]] = {
    "json": ("application/json", as_json),
    "srt": ("application/x-subrip", as_srt),
    "text": ("text/plain", as_text),
}
