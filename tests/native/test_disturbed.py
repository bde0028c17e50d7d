"""A sandbox or a busy machine never becomes a finding about the CPU.

Each run is compared with an undisturbed one: what is told of the CPU is the same or `skipped`, and
what cannot be measured is one line and exit code 3.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cpuprobe.assessment import assess
from cpuprobe.evidence.observation import Candidate, Document, Observation
from tests.children import children
from tests.examples import ALL
from tests.native.conftest import HERE, NATIVE, make_native
from tests.required import required, unable

Program = Callable[..., Path]

# The child takes a millisecond or two: a moment in its life, or shortly after, in microseconds.
LATEST = 2000


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A function (source, *definitions) -> the program."""
    required("gcc")

    def build(source: str, *definitions: str) -> Path:
        program = tmp_path_factory.mktemp("disturbed") / source.removesuffix(".c")
        command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", *definitions]
        subprocess.run([*command, "-o", program, HERE / source], check=True)
        return program

    return build


@pytest.fixture(scope="module")
def sandbox(compiled: Program) -> Path:
    return compiled("sandbox.c")


@pytest.fixture(scope="module")
def disturb(compiled: Program) -> Path:
    return compiled("disturb.c")


def run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(w) for w in command], capture_output=True, text=True, timeout=60)


def observed(text: str) -> Observation:
    return msgspec.json.decode(text, type=Document).observation


@pytest.fixture(scope="module")
def undisturbed(native_builds: tuple[Path, Path]) -> Observation:
    """What an undisturbed run tells of this machine."""
    return observed(run([native_builds[0]]).stdout)


def errors(observation: Observation) -> set[str]:
    """The codes of findings of severity error."""
    return {f.code for f in assess(observation).findings if f.severity == "error"}


def is_gated(candidate: Candidate) -> bool:
    """Without the permission that a process asks for, it faults on every CPU (CP103)."""
    return any(feature.startswith("amx-") for feature in candidate.features)


def assert_says_nothing_new(text: str, undisturbed: Observation) -> Observation:
    """Everything about the CPUs is what the undisturbed run said of them, or left out."""
    observation = observed(text)
    expected = {cpu: group for group in undisturbed.groups for cpu in group.cpus}
    for group in observation.groups:
        for cpu in group.cpus:
            assert group.cpuid == expected[cpu].cpuid
            assert group.cpuid_outcome == expected[cpu].cpuid_outcome
            assert group.xcr0 == expected[cpu].xcr0
            # What is skipped after its like has died is tried where that is left out.
            dead = {
                (candidate.features, before)
                for candidate, before in zip(undisturbed.candidates, expected[cpu].ran, strict=True)
                if before == "sigill"
            }
            assert {
                (candidate.name, now)
                for candidate, now, before in zip(
                    observation.candidates, group.ran, expected[cpu].ran, strict=True
                )
                if now not in (before, "skipped")
                and not (before == "skipped" and (candidate.features, now) in dead)
                and not (is_gated(candidate) and observation.amx_permission == "refused")
            } == set()
            assert group.wrong.keys() <= expected[cpu].wrong.keys()
    assert errors(observation) <= errors(undisturbed)
    return observation


# --- a sandbox ------------------------------------------------------------------------------------


def calls() -> list[str]:
    """Every system call that the core's sources make, and the one that a candidate makes."""
    sources = [*NATIVE.glob("*.c"), *NATIVE.glob("isa/x86_64/*.c")]
    found = {name for path in sources for name in re.findall(r"__NR_(\w+)", path.read_text())}
    assert len(found) > 15
    return sorted(found | {"sched_yield"})


def number_of(call: str) -> int:
    header = "#include <asm/unistd_64.h>\n"
    macros = subprocess.run(
        ["gcc", "-E", "-dM", "-"], input=header, capture_output=True, text=True, check=True
    ).stdout
    match = re.search(rf"^#define __NR_{call} (\d+)$", macros, re.MULTILINE)
    assert match is not None, call
    return int(match[1])


# Without these there is nothing to measure with; without the rest of them there is.
ESSENTIAL = {
    "clone",
    "mmap",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "setitimer",
    "sigaltstack",
    "wait4",
}


# It does without these, and says so.
DISPENSABLE = {"arch_prctl", "getcpu", "getppid", "prctl", "prlimit64", "sched_setaffinity"}


def missed(call: str, undisturbed: Observation) -> set[str]:
    """What it says of a call that it is denied: without AMX nobody asks for a permission."""
    asked = call != "arch_prctl" or undisturbed.amx_permission != "not asked"
    return DISPENSABLE & {call} if asked else set()


@pytest.mark.parametrize("call", calls())
def test_denied_call(
    sandbox: Path, native_builds: tuple[Path, Path], undisturbed: Observation, call: str
) -> None:
    """A denied system call is told of, in an error or in the observation."""
    done = run([sandbox, "deny", number_of(call), native_builds[0]])

    if call in ESSENTIAL:
        assert done.returncode == 3
        assert done.stdout == ""
        assert done.stderr.startswith("cpuprobe-native: cannot measure here: ")
        assert call in done.stderr
        assert done.stderr.count("\n") == 1
    elif call == "write":
        assert done.returncode == 3
    else:
        assert done.returncode == 0
        assert done.stderr == ""
        observation = assert_says_nothing_new(done.stdout, undisturbed)
        assert set(observation.denied) == missed(call, undisturbed)


@pytest.mark.parametrize("call", calls())
def test_deadly_call(
    sandbox: Path, native_builds: tuple[Path, Path], undisturbed: Observation, call: str
) -> None:
    """A sandbox that kills ends the whole program, or is told of; never is it the CPU's fault."""
    done = run([sandbox, "kill", number_of(call), native_builds[0]])

    assert done.returncode in (0, 3, -signal.SIGSYS)
    if call in DISPENSABLE:
        assert done.returncode == 0
    if done.returncode == 0:
        observation = assert_says_nothing_new(done.stdout, undisturbed)
        assert set(observation.denied) == missed(call, undisturbed)
    elif done.returncode == 3:
        assert done.stderr.count("\n") == 1
        assert "signal 31 (a sandbox?)" in done.stderr
        assert call in done.stderr or call == "rt_sigreturn"


def test_pinning_denied(
    sandbox: Path, native_builds: tuple[Path, Path], undisturbed: Observation
) -> None:
    """Who cannot be pinned tells of one CPU, and not of what depends on its number."""
    done = run([sandbox, "deny", number_of("sched_setaffinity"), native_builds[0]])
    (group,) = observed(done.stdout).groups
    names = [candidate.name for candidate in undisturbed.candidates]

    assert group.pinned is False
    assert group.disturbed == {
        "rdpid rax": "moved",
        "rdtscp": "moved",
    }
    assert group.ran[names.index("rdtscp")] == "skipped"


# --- somebody disturbs the child ------------------------------------------------------------------


def disturbed_runs(
    disturb: Path, native: Path, undisturbed: Observation, mode: str, runs: int, seed: int
) -> None:
    moments = random.Random(seed)
    for _ in range(runs):
        moment = moments.randrange(LATEST)
        done = run([disturb, mode, moment, native])
        if done.returncode == 99:  # over before anybody saw its child
            continue

        assert done.returncode == 0, (moment, done.stderr)
        assert_says_nothing_new(done.stdout, undisturbed)


@pytest.mark.parametrize("mode", ["kill", "move"])
def test_disturbed(
    disturb: Path, native_builds: tuple[Path, Path], undisturbed: Observation, mode: str
) -> None:
    """Killed or moved at some moment, it says what it says undisturbed."""
    disturbed_runs(disturb, native_builds[0], undisturbed, mode, 40, 1)


def test_hunted(disturb: Path, native_builds: tuple[Path, Path], undisturbed: Observation) -> None:
    """Every child is killed, some of them late in their lives: left out, or not to be measured."""
    for moment in (0, 100, 200, 400, 800, 1600, 3200, 6400, 12800):
        done = run([disturb, "hunt", moment, native_builds[0]])
        if done.returncode == 3:
            assert "killed again and again, by signal 9" in done.stderr
        elif done.returncode != 99:
            assert done.returncode == 0, done.stderr
            assert_says_nothing_new(done.stdout, undisturbed)


# Where a child may be when it is killed, and how often it has come there by then. The first CPUID
# is of the second leaf that is read, the twelfth of one in the middle.
PLACES = (
    ("guard_install", 1),
    ("guard_self_test", 1),
    ("on_fault", 1),  # of the self-test
    ("on_cpu", 1),
    ("read_identity", 1),
    ("guarded_cpuid", 1),
    ("guarded_cpuid", 12),
    ("guarded_xgetbv", 1),
    ("run_candidates", 1),
    ("guard_run", 1),
    ("guard_run", 30),
    ("run_special", 1),
    ("on_fault", 2),
    ("repeat_candidates", 1),
    ("leave", 1),
)


@pytest.fixture(scope="module")
def killed_at(
    compiled: Program, native_builds: tuple[Path, Path]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function (place, hit, times, *arguments) -> the run whose children are killed there."""
    killer, (_, native) = compiled("kill_at.c"), native_builds
    lines = run(["nm", native]).stdout.splitlines()
    places = {name: f"0x{address}" for address, _, name in map(str.split, lines)}

    def killed(
        place: str, hit: int, times: int, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        done = run([killer, places[place], hit, times, native, *arguments])
        if done.returncode == 98:
            unable("nobody may be traced here")
        return done

    return killed


@pytest.mark.parametrize(("place", "hit"), PLACES)
def test_a_child_killed_at_a_place(
    killed_at: Callable[..., subprocess.CompletedProcess[str]],
    undisturbed: Observation,
    place: str,
    hit: int,
) -> None:
    """The next child makes up for one that was killed, exactly there.

    For three, or for all of them, something is left out, or nothing can be measured: never is
    anything found.
    """
    once = killed_at(place, hit, 1)
    assert once.returncode == 0
    assert assert_says_nothing_new(once.stdout, undisturbed).groups == undisturbed.groups

    for times in (3, 2000):
        done = killed_at(place, hit, times)
        if done.returncode == 3:
            assert "killed again and again, by signal 9" in done.stderr
            assert done.stdout == ""
        else:
            assert done.returncode == 0, done.stderr
            assert_says_nothing_new(done.stdout, undisturbed)
            assert errors(observed(done.stdout)) == errors(undisturbed)


def test_a_child_killed_while_the_second_cpu_tells_what_it_is(
    killed_at: Callable[..., subprocess.CompletedProcess[str]], undisturbed: Observation
) -> None:
    """The first is told as it is, the second as it is or not at all."""
    if sum(len(group.cpus) for group in undisturbed.groups) < 2:
        pytest.skip("one CPU alone may be used")
    for times in (1, 2000):
        done = killed_at("read_identity", 2, times)
        groups = assert_says_nothing_new(done.stdout, undisturbed).groups
        assert min(groups[0].cpus) == min(undisturbed.groups[0].cpus)
        assert "skipped" not in set(groups[0].ran) - set(undisturbed.groups[0].ran)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cpuprobe-native with a tick of wall time that comes a hundred times as often."""
    tree = tmp_path_factory.mktemp("impatient")
    return make_native(tree, "gcc -DWALL_TICK_MICROSECONDS=20000")[0]


def test_stopped(disturb: Path, impatient: Path, undisturbed: Observation) -> None:
    """Stopped for longer than every timer, it goes on as if nothing had been."""
    disturbed_runs(disturb, impatient, undisturbed, "stop", 15, 2)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["kill", "move"])
def test_disturbed_often(
    disturb: Path, native_builds: tuple[Path, Path], undisturbed: Observation, mode: str
) -> None:
    """The same at other moments."""
    disturbed_runs(disturb, native_builds[0], undisturbed, mode, 500 if ALL else 100, 3)


@pytest.mark.slow
def test_stopped_for_long(
    compiled: Program, native_builds: tuple[Path, Path], undisturbed: Observation
) -> None:
    """Stopped for 21.5 seconds, longer than any timer there ever was."""
    disturb = compiled("disturb.c", "-DSTOPPED=21500000")
    disturbed_runs(disturb, native_builds[0], undisturbed, "stop", 1, 4)


@pytest.mark.slow
def test_stopped_often(disturb: Path, impatient: Path, undisturbed: Observation) -> None:
    """Stopped at other moments."""
    disturbed_runs(disturb, impatient, undisturbed, "stop", 200 if ALL else 40, 5)


def test_tiny_stack(native_builds: tuple[Path, Path], undisturbed: Observation) -> None:
    """With a stack of sixteen kilobytes, of which the kernel takes up to nine, it says the same."""
    for _ in range(10):  # how much it takes is random
        done = run(["env", "-i", "sh", "-c", f"ulimit -s 16; exec {native_builds[0]}"])

        assert done.returncode == 0
        assert_says_nothing_new(done.stdout, undisturbed)


def test_little_memory(native_builds: tuple[Path, Path]) -> None:
    """Where memory is refused, that is the answer."""
    done = run(["sh", "-c", f"ulimit -v 700; exec {native_builds[0]}"])

    assert done.returncode == 3
    assert done.stderr == "cpuprobe-native: cannot measure here: mmap: out of memory\n"


# --- both end together ----------------------------------------------------------------------------


def stopped_child(parent: int) -> int:
    """Waits for a child of the process and stops it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in children(parent):
            try:
                os.kill(child, signal.SIGSTOP)
            except ProcessLookupError:  # it has ended meanwhile; the next will come
                continue
            return child
    pytest.fail("no child appeared")


def gone(pid: int) -> bool:
    """Whether a process ends within a while."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_ctrl_c(native_builds: tuple[Path, Path]) -> None:
    """SIGINT ends cpuprobe-native and the child that hangs."""
    early = 0  # stopped before it had asked to die with its parent, which it then cannot
    for _ in range(200):  # until its child is caught
        process = subprocess.Popen([native_builds[0]], stdout=subprocess.DEVNULL)
        found: list[int] = []
        while process.poll() is None and not found:
            found = list(children(process.pid))
        if found:
            try:
                os.kill(found[0], signal.SIGSTOP)
            except ProcessLookupError:
                process.wait()
                continue
            process.send_signal(signal.SIGINT)
            if process.wait(timeout=20) == -signal.SIGINT:
                if gone(found[0]):
                    return
                os.kill(found[0], signal.SIGKILL)
                early += 1
                assert early < 4
        process.wait()
    pytest.fail("its child was never caught")


_PYTHON = """
import sys, cpuprobe
print("ready", flush=True)
while True:
    cpuprobe.observe()
"""


def test_ctrl_c_in_python() -> None:
    """SIGINT raises KeyboardInterrupt while the child hangs, and ends the child."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PYTHON], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        child = stopped_child(process.pid)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
    finally:
        process.kill()  # it would go on for ever

    assert "KeyboardInterrupt" in complaint
    assert gone(child)
