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

#ifdef SWITCH
int one(int), two(int), three(int);

int choose(int a)
{
    switch (a) {
    case 0: return one(1) + 7;
    case 1: return two(2) * 3;
    case 2: return three(4);
    case 3: return one(3) ^ two(9);
    case 4: return sum(&place);
    case 5: return two(one(a));
    }
    return 0;
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
