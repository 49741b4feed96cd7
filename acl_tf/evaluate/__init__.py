"""One file a metric; each yields records."""

from acl_tf.registry import Registry

#: What measures a classifier under what `--attack` names: `run(evaluation, target, name, settings)` yields `Measured`.
EVALUATORS = Registry(
    "attack",
    {
        "fgsm": "acl_tf.evaluate.robust:run",
        "pgd20": "acl_tf.evaluate.robust:run",
        "pgd": "acl_tf.evaluate.robust:run",
        "autoattack": "acl_tf.evaluate.autoattack:run",
        "unforeseen": "acl_tf.evaluate.unforeseen:run",
    },
)
