"""Real wheels, npm packages and Debian packages: verdicts, beside what emulated CPUs make of them.

    python -m tests.tools.real_files [--only wheel|npm|deb] [FOLDER]

Downloads with pip, npm and apt into FOLDER (a temporary one), judges against x86-64-v2, executes
under QEMU's Nehalem and Haswell, and prints a table in Markdown. Nothing of it is kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cpuprobe.check.against import within
from cpuprobe.check.gate import ORDER
from cpuprobe.check.many import check, expand
from cpuprobe.check.variants import settle
from cpuprobe.facts.profiles import find_profile

TARGET = "x86-64-v2"
CPUS = ("Nehalem", "Haswell")
SECONDS = 300


class Row(NamedTuple):
    """A package, and the least that executes its code.

    Attributes:
        kind: where it comes from: `wheel`, `npm` or `deb`.
        package: as its client names it, with a version or none; of Debian's also the libraries
            that hold its code, or that it wants and a machine has not.
        job: of a wheel Python code, of npm's the file that Node loads or executes, of Debian's a
            command line; a file is taken from the package.
    """

    kind: str
    package: str
    job: str


_ARRAY = "import numpy as n; a = n.arange(999, dtype='f4'); assert a @ a > 0; n.sort(a[::-1])"
_FINUFFT = "import finufft as f, numpy as n; f.nufft1d1(n.linspace(-3, 3, 99), n.ones(99) + 0j, 32)"
_PIQP = "import numpy as n, piqp; piqp.DenseSolver().setup(n.eye(3), n.ones(3))"
_SHA = "from Crypto.Hash import SHA256; SHA256.new(bytes(9999)).digest()"
_NEAR = "import numpy as n, pynear; pynear.VPTreeL2Index().set(n.ones((99, 16), dtype='f4'))"
_BASE64 = "import pybase64 as b; b.b64decode(b.b64encode(bytes(range(256)) * 99))"
_BLUR = "import cv2, numpy as n; cv2.GaussianBlur(cv2.resize(n.eye(64), (99, 99)), (5, 5), 0)"
_CITY = "import cityhash as c, farmhash as f; c.CityHash64(b'a' * 999); f.FarmHash64(b'a' * 999)"
_CODECS = "import imagecodecs as i, numpy as n; i.pcodec_encode(n.ones(999, 'f4'))"
_FORM = "import chiavdf as c; c.create_discriminant(b'1' * 10, 512)"
_INFLATE = "from isal import isal_zlib as z; z.decompress(z.compress(bytes(99999)))"
_KEYS = "import rocksdict as r; d = r.Rdict('db'); d[1] = 'a' * 99; d.close()"
_LLAMA = "from ctypes import CDLL; CDLL('ctransformers/lib/basic/libctransformers.so')"
_MODEL = "gpt4all/llmodel_DO_NOT_MODIFY/build/libllamamodel-mainline-kompute.so"
_PCO = "import numpy as n; from pcodec import standalone as s, ChunkConfig as C; "
_RESAMPLE = "import numpy as n, soxr; soxr.resample(n.ones(9999), 44100, 16000)"
_REVERB = "import pedalboard as p, numpy as n; p.Reverb()(n.ones((2, 999), 'f4'), 44100)"
_SAMPLES = "--force-raw-format --endian=little --sign=signed --channels=1 --bps=16"
_YUV = "--i420 -w 64 -h 64 --limit=2 -o /dev/null"
_ZLIB = "from zlib_ng import zlib_ng as z; z.decompress(z.compress(bytes(99999)))"
_FRAME = "import polars as p; p.DataFrame({'a': range(999)}).select(p.col('a').sum() * 2)"
ROWS = (
    Row("wheel", "orjson", "import orjson; orjson.loads(orjson.dumps({'a': ['b' * 99] * 99}))"),
    Row("wheel", "blake3", "import blake3; blake3.blake3(bytes(99999)).digest()"),
    Row("wheel", "simsimd", "import simsimd; simsimd.get_capabilities()"),
    Row("wheel", "pyroaring", "from pyroaring import BitMap as B; len(B(range(9999)) | B([1]))"),
    Row("wheel", "rapidfuzz", "from rapidfuzz import fuzz; fuzz.ratio('abc' * 99, 'abd' * 99)"),
    Row("wheel", "numpy", _ARRAY),
    Row("wheel", "polars==0.20.31", _FRAME),
    Row("wheel", "polars-lts-cpu==0.20.31", _FRAME),
    Row("wheel", "duckdb", "import duckdb; duckdb.sql('select sum(i) from range(9999) t(i)')"),
    Row("wheel", "zstandard", "import zstandard as z; z.compress(bytes(99999))"),
    Row("wheel", "xxhash", "import xxhash; xxhash.xxh3_64(bytes(99999)).digest()"),
    Row("wheel", "msgspec", "import msgspec; msgspec.json.decode(b'[1, 2, 3]')"),
    Row("wheel", "finufft", _FINUFFT),
    Row("wheel", "ducc0", "import ducc0, numpy as n; ducc0.fft.c2c(n.ones(64) + 0j)"),
    Row("wheel", "piqp", _PIQP),
    Row("wheel", "pynear", _NEAR),
    Row("wheel", "pycryptodome", _SHA),
    Row("wheel", "isal", _INFLATE),
    Row("wheel", "zlib-ng", _ZLIB),
    Row("wheel", "crc32c", "import crc32c; crc32c.crc32c(bytes(99999))"),
    Row("wheel", "pybase64", _BASE64),
    Row("wheel", "stringzilla", "import stringzilla as s; s.Str('abc' * 999 + 'd').find('cd')"),
    Row("wheel", "ormsgpack", "import ormsgpack as o; o.unpackb(o.packb({'a': ['b' * 99] * 99}))"),
    Row("wheel", "numcodecs", "from numcodecs import Blosc; Blosc().encode(bytes(99999))"),
    Row("wheel", "edlib", "import edlib; edlib.align('ACGT' * 99, 'ACGA' * 99)"),
    Row("wheel", "soxr", _RESAMPLE),
    Row("wheel", "imagecodecs", _CODECS),
    Row("wheel", "opencv-python-headless", _BLUR),
    Row("wheel", "rocksdict", _KEYS),
    Row("wheel", "ctransformers", _LLAMA),
    Row("wheel", "gpt4all", f"from ctypes import CDLL; CDLL('{_MODEL}')"),
    Row("wheel", "chiavdf", _FORM),
    Row("wheel", "pcodec", f"{_PCO}s.simple_decompress(s.simple_compress(n.arange(9999), C()))"),
    Row("wheel", "httptools", "import httptools as h; h.parse_url(b'http://a.b/c?d=e')"),
    Row("wheel", "pedalboard", _REVERB),
    Row("wheel", "cityhash", _CITY),
    Row("npm", "@esbuild/linux-x64", "bin/esbuild --version"),
    Row("npm", "@biomejs/cli-linux-x64", "biome --version"),
    Row("npm", "@oven/bun-linux-x64", "bin/bun --version"),
    Row("npm", "@oven/bun-linux-x64-baseline", "bin/bun --version"),
    Row("npm", "@rollup/rollup-linux-x64-gnu", "rollup.linux-x64-gnu.node"),
    Row("npm", "@swc/core-linux-x64-gnu", "swc.linux-x64-gnu.node"),
    Row("npm", "lightningcss-linux-x64-gnu", "lightningcss.linux-x64-gnu.node"),
    Row("npm", "@tailwindcss/oxide-linux-x64-gnu", "tailwindcss-oxide.linux-x64-gnu.node"),
    Row("npm", "@node-rs/crc32-linux-x64-gnu", "crc32.linux-x64-gnu.node"),
    Row("npm", "@node-rs/xxhash-linux-x64-gnu", "xxhash.linux-x64-gnu.node"),
    Row("npm", "@parcel/watcher-linux-x64-glibc", "watcher.node"),
    Row("npm", "@pagefind/linux-x64", "bin/pagefind_extended --version"),
    Row("npm", "@lancedb/vectordb-linux-x64-gnu", "index.node"),
    Row("npm", "@oxc-parser/binding-linux-x64-gnu", "parser.linux-x64-gnu.node"),
    Row("npm", "@lmdb/lmdb-linux-x64", "node.napi.glibc.node"),
    Row("npm", "@msgpackr-extract/msgpackr-extract-linux-x64", "node.napi.glibc.node"),
    Row("npm", "sodium-native", "prebuilds/linux-x64/sodium-native.node"),
    Row("npm", "classic-level", "prebuilds/linux-x64/classic-level.node"),
    Row("npm", "@unrs/resolver-binding-linux-x64-gnu", "resolver.linux-x64-gnu.node"),
    Row("npm", "@napi-rs/lzma-linux-x64-gnu", "lzma.linux-x64-gnu.node"),
    Row("npm", "@css-inline/css-inline-linux-x64-gnu", "css-inline.linux-x64-gnu.node"),
    Row("npm", "@tauri-apps/cli-linux-x64-gnu", "cli.linux-x64-gnu.node"),
    Row("npm", "lefthook-linux-x64", "bin/lefthook version"),
    Row("npm", "usearch", "prebuilds/linux-x64/usearch.node"),
    Row("npm", "@tursodatabase/database-linux-x64-gnu", "turso.linux-x64-gnu.node"),
    Row("npm", "@nx/nx-linux-x64-gnu", "nx.linux-x64-gnu.node"),
    Row("npm", "@roamhq/wrtc-linux-x64", "wrtc.node"),
    Row("npm", "sherpa-onnx-linux-x64", "sherpa-onnx.node"),
    Row("npm", "@ffprobe-installer/linux-x64", "ffprobe -version"),
    Row("npm", "@vscode/ripgrep-linux-x64", "bin/rg root /etc/passwd"),
    Row("npm", "@snazzah/davey-linux-x64-gnu", "davey.linux-x64-gnu.node"),
    Row("deb", "ripgrep", "usr/bin/rg root /etc/passwd"),
    Row("deb", "zstd", "usr/bin/zstd -qc /etc/passwd"),
    Row("deb", "xz-utils", "usr/bin/xz -qc /etc/passwd"),
    Row("deb", "xxhash", "usr/bin/xxhsum /etc/passwd"),
    Row("deb", "b3sum", "usr/bin/b3sum /etc/passwd"),
    Row("deb", "restic", "usr/bin/restic version"),
    Row("deb", "diamond-aligner", "usr/bin/diamond version"),
    Row("deb", "raxml", "usr/bin/raxmlHPC-PTHREADS-AVX -v"),
    Row("deb", "minimap2", "usr/bin/minimap2 --version"),
    Row("deb", "pigz", "usr/bin/pigz -c /etc/passwd"),
    Row("deb", "openssl", "usr/bin/openssl dgst -sha256 /etc/passwd"),
    Row("deb", "fd-find", "usr/bin/fdfind passwd /etc"),
    Row("deb", "stockfish", "usr/games/stockfish bench 16 1 4"),
    Row("deb", "hmmer", "usr/bin/hmmsim -h"),
    Row("deb", "7zip", "usr/bin/7zz h -scrcSHA256 /etc/passwd"),
    Row("deb", "isal libisal2", "usr/bin/igzip -c /etc/passwd"),
    Row(
        "deb",
        "svt-av1 libsvtav1enc1",
        "usr/bin/SvtAv1EncApp -i usr/bin/SvtAv1EncApp -b /dev/null -n 1 -w 64 -h 64",
    ),
    Row("deb", "vpx-tools libvpx7", f"usr/bin/vpxenc {_YUV} usr/bin/vpxdec"),
    Row("deb", "aom-tools libaom3", f"usr/bin/aomenc --ivf --cpu-used=9 {_YUV} usr/bin/aomdec"),
    Row("deb", "libvolk2-bin libvolk2.5", "usr/bin/volk-config-info --machine"),
    Row("deb", "iqtree", "usr/bin/iqtree2 --version"),
    Row(
        "deb",
        "flac libflac12 libogg0",
        f"usr/bin/flac {_SAMPLES} --sample-rate=8000 -sc /usr/bin/env",
    ),
    Row("deb", "primesieve-bin libprimesieve11", "usr/bin/primesieve 1000000 -q"),
    Row("deb", "hexyl", "usr/bin/hexyl /etc/passwd"),
    Row("deb", "nettle-bin libnettle8", "usr/bin/nettle-hash -a sha256"),
    Row("deb", "postgresql-15", "usr/lib/postgresql/15/bin/postgres --describe-config"),
    Row(
        "deb",
        "opus-tools libflac12 libopus0 libopusenc0 libopusfile0 libogg0",
        "usr/bin/opusenc --quiet --raw /usr/bin/env /dev/null",
    ),
    Row(
        "deb",
        "bat libgit2-1.5 libmbedtls14 libmbedcrypto7 libmbedx509-1 libssh2-1 libhttp-parser2.9",
        "usr/bin/batcat /etc/passwd",
    ),
)


def run(command: Sequence[str], folder: Path, **environment: str) -> int | None:
    """The exit code; None where it took too long."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def fetch(row: Row, folder: Path) -> list[Path]:
    """Downloads and unpacks a package; returns what is to be judged.

    Raises:
        OSError: it is not to be had.
    """
    commands = {
        "wheel": (sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
        "npm": ("npm", "pack", "--silent"),
        "deb": ("apt-get", "download", "-qq"),
    }
    only = ("--only-binary=:all:",) if row.kind == "wheel" else ()
    run((*commands[row.kind], *only, *row.package.split()), folder)
    packed = sorted(each for each in folder.iterdir() if each.is_file())
    if len(packed) < len(row.package.split()):
        raise OSError(f"{row.package} cannot be downloaded")
    inside = folder / "in"
    for each in packed:
        if row.kind == "deb":
            run(("dpkg", "-x", str(each), str(inside)), folder)
        elif row.kind == "npm":
            with tarfile.open(each) as archive:
                archive.extractall(inside, filter="data")
        else:
            zipfile.ZipFile(each).extractall(inside)
    return packed


def executed(row: Row, folder: Path, cpu: str) -> str:
    """What becomes of its job on an emulated CPU."""
    qemu = shutil.which("qemu-x86_64") or "qemu-x86_64"
    inside = folder / "in" / ("package" if row.kind == "npm" else "")
    first, *rest = row.job.split()
    if row.kind == "wheel":
        job = [os.path.realpath(sys.executable), "-c", row.job]
    elif first.endswith(".node"):
        job = [os.path.realpath(shutil.which("node") or "node"), "-e", f"require('./{first}')"]
    else:
        (inside / first).chmod(0o755)
        job = [str(inside / first), *rest]
    path = os.pathsep.join((str(inside), *sys.path[1:]))
    libraries = f"LD_LIBRARY_PATH={inside}/usr/lib/x86_64-linux-gnu"
    code = run([qemu, "-E", libraries, "-cpu", cpu, *job], inside, PYTHONPATH=path)
    return {None: "no end", 0: "ran", -4: "SIGILL", 132: "SIGILL"}.get(code, f"exit code {code}")


def verdict(paths: Sequence[Path]) -> tuple[str, bool]:
    """The worst verdict of what packages hold, and whether all that was read fits."""
    target = within(find_profile(TARGET))
    found = expand(map(str, paths))
    told = check(found.files, target, 1, lambda *told: None, launchers=found.launchers)
    fits, _ = settle(told, target, found.launchers)
    fits = [fit for fit in fits if fit.expectation != "unread"]
    if not fits:
        return "NOTHING", False
    worst = min(fits, key=lambda fit: ORDER.index(fit.expectation))
    return worst.expectation.upper(), all(fit.fits for fit in fits)


def lines(rows: Sequence[Row], folder: Path) -> Iterator[str]:
    """The table, line by line, as it comes to be known."""
    yield f"| | {CPUS[0]} | {CPUS[1]} | against {TARGET} | |"
    yield "|---|---|---|---|---|"
    for number, row in enumerate(rows):
        place = folder / str(number)
        place.mkdir()
        try:
            packed = fetch(row, place)
            judged, fits = verdict(packed)
            old, new = (executed(row, place, cpu) for cpu in CPUS)
        except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
            yield f"| {row.kind}: {row.package} | | | not tried: {error} | |"
            continue
        finally:
            shutil.rmtree(place / "in", ignore_errors=True)
        wrong = (new == old == "ran" and not fits) or (old == "SIGILL" and fits)
        names = " ".join(each.name for each in packed)
        yield f"| {row.kind}: {names} | {old} | {new} | `{judged}` | {'WRONG' * wrong} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--only", choices=("wheel", "npm", "deb"))
    given = parser.parse_args()
    chosen = [row for row in ROWS if given.only in (None, row.kind)]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for line in lines(chosen, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
