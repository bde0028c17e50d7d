/*
 * The command line of cpuprobe-native: main.c reads it, the files here do what it asks.
 */
#ifndef CPUPROBE_COMMAND_H
#define CPUPROBE_COMMAND_H

#include "../flags.h"

enum exit_code {
    EXIT_GOOD,
    EXIT_FINDING,        /* a flag does not hold here */
    EXIT_USAGE,          /* the command line is none */
    EXIT_CANNOT_MEASURE, /* or write */
    EXIT_UNREADABLE,     /* the input is none */
};

/* What the command line asks for. */
struct request {
    struct options options;
    const char *file; /* to check; "-": standard input */
    const char *wasmtime;
    struct target target;
    enum flag_format format;
};

/* main.c */
void print(int descriptor, const char *text, size_t length);
void complain(const char *subject, const char *what);
int print_written(struct writer *writer);
int survey_or_complain(const struct request *request, struct survey *survey);

int command_flags(const struct request *request);
int command_level(const struct request *request);
int command_check(const struct request *request);
int command_screen(const struct request *request);

#endif
