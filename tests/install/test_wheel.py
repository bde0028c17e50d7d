"""The wheel: built here, installed elsewhere, used without a compiler and without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from a copy of what git tracks, so that no build leftover helps."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if name.startswith("tests/") or not (ROOT / name).exists():
            continue
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    output = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(output), str(source)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (made,) = output.glob("*.whl")
    return made


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
    assert "-cp310-abi3-linux_x86_64.whl" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert "cpuprobe/_native.abi3.so" in names
    assert "cpuprobe/bin/cpuprobe-native" in names
    assert "cpuprobe/py.typed" in names
    assert "cpuprobe_profiles/features.toml" in names
    assert "cpuprobe_profiles/tables.json" in names
    assert not [name for name in names if name.startswith(("tests", "native", "build"))]


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
