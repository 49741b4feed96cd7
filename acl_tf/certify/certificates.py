"""The certificates of a classifier, one per image, in a file that grows; imports neither TensorFlow nor Keras."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from acl_tf.files import write_atomically

logger = logging.getLogger(__name__)
NAME = "certificates"
STEP = 0.25  # between the radii of records


class ImageCertificate(NamedTuple):
    """The result of the votes on an image.

    Attributes:
        image: Index of the image in the data set.
        label: True class.
        predicted: Class that PREDICT returns; None: it abstains.
        certified: Class that CERTIFY returns; None: it abstains.
        radius: Certified l2 radius; 0 if CERTIFY abstains.
        counts: Votes of the n draws for each class.
        seconds: Time that it took.
    """

    image: int
    label: int
    predicted: int | None
    certified: int | None
    radius: float
    counts: list[int]
    seconds: float

    def holds_at(self, radius: float) -> bool:
        """Returns whether the right class is certified up to a radius."""
        return self.certified == self.label and self.radius >= radius


def certified_accuracy(certificates: Sequence[ImageCertificate], radius: float) -> float:
    """Returns the share of images whose right class is certified up to a radius."""
    return sum(certificate.holds_at(radius) for certificate in certificates) / len(certificates)


def accuracy(certificates: Sequence[ImageCertificate]) -> float:
    """Returns the share of images that the smoothed classifier classifies correctly; abstentions are wrong."""
    return sum(certificate.predicted == certificate.label for certificate in certificates) / len(certificates)


def abstentions(certificates: Sequence[ImageCertificate]) -> int:
    """Returns the number of images on which CERTIFY abstains."""
    return sum(certificate.certified is None for certificate in certificates)


def average_radius(certificates: Sequence[ImageCertificate]) -> float:
    """Returns the mean radius within which the right class is certified; images without one count as 0.

    Reference: Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", ICLR
    2020, Eq. 5.
    """
    held = [certificate.radius for certificate in certificates if certificate.holds_at(0)]
    return sum(held) / len(certificates)


class CertificateFile:
    """A file of JSON lines: first what the certificates depend on, then one line per certified image.

    A process that is killed loses at most the line that it is writing.

    Args:
        folder: Folder of the file, whose name is derived from `about`.
        about: Everything that the certificates depend on, as JSON.
        total: Number of images to certify.
        resume: Whether to continue an existing file; otherwise it is renamed to `….jsonl.before`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], total: int, resume: bool) -> None:
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        self.path = folder / f"{NAME}-{key}.jsonl"
        self.certificates = self._read_whole_lines() if resume and self.path.is_file() else []
        if self.path.is_file() and not resume:
            self.path.rename(self.path.with_name(f"{self.path.name}.before"))  # it may have taken days
        lines = [{"about": about, "images": total}, *(certificate._asdict() for certificate in self.certificates)]
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def add(self, certificate: ImageCertificate) -> None:
        """Adds the certificate of one more image."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(certificate._asdict()) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.certificates.append(certificate)

    def _read_whole_lines(self) -> list[ImageCertificate]:
        """Returns the certificates before the first line that is incomplete or out of order."""
        whole: list[ImageCertificate] = []
        for number, line in enumerate(self.path.read_bytes().splitlines()[1:], 2):
            try:
                certificate = _certificate(json.loads(line))
                if whole and certificate.image <= whole[-1].image:
                    raise ValueError(f"image {certificate.image} after {whole[-1].image}: two processes wrote it")
                whole.append(certificate)
            except (ValueError, TypeError) as error:
                logger.warning("%s, line %d, is damaged (%s); it continues from there.", self.path, number, error)
                break
        return whole


def read_certificates(path: Path) -> tuple[dict[str, Any], list[ImageCertificate]]:
    """Reads a file of certificates, finished or not.

    Returns:
        Everything that the certificates depend on, and the certificates.

    Raises:
        ValueError: If the file has another form. An incomplete last line is left out.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    head = json.loads(lines[0])
    if not isinstance(head, dict) or not isinstance(head.get("about"), dict):
        raise ValueError("its first line does not say what it is about")
    return head["about"], [_certificate(json.loads(line)) for line in lines[1:-1]]


def _certificate(values: Any) -> ImageCertificate:
    certificate = ImageCertificate(**values)
    numbers = (certificate.image, certificate.label, certificate.radius, certificate.seconds, *certificate.counts)
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"numbers expected, received {values}")
    return certificate
