/*
 * An echo server: one client after the other, until SIGTERM or SIGINT, or until
 * its path is taken.
 *
 *	cc echo-server.c $(pkg-config --cflags --libs unix-ss) -o echo-server
 *	./echo-server /tmp/echo.sock
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <unix-stream-server.h>

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static void echo(int client)
{
	char buffer[4096];
	ssize_t length;

	while ((length = read(client, buffer, sizeof(buffer))) > 0)
		if (send(client, buffer, length, MSG_NOSIGNAL) != length)
			break;
	close(client);
}

int main(int argc, char **argv)
{
	struct unix_stream_listen_opts opts = UNIX_STREAM_LISTEN_OPTS_INIT;
	struct sigaction action = { .sa_handler = end }; /* no SA_RESTART: poll() must wake */
	struct unix_ss_socket *server;
	int result, client;

	if (argc != 2) {
		fprintf(stderr, "usage: %s PATH\n", argv[0]);
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	result = unix_ss_create(argv[1], &opts, -1, &server);
	if (result) {
		fprintf(stderr, "%s: %s\n", argv[0], unix_ss_strerror(result, errno));
		return result == -2 ? 3 : 1;
	}
	while (!ended && !unix_ss_was_stolen(server)) {
		struct pollfd ready = { .fd = server->fd_socket, .events = POLLIN };

		/* once a second, to see whether the path is still ours */
		if (poll(&ready, 1, 1000) == 1 && (client = accept(server->fd_socket, NULL, NULL)) >= 0)
			echo(client);
	}
	while ((client = unix_ss_drain(server)) >= 0) /* nobody who got through is turned away */
		echo(client);
	unix_ss_free(server);
	return 0;
}
