"""Gets Debian packages of any release and architecture: downloaded, unpacked, never installed.

apt runs on a private set of folders in the cache, so neither root nor this machine's package lists
are needed. The mirror is the one this machine is set up with.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab.common import LabError, LabMissing, cache_dir, locked, run_tool, tool

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"


def _mirror() -> str:
    """Return the mirror this machine has lists of Debian from; the official one if it has none."""
    # ORIGIN is what the mirror's Release file says: a vendor's archive for Debian is not Debian's.
    answer = run_tool([tool("apt-get", "apt"), "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"])
    for line in answer.splitlines():
        origin, _, uri = line.partition(" ")
        if origin == "Debian" and uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    return DEFAULT_MIRROR


class Apt:
    """apt on folders of its own, for one Debian release and architecture."""

    def __init__(self, suite: str, architecture: str = "amd64") -> None:
        if not KEYRING.exists():
            raise LabMissing(
                f"{KEYRING} not found: install the Debian package debian-archive-keyring"
            )
        self.home = cache_dir() / "apt" / f"{suite}-{architecture}"
        for name in ("lists/partial", "cache/archives/partial"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        mirror = _mirror()
        sources = self.home / "sources.list"
        # Without a target, apt also gets what this machine's other tools have asked for (apt-file:
        # lists of 100 MB), and a mirror that is amiss with those alone would fail all.
        options = f"signed-by={KEYRING} target=Packages"
        sources.write_text(
            f"deb [{options}] {mirror} {suite} main\n"
            f"deb [{options}] {mirror}-security {suite}-security main\n"
        )
        # Nothing is installed there, so that `apt-get install` names all that a package needs.
        status = self.home / "status"
        status.touch()
        settings = {
            "Dir::State": self.home,
            "Dir::State::Lists": self.home / "lists",
            "Dir::State::Status": status,
            "Dir::Cache": self.home / "cache",
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
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
        """Run a command of apt on these folders; LabError with its last words if it fails."""
        return run_tool([tool(command, "apt"), *self.options, *words], cwd=cwd, env={"LC_ALL": "C"})

    def update(self) -> None:
        """Get the package lists.

        Raises:
            LabMissing: they cannot be had.
        """
        try:
            self.run("apt-get", "update", "--error-on=any")
        except LabMissing:
            raise
        except LabError as error:
            raise LabMissing(
                f"Debian's package lists cannot be had (no network, no mirror?): {error}"
            ) from None

    def image_behind(self, metas: Sequence[str]) -> str:
        """Return the kernel image's package that the first known meta package depends on."""
        for meta in metas:
            try:
                answer = self.run("apt-cache", "depends", "--important", meta)
            except LabError:
                continue
            found = re.search(r"Depends: (linux-image-\d\S*)", answer)
            if found:
                return found[1]
        raise LabMissing(f"the mirror has none of {', '.join(metas)}")

    def unpack(self, packages: Sequence[str], folder: Path) -> None:
        """Download packages (not what they depend on) and unpack them all into a folder.

        Raises:
            LabMissing: one cannot be had.
        """
        with tempfile.TemporaryDirectory(prefix="debs-", dir=self.home) as name:
            try:
                self.run("apt-get", "download", *packages, cwd=Path(name))
            except LabError as error:
                raise LabMissing(f"{', '.join(packages)} cannot be downloaded: {error}") from None
            for deb in sorted(Path(name).iterdir()):
                run_tool([tool("dpkg-deb", "dpkg"), "-x", deb, folder])


def unpacked(
    folder: Path,
    suite: str,
    choose: Callable[[Apt], Sequence[str]],
    *,
    architecture: str = "amd64",
    keep: str = ".",
) -> Path:
    """Return a folder of the cache with what is wanted of some packages.

    What is in the cache is used without asking the mirror.

    Args:
        folder: where in the cache.
        suite: the Debian release.
        choose: names the packages; called if they are not in the cache.
        architecture: as Debian calls it.
        keep: the file or folder of the packages that is wanted.

    Raises:
        LabMissing: apt, dpkg-deb, the keyring, the network or a package is not there.
        LabError: the packages do not hold it.
    """
    with locked(folder):
        if folder.exists():
            return folder
        with tempfile.TemporaryDirectory(prefix="unpacked-", dir=cache_dir()) as name:
            # apt does not wait for its own lists' lock.
            with locked(cache_dir() / "apt" / f"{suite}-{architecture}"):
                apt = Apt(suite, architecture)
                apt.update()
                packages = choose(apt)
                apt.unpack(packages, Path(name, "root"))
            wanted = Path(name, "root", keep)
            if not wanted.exists():
                raise LabError(f"{', '.join(packages)} hold no {keep}")
            wanted.rename(folder)
    return folder
