"""The evaluation of a classifier, as `acl-tf evaluate` runs it."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from acl_tf.classifiers.loading import LoadedClassifier, load_classifier
from acl_tf.classifiers.smoothed import SmoothedClassifier
from acl_tf.data.corrupted import CORRUPTIONS, SEVERITIES, check_corrupted_folder
from acl_tf.data.splits import fingerprint_with_labels
from acl_tf.errors import UsageError
from acl_tf.evaluate import corruptions
from acl_tf.evaluate.base import Evaluation, Target, no_progress
from acl_tf.evaluate.config import EvaluateConfig
from acl_tf.evaluate.evaluator import Circumstances
from acl_tf.evaluate.images import TFDS, load_corrupted, load_images
from acl_tf.evaluate.output import add_to_model, check_output
from acl_tf.evaluate.progress import EvaluationProgress
from acl_tf.evaluate.unfinished import Unfinished
from acl_tf.evaluate.worst_case import worst_case
from acl_tf.records import RECORDS, Record, add_records
from acl_tf.training.interruption import Interruption
from acl_tf.training.workers import Workers


def evaluate(
    config: EvaluateConfig, output: Path, resume: bool = False, workers: Workers | None = None
) -> list[Record]:
    """Measures a classifier and adds the records to its folder.

    Args:
        config: Configuration of the evaluation.
        output: Folder for the records and for unfinished measurements; only the chief writes to it.
        resume: Whether unfinished measurements of an earlier evaluation are continued.
        workers: Workers that measure together; None: this process, on one device.

    Returns:
        The records, in the order in which they were measured.

    Raises:
        AclTfError: If anything about model, images, attacks or workers is wrong.
        Interrupted: If a signal asked the process to end.
    """
    workers = workers or Workers()
    output = output.resolve()
    tf.config.experimental.enable_tensor_float_32_execution(False)  # results are reported in full precision
    with workers.agreement(config) as same:
        model, surrogate = load_classifiers(config)
        check_settings(config, model, surrogate, output, workers.replicas)
        first = CORRUPTIONS[0], SEVERITIES[0]  # used if there are only corruptions
        images = load_images(config.data, model) if config.evaluators() else load_corrupted(config, model, *first)
        same["images"] = [model.sha256, surrogate and surrogate.sha256, *fingerprint_with_labels(images)]
    with workers.watched(), workers.strategy.scope():
        if workers.replicas > 1:  # loaded again, to have a copy on each replica
            model, surrogate = load_classifiers(config)
        target = build_target(config, model, surrogate)
    unfinished = Unfinished(output, resume) if workers.is_chief else None
    records = []
    with Interruption() as interruption, contextlib.ExitStack() as stack:
        progress = stack.enter_context(EvaluationProgress()) if workers.is_chief else no_progress
        evaluation = Evaluation(
            images,
            config.seed,
            config.batch_size,
            model.sha256,
            unfinished=unfinished,
            interruption=interruption,
            progress=progress,
            workers=workers,
        )
        try:
            for record in measurements(config, evaluation, target, model, surrogate):
                if workers.is_chief:
                    add_records(output / RECORDS, [record])
                records.append(record)
        finally:
            if workers.is_chief:
                add_to_model(model, records, output)
    if unfinished:
        unfinished.discard()
    workers.wait()
    return records


def load_classifiers(config: EvaluateConfig) -> tuple[LoadedClassifier, LoadedClassifier | None]:
    """Loads the model to evaluate, and the surrogate if there is one; raises the errors of `load_classifier`."""
    return load_classifier(config.model), load_classifier(config.surrogate) if config.surrogate else None


def check_settings(
    config: EvaluateConfig, model: LoadedClassifier, surrogate: LoadedClassifier | None, output: Path, replicas: int = 1
) -> None:
    """Checks, before anything expensive begins, that the evaluation can run.

    Raises:
        UsageError: If model, surrogate, attacks, replicas, corrupted images and output folder do not go together.
        DataError: If corrupted images are missing, or of another size than the model takes.
    """
    check_output(output, model)
    if config.sigma:
        model.check_noise(config.sigma)
    if surrogate and (surrogate.image_size, len(surrogate.classes)) != (model.image_size, len(model.classes)):
        raise UsageError(
            f"The surrogate must take the images of the model and know its classes: {model.summary()}. "
            f"Received: {surrogate.name!r}, {surrogate.summary()}"
        )
    stochastic = config.sigma is not None
    about = Circumstances(len(model.classes), model.image_size, surrogate is not None, replicas, stochastic)
    for evaluator in config.evaluators():
        evaluator.check(about)
    if config.corruptions:
        if config.corruptions != TFDS:
            check_corrupted_folder(Path(config.corruptions).expanduser())
        load_corrupted(config, model, CORRUPTIONS[0], SEVERITIES[0])


def build_target(config: EvaluateConfig, model: LoadedClassifier, surrogate: LoadedClassifier | None) -> Target:
    """Returns the model to evaluate, smoothed if the configuration says so.

    Attacks on a smoothed model see one draw of the noise at a time, and average over `eot` draws. A surrogate is not
    smoothed.

    Args:
        config: Configuration of the evaluation.
        model: Classifier to evaluate.
        surrogate: Classifier on which attacks are crafted; None: `model`.
    """
    if config.sigma is None:
        return Target(model.logits, (surrogate or model).attacked, len(model.classes))
    smoothed = SmoothedClassifier(model.logits, config.sigma, config.resolved_samples, config.seed)
    if surrogate:
        return Target(smoothed, surrogate.attacked, len(model.classes))
    seen = SmoothedClassifier(model.attacked, config.sigma, 1, config.seed)
    return Target(smoothed, seen, len(model.classes))


def measurements(
    config: EvaluateConfig,
    evaluation: Evaluation,
    target: Target,
    model: LoadedClassifier,
    surrogate: LoadedClassifier | None,
) -> Iterator[Record]:
    """Yields the records that a configuration asks for, each as soon as it is measured.

    Args:
        config: Configuration of the evaluation.
        evaluation: Images, seed, batch size.
        target: Model to evaluate.
        model: Classifier from which `target` was made.
        surrogate: Classifier on which attacks are crafted; None: `model`.
    """
    noise = {"sigma": config.sigma, "samples": config.resolved_samples} if config.sigma else {}
    plain = evaluation.about({**noise, "seed": config.seed} if noise else {})
    attacks = evaluation.about({**noise, **({"surrogate_sha256": surrogate.sha256} if surrogate else {})})
    withstood = []
    for evaluator in config.evaluators():
        for measured in evaluator.run(attacks if evaluator.attacks else plain, target):
            yield measured.record
            withstood += [measured] if measured.withstood is not None else []
    if len(withstood) > 1:
        yield worst_case(withstood)
    if config.corruptions:
        load = functools.partial(load_corrupted, config, model)
        yield from corruptions.run(plain, target.model, load)
