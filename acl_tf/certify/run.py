"""Certified accuracy by randomised smoothing, as `acl-tf certify` measures it.

Reference: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from acl_tf.certify import bounds
from acl_tf.certify.certificates import (
    STEP,
    CertificateFile,
    ImageCertificate,
    abstentions,
    accuracy,
    average_radius,
    certified_accuracy,
)
from acl_tf.certify.config import CertifyConfig
from acl_tf.certify.vote_counter import VoteCounter
from acl_tf.classifiers.loading import load_classifier
from acl_tf.classifiers.smoothed import ESTIMATION, SELECTION, SmoothedClassifier
from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import fingerprint_with_labels, labels_of, take
from acl_tf.evaluate.images import load_images
from acl_tf.evaluate.output import add_to_model, check_output
from acl_tf.evaluate.progress import EvaluationProgress
from acl_tf.evaluate.record import record
from acl_tf.records import RECORDS, Record, add_records
from acl_tf.training.interruption import Interruption
from acl_tf.training.workers import Workers


def certify(config: CertifyConfig, output: Path, resume: bool = False, workers: Workers | None = None) -> list[Record]:
    """Certifies the smoothed classifier on images and adds the records to the folder of the model.

    The certificates of all images are written to a file in `output`.

    Args:
        config: Configuration of the certification.
        output: Folder for the records and certificates, which the chief writes.
        resume: Whether to continue with existing certificates.
        workers: Workers that share the draws of each image; None: this process, on one device.

    Returns:
        The records: accuracy and abstentions, then certified accuracy from radius 0 in steps of 1/4, then the average
        radius. Empty in workers that are not the chief.

    Raises:
        AclTfError: If anything about model, images or workers is wrong.
        Interrupted: If a signal asked the process to stop.
    """
    workers = workers or Workers()
    output = output.resolve()
    tf.config.experimental.enable_tensor_float_32_execution(False)  # reported numbers have full precision
    with workers.agreement(config) as same:
        model = load_classifier(config.model)
        check_output(output, model)
        model.check_noise(config.sigma)
        everything = load_images(config.data, model)
        rows = np.arange(0, len(everything), config.every)
        images = take(everything, rows)
        same["images"] = [model.sha256, *fingerprint_with_labels(images)]
    with workers.watched(), workers.strategy.scope():
        if workers.replicas > 1:  # loads it again, with a copy for each replica
            model = load_classifier(config.model)
        # `attacked` is the same function, faster.
        smoothed = SmoothedClassifier(model.attacked, config.sigma, config.n, config.seed)
    about = {"protocol": protocol(config), "dataset": images.name, "split": images.split}
    about |= {"model_sha256": model.sha256, "images": fingerprint_with_labels(images)}
    with Interruption() as interruption:
        counter = VoteCounter(smoothed, len(model.classes), config.batch_size, workers, interruption)
        file = certify_images(config, counter, images, rows, about, output, resume)
    records = records_of(config, images, model.sha256, file.certificates) if file else []
    if file:
        add_records(output / RECORDS, records)
        add_to_model(model, records, output)
    workers.wait()
    return records


def certify_images(
    config: CertifyConfig,
    counter: VoteCounter,
    images: ImageSet,
    indices: np.ndarray,
    about: Mapping[str, Any],
    output: Path,
    resume: bool,
) -> CertificateFile | None:
    """Certifies all images without a certificate, and shows the progress.

    Args:
        config: Configuration of the certification.
        counter: Counter of the votes.
        images: Images to certify, with labels.
        indices: Indices of the images in the data set, integers of shape `(n,)`; the noise depends on them.
        about: Everything that the certificates depend on, as JSON.
        output: Folder of the file with the certificates.
        resume: Whether to continue an existing file.

    Returns:
        The file with all certificates; None in workers that are not the chief.

    Raises:
        Interrupted: If a signal asked the process to stop.
    """
    workers = counter.workers
    file = CertificateFile(output, about, len(images), resume) if workers.is_chief else None
    (done,) = workers.from_chief(lambda: [np.array(len(file.certificates) if file else 0)])
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(EvaluationProgress()) if file else None
        for place in range(int(done), len(images)):
            if file and progress:
                progress(f"sigma {config.sigma:g}", place, len(images), so_far(file.certificates))
            certificate = certify_image(config, counter, images, place, int(indices[place]))
            if file:
                file.add(certificate)
        if file and progress:
            progress(f"sigma {config.sigma:g}", len(images), len(images), so_far(file.certificates))
    return file


def certify_image(
    config: CertifyConfig, counter: VoteCounter, images: ImageSet, place: int, index: int
) -> ImageCertificate:
    """Certifies one image.

    Args:
        config: Configuration of the certification.
        counter: Counter of the votes.
        images: Images with labels, among them the one to certify.
        place: Row of the image in `images`.
        index: Index of the image in the data set, which determines the noise.
    """
    begin = time.perf_counter()
    image = images.images[place].astype(np.float32) / np.float32(255.0)
    selection = counter(image, index, SELECTION, config.n0)
    counts = counter(image, index, ESTIMATION, config.n)
    certified, radius = bounds.certificate_of(selection, counts, config.sigma, config.alpha)
    return ImageCertificate(
        image=index,
        label=int(labels_of(images)[place]),
        predicted=bounds.prediction_of(counts, config.alpha),
        certified=certified,
        radius=radius,
        counts=counts.tolist(),
        seconds=round(time.perf_counter() - begin, 3),
    )


def protocol(config: CertifyConfig) -> dict[str, Any]:
    """Returns the protocol of the certification, for its records."""
    names = ("sigma", "n0", "n", "alpha", "seed")
    subset = {"every": config.every} if config.every > 1 else {}
    return {"attack": "none", **{name: getattr(config, name) for name in names}, **subset}


def records_of(
    config: CertifyConfig, images: ImageSet, model_sha256: str, certificates: Sequence[ImageCertificate]
) -> list[Record]:
    """Returns the records of certified images.

    Args:
        config: Configuration of the certification.
        images: All certified images.
        model_sha256: SHA-256 of `model.keras`.
        certificates: Certificate of each image.
    """
    seconds = sum(certificate.seconds for certificate in certificates)
    largest = bounds.largest_radius(config.n, config.sigma, config.alpha)
    radii = [STEP * number for number in range(int(largest / STEP) + 1)]
    measured: list[tuple[str, float, dict[str, Any]]] = [
        ("accuracy", accuracy(certificates), {}),
        ("abstention", abstentions(certificates) / len(certificates), {}),
        *(
            ("certified_accuracy", certified_accuracy(certificates, radius), {"norm": "l2", "radius": radius})
            for radius in radii
        ),
        ("average_certified_radius", average_radius(certificates), {"norm": "l2"}),
    ]
    return [
        record(metric, value, images, {**protocol(config), **more}, model_sha256, seconds)
        for metric, value, more in measured
    ]


def so_far(certificates: Sequence[ImageCertificate]) -> str:
    """Returns the text beside the progress bar."""
    if not certificates:
        return ""
    certified = 100 * certified_accuracy(certificates, 0)
    return f"certified {certified:.1f} %, {abstentions(certificates)} abstentions"
