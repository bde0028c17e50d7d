/* What the emulator itself costs: `make bench` holds the probe under qemu-aarch64 against it. */
#include <stdio.h>

int
main(void)
{
    puts("hello");
    return 0;
}
