"""Warm-up requests: TF Serving sends them to a model before clients do, so that none of them waits for a first call."""

from pathlib import Path

import numpy as np
import tensorflow as tf

# Where TF Serving looks for them; see SavedModelWarmup in its documentation.
WARM_UP = "assets.extra/tf_serving_warmup_requests"


def write_warm_up_requests(saved_model: Path, image_shape: tuple[int, int, int]) -> None:
    """Writes one request per signature, with a grey image.

    Args:
        saved_model: Folder that holds `saved_model.pb`.
        image_shape: Height, width and channels of the images.
    """
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    grey = np.full(image_shape, 127, np.uint8)
    inputs = {
        "serving_default": ("images", grey[np.newaxis] / np.float32(255)),
        "uint8": ("images", grey[np.newaxis]),
        "image_bytes": ("image_bytes", [tf.io.encode_png(grey).numpy()]),
    }
    path = saved_model / WARM_UP
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, (name, value) in inputs.items():
            request = predict_pb2.PredictRequest(
                # The server fills in which model it is.
                model_spec=model_pb2.ModelSpec(signature_name=signature),
                inputs={name: tf.make_tensor_proto(value)},
            )
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
