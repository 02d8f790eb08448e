/* The fast path where a call raises: the beaten track of a failure that nothing is said of but "try again, at once".
 *
 * Every decision is made in decide/context.py. What stands here is two of them: the tenth law, for operations whose
 * policy asks for nothing but attempts without waits between them, under no scope, and for errors whose verdict is
 * known to be "retry" by their class, errno and text; and the sixth, where their retries are used up. Whatever else comes,
 * Python takes the operation over where it stands: there, a retry is scheduled, recorded and published by the same
 * rules, and cannot be told from one that was made here.
 */

#include "_fast.h"

/* Places in an event. */
enum {
    EVENT_NAME,
    EVENT_OPERATION,
    EVENT_REASON,
    EVENT_CODE,
    EVENT_ATTEMPT = 6,
    EVENT_WAIT = 8,
    EVENT_ELAPSED,
    EVENT_IS_ERROR = 15,
    EVENT_IS_RETRY,
    EVENT_FIELDS
};

/* What has become of an operation that is not over. */
typedef struct {
    PyObject *track;
    PyObject *since;
    PyObject *verdict; /* of the newest failure: what `judged` has */
    double started;
    double epoch;
    long long attempts; /* that have failed */
    int is_over;        /* its last event is on its way, or was told */
} Run;

static void
run_over(Run *run)
{
    Py_CLEAR(run->track);
    Py_CLEAR(run->verdict);
}

/* ---- errors that are on their way */

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

/* Whether what a look-up of ours raised may be passed over: it is an Exception, and is cleared; Ctrl-C is not. */
static int
passed_over(void)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return 0;
    }
    PyErr_Clear();
    return 1;
}

/* Be in an `except` block for an error; return what was handled in this frame before. */
static PyObject *
begin_handling(PyObject *error)
{
    /* Not by PyErr_GetHandledException, which finds what the callers of a generator handle, too. */
    _PyErr_StackItem *handled = PyThreadState_Get()->exc_info;
    PyObject *before = handled->exc_value;
    handled->exc_value = Py_NewRef(error);
    return before;
}

static void
end_handling(PyObject *before)
{
    _PyErr_StackItem *handled = PyThreadState_Get()->exc_info;
    PyObject *error = handled->exc_value;
    handled->exc_value = before;
    Py_XDECREF(error);
}

/* Call as an `except` block for the error would. */
static PyObject *
call_handling(PyObject *error, PyObject *function, PyObject **args, size_t count)
{
    PyObject *before = begin_handling(error);
    PyObject *result = PyObject_Vectorcall(function, args, count, NULL);
    end_handling(before);
    return result;
}

int
retrywrap_pack(PyObject *const *args, Py_ssize_t count, PyObject *names, PyObject **arguments, PyObject **named)
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

/* ---- reading what Python keeps: each returns a new reference, or NULL, without an error where nothing is there */

static PyObject *
item_of(PyObject *dict, PyObject *key)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *value;
    return PyDict_GetItemRef(dict, key, &value) < 0 ? NULL : value;
#else
    return Py_XNewRef(PyDict_GetItemWithError(dict, key));
#endif
}

/* Whether an attribute is this very object; -1: it cannot be read. */
static int
attribute_is(PyObject *owner, PyObject *name, PyObject *wanted)
{
    PyObject *value = PyObject_GetAttr(owner, name);
    if (value == NULL) {
        return -1;
    }
    int same = value == wanted;
    Py_DECREF(value);
    return same;
}

static int
item_is(PyObject *dict, PyObject *name, PyObject *wanted)
{
    PyObject *value = item_of(dict, name);
    int same = value == wanted;
    Py_XDECREF(value);
    return PyErr_Occurred() ? -1 : same;
}

static PyObject *
thread_name(State *state)
{
    PyObject *current = item_of(state->links.threading, state->names.current_thread); /* gevent replaces it */
    PyObject *thread = current == NULL ? NULL : PyObject_CallNoArgs(current);
    PyObject *name = thread == NULL ? NULL : PyObject_GetAttr(thread, state->names.name);
    Py_XDECREF(current);
    Py_XDECREF(thread);
    return name;
}

static int
read_clock(State *state, PyObject *name, double *seconds)
{
    PyObject *clock = PyObject_GetAttr(state->links.time, name); /* where somebody freezes time, it is replaced */
    PyObject *now = clock == NULL ? NULL : PyObject_CallNoArgs(clock);
    Py_XDECREF(clock);
    if (now == NULL) {
        return -1;
    }
    *seconds = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return *seconds == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* A text that depends on a number alone. */
static PyObject *
detail(PyObject *made, PyObject *make, long long number)
{
    return number < PyTuple_GET_SIZE(made) ? Py_NewRef(PyTuple_GET_ITEM(made, (Py_ssize_t)number))
                                           : PyObject_CallFunction(make, "L", number);
}

/* ---- whether a failure is on the beaten track */

enum {
    TRACK_POLICIES, /* in force when it was made */
    TRACK_POLICY,
    TRACK_OPERATION,
    TRACK_LAYER,
    TRACK_MAX,
    TRACK_MOST,
    TRACK_LIMIT, /* what an event says of that */
    TRACK_REGISTRY, /* None: it is not beaten */
    TRACK_NEWS,
    TRACK_FIELDS
};

static PyObject *
track_of(Tail *tail)
{
    State *state = tail->state;
    PyObject *track = Py_XNewRef(tail->track);
    if (track != NULL) {
        int same = attribute_is(state->links.policies, state->names.current, PyTuple_GET_ITEM(track, TRACK_POLICIES));
        if (same > 0) {
            return track;
        }
        Py_DECREF(track);
        if (same < 0) {
            return NULL;
        }
    }
    track = PyObject_CallOneArg(state->links.track_of, tail->spec);
    if (track != NULL && (!PyTuple_CheckExact(track) || PyTuple_GET_SIZE(track) != TRACK_FIELDS)) {
        PyErr_SetString(PyExc_TypeError, "track_of must return a tuple");
        Py_CLEAR(track);
    }
    if (track != NULL) {
        Py_XSETREF(tail->track, Py_NewRef(track));
    }
    return track;
}

/* Whether an argument is certainly as good at the next attempt as it was at the first. */
static int
stays(State *state, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    PyAsyncMethods *async = type->tp_as_async;
    if (PyIter_Check(value) || PyAIter_Check(value) || (async != NULL && async->am_await != NULL)) {
        return 0;
    }
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        return 1;
    }
    PyObject *module = PyObject_GetAttr((PyObject *)type, state->names.__module__);
    if (module == NULL) {
        PyErr_Clear();
        return 0;
    }
    int temporary = !PyUnicode_Check(module) || PyUnicode_CompareWithASCIIString(module, "tempfile") == 0;
    Py_DECREF(module);
    return !temporary;
}

/* Whether nothing is known of an error but itself: no note, no cause; -1: something was raised. */
static int
stands_alone(State *state, PyObject *error)
{
    PyBaseExceptionObject *base = (PyBaseExceptionObject *)error;
    if (base->cause != NULL) {
        return 0;
    }
    int noted = base->dict == NULL ? 0 : PyDict_Contains(base->dict, state->names.__notes__);
    return noted < 0 ? -1 : !noted;
}

/* What `judged` has of an error: under its class's place, its errno, and its text. */
static PyObject *
key_of(PyObject *error)
{
    PyObject *text = PyObject_Str(error);
    if (text == NULL || !PyUnicode_CheckExact(text)) { /* who says so is the classifier's business */
        Py_XDECREF(text);
        return NULL;
    }
    PyObject *number = Py_None, *place, *key = NULL;
    if (PyObject_TypeCheck(error, (PyTypeObject *)PyExc_OSError) && ((PyOSErrorObject *)error)->myerrno != NULL) {
        number = ((PyOSErrorObject *)error)->myerrno;
    }
    if ((number == Py_None || PyLong_CheckExact(number)) && (place = PyLong_FromVoidPtr(Py_TYPE(error))) != NULL) {
        key = PyTuple_Pack(3, place, number, text);
        Py_DECREF(place);
    }
    Py_DECREF(text);
    return key;
}

enum { JUDGED_CODE, JUDGED_MESSAGE, JUDGED_TYPE, JUDGED_RULE, JUDGED_MARK, JUDGED_CLASS, JUDGED_FIELDS };

/* Whether a verdict is on this class, and of the registrations that there are now. */
static int
still_holds(State *state, PyObject *verdict, PyObject *error)
{
    PyObject *reference = PyTuple_GET_ITEM(verdict, JUDGED_CLASS), *cls = NULL;
    int same;
#if PY_VERSION_HEX >= 0x030D0000
    if (PyWeakref_GetRef(reference, &cls) < 0) {
        return -1;
    }
    same = cls == (PyObject *)Py_TYPE(error);
    Py_XDECREF(cls);
#else
    cls = PyWeakref_GetObject(reference);
    if (cls == NULL) {
        return -1;
    }
    same = cls == (PyObject *)Py_TYPE(error);
#endif
    return same ? attribute_is(state->links.registrations, state->names.mark, PyTuple_GET_ITEM(verdict, JUDGED_MARK))
                : 0;
}

/* The verdict "retry" on an error; NULL without an error: somebody else must judge. */
static PyObject *
judged(State *state, PyObject *error)
{
    PyObject *key = key_of(error);
    if (key == NULL) {
        passed_over(); /* it has no text, for one */
        return NULL;
    }
    PyObject *verdict = item_of(state->links.judged, key);
    int holds = verdict == NULL ? 0 : still_holds(state, verdict, error);
    if (holds == 0 && !PyErr_Occurred()) {
        PyObject *asked[] = {error, key};
        Py_XSETREF(verdict, PyObject_Vectorcall(state->links.judge, asked, 2, NULL));
    }
    Py_DECREF(key);
    if (holds < 0 || verdict == Py_None) {
        Py_CLEAR(verdict);
    }
    else if (verdict != NULL && (!PyTuple_CheckExact(verdict) || PyTuple_GET_SIZE(verdict) != JUDGED_FIELDS)) {
        PyErr_SetString(PyExc_TypeError, "judge must return a tuple or None");
        Py_CLEAR(verdict);
    }
    return verdict;
}

/* ---- events */

/* Of an operation: a retry follows at once; it succeeded late; its retries are used up. */
enum { SCHEDULED, RECOVERED, EXHAUSTED };

enum { HUSH_LISTENERS, HUSH_DEPENDS, HUSH_DEAF, HUSH_FIELDS };

/* Whether what was found out last still holds. */
static int
hush_holds(State *state, PyObject *hush)
{
    PyObject *depends = PyTuple_GET_ITEM(hush, HUSH_DEPENDS);
    int same = item_is(state->links.hooks, state->names._subscriptions, PyTuple_GET_ITEM(hush, HUSH_LISTENERS));
    for (Py_ssize_t i = 0; same == 1 && i < PyTuple_GET_SIZE(depends); i++) {
        PyObject *each = PyTuple_GET_ITEM(depends, i);
        same = attribute_is(PyTuple_GET_ITEM(each, 0), PyTuple_GET_ITEM(each, 1), PyTuple_GET_ITEM(each, 2));
    }
    return same;
}

/* Whether nobody would do anything with an event of this name. */
static int
is_hushed(State *state, PyObject *name)
{
    PyObject *hush = item_of(state->links.hooks, state->names._hush);
    int holds = hush == NULL || hush == Py_None ? 0 : hush_holds(state, hush);
    if (holds == 0 && !PyErr_Occurred()) {
        Py_XSETREF(hush, PyObject_CallNoArgs(state->links.hush));
    }
    int hushed = -1;
    if (holds >= 0 && hush != NULL && PyTuple_Check(hush) && PyTuple_GET_SIZE(hush) == HUSH_FIELDS) {
        hushed = PySet_Contains(PyTuple_GET_ITEM(hush, HUSH_DEAF), name);
    }
    Py_XDECREF(hush);
    return hushed;
}

/* The event of an attempt that has ended, the failed ones of before counted in `run`. */
static PyObject *
new_event(Run *run, State *state, int kind, double now)
{
    PyObject *track = run->track, *verdict = run->verdict;
    long long number = run->attempts + 1;
    PyObject *attempt = PyLong_FromLongLong(number);
    PyObject *elapsed = PyFloat_FromDouble(now - run->started);
    PyObject *moment = PyFloat_FromDouble(run->epoch + now);
    PyObject *wait = kind == SCHEDULED ? PyFloat_FromDouble(0.0) : Py_NewRef(Py_None);
    PyObject *text = kind == SCHEDULED ? detail(state->links.scheduled_details, state->links.scheduled, number)
        : kind == RECOVERED            ? detail(state->links.recovered_details, state->links.recovered, number)
                                       : Py_NewRef(PyTuple_GET_ITEM(track, TRACK_LIMIT));
    PyTypeObject *type = (PyTypeObject *)state->links.event_type;
    PyObject *event = NULL;
    if (attempt != NULL && elapsed != NULL && moment != NULL && text != NULL && wait != NULL) {
        event = type->tp_alloc(type, EVENT_FIELDS);
    }
    if (event == NULL) {
        Py_XDECREF(attempt);
        Py_XDECREF(elapsed);
        Py_XDECREF(moment);
        Py_XDECREF(text);
        Py_XDECREF(wait);
        return NULL;
    }
    PyObject *fields[EVENT_FIELDS] = {
        Py_NewRef(PyTuple_GET_ITEM(state->links.event_names, kind)),
        Py_NewRef(PyTuple_GET_ITEM(track, TRACK_OPERATION)),
        Py_NewRef(PyTuple_GET_ITEM(state->links.reasons, kind)),
        Py_NewRef(PyTuple_GET_ITEM(verdict, JUDGED_CODE)),
        Py_NewRef(PyTuple_GET_ITEM(verdict, JUDGED_MESSAGE)),
        Py_NewRef(PyTuple_GET_ITEM(verdict, JUDGED_TYPE)),
        attempt,
        Py_NewRef(PyTuple_GET_ITEM(track, TRACK_MAX)),
        wait,
        elapsed,
        moment,
        Py_NewRef(PyTuple_GET_ITEM(verdict, JUDGED_RULE)),
        Py_NewRef(Py_None),
        Py_NewRef(Py_None),
        text,
        Py_NewRef(kind == RECOVERED ? Py_False : Py_True),
        Py_NewRef(number > 1 ? Py_True : Py_False),
    };
    for (int i = 0; i < EVENT_FIELDS; i++) {
        PyTuple_SET_ITEM(event, i, fields[i]);
    }
    return event;
}

/* Bring an event to the registry, and to the listeners where they would do anything with it; return it. */
static PyObject *
publish(Run *run, State *state, int kind, double now)
{
    PyObject *event = new_event(run, state, kind, now);
    PyObject *name = event == NULL ? NULL
        : kind == RECOVERED        ? PyUnicode_FromStringAndSize("", 0)
                                   : thread_name(state);
    PyObject *pair = name == NULL ? NULL : PyTuple_Pack(2, event, name);
    Py_XDECREF(name);
    PyObject *news = PyTuple_GET_ITEM(run->track, TRACK_NEWS);
    PyObject *done = pair == NULL ? NULL : PyObject_CallMethodOneArg(news, state->names.append, pair);
    Py_XDECREF(pair);
    if (done != NULL && PyObject_Size(news) >= state->most_news) {
        Py_SETREF(done, PyObject_CallOneArg(state->links.count_some, PyTuple_GET_ITEM(run->track, TRACK_REGISTRY)));
    }
    if (done != NULL) {
        int hushed = is_hushed(state, PyTuple_GET_ITEM(event, EVENT_NAME));
        if (hushed < 0 && !passed_over()) { /* else the listeners are asked one by one */
            Py_CLEAR(done);
        }
        else if (hushed != 1) {
            Py_SETREF(done, PyObject_CallOneArg(state->links.tell, event));
        }
    }
    if (done == NULL) {
        Py_CLEAR(event);
    }
    Py_XDECREF(done);
    return event;
}

/* ---- the note on an error that comes out */

/* What is shown as no seconds at all: with the digits of others, Python is asked. */
static const double SHOWN_AS_NONE = 0.0004;

/* Whether an error took a new list of notes; what it raises where it does not is nobody's business. */
static int
take_notes(State *state, PyObject *error, PyObject *note)
{
    PyObject *notes = PyList_New(1);
    if (notes == NULL) {
        return -1;
    }
    PyList_SET_ITEM(notes, 0, Py_NewRef(note));
    /* Not as its class has it: a frozen one refuses, and a note must not mask the error. */
    int failed = PyObject_GenericSetAttr(error, state->names.__notes__, notes) < 0;
    Py_DECREF(notes);
    return failed && !passed_over() ? -1 : 0;
}

/* Leave the note of an exhausted operation on an error that has none, as `leave_note` would. */
static int
leave_note(State *state, PyObject *error, PyObject *event, Run *run)
{
    PyObject *operation = PyTuple_GET_ITEM(event, EVENT_OPERATION), *reason = PyTuple_GET_ITEM(event, EVENT_REASON);
    PyObject *layer = PyTuple_GET_ITEM(run->track, TRACK_LAYER);
    int noted = ((PyBaseExceptionObject *)error)->dict == NULL ? 0 : stands_alone(state, error) != 1;
    double elapsed = PyFloat_AS_DOUBLE(PyTuple_GET_ITEM(event, EVENT_ELAPSED));
    if (noted && !passed_over()) {
        return -1;
    }
    if (noted || !(elapsed >= 0.0 && elapsed < SHOWN_AS_NONE)) {
        PyObject *all[] = {error, event, layer};
        PyObject *done = PyObject_Vectorcall(state->links.leave_note, all, 3, NULL);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    PyObject *text = PyUnicode_FromFormat(
        "retrywrap: %U exhausted after %lld attempt%s in 0 s: %U", operation, run->attempts,
        run->attempts == 1 ? "" : "s", PyTuple_GET_ITEM(run->track, TRACK_LIMIT));
    PyObject *note = text == NULL ? NULL : PyObject_CallOneArg(state->links.note_type, text);
    PyObject *number = note == NULL ? NULL : PyObject_CallNoArgs(state->links.next_number);
    int failed = number == NULL || PyObject_SetAttr(note, state->names.number, number) < 0
        || PyObject_SetAttr(note, state->names.operation, operation) < 0
        || PyObject_SetAttr(note, state->names.layer, layer) < 0
        || PyObject_SetAttr(note, state->names.reason, reason) < 0
        || PyObject_SetAttr(note, state->names.attempts, PyTuple_GET_ITEM(event, EVENT_ATTEMPT)) < 0
        || take_notes(state, error, note) < 0;
    Py_XDECREF(number);
    Py_XDECREF(note);
    Py_XDECREF(text);
    return failed ? -1 : 0;
}

/* ---- the track itself */

/* Whether an operation that fails for the first time is one for the beaten track; -1: something was raised. */
static int
begins(Tail *tail, Run *run, PyObject *const *args, Py_ssize_t count)
{
    State *state = tail->state;
    PyObject *around = NULL;
    if (PyContextVar_Get(state->links.ambient, NULL, &around) < 0) {
        return -1;
    }
    Py_XDECREF(around); /* it is compared, no more */
    if (around != state->links.process) {
        return 0;
    }
    int usual = item_is(state->links.clocks, state->names._current, state->links.clock);
    if (usual == 1) {
        usual = item_is(state->links.clocks, state->names._enabled, Py_True);
    }
    if (usual != 1) {
        return usual;
    }
    run->track = track_of(tail);
    if (run->track == NULL) {
        return -1;
    }
    if (PyTuple_GET_ITEM(run->track, TRACK_REGISTRY) == Py_None) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!stays(state, args[i])) {
            return 0;
        }
    }
    double wall;
    if (read_clock(state, state->names.time, &wall) < 0
        || read_clock(state, state->names.monotonic, &run->started) < 0) {
        return -1;
    }
    run->epoch = wall - run->started;
    return 1;
}

/* Whether nothing but the number of retries decides on a failed attempt; -1: something was raised. */
static int
is_beaten(Tail *tail, Run *run, PyObject *error, PyObject *const *args, Py_ssize_t count)
{
    State *state = tail->state;
    if (run->attempts == 0) {
        int usual = begins(tail, run, args, count);
        if (usual != 1) {
            return usual;
        }
    }
    int alone = stands_alone(state, error);
    if (alone != 1) {
        return alone < 0 && !passed_over() ? -1 : 0;
    }
    int usual = attribute_is(state->links.process, state->names._cancelled, Py_False);
    if (usual != 1) {
        return usual;
    }
    PyObject *verdict = judged(state, error);
    if (verdict == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_XSETREF(run->verdict, verdict);
    return 1;
}

/* What follows a failed attempt. */
enum { NEXT, END, ELSEWHERE, RAISED };

/* Decide on a failed attempt, as its `except` block: the next one follows; the error comes out, with its note; somebody
 * else must decide; or something else was raised meanwhile. */
static int
decide(Tail *tail, Run *run, PyObject *error, PyObject *const *args, Py_ssize_t count)
{
#ifdef Py_GIL_DISABLED
    return ELSEWHERE; /* what is kept here between calls is not made for threads that run at once */
#endif
    State *state = tail->state;
    int beaten = is_beaten(tail, run, error, args, count);
    if (beaten != 1) {
        return beaten < 0 ? RAISED : ELSEWHERE;
    }
    double now = run->started;
    if (run->attempts > 0) {
        if (read_clock(state, state->names.monotonic, &now) < 0) {
            return RAISED;
        }
        PyTracebackObject *entry = (PyTracebackObject *)((PyBaseExceptionObject *)error)->traceback;
        if (entry != NULL && entry->tb_next != NULL) {
            PyObject *done = PyObject_CallOneArg(state->links.forget_traceback, error);
            if (done == NULL) {
                return RAISED;
            }
            Py_DECREF(done);
        }
    }
    int last = run->is_over = run->attempts >= PyLong_AsLongLong(PyTuple_GET_ITEM(run->track, TRACK_MOST));
    PyObject *event = publish(run, state, last ? EXHAUSTED : SCHEDULED, now);
    run->attempts++; /* whoever interrupts the telling of it ends an operation of which something was told */
    if (event == NULL) {
        return RAISED;
    }
    if (last) {
        if (leave_note(state, error, event, run) < 0) {
            Py_DECREF(event);
            return RAISED;
        }
    }
    Py_DECREF(event);
    return last ? END : NEXT;
}

static PyObject *
so_far(Run *run)
{
    return Py_BuildValue(
        "(OOddLO)", PyTuple_GET_ITEM(run->track, TRACK_POLICY), run->since, run->started, run->epoch, run->attempts,
        run->verdict);
}

/* Python decides what follows; the error is stolen. */
static PyObject *
hand_over(
    Tail *tail, Run *run, PyObject *spec, PyObject *wrapped, PyObject *error, PyObject *const *args, Py_ssize_t count,
    PyObject *names)
{
    State *state = tail->state;
    PyObject *arguments, *named, *operation = NULL, *result = NULL, *told;
    if (retrywrap_pack(args, count, names, &arguments, &named) < 0) {
        PyErr_Clear(); /* there is no memory to retry with */
        raise_again(error);
        return NULL;
    }
    told = run->attempts == 0 ? Py_NewRef(run->since) : so_far(run);
    if (told != NULL) {
        PyObject *all[] = {NULL, spec, told, error, arguments, named};
        operation = call_handling(
            error, run->attempts == 0 ? state->links.first_failure : state->links.later_failure, all + 1,
            5 | PY_VECTORCALL_ARGUMENTS_OFFSET);
        Py_DECREF(told);
    }
    if (operation == Py_None) {
        raise_again(error); /* steals it */
    }
    else {
        Py_DECREF(error); /* it is let go before the next attempt begins */
        if (operation != NULL) {
            PyObject *then[] = {NULL, operation, wrapped, arguments, named};
            result = PyObject_Vectorcall(state->links.retry, then + 1, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        }
    }
    Py_XDECREF(operation);
    Py_DECREF(arguments);
    Py_DECREF(named);
    return result;
}

/* The operation ends by something that is no failure of an attempt; the error, which is stolen, comes out.
 * How: it was cancelled (None), or interrupted in an attempt (True) or between two (False). */
static PyObject *
end(Tail *tail, Run *run, PyObject *spec, PyObject *error, PyObject *how)
{
    PyObject *told = so_far(run), *done = NULL;
    if (told != NULL) {
        PyObject *all[] = {spec, told, error, how};
        done = call_handling(error, tail->state->links.later_end, all, 4);
        Py_DECREF(told);
    }
    if (done == NULL) {
        Py_DECREF(error);
        return NULL;
    }
    Py_DECREF(done);
    raise_again(error);
    return NULL;
}

static PyObject *
later_awaitable(
    Tail *tail, Run *run, PyObject *spec, PyObject *first, PyObject *wrapped, PyObject *const *args, Py_ssize_t count,
    PyObject *names)
{
    PyObject *arguments, *named, *result = NULL, *told = so_far(run);
    if (told != NULL && retrywrap_pack(args, count, names, &arguments, &named) == 0) {
        PyObject *all[] = {NULL, spec, told, first, wrapped, arguments, named};
        result = PyObject_Vectorcall(
            tail->state->links.later_awaitable, all + 1, 6 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        Py_DECREF(arguments);
        Py_DECREF(named);
    }
    Py_XDECREF(told);
    return result;
}

PyObject *
retrywrap_after_failure(
    Tail *tail, PyObject *wrapped, PyObject *since, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Run run = {.since = since};
    State *state = tail->state;
    PyObject *spec = Py_NewRef(tail->spec), *result = NULL;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    Py_ssize_t given = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    for (;;) {
        PyObject *error = take_raised();
        PyObject *before = begin_handling(error);
        int follows = decide(tail, &run, error, args, given);
        end_handling(before);
        if (follows == ELSEWHERE) {
            result = hand_over(tail, &run, spec, wrapped, error, args, count, names);
            break;
        }
        if (follows == END) {
            raise_again(error); /* steals it */
            break;
        }
        if (follows == RAISED) {
            Py_DECREF(error);
            if (run.attempts > 0 && !run.is_over && !PyErr_ExceptionMatches(PyExc_Exception)) {
                /* Ctrl-C, in the midst of all this */
                result = end(tail, &run, spec, take_raised(), Py_False);
            }
            break;
        }
        if (attribute_is(state->links.process, state->names._cancelled, Py_True) == 1) {
            result = end(tail, &run, spec, error, Py_None);
            break;
        }
        Py_DECREF(error); /* it is let go before the next attempt begins */
        if (PyErr_CheckSignals() < 0) { /* what is called may run no bytecode, where signals are looked at */
            result = end(tail, &run, spec, take_raised(), Py_False);
            break;
        }
        result = PyObject_Vectorcall(wrapped, args, nargsf, names);
        if (result != NULL) {
            PyAsyncMethods *async = Py_TYPE(result)->tp_as_async;
            double now;
            if (async != NULL && async->am_await != NULL) {
                Py_SETREF(result, later_awaitable(tail, &run, spec, result, wrapped, args, count, names));
            }
            else {
                PyObject *event = read_clock(state, state->names.monotonic, &now) < 0
                    ? NULL
                    : publish(&run, state, RECOVERED, now);
                if (event == NULL) {
                    Py_CLEAR(result);
                }
                Py_XDECREF(event);
            }
            break;
        }
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            result = end(tail, &run, spec, take_raised(), Py_True);
            break;
        }
    }
    run_over(&run);
    Py_DECREF(spec);
    return result;
}

/* ---- counting: in C alone, where no signal handler comes between two counts of one event */

enum { MOST_KINDS = 8 };

/* What happened to one operation, so often. */
typedef struct {
    PyObject *operation, *counts; /* references, as are the following */
    PyObject *reasons[MOST_KINDS], *codes[MOST_KINDS];
    long long reason_counts[MOST_KINDS], code_counts[MOST_KINDS];
    long long errors, retries, unknown, at_once;
    double waited; /* what was waited before included, for the sum to be the same as one by one */
    int has_waited;
} Sum;

static int
add_to_attribute(PyObject *owner, PyObject *name, long long count)
{
    PyObject *before = PyObject_GetAttr(owner, name), *more = PyLong_FromLongLong(count);
    PyObject *after = before == NULL || more == NULL ? NULL : PyNumber_Add(before, more);
    int failed = after == NULL || PyObject_SetAttr(owner, name, after) < 0;
    Py_XDECREF(before);
    Py_XDECREF(more);
    Py_XDECREF(after);
    return failed ? -1 : 0;
}

static int
add_to_item(PyObject *dict, PyObject *key, long long count)
{
    PyObject *before = item_of(dict, key), *more = PyLong_FromLongLong(count);
    PyObject *after = more == NULL || PyErr_Occurred() ? NULL
        : before == NULL                               ? Py_NewRef(more)
                                                       : PyNumber_Add(before, more);
    int failed = after == NULL || PyDict_SetItem(dict, key, after) < 0;
    Py_XDECREF(before);
    Py_XDECREF(more);
    Py_XDECREF(after);
    return failed ? -1 : 0;
}

static void
count_one(PyObject **things, long long *counts, PyObject *thing)
{
    int i = 0;
    while (things[i] != NULL && things[i] != thing) {
        i++; /* there is a place: see `belongs` */
    }
    if (things[i] == NULL) {
        things[i] = Py_NewRef(thing);
        counts[i] = 0;
    }
    counts[i]++;
}

/* Add a sum to the registry's counts, and begin it anew. */
static int
enter(State *state, PyObject *registry, Sum *sum)
{
    Names *names = &state->names;
    const struct {
        PyObject *name;
        long long count;
    } added[] = {
        {names->errors, sum->errors},
        {names->retries, sum->retries},
        {names->unknown, sum->unknown},
        {names->at_once, sum->at_once},
    };
    PyObject *reasons = NULL, *by_code = NULL;
    int failed = 0;
    if (sum->operation != NULL) {
        reasons = PyObject_GetAttr(sum->counts, names->reasons);
        by_code = reasons == NULL ? NULL : PyObject_GetAttr(registry, names->_by_code);
        failed = by_code == NULL;
    }
    for (size_t i = 0; !failed && i < sizeof(added) / sizeof(added[0]); i++) {
        failed = added[i].count != 0 && add_to_attribute(sum->counts, added[i].name, added[i].count) < 0;
    }
    if (!failed && sum->has_waited) {
        PyObject *waited = PyFloat_FromDouble(sum->waited);
        failed = waited == NULL || PyObject_SetAttr(sum->counts, names->waited, waited) < 0;
        Py_XDECREF(waited);
    }
    for (int i = 0; i < MOST_KINDS; i++) {
        if (!failed && sum->reasons[i] != NULL) {
            PyObject *word = PyUnicode_FromObject(sum->reasons[i]); /* a plain str of it */
            failed = word == NULL || add_to_item(reasons, word, sum->reason_counts[i]) < 0;
            Py_XDECREF(word);
        }
        failed = failed || (sum->codes[i] != NULL && add_to_item(by_code, sum->codes[i], sum->code_counts[i]) < 0);
        Py_XDECREF(sum->reasons[i]);
        Py_XDECREF(sum->codes[i]);
    }
    Py_XDECREF(reasons);
    Py_XDECREF(by_code);
    Py_XDECREF(sum->counts);
    Py_XDECREF(sum->operation);
    memset(sum, 0, sizeof(*sum));
    return failed ? -1 : 0;
}

/* Whether an event is one that is counted here: of our own making, of an operation and a code that are known. */
static int
is_plain(State *state, PyObject *registry, PyObject *event, Sum *sum)
{
    PyObject *reason = PyTuple_GET_ITEM(event, EVENT_REASON), *code = PyTuple_GET_ITEM(event, EVENT_CODE);
    PyObject *attempt = PyTuple_GET_ITEM(event, EVENT_ATTEMPT), *wait = PyTuple_GET_ITEM(event, EVENT_WAIT);
    PyObject *operation = PyTuple_GET_ITEM(event, EVENT_OPERATION), *dict;
    if (!PyBool_Check(PyTuple_GET_ITEM(event, EVENT_IS_ERROR))
        || !PyBool_Check(PyTuple_GET_ITEM(event, EVENT_IS_RETRY)) || !PyLong_CheckExact(attempt)
        || !(wait == Py_None || PyFloat_CheckExact(wait)) || !PyUnicode_CheckExact(operation)
        || !PyUnicode_CheckExact(PyTuple_GET_ITEM(event, EVENT_NAME))
        || !(reason == Py_None || (PyObject *)Py_TYPE(reason) == state->links.reason_type)
        || (PyObject *)Py_TYPE(code) != state->links.code_type) {
        return 0;
    }
    int known = 1;
    if (operation != sum->operation) {
        dict = PyObject_GetAttr(registry, state->names._operations);
        known = dict == NULL || !PyDict_CheckExact(dict) ? 0 : PyDict_Contains(dict, operation);
        Py_XDECREF(dict);
    }
    if (known == 1 && PyTuple_GET_ITEM(event, EVENT_IS_ERROR) == Py_True && code != sum->codes[0]) {
        dict = PyObject_GetAttr(registry, state->names._by_code);
        known = dict == NULL || !PyDict_CheckExact(dict) ? 0 : PyDict_Contains(dict, code);
        Py_XDECREF(dict);
    }
    return PyErr_Occurred() ? -1 : known;
}

/* Whether an event can be added to a sum as it is. */
static int
belongs(Sum *sum, PyObject *event)
{
    return sum->operation == PyTuple_GET_ITEM(event, EVENT_OPERATION) && sum->reasons[MOST_KINDS - 1] == NULL
        && sum->codes[MOST_KINDS - 1] == NULL;
}

static int
begin_sum(State *state, PyObject *registry, Sum *sum, PyObject *operation)
{
    PyObject *operations = PyObject_GetAttr(registry, state->names._operations);
    sum->counts = operations == NULL ? NULL : item_of(operations, operation);
    PyObject *waited = sum->counts == NULL ? NULL : PyObject_GetAttr(sum->counts, state->names.waited);
    Py_XDECREF(operations);
    if (waited == NULL) {
        Py_CLEAR(sum->counts);
        return -1;
    }
    sum->operation = Py_NewRef(operation);
    sum->waited = PyFloat_AsDouble(waited);
    Py_DECREF(waited);
    return 0;
}

static int
add_event(State *state, PyObject *registry, PyObject *pair, Sum *sum)
{
    PyObject *event = PyTuple_GET_ITEM(pair, 0), *reason = PyTuple_GET_ITEM(event, EVENT_REASON);
    if (reason != Py_None) {
        int overflow;
        count_one(sum->reasons, sum->reason_counts, reason);
        sum->at_once += PyLong_AsLongAndOverflow(PyTuple_GET_ITEM(event, EVENT_ATTEMPT), &overflow) == 1;
    }
    else {
        sum->unknown += PyUnicode_Compare(PyTuple_GET_ITEM(event, EVENT_NAME), state->links.unknown_name) == 0;
    }
    PyObject *wait = PyTuple_GET_ITEM(event, EVENT_WAIT);
    if (wait != Py_None && PyFloat_AS_DOUBLE(wait) != 0.0) {
        sum->has_waited = 1;
        sum->waited += PyFloat_AS_DOUBLE(wait);
    }
    sum->retries += PyTuple_GET_ITEM(event, EVENT_IS_RETRY) == Py_True;
    if (PyTuple_GET_ITEM(event, EVENT_IS_ERROR) != Py_True) {
        return 0;
    }
    sum->errors++;
    count_one(sum->codes, sum->code_counts, PyTuple_GET_ITEM(event, EVENT_CODE));
    PyObject *ring = PyObject_GetAttr(registry, state->names._errors);
    PyObject *done = ring == NULL ? NULL : PyObject_CallMethodOneArg(ring, state->names.append, pair);
    int failed = done == NULL || PyObject_SetAttr(registry, state->names._last, pair) < 0;
    Py_XDECREF(ring);
    Py_XDECREF(done);
    return failed ? -1 : 0;
}

/* Count one of the news: an event, and the thread that it happened in. */
static int
count_pair(State *state, PyObject *registry, PyObject *pair, Sum *sum)
{
    PyObject *event = PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2 ? PyTuple_GET_ITEM(pair, 0) : NULL;
    int plain = 0;
    if (event != NULL && (PyObject *)Py_TYPE(event) == state->links.event_type
        && PyTuple_GET_SIZE(event) == EVENT_FIELDS) {
        plain = is_plain(state, registry, event, sum);
    }
    if (plain < 0) {
        return -1;
    }
    if ((!plain || !belongs(sum, event)) && enter(state, registry, sum) < 0) {
        return -1;
    }
    if (!plain) {
        PyObject *done = PyObject_CallMethodOneArg(registry, state->names._count, pair);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    if (sum->operation == NULL && begin_sum(state, registry, sum, PyTuple_GET_ITEM(event, EVENT_OPERATION)) < 0) {
        return -1;
    }
    return add_event(state, registry, pair, sum);
}

PyObject *
retrywrap_count(PyObject *module, PyObject *registry)
{
    State *state = (State *)PyModule_GetState(module);
    PyObject *news = PyObject_GetAttr(registry, state->names._news);
    Sum sum = {.operation = NULL};
    int failed = news == NULL;
    while (!failed) {
        Py_ssize_t left = PyObject_Size(news);
        if (left <= 0) {
            failed = left < 0;
            break;
        }
        PyObject *pair = PyObject_CallMethodNoArgs(news, state->names.popleft);
        if (pair == NULL) {
            failed = !PyErr_ExceptionMatches(PyExc_IndexError); /* else somebody came between, and has counted it */
            if (!failed) {
                PyErr_Clear();
            }
            break;
        }
        failed = count_pair(state, registry, pair, &sum) < 0;
        Py_DECREF(pair);
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback); /* what was counted before is entered all the same */
    if (enter(state, registry, &sum) < 0) {
        failed = 1;
    }
    if (type != NULL) {
        PyErr_Restore(type, value, traceback);
    }
    Py_XDECREF(news);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}
