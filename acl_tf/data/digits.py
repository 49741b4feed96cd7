"""scikit-learn's handwritten digits: 1,797 real images without a download."""

import numpy as np

from acl_tf.data.image_set import ImageSet, as_rgb
from acl_tf.errors import UsageError

SIZE = 32
TEST_IMAGES = 360


def load_digits(split: str) -> ImageSet:
    """Loads the digits, upsampled from 8×8 to 32×32 pixels (bicubic) and repeated in three channels.

    Args:
        split: Split, `"train"` (1,437 images) or `"test"` (360); always the same, stratified by class.

    Raises:
        UsageError: If there is no such split.

    Reference: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    from PIL import Image
    from sklearn import datasets, model_selection

    if split not in ("train", "test"):
        raise UsageError(f"The data set digits has the splits train and test. Received: {split!r}")
    digits = datasets.load_digits()
    train, test = model_selection.train_test_split(
        np.arange(len(digits.target)), test_size=TEST_IMAGES, stratify=digits.target, random_state=0
    )
    rows = np.sort(train if split == "train" else test)
    pixels = np.round(digits.images[rows] * (255 / 16)).astype(np.uint8)  # scikit-learn counts ink from 0 to 16
    large = [np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in pixels]
    return ImageSet(
        images=as_rgb(np.stack(large), "digits"),
        labels=digits.target[rows].astype(np.int64),
        classes=tuple(str(name) for name in digits.target_names),
        name="digits",
        split=split,
    )
