"""What the files of a model folder are called."""

from acl_tf.records import RECORDS

CARD = "README.md"
CONFIG = "config.json"
MODEL = "model.keras"
ORIGIN = "origin.json"
PAIRED = "paired.safetensors"
SAVED_MODEL = "saved_model"

FILES = (CARD, CONFIG, MODEL, ORIGIN, PAIRED, RECORDS)  # beside the folder SAVED_MODEL, and the manifest

# What loading a model, and loading an encoder for further training, take of a repository on the Hub.
MODEL_FILES = (CONFIG, MODEL, RECORDS)
ENCODER_FILES = (*MODEL_FILES, PAIRED)
