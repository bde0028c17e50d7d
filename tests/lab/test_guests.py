"""QEMU takes the models that `flags` writes, and the guest has what they say."""

from __future__ import annotations

import subprocess

import pytest

from cpuprobe.assessment import Assessment, assess
from cpuprobe.emit import FORMATS, choose
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.facts.names import names_of
from tests.fakes import V3, group, observation
from tests.lab.common import LabError, tool
from tests.lab.programs import native_executable
from tests.lab.user import run_user

pytestmark = pytest.mark.lab


def starts(model: str) -> subprocess.CompletedProcess[str]:
    """A machine with this CPU, made, not run, and ended."""
    return subprocess.run(
        [tool("qemu-system-x86_64", "qemu-system-x86"), "-accel", "tcg", "-machine", "pc",
         "-nodefaults", "-display", "none", "-S", "-monitor", "stdio", "-cpu", model],
        input="quit\n", capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_qemu_starts_with_the_model() -> None:
    """A v3 model with `enforce`: QEMU starts, so it knows each name and lacks none of it."""
    flags = choose([assess(observation(group(V3), listed=V3), "50")])
    done = starts(FORMATS["qemu"](flags).split()[1])

    assert (done.returncode, done.stderr) == (0, "")


def test_every_name_is_qemus() -> None:
    """All names at once but the recent ones: QEMU knows them, whatever the emulator can do."""
    qemu = names_of("qemu")
    names = [f"+{name}" for feature, name in qemu.names.items() if feature not in qemu.recent]
    done = starts(",".join((qemu.base, *(f"-{name}" for name in qemu.off), *names)))

    assert done.returncode == 0, done.stderr
    assert "not found" not in done.stderr


def test_recent_names_are_unknown_to_the_release_that_is_named() -> None:
    """Where this QEMU is the one of the table it refuses each recent name."""
    qemu = names_of("qemu")
    version = subprocess.run(
        [tool("qemu-system-x86_64", "qemu-system-x86"), "--version"],
        capture_output=True,
        text=True,
    ).stdout
    if qemu.old.split()[1] not in version:
        pytest.skip(f"this is not {qemu.old}")
    for feature in qemu.recent:
        assert "not found" in starts(f"{qemu.base},+{qemu.names[feature]}").stderr, feature


@pytest.mark.parametrize("host", ["Haswell-noTSX", "Nehalem", "EPYC", "max"])
def test_the_guest_has_what_the_host_had(host: str) -> None:
    """Probed on a model, written out, probed again under what was written: the same is safe."""
    try:
        before = _probed(host)
        model = FORMATS["qemu"](choose([before])).split()[1]
        after = _probed(model.replace(",enforce", ""))
    except LabError as error:
        pytest.fail(str(error))
    named = set(names_of("qemu").names)

    assert {f for f, row in after.features.items() if row.safe} & named == {
        f for f, row in before.features.items() if row.safe
    } & named


def _probed(cpu: str) -> Assessment:
    """The assessment of an emulated CPU."""
    done = run_user(cpu, [native_executable()])
    assert done.status == "exit 0", done.stderr
    return assess(parse_capture(done.stdout), "50")
