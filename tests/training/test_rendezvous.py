import socket
import threading
import time

import pytest

from acl_tf.errors import ClusterError
from acl_tf.launch.ports import free_ports
from acl_tf.training.rendezvous import meet


def addresses(count: int) -> list[str]:
    return [f"localhost:{port}" for port in free_ports(count)]


def test_workers_that_come_one_after_the_other_meet():
    names = addresses(3)
    met: list[str] = []

    def come(own: str, delay: float) -> None:
        time.sleep(delay)
        meet(own, [name for name in names if name != own], 30)
        met.append(own)
        stay = socket.create_server(("", int(own.rsplit(":", 1)[1])))  # as TensorFlow's server does
        left.wait(30)
        stay.close()

    left = threading.Event()
    threads = [threading.Thread(target=come, args=(name, delay)) for name, delay in zip(names, (0.0, 0.3, 0.6))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 30
    while len(met) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    left.set()
    for thread in threads:
        thread.join(30)
    assert sorted(met) == sorted(names)


def test_the_one_that_does_not_come_is_named():
    own, present, absent = addresses(3)
    with socket.create_server(("", int(present.rsplit(":", 1)[1]))), pytest.raises(ClusterError) as error:
        meet(own, [present, absent], 0.5)
    assert str(error.value) == (
        f"1 of 3 workers did not come within 0.5 s (--startup-timeout). Received: no answer from {absent}"
    )


def test_a_port_in_use():
    (own,) = addresses(1)
    with socket.create_server(("", int(own.rsplit(":", 1)[1]))), pytest.raises(ClusterError) as error:
        meet(own, ["localhost:1"], 0.5)
    assert str(error.value) == (
        f"This worker cannot listen at its port: Address already in use; choose another one in TF_CONFIG. "
        f"Received: {own}"
    )


def test_a_port_that_is_none():
    with pytest.raises(ClusterError, match="cannot listen at its port"):
        meet("localhost:99999", ["localhost:1"], 0.5)


def test_the_port_is_free_afterwards():
    own, other = addresses(2)
    with socket.create_server(("", int(other.rsplit(":", 1)[1]))):
        meet(own, [other], 5)
    socket.create_server(("", int(own.rsplit(":", 1)[1]))).close()


def test_a_host_that_has_no_address():
    (own,) = addresses(1)
    with pytest.raises(ClusterError, match=r"no answer from nowhere\.invalid:2222"):
        meet(own, ["nowhere.invalid:2222"], 0.1)
