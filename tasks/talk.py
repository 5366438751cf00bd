"""One reply's talk with the model: what it said, which of our own functions it asked for, what they gave. Pure.

It is put together from the results of its writer, as they are sent or as a predecessor left them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from config.messages import Called, ChatMessage, Consulted, Consulting, ToolCall, Words


@dataclass
class Round:
    """What the model said, and then asked for at once. `results`: None while they are not all there."""

    said: str
    calls: Sequence[ToolCall]
    results: Sequence[str] | None = None


class Talk:
    """Grows by results; the newest round may be open."""

    def __init__(self) -> None:
        self.words: list[str] = []
        """All that the reply says, fillers too."""
        self._fillers: set[int] = set()
        self._round_begins = 0
        self.called = 0
        """Calls of the client's functions."""
        self.rounds: list[Round] = []

    def take(self, body: object) -> None:
        """The next result."""
        match body:
            case Words(index=index, words=words, filler=filler):
                self.words[index:] = words
                if filler:
                    self._fillers.update(range(index, index + len(words)))
            case Called():
                self.called += 1
            case Consulting(calls=calls):
                self.rounds.append(Round(self.answered.strip(), calls))
                self._round_begins = len(self.words)
            case Consulted(results=results) if self.open:
                self.rounds[-1].results = results

    @property
    def answered(self) -> str:
        """What the model said since it heard of the newest results."""
        said = enumerate(self.words[self._round_begins :], self._round_begins)
        return "".join(word for number, word in said if number not in self._fillers)

    @property
    def open(self) -> bool:
        """Functions were asked for, and their results are not there."""
        return bool(self.rounds) and self.rounds[-1].results is None

    @property
    def asked(self) -> int:
        """Calls of our own functions."""
        return sum(len(past.calls) for past in self.rounds)

    def messages(self) -> Iterator[ChatMessage]:
        """The rounds that are over, for the model to go on from."""
        for past in self.rounds:
            if past.results is not None:
                yield ChatMessage("assistant", past.said, tuple(past.calls))
                for call, result in zip(past.calls, past.results, strict=False):
                    yield ChatMessage("tool", result, tool_call_id=call.id)
