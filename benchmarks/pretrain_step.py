"""Speed and memory of the DS pre-training step, compared with two eager PyTorch steps, in one run.

    python benchmarks/pretrain_step.py --json step.json
    python benchmarks/pretrain_step.py --arch resnet18 resnet50 --width 0.5 1 --batch-size 16 64 256 --json sweep.json
    python benchmarks/pretrain_step.py --batch-size 128 --micro-batches 1 4 16 --one-by-one --no-pytorch --json mem.json
    python benchmarks/pretrain_step.py --jit --steps-per-call 1 8 --no-pytorch --json calls.json

Without options: ResNet-18, batch 64, 5 attack steps; acl_tf in float32 and mixed_bfloat16, `pytorch` (as ACL's authors
write it: `loss.backward()` in the attack, so weight gradients too) and `pytorch_lean` (gradient to the images only),
both in float32. Lists make a sweep over all combinations; the third command measures what micro-batches save.

Each case lives in a process of its own. Those of the same network and batch size take turns, so that all see the same
machine and none another's threads; the median round counts. With `--one-by-one` each has the memory to itself.
acl_tf's step is the one that `acl-tf pretrain` takes, augmentation included; PyTorch's begins with augmented views.
Without PyTorch its rows are left out.

`flops_per_image` is what the algorithm needs (flops.py), `matrix_peak_gflops` what the same process reached with a
large matrix product in the precision of its layers. `peak_memory_bytes` is the device's on a GPU; on a CPU it is the
growth of the process' resident memory from before the first step, so without libraries and weights.
"""

import argparse
import importlib.util
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from devices import cores, pytorch_device, tensorflow_device
from matrix_peak import pytorch_peak, tensorflow_peak
from memory import pytorch_memory, tensorflow_memory
from rows import Column, column, parser, report
from step_case import IMAGE_SHAPE, StepCase
from turns import Built, Case, take_turns

from acl_tf.errors import UsageError

PEERS = ("pytorch", "pytorch_lean")
# Settings that are part of the title if all rows have the same, and otherwise columns.
VARIED = {
    "arch": "arch",
    "width": "width",
    "batch_size": "batch",
    "micro_batches": "micro-batches",
    "steps_per_call": "steps a call",
    "jit": "XLA",
}


def main() -> None:
    """Times all cases and prints the table."""
    arguments = parse()
    by_workload = itertools.groupby(wanted(arguments), lambda spec: spec.workload)
    cases: list[Case[StepCase]] = []
    for _, specs in by_workload:
        together = [(spec,) for spec in specs]
        for group in [[one] for one in together] if arguments.one_by_one else [together]:
            cases += take_turns(build_step, group, arguments.rounds)
    rows = [row(case, cases) for case in cases]
    report(*layout(rows), rows, arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("--arch", nargs="+", default=["resnet18"])
    options.add_argument("--width", type=float, nargs="+", default=[1.0])
    options.add_argument("--batch-size", type=int, nargs="+", default=[64])
    options.add_argument("--precision", nargs="+", default=["float32", "mixed_bfloat16"], help="of acl_tf")
    options.add_argument("--micro-batches", type=int, nargs="+", default=[1], help="of acl_tf; 1 is the whole batch")
    options.add_argument("--steps-per-call", type=int, nargs="+", default=[1], help="of acl_tf")
    options.add_argument("--jit", action="store_true", help="acl_tf compiled by XLA as well")
    options.add_argument("--steps", type=int, default=5, help="of the attack")
    options.add_argument("--rounds", type=int, default=3, help="timed calls of each case")
    options.add_argument("--one-by-one", action="store_true", help="no turns: one case in memory at a time")
    options.add_argument("--no-pytorch", action="store_true")
    arguments = options.parse_args()
    try:
        for spec in wanted(arguments):
            spec.config()
    except UsageError as error:
        options.error(str(error))
    return arguments


def wanted(arguments: argparse.Namespace) -> Iterator[StepCase]:
    """Yields the cases, grouped by workload."""
    with_pytorch = importlib.util.find_spec("torch") and not arguments.no_pytorch
    compiled = [False, True] if arguments.jit else [False]
    own = (arguments.precision, arguments.micro_batches, arguments.steps_per_call, compiled)
    for arch, width, batch_size in itertools.product(arguments.arch, arguments.width, arguments.batch_size):
        workload = (arch, width, batch_size, arguments.steps)
        for precision, micro_batches, steps_per_call, jit in itertools.product(*own):
            yield StepCase("acl_tf", precision, *workload, micro_batches, steps_per_call, jit)
        if with_pytorch and arch.startswith("resnet"):  # the peers are ResNets
            for peer in PEERS:
                yield StepCase(peer, "float32", *workload)


def build_step(spec: StepCase) -> Built:
    """Builds the step of a case, in a process of its own."""
    return acl_tf_step(spec) if spec.framework == "acl_tf" else pytorch_step(spec)


def acl_tf_step(spec: StepCase) -> Built:
    """Builds the step that `acl-tf pretrain` takes."""
    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    import acl_tf_step
    from flops import forward_flops, step_flops

    from acl_tf.training.hardware import Hardware
    from acl_tf.training.strategy import build_strategy
    from acl_tf.training.workers import Workers

    workers = Workers(build_strategy(Hardware(strategy="none")))
    step, objective = acl_tf_step.build_step(spec.config(), workers)
    parts = (objective.encoder, objective.projection_head)
    forward = sum(forward_flops(part.graph(objective.default_branch)) for part in parts)
    device, name = tensorflow_device()
    memory = tensorflow_memory()

    def afterwards() -> dict[str, Any]:
        used = memory()  # before the matrices, which take some too
        peak = tensorflow_peak(spec.precision, device)
        flops = step_flops(forward, spec.attack_steps)
        return {**used, "matrix_peak_gflops": peak, "flops_per_image": flops, "device_name": name}

    return Built(step, device, afterwards)


def pytorch_step(spec: StepCase) -> Built:
    """Builds the PyTorch step of a given name."""
    import pytorch_step as peers
    import torch

    # As acl_tf on GPUs: float32 products may be TF32, and convolutions take the fastest algorithm.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    device, name = pytorch_device()
    place = "cuda" if device == "GPU" else "cpu"
    height, width, channels = IMAGE_SHAPE
    shape = (2, spec.batch_size, channels, height, width)
    view_i, view_j = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(place)
    torch.manual_seed(0)
    kind = peers.AuthorsStep if spec.framework == "pytorch" else peers.LeanStep
    peer = kind(arch=spec.arch, width=spec.width, steps=spec.attack_steps, device=place)
    memory = pytorch_memory()

    def afterwards() -> dict[str, Any]:
        used = memory()
        return {**used, "matrix_peak_gflops": pytorch_peak(device), "device_name": name}

    return Built(lambda: peer.step(view_i, view_j), device, afterwards)


def row(case: Case[StepCase], cases: list[Case[StepCase]]) -> dict[str, Any]:
    """Returns the measurements of a case, and its speed relative to the PyTorch steps of the same workload."""
    spec, about = case.spec, case.about[0]
    seconds = [each / spec.steps_per_call for each in case.seconds]
    median = statistics.median(seconds)
    same = [other for other in cases if other.spec.workload == spec.workload]
    # The networks are the same: what Keras counted holds for PyTorch.
    flops = next(other.about[0]["flops_per_image"] for other in same if other.spec.framework == "acl_tf")
    gflops = flops * spec.batch_size / median / 1e9
    peers = {other.spec.framework: statistics.median(other.seconds) for other in same if other.spec.framework in PEERS}
    return {
        **spec.fields(),
        "images_per_second": round(spec.batch_size / median, 3),
        "seconds_per_step": [round(each, 4) for each in seconds],
        "first_call_seconds": round(case.first_seconds, 2),
        "speed_up": {name: round(theirs / median, 3) for name, theirs in peers.items()},
        "flops_per_image": flops,
        "gflops_per_second": round(gflops, 1),
        "matrix_peak_gflops": round(about["matrix_peak_gflops"], 1),
        "share_of_peak": round(gflops / about["matrix_peak_gflops"], 3),
        "peak_memory_bytes": about["peak_memory_bytes"],
        "memory_of": about["memory_of"],
        "cores": cores(),
        "device": case.device,
        "device_name": about["device_name"],
    }


def layout(rows: list[dict[str, Any]]) -> tuple[str, list[Column]]:
    """Returns the title and the columns of the table."""
    varied = {key: header for key, header in VARIED.items() if len({row[key] for row in rows}) > 1}
    fixed = [f"{header} {rows[0][key]}" for key, header in VARIED.items() if key not in varied]
    title = f"DS step: {', '.join(fixed)}, {rows[0]['attack_steps']} attack steps, {rows[0]['device']}"
    columns = [
        column("framework", "framework"),
        column("precision", "precision"),
        *(column(header, key) for key, header in varied.items()),
        column("images/s", "images_per_second", ".2f"),
        column("× pytorch", "speed_up.pytorch", ".2f"),
        column("× pytorch_lean", "speed_up.pytorch_lean", ".2f"),
        column("GFLOP/s", "gflops_per_second", ".0f"),
        Column("% of peak", lambda row: 100 * row["share_of_peak"], ".0f"),
        Column("memory, MB", lambda row: row["peak_memory_bytes"] / 1e6, ".0f"),
    ]
    return title, columns


if __name__ == "__main__":
    main()
