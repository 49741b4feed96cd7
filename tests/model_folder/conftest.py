"""The model folder to spoil, and everything that would load it, as the tests of `acl_tf.safety` use them."""

from tests.safety.conftest import folder, good_folder, marker, refusals

__all__ = ["folder", "good_folder", "marker", "refusals"]
