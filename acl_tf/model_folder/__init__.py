"""The model folder: what a run leaves behind, and what a Hub repository holds."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports

if TYPE_CHECKING:
    from acl_tf.model_folder.write import TrainedModel as TrainedModel
    from acl_tf.model_folder.write import write_model_folder as write_model_folder
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "TrainedModel": "acl_tf.model_folder.write:TrainedModel",
            "write_model_folder": "acl_tf.model_folder.write:write_model_folder",
        },
    )
