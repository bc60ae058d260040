/* Writes usual responses (RFC 3261 section 8.2.6).
 *
 * Optional: building.py writes the same.  For unusual responses the result is None, and
 * building.py writes them; nothing is refused here.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

/* As in sessioncore/sip/grammar.py; and pieces, of which a header field has four. */
#define MAX_MESSAGE 65535
#define MAX_PIECES 128

/* The pieces to write; other objects own their memory. */
struct text {
    struct {
        const char *at;
        size_t size;
    } pieces[MAX_PIECES];
    int count;
    size_t size;
};

/* Add octets; false if there is no room. */
static int add(struct text *text, const char *at, size_t size)
{
    if (text->count == MAX_PIECES || size > MAX_MESSAGE - text->size)
        return 0;
    text->pieces[text->count].at = at;
    text->pieces[text->count++].size = size;
    text->size += size;
    return 1;
}

static int add_text(struct text *text, const char *at)
{
    return add(text, at, strlen(at));
}

/* Add octets from outside; refuses line breaks, which would inject header fields. */
static int add_octets(struct text *text, PyObject *octets)
{
    const char *at;
    size_t size;

    if (octets == NULL || !PyBytes_CheckExact(octets))
        return 0;
    at = PyBytes_AS_STRING(octets);
    size = (size_t)PyBytes_GET_SIZE(octets);
    return !memchr(at, '\n', size) && !memchr(at, '\r', size) && add(text, at, size);
}

/* Header fields of an application: a list or tuple of names and values. */
static int add_fields(struct text *text, PyObject *fields)
{
    if (!PyTuple_CheckExact(fields) && !PyList_CheckExact(fields))
        return 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fields); i++) {
        PyObject *field = PySequence_Fast_GET_ITEM(fields, i);
        if (!PyTuple_CheckExact(field) || PyTuple_GET_SIZE(field) != 2 || !add_text(text, "\r\n") ||
            !add_octets(text, PyTuple_GET_ITEM(field, 0)) || !add_text(text, ": ") ||
            !add_octets(text, PyTuple_GET_ITEM(field, 1)))
            return 0;
    }
    return 1;
}

static PyObject *joined(const struct text *text)
{
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)text->size);
    char *at = made ? PyBytes_AS_STRING(made) : NULL;

    for (int i = 0; made != NULL && i < text->count; at += text->pieces[i++].size)
        memcpy(at, text->pieces[i].at, text->pieces[i].size);
    return made;
}

/* The header fields of a request that are copied, and attribute names. */
enum { VIA, FROM, TO, CALL_ID, CSEQ, RECORD_ROUTE, FIELDS };
static const char *const spellings[FIELDS] = {"Via", "From", "To", "Call-ID", "CSeq", "Record-Route"};
static PyObject *names[FIELDS], *firsts_name, *repeated_name, *to_tag_name;

enum { REQUEST, START, TO_TAG, HEADERS, BODY, TOP, RECORD, GIVEN };

/* A response, or None if something is unusual; NULL with an exception. */
static PyObject *answer(PyObject *const *given, PyObject *firsts, PyObject *to_tag)
{
    struct text text;
    PyObject *values[FIELDS], *body = given[BODY];
    char digits[24];

    text.count = 0;
    text.size = 0;
    for (int i = 0; i < FIELDS; i++)
        if ((values[i] = PyDict_GetItemWithError(firsts, names[i])) == NULL && PyErr_Occurred())
            return NULL;
    /* Several Vias in one header field are copied by building.py. */
    if (values[VIA] == NULL || !PyBytes_CheckExact(values[VIA]) || !PyBytes_CheckExact(body) ||
        memchr(PyBytes_AS_STRING(values[VIA]), ',', (size_t)PyBytes_GET_SIZE(values[VIA])) ||
        (values[RECORD_ROUTE] != NULL && given[RECORD] != Py_False))
        Py_RETURN_NONE;
    PyOS_snprintf(digits, sizeof digits, "%zd", PyBytes_GET_SIZE(body));
    if (add_octets(&text, given[START]) && add_text(&text, "\r\nVia: ") &&
        add_octets(&text, given[TOP] == Py_None ? values[VIA] : given[TOP]) &&
        add_text(&text, "\r\nFrom: ") && add_octets(&text, values[FROM]) &&
        add_text(&text, "\r\nTo: ") && add_octets(&text, values[TO]) &&
        (to_tag == Py_None || (add_text(&text, ";tag=") && add_octets(&text, to_tag))) &&
        add_text(&text, "\r\nCall-ID: ") && add_octets(&text, values[CALL_ID]) &&
        add_text(&text, "\r\nCSeq: ") && add_octets(&text, values[CSEQ]) &&
        add_fields(&text, given[HEADERS]) && add_text(&text, "\r\nContent-Length: ") &&
        add_text(&text, digits) && add_text(&text, "\r\n\r\n") &&
        add(&text, PyBytes_AS_STRING(body), (size_t)PyBytes_GET_SIZE(body)))
        return joined(&text);
    Py_RETURN_NONE;
}

/* response(request, start, to_tag, headers, body, via, record_route) -> octets or None
 *
 * An exception from reading a To whose tag is needed is passed on. */
static PyObject *response(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    PyObject *made = NULL, *firsts, *repeated, *tag = NULL;
    int several;

    if (count != GIVEN)
        return PyErr_Format(PyExc_TypeError, "response() takes %d arguments", GIVEN);
    repeated = PyObject_GetAttr(given[REQUEST], repeated_name);
    several = repeated ? PyObject_IsTrue(repeated) : -1;
    Py_XDECREF(repeated);
    if (several)
        return several < 0 ? NULL : Py_NewRef(Py_None);
    firsts = PyObject_GetAttr(given[REQUEST], firsts_name);
    if (firsts != NULL && given[TO_TAG] != Py_None)
        tag = PyObject_GetAttr(given[REQUEST], to_tag_name);
    if (!PyErr_Occurred()) /* A tag is never replaced. */
        made = answer(given, firsts, tag == Py_None ? given[TO_TAG] : Py_None);
    Py_XDECREF(firsts);
    Py_XDECREF(tag);
    return made;
}

static PyMethodDef methods[] = {
    {"response", (PyCFunction)(void (*)(void))response, METH_FASTCALL, "A response, or None."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sessioncore.sip._builder",
    .m_doc = "SIP responses in which nothing is unusual, written in C.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__builder(void)
{
    PyObject *made = PyModule_Create(&module), *all = Py_BuildValue("[s]", "response");

    for (int i = 0; i < FIELDS; i++)
        if ((names[i] = PyBytes_FromString(spellings[i])) == NULL)
            Py_CLEAR(made);
    firsts_name = PyUnicode_InternFromString("_firsts");
    repeated_name = PyUnicode_InternFromString("_repeated");
    to_tag_name = PyUnicode_InternFromString("to_tag");
    if (made == NULL || all == NULL || !firsts_name || !repeated_name || !to_tag_name ||
        PyModule_AddObjectRef(made, "__all__", all) < 0 ||
        PyModule_AddIntConstant(made, "INTERFACE", 1) < 0)
        Py_CLEAR(made);
    Py_XDECREF(all);
    return made;
}
