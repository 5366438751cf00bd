"""The engine of each stage and the encoder of voices: sections `stt`, `llm`, `tts` and `voices` of the settings."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

from config import catalogue
from config.environment import by_commas


class EngineChoice(BaseModel, frozen=True):
    """Which engine serves a stage, and its options."""

    engine: str
    """Name of a module in `gpu_workers/<stage>/`."""
    slots: int = Field(gt=0)
    """Sessions (stt) or replies (llm, tts) that one worker serves at once; `--slots` overrides it."""
    languages: tuple[str, ...] = ("en",)
    """What it understands, writes or speaks, by ISO 639-1: characters of other languages are listed unavailable."""
    context_tokens: int | None = Field(None, ge=256)
    """llm: longest prompt and answer together; the oldest of a longer conversation is left out, instead of the model
    refusing it. Tokens are guessed high. None: as the engine's own option (context_tokens, vLLM's max_model_len), or
    nobody knows."""
    options: dict[str, Any] = {}
    """Fields of the engine module's own `Settings`. Where one wants a path, `models:ID` stands for a model of the
    catalogue (`config/weights/`): its file, or its folder if it has several."""
    options_alone: dict[str, bool | int | float | str] = {}
    """Those of them that differ where `antiphon up --gpu` gives the engine a GPU of its own: larger shares."""
    python: Path | None = None
    """The interpreter by which `antiphon up` runs its workers, from the project's folder: an environment of its own,
    where what the engine needs does not go together with the rest. None: the one that runs `up`."""

    _listed = field_validator("languages", mode="before")(by_commas)

    @property
    def window_tokens(self) -> int | None:
        """The context that a prompt may count on: the smaller, where two are named.

        Of a model behind a URL only `context_tokens` tells: such options are left of a profile's engine.
        """
        names = () if self.hosts else ("context_tokens", "max_model_len")
        named = [self.context_tokens, *map(self.options.get, names)]
        return min((tokens for tokens in named if isinstance(tokens, int)), default=None)

    @property
    def mixes(self) -> tuple[str, ...]:
        """tts: the engines that share a worker, where it is more than one.

        A profile's options stay when a variable names another engine; that one mixes nothing.
        """
        engines = self.options.get("engines")
        return tuple(engines) if self.engine == catalogue.MIXED and isinstance(engines, dict) else ()

    @property
    def hosts(self) -> list[str | None]:
        """Where it asks for what it says; None for a name that is missing, empty for an engine in the process."""
        urls = self.options.get("urls") or self.options.get("url") or ()
        if isinstance(urls, str):
            urls = urls.split(",")
        named = (entry.get("url") if isinstance(entry, dict) else entry for entry in urls)
        return [urlsplit(str(url).strip()).hostname for url in named]

    def knows(self, language: str) -> bool:
        """Whether it serves a language; the null engine serves all."""
        return self.engine == "null" or language in self.languages


#: Which TTS engine speaks with the voices that an encoder makes.
SPOKEN_BY = {"mimi": "kyutai", "pocket": "pocket", "null": "null"}


class VoiceSettings(BaseModel, frozen=True):
    """Voice cloning: who encodes samples, and how many and for how long what comes of them is kept."""

    encoder: str = ""
    """Name of a module in `gpu_workers/voices/`: mimi for the TTS engine kyutai, pocket for pocket. Empty: no voices
    are cloned here."""
    options: dict[str, Any] = {}
    """Fields of that module's own `Settings`, such as the path of its weights."""
    python: Path | None = None
    """The interpreter of its worker, as `EngineChoice.python`; None: the TTS engine's, which needs the same."""
    upload_bytes: int = Field(4 << 20, gt=0, le=64 << 20)
    """Largest recording taken, in bytes: 4 MiB, as Unmute's clients expect."""
    uploads_at_once: int = Field(4, gt=0)
    """Recordings that one web process receives or waits for; more are refused with 503."""
    receive_s: float = Field(20.0, gt=0)
    """A recording that has not arrived by then is given up."""
    answer_s: float = Field(30.0, gt=0, le=60)
    """A recording that has not become a voice by then is given up: an encoder on a CPU takes a few seconds."""
    keep_s: int = Field(3600, gt=0)
    """Life of a cloned voice after it was made or last spoke."""
    keep_most: int = Field(200, gt=0)
    """Cloned voices kept at once; more are refused. One takes 0.25 MB (mimi) to 6.3 MB (pocket) of the media server."""

    @property
    def choice(self) -> EngineChoice:
        """What the loader wants to know."""
        return EngineChoice(engine=self.encoder, slots=1, options=self.options, python=self.python)  # type: ignore[call-arg]
