"""`check` uses several threads and processes: neither changes an answer."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import pytest
from tests.children import children
from tests.needs import read_needs

iced_x86 = pytest.importorskip("iced_x86")

from cpuprobe.check import many  # noqa: E402
from cpuprobe.check.against import within  # noqa: E402
from cpuprobe.check.judge import Fit  # noqa: E402
from cpuprobe.check.pool import results  # noqa: E402
from cpuprobe.code import scan, simple, tally  # noqa: E402
from cpuprobe.code import threads as threads_module  # noqa: E402
from cpuprobe.code.elf import Held  # noqa: E402
from cpuprobe.code.elf_program import read_elf  # noqa: E402
from cpuprobe.code.forms import forms  # noqa: E402
from cpuprobe.code.functions import SOURCES  # noqa: E402
from cpuprobe.code.layout import plan  # noqa: E402
from cpuprobe.code.read import complete, opened  # noqa: E402
from cpuprobe.code.threads import at_once, begun  # noqa: E402
from cpuprobe.facts.profiles import find_profile  # noqa: E402

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")

# Two sections that both start at 0 in an object file; hits in each, one odd function, and bytes
# after the last function that no symbol claims: AVX code, long enough to be believed.
SOURCE = """
#define HIT(name, place, text) __attribute__((section(place))) void name(void) { \\
    __asm__ volatile(text); }
HIT(a1, ".text.a", "vpaddd %ymm1, %ymm0, %ymm0") HIT(a2, ".text.a", "popcnt %rax, %rax")
HIT(b1, ".text.b", "vpaddd %ymm1, %ymm0, %ymm0") HIT(b2, ".text.b", "pfadd %mm0, %mm0")
HIT(b3, ".text.b", "cpuid") HIT(b4, ".text.b", "jmp 1f; .byte 0x06, 0x62; lzcnt %eax, %eax; 1:")
__asm__(".section .loose,\\"ax\\"\\n.rept 60\\nvaddps %ymm0, %ymm1, %ymm2\\n.endr\\nret\\n");
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An object file and a library."""
    folder = tmp_path_factory.mktemp("split")
    files = [folder / "split.o", folder / "split.so"]
    for path, options in zip(files, (["-c"], ["-shared", "-fPIC"]), strict=True):
        command = ["gcc", "-O1", "-x", "c", "-", "-o", str(path), *options]
        subprocess.run(command, input=SOURCE.encode(), check=True)
    return files


# --- threads -------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 2, 3, 7, 64])
def threads(request, monkeypatch) -> int:
    """As many CPUs, and no file too small for them."""
    monkeypatch.setattr("cpuprobe.code.threads.ALONE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(request.param)))
    number: int = request.param
    return number


def test_threads_are_a_process_own():
    """A worker that is forked has none of those that stay, and starts its own."""
    begun(int).result()
    child = os.fork()
    if child == 0:
        os._exit(at_once(abs, [-1, -2, -3], 2) != [1, 2, 3])

    assert os.waitpid(child, 0)[1] == 0


def test_a_system_that_gives_no_thread(monkeypatch):
    """As where a container may have few: all is done in this one, once."""
    done: list[int] = []

    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    monkeypatch.setattr(threads_module, "_threads", functools.cache(lambda: ThreadPoolExecutor(9)))

    at_once(done.append, [1, 2, 3], 2)
    assert done == [1, 2, 3]
    with pytest.raises(ValueError, match="of the work"):
        begun(lambda: int("of the work")).result()


def test_a_thread_that_is_slow_takes_less_of_the_work():
    """The other one does the rest, and what it comes to stands in the order of the items."""
    done, others = Event(), list[int]()

    def work(number: int) -> int:
        if number == 0:
            assert done.wait(10)
        else:
            others.append(number)
            if len(others) == 4:
                done.set()
        return -number

    assert at_once(work, range(5), 2) == [0, -1, -2, -3, -4]


def test_a_failure_waits_for_the_other_threads():
    """What fails in one thread does not leave the others at work on what is let go."""
    ended = Event()

    def work(number: int) -> None:
        if number:
            raise ValueError(number)
        time.sleep(0.05)
        ended.set()

    with pytest.raises(ValueError, match="1"):
        at_once(work, [0, 1], 2)
    assert ended.is_set()


@pytest.mark.parametrize("given", [0, 1])
def test_a_system_that_gives_no_process(given, monkeypatch):
    """All is done in this one, and nobody is left behind."""
    fork, made = os.fork, list[int]()

    def some() -> int:
        if len(made) == given:
            raise BlockingIOError
        made.append(fork())
        return made[-1]

    monkeypatch.setattr(os, "fork", some)

    found = list(results(lambda path: (path, os.getpid()), ["b", "a"], 2))

    assert found == [(path, (path, os.getpid())) for path in ("b", "a")]
    assert len(made) == given
    for each in made:
        with pytest.raises(ChildProcessError):
            os.waitpid(each, 0)


@needs_gcc
def test_other_work_keeps_one_thread(built, threads):
    """While it is done the others scan; where they leave nothing its end is not waited for."""
    file = read_elf(Held(built[1].read_bytes()))
    work = plan(file)
    ended: Future[None] = Future()
    ended.set_result(None)

    found = [scan.scan(file, work, beside=each) for each in (Future(), ended, None)]

    assert found[0].features
    assert found[0] == found[1] == found[2]


@needs_gcc
def test_threads_make_the_whole(built, threads):
    """Counts, places, their order and the coverage: as the plain scanner has it in one go."""
    for path in built:
        file = read_elf(Held(path.read_bytes()))
        work = plan(file)
        found = scan.scan(file, work)

        assert found == simple.scan(file, work, forms())
        assert [place.name for place in found.features["avx2"].places] == ["a1", "b1"]
        assert found.features["avx"].by["sweep"] == 60
        for use in found.features.values():
            assert [*use.by] == sorted(use.by, key=SOURCES.index)
        assert "CPUID" in found.signs


@needs_gcc
def test_every_function_with_what_is_sought_is_listed(built, threads, monkeypatch):
    """With its symbol and address, in address order, however the file is divided; to a bound."""

    def listed() -> tuple[list[tuple[str, dict[str, int]]], int]:
        reading = opened(str(built[1]))
        needs = complete(reading, reading.scan({"avx2", "avx"}))
        assert all(each.start <= each.address <= each.last for each in needs.functions)
        addresses = [each.address for each in needs.functions]
        assert addresses == sorted(addresses)
        return [(each.name, each.features) for each in needs.functions], needs.unlisted

    functions, unlisted = listed()
    assert sorted(functions) == [("", {"avx": 60}), ("a1", {"avx2": 1}), ("b1", {"avx2": 1})]
    assert unlisted == 0
    for module in (scan, tally):
        monkeypatch.setattr(module, "MOST_LISTED", 2)
    assert listed() == (functions[:2], 1)
    assert read_needs(str(built[1])).functions == ()


@needs_gcc
def test_a_function_too_large_for_a_walk_is_counted_in_little_room(tmp_path):
    """1.2 MB of AVX in one function; what is rare is not believed there."""
    source = """__asm__(".globl f\\n.type f, @function\\nf:\\nmov %eax, %eax\\n"
        ".rept 300000\\nvaddps %ymm0, %ymm1, %ymm2\\n.endr\\npfadd %mm0, %mm0\\n"
        "popcnt %eax, %eax\\nret\\n.size f, .-f\\n");"""
    path = tmp_path / "large.o"
    command = ["gcc", "-x", "c", "-", "-c", "-o", path]
    subprocess.run(command, input=source.encode(), check=True)
    needs = read_needs(str(path))

    counts = {name: use.instructions for name, use in needs.features.items()}
    assert counts == {"avx": 300_000, "popcnt": 1}
    assert needs.features["avx"].places[0].address == 2
    assert needs.features["popcnt"].places[0].address == 2 + 4 * 300_000 + 4
    assert needs.coverage.discarded == 1


def check_all(paths: list[Path], processes: int) -> list[Fit]:
    against = within(find_profile("x86-64-v1"))
    assert against is not None
    files = [(str(path), True) for path in paths]
    return many.check(files, against, processes, lambda *_: None)


@needs_gcc
def test_two_processes_give_the_same_answers(built, tmp_path, monkeypatch):
    """Damaged and missing files too."""
    cut = tmp_path / "cut"
    cut.write_bytes(built[1].read_bytes()[:5000])
    paths = [built[0], cut, Path("/bin/sh"), built[1], tmp_path / "none"]
    alone = check_all(paths, 1)
    monkeypatch.setattr(many, "SMALL", 0)

    assert check_all(paths, 2) == alone
    assert [fit.path for fit in alone] == [str(path) for path in paths]
    assert [fit.error is None for fit in alone] == [True, False, True, True, False]


# --- processes that end --------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command at work on a large file under many names, and its two workers."""
    wasmtime = pytest.importorskip("wasmtime")
    (library,) = Path(wasmtime.__file__).parent.rglob("_libwasmtime.so")
    links = [tmp_path / str(number) for number in range(30)]
    for link in links:
        link.symlink_to(library)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, links)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell at a terminal gives it
    ) as process:
        workers: list[int] = []
        deadline = time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < deadline and process.poll() is None:
            workers = sorted(children(process.pid))
            time.sleep(0.002)
        assert len(workers) == 2
        yield process, workers


# As many CPUs as the test needs, whatever this machine has.
COMMAND = """\
import os, sys
os.sched_getaffinity = lambda process: {0, 1}
from cpuprobe.cli import main
sys.argv = ["cpuprobe", "check", *sys.argv[1:], "--against", "x86-64-v1"]
sys.exit(main())
"""


def test_a_killed_worker_is_a_line_for_each_file(started):
    """Of those that were not done by then."""
    process, workers = started
    os.kill(workers[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 4
    lines = errors.splitlines()
    assert 0 < len(lines) <= len(process.args) - 3
    for line in lines:
        assert line.startswith("cpuprobe: error: ")
        assert line.endswith("the process that read it, or one beside it, was killed")


@pytest.mark.parametrize("everybody", [True, False])
def test_ctrl_c_ends_all_of_it(started, everybody):
    """At a terminal every process gets the signal; sent with kill, only the first does."""
    process, workers = started
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode not in (0, None)
    assert "Traceback" not in errors
    assert len(errors.splitlines()) <= 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
