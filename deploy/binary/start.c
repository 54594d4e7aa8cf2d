/* The start of segwatch's single file, and `bin/python` of what it unpacks.
 *
 * Behind this program, in the file, is an interpreter with all that it needs, its C library included (build.py). It is
 * unpacked once, to a directory that nobody else can write to, and started from there. Nothing else of the host is needed,
 * and from then on all is as in a venv: sys.executable is `bin/python`, this program without anything behind it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <lzma.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define USAGE 2
#define MAGIC "segwatch\1"

struct tail {           /* the end of the file */
    char id[40];        /* version and digest: the name of the directory */
    uint64_t start;     /* where the archive begins */
    char magic[16];
};
struct entry {          /* of the archive, before each path and its content; the last has no path */
    uint32_t mode, path;
    uint64_t size;
};
struct packed {
    lzma_stream stream;
    int from;
    uint8_t buffer[1 << 16];
};

static char tried[4096]; /* each place that would not do, and why */

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "segwatch: %s: %s\n", what, why);
    return USAGE;
}

static void would_not_do(const char *place, const char *why)
{
    size_t used = strlen(tried);
    snprintf(tried + used, sizeof tried - used, "  %s: %s\n", place, why);
}

static const char *join(const char *first, const char *second)
{
    char *joined;
    if (asprintf(&joined, "%s/%s", first, second) < 0)
        exit(fail("cannot start", strerror(ENOMEM)));
    return joined;
}

/* The interpreter below `root`, by the loader and the libraries beside it. -I: nothing of the host's Python is looked at. */
static int run(const char *root, const char *const more[], char **arguments)
{
    /* OpenSSL's own place for the host's authorities is Debian's. */
    static const char *const authorities[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"};
    for (size_t i = 0; i < sizeof authorities / sizeof *authorities; i++)
        if (!access(authorities[i], R_OK))
            setenv("SSL_CERT_FILE", authorities[i], 0);
    const char *loader = join(root, "lib/segwatch"), *python = join(root, "bin/python");
    const char *fixed[] = {"segwatch", "--library-path", join(root, "lib"), "--argv0", python, join(root, "lib/python"), "-I"};
    size_t count = 0, n = sizeof fixed / sizeof *fixed;
    while (arguments[count])
        count++;
    const char **all = calloc(n + 8 + count, sizeof *all);
    if (!all)
        return fail("cannot start", strerror(ENOMEM));
    memcpy(all, fixed, sizeof fixed);
    for (; *more; more++)
        all[n++] = *more;
    memcpy(all + n, arguments, count * sizeof *all);
    execv(loader, (char *const *)all);
    return fail(loader, strerror(errno));
}

/* Exactly `size` bytes of the archive; 0, or -1 with errno. */
static int take(struct packed *packed, void *to, size_t size)
{
    packed->stream.next_out = to;
    packed->stream.avail_out = size;
    while (packed->stream.avail_out) {
        if (!packed->stream.avail_in) {
            ssize_t got = read(packed->from, packed->buffer, sizeof packed->buffer);
            if (got < 0)
                return -1;
            packed->stream.next_in = packed->buffer;
            packed->stream.avail_in = (size_t)got;
        }
        lzma_ret done = lzma_code(&packed->stream, packed->stream.avail_in ? LZMA_RUN : LZMA_FINISH);
        if (done != LZMA_OK && !(done == LZMA_STREAM_END && !packed->stream.avail_out)) {
            errno = done == LZMA_MEM_ERROR ? ENOMEM : EBADMSG;
            return -1;
        }
    }
    return 0;
}

static int write_file(struct packed *packed, int into, const char *path, const struct entry *entry)
{
    static uint8_t block[1 << 18];
    int file = openat(into, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return -1;
    for (uint64_t left = entry->size; left;) {
        size_t size = left < sizeof block ? left : sizeof block;
        if (take(packed, block, size))
            goto failed;
        for (size_t written = 0; written < size;) {
            ssize_t now = write(file, block + written, size - written);
            if (now < 0)
                goto failed;
            written += (size_t)now;
        }
        left -= size;
    }
    if (!fchmod(file, entry->mode & 07777) && !close(file))
        return 0;
failed:
    close(file);
    return -1;
}

static int unpack(int from, uint64_t start, int into)
{
    static struct packed packed = {.stream = LZMA_STREAM_INIT};
    struct entry entry;
    char path[PATH_MAX];
    packed.from = from;
    if (lseek(from, (off_t)start, SEEK_SET) < 0 || lzma_stream_decoder(&packed.stream, UINT64_MAX, 0) != LZMA_OK)
        return -1;
    for (;;) {
        if (take(&packed, &entry, sizeof entry))
            return -1;
        if (!entry.path)
            return syncfs(into); /* what is complete by name is so after a power cut, too */
        if (entry.path >= sizeof path || take(&packed, path, entry.path))
            return -1;
        path[entry.path] = 0;
        if (S_ISDIR(entry.mode) ? mkdirat(into, path, 0700) || fchmodat(into, path, entry.mode & 07777, 0)
                                : write_file(&packed, into, path, &entry))
            return -1;
    }
}

static int take_away(const char *path, const struct stat *found, int kind, struct FTW *where)
{
    (void)found, (void)kind, (void)where;
    return remove(path);
}

/* Whether what is there was put there by root or by this user, and by nobody else. */
static int is_ours(const char *directory)
{
    struct stat found;
    if (lstat(directory, &found))
        return 0;
    errno = EPERM;
    return S_ISDIR(found.st_mode) && (found.st_uid == 0 || found.st_uid == geteuid()) && !(found.st_mode & 022);
}

/* Unpack below `place`; 0, or why not. */
static const char *put(const char *place, const char *id, int from, uint64_t start)
{
    const char *unfinished = join(place, ".unfinished"), *whole = join(place, id);
    struct statvfs mounted;
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", place);
    mkdir(dirname(parent), geteuid() ? 0700 : 0755); /* ~/.cache */
    /* Whatever the umask: a daemon that changes its user reads on. */
    if (mkdir(place, 0755) ? errno != EEXIST : chmod(place, 0755))
        return strerror(errno);
    int lock = open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (lock < 0)
        return strerror(errno);
    const char *why = 0;
    int into = -1;
    if (!is_ours(place))
        why = "another user can write there";
    else if (statvfs(place, &mounted))
        why = strerror(errno);
    else if (mounted.f_flag & ST_NOEXEC)
        why = "it is mounted noexec";
    else if (flock(lock, LOCK_EX) || access(place, W_OK))
        why = strerror(errno);
    else if (!is_ours(whole)) { /* nobody else did it meanwhile */
        nftw(unfinished, take_away, 16, FTW_DEPTH | FTW_PHYS);
        if (mkdir(unfinished, 0755) || chmod(unfinished, 0755)
            || (into = open(unfinished, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || unpack(from, start, into)
            || rename(unfinished, whole)) {
            why = errno == EBADMSG ? "this file is damaged: copy it again" : strerror(errno);
            nftw(unfinished, take_away, 16, FTW_DEPTH | FTW_PHYS);
        }
    }
    if (into >= 0)
        close(into);
    close(lock);
    return why;
}

int main(int count, char **arguments)
{
    static char self[PATH_MAX];
    struct tail tail;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0 && !realpath((const char *)getauxval(AT_EXECFN), self)) /* no /proc */
        return fail("cannot find itself", strerror(errno));
    int file = open(self, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail(self, strerror(errno));
    off_t end = lseek(file, 0, SEEK_END);
    if (pread(file, &tail, sizeof tail, end - (off_t)sizeof tail) != (ssize_t)sizeof tail)
        return fail(self, strerror(errno));
    char **given = arguments + (count > 0);
    if (memcmp(tail.magic, MAGIC, sizeof MAGIC)) /* bin/python */
        return run(dirname(dirname(self)), (const char *const[]){0}, given);

    const char *named = secure_getenv("SEGWATCH_UNPACK_DIR"), *state = secure_getenv("STATE_DIRECTORY");
    const char *cache = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME"), *temporary = secure_getenv("TMPDIR");
    char mine[32], this[PATH_MAX + 16];
    snprintf(mine, sizeof mine, "segwatch-%u", geteuid());
    snprintf(this, sizeof this, "segwatch=%s", self);
    const char *const program[] = {"-X", this, "-m", "cli.main", 0}; /* cli/program.py */
    const char *const places[] = {
        named && *named ? named : "/var/cache/segwatch",
        state && *state ? join(state, "program") : 0, /* systemd.exec(5) */
        cache && *cache ? join(cache, "segwatch") : home && *home ? join(home, ".cache/segwatch") : 0,
        join(temporary && *temporary ? temporary : "/tmp", mine),
    };
    const size_t n = named && *named ? 1 : sizeof places / sizeof *places;
    for (int unpacking = 0; unpacking < 2; unpacking++)
        for (size_t i = 0; i < n; i++) {
            if (!places[i])
                continue;
            const char *whole = join(places[i], tail.id), *why = unpacking ? put(places[i], tail.id, file, tail.start) : 0;
            if (!why && is_ours(places[i]) && is_ours(whole) && !access(join(whole, "lib/segwatch"), X_OK))
                return run(whole, program, given);
            if (unpacking)
                would_not_do(places[i], why ? why : "what is there does not run: remove it");
        }
    fprintf(stderr,
            "segwatch: there is no place to unpack itself to:\n%s"
            "  Name one that nobody else can write to and that is not noexec: SEGWATCH_UNPACK_DIR=DIR\n",
            tried);
    return USAGE;
}
