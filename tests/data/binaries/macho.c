/* See README.md. */
typedef int vector __attribute__((vector_size(32)));

__attribute__((target("avx2"), noinline)) int sum(vector *p)
{
    *p += *p;
    return (*p)[5];
}

int plain(int a)
{
    return a + 1;
}

static vector place;

#ifdef LOAD
__attribute__((constructor)) static void load(void)
{
    sum(&place);
}
#endif

int main(void)
{
#ifdef ENTRY
    return sum(&place);
#else
    return plain(place[0]);
#endif
}
