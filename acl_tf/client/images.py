"""Image files as they are sent: undecoded, in batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from acl_tf.errors import UsageError

BATCH_SIZE = 32  # images in a request
BATCH_BYTES = 2**25  # at most, in a request of several images
IMAGE_BYTES = 2**30  # a gRPC message holds less than 2 GiB


def check_images(files: Sequence[Path]) -> None:
    """Checks that all files can be read before the first is sent; the server decides whether they are images.

    Args:
        files: Paths of the files, any number.

    Raises:
        UsageError: If one is missing, unreadable, not a file, or too large to be sent.
    """
    for file in files:
        try:
            if not file.is_file():
                raise UsageError(f"No such image file. Received: {str(file)!r}")
            file.open("rb").close()
            size = file.stat().st_size
        except OSError as error:
            raise UsageError(f"An image cannot be read: {error.strerror}. Received: {str(file)!r}") from error
        if size > IMAGE_BYTES:
            raise UsageError(f"An image has at most {IMAGE_BYTES} bytes. Received: {size} bytes in {str(file)!r}")


def batches(files: Sequence[Path]) -> Iterator[list[tuple[Path, bytes]]]:
    """Yields batches of files and their contents, in order, each as large as fits into a request.

    Args:
        files: Paths of files that have passed `check_images`.
    """
    batch: list[tuple[Path, bytes]] = []
    size = 0
    for file in files:
        content = file.read_bytes()
        if batch and (len(batch) == BATCH_SIZE or size + len(content) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((file, content))
        size += len(content)
    if batch:
        yield batch
