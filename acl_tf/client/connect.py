"""Choice of the client for the address of a model."""

import os

from acl_tf.client.address import Address
from acl_tf.client.server import Server


def connect(address: Address, timeout: float) -> Server:
    """Returns a client for the server of a model, without sending anything.

    Args:
        address: Address of the model.
        timeout: Seconds to wait for an answer.
    """
    if address.scheme.startswith("http"):
        from acl_tf.client.rest import RestServer

        return RestServer(address, timeout)
    from acl_tf.startup import start_tensorflow

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when gRPC is imported; our messages report its failures
    start_tensorflow()  # gRPC's messages contain tensors of TensorFlow

    from acl_tf.client.rpc import RpcServer

    return RpcServer(address, timeout)
