"""Archives made in memory, by Python's own modules where they write the format, and by hand."""

from __future__ import annotations

import hashlib
import io
import json
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


def cpio_of(files: Mapping[str, bytes]) -> bytes:
    """A cpio archive of the newer format."""
    content = b""
    for number, (name, body) in enumerate([*files.items(), ("TRAILER!!!", b"")]):
        raw = name.encode() + b"\0"
        numbers = (number, 0o100644, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(raw), 0)
        content += b"070701" + b"".join(b"%08X" % each for each in numbers) + raw
        content += bytes(-len(content) % 4) + body
        content += bytes(-len(content) % 4)
    return content


def digest(content: bytes) -> str:
    """As an OCI descriptor has it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def oci(*layers: bytes) -> dict[str, bytes]:
    """The files of an OCI layout with one image."""
    descriptors = [{"digest": digest(layer), "size": len(layer)} for layer in layers]
    manifest = json.dumps({"schemaVersion": 2, "layers": descriptors}).encode()
    index = {"manifests": [{"digest": digest(manifest), "size": len(manifest)}]}
    blobs = {f"blobs/{digest(blob).replace(':', '/')}": blob for blob in (*layers, manifest)}
    return {
        **blobs,
        "index.json": json.dumps(index).encode(),
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
    }
