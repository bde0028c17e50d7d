"""Makes the ext4 disk a guest mounts: Python, a wheel and its dependencies.

Nothing needs root: the interpreter is copied from this machine with the shared libraries ldd names,
packages come from `pip install --target`, and `mke2fs -d` fills the image. A disk rather than an
initramfs: the kernel reads only the blocks that are used, while a 100 MB initramfs is unpacked in
full under emulation before anything runs.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.common import LabError, cache_dir, digest, locked, run_tool, tool

SITE = "/opt/site"
DEBIAN_PYTHON = Path("/usr/bin/python3")
_KEPT_IMAGES = 4

# What no guest needs of the standard library; half its size.
_STDLIB_UNUSED = [
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "pydoc_data",
    "distutils",
    "config-*",
    "dist-packages",
    "site-packages",
    "*.a",
    "EXTERNALLY-MANAGED",
]

_ASK_INTERPRETER = """
import json, os, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({
    "executable": os.path.realpath(sys.executable),
    "base": sys.base_prefix,
    "version": "%d.%d" % sys.version_info[:2],
    "full": sys.version,
    "stdlib": [paths["stdlib"], paths["platstdlib"]],
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine that is to run in a guest.

    Attributes:
        executable: its real path, the same in the guest.
        version: "3.11".
        full: sys.version.
        stdlib: folders of its standard library.
        base: its prefix, given to the guest as PYTHONHOME.
    """

    executable: Path
    version: str
    full: str
    stdlib: tuple[Path, ...]
    base: str


@dataclass(frozen=True)
class Disk:
    """A root disk for `machine.Program`.

    Attributes:
        image: the ext4 image.
        python: path of the interpreter in the guest.
        env: environment its programs need.
    """

    image: Path
    python: str
    env: dict[str, str]


def interpreter(executable: Path | None = None) -> Interpreter:
    """Describe the given interpreter, or choose one: $CPUPROBE_LAB_PYTHON, Debian's, this one.

    Debian's is taken only if its version is that of the running one, because pip of the running one
    chooses the wheels.
    """
    named = os.environ.get("CPUPROBE_LAB_PYTHON")
    choices = [DEBIAN_PYTHON, Path(sys.executable)]
    if executable or named:
        choices = [executable or Path(named or "")]
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = None
    for choice in choices:
        if not choice.exists():
            continue
        facts = json.loads(run_tool([choice, "-I", "-S", "-c", _ASK_INTERPRETER]))
        found = Interpreter(
            Path(facts["executable"]),
            facts["version"],
            facts["full"],
            tuple(dict.fromkeys(Path(path).resolve() for path in facts["stdlib"])),
            facts["base"],
        )
        if found.version == running:
            return found
    if found is None:
        raise LabError(f"no Python at {', '.join(map(str, choices))}")
    raise LabError(
        f"{found.executable} is Python {found.version}, the lab runs on {running}:"
        " they have to be the same"
    )


def _libraries(binaries: Sequence[Path]) -> set[Path]:
    """Return the shared libraries the files load, the dynamic loader included."""
    found: set[Path] = set()
    # ldd says "statically linked" or "not a dynamic executable" with 1 for some; the others are
    # still answered.
    for start in range(0, len(binaries), 100):
        answer = run_tool([tool("ldd", "libc-bin"), *binaries[start : start + 100]], good=(0, 1))
        found.update(
            Path(match) for match in re.findall(r"(?:=> |^\t)(/\S+)(?: \(0x)", answer, re.MULTILINE)
        )
    return found


def _copy(source: Path, root: Path) -> None:
    target = root / str(source).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy2(
            source, target
        )  # copy2 follows links and keeps the time that a .pyc is checked against.


def _copy_interpreter(python: Interpreter, root: Path) -> None:
    _copy(python.executable, root)
    for folder in python.stdlib:
        target = root / str(folder).lstrip("/")
        shutil.copytree(
            folder, target, ignore=shutil.ignore_patterns(*_STDLIB_UNUSED), dirs_exist_ok=True
        )


def _write_scripts(site: Path, python: Interpreter, folder: Path) -> None:
    """Write the packages' console scripts; pip writes them for another interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    for listing in site.glob("*.dist-info/entry_points.txt"):
        points = configparser.ConfigParser(delimiters=("=",), strict=False)
        points.optionxform = str  # type: ignore[assignment, method-assign]
        points.read_string(listing.read_text())
        for name, target in (
            points.items("console_scripts") if points.has_section("console_scripts") else ()
        ):
            module, _, function = target.split("[")[0].strip().partition(":")
            if not function:
                continue
            script = folder / name
            script.write_text(
                f"#!{python.executable}\nimport sys\n"
                f"from {module} import {function.split('.')[0]}\n"
                f"sys.exit({function}())\n"
            )
            script.chmod(0o755)


def _fill(
    root: Path, python: Interpreter, requirements: Sequence[str], extra: Iterable[Path]
) -> None:
    for name in ("dev", "proc", "sys", "tmp", "etc", "bin", "usr/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
    site = root / SITE.lstrip("/")
    site.mkdir(parents=True)
    _copy_interpreter(python, root)
    if requirements:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary=:all:",
        ]
        run_tool([*pip, "--no-warn-script-location", "--target", site, *requirements], timeout=600)
        shutil.rmtree(site / "bin", ignore_errors=True)
    _write_scripts(site, python, root / "usr/bin")
    for path in extra:
        _copy(path, root)
    shared = [path for path in root.rglob("*.so*") if path.is_file() and not path.is_symlink()]
    programs = [root / str(path).lstrip("/") for path in (python.executable, *extra)]
    for library in _libraries([*programs, *shared]):
        if not library.is_relative_to(root):
            _copy(library, root)
    # Threads: glibc loads it by name at the first pthread_cancel or exception, so ldd does not show
    # it.
    for folder in ("/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64"):
        gcc = Path(folder) / "libgcc_s.so.1"
        if gcc.exists():
            _copy(gcc, root)
            break


def _image(root: Path, target: Path) -> None:
    used = sum(path.lstat().st_size + 4096 for path in root.rglob("*"))
    size = used * 5 // 4 + (16 << 20)
    half = target.with_name(f"{target.name}.part")
    with half.open("wb") as handle:
        handle.truncate(size)
    mke2fs = tool("mke2fs", "e2fsprogs")
    run_tool([mke2fs, "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d", root, half])
    half.replace(target)


def _prune(folder: Path) -> None:
    """Keep the newest images only: every new wheel makes one of over 100 MB."""
    images = sorted(folder.glob("*.ext4"), key=lambda path: path.stat().st_mtime, reverse=True)
    for image in images[_KEPT_IMAGES:]:
        image.unlink()


def disk(
    requirements: Sequence[str] = (),
    *,
    python: Interpreter | None = None,
    extra: Iterable[Path] = (),
) -> Disk:
    """Return a disk with an interpreter and packages, made once for the same contents.

    Args:
        requirements: what pip is to install: wheels (paths, keyed by their content) and requirement
            strings.
        python: from `interpreter`; the default choice if not given.
        extra: programs of this machine to copy to the same path, with their libraries.

    Raises:
        LabError: pip or mke2fs failed.
        LabMissing: mke2fs or ldd is not installed.
    """
    python = python or interpreter()
    extra = tuple(extra)
    parts: list[bytes | str] = [
        Path(__file__).read_bytes(),
        python.full,
        str(python.executable),
        *map(str, extra),
    ]
    for requirement in requirements:
        path = Path(requirement)
        parts += [path.name, path.read_bytes()] if path.is_file() else [requirement]
    image = cache_dir() / "disks" / f"{digest(*parts)}.ext4"
    with locked(image):
        if not image.exists():
            with tempfile.TemporaryDirectory(prefix="root-", dir=cache_dir()) as name:
                _fill(Path(name), python, requirements, extra)
                _image(Path(name), image)
            _prune(image.parent)
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONHOME": python.base,
        "PYTHONPATH": SITE,
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Disk(image, str(python.executable), env)
