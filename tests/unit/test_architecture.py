"""The shape of the code: which module may import what, and what may touch the machine."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.every import every

SOURCE = Path(__file__).parents[2] / "probe" / "cpuprobe"
MODULES = sorted(SOURCE.rglob("*.py"))

# The floors of the house, from the ground. An import goes to a lower floor, or stays in its room.
FLOORS = (
    ("errors", "version"),
    ("words", "files", "extension"),
    ("facts",),
    ("code",),
    ("evidence",),
    ("assessment",),
    ("emit", "check", "fleet"),
    ("crash", "wasm"),
    ("report",),
    ("api", "cli"),
    ("__init__", "__main__"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Pure rooms: no file, process, clock or environment is reached from here.
PURE = ("assessment", "emit", "report")
EFFECTS = {
    "os",
    "subprocess",
    "socket",
    "time",
    "datetime",
    "pathlib",
    "io",
    "shutil",
    "tempfile",
    "platform",
    "ctypes",
    "cffi",
    "random",
}

LIMIT = 300  # lines of a module
# What is longer, with the reason; the number is what it may not grow beyond.
LONGER: dict[str, tuple[int, str]] = {}

C_FILES = sorted((SOURCE.parents[1] / "native").rglob("*.[ch]"))
C_LIMIT = 600  # lines of a file of C that somebody has written
LONGER_IN_C = {
    "scan/values.c": (780, "what one instruction does to what is known of registers and memory"),
    "scan/ways.c": (900, "one search, with the books that it keeps"),
}

FUNCTION_LIMIT = 60  # lines of a function
LONG_FUNCTIONS = {
    "cli.flags.flags": "one parameter an option, with its help",
    "cli.fleet.fleet": "one parameter an option, with its help",
    "cli.guarded.run": "one parameter an option, with its help",
    "cli.running.run": "one parameter an option",
}


def name_of(path: Path) -> str:
    """A module's dotted name within the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text())))


@functools.cache
def imports(path: Path) -> set[str]:
    """The modules that a file imports anywhere, inside functions and by name included."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            # Its names may be modules: `from cpuprobe.code import scan`.
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # import_module("cpuprobe.x"), a table of modules to load, a child's `-m cpuprobe.x`
            found.update(re.findall(r"\bcpuprobe(?:\.[a-z_]+)+(?![\w/])", node.value))
    return found


def own(path: Path) -> set[str]:
    """What a file imports of the package itself, as names within it; only what exists."""
    return {
        name.removeprefix("cpuprobe.")
        for name in imports(path)
        if name.startswith("cpuprobe.") and name.removeprefix("cpuprobe.") in NAMES
    }


NAMES = {name_of(path) for path in MODULES}


def test_every_module_has_a_floor():
    """No room stands outside the house."""
    assert {name.partition(".")[0] for name in NAMES} == set(FLOOR)


@every(MODULES, name_of)
def test_an_import_only_goes_down(path):
    """Over all pairs of modules: to a lower floor, or within the room."""
    room = name_of(path).partition(".")[0]
    up = {
        name
        for name in own(path)
        if name.partition(".")[0] != room and FLOOR[name.partition(".")[0]] >= FLOOR[room]
    }

    assert not up


def test_no_imports_form_a_circle():
    """Within a room too, there is an order of reading."""
    reached = {
        name_of(path): {name for name in own(path) if name != name_of(path)} for path in MODULES
    }
    done: set[str] = set()
    while True:
        free = {name for name, needs in reached.items() if name not in done and needs <= done}
        if not free:
            break
        done |= free

    assert {name: reached[name] - done for name in set(reached) - done} == {}


@every(MODULES, name_of)
def test_a_module_has_one_job(path):
    """What grows past the limit has two, but for what is listed with its reason."""
    lines = len(path.read_text().splitlines())

    assert lines <= LONGER.get(name_of(path), (LIMIT,))[0]


@every(C_FILES)
def test_a_file_of_c_has_one_job(path):
    """Likewise; what is generated may be as long as its tables are."""
    text = path.read_text()
    name = str(path.relative_to(SOURCE.parents[1] / "native"))

    assert "GENERATED by" in text[:200] or (
        len(text.splitlines()) <= LONGER_IN_C.get(name, (C_LIMIT,))[0]
    )


def test_the_list_of_long_modules_is_short_and_true():
    """A module that has become short leaves the list, and an entry has a reason."""
    for name, (most, reason) in LONGER.items():
        lines = len((SOURCE / f"{name.replace('.', '/')}.py").read_text().splitlines())
        assert LIMIT < lines <= most, name
        assert reason
    for name, (most, reason) in LONGER_IN_C.items():
        lines = len((SOURCE.parents[1] / "native" / name).read_text().splitlines())
        assert C_LIMIT < lines <= most, name
        assert reason


def long_functions() -> dict[str, int]:
    """Functions over the limit by module and name, with their lines."""
    found = {}
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LIMIT:
                    found[f"{name_of(path)}.{node.name}"] = lines
    return found


def test_a_function_has_one_job():
    """None is longer than the limit, but for those listed; and the list is true."""
    assert set(long_functions()) == set(LONG_FUNCTIONS)


@pytest.mark.parametrize("folder", PURE)
def test_pure_folders_reach_nothing(folder):
    """assessment, emit and report import nothing that could touch the machine, and open no file."""
    paths = [*(SOURCE / folder).rglob("*.py")]

    assert paths
    for path in paths:
        assert not {name.partition(".")[0] for name in imports(path)} & EFFECTS, path
        calls = {
            node.func.id
            for node in nodes(path)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "exec", "eval"}, path


def test_two_modules_run_the_core_and_one_knows_the_scanner():
    """No other asks for the native extension, and one alone imports it."""
    users = {path.name for path in MODULES if "extension" in own(path)}

    assert users == {"measure.py", "verdict.py", "native.py"}
    importing = {path.name for path in MODULES if "cpuprobe._native" in imports(path)}
    assert importing == {"extension.py"}


def test_only_features_reads_toml():
    """One module alone parses TOML."""
    users = {
        path.name
        for path in MODULES
        if imports(path) & {"tomllib", "tomli"} or "tomllib" in path.read_text()
    }

    assert users == {"tables.py"}


def test_nothing_swallows_every_exception():
    """No bare except and no `except Exception` anywhere."""
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, path
                names = {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)}
                assert not names & {"Exception", "BaseException"}, path


def bound(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """The names that a docstring may explain: parameters, or fields, attributes and methods."""
    if isinstance(node, ast.FunctionDef):
        return {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
    named = {getattr(each, "attr", getattr(each, "name", "")) for each in ast.walk(node)}
    fields = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
    return named.union(each.id for each in fields if isinstance(each, ast.Name))


def test_docstrings_explain_nothing_that_is_gone():
    """What stands under `Args:` and `Attributes:` is there; that none is missing ruff sees."""
    explained = {
        (f"{name_of(path)}.{node.name}", name, name in bound(node))
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        for part in re.findall(
            r"(?m)^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", ast.get_docstring(node) or ""
        )
        for name in re.findall(r"(?m)^    (\w+):", part)
    }

    assert len(explained) > 500
    assert [each[:2] for each in explained if not each[2]] == []


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(result.stdout.decode().split())


def test_importing_cpuprobe_imports_nothing_heavy():
    """`import cpuprobe` brings in none of the libraries it uses later."""
    loaded = modules_after("import cpuprobe") - modules_after("pass")

    assert loaded <= {"cpuprobe", "__future__", "typing", "collections.abc"} | {
        name for name in loaded if name.split(".")[0] in ("typing", "re", "enum", "functools")
    } | {name for name in loaded if name.startswith("_")} | {
        "collections",
        "operator",
        "keyword",
        "reprlib",
        "contextlib",
        "types",
        "copyreg",
        "warnings",
        "abc",
    }
    assert not any(
        name.split(".")[0] in ("msgspec", "typer", "rich", "wasmtime", "cffi", "tomllib")
        for name in loaded
    )


def test_json_output_never_imports_rich_or_wasmtime():
    """The fast path stays fast: no option parser, no tables, no wasmtime, no TOML, no process."""
    loaded = modules_after(
        "import io; sys.stdout = io.TextIOWrapper(io.BytesIO()); "
        "from cpuprobe.cli import run; run(['--json']); sys.stdout = sys.__stdout__"
    )
    added = loaded - modules_after("import msgspec")

    assert "cpuprobe.evidence.measure" in added
    for heavy in (
        "typer",
        "rich.table",
        "rich.console",
        "wasmtime",
        "tomllib",
        "subprocess",
        "importlib.metadata",
    ):
        assert heavy not in added, heavy


def test_a_run_that_lives_imports_little():
    """No option parser, no tables, no assessment: a child that imports wasmtime is most of it."""
    added = modules_after(
        "from cpuprobe.cli import run, running; "
        "run(['run', '--quiet', '/nowhere.wasm', '--invoke', 'f', '6'])"
    ) - modules_after("pass")

    assert "cpuprobe.wasm.guest" in added
    assert not {name.partition(".")[0] for name in added} & {
        "dataclasses", "inspect", "msgspec", "subprocess", "tempfile", "typer", "wasmtime"
    }  # fmt: skip
    assert not any(name.startswith("cpuprobe.assessment") for name in added)


def test_the_public_names_are_what_they_say():
    """Functions of the API are functions even after their modules were imported."""
    program = (
        "import cpuprobe, cpuprobe.evidence.measure, cpuprobe.assessment, cpuprobe.api\n"
        "for name in cpuprobe.__all__: assert callable(getattr(cpuprobe, name)), name\n"
        "assert set(cpuprobe.safe_flags()) == set(cpuprobe.assess(cpuprobe.observe()).cranelift)\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_docstrings_run():
    """The examples in the public docstrings are true."""
    import doctest
    import importlib

    ran = 0
    for name in (
        "cpuprobe",
        "cpuprobe.api",
        "cpuprobe.evidence.measure",
        "cpuprobe.evidence.machines.read",
    ):
        results = doctest.testmod(importlib.import_module(name), verbose=False)
        assert results.failed == 0, name
        ran += results.attempted
    assert ran >= 8
