"""An export behind another server than TensorFlow Serving."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import lsrs_tf
from export import session_program
from tests.export.conftest import SETTINGS
from tests.export.encoded_files import encoded

# A Python with nvidia-pytriton and TensorFlow, not this one: pytriton needs a NumPy below 2.
PYTHON = os.environ.get("LSRS_TF_TRITON_PYTHON")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="LSRS_TF_TRITON_PYTHON names no Python"),
]


@pytest.fixture(scope="module")
def requests(images):
    files = [encoded((255 * image).astype(np.uint8)) for image in images]
    settings = {
        "seed": np.full(5, 3, np.int64),
        "n": np.full(5, 500, np.int32),
        "alpha": np.full(5, 0.01),
    }
    spoiled = np.concatenate([images, images[:1]])
    spoiled[0, 0, 0, 0] = np.nan
    return {
        "certify_with": {"images": images, **settings},
        "certify_with_bytes": {"image_bytes": np.array(files, object), **settings},
        "predict_clean": {"images": spoiled},
    }


@pytest.fixture(scope="module")
def answers(version, requests, tmp_path_factory):
    """A dict of 'session' and 'triton' to what they answered."""
    directory = tmp_path_factory.mktemp("answers")
    asked = directory / "asked.npz"
    arrays = {f"{name}/{key}": v for name, inputs in requests.items() for key, v in inputs.items()}
    np.savez(asked, **arrays)
    programs = {
        "session": [sys.executable, session_program.__file__],
        # The server ends with the process that started it, also when that is killed.
        "triton": [str(PYTHON), str(pathlib.Path(__file__).with_name("triton_program.py"))],
    }
    found = {}
    for name, program in programs.items():
        answered = directory / f"{name}.npz"
        ended = subprocess.run(
            [*program, str(version), str(asked), str(answered)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ended.returncode == 0, ended.stderr
        with np.load(answered) as file:
            found[name] = dict(file)
    return found


@pytest.mark.parametrize("way", ["http", "grpc", "rows"])
def test_answers_are_those_of_a_session(answers, way):
    expected = answers["session"]
    found = {
        key.removeprefix(f"{way}/"): value
        for key, value in answers["triton"].items()
        if key.startswith(f"{way}/")
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert found[name].tobytes() == value.tobytes(), name


def test_certificates_are_those_of_this_process(answers, model, images):
    expected = lsrs_tf.certify(model, images, seed=3, verbose=0, **SETTINGS)
    found = answers["triton"]
    np.testing.assert_array_equal(found["grpc/certify_with/votes"], expected.counts)
    np.testing.assert_array_equal(found["grpc/certify_with/label"], expected.labels)
    assert (found["grpc/certify_with/radius"] > 0).any()


def test_wrong_shape_is_refused(answers):
    status, message = answers["triton"]["refused"]
    assert "INVALID_ARGUMENT" in status and "shape" in message
