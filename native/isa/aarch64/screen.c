/*
 * What cpuprobe-native says on a terminal here: it measures, and the verdict is Python's.
 */
#include "../../command/command.h"

int
command_screen(const struct request *request)
{
    static const char words[] =
        "cpuprobe-native measures this machine and does not judge it. What it finds is read\n"
        "on any machine with Python:\n"
        "\n"
        "  cpuprobe-native > machine.json\n"
        "  cpuprobe inspect machine.json\n";

    (void)request;
    print(1, words, sizeof words - 1);
    return EXIT_GOOD;
}
