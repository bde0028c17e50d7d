/* A library whose constructor executes AVX2, always or where CPUID tells of it. See README.md. */
#define BOTH __attribute__((noinline))

typedef void (*run)(void);
static float a[1000], b[1000];

BOTH static int has(void)
{
    unsigned eax = 7, ebx, ecx = 0, edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ebx >> 5 & 1;
}

BOTH __attribute__((target("avx2"))) static void fast(void)
{
    for (int i = 0; i < 1000; i++)
        a[i] = a[i] * b[i] + i;
}

#ifdef ALWAYS
static void begin(void)
{
    fast();
}
__attribute__((used)) static int asked;
__declspec(dllexport) int ask(void)
{
    return asked = has();
}
#else
static void begin(void)
{
    if (has())
        fast();
}
#endif

#ifdef __MINGW32__
__attribute__((constructor)) static void construct(void)
{
    begin();
}
extern run __CTOR_LIST__[];
/* As MinGW's own: the last one first. */
BOTH static void run_all(run *list, unsigned count)
{
    if (count == -1u)
        for (count = 0; list[count + 1]; count++)
            ;
    for (run *each = list + count; count; each--, count--)
        (*each)();
}
#define RUN_ALL() run_all(__CTOR_LIST__, (unsigned)(long long)__CTOR_LIST__[0])
#else
__attribute__((section(".CRT$XCA"), used)) static run volatile first[] = {0};
__attribute__((section(".CRT$XCU"), used)) static run volatile between[] = {begin};
__attribute__((section(".CRT$XCZ"), used)) static run volatile last[] = {0};

int _fltused = 1; /* which Microsoft's library defines for who computes with float */

BOTH void _initterm(run volatile *each, run volatile *behind)
{
    for (; each < behind; each++)
        if (*each)
            (*each)();
}
#define RUN_ALL() _initterm(first, last)
#endif

int __stdcall start(void *library, int reason, void *more)
{
    RUN_ALL();
    return 1;
}
