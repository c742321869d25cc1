/*
 * Sends its standard input to the server at PATH, and prints the answer.
 *
 *	cc echo-client.c $(pkg-config --cflags --libs unix-ss) -o echo-client
 *	echo hello | ./echo-client /tmp/echo.sock
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <unix-stream-server.h>

static int write_all(int fd, const char *data, ssize_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, data, length);

		if (written < 0)
			return -1;
		data += written;
		length -= written;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char buffer[4096];
	ssize_t length;
	int server, sending = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: %s PATH\n", argv[0]);
		return 2;
	}
	server = unix_stream_connect(argv[1], 0);
	if (server < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], unix_ss_strerror(server, errno));
		return 1;
	}
	/* Both directions at once: a server that answers while we still send would block otherwise. */
	for (;;) {
		struct pollfd ready[] = {
			{ .fd = server, .events = POLLIN },
			{ .fd = sending ? STDIN_FILENO : -1, .events = POLLIN },
		};

		if (poll(ready, 2, -1) < 0)
			return 1;
		if (ready[0].revents) {
			if ((length = read(server, buffer, sizeof(buffer))) <= 0)
				return length < 0;
			if (write_all(STDOUT_FILENO, buffer, length))
				return 1;
		}
		if (ready[1].revents) {
			length = read(STDIN_FILENO, buffer, sizeof(buffer));
			sending = length > 0 && !write_all(server, buffer, length);
			if (!sending)
				shutdown(server, SHUT_WR); /* the server sees our end, and still answers */
		}
	}
}
