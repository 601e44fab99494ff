import numpy as np
import pytest

from lsrs_tf import models


@pytest.mark.parametrize(("orthogonal_layers", "latent"), [(0, (8, 8, 1)), (2, (4, 4, 32))])
def test_latent_and_logits(orthogonal_layers, latent):
    model = models.convnet(orthogonal_layers)
    assert model.encoder.output_shape[1:] == latent
    assert model(np.zeros((3, 8, 8, 1), np.float32)).shape == (3, 10)


def test_impossible_cut_is_refused():
    with pytest.raises(ValueError, match="orthogonal"):
        models.convnet(3)
