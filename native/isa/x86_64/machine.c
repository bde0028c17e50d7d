/*
 * Who the machine is, as far as a verdict asks: it never grants a feature, it only rules causes
 * and witnesses out.
 */
#include "../../verdict.h"

#define HYPERVISOR (1u << 31) /* CPUID.01H:ECX, set by hypervisors and never by hardware */

/* The leaf as it was read, be it within the CPU's maximum or not. */
const struct cpuid_leaf *
find_leaf(const struct identity *identity, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < identity->leaf_count; i++)
        if (identity->leaves[i].leaf == leaf && identity->leaves[i].subleaf == subleaf)
            return &identity->leaves[i];
    return NULL;
}

/* Registers as the ASCII text they hold, up to a NUL; what is not printable becomes '?'. */
static void
take_registers(char *text, const uint32_t *words, uint32_t count)
{
    uint32_t length = 0;

    for (; length < 4 * count; length++) {
        uint8_t byte = (uint8_t)(words[length / 4] >> 8 * (length % 4));

        if (byte == 0)
            break;
        text[length] = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
    }
    text[length] = '\0';
}

/* The vendor string of leaf 0. */
bool
cpuid_vendor(const struct identity *identity, char vendor[13])
{
    const struct cpuid_leaf *leaf = find_leaf(identity, 0, 0);

    vendor[0] = '\0';
    if (leaf != NULL)
        take_registers(vendor, (const uint32_t[]){leaf->ebx, leaf->edx, leaf->ecx}, 3);
    return leaf != NULL;
}

/* The brand string of leaves 80000002H to 80000004H. */
bool
cpuid_brand(const struct identity *identity, char brand[49])
{
    uint32_t words[12];

    for (uint32_t i = 0; i < 3; i++) {
        const struct cpuid_leaf *leaf = find_leaf(identity, 0x80000002 + i, 0);

        if (leaf == NULL)
            return false;
        for (uint32_t reg = 0; reg < 4; reg++)
            words[4 * i + reg] = register_of(leaf, reg);
    }
    take_registers(brand, words, 12);
    return brand[0] != '\0';
}

/* The hypervisor's signature of leaf 40000000H. */
bool
cpuid_hypervisor_name(const struct identity *identity, char name[13])
{
    const struct cpuid_leaf *leaf = find_leaf(identity, 0x40000000, 0);

    if (leaf == NULL)
        return false;
    take_registers(name, (const uint32_t[]){leaf->ebx, leaf->ecx, leaf->edx}, 3);
    return name[0] != '\0';
}

/* Display family, display model, stepping (SDM vol. 2A, CPUID.01H:EAX). */
bool
cpuid_signature(const struct identity *identity, uint32_t signature[3])
{
    const struct cpuid_leaf *first = find_leaf(identity, 0, 0), *leaf = find_leaf(identity, 1, 0);
    uint32_t family, model;

    if (leaf == NULL || (first != NULL && first->eax < 1))
        return false;
    family = leaf->eax >> 8 & 0xf;
    model = leaf->eax >> 4 & 0xf;
    if (family == 0xf)
        family += leaf->eax >> 20 & 0xff;
    if (family == 0x6 || family == 0x7 || family >= 0xf)
        model |= leaf->eax >> 12 & 0xf0;
    signature[0] = family;
    signature[1] = model;
    signature[2] = leaf->eax & 0xf;
    return true;
}

bool
cpuid_hypervisor(const struct identity *identity)
{
    const struct cpuid_leaf *leaf = find_leaf(identity, 1, 0);

    return leaf != NULL && leaf->ecx & HYPERVISOR;
}

/* Is the text this number, as the kernel prints it? */
static bool
is_number(const char *text, uint32_t number)
{
    char digits[12];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return text_equal(text, digits + at);
}

/* Linux keeps its own "unknown" where the stepping is 0 on very old CPUs (proc.c). */
static const char *
stepping_of(const struct listing *block)
{
    return text_equal(block->value[BLOCK_STEPPING], "unknown") ? "0" : block->value[BLOCK_STEPPING];
}

/* Do all blocks of /proc/cpuinfo name another CPU than CPUID does? One that tells too little, or a
 * CPUID that does, says nothing. */
bool
is_another_cpu(const struct judged_machine *machine)
{
    const struct kernel_told *kernel = machine->kernel;
    uint32_t signature[3];
    char vendor[13];

    if (!cpuid_vendor(machine->first, vendor) || !cpuid_signature(machine->first, signature))
        return false;
    for (uint32_t i = 0; i < kernel->listing_count; i++) {
        const struct listing *block = &kernel->listings[i];

        for (uint32_t value = 0; value < BLOCK_VALUES; value++)
            if (!block->told[value])
                return false;
        if (text_equal(block->value[BLOCK_VENDOR], vendor) &&
            is_number(block->value[BLOCK_FAMILY], signature[0]) &&
            is_number(block->value[BLOCK_MODEL], signature[1]) &&
            is_number(stepping_of(block), signature[2]))
            return false;
    }
    return true;
}

/* The block that stands in where CPUID is mute, NULL where it is not to be believed. */
static const struct listing *
first_block(const struct judged_machine *machine)
{
    return machine->set_aside || machine->kernel->listing_count == 0 ? NULL
                                                                     : machine->kernel->listings;
}

/* The vendor by CPUID, else by the kernel. */
bool
machine_vendor(const struct judged_machine *machine, char vendor[VALUE_BYTES])
{
    const struct listing *block = first_block(machine);

    if (cpuid_vendor(machine->first, vendor) && vendor[0] != '\0')
        return true;
    if (block == NULL || !block->told[BLOCK_VENDOR])
        return false;
    copy_bytes(vendor, block->value[BLOCK_VENDOR], VALUE_BYTES);
    return vendor[0] != '\0';
}

/* Up to five digits; false for anything else. */
static bool
take_number(const char *text, uint32_t *number)
{
    size_t length = text_length(text);

    *number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *number = *number * 10 + (uint32_t)(text[i] - '0');
    }
    return length > 0 && length < 6;
}

static bool
machine_signature(const struct judged_machine *machine, uint32_t signature[3])
{
    const struct listing *block = first_block(machine);

    if (cpuid_signature(machine->first, signature))
        return true;
    return block != NULL && take_number(block->value[BLOCK_FAMILY], &signature[0]) &&
           take_number(block->value[BLOCK_MODEL], &signature[1]) &&
           take_number(stepping_of(block), &signature[2]);
}

/* Does Gather Data Sampling exist on this CPU? */
bool
gds_affected(const struct judged_machine *machine, bool *signature_known)
{
    static const struct {
        const char *vendor;
        uint32_t family, model, not_steppings;
    } rows[] = {
#define ROW(vendor, family, model, not_steppings) {vendor, family, model, not_steppings},
        EACH_GDS_AFFECTED(ROW)
#undef ROW
    };
    uint32_t signature[3];
    char vendor[VALUE_BYTES];
    bool named = machine_vendor(machine, vendor);

    *signature_known = machine_signature(machine, signature);
    if (!*signature_known)
        return false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((!named || text_equal(vendor, rows[i].vendor)) && signature[0] == rows[i].family &&
            signature[1] == rows[i].model &&
            (signature[2] > 31 || !(rows[i].not_steppings >> signature[2] & 1)))
            return true;
    return false;
}
