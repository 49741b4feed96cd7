from acl_tf.horizon import Horizon
from acl_tf.training.journal import ChiefsJournal, Journal
from acl_tf.training.metrics_log import MetricsLog, read_metrics
from acl_tf.training.progress import TrainingProgress
from tests.training.tiny import checkpoints_of, tiny


def test_a_worker_that_is_not_the_chief_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = Journal()
    journal.advance(3)
    journal.write(3, {"loss": 1.0})
    journal.save(3)
    assert list(tmp_path.iterdir()) == []
    assert journal.saved() == "saved by worker 0"
    assert journal.kept() == "Worker 0 keeps the last good checkpoint"


def test_the_chief_writes_down_what_was_measured_and_keeps_the_state(tmp_path):
    checkpoints = checkpoints_of(tiny(), tmp_path / "checkpoints", keep=2)
    log = MetricsLog(tmp_path, 0)
    with TrainingProgress(0, Horizon.uniform(2, 4)) as progress:
        journal = ChiefsJournal(log, progress, checkpoints, Horizon.uniform(2, 4))
        assert journal.kept() == "There is no checkpoint yet"
        for step in (4, 5, 8):
            journal.advance(step)
            journal.write(step, {"loss": step / 2})
            journal.save(step)
    log.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["epoch"], row["loss"]) for row in rows] == [(4, 1, 2.0), (5, 2, 2.5), (8, 2, 4.0)]
    assert [path.name for path in checkpoints.paths()] == ["step-00000005", "step-00000008"]
    newest = tmp_path / "checkpoints" / "step-00000008"
    assert journal.saved() == f"saved as {newest}"
    assert journal.kept() == f"The last good checkpoint is {newest}"
