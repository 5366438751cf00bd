"""What environment variables say, made into values: JSON at any depth, lists by commas. Which there are, settings say.

pydantic-settings reads JSON only where it knows that a list or an object is wanted; of engines' options it knows
nothing, and of a value that does not parse it says the section, not the variable.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from config.errors import ConfigError

#: What JSON of a list and of an object begins with; no other value of ours does.
OPENING = ("[", "{")

#: pydantic's names for "this is no object", and what to tell whoever wrote one in a variable.
NO_OBJECT, OBJECT = (
    ("dict_type", "model_type", "dataclass_type"),
    'an object is written as JSON, such as {"name": 1}',
)


class Environment(EnvSettingsSource):
    """The variables, one for a whole section before those for parts of it: what is said more exactly counts."""

    def __call__(self) -> dict[str, Any]:
        """What they set. Raises ConfigError with the name of one that is no JSON although it begins so."""
        prefix = self.env_prefix.lower()
        self.env_vars = {
            name: _value(name, text) if name.startswith(prefix) else text
            for name, text in sorted(self.env_vars.items())
        }
        return super().__call__()

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """It was read already; what is still text is for the setting to take or to refuse."""
        return value


def _value(name: str, text: str | None) -> Any:
    if text is None or not text.lstrip().startswith(OPENING):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"variable {name.upper()} is no valid JSON: {error}") from error


def by_commas(value: Any) -> Any:
    """A list's value before it is judged: where it is text, its parts between commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _or_none(value: Any) -> Any:
    """Nothing, where a variable is there but empty: compose files and shells make such ones of what nobody set."""
    return value.strip() or None if isinstance(value, str) else value


def _at_home(folder: Path | None) -> Path | None:
    return folder and folder.expanduser()


#: Of a setting that may be left out, and is by an empty variable, too: else that would mean the folder one stands in.
FolderOrNone = Annotated[Path | None, BeforeValidator(_or_none), AfterValidator(_at_home)]
SecretOrNone = Annotated[SecretStr | None, BeforeValidator(_or_none)]


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Where the first thing is that does not fit, as a dotted path, and what is wrong with it."""
    first = error.errors()[0]
    is_text = first["type"] in NO_OBJECT and isinstance(first["input"], str)
    return ".".join(map(str, first["loc"])), f"{first['msg']}; {OBJECT}" if is_text else first["msg"]
