/* The fast path: what stands for a decorated callable, in C. Python is entered only when a call raises (see _failure.c).
 *
 * It behaves to the letter as the classes in proxy.py and the closures in calls.py, which are used where this module is
 * not built, or refuses itself. A type made here derives from wrapt.FunctionWrapper at run time: its instances are the
 * base's, whatever their size is, with a tail of ours behind. Nothing in wrapt's own fields is ever touched.
 */

#include "_fast.h"

/* ---- successes, counted */

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

/* ---- the proxy */

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
    return PyList_GetItemRef(state->links.counted, 0);
#else
    return Py_NewRef(PyList_GET_ITEM(state->links.counted, 0));
#endif
}

static PyObject *
after_awaitable(Tail *tail, PyObject *first, PyObject *wrapped, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *arguments, *named, *result = NULL;
    PyObject *spec = Py_NewRef(tail->spec);
    if (retrywrap_pack(args, count, names, &arguments, &named) == 0) {
        PyObject *told[] = {NULL, first, wrapped, spec, arguments, named};
        result = PyObject_Vectorcall(tail->state->links.awaited, told + 1, 5 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        Py_DECREF(arguments);
        Py_DECREF(named);
    }
    Py_DECREF(spec);
    return result;
}

static PyObject *
call_retried(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Tail *tail = tail_of(Py_NewRef(self)); /* what is called may drop the last reference to this proxy */
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
        result = retrywrap_after_failure(tail, wrapped, since, args, nargsf, names);
    }
    Py_DECREF(since);
    Py_DECREF(wrapped);
    Py_DECREF(self);
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
    Py_VISIT(tail->track);
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
    Py_CLEAR(tail->track);
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
    PyObject *wrapped = tail->wrapped, *spec = tail->spec, *track = tail->track, *tally = (PyObject *)tail->tally;
    tail->wrapped = tail->spec = tail->track = NULL;
    tail->tally = NULL;
    int static_base = !(base->tp_flags & Py_TPFLAGS_HEAPTYPE); /* then it does not let go of the type */
    base->tp_dealloc(self);
    Py_XDECREF(wrapped);
    Py_XDECREF(spec);
    Py_XDECREF(track);
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
    if (Py_TYPE(self)->tp_dealloc != proxy_dealloc || tail_of(self)->vectorcall != NULL || state->links.retry == NULL) {
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

PyDoc_STRVAR(rewire_doc, "rewire(proxy, wrapped)\n--\n\n"
"Have a proxy that was set up call something else, in the same way, from the next call on.");

static PyObject *
rewire(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *self, *wrapped;
    if (!PyArg_ParseTuple(args, "OO:rewire", &self, &wrapped)) {
        return NULL;
    }
    if (Py_TYPE(self)->tp_dealloc != proxy_dealloc || tail_of(self)->vectorcall == NULL) {
        PyErr_SetString(PyExc_TypeError, "this proxy was not set up");
        return NULL;
    }
    Py_XSETREF(tail_of(self)->wrapped, Py_NewRef(wrapped));
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
    if (retrywrap_pack(((PyTupleObject *)packed)->ob_item, count, given == 0 ? NULL : names, &arguments, &named) < 0) {
        return NULL;
    }
    PyObject *both = PyTuple_Pack(2, arguments, named);
    Py_DECREF(arguments);
    Py_DECREF(named);
    return both;
}

PyDoc_STRVAR(connect_doc, "connect(links)\n--\n\n"
"Say what is called when a call has raised, or returned an awaitable, and where to look what is in force.\n\n"
"Raises KeyError where a link is missing, and TypeError where one is not of the kind that is needed.");

static const char *const link_names[] = {
#define RETRYWRAP_TEXT(name) #name,
    RETRYWRAP_LINKS(RETRYWRAP_TEXT)};
static const char *const interned_names[] = {RETRYWRAP_NAMES(RETRYWRAP_TEXT)};

static int
fits_together(const Links *links)
{
    PyTypeObject *event = (PyTypeObject *)links->event_type;
    return PyList_CheckExact(links->counted) && PyList_GET_SIZE(links->counted) == 1
        && PyDict_CheckExact(links->judged) && PyDict_CheckExact(links->clocks) && PyDict_CheckExact(links->hooks)
        && PyDict_CheckExact(links->threading) && PyContextVar_CheckExact(links->ambient)
        && PyTuple_CheckExact(links->scheduled_details) && PyTuple_CheckExact(links->recovered_details)
        && PyTuple_CheckExact(links->event_names) && PyTuple_GET_SIZE(links->event_names) == 3
        && PyTuple_CheckExact(links->reasons) && PyTuple_GET_SIZE(links->reasons) == 3
        && PyType_Check(links->event_type) && PyType_IsSubtype(event, &PyTuple_Type)
        && event->tp_basicsize == PyTuple_Type.tp_basicsize && event->tp_itemsize == PyTuple_Type.tp_itemsize;
}

static PyObject *
connect(PyObject *module, PyObject *links)
{
    State *state = state_of(module);
    PyObject *found[LINKS] = {NULL};
    int missing = !PyDict_CheckExact(links);
    for (int i = 0; i < LINKS && !missing; i++) {
        found[i] = Py_XNewRef(PyDict_GetItemString(links, link_names[i]));
        if (found[i] == NULL) {
            PyErr_SetString(PyExc_KeyError, link_names[i]);
            missing = 1;
        }
    }
    const Links *all = (const Links *)found;
    Py_ssize_t most_news = missing ? 0 : PyLong_AsSsize_t(all->most_news);
    if (missing || PyErr_Occurred() || !fits_together(all)) {
        for (int i = 0; i < LINKS; i++) {
            Py_XDECREF(found[i]);
        }
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "these links are not what the fast path knows");
        }
        return NULL;
    }
    for (int i = 0; i < LINKS; i++) {
        Py_XSETREF(state->linked[i], found[i]);
    }
    state->most_news = most_news;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(count_doc, "count(registry)\n--\n\n"
"Count all that came in to a registry, as its own function does; called with its lock held.");

static PyMethodDef fast_methods[] = {
    {"make_type", make_type, METH_VARARGS, make_type_doc},
    {"set_up", set_up, METH_VARARGS, set_up_doc},
    {"rewire", rewire, METH_VARARGS, rewire_doc},
    {"invoke", (PyCFunction)(void (*)(void))invoke, METH_FASTCALL, invoke_doc},
    {"unpack", unpack, METH_VARARGS, unpack_doc},
    {"connect", connect, METH_O, connect_doc},
    {"count", retrywrap_count, METH_O, count_doc},
    {NULL},
};

static int
fast_exec(PyObject *module)
{
    State *state = state_of(module);
    for (int i = 0; i < NAMES; i++) {
        state->named[i] = PyUnicode_InternFromString(interned_names[i]);
        if (state->named[i] == NULL) {
            return -1;
        }
    }
    state->tally_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &tally_spec, NULL);
    return state->tally_type == NULL ? -1 : PyModule_AddType(module, state->tally_type);
}

static int
fast_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = state_of(module);
    Py_VISIT(state->tally_type);
    for (int i = 0; i < LINKS; i++) {
        Py_VISIT(state->linked[i]);
    }
    return 0;
}

static int
fast_clear(PyObject *module)
{
    State *state = state_of(module);
    Py_CLEAR(state->tally_type);
    for (int i = 0; i < LINKS; i++) {
        Py_CLEAR(state->linked[i]);
    }
    return 0;
}

static void
fast_free(void *module)
{
    State *state = state_of((PyObject *)module);
    fast_clear((PyObject *)module);
    for (int i = 0; i < NAMES; i++) {
        Py_CLEAR(state->named[i]);
    }
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
