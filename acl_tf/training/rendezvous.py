"""Workers that wait for one another before TensorFlow does, which waits without end and cannot be interrupted."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence

from acl_tf.errors import ClusterError

PAUSE = 0.2  # seconds between two tries


def meet(own: str, others: Sequence[str], seconds: float) -> None:
    """Listens at this worker's address until every other one has been seen at its own.

    Whoever has seen all goes on to TensorFlow, whose server then answers in its place.

    Args:
        own: Address of this worker, `host:port`.
        others: Addresses of the other workers.
        seconds: Time to wait.

    Raises:
        ClusterError: If the port is taken, or if the others do not appear in time.
    """
    missing, end = list(others), time.monotonic() + seconds
    with _listening(own):
        while missing := [address for address in missing if not _answers(address)]:
            if time.monotonic() > end:
                raise ClusterError(
                    f"{len(missing)} of {len(others) + 1} workers did not come within {seconds:g} s "
                    f"(--startup-timeout). Received: no answer from {', '.join(missing)}"
                )
            time.sleep(PAUSE)


@contextlib.contextmanager
def _listening(own: str) -> Iterator[None]:
    """Accepts connections at a port, on all interfaces, as TensorFlow's server does."""
    port = int(own.rsplit(":", 1)[1])
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise ClusterError(
            f"This worker cannot listen at its port: {reason}; choose another one in TF_CONFIG. Received: {own}"
        ) from error
    with server:
        yield


def _answers(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:  # not there yet
        return False
    return True
