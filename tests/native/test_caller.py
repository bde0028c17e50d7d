"""The caller-untouched checks from Python, through the extension `cpuprobe._native`."""

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.children import children

native = pytest.importorskip("cpuprobe._native")

HANDLED = (
    signal.SIGCHLD,
    signal.SIGALRM,
    signal.SIGPROF,
    signal.SIGUSR1,
    signal.SIGILL,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGTRAP,
)


def observe(cpus: bytes | None = None, execute: bool = True) -> dict[str, Any]:
    """One observation of this machine, as the extension's document."""
    ffi, lib = native.ffi, native.lib
    text, length, capacity = ffi.new("char **"), ffi.new("size_t *"), ffi.new("size_t *")
    why = ffi.new("char[160]")
    error = lib.cpuprobe_native_observe(
        b"", ffi.NULL if cpus is None else cpus, execute, 1, False, text, length, capacity, why
    )
    try:
        assert error == 0, ffi.string(why)
        document: dict[str, Any] = json.loads(ffi.buffer(text[0], length[0])[:])
    finally:
        lib.cpuprobe_native_free(text[0], capacity[0])
    return document


def ran(document: dict[str, Any]) -> list[list[str]]:
    """The outcomes of each group of CPUs."""
    return [group["ran"] for group in document["observation"]["groups"]]


def kernel_signal_state() -> dict[str, str]:
    """The lines of /proc/self/status about signals (proc(5)): blocked, ignored, caught, pending.

    SigQ counts what is queued for all processes of the user, and so is nobody's own.
    """
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    state = dict(line.split(":\t", 1) for line in lines if line.startswith(("Sig", "Shd")))
    del state["SigQ"]
    return state


@pytest.fixture
def delivered() -> Iterator[list[int]]:
    """Handlers for every signal the guard uses; the list fills with those that arrive."""
    arrived: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    old = {number: signal.signal(number, note) for number in HANDLED}
    yield arrived
    for number, handler in old.items():
        signal.signal(number, handler)


def test_nothing_arrives(delivered: list[int]) -> None:
    """No signal reaches the caller's handlers, and the handlers are the same afterwards."""
    handlers = {number: signal.getsignal(number) for number in HANDLED}
    before = kernel_signal_state()
    observe()
    time.sleep(0.01)

    assert delivered == []
    assert kernel_signal_state() == before
    assert {number: signal.getsignal(number) for number in HANDLED} == handlers


def test_blocked_signals() -> None:
    """With every signal blocked the results are the same, nothing is pending, the mask stays."""
    expected = ran(observe())
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        results = ran(observe())
        after = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        pending = signal.sigpending()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)

    assert results == expected
    assert after == before
    assert len(after) > 30
    assert pending == set()


def test_sigchld_ignored() -> None:
    """It works where the caller ignores SIGCHLD, and leaves that as it is."""
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        document = observe()
    finally:
        ignored = signal.signal(signal.SIGCHLD, old)

    assert ran(document)
    assert ignored == signal.SIG_IGN


def test_affinity_and_limits() -> None:
    """Affinity, resource limits, timers, files and children are those of before."""
    allowed = os.sched_getaffinity(0)
    one = {max(allowed)}
    os.sched_setaffinity(0, one)
    signal.setitimer(signal.ITIMER_REAL, 1000, 77)
    try:
        limits = resource.getrlimit(resource.RLIMIT_CORE)
        files = sorted(os.listdir("/proc/self/fd"))
        before = children()
        document = observe()

        assert os.sched_getaffinity(0) == one
        assert resource.getrlimit(resource.RLIMIT_CORE) == limits
        assert sorted(os.listdir("/proc/self/fd")) == files
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 1000
        assert interval == 77
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.sched_setaffinity(0, allowed)
    groups = document["observation"]["groups"]

    assert [cpu for group in groups for cpu in group["cpus"]] == sorted(one)
    assert children() == before


def test_threads_go_on() -> None:
    """Other threads run while the machine is observed, and several may observe at once."""
    expected = ran(observe())
    stop = threading.Event()
    turns = [0]
    results: list[list[list[str]]] = []

    def spin() -> None:
        while not stop.is_set():
            turns[0] += 1

    def probe() -> None:
        results.append(ran(observe()))

    spinner = threading.Thread(target=spin)
    probers = [threading.Thread(target=probe) for _ in range(4)]
    spinner.start()
    for thread in probers:
        thread.start()
    for thread in probers:
        thread.join()
    stop.set()
    spinner.join()

    assert turns[0] > 0
    assert results == [expected] * 4


def test_memory_is_given_back() -> None:
    """Fifty observations leave as many mappings as one."""
    observe()
    before = len(Path("/proc/self/maps").read_text().splitlines())
    for _ in range(50):
        observe(execute=False)
    after = len(Path("/proc/self/maps").read_text().splitlines())

    # Python's own allocator may add an arena; fifty leaks of two mappings each would show.
    assert after - before < 10


def test_error_text() -> None:
    """A CPU list that does not parse is an error, with one line of text for a document."""
    ffi, lib = native.ffi, native.lib
    text, length, capacity = ffi.new("char **"), ffi.new("size_t *"), ffi.new("size_t *")
    why = ffi.new("char[160]")

    error = lib.cpuprobe_native_observe(b"", b"1-0", 0, 1, False, text, length, capacity, why)

    assert error == lib.ERROR_CPU_LIST
    assert text[0] == ffi.NULL
    assert ffi.string(why) == b"not a CPU list (expected numbers and ranges such as 0-3,8)"
