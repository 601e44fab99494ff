"""The compose files: what can be checked of them without Docker."""

import pathlib
import re

import pytest
import yaml

from export.serving_files import write_serving_files

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
# Of tensorflow_model_server 2.19.
FLAGS = {
    "batching_parameters_file",
    "enable_batching",
    "model_base_path",
    "model_name",
    "monitoring_config_file",
    "port",
    "rest_api_port",
    "rest_api_timeout_in_ms",
    "xla_cpu_compilation_enabled",
}


def _flags(text):
    return set(re.findall(r"--(\w+)=", text))


@pytest.mark.parametrize("xla", [False, True])
def test_an_export_starts_the_server_with_flags_that_it_has(tmp_path, xla):
    write_serving_files(tmp_path, "digits", xla)
    (service,) = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"].values()
    assert _flags("\n".join(service["command"])) <= FLAGS
    assert all(argument.startswith("--") for argument in service["command"])
    assert any("xla" in argument for argument in service["command"]) == xla
    assert service["environment"]["MODEL_NAME"] == "digits"
    assert service["volumes"] == [".:/models/digits:ro"]
    assert service["ports"] == ["8500:8500", "8501:8501"]
    assert service["image"].startswith("tensorflow/serving:")


def test_live_tests_start_the_server_with_flags_that_it_has():
    started = _flags((HERE / "running_server.py").read_text())
    assert {"port", "rest_api_port", "model_name", "model_base_path"} == started <= FLAGS


def test_live_tests_run_the_server_of_the_image_and_miss_none():
    (service,) = yaml.safe_load((HERE / "compose.yaml").read_text())["services"].values()
    build = service["build"]["dockerfile_inline"]
    binary = service["environment"]["LSRS_TF_MODEL_SERVER"]
    assert f"COPY --from=server {binary} {binary}\n" in build
    assert "FROM tensorflow/serving:" in build and '".[test]"' in build
    assert (HERE / service["build"]["context"]).resolve() == ROOT
    assert service["command"][:3] == ["python", "-m", "pytest"]
    asked = {ROOT / path for path in service["command"][3:]}
    with_servers = {
        path
        for path in HERE.glob("test_*.py")
        if "with running_server(" in path.read_text() and path.name != pathlib.Path(__file__).name
    }
    assert asked == with_servers


def test_the_documentation_has_the_command_of_the_file():
    command = "docker compose --file=tests/export/compose.yaml run --build --rm tests"
    assert command in (HERE / "compose.yaml").read_text()
    assert command in (ROOT / "docs" / "how-to" / "serve.md").read_text()
