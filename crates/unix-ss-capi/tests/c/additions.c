/* What this library adds to git's functions, and what it promises beyond theirs. */
#include "sockets.h"

#include "unix-stream-server.h"

static const struct unix_stream_listen_opts opts = UNIX_STREAM_LISTEN_OPTS_INIT;

static struct unix_ss_socket *must_create(const char *path)
{
	struct unix_ss_socket *server;

	CHECK(!unix_ss_create(path, &opts, 10000, &server));
	return server;
}

static void null_arguments_are_errors_or_harmless(void)
{
	struct unix_ss_socket *server = (struct unix_ss_socket *)&opts;
	struct unix_ss_peer peer = { 1, 1, 1 };

	CHECK(unix_ss_create(NULL, &opts, 0, &server) == -1 && errno == EINVAL && !server);
	server = (struct unix_ss_socket *)&opts;
	CHECK(unix_ss_create("s", NULL, 0, &server) == -1 && errno == EINVAL && !server);
	CHECK(unix_ss_create("s", &opts, 0, NULL) == -1 && errno == EINVAL);
	CHECK(unix_stream_connect(NULL, 0) == -1 && errno == EINVAL);
	CHECK(unix_stream_listen(NULL, &opts) == -1 && errno == EINVAL);
	CHECK(unix_stream_listen("s", NULL) == -1 && errno == EINVAL);
	CHECK(unix_ss_probe(NULL, &peer) == -1 && errno == EINVAL);
	CHECK(!peer.pid && peer.uid == (uid_t)-1 && peer.gid == (gid_t)-1);
	CHECK(unix_ss_probe("s", NULL) == UNIX_SS_ABSENT);
	CHECK(unix_ss_drain(NULL) == -1 && errno == EINVAL);
	unix_ss_free(NULL);
	CHECK(!unix_ss_was_stolen(NULL));
	CHECK(!count_files("."));
}

static void paths_that_name_no_socket_are_errors(void)
{
	const char *paths[] = { "", "/", "d/", ".", "..", "d/.", "d/..", NULL };
	struct unix_ss_socket *server;

	CHECK(!mkdir("d", 0755));
	for (const char **path = paths; *path; path++) {
		CHECK(unix_ss_create(*path, &opts, 0, &server) == -1 && errno == EINVAL && !server);
		CHECK(unix_stream_listen(*path, &opts) == -1 && errno == EINVAL);
		CHECK(unix_stream_connect(*path, 0) == -1 && errno == EINVAL);
		CHECK(unix_ss_probe(*path, NULL) == -1 && errno == EINVAL);
	}
	CHECK(count_files(".") == 1 && !count_files("d"));
}

static void a_backlog_of_0_is_the_kernels_most(void)
{
	struct unix_ss_socket *server = must_create("s");

	for (int clients = 0; clients < 64; clients++)
		CHECK(try_connect("s", SOCK_NONBLOCK) >= 0);
	unix_ss_free(server);
}

static void errno_survives_free_and_was_stolen(void)
{
	struct unix_ss_socket *server = must_create("s");

	CHECK(!unlink("s"));
	put_file("s", "precious", 0644);
	errno = ELIBBAD;
	CHECK(unix_ss_was_stolen(server));
	unix_ss_free(server);
	CHECK(*unix_ss_strerror(-1, ENOENT));
	unix_ss_free(NULL);
	CHECK(!unix_ss_was_stolen(NULL));
	CHECK(errno == ELIBBAD);
	CHECK(has_content("s", "precious"));
}

static void free_takes_a_killed_holders_lock_over(void)
{
	struct unix_ss_socket *server = must_create("s");

	put_file("s.lock", "", 01400);
	unix_ss_free(server);
	CHECK(!count_files("."));
}

/* probe */

static void probe_tells_what_stands_there(void)
{
	struct unix_ss_peer peer;
	struct unix_ss_socket *server;
	int full;

	CHECK(unix_ss_probe("s", &peer) == UNIX_SS_ABSENT);
	CHECK(!peer.pid && peer.uid == (uid_t)-1 && peer.gid == (gid_t)-1);
	server = must_create("s");
	CHECK(unix_ss_probe("s", &peer) == UNIX_SS_LIVE);
	CHECK(peer.pid == getpid() && peer.uid == geteuid() && peer.gid == getegid());
	CHECK(!symlink("s", "link"));
	CHECK(unix_ss_probe("link", &peer) == UNIX_SS_LIVE);
	unix_ss_free(server);
	CHECK(unix_ss_probe("link", &peer) == UNIX_SS_ABSENT);
	CHECK(!peer.pid);

	put_dead("dead");
	CHECK(unix_ss_probe("dead", &peer) == UNIX_SS_DEAD);
	full = stranger_of_type("full", SOCK_STREAM, 0);
	while (try_connect("full", SOCK_NONBLOCK) >= 0)
		;
	CHECK(unix_ss_probe("full", &peer) == UNIX_SS_BUSY);
	close(full);
	full = stranger_of_type("datagram", SOCK_DGRAM, -1);
	CHECK(unix_ss_probe("datagram", &peer) == UNIX_SS_OTHER_TYPE);
	close(full);
	put_file("file", "", 0644);
	CHECK(unix_ss_probe("file", &peer) == UNIX_SS_NOT_A_SOCKET);
	CHECK(unix_ss_probe("missing/s", &peer) == UNIX_SS_ABSENT);
	CHECK(unix_ss_probe("file/s", &peer) == -1 && errno == ENOTDIR);
}

static void probe_without_permission_cannot_tell(void)
{
	int live = stranger("s");

	CHECK(!chmod("s", 0444));
	become_nobody();
	CHECK(unix_ss_probe("s", NULL) == -1 && errno == EACCES);
	CHECK(strstr(unix_ss_strerror(-1, errno), "cannot tell whether a server lives at s"));
	close(live);
}

/* drain */

static void drain_serves_everybody_who_was_queued(void)
{
	struct unix_ss_socket *server;
	int clients[20], served = 0, client;
	char word;

	for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
		server = must_create("s");
		if (nonblocking)
			CHECK(!fcntl(server->fd_socket, F_SETFL, O_NONBLOCK));
		for (int i = 0; i < 20; i++)
			CHECK((clients[i] = unix_stream_connect("s", 0)) >= 0);
		served = 0;
		while ((client = unix_ss_drain(server)) >= 0) {
			if (!served) {
				CHECK(!exists("s"));
				CHECK(unix_stream_connect("s", 0) == -1 && errno == ENOENT);
				CHECK(!unix_ss_was_stolen(server));
			}
			CHECK(fcntl(client, F_GETFD) & FD_CLOEXEC);
			CHECK(!(fcntl(client, F_GETFL) & O_NONBLOCK));
			CHECK(write(client, "!", 1) == 1);
			close(client);
			served++;
		}
		CHECK(errno == EAGAIN);
		CHECK(served == 20);
		for (int i = 0; i < 20; i++) {
			CHECK(read(clients[i], &word, 1) == 1 && word == '!');
			close(clients[i]);
		}
		CHECK(unix_ss_drain(server) == -1 && errno == EAGAIN);
		/* the path is a successor's by now */
		struct unix_ss_socket *successor = must_create("s");
		unix_ss_free(server);
		CHECK(!unix_ss_was_stolen(successor));
		unix_ss_free(successor);
		CHECK(!count_files("."));
	}
}

static void *connect_blocked(void *arg)
{
	int client = unix_stream_connect("s", 0);

	(void)arg;
	return (void *)(long)(client >= 0 ? 0 : errno);
}

static void drain_leaves_nobody_blocked_in_connect(void)
{
	struct unix_stream_listen_opts small = UNIX_STREAM_LISTEN_OPTS_INIT;
	struct unix_ss_socket *server;
	pthread_t threads[8];
	int queued = 0, client, copy;

	small.listen_backlog_size = 1;
	CHECK(!unix_ss_create("s", &small, 0, &server));
	while (try_connect("s", SOCK_NONBLOCK) >= 0)
		queued++;
	/* blocked, or about to be: either way each must come back */
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&threads[i], NULL, connect_blocked, NULL));
	CHECK((copy = dup(server->fd_socket)) >= 0);
	while ((client = unix_ss_drain(server)) >= 0)
		queued--;
	CHECK(errno == EAGAIN && !queued);
	for (int i = 0; i < 8; i++) {
		void *error;

		CHECK(!pthread_join(threads[i], &error));
		CHECK((long)error == ENOENT || (long)error == ECONNREFUSED);
	}
	close(copy);
	unix_ss_free(server);
}

static void drain_of_a_stolen_server_leaves_the_thief_alone(void)
{
	struct unix_ss_socket *server = must_create("s");
	int thief;

	CHECK(!unlink("s"));
	thief = stranger("s");
	CHECK(unix_ss_drain(server) == -1 && errno == EAGAIN);
	CHECK(unix_ss_was_stolen(server));
	unix_ss_free(server);
	CHECK(serves(thief, "s"));
	close(thief);
}

static void drain_without_descriptors_keeps_the_client(void)
{
	struct unix_ss_socket *server = must_create("s");
	struct rlimit limit, none;
	int client, served;

	CHECK((client = unix_stream_connect("s", 0)) >= 0);
	CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0;
	CHECK(!setrlimit(RLIMIT_NOFILE, &none));
	/* Without a descriptor for the lock the path stays; the clients are drained all the same. */
	CHECK(unix_ss_drain(server) == -1 && errno == EMFILE);
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	CHECK((served = unix_ss_drain(server)) >= 0);
	CHECK(write(served, "!", 1) == 1);
	close(served);
	close(client);
	unix_ss_free(server);
	CHECK(unix_ss_probe("s", NULL) == UNIX_SS_DEAD);
	unix_ss_free(must_create("s"));
	CHECK(!count_files("."));
}

static void a_forked_child_cannot_drain(void)
{
	struct unix_ss_socket *server = must_create("s");
	pid_t child = start_child();

	if (!child) {
		CHECK(unix_ss_drain(server) == -1 && errno == EPERM);
		CHECK(fcntl(server->fd_socket, F_GETFD) >= 0);
		unix_ss_free(server);
		exit(0);
	}
	end_well(child);
	CHECK(!unix_ss_was_stolen(server));
	CHECK(serves(server->fd_socket, "s"));
	unix_ss_free(server);
}

/* strerror */

static void *general_text(void *arg)
{
	(void)arg;
	CHECK(!strstr(unix_ss_strerror(-1, ENOTSOCK), "precious"));
	return NULL;
}

static void strerror_tells_the_last_failure_of_this_thread_in_full(void)
{
	struct unix_ss_socket *server;
	const char *text;
	char pid[32];
	pthread_t thread;

	put_file("precious", "", 0644);
	CHECK(unix_ss_create("precious", &opts, 0, &server) == -1);
	text = unix_ss_strerror(-1, errno);
	CHECK(strstr(text, "precious") && strstr(text, "regular file"));
	CHECK(!pthread_create(&thread, NULL, general_text, NULL) && !pthread_join(thread, NULL));
	CHECK(strstr(text, "precious"));

	server = must_create("s");
	struct unix_ss_socket *second;
	int result = unix_ss_create("s", &opts, 0, &second);
	snprintf(pid, sizeof(pid), "process %d", getpid());
	CHECK(result == -2 && strstr(unix_ss_strerror(result, errno), pid));
	CHECK(!strcmp(unix_ss_strerror(0, 0), "success"));
	CHECK(!strcmp(unix_ss_strerror(UNIX_SS_LIVE, EIO), "success"));
	CHECK(*unix_ss_strerror(-1, 0) && *unix_ss_strerror(-7, -7) && *unix_ss_strerror(-1, 123456));
	unix_ss_free(server);
}

/* threads */

static struct unix_ss_socket *shared;

static void *ask_and_drain(void *arg)
{
	long served = 0;
	int client;

	(void)arg;
	for (int i = 0; i < 1000; i++)
		CHECK(!unix_ss_was_stolen(shared));
	while ((client = unix_ss_drain(shared)) >= 0) {
		close(client);
		served++;
	}
	CHECK(errno == EAGAIN);
	return (void *)served;
}

static void one_server_may_be_asked_and_drained_by_many_threads(void)
{
	pthread_t threads[8];
	int clients[50];
	long all = 0;

	shared = must_create("s");
	for (int i = 0; i < 50; i++)
		CHECK((clients[i] = unix_stream_connect("s", 0)) >= 0);
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&threads[i], NULL, ask_and_drain, NULL));
	for (int i = 0; i < 8; i++) {
		void *served;

		CHECK(!pthread_join(threads[i], &served));
		all += (long)served;
	}
	CHECK(all == 50);
	for (int i = 0; i < 50; i++)
		close(clients[i]);
	unix_ss_free(shared);
	CHECK(!count_files("."));
}

static void *drain_once(void *arg)
{
	(void)arg;
	CHECK(unix_ss_drain(shared) == -1 && errno == EAGAIN);
	return NULL;
}

/* Whoever drains may wait for the lock; whoever only asks does not wait for him. */
static void was_stolen_does_not_wait_for_a_drain_that_waits_for_the_lock(void)
{
	pthread_t drainer;

	CHECK(!unix_ss_create("s", &opts, 1000 * PATIENCE_S, &shared));
	put_file("s.lock", "", 0644);
	CHECK(!pthread_create(&drainer, NULL, drain_once, NULL));
	usleep(50000); /* by now it waits; if not, this is a weaker test */
	for (int i = 0; i < 1000; i++)
		CHECK(!unix_ss_was_stolen(shared));
	CHECK(!unlink("s.lock"));
	CHECK(!pthread_join(drainer, NULL));
	unix_ss_free(shared);
	CHECK(!count_files("."));
}

static volatile int asking;

static void *ask_for_ever(void *arg)
{
	(void)arg;
	while (asking)
		unix_ss_was_stolen(shared);
	return NULL;
}

/* Whatever another thread held when the process was forked. */
static void a_child_forked_beside_other_threads_hangs_in_nothing(void)
{
	pthread_t threads[4];

	shared = must_create("s");
	asking = 1;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, ask_for_ever, NULL));
	for (int i = 0; i < 50; i++) {
		pid_t child = start_child();

		if (!child) {
			unix_ss_was_stolen(shared);
			if (unix_ss_drain(shared) != -1 || errno != EPERM)
				_exit(1);
			unix_ss_free(shared);
			_exit(0);
		}
		end_well(child);
	}
	asking = 0;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(!unix_ss_was_stolen(shared));
	CHECK(serves(shared->fd_socket, "s"));
	unix_ss_free(shared);
}

static void *create_in_vain(void *arg)
{
	struct unix_ss_socket *server;

	(void)arg;
	CHECK(unix_ss_create("s", &opts, 300, &server) == -1 && errno == EEXIST);
	pthread_testcancel();
	return NULL;
}

static void *create_and_free(void *arg)
{
	struct unix_ss_socket *server;

	(void)arg;
	pthread_cancel(pthread_self());
	CHECK(!unix_ss_create("t", &opts, 0, &server));
	CHECK(!unix_ss_was_stolen(server));
	unix_ss_free(server);
	pthread_testcancel();
	return NULL;
}

/* No function is a cancellation point: what it has begun it ends. */
static void a_cancelled_thread_ends_its_call_first(void)
{
	void *(*calls[])(void *) = { create_in_vain, create_and_free };
	pthread_t thread;
	void *end;

	put_file("s.lock", "", 0644);
	for (int i = 0; i < 2; i++) {
		CHECK(!pthread_create(&thread, NULL, calls[i], NULL));
		pthread_cancel(thread); /* wherever it is */
		CHECK(!pthread_join(thread, &end));
		CHECK(end == PTHREAD_CANCELED);
	}
	CHECK(count_files(".") == 1 && exists("s.lock"));
}

static void ignore(int signal)
{
	(void)signal;
}

/* However many signals interrupt the wait. */
static void the_timeout_is_kept_under_a_storm_of_signals(void)
{
	struct sigaction action = { .sa_handler = ignore };
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { { 0, 0 }, { 0, 0 } };
	struct unix_ss_socket *server;
	pid_t child;

	put_file("s.lock", "", 0644);
	/* In a child: the timer of the storm is the one that would end a hang. */
	child = start_child();
	if (!child) {
		CHECK(!sigaction(SIGALRM, &action, NULL));
		CHECK(!setitimer(ITIMER_REAL, &often, NULL));
		int result = unix_ss_create("s", &opts, 100, &server);
		int error = errno;
		CHECK(!setitimer(ITIMER_REAL, &never, NULL));
		errno = error;
		CHECK(result == -1 && errno == EEXIST);
		exit(0);
	}
	end_well(child);
}

#define CASE(name) { #name, name }

int main(int argc, char **argv)
{
	static const struct test_case tests[] = {
		CASE(null_arguments_are_errors_or_harmless),
		CASE(paths_that_name_no_socket_are_errors),
		CASE(a_backlog_of_0_is_the_kernels_most),
		CASE(errno_survives_free_and_was_stolen),
		CASE(free_takes_a_killed_holders_lock_over),
		CASE(probe_tells_what_stands_there),
		CASE(probe_without_permission_cannot_tell),
		CASE(drain_serves_everybody_who_was_queued),
		CASE(drain_leaves_nobody_blocked_in_connect),
		CASE(drain_of_a_stolen_server_leaves_the_thief_alone),
		CASE(drain_without_descriptors_keeps_the_client),
		CASE(a_forked_child_cannot_drain),
		CASE(strerror_tells_the_last_failure_of_this_thread_in_full),
		CASE(one_server_may_be_asked_and_drained_by_many_threads),
		CASE(was_stolen_does_not_wait_for_a_drain_that_waits_for_the_lock),
		CASE(a_child_forked_beside_other_threads_hangs_in_nothing),
		CASE(a_cancelled_thread_ends_its_call_first),
		CASE(the_timeout_is_kept_under_a_storm_of_signals),
		{ NULL, NULL },
	};

	return run_cases(tests, argc, argv);
}
