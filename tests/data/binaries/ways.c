/* A library for Windows that asks what the CPU can do, and guards what is beyond it, or does not. See
 * README.md. */
#include <cpuid.h>
#include <windows.h>
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

__declspec(dllexport) unsigned long work(void *many)
{
    int can = has();

    Sleep(1);
#ifdef CHOOSES
    /* It is kept in RSI or RDI, which functions keep on Windows alone. */
    __asm__ volatile("" : : : "rbx", "rbp", "r12", "r13", "r14", "r15");
    return can ? fast(many) : slow(many);
#elif defined(THREAD)
    CreateThread(0, 0, fast, many, 0, 0);
#elif defined(TABLE)
    TlsSetValue(1, &module);
#endif
    return (unsigned long)can;
}

int start(void)
{
    return 1;
}
