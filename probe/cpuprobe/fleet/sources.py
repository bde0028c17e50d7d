"""Where captures come from: files, folders and patterns, in order.

One capture at a time, so that memory does not grow with their number. What a file holds shows by
its content. Links are not followed; pipes and devices that nobody named are not opened.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from cpuprobe.errors import CaptureError
from cpuprobe.files import HEAD, open_regular, standard_input
from cpuprobe.fleet.apart import Apart
from cpuprobe.fleet.archives import is_container, pieces_of
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Budget, Piece, label_of
from cpuprobe.fleet.tables import is_ingested

_SMALL = 1 << 20
"""Bytes of text that are read in this process."""


class Argument(NamedTuple):
    """One file or folder to be read.

    Attributes:
        path: where it lies; `-` is standard input.
        label: what to call it.
        named: whether the user named it himself, and not by a pattern.
    """

    path: str
    label: str
    named: bool


def expand(paths: Iterable[str]) -> tuple[list[str], list[Argument]]:
    """Sorts out what the user named.

    Args:
        paths: files, folders, patterns that no shell has expanded, `-`.

    Returns:
        Folders that `fleet ingest` made, and all else, in the order given.

    Raises:
        CaptureError: something is not there.
    """
    ingested: list[str] = []
    arguments: list[Argument] = []
    for path in paths:
        for argument in _matches(path):
            if argument.path != "-" and is_ingested(argument.path):
                ingested.append(argument.path)
            else:
                arguments.append(argument)
    if sum(argument.path == "-" for argument in arguments) > 1:
        raise CaptureError("standard input can be read only once")
    return ingested, arguments


def _matches(path: str) -> list[Argument]:
    if path == "-":
        return [Argument(path, "standard input", True)]
    if os.path.lexists(path) or "\0" in path or not glob.has_magic(path):
        try:
            os.stat(path)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}") from None
        except ValueError:
            raise CaptureError(f"{path}: not a file name") from None
        base = os.path.basename(os.path.normpath(path))
        return [Argument(path, "" if os.path.isdir(path) else base, True)]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise CaptureError(f"{path}: no such file, and as a pattern it matches none")
    fixed = path[: min(path.index(sign) for sign in "*?[" if sign in path)]
    start = os.path.dirname(fixed)
    return [Argument(each, os.path.relpath(each, start or os.curdir), False) for each in found]


class Reading:
    """Reads captures from arguments, and knows how far it is."""

    def __init__(self, arguments: Iterable[Argument]) -> None:
        """Nothing is read before `pieces` is asked."""
        self._arguments = list(arguments)
        self._done = 0
        self._current: BinaryIO | None = None
        self._given_up = False
        self._apart = Apart()

    @property
    def done(self) -> int:
        """Bytes of input that have been read."""
        if self._current is None or not self._current.seekable():
            return self._done
        return self._done + os.lseek(self._current.fileno(), 0, os.SEEK_CUR)

    def total(self) -> int | None:
        """Bytes of input in all; None where a pipe is among it."""
        total = 0
        for argument in self._arguments:
            if os.path.isdir(argument.path):
                for path, _, problem in _walk(argument.path, ""):
                    total += 0 if problem else _size(path)
            elif argument.path == "-" or not os.path.isfile(argument.path):
                return None
            else:
                total += _size(argument.path)
        return total

    def give_up(self) -> None:
        """What is being read is left where it is; `pieces` goes on with the next file."""
        self._given_up = True

    def pieces(self) -> Iterator[Piece | Skipped]:
        """Every capture in order, or why it cannot be had."""
        try:
            for path, label, named, problem in self._files():
                if problem is not None:
                    yield Skipped(label, problem, "file")
                    continue
                for piece in self._file(path, label, named):
                    if self._given_up:
                        yield Skipped(label, "given up: too much in a row is no capture", "damaged")
                        self._apart.close()
                        break
                    yield piece
                self._given_up = False
        finally:
            self._apart.close()

    def _files(self) -> Iterator[tuple[str, str, bool, str | None]]:
        """Path, label, whether the user named it himself, and why it is not read."""
        for argument in self._arguments:
            if argument.path != "-" and os.path.isdir(argument.path):
                for path, label, problem in _walk(argument.path, argument.label):
                    yield path, label, False, problem
            else:
                yield argument.path, label_of(argument.label), argument.named, None

    def _file(self, path: str, label: str, named: bool) -> Iterator[Piece | Skipped]:
        try:
            if path == "-":
                self._current = standard_input()
                yield from self._apart.pieces(self._current.fileno(), label)
                return
            with open(open_regular(path, or_handed=named), "rb") as file:
                self._current = file
                head = file.peek(HEAD)[:HEAD] if file.seekable() else b""
                if file.seekable() and _size(path) <= _SMALL and not is_container(head, label):
                    yield from pieces_of(file, label, Budget())
                else:
                    if file.seekable():
                        os.lseek(file.fileno(), 0, os.SEEK_SET)
                    yield from self._apart.pieces(file.fileno(), label)
            self._done += _size(path)
        except OSError as error:
            yield Skipped(label, error.strerror or "cannot be read", "file")
        finally:
            self._current = None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _walk(top: str, prefix: str) -> Iterator[tuple[str, str, str | None]]:
    """The files of a folder: path, label, and why one is not read.

    By name, files before subfolders. Hidden ones are left out, and so are symbolic links: what they
    point to is counted where it lies, or does not belong to the folder.
    """
    pending = [(top, prefix)]
    while pending:
        folder, start = pending.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield folder, label_of(start or os.path.basename(folder)), error.strerror
            continue
        below = []
        for entry in listed:
            label = f"{start}/{entry.name}" if start else entry.name
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                if is_ingested(entry.path):
                    yield entry.path, label_of(label), "ingested tables: name this folder itself"
                else:
                    below.append((entry.path, label))
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, label_of(label), None
            else:
                yield entry.path, label_of(label), "not a regular file"
        pending.extend(reversed(below))
