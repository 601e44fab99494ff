import base64
import subprocess
import time

import numpy as np
import pytest
import requests
import tensorflow as tf

import lsrs_tf
from export.client import Client
from export.comparison import compare
from export.model_card import read_model_card
from export.saved_model import export_margin_model
from export.saved_model_file import read_functions, read_signatures
from tests.export import encoded_files
from tests.export.conftest import SETTINGS, margin_model
from tests.export.encoded_files import encoded, values_of
from tests.export.running_server import running_server

v1 = tf.compat.v1

VALUES = np.random.default_rng(2).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
KINDS = ["PNG", "JPEG", "BMP", "PNG", "JPEG"]
FILES = [encoded(values, kind) for values, kind in zip(VALUES, KINDS, strict=True)]
PIXELS = np.stack([values_of(file, "L") for file in FILES])
CUT = FILES[0][:-20]


@pytest.fixture(scope="module")
def session(version):
    """A function (signature, inputs, options) that answers as the server's session does."""
    session = v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signatures = v1.saved_model.load(session, ["serve"], str(version)).signature_def

    def run(name, inputs, options=None):
        outputs = {key: info.name for key, info in signatures[name].outputs.items()}
        given = {signatures[name].inputs[key].name: value for key, value in inputs.items()}
        return session.run(outputs, given, options=options)

    yield run
    session.close()


@pytest.fixture(scope="module")
def ports(version):
    with running_server(version) as ports:
        yield ports


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request, ports):
    if request.param == "grpc":
        return Client.over_grpc(f"localhost:{ports['grpc']}", "digits")
    return Client.over_rest(f"http://localhost:{ports['rest']}", "digits")


def _files(rows):
    return np.array([FILES[row] for row in rows], object)


def _with(rows, seed=0, n=500):
    settings = {"seed": np.full(rows, seed, np.int64), "n": np.full(rows, n, np.int32)}
    return {**settings, "alpha": np.full(rows, 0.01)}


def test_every_signature_of_images_has_one_of_files(version, base_version):
    for folder, others in ((version, {"encode", "serving_default"}), (base_version, set())):
        found = read_signatures(folder)
        of_images = {name for name in found if "images" in found[name].inputs} - others
        of_files = {name for name in found if "image_bytes" in found[name].inputs}
        assert of_files - {"decode"} == {
            f"{name}_bytes" for name in of_images - {"serving_default"}
        }
        for name in of_files - {"decode"}:
            assert found[name].outputs.keys() == found[name.removesuffix("_bytes")].outputs.keys()
            assert set(found[name].inputs) - {"image_bytes"} == (
                set(found[name.removesuffix("_bytes")].inputs) - {"images"}
            )
        shapes = [
            info.tensor_shape.dim[0].size for s in found.values() for info in s.inputs.values()
        ]
        assert set(shapes) == {-1}


def test_answers_are_those_of_the_decoded_pixels_to_the_last_bit(model, session):
    decoded = session("decode", {"image_bytes": _files(range(5))})["images"]
    np.testing.assert_array_equal(decoded, PIXELS)
    answers = session("certify_with_bytes", {"image_bytes": _files(range(5)), **_with(5, 3)})
    of_pixels = session("certify_with", {"images": PIXELS, **_with(5, 3)})
    for name, value in of_pixels.items():
        np.testing.assert_array_equal(answers[name], value)
    expected = lsrs_tf.certify(model, PIXELS, seed=3, verbose=0, **SETTINGS)
    np.testing.assert_array_equal(answers["votes"], expected.counts)
    clean = session("predict_clean_bytes", {"image_bytes": _files(range(5))})
    for name, value in session("predict_clean", {"images": PIXELS}).items():
        np.testing.assert_array_equal(clean[name], value)


def test_merged_requests_are_answered_as_separate_ones(session):
    # A server pads a batch with copies of a row.
    rows = [0, 1, 2, 2, 2]
    merged = session("certify_with_bytes", {"image_bytes": _files(rows), **_with(5, 5)})
    for row, source in enumerate(rows):
        alone = session("certify_with_bytes", {"image_bytes": _files([source]), **_with(1, 5)})
        for name, value in merged.items():
            np.testing.assert_array_equal(value[row], alone[name][0], err_msg=name)


def test_bad_rows_are_refused_and_harm_no_neighbour(session):
    wrong = [b"", CUT, encoded(VALUES[0], mode="RGBA"), encoded_files.declared(8, 8, 8, 0)]
    files = np.array([FILES[0], *wrong, FILES[1]], object)
    found = session("certify_with_bytes", {"image_bytes": files, **_with(6)})
    clean = session("certify_with_bytes", {"image_bytes": _files([0, 1]), **_with(2)})
    assert found["label"][1:-1].tolist() == [-1] * 4
    for name in ("radius", "p_lower", "samples", "votes"):
        assert not np.any(found[name][1:-1]), name
    for name, value in clean.items():
        np.testing.assert_array_equal(found[name][[0, -1]], value)
    radius = np.full(6, 0.02, np.float32)
    robust = session("certify_at_bytes", {"image_bytes": files, "radius": radius})
    assert robust["robust"].tolist() == [True, *[False] * 4, True]
    assert (session("decode", {"image_bytes": files})["images"][1:-1] == -1).all()


def test_deadline_ends_a_request_and_leaves_the_next_one_unharmed(session):
    request = {"image_bytes": _files([0])}
    before = session("certify_with_bytes", {**request, **_with(1)})
    options = v1.RunOptions(timeout_in_ms=200)
    start = time.perf_counter()
    with pytest.raises(tf.errors.DeadlineExceededError):
        session("certify_with_bytes", {**request, **_with(1, n=1_000_000)}, options)
    assert time.perf_counter() - start < 2
    after = session("certify_with_bytes", {**request, **_with(1)})
    np.testing.assert_array_equal(after["votes"], before["votes"])


def test_the_client_sends_files(client, model):
    expected = lsrs_tf.certify(model, PIXELS, seed=3, verbose=0, **SETTINGS)
    found = client.certify_with([*FILES, CUT], seed=3, n=500, alpha=0.01)
    np.testing.assert_array_equal(found.votes[:-1], expected.counts)
    assert found.samples.tolist() == [520] * 5 + [0] and found.label[-1] == -1
    assert (client.certify(FILES[:2]).samples == 520).all()
    assert (client.predict_smoothed(FILES[:2]).votes.sum(axis=1) == 200).all()
    np.testing.assert_array_equal(client.predict_clean(FILES).label, expected.clean_labels)
    assert client.certify_at([FILES[0], b""], [0.02, 0.02]).robust.tolist() == [True, False]
    np.testing.assert_array_equal(client.decode(FILES[:1]), PIXELS[:1])
    for wrong in ([], ["cat.png"]):
        with pytest.raises(ValueError, match="Files are given as a list of their bytes"):
            client.decode(wrong)


def test_versions_are_compared_with_the_same_noise(client):
    found = compare(client, client, [*FILES, CUT], seed=1, n=500, alpha=0.01).summary()
    assert found["images"] == found["equal in every bit"] == 6
    assert found["certified with another label"] == found["largest change of votes"] == 0


def test_rows_are_answered_over_rest(ports, session):
    rows = [{"image_bytes": {"b64": base64.b64encode(file).decode()}} for file in [*FILES, CUT]]
    answer = requests.post(
        f"http://localhost:{ports['rest']}/v1/models/digits:predict",
        json={"signature_name": "predict_clean_bytes", "instances": rows},
    ).json()["predictions"]
    expected = session("predict_clean_bytes", {"image_bytes": _files(range(5))})
    assert [row["label"] for row in answer] == [*expected["label"], -1]


def test_the_card_tells_the_rule(version, base_version):
    exact, resized = (read_model_card(path)["encoded_images"] for path in (version, base_version))
    assert (exact["resize"], resized["resize"]) == ("none", "area")
    assert "exact size" in exact["size"] and "means of areas" in resized["size"]
    assert "most_pixels" not in exact and resized["most_pixels"] == 2**24
    text = (base_version / "assets.extra" / "model_card.md").read_text()
    for part in ("## Encoded images", "about the pixels as decoded and resized", "`image_bytes`"):
        assert part in text


def test_nothing_needs_python(version):
    operations = {node.op for function in read_functions(version) for node in function.node_def}
    assert {"DecodeJpeg", "DecodePng", "DecodeBmp"} <= operations
    assert not operations & {"PyFunc", "EagerPyFunc"}


def test_impossible_rules_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="bilinear, area, crop"):
        export_margin_model(margin_model(), tmp_path, resize="nearest")
    assert not any(tmp_path.iterdir())


def test_files_are_certified_without_python_to_the_last_bit(
    base_model, base_version, compiled, tmp_path
):
    files = []
    for number, content in enumerate([*FILES, CUT, encoded(np.tile(VALUES[0], (2, 3, 1)))]):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(content)
    signature = read_signatures(base_version)["certify_margin_bytes"]
    names = [signature.inputs["image_bytes"].name]
    names += [signature.outputs[name].name for name in ("label", "radius", "margin")]
    ended = subprocess.run(
        [str(compiled("certify_bytes_from_c")), str(base_version), *names, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()]
    # The last one is resized by areas.
    large = np.tile(VALUES[0], (2, 3, 1)).astype(np.float64) / 255
    small = large.reshape(8, 2, 8, 3, 1).mean(axis=(1, 3)).astype(np.float32)
    images = np.concatenate([PIXELS, small[np.newaxis]])
    expected = lsrs_tf.certify(base_model, images, method="margin", verbose=0)
    assert [int(label) for label, _, _ in rows] == [
        *expected.labels[:-1],
        -1,
        expected.labels[-1],
    ]
    margins = [float.fromhex(margin) for _, _, margin in rows]
    assert margins[:6] == [*expected.margins[:-1], 0]
    np.testing.assert_allclose(margins[6], expected.margins[-1], rtol=1e-4)
