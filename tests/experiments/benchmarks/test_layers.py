import numpy as np
import pytest

from experiments.benchmarks import layers


@pytest.mark.parametrize("kind", ["plain", "orthogonal", "frozen"])
def test_passes_run(kind):
    for with_gradient in (False, True):
        layers.convolution(kind, 2, 4, 3, with_gradient)()


def test_table_has_ratios_of_one_run():
    lines = layers.layer_table([(2, 4)], 2, rounds=1, with_memory=False).splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    plain = [row for row in cells if "plain" in row]
    assert len(plain) == 2 and all("1.00" in row for row in plain)


def test_torch_layer_is_orthogonal():
    torch = pytest.importorskip("torch")
    from experiments.benchmarks.torch_cayley import TorchCayleyConv2d

    images = torch.randn(2, 3, 5, 6, dtype=torch.float32)
    outputs = TorchCayleyConv2d(3, 3)(images).detach()
    np.testing.assert_allclose(outputs.norm(), images.norm(), rtol=1e-5)


def test_training_step_runs():
    layers.training_step(1, 2, 2)()


@pytest.mark.parametrize("text", ["8", "axb", "8x8x8", "0x8"])
def test_impossible_shapes_are_refused(text):
    with pytest.raises(ValueError, match="channels x pixels"):
        layers._shape(text)
