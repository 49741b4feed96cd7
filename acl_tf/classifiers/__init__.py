"""Classifiers to evaluate: model folders, `.keras` files, SavedModels, and smoothed classifiers."""
