/*
 * The header's functions the way they are commonly written: a lock file whose
 * existence is the lock, any failed connect() is a dead server, unlink, bind.
 * Not a library: the contract must find its faults (see ../contract.rs).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unix-stream-server.h"

static int open_socket(const char *path, struct sockaddr_un *address)
{
	if (strlen(path) >= sizeof(address->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, path);
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

int unix_stream_connect(const char *path, int disallow_chdir)
{
	struct sockaddr_un address;
	int fd = open_socket(path, &address);

	(void)disallow_chdir;
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int unix_stream_listen(const char *path, const struct unix_stream_listen_opts *opts)
{
	struct sockaddr_un address;
	int fd;

	unlink(path);
	fd = open_socket(path, &address);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, opts->listen_backlog_size))
		return -1;
	return fd;
}

int unix_ss_create(const char *path, const struct unix_stream_listen_opts *opts, long timeout_ms,
		   struct unix_ss_socket **server_socket)
{
	char lock[4096];
	int fd, client, tries = timeout_ms < 0 ? 100 : timeout_ms;

	*server_socket = NULL;
	snprintf(lock, sizeof(lock), "%s.lock", path);
	while ((fd = open(lock, O_CREAT | O_EXCL | O_WRONLY, 0666)) < 0) {
		if (errno != EEXIST || !tries--)
			return -1;
		usleep(1000);
	}
	close(fd);
	client = unix_stream_connect(path, opts->disallow_chdir);
	if (client >= 0) {
		close(client);
		unlink(lock);
		errno = EADDRINUSE;
		return -2;
	}
	fd = unix_stream_listen(path, opts);
	if (fd >= 0) {
		*server_socket = calloc(1, sizeof(**server_socket));
		(*server_socket)->path_socket = strdup(path);
		(*server_socket)->fd_socket = fd;
		lstat(path, &(*server_socket)->st_socket);
	}
	unlink(lock);
	return fd < 0 ? -1 : 0;
}

int unix_ss_was_stolen(struct unix_ss_socket *server)
{
	struct stat now;

	if (!server)
		return 0;
	return lstat(server->path_socket, &now) || now.st_ino != server->st_socket.st_ino;
}

void unix_ss_free(struct unix_ss_socket *server)
{
	if (!server)
		return;
	if (!unix_ss_was_stolen(server))
		unlink(server->path_socket);
	close(server->fd_socket);
	free(server->path_socket);
	free(server);
}
