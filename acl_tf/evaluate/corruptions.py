"""Accuracy under common corruptions: CIFAR-10-C, CIFAR-100-C."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from acl_tf.data.corrupted import BENCHMARK_CORRUPTIONS, CORRUPTIONS, SEVERITIES
from acl_tf.data.image_set import ImageSet
from acl_tf.evaluate import clean
from acl_tf.evaluate.base import Evaluation
from acl_tf.records import Record
from acl_tf.types import Classifier

# From a corruption and a severity to images.
Load = Callable[[str, int], ImageSet]


def run(evaluation: Evaluation, model: Classifier, load: Load) -> Iterator[Record]:
    """Yields the accuracy under each corruption at each severity, and the means over severities and corruptions.

    `protocol.corruption` names the corruption, or is `mean_15` (the benchmark's) or `mean_19` (ACL's Fig. 2);
    `protocol.severity` is 1 to 5, or `mean`.

    Args:
        evaluation: Seed, batch size, …; its images are replaced by the corrupted ones.
        model: Function from images in [0, 1] to logits, in inference mode.
        load: Function from a corruption and a severity to the images.

    Raises:
        DataError: If images are missing or of the wrong form.

    Reference: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", ICLR 2019.
    """
    predict = clean.predictor(model, evaluation.workers)
    means = {}
    for corruption in CORRUPTIONS:
        records = []
        for severity in SEVERITIES:
            corrupted = replace(evaluation, image_set=load(corruption, severity))
            protocol = {"attack": "none", "corruption": corruption, "severity": severity}
            records.append(corrupted.measure("corruption_accuracy", predict, protocol)[0])
        yield from records
        means[corruption] = mean_record(records, corruption)
        yield means[corruption]
    yield mean_record([means[corruption] for corruption in BENCHMARK_CORRUPTIONS], "mean_15")
    yield mean_record([means[corruption] for corruption in CORRUPTIONS], "mean_19")


def mean_record(records: list[Record], corruption: str) -> Record:
    """Returns the record of a mean: of one corruption over the severities, or over corruptions.

    Args:
        records: Records of the same number of images each.
        corruption: Name of the corruption, or of the mean over corruptions.
    """
    protocol = {**records[0]["protocol"], "corruption": corruption, "severity": "mean"}
    value = sum(record["value"] for record in records) / len(records)
    seconds = round(sum(record["seconds"] for record in records), 3)
    dataset = records[0]["dataset"].split("/")[0]  # TFDS' name of the whole set
    return {**records[0], "value": value, "dataset": dataset, "protocol": protocol, "seconds": seconds}
