"""What a file holds, read whole: images of containers by what a run sees of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.archives import CODE, library, oci, tar_of, zip_of

pytest.importorskip("iced_x86")

from cpuprobe.check import contents as room
from cpuprobe.check.contents import Contents, contents
from cpuprobe.check.many import expand
from cpuprobe.code import read as file_reader
from cpuprobe.code.archives import allowance, images
from cpuprobe.code.archives.images import MOST_SAID
from cpuprobe.code.elf import Held
from cpuprobe.code.read import Reading, complete

OTHER = library(CODE[:32] + b"\xc3")


def read(path: Path, content: bytes) -> Contents:
    path.write_bytes(content)
    return contents(str(path))


def names(found: Contents, path: Path) -> set[str]:
    return {each.name.removeprefix(str(path)) for each in found.met}


LOWER = tar_of(
    {
        "usr/lib/kept.so": library(),
        "usr/lib/replaced.so": library(),
        "usr/lib/gone.so": library(),
        "opt/old/a.so": library(),
        "opt/new/b.so": library(),
        "srv/app.whl": zip_of({"app/core.so": library()}),
        "srv/dropped.whl": zip_of({"app/core.so": library()}),
        "etc/tool": library(),
    }
)
UPPER = tar_of(
    {
        "usr/lib/replaced.so": OTHER,
        "usr/lib/.wh.gone.so": b"",
        ".wh.etc": b"",
        "opt/new/c.so": library(),
        "opt/new/.wh..wh..opq": b"",
        "opt/.wh.old": b"",
        "srv/dropped.whl": b"no longer a wheel\n",
    }
)
SEEN = {
    "!usr/lib/kept.so",
    "!usr/lib/replaced.so",
    "!opt/new/c.so",
    "!srv/app.whl!app/core.so",
}


@pytest.mark.parametrize("packing", [bytes, gzip.compress])
def test_an_oci_layout(packing, tmp_path):
    """The upper layer's file is the one that counts, and whiteouts hide files and folders."""
    path = tmp_path / "image.tar"
    found = read(path, packing(tar_of(oci(LOWER, gzip.compress(UPPER)))))

    assert names(found, path) == SEEN
    replaced = next(each for each in found.met if each.name.endswith("replaced.so"))
    assert replaced.needs is not None
    assert replaced.needs.coverage.total == len(CODE[:32]) + 1


def test_an_oci_layout_as_a_folder(tmp_path):
    for name, content in oci(LOWER, UPPER).items():
        (tmp_path / "image" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "image" / name).write_bytes(content)
    files, unread, _ = expand([str(tmp_path)])

    assert files == [(str(tmp_path / "image"), False)]
    assert not unread
    assert names(contents(files[0][0]), tmp_path / "image") == SEEN


def test_what_docker_save_writes(tmp_path):
    """Two images that share a layer, by their tags; the files that describe them come last."""
    layers = {f"{hashlib.sha256(each).hexdigest()}/layer.tar": each for each in (LOWER, UPPER)}
    lower, upper = layers
    manifest = [
        {"Config": "x.json", "RepoTags": ["app:1"], "Layers": [lower, upper]},
        {"Config": "y.json", "RepoTags": ["base:1"], "Layers": [lower]},
    ]
    path = tmp_path / "saved.tar"
    found = read(path, tar_of({**layers, "manifest.json": json.dumps(manifest).encode()}))

    told = names(found, path)
    assert {name for name in told if name.startswith("!app:1")} == {
        f"!app:1{name}" for name in SEEN
    }
    assert {"!base:1!etc/tool", "!base:1!usr/lib/gone.so"} <= told
    assert len(told) == len(SEEN) + 8


def test_platforms_of_an_index(tmp_path):
    """An index in the index, as `buildx` writes it; each image by its platform."""
    one, other = oci(LOWER), oci(UPPER)
    inner = (
        json.loads(one["index.json"])["manifests"] + json.loads(other["index.json"])["manifests"]
    )
    inner[0]["platform"] = {"os": "linux", "architecture": "amd64"}
    inner[1]["platform"] = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    index = json.dumps({"manifests": inner}).encode()
    digest = hashlib.sha256(index).hexdigest()
    outer = json.dumps({"manifests": [{"digest": f"sha256:{digest}"}]}).encode()
    path = tmp_path / "image.tar"
    files = {**one, **other, f"blobs/sha256/{digest}": index, "index.json": outer}

    told = names(read(path, tar_of(files)), path)
    assert "!linux/amd64!etc/tool" in told
    assert {name for name in told if "arm64" in name} == {
        "!linux/arm64/v8!usr/lib/replaced.so",
        "!linux/arm64/v8!opt/new/c.so",
    }


def test_a_damaged_layer_is_told(tmp_path):
    path = tmp_path / "image.tar"
    found = read(path, tar_of(oci(LOWER[:-6000], UPPER)))

    assert [each.error for each in found.met if each.error]


def test_a_layer_that_was_not_seen_is_told(tmp_path):
    """One that is not there, and one whose content nobody knows; an empty one holds nothing."""
    gone, odd, empty = b"gone", b"\x80\x01" * 600, bytes(1024)
    files = oci(LOWER, gone, odd, gzip.compress(empty))
    files = {name: content for name, content in files.items() if content is not gone}
    path = tmp_path / "image.tar"
    found = read(path, tar_of(files))

    assert {each.unread for each in found.met if each.unread} == {
        "layer that is not there",
        "layer of an unknown kind",
    }


def links(kind: bytes, names: dict[str, str], files: dict[str, bytes]) -> bytes:
    """A tar archive of files, and of further names for them."""
    target = io.BytesIO(tar_of(files))
    with tarfile.open(fileobj=target, mode="a") as archive:
        for name, known in names.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, known
            archive.addfile(member)
    return target.getvalue()


def test_a_hidden_file_is_seen_by_its_other_name(tmp_path):
    """A whiteout takes a name away, and no hard link beside it; a folder hides a file."""
    files = {"bin/app": library(), "etc/tool": library()}
    lower = links(tarfile.LNKTYPE, {"bin/gone": "bin/app", "bin/also": "bin/app"}, files)
    hidden = {"bin/.wh.app": b"", "bin/.wh.gone": b""}
    upper = links(tarfile.DIRTYPE, {"etc/tool": "", "bin": ""}, hidden)
    path = tmp_path / "image.tar"

    assert names(read(path, tar_of(oci(lower, upper))), path) == {"!bin/also"}


def test_a_layer_that_is_a_link_to_another(tmp_path):
    """As `docker save` wrote layers of the same content."""
    one, two = f"{'1' * 64}/layer.tar", f"{'2' * 64}/layer.tar"
    manifest = json.dumps([{"Layers": [one, two]}]).encode()
    files = {one: tar_of({"lib.so": library()}), "manifest.json": manifest}
    path = tmp_path / "saved.tar"
    found = read(path, links(tarfile.SYMTYPE, {two: f"../{one}"}, files))

    assert names(found, path) == {"!lib.so"}
    assert not [each for each in found.met if each.unread]


@pytest.mark.parametrize(
    "described",
    [b"{", b"[]", b"[{}]", b'[{"Layers": 1}]', b'[{"Layers": ["x", {}]}]', b"[" * 100_000],
)
def test_a_manifest_that_is_none(described, tmp_path):
    """What it would hide is told as it lies."""
    path = tmp_path / "x.tar"
    found = read(path, tar_of({"manifest.json": described, "lib.so": library()}))

    assert names(found, path) == {"!lib.so"}


def padded(files: dict[str, bytes], size: int) -> bytes:
    """An OCI layout whose index has so many bytes more."""
    return tar_of({**files, "index.json": files["index.json"] + b" " * size})


def test_an_image_that_is_described_at_length(tmp_path):
    """As long as registries take it, it is read; what is longer is no silent tar archive."""
    path = tmp_path / "image.tar"
    files = oci(LOWER, UPPER)

    assert names(read(path, padded(files, MOST_SAID - 1000)), path) == SEEN
    assert "described in more than 4 MiB" in read(path, padded(files, MOST_SAID)).met[-1].error
    alone = read(path, padded({"index.json": b"{}", "a.so": library()}, MOST_SAID))
    assert [each.error for each in alone.met] == [""]


def test_descriptions_of_images_are_read_one_by_one(monkeypatch, tmp_path):
    """Of blobs those that speak of layers, each once, and not more than any image has."""
    said = []

    def noted(content: bytes) -> dict[str, object]:
        said.append(content)
        return {}

    monkeypatch.setattr(images, "_json", noted)
    nested = b"[" + b"[]," * 1000 + b"[]]"
    files = {f"blobs/sha256/{number:064x}": nested for number in range(9)}
    read(tmp_path / "x.tar", tar_of({**files, "index.json": b"{}"}))

    assert said == [b"", b"{}"]
    monkeypatch.setattr(room, "MOST_IN_ALL", 20_000)
    files = {name: content + b'"layers"' for name, content in files.items()}
    found = read(tmp_path / "x.tar", tar_of(files))
    assert "images are described in more than" in found.met[-1].error


def test_what_is_sought_in_the_files_is_work_as_well(monkeypatch, tmp_path):
    """And not only to scan them: a search may take a thousand times as long."""
    monkeypatch.setattr(room, "FILE", 0)
    monkeypatch.setattr(room, "READ", 0)
    monkeypatch.setattr(allowance, "STEPS", 0)
    file = (Path(__file__).parents[2] / "data" / "binaries" / "chooses.dll").read_bytes()
    content = tar_of({f"{at}.dll": file for at in range(100)})
    found = read(tmp_path / "x.tar", content)
    reading = Reading(Held(file))
    scan = reading.scan()
    scanned = reading.steps
    complete(reading, scan)
    monkeypatch.setattr(allowance, "WORK", 50 * (reading.steps - scanned))
    short = read(tmp_path / "x.tar", content)

    assert reading.steps > 20 * scanned
    assert not any(each.error for each in found.met)
    assert [each.error for each in short.met if each.error] == ["what it holds is too much work"]
    assert 40 < len(short.met) < 60


def test_what_cannot_be_read_is_work_as_well(monkeypatch, tmp_path):
    """By its size, as nobody knows how far it was: three of five are looked at."""
    monkeypatch.setattr(allowance, "WORK", int(2.5 * room.DAMAGED * 100_000))
    monkeypatch.setattr(allowance, "STEPS", 0)
    whole = library()
    damaged = whole[:40] + b"\xff" * 8 + whole[48:] + bytes(100_000)  # no sections, but many
    found = read(tmp_path / "x.tar", tar_of({f"{at}.so": damaged for at in range(5)}))

    assert len(found.met) == 4
    assert found.met[-1].error == "what it holds is too much work"


def test_names_that_are_told_of_are_bounded(monkeypatch, tmp_path):
    """Of what may hold code, whatever it is; of other files thousands do no harm."""
    path = tmp_path / "x.tar"
    monkeypatch.setattr(room, "MOST_TOLD", 5 * len(f"{path}!0.so"))
    texts = {f"{at}.txt": b"text\n" for at in range(100)}
    found = read(path, tar_of({**texts, **{f"{at}.so": library() for at in range(9)}}))

    assert [each.name[-4:] for each in found.met[:-1]] == [f"{at}.so" for at in range(6)]
    assert found.met[-1].error.startswith("files to tell of with more than")


def test_functions_are_work_before_they_are_gone_through(monkeypatch, tmp_path):
    file = (Path(__file__).parents[2] / "data" / "binaries" / "chooses.dll").read_bytes()
    monkeypatch.setattr(file_reader, "KNOWN", allowance.WORK)
    monkeypatch.setattr(room, "complete", pytest.fail)
    found = read(tmp_path / "x.tar", tar_of({"x.dll": file}))

    assert [each.error for each in found.met] == ["what it holds is too much work"]


def test_the_work_on_a_file_is_bounded(monkeypatch, tmp_path):
    """What was read before is told."""
    monkeypatch.setattr(room, "FILE", allowance.WORK // 2)
    monkeypatch.setattr(allowance, "STEPS", 0)
    found = read(tmp_path / "x.zip", zip_of({f"{at}.so": library() for at in range(5)}))

    assert len(found.met) == 2
    assert found.met[-1].error == "what it holds is too much work"
