/* The first process of a lab guest: runs a program, or two, and sends what it wrote, framed, over the
 * second serial port.
 *
 * What to do stands in /lab/spec as NUL-ended records "key value" (written by
 * tests/lab/machine.py): arg A, env E    argument vector and environment of the program, in order
 *   disk DEVICE     mount this ext4 disk read-only and chroot the program into it
 *   cpuset LIST     put the program into a cgroup v2 cpuset of these CPUs
 *   timeout S       kill the program (and all it started) after S seconds
 *   collect PATH    send this file too
 *   next            what follows is for a second program, which runs when the first has ended (on
 *                   the same disk and CPUs); the names of its frames begin with "next:"
 *   wait            first wait for a byte from the host
 *
 * Frames on the second port, each "NAME LENGTH\n" and then LENGTH bytes; "end" is last and proves
 * nothing was lost:
 *   up              the kernel has booted (sent first: a guest that hangs later is not QEMU's doing)
 *   error           a step of this program that failed (the host raises)
 *   status          "exit N", "signal N" or "timeout"
 *   stdout, stderr, file:PATH, end
 *
 * No libc (see sys.h): this must come up in any world.
 */
#include "sys.h"

#ifdef __x86_64__
#define CHANNEL "/dev/ttyS1"
#else
#define CHANNEL "/dev/ttyS0" /* The console is the board's own ttyAMA0. */
#endif

enum { MAX_ITEMS = 128, SPEC_ROOM = 1 << 20, COLLECT_ROOM = 1 << 20, COPY_ROOM = 1 << 16 };

static char spec[SPEC_ROOM];
static char collected[COLLECT_ROOM];
static char copy_buffer[COPY_ROOM];
static const char *args[MAX_ITEMS + 1];
static const char *envs[MAX_ITEMS + 1];
static const char *collects[MAX_ITEMS + 1];
static int channel = -1;
static const char *before = ""; /* of the names of frames */

static void
frame(const char *name, const char *detail, u64 n)
{
    put(channel, before);
    put(channel, name);
    put(channel, detail);
    put(channel, " ");
    put_number(channel, n, 10);
    put(channel, "\n");
}

static void
frame_text(const char *name, const char *text)
{
    frame(name, "", length(text));
    put(channel, text);
}

static void
power_off(void)
{
    sys3(NR_sync, 0, 0, 0);
    /* LINUX_REBOOT_MAGIC1, MAGIC2, CMD_POWER_OFF */
    sys6(NR_reboot, 0xfee1deadL, 672274793L, 0x4321fedcL, 0, 0, 0);
    for (;;)
        ;
}

static void
fail(const char *step)
{
    put(2, "lab init: ");
    put(2, step);
    put(2, "\n");
    if (channel >= 0)
        frame_text("error", step);
    power_off();
}

static void
mount_or_fail(const char *source, const char *target, const char *type, u64 flags)
{
    sys3(NR_mkdirat, AT_FDCWD, (long)target, 0755);
    if (sys6(NR_mount, (long)source, (long)target, (long)type, (long)flags, 0, 0) < 0)
        fail(target);
}

static void
open_channel(void)
{
    /* struct ktermios as TCGETS sees it: 4 flag words, line discipline, 19 control characters. */
    struct {
        u32 iflag, oflag, cflag, lflag;
        u8 line, cc[19];
    } mode;
    long fd = open_file(CHANNEL, 0x102 /* O_RDWR | O_NOCTTY */, 0);

    if (fd < 0)
        fail("cannot open " CHANNEL);
    channel = (int)fd;
    if (sys3(NR_ioctl, fd, 0x5401 /* TCGETS */, (long)&mode) < 0)
        fail("TCGETS on " CHANNEL);
    mode.iflag = 0;
    mode.oflag = 0; /* No OPOST: a newline stays one byte. */
    mode.lflag = 0;
    if (sys3(NR_ioctl, fd, 0x5402 /* TCSETS */, (long)&mode) < 0)
        fail("TCSETS on " CHANNEL);
}

static void
write_file(const char *path, const char *text)
{
    long fd = open_file(path, 1 /* O_WRONLY */, 0);

    if (fd < 0 || sys3(NR_write, fd, (long)text, (long)length(text)) < 0)
        fail(path);
    sys3(NR_close, fd, 0, 0);
}

static void
make_cpuset(const char *cpus)
{
    mount_or_fail("cgroup2", "/sys/fs/cgroup", "cgroup2", 0);
    write_file("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset");
    sys3(NR_mkdirat, AT_FDCWD, (long)"/sys/fs/cgroup/lab", 0755);
    write_file("/sys/fs/cgroup/lab/cpuset.cpus", cpus);
}

static long
open_output(const char *path)
{
    long fd = open_file(path, 0x242 /* O_RDWR | O_CREAT | O_TRUNC */, 0600);

    if (fd < 0)
        fail(path);
    return fd;
}

static void
send_output(const char *name, long fd)
{
    long n = sys3(NR_lseek, fd, 0, 2 /* SEEK_END */);
    long got;

    sys3(NR_lseek, fd, 0, 0 /* SEEK_SET */);
    frame(name, "", n < 0 ? 0 : (u64)n);
    while (n > 0 &&
           (got = sys3(NR_read, fd, (long)copy_buffer, n < COPY_ROOM ? n : COPY_ROOM)) > 0) {
        put_bytes(channel, copy_buffer, (u64)got);
        n -= got;
    }
}

static void
become_program(long out, long err, const char *disk, const char *cpuset)
{
    long null = open_file("/dev/null", 0, 0);
    u64 no_signals = 0;
    long error;

    sys6(NR_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&no_signals, 0, sizeof no_signals, 0, 0);
    if (cpuset)
        write_file("/sys/fs/cgroup/lab/cgroup.procs", "0");
    sys3(NR_dup3, null, 0, 0);
    sys3(NR_dup3, out, 1, 0);
    sys3(NR_dup3, err, 2, 0);
    if (disk && (sys3(NR_chroot, (long)"/disk", 0, 0) < 0))
        put(2, "lab init: chroot failed\n");
    sys3(NR_chdir, (long)"/", 0, 0);
    error = sys3(NR_execve, (long)args[0], (long)args, (long)envs);
    put(2, "lab init: cannot execute ");
    put(2, args[0]);
    put(2, ": errno ");
    put_number(2, (u64)-error, 10);
    put(2, "\n");
    sys3(NR_exit, 127, 0, 0);
}

static u64
now(void)
{
    u64 clock[2] = {0, 0};

    sys3(NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, (long)clock, 0);
    return clock[0];
}

/* Waits for `child`, reaping orphans on the way; 0 when the deadline passed first. */
static int
wait_for(long child, u64 deadline, int *status)
{
    u64 sigchld = 1UL << (17 - 1);

    for (;;) {
        u64 one_second[2] = {1, 0};
        long pid;

        while ((pid = sys6(NR_wait4, -1, (long)status, 1 /* WNOHANG */, 0, 0, 0)) > 0)
            if (pid == child)
                return 1;
        if (now() >= deadline)
            return 0;
        sys6(NR_rt_sigtimedwait, (long)&sigchld, 0, (long)one_second, sizeof sigchld, 0, 0);
    }
}

static u64
parse_number(const char *s)
{
    u64 value = 0;

    while (*s >= '0' && *s <= '9')
        value = value * 10 + (u64)(*s++ - '0');
    return value;
}

struct order {
    const char *disk, *cpuset;
    u64 seconds;
    int n_collects, waits;
};

/* Reads the records of one program from `p` and returns where those of the next one begin. */
static char *
read_program(char *p, const char *end, struct order *order)
{
    int n_args = 0, n_envs = 0, more = 1;

    order->disk = order->cpuset = 0;
    order->seconds = 60;
    order->n_collects = order->waits = 0;
    for (; more && p < end; p += length(p) + 1) {
        char *value = p;

        while (*value && *value != ' ')
            value++;
        if (*value)
            *value++ = 0;
        if (n_args == MAX_ITEMS || n_envs == MAX_ITEMS || order->n_collects == MAX_ITEMS)
            fail("too many records in /lab/spec");
        if (same(p, "arg"))
            args[n_args++] = value;
        else if (same(p, "env"))
            envs[n_envs++] = value;
        else if (same(p, "collect"))
            collects[order->n_collects++] = value;
        else if (same(p, "disk"))
            order->disk = value;
        else if (same(p, "cpuset"))
            order->cpuset = value;
        else if (same(p, "wait"))
            order->waits = 1;
        else if (same(p, "timeout"))
            order->seconds = parse_number(value);
        else if (same(p, "next"))
            more = 0;
        else
            fail("unknown record in /lab/spec");
        p = value;
    }
    if (!n_args)
        fail("no arg in /lab/spec");
    args[n_args] = envs[n_envs] = 0;
    return p;
}

static void
mount_disk(const char *disk)
{
    mount_or_fail(disk, "/disk", "ext4", 1 /* MS_RDONLY */);
    mount_or_fail("/dev", "/disk/dev", 0, 4096 /* MS_BIND */);
    mount_or_fail("/proc", "/disk/proc", 0, 4096);
    mount_or_fail("/sys", "/disk/sys", 0, 4096);
    mount_or_fail("/tmp", "/disk/tmp", 0, 4096);
}

static void
run_program(const struct order *order)
{
    u64 sigchld = 1UL << (17 - 1);
    int status = 0;
    long out, err, child;

    if (order->waits && sys3(NR_read, channel, (long)copy_buffer, 1) != 1)
        fail("no byte from the host");
    out = open_output("/tmp/.lab-stdout");
    err = open_output("/tmp/.lab-stderr");
    /* Blocked, so that it is pending for rt_sigtimedwait and cannot be missed. */
    sys6(NR_rt_sigprocmask, 0 /* SIG_BLOCK */, (long)&sigchld, 0, sizeof sigchld, 0, 0);
    child = fork();
    if (child == 0)
        become_program(out, err, order->disk, order->cpuset);
    if (child < 0)
        fail("fork");

    if (!wait_for(child, now() + order->seconds, &status)) {
        sys3(NR_kill, -1, 9, 0);
        frame_text("status", "timeout");
    } else if ((status & 0x7f) == 0) {
        int code = (status >> 8) & 0xff;

        frame("status", "", code < 10 ? 6 : code < 100 ? 7 : 8);
        put(channel, "exit ");
        put_number(channel, (u64)code, 10);
    } else {
        int number = status & 0x7f;

        frame("status", "", number < 10 ? 8 : 9);
        put(channel, "signal ");
        put_number(channel, (u64)number, 10);
    }
    send_output("stdout", out);
    send_output("stderr", err);
    for (int i = 0; i < order->n_collects; i++) {
        long n = slurp(collects[i], collected, COLLECT_ROOM);

        if (n < 0)
            continue; /* Not there: the host sees no such file, and says so if it needs it. */
        frame("file:", collects[i], (u64)n);
        put_bytes(channel, collected, (u64)n);
    }
}

__attribute__((used)) void
start(void)
{
    struct order order;
    long spec_length;
    char *p = spec, *end;

    mount_or_fail("devtmpfs", "/dev", "devtmpfs", 0);
    open_channel();
    frame_text("up", "");
    mount_or_fail("proc", "/proc", "proc", 0);
    mount_or_fail("sysfs", "/sys", "sysfs", 0);
    mount_or_fail("tmpfs", "/tmp", "tmpfs", 0);

    spec_length = slurp("/lab/spec", spec, SPEC_ROOM);
    if (spec_length < 0)
        fail("no /lab/spec");
    end = spec + spec_length;
    p = read_program(p, end, &order);
    if (order.disk)
        mount_disk(order.disk);
    if (order.cpuset)
        make_cpuset(order.cpuset);
    run_program(&order);
    if (p < end) {
        before = "next:";
        read_program(p, end, &order);
        run_program(&order);
        before = "";
    }
    frame_text("end", "");
    power_off();
}
