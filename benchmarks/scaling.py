"""Speed of the DS pre-training step on one and on several devices of this machine, in one run.

    python benchmarks/scaling.py --json scaling.json
    python benchmarks/scaling.py --weak --replicas 2 4 8 --workers 2 4 8 --json weak.json

Without options: ResNet-18, a global batch of 64, 5 attack steps, float32; one replica, 2 replicas of one process
(MirroredStrategy) and 2 workers (MultiWorkerMirroredStrategy, in the environment that `acl-tf launch` gives them). The
global batch is the same for all (strong scaling), or with `--weak` the batch of each replica. All take turns.

With GPUs every replica has one; more replicas than GPUs are left out. Without, the replicas of a process are logical
devices of the CPU and use all its cores; W workers have cores // W threads each. `efficiency` is the rate over that of
as many single replicas. On a CPU these are limited to cores // R threads likewise, so that it tells what the strategy
costs, and not how many cores there are; that limited replica has a row of its own.
"""

import argparse
import dataclasses
import os
import statistics
import sys
from collections.abc import Iterator
from typing import Any

from devices import cores, tensorflow_device
from rows import Column, column, parser, report
from step_case import StepCase
from turns import Built, Case, take_turns

from acl_tf.errors import UsageError
from acl_tf.launch.environments import devices, environments
from acl_tf.launch.gpus import visible_gpus


@dataclasses.dataclass(frozen=True)
class ScalingCase:
    """A step that replicas share, from the view of one of its processes.

    Attributes:
        step: Step with the global batch.
        strategy: Name of the strategy: `none`, `mirrored` or `multiworker`.
        replicas: Number of replicas that share the step.
        devices: Value of `acl-tf pretrain --devices`.
        variables: Environment variables to set before TensorFlow starts.
    """

    step: StepCase
    strategy: str = "none"
    replicas: int = 1
    devices: str | None = None
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def threads(self) -> int | None:
        """Limit on the threads of each process, or None."""
        limit = dict(self.variables).get("TF_NUM_INTRAOP_THREADS")
        return None if limit is None else int(limit)


# The case as each of its processes gets it.
Team = tuple[ScalingCase, ...]


def main() -> None:
    """Times all cases and prints the table."""
    arguments = parse()
    cases: list[Case[ScalingCase]] = take_turns(build_step, wanted(arguments), arguments.rounds)
    rows = [row(case, cases, arguments.weak) for case in cases]
    first = rows[0]
    title = (
        f"DS step: {first['arch']}, width {first['width']:g}, {first['attack_steps']} attack steps, "
        f"{first['precision']}, {first['device_name']} ({first['device']}), {first['scaling']} scaling"
    )
    report(title, COLUMNS, rows, arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("--replicas", type=int, nargs="*", default=[2], help="of one process (default: 2)")
    options.add_argument("--workers", type=int, nargs="*", default=[2], help="processes (default: 2)")
    options.add_argument("--weak", action="store_true", help="as many images for each replica, instead of in all")
    options.add_argument("--arch", default="resnet18")
    options.add_argument("--width", type=float, default=1.0)
    options.add_argument("--batch-size", type=int, default=64, help="the global one; with --weak that of a replica")
    options.add_argument("--steps", type=int, default=5, help="of the attack")
    options.add_argument("--precision", default="float32")
    options.add_argument("--rounds", type=int, default=3, help="timed steps of each case")
    arguments = options.parse_args()
    counts = [*arguments.replicas, *arguments.workers]
    if any(count < 2 for count in counts):
        options.error("--replicas and --workers take numbers from 2 on; 1 is always there")
    if not arguments.weak and any(arguments.batch_size % count for count in counts):
        options.error(f"--batch-size must be divisible by all of {counts}. Received: {arguments.batch_size}")
    try:
        step_of(arguments, 1).config()
    except UsageError as error:
        options.error(str(error))
    return arguments


def wanted(arguments: argparse.Namespace) -> Iterator[Team]:
    """Yields the cases: single replicas, then several replicas of one process, then workers."""
    gpus = len(visible_gpus(os.environ))
    replicas, workers = possible(arguments.replicas, gpus), possible(arguments.workers, gpus)
    one = ScalingCase(step_of(arguments, 1))
    yield (one,)
    if not gpus:
        limited = [dataclasses.replace(one, variables=limits(share)) for share in sorted({*replicas, *workers})]
        yield from ((each,) for each in dict.fromkeys(limited))
    for count in replicas:
        own = str(count) if gpus else f"cpu:{count}"
        yield (ScalingCase(step_of(arguments, count), "mirrored", count, own),)
    for count in workers:
        case = ScalingCase(step_of(arguments, count), "multiworker", count)
        variables = environments({}, devices(os.environ, count))  # on ports that are free when the workers start
        yield tuple(dataclasses.replace(case, variables=tuple(each.items())) for each in variables)


def possible(counts: list[int], gpus: int) -> list[int]:
    """Returns the numbers of replicas for which there are GPUs, or all numbers on a machine without GPUs."""
    if missing := [count for count in counts if 0 < gpus < count]:
        print(f"Left out, for there are {gpus} GPUs: {missing} replicas", file=sys.stderr)
    return [count for count in counts if count not in missing]


def limits(share: int) -> tuple[tuple[str, str], ...]:
    """Returns the variables that limit a process to one of a number of equal shares of the cores."""
    return tuple(devices(os.environ, share)[0].items())


def step_of(arguments: argparse.Namespace, replicas: int) -> StepCase:
    """Returns the step that a number of replicas shares."""
    batch_size = arguments.batch_size * (replicas if arguments.weak else 1)
    return StepCase("acl_tf", arguments.precision, arguments.arch, arguments.width, batch_size, arguments.steps)


def build_step(spec: ScalingCase) -> Built:
    """Builds the step of one process."""
    os.environ.update(spec.variables)

    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    import acl_tf_step

    from acl_tf.training.hardware import Hardware
    from acl_tf.training.strategy import build_strategy
    from acl_tf.training.workers import Workers

    workers = Workers(build_strategy(Hardware(strategy=spec.strategy, devices=spec.devices)))
    device, name = tensorflow_device()
    one = (f"/device:{device}:0",)  # TensorFlow's default strategy does not tell
    places = one if spec.strategy == "none" else workers.strategy.extended.worker_devices
    names = [f"{place} ({name})" for place in places]
    step, _ = acl_tf_step.build_step(spec.step.config(), workers)
    return Built(step, device, lambda: {"devices": names, "device_name": name})


def row(case: Case[ScalingCase], cases: list[Case[ScalingCase]], weak: bool) -> dict[str, Any]:
    """Returns the measurements of a case, and its efficiency."""
    spec = case.spec
    reference = reference_of(case, cases)
    return {
        "framework": spec.step.framework,
        "precision": spec.step.precision,
        "arch": spec.step.arch,
        "width": spec.step.width,
        "attack_steps": spec.step.attack_steps,
        "scaling": "weak" if weak else "strong",
        "strategy": spec.strategy,
        "replicas": spec.replicas,
        "workers": spec.replicas if spec.strategy == "multiworker" else 1,
        "threads": spec.threads,
        "batch_size": spec.step.batch_size,
        "batch_per_replica": spec.step.batch_size // spec.replicas,
        "images_per_second": round(rate(case), 3),
        "seconds_per_step": [round(seconds, 4) for seconds in case.seconds],
        "first_call_seconds": round(case.first_seconds, 2),
        "efficiency": round(rate(case) / (spec.replicas * rate(reference)), 3),
        "efficiency_against": {"replicas": 1, "threads": reference.spec.threads},
        "devices": [device for about in case.about for device in about["devices"]],
        "cores": cores(),
        "device": case.device,
        "device_name": case.about[0]["device_name"],
    }


def reference_of(case: Case[ScalingCase], cases: list[Case[ScalingCase]]) -> Case[ScalingCase]:
    """Returns the case of a single replica with the same share of the machine as each replica of a case."""
    if case.spec.replicas == 1:
        return case
    limited = limits(case.spec.replicas) if case.device == "CPU" else ()
    return next(one for one in cases if one.spec.replicas == 1 and one.spec.variables == limited)


def rate(case: Case[ScalingCase]) -> float:
    """Returns the images per second of the median step."""
    return case.spec.step.batch_size / statistics.median(case.seconds)


COLUMNS = [
    column("strategy", "strategy"),
    column("replicas", "replicas"),
    column("threads", "threads"),
    column("batch", "batch_size"),
    column("images/s", "images_per_second", ".2f"),
    Column("efficiency %", lambda row: 100 * row["efficiency"], ".0f"),
]


if __name__ == "__main__":
    main()
