/* What the parts of the fast path share. */

#ifndef RETRYWRAP_FAST_H
#define RETRYWRAP_FAST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

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

/* ---- what the module is told of Python's side: by `connect`, under these names, in this order */

#define RETRYWRAP_LINKS(X) \
    X(counted)           /* the list whose only item is the number of the newest note */ \
    X(first_failure)     /* (spec, since, error, arguments, named) -> operation, or None: let it out */ \
    X(retry)             /* (operation, wrapped, arguments, named) -> what the last attempt returned */ \
    X(awaited)           /* (first, wrapped, spec, arguments, named) -> an awaitable that is retried */ \
    X(track_of)          /* (spec) -> what a `Run` has as its track */ \
    X(judge)             /* (error, key of judged) -> what `judged` has, or None: not beaten */ \
    X(judged)            /* {(class's place, errno, text): (code, message, error type, rule, mark, class)} */ \
    X(hush)              /* () -> (listeners, what it depends on: (owner, name, value) …, names that nobody hears) */ \
    X(tell)              /* (event): to the listeners */ \
    X(later_failure)     /* (spec, so_far, error, arguments, named) -> operation, or None: let it out */ \
    X(later_awaitable)   /* (spec, so_far, result, wrapped, arguments, named) -> an awaitable that is retried */ \
    X(later_end)         /* (spec, so_far, error, how): cancelled, or interrupted */ \
    X(forget_traceback)  /* (error): what earlier attempts left on it */ \
    X(scheduled)         /* (number of the retry) -> the event's detail */ \
    X(recovered)         /* (number of the attempt) -> the event's detail */ \
    X(scheduled_details) /* those of the first numbers, from 0 */ \
    X(recovered_details) \
    X(count_some)        /* (registry): many events wait to be counted; raises no Exception */ \
    X(event_type) \
    X(code_type) \
    X(reason_type) \
    X(leave_note)        /* (error, event, layer): on an error that comes out */ \
    X(note_type) \
    X(next_number)       /* () -> that of a new note */ \
    X(unknown_name)      /* of an event that tells of an error which nobody knows */ \
    X(event_names)       /* of an operation that goes on, that succeeded late, and whose retries are used up */ \
    X(reasons)           /* of these */ \
    X(ambient)           /* the context variable of the scopes around */ \
    X(process)           /* what it holds where no scope is around */ \
    X(clocks)            /* a module's names: _current, _enabled */ \
    X(clock)             /* the real one */ \
    X(policies)          /* holds the policies in force */ \
    X(registrations)     /* holds what users registered with the classifier */ \
    X(hooks)             /* a module's names: _subscriptions, _hush */ \
    X(threading)         /* a module's names */ \
    X(most_news)         /* how many events wait, at most, before they are counted */ \
    X(time)              /* the module */

/* ---- names of attributes and keys, interned */

#define RETRYWRAP_NAMES(X) \
    X(_cancelled) X(_current) X(_enabled) X(_subscriptions) X(_hush) X(mark) X(current) X(monotonic) X(time) X(name) \
    X(current_thread) X(append) X(popleft) X(__notes__) X(__module__) X(retries) X(waited) X(unknown) X(errors) \
    X(at_once) X(reasons) X(_news) X(_errors) X(_last) X(_by_code) X(_operations) X(_count) \
    X(operation) X(layer) X(reason) X(attempts) X(number)

#define RETRYWRAP_MEMBER(name) PyObject *name;
#define RETRYWRAP_COUNT(name) +1
enum { LINKS = 0 RETRYWRAP_LINKS(RETRYWRAP_COUNT), NAMES = 0 RETRYWRAP_NAMES(RETRYWRAP_COUNT) };

typedef struct {
    RETRYWRAP_LINKS(RETRYWRAP_MEMBER)
} Links;

typedef struct {
    RETRYWRAP_NAMES(RETRYWRAP_MEMBER)
} Names;

/* ---- the module's state */

typedef struct {
    PyTypeObject *tally_type;
    Py_ssize_t most_news;
    union {
        Links links;
        PyObject *linked[LINKS];
    };
    union {
        Names names;
        PyObject *named[NAMES];
    };
} State;

/* What stands behind wrapt's own fields in a proxy. */
typedef struct {
    vectorcallfunc vectorcall;
    State *state;      /* the module's, which the type keeps alive */
    PyObject *wrapped; /* what is called */
    PyObject *spec;
    PyObject *track;   /* what `track_of` said last of the spec, or NULL */
    Tally *tally;
} Tail;

int retrywrap_pack(
    PyObject *const *args, Py_ssize_t count, PyObject *names, PyObject **arguments, PyObject **named);

/* The first attempt has raised an Exception: wait as an `except` block would, then go on or let it out. */
PyObject *retrywrap_after_failure(
    Tail *tail, PyObject *wrapped, PyObject *since, PyObject *const *args, size_t nargsf, PyObject *names);

/* Count all that came in to a registry whose lock is held. */
PyObject *retrywrap_count(PyObject *module, PyObject *registry);

#endif
