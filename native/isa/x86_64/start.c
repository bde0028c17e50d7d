/*
 * Where the kernel enters cpuprobe-native: hands the initial stack to main.c, which runs on a stack
 * of its own. The kernel's may have no room left (ulimit -s 8).
 */
__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".globl _start\n"
        "_start:\n"
        "xor %ebp, %ebp\n"
        "mov %rsp, %rdi\n"
        "lea own_stack_end(%rip), %rsp\n"
        "call start\n"
        "hlt\n"
        ".popsection\n"
        ".pushsection .bss\n"
        ".balign 16\n"
        ".skip 262144\n"
        "own_stack_end:\n"
        ".popsection\n");
