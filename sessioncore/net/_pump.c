/* The two loops over RTP sockets (one packet from each ready socket, one packet to each), the
 * loop over a SIP socket, and the timer of the media tick.
 *
 * Optional: sessioncore/net/pump.py and timerfd.py do the same in Python if this was not
 * compiled.  The GIL is released once per loop over RTP instead of once per packet, and no
 * Python object is made per packet.  Linux only, like epoll.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define MOST_READY 1024
#define MAX_DATAGRAM 65535

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
enum { MEMINFO_RECEIVE = 0, MEMINFO_DROPS = 8, MEMINFO_SIZE = 9 }; /* sock_diag(7) */

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

#ifndef SO_TIMESTAMPNS
#define SO_TIMESTAMPNS 35
#endif

#define SECOND 1000000000

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

/* Read one packet.  Its length or -1; *stamp becomes the Unix time in ns at which it came, 0
 * where the socket was not asked for it. */
static ssize_t read_stamped(int descriptor, void *octets, size_t width, int64_t *stamp)
{
    union {
        struct cmsghdr header;
        char octets[CMSG_SPACE(sizeof(struct timespec))];
    } control;
    struct iovec vector = {octets, width};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got;

    *stamp = 0;
    do
        got = recvmsg(descriptor, &message, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got >= 0) {
        struct cmsghdr *told = CMSG_FIRSTHDR(&message);
        struct timespec time;
        if (told != NULL && told->cmsg_level == SOL_SOCKET && told->cmsg_type == SO_TIMESTAMPNS &&
            told->cmsg_len >= CMSG_LEN(sizeof time)) {
            memcpy(&time, CMSG_DATA(told), sizeof time);
            *stamp = nanoseconds(time);
        }
    }
    return got;
}

/* drain(epoll, packets, stride, width, descriptors, lengths, arrivals, now) -> how many were ready
 *
 * Packet i, cut off at `width` octets, goes to `packets` at i * stride; its socket's number to
 * descriptors[i], its length or the negative errno to lengths[i], when it came to
 * arrivals[i], all int64: by the clock that shows `now`, and `now` where the kernel does not tell
 * or the Unix clock was set meanwhile. */
static PyObject *drain(PyObject *self, PyObject *arguments)
{
    int epoll, count;
    Py_ssize_t stride, width, most;
    Py_buffer packets, descriptors, lengths, arrivals;
    long long now;
    struct timespec unix_now;
    struct epoll_event ready[MOST_READY];

    if (!PyArg_ParseTuple(arguments, "iw*nnw*w*w*L", &epoll, &packets, &stride, &width,
                          &descriptors, &lengths, &arrivals, &now))
        return NULL;
    most = stride > 0 && 0 <= width && width <= stride ? packets.len / stride : 0;
    if (most > descriptors.len / (Py_ssize_t)sizeof(int64_t))
        most = descriptors.len / (Py_ssize_t)sizeof(int64_t);
    if (most > lengths.len / (Py_ssize_t)sizeof(int64_t))
        most = lengths.len / (Py_ssize_t)sizeof(int64_t);
    if (most > arrivals.len / (Py_ssize_t)sizeof(int64_t))
        most = arrivals.len / (Py_ssize_t)sizeof(int64_t);
    if (most > MOST_READY)
        most = MOST_READY;
    if (most <= 0) {
        errno = EINVAL;
        count = -1;
    } else {
        char *at = packets.buf;
        int64_t *descriptor = descriptors.buf, *length = lengths.buf, *arrival = arrivals.buf;
        int64_t age, stamp;
        clock_gettime(CLOCK_REALTIME, &unix_now);
        Py_BEGIN_ALLOW_THREADS
        do
            count = epoll_wait(epoll, ready, (int)most, 0);
        while (count < 0 && errno == EINTR);
        for (int i = 0; i < count; i++, at += stride) {
            ssize_t got = read_stamped(ready[i].data.fd, at, (size_t)width, &stamp);
            descriptor[i] = ready[i].data.fd;
            length[i] = got < 0 ? -errno : got;
            age = nanoseconds(unix_now) - stamp;
            arrival[i] = now - (-SECOND < age && age < SECOND ? age : 0);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&packets);
    PyBuffer_Release(&descriptors);
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&arrivals);
    return count < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(count);
}

struct packet {
    int descriptor, error;
    socklen_t size;
    union address to;
    Py_buffer octets;
};

/* Read the host of a pair as Python does: without its zone, which is that of the socket. */
static int read_ipv6(const char *host, struct in6_addr *address)
{
    char digits[INET6_ADDRSTRLEN];
    size_t size = strcspn(host, "%");

    if (size >= sizeof digits)
        return 0;
    memcpy(digits, host, size);
    digits[size] = '\0';
    return inet_pton(AF_INET6, digits, address) == 1;
}

/* The address in a tuple (numeric host, port); -1 with an exception if it is not one. */
static int read_address(PyObject *address, struct packet *packet)
{
    const char *host;
    Py_ssize_t size;
    long port;

    if (!PyTuple_Check(address) || PyTuple_GET_SIZE(address) < 2) {
        PyErr_SetString(PyExc_TypeError, "an address is a tuple of host and port");
        return -1;
    }
    host = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(address, 0), &size);
    if (host == NULL)
        return -1;
    if (strlen(host) != (size_t)size) {
        PyErr_SetString(PyExc_TypeError, "a host has no null character");
        return -1;
    }
    port = PyLong_AsLong(PyTuple_GET_ITEM(address, 1));
    if (port == -1 && PyErr_Occurred())
        return -1;
    if (port < 0 || port > 65535) {
        PyErr_SetString(PyExc_OverflowError, "a port is a number from 0 to 65535");
        return -1;
    }
    memset(&packet->to, 0, sizeof packet->to);
    if (inet_pton(AF_INET, host, &packet->to.four.sin_addr) == 1) {
        packet->to.four.sin_family = AF_INET;
        packet->to.four.sin_port = htons((uint16_t)port);
        packet->size = sizeof packet->to.four;
    } else if (read_ipv6(host, &packet->to.six.sin6_addr)) {
        packet->to.six.sin6_family = AF_INET6;
        packet->to.six.sin6_port = htons((uint16_t)port);
        packet->size = sizeof packet->to.six;
    } else {
        packet->error = EINVAL;
    }
    return 0;
}

/* The descriptor of a socket or a number: -1 if it is closed, -2 with another exception. */
static int descriptor_of(PyObject *handle)
{
    int descriptor = PyObject_AsFileDescriptor(handle);

    if (descriptor >= 0)
        return descriptor;
    if (!PyErr_ExceptionMatches(PyExc_ValueError))
        return -2;
    PyErr_Clear();
    return -1;
}

/* Fill in packet i; -1 with an exception if that fails. */
static int read_packet(struct packet *packet, PyObject *handle, PyObject *octets, PyObject *address)
{
    packet->error = 0;
    packet->size = 0;
    packet->octets.obj = NULL;
    packet->descriptor = descriptor_of(handle);
    if (packet->descriptor == -2)
        return -1;
    if (packet->descriptor < 0)
        packet->error = EBADF;
    if (address != NULL && read_address(address, packet) < 0)
        return -1;
    return PyObject_GetBuffer(octets, &packet->octets, PyBUF_SIMPLE);
}

static void send_all(struct packet *packets, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        struct packet *packet = &packets[i];
        ssize_t sent = -1;
        if (packet->error)
            continue;
        do
            sent = sendto(packet->descriptor, packet->octets.buf, (size_t)packet->octets.len,
                          MSG_DONTWAIT | MSG_NOSIGNAL, packet->size ? &packet->to.any : NULL,
                          packet->size);
        while (sent < 0 && errno == EINTR);
        packet->error = sent < 0 ? errno : 0;
    }
}

/* send(handles, packets, addresses or None) -> [(position, errno), ...] of failed sends
 *
 * Handles are sockets, packets bytes-like, addresses tuples of a numeric host and a port. */
static PyObject *send_(PyObject *self, PyObject *arguments)
{
    PyObject *lists[3] = {NULL, NULL, NULL}, *given[3], *failed = NULL;
    struct packet *packets = NULL;
    Py_ssize_t count = 0, taken = 0;

    if (!PyArg_ParseTuple(arguments, "OOO", &given[0], &given[1], &given[2]))
        return NULL;
    for (int i = 0; i < 3; i++) {
        if (i == 2 && given[2] == Py_None)
            continue;
        lists[i] = PySequence_Fast(given[i], "handles, packets and addresses are sequences");
        if (lists[i] == NULL)
            goto done;
        /* There may be more packets than handles. */
        if (i == 0)
            count = PySequence_Fast_GET_SIZE(lists[0]);
        else if (PySequence_Fast_GET_SIZE(lists[i]) < count) {
            PyErr_SetString(PyExc_ValueError, "each handle needs a packet, and an address or none");
            goto done;
        }
    }
    packets = PyMem_New(struct packet, count ? count : 1);
    if (packets == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (; taken < count; taken++)
        if (read_packet(&packets[taken], PySequence_Fast_GET_ITEM(lists[0], taken),
                        PySequence_Fast_GET_ITEM(lists[1], taken),
                        lists[2] ? PySequence_Fast_GET_ITEM(lists[2], taken) : NULL) < 0)
            goto done;
    Py_BEGIN_ALLOW_THREADS
    send_all(packets, count);
    Py_END_ALLOW_THREADS
    failed = PyList_New(0);
    for (Py_ssize_t i = 0; failed != NULL && i < count; i++)
        if (packets[i].error) {
            PyObject *pair = Py_BuildValue("(ni)", i, packets[i].error);
            if (pair == NULL || PyList_Append(failed, pair) < 0)
                Py_CLEAR(failed);
            Py_XDECREF(pair);
        }
done:
    for (Py_ssize_t i = 0; i < taken; i++)
        PyBuffer_Release(&packets[i].octets);
    PyMem_Free(packets);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(lists[i]);
    return failed;
}

/* (host, port) of the sender of a datagram, without flow and zone, as in all SIP code. */
static PyObject *source_of(const union address *from)
{
    char host[INET6_ADDRSTRLEN];
    int is_six = from->any.sa_family == AF_INET6;
    const void *octets = is_six ? (const void *)&from->six.sin6_addr : &from->four.sin_addr;

    if (inet_ntop(from->any.sa_family, octets, host, sizeof host) == NULL)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(si)", host, ntohs(is_six ? from->six.sin6_port : from->four.sin_port));
}

/* Read one datagram and pass it on.  Its length, -1 with errno, or -2 with an exception. */
static ssize_t read_one(int descriptor, PyObject *take)
{
    /* The buffer is safe: the GIL is not released before the datagram was copied. */
    static char octets[MAX_DATAGRAM];
    union address from = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t size = sizeof from;
    PyObject *arguments[2], *taken = NULL;
    ssize_t got;

    do
        got = recvfrom(descriptor, octets, sizeof octets, MSG_DONTWAIT, &from.any, &size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -1;
    arguments[0] = PyBytes_FromStringAndSize(octets, got);
    arguments[1] = arguments[0] == NULL ? NULL : source_of(&from);
    if (arguments[1] != NULL)
        taken = PyObject_Vectorcall(take, arguments, 2, NULL);
    Py_XDECREF(arguments[0]);
    Py_XDECREF(arguments[1]);
    if (taken == NULL)
        return -2;
    Py_DECREF(taken);
    return got;
}

/* receive(socket, take, octets, datagrams) -> (octets left, datagrams left, errno or 0)
 *
 * Calls take(datagram, (host, port)) for each datagram, until the limit of datagrams or octets
 * is reached or reading fails, usually because nothing is waiting. */
static PyObject *receive(PyObject *self, PyObject *const *arguments, Py_ssize_t given)
{
    long octets, datagrams;
    int error = 0;

    if (given != 4) {
        PyErr_SetString(PyExc_TypeError, "receive needs a socket, a function and two limits");
        return NULL;
    }
    octets = PyLong_AsLong(arguments[2]);
    if (octets == -1 && PyErr_Occurred())
        return NULL;
    datagrams = PyLong_AsLong(arguments[3]);
    if (datagrams == -1 && PyErr_Occurred())
        return NULL;
    while (octets > 0 && datagrams > 0) {
        /* Read each time, because `take` may close the socket. */
        int descriptor = descriptor_of(arguments[0]);
        ssize_t got = descriptor;
        if (descriptor >= 0)
            got = read_one(descriptor, arguments[1]);
        if (got == -2)
            return NULL;
        if (got < 0) {
            error = descriptor < 0 ? EBADF : errno;
            break;
        }
        octets -= got;
        datagrams -= 1;
    }
    return Py_BuildValue("(lli)", octets, datagrams, error);
}

/* receive_queue(sockets...) -> (octets waiting in all sockets, drops of the first)
 *
 * From SO_MEMINFO; raises OSError if the kernel does not report it (before Linux 4.12). */
static PyObject *receive_queue(PyObject *self, PyObject *const *sockets, Py_ssize_t count)
{
    unsigned long long waiting = 0;
    unsigned long dropped = 0;

    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "receive_queue needs a socket");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        uint32_t told[MEMINFO_SIZE] = {0};
        socklen_t size = sizeof told;
        int descriptor = descriptor_of(sockets[i]);
        if (descriptor == -2)
            return NULL;
        if (getsockopt(descriptor, SOL_SOCKET, SO_MEMINFO, told, &size) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        waiting += told[MEMINFO_RECEIVE];
        if (i == 0)
            dropped = told[MEMINFO_DROPS];
    }
    return Py_BuildValue("(Kk)", waiting, dropped);
}

/* set_timer(descriptor, when): see set_absolute of timerfd.py. */
static PyObject *set_timer(PyObject *self, PyObject *arguments)
{
    int descriptor;
    long long when;
    struct itimerspec setting = {{0, 0}, {0, 0}};

    if (!PyArg_ParseTuple(arguments, "iL", &descriptor, &when))
        return NULL;
    setting.it_value.tv_sec = when / 1000000000;
    setting.it_value.tv_nsec = when % 1000000000;
    if (timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &setting, NULL) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"drain", drain, METH_VARARGS, "One packet of each socket that is ready."},
    {"send", send_, METH_VARARGS, "One packet to each socket."},
    {"receive", (PyCFunction)(void (*)(void))receive, METH_FASTCALL, "What waits in one socket."},
    {"receive_queue", (PyCFunction)(void (*)(void))receive_queue, METH_FASTCALL,
     "How much waits in sockets, and what the first dropped."},
    {"set_timer", set_timer, METH_VARARGS, "Let a timerfd fire once, at a time in ns; 0: not."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sessioncore.net._pump",
    .m_doc = "The loops over RTP and SIP sockets and their timer, in C.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__pump(void)
{
    PyObject *made = PyModule_Create(&module);
    PyObject *names = Py_BuildValue("[sssss]", "drain", "receive", "receive_queue", "send", "set_timer");

    if (made == NULL || names == NULL || PyModule_AddObjectRef(made, "__all__", names) < 0 ||
        PyModule_AddIntConstant(made, "INTERFACE", 2) < 0)
        Py_CLEAR(made);
    Py_XDECREF(names);
    return made;
}
