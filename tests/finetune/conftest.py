"""What the tests of fine-tuning share."""

from collections.abc import Iterator

import pytest

from tests.finetune.tiny import tiny_architecture


@pytest.fixture(scope="package", autouse=True)
def architecture() -> Iterator[None]:
    with tiny_architecture():
        yield
