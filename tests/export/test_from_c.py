import subprocess

import numpy as np
import pytest

import lsrs_tf
from export.saved_model_file import read_signatures
from lsrs_tf.statistics import confidence
from tests.export.conftest import SETTINGS


@pytest.fixture(scope="module")
def run(version, compiled):
    """A function of n that runs the program, which has no Python in its process."""
    program = compiled("certify_from_c")
    signature = read_signatures(version)["certify_with"]
    names = [signature.inputs[name].name for name in ("images", "seed", "n", "alpha")]
    names += [signature.outputs[name].name for name in ("label", "radius", "votes")]

    def run(n):
        arguments = [str(program), str(version), "8", "8", "1", str(n), *names]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    return run


def test_certifies_without_python(run, model):
    ended = run(500)
    assert ended.returncode == 0, ended.stderr
    label, radius, *votes = ended.stdout.split()
    image = np.full((1, 8, 8, 1), 0.5, np.float32)
    expected = lsrs_tf.certify(model, image, seed=3, verbose=0, **SETTINGS)
    assert [int(count) for count in votes] == expected.counts[0].tolist()
    assert int(label) == expected.labels[0] >= 0
    assert expected.radii[0] * (1 - 1e-6) <= float(radius) <= expected.radii[0]


def test_wrong_shape_is_an_invalid_argument_in_the_graph(run):
    ended = run(-1)
    assert ended.returncode == 1
    # INVALID_ARGUMENT; no Python has looked at the shape.
    assert "code 3" in ended.stderr
    assert "shape" in ended.stderr.lower() and "[1,4,8,1]" in ended.stderr


def test_margins_are_certified_without_python_to_the_last_bit(base_model, base_version, compiled):
    signature = read_signatures(base_version)["certify_margin"]
    names = [signature.inputs["images"].name]
    names += [signature.outputs[name].name for name in ("label", "radius", "margin")]
    program = compiled("certify_margin_from_c")
    ended = subprocess.run(
        [str(program), str(base_version), "8", "8", "1", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()]
    images = np.float32([[(row * 64 + pixel) % 7 / 8 for pixel in range(64)] for row in range(5)])
    expected = lsrs_tf.certify(base_model, images.reshape(5, 8, 8, 1), method="margin", verbose=0)
    assert (expected.labels >= 0).all()
    # The last row has a NaN.
    assert [int(label) for label, _, _ in rows] == [*expected.labels, -1]
    radii = [confidence.float32_below(radius) for radius in expected.radii]
    assert [np.float32(float.fromhex(radius)) for _, radius, _ in rows] == [*radii, 0]
    assert [float.fromhex(margin) for _, _, margin in rows] == [*expected.margins, 0]
