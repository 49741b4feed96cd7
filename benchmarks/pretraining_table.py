"""TA and RA after fine-tuning every pre-training, at a scale that two CPU cores reach.

    python benchmarks/pretraining_table.py cifar10 --data-dir DIR --json table.json
    python benchmarks/pretraining_table.py digits --seed 1

Everything is run by the commands that a user would type, each in its own run folder below `--output`. Finished commands
are not repeated and interrupted ones are resumed, so the script can be stopped and restarted at any time. Test images
are used once, for the numbers of the table; nothing was tuned on them.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rows import column, parser, print_table, write


@dataclass(frozen=True)
class Scale:
    """The commands for a data set.

    Attributes:
        random: Name of the encoder without pre-training.
        pretrain: Arguments of every pre-training.
        finetune: Arguments of every fine-tuning.
        protocols: Arguments of each kind of fine-tuning.
        attack: Attack under which RA is measured.
        limit: Number of test images.
    """

    random: str
    pretrain: str
    finetune: str
    protocols: dict[str, str]
    attack: str
    limit: int


SCALES = {
    "cifar10": Scale(
        random="random:resnet18 --width 0.25",
        pretrain="--dataset cifar10 --width 0.25 --epochs 20 --batch-size 128 --precision mixed_bfloat16 "
        "--set data.limit=10000 --set attack.steps=3 --set attack.step_size=4/255 --set optimizer.learning_rate=2.5",
        # The first 15,000 training images: 5,000 are held out, and the labels are drawn from the other 10,000. The
        # table takes the last epoch: to choose between epochs of runs as short as these takes more held-out images
        # than time allows.
        finetune="--dataset cifar10 --set data.limit=15000 --batch-size 128 --precision mixed_bfloat16 "
        "--set validation.images=200 --set validation.every=100",
        protocols={
            "aff": "--protocol aff --labels 1000 --epochs 25",
            "slf": "--protocol slf --labels 2000 --epochs 25",
            "alf": "--protocol alf --labels 2000 --epochs 10 --set optimizer.decay_epochs=[4,8]",
        },
        attack="pgd20",
        limit=1000,
    ),
    "digits": Scale(
        random="random:resnet18 --width 0.125",
        pretrain="--dataset digits",
        finetune="--dataset digits --set validation.every=100",
        protocols={
            "aff": "--labels 0.1",
            "slf": "--protocol slf --batch-size 128 --set optimizer.learning_rate=0.1",
        },
        attack="pgd20:epsilon=0.1",
        limit=360,
    ),
}
# Name of the row, variant of pre-training, branch.
ROWS = (
    ("random", None, "adversarial"),
    ("S2S", "s2s", "standard"),
    ("A2A", "a2a", "adversarial"),
    ("A2S", "a2s", "adversarial"),
    ("A2S, standard BN", "a2s", "standard"),
    ("DS", "ds", "adversarial"),
    ("DS, standard BN", "ds", "standard"),
)


def main() -> None:
    """Runs the commands that are not done yet and prints the table."""
    arguments = parse()
    scale = SCALES[arguments.dataset]
    output = Path(arguments.output or f"runs/{arguments.dataset}_table_seed{arguments.seed}")
    rows = [row for row in ROWS if not arguments.rows or row[0] in arguments.rows]
    results = [measure(row, protocol, scale, arguments, output) for row in rows for protocol in scale.protocols]
    show(results, scale)
    write(results, arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("dataset", choices=list(SCALES))
    options.add_argument("--data-dir", help="where TFDS finds CIFAR-10")
    options.add_argument("--output", help="folder of the run folders; default: runs/DATASET_table_seedSEED")
    options.add_argument("--rows", nargs="+", choices=[name for name, _, _ in ROWS], help="only these rows")
    options.add_argument("--seed", type=int, default=0)
    return options.parse_args()


def measure(
    row: tuple[str, str | None, str], protocol: str, scale: Scale, arguments: argparse.Namespace, output: Path
) -> dict[str, Any]:
    """Pre-trains, fine-tunes and evaluates for one cell of the table, unless it is done already."""
    name, variant, branch = row
    data = f"--seed {arguments.seed}" + (f" --data-dir {shlex.quote(arguments.data_dir)}" if arguments.data_dir else "")
    encoder = scale.random
    if variant:
        folder = output / variant
        run(f"pretrain --variant {variant} {scale.pretrain} {data}", folder)
        encoder = shlex.quote(str(folder))
    classifier = output / f"{variant or 'random'}_{branch}_{protocol}"
    run(f"finetune {encoder} --branch {branch} {scale.protocols[protocol]} {scale.finetune} {data}", classifier)
    records_file = classifier / "table_records.json"
    if not records_file.exists():
        model = shlex.quote(str(classifier / "model_last"))
        attacks = f"--attack none --attack {scale.attack} --limit {scale.limit}"
        call(f"evaluate {model} {attacks} {data} --json {shlex.quote(str(records_file))} --resume")
    ta, ra = json.loads(records_file.read_text(encoding="utf-8"))
    seconds = json.loads((classifier / "seconds.json").read_text(encoding="utf-8"))
    return {
        "framework": "acl_tf",
        "encoder": name,
        "protocol": protocol,
        "ta": ta["value"],
        "ra": ra["value"],
        "n": ra["n"],
        "seed": arguments.seed,
        "finetune_seconds": seconds,
        "records": [ta, ra],
    }


def run(command: str, folder: Path) -> None:
    """Runs a training command to its end, unless the run in its folder is finished."""
    about = folder / "run.json"
    if about.exists() and json.loads(about.read_text(encoding="utf-8"))["status"] == "finished":
        return
    begin = time.monotonic()
    call(f"{command} --output {shlex.quote(str(folder))} --resume")
    file = folder / "seconds.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else 0.0
    file.write_text(json.dumps(before + round(time.monotonic() - begin, 1)), encoding="utf-8")


def call(command: str) -> None:
    """Runs an `acl-tf` command with its output on stderr; ends the script if it fails."""
    print(f"acl-tf {command}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "acl_tf", *shlex.split(command)], stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def show(results: list[dict[str, Any]], scale: Scale) -> None:
    """Prints one row per encoder: TA / RA of every protocol."""
    ra = results[0]["records"][1]
    rows: dict[str, dict[str, str]] = {}
    for cell in results:
        figures = f"{100 * cell['ta']:.1f} / {100 * cell['ra']:.1f}"
        rows.setdefault(cell["encoder"], {"encoder": cell["encoder"]})[cell["protocol"]] = figures
    columns = [column("encoder", "encoder"), *(column(name.upper(), name) for name in scale.protocols)]
    title = f"{ra['dataset']}, {ra['split']}, n = {ra['n']}: TA / RA % ({scale.attack})"
    print_table(title, columns, list(rows.values()))


if __name__ == "__main__":
    main()
