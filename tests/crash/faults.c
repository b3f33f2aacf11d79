/* Fails or kills at the n-th call that changes a file below one folder.
 *
 * Preloaded into a process (LD_PRELOAD), it does nothing until `faults_arm` is called there;
 * a forked child arms itself. Every name below is one that CPython, pyarrow or Rust's standard
 * library calls to change a file. Linux only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

enum kind { COUNT, KILL, ERROR };

static _Atomic int armed;
static _Atomic long calls;
static char root[PATH_MAX];
static size_t root_length;
static enum kind kind;
static int code, lasting, log_to;
static long point;

static int is_below(const char *path)
{
	return strncmp(path, root, root_length) == 0
		&& (path[root_length] == '/' || path[root_length] == 0);
}

static int path_of(int fd, char *path)
{
	char link[64];
	ssize_t length;

	if (fd == AT_FDCWD)
		return getcwd(path, PATH_MAX) != NULL;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH_MAX - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return 1;
}

/* What the n-th call meets: 0 nothing, KILL death, ERROR an error that is in errno. */
static enum kind met(const char *call, const char *path)
{
	char line[PATH_MAX + 64];
	long n;
	int length, hit;

	/* A full disk still lets files go; death at a flush is death at the next call. */
	if (code == ENOSPC && (!strcmp(call, "unlink") || !strcmp(call, "rmdir")))
		return COUNT;
	if (kind == KILL && !strcmp(call, "flush"))
		return COUNT;
	n = atomic_fetch_add(&calls, 1) + 1;
	length = snprintf(line, sizeof line, "%ld %s %s\n", n, call, path + root_length);
	if (log_to >= 0)
		syscall(SYS_write, log_to, line, (size_t)length);
	hit = kind != COUNT && (n == point || (lasting && n > point));
	if (!hit)
		return COUNT;
	if (kind == ERROR)
		errno = code;
	return kind;
}

static void die(void)
{
	syscall(SYS_kill, getpid(), SIGKILL);
	for (;;)
		pause();
}

/* True where the call must fail; does not return where it must die. */
static int at_path(const char *call, int folder, const char *path)
{
	char whole[2 * PATH_MAX] = "";
	enum kind fate;

	if (!armed || path == NULL)
		return 0;
	if (path[0] != '/') {
		if (!path_of(folder, whole))
			return 0;
		strncat(whole, "/", 2);
	}
	strncat(whole, path, PATH_MAX - 1);
	if (!is_below(whole))
		return 0;
	fate = met(call, whole);
	if (fate == KILL)
		die();
	return fate == ERROR;
}

static int at_file(const char *call, int fd)
{
	char path[PATH_MAX];
	enum kind fate;

	if (!armed || !path_of(fd, path) || !is_below(path))
		return 0;
	fate = met(call, path);
	if (fate == KILL)
		die();
	return fate == ERROR;
}

/* As `at_file`; where it must die, half of what was to be written is written first. */
static int at_write(int fd, const void *data, size_t size, off_t offset)
{
	char path[PATH_MAX];
	enum kind fate;

	if (!armed || !path_of(fd, path) || !is_below(path))
		return 0;
	fate = met("write", path);
	if (fate == KILL) {
		if (data && offset < 0)
			syscall(SYS_write, fd, data, size / 2);
		else if (data)
			syscall(SYS_pwrite64, fd, data, size / 2, offset);
		die();
	}
	return fate == ERROR;
}

#define REAL(name, type) \
	static __typeof__(type) *real; \
	if (!real) \
		real = (__typeof__(type) *)dlsym(RTLD_NEXT, #name)

static int changes(int flags)
{
	return (flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE;
}

/* The mode that stands behind the flags where a file may be created. */
#define READ_MODE(mode, flags) \
	mode_t mode = 0; \
	if (changes(flags)) { \
		va_list rest; \
		va_start(rest, flags); \
		mode = va_arg(rest, mode_t); \
		va_end(rest); \
	}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		REAL(name, int (const char *, int, ...)); \
		READ_MODE(mode, flags) \
		if (changes(flags) && at_path("create", AT_FDCWD, path)) \
			return -1; \
		return real(path, flags, mode); \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
	int name(int folder, const char *path, int flags, ...) \
	{ \
		REAL(name, int (int, const char *, int, ...)); \
		READ_MODE(mode, flags) \
		if (changes(flags) && at_path("create", folder, path)) \
			return -1; \
		return real(folder, path, flags, mode); \
	}
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size)
{
	REAL(write, ssize_t (int, const void *, size_t));
	return at_write(fd, data, size, -1) ? -1 : real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
	REAL(writev, ssize_t (int, const struct iovec *, int));
	return at_write(fd, count ? pieces[0].iov_base : NULL, count ? pieces[0].iov_len : 0, -1)
		? -1 : real(fd, pieces, count);
}

#define PWRITE(name) \
	ssize_t name(int fd, const void *data, size_t size, off_t offset) \
	{ \
		REAL(name, ssize_t (int, const void *, size_t, off_t)); \
		return at_write(fd, data, size, offset) ? -1 : real(fd, data, size, offset); \
	}
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags)
{
	REAL(copy_file_range, ssize_t (int, off_t *, int, off_t *, size_t, unsigned));
	return at_write(out, NULL, 0, -1) ? -1 : real(in, from, out, to, size, flags);
}

#define SENDFILE(name) \
	ssize_t name(int out, int in, off_t *offset, size_t size) \
	{ \
		REAL(name, ssize_t (int, int, off_t *, size_t)); \
		return at_write(out, NULL, 0, -1) ? -1 : real(out, in, offset, size); \
	}
SENDFILE(sendfile)
SENDFILE(sendfile64)

#define RESIZE(name) \
	int name(int fd, off_t size) \
	{ \
		REAL(name, int (int, off_t)); \
		return at_file("resize", fd) ? -1 : real(fd, size); \
	}
RESIZE(ftruncate)
RESIZE(ftruncate64)

/* Answers with the error itself. */
#define RESERVE(name) \
	int name(int fd, off_t offset, off_t size) \
	{ \
		REAL(name, int (int, off_t, off_t)); \
		return at_file("reserve", fd) ? code : real(fd, offset, size); \
	}
RESERVE(posix_fallocate)
RESERVE(posix_fallocate64)

#define FLUSH(name) \
	int name(int fd) \
	{ \
		REAL(name, int (int)); \
		return at_file("flush", fd) ? -1 : real(fd); \
	}
FLUSH(fsync)
FLUSH(fdatasync)

#define PAIR(name, call) \
	int name(const char *from, const char *to) \
	{ \
		REAL(name, int (const char *, const char *)); \
		return at_path(call, AT_FDCWD, to) ? -1 : real(from, to); \
	}
PAIR(rename, "rename")
PAIR(link, "link")

#if defined(__x86_64__)
/* LanceDB's `tempfile` renames without libc: the kernel hands that one call to us. */
#define OURS 0x636f6d6d

static void on_renameat(int signal, siginfo_t *info, void *context)
{
	greg_t *of = ((ucontext_t *)context)->uc_mcontext.gregs;
	int before = errno;
	long result = -1;

	(void)signal;
	(void)info;
	if (!at_path("rename", (int)of[REG_RDX], (const char *)of[REG_R10]))
		result = syscall(SYS_renameat, of[REG_RDI], of[REG_RSI], of[REG_RDX], of[REG_R10], OURS);
	of[REG_RAX] = result < 0 ? -errno : result;
	errno = before;
}

static int watch_renameat(void)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof steps / sizeof *steps, steps };
	struct sigaction action = { 0 };

	action.sa_sigaction = on_renameat;
	action.sa_flags = SA_SIGINFO | SA_NODEFER;
	return sigaction(SIGSYS, &action, NULL)
		|| prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		|| syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}
#else
static int watch_renameat(void)
{
	return 0;
}

int renameat(int from_folder, const char *from, int folder, const char *to)
{
	REAL(renameat, int (int, const char *, int, const char *));
	return at_path("rename", folder, to) ? -1 : real(from_folder, from, folder, to);
}
#endif

int renameat2(int from_folder, const char *from, int folder, const char *to, unsigned flags)
{
	REAL(renameat2, int (int, const char *, int, const char *, unsigned));
	return at_path("rename", folder, to) ? -1 : real(from_folder, from, folder, to, flags);
}

int linkat(int from_folder, const char *from, int folder, const char *to, int flags)
{
	REAL(linkat, int (int, const char *, int, const char *, int));
	return at_path("link", folder, to) ? -1 : real(from_folder, from, folder, to, flags);
}

int unlink(const char *path)
{
	REAL(unlink, int (const char *));
	return at_path("unlink", AT_FDCWD, path) ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags)
{
	REAL(unlinkat, int (int, const char *, int));
	return at_path(flags & AT_REMOVEDIR ? "rmdir" : "unlink", folder, path)
		? -1 : real(folder, path, flags);
}

int rmdir(const char *path)
{
	REAL(rmdir, int (const char *));
	return at_path("rmdir", AT_FDCWD, path) ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode)
{
	REAL(mkdir, int (const char *, mode_t));
	return at_path("mkdir", AT_FDCWD, path) ? -1 : real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
	REAL(mkdirat, int (int, const char *, mode_t));
	return at_path("mkdir", folder, path) ? -1 : real(folder, path, mode);
}

/* kind: 0 counts, 1 kills, 2 fails with `error`; once, or from the n-th call on.
 * Every counted call is written to the file descriptor `log` as "n call path". Once a process;
 * not 0 where the kernel refuses. */
int faults_arm(const char *folder, int wanted, int error, int from_then_on, long n, int log)
{
	snprintf(root, sizeof root, "%s", folder);
	root_length = strlen(root);
	kind = wanted;
	code = error;
	lasting = from_then_on;
	point = n;
	log_to = log;
	calls = 0;
	armed = 1;
	return watch_renameat();
}

long faults_disarm(void)
{
	armed = 0;
	return calls;
}
