/* The two C halves of the media bench: a load of RTP calls, and the kernel floor.
 *
 *   media_load load  N LOCAL TARGET RTCP FIRST COUNT PATTERNS   play N calls, verify what comes back
 *   media_load floor N LOCAL REMOTE SECONDS                     echo N calls, with nothing around it
 *
 * load: call i sends from 127.0.0.77:LOCAL+i to 127.0.0.77:TARGET+2i, 50 packets/s, evenly spread.
 * The payload of packet s is pattern s % 64; PATTERNS holds 64 * 160 octets to send and 64 * 160
 * expected back.  Packets FIRST..FIRST+COUNT-1 of each call are judged.  It prints JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME 160
#define KINDS 64
#define PERIOD 20000000LL

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void sleep_until(int64_t when) {
    struct timespec t = {when / 1000000000LL, when % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

static struct sockaddr_in local_host(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(0x7f00004d);
    return a;
}

static int open_socket(int port, int peer) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 65536, on = 1;
    struct sockaddr_in a = local_host(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0) { perror("bind"); exit(1); }
    a = local_host(peer);
    if (peer && connect(fd, (struct sockaddr *)&a, sizeof a) < 0) { perror("connect"); exit(1); }
    return fd;
}

static int compare(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

struct call { int fd, next; uint32_t seen; int64_t sent_at[KINDS]; };

static int load(char **v) {
    int n = atoi(v[0]), local = atoi(v[1]), target = atoi(v[2]), rtcp_port = atoi(v[3]);
    int first = atoi(v[4]), count = atoi(v[5]), last = first + count;
    static uint8_t send_pattern[KINDS][FRAME], expect[KINDS][FRAME];
    FILE *f = fopen(v[6], "rb");
    if (!f || fread(send_pattern, 1, sizeof send_pattern, f) != sizeof send_pattern ||
        fread(expect, 1, sizeof expect, f) != sizeof expect) { perror("patterns"); return 1; }
    struct call *calls = calloc(n, sizeof *calls);
    int ep = epoll_create1(0), rtcp = open_socket(rtcp_port, 0);
    for (int i = 0; i < n; i++) {
        calls[i].fd = open_socket(local + i, target + 2 * i);
        calls[i].next = -1;
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(ep, EPOLL_CTL_ADD, calls[i].fd, &e);
    }
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = n};
    epoll_ctl(ep, EPOLL_CTL_ADD, rtcp, &e);

    int64_t sent = 0, back = 0, right = 0, failed = 0, reports = 0, judged = (int64_t)n * count;
    int *delay = calloc(judged, sizeof *delay), late_sends = 0;
    static struct epoll_event ready[4096];
    uint8_t packet[2048], out[12 + FRAME];
    int64_t start = now_ns(CLOCK_MONOTONIC), cpu0 = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    int total = last + 25, seq = 0, i = 0;
    int64_t end = start + total * PERIOD;
    for (int64_t slot = start; slot < end; slot += 1000000) {
        sleep_until(slot);
        int64_t now = now_ns(CLOCK_MONOTONIC);
        late_sends += now - slot > 5000000;
        while (seq < last && start + seq * PERIOD + PERIOD * i / n <= now) {
            struct call *c = &calls[i];
            uint32_t ts = htonl((uint32_t)(seq * FRAME)), ssrc = htonl(0x10000 + i);
            out[0] = 0x80; out[1] = 0; out[2] = seq >> 8; out[3] = seq;
            memcpy(out + 4, &ts, 4); memcpy(out + 8, &ssrc, 4);
            memcpy(out + 12, send_pattern[seq % KINDS], FRAME);
            c->sent_at[seq % KINDS] = now;
            if (send(c->fd, out, sizeof out, 0) < 0) failed++;
            else if (seq >= first) sent++;
            if ((seq + i) % 250 == 100) {                 /* an SR every five seconds */
                uint8_t sr[36] = {0x80, 200, 0, 6};
                memcpy(sr + 4, &ssrc, 4); memcpy(sr + 16, &ts, 4);
                sr[28] = 0x80; sr[29] = 202; sr[31] = 0;
                struct sockaddr_in a = local_host(target + 2 * i + 1);
                sendto(rtcp, sr, 32, 0, (struct sockaddr *)&a, sizeof a);
            }
            if (++i == n) { i = 0; seq++; }
        }
        for (int got; (got = epoll_wait(ep, ready, 4096, 0)) > 0;)
            for (int k = 0; k < got; k++) {
                if (ready[k].data.u32 == (uint32_t)n) {
                    if (recv(rtcp, packet, sizeof packet, 0) > 0) reports++;
                    continue;
                }
                struct call *c = &calls[ready[k].data.u32];
                if (recv(c->fd, packet, sizeof packet, 0) != 12 + FRAME) continue;
                int kind = c->next;
                if (kind < 0 || memcmp(packet + 12, expect[kind], FRAME)) {
                    for (kind = 0; kind < KINDS; kind++)
                        if (!memcmp(packet + 12, expect[kind], FRAME)) break;
                    if (kind == KINDS) { if (c->next >= 0) c->next = (c->next + 1) % KINDS; continue; }
                }
                c->next = (kind + 1) % KINDS;
                int64_t took = now - c->sent_at[kind];
                int number = (int)((c->sent_at[kind] - start) / PERIOD);
                if (number >= first && number < last) {
                    if (right < judged) delay[right] = (int)(took / 1000);
                    right++;
                }
                back++;
            }
    }
    qsort(delay, right < judged ? right : judged, sizeof *delay, compare);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("{\"sent\": %lld, \"right\": %lld, \"failed\": %lld, \"reports\": %lld, "
           "\"late_slots\": %d, \"cpu\": %.3f, \"seconds\": %.3f, \"delay_p50_ms\": %.1f, "
           "\"delay_p99_ms\": %.1f}\n",
           (long long)sent, (long long)right, (long long)failed, (long long)reports, late_sends,
           (now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu0) / 1e9, total * PERIOD / 1e9,
           right ? delay[right / 2] / 1e3 : 0.0, right ? delay[right * 99 / 100] / 1e3 : 0.0);
    return 0;
}

static int floor_echo(char **v) {
    int n = atoi(v[0]), local = atoi(v[1]), remote = atoi(v[2]);
    double seconds = atof(v[3]);
    int *fds = calloc(n, sizeof *fds), ep = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        fds[i] = open_socket(local + 2 * i, remote + i);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fds[i]};
        epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e);
    }
    printf("ready\n");
    fflush(stdout);
    static struct epoll_event ready[4096];
    uint8_t packet[2048];
    int64_t echoed = 0, counting = 0, cpu = 0, from = 0, start = now_ns(CLOCK_MONOTONIC);
    for (int64_t slot = start;; slot += 5000000) {
        sleep_until(slot);
        int64_t now = now_ns(CLOCK_MONOTONIC);
        if (!counting && echoed >= n * 50LL) {            /* warm: a second of all calls */
            counting = echoed;
            cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
            from = now;
        }
        if ((counting && now - from > seconds * 1e9) || now - start > 60e9) break;
        for (int got; (got = epoll_wait(ep, ready, 4096, 0)) > 0;)
            for (int k = 0; k < got; k++) {
                ssize_t size = recv(ready[k].data.fd, packet, sizeof packet, 0);
                if (size > 0 && send(ready[k].data.fd, packet, size, 0) == size) echoed++;
            }
    }
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"packets\": %lld, \"cpu\": %.4f, \"seconds\": %.4f}\n",
           (long long)(echoed - counting), cpu / 1e9, (now_ns(CLOCK_MONOTONIC) - from) / 1e9);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 9 && !strcmp(argv[1], "load")) return load(argv + 2);
    if (argc == 6 && !strcmp(argv[1], "floor")) return floor_echo(argv + 2);
    fprintf(stderr, "media_load load|floor ...\n");
    return 2;
}
