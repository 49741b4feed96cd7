"""Checks of a model before any of it runs: paths and sizes, Keras files, SavedModels."""
