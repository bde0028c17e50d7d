"""What the lab's tests share: their marker, and that an absent emulator skips them."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.lab import packages, programs
from tests.lab.common import LabMissing
from tests.lab.packages import Kernel
from tests.lab.programs import Runnable


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `lab`."""
    config.addinivalue_line(
        "markers", "lab: runs programs under QEMU; skipped without it unless CPUPROBE_LAB=require"
    )


def _skip_or_raise(error: LabMissing) -> None:
    if os.environ.get("CPUPROBE_LAB") == "require":
        raise error
    pytest.skip(f"lab: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test whose fixtures lack a tool."""
    try:
        yield
    except LabMissing as error:
        _skip_or_raise(error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test that lacks a tool."""
    try:
        yield
    except LabMissing as error:
        _skip_or_raise(error)


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    """The default kernel."""
    return packages.kernel()


@pytest.fixture(scope="session")
def probe() -> Runnable:
    """The lab's own witness."""
    return programs.probe()
