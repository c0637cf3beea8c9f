"""The files for tensorflow/serving parse, and agree with one another."""

import pathlib
import re

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

FOLDER = pathlib.Path(__file__).parents[2] / "export" / "serving"
PORTS = {"port": "8500", "rest_api_port": "8501"}


def message(name, *fields):
    """Returns a message type of fields (name, number, type, inner type or "")."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    for kind in {field[3] for field in fields if field[3]}:
        inner = file.message_type.add(name=kind)
        parts = {"Prometheus": (("enable", 8), ("path", 9)), "Int64": (("value", 3),)}
        for number, (part, of) in enumerate(parts[kind], 1):
            inner.field.add(name=part, number=number, type=of, label=1)
    outer = file.message_type.add(name=name)
    for field, number, of, kind in fields:
        outer.field.add(name=field, number=number, type=of, type_name=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def parsed(name, kind):
    return text_format.Parse((FOLDER / name).read_text(), kind())


@pytest.mark.parametrize("unmarked", [False, True])
def test_the_models_parse_and_no_label_can_lose_its_version(unmarked):
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (FOLDER / "models.config").read_text()
    if unmarked:  # as the file says for those who have a catalogue
        text = re.sub(r"^  # ( *(config|name|base|model|}))", r"  \1", text, flags=re.M)
    models = text_format.Parse(text, config.ModelServerConfig()).model_config_list
    names = [model.name for model in models.config]
    assert names == ["birds", "birds_catalogue"][: 1 + unmarked]
    for model in models.config:
        assert model.base_path == f"/models/{model.name}"
    birds = models.config[0]
    assert birds.version_labels == {"stable": 1, "canary": 2}
    assert birds.model_version_policy.WhichOneof("policy_choice") == "all"


def test_batching_parses():
    # TF Serving's BatchingParameters, whose stubs its wheel leaves out.
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches")
    fields = enumerate((*names, "num_batch_threads"), 1)
    kind = message("Batching", *((name, n, 11, "Int64") for n, name in fields))
    batching = parsed("batching.config", kind)
    assert 0 < batching.max_batch_size.value <= 1024  # the tower's own limit
    assert batching.batch_timeout_micros.value < 1e6


def test_monitoring_parses_and_is_on():
    # As TF Serving's MonitoringConfig.
    kind = message("Monitoring", ("prometheus_config", 1, 11, "Prometheus"))
    monitoring = parsed("monitoring.config", kind).prometheus_config
    assert monitoring.enable
    assert monitoring.path in (FOLDER / "README.md").read_text()


def test_the_compose_file_names_files_and_ports_that_are_there():
    yaml = pytest.importorskip("yaml")
    text = (FOLDER / "docker-compose.yml").read_text()
    service = yaml.safe_load(text)["services"]["serving"]
    options = dict(option[2:].split("=") for option in service["command"])
    assert {name: options[name] for name in PORTS} == PORTS
    assert service["ports"] == [f"{port}:{port}" for port in PORTS.values()]
    mounts = [volume.split(":")[-2] for volume in service["volumes"]]
    assert mounts == ["/config", "/models"]
    for file in re.findall(r"=/config/(\S+)", text):
        assert (FOLDER / file).is_file()
    assert "/8501" in service["healthcheck"]["test"][-1]
    assert service["deploy"]["resources"]["limits"]["memory"]
