"""Free ports on loopback."""

import random
import socket

# Below the range that the kernel hands out to clients: a restarted server finds its port still free.
_FIRST, _LAST = 20000, 32000


def free(count: int) -> list[int]:
    """Return ports that nobody listens on; drawn at random, because several of us may choose at once."""
    drawn = random.sample(range(_FIRST, _LAST), k=200)
    return [port for port in drawn if _is_free(port)][:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
