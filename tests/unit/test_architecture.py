"""The shape of the code: which module may import what, and what may touch the machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "probe" / "cpuprobe"
MODULES = sorted(SOURCE.rglob("*.py"))

# Pure folders: no file, process, clock or environment is reached from here.
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
# What each folder may import of the package itself.
ALLOWED = {
    "assessment": {"assessment", "cpuid", "features", "observation", "wasm.versions"},
    "emit": {"emit", "assessment", "errors", "features", "knobs", "profiles", "wasm.versions"},
    "report": {
        "report",
        "assessment",
        "emit.choose",
        "features",
        "fleet.model",
        "observation",
        "profiles",
    },
    "fleet": {
        "fleet",
        "assessment",
        "captures",
        "errors",
        "features",
        "profiles",
        "observation",
        "report.document",
        "report.subject",
        "wasm.versions",
    },
    "artifacts": {
        "artifacts",
        "assessment",
        "errors",
        "features",
        "observation",
        "profiles",
        "wasm.disassemble",
        "wasm.elf",
        "wasm.engine_section",
        "wasm.versions",
    },
    "captures": {"captures", "errors", "observation", "features", "cpuid"},
}


def imports(path: Path) -> set[str]:
    """The modules that a file imports anywhere, relative names not being used."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("folder", PURE)
def test_pure_folders_reach_nothing(folder):
    """assessment, emit and report import nothing that could touch the machine, and open no file."""
    for path in (SOURCE / folder).rglob("*.py"):
        assert not {name.partition(".")[0] for name in imports(path)} & EFFECTS, path
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "exec", "eval"}, path


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_data_flows_one_way(folder):
    """Measure or read -> Observation -> Assessment -> emit or render; no arrow goes back."""
    for path in (SOURCE / folder).rglob("*.py"):
        for name in imports(path):
            if name.startswith("cpuprobe."):
                inner = name.removeprefix("cpuprobe.")
                assert any(
                    inner == allowed or inner.startswith(f"{allowed}.")
                    for allowed in ALLOWED[folder]
                ), f"{path.name} imports {name}"


def test_only_measure_runs_the_core():
    """One module alone imports the native extension."""
    users = [path.name for path in MODULES if "cpuprobe._native" in imports(path)]

    assert users == ["measure.py"]


def test_only_features_reads_toml():
    """One module alone parses TOML."""
    users = {path.name for path in MODULES if re.search(r"\btomlli?b?\b", path.read_text())}

    assert users == {"features.py"}


def test_nothing_swallows_every_exception():
    """No bare except and no `except Exception` anywhere."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, path
                names = {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)}
                assert not names & {"Exception", "BaseException"}, path


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
    """The fast path stays fast: no table library, no wasmtime, no TOML parser, no subprocess."""
    loaded = modules_after(
        "import io; sys.stdout = io.TextIOWrapper(io.BytesIO()); "
        "from cpuprobe.cli import run; run(['--json']); sys.stdout = sys.__stdout__"
    )
    added = loaded - modules_after("import typer, msgspec")

    assert "cpuprobe.measure" in added
    for heavy in (
        "rich.table",
        "rich.console",
        "wasmtime",
        "tomllib",
        "subprocess",
        "importlib.metadata",
    ):
        assert heavy not in added, heavy


def test_the_public_names_are_what_they_say():
    """Functions of the API are functions even after their modules were imported."""
    program = (
        "import cpuprobe, cpuprobe.measure, cpuprobe.assessment, cpuprobe.api\n"
        "for name in cpuprobe.__all__: assert callable(getattr(cpuprobe, name)), name\n"
        "assert set(cpuprobe.safe_flags()) == set(cpuprobe.assess(cpuprobe.observe()).cranelift)\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_docstrings_run():
    """The examples in the public docstrings are true."""
    import doctest
    import importlib

    ran = 0
    for name in ("cpuprobe", "cpuprobe.api", "cpuprobe.measure", "cpuprobe.captures.read"):
        results = doctest.testmod(importlib.import_module(name), verbose=False)
        assert results.failed == 0, name
        ran += results.attempted
    assert ran >= 8
