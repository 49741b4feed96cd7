"""Recipes: one YAML file a run, headed by its paper, table, command, cost and expected numbers."""
