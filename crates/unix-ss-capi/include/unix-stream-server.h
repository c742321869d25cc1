/*
 * unix-stream-server.h - put a server behind a Unix domain socket without
 * races, thefts, stale files or lost clients.
 *
 * A Unix domain socket stays in the file system after its server is gone, so
 * a new server cannot tell a live one from cruft, and deleting the file to
 * bind again orphans whoever is alive. These functions hold "<path>.lock"
 * while they find out, replace only what is proven dead, tell later whether
 * the path was taken, and remove it at the end.
 *
 *	struct unix_stream_listen_opts opts = UNIX_STREAM_LISTEN_OPTS_INIT;
 *	struct unix_ss_socket *server;
 *	int result = unix_ss_create("/run/me/s", &opts, -1, &server);
 *
 *	if (result) {
 *		fprintf(stderr, "%s\n", unix_ss_strerror(result, errno));
 *		return 1;		// result == -2: a server lives there
 *	}
 *	while (!unix_ss_was_stolen(server))
 *		serve(accept(server->fd_socket, NULL, NULL));
 *	unix_ss_free(server);
 *
 * Link with -lunix_ss, or as "pkg-config --cflags --libs unix-ss" says; or name
 * the static library, libunix_ss.a.
 *
 *
 * Rules for all functions
 *
 * Errors	Functions that fail say so by their result and errno. Where a
 *		condition and its errno are listed, the errno is just that one,
 *		also after what the failure made them clean up. On an error
 *		nothing on disk has changed, but that a socket which was proven
 *		dead may be gone. A text for people, with the path, the holder
 *		and the remedy: unix_ss_strerror(), called next in that thread.
 * Waiting	Only for the lock, up to the timeout, in the functions that
 *		create and in unix_ss_free() and the first unix_ss_drain(); and
 *		in unix_stream_connect() for room in the server's backlog.
 * Threads	All functions may be called in any thread at any time. For one
 *		server, only unix_ss_free() must be alone and the last. No
 *		function is a cancellation point: a thread that is cancelled
 *		ends its call first. That is of deferred cancellation, the
 *		default; where it is asynchronous, none may be called.
 * Fork		A child that has inherited a server may call unix_ss_free():
 *		that gives back the child's memory and descriptors, and the
 *		parent's server lives on, with its path. (Not the descriptors
 *		if another thread of the parent was in its first
 *		unix_ss_drain() at the fork: then the child has the listener
 *		open until it ends or calls exec.) unix_ss_drain() is
 *		refused there. So become a daemon first, then create: a child
 *		that serves on when its parent has ended leaves the path behind.
 * Signals	No function may be called in a signal handler. None sets one.
 *		A call that a signal interrupts goes on.
 * Memory	Where there is none for what the caller is given, that is
 *		ENOMEM. For the small and passing needs of the library itself
 *		(a path, a text) the process is ended by abort(), as Rust
 *		programs are.
 * Process	Nothing belonging to the whole process is changed: no umask,
 *		working directory, signal, environment, atexit(), thread. All
 *		descriptors are close-on-exec.
 * Paths	Up to 4,095 bytes, with up to 255 in the last component, though
 *		a socket address takes only 107 (needs /proc for more). On
 *		systems other than Linux, for which this was only type-checked,
 *		only what an address takes: 103, on illumos 107. A
 *		relative path means the working directory of the call; a later
 *		chdir() does no harm. In the functions that create, the last
 *		component is never followed: a symbolic link is ENOTSOCK.
 *
 *
 * What differs from git's functions of the same names, and why
 *
 * The names, types and results are git's, and git itself can be linked with
 * this library in place of its own two object files. The two also respect each
 * other's locks: where git's own implementation is at work on a path, this one
 * waits or fails, and the other way round. But, with git's own:
 *
 * - a starter killed in the middle leaves a lock that blocks every later
 *   start. Here a killed holder's lock is taken over, at once.
 * - any error of the probe (no permission, no descriptors) counts as a dead
 *   server, which is then deleted. Here only a socket that refuses, on a file
 *   system where that proves something, is dead; what is unclear is an error.
 * - a regular file, fifo or symbolic link at the path is deleted. Here it is
 *   left alone: ENOTSOCK.
 * - a server with a full backlog hangs the next starter, lock in hand, for
 *   ever. Here it is in use.
 * - a path too long for an address is handled by chdir(), which belongs to the
 *   whole process; "disallow_chdir" forbids that. Here chdir() is never needed
 *   and "disallow_chdir" only keeps its error for those who count on it.
 * - a relative path and a chdir() make a server look stolen; a forked child's
 *   free deletes its parent's socket; descriptors leak into started programs.
 *   None of that here.
 * - closing checks and unlinks without the lock, so a successor's socket can be
 *   deleted. Here it happens under the lock.
 */
#ifndef UNIX_STREAM_SERVER_H
#define UNIX_STREAM_SERVER_H

#include <sys/types.h>
#include <sys/stat.h>

/* "struct stat" must be the one that the library was built with. */
#if defined(__GLIBC__) && defined(__WORDSIZE) && __WORDSIZE == 32 && \
	!(defined(_FILE_OFFSET_BITS) && _FILE_OFFSET_BITS == 64)
#error "unix-stream-server.h needs -D_FILE_OFFSET_BITS=64 on 32-bit systems"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header. */
#define UNIX_SS_VERSION "0.1.0"
#define UNIX_SS_VERSION_MAJOR 0
#define UNIX_SS_VERSION_MINOR 1
#define UNIX_SS_VERSION_PATCH 0

/*
 * Options for a listening socket. Begin with UNIX_STREAM_LISTEN_OPTS_INIT.
 */
struct unix_stream_listen_opts {
	/*
	 * How many clients may wait to be accepted; the kernel cuts it to
	 * net.core.somaxconn. 0 or less: as many as the kernel allows.
	 */
	int listen_backlog_size;

	/*
	 * Set: a path of 108 bytes or more is an error, ENAMETOOLONG, though
	 * it would work. See "What differs" above.
	 */
	unsigned int disallow_chdir:1;
};

#define UNIX_STREAM_LISTEN_OPTS_INIT { 0, 0 }

/*
 * A server socket. To be read, not written: and fd_socket not to be closed,
 * shut down or made to listen anew. accept(), poll() and fcntl() are fine. It is
 * made and freed by the functions below only; there is more behind it.
 */
struct unix_ss_socket {
	/* The path as it was given to unix_ss_create(). */
	char *path_socket;

	/* The socket's file as it was when it was created. */
	struct stat st_socket;

	/* The listening socket. */
	int fd_socket;
};

/*
 * Creates a server socket at "path".
 *
 * Takes "<path>.lock", waiting for it at most "timeout_ms" milliseconds
 * (negative: 100; 0: tries once). If a socket is at "path" already, asks by
 * connecting to it whether its server lives: a live server sees one client that
 * leaves without a word. A dead socket is replaced. The new one has the mode
 * that the umask leaves of 0777, and listens when this returns; the lock is
 * given back.
 *
 * The lock is held for microseconds, and a live server at the path is
 * recognised without it. So the timeout is only used up by a holder that is
 * paused, or by another program's lock file.
 *
 * Returns
 *   0	*server_socket is the new server, to be given to unix_ss_free().
 *  -2	and errno EADDRINUSE: in use. A server lives there, be it a stream,
 *	datagram or seqpacket one, or one with a full backlog; or somebody who
 *	ignores the lock took the path while we tried.
 *  -1	and errno:
 *	EEXIST		the lock was not had in time
 *	ENOTSOCK	something that is no socket is at the path, a symbolic
 *			link included; it was not touched
 *	EACCES		it cannot be told whether a server lives there: we may
 *			not connect to it, the file system may be shared with
 *			other hosts, or /proc is missing; or the directory may
 *			not be searched or written, or another user has left
 *			a lock behind
 *	EMFILE, ENFILE, ENOMEM, ENOBUFS
 *			no descriptor or memory, be it to ask or to create
 *	ENAMETOOLONG	the path is beyond the system's limits; with
 *			disallow_chdir, it has 108 bytes or more
 *	ENOENT, ENOTDIR, EROFS, ENOSPC, ...
 *			from the system call: the directory is missing, is
 *			none, cannot be written, is full
 *	EINVAL		a NULL argument; an empty path, or one that ends in
 *			"/", "." or "..", or in ".<32 hex digits>.new", a
 *			temporary name of take-overs
 *	ESTALE		a directory or symbolic link above changed meanwhile, or
 *			the new socket or its lock was deleted at once
 *
 * Whenever it does not return 0, *server_socket is NULL.
 */
int unix_ss_create(const char *path,
		   const struct unix_stream_listen_opts *opts,
		   long timeout_ms,
		   struct unix_ss_socket **server_socket);

/*
 * Closes the server and frees it. Removes its path, if that still leads to it,
 * under the lock, waiting for that as long as the creation was to, and at least
 * 100 ms; if the lock is not had, a dead socket stays, which the next start
 * replaces. Clients that were not accepted yet are reset: see unix_ss_drain().
 *
 * NULL is fine. errno is left as it was.
 */
void unix_ss_free(struct unix_ss_socket *server_socket);

/*
 * Does the path no longer lead to this server? Costs one fstatat().
 *
 * Returns 1 if it was deleted, moved away or replaced; 0 if not, if it cannot be
 * told, or for NULL. It is never fooled by a reused inode number, a chdir() or a
 * renamed directory above. During unix_ss_drain(), when the path has been given
 * up: whether it had been lost before. errno is left as it was.
 *
 * A server that was stolen gets no new clients; those queued are still its own.
 */
int unix_ss_was_stolen(struct unix_ss_socket *server_socket);

/*
 * Connects to the server at "path", following symbolic links. On a full backlog
 * it waits until there is room, for as long as that takes.
 *
 * Returns the connected descriptor, blocking; or -1 and errno: ENOENT if nothing
 * is there, ECONNREFUSED if nobody listens, ENOTSOCK if it is not a socket,
 * EACCES without write permission for it, EPROTOTYPE for a datagram or seqpacket
 * socket, EINVAL and ENAMETOOLONG as above, or that of the system call.
 */
int unix_stream_connect(const char *path, int disallow_chdir);

/*
 * Creates a listening socket at "path" and leaves it to the caller, who also
 * removes the path. Takes the lock as unix_ss_create() does, for at most 100 ms,
 * replaces a dead socket, and refuses everything else.
 *
 * For a caller with a scheme of its own. One that holds "<path>.lock" itself
 * gets EEXIST.
 *
 * Returns the listening descriptor; or -1 and errno: EADDRINUSE if the path is in
 * use, or as for unix_ss_create().
 */
int unix_stream_listen(const char *path,
		       const struct unix_stream_listen_opts *opts);

/*
 * What follows is not git's.
 */

/* What stands at a path. */
enum unix_ss_state {
	UNIX_SS_ABSENT = 0,	/* nothing, or a link that leads to nothing */
	UNIX_SS_DEAD = 1,	/* a socket that nobody listens on */
	UNIX_SS_LIVE = 2,	/* a server that accepts connections */
	UNIX_SS_BUSY = 3,	/* a live one, whose backlog is full */
	UNIX_SS_OTHER_TYPE = 4,	/* a live datagram or seqpacket socket */
	UNIX_SS_NOT_A_SOCKET = 5
};

/* Who listens. The pid is a hint; the uid is what rules should check. */
struct unix_ss_peer {
	pid_t pid;	/* 0: unknown */
	uid_t uid;	/* (uid_t)-1: unknown */
	gid_t gid;	/* (gid_t)-1: unknown */
};

/*
 * Tells what stands at "path", following symbolic links, and who listens there.
 * "peer" may be NULL; it is filled in whatever the result, and known only of a
 * live server.
 *
 * Asks by connecting, which starts on-demand servers. The answer is of that
 * moment: do not act on UNIX_SS_DEAD, unix_ss_create() does so under the lock.
 *
 * Returns an enum unix_ss_state; or -1 and errno if it cannot be told: EACCES
 * without permission, EMFILE, ...; ECONNREFUSED if it refuses on a file system
 * where that proves nothing; EINVAL, ENAMETOOLONG for a path that can name no
 * socket.
 */
int unix_ss_probe(const char *path, struct unix_ss_peer *peer);

/*
 * Ends a server without losing a client. The first call removes the path, as
 * unix_ss_free() does, lets nobody in any more and wakes those who wait in
 * connect() for room. Each call then hands out one of the clients that were
 * queued:
 *
 *	while ((client = unix_ss_drain(server)) >= 0)
 *		serve(client);
 *	unix_ss_free(server);
 *
 * Where the lock is not had in time the path stays, as a dead socket that the next
 * start replaces; the clients are handed out all the same.
 *
 * Never waits for a client. Threads that are blocked in accept(fd_socket) get the
 * rest of the queue as well, and then EINVAL.
 *
 * Returns a connected descriptor, blocking, the caller's to close; or -1 and errno:
 *	EAGAIN		they have all been handed out
 *	EMFILE, ENFILE, ENOMEM, ENOBUFS
 *			not now; the client is still queued
 *	EPERM		this is a forked child
 *	EINVAL		NULL
 */
int unix_ss_drain(struct unix_ss_socket *server_socket);

/*
 * A line for people on what a function here has returned, with its errno: which
 * path, why, who holds it, what to do. For the last failure in this thread it
 * knows all that; for others, what can be said of "error" in general.
 *
 * The text is the thread's own and stays until the thread's next call of this
 * function. Never NULL. errno is left as it was.
 */
const char *unix_ss_strerror(int result, int error);

#ifdef __cplusplus
}
#endif

#endif /* UNIX_STREAM_SERVER_H */
