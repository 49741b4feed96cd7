"""AutoAttack: the suite, its attacks, and how they are run."""
