/*
 * The cache of cpuprobe_safe_flags_cached(): a small file that holds one verdict and what it is of.
 *
 * It is read as if a stranger had written it: only a regular file of this user's that nobody else
 * may write is opened, of the one length it can have, with its checksum, and of this machine as it
 * is now (key.c). It is replaced by renaming a whole new file over it.
 */
#include "library.h"
#include "key.h"
#include "../syscalls.h"

#include <linux/fcntl.h>
#include <asm/stat.h>

#define PATH_BYTES 4096
#define ATTEMPTS 4
#define MAGIC "cpuprobe cache 1"
#define FILE_TYPE 0170000u /* of st_mode: inode(7) */
#define REGULAR_FILE 0100000u
#define OTHERS_WRITE 0022u

struct cache {
    char magic[16];
    struct machine_key key;
    struct feature_bits safe, refused;
    uint8_t state[FEATURE_COUNT];
    uint8_t level, judgement; /* as numbers */
    uint8_t padding[5];
    uint64_t checksum; /* of all before */
};

_Static_assert(offsetof(struct cache, checksum) + sizeof(uint64_t) == sizeof(struct cache),
               "the checksum is the last member");

static uint64_t
checksum(const struct cache *cache)
{
    return hash_bytes(HASH_START, cache, offsetof(struct cache, checksum));
}

/* May what stands in an open file be believed? */
static bool
is_ours(long descriptor)
{
    struct stat about;

    return !failed(syscall2(__NR_fstat, descriptor, &about)) &&
           (about.st_mode & FILE_TYPE) == REGULAR_FILE &&
           about.st_uid == (unsigned long)syscall0(__NR_geteuid) && about.st_nlink == 1 &&
           (about.st_mode & OTHERS_WRITE) == 0 && about.st_size == sizeof(struct cache);
}

/* Reads exactly the bytes of a cache; false where there are fewer. */
static bool
read_all(long descriptor, struct cache *cache)
{
    uint8_t *at = (uint8_t *)cache;
    size_t left = sizeof *cache;

    while (left > 0) {
        long got = syscall3(__NR_read, descriptor, at, left);

        if (got == -ERRNO_EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        left -= (size_t)got;
    }
    return true;
}

/* Reads the file; false where it is not to be believed. */
static bool
read_cache(const char *path, const struct machine_key *key, struct cache *cache)
{
    long descriptor = syscall4(__NR_openat, AT_FDCWD, path,
                               O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    bool good;

    if (failed(descriptor))
        return false;
    good = is_ours(descriptor) && read_all(descriptor, cache);
    syscall1(__NR_close, descriptor);
    return good && bytes_equal(cache->magic, MAGIC, sizeof cache->magic) &&
           cache->checksum == checksum(cache) && bytes_equal(&cache->key, key, sizeof *key);
}

static bool
write_all(long descriptor, const struct cache *cache)
{
    const uint8_t *at = (const uint8_t *)cache;
    size_t left = sizeof *cache;

    while (left > 0) {
        long put = syscall3(__NR_write, descriptor, at, left);

        if (put == -ERRNO_EINTR)
            continue;
        if (put <= 0)
            return false;
        at += put;
        left -= (size_t)put;
    }
    return true;
}

/* A name beside the path that nobody else is likely to use; false where it is too long. */
static bool
name_beside(const char *path, uint32_t attempt, char *name)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = text_length(path);
    uint64_t number = (uint64_t)syscall0(__NR_gettid) << 32 ^ __builtin_ia32_rdtsc() ^ attempt;

    if (length + 18 > PATH_BYTES)
        return false;
    copy_bytes(name, path, length);
    name[length++] = '.';
    for (size_t i = 0; i < 16; i++, number >>= 4)
        name[length++] = digits[number & 15];
    name[length] = '\0';
    return true;
}

/* Writes a new file and renames it over the old one. What fails leaves nothing behind. */
static void
write_cache(const char *path, const struct cache *cache)
{
    char name[PATH_BYTES];
    long descriptor = -ERRNO_EPERM;
    bool good;

    for (uint32_t attempt = 0; attempt < ATTEMPTS && failed(descriptor); attempt++) {
        if (!name_beside(path, attempt, name))
            return;
        descriptor = syscall4(__NR_openat, AT_FDCWD, name,
                              O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (failed(descriptor))
        return;
    good = write_all(descriptor, cache);
    good = !failed(syscall1(__NR_close, descriptor)) && good;
    if (!good || failed(syscall2(__NR_rename, name, path)))
        syscall1(__NR_unlink, name);
}

static void
fill_cache(struct cache *cache, const struct machine_key *key, const struct verdict *verdict)
{
    *cache = (struct cache){.key = *key,
                            .safe = verdict->safe,
                            .refused = verdict->refused,
                            .level = (uint8_t)level_number(verdict->level),
                            .judgement = verdict->judgement};
    copy_bytes(cache->magic, MAGIC, sizeof cache->magic);
    copy_bytes(cache->state, verdict->state, sizeof cache->state);
    cache->checksum = checksum(cache);
}

PUBLIC long
cpuprobe_safe_flags_cached(const char *path, unsigned int wasmtime_major, char *out, size_t size)
{
    static const struct options options = {.root = "", .execute = true};
    struct target target = find_wasmtime(wasmtime_major);
    struct machine_key key, after;
    struct cache cache;
    struct verdict verdict = {.executed = true};
    bool keyed;
    long error;

    if (path == NULL || out == NULL)
        return CPUPROBE_BAD_ARGUMENT;
    if (target.wasmtime == NULL)
        return CPUPROBE_UNKNOWN_WASMTIME;
    keyed = machine_key(&key);
    if (keyed && read_cache(path, &key, &cache)) {
        verdict.safe = cache.safe;
        verdict.refused = cache.refused;
        copy_bytes(verdict.state, cache.state, sizeof verdict.state);
        return hand_out_flags(&verdict, &target, out, size);
    }
    error = survey_here(&options, &verdict);
    if (error != 0)
        return error;
    /* Only what was true before and after may be kept: the machine can change under us. */
    if (keyed && machine_key(&after) && bytes_equal(&key, &after, sizeof key)) {
        fill_cache(&cache, &key, &verdict);
        write_cache(path, &cache);
    }
    return hand_out_flags(&verdict, &target, out, size);
}
