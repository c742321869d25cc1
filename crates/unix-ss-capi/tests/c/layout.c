/* What a C compiler makes of the header, as "name number" lines. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "unix-stream-server.h"

#define SIZE(type) printf("sizeof %s %zu\n", #type, sizeof(struct type))
#define OFFSET(type, member) printf("%s.%s %zu\n", #type, #member, offsetof(struct type, member))
#define VALUE(name) printf("%s %d\n", #name, name)

int main(void)
{
	struct unix_stream_listen_opts opts = UNIX_STREAM_LISTEN_OPTS_INIT;
	unsigned int bits;

	printf("init %d %d\n", opts.listen_backlog_size, opts.disallow_chdir);
	opts.disallow_chdir = 1;
	memcpy(&bits, (char *)&opts + sizeof(int), sizeof(bits));
	printf("disallow_chdir %u\n", bits);
	SIZE(unix_stream_listen_opts);
	SIZE(unix_ss_socket);
	OFFSET(unix_ss_socket, path_socket);
	OFFSET(unix_ss_socket, st_socket);
	OFFSET(unix_ss_socket, fd_socket);
	SIZE(stat);
	OFFSET(stat, st_dev);
	OFFSET(stat, st_ino);
	OFFSET(stat, st_mode);
	OFFSET(stat, st_nlink);
	OFFSET(stat, st_size);
	SIZE(unix_ss_peer);
	OFFSET(unix_ss_peer, pid);
	OFFSET(unix_ss_peer, uid);
	OFFSET(unix_ss_peer, gid);
	VALUE(UNIX_SS_ABSENT);
	VALUE(UNIX_SS_DEAD);
	VALUE(UNIX_SS_LIVE);
	VALUE(UNIX_SS_BUSY);
	VALUE(UNIX_SS_OTHER_TYPE);
	VALUE(UNIX_SS_NOT_A_SOCKET);
	printf("version %s %d.%d.%d\n", UNIX_SS_VERSION, UNIX_SS_VERSION_MAJOR, UNIX_SS_VERSION_MINOR,
	       UNIX_SS_VERSION_PATCH);
	return 0;
}
