"""From the address of a model to a client of its server."""

import os

from acl_tf.client.address import Address
from acl_tf.client.server import Server


def connect(address: Address, timeout: float) -> Server:
    """Makes a client; nothing is sent yet.

    Args:
        address: Of the model.
        timeout: Seconds to wait for an answer.
    """
    if address.scheme.startswith("http"):
        from acl_tf.client.rest import RestServer

        return RestServer(address, timeout)
    from acl_tf.startup import start_tensorflow

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when gRPC is imported; its failures are said by ours
    start_tensorflow()  # the messages of gRPC hold TensorFlow's tensors

    from acl_tf.client.rpc import RpcServer

    return RpcServer(address, timeout)
