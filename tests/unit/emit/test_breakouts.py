"""Nothing that a stranger wrote is code in what `flags` writes, nor in what a report may hold."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import arm_fakes
from tests.every import every
from tests.fakes import gds_machine

from cpuprobe.assessment import assess
from cpuprobe.emit import FORMATS, FlagSet, choose, choose_alone
from cpuprobe.errors import CaptureError, UsageError
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import (
    Claims,
    Fault,
    Kernel,
    Observation,
    ToldIdentity,
    Wasmtime,
)
from cpuprobe.facts.features import load_levels
from cpuprobe.facts.profiles import find_profile, profiles_in
from cpuprobe.facts.wasmtime import known_versions
from cpuprobe.report.document import make_report, to_json

BREAKOUTS = (
    '50\n__import__("os").system("id")',
    'x", "false"); system("id"); ("',
    "x'); import os; ('",
    "*/ int main(void) { return 1; } /*",
    "has_x --dir=/ $(id) `id` ; id",
    '"] }\n[evil]\nx = [["',
    "a\\\nimport os",
    "coding: utf-7 +AGkAbQBwAG8AcgB0-",
    "\u2028import os",
    "\x1b]0;evil\x07",
    "{{7*7}} {% x %} <script>",
)
WASMTIME = ("text", "json", "rust", "c", "python", "cli", "clif")
VERSIONS = ("50", "44", "12.0")  # of which 44 and 12 write Python and options in older ways


def flag_set(**changes: Any) -> FlagSet:
    made = FlagSet(
        values={"has_sse3": True, "has_avx": False},
        reasons={"has_avx": ("avx is withheld",)},
        wasmtime="50",
        features={**dict.fromkeys(load_levels()[0].features, True), "sse3": True, "avx": False},
        disable=("avx",),
        profiles=("haswell",),
    )
    return msgspec.structs.replace(made, **changes)


def hostile_sets() -> Iterator[FlagSet]:
    """Sets with a breakout in each free text that an emitter may write."""
    for text, machines in itertools.product(BREAKOUTS, (0, 1)):
        yield flag_set(wasmtime=text, machines=machines)
        yield flag_set(reasons={"has_avx": (text,)}, machines=machines)
        yield flag_set(profiles=(text,), machines=machines)


# --- what each language's own reader finds --------------------------------------------------------


def calls_in_python(text: str) -> list[str]:
    """The calls of a program, by their source, after Python has chosen its encoding."""
    tree = ast.parse(text.encode())
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr, ast.FunctionDef, ast.If)
    assert all(isinstance(node, allowed) for node in tree.body), text
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def without_comments(text: str, line: str) -> str:
    """C or Rust with strings emptied and comments gone, by the languages' own rules of tokens."""
    token = re.compile(rf'"(?:[^"\\\n]|\\.)*"|/\*.*?\*/|{line}[^\n]*', re.DOTALL)
    return token.sub(lambda found: '""' if found[0].startswith('"') else " ", text)


@every(hostile_sets(), repr)
def test_python_calls_what_it_always_calls(flags: FlagSet):
    """Whatever the version, a reason or a profile says, the program is the same."""
    assert calls_in_python(FORMATS["python"](flags)) == calls_in_python(
        FORMATS["python"](flag_set())
    )


@pytest.mark.parametrize("dialect", ["rust", "c", "guard"])
def test_rust_and_c_are_the_same_tokens(dialect: str):
    """Outside strings and comments nothing changes, and the names in the strings do not either."""
    expected = FORMATS[dialect](flag_set())

    def tokens(text: str) -> list[str]:
        return without_comments(text, "//").split()

    for flags in hostile_sets():
        text = FORMATS[dialect](flags)
        assert tokens(text) == tokens(expected)
        assert text.count("\n") == expected.count("\n")


def test_a_c_compiler_agrees(tmp_path: Path):
    """gcc -fsyntax-only takes every hostile variant against a stub of wasmtime.h."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    (tmp_path / "wasmtime.h").write_text(
        "typedef struct e wasmtime_error_t; typedef struct c wasm_config_t;\n"
        "wasmtime_error_t *wasmtime_config_target_set(wasm_config_t *, const char *);\n"
        "void wasmtime_config_cranelift_flag_set(wasm_config_t *, const char *, const char *);\n"
    )
    variants = [FORMATS["c"](flags) for flags in hostile_sets()]
    bodies = [text.replace("set_safe_flags", f"f{n}") for n, text in enumerate(variants)]
    source = tmp_path / "all.c"
    source.write_text("\n".join(bodies), encoding="utf-8")

    subprocess.run(
        [compiler, "-fsyntax-only", "-Werror", "-Wcomment", f"-I{tmp_path}", str(source)],
        check=True,
        timeout=60,
    )


def test_command_lines_are_the_same_words():
    """The options for a shell split into the same words; nothing in them asks the shell."""
    for version in VERSIONS:
        expected = shlex.split(FORMATS["cli"](flag_set(wasmtime=version)))
        assert expected[0] == "--target"
        assert all(re.fullmatch(r"[\w=.-]+", word) for word in expected)
    for flags in hostile_sets():
        words = shlex.split(FORMATS["cli"](flags))
        assert words == shlex.split(FORMATS["cli"](flag_set()))
        assert FORMATS["clif"](flags) == FORMATS["clif"](flag_set())
        assert FORMATS["text"](flags) == FORMATS["text"](flag_set())


@pytest.mark.parametrize("dialect", ["json", "ansible", "oci"])
def test_json_stays_json(dialect: str):
    """The document parses and has the keys it always has, every hostile text a string in it."""
    expected = json.loads(FORMATS[dialect](flag_set()))

    for flags in hostile_sets():
        if flags.machines or dialect != "ansible":
            found = json.loads(FORMATS[dialect](flags))
            assert found.keys() == expected.keys()


def test_labels_stay_lines():
    """NFD and Prometheus get as many lines as ever, each of the shape of its format."""
    for flags in hostile_sets():
        if not flags.machines:
            continue
        nfd = FORMATS["nfd"](flags).splitlines()
        assert len(nfd) == len(FORMATS["nfd"](flag_set()).splitlines())
        assert all(re.fullmatch(r"#.*|[a-z.]+/[\w.-]+=[\w.-]*", line) for line in nfd)
        text = FORMATS["prometheus"](flags)
        assert text.count("\n") == FORMATS["prometheus"](flag_set()).count("\n")


@pytest.mark.parametrize("dialect", WASMTIME)
@every(["", "has_", "HAS_AVX", "has_a" * 30, *BREAKOUTS], repr)
def test_what_is_no_name_is_not_written(dialect: str, name: str):
    """A flag that is no word in every language is refused (JSON quotes it)."""
    flags = flag_set(values={name: True}, reasons={})

    if dialect == "json":
        assert json.loads(FORMATS["json"](flags)) == {name: True}
        return
    with pytest.raises(UsageError, match="is no flag of wasmtime") as caught:
        FORMATS[dialect](flags)
    assert str(caught.value).isprintable()


def test_compilers_and_runtimes_write_the_table_s_words_only():
    """Their settings depend on features alone: no text of a report reaches them."""
    plain = flag_set()

    others = {"nfd", "prometheus", "ansible", "oci", "systemd", "guard"}
    for dialect in FORMATS.keys() - set(WASMTIME) - others:
        expected = FORMATS[dialect](plain)
        assert all(FORMATS[dialect](flags) == expected for flags in hostile_sets()), dialect


# --- what a report may hold -----------------------------------------------------------------------


def places() -> list[tuple[str | int, ...]]:
    """Every string of a report that holds something in each of its fields, keys included."""
    found: list[tuple[str | int, ...]] = []

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, str):
            found.append(path)
        elif isinstance(value, list):
            for number, each in enumerate(value[:2]):
                walk(each, (*path, number))
        elif isinstance(value, dict):
            for key, each in value.items():
                walk(each, (*path, key))
                if path and path[-1] in FREE_KEYS:
                    found.append((*path, f"key {key}"))

    walk(document()["observation"], ("observation",))
    return found


FREE_KEYS = frozenset({"fields", "vulnerabilities", "faults", "wrong", "ran_before_permission"})


def full_machine() -> Observation:
    """A machine with something in every field."""
    machine = gds_machine()
    name = machine.candidates[0].name
    group = msgspec.structs.replace(
        machine.groups[0],
        ran_before_permission={name: "sigill"},
        faults={name: Fault(1, 1)},
        wrong={name: "00ff"},
        registers_outcome="sigill",
    )
    return msgspec.structs.replace(
        machine,
        groups=(group, *machine.groups[1:]),
        kernel=Kernel("6.1.0", "#1 SMP"),
        cpuinfo_mount="fuse.lxcfs",
        cmdline=("clearcpuid=avx2",),
        wasmtime=Wasmtime("50.0.1", ("has_avx",)),
        claims=(
            Claims(
                source="x",
                witness="cpuid",
                yes=("avx",),
                no=("sha",),
                level="x86-64-v2",
                not_level="x86-64-v4",
            ),
        ),
        identity=ToldIdentity(vendor="v", brand="b", microcode="0x1", hypervisor="KVM"),
        page_size=4096,
    )


def document() -> dict[str, Any]:
    machine = full_machine()
    found: dict[str, Any] = json.loads(to_json(make_report(machine, assess(machine))))
    return found


PLACES = places()
# For people only, printed through the door that cleans: any printable text may stand there.
FOR_PEOPLE = frozenset(
    {"version", "model name", "microcode", "vendor", "vendor_id", "brand", "hypervisor", "flags",
     "bugs", "cpu family", "model", "stepping", "gather_data_sampling"}
)  # fmt: skip


def changed(path: tuple[str | int, ...], text: str) -> bytes:
    whole = document()
    target: Any = whole
    for step in path[:-1]:
        target = target[step]
    last = path[-1]
    if isinstance(last, str) and last.startswith("key "):
        target[text] = target.pop(last.removeprefix("key "))
    else:
        target[last] = text
    return json.dumps(whole).encode()


def test_the_report_that_is_attacked_is_good():
    """So that the refusals below are for the one thing changed, and no field is left out."""
    assert parse_capture(json.dumps(document()).encode()) == full_machine()
    assert len(PLACES) > 40
    # auxv and executions: numbers
    unset = {"unmeasured_cpus", "denied", "isa", "amx_permission", "auxv", "executions"}
    assert set(Observation.__struct_fields__) - document()["observation"].keys() <= unset


@every(PLACES, lambda path: "/".join(map(str, path)))
def test_every_string_has_a_shape(path: tuple[str | int, ...]):
    """A breakout in any field is refused in one line, or is harmless text for people."""
    for text in BREAKOUTS:
        content = changed(path, text)
        if path[-1] in FOR_PEOPLE and path[-2] != "wasmtime" and text.isprintable():
            parse_capture(content)
            continue
        with pytest.raises(CaptureError) as caught:
            parse_capture(content)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", BREAKOUTS)
def test_what_only_aarch64_has_is_of_its_shape(text: str):
    """The names of registers, how MRS died, and the instruction set itself."""
    machine = arm_fakes.observation(arm_fakes.group(arm_fakes.BASE))
    content = to_json(make_report(machine, assess(machine)))
    assert parse_capture(content) == machine
    for changes, more in (({"registers": {text: 1}}, {}), ({"registers_outcome": text}, {}),
                          ({}, {"isa": text})):  # fmt: skip
        whole = json.loads(content)
        whole["observation"]["groups"][0] |= changes
        whole["observation"] |= more
        with pytest.raises(CaptureError) as caught:
            parse_capture(json.dumps(whole).encode())
        assert "\n" not in str(caught.value)


def test_a_report_that_passes_writes_the_same_program():
    """Texts for people change nothing in any dialect."""
    plain = [assess(full_machine(), "50")]
    expected = {dialect: FORMATS[dialect](choose(plain)) for dialect in WASMTIME}

    for path in PLACES:
        if path[-1] in FOR_PEOPLE - {"flags", "cpu family", "model", "stepping", "vendor_id"}:
            if "gather_data_sampling" in path or "wasmtime" in path:
                continue
            machine = parse_capture(changed(path, "'; import os #"))
            flags = choose([assess(machine, "50")])
            for dialect, text in expected.items():
                assert FORMATS[dialect](flags) == text, (path, dialect)


# --- bounds ---------------------------------------------------------------------------------------


def test_many_flags_are_refused_quickly():
    """400,000 flags in a report: one line, and no work on them."""
    whole = document()
    whole["observation"]["wasmtime"]["flags"] = [f"has_f{n}" for n in range(400_000)]
    content = json.dumps(whole).encode()
    begun = time.process_time()

    with pytest.raises(CaptureError, match="flags"):
        parse_capture(content)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "content",
    [
        ".".join(["a"] * 20_000) + " = 1\n",
        ".".join(['"a"'] * 20_000) + " = 1\n",
        "[[profile]]\nx = {" + ".".join(["a"] * 20_000) + " = 1}\n",
        "[" + ".".join(["a"] * 20_000) + "]\n",
    ],
    ids=["bare", "quoted", "inline", "header"],
)
def test_deep_toml_is_refused_quickly(tmp_path: Path, content: str):
    """A key of 20,000 parts costs its square in the parser: it never gets there."""
    path = tmp_path / "own.toml"
    path.write_text(content)
    begun = time.process_time()

    with pytest.raises(CaptureError, match=r"^profiles: own\.toml: "):
        profiles_in(str(path))
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("text", BREAKOUTS)
def test_profiles_of_users_have_shapes_too(tmp_path: Path, text: str):
    """A profile's name and lines are typed, and its name is what reaches a comment."""
    path = tmp_path / "own.toml"
    path.write_text(f"[[profile]]\nname = {json.dumps(text)}\npurpose = 'p'\nfeatures = ['avx']\n")

    with pytest.raises((CaptureError, UsageError)):
        find_profile(str(path))


def test_rust_compiles(tmp_path: Path):
    """Where rustc is, it takes every hostile variant against a stub of the crate."""
    compiler = shutil.which("rustc")
    if compiler is None:
        pytest.skip("no rustc here")
    stub = (
        "mod wasmtime { pub type Result<T> = std::result::Result<T, ()>; pub struct Config;\n"
        "impl Config { pub fn new() -> Self { Config }\n"
        "pub fn target(&mut self, _: &str) -> Result<()> { Ok(()) }\n"
        "pub unsafe fn cranelift_flag_set(&mut self, _: &str, _: &str) {} } }\n"
    )
    bodies = [
        FORMATS["rust"](flags).replace("safe_config", f"f{n}")
        for n, flags in enumerate(hostile_sets())
    ]
    source = tmp_path / "all.rs"
    source.write_text(stub + "\n".join(bodies) + "\nfn main() {}\n", encoding="utf-8")

    subprocess.run(
        [compiler, "--emit=metadata", "-Awarnings", "-o", str(tmp_path / "m"), str(source)],
        check=True,
        timeout=120,
    )


def test_profiles_alone_write_the_newest(tmp_path: Path):
    """`--alone` writes from tables only."""
    newest = next(iter(known_versions().values()))

    text = FORMATS["python"](choose_alone([find_profile("haswell")], newest))
    assert calls_in_python(text)[0] == "wasmtime.Config()"
