"""In TensorFlow 2.15 with tensorflow-addons: serves a SavedModel of acl-tf, and fine-tunes it.

`python tf215_finetune.py SAVED_MODEL INPUTS OUTPUTS`: two `.npz` files.
"""

import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

STEPS = 12


def main() -> None:
    saved_model, inputs, outputs = sys.argv[1:]
    loaded = tf.saved_model.load(saved_model)
    with np.load(inputs) as arrays:
        images, labels, pixels = tf.constant(arrays["images"]), tf.constant(arrays["labels"]), arrays["pixels"]
    found = {"tensorflow": tf.__version__, "tensorflow_addons": tfa.__version__}
    found["serving_default"] = loaded.signatures["serving_default"](images)["logits"].numpy()
    found["uint8"] = loaded.signatures["uint8"](tf.constant(pixels))["logits"].numpy()
    files = tf.constant([tf.io.encode_png(image).numpy() for image in pixels])
    found["image_bytes"] = loaded.signatures["image_bytes"](files)["logits"].numpy()
    found["call"] = loaded(images, training=False).numpy()
    if "large" in np.load(inputs):
        file = tf.constant([np.load(inputs)["large"].tobytes()])
        found["large"] = loaded.signatures["image_bytes"](file)["logits"].numpy()

    variables = list(loaded.trainable_variables)
    fixed = [variable for variable in loaded.variables if all(variable is not other for other in variables)]
    before = [variable.numpy() for variable in variables + fixed]
    optimizer = tfa.optimizers.LAMB(learning_rate=0.02)
    losses = []
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            logits = loaded(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        losses.append(float(loss))
    changed = [(old != new.numpy()).any() for old, new in zip(before, variables + fixed)]
    found |= {"losses": losses, "changed": changed, "trainable": len(variables)}
    found["tuned"] = loaded.signatures["serving_default"](images)["logits"].numpy()
    found["tuned_call"] = loaded(images, training=False).numpy()
    np.savez(outputs, **found)


if __name__ == "__main__":
    main()
