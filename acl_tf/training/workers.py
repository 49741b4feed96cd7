"""The processes that share a command: one, or the workers of a cluster, which do the same and agree where they must."""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from acl_tf.config import CommandConfig
from acl_tf.errors import AclTfError, ClusterError
from acl_tf.versions import versions

# What TensorFlow raises where a peer is gone, and what it then makes of other collectives.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
    tf.errors.DeadlineExceededError,
)

# How many numbers workers compare; always as many, so that other versions of acl-tf can be told that they are others.
HANDSHAKE = 16


class Workers:
    """The processes of one training or evaluation.

    Every worker runs the same code; worker 0, the chief, alone writes files. With one process nothing is exchanged.

    Args:
        strategy: Strategy that the processes share; None: TensorFlow's default, one device of this process.

    Attributes:
        strategy: The strategy.
        count: Number of processes.
        index: Number of this process; 0 is the chief.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self._add = tf.function(self._sum_over_workers)
        self.count, self.index = 1, 0
        resolver = self.strategy.cluster_resolver
        if isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy) and resolver.cluster_spec():
            spec = resolver.cluster_spec().as_dict()
            order = [(job, number) for job in ("chief", "worker") for number in range(len(spec.get(job, ())))]
            self.count, self.index = len(order), order.index((resolver.task_type, resolver.task_id))

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what the workers produce."""
        return self.index == 0

    @property
    def replicas(self) -> int:
        """Number of devices that share a step."""
        return self.strategy.num_replicas_in_sync

    def described(self) -> dict[str, Any]:
        """Returns what `run.json` says of them."""
        name = "multiworker" if self.count > 1 else "mirrored" if self.replicas > 1 else "none"
        return {"strategy": name, "replicas": self.replicas, "workers": self.count}

    def gather(self, numbers: Sequence[int]) -> np.ndarray:
        """Returns the numbers of every worker, int64 of shape `(count, len(numbers))`; all must give as many."""
        mine = np.asarray(numbers, np.int64)
        if self.count == 1:
            return mine[np.newaxis]
        rows = np.zeros((self.count, len(mine)), np.int64)
        rows[self.index] = mine
        return self._summed([rows])[0]

    def from_chief(self, arrays: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Returns arrays that the chief alone computes; raises as `together` where it fails."""
        if self.count == 1:
            return list(arrays())
        buffer = io.BytesIO()
        with self.together():
            if self.is_chief:
                np.savez(buffer, *arrays())
        (length,) = self.gather([buffer.tell()])[0]
        content = np.zeros(length, np.int32)
        if self.is_chief:
            content[:] = np.frombuffer(buffer.getvalue(), np.uint8)
        received = self._summed([content])[0].astype(np.uint8).tobytes()
        with np.load(io.BytesIO(received), allow_pickle=False) as stored:
            return [stored[f"arr_{number}"] for number in range(len(stored.files))]

    def share_state(self, variables: Iterable[tf.Variable]) -> None:
        """Gives all workers the values that the chief's variables have."""
        variables = list(variables)
        if self.count > 1 and variables:
            values = [tf.convert_to_tensor(variable) for variable in variables]
            shared = self._summed([value if self.is_chief else tf.zeros_like(value) for value in values])
            for variable, value in zip(variables, shared, strict=True):
                variable.assign(value)

    def highest(self, number: int) -> int:
        """Returns the highest of the workers' numbers."""
        return int(self.gather([number]).max())

    def wait(self) -> None:
        """Returns once every worker has come here."""
        self.gather([0])

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Leaves a block only if every worker comes through it; in the block none may wait for another.

        Making a variable in the strategy's scope is such a waiting.

        Raises:
            AclTfError: What this worker raised in the block.
            ClusterError: If another one did.
        """
        failure: AclTfError | OSError | None = None
        try:
            yield
        except (AclTfError, OSError) as error:
            failure = error
        if self.count > 1:
            self._exchange(failure)
        if failure is not None:
            raise failure

    @contextlib.contextmanager
    def agreement(self, config: CommandConfig) -> Iterator[dict[str, Any]]:
        """Prepares something in every worker, as `together` does, and checks that all are to do the same.

        Args:
            config: Configuration of the command; only the place of the images may differ.

        Yields:
            What else must be equal, to be filled in the block: `images` and `plugins`, any JSON values.

        Raises:
            AclTfError: What this worker raised in the block.
            ClusterError: If another one did, or if they differ.
        """
        same: dict[str, Any] = {}
        with self.together():
            yield same
        compared = _compared(config, same)
        rows = self._exchange(None, [_number(value) for value in compared.values()])
        for column, (what, value) in enumerate(compared.items()):
            others = np.flatnonzero(rows[:, column] != rows[self.index, column])
            if len(others):
                received = f", here {value}" if what.startswith("version") else ""
                raise ClusterError(
                    f"All workers must have the same {what}; start them with the same command and environment. "
                    f"Received: another one in worker {others[0]} than in worker {self.index}{received}"
                )

    def _exchange(self, failure: Exception | None, numbers: Sequence[int] = ()) -> np.ndarray:
        """Returns the numbers of all workers; raises this one's failure, or else that another one has failed."""
        code = getattr(failure, "exit_code", 1) if failure else 0
        try:
            rows = self.gather([code, *numbers, *[0] * (HANDSHAKE - 1 - len(numbers))])
        except ClusterError:
            if failure is not None:  # what is gone is gone; this is why
                raise failure from None
            raise
        if failure is not None:
            raise failure
        failed = np.flatnonzero(rows[:, 0])
        if len(failed):
            message = f"Worker {failed[0]} of {self.count} has failed; its own output says why."
            raise ClusterError(message, int(rows[failed[0], 0]))
        return rows[:, 1:]

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Says in one line that workers have lost one another, which TensorFlow says in many."""
        try:
            yield
        except LOST as error:
            if self.count == 1:
                raise
            raise ClusterError(
                f"Worker {self.index} of {self.count} has lost another one, or cannot go on itself. Start all of them "
                f"again with --resume; the output of the one that ended first says why. Received: {_reason(error)}"
            ) from error

    def _summed(self, values: Sequence[Any]) -> list[np.ndarray]:
        """Returns the sums of the workers' values."""
        tensors = [tf.convert_to_tensor(value) for value in values]
        with self.watched():
            # Calls the graph: TensorFlow would warn that values of many shapes are traced too often.
            results = self._add.get_concrete_function(tensors)(tensors)
            return [self.strategy.experimental_local_results(result)[0].numpy() for result in results]

    def _sum_over_workers(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        first = self.index * self.replicas // self.count  # the first replica of each worker gives its values

        def of_replica() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            mine = tf.equal(context.replica_id_in_sync_group, first)
            return [context.all_reduce("SUM", tf.where(mine, value, tf.zeros_like(value))) for value in values]

        return self.strategy.run(of_replica)


def _compared(config: CommandConfig, same: dict[str, Any]) -> dict[str, Any]:
    """Returns what must be equal in all workers, by name."""
    own = versions()
    configuration = config.model_dump(mode="json", exclude={"data": {"data_dir"}})
    return {
        **{f"version of {name}": own[name] for name in ("acl_tf", "tensorflow", "keras")},
        "configuration": [config.command, configuration],
        "images": same.get("images"),
        "plug-ins": same.get("plugins"),
    }


def _number(value: Any) -> int:
    """Returns 62 bits that tell a JSON value from every other."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def _reason(error: tf.errors.OpError) -> str:
    """Returns the first line of a message that says more than where in the graph it happened."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Graph execution error", "Detected at", "File "))]
    return (telling or [type(error).__name__])[0][:200]
