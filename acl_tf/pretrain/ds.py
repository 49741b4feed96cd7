"""DS, the dual stream: a clean pair and an attacked pair of the same views. ACL's best variant."""

import tensorflow as tf

from acl_tf.config import NonNegative
from acl_tf.models.branch import Branch
from acl_tf.pretrain.contrastive import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Term, Views


class DS(ContrastiveObjective):
    """S2S on the standard branch plus `alpha` times A2A on the adversarial branch, from the same two views.

    The loss is (L_standard + alpha · L_adversarial) / (1 + alpha), the released code's at alpha = 1; the paper
    leaves the division out.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Algorithm 1.
    """

    class Settings(ContrastiveObjective.Settings):
        """Settings of DS.

        Attributes:
            alpha: Weight of the adversarial stream, beside 1 for the standard one.
        """

        alpha: NonNegative = 1.0

    terms_logged = ("standard", "adversarial")

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        return self.attack_jointly(views, seed)

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        return Pass(views, Branch.STANDARD), Pass(perturbed, Branch.ADVERSARIAL)

    def terms(self, *projections: Projections) -> dict[str, Term]:
        standard, adversarial = projections
        weight = 1 / (1 + self.settings.alpha)
        return {
            "standard": self.term(standard, weight),
            "adversarial": self.term(adversarial, self.settings.alpha * weight),
        }
