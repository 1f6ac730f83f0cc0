/*
 * load: many WebSocket clients of one server, on one thread (Linux, epoll, RFC 6455).
 *
 *   load flood    speakers send the frames of a file as fast as TCP takes them, end with FINISH
 *                 and wait for SAVED: frames acknowledged per second
 *   load idle     listeners connect and stay silent: server memory per connection
 *   load stall    as flood; half-way listeners join, subscribe and never read: server memory
 *   load deliver  speakers send movements stamped with the time, at a rate; listeners read the
 *                 stamps: how old the newest movement of a message is when it arrives
 *   load announce one speaker finishes operations one after the other; one listener waits for
 *                 NEW_SURGERY: how long after FINISH it arrives, and SAVED
 *   load fan      speakers publish a message, every listener gets each: deliveries per second with
 *                 so many messages in flight, or the latency at a rate of messages
 *   load beside   as fan at a rate, with one more listener that reads and does not read, in turn,
 *                 so many rounds: the others' latency in each, and what that one was told
 *   load report   devices send readings as fast as they are acknowledged, with so many messages in
 *                 flight each, alone or in batches, of one reading or several: readings
 *                 acknowledged per second
 *   load ask      one speaker sends a message and waits for its Ack, one after the other: how long
 *                 each takes
 *   load recover  listeners ask for what they missed, all at once: how long until each has it
 *
 * The frames file has one JSON text per line: the first is sent first, the last is the FINISH,
 * those between are sent over and over. The message of `fan` has an @ for the time in every value;
 * listeners find it behind "value": again. With --deflate 1 listeners offer permessage-deflate, and
 * `fan` counts the compressed messages they get without looking into them; the first is part of the
 * result, as hexadecimal digits, for somebody else to unpack. Token files have one token per line, used in turn.
 * The result is one JSON object on standard output. Times are microseconds unless named.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TEXT = 0x1, CLOSE = 0x8, PING = 0x9, PONG = 0xA, FINAL = 0x80, PACKED = 0x40, MASKED = 0x80 };
enum {
    FRAMES_PER_CHUNK = 32,    /* one write; a pong waits for at most this many frames */
    SEND_BUFFER = 16 * 1024,  /* small, so that little is under way when the time is up */
    STALLED_BUFFER = 4 * 1024,
    OPEN_SECONDS = 20,
    CONTROL_MAX = 2048,
    WARM_UP_US = 1000000,     /* samples of the first second are not counted */
    SPREAD_US = 250000,       /* deliver: speakers begin one after the other, not in step */
    FULL_US = 300000,         /* beside: a peer that has taken nothing for so long takes no more */
    FRAMES_PER_OPERATION = 20 /* announce: a short operation before each FINISH */
};

/* --- Options ------------------------------------------------------------------------ */

static struct {
    const char *scenario, *host, *frames_file;
    const char *speak_path, *speak_tokens, *listen_path, *listen_tokens, *subscribe;
    const char *subscribe_odd, *message, *ask, *devices_file, *speak_first;
    int port, speakers, listeners, warm, pid, operations, in_flight, batch, metrics, rounds, expect;
    int deflate;
    double seconds, drain_seconds, rate;
} options = {.host = "127.0.0.1", .seconds = 10, .drain_seconds = 120, .rate = 60,
             .operations = 100, .metrics = 1, .rounds = 10};

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static void *must(void *memory)
{
    if (!memory)
        die("out of memory");
    return memory;
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* Wall clock: what a movement is stamped with, since its timestamp is one. */
static int64_t now_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

/* --- Files --------------------------------------------------------------------------- */

struct lines {
    char **line;
    size_t count;
};

static struct lines read_lines(const char *path)
{
    struct lines lines = {0};
    if (!path)
        return lines;
    FILE *file = fopen(path, "r");
    if (!file)
        die("%s: %s", path, strerror(errno));
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, file)) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line)
            continue;
        lines.line = must(realloc(lines.line, (lines.count + 1) * sizeof *lines.line));
        lines.line[lines.count++] = must(strdup(line));
    }
    free(line);
    fclose(file);
    return lines;
}

/* Resident memory of the server in bytes, 0 when it is gone. */
static int64_t resident_bytes(int pid)
{
    char path[64];
    long size, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%ld %ld", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

/* Processor time of the server in microseconds, all threads. */
static int64_t processor_us(int pid)
{
    char path[64], line[1024], *after;
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = 0;
    if (!(after = strrchr(line, ')')) ||
        sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system) != 2)
        return 0;
    return (int64_t)(user + system) * 1000000 / sysconf(_SC_CLK_TCK);
}

/* --- Frames (RFC 6455, section 5.2) ---------------------------------------------------- */

static uint32_t next_mask(void)
{
    static uint32_t state = 0x9E3779B9;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* Write a whole masked client frame to `out`, which has length + 14 bytes of room. */
static size_t write_frame(unsigned char *out, int opcode, const void *payload, size_t length)
{
    const unsigned char *source = payload;
    unsigned char *at = out, *key;
    uint32_t mask = next_mask();
    *at++ = FINAL | opcode;
    if (length < 126) {
        *at++ = MASKED | length;
    } else if (length < 65536) {
        *at++ = MASKED | 126;
        *at++ = length >> 8;
        *at++ = length;
    } else {
        *at++ = MASKED | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            *at++ = (uint64_t)length >> shift;
    }
    key = at;
    memcpy(key, &mask, 4);
    at += 4;
    for (size_t i = 0; i < length; i++)
        at[i] = source[i] ^ key[i & 3];
    return at + length - out;
}

/* Bytes ready for the socket, and how many frames they are. */
struct chunk {
    unsigned char *bytes;
    size_t length;
    int frames;
};

static struct chunk make_chunk(char **lines, size_t count)
{
    struct chunk chunk = {.frames = count};
    size_t room = 0;
    for (size_t i = 0; i < count; i++)
        room += strlen(lines[i]) + 14;
    chunk.bytes = must(malloc(room));
    for (size_t i = 0; i < count; i++)
        chunk.length += write_frame(chunk.bytes + chunk.length, TEXT, lines[i], strlen(lines[i]));
    return chunk;
}

/* The frames file, framed once: all speakers send the same bytes. */
static struct {
    struct chunk first, last, *middle;
    size_t middles;
} script;

static void load_script(void)
{
    struct lines frames = read_lines(options.frames_file);
    if (frames.count < 3)
        die("--frames needs a file of at least three lines");
    script.first = make_chunk(frames.line, 1);
    script.last = make_chunk(frames.line + frames.count - 1, 1);
    size_t middles = frames.count - 2;
    script.middles = (middles + FRAMES_PER_CHUNK - 1) / FRAMES_PER_CHUNK;
    script.middle = must(calloc(script.middles, sizeof *script.middle));
    for (size_t i = 0; i < script.middles; i++) {
        size_t from = i * FRAMES_PER_CHUNK, left = middles - from;
        script.middle[i] = make_chunk(
            frames.line + 1 + from, left < FRAMES_PER_CHUNK ? left : FRAMES_PER_CHUNK);
    }
}

/* --- Connections ----------------------------------------------------------------------- */

enum stage { STARTING, STREAMING, FINISHING, WAITING, SAVED, ENDED };

struct connection {
    int fd, close_code;
    bool is_speaker, wants_write, offers, is_packed;
    enum stage stage;
    size_t next_middle;
    int64_t frames;                  /* written completely */
    int64_t due_us;                  /* deliver: when the next movement is */
    const unsigned char *out;        /* what is being written, and is not ours to free */
    size_t out_left;
    int out_frames;
    unsigned char control[CONTROL_MAX]; /* a pong or a movement, written between chunks */
    size_t control_length;
    unsigned char *in;
    size_t in_length, in_room;
};

static struct connection *connections;
static int connection_count, epoll_fd, closed_count;
static int64_t deadline_us;
static bool is_over;

static void (*on_message)(struct connection *, const char *text, size_t length);

/* The sample nonce of RFC 6455 section 1.3, whose answer is known without computing it. */
static const char NONCE[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ANSWER[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static void write_all(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length) {
        ssize_t written = write(fd, at, length);
        if (written < 0)
            die("write while opening: %s", strerror(errno));
        at += written;
        length -= written;
    }
}

static int connect_tcp(bool is_stalled)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    int send_room = SEND_BUFFER, receive_room = STALLED_BUFFER;
    struct timeval limit = {.tv_sec = OPEN_SECONDS};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options.port)};
    if (fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_room, sizeof send_room);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (is_stalled)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_room, sizeof receive_room);
    if (inet_pton(AF_INET, options.host, &address.sin_addr) != 1)
        die("--host is not an IPv4 address");
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect: %s", strerror(errno));
    return fd;
}

/* Upgrade, byte by byte to the end of the headers: what follows them stays in the socket. */
static void shake_hands(int fd, const char *path, const char *token, bool offers)
{
    char text[8192];
    size_t length = snprintf(text, sizeof text,
        "GET %s%s%s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        path, *token ? "?token=" : "", token, options.host, options.port, NONCE,
        offers ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    if (length >= sizeof text)
        die("the token is too long");
    write_all(fd, text, length);
    for (length = 0; length < 4 || memcmp(text + length - 4, "\r\n\r\n", 4); length++)
        if (length + 1 == sizeof text || read(fd, text + length, 1) != 1)
            die("no answer to the handshake on %s", path);
    text[length] = 0;
    if (strncmp(text, "HTTP/1.1 101", 12) || !strstr(text, ANSWER))
        die("the handshake on %s was answered: %.60s", path, text);
    if (offers && !strstr(text, "permessage-deflate"))
        die("permessage-deflate was declined on %s", path);
}

static void watch(struct connection *c, bool wants_write)
{
    struct epoll_event event = {
        .events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = c};
    c->wants_write = wants_write;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static struct connection *open_connection(bool is_speaker, int number, bool is_stalled)
{
    static struct lines tokens[2];
    struct lines *own = &tokens[is_speaker];
    const char *path = is_speaker ? options.speak_path : options.listen_path;
    struct connection *c = &connections[connection_count++];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (!path)
        die("%s needs --%s-path", options.scenario, is_speaker ? "speak" : "listen");
    if (!own->count)
        *own = read_lines(is_speaker ? options.speak_tokens : options.listen_tokens);
    c->is_speaker = is_speaker;
    c->fd = connect_tcp(is_stalled);
    c->offers = options.deflate && !is_speaker;
    shake_hands(c->fd, path, own->count ? own->line[number % own->count] : "", c->offers);
    const char *wish = number % 2 && options.subscribe_odd ? options.subscribe_odd
                                                           : options.subscribe;
    if (is_speaker)
        wish = options.speak_first;
    if (wish) {
        struct chunk request = make_chunk((char **)&wish, 1);
        write_all(c->fd, request.bytes, request.length);
        free(request.bytes);
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (!is_stalled && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
    return c;
}

static void end_connection(struct connection *c)
{
    if (c->stage == ENDED)
        return;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    c->stage = ENDED;
    closed_count++;
}

/* --- Writing --------------------------------------------------------------------------- */

static void take(struct connection *c, const struct chunk *chunk)
{
    c->out = chunk->bytes;
    c->out_left = chunk->length;
    c->out_frames = chunk->frames;
}

/* Choose what a flooding speaker sends next; leaves nothing when it is done. */
static void next_of_script(struct connection *c)
{
    if (c->stage == STREAMING && is_over)
        c->stage = FINISHING;
    switch (c->stage) {
    case STARTING:
        c->stage = STREAMING;
        take(c, &script.first);
        break;
    case STREAMING:
        take(c, &script.middle[c->next_middle]);
        c->next_middle = (c->next_middle + 1) % script.middles;
        break;
    case FINISHING:
        c->stage = WAITING;
        take(c, &script.last);
        break;
    default:
        break;
    }
}

static void (*next_output)(struct connection *);

static void choose_output(struct connection *c)
{
    if (c->control_length) {
        c->out = c->control;
        c->out_left = c->control_length;
        c->out_frames = 0;
        c->control_length = 0;
    } else if (next_output && c->is_speaker) {
        next_output(c);
    }
}

/* Write until there is nothing left or the socket is full. */
static void flush(struct connection *c)
{
    while (c->stage != ENDED) {
        if (!c->out_left)
            choose_output(c);
        if (!c->out_left)
            break;
        ssize_t written = send(c->fd, c->out, c->out_left, MSG_NOSIGNAL);
        if (written < 0) {
            if (errno == EAGAIN || errno == EINTR)
                break;
            end_connection(c);
            return;
        }
        c->out += written;
        c->out_left -= written;
        if (!c->out_left)
            c->frames += c->out_frames;
    }
    if (c->stage != ENDED && c->wants_write != (c->out_left > 0))
        watch(c, c->out_left > 0);
}

/* Put one short frame in line; false while the last one is still being written. */
static bool send_control(struct connection *c, int opcode, const void *payload, size_t length)
{
    bool is_busy = c->control_length || (c->out_left && c->out >= c->control &&
                                         c->out < c->control + CONTROL_MAX);
    if (is_busy || length + 14 > CONTROL_MAX)
        return false;
    c->control_length = write_frame(c->control, opcode, payload, length);
    flush(c);
    return true;
}

/* --- Reading --------------------------------------------------------------------------- */

static void on_frame(struct connection *c, int opcode, unsigned char *payload, size_t length)
{
    switch (opcode) {
    case TEXT:
        if (on_message)
            on_message(c, (char *)payload, length);
        break;
    case PING:
        send_control(c, PONG, payload, length);
        break;
    case CLOSE:
        c->close_code = length >= 2 ? payload[0] << 8 | payload[1] : 1005;
        fprintf(stderr, "load: closed with %d %.*s\n", c->close_code,
                length > 2 ? (int)length - 2 : 0, (char *)payload + 2);
        end_connection(c);
        break;
    default:
        break;
    }
}

/* Handle one whole frame at the front of `in`; return its size, 0 when it is not all there. */
static size_t take_frame(struct connection *c, unsigned char *in, size_t length)
{
    if (length < 2)
        return 0;
    size_t head = 2, payload = in[1] & 0x7F;
    if (payload >= 126) {
        size_t extra = payload == 126 ? 2 : 8;
        if (length < 2 + extra)
            return 0;
        payload = 0;
        for (size_t i = 0; i < extra; i++)
            payload = payload << 8 | in[2 + i];
        head += extra;
    }
    if (length < head + payload)
        return 0;
    if (!(in[0] & FINAL) || in[1] & MASKED)
        die("a frame that is fragmented or masked: not what this server sends");
    c->is_packed = in[0] & PACKED;
    if (c->is_packed && !c->offers)
        die("a compressed frame for a client that offered nothing");
    on_frame(c, in[0] & 0x0F, in + head, payload);
    return head + payload;
}

static void receive(struct connection *c)
{
    while (c->stage != ENDED) {
        if (c->in_room - c->in_length < 4096) {
            c->in_room = c->in_room ? c->in_room * 2 : 8192;
            c->in = must(realloc(c->in, c->in_room));
        }
        size_t room = c->in_room - c->in_length;
        ssize_t got = recv(c->fd, c->in + c->in_length, room, 0);
        if (got <= 0) {
            if (got == 0 || (errno != EAGAIN && errno != EINTR))
                end_connection(c);
            return;
        }
        c->in_length += got;
        size_t used = 0, size;
        while (c->stage != ENDED &&
               (size = take_frame(c, c->in + used, c->in_length - used)) > 0)
            used += size;
        memmove(c->in, c->in + used, c->in_length - used);
        c->in_length -= used;
        if ((size_t)got < room)
            return; /* that was all: what comes now is told by epoll again */
    }
}

/* Serve whatever is ready, waiting at most `milliseconds`. */
static void serve(int milliseconds)
{
    struct epoll_event events[256];
    int ready = epoll_wait(epoll_fd, events, 256, milliseconds);
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & ~EPOLLOUT)
            receive(c);
        if (c->stage != ENDED && events[i].events & EPOLLOUT)
            flush(c);
    }
}

static void serve_until(int64_t until_us, void (*each)(void))
{
    while (now_us() < until_us) {
        if (each)
            each();
        int64_t left_ms = (until_us - now_us()) / 1000 + 1;
        serve(left_ms < 0 ? 0 : left_ms < 20 ? (int)left_ms : 20);
    }
}

/* --- Samples --------------------------------------------------------------------------- */

struct samples {
    uint32_t *us;
    size_t count, room;
};

static void add_sample(struct samples *samples, int64_t us)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 4096;
        samples->us = must(realloc(samples->us, samples->room * sizeof *samples->us));
    }
    samples->us[samples->count++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : us;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Put the samples in order and return the one below which 99 of 100 are. */
static uint32_t p99_of(struct samples *samples)
{
    qsort(samples->us, samples->count, sizeof *samples->us, by_size);
    return samples->us[(samples->count * 99) / 100];
}

static void print_samples(const char *name, struct samples *samples)
{
    size_t count = samples->count;
    if (!count) {
        printf("\"%s\":{\"count\":0}", name);
        return;
    }
    uint32_t p99 = p99_of(samples);
    printf("\"%s\":{\"count\":%zu,\"p50\":%u,\"p99\":%u,\"max\":%u}", name, count,
           samples->us[count / 2], p99, samples->us[count - 1]);
}

/* --- flood and stall --------------------------------------------------------------------- */

static int saved_count;
static int64_t last_saved_us, saved_frames;

static void on_saved(struct connection *c, const char *text, size_t length)
{
    if (c->stage != WAITING || !memmem(text, length, "\"SAVED\"", 7))
        return;
    c->stage = SAVED;
    saved_count++;
    saved_frames += c->frames;
    last_saved_us = now_us();
}

static void open_speakers(void)
{
    for (int i = 0; i < options.speakers; i++)
        open_connection(true, i, false);
}

static int64_t begin_flood(void)
{
    load_script();
    on_message = on_saved;
    open_speakers();
    next_output = next_of_script;
    int64_t began = now_us();
    for (int i = 0; i < connection_count; i++)
        flush(&connections[i]);
    return began;
}

/* Let every speaker finish and wait for its SAVED. */
static void end_flood(void)
{
    int64_t limit = now_us() + options.drain_seconds * 1e6;
    is_over = true;
    for (int i = 0; i < options.speakers; i++)
        flush(&connections[i]);
    while (saved_count + closed_count < options.speakers && now_us() < limit)
        serve(20);
}

static int64_t frames_written(void)
{
    int64_t total = 0;
    for (int i = 0; i < connection_count; i++)
        total += connections[i].frames;
    return total;
}

static void flood(void)
{
    int64_t began = begin_flood();
    serve_until(began + options.seconds * 1e6, NULL);
    end_flood();
    double took = ((saved_count ? last_saved_us : now_us()) - began) / 1e6;
    printf("\"frames\":%ld,\"acknowledged\":%ld,\"saved\":%d,\"took_seconds\":%.3f,"
           "\"acknowledged_per_second\":%.0f",
           (long)frames_written(), (long)saved_frames, saved_count, took, saved_frames / took);
}

static int64_t peak_bytes;

static void watch_memory(void)
{
    int64_t bytes = resident_bytes(options.pid);
    if (bytes > peak_bytes)
        peak_bytes = bytes;
}

static void stall(void)
{
    int64_t began = begin_flood(), half = began + options.seconds * 0.5e6;
    serve_until(half, watch_memory);
    int64_t before = peak_bytes;
    for (int i = 0; i < options.listeners; i++)
        open_connection(false, i, true);
    serve_until(now_us() + options.seconds * 0.5e6, watch_memory);
    int64_t after = peak_bytes;
    end_flood();
    printf("\"frames\":%ld,\"saved\":%d,\"bytes_before\":%ld,\"bytes_after\":%ld,"
           "\"bytes_per_listener\":%.0f",
           (long)frames_written(), saved_count, (long)before, (long)after,
           (double)(after - before) / options.listeners);
}

/* --- idle ------------------------------------------------------------------------------ */

static int64_t settled_bytes(void)
{
    serve_until(now_us() + options.seconds * 1e6, NULL);
    return resident_bytes(options.pid);
}

/* The first `warm` connections pay for what a server loads once; the others are measured. */
static void idle(void)
{
    int opened = 0;
    for (; opened < options.warm; opened++)
        open_connection(false, opened, false);
    int64_t before = settled_bytes();
    for (; opened < options.warm + options.listeners; opened++)
        open_connection(false, opened, false);
    int64_t after = settled_bytes();
    printf("\"bytes_before\":%ld,\"bytes_after\":%ld,\"bytes_per_connection\":%.0f",
           (long)before, (long)after, (double)(after - before) / options.listeners);
}

/* --- deliver --------------------------------------------------------------------------- */

static struct samples ages;
static int64_t counted_from_us, messages;

/* The last `"timestamp":` of a message is the moment its newest movement was sent. */
static void on_delivery(struct connection *c, const char *text, size_t length)
{
    static const char FIELD[] = "\"timestamp\":";
    const size_t field = sizeof FIELD - 1;
    const char *end = text + length, *at = text;
    int64_t now = now_us(), newest = 0;
    if (c->is_speaker) {
        on_saved(c, text, length);
        return;
    }
    messages++;
    while ((at = memmem(at, end - at, FIELD, field)))
        for (newest = 0, at += field; at < end && *at >= '0' && *at <= '9'; at++)
            newest = newest * 10 + (*at - '0');
    if (newest >= counted_from_us && newest <= now)
        add_sample(&ages, now - newest);
}

static bool send_movement(struct connection *c, const char *event)
{
    char text[160];
    double phase = (double)(c->frames % 628) / 100;
    int length = snprintf(text, sizeof text,
        "{\"coordinates\":[%.4f,%.4f,%.4f],\"event\":\"%s\",\"timestamp\":%ld}",
        phase, phase / 2, -phase, event, (long)now_us());
    if (!send_control(c, TEXT, text, length))
        return false;
    c->frames++;
    return true;
}

static void send_due_movements(void)
{
    int64_t now = now_us(), every = 1e6 / options.rate;
    for (int i = 0; i < options.speakers; i++) {
        struct connection *c = &connections[i];
        if (c->stage == ENDED || now < c->due_us)
            continue;
        send_movement(c, c->frames ? "NONE" : "START");
        c->due_us += every;
    }
}

static int next_due_ms(void)
{
    int64_t soonest = deadline_us;
    for (int i = 0; i < options.speakers; i++)
        if (connections[i].stage != ENDED && connections[i].due_us < soonest)
            soonest = connections[i].due_us;
    int64_t left = soonest - now_us();
    return left <= 0 ? 0 : (int)(left / 1000) + 1;
}

static void deliver(void)
{
    on_message = on_delivery;
    open_speakers();
    for (int i = 0; i < options.listeners; i++)
        open_connection(false, i, false);
    int64_t began = now_us();
    counted_from_us = began + WARM_UP_US;
    deadline_us = counted_from_us + options.seconds * 1e6;
    for (int i = 0; i < options.speakers; i++)
        connections[i].due_us = began + (int64_t)SPREAD_US * i / options.speakers;
    while (now_us() < deadline_us) {
        send_due_movements();
        serve(next_due_ms());
    }
    for (int i = 0; i < options.speakers; i++) {
        connections[i].stage = WAITING;
        send_movement(&connections[i], "FINISH");
    }
    while (saved_count < options.speakers && now_us() < deadline_us + options.drain_seconds * 1e6)
        serve(20);
    printf("\"took_seconds\":%.3f,\"frames\":%ld,\"messages\":%ld,\"saved\":%d,",
           (now_us() - began) / 1e6, (long)frames_written(), (long)messages, saved_count);
    print_samples("age", &ages);
}

/* --- announce -------------------------------------------------------------------------- */

static struct samples announced, saved;
static int64_t finished_us;
static char announced_id[40], saved_id[40];

static void copy_id(char *id, const char *text, size_t length)
{
    static const char FIELD[] = "\"surgeryId\":\"";
    const char *at = memmem(text, length, FIELD, sizeof FIELD - 1);
    if (at && at + sizeof FIELD + 35 < text + length)
        snprintf(id, 37, "%s", at + sizeof FIELD - 1);
}

static void on_answer(struct connection *c, const char *text, size_t length)
{
    int64_t took = now_us() - finished_us;
    if (c->is_speaker && memmem(text, length, "\"SAVED\"", 7)) {
        copy_id(saved_id, text, length);
        add_sample(&saved, took);
    } else if (!c->is_speaker && finished_us && memmem(text, length, "NEW_SURGERY", 11)) {
        copy_id(announced_id, text, length);
        add_sample(&announced, took);
    }
}

static void operate_once(struct connection *speaker, size_t number)
{
    for (int i = 0; i < FRAMES_PER_OPERATION; i++) {
        while (!send_movement(speaker, i ? "NONE" : "START"))
            serve(1);
        serve(1);
    }
    finished_us = now_us();
    send_movement(speaker, "FINISH");
    int64_t limit = finished_us + options.drain_seconds * 1e6;
    while (saved.count < number || announced.count < number) {
        if (now_us() > limit || closed_count)
            die("operation %zu was not announced", number);
        serve(100);
    }
    if (strcmp(saved_id, announced_id))
        die("announced %s, saved %s", announced_id, saved_id);
}

static void announce(void)
{
    on_message = on_answer;
    struct connection *speaker = open_connection(true, 0, false);
    options.speakers = 1;
    open_connection(false, 0, false);
    serve_until(now_us() + WARM_UP_US, NULL); /* what the listener had missed arrives now */
    for (int i = 1; i <= options.operations; i++)
        operate_once(speaker, i);
    print_samples("announced", &announced);
    printf(",");
    print_samples("saved", &saved);
}

/* --- fan ------------------------------------------------------------------------------- */

static struct samples latencies;
static int64_t published, published_before, delivered, counted_deliveries;
static int64_t published_from_us = INT64_MAX;

/* Write the message with the time for every @; return its length. */
static int stamp(char *text, size_t room, int64_t us)
{
    int length = 0;
    for (const char *from = options.message; *from && length + 24 < (int)room; from++)
        if (*from == '@')
            length += sprintf(text + length, "%ld", (long)us);
        else
            text[length++] = *from;
    return length;
}

/* The first compressed message. */
static struct {
    unsigned char *bytes;
    size_t length;
} sample;

/* All that is known of a compressed message is when it came. */
static void on_packed(const char *text, size_t length)
{
    int64_t now = clock_us(CLOCK_MONOTONIC);
    if (now < published_from_us)
        return;
    if (!sample.bytes) {
        sample.bytes = must(malloc(length));
        memcpy(sample.bytes, text, length);
        sample.length = length;
    }
    delivered++;
    counted_deliveries += now >= counted_from_us;
}

/* Return the number behind `field`, -1 where there is none. */
static int64_t number_behind(const char *text, size_t length, const char *field)
{
    const char *at = memmem(text, length, field, strlen(field)), *end = text + length;
    int64_t number = 0;
    if (!at)
        return -1;
    for (at += strlen(field); at < end && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    return number;
}

static void on_fanned(struct connection *c, const char *text, size_t length)
{
    if (options.deflate) {
        if (c->is_packed)
            on_packed(text, length);
        return;
    }
    int64_t sent = number_behind(text, length, "\"value\":");
    if (c->is_speaker || sent < published_from_us)
        return; /* what a publisher is told; an answer, or the last value, which comes first */
    delivered++;
    if (sent >= counted_from_us) {
        counted_deliveries++;
        add_sample(&latencies, clock_us(CLOCK_MONOTONIC) - sent);
    }
}

/* Publish through the speakers in turn; false while that one's last message is on its way. */
static bool publish(void)
{
    char text[2048];
    int length = stamp(text, sizeof text, clock_us(CLOCK_MONOTONIC));
    struct connection *c = &connections[published % options.speakers];
    if (c->stage == ENDED)
        die("a publisher was closed");
    if ((size_t)length + 14 > CONTROL_MAX)
        die("the message is too long");
    if (c->out_left || c->control_length)
        return false;
    c->control_length = write_frame(c->control, TEXT, text, length);
    flush(c);
    published++;
    return true;
}

static bool may_publish(int64_t began_us)
{
    if (options.in_flight)
        return published * options.listeners - delivered <
               (int64_t)options.in_flight * options.listeners;
    double passed = (clock_us(CLOCK_MONOTONIC) - began_us) / 1e6;
    return published - published_before < passed * options.rate;
}

/* Publish what is due since `began_us`, and serve whatever is ready. */
static void publish_due(int64_t began_us)
{
    bool is_due = may_publish(began_us);
    while (is_due && publish())
        is_due = may_publish(began_us);
    serve(is_due ? 0 : 1);
}

/* Serve until every listener has everything; late ones are missing. */
static void await_deliveries(void)
{
    int64_t late = now_us() + options.drain_seconds * 1e6;
    while (delivered < published * options.listeners && now_us() < late && !closed_count)
        serve(20);
}

static void fan(void)
{
    if (!options.message || !options.listeners || !options.speakers)
        die("fan needs --message, --listeners and --speakers");
    on_message = on_fanned;
    open_speakers();
    for (int i = 0; i < options.listeners; i++)
        open_connection(false, i, false);
    serve_until(now_us() + WARM_UP_US, NULL); /* what subscribers are answered arrives now */
    int64_t began = clock_us(CLOCK_MONOTONIC), end, processor = 0;
    published_from_us = began;
    counted_from_us = began + WARM_UP_US;
    end = counted_from_us + options.seconds * 1e6;
    for (int64_t now = began; now < end; now = clock_us(CLOCK_MONOTONIC)) {
        if (!processor && now >= counted_from_us)
            processor = processor_us(options.pid);
        publish_due(began);
    }
    processor = processor_us(options.pid) - processor;
    double per_second = counted_deliveries / options.seconds;
    await_deliveries();
    printf("\"events\":%ld,\"missing\":%ld,\"per_second\":%.0f,\"processor_us_each\":%.2f,",
           (long)published, (long)(published * options.listeners - delivered), per_second,
           counted_deliveries ? (double)processor / counted_deliveries : 0.0);
    printf("\"sample\":\"");
    for (size_t i = 0; i < sample.length; i++)
        printf("%02x", sample.bytes[i]);
    printf("\",");
    print_samples("latency", &latencies);
}

/* --- beside ---------------------------------------------------------------------------- */

/* The one more listener, and what it was told since the first publication. */
static struct connection *fickle;
static int64_t told, skipped, gaps, answered;

static void on_told(struct connection *c, const char *text, size_t length)
{
    int64_t sent = number_behind(text, length, "\"value\":");
    if (c != fickle) {
        on_fanned(c, text, length);
    } else if (memmem(text, length, "\"gap\"", 5)) {
        gaps++;
        skipped += number_behind(text, length, "\"skipped\":");
    } else if (sent < 0) {
        answered += published > 0;
    } else {
        told += sent >= published_from_us;
    }
}

static void watch_anew(struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->wants_write = true;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

/* Read no more, and ask until the server takes nothing: its answers fill all there is between. */
static void stop_reading(void)
{
    static struct chunk question;
    if (!question.bytes)
        question = make_chunk((char **)&options.ask, 1);
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fickle->fd, NULL);
    int64_t moved = now_us();
    while (now_us() - moved < FULL_US) {
        if (!fickle->out_left)
            take(fickle, &question);
        size_t left = fickle->out_left;
        flush(fickle);
        if (fickle->out_left < left)
            moved = now_us();
        serve(fickle->out_left ? 10 : 0);
    }
}

/* Read again until every answer is there, and every publication was told or skipped. */
static void read_again(void)
{
    watch_anew(fickle);
    int64_t limit = now_us() + options.drain_seconds * 1e6;
    while (fickle->out_left || answered < fickle->frames || told + skipped < published) {
        if (now_us() > limit || closed_count)
            die("of %ld it was told %ld, and %ld were skipped; of %ld questions %ld were answered",
                (long)published, (long)told, (long)skipped, (long)fickle->frames, (long)answered);
        serve(20);
    }
    if (told + skipped > published)
        die("of %ld it was told %ld, and %ld were skipped", (long)published, (long)told,
            (long)skipped);
}

/* Publish at the rate; return the others' p99. */
static uint32_t others_p99(void)
{
    int64_t began = clock_us(CLOCK_MONOTONIC), end = began + options.seconds * 1e6;
    latencies.count = 0;
    counted_from_us = began;
    published_before = published;
    while (clock_us(CLOCK_MONOTONIC) < end)
        publish_due(began);
    await_deliveries();
    if (delivered != published * options.listeners)
        die("%ld deliveries of %ld", (long)delivered, (long)published * options.listeners);
    return p99_of(&latencies);
}

static void print_numbers(const char *name, const uint32_t *numbers, int count)
{
    printf("\"%s\":[", name);
    for (int i = 0; i < count; i++)
        printf("%s%u", i ? "," : "", numbers[i]);
    printf("],");
}

static void beside(void)
{
    if (!options.message || !options.ask || !options.listeners || !options.speakers)
        die("beside needs --message, --ask, --listeners and --speakers");
    uint32_t *reading = must(calloc(options.rounds, sizeof *reading));
    uint32_t *stalled = must(calloc(options.rounds, sizeof *stalled));
    on_message = on_told;
    open_speakers();
    for (int i = 0; i < options.listeners; i++)
        open_connection(false, i, false);
    fickle = open_connection(false, options.listeners, true);
    watch_anew(fickle);
    serve_until(now_us() + WARM_UP_US, NULL); /* what subscribers are answered arrives now */
    published_from_us = clock_us(CLOCK_MONOTONIC);
    others_p99(); /* the first time warms up */
    for (int i = 0; i < options.rounds; i++) {
        reading[i] = others_p99();
        int64_t gaps_before = gaps;
        stop_reading();
        stalled[i] = others_p99();
        read_again();
        if (gaps == gaps_before)
            die("who had stopped reading was told of no gap");
    }
    print_numbers("reading", reading, options.rounds);
    print_numbers("stalled", stalled, options.rounds);
    printf("\"events\":%ld,\"told\":%ld,\"skipped\":%ld,\"asked\":%ld", (long)published,
           (long)told, (long)skipped, (long)fickle->frames);
}

/* --- report ---------------------------------------------------------------------------- */

enum { READING_MAX = 128, METRICS_MAX = 10, BATCH_MAX = 50 };
enum { REPORT_MAX = 128 + METRICS_MAX * READING_MAX };

static struct lines device_ids;
static int64_t readings_sent, readings_acknowledged, readings_counted, counted_until_us;
static struct samples acknowledging;

/* What a speaker has under way: its frame, and when its oldest unanswered messages were sent. */
static struct report {
    unsigned char frame[BATCH_MAX * REPORT_MAX];
    int64_t sent_us[256], last_us;
    int first, waiting;
} *reports;

/* Readings of now, each of another metric; no two of a device are of the same microsecond. */
static int write_message(char *text, struct connection *c, struct report *report)
{
    int64_t us = now_us();
    if (us <= report->last_us)
        us = report->last_us + 1;
    report->last_us = us;
    time_t second = us / 1000000;
    struct tm at;
    gmtime_r(&second, &at);
    int length = sprintf(text, "{\"type\":\"telemetry\",\"device_id\":%s,\"telemetry\":{",
        device_ids.line[c - connections]);
    for (int i = 0; i < options.metrics; i++) {
        length += i ? sprintf(text + length, ",\"metric_%d\"", i)
                    : sprintf(text + length, "\"temperature\"");
        length += snprintf(text + length, READING_MAX,
            ":{\"value\":%.2f,\"unit\":\"\u00b0C\",\"timestamp\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ\"}",
            20 + (us / 1000 % 1000) / 100.0, at.tm_year + 1900, at.tm_mon + 1, at.tm_mday,
            at.tm_hour, at.tm_min, at.tm_sec, (int)(us % 1000000));
    }
    return length + sprintf(text + length, "},\"id\":\"m%ld\"}", (long)us);
}

static void next_report(struct connection *c)
{
    static char text[BATCH_MAX * REPORT_MAX];
    struct report *report = &reports[c - connections];
    int length = 0, count = options.batch ? options.batch : 1;
    if (is_over || report->waiting >= options.in_flight)
        return;
    if (options.batch) {
        length += sprintf(text, "{\"type\":\"batch\",\"messages\":[");
        for (int i = 0; i < options.batch; i++) {
            length += write_message(text + length, c, report);
            text[length++] = i + 1 < options.batch ? ',' : ']';
        }
        text[length++] = '}';
    } else {
        length = write_message(text, c, report);
    }
    report->sent_us[(report->first + report->waiting++) % 256] = now_us();
    readings_sent += count * options.metrics;
    c->out = report->frame;
    c->out_left = write_frame(report->frame, TEXT, text, length);
    c->out_frames = 1;
}

/* Every frame of the server answers our oldest one, or is the answer to our token. */
static void on_acknowledged(struct connection *c, const char *text, size_t length)
{
    static const char ACK[] = "\"telemetry_ack\"";
    struct report *report = &reports[c - connections];
    const char *end = text + length, *at = text;
    int count = 0;
    while ((at = memmem(at, end - at, ACK, sizeof ACK - 1))) {
        at += sizeof ACK - 1;
        count++;
    }
    if (!count && memmem(text, length, "auth_response", 13))
        return;
    if (count != (options.batch ? options.batch : 1))
        die("not acknowledged: %.*s", length > 400 ? 400 : (int)length, text);
    int64_t now = now_us();
    if (now >= counted_from_us && now < counted_until_us) {
        readings_counted += count * options.metrics;
        add_sample(&acknowledging, now - report->sent_us[report->first]);
    }
    report->first = (report->first + 1) % 256;
    report->waiting--;
    readings_acknowledged += count * options.metrics;
    if (!c->out_left)
        flush(c);
}

static void report(void)
{
    if (options.batch > BATCH_MAX || options.in_flight > 256 || options.in_flight < 1)
        die("--batch is at most %d, --in-flight 1 to 256", BATCH_MAX);
    if (options.metrics < 1 || options.metrics > METRICS_MAX)
        die("--metrics is 1 to %d", METRICS_MAX);
    if (options.metrics > 1 && options.batch)
        die("--metrics or --batch, not both");
    device_ids = read_lines(options.devices_file);
    if (device_ids.count < (size_t)options.speakers)
        die("--devices needs a file with a number for each speaker");
    reports = must(calloc(options.speakers, sizeof *reports));
    on_message = on_acknowledged;
    open_speakers();
    next_output = next_report;
    counted_from_us = now_us() + WARM_UP_US;
    counted_until_us = counted_from_us + options.seconds * 1e6;
    for (int i = 0; i < options.speakers; i++)
        flush(&connections[i]);
    serve_until(counted_from_us, NULL);
    int64_t worked = processor_us(options.pid);
    serve_until(counted_until_us, NULL);
    worked = processor_us(options.pid) - worked;
    is_over = true;
    int64_t limit = now_us() + options.drain_seconds * 1e6;
    while (readings_acknowledged < readings_sent && !closed_count && now_us() < limit)
        serve(20);
    printf("\"sent\":%ld,\"acknowledged\":%ld,\"acknowledged_per_second\":%.0f,"
           "\"server_us_per_reading\":%.2f,",
           (long)readings_sent, (long)readings_acknowledged, readings_counted / options.seconds,
           readings_counted ? (double)worked / readings_counted : 0);
    print_samples("latency", &acknowledging);
}

/* --- ask ------------------------------------------------------------------------------- */

static struct samples waits;
static int64_t asked_us;

static void on_answered(struct connection *c, const char *text, size_t length)
{
    (void)c;
    if (!memmem(text, length, "\"Ack\"", 5))
        return; /* what it is told unasked */
    add_sample(&waits, clock_us(CLOCK_MONOTONIC) - asked_us);
    asked_us = 0;
}

static void ask(void)
{
    if (!options.message)
        die("ask needs --message");
    options.speakers = 1;
    on_message = on_answered;
    open_speakers();
    serve_until(now_us() + WARM_UP_US, NULL);
    for (int i = 0; i < options.operations && !closed_count; i++) {
        int64_t limit = now_us() + options.drain_seconds * 1e6;
        asked_us = clock_us(CLOCK_MONOTONIC);
        if (!publish())
            die("the question before is still on its way");
        while (asked_us && !closed_count && now_us() < limit)
            serve(20);
        if (asked_us)
            die("no answer within %.0f s", options.drain_seconds);
    }
    print_samples("answered", &waits);
}

/* --- recover --------------------------------------------------------------------------- */

static void recover(void)
{
    if (!options.listeners || !options.expect)
        die("recover needs --listeners and --expect");
    on_message = on_fanned;
    published_from_us = 0;
    int64_t began = clock_us(CLOCK_MONOTONIC), expected = (int64_t)options.expect * options.listeners;
    for (int i = 0; i < options.listeners; i++)
        open_connection(false, i, false);
    int64_t limit = now_us() + options.drain_seconds * 1e6;
    while (delivered < expected && !closed_count && now_us() < limit)
        serve(20);
    printf("\"delivered\":%ld,\"missing\":%ld,\"took_seconds\":%.3f", (long)delivered,
           (long)(expected - delivered), (clock_us(CLOCK_MONOTONIC) - began) / 1e6);
}

/* --- main ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*run)(void);
} SCENARIOS[] = {{"flood", flood}, {"idle", idle}, {"stall", stall},
                 {"deliver", deliver}, {"announce", announce}, {"fan", fan}, {"beside", beside},
                 {"report", report}, {"ask", ask}, {"recover", recover}};

static void (*find_scenario(const char *name))(void)
{
    for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++)
        if (!strcmp(SCENARIOS[i].name, name))
            return SCENARIOS[i].run;
    die("unknown scenario %s: flood, idle, stall, deliver, announce, fan, beside, report, ask or "
        "recover", name);
    return NULL;
}

static void read_options(int count, char **words)
{
    static const struct option known[] = {
        {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"seconds", 1, 0, 's'},
        {"drain-seconds", 1, 0, 'd'}, {"rate", 1, 0, 'r'}, {"pid", 1, 0, 'P'},
        {"frames", 1, 0, 'f'}, {"speakers", 1, 0, 'n'}, {"speak-path", 1, 0, 'a'},
        {"speak-tokens", 1, 0, 't'}, {"listeners", 1, 0, 'm'}, {"listen-path", 1, 0, 'b'},
        {"listen-tokens", 1, 0, 'u'}, {"subscribe", 1, 0, 'S'}, {"warm", 1, 0, 'w'},
        {"operations", 1, 0, 'o'}, {"subscribe-odd", 1, 0, 'O'}, {"message", 1, 0, 'M'},
        {"in-flight", 1, 0, 'i'}, {"devices", 1, 0, 'D'}, {"batch", 1, 0, 'B'},
        {"metrics", 1, 0, 'k'}, {"rounds", 1, 0, 'R'}, {"ask", 1, 0, 'q'},
        {"speak-first", 1, 0, 'F'}, {"expect", 1, 0, 'e'}, {"deflate", 1, 0, 'z'}, {0}};
    int letter;
    while ((letter = getopt_long(count, words, "", known, NULL)) != -1)
        switch (letter) {
        case 'h': options.host = optarg; break;
        case 'p': options.port = atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'd': options.drain_seconds = atof(optarg); break;
        case 'r': options.rate = atof(optarg); break;
        case 'P': options.pid = atoi(optarg); break;
        case 'f': options.frames_file = optarg; break;
        case 'n': options.speakers = atoi(optarg); break;
        case 'a': options.speak_path = optarg; break;
        case 't': options.speak_tokens = optarg; break;
        case 'm': options.listeners = atoi(optarg); break;
        case 'b': options.listen_path = optarg; break;
        case 'u': options.listen_tokens = optarg; break;
        case 'S': options.subscribe = optarg; break;
        case 'w': options.warm = atoi(optarg); break;
        case 'o': options.operations = atoi(optarg); break;
        case 'O': options.subscribe_odd = optarg; break;
        case 'M': options.message = optarg; break;
        case 'i': options.in_flight = atoi(optarg); break;
        case 'D': options.devices_file = optarg; break;
        case 'B': options.batch = atoi(optarg); break;
        case 'F': options.speak_first = optarg; break;
        case 'e': options.expect = atoi(optarg); break;
        case 'q': options.ask = optarg; break;
        case 'R': options.rounds = atoi(optarg); break;
        case 'k': options.metrics = atoi(optarg); break;
        case 'z': options.deflate = atoi(optarg); break;
        default: exit(2);
        }
    if (optind + 1 != count || !options.port)
        die("usage: load SCENARIO --port N ...");
    options.scenario = words[optind];
}

/* Thousands of sockets need thousands of descriptors. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **words)
{
    read_options(count, words);
    signal(SIGPIPE, SIG_IGN);
    allow_descriptors();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int most = options.speakers + options.listeners + options.warm + 2;
    connections = must(calloc(most, sizeof *connections));
    void (*run)(void) = find_scenario(options.scenario);
    printf("{");
    run();
    printf(",\"closed\":%d}\n", closed_count);
    return 0;
}
