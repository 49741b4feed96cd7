"""Runs a SavedModel through TensorFlow's C API alone: neither TensorFlow's Python nor Keras is imported.

`python c_api.py LIBRARIES SAVED_MODEL < REQUESTS > ANSWERS`: LIBRARIES is the folder of pip's TensorFlow; requests and
answers are JSON lists, a request as `{"input": tensor, "outputs": [tensor, …], "dtype": …, "shape": …, "data": base64}`
or with `"files": [base64, …]` for byte strings, an answer as `{"output tensor": {"shape": …, "data": base64}}` of
float32, or `{"error": message, "code": …}`.
"""

import base64
import ctypes
import json
import math
import sys
from ctypes import c_char_p, c_int, c_int64, c_size_t, c_void_p

TYPES = {"float32": 1, "uint8": 4, "string": 7}
TSTRING_BYTES = 24


class Output(ctypes.Structure):
    _fields_ = [("operation", c_void_p), ("index", c_int)]


class TensorFlow:
    """The functions of the C library, with their types."""

    def __init__(self, folder: str) -> None:
        # The first holds what the second needs; some functions are in one, some in the other.
        self.libraries = [
            ctypes.CDLL(f"{folder}/{name}", ctypes.RTLD_GLOBAL)
            for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
        ]

    def __getattr__(self, name: str):
        for library in self.libraries:
            if hasattr(library, name):
                function = getattr(library, name)
                pointers = ("New", "Load", "Alloc", "GraphOper", "TensorData", "StringGetData")
                strings = ("Message", "Version")
                kinds = {**dict.fromkeys(pointers, c_void_p), **dict.fromkeys(strings, c_char_p)}
                kinds |= {"TF_Dim": c_int64, "TF_StringGetSize": c_size_t}
                function.restype = next((kind for part, kind in kinds.items() if part in name), c_int)
                return function
        raise AttributeError(name)


class Session:
    """A loaded SavedModel."""

    def __init__(self, tf: TensorFlow, path: str) -> None:
        self.tf, self.status = tf, c_void_p(tf.TF_NewStatus())
        self.graph, options = c_void_p(tf.TF_NewGraph()), c_void_p(tf.TF_NewSessionOptions())
        tags = (c_char_p * 1)(b"serve")
        self.session = c_void_p(
            tf.TF_LoadSessionFromSavedModel(options, None, path.encode(), tags, 1, self.graph, None, self.status)
        )
        if self.failed():
            raise SystemExit(self.message())

    def failed(self) -> int:
        return self.tf.TF_GetCode(self.status)

    def message(self) -> str:
        return self.tf.TF_Message(self.status).decode()

    def output(self, tensor: str) -> Output:
        name, index = tensor.split(":")
        operation = self.tf.TF_GraphOperationByName(self.graph, name.encode())
        if not operation:
            raise SystemExit(f"no such tensor: {tensor}")
        return Output(operation, int(index))

    def tensor(self, request: dict) -> c_void_p:
        files = [base64.b64decode(file) for file in request.get("files", [])]
        shape = [len(files)] if "files" in request else request["shape"]
        data = base64.b64decode(request.get("data", ""))
        kind = "string" if "files" in request else request["dtype"]
        size = len(files) * TSTRING_BYTES if "files" in request else len(data)
        dims = (c_int64 * len(shape))(*shape)
        tensor = c_void_p(self.tf.TF_AllocateTensor(TYPES[kind], dims, len(shape), c_size_t(size)))
        at = self.tf.TF_TensorData(tensor)
        if kind == "string":
            for number, file in enumerate(files):
                place = c_void_p(at + number * TSTRING_BYTES)
                self.tf.TF_StringInit(place)
                self.tf.TF_StringCopy(place, file, c_size_t(len(file)))
        elif data:
            ctypes.memmove(at, data, len(data))
        return tensor

    def run(self, request: dict) -> dict:
        outputs = (Output * len(request["outputs"]))(*map(self.output, request["outputs"]))
        results = (c_void_p * len(outputs))()
        inputs, values = (Output * 1)(self.output(request["input"])), (c_void_p * 1)(self.tensor(request))
        arguments = [self.session, None, inputs, values, 1, outputs, results, len(outputs), None, 0, None, self.status]
        self.tf.TF_SessionRun(*arguments)
        if self.failed():
            return {"code": self.failed(), "error": self.message()}
        return {name: self.array(c_void_p(result)) for name, result in zip(request["outputs"], results, strict=True)}

    def array(self, tensor: c_void_p) -> dict:
        shape = [self.tf.TF_Dim(tensor, axis) for axis in range(self.tf.TF_NumDims(tensor))]
        assert self.tf.TF_TensorType(tensor) == TYPES["float32"]
        size = 4 * math.prod(shape)
        data = ctypes.string_at(self.tf.TF_TensorData(tensor), size) if size else b""
        return {"shape": shape, "data": base64.b64encode(data).decode()}


def main() -> None:
    libraries, path = sys.argv[1:]
    session = Session(TensorFlow(libraries), path)
    answers = [session.run(request) for request in json.load(sys.stdin)]
    assert not {"tensorflow", "keras", "acl_tf", "numpy"} & sys.modules.keys()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
