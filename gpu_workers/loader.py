"""Finds and builds engines. The only module that imports engine modules."""

import importlib
import pkgutil
from typing import Any

from pydantic import ValidationError

from config.errors import ConfigError, EngineMissing
from config.settings import EngineChoice

#: What to install for a module whose package goes by another name.
DISTRIBUTIONS = {"piper": "piper-tts", "piper.config": "piper-tts", "yaml": "pyyaml"}


def engines(stage: str) -> list[str]:
    """Names of the engines there are for a stage."""
    package = importlib.import_module(f"gpu_workers.{stage}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(stage: str, choice: EngineChoice, slots: int) -> Any:
    """Builds the engine of a stage, not yet warm.

    Raises ConfigError when it does not exist or its options do not fit, EngineMissing when its packages are not there.
    """
    name = choice.engine
    if name not in engines(stage):
        raise ConfigError(f"unknown {stage} engine {name!r}; there are: {', '.join(engines(stage))}")
    try:
        module = importlib.import_module(f"gpu_workers.{stage}.{name}")
        return module.build(module.Settings(**choice.options), slots)
    except ImportError as error:
        package = DISTRIBUTIONS.get(error.name or "", error.name)
        raise EngineMissing(
            f"{stage} engine {name!r} needs the package {package!r}, which is not installed ({error})"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{stage} engine {name!r}: option {where!r}: {first['msg']}") from error
