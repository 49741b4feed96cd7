"""Free TCP ports."""

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Returns different ports of this machine that are free at this moment.

    They are not reserved: if another process takes one before a worker does, the worker fails, and a new attempt gets
    new ports.

    Args:
        count: Number of ports.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:  # all are held until the last one has its port
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]
