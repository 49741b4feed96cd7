"""Slow, plain transcriptions of torchvision's and Pillow's augmentations, one image at a time."""

import colorsys
import math

import numpy as np
from PIL import Image


def random_resized_crop_box(
    random: np.random.Generator, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """torchvision's `RandomResizedCrop.get_params`: top, left, height, width."""
    for _ in range(10):
        area = height * width * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_width = round(math.sqrt(area * aspect))
        box_height = round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(random.integers(0, height - box_height + 1))
            left = int(random.integers(0, width - box_width + 1))
            return top, left, box_height, box_width
    if width / height < ratio[0]:
        box_width, box_height = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        box_width, box_height = round(height * ratio[1]), height
    else:
        box_width, box_height = width, height
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def pillow_resize_crop(
    image: np.ndarray, box: tuple[int, int, int, int], size: int, interpolation: str = "bicubic"
) -> np.ndarray:
    """Pillow's crop and resize of a uint8 image, rounded to 8 bits after each pass; float in [0, 1]."""
    top, left, height, width = box
    crop = Image.fromarray(image).crop((left, top, left + width, top + height))
    return np.asarray(_horizontally_then_vertically(crop, size, interpolation), np.float32) / 255


def pillow_resize_crop_unrounded(
    image: np.ndarray, box: tuple[int, int, int, int], size: int, interpolation: str = "bicubic"
) -> np.ndarray:
    """Crops and resizes through Pillow's floating-point images, which neither round nor saturate."""
    top, left, height, width = box
    crop = image[top : top + height, left : left + width].astype(np.float32)
    channels = [
        _horizontally_then_vertically(Image.fromarray(channel), size, interpolation)
        for channel in np.moveaxis(crop, -1, 0)
    ]
    return np.clip(np.stack(channels, axis=-1), 0, 255) / 255


def _horizontally_then_vertically(image: Image.Image, size: int, interpolation: str) -> Image.Image:
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    # In one call, Pillow 13 and later may begin with the vertical pass (its pull request 9549).
    image = image.resize((size, image.height), filters[interpolation])
    if image.mode == "F":
        image = Image.fromarray(np.clip(np.asarray(image), 0, 255))
    return image.resize((size, size), filters[interpolation])


def grayscale(image: np.ndarray) -> np.ndarray:
    return image @ np.array([0.299, 0.587, 0.114])


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(factor * image, 0, 1)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(factor * image + (1 - factor) * grayscale(image).mean(), 0, 1)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(factor * image + (1 - factor) * grayscale(image)[..., np.newaxis], 0, 1)


def adjust_hue(image: np.ndarray, shift: float) -> np.ndarray:
    result = np.empty_like(image)
    for index in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[index])
        result[index] = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
    return result


def color_jitter(
    image: np.ndarray, parameters: tuple[float, float, float, float], order: tuple[int, ...]
) -> np.ndarray:
    """`parameters` are brightness, contrast, saturation and hue; `order` holds indices into them."""
    adjustments = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    image = image.astype(np.float64)
    for operation in order:
        image = adjustments[operation](image, parameters[operation])
    return image
