"""KServe's own model server over a SavedModel; runs in KServe's environment.

    python kserve_server.py birds models/birds/2 8080

Rows come as TF Serving writes them: bare if the signature has one output, else by name.
"""

import argparse
import base64

import kserve
import tensorflow as tf
from kserve.errors import InvalidInput


class SavedModel(kserve.Model):
    def __init__(self, name, folder):
        super().__init__(name)
        self.model = tf.saved_model.load(folder)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        name = payload.get("signature_name", "serving_default")
        if name not in self.model.signatures:
            raise InvalidInput(f'Serving signature key "{name}" not found.')
        signature = self.model.signatures[name]
        ((given, spec),) = signature.structured_input_signature[1].items()
        values = [decoded(instance[given]) for instance in payload["instances"]]
        try:
            outputs = signature(**{given: tf.constant(values, spec.dtype)})
        except tf.errors.InvalidArgumentError as error:
            raise InvalidInput(error.message) from error
        return {"predictions": rows({k: listed(v) for k, v in outputs.items()})}


def decoded(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def listed(tensor):
    if tensor.dtype == tf.string:
        return [[text.decode() for text in row] for row in tensor.numpy()]
    return tensor.numpy().tolist()


def rows(outputs):
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return [
        dict(zip(outputs, row, strict=True))
        for row in zip(*outputs.values(), strict=True)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    model = SavedModel(options.name, options.folder)
    kserve.ModelServer(http_port=options.port, enable_grpc=False).start([model])


if __name__ == "__main__":
    main()
