"""What the methods share that contrast two views by NT-Xent."""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from acl_tf.config import Positive, Section
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.branch import Branch
from acl_tf.pretrain.objective import Objective
from acl_tf.pretrain.passes import Projections, Term, Views


class ContrastiveObjective(Objective):
    """Learns to recognise another view of an image among all views of the batch.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 2.2.
    """

    class Settings(Section):
        """Settings of a contrastive method.

        Attributes:
            temperature: Divisor of the cosine similarities.
        """

        temperature: Positive = 0.5

    defaults: ClassVar[Mapping[str, Any]] = {
        "attack": {"name": "pgd", "epsilon": 8 / 255, "step_size": 2 / 255, "steps": 5}
    }

    def contrast(self, projections: Projections) -> tf.Tensor:
        """Returns NT-Xent between the projections of views, one loss per view."""
        return nt_xent(*projections, temperature=self.settings.temperature)

    def attack_jointly(self, views: Views, seed: tf.Tensor) -> Views:
        """Attacks all views on the adversarial branch, in inference mode: no weight or statistic changes."""
        network = self.frozen(Branch.ADVERSARIAL)
        return self.run_attack(views, lambda images: self.contrast(tf.split(network(images), len(views))), seed)

    def term(self, projections: Projections, weight: tf.Tensor | float = 1.0) -> Term:
        """Returns the contrast of views as a term of the loss."""
        return Term(self.contrast(projections), weight)
