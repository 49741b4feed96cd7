"""TCP ports that nobody listens at."""

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Returns ports of this machine that are free at this moment, each another one.

    Nothing keeps them free: another process may take one before a worker does, which then ends; a new attempt asks for
    new ports.

    Args:
        count: How many.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:  # all are held until the last one has its port
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]
