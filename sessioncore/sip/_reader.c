/* Reads usual SIP messages (RFC 3261 sections 7, 8.1.1, 18.3 and 25.1).
 *
 * Optional: message.py reads the same with regular expressions.  For all other messages, faulty
 * or not, the result is None, and message.py reads them; nothing is refused here.  The octets
 * come from a stranger: no cursor passes its end, and the results are slices of the message, one
 * for each known header field.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "../_cursor.h"

/* As in sessioncore/sip/grammar.py. */
#define MAX_MESSAGE 65535
#define MAX_LINE 16384
#define MAX_REMEMBERED 255

/* The classes of octets: token, Request-URI that is not parsed yet, blank. */
enum { TOKEN = 1, URI = 2, BLANK = 4 };
static unsigned char kinds[256];

static void fill_kinds(void)
{
    const char *tokens = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~";

    for (int c = 1; c < 256; c++)
        kinds[c] = (strchr(tokens, c) ? TOKEN : 0) | (c > ' ' && c != 0x7f ? URI : 0) |
                   (strchr(" \t\v\f", c) ? BLANK : 0);
}

/* Skip all octets of a class; whether there is at least one. */
static int span(struct cursor *cursor, unsigned char kind, struct piece *piece)
{
    piece->at = cursor->at;
    while (cursor->at < cursor->end && kinds[(unsigned char)*cursor->at] & kind)
        cursor->at++;
    piece->size = cursor->at - piece->at;
    return piece->size > 0;
}

/* Move to the next such octet; whether there is one. */
static int until(struct cursor *cursor, char octet, struct piece *piece)
{
    const char *found = memchr(cursor->at, octet, (size_t)(cursor->end - cursor->at));

    if (found == NULL)
        return 0;
    *piece = (struct piece){cursor->at, found - cursor->at};
    cursor->at = found;
    return 1;
}

/* Move to the end of a line; whether a carriage return ends it. */
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
    /* White space before the end of the line is not part of a value, unless the value is empty. */
    return span(cursor, TOKEN, name) && take(cursor, ":") && (span(cursor, BLANK, value), 1) &&
           rest_of_line(cursor, value) &&
           (value->size == 0 || !(kinds[(unsigned char)cursor->at[-1]] & BLANK));
}

/* All header fields, by their canonical names (7.3.3); then the cursor is at the body.
 * 1 if all are known and occur once, otherwise 0; -1 with an exception. */
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

/* The names of header fields and of a parameter, and the attributes of a message. */
static PyObject *via_field, *from_field, *to_field, *call_id_field, *cseq_field, *contact_field,
    *content_length_field, *branch_param;
static PyObject *body_name, *raw_name, *firsts_name, *repeated_name, *method_name, *uri_name,
    *status_name, *reason_name, *any_uri_name, *via_name, *sender_name, *branch_name, *params_name,
    *from_uri_name, *from_tag_name, *to_uri_name, *to_tag_name, *call_id_name, *cseq_name,
    *contacts_name;

/* 18.3 Whether Content-Length is missing or the size of the body without leading zeros. */
static int is_framed(PyObject *firsts, Py_ssize_t size)
{
    char digits[24];
    int written = PyOS_snprintf(digits, sizeof digits, "%zd", size);
    PyObject *value = PyDict_GetItemWithError(firsts, content_length_field);

    return value == NULL || (PyBytes_GET_SIZE(value) == written &&
                             memcmp(PyBytes_AS_STRING(value), digits, (size_t)written) == 0);
}

/* A piece as an object, or None if there is none. */
static PyObject *object(struct piece piece)
{
    return piece.at ? PyBytes_FromStringAndSize(piece.at, piece.size) : Py_NewRef(Py_None);
}

/* Set an attribute to a new object and release it: 1, or -1 with an exception. */
static int set(PyObject *message, PyObject *name, PyObject *made)
{
    int failed = made == NULL || PyObject_SetAttr(message, name, made) < 0;

    Py_XDECREF(made);
    return failed ? -1 : 1;
}

/* A new object without attributes; setting them here is faster than its __init__. */
static PyObject *bare(PyObject *type)
{
    PyObject *nothing = PyTuple_New(0), *made = NULL;

    if (!PyType_Check(type) || ((PyTypeObject *)type)->tp_new == NULL)
        PyErr_SetString(PyExc_TypeError, "no class");
    else if (nothing != NULL)
        made = ((PyTypeObject *)type)->tp_new((PyTypeObject *)type, nothing, NULL);
    Py_XDECREF(nothing);
    return made;
}

/* Set the attributes that every message has; returns the message, or NULL. */
static PyObject *with_content(PyObject *message, struct piece body, PyObject *raw, PyObject *firsts)
{
    if (message != NULL && (set(message, body_name, object(body)) < 0 ||
                            set(message, raw_name, Py_NewRef(raw)) < 0 ||
                            set(message, firsts_name, Py_NewRef(firsts)) < 0))
        Py_CLEAR(message);
    return message;
}

static PyObject *request(PyObject *type, const struct piece words[2], struct piece body,
                         PyObject *raw, PyObject *firsts)
{
    PyObject *made = bare(type);

    if (made != NULL && (set(made, method_name, object(words[0])) < 0 ||
                         set(made, uri_name, object(words[1])) < 0))
        Py_CLEAR(made);
    return with_content(made, body, raw, firsts);
}

static PyObject *response(PyObject *type, int status, struct piece reason, struct piece body,
                          PyObject *raw, PyObject *firsts)
{
    PyObject *made = with_content(bare(type), body, raw, firsts);

    if (made != NULL && (set(made, status_name, PyLong_FromLong(status)) < 0 ||
                         set(made, reason_name, object(reason)) < 0))
        Py_CLEAR(made);
    return made;
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
    if (found > 0 && is_framed(firsts, rest.size))
        message = status ? response(given[2], status, words[1], rest, given[3], firsts)
                         : request(given[1], words, rest, given[3], firsts);
    else if (found >= 0)
        message = Py_NewRef(Py_None);
    Py_DECREF(firsts);
    return message;
}

/* The arguments of required(): cached readers of sessioncore/sip/values.py, and classes. */
enum { SENT_BY, ADDRESS, CSEQ, CONTACT, ANY_URI, VIA, REQUEST, MESSAGE, GIVEN };

/* Whether a value can be cached: bytes, and short. */
static int is_short(PyObject *value)
{
    return PyBytes_Check(value) && PyBytes_GET_SIZE(value) <= MAX_REMEMBERED;
}

static struct cursor inside(PyObject *octets)
{
    const char *at = PyBytes_AS_STRING(octets);

    return (struct cursor){at, at + PyBytes_GET_SIZE(octets)};
}

/* The result of a reader for a piece. */
static PyObject *read_by(PyObject *reader, struct piece piece)
{
    PyObject *octets = object(piece), *made = octets ? PyObject_CallOneArg(reader, octets) : NULL;

    Py_XDECREF(octets);
    return made;
}

/* 25.1 Parameters: tokens, their names once each and in lower case. */
static int read_params(struct cursor cursor, PyObject *params)
{
    struct piece name, value;

    for (Py_ssize_t count = 1; cursor.at != cursor.end; count++) {
        PyObject *key, *made;
        int failed;
        if (!take(&cursor, ";") || !span(&cursor, TOKEN, &name))
            return 0;
        for (Py_ssize_t i = 0; i < name.size; i++)
            if ('A' <= name.at[i] && name.at[i] <= 'Z')
                return 0;
        value.at = NULL;
        if (take(&cursor, "=") && !span(&cursor, TOKEN, &value))
            return 0;
        key = object(name);
        made = object(value);
        failed = key == NULL || made == NULL || PyDict_SetItem(params, key, made) < 0;
        Py_XDECREF(key);
        Py_XDECREF(made);
        if (failed || PyDict_GET_SIZE(params) != count)
            return failed ? -1 : 0;
    }
    return 1;
}

static PyObject *via(PyObject *type, PyObject *raw, PyObject *sender, PyObject *branch,
                     PyObject *params)
{
    PyObject *made = sender ? bare(type) : NULL;

    if (made != NULL && (set(made, raw_name, Py_NewRef(raw)) < 0 ||
                         set(made, sender_name, Py_NewRef(sender)) < 0 ||
                         set(made, branch_name, Py_NewRef(branch)) < 0 ||
                         set(made, params_name, Py_NewRef(params)) < 0))
        Py_CLEAR(made);
    return made;
}

/* 20.42 Via: one, with a branch that is more than the magic cookie (8.1.1.7).  1, 0 if
 * something is unusual, -1 with an exception; the same for all functions below. */
static int read_via(PyObject *const *given, PyObject *value)
{
    struct cursor cursor = inside(value);
    struct piece head;
    PyObject *params, *branch, *sender;
    int found;

    if (!until(&cursor, ';', &head) || head.size == 0 || head.size > MAX_REMEMBERED)
        return 0;
    params = PyDict_New();
    found = params == NULL ? -1 : read_params(cursor, params);
    branch = found > 0 ? PyDict_GetItemWithError(params, branch_param) : NULL;
    if (branch != NULL && branch != Py_None && PyBytes_GET_SIZE(branch) > 7) {
        sender = read_by(given[SENT_BY], head);
        found = set(given[MESSAGE], via_name, via(given[VIA], value, sender, branch, params));
        Py_XDECREF(sender);
    } else if (found > 0) {
        found = PyErr_Occurred() ? -1 : 0;
    }
    Py_XDECREF(params);
    return found;
}

/* 20.20, 20.39 From and To: a name-addr that can be cached, and no parameter but a tag. */
static int read_address(PyObject *const *given, PyObject *value, PyObject *uri, PyObject *tag)
{
    struct cursor cursor = inside(value);
    struct piece address, token = {NULL, 0};
    PyObject *made;
    int found;

    if (!until(&cursor, '>', &address) || address.size == 0 || address.size > MAX_REMEMBERED ||
        !take(&cursor, ">") || (take(&cursor, ";tag=") && !span(&cursor, TOKEN, &token)) ||
        cursor.at != cursor.end)
        return 0;
    made = read_by(given[ADDRESS], address);
    found = set(given[MESSAGE], uri, made ? PySequence_GetItem(made, 1) : NULL);
    Py_XDECREF(made);
    return found > 0 ? set(given[MESSAGE], tag, object(token)) : found;
}

/* 20.8 Call-ID: one word. */
static int read_call_id(PyObject *const *given, PyObject *value)
{
    const char *at = PyBytes_AS_STRING(value);
    size_t size = (size_t)PyBytes_GET_SIZE(value);

    if (size == 0 || memchr(at, ' ', size) || memchr(at, '\t', size))
        return 0;
    return set(given[MESSAGE], call_id_name, Py_NewRef(value));
}

/* 20.10 Contact, if present: one. */
static int read_contact(PyObject *const *given, PyObject *firsts)
{
    PyObject *value = PyDict_GetItemWithError(firsts, contact_field), *made, *all;

    if (value == NULL)
        return PyErr_Occurred() ? -1 : 1;
    if (!is_short(value) || memchr(PyBytes_AS_STRING(value), ',', (size_t)PyBytes_GET_SIZE(value)))
        return 0;
    made = PyObject_CallOneArg(given[CONTACT], value);
    all = made ? PyList_New(1) : NULL;
    if (all != NULL)
        PyList_SET_ITEM(all, 0, made);
    else
        Py_XDECREF(made);
    return set(given[MESSAGE], contacts_name, all);
}

/* 8.1.1.1, 8.1.1.5 The URI of a request, and whether CSeq has its method. */
static int read_uri(PyObject *const *given)
{
    PyObject *message = given[MESSAGE], *method = PyObject_GetAttr(message, method_name),
             *cseq = method ? PyObject_GetAttr(message, cseq_name) : NULL,
             *named = cseq ? PySequence_GetItem(cseq, 1) : NULL,
             *uri = named ? PyObject_GetAttr(message, uri_name) : NULL;
    int found = uri ? PyObject_RichCompareBool(named, method, Py_EQ) : -1;

    if (found > 0)
        found = is_short(uri)
                    ? set(message, any_uri_name, PyObject_CallOneArg(given[ANY_URI], uri))
                    : 0;
    Py_XDECREF(method);
    Py_XDECREF(cseq);
    Py_XDECREF(named);
    Py_XDECREF(uri);
    return found;
}

/* A mandatory header field, or NULL; a borrowed reference. */
static PyObject *field(PyObject *firsts, PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(firsts, name);

    return value != NULL && PyBytes_Check(value) ? value : NULL;
}

static int read_required(PyObject *const *given, PyObject *firsts)
{
    PyObject *top = field(firsts, via_field), *from = field(firsts, from_field),
             *to = field(firsts, to_field), *call_id = field(firsts, call_id_field),
             *cseq = field(firsts, cseq_field);
    int found;

    if (!top || !from || !to || !call_id || !cseq || !is_short(cseq))
        return PyErr_Occurred() ? -1 : 0;
    if ((found = read_via(given, top)) < 1 ||
        (found = read_address(given, from, from_uri_name, from_tag_name)) < 1 ||
        (found = read_address(given, to, to_uri_name, to_tag_name)) < 1 ||
        (found = read_call_id(given, call_id)) < 1 ||
        (found = set(given[MESSAGE], cseq_name, PyObject_CallOneArg(given[CSEQ], cseq))) < 1 ||
        (found = read_contact(given, firsts)) < 1)
        return found;
    found = PyObject_IsInstance(given[MESSAGE], given[REQUEST]);
    if (found < 1)
        return found < 0 ? -1 : 1;
    return read_uri(given);
}

/* required(sent_by, address, cseq, contact, any_uri, Via, Request, message)
 *
 * Whether all mandatory values are present and valid; then they have been set.  The caller checks
 * that they occur only once.  An exception of a reader is passed on. */
static PyObject *required(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    PyObject *repeated, *firsts;
    int found;

    if (count != GIVEN)
        return PyErr_Format(PyExc_TypeError, "required() takes %d arguments", GIVEN);
    repeated = PyObject_GetAttr(given[MESSAGE], repeated_name);
    found = repeated ? PySequence_Contains(repeated, contact_field) : -1;
    Py_XDECREF(repeated);
    if (found)
        return found < 0 ? NULL : Py_NewRef(Py_False);
    firsts = PyObject_GetAttr(given[MESSAGE], firsts_name);
    if (firsts == NULL)
        return NULL;
    found = read_required(given, firsts);
    Py_DECREF(firsts);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))read_, METH_FASTCALL, "A message, or None."},
    {"required", (PyCFunction)(void (*)(void))required, METH_FASTCALL,
     "Whether what every message needs is there."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sessioncore.sip._reader",
    .m_doc = "SIP messages in which nothing is unusual, read in C.",
    .m_size = -1,
    .m_methods = methods,
};

static const struct {
    PyObject **name;
    const char *text;
} fields[] = {
    {&via_field, "Via"},
    {&from_field, "From"},
    {&to_field, "To"},
    {&call_id_field, "Call-ID"},
    {&cseq_field, "CSeq"},
    {&contact_field, "Contact"},
    {&content_length_field, "Content-Length"},
    {&branch_param, "branch"},
}, attributes[] = {
    {&body_name, "body"},
    {&raw_name, "raw"},
    {&status_name, "status"},
    {&reason_name, "reason"},
    {&sender_name, "sender"},
    {&branch_name, "branch"},
    {&params_name, "params"},
    {&firsts_name, "_firsts"},
    {&repeated_name, "_repeated"},
    {&method_name, "method"},
    {&uri_name, "uri"},
    {&any_uri_name, "any_uri"},
    {&via_name, "via"},
    {&from_uri_name, "from_uri"},
    {&from_tag_name, "from_tag"},
    {&to_uri_name, "to_uri"},
    {&to_tag_name, "to_tag"},
    {&call_id_name, "call_id"},
    {&cseq_name, "cseq"},
    {&contacts_name, "contacts"},
};

static int make_names(void)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if ((*fields[i].name = PyBytes_FromString(fields[i].text)) == NULL)
            return -1;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if ((*attributes[i].name = PyUnicode_InternFromString(attributes[i].text)) == NULL)
            return -1;
    return 0;
}

PyMODINIT_FUNC PyInit__reader(void)
{
    PyObject *made = PyModule_Create(&module), *names = Py_BuildValue("[ss]", "read", "required");

    fill_kinds();
    if (made == NULL || names == NULL || make_names() < 0 ||
        PyModule_AddObjectRef(made, "__all__", names) < 0 ||
        PyModule_AddIntConstant(made, "INTERFACE", 2) < 0)
        Py_CLEAR(made);
    Py_XDECREF(names);
    return made;
}
