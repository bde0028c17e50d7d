/*
 * What a death is believed to mean: candidates that disturb their own process as somebody else
 * might, the first few times or always, and a child that writes nonsense into the shared memory.
 */
#include "test.h"

#include "../../native/session.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Candidates may call C functions here: the stack is the guard's. */
#define CALLS(function)                                                                            \
    static __attribute__((used)) void function(void);                                              \
    __asm__(".pushsection .text.candidates, \"ax\", @progbits\n"                                   \
            "fake_" #function ":\n"                                                                \
            "push %rbp\n mov %rsp, %rbp\n and $-16, %rsp\n"                                        \
            "lea " #function "(%rip), %rax\n call *%rax\n leave\n"                                 \
            "fake_" #function "_end:\n"                                                            \
            "jmp candidate_return\n"                                                               \
            ".popsection\n");                                                                      \
    extern __attribute__((visibility("hidden"))) const uint8_t fake_##function[],                  \
        fake_##function##_end[];

/* Counts how often it is run, and dies of #UD. */
static __attribute__((used)) void count_run(void);
__asm__(".pushsection .text.candidates, \"ax\", @progbits\n"
        "fake_counted_ud2:\n"
        "push %rbp\n mov %rsp, %rbp\n and $-16, %rsp\n"
        "lea count_run(%rip), %rax\n call *%rax\n leave\n"
        "ud2\n"
        "fake_counted_ud2_end:\n"
        "jmp candidate_return\n"
        ".popsection\n");
extern __attribute__((visibility("hidden"))) const uint8_t fake_counted_ud2[],
    fake_counted_ud2_end[];

/* Leaves what `answer` returns in rax. */
static __attribute__((used)) uint64_t answer(void);
__asm__(".pushsection .text.candidates, \"ax\", @progbits\n"
        "fake_answer:\n"
        "push %rbp\n mov %rsp, %rbp\n and $-16, %rsp\n"
        "lea answer(%rip), %rax\n call *%rax\n leave\n"
        "fake_answer_end:\n"
        "jmp candidate_return\n"
        ".popsection\n");
extern __attribute__((visibility("hidden"))) const uint8_t fake_answer[], fake_answer_end[];

#define ROW(function)                                                                              \
    {.name = #function, fake_##function, fake_##function##_end, NULL, STATE_GPR, CHECK_RUNS,       \
     OUTCOME_OK}

CALLS(trap)
CALLS(trap_later)
CALLS(look_at_itself)
CALLS(hang)
CALLS(wait_for_ever)
CALLS(kill_self)
CALLS(send_fault)
CALLS(move_away)
CALLS(scribble)
CALLS(scribble_and_trap)

/* Shared with every child: how often the candidate has run, and how often it misbehaves. */
static struct board {
    volatile int runs, bad_runs;
    volatile uint32_t seed;
} *board;

static void
use_board(int bad_runs)
{
    if (board == NULL)
        board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board->runs = 0;
    board->bad_runs = bad_runs;
}

static bool
misbehaves(void)
{
    return board->runs++ < board->bad_runs;
}

/* 1, but for the run that is number bad_runs. */
static uint64_t
answer(void)
{
    return board->runs++ != board->bad_runs;
}

static void
look_at_itself(void)
{
    struct rlimit core = {1, 1};
    int signal = 0;

    syscall(SYS_prctl, PR_GET_PDEATHSIG, &signal, 0, 0, 0);
    syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, &core);
    board->runs = signal == SIGKILL && core.rlim_cur == 0 && core.rlim_max == 0 &&
                  syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
}

static void
trap_later(void)
{
    if (!misbehaves())
        __builtin_trap();
}

static void
count_run(void)
{
    board->runs++;
}

static void
trap(void)
{
    if (misbehaves())
        __builtin_trap();
}

static void
hang(void)
{
    if (misbehaves())
        for (;;)
            __asm__ volatile("");
}

static void
wait_for_ever(void)
{
    if (misbehaves())
        for (;;)
            syscall(SYS_pause);
}

static void
kill_self(void)
{
    if (misbehaves())
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

static void
send_fault(void)
{
    static const int signals[] = {SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGPROF, SIGALRM};

    for (size_t i = 0; i < sizeof signals / sizeof *signals && misbehaves(); i++)
        syscall(SYS_kill, syscall(SYS_getpid), signals[i]);
}

static void
move_away(void)
{
    unsigned long allowed[16], mask[16] = {0};
    unsigned int here;

    if (!misbehaves())
        return;
    syscall(SYS_getcpu, &here, NULL, NULL);
    syscall(SYS_sched_getaffinity, syscall(SYS_getppid), sizeof allowed, allowed);
    for (unsigned int cpu = 0; cpu < sizeof allowed * 8; cpu++)
        if (allowed[cpu / 64] >> cpu % 64 & 1 && cpu != here) {
            mask[cpu / 64] = 1ul << cpu % 64;
            syscall(SYS_sched_setaffinity, 0, sizeof mask, mask);
            return;
        }
}

/* Where measure.c's shared memory lies: the shared mapping that is not the board. */
static bool
find_shared(uint8_t **begin, uint8_t **end)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    bool found = false;

    while (!found && maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        char rights[5];

        found = sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 &&
                strcmp(rights, "rw-s") == 0 && from != (unsigned long)board;
        *begin = (uint8_t *)from;
        *end = (uint8_t *)to;
    }
    if (maps != NULL)
        fclose(maps);
    return found;
}

static void
scribble(void)
{
    uint32_t noise = board->seed;
    uint8_t *begin, *end;

    if (!misbehaves() || !find_shared(&begin, &end))
        return;
    board->seed = 0; /* it was found */
    for (uint8_t *at = begin; at < end; at++) {
        noise = noise * 1664525 + 1013904223;
        *at = (uint8_t)(noise >> 24);
    }
}

static void
scribble_and_trap(void)
{
    scribble();
    __builtin_trap();
}

/* Measures the candidate between two good ones, on one CPU; 0 records where there is an error. */
static struct measurement
measure_one(const struct fake *row, int bad_runs)
{
    static struct candidate candidates[3];
    const struct fake rows[] = {good, *row, good};
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true};
    struct candidate_table table = table_of(rows, 3, candidates);
    struct measurement measurement;
    struct reason reason;

    use_board(bad_runs);
    if (measure(&options, &table, &measurement, &reason) != ERROR_NONE)
        measurement.record_count = 0;
    return measurement;
}

#define ALWAYS 1000000

void
only_a_repeat_is_believed(void)
{
    static const struct {
        struct fake row;
        int bad_runs;
        uint8_t outcome, disturbance;
    } cases[] = {
        {ROW(trap), 1, OUTCOME_OK, DISTURBANCE_NONE},
        {ROW(trap), 2, OUTCOME_KILLED, DISTURBANCE_NONE},
        {ROW(hang), 1, OUTCOME_OK, DISTURBANCE_NONE},
        {ROW(hang), ALWAYS, OUTCOME_TIMEOUT, DISTURBANCE_NONE},
        {ROW(wait_for_ever), 1, OUTCOME_OK, DISTURBANCE_NONE},
        {ROW(wait_for_ever), ALWAYS, OUTCOME_SKIPPED, DISTURBANCE_BLOCKED},
        {ROW(kill_self), 2, OUTCOME_OK, DISTURBANCE_NONE},
        {ROW(kill_self), ALWAYS, OUTCOME_SKIPPED, DISTURBANCE_KILLED},
        {ROW(send_fault), ALWAYS, OUTCOME_OK, DISTURBANCE_NONE},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct measurement measurement = measure_one(&cases[i].row, cases[i].bad_runs);
        const struct cpu_record *record = measurement.records;

        CHECK(measurement.record_count == 1, "%s", cases[i].row.name);
        EXPECT(record->measured && (record->pinned || emulated), "%s", cases[i].row.name);
        EXPECT(record->outcome[0] == OUTCOME_OK && record->outcome[2] == OUTCOME_OK, "%s",
               cases[i].row.name);
        EXPECT(record->outcome[1] == cases[i].outcome, "%s, %d times: outcome %d",
               cases[i].row.name, cases[i].bad_runs, record->outcome[1]);
        EXPECT(record->disturbance[1] == cases[i].disturbance, "%s, %d times: %d",
               cases[i].row.name, cases[i].bad_runs, record->disturbance[1]);
        release(&measurement);
    }
}

/* No core file, not even through a pipe, and no life after the parent's. */
void
the_child_leaves_nothing_behind(void)
{
    static const struct fake row = ROW(look_at_itself);
    struct measurement measurement = measure_one(&row, 0);

    CHECK(measurement.record_count == 1);
    CHECK(board->runs == 1);
    release(&measurement);
}

extern __attribute__((visibility("hidden"))) const uint8_t fake_cpu_number[], fake_cpu_number_end[];

/* Moved once it starts over; moved time and again it tells of some CPU, and not of its number. */
void
a_moved_child_tells_of_some_cpu(void)
{
    static const struct {
        int bad_runs;
        bool pinned;
        uint8_t outcome, disturbance;
    } cases[] = {
        {1, true, OUTCOME_OK, DISTURBANCE_NONE},
        {ALWAYS, false, OUTCOME_SKIPPED, DISTURBANCE_MOVED},
    };
    const struct fake rows[] = {
        good,
        ROW(move_away),
        {.name = "cpu_number", fake_cpu_number, fake_cpu_number_end, NULL, STATE_GPR, CHECK_CPU,
         OUTCOME_OK, NULL, {{LOCATION_GPR, 0, 8}}},
        good,
    };
    static struct candidate candidates[4];
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true};
    struct candidate_table table = table_of(rows, 4, candidates);
    struct measurement measurement;
    struct reason reason;
    cpu_set_t allowed;

    sched_getaffinity(0, sizeof allowed, &allowed);
    if (CPU_COUNT(&allowed) < 2)
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        use_board(cases[i].bad_runs);
        CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE, "%s", reason.text);
        CHECK(measurement.records[0].measured);
        EXPECT(measurement.records[0].pinned == cases[i].pinned, "%d times", cases[i].bad_runs);
        EXPECT(measurement.records[0].outcome[2] == cases[i].outcome, "%d times: outcome %d",
               cases[i].bad_runs, measurement.records[0].outcome[2]);
        EXPECT(measurement.records[0].disturbance[2] == cases[i].disturbance);
        EXPECT(measurement.records[0].outcome[3] == OUTCOME_OK);
        release(&measurement);
    }
}

/* Whatever stands in the shared memory, the parent survives it and writes a document or an error. */
void
nonsense_in_shared_memory(void)
{
    static const struct fake scribblers[] = {ROW(scribble), ROW(scribble_and_trap)};
    static struct candidate candidates[3];
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true};
    int found = 0;

    for (uint32_t seed = 1; seed <= 200; seed++) {
        const struct fake rows[] = {good, scribblers[seed % 2], good};
        struct candidate_table table = table_of(rows, 3, candidates);
        struct writer writer = {0};
        struct reason reason;

        use_board(seed % 3 == 0 ? ALWAYS : 1);
        board->seed = seed;
        if (cpuprobe_observe(&options, &table, &writer, &reason) == ERROR_NONE)
            CHECK(writer.length > 2 && writer.text[writer.length - 2] == '}');
        else
            CHECK(reason.text[0] != '\0');
        found += board->seed == 0;
        release_writer(&writer);
    }
    CHECK(found == 200, "scribbled in %d of 200 runs", found);
}

/* The parent is killed after the fork and before the child can ask for a signal at its death. */
void
an_orphan_ends(void)
{
    struct options options = {.root = "", .execute = true};
    struct candidate candidates[1];
    struct candidate_table table = table_of(&good, 1, candidates);
    uint32_t cpu = (uint32_t)atoi(one_cpu());
    struct session session = {&options, &table, NULL, &cpu, 1, 0};
    int status = 0, ends[2];
    pid_t parent, orphan = 0;

    session.shared = mmap(NULL, sizeof *session.shared + sizeof(struct cpu_record),
                          PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(session.shared != MAP_FAILED && pipe(ends) == 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    parent = fork();
    if (parent == 0) {
        session.parent = getpid();
        orphan = fork();
        if (orphan == 0) {
            raise(SIGSTOP);
            child(&session);
        }
        waitpid(orphan, &status, WUNTRACED);
        if (write(ends[1], &orphan, sizeof orphan) != sizeof orphan)
            _exit(1);
        pause();
    }
    CHECK(read(ends[0], &orphan, sizeof orphan) == sizeof orphan);
    kill(parent, SIGKILL);
    CHECK(waitpid(parent, &status, 0) == parent);
    kill(orphan, SIGCONT);
    CHECK(waitpid(orphan, &status, 0) == orphan);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    close(ends[0]);
    close(ends[1]);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ORPHAN, "status %x", status);
    munmap(session.shared, sizeof *session.shared + sizeof(struct cpu_record));
}

static int
stop_now(void)
{
    return 1;
}

static int
go_on(void)
{
    return 0;
}

static void
ignore_alarm(int signal)
{
    (void)signal;
}

/* A signal's arrival ends the measurement if the caller says so, and the child with it. */
void
an_interruption_ends_both(void)
{
    const struct itimerval soon = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
    static struct candidate candidates[1];
    const struct fake row = ROW(hang);
    struct candidate_table table = table_of(&row, 1, candidates);
    struct options options = {
        .root = "", .cpus = one_cpu(), .execute = true, .interrupted = stop_now};
    struct sigaction action = {.sa_handler = ignore_alarm}, old;
    struct measurement measurement;
    struct reason reason;
    enum error stopped, finished;

    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &soon, NULL);
    use_board(ALWAYS);
    stopped = measure(&options, &table, &measurement, &reason);
    options.interrupted = go_on;
    finished = measure(&options, &table, &measurement, &reason);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    CHECK(stopped == ERROR_INTERRUPTED, "%d", stopped);
    CHECK(finished == ERROR_NONE, "%d", finished);
    CHECK(measurement.records[0].outcome[0] == OUTCOME_TIMEOUT);
    release(&measurement);
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
}

/*
 * Measures two candidates that die of #UD, the second building on the first, on every CPU. Both
 * features are ones that CPUID denies here, or both ones that it claims.
 */
static struct measurement
measure_dying(bool denied_ones)
{
    const struct fake dying = {.name = "ud2", fake_counted_ud2, fake_counted_ud2_end, NULL,
                               STATE_GPR, CHECK_RUNS, OUTCOME_SIGILL};
    const struct fake rows[] = {good, dying, dying};
    static struct feature_set sets[3];
    static struct candidate candidates[3];
    struct options options = {.root = "", .execute = false};
    struct candidate_table table = table_of(rows, 3, candidates);
    struct measurement measurement;
    struct reason reason;
    struct feature_bits denied;
    int bit = 0;

    if (measure(&options, &table, &measurement, &reason) != ERROR_NONE)
        return measurement;
    find_denied(&measurement.records[0].identity, &denied);
    release(&measurement);
    while ((denied.word[0] >> bit & 1) != denied_ones)
        bit++;
    for (int i = 0; i < 3; i++) {
        candidates[i].set = (uint8_t)i;
        sets[i] = (struct feature_set){.names = "fake"};
    }
    sets[1].features.word[0] = sets[2].features.word[0] = 1ull << bit;
    table.sets = sets;
    options.execute = true;
    use_board(0);
    if (measure(&options, &table, &measurement, &reason) != ERROR_NONE)
        measurement.record_count = 0;
    return measurement;
}

/* What CPUID denies dies once, on one of the CPUs that say the same of themselves. */
void
what_is_denied_dies_once(void)
{
    struct measurement measurement = measure_dying(true);

    CHECK(measurement.record_count > 0);
    CHECK(board->runs == 1, "%d runs", board->runs);
    for (uint32_t i = 0; i < measurement.record_count; i++) {
        const struct cpu_record *record = &measurement.records[i];

        CHECK(record->outcome[0] == OUTCOME_OK);
        CHECK(record->outcome[1] == OUTCOME_SIGILL, "%u: %d", i, record->outcome[1]);
        CHECK(record->outcome[2] == OUTCOME_SKIPPED, "%u: %d", i, record->outcome[2]);
        CHECK(record->borrowed == (i > 0));
    }
    release(&measurement);
}

/* What CPUID claims is tried on every CPU, whatever has died before. */
void
what_is_claimed_is_tried_everywhere(void)
{
    struct measurement measurement = measure_dying(false);

    CHECK(measurement.record_count > 0);
    CHECK(board->runs == 2 * (int)measurement.record_count, "%d runs", board->runs);
    for (uint32_t i = 0; i < measurement.record_count; i++) {
        CHECK(measurement.records[i].outcome[1] == OUTCOME_SIGILL);
        CHECK(measurement.records[i].outcome[2] == OUTCOME_SIGILL);
        CHECK(!measurement.records[i].borrowed);
    }
    release(&measurement);
}

#define ROUNDS 50

/* A CPU that errs once in many rounds is known by its number; the others are not suspected. */
void
one_error_names_its_cpu(void)
{
    const struct fake rows[] = {
        good,
        {.name = "answer", fake_answer, fake_answer_end, NULL, STATE_GPR, CHECK_VALUE, OUTCOME_OK,
         "\1\0\0\0\0\0\0\0", {{LOCATION_GPR, 0, 8}}},
        good,
    };
    static struct candidate candidates[3];
    struct options options = {.root = "", .execute = true, .repeat = ROUNDS};
    struct candidate_table table = table_of(rows, 3, candidates);
    struct measurement measurement;
    struct reason reason;
    cpu_set_t allowed;
    uint32_t last;

    sched_getaffinity(0, sizeof allowed, &allowed);
    last = (uint32_t)CPU_COUNT(&allowed) - 1;
    use_board((int)last * ROUNDS + 20);
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE, "%s", reason.text);
    CHECK(measurement.record_count == last + 1);
    for (uint32_t i = 0; i <= last; i++) {
        const struct cpu_record *record = &measurement.records[i];

        CHECK(record->rounds == ROUNDS);
        CHECK(record->failures[1] == (i == last), "CPU %u: %u failures", i, record->failures[1]);
        CHECK(record->outcome[1] == (i == last ? OUTCOME_WRONG : OUTCOME_OK));
        CHECK(record->failures[0] == 0 && record->failures[2] == 0);
        CHECK(record->outcome[0] == OUTCOME_OK && record->outcome[2] == OUTCOME_OK);
    }
    CHECK(board->runs == (int)(last + 1) * ROUNDS, "%d runs", board->runs);
    release(&measurement);
}

static uint64_t
rotated(uint64_t value, int bytes)
{
    return bytes == 0 ? value : value << 8 * bytes | value >> (64 - 8 * bytes);
}

/* Rounds take other inputs, whose results are known by their checksum (FNV-1a). */
void
inputs_change_from_round_to_round(void)
{
    static struct candidate candidates[1];
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true, .repeat = 9};
    struct candidate_table table = table_of(&good, 1, candidates);
    struct measurement measurement;
    struct reason reason;

    for (int number = 1; number < INPUT_VARIANTS; number++) {
        /* good is LEA rdx, [rax+rcx+1] with rax = 1000H and rcx = 200H */
        uint64_t sum = rotated(0x1000, number) + rotated(0x200, number) + 1;
        uint32_t checksum = 0x811c9dc5;

        for (int byte = 0; byte < 8; byte++)
            checksum = (checksum ^ (uint8_t)(sum >> 8 * byte)) * 0x01000193;
        candidates[0].variants[number - 1] = checksum;
    }
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE, "%s", reason.text);
    CHECK(measurement.records[0].failures[0] == 0);
    CHECK(measurement.records[0].outcome[0] == OUTCOME_OK);
    release(&measurement);
    candidates[0].variants[1] ^= 1; /* rounds 2 and 6 of 0 to 8 */
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE, "%s", reason.text);
    CHECK(measurement.records[0].failures[0] == 2, "%u", measurement.records[0].failures[0]);
    CHECK(measurement.records[0].outcome[0] == OUTCOME_WRONG);
    release(&measurement);
}

/* Deaths in later rounds are believed as those of the first are: by a repeat. */
void
a_later_round_may_kill(void)
{
    static struct candidate candidates[2];
    const struct fake rows[] = {ROW(trap_later), good};
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true, .repeat = 9};
    struct candidate_table table = table_of(rows, 2, candidates);
    struct measurement measurement;
    struct reason reason;

    use_board(1);
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE, "%s", reason.text);
    CHECK(measurement.records[0].outcome[0] == OUTCOME_KILLED);
    CHECK(measurement.records[0].outcome[1] == OUTCOME_OK);
    CHECK(measurement.records[0].rounds == 9);
    release(&measurement);
}

static uint64_t told_done, told_of;

static void
take_progress(uint64_t done, uint64_t of)
{
    told_done = done;
    told_of = of;
}

void
progress_is_told(void)
{
    static struct candidate candidates[1];
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true, .repeat = 400000,
                              .progress = take_progress};
    struct candidate_table table = table_of(&good, 1, candidates);
    struct measurement measurement;
    struct reason reason;

    told_done = told_of = 0;
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE, "%s", reason.text);
    CHECK(told_of == 400000 && told_done <= told_of);
    release(&measurement);
}
