"""The characters of `voices.yaml`: their shape, and reading them so that a mistake is named by its line.

What a character is told is for `web.characters`; who of them can speak here, for `web.roles`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from config.errors import ConfigError
from config.messages import MAX_TEXT

#: ISO 639-1 codes that a character may have, and what prompts and people call them.
LANGUAGES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "fi": "Finnish", "fr": "French", "hi": "Hindi", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ru": "Russian", "sv": "Swedish", "tr": "Turkish",
    "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip

#: Of a name nobody has, so much is said back.
SHOWN_CHARACTERS = 60

Kind = Literal["constant", "smalltalk", "guess_animal", "quiz_show", "news", "unmute_explanation"]
Text = Annotated[str, Field(min_length=1, max_length=200)]


def require_language(code: str) -> str:
    """`code`, or ValueError with those there are."""
    if code not in LANGUAGES:
        raise ValueError(f"unknown language {code[:SHOWN_CHARACTERS]!r}; there are: {', '.join(LANGUAGES)}")
    return code


Language = Annotated[str, AfterValidator(require_language)]


class Instructions(BaseModel, frozen=True, extra="forbid"):
    """What a character is up to; `web.characters` makes the prompt of it."""

    type: Kind
    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)
    """Who the character is. With `constant` it is all that the character is told."""
    language: str | None = None
    """The character's own, if not given. Unmute's clients send two in one, too: en/fr."""

    @field_validator("language")
    @classmethod
    def _known(cls, codes: str | None) -> str | None:
        for code in codes.split("/") if codes else ():
            require_language(code)
        return codes


class Sound(BaseModel, frozen=True, extra="forbid"):
    """A sound of freesound.org, which Unmute's page credits."""

    id: int
    name: Text
    username: Text
    license: Text


class Source(BaseModel, frozen=True, extra="forbid"):
    """Where the voice comes from."""

    source_type: Literal["file", "freesound"] = "file"
    path_on_server: Text
    """What Unmute's clients send to choose the character. No file need lie there."""
    description: Text | None = None
    description_link: Text | None = None
    license: Text | None = None
    url: Text | None = None
    """Of a sound of freesound.org: its page."""
    start_time: int | None = Field(default=None, ge=0)
    """Where in that sound the voice is heard, in seconds."""
    sound_instance: Sound | None = None

    @model_validator(mode="after")
    def _freesound_is_credited(self) -> "Source":
        if self.source_type == "freesound" and (self.url is None or self.sound_instance is None):
            raise ValueError("a source of type freesound needs its url and sound_instance")
        return self


class Character(BaseModel, frozen=True, extra="forbid"):
    """One entry of voices.yaml."""

    name: Text
    description: Text
    good: bool = True
    """Listed; a character that is not good is had only by who knows its name."""
    language: Language
    instructions: Instructions
    source: Source
    engine_voices: dict[str, Text] = Field(min_length=1)
    """TTS engine: its name for the voice."""
    aliases: tuple[Text, ...] = ()
    """Other names to answer to, such as voices that clients of OpenAI ask for."""

    @field_validator("instructions")
    @classmethod
    def _constant_has_text(cls, instructions: Instructions) -> Instructions:
        if instructions.type == "constant" and not instructions.text:
            raise ValueError("instructions of type constant need a text")
        return instructions

    def names(self) -> tuple[str, ...]:
        """All it answers to, whatever their case."""
        return tuple(name.casefold() for name in (self.name, self.source.path_on_server, *self.aliases))

    @property
    def spoken(self) -> Instructions:
        """Its instructions, the language always given."""
        return self.instructions.model_copy(update={"language": self.instructions.language or self.language})


# --- reading the file

_CHARACTERS = TypeAdapter(Annotated[list[Character], Field(min_length=1)])

#: Part of a character, and what its fields are.
_PARTS: dict[tuple[object, ...], type[BaseModel]] = {
    (): Character,
    ("instructions",): Instructions,
    ("source",): Source,
    ("source", "sound_instance"): Sound,
}


def load(path: Path) -> list[Character]:
    """The characters of a voices file, in its order.

    Raises ConfigError for the first mistake: one line with the file, the line and what to do.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n")
        raise _mistake(path, line, "not UTF-8; save it as UTF-8") from error
    root, entries = _parse(path, text)
    _refuse_double_keys(path, root)
    try:
        characters = _CHARACTERS.validate_python(entries)
    except ValidationError as error:
        # A misspelled field is also a missing one: the former is the better news.
        first = min(error.errors(), key=lambda one: one["type"] == "missing")
        raise _mistake(path, _line(root, first["loc"]), _explain(first)) from error
    _refuse_double_names(path, root, characters)
    return characters


def _mistake(path: Path, line: int, what: str) -> ConfigError:
    """`line` counts from 0, as marks do."""
    return ConfigError(f"{path}, line {line + 1}: {what}")


def _parse(path: Path, text: str) -> tuple[yaml.Node, object]:
    """The tree with its lines, and the plain data. All scalars are strings: a name may be No, a language no."""
    try:
        loader = yaml.BaseLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise _mistake(path, 0, "the file is empty; it must be a list of characters")
        return root, loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise _mistake(path, mark.line if mark else 0, f"not valid YAML: {said}") from error
    except yaml.reader.ReaderError as error:
        raise _mistake(path, text[: error.position].count("\n"), f"not valid YAML: {error.reason}") from error


def _line(root: yaml.Node, where: Sequence[object]) -> int:
    """Line of the last part of `where` that stands in the file."""
    line, node = root.start_mark.line, root
    for part in where:
        for name, below, child in _children(node):
            if name == part:
                line, node = below, child
                break
    return line


def _children(node: yaml.Node) -> Iterator[tuple[object, int, yaml.Node]]:
    """(name or index, line, node) of each."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key.start_mark.line, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((index, item.start_mark.line, item) for index, item in enumerate(node.value))


def _refuse_double_keys(path: Path, node: yaml.Node) -> None:
    """YAML's reader would let the last one win in silence."""
    seen: set[object] = set()
    for name, line, child in _children(node):
        if name in seen:
            raise _mistake(path, line, f"{name!r} is given twice; keep one")
        seen.add(name)
        _refuse_double_keys(path, child)


def _refuse_double_names(path: Path, root: yaml.Node, characters: Sequence[Character]) -> None:
    owners: dict[str, Character] = {}
    for index, character in enumerate(characters):
        for name in character.names():
            other = owners.setdefault(name, character)
            if other is not character:
                what = f"{name!r} already means {other.name!r}; names, paths and aliases must differ"
                raise _mistake(path, _line(root, (index,)), what)


def _explain(error: ErrorDetails) -> str:
    """What is wrong, and how to mend it. Its place is the character's index, then field by field."""
    inner = tuple(part for part in error["loc"][1:] if part != "[key]")
    field = ".".join(str(part) for part in inner)
    match error["type"]:
        case "list_type" | "too_short" if not error["loc"]:
            return "the file must be a list of characters, each beginning with '- name: …'"
        case "model_type":
            return f"{field or 'a character'} must have fields, each on its line as 'field: value'"
        case "missing":
            return f"{field!r} is missing; add it"
        case "extra_forbidden":
            known = ", ".join(_PARTS[inner[:-1]].model_fields)
            return f"unknown field {field!r}; there are: {known}"
    return f"{field}: {error['msg'].removeprefix('Value error, ')}"
