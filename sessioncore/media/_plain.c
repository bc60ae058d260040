/* Plain packets: 20 ms frames of G.711 in sequence from the source that is known.
 *
 * Optional: reception.py and tick.py do the same in numpy, and all else, faulty or not.  There
 * every step is a pass over all rows; here each row is touched once, while it is in the cache.
 * The octets are a stranger's: nothing of a packet is read that lies behind its length.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

/* As in sessioncore/media/lane.py, of the lane at 8000 Hz: plain packets are none of another. */
#define FRAME 160
#define FRAMES 20
#define RING (FRAME * FRAMES)
#define REACH (FRAME * 16)
#define LONGEST (FRAME * 10)
#define FORMATS 256
#define HEADER 12

/* What `take` is given, in this order: columns of the bank (see plain.py), then the rest. */
enum {
    REMOTE_SSRC, HIGHEST, SEEN, PACKETS, OCTETS, TRANSIT, JITTER, HEARD_AT, NOISE_LEVEL,
    PLAY, END, NEWEST, NEWEST_TIMESTAMP, /* 8 octets each */
    RECEIVING, ATTENTION, MEANINGS, FILLED, /* 1 */
    RINGS, LEFT, PLAIN, TABLES, ROWS, LENGTHS, ARRIVALS, BUFFERS
};

static void release(Py_buffer *views, Py_ssize_t count)
{
    while (count-- > 0)
        PyBuffer_Release(&views[count]);
}

/* The buffers of a tuple, of which the first are written to; -1 with an exception where there
 * are not `count` of them. */
static int hold(PyObject *tuple, Py_buffer *views, Py_ssize_t count, Py_ssize_t written)
{
    if (PyTuple_GET_SIZE(tuple) != count) {
        PyErr_Format(PyExc_TypeError, "%zd buffers are wanted", count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(tuple, i), &views[i],
                               i < written ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) {
            release(views, i);
            return -1;
        }
    return 0;
}

/* Packets, one a row of octets[n, width]; -1 with an exception where they are no such thing. */
static int hold_packets(PyObject *packets, Py_buffer *view, int flags)
{
    if (PyObject_GetBuffer(packets, view, PyBUF_STRIDES | flags) < 0)
        return -1;
    if (view->ndim == 2 && (view->shape[1] <= 1 || view->strides[1] == 1))
        return 0;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "packets are rows of octets");
    return -1;
}

/* How many rows the columns and what else `take` is given have room for. */
static int64_t capacity_of(const Py_buffer *views)
{
    int64_t capacity = INT64_MAX;

    for (int i = 0; i <= RINGS; i++) {
        Py_ssize_t size = i < RECEIVING ? 8 : i < MEANINGS ? 1 : i == MEANINGS ? 128 : FRAMES;
        if (i == RINGS)
            size = RING * (Py_ssize_t)sizeof(int16_t);
        if (views[i].len / size < capacity)
            capacity = views[i].len / size;
    }
    return capacity;
}

/* Rows lie apart in memory: what is needed two rows later is fetched meanwhile. */
#define AHEAD 2

static void fetch(const int16_t *samples, Py_ssize_t count)
{
#ifdef __GNUC__
    for (Py_ssize_t at = 0; at < count; at += 64 / (Py_ssize_t)sizeof *samples)
        __builtin_prefetch(samples + at);
#else
    (void)samples, (void)count;
#endif
}

static uint32_t word(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The difference of two times modulo 2^32, from -2^31 on. */
static int64_t difference(int64_t one, int64_t other)
{
    return (int64_t)(((uint64_t)one - (uint64_t)other + 0x80000000u) & 0xffffffffu) - 0x80000000LL;
}

/* A time in ns as samples; wraps where there are too many, as numpy's do, but rounds down too. */
static int64_t samples_of(int64_t time)
{
    int64_t eighths = (int64_t)((uint64_t)time * 8);

    return eighths / 1000000 - (eighths % 1000000 < 0);
}

/* Samples into the frames of a row's ring from `position` on; both are multiples of a frame. */
static void put(const Py_buffer *views, int64_t row, int64_t position, const uint8_t *codes,
                int64_t count, const int16_t *table)
{
    for (int64_t frame = position / FRAME; count > 0; frame++, count -= FRAME) {
        int64_t slot = row * FRAMES + frame % FRAMES;
        int16_t *samples = (int16_t *)views[RINGS].buf + slot * FRAME;
        ((uint8_t *)views[FILLED].buf)[slot] = 1;
        for (int i = 0; i < FRAME; i++)
            samples[i] = table[*codes++];
    }
}

#define WORD(column) (((int64_t *)views[column].buf)[row])
#define FLAG(column) (((uint8_t *)views[column].buf)[row])

/* The frame behind the newest is likely to be written. */
static void fetch_frame(const Py_buffer *views, int64_t row)
{
    int64_t slot = row * FRAMES + (uint64_t)(WORD(NEWEST) / FRAME + 1) % FRAMES;

    fetch((int16_t *)views[RINGS].buf + slot * FRAME, FRAME);
}

/* Take one packet, if it is plain: as Reception.receive of reception.py does. */
static int take_packet(const Py_buffer *views, int64_t row, const uint8_t *packet, int64_t count,
                       int64_t arrival, int64_t now)
{
    int meaning = ((uint8_t *)views[MEANINGS].buf)[row * 128 + (packet[1] & 0x7f)];
    int table = packet[0] == 0x80 ? ((uint8_t *)views[PLAIN].buf)[meaning] : 0;
    int64_t timestamp, position, ahead, change, highest = WORD(HIGHEST);
    double *jitter = (double *)views[JITTER].buf + row;

    if (table == 0 || !FLAG(RECEIVING) || FLAG(ATTENTION))
        return 0;
    if (word(packet + 8) != WORD(REMOTE_SSRC) || (word(packet) & 0xffff) != ((highest + 1) & 0xffff))
        return 0;
    timestamp = word(packet + 4);
    position = WORD(NEWEST) + difference(timestamp, WORD(NEWEST_TIMESTAMP));
    ahead = position - WORD(PLAY);
    if (ahead < 0 || ahead + count > REACH || position < 0 || position % FRAME || count % FRAME ||
        position != WORD(END) || count > LONGEST)
        return 0;
    WORD(HIGHEST) = highest + 1;
    WORD(SEEN) = (int64_t)((uint64_t)WORD(SEEN) << 1 | 1);
    WORD(PACKETS) += 1;
    WORD(OCTETS) += count;
    change = difference(arrival - timestamp, WORD(TRANSIT));
    WORD(TRANSIT) = arrival - timestamp;
    *jitter += ((double)(change < 0 ? -change : change) - *jitter) / 16; /* RFC 3550 A.8 */
    WORD(HEARD_AT) = now;
    WORD(NOISE_LEVEL) = -1;
    WORD(NEWEST) = position;
    WORD(NEWEST_TIMESTAMP) = timestamp;
    WORD(END) = position + count;
    put(views, row, position, packet + HEADER, count,
        (int16_t *)views[TABLES].buf + (table - 1) * 256);
    return 1;
}

/* Whether each format has a table where it says that it has one. */
static int has_tables(const Py_buffer *plain, const Py_buffer *tables)
{
    Py_ssize_t count = tables->len / (256 * (Py_ssize_t)sizeof(int16_t));

    if (plain->len < FORMATS)
        return 0;
    for (int format = 0; format < FORMATS; format++)
        if (((uint8_t *)plain->buf)[format] > count)
            return 0;
    return 1;
}

/* take(buffers, packets, now) -> how many packets are left
 *
 * Their positions go to LEFT.  Rows are unique.  PLAIN says by format which of the TABLES tells
 * what its octets mean, from 1 on, or 0: none does.  ARRIVALS say when each came, in ns. */
static PyObject *take(PyObject *self, PyObject *arguments)
{
    PyObject *buffers, *given;
    Py_buffer views[BUFFERS], packets;
    Py_ssize_t count, left = 0;
    long long now;
    int64_t capacity;

    if (!PyArg_ParseTuple(arguments, "O!OL", &PyTuple_Type, &buffers, &given, &now) ||
        hold(buffers, views, BUFFERS, LEFT + 1) < 0)
        return NULL;
    if (hold_packets(given, &packets, 0) < 0) {
        release(views, BUFFERS);
        return NULL;
    }
    count = packets.shape[0];
    capacity = capacity_of(views);
    if (views[ROWS].len / 8 < count || views[LENGTHS].len / 8 < count ||
        views[ARRIVALS].len / 8 < count || views[LEFT].len / 8 < count || !has_tables(&views[PLAIN], &views[TABLES])) {
        PyErr_SetString(PyExc_ValueError, "each packet has a row, a length, a time and a place");
        left = -1;
    }
    for (Py_ssize_t i = 0; left >= 0 && i < count; i++) {
        const int64_t *rows = views[ROWS].buf;
        int64_t row = rows[i];
        int64_t length = ((int64_t *)views[LENGTHS].buf)[i];
        const uint8_t *packet = (uint8_t *)packets.buf + i * packets.strides[0];
        if (i + AHEAD < count && rows[i + AHEAD] >= 0 && rows[i + AHEAD] < capacity)
            fetch_frame(views, rows[i + AHEAD]);
        if (row < 0 || row >= capacity || length <= HEADER || length > packets.shape[1] ||
            !take_packet(views, row, packet, length - HEADER,
                         samples_of(((int64_t *)views[ARRIVALS].buf)[i]), now))
            ((int64_t *)views[LEFT].buf)[left++] = i;
    }
    release(views, BUFFERS);
    PyBuffer_Release(&packets);
    return left < 0 ? NULL : PyLong_FromSsize_t(left);
}

/* encode((table, samples, picks), payloads)
 *
 * Payload i becomes the codes of row picks[i] of samples, by a table of every sample's code. */
static PyObject *encode(PyObject *self, PyObject *arguments)
{
    PyObject *buffers, *given;
    Py_buffer views[3], payloads;
    Py_ssize_t count, width, rows, done = -1;

    if (!PyArg_ParseTuple(arguments, "O!O", &PyTuple_Type, &buffers, &given) ||
        hold(buffers, views, 3, 0) < 0)
        return NULL;
    if (hold_packets(given, &payloads, PyBUF_WRITABLE) < 0) {
        release(views, 3);
        return NULL;
    }
    count = payloads.shape[0];
    width = payloads.shape[1];
    rows = width ? views[1].len / (width * (Py_ssize_t)sizeof(uint16_t)) : 0;
    if (views[0].len > UINT16_MAX && views[2].len / 8 >= count)
        for (done = 0; done < count; done++) {
            const int64_t *picks = views[2].buf;
            int64_t pick = picks[done];
            uint8_t *code = (uint8_t *)payloads.buf + done * payloads.strides[0];
            const uint8_t *table = views[0].buf;
            const uint16_t *sample = views[1].buf;
            if (pick < 0 || pick >= rows)
                break;
            if (done + AHEAD < count && picks[done + AHEAD] >= 0 && picks[done + AHEAD] < rows)
                fetch((int16_t *)views[1].buf + picks[done + AHEAD] * width, width);
            sample += pick * width;
            for (Py_ssize_t at = 0; at < width; at++)
                code[at] = table[sample[at]];
        }
    release(views, 3);
    PyBuffer_Release(&payloads);
    if (done == count)
        Py_RETURN_NONE;
    return PyErr_Format(PyExc_ValueError, "each sample has a code, each payload a row of samples");
}

static PyMethodDef methods[] = {
    {"take", take, METH_VARARGS, "Take the plain ones of a round of packets."},
    {"encode", encode, METH_VARARGS, "Payloads of rows of samples."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sessioncore.media._plain",
    .m_doc = "Plain packets, in C.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__plain(void)
{
    PyObject *made = PyModule_Create(&module);
    PyObject *names = Py_BuildValue("[ss]", "take", "encode");

    if (made == NULL || names == NULL || PyModule_AddObjectRef(made, "__all__", names) < 0 ||
        PyModule_AddIntConstant(made, "INTERFACE", 3) < 0)
        Py_CLEAR(made);
    Py_XDECREF(names);
    return made;
}
