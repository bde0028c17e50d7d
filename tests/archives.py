"""Archives made in memory, by Python's own modules where they write the format, and by hand."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

from tests.elf_files import HEADER, elf

VPADDD = b"\xc5\xfd\xfe\xc0"
CODE = VPADDD * 16 + b"\xc3"


def library(code: bytes = CODE) -> bytes:
    """An ELF library with these instructions, in a section that no symbol and no unwind names."""
    return elf(code, (), [(0, 1, 6, HEADER, HEADER, len(code), 0)])


def zip_of(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def tar_of(files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def ar_of(files: Mapping[str, bytes]) -> bytes:
    """An ar archive with short names, as dpkg-deb writes it."""
    content = b"!<arch>\n"
    for name, body in files.items():
        content += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"644", len(body))
        content += body + b"\n" * (len(body) & 1)
    return content
