import socket

from acl_tf.launch.ports import free_ports


def test_each_is_another_one_and_can_be_listened_at():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as server:
            server.bind(("", port))


def test_one_that_is_taken_is_not_given():
    with socket.socket() as server:
        server.bind(("", 0))
        assert server.getsockname()[1] not in free_ports(50)
