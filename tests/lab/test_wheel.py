"""Which wheel a guest gets: never one that is older than a source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import wheel
from tests.lab.common import LabMissing


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of empty files, all of time 1000, and a wheel of time 2000 in dist/."""
    for name in ("native/core.h", "probe/cpuprobe/api.py", "profiles/levels.toml", *wheel._FILES):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1000, 1000))
    ready = tmp_path / "dist" / "cpuprobe-0-linux_x86_64.whl"
    ready.parent.mkdir()
    ready.touch()
    os.utime(ready, (2000, 2000))
    monkeypatch.setattr(wheel, "CHECKOUT", tmp_path)
    monkeypatch.delenv("CPUPROBE_LAB_WHEEL", raising=False)
    return tmp_path


def test_a_current_wheel_is_taken(checkout: Path) -> None:
    """dist/ is newer than every source."""
    assert wheel._ready() == checkout / "dist" / "cpuprobe-0-linux_x86_64.whl"


@pytest.mark.parametrize("name", ["native/core.h", "probe/cpuprobe/api.py", "pyproject.toml"])
def test_an_old_wheel_is_not(checkout: Path, name: str) -> None:
    """One newer source is enough."""
    os.utime(checkout / name, (3000, 3000))

    assert wheel._ready() is None


@pytest.mark.parametrize("name", ["probe/cpuprobe/_native.abi3.so", "probe/cpuprobe/bin/x"])
def test_what_a_build_leaves_behind_is_no_source(checkout: Path, name: str) -> None:
    """A build in the checkout does not make its own wheel look old."""
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).touch()

    assert wheel._ready() is not None


def test_a_named_wheel_has_to_be_there(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variable named it."""
    monkeypatch.setenv("CPUPROBE_LAB_WHEEL", str(checkout / "no.whl"))

    with pytest.raises(LabMissing, match="CPUPROBE_LAB_WHEEL"):
        wheel.wheel()
