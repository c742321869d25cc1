/* When malloc has nothing left for what C may free: ENOMEM, and nothing on disk. */
#include "sockets.h"

#include <dlfcn.h>

#include "unix-stream-server.h"

/* How many calls of malloc succeed before all fail; negative: they all succeed. */
static int left = -1;

void *malloc(size_t size)
{
	static void *(*next)(size_t);

	if (!left) {
		errno = ENOMEM;
		return NULL;
	}
	if (left > 0)
		left--;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "malloc");
	return next(size);
}

static void lack_of_memory_is_an_error_that_changes_nothing(void)
{
	struct unix_stream_listen_opts opts = UNIX_STREAM_LISTEN_OPTS_INIT;
	struct unix_ss_socket *server;
	int result, error;

	put_dead("s");
	struct stat before = stat_of("s"), after;
	/* The first two calls are those for the struct and for the path in it. */
	for (int succeed = 0; succeed < 2; succeed++) {
		left = succeed;
		result = unix_ss_create("s", &opts, 0, &server);
		error = errno;
		const char *text = unix_ss_strerror(result, error);
		left = -1;
		errno = error;
		CHECK(result == -1 && errno == ENOMEM && !server);
		CHECK(!strcmp(text, "out of memory"));
		after = stat_of("s");
		CHECK(is_same(&before, &after));
		CHECK(count_files(".") == 1);
	}
	CHECK(!unix_ss_create("s", &opts, 0, &server));
	unix_ss_free(server);
	CHECK(!count_files("."));
}

int main(int argc, char **argv)
{
	static const struct test_case tests[] = {
		{ "lack_of_memory_is_an_error_that_changes_nothing", lack_of_memory_is_an_error_that_changes_nothing },
		{ NULL, NULL },
	};

	return run_cases(tests, argc, argv);
}
