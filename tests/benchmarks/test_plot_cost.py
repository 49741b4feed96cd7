"""What an image costs, as a picture."""

import json
import re
from xml.etree import ElementTree

WORKLOAD = {"framework": "acl_tf", "precision": "float32", "arch": "resnet18", "width": 1.0, "attack_steps": 5}
STEP = {**WORKLOAD, "micro_batches": 1, "steps_per_call": 1, "jit": False, "batch_size": 64, "images_per_second": 8.0}
ONE = {
    **WORKLOAD,
    "scaling": "strong",
    "strategy": "none",
    "replicas": 1,
    "threads": None,
    "batch_size": 64,
    "batch_per_replica": 64,
    "images_per_second": 8.0,
}


def drawn(run, tmp_path, *files) -> list[str]:
    """Returns the identifier of each line: number of its panel, and its own."""
    for number, rows in enumerate(files):
        (tmp_path / f"{number}.json").write_text(json.dumps(rows), encoding="utf-8")
    done = run("plot_cost.py", *(f"{number}.json" for number in range(len(files))), "--output", "cost.svg")
    assert done.returncode == 0, done.stderr
    svg = (tmp_path / "cost.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    return re.findall(r'<g id="(cost-\d-\d)">', svg)


def test_batch_sizes_and_replicas(run, tmp_path):
    step = [
        {**STEP, "framework": framework, "batch_size": batch, "images_per_second": rate}
        for framework in ("acl_tf", "pytorch")
        for batch, rate in ((16, 6.0), (64, 8.0))
    ]
    parts = {"replicas": 2, "batch_per_replica": 32, "images_per_second": 7.0}
    scaling = [
        ONE,
        {**ONE, "threads": 1, "images_per_second": 4.0},
        {**ONE, **parts, "strategy": "mirrored"},
        {**ONE, **parts, "strategy": "multiworker", "threads": 1},
    ]
    assert drawn(run, tmp_path, step, scaling) == ["cost-0-0", "cost-0-1", "cost-1-0", "cost-1-1", "cost-1-2"]


def test_what_varies_makes_lines(importable):
    from plot_cost import scaling_lines, step_lines

    rows = [{**STEP, "micro_batches": parts, "batch_size": batch} for batch in (64, 16) for parts in (1, 4)]
    assert [(line.label, line.x, line.y) for line in step_lines(rows)] == [
        ("acl_tf, float32, micro batches 1", [16, 64], [0.125, 0.125]),
        ("acl_tf, float32, micro batches 4", [16, 64], [0.125, 0.125]),
    ]
    two = {**ONE, "strategy": "mirrored", "replicas": 2, "batch_per_replica": 32, "images_per_second": 10.0}
    assert scaling_lines([ONE, two]) == [("mirrored, acl_tf, float32", [1, 2], [0.125, 0.1])]
    assert scaling_lines([ONE]) == [("one replica, acl_tf, float32", [1], [0.125])]


def test_other_rows(run, tmp_path):
    (tmp_path / "other.json").write_text('[{"framework": "acl_tf"}]', encoding="utf-8")
    done = run("plot_cost.py", "other.json")
    assert done.returncode == 1
    expected = "Expected rows of pretrain_step.py and scaling.py. Received: {'framework': 'acl_tf'}"
    assert done.stderr.splitlines() == [expected]
