import json

import numpy as np
import pytest

from experiments import datasets
from experiments.certified_test_set import certify_test_images
from experiments.run_directory import RunDirectory
from experiments.run_export import about_run, about_versions_before
from export.saved_model_file import read_signatures
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from tests.commands import run_command
from tests.export.conftest import margin_model


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path)
    run.claim({"dataset": "digits", "model": "convnet", "orthogonal_layers": 2, "width": 4})
    return run


def test_what_is_measured_comes_with_its_settings(run):
    model = models.convnet(width=4)
    run.class_names.write_text(json.dumps(["zero", "one"]))
    certifier = Certifier(model, n0=10, n=100, alpha=0.01, against="runner_up")
    certify_test_images(certifier, model, datasets.load("digits"), run.certified, "2/4", [0, 3, 7])
    about = about_run(run, model, {"alpha": 0.01, "noise": "float32"})
    assert about["class_names"] == ["zero", "one"]
    assert about["architecture"] == {"model": "convnet", "orthogonal_layers": 2, "width": 4}
    measured = about["measured"]
    assert measured["images"] == 3
    assert 0 <= measured["certified_accuracy"]["0.00"] <= 1
    assert 0 <= measured["clean_accuracy"] <= 1
    assert measured["settings"]["against"] == "runner_up"
    json.dumps(about)
    for other in ({"alpha": 0.001}, {"alpha": 0.01, "against": "half"}):
        assert "measured_with_other_settings" in about_run(run, model, other)


def test_figures_of_another_model_and_unknown_classes_are_left_out(run):
    model = models.convnet(width=4)
    certifier = Certifier(model, n0=10, n=100, alpha=0.01)
    certify_test_images(certifier, model, datasets.load("digits"), run.certified, "2/4", [0])
    assert set(about_run(run, models.convnet(width=4), {})) == {"dataset", "architecture"}


def test_older_versions_are_said_to_remain(tmp_path):
    for number in ("1", "2", "10", ".unfinished_x"):
        (tmp_path / number).mkdir()
    assert about_versions_before(tmp_path / "1") == ""
    assert "version 1 remains" in about_versions_before(tmp_path / "2")
    text = about_versions_before(tmp_path / "10")
    assert "This is version 10" in text and "versions 1, 2 remain" in text


def test_what_is_measured_by_margins_goes_with_their_export(run):
    model = margin_model()
    certifier = Certifier(model, method="margin")
    digits = datasets.load("digits")
    certify_test_images(certifier, model, digits, run.certified, "1/3", [0, 3])
    assert about_run(run, model, {"method": "margin"})["measured"]["images"] == 2
    assert "measured_with_other_settings" in about_run(run, model, {"alpha": 0.001})


@pytest.mark.slow
def test_a_model_without_noise_is_exported_with_margins_alone(run):
    model = margin_model()
    kernel, _ = model.head.layers[-1].get_weights()
    model.head.layers[-1].set_weights([kernel, np.float32([0.5, 0, -0.5])])
    model.save(run.model)

    def export(*flags):
        return run_command("experiments.export", f"--run_dir={run.path}", *flags)

    refused = export("--n=500", "--max_n=500")
    assert "Leave out --n, --max_n, or give a --sigma above 0." in refused.stderr
    ended = export("--margin")
    assert ended.returncode == 0, ended.stderr
    assert "sigma=0: certify_margin" in ended.stdout
    version = run.saved_model / "1"
    signatures = set(read_signatures(version))
    assert {"certify_margin", "predict_clean", "serving_default"} < signatures
    assert "certify" not in signatures
