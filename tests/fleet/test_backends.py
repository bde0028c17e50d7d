"""DuckDB and Spark give identical tables; less memory than the data needs changes nothing."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from cpuprobe.facts.features import load_features
from cpuprobe.fleet.answer import make_tables
from cpuprobe.fleet.backends import connect
from cpuprobe.fleet.captures import Feedback, Reads
from cpuprobe.fleet.machine import CPU, Facts
from cpuprobe.fleet.queries import ask
from cpuprobe.fleet.tally import Tally
from cpuprobe.fleet.writer import Writer
from tests.children import children
from tests.fleet.common import cpuprobe
from tests.tools import synthetic

pytest.importorskip("ibis")
pytest.importorskip("duckdb")
pytestmark = pytest.mark.slow


def needs_spark() -> None:
    """Skips where Spark or Java is missing; CPUPROBE_LAB=require forbids that."""
    java = os.environ.get("JAVA_HOME")
    if shutil.which(os.path.join(java, "bin", "java") if java else "java") is None:
        if os.environ.get("CPUPROBE_LAB") == "require":
            pytest.fail("Spark's tests need Java")
        pytest.skip("Spark needs Java")
    if os.environ.get("CPUPROBE_LAB") != "require":
        pytest.importorskip("pyspark")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 made-up reports."""
    path = tmp_path_factory.mktemp("fleet") / "fleet.jsonl"
    with open(path, "wb") as file:
        file.writelines(synthetic.lines(2_000, seed=5))
    return path


def test_duckdb_and_spark_agree(
    capfdbinary: pytest.CaptureFixture[bytes],
    fleet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Byte for byte, but for the name of the backend; weights that binary fractions cannot hold."""
    needs_spark()
    # What runs for seconds is not worth Java's second compiler, nor collecting on every core.
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    # Ten lines of weights: 0.1 a machine, which no two orders of adding make the same.
    models = {model.brand for model in synthetic.MODELS[:5]}
    weights = tmp_path / "weights.csv"
    weights.write_text("".join(f'"{model}",0.1\n' for model in sorted(models)))
    made = cpuprobe(
        capfdbinary, "fleet", "ingest", fleet, "-o", tmp_path / "t", "--weights", weights
    )
    assert (made.code, made.err) == (0, "")

    options = ("--json", "--top", "7", "--flags", "has_avx2,has_fma", "--executed-only")
    duckdb = cpuprobe(capfdbinary, "fleet", tmp_path / "t", *options)
    spark = cpuprobe(capfdbinary, "fleet", tmp_path / "t", *options, "--backend", "pyspark")

    assert duckdb.json["total"]["machines"] > 1800
    assert len(duckdb.json["curve"]) > 10
    assert len(duckdb.json["findings"]) > 5
    assert (spark.code, spark.err) == (1, "")
    assert spark.json["backend"] == "pyspark"
    assert spark.out.replace(b'"pyspark"', b'"duckdb"', 1) == duckdb.out
    assert "java" not in children().values()


def test_several_processes_write_the_same_tables(fleet: Path, tmp_path: Path) -> None:
    """Whatever finishes first: the order is that of the input."""
    part = tmp_path / "part.jsonl"
    with open(fleet, "rb") as whole:
        part.write_bytes(b"".join(itertools.islice(whole, 1000)))
    for processes, remembered in ((1, 4096), (3, 0)):
        how = Reads(wasmtime="50", processes=processes, remembered=remembered)
        make_tables([str(part)], str(tmp_path / f"t{processes}"), how, Feedback())

    for file in sorted((tmp_path / "t1").iterdir()):
        assert file.read_bytes() == (tmp_path / "t3" / file.name).read_bytes(), file.name


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of 400,000 machines, 35 million rows, written without reading a report."""
    folder = tmp_path_factory.mktemp("many")
    chance, width = random.Random(1), len(load_features())
    kinds = [chance.getrandbits(width) for _ in range(300)]
    writer = Writer(str(folder))
    for number in range(400_000):
        kind = chance.randrange(len(kinds))
        finding = (("CP101", "error", f"cause {kind % 7}", "title"),)
        facts = Facts(
            states=bytes(width),
            isa="x86-64",
            safe=kinds[kind],
            basis="executed",
            verdict="mismatch",
            level=None,
            advertised_level=None,
            model=f"model {kind % 11}",
            kernel=f"6.1.{chance.randrange(2000)}",
            hypervisor="none",
            flags=kind,
            source="probe",
            cpu=CPU("GenuineIntel", "6", "94", bits32=False, guest=False),
            findings=finding,
        )
        writer.add(f"m{number}", Decimal("0.1"), facts)
    writer.close()
    return folder


class Watch(threading.Thread):
    """The most bytes that a folder was seen to hold."""

    def __init__(self, folder: Path) -> None:
        """Begin to look."""
        super().__init__(daemon=True)
        self.folder, self.most, self.ended = folder, 0, threading.Event()
        self.start()

    def run(self) -> None:
        """Looks until `stop`."""
        while not self.ended.wait(0.01):
            held = 0
            for each in self.folder.rglob("*"):
                try:
                    held += each.stat().st_size
                except FileNotFoundError:
                    continue
            self.most = max(self.most, held)

    def stop(self) -> int:
        """Ends it; what it has seen."""
        self.ended.set()
        self.join()
        return self.most


def test_larger_than_memory(many: Path, tmp_path: Path) -> None:
    """With 64 MB DuckDB has to write to disk, and says the same."""
    answers, spilled = [], []
    for memory in ("2GB", "64MB"):
        scratch = tmp_path / memory
        scratch.mkdir()
        watch = Watch(scratch)
        with connect("duckdb", str(scratch), memory) as connection:
            tally = Tally()
            ask(connection, [str(many)], tally)
            answers.append(tally.answers(20))
        spilled.append(watch.stop())

    assert answers[0] == answers[1]
    assert answers[0].total == (400_000, 40_000_000_000)
    assert len(answers[0].patterns) == 300
    assert spilled[0] == 0
    assert spilled[1] > 0  # at the moments when it was looked at
