#!/usr/bin/env python3
"""An echo server and its client in Python, through ctypes.

    python3 echo.py serve /tmp/echo.sock     until SIGTERM or ^C, or until its path is taken
    echo hello | python3 echo.py ask /tmp/echo.sock

The library is found by the dynamic linker, or named by LIBUNIX_SS.
"""

import ctypes
import os
import platform
import signal
import socket
import sys

# sizeof(struct stat), which ctypes does not know: Linux on 64-bit machines.
STAT_SIZE = 144 if platform.machine() == "x86_64" else 128


class ListenOpts(ctypes.Structure):
    _fields_ = [("listen_backlog_size", ctypes.c_int), ("disallow_chdir", ctypes.c_uint, 1)]


class Server(ctypes.Structure):
    _fields_ = [("path_socket", ctypes.c_char_p),
                ("st_socket", ctypes.c_char * STAT_SIZE),
                ("fd_socket", ctypes.c_int)]


SERVER = ctypes.POINTER(Server)
lib = ctypes.CDLL(os.environ.get("LIBUNIX_SS", "libunix_ss.so.0"), use_errno=True)
lib.unix_ss_create.argtypes = [
    ctypes.c_char_p, ctypes.POINTER(ListenOpts), ctypes.c_long, ctypes.POINTER(SERVER)]
lib.unix_ss_was_stolen.argtypes = [SERVER]
lib.unix_ss_drain.argtypes = [SERVER]
lib.unix_ss_free.argtypes = [SERVER]
lib.unix_ss_free.restype = None
lib.unix_stream_connect.argtypes = [ctypes.c_char_p, ctypes.c_int]
lib.unix_ss_strerror.restype = ctypes.c_char_p


def check(result):
    """The result, or the end with what the library says of it."""
    if result < 0:
        sys.exit(os.fsdecode(lib.unix_ss_strerror(result, ctypes.get_errno())))
    return result


def echo(client):
    with client:
        while data := client.recv(4096):
            client.sendall(data)


def serve(path):
    server = SERVER()
    check(lib.unix_ss_create(path, ListenOpts(), -1, ctypes.byref(server)))
    listener = socket.socket(fileno=os.dup(server.contents.fd_socket))
    listener.settimeout(1)
    ended = False

    def end(*_):
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while not ended and not lib.unix_ss_was_stolen(server):
        try:
            echo(listener.accept()[0])
        except TimeoutError:
            pass  # once a second: are we to end, is the path still ours?
    listener.close()
    while (client := lib.unix_ss_drain(server)) >= 0:
        echo(socket.socket(fileno=client))
    lib.unix_ss_free(server)


def ask(path):
    with socket.socket(fileno=check(lib.unix_stream_connect(path, 0))) as server:
        server.sendall(sys.stdin.buffer.read())
        server.shutdown(socket.SHUT_WR)
        while data := server.recv(4096):
            sys.stdout.buffer.write(data)


if len(sys.argv) != 3 or sys.argv[1] not in ("serve", "ask"):
    sys.exit(__doc__)
{"serve": serve, "ask": ask}[sys.argv[1]](os.fsencode(sys.argv[2]))
