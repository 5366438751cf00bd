"""The STT's models for a bench that plays the same sound again and again: results and their cost are kept on disk.

A decode's or judgement's cost is the CPU time of its thread: as if every worker had a core of its own.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bench.turns.virtual_work import Desk
from gpu_workers.endpoint.silero import SileroVad
from gpu_workers.endpoint.smart_turn import WINDOW, SmartTurn
from gpu_workers.engine import Pcm, Slot
from gpu_workers.moonshine import Moonshine, never
from gpu_workers.stt.embedded import Parts, Settings

#: Another process may be writing.
LOCKED_S = 60.0


class Memo:
    """What a model said of an input, and the seconds it took. One file for all processes."""

    def __init__(self, path: Path | str) -> None:
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._table = sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)
        self._table.execute("pragma journal_mode = wal")
        self._table.execute("pragma synchronous = off")
        self._table.execute("create table if not exists memo (key blob primary key, said, seconds real)")
        self.missed = 0

    def ask(self, model: str, pcm: Pcm, run: Callable[[], str | float]) -> tuple[str | float, float]:
        """The answer and its cost, from the table or from `run`."""
        key = hashlib.blake2b(pcm.tobytes(), digest_size=20, key=model.encode()[:64]).digest()
        row = self._table.execute("select said, seconds from memo where key = ?", (key,)).fetchone()
        if row is not None:
            return row[0], row[1]
        self.missed += 1
        began_s = time.thread_time()
        said = run()
        took_s = time.thread_time() - began_s
        self._table.execute("insert or replace into memo values (?, ?, ?)", (key, said, took_s))
        return said, took_s


class Library:
    """The models of one process, loaded when an answer is not known yet; each runs once before its time is taken."""

    def __init__(self, settings: Settings, memo: Memo) -> None:
        self.memo = memo
        self._settings = settings

    @cached_property
    def vad(self) -> SileroVad:
        """Voice detection, for one slot."""
        return SileroVad(1, self._settings.vad_threads)

    @cached_property
    def smart_turn(self) -> SmartTurn:
        """Warm."""
        model = SmartTurn(1)
        model.p_end(np.zeros(WINDOW, np.float32))
        return model

    @cached_property
    def moonshine(self) -> Moonshine:
        """Warm."""
        model = Moonshine(1)
        model.transcribe(np.zeros(WINDOW, np.float32))
        return model


class KnownVad(SileroVad):
    """Hears a session once; when the same session is played again it says the same."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._said: list[float] = []
        self._at = 0

    def reset(self, slot: Slot) -> None:
        """From the start."""
        self._at = 0
        if not self._said:
            self._library.vad.reset(slot)

    def probabilities(self, frames: Mapping[Slot, Pcm]) -> dict[Slot, float]:
        """Of the one slot there is."""
        if not frames:
            return {}
        ((slot, _),) = frames.items()
        if self._at == len(self._said):
            self._said.append(self._library.vad.probabilities(frames)[slot])
        self._at += 1
        return {slot: self._said[self._at - 1]}


class KnownSmartTurn(SmartTurn):
    """Asks the memo first."""

    def __init__(self, library: Library, desk: Desk) -> None:
        self._library, self._desk = library, desk
        self._name = f"smart-turn {version('pipecat-ai')}"

    def p_end(self, pcm: Pcm) -> float:
        """The probability; its cost is the desk's."""
        said, took_s = self._library.memo.ask(
            self._name, pcm[-WINDOW:], lambda: self._library.smart_turn.p_end(pcm)
        )
        self._desk.spend(took_s)
        return float(said)


class KnownMoonshine(Moonshine):
    """Asks the memo first."""

    def __init__(self, library: Library, desk: Desk) -> None:
        self._library, self._desk = library, desk
        self._name = f"moonshine {version('moonshine-voice')}, with its confidence"

    def recognise(self, pcm: Pcm, abandoned: Callable[[], bool] = never) -> tuple[str, float]:
        """The words; their cost is the desk's. Never gives up: whoever counts the time does."""

        def run() -> str:
            text, confidence = self._library.moonshine.recognise(pcm)
            return f"{confidence:.4f} {text}"

        said, took_s = self._library.memo.ask(self._name, pcm, run)
        self._desk.spend(took_s)
        confidence, _, text = str(said).partition(" ")
        return text, float(confidence)


def parts(library: Library, vad: KnownVad, desk: Desk, settings: Settings) -> Parts:
    """For an engine in virtual time."""
    return Parts(
        vad=vad,
        smart_turn=KnownSmartTurn(library, desk),
        recogniser=KnownMoonshine(library, desk),
        decoders=desk.pool(settings.decode_workers),
        judges=desk.pool(1),
        results=desk.results,
        clock=desk.clock,
    )
