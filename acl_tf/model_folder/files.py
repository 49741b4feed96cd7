"""Names of the files in a model folder."""

from acl_tf.records import RECORDS

CARD = "README.md"
CONFIG = "config.json"
MODEL = "model.keras"
ORIGIN = "origin.json"
PAIRED = "paired.safetensors"
SAVED_MODEL = "saved_model"

FILES = (CARD, CONFIG, MODEL, ORIGIN, PAIRED, RECORDS)  # beside the folder SAVED_MODEL, and the manifest

# Files to download from the Hub to load a model, or to load an encoder for further training.
MODEL_FILES = (CONFIG, MODEL, RECORDS)
ENCODER_FILES = (*MODEL_FILES, PAIRED)
