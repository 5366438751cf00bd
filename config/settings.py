"""The settings: their sections (`engine_choice.py`, `tuning.py`), and where their values come from.

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

import yaml
from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config import catalogue, variables
from config.auth import AuthSettings
from config.donation import DonationSettings
from config.engine_choice import SPOKEN_BY, EngineChoice, VoiceSettings
from config.environment import Environment, FolderOrNone, first_fault
from config.errors import ConfigError
from config.news import NewsSettings
from config.own_tools import ToolSettings
from config.tracing import TracingSettings
from config.tuning import (
    AdmissionSettings,
    LimitSettings,
    ObserveSettings,
    OwnershipSettings,
    PacingSettings,
    ScaleSettings,
    TurnSettings,
)
from config.variables import Slip

PROFILES = Path(__file__).parent / "profiles"

#: The one rate used inside: every engine takes and gives mono float32 at this rate.
SAMPLE_RATE = 24_000


#: A value of a profile that is to be taken from the environment.
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Settings(BaseSettings, frozen=True):
    """The whole tree; `load()` builds it."""

    model_config = SettingsConfigDict(env_prefix="ANTIPHON_", env_nested_delimiter="__", extra="forbid")

    profile: str = "embedded"
    """Name of a file in `config/profiles/`: the engine of each stage, and what else is to differ from the defaults.
    `--profile` outranks it."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """State server: broker, sessions, leases. Append-only file on."""
    media_url: str = "redis://127.0.0.1:6379/1"
    """Media server: audio, text, replay. Never on a disk."""
    voices_file: Path = Path(__file__).parent.parent / "voices.yaml"
    """The characters: who can be talked to, in which voice, with which instructions. The web tier reads it at its start
    and on SIGHUP."""
    record_dir: FolderOrNone = None
    """Where `antiphon replay` finds what happened in sessions whose clients consented: words and decisions. None:
    nothing is recorded. A folder of its own; web processes on several hosts may share one."""
    record_audio: bool = False
    """What users say is recorded there, too, where the client consented to that as well (`antiphon.record_audio`)."""
    record_days: float | None = Field(30.0, gt=0)
    """What was recorded is deleted so long after its last change, within the hour, by any web process. None: nobody
    clears it up but `antiphon recordings prune`."""
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
    """The least grave that web and workers write. DEBUG: also each claim of a stage and each result that came too late,
    several lines a turn. WARNING: not even that an engine is ready, nor why a session was closed."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object per line for what collects logs. Both name session, reply and trace where
    they are known."""
    log_speech: bool = False
    """What users and the assistant say goes into the log, in clear, for whoever can read it. For a developer's own
    machine; a warning at every start says that it is on."""
    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Port of a worker's own /metrics; 0: none. `antiphon up` gives its workers this and the following ones, or, if it
    is not set, looks for free ones from 9400 on; a worker that is started alone has none then."""
    metrics_host: str = "127.0.0.1"
    """Address of that port; 0.0.0.0 in an overlay network, where Prometheus comes from elsewhere."""
    stt: EngineChoice
    llm: EngineChoice
    tts: EngineChoice
    voices: VoiceSettings = VoiceSettings()  # type: ignore[call-arg]
    turn: TurnSettings = TurnSettings()  # type: ignore[call-arg]
    pacing: PacingSettings = PacingSettings()  # type: ignore[call-arg]
    ownership: OwnershipSettings = OwnershipSettings()  # type: ignore[call-arg]
    observe: ObserveSettings = ObserveSettings()  # type: ignore[call-arg]
    limits: LimitSettings = LimitSettings()  # type: ignore[call-arg]
    admission: AdmissionSettings = AdmissionSettings()  # type: ignore[call-arg]
    scale: ScaleSettings = ScaleSettings()  # type: ignore[call-arg]
    tracing: TracingSettings = TracingSettings()  # type: ignore[call-arg]
    auth: AuthSettings = AuthSettings()  # type: ignore[call-arg]
    news: NewsSettings = NewsSettings()  # type: ignore[call-arg]
    tools: ToolSettings = ToolSettings()  # type: ignore[call-arg]
    donation: DonationSettings = DonationSettings()  # type: ignore[call-arg]

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

    @model_validator(mode="after")
    def _sections_agree(self) -> "Settings":
        if self.admission.look_s >= self.ownership.heartbeat_ttl_s:
            raise ConfigError(
                "ownership.heartbeat_ttl_s must be more than admission.look_s, with which web processes beat"
            )
        if self.limits.session_ttl_s < self.ownership.resume_s:
            raise ConfigError(
                "limits.session_ttl_s must not be less than ownership.resume_s: nobody comes back to what is forgotten"
            )
        if self.limits.audio_keep_s < self.turn.longest_turn_s:
            raise ConfigError(
                "limits.audio_keep_s must not be less than turn.longest_turn_s: of a longer utterance the beginning "
                "would be lost with the media server"
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
        return Environment(settings_cls), init_settings


def slips() -> list[Slip]:
    """Environment variables that look like settings and are none."""
    return list(variables.slips(os.environ, Settings))


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
        where, what = first_fault(error)
        raise ConfigError(f"setting {where!r} of profile {name!r}: {what}") from error
