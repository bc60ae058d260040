/* SIP messages in which nothing is unusual (RFC 3261 sections 7, 8.1.1, 18.3 and 25.1).
 *
 * Optional: message.py reads the same with patterns, and all else, faulty or not, for which the
 * answer is None: nothing is refused here.  The octets are a stranger's: no cursor passes its
 * end, and what is made of them are pieces of the message, one of each known header field.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

/* As in sessioncore/sip/grammar.py. */
#define MAX_MESSAGE 65535
#define MAX_LINE 16384
#define MAX_REMEMBERED 255

/* What an octet may be part of: a token, a Request-URI that is yet to be read, blanks. */
enum { TOKEN = 1, URI = 2, BLANK = 4 };
static unsigned char kinds[256];

static void fill_kinds(void)
{
    const char *tokens = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~";

    for (int c = 1; c < 256; c++)
        kinds[c] = (strchr(tokens, c) ? TOKEN : 0) | (c > ' ' && c != 0x7f ? URI : 0) |
                   (strchr(" \t\v\f", c) ? BLANK : 0);
}

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
static int take(struct cursor *cursor, const char *text)
{
    size_t size = strlen(text);

    if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, text, size) != 0)
        return 0;
    cursor->at += size;
    return 1;
}

/* Step over all octets of a kind; whether there is one. */
static int span(struct cursor *cursor, unsigned char kind, struct piece *piece)
{
    piece->at = cursor->at;
    while (cursor->at < cursor->end && kinds[(unsigned char)*cursor->at] & kind)
        cursor->at++;
    piece->size = cursor->at - piece->at;
    return piece->size > 0;
}

/* Step to the next such octet; whether there is one. */
static int until(struct cursor *cursor, char octet, struct piece *piece)
{
    const char *found = memchr(cursor->at, octet, (size_t)(cursor->end - cursor->at));

    if (found == NULL)
        return 0;
    *piece = (struct piece){cursor->at, found - cursor->at};
    cursor->at = found;
    return 1;
}

/* Step to the end of a line; whether a carriage return ends it. */
static int rest_of_line(struct cursor *cursor, struct piece *piece)
{
    return until(cursor, '\r', piece) && !memchr(piece->at, '\n', (size_t)piece->size);
}

/* 7.1 Request-Line: method and Request-URI, status 0.  7.2 Status-Line: the reason is second. */
static int read_start(struct cursor *cursor, struct piece words[2], int *status)
{
    *status = 0;
    if (!take(cursor, "SIP/2.0 "))
        return span(cursor, TOKEN, &words[0]) && take(cursor, " ") &&
               span(cursor, URI, &words[1]) && take(cursor, " SIP/2.0");
    for (int i = 0; i < 3; i++, cursor->at++) {
        if (cursor->at == cursor->end || *cursor->at < '0' || *cursor->at > '9')
            return 0;
        *status = *status * 10 + (*cursor->at - '0');
    }
    return 100 <= *status && *status < 700 && take(cursor, " ") && rest_of_line(cursor, &words[1]);
}

/* 7.3 A header field on one line, without white space around its value. */
static int read_field(struct cursor *cursor, struct piece *name, struct piece *value)
{
    /* What stands before the end of the line is at worst the colon. */
    return span(cursor, TOKEN, name) && take(cursor, ":") && (span(cursor, BLANK, value), 1) &&
           rest_of_line(cursor, value) && !(kinds[(unsigned char)cursor->at[-1]] & BLANK);
}

/* All header fields, by the one spelling of their names (7.3.3); then the cursor is at the body.
 * 1 where all are known and there once, otherwise 0; -1 with an exception. */
static int read_fields(struct cursor *cursor, PyObject *spellings, PyObject *firsts)
{
    struct piece name, value;

    for (Py_ssize_t lines = 1; take(cursor, "\r\n"); lines++) {
        PyObject *made, *key;
        int failed;
        if (lines > 1 && take(cursor, "\r\n"))
            return 1;
        if (!read_field(cursor, &name, &value))
            return 0;
        made = PyBytes_FromStringAndSize(name.at, name.size);
        if (made == NULL)
            return -1;
        key = PyDict_GetItemWithError(spellings, made);
        Py_DECREF(made);
        if (key == NULL)
            return PyErr_Occurred() ? -1 : 0;
        made = PyBytes_FromStringAndSize(value.at, value.size);
        failed = made == NULL || PyDict_SetItem(firsts, key, made) < 0;
        Py_XDECREF(made);
        if (failed || PyDict_GET_SIZE(firsts) != lines)
            return failed ? -1 : 0;
    }
    return 0;
}

static PyObject *content_length, *required_names;

/* 18.3 Whether Content-Length is missing or the size of the body without leading zeros. */
static int is_framed(PyObject *firsts, Py_ssize_t size)
{
    char digits[24];
    int written = PyOS_snprintf(digits, sizeof digits, "%zd", size);
    PyObject *value = PyDict_GetItemWithError(firsts, content_length);

    return value == NULL || (PyBytes_GET_SIZE(value) == written &&
                             memcmp(PyBytes_AS_STRING(value), digits, (size_t)written) == 0);
}

/* read(spellings, Request, Response, data) -> a message or None */
static PyObject *read_(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    PyObject *firsts, *message = NULL;
    struct piece words[2] = {{NULL, 0}}, rest;
    struct cursor cursor;
    int status, found;

    if (count != 4 || !PyBytes_Check(given[3]))
        return PyErr_Format(PyExc_TypeError, "read(spellings, Request, Response, data)");
    rest = (struct piece){PyBytes_AS_STRING(given[3]), PyBytes_GET_SIZE(given[3])};
    cursor.at = rest.at; /* The head, with its empty line. */
    cursor.end = rest.at + (rest.size < MAX_LINE + 4 ? rest.size : MAX_LINE + 4);
    if (rest.size > MAX_MESSAGE || !read_start(&cursor, words, &status))
        Py_RETURN_NONE;
    firsts = PyDict_New();
    if (firsts == NULL)
        return NULL;
    found = read_fields(&cursor, given[0], firsts);
    rest = (struct piece){cursor.at, rest.at + rest.size - cursor.at};
    if (found > 0 && is_framed(firsts, rest.size)) {
        if (status)
            message = PyObject_CallFunction(given[2], "iy#y#OO", status, words[1].at, words[1].size,
                                            rest.at, rest.size, given[3], firsts);
        else
            message = PyObject_CallFunction(given[1], "y#y#y#OO", words[0].at, words[0].size,
                                            words[1].at, words[1].size, rest.at, rest.size,
                                            given[3], firsts);
    } else if (found >= 0) {
        message = Py_NewRef(Py_None);
    }
    Py_DECREF(firsts);
    return message;
}

/* 20.20, 20.39 From and To: a name-addr that can be remembered, and nothing but a tag. */
static int read_address(struct cursor cursor, struct piece *address, struct piece *tag)
{
    *tag = (struct piece){NULL, 0};
    return until(&cursor, '>', address) && 0 < address->size && address->size <= MAX_REMEMBERED &&
           take(&cursor, ">") && (!take(&cursor, ";tag=") || span(&cursor, TOKEN, tag)) &&
           cursor.at == cursor.end;
}

/* required(firsts) -> the groups of grammar.PLAIN_REQUIRED or None
 *
 * Via has a branch longer than the magic cookie (8.1.1.7), perhaps rport (RFC 3581), no more. */
static PyObject *required(PyObject *self, PyObject *firsts)
{
    struct cursor values[5], *via = &values[0], *call_id = &values[3], *cseq = &values[4];
    struct piece head, branch, from, from_tag, to, to_tag, blank;
    int rport, behind;

    for (int i = 0; i < 5; i++) {
        PyObject *value = PyDict_GetItemWithError(firsts, PyTuple_GET_ITEM(required_names, i));
        if (value == NULL || !PyBytes_Check(value))
            return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
        values[i].at = PyBytes_AS_STRING(value);
        values[i].end = values[i].at + PyBytes_GET_SIZE(value);
    }
    if (!until(via, ';', &head) || head.size == 0 || head.size > MAX_REMEMBERED)
        Py_RETURN_NONE;
    rport = take(via, ";rport");
    if (!take(via, ";branch=") || !span(via, TOKEN, &branch) || branch.size <= 7)
        Py_RETURN_NONE;
    behind = take(via, ";rport");
    if (via->at != via->end || !read_address(values[1], &from, &from_tag) ||
        !read_address(values[2], &to, &to_tag) || call_id->at == call_id->end ||
        until(call_id, ' ', &blank) || until(call_id, '\t', &blank) || cseq->at == cseq->end ||
        cseq->end - cseq->at > MAX_REMEMBERED)
        Py_RETURN_NONE;
    return Py_BuildValue(
        "(y#yy#yOy#y#y#y#y#y#)", head.at, head.size, rport ? ";rport" : NULL, branch.at,
        branch.size, behind ? ";rport" : NULL, Py_None, from.at, from.size, from_tag.at,
        from_tag.size, to.at, to.size, to_tag.at, to_tag.size, call_id->at,
        call_id->end - call_id->at, cseq->at, cseq->end - cseq->at);
}

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))read_, METH_FASTCALL, "A message, or None."},
    {"required", required, METH_O, "What every message needs, or None."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sessioncore.sip._reader",
    .m_doc = "SIP messages in which nothing is unusual, read in C.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__reader(void)
{
    PyObject *made = PyModule_Create(&module), *names = Py_BuildValue("[ss]", "read", "required");

    fill_kinds();
    content_length = PyBytes_FromString("Content-Length");
    required_names = Py_BuildValue("(yyyyy)", "Via", "From", "To", "Call-ID", "CSeq");
    if (made == NULL || names == NULL || content_length == NULL || required_names == NULL ||
        PyModule_AddObjectRef(made, "__all__", names) < 0)
        Py_CLEAR(made);
    Py_XDECREF(names);
    return made;
}
