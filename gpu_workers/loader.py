"""Finds and builds engines. The only module that imports engine modules."""

import importlib
import logging
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError

from config.engine_choice import EngineChoice
from config.environment import first_fault
from config.errors import ConfigError, EngineMissing
from gpu_workers.engine import Needs

log = logging.getLogger(__name__)

Found = TypeVar("Found")

#: What to install for a module whose package goes by another name.
DISTRIBUTIONS = {
    "hibari": "hibari-tts",
    "hibari.g2p": "hibari-tts",
    "piper": "piper-tts",
    "pocket_tts": "pocket-tts",
    "piper.config": "piper-tts",
    "yaml": "pyyaml",
}

#: What installs a package that `make setup` does not.
MAKES = {
    "hibari-tts": "make kokoro",
    "ctranslate2": "make whisper",
    "tokenizers": "make whisper",
    "vllm": "make setup-vllm",
} | dict.fromkeys(("torch", "moshi", "safetensors", "pocket-tts", "huggingface_hub"), "make setup-kyutai")


def engines(stage: str) -> list[str]:
    """Names of the engines there are for a stage."""
    package = importlib.import_module(f"gpu_workers.{stage}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(stage: str, choice: EngineChoice, slots: int) -> Any:
    """Builds the engine of a stage, not yet warm.

    Options that it does not have are logged: they may be those of the profile's engine, or a slip of the pen.

    Raises ConfigError when it does not exist or its options do not fit, EngineMissing when its packages are not there.
    """

    def built(module: ModuleType, settings: Any) -> Any:
        if unknown := sorted(choice.options.keys() - type(settings).model_fields.keys()):
            log.warning("%s engine %r has no option %s", stage, choice.engine, ", ".join(unknown))
        return module.build(settings, slots)

    return _with_module(stage, choice, built)


def needs(stage: str, choice: EngineChoice, slots: int) -> Needs:
    """What the engine asks of the machine, before it is built. Raises as `load` does."""

    def told(module: ModuleType, settings: Any) -> Needs:
        return module.needs(settings, slots) if hasattr(module, "needs") else Needs()

    return _with_module(stage, choice, told)


def option_names(stage: str, choice: EngineChoice) -> set[str]:
    """The options that the engine knows; others are let pass, as they may be an earlier engine's. Raises as `load`."""
    return _with_module(stage, choice, lambda module, _: set(module.Settings.model_fields))


def _with_module(stage: str, choice: EngineChoice, then: Callable[[ModuleType, Any], Found]) -> Found:
    name = choice.engine
    if name not in engines(stage):
        raise ConfigError(f"unknown {stage} engine {name!r}; there are: {', '.join(engines(stage))}")
    try:
        module = importlib.import_module(f"gpu_workers.{stage}.{name}")
        return then(module, module.Settings(**choice.options))
    except ImportError as error:
        package = DISTRIBUTIONS.get(error.name or "", error.name)
        make = MAKES.get((package or "").partition(".")[0])
        how = f"; {make} installs it" if make else ""
        raise EngineMissing(
            f"{stage} engine {name!r} needs the package {package!r}, which is not installed ({error}){how}"
        ) from error
    except ValidationError as error:
        where, what = first_fault(error)
        raise ConfigError(f"{stage} engine {name!r}: option {where!r}: {what}") from error


def booth() -> Any:
    """What prepares recordings for a voice encoder. Raises EngineMissing when its packages or weights are not there."""
    try:
        return importlib.import_module("gpu_workers.samples.voice_booth").build()
    except ImportError as error:
        raise EngineMissing(
            f"voice cloning needs the package {error.name!r}, which is not installed ({error})"
        ) from error
