"""Programs in Go whose assembly is beyond x86-64-v2, and what becomes of them.

Each is (what it does on a CPU without AVX2, source), as in samples.py. All are packages of one
module: with what HEAD and ASSEMBLY have, the package `cpu`, and what they import.
"""

from __future__ import annotations

MODULE = "module samples\n\ngo 1.18\n"
HEAD = """package main

import "os"

func fast(a []float32)
func cpuid(eaxArg, ecxArg uint32) (eax, ebx, ecx, edx uint32)
func xgetbv() (eax, edx uint32)

func slow(a []float32) {
	for i := range a {
		a[i] = a[i]*a[i] + 1
	}
}

func has() bool { _, b, _, _ := cpuid(7, 0); return b>>5&1 != 0 }

func main() { a := make([]float32, 1000); work(a, len(os.Args)); println(a[7]) }
"""
ASSEMBLY = """#include "textflag.h"
TEXT ·fast(SB), NOSPLIT, $0-24
	MOVQ a_base+0(FP), DI
	VMOVUPS (DI), Y0
	VPADDD Y0, Y0, Y1
	VFMADD231PS Y0, Y0, Y1
	VMOVUPS Y1, (DI)
	VZEROUPPER
	RET
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL eaxArg+0(FP), AX
	MOVL ecxArg+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET
TEXT ·xgetbv(SB), NOSPLIT, $0-8
	MOVL $0, CX
	XGETBV
	MOVL AX, eax+0(FP)
	MOVL DX, edx+4(FP)
	RET
"""
TESTED = """TEXT ·tested(SB), NOSPLIT, $0-24
	MOVQ a_base+0(FP), DI
	CMPB ·hasAVX2(SB), $1
	JNE  none
	VMOVUPS (DI), Y0
	VPADDD Y0, Y0, Y1
	VMOVUPS Y1, (DI)
	VZEROUPPER
none:
	RET
"""
"""The assembly of `tested_in_asm`, besides."""
CPU = """package cpu

func fast(a []float32)
func cpuid(eaxArg, ecxArg uint32) (eax, ebx, ecx, edx uint32)
func xgetbv() (eax, edx uint32)

var X86 struct {
	_                       [64]byte
	HasAVX, HasAVX2, HasFMA bool
	_                       [64]byte
}

type Info struct {
	Name string
	Bits [4]uint64
}

var CPU Info

func init() {
	max, _, _, _ := cpuid(0, 0)
	if max < 7 {
		return
	}
	_, _, c, _ := cpuid(1, 0)
	os := false
	if c>>27&1 != 0 {
		e, _ := xgetbv()
		os = e&6 == 6
	}
	X86.HasAVX = c>>28&1 != 0 && os
	_, b, _, _ := cpuid(7, 0)
	X86.HasAVX2 = b>>5&1 != 0 && os
	X86.HasFMA = c>>12&1 != 0 && os
	detect(&CPU)
}

//go:noinline
func detect(i *Info) { _, b, _, _ := cpuid(7, 0); i.Bits[0] = uint64(b); i.Name = "x" }

//go:noinline
func (i *Info) Supports(n uint) bool { return i.Bits[n/64]>>(n%64)&1 != 0 }

func (i *Info) Has(n uint) bool { return i.Bits[n/64]>>(n%64)&1 != 0 }
"""
IMPORTS = ("errors", "fmt", "reflect", "samples/cpu", "sort", "sync")
"""What sources name is imported."""

GO = {
    "unasked": (
        "dies",
        """
        //go:noinline
        func work(a []float32, n int) { fast(a) }
        """,
    ),
    "init": (
        "runs",
        """
        var hasAVX2 bool
        func init() { hasAVX2 = has() }
        //go:noinline
        func work(a []float32, n int) { if hasAVX2 { fast(a) } else { slow(a) } }
        """,
    ),
    "order": (
        "dies",
        """
        var hasSSE42 bool
        func init() { _, _, c, _ := cpuid(1, 0); hasSSE42 = c>>20&1 != 0 }
        //go:noinline
        func work(a []float32, n int) { if hasSSE42 { fast(a) } else { slow(a) } }
        """,
    ),
    "direct": (
        "runs",
        """
        //go:noinline
        func work(a []float32, n int) { if has() { fast(a) } else { slow(a) } }
        """,
    ),
    "direct_too_low": (
        "dies",
        """
        func has42() bool { _, _, c, _ := cpuid(1, 0); return c>>20&1 != 0 }
        //go:noinline
        func work(a []float32, n int) { if has42() { fast(a) } else { slow(a) } }
        """,
    ),
    "pointer": (
        "runs",
        """
        var impl = slow
        func init() { if has() { impl = fast } }
        //go:noinline
        func work(a []float32, n int) { impl(a) }
        """,
    ),
    "pointer_returned": (
        "runs",
        """
        func choose() func([]float32) { if has() { return fast }; return slow }
        var impl = choose()
        //go:noinline
        func work(a []float32, n int) { impl(a) }
        """,
    ),
    "pointer_always": (
        "dies",
        """
        var impl = fast
        //go:noinline
        func work(a []float32, n int) { if n > 77 { impl = slow }; impl(a) }
        """,
    ),
    "goroutine": (
        "dies",
        """
        //go:noinline
        func work(a []float32, n int) { c := make(chan bool); go func() { fast(a)
            c <- true }(); <-c }
        """,
    ),
    "interface": (
        "runs",
        """
        type K interface{ run(a []float32) }
        type A struct{ n int }
        type B struct{ n int }
        func (x A) run(a []float32) { fast(a) }
        func (x B) run(a []float32) { slow(a) }
        func pick() K { if has() { return A{1} }; return B{2} }
        //go:noinline
        func work(a []float32, n int) { pick().run(a) }
        """,
    ),
    "interface_always": (
        "dies",
        """
        type K interface{ run(a []float32) }
        type A struct{ n int }
        type B struct{ n int }
        func (x A) run(a []float32) { fast(a) }
        func (x B) run(a []float32) { slow(a) }
        func pick(n int) K { if n < 50 { return A{n} }; return B{n} }
        //go:noinline
        func work(a []float32, n int) { pick(n).run(a) }
        """,
    ),
    "struct": (
        "runs",
        """
        type cpu struct { pad [64]byte; sse, avx, avx2 bool }
        var X cpu
        func init() { max, _, _, _ := cpuid(0, 0); if max < 7 { return }; _, _, c,
            _ := cpuid(1, 0); os := c>>27&1 != 0; if os { e, _ := xgetbv()
            os = e&6 == 6 }; _, b, _, _ := cpuid(7, 0); X.avx2 = b>>5&1 != 0 && os }
        //go:noinline
        func work(a []float32, n int) { if X.avx2 { fast(a) } else { slow(a) } }
        """,
    ),
    "panic": (
        "refuses",
        """
        func init() { if !has() { panic("needs AVX2") } }
        //go:noinline
        func work(a []float32, n int) { fast(a) }
        """,
    ),
    "exit": (
        "refuses",
        """
        //go:noinline
        func work(a []float32, n int) { if !has() { os.Exit(3) }; fast(a) }
        """,
    ),
    "table": (
        "dies",
        """
        var table = [...]func([]float32){slow, fast, slow}
        //go:noinline
        func work(a []float32, n int) { table[n%3](a) }
        """,
    ),
    "closure_guarded": (
        "runs",
        """
        //go:noinline
        func work(a []float32, n int) { f := func() { slow(a) }; if has() {
            f = func() { fast(a) } }; call(f) }
        //go:noinline
        func call(f func()) { f() }
        """,
    ),
    "defer_guarded": (
        "runs",
        """
        //go:noinline
        func work(a []float32, n int) { if has() { defer fast(a) }; slow(a) }
        """,
    ),
    "once_always": (
        "dies",
        """
        var once sync.Once
        var impl func([]float32)
        //go:noinline
        func work(a []float32, n int) { once.Do(func() { impl = slow; if n < 70 {
            impl = fast } }); impl(a) }
        """,
    ),
    "once_bool": (
        "runs",
        """
        var once sync.Once
        var ok bool
        //go:noinline
        func work(a []float32, n int) { once.Do(func() { ok = has() }); if ok {
            fast(a) } else { slow(a) } }
        """,
    ),
    "map": (
        "dies",
        """
        var m = map[string]func([]float32){"a": slow, "b": fast}
        //go:noinline
        func work(a []float32, n int) { m["b"](a) }
        """,
    ),
    "static_interface": (
        "dies",
        """
        type K interface{ run(a []float32) }
        type A struct{ n int }
        func (x *A) run(a []float32) { fast(a) }
        var k K = &A{1}
        //go:noinline
        func work(a []float32, n int) { k.run(a) }
        """,
    ),
    "method_value": (
        "dies",
        """
        type A struct{ n int }
        func (x *A) run(a []float32) { fast(a) }
        //go:noinline
        func work(a []float32, n int) { x := &A{n}; call(x.run, a) }
        //go:noinline
        func call(f func([]float32), a []float32) { f(a) }
        """,
    ),
    "generic": (
        "dies",
        """
        type K interface{ Run(a []float32) }
        type A struct{ n int }
        func (x A) Run(a []float32) { fast(a) }
        //go:noinline
        func do[T K](t T, a []float32) { t.Run(a) }
        //go:noinline
        func work(a []float32, n int) { do(A{n}, a) }
        """,
    ),
    "package_copy": (
        "runs",
        """
        var use = cpu.X86.HasAVX2
        //go:noinline
        func work(a []float32, n int) { if use { fast(a) } else { slow(a) } }
        """,
    ),
    "package_bits": (
        "runs",
        """
        //go:noinline
        func work(a []float32, n int) { if cpu.CPU.Supports(5) { fast(a) } else {
            slow(a) } }
        """,
    ),
    "package_bits_inline": (
        "runs",
        """
        //go:noinline
        func work(a []float32, n int) { if cpu.CPU.Has(5) { fast(a) } else {
            slow(a) } }
        """,
    ),
    "package_other": (
        "dies",
        """
        //go:noinline
        func work(a []float32, n int) { if cpu.X86.HasAVX2 { println(1) }
            fast(a) }
        """,
    ),
    "object_flag": (
        "runs",
        """
        type opt struct { a int; avx2 bool }
        //go:noinline
        func made() *opt { return &opt{1, has()} }
        //go:noinline
        func work(a []float32, n int) { o := made(); if o.avx2 { fast(a) } else {
            slow(a) } }
        """,
    ),
    "level": (
        "runs",
        """
        //go:noinline
        func level() int { if has() { return 3 }; return 1 }
        //go:noinline
        func work(a []float32, n int) { switch level() { case 1: slow(a)
            case 2: println(2); case 3: fast(a); case 4: println(4); case 5: println(5) } }
        """,
    ),
    "flags": (
        "runs",
        """
        var flags uint
        func init() { _, _, c, _ := cpuid(1, 0); if c>>20&1 != 0 { flags |= 1 }; if has() {
            flags |= 2 } }
        //go:noinline
        func work(a []float32, n int) { if flags&2 != 0 { fast(a) } else {
            slow(a) } }
        """,
    ),
    "error_fallback": (
        "runs",
        """
        var errNo = errors.New("needs AVX2")
        //go:noinline
        func try(a []float32) error { if !has() { return errNo }; fast(a)
            return nil }
        //go:noinline
        func work(a []float32, n int) { if err := try(a); err != nil { slow(a) } }
        """,
    ),
    "tested_in_asm": (
        "runs",
        """
        var hasAVX2 bool
        func init() { hasAVX2 = has() }
        func tested(a []float32)
        //go:noinline
        func work(a []float32, n int) { tested(a); slow(a) }
        """,
    ),
    "after": (
        "dies",
        """
        //go:noinline
        func work(a []float32, n int) { fast(a); if has() { fast(a) } else {
            slow(a) } }
        """,
    ),
    "both": (
        "dies",
        """
        //go:noinline
        func work(a []float32, n int) { if has() { println(1); fast(a) } else {
            println(2); fast(a) } }
        """,
    ),
    "var_leak": (
        "dies",
        """
        //go:noinline
        func first() float32 { a := make([]float32, 8); fast(a); return a[1] }
        var sum = first()
        //go:noinline
        func work(a []float32, n int) { a[1] = sum; slow(a) }
        """,
    ),
    "sort": (
        "dies",
        """
        type S []float32
        func (s S) Len() int { return len(s) }
        func (s S) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
        func (s S) Less(i, j int) bool { fast(s); return s[i] < s[j] }
        //go:noinline
        func work(a []float32, n int) { sort.Sort(S(a)) }
        """,
    ),
    "less": (
        "dies",
        """
        //go:noinline
        func work(a []float32, n int) { sort.Slice(a, func(i, j int) bool {
            fast(a); return a[i] < a[j] }) }
        """,
    ),
    "struct_ops": (
        "runs",
        """
        type ops struct { f, g func([]float32) }
        var newOps = ops{fast, fast}
        var oldOps = ops{slow, slow}
        var use *ops
        func init() { use = &oldOps; if has() { use = &newOps } }
        //go:noinline
        func work(a []float32, n int) { use.f(a); use.g(a) }
        """,
    ),
    "struct_copy": (
        "runs",
        """
        type ops struct { f, g func([]float32) }
        var newOps = ops{fast, fast}
        var use = ops{slow, slow}
        func init() { if has() { use = newOps } }
        //go:noinline
        func work(a []float32, n int) { use.f(a); use.g(a) }
        """,
    ),
    "pointer_lowered": (
        "runs",
        """
        var impl = fast
        func init() { if !has() { impl = slow } }
        //go:noinline
        func work(a []float32, n int) { impl(a) }
        """,
    ),
    "field_func_always": (
        "dies",
        """
        type enc struct { f func([]float32) }
        //go:noinline
        func newEnc(n int) *enc { e := &enc{slow}; if n < 60 { e.f = fast }
            return e }
        //go:noinline
        func work(a []float32, n int) { newEnc(n).f(a) }
        """,
    ),
    "indexed_level": (
        "runs",
        """
        var table = [...]func([]float32){slow, fast}
        var level int
        func init() { if has() { level = 1 } }
        //go:noinline
        func work(a []float32, n int) { table[level](a) }
        """,
    ),
    "codecs": (
        "dies",
        """
        type codec struct { name string; f func([]float32) }
        var all = []codec{{"one", slow}, {"two", fast}}
        //go:noinline
        func work(a []float32, n int) { for _, c := range all { c.f(a) } }
        """,
    ),
    "param": (
        "runs",
        """
        //go:noinline
        func run(a []float32, avx bool) { if avx { fast(a) } else { slow(a) } }
        //go:noinline
        func work(a []float32, n int) { run(a, has()) }
        """,
    ),
    "param_always": (
        "dies",
        """
        //go:noinline
        func run(a []float32, big bool) { if big { fast(a) } else { slow(a) } }
        //go:noinline
        func work(a []float32, n int) { run(a, len(a) > n) }
        """,
    ),
}
