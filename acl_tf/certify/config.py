"""The configuration of a certification."""

from typing import Annotated

from pydantic import Field, model_validator

from acl_tf.config import CommandConfig, Count, Number, Positive
from acl_tf.evaluate.config import EvaluationDataConfig

# The number of every draw must fit into int32, also those that fill up the last batch.
MOST_DRAWS = 2**30


class CertifyConfig(CommandConfig):
    """A certification by randomised smoothing. The defaults are the paper's.

    Attributes:
        model: Run folder, model folder, `.keras` file, folder of a SavedModel, or model on the Hub.
        sigma: Standard deviation of the noise, in pixels of [0, 1].
        n0: Number of draws that choose the class.
        n: Number of other draws, which certify the radius.
        alpha: Largest probability that a certificate is wrong.
        every: Certify every N-th image, starting with the first.
        data: Images to certify; by default those of the model's own data set.
        batch_size: Number of draws that pass the network together; it does not change the results.
        seed: Seed of the noise.

    Reference: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, section 4.
    """

    command = "certify"

    model: Annotated[str, Field(min_length=1)]
    sigma: Positive
    n0: Annotated[int, Field(ge=1, le=MOST_DRAWS)] = 100
    n: Annotated[int, Field(ge=1, le=MOST_DRAWS)] = 100_000
    alpha: Annotated[Number, Field(gt=0, lt=1)] = 0.001
    every: Count = 1
    data: EvaluationDataConfig = EvaluationDataConfig()
    batch_size: Annotated[int, Field(ge=1, le=2**20)] = 256
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _so_many_draws_can_prove_something(self) -> "CertifyConfig":
        if self.alpha ** (1 / self.n) <= 0.5:  # the lower bound where all draws agree
            raise ValueError(
                f"{self.n} draws prove nothing at alpha {self.alpha:g}, even where all agree; raise n. "
                f"Received: n={self.n}"
            )
        return self
