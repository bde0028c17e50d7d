/* Prints the flags that are safe for wasmtime here.
 *
 *   cc flags.c $(pkg-config --cflags --libs cpuprobe) -o flags
 */
#include <cpuprobe.h>
#include <stdio.h>

int
main(void)
{
    char flags[CPUPROBE_FLAGS_BYTES];
    long length = cpuprobe_safe_flags(0, flags, sizeof flags);

    if (length < 0) {
        fprintf(stderr, "cpuprobe: %s\n", cpuprobe_error_text(length));
        return 3;
    }
    fwrite(flags, 1, (size_t)length, stdout);
    return 0;
}
