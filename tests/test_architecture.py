"""Which way imports point, and who may touch what: the shape of the code, read from its syntax trees."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("config", "gpu_workers", "tasks", "web", "cli")

#: A module that is longer owns more than one noun.
MAX_LINES = 400


@dataclass(frozen=True)
class Module:
    """A source file under its dotted name; a package goes by its own name."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(), str(self.path))

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def imports(self) -> list[tuple[str, int]]:
        """(dotted name, line) of everything imported anywhere in the file; `from a import b` gives a and a.b."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                found.append((base, node.lineno))
                found += [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        if self.path.name != "__init__.py":
            parts = parts[:-1]
        parts = parts[: len(parts) - (node.level - 1)]
        return ".".join([*parts, *([node.module] if node.module else [])])


def modules() -> list[Module]:
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


MODULES = modules()
NAMES = {module.name for module in MODULES}


def every_module(rule: Callable[[Module], None]) -> Callable[[], None]:
    """A test that all modules keep the rule; who breaks it is told at once."""

    def test() -> None:
        broken = []
        for module in MODULES:
            try:
                rule(module)
            except AssertionError as error:
                broken.append(f"{module.name}: {error}")
        assert not broken, "\n".join(broken)

    test.rule = rule
    return test


def under(name: str, *roots: str) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def ours(module: Module) -> list[tuple[str, int]]:
    return [(name, line) for name, line in module.imports if under(name, *ROOMS)]


#: A room, and what else of ours its modules may import. All may import their own room, except as said below.
MAY_IMPORT = {
    "config": (),
    "gpu_workers": ("config",),
    "tasks": ("config",),
    "web": (
        "config",
        "tasks.submit",
        "tasks.streams",
        "tasks.leases",
        "tasks.fleet",
        "tasks.redis_check",
        "tasks.redis_view",
        "tasks.shared_time",
        "tasks.g711",
        "tasks.queues",
        "tasks.recordings",
        "tasks.kept",
        "tasks.beats",
        "tasks.quotas",
        "tasks.ephemeral",
    ),
    "cli": (
        "config",
        "tasks",
        "gpu_workers",
        "web.record",
        "web.record_folder",
        "web.rules",
        "web.ticks",
        "web.turn",
        "web.turn_state",
        "web.happenings",
        "web.actions",
        "web.roles",
        "web.metric_folder",
    ),
}
#: The parts of `web` are pure: `antiphon replay` decides a recorded session again by them.

#: The parts of `tasks` that the web has too; with them it must not get the engines.
LIGHT_TASKS = (
    "tasks",
    "tasks.celery",
    "tasks.broker",
    "tasks.wire",
    *(name for name in MAY_IMPORT["web"] if under(name, "tasks")),
)


def allowed(module: Module) -> tuple[str, ...]:
    rooms = (module.room, *MAY_IMPORT[module.room])
    if module.room == "tasks" and module.name not in LIGHT_TASKS:
        rooms += ("gpu_workers",)
    if module.room == "web":
        rooms += (
            "tasks",
        )  # `from tasks import submit` names the package first; the names after it are judged
    return rooms


@every_module
def test_imports_point_the_right_way(module):
    wrong = [f"{name} (line {line})" for name, line in ours(module) if not under(name, *allowed(module))]
    if module.room == "web":
        wrong += [f"{name} (line {line})" for name, line in ours(module) if heavy(name)]
    assert not wrong, f"{module.name} may import {allowed(module)}, not {', '.join(wrong)}"


def heavy(name: str) -> bool:
    """Whether it is a module of `tasks` that the web may not have."""
    return under(name, "tasks") and name != "tasks" and not under(name, *MAY_IMPORT["web"])


@every_module
def test_what_the_web_imports_of_tasks_imports_no_heavy_part_of_it(module):
    if module.name in LIGHT_TASKS:
        wrong = [
            name for name, _ in ours(module) if under(name, "tasks") and name in NAMES - set(LIGHT_TASKS)
        ]
        assert not wrong, f"{module.name} brings {wrong} into the web"


def test_there_are_no_import_cycles():
    graph = {module.name: {name for name, _ in ours(module) if name in NAMES} for module in MODULES}
    for module in MODULES:  # a package's __init__ is not what its modules wait for
        graph[module.name] -= {module.name, module.name.rpartition(".")[0]}
    assert not (cycle := find_cycle(graph)), " -> ".join(cycle)


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """A cycle as a path that ends where it began; empty if there is none."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in finished:
            for following in sorted(graph[name]):
                if cycle := visit(following, [*path, name]):
                    return cycle
            finished.add(name)
        return []

    return next((cycle for name in sorted(graph) if (cycle := visit(name, []))), [])


#: Engines are imported when they are chosen, and their packages may not be installed.
MAY_IMPORT_LATE = (
    "gpu_workers.loader",
    "gpu_workers.stt",
    "gpu_workers.llm",
    "gpu_workers.tts",
    "gpu_workers.endpoint",
    "gpu_workers.voices",
)


@every_module
def test_imports_stand_at_the_top(module):
    if under(module.name, *MAY_IMPORT_LATE):
        return
    late = [
        f"line {node.lineno}"
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not late, f"{module.name} imports inside functions: {late}"


@every_module
def test_only_the_loader_imports_engines(module):
    engines = ("gpu_workers.stt", "gpu_workers.llm", "gpu_workers.tts", "gpu_workers.voices")
    if module.name == "gpu_workers.loader" or under(module.name, *engines):
        return
    wrong = [name for name, _ in ours(module) if under(name, *engines)]
    assert not wrong, f"{module.name} imports {wrong}"


# --- who may touch what

SPEAKS_REDIS = (
    "tasks.streams",
    "tasks.leases",
    "tasks.redis_view",
    "tasks.wire",
    "tasks.broker",
    "tasks.queues",
    "tasks.recordings",
    "tasks.beats",
)


@every_module
def test_only_few_modules_speak_to_redis(module):
    if module.name not in SPEAKS_REDIS:
        lines = [line for name, line in module.imports if under(name, "redis", "hiredis", "valkey")]
        assert not lines, f"{module.name} imports redis (lines {lines}); that is for {SPEAKS_REDIS}"


KEY_PREFIXES = (
    "in:",
    "out:",
    "replay:",
    "text:",
    "ctl:",
    "sess:",
    "lease:",
    "worker:",
    "workers:",
    "reserve:",
    "voice:",
    "quota:",
    "ephemeral:",
    "news:",
    "donation:",
)


@every_module
def test_only_redis_keys_spells_a_key(module):
    if module.name == "config.redis_keys":
        return
    spelled = [
        f"{text!r} (line {line})"
        for text, line in strings(module.tree)
        if text.startswith(KEY_PREFIXES) and not any(space in text for space in " \n")
    ]
    assert not spelled, f"{module.name} spells a Redis key: {', '.join(spelled)}"


def strings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """String literals, and the head of f-strings, that are not docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value, node.lineno


#: CUDA reads its choice of cards from the environment and nowhere else: set by one, reported by the other.
MAY_NAME_CUDA = ("tasks.celery", "tasks.worker")
#: vLLM, and OpenMP under it, take these from the environment and nowhere else; vLLM's own processes inherit them.
MAY_NAME_VLLM = ("gpu_workers.llm.vllm",)
#: prometheus_client looks here, and nowhere else, for the folder that gunicorn's processes share.
MAY_NAME_PROMETHEUS = ("web.metric_folder",)
#: ONNX Runtime reads there, while it is imported, whether it may report to its maker.
MAY_NAME_ORT = ("gpu_workers.onnx",)
#: May hand an environment to a child.
MAY_PASS_ENVIRON_ON = ("cli",)


@every_module
def test_only_settings_reads_the_environment(module):
    if under(module.name, "config.settings", *MAY_PASS_ENVIRON_ON):
        return
    reads = environ_uses(module.tree)
    for names, prefix in (
        (MAY_NAME_CUDA, r'"CUDA_'),
        (MAY_NAME_VLLM, r'"(VLLM|OMP)_'),
        (MAY_NAME_PROMETHEUS, r'"PROMETHEUS_MULTIPROC_DIR"'),
        (MAY_NAME_ORT, r'"ORT_DISABLE_'),
    ):
        if module.name in names:
            source = module.path.read_text().splitlines()
            reads = [line for line in reads if not re.search(prefix, source[line - 1])]
    assert not reads, f"{module.name} touches os.environ (lines {reads}); config.settings does that"


def environ_uses(tree: ast.Module) -> list[int]:
    names = {"environ", "environb", "getenv", "putenv"}
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in names]
    found = [node.lineno for node in used if isinstance(node.value, ast.Name) and node.value.id == "os"]
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "os"]
    return found + [node.lineno for node in taken if any(alias.name in names for alias in node.names)]


CODECS = ("opuslib", "soundfile", "soxr", "av", "tasks.codec", "tasks.telephone", "tasks.g711")


@every_module
def test_no_codec_works_in_the_web_but_where_a_muted_reply_goes_on(module):
    """web/fade.py does, for the first 40 ms of what goes on; all else is coded by workers."""
    if module.room == "web" and module.name != "web.fade":
        wrong = [f"{name} (line {line})" for name, line in module.imports if under(name, *CODECS)]
        assert not wrong, f"{module.name} imports {wrong}"


def test_importing_the_web_loads_no_engine():
    if not (ROOT / "web" / "app.py").exists():
        return  # nothing to import yet
    code = (
        "import sys, web.app\n"
        "heavy = {'torch', 'onnxruntime', 'gpu_workers', 'transformers', 'xllamacpp', 'piper'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code]
    env = {**os.environ, "ANTIPHON_PROFILE": "null"}
    ran = subprocess.run(command, check=False, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


@every_module
def test_a_module_is_short_enough_to_own_one_noun(module):
    assert len(module.path.read_text().splitlines()) <= MAX_LINES


@every_module
def test_a_module_says_first_what_it_owns(module):
    assert ast.get_docstring(module.tree), f"{module.name} has no docstring"


# --- the rules themselves, on code that breaks them


def broken(tmp_path: Path, name: str, source: str) -> Module:
    path = tmp_path / "broken.py"
    path.write_text(source)
    return Module(name, path)


@pytest.mark.parametrize(
    ("name", "source", "check"),
    [
        ("config.x", "import tasks.leases", test_imports_point_the_right_way),
        ("gpu_workers.x", "from tasks import leases", test_imports_point_the_right_way),
        ("tasks.submit", "import gpu_workers.engine", test_imports_point_the_right_way),
        ("tasks.loop", "from web.turn import Turn", test_imports_point_the_right_way),
        ("web.x", "from tasks import loop", test_imports_point_the_right_way),
        ("web.x", "import gpu_workers.engine", test_imports_point_the_right_way),
        ("web.dialects.x", "from ...tasks import loop", test_imports_point_the_right_way),
        ("cli.x", "import web.app", test_imports_point_the_right_way),
        ("cli.x", "from web import turn", test_imports_point_the_right_way),
        ("web.x", "def f():\n import json", test_imports_stand_at_the_top),
        ("tasks.loop", "from gpu_workers.tts import piper", test_only_the_loader_imports_engines),
        ("web.x", "from redis.client import Redis", test_only_few_modules_speak_to_redis),
        ("web.x", "key = f'lease:{1}'", test_only_redis_keys_spells_a_key),
        ("web.x", "import os\nos.environ['A']", test_only_settings_reads_the_environment),
        ("tasks.celery", "import os\nos.getenv('A')", test_only_settings_reads_the_environment),
        ("gpu_workers.llm.vllm", "import os\nos.environ['A']", test_only_settings_reads_the_environment),
        ("web.x", "from os import environ", test_only_settings_reads_the_environment),
        ("web.x", "x = 1\n" * 401, test_a_module_is_short_enough_to_own_one_noun),
        ("web.x", "x = 1", test_a_module_says_first_what_it_owns),
    ],
)
def test_a_broken_rule_is_noticed(tmp_path, name, source, check):
    with pytest.raises(AssertionError):
        check.rule(broken(tmp_path, name, source))


@pytest.mark.parametrize(
    ("name", "source", "check"),
    [
        ("web.x", "from tasks import leases, submit", test_imports_point_the_right_way),
        ("web.x", "from tasks.leases import Lease", test_imports_point_the_right_way),
        ("tasks.loop", "from gpu_workers.engine import Pcm", test_imports_point_the_right_way),
        ("cli.x", "from web.turn import advance", test_imports_point_the_right_way),
        (
            "tasks.celery",
            'import os\nos.environ["CUDA_VISIBLE_DEVICES"] = "0"',
            test_only_settings_reads_the_environment,
        ),
        ("web.x", "'''sess:{sid}'''\nx = 'text: what was said'", test_only_redis_keys_spells_a_key),
    ],
)
def test_what_keeps_a_rule_passes(tmp_path, name, source, check):
    check.rule(broken(tmp_path, name, source))


def test_a_cycle_is_found():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b"}, "b": set()}) == []
