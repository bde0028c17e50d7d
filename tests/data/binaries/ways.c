/* A library that asks what the CPU can do, and guards what is beyond it, or does not. See README.md. */
#include <cpuid.h>
#ifdef _WIN32
#include <windows.h>
#define EXPORTED __declspec(dllexport)
#define PAUSE() Sleep(1)
#define RUN(call, with) CreateThread(0, 0, call, with, 0, 0)
#define HAND(table) TlsSetValue(1, table)
/* What is kept then is in RSI or RDI, which functions keep on Windows alone. */
#define USED "rbx", "rbp", "r12", "r13", "r14", "r15"
#else
extern int nap(int), run(unsigned long (*)(void *), void *), hand(void *);
#define EXPORTED
#define PAUSE() nap(1)
#define RUN(call, with) run(call, with)
#define HAND(table) hand(table)
#define USED "r12"
#endif
#define BOTH __attribute__((noinline))

static float a[1000], b[1000];

BOTH static int has(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ebx >> 5 & 1;
}

BOTH __attribute__((target("avx2"))) static unsigned long fast(void *many)
{
    for (int i = 0; i < 1000; i++)
        a[i] = a[i] * b[i] + (int)(long long)many;
    return 0;
}

BOTH static unsigned long slow(void *many)
{
    for (int i = 0; i < 1000; i++)
        a[i] = a[i] * b[i] + (int)(long long)many;
    return 1;
}

struct method {
    const char *name;
    unsigned long (*call)(void *);
} methods[] = {{"slow", slow}, {"fast", fast}};

struct module {
    const char *name;
    struct method *methods;
} module = {"module", methods};

EXPORTED unsigned long work(void *many)
{
    int can = has();

    PAUSE();
#ifdef CHOOSES
    __asm__ volatile("" : : : USED);
    return can ? fast(many) : slow(many);
#elif defined(THREAD)
    RUN(fast, many);
#elif defined(TABLE)
    HAND(&module);
#endif
    return (unsigned long)can;
}

int start(void)
{
    return 1;
}
