/*
 * Reads every CPUID leaf and subleaf that the CPU enumerates, and XCR0, on the CPU we run on.
 *
 * Sources: Intel SDM vol. 2A, "CPUID"; AMD APM vol. 3, appendix E. A leaf above the maximum of its
 * range is never read: Intel CPUs answer such a leaf with the data of the highest basic leaf.
 * Leaf 3 (processor serial number) is never read, and one that a bit announces only with that bit.
 * APIC and node numbers are cleared: they tell CPUs of one machine apart, and nothing else.
 */
#include "guarded.h"

#define OSXSAVE (1u << 27)        /* CPUID.01H:ECX */
#define XEN_SIGNATURE 0x566e6558u /* "XenV", CPUID.40000000H:EBX */
enum { EAX, EBX, ECX, EDX, NEVER };

#define MAXIMUM_SUBLEAVES 64u      /* no leaf has more; stops a nonsensical hypervisor */
#define MAXIMUM_LEAVES_A_RANGE 80u /* likewise: basic leaves end at 0x24 in 2026 */

struct reader {
    struct guard *guard;
    struct identity *identity;
};

/*
 * Leaves that a bit elsewhere announces; without it they are reserved, and what some hypervisors
 * leave there is anybody's. A bit of a leaf that is not there is clear, so register 4 is "never".
 */
static const struct announcement {
    uint32_t leaf;
    uint32_t by_leaf;
    uint8_t by_subleaf, reg, bit;
} announcements[] = {
    {0x5, 0x1, 0, ECX, 3},  /* MONITOR */
    {0x8, 0, 0, NEVER, 0},  /* reserved, as are 0CH, 0EH, 11H, 13H and 22H */
    {0x9, 0x1, 0, ECX, 18}, /* DCA */
    {0xc, 0, 0, NEVER, 0},
    {0xd, 0x1, 0, ECX, 26}, /* XSAVE */
    {0xe, 0, 0, NEVER, 0},
    {0xf, 0x7, 0, EBX, 12},  /* RDT monitoring */
    {0x10, 0x7, 0, EBX, 15}, /* RDT allocation */
    {0x11, 0, 0, NEVER, 0},
    {0x12, 0x7, 0, EBX, 2}, /* SGX */
    {0x13, 0, 0, NEVER, 0},
    {0x14, 0x7, 0, EBX, 25}, /* Processor Trace */
    {0x19, 0x7, 0, ECX, 23}, /* Key Locker */
    {0x1a, 0x7, 0, EDX, 15}, /* hybrid */
    {0x1b, 0x7, 0, EDX, 18}, /* PCONFIG */
    {0x1c, 0x7, 0, EDX, 19}, /* architectural LBRs */
    {0x1d, 0x7, 0, EDX, 24}, /* AMX-TILE */
    {0x1e, 0x7, 0, EDX, 24},
    {0x20, 0x7, 1, EAX, 22}, /* HRESET */
    {0x21, 0x1, 0, ECX, 31}, /* a hypervisor: TDX guests are told here */
    {0x22, 0, 0, NEVER, 0},
    {0x23, 0x7, 1, EAX, 8},               /* performance monitoring, extended */
    {0x24, 0x7, 1, EDX, 19},              /* AVX10 */
    {0x29, 0x7, 1, EDX, 21},              /* APX */
    {0x8000000a, 0x80000001, 0, ECX, 2},  /* SVM */
    {0x8000001b, 0x80000001, 0, ECX, 10}, /* IBS */
    {0x8000001c, 0x80000001, 0, ECX, 15}, /* LWP */
    {0x8000001d, 0x80000001, 0, ECX, 22}, /* topology extensions */
    {0x8000001e, 0x80000001, 0, ECX, 22},
};

/* Reads one subleaf and keeps it. Returns NULL when CPUID faults or there is no room. */
static struct cpuid_leaf *
keep(struct reader *reader, uint32_t leaf, uint32_t subleaf)
{
    struct identity *identity = reader->identity;
    struct cpuid_leaf *out = &identity->leaves[identity->leaf_count];

    if (identity->leaf_count == MAXIMUM_LEAVES) {
        identity->leaves_cut = true;
        return NULL;
    }
    identity->cpuid_outcome = (uint8_t)guard_cpuid(reader->guard, leaf, subleaf, out);
    if (identity->cpuid_outcome != OUTCOME_OK)
        return NULL;
    identity->leaf_count++;
    return out;
}

/* Subleaves 1 to last. */
static void
keep_through(struct reader *reader, uint32_t leaf, uint32_t last)
{
    if (last > MAXIMUM_SUBLEAVES)
        last = MAXIMUM_SUBLEAVES;
    for (uint32_t subleaf = 1; subleaf <= last; subleaf++)
        if (keep(reader, leaf, subleaf) == NULL)
            return;
}

/* Subleaves 1 upward for as long as the last one was valid: type field in `mask` of EAX or ECX. */
static void
keep_while(struct reader *reader, uint32_t leaf, uint32_t eax_mask, uint32_t ecx_mask)
{
    const struct cpuid_leaf *last = &reader->identity->leaves[reader->identity->leaf_count - 1];

    for (uint32_t subleaf = 1; subleaf <= MAXIMUM_SUBLEAVES; subleaf++) {
        if ((last->eax & eax_mask) == 0 && (last->ecx & ecx_mask) == 0)
            return;
        last = keep(reader, leaf, subleaf);
        if (last == NULL)
            return;
    }
}

/* Subleaves whose bit is set in the mask. */
static void
keep_bits(struct reader *reader, uint32_t leaf, uint64_t mask, uint32_t first)
{
    for (uint32_t subleaf = first; subleaf < 64; subleaf++)
        if ((mask >> subleaf) & 1)
            if (keep(reader, leaf, subleaf) == NULL)
                return;
}

static void
keep_subleaves(struct reader *reader, const struct cpuid_leaf *first)
{
    const struct cpuid_leaf *second;
    uint64_t components;

    switch (first->leaf) {
    case 0x4:
    case 0x8000001d:
        keep_while(reader, first->leaf, 0x1f, 0);
        break;
    case 0xb:
    case 0x1f:
    case 0x80000026:
        keep_while(reader, first->leaf, 0, 0xff00);
        break;
    case 0x7:
    case 0x14:
    case 0x17:
    case 0x18:
    case 0x1d:
    case 0x1e:
    case 0x20:
    case 0x24:
        keep_through(reader, first->leaf, first->eax);
        break;
    case 0xd:
        components = ((uint64_t)first->edx << 32) | first->eax;
        second = keep(reader, first->leaf, 1);
        if (second != NULL)
            components |= ((uint64_t)second->edx << 32) | second->ecx;
        keep_bits(reader, first->leaf, components, 2);
        break;
    case 0xf:
        keep_bits(reader, first->leaf, first->edx, 1);
        break;
    case 0x10:
        keep_bits(reader, first->leaf, first->ebx, 1);
        break;
    case 0x12:
        keep_through(reader, first->leaf, 2);
        break;
    case 0x23:
        keep_bits(reader, first->leaf, first->eax, 1);
        break;
    }
}

/* hypervisor: EBX of leaf 40000000H. cpuprobe/evidence/cpuid.py does the same to other tools'
 * dumps. */
static void
clear_topology(struct cpuid_leaf *leaf, uint32_t hypervisor)
{
    switch (leaf->leaf) {
    case 0x1:
        leaf->ebx &= 0x00ffffff; /* initial APIC ID */
        break;
    case 0x6:
        leaf->edx &= 0x0000ffff; /* the CPU's row in the Hardware Feedback table */
        break;
    case 0xb:
    case 0x1f:
    case 0x80000026:
        leaf->edx = 0; /* x2APIC ID */
        break;
    case 0x40000004:
        if (hypervisor == XEN_SIGNATURE)
            leaf->ebx = leaf->ecx =
                0; /* vCPU and domain IDs: xen/include/public/arch-x86/cpuid.h */
        break;
    case 0x8000001e:
        leaf->eax = 0;           /* extended APIC ID */
        leaf->ebx &= 0xffffff00; /* core ID */
        leaf->ecx &= 0xffffff00; /* node ID */
        break;
    }
}

static const struct cpuid_leaf *
find(const struct identity *identity, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < identity->leaf_count; i++)
        if (identity->leaves[i].leaf == leaf && identity->leaves[i].subleaf == subleaf)
            return &identity->leaves[i];
    return NULL;
}

/* Leaf 2 describes TLBs and caches by a byte each; AL is no descriptor, nor is a register with bit
 * 31 set. FEH: leaf 18H has the TLBs. */
static bool
has_descriptor(const struct cpuid_leaf *leaf, uint8_t descriptor)
{
    for (uint32_t reg = EAX; leaf != NULL && reg <= EDX; reg++)
        for (uint32_t byte = reg == EAX; byte < 4 && !(register_of(leaf, reg) >> 31); byte++)
            if ((uint8_t)(register_of(leaf, reg) >> 8 * byte) == descriptor)
                return true;
    return false;
}

/* May a leaf be read, by what the leaves before it say? */
static bool
announced(const struct identity *identity, uint32_t leaf)
{
    if (leaf == 0x18)
        return has_descriptor(find(identity, 0x2, 0), 0xfe);
    for (size_t i = 0; i < sizeof announcements / sizeof *announcements; i++) {
        const struct announcement *row = &announcements[i];
        const struct cpuid_leaf *by;

        if (row->leaf != leaf)
            continue;
        by = row->reg == NEVER ? NULL : find(identity, row->by_leaf, row->by_subleaf);
        return by != NULL && (register_of(by, row->reg) >> row->bit & 1);
    }
    return true;
}

/* Reads base, whose EAX is the highest leaf of the range, and the leaves after it. */
static void
keep_range(struct reader *reader, uint32_t base)
{
    const struct cpuid_leaf *first = keep(reader, base, 0);
    uint32_t maximum;

    if (first == NULL)
        return;
    maximum = first->eax;
    if (maximum < base || maximum - base > 0xffff) {
        if (base != 0)
            reader->identity->leaf_count--; /* the range does not exist here */
        return;
    }
    if (maximum - base > MAXIMUM_LEAVES_A_RANGE)
        maximum = base + MAXIMUM_LEAVES_A_RANGE;
    for (uint32_t leaf = base + 1; leaf <= maximum; leaf++) {
        const struct cpuid_leaf *kept;

        if (leaf == 0x3 || !announced(reader->identity, leaf))
            continue;
        kept = keep(reader, leaf, 0);
        if (kept == NULL)
            return;
        keep_subleaves(reader, kept);
    }
}

/* "CentaurHauls" or "  Shanghai  ": others answer for their range with the last basic leaf. */
static bool
is_zhaoxin(const struct identity *identity)
{
    const struct cpuid_leaf *leaf = find(identity, 0, 0);

    return leaf != NULL && (leaf->edx == 0x48727561 || leaf->edx == 0x68676e61);
}

/*
 * Fills the leaves and XCR0 for the CPU that this process runs on.
 *
 * XGETBV is not executed where OSXSAVE is clear: it would fault for a reason already known.
 */
void
read_identity(struct guard *guard, struct identity *identity)
{
    static const uint32_t bases[] = {
        0x00000000, 0x40000000, /* hypervisors */
        0x80000000, 0xc0000000, /* Centaur, Zhaoxin */
    };
    struct reader reader = {guard, identity};
    const struct cpuid_leaf *hypervisor, *leaf1;

    identity->leaf_count = 0;
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        if (bases[i] == 0xc0000000 && !is_zhaoxin(identity))
            continue;
        keep_range(&reader, bases[i]);
        if (identity->cpuid_outcome != OUTCOME_OK)
            break;
    }
    hypervisor = find(identity, 0x40000000, 0);
    for (uint32_t i = 0; i < identity->leaf_count; i++)
        clear_topology(&identity->leaves[i], hypervisor == NULL ? 0 : hypervisor->ebx);
    leaf1 = find(identity, 1, 0);
    identity->xcr0 = 0;
    identity->xgetbv_outcome = OUTCOME_SKIPPED;
    /* Where CPUID itself faults, nothing says whether XGETBV may run: try it, it is guarded. */
    if (identity->cpuid_outcome != OUTCOME_OK || (leaf1 != NULL && (leaf1->ecx & OSXSAVE)))
        identity->xgetbv_outcome = (uint8_t)guard_xgetbv(guard, 0, &identity->xcr0);
}
