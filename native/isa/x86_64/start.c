/*
 * Where the kernel enters cpuprobe-native: hands the initial stack to main.c.
 */
__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".globl _start\n"
        "_start:\n"
        "xor %ebp, %ebp\n"
        "mov %rsp, %rdi\n"
        "and $-16, %rsp\n"
        "call start\n"
        "hlt\n"
        ".popsection\n");
