/*
 * Entry and exit of candidates on x86-64, in assembly.
 *
 * enter_candidate loads the state class of the candidate, jumps to its bytes, and every candidate
 * ends in a direct jump to candidate_return, which stores the state again. No call and no return,
 * so a shadow stack has nothing to compare. r12-r15, rbp and rsp are ours; candidates use none of
 * them.
 */
#include "../../guard.h"
#include "../../session.h"

#define TEXT_OF(macro) TEXT(macro)
#define TEXT(text) #text

_Static_assert(offsetof(struct machine_state, rflags) == 128, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, mask) == 136, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, mxcsr) == 200, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, vector) == 256, "known to enter_candidate");

#define EACH_VECTOR(move, register_name)                                                           \
    move("0", register_name) move("1", register_name) move("2", register_name)                     \
        move("3", register_name) move("4", register_name) move("5", register_name)                 \
            move("6", register_name) move("7", register_name)
#define LOAD_SSE(n, r) "movups 256+64*" n "(%r12), %" r n "\n"
#define STORE_SSE(n, r) "movups %" r n ", 256+64*" n "(%r12)\n"
#define LOAD_AVX(n, r) "vmovups 256+64*" n "(%r12), %" r n "\n"
#define STORE_AVX(n, r) "vmovups %" r n ", 256+64*" n "(%r12)\n"
#define LOAD_MASK(n, r) "kmovw 136+8*" n "(%r12), %" r n "\n"
#define STORE_MASK(n, r) "kmovw %" r n ", 136+8*" n "(%r12)\n"

/* clang-format off */
__asm__(
    ".pushsection .text, \"ax\", @progbits\n"
    ".globl enter_candidate\n"
    ".hidden enter_candidate\n"
    ".type enter_candidate, @function\n"
    "enter_candidate:\n"
    "push %rbx\n"
    "push %rbp\n"
    "push %r12\n"
    "push %r13\n"
    "push %r14\n"
    "push %r15\n"
    "mov %rsp, guard_saved_stack(%rip)\n"
    "fninit\n" /* neither the caller's x87 control word nor the last candidate's MMX state */
    "mov %rdi, %r12\n"
    "mov %rsi, %r13\n"
    "mov %edx, %r14d\n"
    ".globl state_code_begin\n"
    ".hidden state_code_begin\n"
    "state_code_begin:\n"
    "cmp $1, %r14d\n"
    "jb 1f\n"
    "ldmxcsr 200(%r12)\n"
    "ja 2f\n" /* LDMXCSR leaves the flags of the comparison alone */
    EACH_VECTOR(LOAD_SSE, "xmm")
    "jmp 1f\n"
    "2:\n"
    "cmp $2, %r14d\n"
    "ja 3f\n"
    EACH_VECTOR(LOAD_AVX, "ymm")
    "jmp 1f\n"
    "3:\n"
    EACH_VECTOR(LOAD_AVX, "zmm")
    EACH_VECTOR(LOAD_MASK, "k")
    "1:\n"
    "push 128(%r12)\n"
    "popf\n"
    "mov 0(%r12), %rax\n"
    "mov 8(%r12), %rcx\n"
    "mov 16(%r12), %rdx\n"
    "mov 24(%r12), %rbx\n"
    "mov 48(%r12), %rsi\n"
    "mov 56(%r12), %rdi\n"
    "mov 64(%r12), %r8\n"
    "mov 72(%r12), %r9\n"
    "mov 80(%r12), %r10\n"
    "mov 88(%r12), %r11\n"
    "jmp *%r13\n"
    ".globl candidate_return\n"
    ".hidden candidate_return\n"
    "candidate_return:\n"
    "mov %rax, 0(%r12)\n"
    "mov %rcx, 8(%r12)\n"
    "mov %rdx, 16(%r12)\n"
    "mov %rbx, 24(%r12)\n"
    "mov %rsi, 48(%r12)\n"
    "mov %rdi, 56(%r12)\n"
    "mov %r8, 64(%r12)\n"
    "mov %r9, 72(%r12)\n"
    "mov %r10, 80(%r12)\n"
    "mov %r11, 88(%r12)\n"
    "pushf\n"
    "pop 128(%r12)\n"
    "push $0x202\n" /* FLAGS_AT_ENTRY: no DF, AC or TF of the candidate's in our own code */
    "popf\n"
    "cmp $1, %r14d\n"
    "jb 1f\n"
    "ja 2f\n"
    EACH_VECTOR(STORE_SSE, "xmm")
    "jmp 1f\n"
    "2:\n"
    "cmp $2, %r14d\n"
    "ja 3f\n"
    EACH_VECTOR(STORE_AVX, "ymm")
    "vzeroupper\n"
    "jmp 1f\n"
    "3:\n"
    EACH_VECTOR(STORE_AVX, "zmm")
    EACH_VECTOR(STORE_MASK, "k")
    "vzeroupper\n"
    "1:\n"
    ".globl state_code_end\n"
    ".hidden state_code_end\n"
    "state_code_end:\n"
    "xor %eax, %eax\n"
    "4:\n"
    "pop %r15\n"
    "pop %r14\n"
    "pop %r13\n"
    "pop %r12\n"
    "pop %rbp\n"
    "pop %rbx\n"
    "ret\n"
    ".globl candidate_recovery\n"
    ".hidden candidate_recovery\n"
    "candidate_recovery:\n"
    "mov guard_saved_stack(%rip), %rsp\n"
    "cld\n"
    "fninit\n" /* a sequence may have died between MMX code and its EMMS */
    "mov $1, %eax\n"
    "jmp 4b\n"
    ".size enter_candidate, . - enter_candidate\n"
    /* CPUID and XGETBV run like candidates: both can fault (CPUID faulting, no OSXSAVE). */
    ".globl guarded_cpuid\n"
    ".hidden guarded_cpuid\n"
    "guarded_cpuid:\n"
    "cpuid\n"
    "jmp candidate_return\n"
    ".globl guarded_xgetbv\n"
    ".hidden guarded_xgetbv\n"
    "guarded_xgetbv:\n"
    ".byte 0x0f, 0x01, 0xd0\n" /* XGETBV, for assemblers that want -mxsave */
    "jmp candidate_return\n"
    ".globl undefined_instruction\n"
    ".hidden undefined_instruction\n"
    "undefined_instruction:\n"
    "ud2\n"
    "jmp candidate_return\n"
    ".popsection\n"
    ".local guard_saved_stack\n"
    ".comm guard_saved_stack, 8, 8\n"
);
/* clang-format on */

/* The kernel demands SA_RESTORER on x86-64. */
__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".globl signal_return\n"
        ".hidden signal_return\n"
        ".type signal_return, @function\n"
        "signal_return:\n"
        "mov $15, %eax\n" /* __NR_rt_sigreturn */
        "syscall\n"
        /* A sandbox denies it: what was interrupted cannot go on. */
        "mov $" TEXT_OF(EXIT_GUARD) ", %edi\n"
                                    "mov $231, %eax\n" /* __NR_exit_group */
                                    "syscall\n"
                                    "ud2\n"
                                    ".size signal_return, . - signal_return\n"
                                    ".popsection\n");
