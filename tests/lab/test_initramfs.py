"""The archive the kernel unpacks, read back by the cpio program."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from tests.lab import initramfs
from tests.lab.common import tool


@pytest.mark.lab
def test_cpio_reads_the_archive(tmp_path: Path) -> None:
    """The cpio program extracts names, modes and contents as they were put in."""
    blob = initramfs.archive(
        {
            "/deep/er/file": initramfs.file(b"odd", 0o640),
            "run": initramfs.program(b"#!x\n"),
            "link": initramfs.Entry(0o120777, b"run"),
        }
    )
    subprocess.run([tool("cpio", "cpio"), "-i", "--quiet"], cwd=tmp_path, input=blob, check=True)

    assert (tmp_path / "deep/er/file").read_bytes() == b"odd"
    assert (tmp_path / "deep/er/file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755
    assert os.readlink(tmp_path / "link") == "run"


@pytest.mark.lab
def test_cpio_sees_the_device_nodes() -> None:
    """The base holds /dev/console as character device 5:1; making it needed no privilege."""
    blob = gzip.decompress(initramfs.build({}))
    listing = subprocess.run(
        [tool("cpio", "cpio"), "-tv", "--quiet", "--numeric-uid-gid"],
        input=blob,
        capture_output=True,
        check=True,
    )
    (line,) = [row for row in listing.stdout.decode().splitlines() if row.endswith("dev/console")]

    assert line.startswith("crw-------")
    assert line.split()[4:6] == ["5,", "1"]


def test_header_is_newc() -> None:
    """The layout of buffer-format.rst: magic, thirteen hex fields, name, padding to four."""
    blob = initramfs.archive({"ab": initramfs.file(b"xyz", 0o600)})

    assert blob.startswith(
        b"070701" + b"00000001" + b"00008180" + b"00000000" * 2 + b"00000001" + b"00000000"
    )
    assert blob[54:62] == b"00000003"
    assert blob[110:113] == b"ab\0"
    assert blob[116:120] == b"xyz\0"


def test_parents_come_first_and_once() -> None:
    """The kernel makes no folder on its own: each one has to stand before what is in it."""
    blob = initramfs.archive({"a/b/c": initramfs.file(b""), "a/b/d": initramfs.file(b"")})

    assert blob.index(b"\x61\0") < blob.index(b"a/b\0") < blob.index(b"a/b/c\0")
    assert blob.count(b"a/b\0") == 1


def test_same_entries_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the clock is in the archive."""
    built = initramfs.build({"x": initramfs.file(b"1")})
    monkeypatch.setattr("time.time", lambda: 1e9)

    assert initramfs.build({"x": initramfs.file(b"1")}) == built


@pytest.mark.parametrize("name", ["", "/", "../x", "a/../../x"])
def test_path_outside_is_refused(name: str) -> None:
    """No entry climbs out of the archive."""
    with pytest.raises(ValueError, match="not a path inside"):
        initramfs.archive({name: initramfs.file(b"")})
