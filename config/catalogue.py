"""The catalogue of weights: where each file comes from, what it must be, who may use it for what. Fetches nothing.

One YAML file for each family in `config/weights/`; each of its keys is the id of a model.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from config.environment import first_fault
from config.errors import ConfigError

FOLDER = Path(__file__).parent / "weights"

#: How an option of a profile names a model of the catalogue: `models:ID`.
REFERENCE = "models:"

#: The engine that is made of others.
MIXED = "mixed"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: A commit of a hub, whole: branches and tags move.
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]

#: No path of the catalogue leads out of its folder.
Inside = Annotated[str, Field(pattern=r"^\w[\w.@+-]*(/\w[\w.@+-]*)*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PyPi(_Frozen):
    """Files of installed Python packages: found there, never fetched."""

    kind: Literal["pypi"]
    packages: tuple[str, ...] = Field(min_length=1)
    version: str
    install: str = "make setup"
    """The command that installs it."""

    def __str__(self) -> str:
        return f"PyPI {', '.join(self.packages)} {self.version}"


class Npm(_Frozen):
    """Files of an npm package, which is fetched whole and checked whole."""

    kind: Literal["npm"]
    package: str
    version: str
    sha256: Sha256
    """Of the archive as the registry delivers it."""

    def __str__(self) -> str:
        return f"npm {self.package} {self.version}"


class Hub(_Frozen):
    """Files of a repository of Hugging Face's hub, or of a mirror that answers as it does."""

    kind: Literal["hub"]
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: Commit | None = None
    """None: nobody told us a commit; the newest is taken at the first pull and its checksum kept beside the file."""
    gated: bool = False
    """Whether its terms must be accepted there, and a token given, before it hands anything out."""

    def __str__(self) -> str:
        return f"hub {self.repository}" + (f" at {self.revision[:12]}" if self.revision else " (newest)")


class Url(_Frozen):
    """Files below an address. The server vouches for nothing, so each needs its checksum here."""

    kind: Literal["url"]
    base: str = Field(pattern=r"^https://\S+[^/]$")

    def __str__(self) -> str:
        return self.base


Source = Annotated[PyPi | Npm | Hub | Url, Field(discriminator="kind")]


class File(_Frozen):
    """One file of a model."""

    name: Inside
    """Where it lies: in the model's folder, or (PyPI) among the installed packages."""
    path: Inside | None = None
    """Where it lies at its source, if it is another place."""
    size: int | None = Field(None, gt=0)
    """Bytes; None: not known to us."""
    sha256: Sha256 | None = None
    """None: nobody has published it where we could read it. Pulling checks it against what the hub says."""
    revision: Commit | None = None
    """Of a hub, where its file is of another commit than the rest."""

    @property
    def at_source(self) -> str:
        """Its path at the source."""
        return self.path or self.name


class Use(_Frozen):
    """Which engine takes the model, and by which option it is named."""

    engine: str = Field(pattern=r"^(stt|llm|tts|voices|bench)/\w+$")
    option: str | None = None
    """The option that names the model, or another in its place; None: the engine always takes it."""
    default: bool = False
    """Whether it is taken where the option says nothing."""


class Licences(_Frozen):
    """What the package, the model's card or its publisher states; no legal advice."""

    code: str
    weights: str
    link: str = Field(pattern=r"^https://")


class Model(_Frozen):
    """Files that belong together."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    what: str
    licences: Licences
    source: Source
    files: tuple[File, ...] = Field(min_length=1)
    used_by: tuple[Use, ...] = Field(min_length=1)
    note: str = ""

    @model_validator(mode="after")
    def _sound(self) -> "Model":
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("two files of one name")
        if self.source.kind != "hub" and not all(file.sha256 for file in self.files):
            raise ValueError("only a hub vouches for files without a sha256")
        if self.source.kind != "hub" and any(file.revision for file in self.files):
            raise ValueError("only a hub has revisions")
        return self

    @property
    def installed(self) -> bool:
        """Whether it comes in a Python package, and so is not fetched."""
        return self.source.kind == "pypi"

    def revision(self, file: File) -> str | None:
        """The commit at which a hub has the file; None: the newest, or it comes from elsewhere."""
        return file.revision or (self.source.revision if isinstance(self.source, Hub) else None)

    def place(self, models_dir: Path) -> Path:
        """What an option that refers to it stands for: its only file, or else its folder."""
        folder = models_dir / self.id
        return folder / self.files[0].name if len(self.files) == 1 else folder


_FAMILY = TypeAdapter(dict[str, dict[str, Any]])


@cache
def models() -> dict[str, Model]:
    """All models by their ids. Raises ConfigError where a file of the catalogue is wrong."""
    found: dict[str, Model] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            for name, fields in _FAMILY.validate_python(yaml.safe_load(path.read_text())).items():
                if name in found:
                    raise ConfigError(f"{path.name}: there are two models {name!r}")
                found[name] = Model(id=name, **fields)
        except ValidationError as error:
            where, what = first_fault(error)
            raise ConfigError(f"{path.name}: {where}: {what}") from error
    return found


def model(name: str) -> Model:
    """The model of this id; ConfigError names those there are."""
    if name not in models():
        raise ConfigError(f"unknown model {name!r}; there are: {', '.join(models())}")
    return models()[name]


def resolved(value: Any, models_dir: Path) -> Any:
    """An option's value, in which `models:ID` became the path where that model lies, or will. Looks at no disk."""
    if isinstance(value, dict):
        return {key: resolved(inner, models_dir) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, models_dir) for inner in value]
    if isinstance(value, str) and value.startswith(REFERENCE):
        named = model(value.removeprefix(REFERENCE))
        if named.installed:
            raise ConfigError(f"{named.id!r} comes in a Python package; leave out the option that names it")
        return str(named.place(models_dir))
    return value


def references(value: Any) -> set[str]:
    """Ids of the models that an option's value refers to."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return {name for one in inner for name in references(one)}
    if isinstance(value, str) and value.startswith(REFERENCE):
        return {model(value.removeprefix(REFERENCE)).id}
    return set()


def wanted(stage: str, engine: str, options: dict[str, Any], optional: bool = True) -> list[Model]:
    """The models that an engine with these options takes, in the catalogue's order.

    The engine whose option `engines` names others, with options of their own, takes what they take. Those
    that are not `required` are optional: it does without what is not there.
    """
    parts = options.get("engines")
    if engine == MIXED and isinstance(parts, dict):
        several = [
            wanted(stage, name, _fields(_fields(part).get("options")))
            for name, part in parts.items()
            if optional or _fields(part).get("required")
        ]
        return [one for one in models().values() if any(one in some for some in several)]
    referred = references({name: value for name, value in options.items() if name != "engines"})

    def takes(one: Model) -> bool:
        uses = [use for use in one.used_by if use.engine == f"{stage}/{engine}"]
        always = any(use.option is None or (use.default and options.get(use.option) is None) for use in uses)
        return always or one.id in referred

    return [one for one in models().values() if takes(one)]


def _fields(value: Any) -> dict[str, Any]:
    """What is no mapping, its engine will refuse, and say so."""
    return value if isinstance(value, dict) else {}


def owner(path: Path) -> tuple[Model, File] | None:
    """Whose file this is, judged by the end of its path: `…/ID/name`."""
    for depth, parent in enumerate(path.parents):
        if found := models().get(parent.name):
            name = "/".join(path.parts[-depth - 1 :])
            return next(((found, file) for file in found.files if file.name == name), None)
    return None
