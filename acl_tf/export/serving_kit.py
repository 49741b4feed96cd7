"""The serving kit beside a SavedModel: configuration of TF Serving, ways to start it, and examples of clients."""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2

from acl_tf.errors import UsageError
from acl_tf.files import write_atomically

IMAGE = "tensorflow/serving:2.21.0"
FILES = (
    "models.config",
    "docker-compose.yml",
    "kubernetes.yaml",
    "clients/curl.sh",
    "clients/rest_client.py",
    "clients/grpc_client.py",
    "README.md",
)
CLASSES = "classes.txt"
BATCHING = "batching_parameters.txt"
# Names that need no quotes in a URL, path, shell, YAML string or text protocol buffer, and fit into a Kubernetes name.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,48}[A-Za-z0-9])?")


def write_serving_kit(
    base_path: Path,
    name: str,
    kind: str,
    image_shape: tuple[int, int, int],
    classes: Sequence[str] | None,
    batching: bool = False,
) -> None:
    """Writes the kit beside the versions of a model; TF Serving ignores files and folders that are not numbers.

    Existing files of the same names are replaced, each atomically.

    Args:
        base_path: Folder that holds the versions: `1/`, `2/`, …
        name: Name of the model for clients.
        kind: Kind of the model, `"encoder"` or `"classifier"`.
        image_shape: Height, width and channels of the input images.
        classes: Names of a classifier's classes, if they are known.
        batching: Whether the server computes requests together: good for GPUs, slower on CPUs.

    Raises:
        UsageError: If the name, or the name of a class, cannot be written into the files.
        OSError: If they cannot be written.
    """
    check_name(name)
    check_classes(classes or ())
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("acl_tf.export"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    (base_path / "clients").mkdir(parents=True, exist_ok=True)
    for file in (*FILES, *([BATCHING] if batching else [])):
        template = templates.get_template(f"{Path(file).name}.jinja")
        content = template.render(
            name=name,
            resource=resource_name(name),
            kind=kind,
            image_shape=image_shape,
            classes=classes,
            image=IMAGE,
            batching=batching,
        )
        write_atomically(base_path / file, content)
    if classes:
        write_atomically(base_path / CLASSES, "".join(f"{label}\n" for label in classes))
    left = [] if classes else [CLASSES]
    for file in [*left, *([] if batching else [BATCHING])]:
        (base_path / file).unlink(missing_ok=True)  # of an earlier model


def check_name(name: str) -> None:
    """Checks the name of a served model, which is used in URLs, paths and configuration.

    Raises:
        UsageError: If it would need quotes or is too long.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            "The name of a served model has at most 50 letters (A–Z), digits, dots, hyphens and underscores, and "
            f"begins and ends with a letter or digit; choose one by --name. Received: {name!r}"
        )


def check_classes(classes: Sequence[str]) -> None:
    """Checks the names of classes, which are written to a file, one per line.

    Raises:
        UsageError: If a name is not exactly one line.
    """
    broken = [label for label in classes if label.splitlines() != [label]]
    if broken:
        raise UsageError(f"{CLASSES} has a line for each class, so names are one line. Received: {broken[0]!r}")


def resource_name(name: str) -> str:
    """Returns the name of a model's Kubernetes resources, of lower-case letters, digits and hyphens."""
    return "serving-" + re.sub("[^a-z0-9]+", "-", name.lower())
