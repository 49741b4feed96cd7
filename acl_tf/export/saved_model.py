"""Export of a Keras model as a SavedModel, with signatures for TF Serving and a function for fine-tuning."""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from acl_tf.errors import AclTfError, UsageError
from acl_tf.export.warm_up import write_warm_up_requests

# Outputs of a signature, computed from the output of the Keras model.
OUTPUTS: dict[str, Callable[[tf.Tensor], dict[str, tf.Tensor]]] = {
    "encoder": lambda features: {"features": features},
    "classifier": lambda logits: {"logits": logits, "probabilities": tf.nn.softmax(logits)},
}

CHANNELS = (1, 3)  # what JPEG and PNG files are decoded to


def export_saved_model(model: keras.Model, path: Path, kind: str) -> None:
    """Writes a SavedModel for inference, with warm-up requests for TF Serving.

    Args:
        model: A plain Keras model of float32 images in [0, 1], of shape `(batch, height, width, channels)`.
        path: Folder for the SavedModel. It is not written atomically: give a temporary one where that matters.
        kind: `"encoder"`: the signatures return `features`; `"classifier"`: `logits` and `probabilities`.

    Raises:
        UsageError: If the model does not take images of one size.
        AclTfError: If it cannot be written.
    """
    _save(_root(model), model, path, kind)


def export_trainable_saved_model(model: keras.Model, path: Path, kind: str) -> None:
    """Writes a SavedModel that is served like one of `export_saved_model`, and can be fine-tuned after loading.

    The loaded object follows TensorFlow Hub's interface of reusable SavedModels: `loaded(images, training=True)`
    returns features or logits and moves the statistics of batch normalisation, `loaded.trainable_variables` is what an
    optimiser updates. None of it is a signature, so no client of a server reaches it.

    Args:
        model: Plain Keras model, as in `export_saved_model`.
        path: Folder for the SavedModel, as in `export_saved_model`.
        kind: `"encoder"` or `"classifier"`, as in `export_saved_model`.

    Raises:
        UsageError: If the model does not take images of one size.
        AclTfError: If it cannot be written.

    Reference: https://www.tensorflow.org/hub/reusable_saved_models
    """
    root = _root(model)
    root.trainable_variables = [variable.value for variable in model.trainable_variables]
    root.regularization_losses = []
    root.__call__ = tf.function(lambda images, training=False: model(images, training=training))
    for training in (False, True):
        root.__call__.get_concrete_function(
            tf.TensorSpec((None, *image_shape(model)), tf.float32, "images"), training=training
        )
    _save(root, model, path, kind)


def signatures(model: keras.Model, kind: str) -> "dict[str, tf.types.experimental.ConcreteFunction]":
    """Returns the functions that are served: `serving_default` (float32 images), `uint8`, `image_bytes` (JPEG or PNG).

    All take batches of any size. Images of another size or number of axes make the graph fail with a message.

    Args:
        model: Plain Keras model, as in `export_saved_model`.
        kind: `"encoder"` or `"classifier"`, as in `export_saved_model`.
    """
    shape = image_shape(model)

    def serving_default(images: tf.Tensor) -> dict[str, tf.Tensor]:
        given = with_checked_shape(images, shape)
        batch = tf.shape(given)[0]
        # Convolutions of oneDNN fail on an empty batch; padding by nothing costs nothing.
        padded = tf.pad(given, [[0, tf.cast(batch == 0, tf.int32)], [0, 0], [0, 0], [0, 0]])
        outputs = OUTPUTS[kind](model(tf.ensure_shape(padded, (None, *shape)), training=False))
        return {name: output[:batch] for name, output in outputs.items()}

    def of_files(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return of_floats(in_unit_range(decoded(image_bytes, shape)))

    of_floats = tf.function(serving_default).get_concrete_function(tf.TensorSpec((None, *shape), tf.float32, "images"))
    return {
        "serving_default": of_floats,
        "uint8": tf.function(lambda images: of_floats(in_unit_range(images))).get_concrete_function(
            tf.TensorSpec((None, *shape), tf.uint8, "images")
        ),
        "image_bytes": tf.function(of_files).get_concrete_function(tf.TensorSpec((None,), tf.string, "image_bytes")),
    }


def with_checked_shape(images: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Returns images unchanged if each has the given shape; otherwise the graph fails with a message when it runs.

    A server feeds whatever a client sends, and a network that averages over positions accepts images of any size.

    Args:
        images: Batch of images, perhaps of another shape.
        shape: Height, width and channels.
    """
    # Hides the declared shape, which TensorFlow would take for that of the fed images when it optimises the graph.
    fed = tf.raw_ops.PlaceholderWithDefault(input=images, shape=tf.TensorShape(None))
    received = tf.shape(fed)
    padded = tf.concat([received, tf.zeros([4], tf.int32)], 0)  # so that any number of axes can be compared
    fits = (tf.size(received) == 4) & tf.reduce_all(padded[1:4] == shape)
    message = f"Images must have the shape (batch, {', '.join(map(str, shape))}). Received:"
    with tf.control_dependencies([tf.raw_ops.Assert(condition=fits, data=[message, received], summarize=8)]):
        return tf.ensure_shape(fed, (None, *shape))


def decoded(image_bytes: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes JPEG and PNG files, and resizes them like training images (antialiased bicubic).

    Args:
        image_bytes: Contents of the files, of shape `(batch,)`.
        shape: Height, width and channels of the result.

    Returns:
        uint8 images, of shape `(batch, height, width, channels)`.
    """

    def decode(file: tf.Tensor) -> tf.Tensor:
        # Reads PNG as well; the accurate transform gives the same pixels as Pillow.
        image = tf.io.decode_jpeg(file, channels=shape[-1], dct_method="INTEGER_ACCURATE")
        resized = tf.image.resize(image, shape[:2], tf.image.ResizeMethod.BICUBIC, antialias=True)
        return tf.ensure_shape(tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8), shape)

    return tf.map_fn(decode, image_bytes, fn_output_signature=tf.uint8)


def in_unit_range(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 images as float32 in [0, 1]."""
    return tf.cast(images, tf.float32) / 255


def image_shape(model: keras.Model) -> tuple[int, int, int]:
    """Returns height, width and channels of the images that a model takes.

    Raises:
        UsageError: If it takes something else, images of any size, or of neither 1 nor 3 channels.
    """
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise UsageError(f"A served model takes images of one size, (batch, height, width, 3). Received: {shape}")
    if shape[-1] not in CHANNELS:
        raise UsageError(f"A served model takes images of 3 channels, or of 1. Received: {shape}")
    return shape[1:]


def _root(model: keras.Model) -> "tf.__internal__.tracking.AutoTrackable":
    """Returns the root object of a SavedModel: it holds the variables of the model, but no layers."""
    # Its public subclasses do not fit: tf.Module's `variables` and `trainable_variables` are properties, which
    # nothing can be assigned to, and tf.train.Checkpoint saves a counter of its own.
    root = tf.__internal__.tracking.AutoTrackable()
    root.variables = [variable.value for variable in model.variables]
    return root


def _save(root: "tf.__internal__.tracking.AutoTrackable", model: keras.Model, path: Path, kind: str) -> None:
    functions = signatures(model, kind)
    try:
        tf.saved_model.save(root, str(path), signatures=functions)
        write_warm_up_requests(path, image_shape(model))
    except tf.errors.OpError as error:  # such as a full disk: TensorFlow writes the files itself
        raise AclTfError(f"Cannot write a SavedModel into {path.parent}: {_reason(error)}.") from error


def _reason(error: tf.errors.OpError) -> str:
    """Returns the reason that the system gave, from a message `{{node …}} PATH; REASON [Op:…]`."""
    return " ".join(error.message.rsplit("; ", 1)[-1].split(" [Op:")[0].split())
