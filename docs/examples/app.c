/* The program of the README's examples, built for more than every x86-64 CPU has:
 *
 *     gcc -O3 -ffast-math -march=x86-64-v3 -static -nostdlib -ffreestanding -fno-stack-protector \
 *         -fcf-protection=none -Wl,--build-id=none -o app app.c
 *
 * app.core is what `qemu-x86_64 -cpu Nehalem app` leaves when it dies.
 */

static float left[64], right[64];

float
dot(const float *a, const float *b)
{
    float sum = 0;

    for (int i = 0; i < 64; i++)
        sum += a[i] * b[i];
    return sum;
}

void
_start(void)
{
    int status = dot(left, right) != 0;

    __asm__ volatile("syscall" : : "a"(60), "D"(status) : "rcx", "r11", "memory");
    __builtin_unreachable();
}
