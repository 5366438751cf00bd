"""Every tuning value of Antiphon, with its unit in its name and its reason under it.

A profile (`config/profiles/*.yaml`) gives the base; `ANTIPHON_*` environment variables override single
values (`ANTIPHON_TURN__USER_SILENCE_TIMEOUT_S=5`). `load` is called once, at an entry point; nothing else
reads the environment.
"""

import os
import re
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config import catalogue
from config.errors import ConfigError

PROFILES = Path(__file__).parent / "profiles"

#: The one rate used inside: every engine takes and gives mono float32 at this rate.
SAMPLE_RATE = 24_000


#: A value of a profile that is to be taken from the environment.
_VARIABLE = re.compile(r"\$\{(\w+)\}")


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

    @property
    def window_tokens(self) -> int | None:
        """The context that a prompt may count on: the smaller, where two are named."""
        names = ("context_tokens", "max_model_len")
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


class TurnSettings(BaseModel, frozen=True):
    """When a turn ends and what interrupts a reply."""

    sure_p_end: float = Field(0.65, gt=0, lt=1)
    """Probability that the turn is over from which `min_pause_ms` ends it, where a pause is judged early."""
    certain_p_end: float = Field(0.9, gt=0, lt=1)
    """The same for a pause that lasts longer than `early_ms`: what grows with a pause is mostly the pause. On seed A of
    the bench, the waits replayed over its judgements, this halved the pauses that were cut off."""
    early_ms: int = Field(350, gt=0)
    """The first judgement comes 200 to 350 ms after the voice."""
    unsure_p_end: float = Field(0.2, ge=0, lt=1)
    """Probability up to which `longest_wait_ms` is waited; between, it is `usual_wait_ms`."""
    min_pause_ms: int = Field(200, ge=0)
    """Shortest pause that can end a turn, however sure the model is: people breathe."""
    usual_wait_ms: int = Field(1160, gt=0)
    """A pause that may be the end or not ends the turn after this. People hesitate for up to 1.5 s."""
    longest_wait_ms: int = Field(1800, gt=0)
    """A pause of this length ends the turn, whatever the model says: it is wrong on some voices."""
    patience: float = Field(1.0, gt=0, le=10)
    """Factor on all waits: the one knob between cutting people off and keeping them waiting."""
    longest_turn_s: float = Field(30.0, gt=0)
    """An utterance is closed here: the input stream keeps no more before it."""
    user_silence_timeout_s: float = Field(7.0, gt=0)
    """Silence after which the assistant takes the turn. Lower feels pushy; higher feels absent."""
    goodbye_after_silences: int = Field(3, ge=0)
    """At the silence of this number in a row the assistant says goodbye instead; 0: it never does."""
    goodbyes: dict[str, str] = {
        "en": "It seems that you have left. Until next time, bye!",
        "fr": "On dirait que vous êtes parti. À bientôt, bye!",
    }
    """What it says then, by language: a small model cannot be trusted to take its leave."""
    goodbye_ending: str = "bye!"
    """A reply that ends with this closes the session once it was heard; empty: none does."""
    echo_settle_s: float = Field(3.0, ge=0)
    """Voice alone interrupts nothing this early in a session: the browser's echo canceller still learns."""
    interrupt_voice_ms: int = Field(1000, gt=0)
    """Voice of this length interrupts if nobody has listened to it yet. The first words are known after about 800 ms,
    and "mm-hm, right" is as long."""
    interrupt_unknown_voice_ms: int = Field(4000, gt=0)
    """Voice of this length interrupts although it was listened to and no word was sure: a neighbour's is shorter."""
    interrupt_words: int = Field(1, ge=1)
    """Words that confirm an interruption."""
    interrupt_confidence: float = Field(0.6, ge=0, le=1)
    """Words of which the recogniser is less sure confirm nothing: it makes words of laughter and babble, too."""
    scrap_confidence: float = Field(0.8, ge=0, le=1)
    """The same for one or two words, unless they are such as "stop" and "wait": bits of an echo became "Several." and
    "As in." with up to .76, one-word interruptions had .81 and more."""
    resume_silence_ms: int = Field(500, gt=0)
    """Silence after which a mute that nothing confirmed is taken back."""
    false_mutes: int = Field(2, ge=0)
    """After so many mutes for nothing in one reply only words interrupt it: a noise that stays must not chop it."""
    preempt: Literal["auto", "on", "off"] = "auto"
    """Begin replies at a probable end of the turn, before it is certain. auto: unless every word has its price, that is
    for an LLM behind a URL that is not of this machine or network."""
    preempt_p_end: float = Field(0.2, ge=0, le=1)
    """Probability of the turn's end from which that is worth while."""
    preempt_most: int = Field(2, ge=0)
    """Replies begun ahead in one turn, at most: each one that was for nothing took the LLM's time from others."""
    preempt_free_share: float = Field(0.25, ge=0, le=1)
    """Share of the slots of LLM and TTS that must be free for it."""

    @model_validator(mode="after")
    def _in_order(self) -> "TurnSettings":
        if not self.unsure_p_end < self.sure_p_end <= self.certain_p_end:
            raise ValueError("unsure_p_end must be less than sure_p_end, and that no more than certain_p_end")
        if not self.min_pause_ms <= self.usual_wait_ms <= self.longest_wait_ms:
            raise ValueError("min_pause_ms, usual_wait_ms and longest_wait_ms must not fall")
        return self


class PacingSettings(BaseModel, frozen=True):
    """How far ahead of playback audio is sent, and how late a stage may be."""

    lead_ms: int = Field(160, gt=0)
    """Audio ahead of playback at a GA client. SDKs truncate by wall clock, so more would falsify what was heard."""
    unmute_lead_ms: int = Field(320, gt=0)
    """The same for Unmute's page, which buffers 240 ms itself."""
    first_word_deadline_s: float = Field(5.0, gt=0)
    """No word of the LLM by then: one retry, then an error."""
    first_audio_deadline_s: float = Field(3.0, gt=0)
    """No audio this long after the first word: one retry, then an error."""
    transcript_deadline_s: float = Field(3.0, gt=0)
    """No final transcript this long after the turn's end: an error, and listening again."""
    tts_ahead_s: float = Field(2.0, gt=0)
    """Audio a TTS worker releases beyond the last reported playback position."""
    fade_in_ms: int = Field(40, ge=0, le=200)
    """A reply that goes on after a mute begins so softly."""
    rewind_ms: int = Field(1500, ge=0)
    """The longest part of a word that is said again then."""
    report_played_s: float = Field(0.5, gt=0)
    """How often playback positions go to the TTS worker and into the saved state."""


class OwnershipSettings(BaseModel, frozen=True):
    """Leases and the watchdog: how soon a death is noticed."""

    lease_ms: int = Field(1500, gt=0)
    """Lifetime of a lease; the longest a dead worker's work lies still."""
    renew_s: float = Field(0.4, gt=0)
    """Renewal interval: three chances before a lease ends."""
    step_deadline_s: float = Field(5.0, gt=0)
    """A loop silent this long stops advertising; at twice this its process exits."""
    heartbeat_ttl_s: float = Field(5.0, gt=0)
    """A worker unseen this long is not counted on."""
    watch_s: float = Field(0.25, gt=0)
    """How often the web compares leases with what it expects."""
    claim_timeout_s: float = Field(2.0, gt=0)
    """A task unclaimed this long is sent again, if a worker has room: its worker died with it in hand."""
    tell_after_s: float = Field(1.2, gt=0)
    """A stage gone this long is told to the client. Counted from the end of its lease, so within 3 s of a death."""
    orphan_s: float = Field(10.0, gt=0)
    """A session without a web process this long gives its slots back."""
    resume_s: int = Field(120, gt=0)
    """How long a session waits for its client to come back."""


class LimitSettings(BaseModel, frozen=True):
    """Bounds of queues and messages."""

    message_bytes: int = Field(1 << 18, gt=0)
    """Largest WebSocket message taken: 4 s of base64 pcm16."""
    mailbox_items: int = Field(512, gt=0)
    """Results waiting for a session; beyond, a gap is marked and read back from replay."""
    spill_bytes: int = Field(1 << 20, gt=0)
    """Unsent bytes for a slow client; beyond, it is disconnected."""
    audio_keep_s: float = Field(30.0, gt=0)
    """Input audio kept before the open utterance, for a worker that takes over."""
    session_ttl_s: int = Field(3600, gt=0)
    """Life of a session's state after its last change."""
    replay_items: int = Field(4000, gt=0)
    """Results kept per stage for who missed them: over 5 minutes of 80 ms frames."""


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


class Settings(BaseSettings, frozen=True):
    """The whole tree; `load()` builds it."""

    model_config = SettingsConfigDict(env_prefix="ANTIPHON_", env_nested_delimiter="__", extra="forbid")

    profile: str = "embedded"
    redis_url: str = "redis://127.0.0.1:6379/0"
    """State server: broker, sessions, leases. Append-only file on."""
    media_url: str = "redis://127.0.0.1:6379/1"
    """Media server: audio, text, replay. Never on a disk."""
    voices_file: Path = Path(__file__).parent.parent / "voices.yaml"
    record_dir: Path | None = None
    """Where `antiphon replay` finds what happened in sessions whose clients consented: words and decisions, no audio.
    None: nothing is recorded. Nobody clears it up."""
    models_dir: Path = Path("~/.cache/antiphon/models")
    """Where `antiphon models pull` puts weights and workers look for them; /models in containers. A cache: what is
    in it can be fetched again, and several installations may share it."""
    hub_url: str = Field(
        "https://huggingface.co", validation_alias=AliasChoices("ANTIPHON_HUB_URL", "HF_ENDPOINT")
    )
    """Hugging Face's hub or a mirror that answers as it does; only pulling asks it."""
    hub_token: SecretStr | None = Field(None, validation_alias=AliasChoices("ANTIPHON_HUB_TOKEN", "HF_TOKEN"))
    """For models whose terms must be accepted. Shown to the hub alone, and never logged."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    metrics_port: int = Field(0, ge=0, le=65535)
    """Port of a worker's own /metrics; 0: none."""
    metrics_host: str = "127.0.0.1"
    """Address of that port; 0.0.0.0 in an overlay network, where Prometheus comes from elsewhere."""
    stt: EngineChoice
    llm: EngineChoice
    tts: EngineChoice
    voices: VoiceSettings = VoiceSettings()  # type: ignore[call-arg]
    turn: TurnSettings = TurnSettings()  # type: ignore[call-arg]
    pacing: PacingSettings = PacingSettings()  # type: ignore[call-arg]
    ownership: OwnershipSettings = OwnershipSettings()  # type: ignore[call-arg]
    limits: LimitSettings = LimitSettings()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _models_are_known(self) -> "Settings":
        for choice in (self.stt, self.llm, self.tts, self.voices):
            catalogue.resolved(choice.options, self.models_dir)
        return self

    @model_validator(mode="after")
    def _cloned_voices_can_be_spoken(self) -> "Settings":
        """Else a voice would be made, and every reply with it fail."""
        encoder, there = self.voices.encoder, self.tts.mixes or (self.tts.engine,)
        if encoder in SPOKEN_BY and SPOKEN_BY[encoder] not in there:
            raise ConfigError(
                f"voices.encoder {encoder!r} makes voices for the tts engine {SPOKEN_BY[encoder]!r}; "
                f"here speaks {' and '.join(there)}"
            )
        return self

    def stage(self, name: str) -> EngineChoice:
        """The engine of `stt`, `llm` or `tts`, or the encoder of `voices`, with the paths its `models:ID` stand for."""
        if name == "voices":
            return self.voice_encoder
        return self._placed(getattr(self, name))

    @property
    def voice_encoder(self) -> EngineChoice:
        """The module that clones voices, in the same way."""
        choice = self.voices.choice
        return self._placed(choice.model_copy(update={"python": choice.python or self.tts.python}))

    def _placed(self, choice: EngineChoice) -> EngineChoice:
        options = catalogue.resolved(choice.options, self.models_dir.expanduser())
        return choice if options == choice.options else choice.model_copy(update={"options": options})

    @property
    def preempts(self) -> bool:
        """Whether replies are begun before it is certain that the turn is over."""
        if self.turn.preempt == "auto":
            return all(map(_is_near, self.llm.hosts))
        return self.turn.preempt == "on"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment outranks the profile, which arrives as init arguments."""
        return env_settings, init_settings


def _is_near(host: str | None) -> bool:
    """No host at all, or one of this machine or network: what it writes costs nobody money."""
    if host is None or not {".", ":"} & {*host.rstrip(".")} or host.endswith((".local", ".internal", ".lan")):
        return True
    try:
        return ip_address(host).is_private
    except ValueError:
        return False


class _Profile(BaseSettings):
    """Reads only the profile's name, which says where the rest is."""

    model_config = SettingsConfigDict(env_prefix="ANTIPHON_", extra="ignore")
    profile: str = "embedded"


def profiles() -> list[str]:
    """Names of the profiles there are."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def _expanded(value: Any) -> Any:
    """A profile's value, where `${NAME}` stands for the environment variable NAME: keys do not belong into files."""
    if isinstance(value, dict):
        return {key: _expanded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner) for inner in value]
    if isinstance(value, str) and (named := _VARIABLE.fullmatch(value)):
        if named[1] not in os.environ:
            raise ConfigError(f"the profile wants the environment variable {named[1]}, which is not set")
        return os.environ[named[1]]
    return value


@cache
def load(profile: str | None = None) -> Settings:
    """Settings of `profile` (default: `ANTIPHON_PROFILE`) under the environment's overrides.

    Raises ConfigError with one line that names the setting to mend.
    """
    name = profile or _Profile().profile
    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown profile {name!r}; there are: {', '.join(profiles())}")
    try:
        return Settings(**{**_expanded(yaml.safe_load(path.read_text())), "profile": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"setting {where!r} of profile {name!r}: {first['msg']}") from error
