"""Classifiers to evaluate: model folders, `.keras` files, SavedModels, and smoothed classifiers."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports

if TYPE_CHECKING:
    from acl_tf.classifiers.loading import LoadedClassifier as LoadedClassifier
    from acl_tf.classifiers.loading import load_classifier as load_classifier
    from acl_tf.classifiers.smoothed import SmoothedClassifier as SmoothedClassifier
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "LoadedClassifier": "acl_tf.classifiers.loading:LoadedClassifier",
            "SmoothedClassifier": "acl_tf.classifiers.smoothed:SmoothedClassifier",
            "load_classifier": "acl_tf.classifiers.loading:load_classifier",
        },
    )
