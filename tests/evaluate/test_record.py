import datetime
import json

import keras
import tensorflow as tf

import acl_tf
from acl_tf.evaluate.record import record
from tests.evaluate.scenes import greys


def test_what_stands_in_a_record():
    protocol = {"attack": "pgd20", "seed": 3}
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    made = record("robust_accuracy", 0.375, greys(), protocol, "5a", 1.23456)
    date = datetime.datetime.fromisoformat(made.pop("date"))
    assert before <= date <= datetime.datetime.now(datetime.UTC)
    assert made == {
        "metric": "robust_accuracy",
        "value": 0.375,
        "n": 8,
        "dataset": "greys",
        "split": "test",
        "protocol": protocol,
        "model_sha256": "5a",
        "acl_tf": acl_tf.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "seconds": 1.235,
    }
    protocol["seed"] = 4
    assert made["protocol"]["seed"] == 3
    assert json.loads(json.dumps(made)) == made
