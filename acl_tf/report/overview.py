"""The runs of the page, with their settings and colours."""

import datetime
from collections.abc import Sequence
from typing import Any

from acl_tf.printable import printable
from acl_tf.record_text import epsilon
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

COLUMNS = {
    "kind": "Model",
    "method": "Method",
    "arch": "Architecture",
    "branch": "Branch",
    "data": "Data",
    "epsilon": "ε",
    "epochs": "Epochs",
    "seed": "Seed",
    "status": "Status",
    "time": "Time",
}
METHODS = {"at": "AT", "trades": "TRADES"}
NUMBERS = ("epsilon", "epochs", "seed", "time")


def section(runs: Sequence[Run]) -> Section:
    """Returns the section of runs, without columns that are empty for all of them."""
    about = [_about(run) for run in runs]
    columns = {key: title for key, title in COLUMNS.items() if any(row[key] for row in about)}
    return Section("overview", "Runs", {"runs": about, "columns": columns, "numbers": NUMBERS})


def _about(run: Run) -> dict[str, Any]:
    width = run.model.get("width", run.setting("model.width"))
    arch = run.model.get("arch", run.setting("model.arch"))
    kind = run.model.get("kind")
    attacked = run.setting("attack.epsilon")
    return {
        "name": run.name,
        "style": style(run.number),
        "kind": kind or ("unfinished" if run.about else "records"),
        "method": _method(run),
        "arch": printable(arch or "") + (f" × {width:g}" if isinstance(width, int | float) and width != 1 else ""),
        "branch": printable(run.model.get("branch", "")),
        "data": printable(run.setting("data.dataset") or ""),
        "epsilon": epsilon(attacked) if attacked is not None else "",
        "epochs": _number(run.setting("training.epochs")),
        "seed": _number(run.setting("training.seed")),
        "status": printable(run.about.get("status", "")),
        "time": _duration(run.about),
    }


def _method(run: Run) -> str:
    """Returns the variant of pre-training, such as DS, or the method and mode of fine-tuning."""
    variant, method, mode = (run.setting(key) for key in ("objective.variant", "method.name", "method.mode"))
    if isinstance(variant, str):
        return printable(variant).upper()
    if run.setting("teacher"):
        return "semi-supervised"
    named = METHODS.get(str(method), printable(method or ""))
    return f"{named}, linear" if named and mode == "linear" else named


def _number(value: Any) -> str:
    return "" if value is None else printable(value)


def _duration(about: Any) -> str:
    """Returns the time from the first start to the end, with interruptions."""
    try:
        started, ended = (datetime.datetime.fromisoformat(about[key]) for key in ("started", "ended"))
        seconds = round((ended - started).total_seconds())
    except (KeyError, TypeError, ValueError):
        return ""
    hours, minutes = divmod(seconds // 60, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds % 60:02} s" if minutes else f"{seconds} s"
