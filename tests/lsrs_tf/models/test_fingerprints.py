import numpy as np

from lsrs_tf import models
from lsrs_tf.models.fingerprints import fingerprint


def test_any_weight_and_sigma_change_it():
    model = models.convnet(width=4)
    before = fingerprint(model)
    assert before == fingerprint(model)
    assert len(before) == 16
    weight = model.head.weights[-1]
    values = np.array(weight)
    weight.assign(np.nextafter(values, np.float32(9)))
    assert fingerprint(model) != before
    weight.assign(values)
    assert fingerprint(model) == before
    model.sigma = 0.5
    assert fingerprint(model) != before
