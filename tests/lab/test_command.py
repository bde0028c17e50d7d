"""`python -m tests.lab`, and what is said when the lab cannot run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import __main__ as command
from tests.lab import packages, programs
from tests.lab.apt import Apt, unpacked
from tests.lab.common import LabError, LabMissing, run_tool, tool
from tests.lab.runner import parse
from tests.lab.world import World
from tests.lab.worlds import WORLDS


def _world(name: str, expect: dict[str, object], program: str = "probe") -> World:
    return World(name, "user", "Nehalem", "a test", expect, program=program)


@pytest.mark.lab
@pytest.mark.parametrize(("avx", "code"), [("sigill", 0), ("ok", 1)])
def test_exit_code_follows_the_worlds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], avx: str, code: int
) -> None:
    """A world that differs makes the command fail and is named with what was seen."""
    monkeypatch.setattr(
        command, "WORLDS", (_world("good", {"xcr0": None}), _world("asked", {"avx": avx}))
    )

    assert code == command.main([])
    out = capsys.readouterr().out
    assert ("avx is 'sigill', not 'ok'" in out) == bool(code)
    assert f"{2 - code} as expected, {code} differ, 0 could not run" in out


def test_a_world_that_cannot_run_is_not_green(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 3, and what to do."""
    monkeypatch.setenv("CPUPROBE_LAB_NATIVE", str(tmp_path / "nothing"))
    monkeypatch.setattr(command, "WORLDS", (_world("native", {"status": "exit 0"}, "native"),))

    assert command.main([]) == 3
    assert f"CPUPROBE_LAB_NATIVE: {tmp_path}/nothing not found" in capsys.readouterr().out


def test_list_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--list` names every world even where nothing is installed."""
    monkeypatch.setenv("PATH", "")

    assert command.main(["--list"]) == 0
    assert len(WORLDS) == len(capsys.readouterr().out.splitlines())


def test_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing chosen is not a success."""
    assert command.main(["--only", "no-such-world"]) == 2
    assert "no world is called no-such-world" in capsys.readouterr().err


def test_missing_tools_are_named() -> None:
    """The error says which Debian package brings the tool."""
    with pytest.raises(
        LabMissing, match="no-such-tool not found: install the Debian package some-package"
    ):
        tool("no-such-tool", "some-package")


def test_failing_tools_are_quoted() -> None:
    """The last words of a failed tool are in the error."""
    with pytest.raises(LabError, match=r"sh failed \(3\): no luck"):
        run_tool(["/bin/sh", "-c", "echo no luck >&2; exit 3"])


def test_unknown_series_and_program() -> None:
    """Both say what is known."""
    with pytest.raises(LabError, match=r"unknown kernel series '2\.4': known are 6\.1"):
        packages.kernel("2.4")
    with pytest.raises(LabError, match="unknown program 'emacs': known are probe"):
        programs.get("emacs")


def test_what_is_in_the_cache_is_not_asked_for(tmp_path: Path) -> None:
    """No mirror is needed for what was unpacked before."""

    def never(_: Apt) -> list[str]:
        raise AssertionError

    (tmp_path / "unpacked").mkdir()

    assert unpacked(tmp_path / "unpacked", "trixie", never) == tmp_path / "unpacked"


@pytest.mark.lab
def test_only_the_lists_of_packages_are_got(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What apt-file and its like add to this machine's apt is not asked of the mirror."""
    added = tmp_path / "apt.conf"
    added.write_text(
        'Acquire::IndexTargets::deb::Contents { MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)";'
        ' ShortDescription "Contents"; Description "Contents"; };'
    )
    monkeypatch.setenv("APT_CONFIG", str(added))
    monkeypatch.setenv("CPUPROBE_LAB_CACHE", str(tmp_path))

    apt = Apt("trixie")
    apt.update()
    targets = apt.run("apt-get", "indextargets", "--format", "$(METAKEY)").splitlines()

    assert set(targets) == {"main/binary-amd64/Packages"}


@pytest.mark.lab
def test_kernels_have_built_in_what_the_lab_needs() -> None:
    """Serial port, NVMe and ext4 need no module; each is the release that was asked for."""
    for series in packages.SERIES:
        kernel = packages.kernel(series)

        assert kernel.release.startswith(f"{series}.")
        assert all(
            map(
                kernel.builtin,
                ("SERIAL_8250_CONSOLE", "BLK_DEV_NVME", "EXT4_FS", "DEVTMPFS", "CPUSETS"),
            )
        )
        assert not kernel.builtin("VIRTIO_BLK")


@pytest.mark.parametrize(
    ("stdout", "seen"),
    [
        (b'{"a": 1}', {"a": 1, "status": "exit 0", "stderr": "w"}),
        (b"[1]", {"stdout": [1], "status": "exit 0", "stderr": "w"}),
        (b"no JSON \xff", {"stdout": "no JSON \ufffd", "status": "exit 0", "stderr": "w"}),
    ],
)
def test_what_a_program_says_is_parsed(stdout: bytes, seen: dict[str, object]) -> None:
    """JSON objects are taken apart, everything else is kept whole."""
    assert seen == parse("exit 0", stdout, b"w")
