import numpy as np
import pytest
import requests

import lsrs_tf
from export.answers import MarginCertificates, ServingError
from export.client import Client
from lsrs_tf.statistics import confidence
from tests.export.running_server import running_server


@pytest.fixture(scope="module")
def ports(base_version):
    with running_server(base_version) as ports:
        yield ports


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request, ports):
    if request.param == "grpc":
        return Client.over_grpc(f"localhost:{ports['grpc']}", "margins")
    return Client.over_rest(f"http://localhost:{ports['rest']}", "margins")


@pytest.fixture(scope="module")
def expected(base_model, images):
    return lsrs_tf.certify(base_model, images, method="margin", verbose=0)


def test_margins_are_those_of_this_process_to_the_last_bit(client, images, expected):
    found = client.certify_margin(images)
    assert isinstance(found, MarginCertificates)
    np.testing.assert_array_equal(found.label, expected.labels)
    radii = [confidence.float32_below(radius) for radius in expected.radii]
    np.testing.assert_array_equal(found.radius, np.float32(radii))
    np.testing.assert_array_equal(found.margin, expected.margins)
    assert found.radius.dtype == np.float32 and found.margin.dtype == np.float64
    alone = client.certify_margin(images[:1])
    assert alone.margin[0] == found.margin[0] and alone.radius.shape == (1,)
    np.testing.assert_array_equal(client.predict_clean(images).label, expected.clean_labels)


def test_what_is_not_served_is_said(client, images):
    with pytest.raises(ServingError, match="certify"):
        client.certify(images)


def test_bad_rows_are_refused_alone(client, images, expected):
    spoiled = images[:3].copy()
    spoiled[1, 2, 3, 0] = 1.25
    found = client.certify_margin(spoiled)
    assert (found.label[1], found.radius[1], found.margin[1]) == (-1, 0, 0)
    np.testing.assert_array_equal(found.margin[[0, 2]], expected.margins[[0, 2]])


def test_rows_and_the_default_signature_are_answered_over_rest(ports, images, expected):
    address = f"http://localhost:{ports['rest']}/v1/models/margins:predict"
    rows = [{"images": image.tolist()} for image in images]
    answer = requests.post(address, json={"instances": rows}).json()["predictions"]
    assert [row["margin"] for row in answer] == expected.margins.tolist()
    assert [row["label"] for row in answer] == expected.labels.tolist()
