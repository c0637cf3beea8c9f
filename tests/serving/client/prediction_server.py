"""TF Serving's gRPC services over SavedModels, where its own binary is not at hand.

    python tests/serving/client/prediction_server.py birds=models/birds --label stable=1

Prints its port and serves until it is ended. Answers, statuses and messages are those
of TF Serving as far as the client meets them.
"""

import argparse
import pathlib
import queue
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from joined import Joined

CODES = {code.value[0]: code for code in grpc.StatusCode}
UNLIMITED = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


class Version:
    def __init__(self, folder, batching):
        self.folder = folder
        self.model = tf.saved_model.load(str(folder))
        self.signatures = dict(self.model.signatures)
        self.joined = {}
        if batching:
            for name in self.signatures:
                self.joined[name] = Joined(lambda rows, n=name: self._run(n, rows))

    def predict(self, signature, value):
        joined = self.joined.get(signature)
        return joined(value) if joined else self._run(signature, value)

    def inputs(self, signature):
        return self.signatures[signature].structured_input_signature[1]

    def _run(self, signature, value):
        (name,) = self.inputs(signature)
        outputs = self.signatures[signature](**{name: tf.constant(value)})
        return {key: tensor.numpy() for key, tensor in outputs.items()}


class Services:
    """PredictionService and ModelService, duck-typed as the stubs' registrars want."""

    def __init__(self, models, labels):
        self.models = models
        self.labels = labels

    def Predict(self, request, context):
        version, number = self._version(request.model_spec, context)
        signature = request.model_spec.signature_name or "serving_default"
        if signature not in version.signatures:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature}" not found.',
            )
        value = self._value(request, version.inputs(signature), context)
        try:
            outputs = version.predict(signature, value)
        except tf.errors.OpError as error:
            context.abort(CODES[error.error_code], error.message)
        except queue.Full:
            context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.ClearField("version_label")
        response.model_spec.version.value = number
        response.model_spec.signature_name = signature
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response

    def GetModelMetadata(self, request, context):
        version, number = self._version(request.model_spec, context)
        if list(request.metadata_field) != ["signature_def"]:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Metadata field {list(request.metadata_field)} is not supported",
            )
        saved = saved_model_pb2.SavedModel.FromString(
            (version.folder / "saved_model.pb").read_bytes()
        )
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in saved.meta_graphs[0].signature_def.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        response.metadata["signature_def"].Pack(signatures)
        return response

    def GetModelStatus(self, request, context):
        _, number = self._version(request.model_spec, context)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(
            version=number,
            state=get_model_status_pb2.ModelVersionStatus.State.Value("AVAILABLE"),
        )
        return response

    def _version(self, spec, context):
        versions = self.models.get(spec.name, {})
        number = max(versions, default=0)
        asked = f"Latest({spec.name})"
        if spec.HasField("version"):
            number = spec.version.value
            asked = f"Specific({spec.name}, {number})"
        elif spec.version_label:
            if spec.version_label not in self.labels:
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {spec.version_label}",
                )
            number = self.labels[spec.version_label]
        if number not in versions:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: {asked}",
            )
        return versions[number], number

    def _value(self, request, inputs, context):
        if set(request.inputs) != set(inputs):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input size does not match signature: {len(request.inputs)}!="
                f"{len(inputs)} len({set(request.inputs)}) != len({set(inputs)}).",
            )
        ((name, spec),) = inputs.items()
        proto = request.inputs[name]
        if proto.dtype != spec.dtype.as_datatype_enum:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Expects arg[0] to be {spec.dtype.name} but "
                f"{tf.as_dtype(proto.dtype).name} is provided",
            )
        return np.asarray(tf.make_ndarray(proto))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="NAME=BASE, a folder of versions")
    parser.add_argument("--label", action="append", default=[], help="LABEL=VERSION")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--batching", action="store_true")
    options = parser.parse_args()
    models = {}
    for pair in options.models:
        name, base = pair.split("=", 1)
        models[name] = {
            int(folder.name): Version(folder, options.batching)
            for folder in pathlib.Path(base).iterdir()
            if folder.name.isdecimal()
        }
    labels = {k: int(v) for k, v in (pair.split("=") for pair in options.label)}
    services = Services(models, labels)
    server = grpc.server(ThreadPoolExecutor(256), options=UNLIMITED)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        complete(services, prediction_service_pb2_grpc.PredictionServiceServicer),
        server,
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        complete(services, model_service_pb2_grpc.ModelServiceServicer), server
    )
    print(server.add_insecure_port(f"127.0.0.1:{options.port}"), flush=True)
    server.start()
    server.wait_for_termination()


def complete(services, base):
    """Returns the services with what they lack answering UNIMPLEMENTED."""
    return type("Complete", (Services, base), {})(services.models, services.labels)


if __name__ == "__main__":
    main()
