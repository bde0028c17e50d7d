"""Opening what a stranger or a caller names: nothing waits, nothing acts, nothing is unbounded."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.command import cpuprobe

from cpuprobe.code.archives.table import TEXT, kind_of_file
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.archive import texts_of_archive
from cpuprobe.files import OpenedFile, compression, is_tar, open_regular, read_bounded
from cpuprobe.fleet.archives import pieces_of
from cpuprobe.fleet.piece import Budget, Piece


def test_holes_are_not_counted(tmp_path):
    """A terabyte of nothing is four pieces of something."""
    path = tmp_path / "sparse"
    path.write_bytes(b"x" * 8192)
    with open(path, "r+b") as file:
        for place in (1 << 30, 1 << 36, 1 << 39):
            file.seek(place)
            file.write(b"x" * 8192)
        file.truncate(1 << 40)
    with OpenedFile(str(path)) as opened:
        assert 4 * 8192 <= opened.filled() <= 4 << 20
        assert opened.size == 1 << 40
    with OpenedFile(__file__) as opened:
        assert opened.filled() >= opened.size


# Every way to name a file on the command line.
READERS = [
    ["inspect", "PATH"],
    ["diff", "PATH", "PATH"],
    ["flags", "--from", "PATH"],
    ["flags", "--profile", "PATH.toml"],
    ["report", "--from", "PATH"],
    ["explain", "--log", "PATH"],
    ["explain", "--core", "PATH"],
    ["explain", "--minidump", "PATH"],
    ["explain", "c5f857c0", "--on", "PATH"],
    ["check", "PATH", "--against", "x86-64-v1"],
    ["check", sys.executable, "--against", "PATH"],
    ["profile", "show", "PATH.toml"],
    ["profile", "check", "x86-64-v1", "--on", "PATH"],
    ["profile", "lint", "PATH.toml"],
    ["fleet", "PATH"],
    ["fleet", ".", "--weights", "PATH"],
    ["verify", "--flags-from", "PATH"],
    ["run", "PATH"],
    ["run", "PATH", "--flags-from", "PATH"],
    ["bench", "PATH", "--invoke", "f"],
]


@pytest.mark.parametrize("arguments", READERS, ids=lambda each: " ".join(each[:3]))
def test_no_command_waits_for_the_writer_of_a_pipe(arguments, tmp_path):
    """A pipe under the name of a file is refused by everything that reads, and named."""
    for name in ("pipe", "pipe.toml"):
        os.mkfifo(tmp_path / name)
    result = cpuprobe(*(each.replace("PATH", "pipe") for each in arguments), cwd=tmp_path)

    assert result.returncode == 4
    assert b"pipe" in result.stderr
    assert b"not a regular file" in result.stderr


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "a directory"),
        (lambda path: os.symlink("/dev/zero", path), "not a regular file"),
        (lambda path: os.symlink("nowhere", path), "No such file or directory"),
        (lambda path: os.symlink(path.name, path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_refused_by_both_openers(make, words, tmp_path):
    """Reading whole and reading in parts refuse the same, and name the file."""
    path = tmp_path / "thing"
    make(path)

    for opener in (lambda: read_bounded(path, 10), lambda: OpenedFile(str(path))):
        with pytest.raises(CaptureError) as refusal:
            opener()

        assert str(refusal.value) == f"{path}: {words}"


def test_a_link_to_a_file_is_read(tmp_path):
    """What the user names he means, by whatever name."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")

    assert read_bounded(tmp_path / "link", 7) == (str(tmp_path / "link"), b"content")
    with OpenedFile(str(tmp_path / "link")) as file:
        assert file.some(3, 100) == b"tent"


def test_a_file_one_byte_too_large_is_refused(tmp_path):
    """The bound is exact, and the advice ends the sentence."""
    path = tmp_path / "large"
    path.write_bytes(bytes((1 << 20) + 1))

    assert len(read_bounded(path, (1 << 20) + 1)[1]) == (1 << 20) + 1
    with pytest.raises(CaptureError, match=r"large: larger than 1 MiB, no cat is$"):
        read_bounded(path, 1 << 20, ", no cat is")


def test_a_name_that_cannot_be_one_is_refused():
    """A NUL byte in a name is a refusal like any other."""
    for opener in (lambda: read_bounded("a\0b", 10), lambda: OpenedFile("a\0b")):
        with pytest.raises(CaptureError, match="not a file name"):
            opener()


def test_a_pipe_of_the_shell_is_read_whole_but_not_in_parts():
    """`<(command)` is a pipe that is open already, under the name /dev/fd/N."""
    reader, writer = os.pipe()
    child = subprocess.Popen(["sh", "-c", "sleep 0.2; echo content"], stdout=writer)
    os.close(writer)
    try:
        assert read_bounded(f"/dev/fd/{reader}", 100) == (f"/dev/fd/{reader}", b"content\n")
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(f"/dev/fd/{reader}")
    finally:
        child.wait()
        os.close(reader)


def test_a_closed_standard_input_is_one_line():
    """`cpuprobe inspect - <&-` has nothing to read."""
    result = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m cpuprobe inspect - <&-"],
        capture_output=True,
        timeout=60,
    )

    assert result.returncode == 4
    assert result.stderr == b"cpuprobe: error: standard input: closed\n"


def test_a_compressed_start_is_named():
    """Nothing else is taken for compressed."""
    assert compression(b"\x1f\x8b\x08") == "gzip"
    assert compression(b"\x28\xb5\x2f\xfd") == "zstd"
    assert compression(b"") is None
    assert compression(b"processor : 0") is None


def test_only_one_module_opens_files_of_strangers():
    """The flag that keeps an open from waiting stands in one place."""
    source = Path(__file__).parents[2] / "probe" / "cpuprobe"
    found = [path.name for path in source.rglob("*.py") if "O_NONBLOCK" in path.read_text()]

    assert found == ["files.py"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_tar_archive_is_known_by_its_start(form):
    """Of POSIX and of GNU; not cut before the NUL of its mark."""
    start = tarfile.TarInfo("report").tobuf(form)

    assert is_tar(start)
    assert not is_tar(start[:262])


def test_every_reader_takes_a_text_with_the_word_of_tar_in_its_place_for_text(tmp_path):
    """`inspect`, `fleet` and `check` alike: only the NUL behind the word makes an archive."""
    text = b"Architecture: x86_64\nFlags: fpu sse sse2 lm nx\n".ljust(257) + b"ustar\n"
    (tmp_path / "text").write_bytes(text)
    piece = next(pieces_of(io.BufferedReader(io.BytesIO(text)), "text", Budget()))

    assert not is_tar(text)
    assert texts_of_archive(text) is None
    assert isinstance(piece, Piece) and piece.content == text
    assert kind_of_file(str(tmp_path / "text")) == TEXT
