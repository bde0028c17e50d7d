"""The formats that are known, one row each: adding one is a module in formats/ and a row here.

A format is looked at only if a text holds one of its marks, so that a paste costs what it holds.
The order is from the particular to the general: a format takes its lines off those after it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.evidence.machines.sighting import Format


class Row(NamedTuple):
    """A format's name, and literals of which every text of it holds at least one."""

    name: str
    marks: tuple[str, ...]

    def load(self) -> Format:
        """The format's card."""
        module = importlib.import_module(f"cpuprobe.evidence.machines.formats.{self.name}")
        card: Format = module.FORMAT
        return card


OWN = (
    Row("data_block", ("BEGIN CPUPROBE REPORT",)),
    Row("share_code", ("cpuprobe",)),
)
"""What cpuprobe itself wrote, the fullest first."""
ROWS = (
    *OWN,
    Row(
        "nothing",
        (
            "Recognized CPUID flags",
            "x86 ",
            "system_info",
            "AVX = ",
            "FCMOV",
            "Dispatched code",
            "JSON",
            "feature ",
            "psABI",
        ),
    ),
    Row("cpuid_raw", ("eax=0x", "EAX=0x")),
    Row("cpuid_table", ("eax in ", "function  ", "Leaf no.")),
    Row("cpuid_rows", ("eax_in=", " => ", "cpuid level ", "eax in: ")),
    Row("esxi", ("vim.host.CpuIdInfo", 'ecx = "')),
    Row("vmware", ("CPUID level ", "guest level ", "host level ")),
    Row("aida64", ("PUID ", "PUID\t", "cpuid 0", "cpuid 8")),
    Row("libcpuid", ("cpuid[", "_fn")),
    Row("virtualbox", ("Gst: ", "Hst: ", "= 0 (", "= 1 (")),
    Row("cpu_z", ("CPU-Z", "CPU Thread ", "Instructions set")),
    Row("cpuid_decoded", ("= true", "= false")),
    Row("coreinfo", ("Coreinfo", "\t*\t", "  *  ", "\t-\t", "  -  ", " * ", " - ")),
    Row(
        "rows",
        (
            "kX86Cpu",
            "OS_AVX",
            "OS AVX",
            "Supported ISAs",
            "CPU Feature Support:",
            "Vector instructions",
            "Scalar instructions:",
            "has_sse4_1 ",
            "_INSTRUCTIONS_AVAILABLE",
            "kernel_fpu_allowed",
        ),
    ),
    Row("freebsd", ("Features=0x", "Features2=0x", "Instruction Set Attributes")),
    Row("netbsd", ("cpu0: features", "cpu0: xsave")),
    Row("openbsd", ("cpu0: ",)),
    Row("illumos", ("bit amd64 app", "sparcv9", "x86 (", "amd64: ")),
    Row("haiku", ("Extended Features (0x",)),
    Row("macos_sysctl", ("machdep.cpu", "hw.optional", "FPU VME DE PSE")),
    Row("osquery", ("output_register",)),
    Row("qmp", ('"props"',)),
    Row("firefox", ("hasSSE", "hasNEON")),
    Row("cpu_x", ("Instructions: ",)),
    Row(
        "py_cpuinfo",
        ("Vendor ID Raw", "Brand Raw", "_raw:", '_raw"', "Cpuinfo Version", "Raw Arch String"),
    ),
    Row("cpu_features", ("uarch", "arch  ", "arch\t", '"arch"')),
    Row("klauspost", ("Features:", '"Features"')),
    Row("lshw", ("capabilities",)),
    Row("hwinfo", ("Features:",)),
    Row("hwinfo_windows", ("Present",)),
    Row("inxi", ("lags: ", "Topology:", "Info:")),
    Row("numpy", ("simd_extensions", "SIMD ", "'SSE42': ")),
    Row("jfr", ("eatures: e",)),
    Row("jvm", ("CPU: total", "CPU:total")),
    Row("v8", ("SSE3=",)),
    Row("wasmtime_settings", ("Settings inferred for",)),
    Row("bun", ("Bun v", "Bun Canary")),
    Row("glibc", ("x86-64-v", "x86.cpu_features", "AT_PLATFORM", "uname.machine")),
    Row("cpuid2cpuflags", ("CPU_FLAGS_",)),
    Row("openssl", ("OPENSSL_",)),
    Row("xen", ("hw_caps", "xen_caps")),
    Row("prometheus", ("node_cpu_",)),
    Row("nfd", ("feature.node.kubernetes.io",)),
    Row("libvirt", ("<cpu", "<feature ")),
    Row("spectre_checker", ("CPU is ", "/sys interface")),
    Row("gcc", ("[enabled]", "[disabled]", " -m", '"-m', "-target-feature", "target_", "#define ")),
    Row("lscpu", (":",)),
    Row("proc_cpuinfo", ("flags", "vendor_id", "processor", "CPU implementer", "cpu\t", "cpu  ")),
    Row("kernel_boot", ("x86/fpu", "xstate_bv", "GDS: ", "CPU0: ", "Booting Linux", "SBI spec")),
    Row("kernel_words", ("Linux ", "vulnerabilities", ": ", "ommand line", "BOOT_IMAGE")),
)
FALLBACKS = (
    Row(
        "listed",
        (
            "apabilities",
            "CPU: ",
            "Host CPU",
            "Threads |",
            "ISA ",
            "HardwareIntrinsics",
            "eatures: ",
            "features:",
            "nstruction",
            "Extensions:",
            "Feature Level",
            "CPUflags",
            "CPU extensions",
            "CPU capabilities",
            "asm level",
            "_verbose,",
            "MKL_VERBOSE",
            "instruction sets",
            "hwflist",
            "Feature",
        ),
    ),
    Row("flags_list", ("f", "sse", "avx")),
    Row("identity", ("Intel", "AMD", "Apple M", "KVM processor", "QEMU Virtual", "VIA ")),
)
"""What is looked for only where none of ROWS saw a feature."""


def rows_for(text: str, rows: tuple[Row, ...] = ROWS) -> Iterator[Row]:
    """The rows one of whose marks is in a text."""
    return (row for row in rows if any(mark in text for mark in row.marks))
