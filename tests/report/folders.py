"""Run folders as small as they can be: written by hand, without training."""

import json
from pathlib import Path

CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "frosted_glass_blur", "motion_blur"),
    *("zoom_blur", "snow", "frost", "fog", "brightness", "contrast", "elastic", "pixelate", "jpeg_compression"),
    *("speckle_noise", "gaussian_blur", "spatter", "saturate"),
)
PGD = {"attack": "pgd20", "norm": "linf", "epsilon": 8 / 255, "step_size": 2 / 255, "steps": 20, "restarts": 1}
VERSIONS = {"acl_tf": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1"}


def record(metric: str = "accuracy", value: float = 0.5, protocol: dict | None = None, **others) -> dict:
    about = {"n": 360, "dataset": "digits", "split": "test", "protocol": protocol or {"attack": "none"}}
    about |= {"model_sha256": "0" * 64, **VERSIONS, "date": "2026-11-21T09:00:00+00:00", "seconds": 1.5}
    return {"metric": metric, "value": value, **about, **others}


def robust(value: float = 0.25, protocol: dict | None = None, **others) -> dict:
    return record("robust_accuracy", value, {**PGD, "seed": 0, **(protocol or {})}, **others)


def corrupted(corruption: str, severity: int | str, value: float, **others) -> dict:
    protocol = {"attack": "none", "corruption": corruption, "severity": severity}
    return record("corruption_accuracy", value, protocol, **others)


def all_corruptions(level: float) -> list[dict]:
    """Returns records of every corruption at every severity, and of the means."""
    values = {
        name: [level - 0.04 * severity - 0.01 * place for severity in range(1, 6)]
        for place, name in enumerate(CORRUPTIONS)
    }
    records = [corrupted(name, s, value) for name in CORRUPTIONS for s, value in enumerate(values[name], 1)]
    for count in (15, 19):
        several = [value for name in CORRUPTIONS[:count] for value in values[name]]
        records.append(corrupted(f"mean_{count}", "mean", sum(several) / len(several)))
    return records


def pretraining_rows(level: float = 5.0, epochs: int = 4) -> list[dict]:
    return [
        {
            "step": 5 * half,
            "epoch": (half + 1) // 2,
            "loss": level + 1 / half,
            "loss_standard": level,
            "gradient_norm": 1 / half,
            "learning_rate": 0.1 * half,
        }
        for half in range(1, 2 * epochs + 1)
    ]


def finetuning_rows(robust_accuracies: list[float], accuracies: list[float]) -> list[dict]:
    rows = []
    for epoch, (ra, ta) in enumerate(zip(robust_accuracies, accuracies, strict=True), 1):
        rows.append({"step": 10 * epoch - 5, "epoch": epoch, "loss": 2 / epoch, "learning_rate": 0.1})
        validation = {"validation_accuracy": ta, "validation_robust_accuracy": ra}
        rows.append({"step": 10 * epoch, "epoch": epoch, "loss": 1.8 / epoch, "learning_rate": 0.1, **validation})
    return rows


def write_lines(path: Path, values: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def write_run(folder: Path, rows: list[dict] = (), records: list[dict] = (), best: bool = False, **about) -> Path:
    """Writes a run folder without a model; `best` puts `model_last/` into it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("data: {dataset: digits}\nobjective: {variant: ds}\ntraining: {seed: 3}\n")
    times = {"started": "2026-11-21T09:00:00+00:00", "ended": "2026-11-21T10:30:00+00:00"}
    (folder / "run.json").write_text(json.dumps({"status": "finished", **times, **about}))
    write_lines(folder / "metrics.jsonl", rows)
    if records:
        write_lines(folder / "records.jsonl", records)
    if best:
        (folder / "model_last").mkdir()
    return folder
