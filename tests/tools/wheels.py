"""`make wheel`: from the one wheel that was built those for glibc and for musl, each checked.

The extension is linked with no C library (native/binding.py), so that both hold the same file; what
tells them apart is the name, by which pip chooses. Checked are the symbols that it takes from
outside, and auditwheel's own opinion of each wheel.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

EXTENSION = "cpuprobe/_native.abi3.so"
# Of a C library: glibc has both since 2.16 (getauxval(3)), musl since 1.0.
OF_LIBC = {"__errno_location", "getauxval"}


def foreign(extension: bytes) -> Iterator[str]:
    """What an extension takes from outside Python that not every C library has."""
    elf = ELFFile(io.BytesIO(extension))
    dynamic: Any = elf.get_section_by_name(".dynamic")
    symbols: Any = elf.get_section_by_name(".dynsym")
    for tag in dynamic.iter_tags():
        if tag.entry.d_tag == "DT_NEEDED":
            yield f"the library {tag.needed}"
    for symbol in symbols.iter_symbols():
        undefined = symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_WEAK"
        known = symbol.name in OF_LIBC or re.fullmatch(r"_?Py[A-Z_]\w*", symbol.name)
        if undefined and symbol.name and not known:
            yield f"the symbol {symbol.name}"


def platforms(machine: str) -> tuple[str, str]:
    """The tags for glibc and for musl, by the name that `uname -m` has for the machine."""
    return f"manylinux_2_17_{machine}.manylinux2014_{machine}", f"musllinux_1_1_{machine}"


def tagged(wheel: Path) -> list[Path]:
    """The wheels for both C libraries, in place of the one that was built."""
    made = []
    machine = wheel.stem.partition("linux_")[2]
    for tag in platforms(machine):
        command = [sys.executable, "-m", "wheel", "tags", "--platform-tag", tag, str(wheel)]
        name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        made.append(wheel.with_name(name))
    wheel.unlink()
    return made


def audited(wheel: Path) -> str:
    """The platform that auditwheel finds a wheel to be consistent with."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (platform,) = re.findall(r'the\s+following\s+platform\s+tag:\s+"(\w+)"', said)
    return str(platform)


def main() -> None:
    """Tag and check the wheel in a folder."""
    (wheel,) = Path(sys.argv[1]).glob("*-linux_*.whl")
    found = list(foreign(zipfile.ZipFile(wheel).read(EXTENSION)))
    if found:
        sys.exit(f"the extension needs {', '.join(found)}")
    for each in tagged(wheel):
        print(f"{each}: {each.stat().st_size:,} bytes, auditwheel: {audited(each)}")


if __name__ == "__main__":
    main()
