"""oneDNN, TensorFlow's fast kernels on CPUs: turning it on, and saying who decided.

TensorFlow chooses it only where it sees AVX512_VNNI, AVX512_BF16, AVX_VNNI or AMX, but convolutions are about twice as
fast with it on any x86-64 processor. TensorFlow reads the variable once, when it is imported.
"""

import os
import platform
import sys

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# Says that acl-tf set VARIABLE. It goes on to the processes that this one starts, as VARIABLE itself does.
OWN = "ACL_TF_SET_ONEDNN"
MEANINGS = {"0": False, "false": False, "1": True, "true": True}


def turn_on() -> None:
    """Turns oneDNN on, unless the user decided already, it is too late, or the processor is of another kind."""
    if VARIABLE not in os.environ and "tensorflow" not in sys.modules and platform.machine() in ("x86_64", "AMD64"):
        os.environ[VARIABLE] = os.environ[OWN] = "1"


def decision() -> dict[str, bool | str | None]:
    """Returns whether oneDNN is on, None where TensorFlow chooses, and who decided: acl-tf, user or TensorFlow."""
    value = os.environ.get(VARIABLE)
    if value is None:
        return {"on": None, "decided_by": "TensorFlow"}
    return {"on": MEANINGS.get(value.lower()), "decided_by": "acl-tf" if value == os.environ.get(OWN) else "user"}


def describe() -> str:
    """Says in a few words whether oneDNN is on, and who decided."""
    decided = decision()
    state = {True: "on", False: "off", None: "as TensorFlow chooses"}[decided["on"]]
    if decided["decided_by"] == "TensorFlow":
        return f"oneDNN {state}"
    return f"oneDNN {state}: {VARIABLE}={os.environ[VARIABLE]}, set by {decided['decided_by']}"
