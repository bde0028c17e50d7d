"""`cpuprobe check`: exit codes, one-line errors, JSON, folders, another machine's capture."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from tests.archives import ar_of, library, oci, tar_of, zip_of
from tests.command import cpuprobe
from tests.elf_files import HEADER, elf
from tests.fakes import gds_machine

from cpuprobe.assessment import assess
from cpuprobe.check.many import APPENDED
from cpuprobe.code.archives.table import KINDS
from cpuprobe.files import HEAD
from cpuprobe.report.document import make_report, to_json
from cpuprobe.report.fit import to_text

pytest.importorskip("iced_x86")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")

ARCHIVES = Path(__file__).parents[2] / "data" / "archives"
BINARIES = Path(__file__).parents[2] / "data" / "binaries"
SOURCE = 'void f(void) { __asm__ volatile("vpaddd %ymm1, %ymm0, %ymm0"); }'


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = cpuprobe("check", *arguments)
    out, err = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program, a library in a folder of its own, a text, a link, and code for another machine."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "deep").mkdir()
    gcc = ["gcc", "-O1", "-x", "c", "-", "-o"]
    subprocess.run([*gcc, folder / "plain"], input=b"int main(void) { return 0; }", check=True)
    library = [*gcc, str(folder / "deep" / "avx2.so"), "-shared", "-fPIC"]
    subprocess.run(library, input=SOURCE.encode(), check=True)
    (folder / "text").write_text("no program\n")
    (folder / "link").symlink_to(folder / "plain")
    arm = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, 183) + bytes(44)
    (folder / "deep" / "arm").write_bytes(arm)
    return folder


def test_a_folder_is_read_whole(folder):
    """ELF files at any depth, sorted; texts and foreign code are counted, links left out."""
    result = check(folder, "--against", "x86-64-v2", "--json")
    document = json.loads(result.stdout)

    assert result.returncode == 1
    assert document["schema"] == "cpuprobe.check/1"
    assert document["against"] == "x86-64-v2"
    found = {Path(file["path"]).name: file["expectation"] for file in document["files"]}
    assert found == {"plain": "runs", "avx2.so": "unguarded"}
    assert document["unread"] == {"text file": 1, "AArch64 file": 1}


def test_the_text_names_functions(folder):
    result = check(folder / "deep" / "avx2.so", "--against", "x86-64-v2")

    assert result.stdout.startswith("UNGUARDED  ")
    assert "avx2: 1 instruction in 1 function, confidence high" in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 100
    assert "\x1b" not in result.stdout + result.stderr


def test_unreadable_files_do_not_stop_the_others(folder, tmp_path):
    cut = tmp_path / "cut"
    cut.write_bytes((folder / "plain").read_bytes()[:1000])
    result = check(cut, folder / "plain", folder / "text", tmp_path / "none")

    assert result.returncode == 4
    errors = result.stderr.splitlines()
    assert len(errors) == 3
    assert all(line.startswith("cpuprobe: error: ") for line in errors)
    assert f"RUNS       {folder / 'plain'}" in result.stdout


def test_what_does_not_fit_is_exit_code_1(folder):
    result = check(folder / "deep" / "arm")

    assert result.returncode == 1
    assert result.stdout.startswith("FOREIGN")


def test_against_a_capture(folder, tmp_path):
    """A machine whose AVX was taken away by the kernel lacks AVX2."""
    report = tmp_path / "gds.json"
    report.write_bytes(to_json(make_report(gds_machine(), assess(gds_machine()))))
    result = check(folder / "deep" / "avx2.so", "--against", report, "--json")
    document = json.loads(result.stdout)

    assert document["against"] == "gds.json"
    assert document["files"][0]["missing"] == ["avx2"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["/bin/sh", "--against", "x86-64-v9"], 2, "x86-64-v4"),
        (["/bin/sh", "--against", "/dev/null"], 4, "not a regular file"),
        ([], 2, "Missing"),
    ],
)
def test_bad_requests_get_one_line(arguments, code, words):
    result = check(*arguments)

    assert result.returncode == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_names_from_strangers_cannot_steer_a_terminal():
    """A file name with an escape sequence is shown without it."""
    file = {"path": "a\x1b[2Jb", "expectation": "unreadable", "error": "bad\x1b]0;", "fits": False}
    text = to_text({"against": "x", "files": [file], "unread": {}})

    assert "\x1b" not in text


def test_several_processes_say_the_same(folder):
    """The answer does not depend on how many processes worked."""
    from cpuprobe.check import many
    from cpuprobe.check.against import within
    from cpuprobe.facts.profiles import find_profile

    against = within(find_profile("x86-64-v1"))
    assert against is not None
    files = many.expand(["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/bin/env", str(folder)])
    seen: list[tuple[int, int, int]] = []

    alone = many.check(files.files, against, 1, lambda *told: seen.append(told))
    assert many.check(files.files, against, 2, lambda *_: None) == alone
    sizes = [Path(path).stat().st_size for path, _ in files.files]
    assert {done for done, _, _ in seen} == set(range(len(sizes) + 1))
    assert {of for _, of, _ in seen} == {len(sizes)}
    assert max(read for _, _, read in seen) == sum(sizes)
    assert seen == sorted(seen)


def test_progress_goes_on_within_one_archive(tmp_path):
    """Each file in it moves the bar."""
    from cpuprobe.check import many
    from cpuprobe.check.against import within
    from cpuprobe.facts.profiles import find_profile

    path = tmp_path / "x.zip"
    path.write_bytes(zip_of({f"{at}.so": library() for at in range(3)}))
    seen: list[tuple[int, int, int]] = []
    many.check(
        [(str(path), True)], within(find_profile("x86-64-v1")), 1, lambda *told: seen.append(told)
    )

    size = len(library())
    assert seen == [(0, 1, size), (0, 1, 2 * size), (0, 1, 3 * size), (1, 1, 3 * size)]


def test_a_folder_of_one_file_of_each_kind_names_them_all(tmp_path):
    """What is read by its verdict, what is not by its path and kind, texts by their number."""
    pytest.importorskip("wasmtime")
    core = library()
    files = {
        "core.so": core,
        "app.whl": zip_of({"app/core.so": core, "app/__init__.py": b""}),
        "app.tar": tar_of({"core.so": core}),
        "app.tgz": gzip.compress(tar_of({"core.so": core})),
        "app.tar.bz2": bz2.compress(tar_of({"core.so": core})),
        "app.tar.xz": lzma.compress(tar_of({"core.so": core})),
        "lib.a": ar_of({"core.o/": core}),
        "app.deb": ar_of({"debian-binary": b"2.0\n", "data.tar": tar_of({"core.so": core})}),
        "app.exe": (BINARIES / "entry.exe").read_bytes(),
        "lib.dylib": (BINARIES / "load.dylib").read_bytes(),
        "app.rpm": (ARCHIVES / "tiny.rpm").read_bytes(),
        "app.snap": (ARCHIVES / "tiny.xz.squashfs").read_bytes(),
        "image.tar": tar_of(
            oci(tar_of({"old.so": core}), tar_of({"new.so": core, ".wh.old.so": b""}))
        ),
        "setup.exe": (BINARIES / "entry.exe").read_bytes() + bytes(APPENDED),
        "arm.so": core[:18] + b"\xb7" + core[19:],
        "setup.msi": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "app.7z": b"7z\xbc\xaf\x27\x1c",
        "app.rar": b"Rar!\x1a\x07\x01\x00",
        "app.dmg": b"\x78\xda" + bytes(100),
        "app.wasm": b"\x00asm\x01\x00\x00\x00",
        "page.zip": zip_of({"page.wasm": b"\x00asm\x01\x00\x00\x00"}),
        "app.lib": ar_of(
            {
                "x.obj/": (BINARIES / "entry.obj").read_bytes(),
                "big/": (BINARIES / "big.obj").read_bytes(),
                "y/": b"\0\0\xff\xff\1\0\x64\x86",
                "lto.o/": (BINARIES / "lto.obj").read_bytes(),
                "apple/": b"\xde\xc0\x17\x0b",
            }
        ),
        "lto.o": elf(
            b"\0.gnu.lto_main\0",
            sections=[(1, 1, 0, 0, HEADER, 15, 0), (0, 3, 0, 0, HEADER, 15, 0)],
            kind=1,
            names=2,
        ),
        "tool": core[:HEADER] + b"UPX!" + core[HEADER + 4 :],
        "setup.run": b"#!/bin/sh\nexit\n" + b"#" * HEAD + gzip.compress(b""),
        "one.bin": core + bytes(APPENDED),
        "notes.txt": b"nothing\n",
        "data.bin": b"\x80\x01\x00\xff",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    result = check(tmp_path, "--against", "x86-64-v2", "--json")
    document = json.loads(result.stdout)
    told = {
        file["path"].removeprefix(f"{tmp_path}/"): file["expectation"] for file in document["files"]
    }

    assert result.returncode == 1
    read = {name for name, expectation in told.items() if expectation in ("unguarded", "dies")}
    assert read == {
        "app.exe",
        "lib.dylib",
        "core.so",
        "app.whl!app/core.so",
        "app.tar!core.so",
        "app.tgz!core.so",
        "app.tar.bz2!core.so",
        "app.tar.xz!core.so",
        "lib.a!core.o",
        "app.lib!x.obj",
        "app.lib!big",
        "app.deb!data.tar!core.so",
        "app.rpm!usr/lib64/core.so",
        "app.snap!usr/lib/core.so",
        "app.snap!usr/lib/two.so",
        "image.tar!new.so",
        "setup.exe",
        "one.bin",
    }
    assert told.pop("app.wasm") == told.pop("page.zip!page.wasm") == "runs"
    unread = {"app.7z", "app.dmg", "app.rar", "setup.msi"}
    unread |= {"app.lib!y", "app.lib!lto.o", "app.lib!apple"}
    unread |= {"setup.exe!(appended)", "lto.o", "tool", "setup.run", "one.bin!(appended)"}
    assert {name for name, expectation in told.items() if expectation == "unread"} == unread
    assert told.keys() == read | unread
    assert document["unread"] == {
        "AArch64 file": 1,
        "appended archive": 2,
        "object of GCC for link-time optimization": 2,
        "LLVM bitcode file": 1,
        "program packed by UPX": 1,
        "script with data behind it": 1,
        "7-Zip archive": 1,
        "COFF object file of a compiler's own code": 1,
        "RAR archive": 1,
        "Windows installer": 1,
        "macOS disk image": 1,
        "other file": 2,
        "text file": 9,
    }
    several = {name for name, count in document["unread"].items() if count > 1}
    text = " ".join(check(tmp_path, "--against", "x86-64-v2").stdout.split())
    assert all(name in text for name in (*read, *unread, *(document["unread"].keys() - several)))
    assert "2 appended archives" in text


def test_every_kind_that_may_hold_code_is_told_of_by_its_path(tmp_path):
    """A file of the first bytes of each, and no more: by a verdict, as damaged, or as unread."""
    named = [kind for kind in KINDS if kind.named]
    for number, kind in enumerate(named):
        (tmp_path / f"{number}{kind.end}").write_bytes(kind.start + b"\xff" * 8)
    document = json.loads(check(tmp_path, "--against", "x86-64-v2", "--json").stdout)
    told = {file["path"].rpartition("/")[2].partition("!")[0] for file in document["files"]}

    assert len(named) > 30
    assert told == {f"{number}{kind.end}" for number, kind in enumerate(named)}


def test_nothing_read_is_no_success(tmp_path):
    """Installers alone, a folder without a file, a wheel without code, and one that is damaged."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "setup.msi").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    (tmp_path / "pure.whl").write_bytes(zip_of({"pure/__init__.py": b"pass\n"}))
    (tmp_path / "bad.whl").write_bytes(b"PK\x03\x04")
    for path, words in (
        ("folder", "nothing was read: 1 Windows installer"),
        ("empty", "nothing was read: no file"),
        ("pure.whl", "nothing was read: 1 text file"),
        ("bad.whl", "zip archive: zip: cut short, or without a directory"),
        ("folder/setup.msi", "Windows installer: not read"),
    ):
        result = check(tmp_path / path, "--against", "x86-64-v2")

        assert result.returncode == 4
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    assert result.stdout.startswith("UNREAD")
