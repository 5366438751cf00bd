"""The tables of docs/configuration.md: settings, engines' options, what profiles say. `make configuration` writes them.

Sources are read, not imported: engines for GPUs are described on machines that have none of their packages.

python -m tools.configuration_tables            writes
python -m tools.configuration_tables --check    says whether they are as declared
"""

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tools.tables import ROOT, Paper, table

PAPER = Paper(ROOT / "docs/configuration.md", "tools/configuration_tables.py", "configuration")

HEAD = ("setting", "variable", "default", "unit", "range", "what and why")

#: The end of a name, and the unit that it says. Longer ends come first.
UNITS = {
    "_per_s": "1/s", "_x_realtime": "of real time", "_db_s": "dB/s", "_db": "dB", "_ms": "ms", "_s": "s",
    "_days": "days",
    "_bytes": "bytes", "_mb": "MB", "_tokens": "tokens", "_samples": "samples at 24 kHz", "_words": "words",
    "_characters": "characters", "_share": "share", "_ratio": "share", "_items": "items", "_p_end": "probability",
    "_confidence": "probability", "slots": "slots", "threads": "threads",
}  # fmt: skip

#: What a range's keyword means.
SIGNS = {
    "gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}",
    "min_length": "at least {} long", "max_length": "at most {} long",
}  # fmt: skip

#: Sections that profiles do not begin with.
STAGES = ("stt", "llm", "tts", "voices")


@dataclass(frozen=True)
class Class:
    """A class of settings in the sources."""

    module: str
    node: ast.ClassDef


@dataclass(frozen=True)
class Setting:
    """One value that can be set."""

    path: tuple[str, ...]
    default: str
    range: str
    reason: str
    other_names: tuple[str, ...] = ()

    def unit(self) -> str:
        name = self.path[-1]
        return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


# --- reading the sources


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(file_of(module).read_text())


def file_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imports(module: str) -> Mapping[str, tuple[str, str]]:
    """What a module's names stand for, where they come from ours: (module, name), or (module, "")."""
    found = {}
    for node in tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                known = (inner, "") if file_of(inner).is_file() else (node.module, alias.name)
                if file_of(known[0]).is_file():
                    found[alias.asname or alias.name] = known
    return found


def class_of(module: str, expression: ast.expr | None) -> Class | None:
    """The class of ours that a name, an attribute or a call in `module` stands for."""
    if isinstance(expression, ast.Call):
        return class_of(module, expression.func)
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        of, inner = imports(module).get(expression.value.id, ("", ""))
        return class_of(of, ast.Name(expression.attr)) if of and not inner else None
    if not isinstance(expression, ast.Name):
        return None
    for node in tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == expression.id:
            return Class(module, node)
    of, inner = imports(module).get(expression.id, ("", ""))
    return class_of(of, ast.Name(inner)) if inner else None


def value_of(module: str, expression: ast.expr) -> Any:
    """What an expression of constants is worth; what cannot be reckoned here is its source."""
    names: dict[str, Any] = {"Path": Path, "__file__": str(file_of(module)), "frozenset": frozenset}
    for node in tree(module).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id.isupper()
        ):
            names[node.targets[0].id] = value_or_source(node.value, names)
    return value_or_source(expression, names)


def value_or_source(expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """Reckoned, where it can be; the expressions are our own sources'."""
    try:
        return eval(compile(ast.Expression(expression), "", "eval"), {"__builtins__": {}, **names})
    except Exception:
        return ast.unparse(expression)


def fields_of(of: Class) -> Iterator[tuple[str, ast.AnnAssign, str, str]]:
    """(module, field, name, docstring) of a class and of those of ours that it extends, overridden ones once."""
    found: dict[str, tuple[str, ast.AnnAssign, str]] = {}
    for base in of.node.bases:
        if inherited := class_of(of.module, base):
            found |= {name: (module, node, reason) for module, node, name, reason in fields_of(inherited)}
    body = of.node.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            told = (
                after.value.value
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                else ""
            )
            earlier = found.get(node.target.id, ("", node, ""))[2]
            found[node.target.id] = (of.module, node, " ".join(str(told).split()) or earlier)
    yield from ((module, node, name, reason) for name, (module, node, reason) in found.items())


def settings_of(
    of: Class, path: tuple[str, ...], said: Mapping[str, ast.expr], said_in: str
) -> Iterator[Setting]:
    """All values below a class; `said`: defaults that who makes one of it gives, in module `said_in`."""
    for module, node, name, reason in fields_of(of):
        if isinstance(node.annotation, ast.Name) and node.annotation.id == "ClassVar":
            continue
        here, default = (said_in, said[name]) if name in said else (module, node.value)
        inner = class_of(module, node.annotation)
        if inner and any(fields_of(inner)):
            given = default if isinstance(default, ast.Call) and class_of(here, default) else None
            keywords = {word.arg: word.value for word in given.keywords if word.arg} if given else {}
            below = class_of(here, given) if given else inner
            yield from settings_of(below or inner, (*path, name), keywords, here)
        else:
            yield setting(module, node, (*path, name), (here, default), reason)


def setting(
    module: str, node: ast.AnnAssign, path: tuple[str, ...], default: tuple[str, ast.expr | None], reason: str
) -> Setting:
    """One value, of its field, its default and what stands under it."""
    field = node.value if is_field(node.value) else None
    keywords = {word.arg: word.value for word in field.keywords if word.arg} if field else {}
    here, said = default
    if is_field(said):
        words = {word.arg: word.value for word in said.keywords}
        said = said.args[0] if said.args else words.get("default", words.get("default_factory"))
    ranges = [
        sign.format(value_of(module, keywords[name])) for name, sign in SIGNS.items() if name in keywords
    ]
    if "pattern" in keywords:
        ranges.append(f"matches `{value_of(module, keywords['pattern'])}`")
    others = tuple(
        str(name.value)
        for name in getattr(keywords.get("validation_alias"), "args", ())
        if isinstance(name, ast.Constant)
    )
    shown = "" if said is None else shown_default(value_of(here, said))
    return Setting(path, shown, ", ".join([*choices(module, node.annotation), *ranges]), reason, others)


def is_field(node: ast.expr | None) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Field", "field")
    )


def choices(module: str, annotation: ast.expr) -> Iterator[str]:
    """The words that a value may be; or what kind of thing it is, where its default does not show it."""
    kind = ast.unparse(annotation)
    if kind.startswith("Literal["):
        values = annotation.slice if isinstance(annotation, ast.Subscript) else annotation
        yield " / ".join(str(ast.literal_eval(one)) for one in getattr(values, "elts", [values]))
    elif kind == "bool":
        yield "true / false"
    elif kind.startswith("dict"):
        yield "JSON object"
    elif kind.startswith("tuple"):
        yield "JSON list, or by commas"


def shown_default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Path):
        value = value.relative_to(ROOT) if value.is_relative_to(ROOT) else value
    return f"`{as_text(value)}`" if str(value) else "empty"


def as_text(value: Any) -> str:
    """As a variable would hold it."""
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, bool | dict | list | tuple) else str(value)
    )


# --- what profiles say


@cache
def profiles() -> dict[str, dict[str, Any]]:
    files = sorted((ROOT / "config/profiles").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text()) for file in files}


def by_profile(path: tuple[str, ...]) -> str:
    """What profiles say for a path, where they do."""
    said = {}
    for name, profile in profiles().items():
        value: Any = profile
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            said[name] = value
    return ", ".join(f"{name}: `{as_text(value)}`" for name, value in said.items())


def engine_by_profile(stage: str, engine: str, path: tuple[str, ...]) -> str:
    """The same of an engine's option; one that shares a worker with others is found there."""
    said = []
    for name, profile in profiles().items():
        choice = profile.get(stage, {})
        if choice.get("engine") == engine:
            options = choice.get("options", {})
        else:
            options = choice.get("options", {}).get("engines", {}).get(engine, {}).get("options", {})
        value: Any = options
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            said.append(f"{name}: `{as_text(value)}`")
    return ", ".join(said)


# --- tables


def row(one: Setting, variables: str, differs: str) -> tuple[str, ...]:
    default = "; ".join(part for part in (one.default, differs) if part) or "must be given"
    return f"`{'.'.join(one.path)}`", variables, default, one.unit(), one.range, one.reason


def summary(of: Class) -> str:
    return (ast.get_docstring(of.node) or "").split("\n")[0]


def section_lines() -> Iterator[str]:
    """The settings, a table for those without a section and one for each section."""
    top = class_of("config.settings", ast.Name("Settings"))
    assert top
    by_section: dict[str, list[Setting]] = {}
    for one in settings_of(top, (), {}, ""):
        by_section.setdefault(one.path[0] if len(one.path) > 1 else "", []).append(one)
    meant = {name: class_of(module, node.annotation) for module, node, name, _ in fields_of(top)}
    for section, found in by_section.items():
        about = meant.get(section)
        yield from ("", f"### {section or 'Of the whole'}", "")
        if about:
            yield from (summary(about), "")
        rows = []
        for one in found:
            names = one.other_names or (f"ANTIPHON_{'__'.join(one.path).upper()}",)
            rows.append(row(one, ", ".join(f"`{name}`" for name in names), by_profile(one.path)))
        yield from table(HEAD, rows)


def engine_lines() -> Iterator[str]:
    """The options of every engine, a table for each."""
    for stage in STAGES:
        for file in sorted((ROOT / "gpu_workers" / stage).glob("*.py")):
            of = class_of(f"gpu_workers.{stage}.{file.stem}", ast.Name("Settings"))
            if not of or file.stem == "__init__":
                continue
            yield from ("", f"### {stage}: {file.stem}", "")
            yield from (
                (ast.get_docstring(tree(f"gpu_workers.{stage}.{file.stem}")) or "").split("\n")[0],
                "",
            )
            rows, shared = [], shared_with(stage, of)
            if shared:
                yield from (f"Besides these, all of [{stage}: {shared}](#{stage}-{shared}).", "")
            for one in settings_of(of, (), {}, ""):
                if shared and one.path[0] not in own_fields(of):
                    continue
                variable = f"`ANTIPHON_{stage.upper()}__OPTIONS__{'__'.join(one.path).upper()}`"
                rows.append(row(one, variable, engine_by_profile(stage, file.stem, one.path)))
            yield from table(HEAD, rows) if rows else ["It has no options."]


def shared_with(stage: str, of: Class) -> str:
    """The engine whose options it has, too."""
    bases = (class_of(of.module, base) for base in of.node.bases)
    return next((base.module.split(".")[-1] for base in bases if base and f".{stage}." in base.module), "")


def own_fields(of: Class) -> set[str]:
    return {
        node.target.id
        for node in of.node.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


if __name__ == "__main__":
    sys.exit(PAPER.main({"settings": section_lines(), "engines": engine_lines()}))
