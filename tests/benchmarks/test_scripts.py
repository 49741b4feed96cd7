"""Every benchmark runs, as a process and at a tiny size, and writes what the design says."""

import pytest

# Not narrower: with AVX2, oneDNN's gradient of a 1×1 convolution of fewer than 8 channels makes PyTorch wait for ever.
TINY = ("--arch", "resnet10", "--width", "0.125", "--batch-size", "4", "--steps", "1", "--rounds", "1")
# What the rows of a benchmark must have, and of what kind.
STEP = {
    "framework": str,
    "precision": str,
    "arch": str,
    "width": float,
    "batch_size": int,
    "attack_steps": int,
    "micro_batches": int,
    "steps_per_call": int,
    "jit": bool,
    "images_per_second": float,
    "seconds_per_step": list,
    "first_call_seconds": float,
    "speed_up": dict,
    "flops_per_image": int,
    "gflops_per_second": float,
    "matrix_peak_gflops": float,
    "share_of_peak": float,
    "peak_memory_bytes": int,
    "memory_of": str,
    "cores": int,
    "device": str,
    "device_name": str,
}
SCALING = {
    **{name: STEP[name] for name in ("framework", "precision", "arch", "width", "attack_steps")},
    "scaling": str,
    "strategy": str,
    "replicas": int,
    "workers": int,
    "threads": int | None,
    "batch_size": int,
    "batch_per_replica": int,
    "images_per_second": float,
    "seconds_per_step": list,
    "first_call_seconds": float,
    "efficiency": float,
    "efficiency_against": dict,
    "devices": list,
    **{name: STEP[name] for name in ("cores", "device", "device_name")},
}


def check(rows, schema) -> None:
    for row in rows:
        assert row.keys() == schema.keys()
        for name, kind in schema.items():
            assert isinstance(row[name], kind), name
        assert row["images_per_second"] > 0


def test_lists_make_a_sweep(importable, monkeypatch):
    from pretrain_step import parse, wanted

    lists = ("--batch-size", "4", "8", "--micro-batches", "1", "2", "--precision", "float32", "--jit", "--no-pytorch")
    monkeypatch.setattr("sys.argv", ["pretrain_step.py", *lists])
    specs = [(spec.batch_size, spec.micro_batches, spec.jit) for spec in wanted(parse())]
    assert specs == [(batch, parts, jit) for batch in (4, 8) for parts in (1, 2) for jit in (False, True)]


@pytest.mark.slow
def test_step(rows_of):
    options = ("--precision", "float32", "--micro-batches", "2", "--steps-per-call", "2", "--jit", "--no-pytorch")
    rows = rows_of("pretrain_step.py", *TINY, *options)
    check(rows, STEP)
    assert [row["jit"] for row in rows] == [False, True]
    for row in rows:
        assert (row["micro_batches"], row["steps_per_call"]) == (2, 2)
        assert row["flops_per_image"] == rows[0]["flops_per_image"]
        assert row["memory_of"] == ("device" if row["device"] == "GPU" else "process")
        assert row["peak_memory_bytes"] > 0
        rate = row["flops_per_image"] * row["images_per_second"] / 1e9
        assert row["gflops_per_second"] == pytest.approx(rate, rel=0.01, abs=0.1)


@pytest.mark.slow
@pytest.mark.interop
def test_step_beside_pytorch(rows_of):
    pytest.importorskip("torch", reason="the PyTorch peer needs torch")
    rows = rows_of("pretrain_step.py", *TINY, "--precision", "mixed_bfloat16", "--one-by-one")
    check(rows, STEP)
    assert [(row["framework"], row["precision"]) for row in rows] == [
        ("acl_tf", "mixed_bfloat16"),
        ("pytorch", "float32"),
        ("pytorch_lean", "float32"),
    ]
    assert all(row["speed_up"].keys() == {"pytorch", "pytorch_lean"} for row in rows)
    assert rows[1]["speed_up"]["pytorch"] == 1


@pytest.mark.parametrize(
    "script, options, message",
    [
        (
            "pretrain_step.py",
            ("--micro-batches", "3"),
            "training.micro_batches: expected a divisor of the batch size, 64, that leaves parts of at least 2 images. "
            "Received: 3",
        ),
        (
            "scaling.py",
            ("--workers", "3"),
            "--batch-size must be divisible by all of [2, 3]. Received: 64",
        ),
        ("scaling.py", ("--replicas", "1"), "--replicas and --workers take numbers from 2 on; 1 is always there"),
    ],
)
def test_wrong_options(run, script, options, message):
    done = run(script, *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"{script}: error: {message}"


@pytest.mark.slow
def test_strong_scaling(rows_of, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    rows = rows_of("scaling.py", *TINY)
    check(rows, SCALING)
    one, limited, mirrored, multiworker = rows
    assert [row["strategy"] for row in rows] == ["none", "none", "mirrored", "multiworker"]
    assert [row["replicas"] for row in rows] == [1, 1, 2, 2]
    assert [row["batch_size"] for row in rows] == [4, 4, 4, 4]
    assert [len(row["devices"]) for row in rows] == [1, 1, 2, 2]
    assert limited["threads"] == multiworker["threads"] == max(1, one["cores"] // 2)
    assert multiworker["workers"] == 2
    for row in (mirrored, multiworker):
        assert row["efficiency_against"] == {"replicas": 1, "threads": limited["threads"]}
        efficiency = row["images_per_second"] / (2 * limited["images_per_second"])
        assert row["efficiency"] == pytest.approx(efficiency, abs=2e-3)


def test_weak_scaling_grows_the_batch(importable, monkeypatch):
    from scaling import parse, wanted

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("sys.argv", ["scaling.py", "--batch-size", "4", "--weak", "--replicas", "3", "--workers"])
    cases = [case for (case,) in wanted(parse())]
    assert [case.strategy for case in cases] == ["none", "none", "mirrored"]
    assert [case.step.batch_size for case in cases] == [4, 4, 12]


@pytest.mark.slow
def test_input_pipeline(rows_of):
    (row,) = rows_of("input_pipeline.py", "--batch-size", "4", "--seconds", "0.1")
    assert (row["framework"], row["precision"]) == ("acl_tf", "float32")
    assert row["views_per_second"] > row["images_per_second"] > 0


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize(
    "script, options",
    [
        ("pgd_evaluation.py", ("--width", "0.125", "--images", "8", "--rounds", "1")),
        ("serving.py", ("--width", "0.125", "--batch-sizes", "2", "--rounds", "1")),
    ],
)
def test_evaluation_and_serving(rows_of, script, options):
    pytest.importorskip("torch", reason="the PyTorch peer needs torch")
    rows = rows_of(script, *options)
    assert {"pytorch"} < {row["framework"] for row in rows}
    assert all(row["precision"] == "float32" and row["images_per_second"] > 0 for row in rows)
