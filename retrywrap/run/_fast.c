/* The fast path: what stands for a decorated callable, in C. Python is entered only when a call raises.
 *
 * It behaves to the letter as the classes in proxy.py and the closures in calls.py, which are used where this module is
 * not built, or refuses itself. A type made here derives from wrapt.FunctionWrapper at run time: its instances are the
 * base's, whatever their size is, with a tail of ours behind. Nothing in wrapt's own fields is ever touched.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

/* ---- successes, counted */

typedef struct {
    PyObject_HEAD
    unsigned long long count;
} Tally;

static inline void
tally_add(Tally *tally)
{
#ifdef Py_GIL_DISABLED
    __atomic_fetch_add(&tally->count, 1, __ATOMIC_RELAXED);
#else
    tally->count++;
#endif
}

static PyObject *
tally_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "a tally takes no arguments");
        return NULL;
    }
    tally_add((Tally *)self);
    Py_RETURN_NONE;
}

static void
tally_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef tally_members[] = {
    {"count", T_ULONGLONG, offsetof(Tally, count), 0, "How often it was called."},
    {NULL},
};

static PyType_Slot tally_slots[] = {
    {Py_tp_doc, "Counts the operations that succeeded at once: each call adds one, from any thread."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_call, tally_call},
    {Py_tp_dealloc, tally_dealloc},
    {Py_tp_members, tally_members},
    {0, NULL},
};

static PyType_Spec tally_spec = {
    .name = "retrywrap.run._fast.Tally",
    .basicsize = sizeof(Tally),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = tally_slots,
};

/* ---- the module's state */

typedef struct {
    PyTypeObject *tally_type;
    PyObject *counted;       /* the list whose only item is the number of the newest note */
    PyObject *first_failure; /* (spec, since, error, arguments, named) -> operation, or None: let it out */
    PyObject *retry;         /* (operation, wrapped, arguments, named) -> what the last attempt returned */
    PyObject *awaited;       /* (first, wrapped, spec, arguments, named) -> an awaitable that is retried */
} State;

/* ---- the proxy */

typedef struct {
    vectorcallfunc vectorcall;
    State *state;      /* the module's, which the type keeps alive */
    PyObject *wrapped; /* what is called */
    PyObject *spec;
    Tally *tally;
} Tail;

static inline Tail *
tail_of(PyObject *self)
{
    /* The types are final, so that the tail is the end of the instance. */
    return (Tail *)((char *)self + Py_TYPE(self)->tp_basicsize - sizeof(Tail));
}

static inline PyObject *
newest_note(State *state)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyList_GetItemRef(state->counted, 0);
#else
    return Py_NewRef(PyList_GET_ITEM(state->counted, 0));
#endif
}

static PyObject *
take_raised(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_XDECREF(type);
    return value;
#endif
}

static void
raise_again(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

static int
pack(PyObject *const *args, Py_ssize_t count, PyObject *names, PyObject **arguments, PyObject **named)
{
    *named = NULL;
    *arguments = PyTuple_New(count);
    if (*arguments == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(*arguments, i, Py_NewRef(args[i]));
    }
    *named = PyDict_New();
    Py_ssize_t given = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; *named != NULL && i < given; i++) {
        if (PyDict_SetItem(*named, PyTuple_GET_ITEM(names, i), args[count + i]) < 0) {
            Py_CLEAR(*named);
        }
    }
    if (*named == NULL) {
        Py_CLEAR(*arguments);
        return -1;
    }
    return 0;
}

/* The first attempt has raised what may be retried: wait as an `except` block would, then go on or let it out. */
static PyObject *
after_failure(Tail *tail, PyObject *wrapped, PyObject *since, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = tail->state;
    PyObject *arguments, *named, *operation, *result = NULL;
    PyObject *spec = Py_NewRef(tail->spec);
    PyObject *error = take_raised();
    if (pack(args, count, names, &arguments, &named) < 0) {
        PyErr_Clear(); /* there is no memory to retry with */
        Py_DECREF(spec);
        raise_again(error);
        return NULL;
    }
    PyObject *before = PyErr_GetHandledException();
    PyErr_SetHandledException(error);
    PyObject *told[] = {NULL, spec, since, error, arguments, named};
    operation = PyObject_Vectorcall(state->first_failure, told + 1, 5 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    PyErr_SetHandledException(before);
    Py_XDECREF(before);
    if (operation == Py_None) {
        raise_again(error); /* steals it */
    }
    else {
        Py_DECREF(error); /* it is let go before the next attempt begins */
        if (operation != NULL) {
            PyObject *then[] = {NULL, operation, wrapped, arguments, named};
            result = PyObject_Vectorcall(state->retry, then + 1, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        }
    }
    Py_XDECREF(operation);
    Py_DECREF(arguments);
    Py_DECREF(named);
    Py_DECREF(spec);
    return result;
}

static PyObject *
after_awaitable(Tail *tail, PyObject *first, PyObject *wrapped, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *arguments, *named, *result = NULL;
    PyObject *spec = Py_NewRef(tail->spec);
    if (pack(args, count, names, &arguments, &named) == 0) {
        PyObject *told[] = {NULL, first, wrapped, spec, arguments, named};
        result = PyObject_Vectorcall(tail->state->awaited, told + 1, 5 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        Py_DECREF(arguments);
        Py_DECREF(named);
    }
    Py_DECREF(spec);
    return result;
}

static PyObject *
call_retried(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Tail *tail = tail_of(self);
    /* What is called may drop the last reference to this proxy. */
    PyObject *wrapped = Py_NewRef(tail->wrapped);
    PyObject *since = newest_note(tail->state);
    PyObject *result = PyObject_Vectorcall(wrapped, args, nargsf, names);
    if (result != NULL) {
        PyAsyncMethods *async = Py_TYPE(result)->tp_as_async;
        if (async == NULL || async->am_await == NULL) {
            tally_add(tail->tally);
        }
        else {
            Py_SETREF(result, after_awaitable(tail, result, wrapped, args, PyVectorcall_NARGS(nargsf), names));
        }
    }
    else if (PyErr_ExceptionMatches(PyExc_Exception)) {
        result = after_failure(tail, wrapped, since, args, PyVectorcall_NARGS(nargsf), names);
    }
    Py_DECREF(since);
    Py_DECREF(wrapped);
    return result;
}

/* The wrapped object is a closure of ours that does all the rest. */
static PyObject *
call_through(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyObject *wrapped = Py_NewRef(tail_of(self)->wrapped);
    PyObject *result = PyObject_Vectorcall(wrapped, args, nargsf, names);
    Py_DECREF(wrapped);
    return result;
}

/* The wrapped object is a coroutine function of ours that takes the arguments as they came: one tuple, and the names. */
static PyObject *
call_packed(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Py_ssize_t count = PyVectorcall_NARGS(nargsf) + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *packed = PyTuple_New(count);
    if (packed == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(packed, i, Py_NewRef(args[i]));
    }
    PyObject *wrapped = Py_NewRef(tail_of(self)->wrapped);
    PyObject *given[] = {NULL, packed, names == NULL ? Py_None : names};
    PyObject *result = PyObject_Vectorcall(wrapped, given + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(wrapped);
    Py_DECREF(packed);
    return result;
}

static int
proxy_traverse(PyObject *self, visitproc visit, void *arg)
{
    PyTypeObject *base = Py_TYPE(self)->tp_base;
    Tail *tail = tail_of(self);
    Py_VISIT(tail->wrapped);
    Py_VISIT(tail->spec);
    Py_VISIT(tail->tally);
    if (!(base->tp_flags & Py_TPFLAGS_HEAPTYPE)) { /* else the base visits it */
        Py_VISIT(Py_TYPE(self));
    }
    return base->tp_traverse(self, visit, arg);
}

static int
proxy_clear(PyObject *self)
{
    Tail *tail = tail_of(self);
    tail->vectorcall = NULL; /* a finalizer that calls it now gets an error, no crash */
    Py_CLEAR(tail->wrapped);
    Py_CLEAR(tail->spec);
    Py_CLEAR(tail->tally);
    return Py_TYPE(self)->tp_base->tp_clear(self);
}

static void
proxy_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyTypeObject *base = type->tp_base;
    Tail *tail = tail_of(self);
    PyObject_GC_UnTrack(self);
    tail->vectorcall = NULL;
    PyObject *wrapped = tail->wrapped, *spec = tail->spec, *tally = (PyObject *)tail->tally;
    tail->wrapped = tail->spec = NULL;
    tail->tally = NULL;
    int static_base = !(base->tp_flags & Py_TPFLAGS_HEAPTYPE); /* then it does not let go of the type */
    base->tp_dealloc(self);
    Py_XDECREF(wrapped);
    Py_XDECREF(spec);
    Py_XDECREF(tally);
    if (static_base) {
        Py_DECREF(type);
    }
}

static PyObject *
bind_method(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    return instance == NULL || instance == Py_None ? Py_NewRef(self) : PyMethod_New(self, instance);
}

static PyObject *
bind_nothing(PyObject *self, PyObject *Py_UNUSED(instance), PyObject *Py_UNUSED(owner))
{
    return Py_NewRef(self);
}

static PyObject *
proxy_spec(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *spec = tail_of(self)->spec;
    if (spec == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_self_spec");
        return NULL;
    }
    return Py_NewRef(spec);
}

static PyGetSetDef proxy_getset[] = {
    {"_self_spec", proxy_spec, NULL, "What the operation knows of itself.", NULL},
    {NULL},
};

/* ---- functions of the module */

static PyModuleDef fast_module;

static State *
state_of(PyObject *module)
{
    return (State *)PyModule_GetState(module);
}

static int
fits(PyObject *base)
{
    if (!PyType_Check(base) || Py_TYPE(base) != &PyType_Type) {
        return 0;
    }
    PyTypeObject *type = (PyTypeObject *)base;
    unsigned long wanted = Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_READY;
#ifdef Py_TPFLAGS_MANAGED_DICT
    unsigned long unwanted = Py_TPFLAGS_MANAGED_DICT;
#else
    unsigned long unwanted = 0;
#endif
#ifdef Py_TPFLAGS_ITEMS_AT_END
    unwanted |= Py_TPFLAGS_ITEMS_AT_END;
#endif
#ifdef Py_TPFLAGS_MANAGED_WEAKREF
    unwanted |= Py_TPFLAGS_MANAGED_WEAKREF;
#endif
    return (type->tp_flags & wanted) == wanted && !(type->tp_flags & unwanted) && type->tp_itemsize == 0
        && type->tp_basicsize > 0 && type->tp_basicsize % (Py_ssize_t)sizeof(void *) == 0 && type->tp_dictoffset >= 0
        && type->tp_weaklistoffset > 0 && type->tp_vectorcall_offset == 0 && type->tp_traverse != NULL
        && type->tp_clear != NULL && type->tp_dealloc != NULL && type->tp_del == NULL;
}

PyDoc_STRVAR(make_type_doc, "make_type(base, name, binding)\n--\n\n"
"Return a type that derives from wrapt.FunctionWrapper.\n\n"
"binding is 'method' (it binds as a function does), 'none' (it does not), or 'own' (its __get__ is set later).\n"
"Raises TypeError where the base's layout is not one that can be relied on.");

static PyObject *
make_type(PyObject *module, PyObject *args)
{
    PyObject *base;
    const char *name, *binding;
    if (!PyArg_ParseTuple(args, "Oss:make_type", &base, &name, &binding)) {
        return NULL;
    }
    if (!fits(base)) {
        PyErr_Format(PyExc_TypeError, "cannot derive from %R: its layout is not known", base);
        return NULL;
    }
    Py_ssize_t size = ((PyTypeObject *)base)->tp_basicsize;
    PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET, size + (Py_ssize_t)offsetof(Tail, vectorcall), READONLY, NULL},
        {NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_call, PyVectorcall_Call},
        {Py_tp_traverse, proxy_traverse},
        {Py_tp_clear, proxy_clear},
        {Py_tp_dealloc, proxy_dealloc},
        {Py_tp_getset, proxy_getset},
        {Py_tp_members, members},
        {0, NULL},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(size + (Py_ssize_t)sizeof(Tail)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
        .slots = slots,
    };
    if (strcmp(binding, "method") == 0) {
        slots[6].slot = Py_tp_descr_get;
        slots[6].pfunc = bind_method;
        spec.flags |= Py_TPFLAGS_METHOD_DESCRIPTOR;
    }
    else if (strcmp(binding, "none") == 0) {
        slots[6].slot = Py_tp_descr_get;
        slots[6].pfunc = bind_nothing;
    }
    PyObject *bases = PyTuple_Pack(1, base);
    if (bases == NULL) {
        return NULL;
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, bases);
    Py_DECREF(bases);
    if (type == NULL) {
        return NULL;
    }
    PyTypeObject *made = (PyTypeObject *)type;
    if (made->tp_base != (PyTypeObject *)base || made->tp_basicsize != size + (Py_ssize_t)sizeof(Tail)
        || made->tp_vectorcall_offset != size + (Py_ssize_t)offsetof(Tail, vectorcall)
        || made->tp_weaklistoffset != ((PyTypeObject *)base)->tp_weaklistoffset
        || made->tp_dictoffset != ((PyTypeObject *)base)->tp_dictoffset) {
        Py_DECREF(type);
        PyErr_Format(PyExc_TypeError, "cannot derive from %R: its layout is not kept", base);
        return NULL;
    }
    return type;
}

PyDoc_STRVAR(set_up_doc, "set_up(proxy, wrapped, spec, tally, way)\n--\n\n"
"Make a proxy callable: way is 'retried', 'through' or 'packed'.");

static PyObject *
set_up(PyObject *module, PyObject *args)
{
    PyObject *self, *wrapped, *spec, *tally;
    const char *way;
    State *state = state_of(module);
    if (!PyArg_ParseTuple(args, "OOOO!s:set_up", &self, &wrapped, &spec, state->tally_type, &tally, &way)) {
        return NULL;
    }
    if (Py_TYPE(self)->tp_dealloc != proxy_dealloc || tail_of(self)->vectorcall != NULL || state->retry == NULL) {
        PyErr_SetString(PyExc_TypeError, "this proxy cannot be set up");
        return NULL;
    }
    Tail *tail = tail_of(self);
    tail->state = state;
    tail->wrapped = Py_NewRef(wrapped);
    tail->spec = Py_NewRef(spec);
    tail->tally = (Tally *)Py_NewRef(tally);
    tail->vectorcall = way[0] == 'r' ? call_retried : way[0] == 'p' ? call_packed : call_through;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(invoke_doc, "invoke(function, packed, names)\n--\n\n"
"Call a function with arguments in one tuple, the last of which have the names in another; None: none has one.");

static PyObject *
invoke(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3 || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "invoke takes a function, a tuple, and a tuple or None");
        return NULL;
    }
    PyObject *packed = args[1], *names = args[2] == Py_None ? NULL : args[2];
    Py_ssize_t count = PyTuple_GET_SIZE(packed) - (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    return PyObject_Vectorcall(args[0], ((PyTupleObject *)packed)->ob_item, (size_t)count, names);
}

PyDoc_STRVAR(unpack_doc, "unpack(packed, names)\n--\n\nReturn the positional and the keyword arguments.");

static PyObject *
unpack(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *packed, *names, *arguments, *named;
    if (!PyArg_ParseTuple(args, "O!O:unpack", &PyTuple_Type, &packed, &names)) {
        return NULL;
    }
    Py_ssize_t given = names == Py_None ? 0 : PyTuple_GET_SIZE(names);
    Py_ssize_t count = PyTuple_GET_SIZE(packed) - given;
    if (pack(((PyTupleObject *)packed)->ob_item, count, given == 0 ? NULL : names, &arguments, &named) < 0) {
        return NULL;
    }
    PyObject *both = PyTuple_Pack(2, arguments, named);
    Py_DECREF(arguments);
    Py_DECREF(named);
    return both;
}

PyDoc_STRVAR(connect_doc, "connect(counted, first_failure, retry, awaited)\n--\n\n"
"Say what is called when a call has raised, or returned an awaitable.");

static PyObject *
connect(PyObject *module, PyObject *args)
{
    PyObject *counted, *first_failure, *retry, *awaited;
    if (!PyArg_ParseTuple(args, "O!OOO:connect", &PyList_Type, &counted, &first_failure, &retry, &awaited)) {
        return NULL;
    }
    if (PyList_GET_SIZE(counted) != 1) {
        PyErr_SetString(PyExc_ValueError, "counted must be a list of one item");
        return NULL;
    }
    State *state = state_of(module);
    Py_XSETREF(state->counted, Py_NewRef(counted));
    Py_XSETREF(state->first_failure, Py_NewRef(first_failure));
    Py_XSETREF(state->awaited, Py_NewRef(awaited));
    Py_XSETREF(state->retry, Py_NewRef(retry));
    Py_RETURN_NONE;
}

static PyMethodDef fast_methods[] = {
    {"make_type", make_type, METH_VARARGS, make_type_doc},
    {"set_up", set_up, METH_VARARGS, set_up_doc},
    {"invoke", (PyCFunction)(void (*)(void))invoke, METH_FASTCALL, invoke_doc},
    {"unpack", unpack, METH_VARARGS, unpack_doc},
    {"connect", connect, METH_VARARGS, connect_doc},
    {NULL},
};

static int
fast_exec(PyObject *module)
{
    State *state = state_of(module);
    state->tally_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &tally_spec, NULL);
    return state->tally_type == NULL ? -1 : PyModule_AddType(module, state->tally_type);
}

static int
fast_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = state_of(module);
    Py_VISIT(state->tally_type);
    Py_VISIT(state->counted);
    Py_VISIT(state->first_failure);
    Py_VISIT(state->retry);
    Py_VISIT(state->awaited);
    return 0;
}

static int
fast_clear(PyObject *module)
{
    State *state = state_of(module);
    Py_CLEAR(state->tally_type);
    Py_CLEAR(state->counted);
    Py_CLEAR(state->first_failure);
    Py_CLEAR(state->retry);
    Py_CLEAR(state->awaited);
    return 0;
}

static void
fast_free(void *module)
{
    fast_clear((PyObject *)module);
}

static PyModuleDef_Slot fast_slots[] = {
    {Py_mod_exec, fast_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef fast_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "retrywrap.run._fast",
    .m_doc = "The fast path in C.",
    .m_size = sizeof(State),
    .m_methods = fast_methods,
    .m_slots = fast_slots,
    .m_traverse = fast_traverse,
    .m_clear = fast_clear,
    .m_free = fast_free,
};

PyMODINIT_FUNC
PyInit__fast(void)
{
    return PyModuleDef_Init(&fast_module);
}
