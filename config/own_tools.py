"""The section `tools` of the settings: functions of the server's own that the LLM may call."""

from pathlib import Path

from pydantic import BaseModel, Field


class ToolSettings(BaseModel, frozen=True):
    """A folder of Python files whose functions become tools (docs/tools.md), and how long a reply waits for them."""

    folder: Path | None = None
    """Each public function of each file in it is a tool. LLM workers read it at their start, and what stands there runs
    with their rights. None: there are no tools but the client's."""
    enabled: list[str] | None = None
    """Names of the functions that are offered; None: all that are found. For several installations with one folder."""
    timeout_s: float = Field(10.0, gt=0, le=120)
    """Longest run of a function, waiting for a free thread included. After it the model is told that there is no
    result; people hang up after less."""
    at_once: int = Field(8, gt=0, le=256)
    """Functions that run at the same time in one worker, each in a thread. One that never returns holds its thread
    until the worker ends."""
    most_calls: int = Field(8, gt=0, le=64)
    """Calls within one reply; then the model must answer with what it has got: some ask in circles."""
    result_characters: int = Field(4000, ge=100, le=20_000)
    """Longest result that the model is shown, about 1300 tokens; the rest is cut off, and it is told so. It is read
    before the reply goes on."""
    wait_phrase_after_ms: int = Field(1200, ge=0)
    """A function that takes longer, in a reply that has said nothing yet, is bridged by a phrase; 0: never. On by
    default: on a line that is silent for so long people ask whether anybody is there."""
    wait_phrases: dict[str, str] = {"en": "One moment.", "fr": "Un instant."}
    """What it says then, by language; nothing in a language that is missing. It is heard, and is no part of the
    history: a model that saw it would begin every answer so."""
    wait_phrase_before_client_calls: bool = False
    """The same phrase begins a reply that has nothing but calls of the client's functions. Off: nobody knows how long
    they take, and a model that is told to speaks by itself before it calls."""

    def wait_phrase(self, language: str) -> str:
        """What bridges a wait in this language; empty: nothing does."""
        return self.wait_phrases.get(language.partition("-")[0], "").strip()
