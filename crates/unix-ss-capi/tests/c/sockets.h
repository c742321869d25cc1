/* Sockets and files for the cases, made by bare system calls. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include "cases.h"

static inline struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address;

	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	CHECK(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	return address;
}

static inline int stranger_of_type(const char *path, int type, int backlog)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	CHECK(!bind(fd, (struct sockaddr *)&address, sizeof(address)));
	if (backlog >= 0)
		CHECK(!listen(fd, backlog));
	return fd;
}

/* A live server that knows nothing of locks. */
static inline int stranger(const char *path)
{
	return stranger_of_type(path, SOCK_STREAM, 16);
}

static inline void put_dead(const char *path)
{
	close(stranger(path));
}

static inline int try_connect(const char *path, int flags)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	CHECK(fd >= 0);
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* A client of the path gets through to just this listener, past those who came and left before. */
static inline int serves(int listener, const char *path)
{
	char word[32] = "", said[32];
	int tries;
	int client = try_connect(path, 0);

	if (client < 0)
		return 0;
	snprintf(word, sizeof(word), "%d %d", getpid(), client);
	CHECK(write(client, word, sizeof(word)) == sizeof(word));
	for (tries = 0; tries < 10000; tries++) {
		struct pollfd events = { .fd = listener, .events = POLLIN };
		int accepted, found;

		if (poll(&events, 1, 1000 * PATIENCE_S) != 1)
			break;
		accepted = accept(listener, NULL, NULL);
		CHECK(accepted >= 0);
		found = recv(accepted, said, sizeof(said), MSG_DONTWAIT) == sizeof(said) && !strcmp(said, word);
		close(accepted);
		if (found) {
			close(client);
			return 1;
		}
	}
	close(client);
	return 0;
}

static inline void put_file(const char *path, const char *content, mode_t mode)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK(write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	CHECK(!fchmod(fd, mode));
	close(fd);
}

static inline int has_content(const char *path, const char *content)
{
	char found[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return 0;
	length = read(fd, found, sizeof(found));
	close(fd);
	return length == (ssize_t)strlen(content) && !memcmp(found, content, length);
}

static inline int exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	CHECK(!lstat(path, &st));
	return st;
}

static inline int is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode &&
	       a->st_size == b->st_size && a->st_uid == b->st_uid;
}

/* Become somebody whom permission bits stop. */
static inline void become_nobody(void)
{
	if (geteuid())
		return;
	CHECK(!setgid(NOBODY) && !setuid(NOBODY));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* The lowest number that is free. */
static inline int lowest_free_fd(void)
{
	int fd = open("/", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	close(fd);
	return fd;
}

/* From here on, only so many more descriptors; gives the limit as it was, to be set again. */
static inline struct rlimit limit_descriptors(int more)
{
	struct rlimit before, limit;

	CHECK(!getrlimit(RLIMIT_NOFILE, &before));
	limit = before;
	limit.rlim_cur = lowest_free_fd() + more;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	return before;
}

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

#endif
