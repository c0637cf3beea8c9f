"""The files for tensorflow/serving parse, and agree with one another."""

import pathlib
import re
import shutil
import subprocess

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

from ms_keras.serving import ServingOptions

FOLDER = pathlib.Path(__file__).parents[2] / "export" / "serving"
PORTS = {"port": "8500", "rest_api_port": "8501"}
# Fields of inner messages by name and type: 3 is int64, 8 bool, 9 string.
INNER = {
    "Prometheus": (("enable", 8), ("path", 9)),
    "Int64": (("value", 3),),
    "Bool": (("value", 8),),
}


def message(name, *fields):
    """Returns a message type of fields (name, number, type, inner type or "")."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    for kind in {field[3] for field in fields if field[3]}:
        inner = file.message_type.add(name=kind)
        for number, (part, of) in enumerate(INNER[kind], 1):
            inner.field.add(name=part, number=number, type=of, label=1)
    outer = file.message_type.add(name=name)
    for field, number, of, kind in fields:
        outer.field.add(name=field, number=number, type=of, type_name=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def parsed(name, kind):
    return text_format.Parse((FOLDER / name).read_text(), kind())


def test_the_models_are_those_of_the_readme_and_no_label_can_lose_its_version():
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    models = parsed("models.config", config.ModelServerConfig).model_config_list
    names = [model.name for model in models.config]
    readme = (FOLDER.parents[1] / "README.md").read_text()
    exported = re.findall(r"export\.(?:saved_model|index) .*--out=models/(\w+)", readme)
    assert sorted(names) == sorted(set(exported))
    for model in models.config:
        assert model.base_path == f"/models/{model.name}"
    birds = models.config[0]
    assert birds.version_labels == {"stable": 1, "canary": 2}
    assert birds.model_version_policy.WhichOneof("policy_choice") == "all"


def test_batching_parses():
    # TF Serving's BatchingParameters, whose stubs its wheel leaves out.
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches")
    names = (*names, "num_batch_threads", "max_execution_batch_size")
    fields = [(name, n, 11, "Int64") for n, name in enumerate(names, 1)]
    splitting = ("enable_large_batch_splitting", 6, 11, "Bool")
    batching = parsed("batching.config", message("Batching", *fields, splitting))
    # What the tower takes by itself must not be refused before it.
    assert batching.max_batch_size.value == ServingOptions().max_batch
    assert batching.enable_large_batch_splitting.value
    assert 0 < batching.max_execution_batch_size.value < batching.max_batch_size.value
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
    assert "birds" in service["healthcheck"]["test"][-1]
    assert service["deploy"]["resources"]["limits"]["memory"]


@pytest.mark.parametrize(
    ("state", "healthy"), [("AVAILABLE", True), ("UNAVAILABLE", False), ("END", False)]
)
def test_a_server_is_healthy_once_a_version_is_available(state, healthy, tmp_path):
    yaml = pytest.importorskip("yaml")
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    compose = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
    test = compose["services"]["serving"]["healthcheck"]["test"][-1]
    # Not the server, but what it would say.
    (tmp_path / "said").write_text(
        f'{{"version": "1", "state": "{state}", "error": 0}}'
    )
    assert "exec 3<>/dev/tcp/127.0.0.1/8501" in test
    test = test.replace("/dev/tcp/127.0.0.1/8501", str(tmp_path / "said"))
    test = re.sub(r"printf '.*?' >&3", "true", test)
    finished = subprocess.run(["bash", "-c", test], check=False, timeout=20)
    assert (finished.returncode == 0) == healthy
