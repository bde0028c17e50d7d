/* Made small: no C library. See README.md. */
typedef int vector __attribute__((vector_size(32)));

__declspec(dllexport) __attribute__((target("avx2"), noinline)) int sum(vector *p)
{
    int stack[64];
    *p += *p;
    for (int i = 0; i < 64; i++)
        ((volatile int *)stack)[i] = (*p)[i & 7];
    return ((volatile int *)stack)[5];
}

__declspec(dllexport) int plain(int a)
{
    return a + 1;
}

static vector place;

#ifdef TLS
void __stdcall callback(void *module, unsigned reason, void *reserved)
{
    sum(&place);
}

void *callbacks[] = {callback, 0};
unsigned slot;
unsigned long long _tls_used[5] __attribute__((used)) = {
    0, 0, (unsigned long long)&slot, (unsigned long long)callbacks, 0};
#endif

int start(void)
{
#ifdef ENTRY
    return sum(&place);
#else
    return plain(place[0]);
#endif
}
