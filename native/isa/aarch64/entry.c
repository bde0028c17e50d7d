/*
 * Entry and exit of candidates on aarch64, in assembly.
 *
 * enter_candidate loads the state class of the candidate and branches to its words, and every
 * candidate ends in a direct branch to candidate_return, which stores the state again. No call and
 * no return, so a guarded control stack has nothing to compare. x19 to x28 and sp are ours;
 * candidates use none of them. The branch goes by x17 to the `bti c` before a candidate: where the
 * pages are guarded, no other register may lead there.
 *
 * What the first version of the architecture lacks stands as .inst, for any assembler.
 */
#include "../../guard.h"
#include "../../session.h"

#define TEXT_OF(macro) TEXT(macro)
#define TEXT(text) #text

_Static_assert(offsetof(struct machine_state, nzcv) == 128, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, fpcr) == 136, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, fpsr) == 144, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, predicate) == 160, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, vector) == 512, "known to enter_candidate");
_Static_assert(VECTOR_BYTES == 256, "known to enter_candidate");

#define EACH_PAIR(row)                                                                             \
    row("0", "1", "0") row("2", "3", "16") row("4", "5", "32") row("6", "7", "48")                 \
        row("8", "9", "64") row("10", "11", "80") row("12", "13", "96") row("14", "15", "112")
#define LOAD_PAIR(a, b, at) "ldp x" a ", x" b ", [x19, #" at "]\n"
#define STORE_PAIR(a, b, at) "stp x" a ", x" b ", [x19, #" at "]\n"

#define EACH_VECTOR(row)                                                                           \
    row("0", "512") row("1", "768") row("2", "1024") row("3", "1280") row("4", "1536")             \
        row("5", "1792") row("6", "2048") row("7", "2304")
#define LOAD_VECTOR(n, at) "ldr q" n ", [x19, #" at "]\n"
#define STORE_VECTOR(n, at) "str q" n ", [x19, #" at "]\n"
/* ldr zN, [x21] and str zN, [x21] */
#define LOAD_SCALABLE(n, at) "add x21, x19, #" at "\n.inst 0x858042a0 + " n "\n"
#define STORE_SCALABLE(n, at) "add x21, x19, #" at "\n.inst 0xe58042a0 + " n "\n"

#define EACH_PREDICATE(row) row("0", "160") row("1", "192") row("2", "224") row("3", "256")
/* ldr pN, [x21] and str pN, [x21] */
#define LOAD_PREDICATE(n, at) "add x21, x19, #" at "\n.inst 0x858002a0 + " n "\n"
#define STORE_PREDICATE(n, at) "add x21, x19, #" at "\n.inst 0xe58002a0 + " n "\n"

#define SMSTART ".inst 0xd503477f\n"
#define SMSTOP ".inst 0xd503467f\n"
#define BTI_C "hint #34\n"

/* clang-format off */
__asm__(
    ".pushsection .text, \"ax\", @progbits\n"
    ".globl enter_candidate\n"
    ".hidden enter_candidate\n"
    ".type enter_candidate, %function\n"
    "enter_candidate:\n"
    BTI_C
    "stp x29, x30, [sp, #-96]!\n"
    "stp x19, x20, [sp, #16]\n"
    "stp x21, x22, [sp, #32]\n"
    "stp x23, x24, [sp, #48]\n"
    "stp x25, x26, [sp, #64]\n"
    "stp x27, x28, [sp, #80]\n"
    "adrp x9, guard_saved_stack\n"
    "mov x10, sp\n"
    "str x10, [x9, #:lo12:guard_saved_stack]\n"
    "mov x19, x0\n"
    "sub x17, x1, #4\n" /* its `bti c` */
    "mov w20, w2\n"
    "mov x22, #0\n" /* is streaming mode on? */
    ".globl state_code_begin\n"
    ".hidden state_code_begin\n"
    "state_code_begin:\n"
    "cbz w20, 1f\n"
    "ldp x9, x10, [x19, #136]\n"
    "msr fpcr, x9\n"
    "msr fpsr, x10\n"
    "cmp w20, #2\n"
    "b.hs 2f\n"
    EACH_VECTOR(LOAD_VECTOR)
    "b 1f\n"
    "2:\n"
    "b.eq 3f\n"
    SMSTART
    "mov x22, #1\n"
    "3:\n"
    EACH_VECTOR(LOAD_SCALABLE)
    EACH_PREDICATE(LOAD_PREDICATE)
    "1:\n"
    "ldr x9, [x19, #128]\n"
    "msr nzcv, x9\n"
    EACH_PAIR(LOAD_PAIR)
    "br x17\n"
    ".globl candidate_return\n"
    ".hidden candidate_return\n"
    "candidate_return:\n"
    EACH_PAIR(STORE_PAIR)
    "mrs x9, nzcv\n"
    "str x9, [x19, #128]\n"
    "cbz w20, 1f\n"
    "cmp w20, #2\n"
    "b.hs 2f\n"
    EACH_VECTOR(STORE_VECTOR)
    "b 1f\n"
    "2:\n"
    EACH_VECTOR(STORE_SCALABLE)
    EACH_PREDICATE(STORE_PREDICATE)
    "cbz x22, 1f\n"
    SMSTOP
    "mov x22, #0\n"
    "1:\n"
    ".globl state_code_end\n"
    ".hidden state_code_end\n"
    "state_code_end:\n"
    "mov w0, #0\n"
    "4:\n"
    "ldp x19, x20, [sp, #16]\n"
    "ldp x21, x22, [sp, #32]\n"
    "ldp x23, x24, [sp, #48]\n"
    "ldp x25, x26, [sp, #64]\n"
    "ldp x27, x28, [sp, #80]\n"
    "ldp x29, x30, [sp], #96\n"
    "ret\n"
    ".globl candidate_recovery\n"
    ".hidden candidate_recovery\n"
    "candidate_recovery:\n"
    "cbz x22, 5f\n"
    SMSTOP
    "5:\n"
    "adrp x9, guard_saved_stack\n"
    "ldr x9, [x9, #:lo12:guard_saved_stack]\n"
    "mov sp, x9\n"
    "mov w0, #1\n"
    "b 4b\n"
    ".size enter_candidate, . - enter_candidate\n"
    BTI_C
    ".globl undefined_instruction\n"
    ".hidden undefined_instruction\n"
    "undefined_instruction:\n"
    ".inst 0\n" /* UDF #0 */
    "b candidate_return\n"
    BTI_C
    ".globl streaming_multiply\n"
    ".hidden streaming_multiply\n"
    "streaming_multiply:\n"
    ".inst 0x4ea29c20\n" /* mul v0.4s, v1.4s, v2.4s */
    "b candidate_return\n"
    /* MRS runs like a candidate: it faults where the kernel does not emulate it. */
    ".globl guarded_mrs\n"
    ".hidden guarded_mrs\n"
    "guarded_mrs:\n"
#define READ(name, crm, op2)                                                                       \
    BTI_C ".inst 0xd5380000 + (" #crm " << 8) + (" #op2 " << 5)\n" /* mrs x0, ... */              \
    "b candidate_return\n"
    EACH_ID_REGISTER(READ)
#undef READ
    ".popsection\n"
    ".local guard_saved_stack\n"
    ".comm guard_saved_stack, 8, 8\n"
);
/* clang-format on */

/* Where the caller names none, the kernel takes one of its own: on older QEMU that is a page that
 * a sandbox may not leave executable. */
__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".globl signal_return\n"
        ".hidden signal_return\n"
        ".type signal_return, %function\n"
        "signal_return:\n" BTI_C "mov x8, #139\n" /* __NR_rt_sigreturn */
        "svc #0\n"
        /* A sandbox denies it: what was interrupted cannot go on. */
        "mov x0, #" TEXT_OF(EXIT_GUARD) "\n"
                                        "mov x8, #94\n" /* __NR_exit_group */
                                        "svc #0\n"
                                        "brk #0\n"
                                        ".size signal_return, . - signal_return\n"
                                        ".popsection\n");
