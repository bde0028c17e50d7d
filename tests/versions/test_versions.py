"""Introspection, the flag table and `verify` with older wasmtime wheels.

Each wheel is put into a private folder with `pip install --target` and found first on PYTHONPATH.
wasmtime 3 is the oldest whose artifacts have an engine section; 1 and 2 still run here and cannot
be asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.examples import ALL

pytest.importorskip("iced_x86")

pytestmark = pytest.mark.slow

# What verify must find out with each: 13 is the first whose C API takes Cranelift's flags, 37 the
# first whose C API runs Pulley.
WHEELS = {
    "3.0.0": "cannot",
    "9.0.0": "cannot",
    "13.0.2": "code",
    "14.0.0": "code",
    "20.0.0": "code",
    "25.0.0": "code",
    "30.0.0": "code",
    "36.0.0": "code",
    "37.0.0": "proved",
    "43.0.0": "proved",
    "45.0.0": "proved",
}
FIRST_WITH_PULLEY, FIRST_WITH_WINCH = 37, 45  # the wheels 44 and 45 were read
ASK = """
import json
from cpuprobe.facts.features import load_features
from cpuprobe.evidence.measure import observe
from cpuprobe.wasm.installed import compare_inference
from cpuprobe.wasm.introspect import introspect, known_flags
from cpuprobe.assessment import assess_with_flags
asked = introspect()
found = compare_inference(assess_with_flags(observe(), asked.version)[1], asked.inferred)
there = [asked.pulley, asked.winch]
print(json.dumps([asked.version, asked.known, known_flags(), found.differ, there]))
"""


def install(version: str, folder: Path) -> dict[str, str]:
    """Puts a version into a folder and returns the environment that finds it first."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    # wasmtime-py before 15 imports importlib_resources.
    command += ["--quiet", "--no-deps", "--target", str(folder), f"wasmtime=={version}"]
    done = subprocess.run(
        [*command, "importlib_resources"], capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        # Without network there is nothing to test; `-rs` shows pip's last words.
        pytest.skip((done.stderr.strip().splitlines() or ["pip failed"])[-1])
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def wheel(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], dict[str, str]]]:
    """The environment of a version: while one is tested the next of those chosen is fetched."""
    wanted = {
        str(item.callspec.params["version"]): None
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    }
    with ThreadPoolExecutor(1) as pool:
        coming = {
            version: pool.submit(install, version, tmp_path_factory.mktemp(f"wasmtime-{version}"))
            for version in wanted
        }
        yield lambda version: coming[version].result()
        pool.shutdown(cancel_futures=True)


def python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("version", WHEELS)
def test_introspection(version: str, wheel: Callable[[str], dict[str, str]]) -> None:
    """Version, flags, Pulley and Winch; the table and the model agree with the wheel."""
    done = python(wheel(version), "-c", ASK)
    assert done.returncode == 0, done.stderr
    found, measured, known, differ, there = json.loads(done.stdout)
    major = int(version.partition(".")[0])

    assert found == version
    assert measured == known
    assert differ == []
    assert there == [major >= FIRST_WITH_PULLEY, major >= FIRST_WITH_WINCH]


@pytest.mark.parametrize("version", ["3.0.0", "14.0.0", "25.0.0", "45.0.0"])
def test_report(version: str, wheel: Callable[[str], dict[str, str]]) -> None:
    """Whatever the release can say stands in the report; what it cannot is a reason."""
    done = python(wheel(version), "-m", "cpuprobe", "report", "--format", "json")
    assert done.returncode in (0, 1), done.stderr
    output: dict[str, Any] = json.loads(done.stdout)

    assert done.stderr == ""
    assert output["introspection"]["version"] == version
    assert output["inference"]["differ"] == []
    assert output["observation"]["wasmtime"]["version"] == version
    missing = {name for name in ("pulley", "winch") if not output["introspection"][name]}
    assert set(output["introspection"]["reasons"]) == missing


# The first and the last of each kind of answer, and two between.
VERIFIED = ["3.0.0", "13.0.2", "25.0.0", "36.0.0", "37.0.0", "45.0.0"]


@pytest.mark.parametrize("version", WHEELS if ALL else VERIFIED)
def test_verify(version: str, wheel: Callable[[str], dict[str, str]]) -> None:
    """As far as the release allows, and no further; nothing is outside or different."""
    done = python(wheel(version), "-m", "cpuprobe", "verify", "--json")
    expected = WHEELS[version]
    if expected == "cannot":
        assert done.returncode == 3
        assert done.stdout == ""
        assert done.stderr.startswith(f"cpuprobe: error: wasmtime {version}: ")
        assert len(done.stderr.splitlines()) == 1
        return
    output: dict[str, Any] = json.loads(done.stdout)

    assert output["wasmtime"] == version
    assert output["operators"] > 500
    assert output["code"]["outside"] == []
    assert output["code"]["forms"] > 300
    assert output["inference"]["differ"] == []
    if expected == "proved":
        assert (done.returncode, output["verdict"]) == (0, "proved")
        assert output["comparison"]["ran"] > 16000
    else:
        assert (done.returncode, output["verdict"]) == (3, "unfinished")
        assert "Pulley" in output["not_compared"]
