"""TA and RA on CIFAR-10 after AFF, SLF and ALF of every pre-training, at a scale that two CPU cores reach.

    python benchmarks/cifar10_table.py --data-dir DIR --output runs/cifar10_table --json table.json

Everything is run by the commands that a user would type, each in a run folder of its own below `--output`. What is
there is not done again, and what was interrupted goes on, so the script can be stopped and called again at any time.
Test images are used once, for the numbers of the table; nothing was tuned on them.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PRETRAIN = (
    "--dataset cifar10 --width 0.25 --epochs 20 --batch-size 128 --precision mixed_bfloat16 --set data.limit=10000 "
    "--set attack.steps=3 --set attack.step_size=4/255 --set optimizer.learning_rate=2.5"
)
# The first 15,000 training images: 5,000 to validate on, and 10,000 of which the labels are drawn.
COMMON = (
    "--dataset cifar10 --set data.limit=15000 --batch-size 128 --precision mixed_bfloat16 "
    "--set validation.images=200 --set validation.every=5"
)
PROTOCOLS = {
    "aff": "--protocol aff --labels 1000 --epochs 25",
    "slf": "--protocol slf --labels 2000 --epochs 25 --set optimizer.learning_rate=0.05",
    "alf": "--protocol alf --labels 2000 --epochs 10 --set optimizer.learning_rate=0.05 "
    "--set optimizer.decay_epochs=[4,8]",
}
# Name of the row, variant of the pre-training, BN set.
ROWS = (
    ("random", None, "adversarial"),
    ("S2S", "s2s", "standard"),
    ("A2A", "a2a", "adversarial"),
    ("A2S", "a2s", "adversarial"),
    ("A2S, standard BN", "a2s", "standard"),
    ("DS", "ds", "adversarial"),
    ("DS, standard BN", "ds", "standard"),
)
TEST_IMAGES = 1000


def main() -> None:
    """Runs what is missing and prints the table."""
    arguments = parse()
    output = Path(arguments.output)
    rows = [row for row in ROWS if not arguments.rows or row[0] in arguments.rows]
    results = [measure(row, protocol, arguments, output) for row in rows for protocol in PROTOCOLS]
    print_table(results)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="where TFDS finds CIFAR-10")
    parser.add_argument("--output", default="runs/cifar10_table", help="folder of the run folders")
    parser.add_argument("--rows", nargs="+", choices=[name for name, _, _ in ROWS], help="only these rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write the results to this file")
    return parser.parse_args()


def measure(
    row: tuple[str, str | None, str], protocol: str, arguments: argparse.Namespace, output: Path
) -> dict[str, Any]:
    """Pre-trains, fine-tunes and evaluates one cell of the table, as far as that is not done yet."""
    name, variant, branch = row
    data = f"--seed {arguments.seed}" + (f" --data-dir {shlex.quote(arguments.data_dir)}" if arguments.data_dir else "")
    encoder = "random:resnet18 --width 0.25"
    if variant:
        folder = output / variant
        run(f"pretrain --variant {variant} {PRETRAIN} {data}", folder)
        encoder = shlex.quote(str(folder))
    classifier = output / f"{variant or 'random'}_{branch}_{protocol}"
    run(f"finetune {encoder} --branch {branch} {PROTOCOLS[protocol]} {COMMON} {data}", classifier)
    records_file = classifier / "table_records.json"
    if not records_file.exists():
        command = f"evaluate {shlex.quote(str(classifier))} --limit {TEST_IMAGES} {data} --json {records_file}"
        call(f"{command} --resume")
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
    """Runs a training command to its end, unless the run folder says that it is finished."""
    about = folder / "run.json"
    if about.exists() and json.loads(about.read_text(encoding="utf-8"))["status"] == "finished":
        return
    begin = time.monotonic()
    call(f"{command} --output {shlex.quote(str(folder))} --resume")
    file = folder / "seconds.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else 0.0
    file.write_text(json.dumps(before + round(time.monotonic() - begin, 1)), encoding="utf-8")


def call(command: str) -> None:
    """Runs an `acl-tf` command, with its output on stderr; ends the script where it fails."""
    print(f"acl-tf {command}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "acl_tf", *shlex.split(command)], stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def print_table(results: list[dict[str, Any]]) -> None:
    """Prints one row an encoder: TA / RA of every protocol."""
    table = Table(title=f"CIFAR-10 test, first {TEST_IMAGES} images: TA / RA % (PGD-20, l∞ 8/255, step 2/255, 1 start)")
    table.add_column("encoder")
    for protocol in PROTOCOLS:
        table.add_column(protocol.upper(), justify="right")
    for name in dict.fromkeys(result["encoder"] for result in results):
        cells = [result for result in results if result["encoder"] == name]
        table.add_row(name, *(f"{100 * cell['ta']:.1f} / {100 * cell['ra']:.1f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
