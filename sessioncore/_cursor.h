/* A text that is read from its beginning on; what sip/_reader.c and sdp/_description.c share. */

#ifndef SESSIONCORE_CURSOR_H
#define SESSIONCORE_CURSOR_H

#include <Python.h>

#include <string.h>

/* What is yet to be read: nothing from `end` on is looked at. */
struct cursor {
    const char *at, *end;
};

/* What was read. */
struct piece {
    const char *at;
    Py_ssize_t size;
};

/* Step over a text, or stay. */
static inline int take(struct cursor *cursor, const char *text)
{
    size_t size = strlen(text);

    if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, text, size) != 0)
        return 0;
    cursor->at += size;
    return 1;
}

#endif
