/* Machines that walk their table in C.
 *
 * Optional: table.py does the same in Python.  The table is the one there, and so are the words
 * with which an input is refused: what has no cell is given to `_step`.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject *state, *trace, *waiting;
} Machine;

static PyObject *cells_name, *class_name, *initial_name, *perform_name, *step_name, *table_name;

/* Take over what is raised now; the exception, or NULL where it is none that may wait. */
static PyObject *caught(void)
{
    PyObject *error;

    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
#if PY_VERSION_HEX >= 0x030c0000
    error = PyErr_GetRaisedException();
#else
    PyObject *kind, *traceback;
    PyErr_Fetch(&kind, &error, &traceback);
    PyErr_NormalizeException(&kind, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    Py_XDECREF(kind);
    Py_XDECREF(traceback);
#endif
    return error;
}

/* Keep the first error for later; -1 where what is raised may not wait. */
static int put_off(PyObject **first)
{
    PyObject *error = caught();

    if (error == NULL)
        return -1;
    if (*first == NULL)
        *first = error;
    else
        Py_DECREF(error);
    return 0;
}

/* Perform each effect, also after one that fails. */
static int perform_all(Machine *self, PyObject *effects, PyObject **first)
{
    PyObject *effect, *each = PyObject_GetIter(effects);
    int done = each == NULL ? -1 : 0;

    while (done == 0 && (effect = PyIter_Next(each)) != NULL) {
        PyObject *nothing = PyObject_CallMethodOneArg((PyObject *)self, perform_name, effect);
        Py_DECREF(effect);
        if (nothing == NULL)
            done = put_off(first);
        Py_XDECREF(nothing);
    }
    Py_XDECREF(each);
    return PyErr_Occurred() ? -1 : done;
}

/* Work on the input that has waited longest. */
static int work_on_next(Machine *self, PyObject *waiting, PyObject **first)
{
    PyObject *effects, *given = Py_NewRef(PyList_GET_ITEM(waiting, 0));
    int done = PyList_SetSlice(waiting, 0, 1, NULL);

    if (done == 0) {
        effects = PyObject_CallMethodOneArg((PyObject *)self, step_name, given);
        done = effects == NULL ? put_off(first) : perform_all(self, effects, first);
        Py_XDECREF(effects);
    }
    Py_DECREF(given);
    return done;
}

/* Perform `effects`, then take one input after the other; raises the first error. */
static PyObject *work_off(Machine *self, PyObject *waiting, PyObject *effects)
{
    PyObject *first = NULL;
    int done;

    if (waiting == NULL)
        return NULL;
    Py_XSETREF(self->waiting, Py_NewRef(waiting));
    done = perform_all(self, effects, &first);
    while (done == 0 && PyList_GET_SIZE(waiting) > 0)
        done = work_on_next(self, waiting, &first);
    Py_XSETREF(self->waiting, Py_NewRef(Py_None));
    Py_DECREF(waiting);
    if (done == 0 && first != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(first), first);
    Py_XDECREF(first);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* The cell for an input in this state, or NULL, without an exception where there is none. */
static PyObject *cell_for(Machine *self, PyObject *given)
{
    PyObject *table = PyObject_GetAttr((PyObject *)self, table_name);
    PyObject *cells = table == NULL ? NULL : PyObject_GetAttr(table, cells_name);
    /* What was asked for until here may have taken it away. */
    PyObject *state = cells == NULL ? NULL : Py_XNewRef(self->state);
    PyObject *kind = state == NULL ? NULL : PyObject_GetAttr(given, class_name);
    PyObject *key = kind == NULL ? NULL : PyTuple_Pack(2, state, kind);
    PyObject *cell = NULL;

    if (key != NULL && PyDict_Check(cells))
        cell = Py_XNewRef(PyDict_GetItemWithError(cells, key));
    Py_XDECREF(key);
    Py_XDECREF(kind);
    Py_XDECREF(state);
    Py_XDECREF(cells);
    Py_XDECREF(table);
    return cell;
}

/* Go where the cell says; what has effects goes on to perform them. */
static PyObject *take_cell(Machine *self, PyObject *given, PyObject *state, PyObject *action)
{
    PyObject *effects, *done = NULL, *arguments[] = {(PyObject *)self, given};
    int some;

    if (action == Py_None) {
        Py_XSETREF(self->state, Py_NewRef(state));
        Py_RETURN_NONE;
    }
    /* The action sees the old state. */
    effects = PyObject_Vectorcall(action, arguments, 2, NULL);
    if (effects == NULL)
        return NULL;
    Py_XSETREF(self->state, Py_NewRef(state));
    some = PyObject_IsTrue(effects);
    if (some >= 0)
        done = some ? work_off(self, PyList_New(0), effects) : Py_NewRef(Py_None);
    Py_DECREF(effects);
    return done;
}

static PyObject *feed_traced(Machine *self, PyObject *given)
{
    PyObject *waiting = PyList_New(1), *effects = PyTuple_New(0), *done = NULL;

    if (waiting != NULL)
        PyList_SET_ITEM(waiting, 0, Py_NewRef(given));
    if (effects != NULL)
        done = work_off(self, Py_XNewRef(waiting), effects);
    Py_XDECREF(waiting);
    Py_XDECREF(effects);
    return done;
}

static PyObject *feed(Machine *self, PyObject *given)
{
    PyObject *cell, *done;

    if (self->state == NULL || self->trace == NULL || self->waiting == NULL) {
        PyErr_SetString(PyExc_AttributeError, "this machine was not initialized");
        return NULL;
    }
    if (self->waiting != Py_None)
        return PyList_Append(self->waiting, given) < 0 ? NULL : Py_NewRef(Py_None);
    if (self->trace != Py_None)
        return feed_traced(self, given);
    cell = cell_for(self, given);
    if (cell == NULL)
        return PyErr_Occurred() ? NULL
                                : PyObject_CallMethodOneArg((PyObject *)self, step_name, given);
    if (PyTuple_CheckExact(cell) && PyTuple_GET_SIZE(cell) == 2)
        done = take_cell(self, given, PyTuple_GET_ITEM(cell, 0), PyTuple_GET_ITEM(cell, 1));
    else
        done = PyErr_Format(PyExc_TypeError, "a cell is a state and an action, not %R", cell);
    Py_DECREF(cell);
    return done;
}

static int begin(Machine *self, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"trace", NULL};
    PyObject *table, *initial, *trace = Py_None;

    if (!PyArg_ParseTupleAndKeywords(arguments, named, "|O:Machine", names, &trace))
        return -1;
    table = PyObject_GetAttr((PyObject *)self, table_name);
    initial = table == NULL ? NULL : PyObject_GetAttr(table, initial_name);
    Py_XDECREF(table);
    if (initial == NULL)
        return -1;
    Py_XSETREF(self->state, initial);
    Py_XSETREF(self->trace, Py_NewRef(trace));
    Py_XSETREF(self->waiting, Py_NewRef(Py_None));
    return 0;
}

static int traverse(Machine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->state);
    Py_VISIT(self->trace);
    Py_VISIT(self->waiting);
    return 0;
}

static int clear(Machine *self)
{
    Py_CLEAR(self->state);
    Py_CLEAR(self->trace);
    Py_CLEAR(self->waiting);
    return 0;
}

static void dealloc(Machine *self)
{
    PyObject_GC_UnTrack(self);
    clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMemberDef members[] = {
    {"state", T_OBJECT_EX, offsetof(Machine, state), 0, NULL},
    {"trace", T_OBJECT_EX, offsetof(Machine, trace), 0, NULL},
    {"_waiting", T_OBJECT_EX, offsetof(Machine, waiting), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef methods[] = {
    {"feed", (PyCFunction)(void (*)(void))feed, METH_O, "Give the machine one input."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "sessioncore._machine.Machine",
    .tp_doc = "What sessioncore.table.Machine does, without its `perform` and `_step`.",
    .tp_basicsize = sizeof(Machine),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_init = (initproc)begin,
    .tp_dealloc = (destructor)dealloc,
    .tp_traverse = (traverseproc)traverse,
    .tp_clear = (inquiry)clear,
    .tp_members = members,
    .tp_methods = methods,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sessioncore._machine",
    .m_doc = "Machines, in C.",
    .m_size = -1,
};

static int find_names(void)
{
    return (cells_name = PyUnicode_InternFromString("cells")) != NULL &&
           (class_name = PyUnicode_InternFromString("__class__")) != NULL &&
           (initial_name = PyUnicode_InternFromString("initial")) != NULL &&
           (perform_name = PyUnicode_InternFromString("perform")) != NULL &&
           (step_name = PyUnicode_InternFromString("_step")) != NULL &&
           (table_name = PyUnicode_InternFromString("table")) != NULL;
}

PyMODINIT_FUNC PyInit__machine(void)
{
    PyObject *made = find_names() ? PyModule_Create(&module) : NULL;
    PyObject *names = Py_BuildValue("[s]", "Machine");

    /* Any other leaves, up to 3.12, a subclass without slots the slow kind of attributes. */
    type.tp_new = PyBaseObject_Type.tp_new;
    if (made == NULL || names == NULL || PyModule_AddType(made, &type) < 0 ||
        PyModule_AddObjectRef(made, "__all__", names) < 0 ||
        PyModule_AddIntConstant(made, "INTERFACE", 1) < 0)
        Py_CLEAR(made);
    Py_XDECREF(names);
    return made;
}
