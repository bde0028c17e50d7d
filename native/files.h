/*
 * Reading the kernel's files below a root, line by line.
 */
#ifndef CPUPROBE_FILES_H
#define CPUPROBE_FILES_H

#include "core.h"

#define LINE_BYTES 8192
#define MAXIMUM_FILE (64u << 20) /* bytes read of one: /proc/cpuinfo of 8,192 CPUs needs 16 MiB */

struct kernel_told;

struct file {
    long descriptor;
    size_t length, at;
    char buffer[4096];
};

bool open_file(struct file *file, const char *root, const char *path);
void close_file(struct file *file);
long read_line(struct file *file, char *line, size_t capacity, size_t *taken);
size_t line_of(const char *root, const char *path, char *line, size_t capacity);

/* cpuinfo.c: whether the file is there and certainly the kernel's own. */
bool write_cpuinfo(struct writer *writer, const char *root, struct kernel_told *kernel);

/* cmdline.c */
void write_command_line(struct writer *writer, const char *root, struct kernel_told *told);

#endif
