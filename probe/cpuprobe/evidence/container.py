"""The kind of container this runs in, as far as its files tell."""

from __future__ import annotations

import os
from collections.abc import Iterable


def container(root: str = "/") -> str | None:
    """The kind of container this process runs in, as far as its files tell; None if none shows.

    /run/systemd/container holds the manager's name (systemd, CONTAINER_INTERFACE); Docker and
    Podman leave a file each. Only a known name is repeated.
    """
    for path, name in ((".dockerenv", "Docker"), ("run/.containerenv", "Podman")):
        if os.path.exists(os.path.join(root, path)):
            return name
    try:
        with open(os.path.join(root, "run/systemd/container"), encoding="ascii") as file:
            word = file.read(64).strip()
    except (OSError, UnicodeDecodeError):
        return None
    return word if word in _known_managers() else "yes, of a kind not known here"


def _known_managers() -> Iterable[str]:
    """Words that systemd documents for container managers (systemd-detect-virt(1))."""
    return (
        "openvz", "lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "wsl", "proot",
        "pouch", "oci",
    )  # fmt: skip
