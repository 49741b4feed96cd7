"""Names of a classifier's classes, which the server does not know."""

import json
from pathlib import Path

from acl_tf.errors import UsageError


def read_classes(file: Path) -> tuple[str, ...]:
    """Reads the names of the classes, in the order of the model's outputs.

    Args:
        file: Text with one name per line, such as `classes.txt` of a serving kit, or `config.json` of a model folder.

    Raises:
        UsageError: If it cannot be read, or holds no names.
    """
    try:
        text = file.read_text(encoding="utf-8")
        classes = json.loads(text)["classes"] if file.suffix == ".json" else text.splitlines()
    except OSError as error:
        raise UsageError(f"--classes cannot be read: {error.strerror}. Received: {str(file)!r}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"--classes must be text with one name per line, or config.json of a model folder. Received: {str(file)!r}"
        ) from error
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise UsageError(f"--classes has no names of classes. Received: {str(file)!r}")
    return tuple(classes)
