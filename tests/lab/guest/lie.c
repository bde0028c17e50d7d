/* A kernel that lies: starts a program with other words in its auxiliary vector (aarch64).
 *
 *     lie CHANGE[,CHANGE...] PROGRAM ARGUMENT...
 *
 * A CHANGE sets or clears one bit: "hwcap+30", "hwcap2-17". PROGRAM is an ELF file that needs no
 * interpreter: static, or ld.so itself, whose first argument is then the program. It takes this
 * one's place in this process, as execve would have put it there. No libc (see sys.h).
 */
#include "sys.h"

enum { AT_PHDR = 3, AT_PHNUM = 5, AT_ENTRY = 9, AT_HWCAP = 16, AT_HWCAP2 = 26, AT_HWCAP3 = 29 };
enum { PT_LOAD = 1, ET_DYN = 3, PAGE = 4096, MAX_HEADERS = 32 };

struct elf {
    u8 ident[16];
    unsigned short type, machine;
    u32 version;
    u64 entry, phoff, shoff;
    u32 flags;
    unsigned short ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct segment {
    u32 type, flags;
    u64 offset, vaddr, paddr, filesz, memsz, align;
};

struct auxiliary {
    u64 type, value;
};

static struct elf header;
static struct segment segments[MAX_HEADERS];

static void
fail(const char *what)
{
    put(2, "lie: ");
    put(2, what);
    put(2, "\n");
    sys3(NR_exit, 126, 0, 0);
}

static void
read_at(long fd, u64 offset, void *to, u64 n)
{
    if (sys3(NR_lseek, fd, (long)offset, 0) < 0 || sys3(NR_read, fd, (long)to, (long)n) != (long)n)
        fail("the program cannot be read");
}

static u64
map(u64 address, u64 n, int protection, int flags, long fd, u64 offset)
{
    long got = sys6(NR_mmap, (long)address, (long)n, protection, flags, fd, (long)offset);

    if (got < 0 && got > -4096)
        fail("no room for the program");
    return (u64)got;
}

/* Returns what the segments' addresses are relative to. */
static u64
load(long fd)
{
    u64 low = ~0UL, high = 0, base, bias;

    for (int i = 0; i < header.phnum; i++) {
        if (segments[i].type != PT_LOAD)
            continue;
        if (segments[i].vaddr < low)
            low = segments[i].vaddr & ~(u64)(PAGE - 1);
        if (segments[i].vaddr + segments[i].memsz > high)
            high = segments[i].vaddr + segments[i].memsz;
    }
    if (header.type == ET_DYN)
        base = map(0, high - low, 0, 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, -1, 0);
    else
        base = map(low, high - low, 0, 0x32 /* ... | MAP_FIXED */, -1, 0);
    bias = base - low;
    for (int i = 0; i < header.phnum; i++) {
        const struct segment *s = &segments[i];
        u64 start = (s->vaddr + bias) & ~(u64)(PAGE - 1);
        u64 end = s->vaddr + bias + s->memsz;
        /* PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4; PF_X 1, PF_W 2, PF_R 4. */
        int protection = (s->flags & 4) >> 2 | (s->flags & 2) | (int)(s->flags & 1) << 2;

        if (s->type != PT_LOAD)
            continue;
        map(start, end - start, 3, 0x32, -1, 0);
        read_at(fd, s->offset, (void *)(s->vaddr + bias), s->filesz);
        if (sys3(NR_mprotect, (long)start, (long)(end - start), protection) < 0)
            fail("mprotect");
    }
    return bias;
}

static u64
changed(const char *changes, const char *name, u64 value)
{
    while (*changes) {
        u64 n = length(name), bit = 0;
        int matches = 1, sets;

        for (u64 i = 0; i < n; i++)
            matches = matches && changes[i] == name[i];
        matches = matches && (changes[n] == '+' || changes[n] == '-');
        while (*changes != '+' && *changes != '-')
            if (!*changes++)
                fail("a change is a word, + or -, and a bit");
        sets = *changes++ == '+';
        while (*changes >= '0' && *changes <= '9')
            bit = bit * 10 + (u64)(*changes++ - '0');
        if (*changes == ',')
            changes++;
        if (matches)
            value = sets ? value | 1UL << bit : value & ~(1UL << bit);
    }
    return value;
}

/* Gives the program the stack the kernel made for this one, less two arguments: it stays aligned.
 */
__attribute__((used)) void
start(u64 *stack)
{
    u64 arguments = stack[0], bias, entry;
    const char *changes = (const char *)stack[2], *path = (const char *)stack[3];
    struct auxiliary *each;
    u64 *word;
    long fd;

    if (arguments < 3)
        fail("usage: lie CHANGE[,CHANGE...] PROGRAM ARGUMENT...");
    fd = open_file(path, 0, 0);
    if (fd < 0)
        fail("there is no such program");
    read_at(fd, 0, &header, sizeof header);
    if (header.phnum > MAX_HEADERS)
        fail("too many segments");
    read_at(fd, header.phoff, segments, header.phnum * sizeof *segments);
    bias = load(fd);
    sys3(NR_close, fd, 0, 0);
    entry = header.entry + bias;

    stack[2] = arguments - 2;
    for (word = stack + 3; *word; word++) /* the arguments */
        ;
    for (word++; *word; word++) /* the environment */
        ;
    for (each = (struct auxiliary *)(word + 1); each->type; each++)
        switch (each->type) {
        case AT_PHDR:
            for (int i = 0; i < header.phnum; i++)
                if (segments[i].type == PT_LOAD && segments[i].offset == 0)
                    each->value = bias + segments[i].vaddr + header.phoff;
            break;
        case AT_PHNUM:
            each->value = header.phnum;
            break;
        case AT_ENTRY:
            each->value = entry;
            break;
        case AT_HWCAP:
            each->value = changed(changes, "hwcap", each->value);
            break;
        case AT_HWCAP2:
            each->value = changed(changes, "hwcap2", each->value);
            break;
        case AT_HWCAP3:
            each->value = changed(changes, "hwcap3", each->value);
            break;
        }
    __asm__ volatile("mov sp, %0\n\tmov x0, #0\n\tmov x29, #0\n\tmov x30, #0\n\tbr %1"
                     :
                     : "r"(stack + 2), "r"(entry)
                     : "memory");
    __builtin_unreachable();
}
