"""The two branches of a paired encoder."""

import enum


class Branch(enum.StrEnum):
    """Names of the two sets of batch-normalisation parameters and statistics, of which a forward pass uses one.

    Everything but batch normalisation is shared between the branches.
    """

    STANDARD = "standard"
    ADVERSARIAL = "adversarial"

    @classmethod
    def _missing_(cls, value: object) -> "Branch":
        raise ValueError(f"`branch` must be one of {[str(b) for b in cls]}. Received: branch={value!r}")
