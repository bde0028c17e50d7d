/*
 * Reads every CPUID leaf and subleaf that the CPU enumerates, and XCR0, on the CPU we run on.
 *
 * Sources: Intel SDM vol. 2A, "CPUID"; AMD APM vol. 3, appendix E. A leaf above the maximum of its
 * range is never read: Intel CPUs answer such a leaf with the data of the highest basic leaf.
 * Leaf 3 (processor serial number) is never read. APIC and node numbers are cleared: they tell CPUs
 * of one machine apart, and nothing else.
 */
#include "core.h"

#define OSXSAVE (1u << 27)         /* CPUID.01H:ECX */
#define XEN_SIGNATURE 0x566e6558u  /* "XenV", CPUID.40000000H:EBX */
#define MAXIMUM_SUBLEAVES 64u      /* no leaf has more; stops a nonsensical hypervisor */
#define MAXIMUM_LEAVES_A_RANGE 80u /* likewise: basic leaves end at 0x24 in 2026 */

struct reader {
    struct guard *guard;
    struct cpu_record *record;
};

/* Reads one subleaf and keeps it. Returns NULL when CPUID faults or the record is full. */
static struct cpuid_leaf *
keep(struct reader *reader, uint32_t leaf, uint32_t subleaf)
{
    struct cpu_record *record = reader->record;
    struct cpuid_leaf *out = &record->leaves[record->leaf_count];

    if (record->leaf_count == MAXIMUM_LEAVES) {
        record->leaves_cut = true;
        return NULL;
    }
    record->cpuid_outcome = (uint8_t)guard_cpuid(reader->guard, leaf, subleaf, out);
    if (record->cpuid_outcome != OUTCOME_OK)
        return NULL;
    record->leaf_count++;
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
    const struct cpuid_leaf *last = &reader->record->leaves[reader->record->leaf_count - 1];

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

/* hypervisor: EBX of leaf 40000000H. cpuprobe/cpuid.py does the same to other tools' dumps. */
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
            reader->record->leaf_count--; /* the range does not exist here */
        return;
    }
    if (maximum - base > MAXIMUM_LEAVES_A_RANGE)
        maximum = base + MAXIMUM_LEAVES_A_RANGE;
    for (uint32_t leaf = base + 1; leaf <= maximum; leaf++) {
        const struct cpuid_leaf *kept;

        if (leaf == 0x3)
            continue;
        kept = keep(reader, leaf, 0);
        if (kept == NULL)
            return;
        keep_subleaves(reader, kept);
    }
}

static const struct cpuid_leaf *
find(const struct cpu_record *record, uint32_t leaf)
{
    for (uint32_t i = 0; i < record->leaf_count; i++)
        if (record->leaves[i].leaf == leaf && record->leaves[i].subleaf == 0)
            return &record->leaves[i];
    return NULL;
}

/*
 * Fills the record's leaves and XCR0 for the CPU that this process is pinned to.
 *
 * XGETBV is not executed where OSXSAVE is clear: it would fault for a reason already known.
 */
void
read_identity(struct guard *guard, struct cpu_record *record)
{
    static const uint32_t bases[] = {
        0x00000000, 0x40000000, /* hypervisors */
        0x80000000, 0x80860000, /* Transmeta */
        0xc0000000,             /* Centaur, Zhaoxin */
    };
    struct reader reader = {guard, record};
    const struct cpuid_leaf *hypervisor, *leaf1;

    record->leaf_count = 0;
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        keep_range(&reader, bases[i]);
        if (record->cpuid_outcome != OUTCOME_OK)
            break;
    }
    hypervisor = find(record, 0x40000000);
    for (uint32_t i = 0; i < record->leaf_count; i++)
        clear_topology(&record->leaves[i], hypervisor == NULL ? 0 : hypervisor->ebx);
    leaf1 = find(record, 1);
    record->xcr0 = 0;
    record->xgetbv_outcome = OUTCOME_SKIPPED;
    /* Where CPUID itself faults, nothing says whether XGETBV may run: try it, it is guarded. */
    if (record->cpuid_outcome != OUTCOME_OK || (leaf1 != NULL && (leaf1->ecx & OSXSAVE)))
        record->xgetbv_outcome = (uint8_t)guard_xgetbv(guard, 0, &record->xcr0);
}
