"""Debian packages that the lab unpacks: kernels to boot, a later QEMU, a Python for arm64.

`python -m tests.lab.packages` gets all of it at once, before the worlds ask for it.

The kernel series, as found in November 2026:

6.1   bookworm, bookworm-security: linux-image-cloud-amd64 or -arm64. The default.
6.12  bookworm-security: linux-image-6.12-cloud-amd64 or -arm64. A later long-term kernel.
5.10  bullseye, bullseye-security: linux-image-cloud-amd64 or -arm64. Old: on x86 it has no name for
      AVX-VNNI (5.12) and reads numbers only after clearcpuid=.

Debian 10 (4.19) and older have left the mirrors. The cloud flavour has the 8250 serial port, NVMe
and ext4 built in, so no module is ever loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.lab.apt import Apt, unpacked
from tests.lab.architecture import AARCH64, X86_64, Architecture
from tests.lab.common import LabError, cache_dir, locked

DEFAULT_SERIES = "6.1"

# What CPython 3.11 and its standard library load, less the parts no test imports.
_PYTHON = (
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libsqlite3-0",
    "libssl3",
    "libuuid1",
    "zlib1g",
)


@dataclass(frozen=True)
class Series:
    """Where a kernel series comes from.

    Attributes:
        suite: Debian release whose main and -security archives are asked.
        metas: packages that depend on the newest image, best first, less the architecture's name.
    """

    suite: str
    metas: tuple[str, ...]


SERIES = {
    "6.1": Series("bookworm", ("linux-image-cloud-", "linux-image-")),
    "6.12": Series("bookworm", ("linux-image-6.12-cloud-", "linux-image-6.12-")),
    "5.10": Series("bullseye", ("linux-image-cloud-", "linux-image-")),
}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel image.

    Attributes:
        release: as `uname -r` says in the guest, e.g. "6.1.0-56-cloud-amd64".
        vmlinuz: the image QEMU loads.
        config: its build configuration, CONFIG_ name (without the prefix) to value.
        architecture: what it runs on.
    """

    release: str
    vmlinuz: Path
    config: dict[str, str]
    architecture: Architecture = X86_64

    def builtin(self, name: str) -> bool:
        """Tell whether a CONFIG_ option (named without the prefix) is compiled in."""
        return self.config.get(name) == "y"


def _read_config(text: str) -> dict[str, str]:
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))


def _image_package(apt: Apt, series: str, architecture: Architecture) -> str:
    return apt.image_behind([f"{meta}{architecture.debian}" for meta in SERIES[series].metas])


def available() -> dict[str, str]:
    """Ask the mirror which image package each known series has now; series to package name.

    Raises:
        LabMissing: apt, its keyring or the network is not there.
    """
    found = {}
    for name, series in SERIES.items():
        with locked(cache_dir() / "apt" / f"{series.suite}-{X86_64.debian}"):
            apt = Apt(series.suite, X86_64.debian)
            apt.update()
            found[name] = _image_package(apt, name, X86_64)
    return found


def kernel(series: str = DEFAULT_SERIES, architecture: Architecture = X86_64) -> Kernel:
    """Return a kernel of the series, from the cache or else the newest the mirror has.

    A run's kernel changes only when the cache is emptied.

    Args:
        series: a key of `SERIES`.
        architecture: what it is to run on.

    Raises:
        LabMissing: apt, dpkg-deb, the keyring or the network is not there.
        LabError: the series is unknown, or the package holds no kernel.
    """
    if series not in SERIES:
        raise LabError(f"unknown kernel series {series!r}: known are {', '.join(SERIES)}")
    # Only boot/: the rest is 50 MB of modules, none of which the lab loads.
    folder = unpacked(
        cache_dir() / "kernels" / f"{series}-{architecture.debian}",
        SERIES[series].suite,
        lambda apt: [_image_package(apt, series, architecture)],
        architecture=architecture.debian,
        keep="boot",
    )
    images = sorted(folder.glob("vmlinuz-*"))
    if not images:
        raise LabError(f"the package of {series} holds no boot/vmlinuz-*")
    release = images[-1].name.removeprefix("vmlinuz-")
    config = _read_config((folder / f"config-{release}").read_text())
    return Kernel(release, images[-1], config, architecture)


def qemu_10() -> Path:
    """Return Debian 13's qemu-aarch64 (QEMU 10), which is linked statically and so runs anywhere.

    Raises:
        LabMissing: apt, dpkg-deb, the keyring or the network is not there.
    """
    return unpacked(
        cache_dir() / "qemu-aarch64-10",
        "trixie",
        lambda _: ["qemu-user"],
        keep="usr/bin/qemu-aarch64",
    )


def python_arm64() -> Path:
    """Return a root folder with CPython 3.11 for arm64 at usr/bin/python3.11.

    Raises:
        LabMissing: apt, dpkg-deb, the keyring or the network is not there.
    """
    return unpacked(
        cache_dir() / "python-arm64", "bookworm", lambda _: _PYTHON, architecture="arm64"
    )


def main() -> None:
    """Fill the cache, in the order in which the suite asks."""
    for series in SERIES:
        kernel(series)
    for series in ("6.1", "6.12"):
        kernel(series, AARCH64)
    qemu_10()
    python_arm64()


if __name__ == "__main__":
    main()
