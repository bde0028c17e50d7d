"""The databases that answer: DuckDB inside this process, Spark, or any that Ibis can reach."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from cpuprobe.errors import CannotMeasureError, CpuprobeError, UsageError
from cpuprobe.words import plain

MEMORY = "1GB"
"""What DuckDB may take before it writes to disk."""

_LOCAL = "local[2]"
_BATCH = 4096  # rows that are fetched at a time
_PATIENCE = 10.0  # seconds for the JVM to end

# Spark says much of itself; what goes wrong comes as an exception all the same.
_LOGGING = """\
rootLogger.level = off
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
"""


class Connection(NamedTuple):
    """A database that answers questions in SQL.

    Attributes:
        name: of the backend.
        add: makes a Parquet file a table: its path, and the table's name.
        rows: what a question is answered with: SQL in DuckDB's dialect, and the names and types (as
            Ibis calls them) of its columns.
    """

    name: str
    add: Callable[[str, str], object]
    rows: Callable[[str, dict[str, str]], Iterable[tuple[Any, ...]]]


@contextmanager
def connect(backend: str, scratch: str, memory: str = MEMORY) -> Iterator[Connection]:
    """A database, closed at the end of the block; what it raises becomes one line.

    Args:
        backend: `duckdb`, which is asked directly; `pyspark` (on this machine), the URL of a Spark
            master, or a URL as `ibis.connect` takes it, which are asked through Ibis.
        scratch: a folder for its temporary files.
        memory: for DuckDB: what it may take before it spills into `scratch`.

    Raises:
        CannotMeasureError: a library or Java is missing, or the backend failed.
        UsageError: Ibis knows no such backend.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas versions, by libraries among themselves
        try:
            with _duckdb(scratch, memory) if backend == "duckdb" else _ibis(backend, scratch) as it:
                yield it
        except CpuprobeError:
            raise
        except _failures() as error:
            why = plain(str(error).strip().partition("\n")[0])[:300] or type(error).__name__
            raise CannotMeasureError(f"{backend.partition(':')[0]}: {why}") from None


def duckdb_module() -> Any:
    """The module `duckdb`.

    Raises:
        CannotMeasureError: it is not installed.
    """
    return _library("duckdb", "this needs DuckDB: pip install 'cpuprobe[fleet]'")


def arrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        CannotMeasureError: they are not installed.
    """
    missing = "this needs pyarrow: pip install 'cpuprobe[fleet]'"
    return _library("pyarrow", missing), _library("pyarrow.parquet", missing)


def _library(name: str, missing: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise CannotMeasureError(missing) from None


@contextmanager
def _duckdb(scratch: str, memory: str) -> Iterator[Connection]:
    settings = {
        "memory_limit": memory,
        "temp_directory": os.path.join(scratch, "duckdb"),
        "threads": len(os.sched_getaffinity(0)),
        "preserve_insertion_order": False,  # a count has no order
    }
    with duckdb_module().connect(config=settings) as database:

        def rows(question: str, columns: dict[str, str]) -> Iterator[tuple[Any, ...]]:
            answer = database.execute(question)
            while batch := answer.fetchmany(_BATCH):
                yield from batch

        yield Connection(
            "duckdb", lambda path, name: database.read_parquet(path).create_view(name), rows
        )


@contextmanager
def _ibis(backend: str, scratch: str) -> Iterator[Connection]:
    ibis = _library("ibis", f"--backend {backend} needs Ibis: pip install 'cpuprobe[fleet]'")
    if backend == "pyspark" or backend.startswith("spark://"):
        connection = _spark(ibis, scratch, _LOCAL if backend == "pyspark" else backend)
    elif "://" not in backend:
        raise UsageError(f"--backend {backend}: duckdb, pyspark or a URL that Ibis knows")
    else:
        try:
            connection = ibis.connect(backend)
        except (ValueError, ImportError, TypeError) as error:
            raise UsageError(f"--backend {backend[:60]}: {plain(str(error))[:200]}") from None

    def add(path: str, name: str) -> None:
        try:
            connection.read_parquet(path, table_name=name)
        except NotImplementedError:
            raise CannotMeasureError(f"{connection.name}: this backend reads no Parquet") from None

    def rows(question: str, columns: dict[str, str]) -> Iterator[tuple[Any, ...]]:
        schema = ibis.schema(columns)
        answer = connection.sql(question, schema=schema, dialect="duckdb").to_pyarrow()
        for batch in answer.to_batches(max_chunksize=_BATCH):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    try:
        yield Connection(str(connection.name), add, rows)
    finally:
        _close(connection)


def _spark(ibis: Any, scratch: str, master: str) -> Any:
    sql = _library(
        "pyspark.sql", "Spark is not installed: pip install 'cpuprobe[spark]' (it needs Java too)"
    )
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else "java"
    if shutil.which(java) is None:
        where = "in JAVA_HOME" if home else "on the PATH"
        raise CannotMeasureError(
            f"Spark needs Java 17 or later, and there is none {where}: install a JRE "
            "(Debian: openjdk-17-jre-headless) or set JAVA_HOME"
        )
    logging = os.path.join(scratch, "log4j2.properties")
    with open(logging, "w", encoding="ascii") as file:
        file.write(_LOGGING)
    settings = {
        "spark.master": master,
        "spark.app.name": "cpuprobe fleet",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "4",  # the default 200 is for clusters
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": os.path.join(scratch, "warehouse"),
        "spark.local.dir": os.path.join(scratch, "spark"),
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{logging}",
        "spark.sql.session.timeZone": "UTC",
    }
    if master == _LOCAL:
        # A machine may be unable to resolve its own name.
        settings |= dict.fromkeys(("spark.driver.host", "spark.driver.bindAddress"), "127.0.0.1")
    builder = sql.SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    with _quiet_launch():
        session = builder.getOrCreate()
    return ibis.pyspark.connect(session)


@contextmanager
def _quiet_launch() -> Iterator[None]:
    """Sends what Java's launcher says to nowhere: the JVM inherits these descriptors.

    Its incubator modules and its first log lines come before any setting is read; and nothing of
    it may stand on standard output, which is ours.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def _close(connection: Any) -> None:
    if connection.name != "pyspark":
        connection.disconnect()
        return
    connection._session.stop()
    # Its JVM would wait for a next session until this process ends.
    context = importlib.import_module("pyspark").SparkContext
    gateway, context._gateway, context._jvm = context._gateway, None, None
    if gateway is None:
        return
    gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()  # which ends it
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _failures() -> tuple[type[Exception], ...]:
    """What the libraries in use raise, as far as they are loaded."""
    found: list[type[Exception]] = [OSError]
    for module, name in (
        ("ibis.common.exceptions", "IbisError"),
        ("duckdb", "Error"),
        ("pyarrow", "ArrowException"),
        ("pyspark.errors", "PySparkException"),
        ("py4j.protocol", "Py4JError"),
        ("sqlglot.errors", "SqlglotError"),
    ):
        loaded = sys.modules.get(module)
        kind = getattr(loaded, name, None)
        if isinstance(kind, type):
            found.append(kind)
    return tuple(found)
