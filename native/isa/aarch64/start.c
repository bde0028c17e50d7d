/*
 * Where the kernel enters cpuprobe-native: hands the initial stack to main.c, which runs on a stack
 * of its own. The kernel's may have no room left (ulimit -s 8).
 */
__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".globl _start\n"
        "_start:\n"
        "bti c\n"
        "mov x29, #0\n"
        "mov x30, #0\n"
        "mov x0, sp\n"
        "adrp x1, own_stack_end\n"
        "add x1, x1, :lo12:own_stack_end\n"
        "mov sp, x1\n"
        "bl start\n"
        "brk #0\n"
        ".popsection\n"
        ".pushsection .bss\n"
        ".balign 16\n"
        ".skip 262144\n"
        "own_stack_end:\n"
        ".skip 16\n"
        ".popsection\n");
