/*
 * The permission that a process asks for before it may use AMX's tiles (Linux 5.16).
 */
#include "../../core.h"
#include "../../syscalls.h"

#define ARCH_REQ_XCOMP_PERM 0x1023  /* arch/x86/include/uapi/asm/prctl.h */
#define XFEATURE_TILE_DATA 18       /* Documentation/arch/x86/xstate.rst */
#define XCR0_TILE_BITS (3ull << 17) /* TILECFG and TILEDATA */

bool
needs_permission(const struct feature_set *set)
{
    static const char prefix[] = "amx-";

    for (size_t i = 0; i < sizeof prefix - 1; i++)
        if (set->names[i] != prefix[i])
            return false;
    return true;
}

/* Is there a state component on this CPU that has to be asked for? */
bool
wants_permission(const struct identity *identity)
{
    return (identity->xcr0 & XCR0_TILE_BITS) == XCR0_TILE_BITS;
}

/* Asks for this process, and for good. Returns what arch_prctl does. */
long
ask_permission(void)
{
    return syscall2(__NR_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILE_DATA);
}
