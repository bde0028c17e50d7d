"""General-register instructions, opmask instructions and state saving (SDM vol. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iced_x86 import ConditionCode

from tests.golden.machine import (
    AF,
    CF,
    OF,
    PF,
    SF,
    ZF,
    Operation,
    UnsupportedInstruction,
    handles,
    mask_of,
    signed,
    split,
)

if TYPE_CHECKING:
    # The decoder's enumerations are modules at run time and classes only in its stubs.
    from iced_x86._iced_x86_py import ConditionCode as ConditionId

RCX, RDX, RBX = 1, 2, 3


@handles("mov")
def _move(x: Operation) -> None:
    x.write(0, x.read(1))


@handles("syscall")
def _system_call(x: Operation) -> None:
    """sched_yield(2), number 24, which takes nothing and always returns 0."""
    if x.state.gpr[0] != 24:
        raise NotImplementedError(f"system call {x.state.gpr[0]}")
    x.state.gpr[0] = 0


@handles("lea")
def _address(x: Operation) -> None:
    x.write(0, x.address())


@handles("movzx")
def _move_zero_extended(x: Operation) -> None:
    x.write(0, x.read(1))


@handles("movsx", "movsxd")
def _move_sign_extended(x: Operation) -> None:
    x.write(0, signed(x.read(1), x.width(1)))


@handles("movbe")
def _move_big_endian(x: Operation) -> None:
    bits = x.width(0) if not x.is_memory(0) else x.width(1)
    data = x.read(1).to_bytes(bits // 8, "little")
    x.write(0, int.from_bytes(data, "big"))


@handles("movnti", "movdiri")
def _store(x: Operation) -> None:
    x.write(0, x.read(1))


@handles("movdir64b")
def _store_64_bytes(x: Operation) -> None:
    x.state.store(x.read(0), x.state.load(x.address(), 64))


def _logic(x: Operation, bits: int, result: int) -> None:
    x.result_flags(result, bits)
    x.flags(CF=0, OF=0)


@handles("and", "or", "xor", "test")
def _logical(x: Operation) -> None:
    a, b = x.read(0), x.read(1) & mask_of(x.width(0))
    result = {"and": a & b, "or": a | b, "xor": a ^ b, "test": a & b}[x.name]
    if x.name != "test":
        x.write(0, result)
    _logic(x, x.width(0), result)


@handles("andn")
def _and_not(x: Operation) -> None:
    result = ~x.read(1) & x.read(2) & mask_of(x.width(0))
    x.write(0, result)
    _logic(x, x.width(0), result)


def _sum_flags(x: Operation, a: int, b: int, total: int, bits: int, *, subtract: bool) -> None:
    result = total & mask_of(bits)
    x.result_flags(result, bits)
    overflow = (a ^ b) & (a ^ result) if subtract else (a ^ result) & (b ^ result)
    x.flags(CF=total < 0 or total > mask_of(bits), OF=overflow >> (bits - 1) & 1)
    x.flags(AF=(a ^ b ^ result) & 0x10)


@handles("add", "sub", "cmp", "adc", "sbb")
def _add(x: Operation) -> None:
    bits = x.width(0)
    a, b = x.read(0), x.read(1) & mask_of(bits)
    carry = x.state.rflags & CF if x.name in ("adc", "sbb") else 0
    subtract = x.name in ("sub", "cmp", "sbb")
    total = a - b - carry if subtract else a + b + carry
    if x.name != "cmp":
        x.write(0, total & mask_of(bits))
    _sum_flags(x, a, b, total, bits, subtract=subtract)


@handles("adcx", "adox")
def _add_one_flag(x: Operation) -> None:
    bits = x.width(0)
    flag = CF if x.name == "adcx" else OF
    total = x.read(0) + x.read(1) + bool(x.state.rflags & flag)
    x.write(0, total & mask_of(bits))
    if x.name == "adcx":
        x.flags(CF=total >> bits)
    else:
        x.flags(OF=total >> bits)


@handles("mulx")
def _multiply_without_flags(x: Operation) -> None:
    bits = x.width(0)
    product = (x.state.gpr[RDX] & mask_of(bits)) * x.read(2)
    # Low half first: if both destinations are one register it receives the high half.
    x.write(1, product & mask_of(bits))
    x.write(0, product >> bits)


_DOUBLE_WIDTH = {"shlx", "shrx", "sarx"}


@handles(*_DOUBLE_WIDTH)
def _shift_without_flags(x: Operation) -> None:
    bits = x.width(0)
    a, count = x.read(1), x.read(2) & (bits - 1)
    result = {"shlx": a << count, "shrx": a >> count, "sarx": signed(a, bits) >> count}[x.name]
    x.write(0, result)


@handles("rorx")
def _rotate_without_flags(x: Operation) -> None:
    bits = x.width(0)
    a, count = x.read(1), x.immediate & (bits - 1)
    x.write(0, a >> count | a << (bits - count))


@handles("bextr")
def _extract_bits(x: Operation) -> None:
    control = x.read(2)
    start, length = control & 0xFF, control >> 8 & 0xFF
    result = x.read(1) >> start & mask_of(length) & mask_of(x.width(0))
    x.write(0, result)
    x.flags(ZF=not result, CF=0, OF=0)


@handles("bzhi")
def _zero_high_bits(x: Operation) -> None:
    bits = x.width(0)
    index = x.read(2) & 0xFF
    a = x.read(1)
    result = a & mask_of(index) if index < bits else a
    x.write(0, result)
    x.result_flags(result, bits)
    x.flags(CF=index >= bits, OF=0)


@handles("blsr", "blsi", "blsmsk")
def _lowest_set_bit(x: Operation) -> None:
    bits = x.width(0)
    a = x.read(1)
    less = (a - 1) & mask_of(bits)
    result = {"blsr": a & less, "blsi": a & -a, "blsmsk": a ^ less}[x.name]
    x.write(0, result)
    x.result_flags(result, bits)
    x.flags(CF=a != 0 if x.name == "blsi" else a == 0, OF=0)
    if x.name == "blsmsk":
        x.flags(ZF=0)


_TBM = {
    "blcfill": lambda a: a & (a + 1),
    "blci": lambda a: a | ~(a + 1),
    "blcic": lambda a: ~a & (a + 1),
    "blcmsk": lambda a: a ^ (a + 1),
    "blcs": lambda a: a | (a + 1),
    "blsfill": lambda a: a | (a - 1),
    "blsic": lambda a: ~a | (a - 1),
    "t1mskc": lambda a: ~a | (a + 1),
    "tzmsk": lambda a: ~a & (a - 1),
}


@handles(*_TBM)
def _trailing_bits(x: Operation) -> None:
    """AMD's trailing bit manipulation (APM vol. 3): carry out of the increment or decrement."""
    bits = x.width(0)
    a = x.read(1)
    result = _TBM[x.name](a) & mask_of(bits)
    x.write(0, result)
    x.result_flags(result, bits)
    uses_decrement = x.name in ("blsfill", "blsic", "tzmsk")
    x.flags(CF=a == 0 if uses_decrement else a == mask_of(bits), OF=0)


@handles("lzcnt", "tzcnt")
def _count_zeros(x: Operation) -> None:
    bits = x.width(0)
    a = x.read(1)
    if x.name == "lzcnt":
        result = bits - a.bit_length()
    else:
        result = (a & -a).bit_length() - 1 if a else bits
    x.write(0, result)
    x.flags(CF=a == 0, ZF=result == 0)


@handles("popcnt")
def _population(x: Operation) -> None:
    a = x.read(1)
    x.write(0, a.bit_count())
    x.flags(ZF=a == 0, CF=0, OF=0, SF=0, AF=0, PF=0)


@handles("pdep", "pext")
def _deposit_or_extract(x: Operation) -> None:
    a, select = x.read(1), x.read(2)
    result = taken = 0
    for bit in range(x.width(0)):
        if select >> bit & 1:
            if x.name == "pdep":
                result |= (a >> taken & 1) << bit
            else:
                result |= (a >> bit & 1) << taken
            taken += 1
    x.write(0, result)


@handles("crc32")
def _checksum(x: Operation) -> None:
    """CRC-32C, reflected polynomial 0x82f63b78, no inversion (SDM vol. 2, CRC32)."""
    crc = x.read(0) & mask_of(32)
    crc ^= x.read(1)
    for _ in range(x.width(1)):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    x.write(0, crc)


def _condition(x: Operation, code: ConditionId) -> bool:
    f = x.state.rflags
    carry, zero, sign = bool(f & CF), bool(f & ZF), bool(f & SF)
    overflow, parity = bool(f & OF), bool(f & PF)
    table = {
        ConditionCode.O: overflow,
        ConditionCode.NO: not overflow,
        ConditionCode.B: carry,
        ConditionCode.AE: not carry,
        ConditionCode.E: zero,
        ConditionCode.NE: not zero,
        ConditionCode.BE: carry or zero,
        ConditionCode.A: not (carry or zero),
        ConditionCode.S: sign,
        ConditionCode.NS: not sign,
        ConditionCode.P: parity,
        ConditionCode.NP: not parity,
        ConditionCode.L: sign != overflow,
        ConditionCode.GE: sign == overflow,
        ConditionCode.LE: zero or sign != overflow,
        ConditionCode.G: not zero and sign == overflow,
    }
    return table[code]


_CONDITIONS = (*"obeasplg", "no", "ae", "ne", "be", "ns", "np", "ge", "le")


@handles(*(f"cmov{c}" for c in _CONDITIONS))
def _conditional_move(x: Operation) -> None:
    x.write(0, x.read(1) if _condition(x, x.instruction.condition_code) else x.read(0))


@handles(*(f"cmp{c}xadd" for c in (*_CONDITIONS, "z", "nz", "nb", "nbe", "nl", "nle")))
def _compare_and_add(x: Operation) -> None:
    """Compare memory with operand 1, add operand 2 if so; operand 1 gets the old memory."""
    bits = x.width(0)
    old, wanted, addend = x.read(0), x.read(1), x.read(2)
    _sum_flags(x, old, wanted, old - wanted, bits, subtract=True)
    x.write(
        0, (old + addend) & mask_of(bits) if _condition(x, x.instruction.condition_code) else old
    )
    x.write(1, old)


@handles("cmpxchg8b", "cmpxchg16b")
def _compare_exchange(x: Operation) -> None:
    half = 32 if x.name == "cmpxchg8b" else 64
    gpr, m = x.state.gpr, mask_of(half)
    old = x.read(0, 2 * half)
    expected = (gpr[RDX] & m) << half | gpr[0] & m
    if old == expected:
        x.write(0, (gpr[RCX] & m) << half | gpr[RBX] & m, 2 * half)
    else:
        gpr[0], gpr[RDX] = old & m, old >> half
    x.flags(ZF=old == expected)


@handles("lahf")
def _load_flags(x: Operation) -> None:
    flags = x.state.rflags & (SF | ZF | AF | PF | CF) | 2
    x.state.gpr[0] = x.state.gpr[0] & ~0xFF00 | flags << 8


@handles("sahf")
def _store_flags(x: Operation) -> None:
    seen = SF | ZF | AF | PF | CF
    x.state.rflags = x.state.rflags & ~seen | x.state.gpr[0] >> 8 & seen


@handles("stc", "clc")
def _set_carry(x: Operation) -> None:
    x.flags(CF=x.name == "stc")


@handles("umonitor")
def _monitor(x: Operation) -> None:
    """Arms a monitor, which nothing here can see."""


@handles("tpause", "umwait")
def _wait(x: Operation) -> None:
    """A deadline that has passed: CF says whether the kernel's limit ended the wait, so 0."""
    if x.state.gpr[0] or x.state.gpr[RDX]:
        raise UnsupportedInstruction("a wait with a deadline in the future")
    x.flags(CF=0, PF=0, AF=0, ZF=0, SF=0, OF=0)


@handles("rdpkru")
def _read_protection_keys(x: Operation) -> None:
    """EAX receives what the kernel chose, which the model does not know; EDX becomes zero."""
    x.state.gpr[RDX] = 0


@handles("fxsave")
def _save_legacy_state(x: Operation) -> None:
    """Only MXCSR and the XMM registers: the rest is the process's x87 state."""
    _store_sse(x)


def _store_sse(x: Operation) -> None:
    base = x.address()
    x.state.store(base + 24, x.state.mxcsr.to_bytes(4, "little"))
    for n in range(8):
        data = (x.state.vector[n] & mask_of(128)).to_bytes(16, "little")
        x.state.store(base + 160 + 16 * n, data)


@handles("xsave", "xsaveopt", "xsavec")
def _save_state(x: Operation) -> None:
    """Only the request EDX:EAX = 2, the SSE component (SDM vol. 1, 13.4 and 13.7 to 13.10)."""
    if x.state.gpr[0] != 2 or x.state.gpr[RDX]:
        raise UnsupportedInstruction("xsave of other components than SSE")
    _store_sse(x)
    base = x.address()
    x.state.store(base + 512, (2).to_bytes(8, "little"))
    if x.name == "xsavec":
        x.state.store(base + 520, (1 << 63 | 2).to_bytes(8, "little"))


_MASK_WIDTHS = {"b": 8, "w": 16, "d": 32, "q": 64}


@handles(*(f"kmov{s}" for s in _MASK_WIDTHS))
def _move_mask(x: Operation) -> None:
    bits = _MASK_WIDTHS[x.name[-1]]
    value = x.read(1) & mask_of(bits)
    x.write(0, value, bits if x.is_memory(0) else None)


_MASK_OPS = ("and", "andn", "or", "xor", "xnor", "add", "not")


@handles(*(f"k{op}{s}" for op in _MASK_OPS for s in _MASK_WIDTHS))
def _mask_operation(x: Operation) -> None:
    m = mask_of(_MASK_WIDTHS[x.name[-1]])
    a, b = x.read(1), x.read(x.operands - 1)
    result = {
        "and": a & b,
        "andn": ~a & b,
        "or": a | b,
        "xor": a ^ b,
        "xnor": ~(a ^ b),
        "add": (a & m) + (b & m),
        "not": ~a,
    }[x.name[1:-1]]
    x.write(0, result & m)


@handles(*(f"kshift{d}{s}" for d in "lr" for s in _MASK_WIDTHS))
def _mask_shift(x: Operation) -> None:
    bits = _MASK_WIDTHS[x.name[-1]]
    a, count = x.read(1) & mask_of(bits), x.immediate
    shifted = a << count if x.name[6] == "l" else a >> count
    x.write(0, shifted & mask_of(bits) if count < bits else 0)


@handles("kunpckbw", "kunpckwd", "kunpckdq")
def _mask_unpack(x: Operation) -> None:
    half = {"bw": 8, "wd": 16, "dq": 32}[x.name[-2:]]
    a, b = (x.read(i) & mask_of(half) for i in (1, 2))
    x.write(0, a << half | b)


@handles(*(f"{k}{s}" for k in ("kortest", "ktest") for s in _MASK_WIDTHS))
def _mask_test(x: Operation) -> None:
    m = mask_of(_MASK_WIDTHS[x.name[-1]])
    a, b = x.read(0) & m, x.read(1) & m
    if x.name.startswith("ko"):
        x.flags(ZF=not a | b, CF=a | b == m)
    else:
        x.flags(ZF=not a & b, CF=not ~a & b & m)
    x.flags(OF=0, SF=0, AF=0, PF=0)


@handles(*(f"pmovm2{s}" for s in _MASK_WIDTHS))
def _mask_to_vector(x: Operation) -> None:
    element = _MASK_WIDTHS[x.name[-1]]
    k = x.read(1)
    count = x.width(0) // element
    x.put([mask_of(element) * (k >> i & 1) for i in range(count)], element)


@handles(*(f"pmov{s}2m" for s in _MASK_WIDTHS))
def _vector_to_mask(x: Operation) -> None:
    element = _MASK_WIDTHS[x.name[4]]
    lanes = split(x.read(1), element, x.width(1) // element)
    x.put_mask([bool(a >> (element - 1)) for a in lanes])
