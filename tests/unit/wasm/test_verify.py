"""`cpuprobe verify`: what it proves, and that it fails where it must."""

from __future__ import annotations

import json
import re
import struct
import sys

import pytest
from tests.fakes import V3, XCR0_AVX, group, observation
from tests.unit.test_schemas import against

from cpuprobe.api import safe_flags
from cpuprobe.assessment import assess, assess_with_flags
from cpuprobe.evidence.measure import observe
from cpuprobe.report.proof import document, to_text
from cpuprobe.wasm import cases, comparison, harness
from cpuprobe.wasm.operators import RESULT_OFFSET, OperatorFunction, operator_functions

wasmtime = pytest.importorskip("wasmtime")
pytest.importorskip("iced_x86")

from cpuprobe.wasm import proof  # noqa: E402  (needs iced-x86)
from cpuprobe.wasm.installed import compare_inference  # noqa: E402

BASE = dict.fromkeys(safe_flags(), False)
ADD = ("i32x4.add",)
# EVEX.66.0F / VEX.66.0F: the opcode of PADDD is FE, of PSUBD FA (SDM vol. 2B). SSE2's forms are
# 66 0F FE and 66 0F FA.
PADDD, PSUBD, UD2 = b"\x66\x0f\xfe", b"\x66\x0f\xfa", b"\x0f\x0b\x0f"


def safe_features() -> frozenset[str]:
    assessment = assess(observe())
    return frozenset(name for name, each in assessment.features.items() if each.safe)


def function(name: str) -> OperatorFunction:
    return next(each for each in operator_functions() if each.name == name)


# Starts a child of `verify` and changes the artifact that it compiles, as a wrong compiler would.
TAMPER = """
import json, subprocess, sys
old, new = map(bytes.fromhex, sys.argv[1:3])
code = subprocess.run(sys.argv[3:]).returncode
request = json.loads(sys.argv[-1])
if request["do"] == "compile":
    with open(request["path"], "rb") as file:
        artifact = file.read()
    assert old in artifact
    with open(request["path"], "wb") as file:
        file.write(artifact.replace(old, new))
sys.exit(code) if code >= 0 else __import__("os").kill(__import__("os").getpid(), -code)
"""


def tampering(old: bytes, new: bytes) -> list[str]:
    """A prefix for the children's command."""
    return [sys.executable, "-c", TAMPER, old.hex(), new.hex()]


# --- the whole, on one operator ---


def test_safe_flags_are_proved():
    result = proof.verify(safe_flags(), safe_features(), operators=ADD)

    assert result.verdict == "proved"
    assert result.operators == 1
    assert result.code is not None and result.code.outside == ()
    assert result.comparison is not None
    assert result.comparison.ran == result.functions > 30
    assert result.comparison.cases > 1500


def test_baseline_flags_need_the_baseline_only():
    result = proof.verify(BASE, (), operators=ADD)

    assert result.verdict == "proved"
    assert result.code is not None and result.code.features == ()


def test_a_flag_forced_on_wrongly_is_outside():
    """Code compiled with AVX against a set without it: VEX forms, named with their feature."""
    if not safe_flags()["has_avx"]:
        pytest.skip("no AVX on this machine")
    on = {"has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_avx"}
    flags = {flag: flag in on for flag in BASE}
    safe = {"sse3", "ssse3", "sse4.1", "sse4.2"}
    result = proof.verify(flags, safe, operators=ADD)

    assert result.verdict == "outside"
    assert result.code is not None
    assert {each.features for each in result.code.outside} == {("avx",)}
    add = next(each for each in result.code.outside if each.form.startswith("VEX_VPADDD"))
    assert add.instruction.startswith("vpaddd")
    assert add.count >= 1


def test_a_miscompiled_operator_is_different():
    """With every PADDD turned into PSUBD the functions that add differ, and the first is shown."""
    result = proof.verify(BASE, (), operators=ADD, prefix=tampering(PADDD, PSUBD))

    assert result.verdict == "different"
    assert result.comparison is not None
    assert result.comparison.functions_different > 10
    shown = {each.function: each for each in result.comparison.different}
    one = next(each for name, each in shown.items() if name.startswith("i32x4.add/load-"))
    a, b = (struct.unpack("<4I", bytes.fromhex(each)) for each in one.operands.split())
    native = struct.unpack("<4I", bytes.fromhex(one.native.rpartition(" ")[2]))
    pulley = struct.unpack("<4I", bytes.fromhex(one.pulley.rpartition(" ")[2]))
    assert pulley == tuple((x + y) & 0xFFFFFFFF for x, y in zip(a, b, strict=True))
    assert native == tuple((x - y) & 0xFFFFFFFF for x, y in zip(a, b, strict=True))


def test_a_fault_names_the_function():
    """An instruction that faults kills the child alone, and the function is known."""
    result = proof.verify(BASE, (), operators=ADD, prefix=tampering(PADDD, UD2))

    assert result.verdict == "died"
    assert result.death is not None
    assert result.death.how == "killed by SIGILL"
    assert (result.death.function or "").startswith("i32x4.add/")


def test_an_unknown_flag_kills_the_compiling_child():
    """wasmtime aborts on a name it does not know: an answer, not the end of this process."""
    result = proof.verify({**BASE, "has_nothing": True}, (), operators=ADD)

    assert result.verdict == "died"
    assert result.death is not None and result.death.stage == "compile"
    assert result.code is None


def test_a_refused_flag_is_an_answer():
    """has_apx is accepted on no host."""
    if "has_apx" not in BASE:
        pytest.skip("this wasmtime does not know has_apx")
    result = proof.verify({**BASE, "has_apx": True}, (), operators=ADD)

    assert result.verdict == "refused"
    assert result.death is not None
    assert "has_apx" in result.death.how


def test_progress_is_told():
    told = []
    proof.verify(BASE, (), operators=ADD, progress=lambda *what: told.append(what))

    assert [what for what, _, _ in told][:3] == ["compiling", "disassembling", "preparing to run"]
    assert told[-1][0] == "running"


# --- NaNs ---

WINDOW = cases.template(harness.WINDOW, 1024, comparison.CONDITION, comparison.ARMS)
CANONICAL, NEGATIVE, PAYLOAD, SIGNALLING = 0x7FC00000, 0xFFC00000, 0x7FC12345, 0x7F800001
ONE = 0x3F800000


def entry(*lanes: int) -> bytes:
    memory = bytearray(harness.WINDOW)
    struct.pack_into("<4I", memory, RESULT_OFFSET, *lanes)
    return bytes(memory)


def case(*lanes: int) -> bytes:
    return struct.pack("<4I", *lanes).ljust(cases.CASE_SIZE, b"\0")


@pytest.mark.parametrize(
    ("operand", "native", "pulley", "same"),
    [
        (ONE, CANONICAL, NEGATIVE, True),  # the sign is open
        (ONE, PAYLOAD, CANONICAL, False),  # no operand had a payload
        (PAYLOAD, PAYLOAD, CANONICAL, True),
        (SIGNALLING, PAYLOAD, NEGATIVE, True),
        (SIGNALLING, SIGNALLING, CANONICAL, False),  # a result is quiet
        (PAYLOAD, ONE, CANONICAL, False),
        (ONE, ONE, ONE + 1, False),
    ],
)
def test_nan_rules(operand, native, pulley, same):
    """Core Specification 3.0, section 4.3.3."""
    found = comparison.same_but_for_nans(
        function("f32x4.add/param"),
        case(ONE, operand, ONE, ONE),
        WINDOW,
        entry(ONE, native, ONE, ONE),
        entry(ONE, pulley, ONE, ONE),
    )

    assert found is same


def test_operators_that_make_no_nan_have_no_choice():
    """abs only clears a sign: its NaN bits are fixed."""
    arguments = (
        case(ONE, PAYLOAD, ONE, ONE),
        WINDOW,
        entry(0, CANONICAL, 0, 0),
        entry(0, NEGATIVE, 0, 0),
    )

    assert not comparison.same_but_for_nans(function("f32x4.abs/param"), *arguments)


@pytest.mark.parametrize("shape", ["splat-i8x16", "load16_splat", "const"])
def test_lanes_made_of_narrower_ones_may_be_nans_of_any_kind(shape):
    """No operand looks like a NaN, and yet the lanes that the operator sees do: all bytes FF."""
    pair = [entry(each, each, each, each) for each in (0xFFFFFFFF, CANONICAL)]
    plain, made = function("f32x4.ceil/param"), function(f"f32x4.ceil/{shape}")

    assert not comparison.same_but_for_nans(plain, case(0x7F7FFFFF, 1, 1, 1), WINDOW, *pair)
    assert comparison.same_but_for_nans(made, case(0x7F7FFFFF, 1, 1, 1), WINDOW, *pair)


def test_a_nan_behind_not_is_seen():
    """The shape inverts the result: so does the comparison."""
    inverted = [each ^ 0xFFFFFFFF for each in (CANONICAL, NEGATIVE)]
    pair = [entry(0, each, 0, 0) for each in inverted]

    assert comparison.same_but_for_nans(function("f32x4.add/not"), case(1, 1, 1, 1), WINDOW, *pair)


# --- relaxed SIMD's choices, against values written out by hand from the proposal's overview ---

B16 = bytes(range(16))
ROWS = [
    # An index of 16 to 127 is taken modulo 16, or gives 0; from 128 on it gives 0.
    (
        "i8x16.relaxed_swizzle",
        0,
        [bytes(range(100, 116)), bytes([0, 15, 16, 17, 127, 128, 255, 3] + [0] * 8)],
        bytes([100, 115, 100, 101, 115, 0, 0, 103] + [100] * 8),
    ),
    (
        "i16x8.relaxed_q15mulr_s",
        0,
        [struct.pack("<8h", *[-32768] * 4, 16384, 1, 0, 2)] * 2,
        struct.pack("<8h", *[-32768] * 4, 8192, 0, 0, 0),
    ),
    # -128 * 255 + -128 * 255 = -65280: saturated or wrapped.
    (
        "i16x8.relaxed_dot_i8x16_i7x16_s",
        0,
        [b"\x80" * 16, b"\xff" * 16],
        struct.pack("<8h", *[-32768] * 8),
    ),
    (
        "i16x8.relaxed_dot_i8x16_i7x16_s",
        1,
        [b"\x80" * 16, b"\xff" * 16],
        struct.pack("<8h", *[256] * 8),
    ),
    (
        "i32x4.relaxed_dot_i8x16_i7x16_add_s",
        1,
        [b"\x80" * 16, b"\xff" * 16, struct.pack("<4i", 1, 2, 3, 4)],
        struct.pack("<4i", *(-130560 + n for n in (1, 2, 3, 4))),
    ),
    (
        "i32x4.relaxed_trunc_f32x4_s",
        0,
        [struct.pack("<4f", 3e9, -3e9, float("nan"), -1.5)],
        struct.pack("<4i", -(2**31), -(2**31), -(2**31), -1),
    ),
    (
        "i32x4.relaxed_trunc_f32x4_u",
        0,
        [struct.pack("<4f", 3e9, 5e9, float("nan"), -2.0)],
        struct.pack("<4I", 3000000000, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    ),
    (
        "i32x4.relaxed_trunc_f64x2_s_zero",
        0,
        [struct.pack("<2d", 2147483648.0, -7.9)],
        struct.pack("<4i", -(2**31), -7, 0, 0),
    ),
    (
        "f32x4.relaxed_madd",
        0,
        # (1 + 2^-12)^2 - 1: rounded between, the 2^-24 is lost.
        [struct.pack("<4f", *[1 + 2**-12] * 4)] * 2 + [struct.pack("<4f", *[-1.0] * 4)],
        struct.pack("<4f", *[2**-11] * 4),
    ),
    (
        "f32x4.relaxed_min",
        0,
        [struct.pack("<4f", 0.0, -0.0, float("nan"), 1), struct.pack("<4f", -0.0, 0.0, 2, 3)],
        struct.pack("<4f", -0.0, 0.0, 2, 1),
    ),
    (
        "f32x4.relaxed_max",
        1,
        [struct.pack("<4f", 0.0, -0.0, 5, 1), struct.pack("<4f", -0.0, 0.0, float("nan"), 3)],
        struct.pack("<4f", 0.0, -0.0, 5, 3),
    ),
    (
        "i32x4.relaxed_laneselect",
        0,
        [B16, bytes(16), struct.pack("<4I", 0x80000000, 0x7FFFFFFF, 0xFFFFFFFF, 0)],
        bytes([0, 1, 2, 3, 0, 0, 0, 0, 8, 9, 10, 11, 0, 0, 0, 0]),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}:{row[1]}")
def test_relaxed_choices(row):
    name, number, operands, expected = row
    loads = " ".join(f"(v128.load (i32.const {16 * i}))" for i in range(len(operands)))
    store = wasmtime.Store()
    module = wasmtime.Module(
        store.engine,
        f"""(module (memory (export "memory") 1) {comparison.helper_functions()}
          (func (export "go") (v128.store (i32.const 64) (call ${name}:{number} {loads}))))""",
    )
    exports = wasmtime.Instance(store, module, []).exports(store)
    exports["memory"].write(store, b"".join(operands), 0)
    exports["go"](store)

    assert bytes(exports["memory"].read(store, 64, 80)) == expected


def test_every_relaxed_operator_has_its_choices():
    relaxed = {each.operator for each in operator_functions() if ".relaxed_" in each.operator}

    assert relaxed == set(comparison.VARIANTS)
    for each in operator_functions():
        if each.relaxed:
            for variant in comparison.variants_of(each):
                assert re.search(r"(?<!call \$)\b\w+\.relaxed_", variant.body) is None


# --- cases ---


def test_every_edge_value_comes_up():
    """Also for operators of two operands, where not every pair does."""
    for kind in ("i32", "i64", "f32", "f64", "v128"):
        values = set(cases.edge_values(kind))
        made = cases.make_cases((kind, kind), (), harness.MAX_CASES)
        for slot in (0, 1):
            assert values == {each[16 * slot : 16 * slot + 16] for each in made}


def test_what_the_edge_values_must_have():
    singles = {int.from_bytes(each[:4], "little") for each in cases.edge_values("f32")}

    assert {0, 0x80000000, 0x7F800000, 0xFF800000, 1, 0x807FFFFF} <= singles
    assert {CANONICAL, NEGATIVE, PAYLOAD, SIGNALLING, 0x4F000000} <= singles
    lanes = {each[i] for each in cases.edge_values("v128", ("i8",)) for i in range(16)}
    assert {0, 1, 0x7F, 0x80, 0xFF, 15, 16} <= lanes


def test_cases_fit_the_log():
    assert harness.LOG + harness.MAX_CASES * harness.WINDOW <= harness.PAGES * 65536
    assert len(cases.make_cases(("f32", "f32"), (), harness.MAX_CASES)) <= harness.MAX_CASES


# --- inference ---


def test_a_model_that_is_wrong_is_reported():
    machine = observation(group(V3, xcr0=XCR0_AVX))
    right = {"has_avx": True, "has_avx2": True, "has_avx512f": False}

    _, flags = assess_with_flags(machine, "50")
    assert compare_inference(flags, right).differ == ()
    wrong = {"has_avx": True, "has_avx2": False, "has_avx512f": True}
    assert compare_inference(flags, wrong).differ == ("has_avx2", "has_avx512f")


def test_what_it_infers_beyond_the_safe_flags_is_named():
    machine = observation(group(V3, xcr0=XCR0_AVX, outcomes={"avx2": "sigill"}))
    _, flags = assess_with_flags(machine, "50")
    inferred = {"has_avx": True, "has_avx2": True}

    assert compare_inference(flags, inferred).unsafe == ("has_avx2",)


# --- the report ---


def report(**changes: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "wasmtime": "50.0.1",
        "flags": {"has_avx": True, "has_apx": False},
        "safe": ["avx"],
        "operators": 2,
        "functions": 30,
        "atomic": 1,
        "left_out": [],
        "code": {
            "functions": 40,
            "instructions": 1234,
            "forms": 56,
            "features": ["avx"],
            "outside": [],
        },
        "comparison": {
            "ran": 29,
            "cases": 5000,
            "traps": 3,
            "open_nans": 7,
            "open_relaxed": 8,
            "functions_different": 0,
            "different": [],
        },
        "not_compared": None,
        "death": None,
    }
    return document({**plain, **changes}, str(changes.pop("verdict", "proved")), None, 1.5)


def test_the_text_of_a_proof():
    text = to_text(report())

    assert text.startswith("PROVED  wasmtime 50.0.1")
    assert "2 operators in 30 functions" in text
    assert "56 instruction forms in 1,234 instructions" in text
    assert "all inside the safe set" in text
    assert "5,000 cases of 29 functions" in text and "all equal" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_text_of_a_death():
    death = {"stage": "run", "how": "killed by SIGILL", "function": "i64x2.mul/param",
             "features": ["avx512dq"]}  # fmt: skip
    text = to_text(report(death=death, comparison=None, verdict="died"))

    assert "killed by SIGILL" in text and "i64x2.mul/param" in text and "avx512dq" in text


def test_strangers_words_cannot_steer_a_terminal():
    death: dict[str, object] = {
        "stage": "compile",
        "how": "\x1b[2J",
        "function": None,
        "features": [],
    }

    assert "\x1b" not in to_text(report(death=death, verdict="died"))


# --- the command ---


def test_without_wasmtime_it_cannot(monkeypatch, capsys):
    from cpuprobe.cli import run

    monkeypatch.setattr("cpuprobe.evidence.installed.installed_version", lambda: None)
    code = run(["verify"])

    assert code == 3
    assert (
        capsys.readouterr().err
        == "cpuprobe: error: wasmtime is not installed: pip install wasmtime\n"
    )


@pytest.mark.slow
def test_the_command_proves_this_machine(capfdbinary):
    """All operators, on this machine: the promise of `cpuprobe flags`."""
    from cpuprobe.cli import run

    code = run(["verify", "--json"])
    output = json.loads(capfdbinary.readouterr().out)

    against("verify", output)
    assert output["schema"] == "cpuprobe.verify/1"
    assert (code, output["verdict"]) == (0, "proved")
    assert output["operators"] >= 528
    assert output["comparison"]["ran"] == output["functions"] - output["atomic"]
    assert output["inference"]["differ"] == []


def test_a_silent_child_is_killed(monkeypatch):
    """A child that hangs ends as one that died, within the limit."""
    monkeypatch.setattr(proof, "SILENCE", 0.5)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    result = proof.verify(BASE, (), operators=ADD, prefix=sleep)

    assert result.verdict == "died"
    assert result.death is not None and "did not answer within 0.5 s" in result.death.how
