/*
 * Reading the kernel's files below a root, line by line: a FIFO, a device or an endless line there
 * neither hangs the probe nor fills its memory.
 */
#include "files.h"
#include "syscalls.h"

#include <linux/fcntl.h>

#define PATH_BYTES 512

bool
open_file(struct file *file, const char *root, const char *path)
{
    char full[PATH_BYTES];
    size_t root_length = text_length(root), path_length = text_length(path);

    if (root_length + path_length >= sizeof full)
        return false;
    copy_bytes(full, root, root_length);
    copy_bytes(full + root_length, path, path_length + 1);
    file->length = file->at = 0;
    /* O_NONBLOCK: a FIFO planted below --root must not hang us. */
    file->descriptor =
        syscall4(__NR_openat, AT_FDCWD, full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    return file->descriptor >= 0;
}

void
close_file(struct file *file)
{
    syscall1(__NR_close, file->descriptor);
}

/* Reads on where the buffer is used up; false at the end of the file and on any error. */
static bool
fill(struct file *file)
{
    long got;

    if (file->at < file->length)
        return true;
    got = syscall3(__NR_read, file->descriptor, file->buffer, sizeof file->buffer);
    file->at = 0;
    file->length = got > 0 ? (size_t)got : 0;
    return got > 0;
}

/*
 * Reads a line without its newline; what does not fit is dropped.
 * Returns its length, or -1 at the end of the file. `taken` counts the bytes read.
 */
long
read_line(struct file *file, char *line, size_t capacity, size_t *taken)
{
    size_t length = 0;
    bool ended = false;

    if (!fill(file))
        return -1;
    while (!ended && *taken <= MAXIMUM_FILE && fill(file)) {
        const char *from = file->buffer + file->at;
        size_t run = 0, rest = file->length - file->at, room = capacity - 1 - length;

        while (run < rest && from[run] != '\n')
            run++;
        ended = run < rest;
        copy_bytes(line + length, from, run < room ? run : room);
        length += run < room ? run : room;
        file->at += run + ended;
        *taken += run + ended;
    }
    line[length] = '\0';
    return (long)length;
}

/* The first line of a file, without its newline; 0 where there is none. */
size_t
line_of(const char *root, const char *path, char *line, size_t capacity)
{
    struct file file;
    size_t taken = 0;
    long length;

    if (!open_file(&file, root, path))
        return 0;
    length = read_line(&file, line, capacity, &taken);
    close_file(&file);
    return length < 0 ? 0 : (size_t)length;
}
