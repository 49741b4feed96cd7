"""The parser of `--attack NAME[:key=value,…]`, which returns an evaluator."""

from acl_tf.config import assignments
from acl_tf.errors import UsageError
from acl_tf.evaluate import EVALUATORS, attack_names
from acl_tf.evaluate.evaluator import Evaluator
from acl_tf.evaluate.robust import RobustAccuracy
from acl_tf.registry import nearest

CLEAN = "none"


def parse_attack(text: str) -> Evaluator:
    """Returns the evaluator that a text of the form `none` or `NAME[:key=value,…]` names.

    Returns:
        The evaluator of the accuracy under that attack.

    Raises:
        UsageError: If the name, a key or a value is wrong.
    """
    name, _, rest = text.partition(":")
    if name == CLEAN and rest:
        raise UsageError(f"The attack {CLEAN} has no parameters. Received: {text!r}")
    choices = attack_names()
    if name not in choices:
        raise UsageError(
            f"Unknown attack{nearest(name, choices) or '.'} Known: {', '.join(choices)}; parameters follow a "
            f"colon, for example pgd:epsilon=8/255,steps=50. Received: {text!r}"
        )
    evaluator = EVALUATORS[name] if name in EVALUATORS else RobustAccuracy
    try:
        return evaluator(name, **assignments(rest.split(",") if rest else []))
    except UsageError as error:
        raise UsageError(f"The attack {text!r} is not as it should be. {error}") from error
