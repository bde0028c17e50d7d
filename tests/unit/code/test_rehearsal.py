"""What functions that ask leave behind on models of CPUs: functions made of bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest

pytest.importorskip("iced_x86")
native = pytest.importorskip("cpuprobe._native")
ffi, lib = native.ffi, native.lib

from cpuprobe.code import rehearsal, tiers  # noqa: E402
from cpuprobe.code.links import Links  # noqa: E402
from cpuprobe.code.program import Binary, CodeBytes, Relocations  # noqa: E402
from cpuprobe.code.ways import Ways  # noqa: E402

CODE, SLOT, STATIC = 0x1000, 0x4000, 0x5000
LEAF_7 = "53 b807000000 31c9 0fa2"  # push rbx; mov eax, 7; xor ecx, ecx; cpuid
LEAF_1 = "53 b801000000 0fa2"
END = "5b c3"
NO_SLOTS: Mapping[int, int | str] = MappingProxyType({})
RELA, SYMBOL = struct.Struct("<QIIQ"), struct.Struct("<IBBHQQ")
RELATIVE, JUMP_SLOT = 8, 7


class Rehearsed:
    """A file of one function, with what the loader puts into slots: an address, or what a name has.

    Attributes:
        rehearsals: of it.
    """

    def __init__(
        self, text: str, slots: Mapping[int, int | str] = NO_SLOTS, constants: bytes = b""
    ) -> None:
        file = Binary("x86-64", "executable", code=[CodeBytes(0, "", CODE, bytes.fromhex(text))])
        file.constants = [(STATIC, constants)]
        table, symbols, strings = b"", bytes(SYMBOL.size), b"\0"
        for slot, what in slots.items():
            if isinstance(what, int):
                table += RELA.pack(slot, RELATIVE, 0, what)
            else:
                table += RELA.pack(slot, JUMP_SLOT, len(symbols) // SYMBOL.size, 0)
                symbols += SYMBOL.pack(len(strings), 0x12, 0, 0, 0, 0)
                strings += what.encode() + b"\0"
        file.relocations = Relocations([table], symbols, strings)
        links = Links(file)
        self._ways = Ways(file, links)
        self.rehearsals = rehearsal.Rehearsals(file, links, self._ways)

    def look(self, start: int = CODE) -> rehearsal.Outcome:
        """What it does."""
        return self.rehearsals.of(start)

    def returned(self) -> int | None:
        """What it returns, on all CPUs; None where that is not known."""
        made = self.rehearsals.lent()
        lib.executed_look(made, CODE)
        return made.returned.value if made.returned.is_known else None

    def numbers(self, fact: int) -> list[int]:
        """What is known of a value, of which all is: the number on CPUs of each tier."""
        bits = self._ways.known.fact[fact & lib.MOST_FACTS - 1]
        assert fact & lib.FACT_BITS
        return list(bits.ones)


# What is returned; None: it is not known; Lost: nor how it goes on.
Lost = "Lost"
LEFT = {
    "b8ffffffff 83c001 c3": 0,  # mov eax, -1; add eax, 1
    "48c7c0ffffffff 4883c002 0f92c0 c3": 1,  # add rax, 2; setc al: of RAX is left 1
    "b805000000 83e806 0f9cc0 0fb6c0 c3": 1,  # sub eax, 6; setl al; movzx
    "b805000000 83e806 7d05 b807000000 c3": 7,  # jge over it
    "b8feffffff f9 c3": Lost,  # stc
    "b805000000 31c9 83e901 83d000 c3": 6,  # sub ecx, 1; adc eax, 0
    "31c9 83e901 19c0 c3": 0xFFFFFFFF,  # sbb eax, eax, whatever it was
    "31c9 ffc9 b801000000 7902 b002 c3": 2,  # dec ecx; jns over mov al, 2
    "31c0 b405 0fb6c4 c3": 5,  # mov ah, 5; movzx eax, ah
    "b805000000 48894424f0 660fefc0 0f164424f0 0f114424e0 488b4424e8 c3": 5,  # movhps
    "b805000000 48894424f0 0f164424f0 0f174424d0 488b4424d0 c3": 5,  # and from there
    "b805000000 48894424f0 f30f104424f0 0f114424e0 488b4424e0 c3": 5,  # movss: the others are zero
    "b805000000 48894424f0 f30f10c1 f30f114424f0 8b4424f0 c3": None,  # movss xmm0, xmm1; back
    "b800120000 0fb6c4 c3": 0x12,  # movzx eax, ah
    "b8f0ffffff c1f802 25ff000000 c3": 0xFC,  # sar eax, 2; and eax, 255
    "b801000000 d1e8 b800000000 83d000 c3": 1,  # shr eax, 1: the bit is the carry
    "b801000000 b923000000 d3e0 c3": 8,  # shl eax, cl: of 35 the lowest five bits
    "b801000000 31d2 31c9 39d2 d3e2 0f94c0 c3": 1,  # by 0: flags are as they were
    "48b80000000000000080 31d2 480fa4c201 4889d0 c3": 1,  # shld rdx, rax, 1
    "b803000000 f7d8 c3": 0xFFFFFFFD,  # neg eax
    "b803000000 f7d0 c3": 0xFFFFFFFC,  # not eax
    "b801000000 0fbae005 0f42c1 c3": 1,  # bt eax, 5; cmovc eax, ecx: which is not known
    "b820000000 0fbae005 0f42c1 c3": None,
    "31c0 0fbae828 c3": 256,  # bts eax, 40
    "89c8 c3": None,  # mov eax, ecx
    "31c8 c3": None,
    "89c8 31c0 c3": 0,  # xor eax, eax
    "83e100 89c8 c3": 0,  # and ecx, 0
    "85c9 7400 b801000000 c3": Lost,  # test ecx, ecx; je
    "b805000000 50 31c0 58 c3": 5,  # push rax; pop rax
    "b805010000 89442490 0fb6442491 c3": 1,  # a byte of what was stored
    "b805010000 6689442497 8b442494 c3": None,  # of four bytes two are known
    "b805000000 e801000000 c3 83c002 c3": 7,  # call of what stands behind it
    "8b05fa3f0000 c3": None,  # mov eax, [0x5000]
    "b805000000 8905f53f0000 8b05ef3f0000 c3": 5,  # [0x5000] is written before
    "488b05f92f0000 c3": STATIC,  # mov rax, [0x4000]: the loader has put it there
    "b805000000 660f6ec0 0f114424e0 488b4424e8 c3": 0,  # movd xmm0, eax; movups; the upper half
    "660fefc0 f30f7f4424e0 488b4424e4 c3": 0,  # pxor xmm0, xmm0; movdqu
    "0f100c24 660fefc8 660f7ec8 c3": None,  # pxor xmm1, xmm0
    "b807000000 87c1 b900000000 c3": None,  # xchg eax, ecx
    "55 4889e5 6a05 58 c9 c3": 5,  # push rbp; mov rbp, rsp; push 5; pop rax; leave
    "c60100 c3": Lost,  # mov byte [rcx], 0
    "b800000000 cd80 c3": Lost,  # int 0x80
    "31c0 c5f9efc0 c3": 0,  # vpxor
    "660f6ec0 c5f9efc0 66480f7ec0 c3": None,  # of its result nothing is known
    "b805000000 89442490 b920000000 0fa34c248c 0f92c0 0fb6c0 c3": 1,  # bt [rsp-116], ecx
    "b8ffffffff 48c7c1ffffffff 89442490 0fb34c2494 8b442490 c3": 0x7FFFFFFF,  # btr, of bit -1
    "b801000080 d1c0 c3": 3,  # rol eax, 1
    "b801000080 c1c81f c3": 3,  # ror eax, 31
    "b803000000 6bc0fe c3": 0xFFFFFFFA,  # imul eax, eax, -2
    "b8000000f0 4898 48c1e828 c3": 0xFFFFFF,  # cdqe; shr rax, 40
    "b8000000f0 99 89d0 c3": 0xFFFFFFFF,  # cdq
    "b805000000 ba07000000 89442490 0fb1542490 8b442490 c3": 7,  # cmpxchg of what it is
    "b806000000 ba07000000 c744249005000000 0fb1542490 c3": 5,  # of what it is not
    "b806000000 c744249005000000 0fc1442490 03442490 c3": 16,  # xadd; add
    "b805000000 660f6ec0 660f6cc0 0f114424e0 488b4424e8 c3": 5,  # punpcklqdq
    "ebfe": Lost,  # jmp to itself
    "ff25fa2f0000": Lost,  # jmp [0x4000]: no code is there
    "6a05 64488b042528000000 58 642b042528000000 c3": 5,  # of fs:[40]: it stays as it is
    "65488b042528000000 c3": None,  # gs
    "e8fbffffff": Lost,  # it calls itself: there is not that much memory
}


def test_operations_do_what_the_manual_says():
    for text, value in LEFT.items():
        wanted = value if isinstance(value, int) else None
        # Who calls it returns 0 where a run comes back from it.
        caller = CODE + len(bytes.fromhex(text))
        called = text + f"e8{(CODE - caller - 5 & 0xFFFFFFFF).to_bytes(4, 'little').hex()} 31c0 c3"
        of_caller = Rehearsed(called, {SLOT: STATIC}).look(caller).returned

        assert Rehearsed(text, {SLOT: STATIC}).returned() == wanted, text
        assert (of_caller is None) is (value is Lost), text


@pytest.mark.parametrize(
    ("tier", "leaf", "register", "bit", "has"),
    [
        (tiers.V2, 1, 2, 20, True),  # SSE4.2
        (tiers.MORE, 1, 2, 28, False),  # AVX
        (tiers.AVX, 1, 2, 28, True),
        (tiers.MORE, 1, 2, 27, False),  # OSXSAVE
        (tiers.AVX, 7, 1, 5, True),  # AVX2
        (tiers.AVX, 7, 1, 16, False),  # AVX512F
        (tiers.TOP, 7, 1, 16, True),
    ],
)
def test_models_have_the_features_of_their_tier(tier, leaf, register, bit, has):
    for model in rehearsal.models()[2 * tier : 2 * tier + 2]:
        rows = {each.leaf: each for each in model.leaves if each.subleaf in (0, lib.ANY_SUBLEAF)}
        assert rows[leaf].known >> register & 1
        assert bool(rows[leaf].words[register] >> bit & 1) is has
        assert model.xcr0 & 6 == (6 if tier >= tiers.AVX else 2)


def test_a_word_of_the_programs_own_is_known_by_its_bits():
    """SSE4.2 as bit 3, AVX2 as bit 1: and 1 << 20; shr 17; mov to [0x5000]."""
    store = "8905"  # mov [0x5000], eax
    first = LEAF_1 + "81e100001000 c1e911 89ce"  # ecx & 1 << 20, >> 17, to esi
    second = "b807000000 31c9 0fa2 83e320 c1eb04 09de 89f0"  # ebx & 32, >> 4; or esi; to eax
    head = first + second + store
    at = CODE + len(bytes.fromhex(head)) + 4
    made = Rehearsed(head + (STATIC - at).to_bytes(4, "little").hex() + END)
    labels, fact = made.look().statics[STATIC]

    assert made.numbers(fact) == [0, 8, 8, 10, 10]
    assert labels == lib.TELLS_V2 | lib.TELLS_AVX


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (LEAF_7 + "31c0 f6c320 0f95c0" + END, [0, 0, 0, 1, 1]),  # setne al
        (LEAF_7 + "31c0 f6c320 0f94c0" + END, [1, 1, 1, 0, 0]),  # sete al
        (LEAF_1 + "31c0 f7c100001000 0f95c0" + END, [0, 1, 1, 1, 1]),
        (LEAF_1 + "b803000000" + END, None),  # it is 3, whatever the CPU
    ],
)
def test_an_answer_is_a_number_on_cpus_that_lack_a_tier(
    text: str, answers: Sequence[int] | None
) -> None:
    made = Rehearsed(text)
    returned = made.look().returned

    assert returned is not None
    assert (returned == (0, 0)) is (answers is None)
    assert answers is None or made.numbers(returned[1]) == answers


def test_what_stands_in_a_table_of_constants_is_known():
    """test bl, 32; setne al; mov eax, [4 * rax + 0x5000]: of two numbers, or behind the end."""
    text = LEAF_7 + "31c0 f6c320 0f95c0 8b048500500000" + END
    table = struct.pack("<2I", 3, 9)
    made = Rehearsed(text, constants=table)
    returned = made.look().returned

    assert returned is not None
    assert made.numbers(returned[1]) == [3, 3, 3, 9, 9]
    assert Rehearsed(text, constants=table[:7]).look() == ({}, None)


def test_nothing_is_said_of_what_hangs_on_the_model():
    """CPUID.1:EAX differs from CPU to CPU: mov eax, [what it says]; and cmp of it."""
    for text in (LEAF_1 + END, LEAF_1 + "3dc3060300 0f92c0" + END):
        assert Rehearsed(text).look() == ({}, None)


def test_steps_are_bounded():
    made = Rehearsed("ebfe" * 64)
    for start in range(CODE, CODE + 128, 2):
        made.look(start)

    assert 0 < made.rehearsals.made <= rehearsal.MOST_STEPS


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        (
            LEAF_7 + "f6c320 7507 e800000000 0f0b 5b c3",
            tiers.AVX,
        ),  # test bl, 32; jne over a call; ud2
        (
            LEAF_7 + "f6c320 7407 e800000000 0f0b 5b c3",
            tiers.NONE,
        ),  # je: the others do not come back
        (LEAF_1 + "f7c100001000 7507 e800000000 0f0b 5b c3", tiers.V2),
        (LEAF_7 + "f6c320 7506 e800000000 90 5b c3", tiers.NONE),  # what is called may return
        (LEAF_7 + "5b c3", tiers.NONE),
    ],
)
def test_who_does_not_come_back_is_refused(text, tier):
    assert Rehearsed(text).rehearsals.refuses(CODE) == tier


def test_memory_that_is_asked_for_is_there():
    """call [0x4000], which is malloc's; test rax, rax; je to itself; mov byte [rax], 5; movzx."""
    text = "ff15fa2f0000 4885c0 74fe c60005 0fb600 c3"

    assert Rehearsed(text, {SLOT: "malloc"}).returned() == 5
    assert Rehearsed(text, {SLOT: "puts"}).returned() is None
