/* Reads usual session descriptions (RFC 8866 sections 5 and 9).
 *
 * Optional: description.py finds the same with a regular expression.  For all other descriptions
 * the result is None, and description.py reads them line by line; nothing is refused here.  The
 * octets come from a stranger: no cursor passes its end, and the results are slices of the
 * description.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "../_cursor.h"

/* As in sessioncore/sdp/description.py. */
#define MAX_REMEMBERED 1024
#define MAX_CONNECTION 300
#define MAX_FORMATS 64

/* The classes of octets: number, word, line. */
enum { DIGIT = 1, WORD = 2, LINE = 4 };
static unsigned char kinds[256];

static void fill_kinds(void)
{
    for (int c = 1; c < 256; c++)
        kinds[c] = (c >= '0' && c <= '9' ? DIGIT : 0) | (c > ' ' && c < 0x7f ? WORD : 0) |
                   (c != '\r' && c != '\n' ? LINE : 0);
}

/* Skip all octets of a class; returns their number. */
static Py_ssize_t span(struct cursor *cursor, unsigned char kind)
{
    const char *start = cursor->at;

    while (cursor->at < cursor->end && kinds[(unsigned char)*cursor->at] & kind)
        cursor->at++;
    return cursor->at - start;
}

static int take_number(struct cursor *cursor, Py_ssize_t most)
{
    Py_ssize_t size = span(cursor, DIGIT);

    return 0 < size && size <= most;
}

/* The octets between a position and the cursor. */
static struct piece since(const char *start, struct cursor *cursor)
{
    return (struct piece){start, cursor->at - start};
}

/* Whether no blank ends what was stepped over. */
static int is_clean(const struct cursor *cursor)
{
    return cursor->at[-1] != ' ' && cursor->at[-1] != '\t';
}

/* 5.2 The value of o=, with a user name without spaces. */
static int take_origin(struct cursor *cursor)
{
    return span(cursor, WORD) && take(cursor, " ") && take_number(cursor, 20) &&
           take(cursor, " ") && take_number(cursor, 20) && take(cursor, " ") &&
           span(cursor, WORD) && take(cursor, " ") && span(cursor, WORD) && take(cursor, " ") &&
           span(cursor, WORD);
}

/* 5.7 The value of c=. */
static int take_connection(struct cursor *cursor)
{
    return span(cursor, WORD) && take(cursor, " ") && span(cursor, WORD) && take(cursor, " ") &&
           span(cursor, WORD);
}

/* 5.4 to 5.12 Lines whose value is not used. */
static void skip_lines(struct cursor *cursor)
{
    while (cursor->end - cursor->at >= 4 && memcmp(cursor->at, "\r\n", 2) == 0 &&
           memchr("iuepbzrk", cursor->at[2], 8) && cursor->at[3] == '=') {
        cursor->at += 4;
        span(cursor, LINE);
    }
}

/* 5.14 A port, or 0 if there is none. */
static int take_port(struct cursor *cursor)
{
    const char *digits = cursor->at;
    int port = 0;

    if (!take_number(cursor, 5) || *digits == '0')
        return 0;
    for (; digits < cursor->at; digits++)
        port = port * 10 + (*digits - '0');
    return port <= 65535 ? port : 0;
}

static int take_formats(struct cursor *cursor)
{
    int count = 0;

    while (take(cursor, " "))
        if (++count > MAX_FORMATS || !span(cursor, WORD))
            return 0;
    return count;
}

/* Lines that are not empty and that no blank ends, up to the next m-line or beyond. */
static void take_lines(struct cursor *cursor, int beyond)
{
    struct cursor ahead = *cursor;

    while (take(&ahead, "\r\n") && (beyond || !take(&ahead, "m=")) && span(&ahead, LINE) &&
           is_clean(&ahead))
        *cursor = ahead;
}

/* find(body) -> the groups of description._USUAL, the port a number, or None */
static PyObject *find(PyObject *self, PyObject *body)
{
    struct piece origin, where = {NULL, 0}, times, attributes, section, others;
    struct cursor cursor;
    const char *start;
    int port;

    if (!PyBytes_Check(body))
        return PyErr_Format(PyExc_TypeError, "find(body)");
    cursor.at = PyBytes_AS_STRING(body);
    cursor.end = cursor.at + PyBytes_GET_SIZE(body);
    if (PyBytes_GET_SIZE(body) > MAX_REMEMBERED || !take(&cursor, "v=0\r\no="))
        Py_RETURN_NONE;
    start = cursor.at;
    if (!take_origin(&cursor))
        Py_RETURN_NONE;
    origin = since(start, &cursor);
    if (!take(&cursor, "\r\ns="))
        Py_RETURN_NONE;
    span(&cursor, LINE);
    skip_lines(&cursor);
    if (take(&cursor, "\r\nc=")) {
        start = cursor.at;
        if (!take_connection(&cursor) || cursor.at - start > MAX_CONNECTION)
            Py_RETURN_NONE;
        where = since(start, &cursor);
        skip_lines(&cursor);
    }
    if (!take(&cursor, "\r\nt="))
        Py_RETURN_NONE;
    start = cursor.at;
    if (!take_number(&cursor, 20) || !take(&cursor, " ") || !take_number(&cursor, 20))
        Py_RETURN_NONE;
    times = since(start, &cursor);
    start = cursor.at;
    while (take(&cursor, "\r\na=")) {
        span(&cursor, LINE);
        if (!is_clean(&cursor))
            Py_RETURN_NONE;
    }
    attributes = since(start, &cursor);
    if (!take(&cursor, "\r\nm=audio ") || !(port = take_port(&cursor)) || !take(&cursor, " "))
        Py_RETURN_NONE;
    start = cursor.at;
    if (!take(&cursor, "RTP/AVP") || !take_formats(&cursor))
        Py_RETURN_NONE;
    take_lines(&cursor, 0);
    section = since(start, &cursor);
    start = cursor.at;
    take_lines(&cursor, 1);
    others = since(start, &cursor);
    while (take(&cursor, "\r\n"))
        ;
    if (cursor.at != cursor.end)
        Py_RETURN_NONE;
    return Py_BuildValue("(y#y#y#y#iy#y#)", origin.at, origin.size, where.at, where.size,
                         times.at, times.size, attributes.at, attributes.size, port, section.at,
                         section.size, others.at, others.size);
}

static PyMethodDef methods[] = {
    {"find", find, METH_O, "What a plain description says, or None."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sessioncore.sdp._description",
    .m_doc = "Session descriptions in which nothing is unusual, read in C.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__description(void)
{
    PyObject *made = PyModule_Create(&module), *names = Py_BuildValue("[s]", "find");

    fill_kinds();
    if (made == NULL || names == NULL || PyModule_AddObjectRef(made, "__all__", names) < 0 ||
        PyModule_AddIntConstant(made, "INTERFACE", 2) < 0)
        Py_CLEAR(made);
    Py_XDECREF(names);
    return made;
}
