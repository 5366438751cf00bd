"""The server's own tools: Python functions of a folder, each with the JSON schema that its hints make. Runs none."""

import asyncio
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError

from config.errors import ConfigError
from config.messages import MOST_TOOLS, Tool
from config.own_tools import ToolSettings

#: OpenAI takes no longer one, and nor do we.
LONGEST_NAME = 64

#: Of the modules that are made of the files; nobody imports them by it.
PREFIX = "antiphon_tools_"

_EITHER_WAY = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class OwnTool:
    """One function, as the model is told of it and as it is called."""

    tool: Tool
    file: Path
    once: bool
    """It has effects that must not happen twice: `function.once = True`."""
    _call: Callable[..., Any]
    _arguments: type[BaseModel]

    def read(self, arguments: str) -> dict[str, Any]:
        """Arguments as the model wrote them. Raises pydantic.ValidationError, a ValueError that names what is wrong."""
        given = self._arguments.model_validate_json(arguments)
        return {
            field.alias or name: getattr(given, name) for name, field in self._arguments.model_fields.items()
        }

    def run(self, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        """In the caller's thread; a coroutine ends at the timeout. Raises what the function raises."""
        result = self._call(**arguments)
        if inspect.iscoroutine(result):
            return asyncio.run(asyncio.wait_for(result, timeout_s))
        return result


Toolbox = Mapping[str, OwnTool]
"""By name."""


def load(settings: ToolSettings) -> Toolbox:
    """All that are enabled. Raises ConfigError, which names file and function and says how to mend them."""
    if settings.folder is None:
        return {}
    folder = settings.folder.expanduser()
    if not folder.is_dir():
        raise ConfigError(f"tools.folder {str(folder.absolute())!r} is no folder")
    found: dict[str, OwnTool] = {}
    for own in _all_of(folder.resolve()):
        if (other := found.get(own.tool.name)) is not None:
            raise ConfigError(
                f"{own.file}: there is a function {own.tool.name!r} in {other.file.name} already; rename one of them"
            )
        found[own.tool.name] = own
    return _enabled(found, settings.enabled)


def _enabled(found: dict[str, OwnTool], names: list[str] | None) -> Toolbox:
    if names is not None:
        if missing := sorted(set(names) - set(found)):
            raise ConfigError(
                f"tools.enabled names {', '.join(map(repr, missing))}; in the folder there are: "
                f"{', '.join(sorted(found)) or 'none'}"
            )
        found = {name: own for name, own in found.items() if name in names}
    if len(found) > MOST_TOOLS:
        raise ConfigError(f"{len(found)} functions are more than a model can be told of ({MOST_TOOLS})")
    return found


def _all_of(folder: Path) -> Iterator[OwnTool]:
    """Files may import each other; those that begin with _ hold no tools."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for file in sorted(folder.glob("*.py")):
        if file.name.startswith("_"):
            continue
        functions = list(_functions_of(_imported(file)))
        if not functions:
            raise ConfigError(
                f"{file}: there is no function in it whose name does not begin with _; a file that only helps "
                "others begins with _ itself"
            )
        for function in functions:
            yield own_tool(function, file)


def _imported(file: Path) -> ModuleType:
    name = PREFIX + file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{_place(error, file)}: it cannot be imported: {_told(error)}") from error
    return module


def _place(error: BaseException, file: Path) -> str:
    """Where in the file something went wrong, as far as that is known."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    return f"{file}:{lines[-1]}" if lines else str(file)


def _told(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it where the LLM workers run"
    return f"{type(error).__name__}: {error}"


def _functions_of(module: ModuleType) -> Iterator[Callable[..., Any]]:
    for name, value in vars(module).items():
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__:
            yield value


def own_tool(function: Callable[..., Any], file: Path) -> OwnTool:
    """A function with what is needed to offer it. Raises ConfigError."""
    name = function.__name__
    where = f"{file}: function {name!r}"
    if not name.isascii() or len(name) > LONGEST_NAME:
        raise ConfigError(f"{where}: models want a name of at most {LONGEST_NAME} letters, digits and _")
    description = inspect.getdoc(function)
    if not description:
        raise ConfigError(f"{where} has no docstring; the model learns from it what the function is for")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{where} yields; a tool returns its result")
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **_fields(function, where))
        schema = _without_titles(arguments.model_json_schema())
    except (PydanticUserError, NameError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{where}: no JSON schema can be made of its hints: {reason}") from error
    schema.pop("description", None)
    tool = Tool(name, description, schema)
    return OwnTool(tool, file, bool(getattr(function, "once", False)), function, arguments)


def _fields(function: Callable[..., Any], where: str) -> dict[str, Any]:
    """By names of their own, for pydantic keeps some to itself; JSON knows them by the parameters'."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind not in _EITHER_WAY:
            raise ConfigError(f"{where}: {parameter} cannot be given by name; a model gives all arguments so")
        if parameter.name not in hints:
            raise ConfigError(
                f"{where}: parameter {parameter.name!r} has no type hint; say e.g. {parameter.name}: str"
            )
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        hint = hints[parameter.name]
        fields[f"p{number}"] = (hint, Field(default, alias=parameter.name, description=_description(hint)))
    return fields


def _description(hint: Any) -> str | None:
    """Of `Annotated[str, "what it is"]`."""
    if get_origin(hint) is not Annotated:
        return None
    return next((extra for extra in get_args(hint)[1:] if isinstance(extra, str)), None)


def _without_titles(schema: Any) -> Any:
    """Without pydantic's titles, which repeat names for a model to read. A parameter may be called title."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_without_titles(value) for value in schema] if isinstance(schema, list) else schema
