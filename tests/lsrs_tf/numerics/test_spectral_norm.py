import mpmath
import numpy as np
import pytest

from lsrs_tf.numerics import spectral_norm


def _exact_norm(matrix):
    """The spectral norm of the very float64 matrix, to 30 digits."""
    mpmath.mp.dps = 40
    matrix = mpmath.matrix(matrix.tolist())
    eigenvalues = mpmath.eighe(matrix.H * matrix, eigvals_only=True)
    return mpmath.sqrt(max(eigenvalues))


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (6, 2), (2, 6), (8, 8)])
@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [float, complex])
def test_bound_is_above_the_exact_norm_and_close(shape, scale, dtype):
    rng = np.random.default_rng(0)
    for _ in range(5):
        matrix = scale * rng.normal(size=shape)
        if dtype is complex:
            matrix = matrix + 1j * scale * rng.normal(size=shape)
        exact = _exact_norm(matrix)
        bound, smallest = spectral_norm.of_matrices(matrix)
        assert bound >= exact
        assert bound <= exact * (1 + mpmath.mpf(10) ** -10) + 1e-150
        if scale >= 1e-3:
            expected = np.linalg.svd(matrix, compute_uv=False).min()
            assert smallest == pytest.approx(expected, rel=1e-5, abs=1e-7 * scale)


@pytest.mark.parametrize("shape", [(3, 3), (6, 2), (2, 6)])
def test_bound_of_nearly_orthogonal_matrices(shape):
    rng = np.random.default_rng(0)
    for error in (0, 1e-15, 1e-10, 1e-3):
        matrix = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        u, _, v = np.linalg.svd(matrix, full_matrices=False)
        matrix = u @ v + error * rng.normal(size=shape)
        bound, smallest = spectral_norm.of_nearly_orthogonal(matrix[np.newaxis])
        assert _exact_norm(matrix) <= bound <= 1 + 5 * max(shape) * error + 1e-12
        values = np.linalg.svd(matrix, compute_uv=False)
        assert smallest <= values.min() + 1e-12


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 3, 40, 33), (3, 32, 70)])
def test_large_complex_matrices_are_bounded_as_by_singular_values(shape):
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    u, values, v = np.linalg.svd(matrices, full_matrices=False)
    bound, smallest = spectral_norm.of_matrices(matrices)
    assert values.max() <= bound * (1 + 1e-13) and bound <= values.max() * (1 + 1e-9)
    assert smallest == pytest.approx(values.min(), rel=1e-6)
    # One direction of one matrix that is stretched by 1e-9.
    orthogonal = u @ v
    assert spectral_norm.of_nearly_orthogonal(orthogonal)[0] <= 1 + 1e-10
    last = orthogonal.reshape(-1, *shape[-2:])[-1]
    last += 1e-9 * np.outer(
        u.reshape(-1, *u.shape[-2:])[-1, :, 0], v.reshape(-1, *v.shape[-2:])[-1, 0]
    )
    bound, smallest = spectral_norm.of_nearly_orthogonal(orthogonal)
    assert 1 + 1e-9 <= bound <= 1 + 1.1e-9
    assert smallest <= 1
    for bad in (np.nan, 1e200):
        last[0, 0] = bad
        assert not spectral_norm.of_matrices(orthogonal)[0] < np.inf


@pytest.mark.parametrize("scale", [1e-160, 1.4e-154, 1e-153, 1e-152, 1e-150])
@pytest.mark.parametrize("size", [8, 31, 32, 64])
def test_products_that_processors_take_for_zero_are_in_the_bound(size, scale):
    bound, _ = spectral_norm.of_matrices(np.full((2, size, size), scale + 0j))
    assert size * scale <= bound <= size * scale * (1 + 1e-9) + 1e-150


def test_largest_of_several_matrices_counts():
    matrices = np.stack([np.eye(3), 5 * np.eye(3), 2 * np.eye(3)])
    assert 5 <= spectral_norm.of_matrices(matrices)[0] <= 5 + 1e-12
    assert spectral_norm.of_nearly_orthogonal(matrices)[0] >= 5


def test_perturbation_is_added():
    assert spectral_norm.of_matrices(np.eye(2), perturbation=0.5)[0] >= 1.5


def test_eigenvalue_solver_that_is_wrong_does_not_make_the_bound_wrong(monkeypatch):
    matrix = np.random.default_rng(0).normal(size=(6, 6))
    exact = np.linalg.norm(matrix, 2)
    right = np.linalg.eigvalsh
    for factor in (0.0, 0.5, 1 - 1e-9):
        monkeypatch.setattr(np.linalg, "eigvalsh", lambda gram, f=factor: f * right(gram))
        bound, _ = spectral_norm.of_matrices(matrix)
        assert exact <= bound <= 4 * exact


def test_values_that_overflow_have_no_bound():
    assert spectral_norm.of_matrices(np.full((2, 2), 1e200))[0] == np.inf
    assert spectral_norm.of_matrices(np.full((2, 2), np.nan))[0] == np.inf


def test_zeros():
    assert spectral_norm.of_matrices(np.zeros((3, 2)))[0] <= 1e-150
