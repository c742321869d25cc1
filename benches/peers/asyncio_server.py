# For each line with a count on standard input: that many servers by asyncio.start_unix_server, and the nanoseconds.
import asyncio
import os
import sys
import time


async def main(path):
    for line in sys.stdin:
        total = 0
        for _ in range(int(line)):
            start = time.monotonic_ns()
            server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
            total += time.monotonic_ns() - start
            server.close()
            await server.wait_closed()
            # Since Python 3.13 asyncio removes the socket itself.
            if os.path.exists(path):
                os.unlink(path)
        print(total, flush=True)


asyncio.run(main(sys.argv[1]))
