"""The compiled extension beside Python of another version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cpuprobe import extension as room
from cpuprobe.cli import run
from cpuprobe.extension import extension, interface

native = pytest.importorskip("cpuprobe._native")

NATIVE = Path(__file__).parents[3] / "native"


def copied(folder: Path) -> Path:
    """What tells of the sources, elsewhere."""
    (folder / "native/scan").mkdir(parents=True)
    shutil.copy(NATIVE / "binding.py", folder / "native")
    for header in (NATIVE / "scan").glob("*.h"):
        shutil.copy(header, folder / "native/scan")
    return folder


def test_one_of_other_sources_is_refused_in_one_line(tmp_path, capsys, monkeypatch):
    """After `git pull`: the line says how to build it again."""
    monkeypatch.setattr(room, "CHECKOUT", str(copied(tmp_path)))
    assert extension() == (native.ffi, native.lib)
    with (tmp_path / "native/scan/links.h").open("a") as header:
        header.write("int links_more(void);\n")

    assert run([]) == run(["flags"]) == 3
    first, second = capsys.readouterr().err.splitlines()
    assert first == second
    assert "build it again (`make run` in " in first


def test_an_installed_one_has_no_sources_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "CHECKOUT", str(tmp_path))

    assert interface(str(tmp_path)) is None
    assert extension() == (native.ffi, native.lib)
