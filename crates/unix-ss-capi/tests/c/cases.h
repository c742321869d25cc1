/*
 * Test cases in C: each in a process and a directory of its own, with a time
 * limit, so that one that hangs, crashes or leaves something behind harms no
 * other. A program lists its cases and calls run_cases(); arguments choose some.
 */
#ifndef CASES_H
#define CASES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What no event of a working system takes. */
#ifndef PATIENCE_S
#define PATIENCE_S 60
#endif
#define NOBODY 65534

struct test_case {
	const char *name;
	void (*run)(void);
};

#define CHECK(condition) \
	do { \
		int check_errno = errno; \
		if (!(condition)) \
			fail_case(__LINE__, #condition, check_errno); \
	} while (0)

static inline void fail_case(int line, const char *what, int error)
{
	printf("    line %d: not so: %s (errno %d, %s)\n", line, what, error, strerror(error));
	fflush(stdout);
	_exit(1);
}

/* Removes a directory with all that is in it. */
static inline void remove_tree(const char *path)
{
	char child[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (chmod(path, 0700) || !(dir = opendir(path)))
		return;
	while ((entry = readdir(dir))) {
		struct stat st;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >= (int)sizeof(child))
			continue;
		if (!lstat(child, &st) && S_ISDIR(st.st_mode))
			remove_tree(child);
		else
			unlink(child);
	}
	closedir(dir);
	rmdir(path);
}

/* How many files are in the directory. */
static inline int count_files(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int count = 0;

	CHECK(dir);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			count++;
	closedir(dir);
	return count;
}

/* A child that dies with us. */
static inline pid_t start_child(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static inline void end_well(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static inline const char *run_case(const struct test_case *test)
{
	static char why[64];
	char dir[PATH_MAX];
	const char *tmp = getenv("TMPDIR");
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/unix-ss.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir) || chmod(dir, 0755))
		return "cannot make a temporary directory";
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return "cannot fork";
	if (!pid) {
		if (chdir(dir))
			fail_case(__LINE__, "chdir", errno);
		alarm(PATIENCE_S);
		test->run();
		fflush(stdout);
		exit(0);	/* not _exit: leak checkers look now */
	}
	if (waitpid(pid, &status, 0) != pid)
		return "cannot wait";
	remove_tree(dir);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return NULL;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		return "it hung";
	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "it died of signal %d", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), "it ended with status %d", WEXITSTATUS(status));
	return why;
}

/* Arguments: the names of the cases to run, or "!name" to leave some out. */
static inline int is_chosen(const char *name, int argc, char **argv)
{
	int chosen = 1, i;

	for (i = 1; i < argc; i++)
		if (*argv[i] != '!')
			chosen = 0;
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], name))
			chosen = 1;
		if (*argv[i] == '!' && !strcmp(argv[i] + 1, name))
			chosen = 0;
	}
	return chosen;
}

static inline int run_cases(const struct test_case *tests, int argc, char **argv)
{
	int passed = 0, failed = 0;

	for (; tests->name; tests++) {
		const char *why;

		if (!is_chosen(tests->name, argc, argv))
			continue;
		why = run_case(tests);
		if (why) {
			printf("FAILED  %s: %s\n", tests->name, why);
			failed++;
		} else {
			printf("ok      %s\n", tests->name);
			passed++;
		}
	}
	printf("%d passed, %d failed\n", passed, failed);
	return !passed || failed;
}

#endif
