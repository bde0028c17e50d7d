"""Folders that are checked: all in them is read, or told of."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from tests.archives import library, oci, tar_of, zip_of
from tests.fuzz import containers

pytest.importorskip("iced_x86")

from cpuprobe.check import many
from cpuprobe.check.against import within
from cpuprobe.check.contents import Asked, contents
from cpuprobe.check.gate import exit_code, gate
from cpuprobe.check.judge import Fit
from cpuprobe.check.patterns import excluded_by
from cpuprobe.facts.profiles import find_profile
from cpuprobe.files import below


def judged(folder: Path) -> list[Fit]:
    found = many.expand([str(folder)])
    return many.check(found.files, within(find_profile("x86-64-v4")), 1, lambda *told: None)


def test_what_lies_below_a_folder_comes_in_order(tmp_path):
    """The files of a folder, then its folders; links are not followed, loops do not matter."""
    for name in ("b/c", "a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(b"")
    (tmp_path / "z").write_bytes(b"")
    (tmp_path / "b" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "pipe")
    found = [(path.removeprefix(f"{tmp_path}/"), sort) for path, sort in below(str(tmp_path))]

    assert found == [
        ("pipe", "other"),
        ("z", "file"),
        ("a/file", "file"),
        ("b/up", "link"),
        ("b/c/file", "file"),
    ]
    assert not [*below(str(tmp_path), lambda folder: True)]


def test_a_folder_deeper_than_any_name_is_long(tmp_path, monkeypatch):
    """What cannot be named cannot be listed, and is told of; nothing recurses."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2100):
        os.mkdir("d")
        os.chdir("d")
    monkeypatch.chdir(tmp_path)
    found, told = [*below("d")], judged(Path("d"))
    subprocess.run(["rm", "-r", "d"], check=True)  # Python's own recurses

    assert [sort for _, sort in found] == ["unlisted"]
    assert [fit.error for fit in told] == ["File name too long"]


def test_what_cannot_be_opened_is_told(tmp_path, monkeypatch):
    """By its path, and the exit code says that not all was read; a pipe holds nothing."""
    for name in ("good", "bad"):
        (tmp_path / name).write_bytes(library())
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    refused = {str(tmp_path / "bad"), str(tmp_path / "sub")}

    def refusing(real):
        def refuse(path, *more):
            if str(path) in refused:
                raise PermissionError(13, "Permission denied")
            return real(path, *more)

        return refuse

    monkeypatch.setattr(os, "open", refusing(os.open))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    told = judged(tmp_path)

    assert {fit.path: fit.error for fit in told} == {
        str(tmp_path / "good"): None,
        str(tmp_path / "bad"): "Permission denied",
        str(tmp_path / "sub"): "a folder that cannot be listed",
    }
    assert exit_code(gate("never"), told, ()) == 4


def test_links_that_lead_out_of_what_is_checked_are_counted(tmp_path):
    """Those that stay inside, or go to what is checked as well, are read where they lead."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(library())
    (tmp_path / "a" / "inside").symlink_to("file")
    (tmp_path / "a" / "beside").symlink_to("../b/file")
    (tmp_path / "a" / "out").symlink_to(tmp_path / "c" / "file")
    (tmp_path / "a" / "folder").symlink_to("../c")
    (tmp_path / "a" / "root").symlink_to("/")
    found = many.expand([str(tmp_path / "a"), str(tmp_path / "b")])

    assert [path for path, _ in found.files] == [f"{tmp_path}/a/file", f"{tmp_path}/b/file"]
    assert found.unread == Counter({"link to elsewhere": 3})
    assert many.expand([str(tmp_path)]).unread == Counter({"link to elsewhere": 1})


def test_what_is_behind_a_program_was_not_read(tmp_path):
    (tmp_path / "one.bin").write_bytes(library(b"\xc3") + bytes(many.APPENDED))
    told = judged(tmp_path)

    assert [(fit.path, fit.expectation) for fit in told] == [
        (f"{tmp_path}/one.bin", "runs"),
        (f"{tmp_path}/one.bin!(appended)", "unread"),
    ]
    assert [exit_code(gate(words), told, ()) for words in ("guarded", "unread")] == [0, 1]


def test_nothing_that_was_judged_is_in_a_cycle(tmp_path):
    """Of files of every kind, whole and cut short: Python is told to look for no cycles."""
    for name, content in containers.seeds().items():
        (tmp_path / name.replace("/", "_")).write_bytes(content)
        (tmp_path / f"{name.replace('/', '_')}.cut").write_bytes(content[: len(content) * 2 // 3])
    judged(tmp_path)  # what is made once
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        told = judged(tmp_path)
        gc.collect()
        left = {type(each) for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert {fit.expectation for fit in told} >= {"runs", "unreadable"}
    assert not [each for each in left if each.__module__.startswith("cpuprobe")], left


def test_what_is_excluded_is_neither_read_nor_passed_over_in_silence(tmp_path):
    """In folders, archives, layers of images and by its own name; it is counted by its pattern."""
    damaged = zip_of({"core.so": library()})[:-30]
    package = {"app/core.so": library(), "app/tests/bad.zip": damaged, "app/tests/c.so": b"\x7fELF"}
    layer = tar_of({"usr/core.so": library(), "usr/tests/bad.zip": damaged})
    files = {
        "app.whl": zip_of(package),
        "image.tar": tar_of(oci(layer)),
        "bad.zip": damaged,
        "tests/one.zip": zip_of(package),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    against = within(find_profile("x86-64-v2"))
    patterns = ["tests", "bad.zip"]
    for processes in (1, 2):
        found = many.expand([str(tmp_path), str(tmp_path / "bad.zip")], patterns)
        fits = many.check(
            found.files, against, processes, lambda *_: None, (), found.unread, None, None, patterns
        )

        assert sorted(fit.path.rpartition("!")[2] for fit in fits) == ["app/core.so", "usr/core.so"]
        assert all(fit.needs is not None for fit in fits)
        assert found.unread[excluded_by("tests")] == 4
        assert found.unread[excluded_by("bad.zip")] == 2  # in the folder, and named
    everything = many.expand([str(tmp_path)], ["*"])
    assert everything.files == []
    assert everything.unread == {excluded_by("*"): 4}


def test_another_name_of_an_excluded_file_is_told_of(tmp_path):
    """A hard link in a tar archive has no content of its own."""
    path, target = tmp_path / "app.tar", io.BytesIO(tar_of({"tests/core.so": library()}))
    with tarfile.open(fileobj=target, mode="a") as archive:
        for name in ("lib/core.so", "tests/again.so"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.LNKTYPE, "tests/core.so"
            archive.addfile(link)
    path.write_bytes(target.getvalue())

    found = contents(str(path), Asked(excluded=("tests",)))
    assert [(each.name, each.unread) for each in found.met] == [
        (f"{path}!lib/core.so", "name of an excluded file")
    ]
    assert [each.needs is not None for each in contents(str(path)).met] == [True]
