"""Gets Debian's kernel images: downloaded with apt, unpacked with dpkg-deb, never installed.

apt runs on a private set of folders in the cache, so neither root nor this machine's package lists
are needed. The mirror is the one this machine is set up with. The series, as found in November
2026:

6.1   bookworm, bookworm-security: linux-image-cloud-amd64. The default.
6.12  bookworm-security: linux-image-6.12-cloud-amd64. A later long-term kernel.
5.10  bullseye, bullseye-security: linux-image-cloud-amd64. Old: it has no name for AVX-VNNI (5.12)
      and reads numbers only after clearcpuid=.

Debian 10 (4.19) and older have left the mirrors. The cloud flavour has the 8250 serial port, NVMe
and ext4 built in, so no module is ever loaded.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.lab.common import LabError, LabMissing, cache_dir, locked, run_tool, tool

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SERIES = "6.1"


@dataclass(frozen=True)
class Series:
    """Where a kernel series comes from.

    Attributes:
        suite: Debian release whose main and -security archives are asked.
        metas: packages that depend on the newest image, best first.
    """

    suite: str
    metas: tuple[str, ...]


SERIES = {
    "6.1": Series("bookworm", ("linux-image-cloud-amd64", "linux-image-amd64")),
    "6.12": Series("bookworm", ("linux-image-6.12-cloud-amd64", "linux-image-6.12-amd64")),
    "5.10": Series("bullseye", ("linux-image-cloud-amd64", "linux-image-amd64")),
}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel image.

    Attributes:
        release: as `uname -r` says in the guest, e.g. "6.1.0-56-cloud-amd64".
        vmlinuz: the image QEMU loads.
        config: its build configuration, CONFIG_ name (without the prefix) to value.
    """

    release: str
    vmlinuz: Path
    config: dict[str, str]

    def builtin(self, name: str) -> bool:
        """Tell whether a CONFIG_ option (named without the prefix) is compiled in."""
        return self.config.get(name) == "y"


def _read_config(text: str) -> dict[str, str]:
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))


def _unpacked(folder: Path) -> Kernel | None:
    images = sorted(folder.glob("boot/vmlinuz-*"))
    if not images:
        return None
    release = images[-1].name.removeprefix("vmlinuz-")
    config = folder / "boot" / f"config-{release}"
    return Kernel(release, images[-1], _read_config(config.read_text()))


def _mirror() -> str:
    """Return the mirror this machine has lists of Debian from; the official one if it has none."""
    # ORIGIN is what the mirror's Release file says: a vendor's archive for Debian is not Debian's.
    answer = run_tool([tool("apt-get", "apt"), "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"])
    for line in answer.splitlines():
        origin, _, uri = line.partition(" ")
        if origin == "Debian" and uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    return DEFAULT_MIRROR


class _Apt:
    """apt on folders of its own, for one Debian release."""

    def __init__(self, suite: str) -> None:
        if not KEYRING.exists():
            raise LabMissing(
                f"{KEYRING} not found: install the Debian package debian-archive-keyring"
            )
        self.home = cache_dir() / "apt" / suite
        for name in ("lists/partial", "cache/archives/partial"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        mirror = _mirror()
        sources = self.home / "sources.list"
        sources.write_text(
            f"deb [signed-by={KEYRING}] {mirror} {suite} main\n"
            f"deb [signed-by={KEYRING}] {mirror}-security {suite}-security main\n"
        )
        settings = {
            "Dir::State": self.home,
            "Dir::State::Lists": self.home / "lists",
            "Dir::Cache": self.home / "cache",
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "APT::Architecture": "amd64",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
        }
        if os.geteuid() == 0:
            # root's downloads go through the user _apt, who may not enter the checkout.
            settings["APT::Sandbox::User"] = "root"
        self.options = [
            part for key, value in settings.items() for part in ("-o", f"{key}={value}")
        ]

    def run(self, command: str, *words: str, cwd: Path | None = None) -> str:
        return run_tool([tool(command, "apt"), *self.options, *words], cwd=cwd, env={"LC_ALL": "C"})

    def update(self) -> None:
        try:
            self.run("apt-get", "update", "--error-on=any")
        except LabMissing:
            raise
        except LabError as error:
            raise LabMissing(
                f"Debian's package lists cannot be had (no network, no mirror?): {error}"
            ) from None

    def image_behind(self, metas: tuple[str, ...]) -> str:
        """Return the image package the first known meta package depends on."""
        for meta in metas:
            try:
                answer = self.run("apt-cache", "depends", "--important", meta)
            except LabError:
                continue
            found = re.search(r"Depends: (linux-image-\d\S*)", answer)
            if found:
                return found[1]
        raise LabMissing(f"the mirror has none of {', '.join(metas)}")


def available() -> dict[str, str]:
    """Ask the mirror which image package each known series has now; series to package name.

    Raises:
        LabMissing: apt, its keyring or the network is not there.
    """
    found = {}
    for name, series in SERIES.items():
        with locked(cache_dir() / "apt" / series.suite):
            apt = _Apt(series.suite)
            apt.update()
            found[name] = apt.image_behind(series.metas)
    return found


def kernel(series: str = DEFAULT_SERIES) -> Kernel:
    """Return a kernel of the series, from the cache or else the newest the mirror has.

    What is in the cache is used without asking the mirror: a run's kernel changes only when the
    cache is emptied.

    Args:
        series: a key of `SERIES`.

    Raises:
        LabMissing: apt, dpkg-deb, the keyring or the network is not there.
        LabError: the series is unknown, or the package holds no kernel.
    """
    if series not in SERIES:
        raise LabError(f"unknown kernel series {series!r}: known are {', '.join(SERIES)}")
    home = cache_dir() / "kernels"
    folder = home / series
    with locked(folder):
        have = _unpacked(folder)
        if have is not None:
            return have
        suite = SERIES[series].suite
        # Two series may share a suite, and apt does not wait for its own lists' lock.
        with locked(cache_dir() / "apt" / suite):
            apt = _Apt(suite)
            apt.update()
            package = apt.image_behind(SERIES[series].metas)
            for stale in home.glob(f"{package}_*.deb"):
                stale.unlink()
            try:
                apt.run("apt-get", "download", package, cwd=home)
            except LabError as error:
                raise LabMissing(f"{package} cannot be downloaded: {error}") from None
        (deb,) = home.glob(f"{package}_*.deb")
        half = home / f"{series}.part"
        run_tool(["rm", "-rf", half])
        run_tool([tool("dpkg-deb", "dpkg"), "-x", deb, half])
        deb.unlink()
        # 50 MB of modules, none of which the lab loads.
        run_tool(["rm", "-rf", half / "lib", half / "usr"])
        half.rename(folder)
        have = _unpacked(folder)
        if have is None:
            raise LabError(f"{package} holds no boot/vmlinuz-*")
        return have
