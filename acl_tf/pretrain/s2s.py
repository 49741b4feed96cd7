"""S2S: both views clean. This is SimCLR."""

from acl_tf.models.branch import Branch
from acl_tf.pretrain.contrastive import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Term, Views


class S2S(ContrastiveObjective):
    """Standard-to-standard contrast on the standard branch; nothing is attacked.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
    """

    attacks = False
    default_branch = Branch.STANDARD
    terms_logged = ("standard",)

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        return (Pass(views, Branch.STANDARD),)

    def terms(self, *projections: Projections) -> dict[str, Term]:
        return {"standard": self.term(projections[0])}
