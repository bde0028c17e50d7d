"""The wheel: built here, installed elsewhere, used without a compiler and without the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.lab.wheel import built
from tests.tools.wheels import EXTENSION, audited, foreign, platforms, tagged

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's, made from a copy of the sources, so that no build leftover helps."""
    glibc, _ = tagged(Path(shutil.copy2(built(), tmp_path_factory.mktemp("dist"))))
    return glibc


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an empty virtual environment with the wheel, made without a compiler."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    subprocess.run(
        [
            folder / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--only-binary=:all:",
            wheel,
        ],
        check=True,
        timeout=300,
        cwd=folder,
        env={"PATH": str(folder / "bin"), **_pip_settings()},
    )
    return folder / "bin"


def _pip_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "HOME"))}


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env={"PATH": "/nonexistent"},
    )


def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    """One wheel for every Python from 3.10 on: extension, executable, types and profiles."""
    assert "-cp310-abi3-manylinux" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert "cpuprobe/_native.abi3.so" in names
    assert "cpuprobe/bin/cpuprobe-native" in names
    assert "cpuprobe/py.typed" in names
    assert "cpuprobe_profiles/features.toml" in names
    assert "cpuprobe_profiles/tables.json" in names
    assert not [name for name in names if name.startswith(("tests", "native", "build"))]


def test_one_extension_serves_glibc_and_musl(wheel: Path) -> None:
    """It takes nothing from a C library that not both have, and auditwheel accepts both names."""
    musl = wheel.with_name(re.sub("-manylinux.*", f"-{platforms('x86_64')[1]}.whl", wheel.name))
    extensions = [zipfile.ZipFile(each).read(EXTENSION) for each in (wheel, musl)]

    assert extensions[0] == extensions[1]
    assert list(foreign(extensions[0])) == []
    assert audited(wheel).startswith("manylinux_2_")
    assert audited(musl).startswith("musllinux_1_")


def test_an_extension_that_needs_a_c_library_is_told(tmp_path: Path) -> None:
    """The check is one: an ordinary shared object fails it."""
    source, made = tmp_path / "it.c", tmp_path / "it.so"
    source.write_text('#include <stdio.h>\nint it(void) { return puts("x"); }\n')
    subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=True)
    found = list(foreign(made.read_bytes()))

    assert "the symbol puts" in found
    assert any(each.startswith("the library libc.so") for each in found)


def test_without_a_compiler_the_source_installs_and_reads(tmp_path: Path) -> None:
    """One line says what is missing; captures are read, and measuring is exit code 3."""
    source, out = tmp_path / "source", tmp_path / "out"
    listed = ["git", "ls-files", "-z", "probe", "profiles", "native"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    others = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "Makefile")
    for name in [*filter(None, names.split("\0")), *others]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    environment = {"PATH": "/nonexistent", **_pip_settings()}
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "-v", "--target"]
    made = subprocess.run(
        [*pip, str(out), str(source)], capture_output=True, text=True, timeout=300, env=environment
    )
    ours = [
        line for line in (made.stdout + made.stderr).splitlines() if "cpuprobe: without" in line
    ]
    libraries = [str(out), *(each for each in sys.path if each.endswith("site-packages"))]
    capture = ROOT / "tests" / "data" / "captures" / "gds-skylake-lscpu.txt"
    answers = [
        subprocess.run(
            # Without `site`, which would add this checkout's own extension.
            [sys.executable, "-S", "-m", "cpuprobe", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=out,
            env={"PYTHONPATH": os.pathsep.join(libraries)},
        )
        for arguments in (["inspect", str(capture)], [])
    ]

    assert made.returncode == 0
    assert len(set(ours)) == 1
    assert "a C compiler (install gcc, or set CC)" in ours[0]
    assert not list((out / "cpuprobe").glob("*.so"))
    assert answers[0].returncode == 1
    assert "MISMATCH" in answers[0].stdout
    assert answers[1].returncode == 3
    assert answers[1].stderr.count("\n") == 1
    assert "no native parts" in answers[1].stderr


def test_the_installed_command_answers(installed: Path) -> None:
    """`cpuprobe --json` works outside the checkout, with nothing on the PATH."""
    result = run(installed / "cpuprobe", "--json")

    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert document["assessment"]["features"]["sse2"]["state"] == "usable"
    assert document["observation"]["executed"] is True


def test_the_installed_helper_is_executable(installed: Path) -> None:
    """`cpuprobe native` prints the path of a program that runs."""
    path = Path(run(installed / "cpuprobe", "native").stdout.strip())

    assert installed.parent in path.parents
    assert run(path, "--list").stdout.count("\n") > 500


def test_the_installed_package_is_the_wheels(installed: Path) -> None:
    """The tables come from the wheel, not from a checkout that happens to be near."""
    program = (
        "import cpuprobe, cpuprobe.facts.features as f; "
        "print(f.tables_folder()); print(cpuprobe.__file__)"
    )
    result = run(installed / "python", "-c", program)

    assert all(line.startswith(str(installed.parent)) for line in result.stdout.splitlines())
