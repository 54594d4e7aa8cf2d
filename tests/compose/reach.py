"""What a host's own sockets reach, without segwatch: runs in a container, prints a word for each of the endpoints on stdin.

`open` and `refused` have crossed, `silent` has not been answered within the time.
"""

from __future__ import annotations

import asyncio
import json
import sys

WAIT_S, AT_A_TIME = 1.0, 400


async def reach(address: str, port: int, limit: asyncio.Semaphore) -> str:
    async with limit:
        try:
            async with asyncio.timeout(WAIT_S):
                _, writer = await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            return "refused"
        except (TimeoutError, OSError):
            return "silent"
        writer.close()
        return "open"


async def main() -> None:
    endpoints = json.load(sys.stdin)
    limit = asyncio.Semaphore(AT_A_TIME)
    print(json.dumps(await asyncio.gather(*(reach(address, port, limit) for address, port in endpoints))))


asyncio.run(main())
