import concurrent.futures
import json
import pathlib
import time

import numpy as np
import pytest
import requests

import lsrs_tf
from export.answers import ServingError
from export.client import Client
from tests.export.conftest import SETTINGS
from tests.export.running_server import free_port, running_server


@pytest.fixture(scope="module")
def ports(version):
    """The gRPC and REST ports of a server: TensorFlow Serving where it is named, or a stand-in."""
    with running_server(version) as ports:
        yield ports


@pytest.fixture(scope="module")
def url(ports):
    return f"http://localhost:{ports['rest']}"


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request, ports, url):
    if request.param == "grpc":
        return Client.over_grpc(f"localhost:{ports['grpc']}", "digits")
    return Client.over_rest(url, "digits")


@pytest.fixture(scope="module")
def expected(model, images):
    return lsrs_tf.certify(model, images, seed=3, verbose=0, **SETTINGS)


def test_certificates_are_those_of_this_process(client, images, expected):
    found = client.certify_with(images, seed=3, n=500, alpha=0.01)
    np.testing.assert_array_equal(found.votes, expected.counts)
    np.testing.assert_array_equal(found.label, expected.labels)
    np.testing.assert_array_equal(found.samples, expected.samples)
    np.testing.assert_allclose(found.radius, expected.radii, rtol=1e-6)
    assert found.radius.dtype == np.float32 and found.label.dtype == np.int64


def test_every_method_is_answered(client, model, images, expected):
    assert (client.certify(images).samples == 520).all()
    assert (client.predict_smoothed(images).votes.sum(axis=1) == 200).all()
    clean = client.predict_clean(images)
    np.testing.assert_array_equal(clean.label, expected.clean_labels)
    latents = client.encode(images)
    np.testing.assert_allclose(latents, model.encode(images), atol=1e-5)
    np.testing.assert_allclose(client.classify(latents), clean.logits, atol=1e-5)
    robust = client.certify_at(images, 0.02)
    assert robust.robust.all() and (robust.label == expected.labels).all()
    assert not client.certify_at(images, [0.7] * 5).robust.any()
    # Latents of one image, where JSON leaves names and dimensions to be guessed.
    assert client.encode(images[:1]).shape == (1, 4, 4, 8)


def test_settings_can_differ_from_row_to_row(client, images):
    found = client.certify_with(images[:3], [1, 2, 3], [100, 1_000_001, 50], [0.1, 0.1, 0.1])
    assert found.samples.tolist() == [120, 0, 70]
    assert found.label[1] == -1


def test_rows_and_columns_are_answered_alike_over_rest(url, images, expected):
    columns = {
        "images": images.tolist(),
        "seed": [3] * 5,
        "n": [500] * 5,
        "alpha": [0.01] * 5,
    }
    rows = [{name: values[row] for name, values in columns.items()} for row in range(5)]
    address = f"{url}/v1/models/digits:predict"
    by_column = requests.post(
        address, json={"signature_name": "certify_with", "inputs": columns}
    ).json()["outputs"]
    by_row = requests.post(
        address, json={"signature_name": "certify_with", "instances": rows}
    ).json()["predictions"]
    assert by_column["votes"] == expected.counts.tolist()
    for row, answer in enumerate(by_row):
        assert answer == {name: values[row] for name, values in by_column.items()}


def test_what_is_wrong_is_said(client, images):
    with pytest.raises(ServingError, match="shape") as raised:
        client.certify(images[:, :4])
    assert raised.value.code == "INVALID_ARGUMENT"
    with pytest.raises(ValueError, match="divide by 255"):
        client.certify((255 * images).astype(np.uint8))
    with pytest.raises(ValueError, match="one for each of the 5"):
        client.certify_with(images, [1, 2], 100, 0.1)


def test_other_models_and_versions_are_not_found(ports, url, images):
    for name, version in (("digit", None), ("digits", 2)):
        for client in (
            Client.over_grpc(f"localhost:{ports['grpc']}", name, version=version),
            Client.over_rest(url, name, version=version),
        ):
            with pytest.raises(ServingError, match="not found") as raised:
                client.predict_clean(images)
            assert raised.value.code == "NOT_FOUND"
            if version is not None:
                # The version that is there is answered under its number.
                right = Client.over_rest(url, name, version=1).predict_clean(images)
                assert right.label.shape == (5,)
    for address, code in (("digits", 200), ("digits/versions/1", 200), ("digit", 404)):
        status = requests.get(f"{url}/v1/models/{address}")
        assert status.status_code == code
        assert ("AVAILABLE" in status.text) == (code == 200)


def test_deadline_over_grpc_leaves_the_next_request_unharmed(ports, images, expected):
    client = Client.over_grpc(f"localhost:{ports['grpc']}", "digits", timeout=0.2)
    start = time.perf_counter()
    with pytest.raises(ServingError) as raised:
        client.certify_with(images[:1], 3, 1_000_000, 0.01)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert time.perf_counter() - start < 2
    patient = Client.over_grpc(f"localhost:{ports['grpc']}", "digits")
    found = patient.certify_with(images[:1], 3, 500, 0.01)
    np.testing.assert_array_equal(found.votes, expected.counts[:1])


def test_time_out_over_rest(url, images):
    with pytest.raises(ServingError) as raised:
        Client.over_rest(url, "digits", timeout=0.2).certify_with(images[:1], 3, 300_000, 0.01)
    assert raised.value.code == "DEADLINE_EXCEEDED"


def test_no_server_is_said(images):
    port = free_port()
    for client in (
        Client.over_rest(f"http://localhost:{port}", "digits"),
        Client.over_grpc(f"localhost:{port}", "digits"),
    ):
        with pytest.raises(ServingError) as raised:
            client.certify(images)
        assert raised.value.code == "UNAVAILABLE"


@pytest.mark.slow
def test_sixteen_clients_at_once_get_no_wrong_answer(ports, url, images, expected):
    ends = time.monotonic() + 5

    def ask(number):
        client = (
            Client.over_rest(url, "digits")
            if number % 4 == 0
            else Client.over_grpc(f"localhost:{ports['grpc']}", "digits")
        )
        rows, answers = np.arange(number, number + 2) % 5, 0
        while time.monotonic() < ends:
            found = client.certify_with(images[rows], 3, 500, 0.01)
            np.testing.assert_array_equal(found.votes, expected.counts[rows])
            np.testing.assert_array_equal(found.label, expected.labels[rows])
            answers += 1
        return answers

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert min(pool.map(ask, range(16))) > 0


def test_bad_pixels_are_refused_row_by_row_or_said_to_be_too_much_for_json(ports, url, images):
    spoiled = images[:2].copy()
    spoiled[0, 0, 0, 0] = np.nan
    found = Client.over_grpc(f"localhost:{ports['grpc']}", "digits").certify(spoiled)
    assert found.samples.tolist() == [0, 520]
    with pytest.raises(ServingError, match="JSON cannot carry NaN"):
        Client.over_rest(url, "digits").certify(spoiled)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n": 2**32 + 500}, "must fit int32"),
        ({"n": 100.5}, "whole numbers"),
        ({"seed": None}, "whole numbers"),
        ({"seed": 2**63}, "must"),
        ({"alpha": "much"}, "numbers"),
        ({"images": np.zeros((0, 8, 8, 1))}, "at least one"),
        ({"images": np.full((1, 8, 8, 1), 200.0)}, "divide by 255"),
    ],
)
def test_settings_are_never_rounded_or_wrapped(client, images, changed, message):
    settings = {"images": images[:1], "seed": 1, "n": 100, "alpha": 0.1, **changed}
    with pytest.raises(ValueError, match=message):
        client.certify_with(**settings)


def test_addresses_and_time_outs_are_checked():
    with pytest.raises(ValueError, match="http://localhost:8501"):
        Client.over_rest("localhost:8501", "digits")
    with pytest.raises(ValueError, match="localhost:8500"):
        Client.over_grpc("http://localhost:8500", "digits")
    for timeout in (0, "60", None, True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"seconds above 0.* Received: timeout={timeout!r}"):
            Client.over_rest("http://localhost:8501", "digits", timeout=timeout)


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (["zero.png"], "list of str"),
        ("zero.png", "str"),
        ([pathlib.Path("zero.png")], "list of PosixPath"),
        (pathlib.Path("zero.png"), "PosixPath"),
        (b"file", "bytes"),
        ([bytearray(b"file")], "list of bytearray"),
        ([b"file", np.zeros((8, 8, 1))], "list of bytes, ndarray"),
        ([np.zeros((8, 8, 1)), b"file"], "list of bytes, ndarray"),
        (np.array([b"file"]), "ndarray"),
        (np.array([b"file"], object), "ndarray"),
    ],
)
def test_files_in_another_form_are_told_from_pixels(client, given, received):
    for ask in (client.certify, client.decode, lambda images: client.certify_at(images, 0.1)):
        with pytest.raises(ValueError) as raised:
            ask(given)
        assert "list of their bytes: [path.read_bytes()]" in str(raised.value)
        assert str(raised.value).endswith(f"Received: {received}")


def test_a_single_image_is_asked_for_as_a_batch(client, images):
    for ask in (client.certify, client.encode, lambda image: client.certify_at(image, 0.1)):
        with pytest.raises(ValueError) as raised:
            ask(images[0])
        assert "must be a batch" in str(raised.value)
        assert str(raised.value).endswith(
            "Received: float32 of shape (8, 8, 1). Of a single image x, give the batch x[None]."
        )
    with pytest.raises(ValueError, match=r"x\[None\]\. For pixels up to 255, divide by 255"):
        client.certify(np.zeros((8, 8, 1), np.uint8))
    assert len(client.certify(images[0][None]).label) == 1


def test_an_empty_list_is_neither_files_nor_pixels(client):
    with pytest.raises(ValueError, match="at least one"):
        client.certify([])
    with pytest.raises(ValueError, match="at least one.* Received: list of nothing"):
        client.decode([])


def test_the_largest_radius_of_the_card_can_be_asked_for(client, images, version):
    card = json.loads((version / "assets.extra" / "model_card.json").read_text())
    largest = card["certificates"]["radii_of_certify_at"][-1]
    assert (client.certify_at(images, largest).samples > 0).all()
    assert (client.certify_at(images, largest + 1e-6).samples == 0).all()
