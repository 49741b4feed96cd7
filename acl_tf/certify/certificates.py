"""The certificates of a classifier, image by image, in a file that grows; it imports neither TensorFlow nor Keras."""

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
STEP = 0.25  # between the radii that records are about


class ImageCertificate(NamedTuple):
    """What the votes on an image say.

    Attributes:
        image: Index in the data set.
        label: The true class.
        predicted: By PREDICT; None: it abstains.
        certified: By CERTIFY; None: it abstains.
        radius: l2; 0 where CERTIFY abstains.
        counts: Votes for each class, of the n draws.
        seconds: How long it took.
    """

    image: int
    label: int
    predicted: int | None
    certified: int | None
    radius: float
    counts: list[int]
    seconds: float

    def holds_at(self, radius: float) -> bool:
        """Tells whether the right class is certified up to a radius."""
        return self.certified == self.label and self.radius >= radius


def certified_accuracy(certificates: Sequence[ImageCertificate], radius: float) -> float:
    """Returns the share of images whose right class is certified up to a radius."""
    return sum(certificate.holds_at(radius) for certificate in certificates) / len(certificates)


def accuracy(certificates: Sequence[ImageCertificate]) -> float:
    """Returns the share of images that the smoothed classifier gets right; to abstain is wrong."""
    return sum(certificate.predicted == certificate.label for certificate in certificates) / len(certificates)


def abstentions(certificates: Sequence[ImageCertificate]) -> int:
    """Returns on how many images CERTIFY abstains."""
    return sum(certificate.certified is None for certificate in certificates)


def average_radius(certificates: Sequence[ImageCertificate]) -> float:
    """Returns the mean radius in which the right class is certified; 0 counts where it is not.

    Reference: Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", ICLR
    2020, Eq. 5.
    """
    held = [certificate.radius for certificate in certificates if certificate.holds_at(0)]
    return sum(held) / len(certificates)


class CertificateFile:
    """JSON lines: what they are about, then one an image, added when it is done.

    A process that is killed loses the line that it is writing.

    Args:
        folder: Of the file, which is named after what it is about.
        about: Everything that the certificates depend on, as JSON.
        total: How many images there will be.
        resume: Whether what is there is taken up; else it is put aside, as `….jsonl.before`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], total: int, resume: bool) -> None:
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        self.path = folder / f"{NAME}-{key}.jsonl"
        self.certificates = self._kept() if resume and self.path.is_file() else []
        if self.path.is_file() and not resume:
            self.path.rename(self.path.with_name(f"{self.path.name}.before"))  # it may have taken days
        lines = [{"about": about, "images": total}, *(kept._asdict() for kept in self.certificates)]
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def add(self, certificate: ImageCertificate) -> None:
        """Writes what is known of one more image."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(certificate._asdict()) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.certificates.append(certificate)

    def _kept(self) -> list[ImageCertificate]:
        """Returns what a killed process has left: the lines up to the first that is not whole, or out of order."""
        kept: list[ImageCertificate] = []
        for number, line in enumerate(self.path.read_bytes().splitlines()[1:], 2):
            try:
                certificate = _certificate(json.loads(line))
                if kept and certificate.image <= kept[-1].image:
                    raise ValueError(f"image {certificate.image} after {kept[-1].image}: two processes wrote it")
                kept.append(certificate)
            except (ValueError, TypeError) as error:
                logger.warning("%s, line %d, is damaged (%s); it goes on from there.", self.path, number, error)
                break
        return kept


def read_certificates(path: Path) -> tuple[dict[str, Any], list[ImageCertificate]]:
    """Reads a file of certificates, finished or not.

    Returns:
        What they are about, and the certificates.

    Raises:
        ValueError: If it holds something else; a last line that is cut short is left out.
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
