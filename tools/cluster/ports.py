"""Free ports on loopback."""

import random
import socket
from itertools import islice

# Below the range that the kernel hands out to clients: a restarted server finds its port still free.
_FIRST, _LAST = 20000, 32000


def free(count: int) -> list[int]:
    """Return ports that nobody listens on, drawn at random; no other of us is given them while this process lives."""
    drawn = random.sample(range(_FIRST, _LAST), k=200)
    return list(islice((port for port in drawn if _is_free(port) and _take(port)), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return _bind(probe, port)


def _take(port: int) -> bool:
    """Take the port of that number for datagrams, which none of us needs: several that choose at once never agree."""
    mark = socket.socket(type=socket.SOCK_DGRAM)
    if _bind(mark, port):
        mark.detach()  # the kernel closes it when the process ends
        return True
    mark.close()
    return False


def _bind(to_bind: socket.socket, port: int) -> bool:
    try:
        to_bind.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
