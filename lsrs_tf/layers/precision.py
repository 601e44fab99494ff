"""The precision in which orthogonal layers compute, whatever the layer's dtype policy is."""


def transform_dtype(layer):
    """Returns 'float64' for a float64 layer and 'float32' for every other policy.

    Half precision would leave singular values about 1e-2 away from 1, so that under mixed
    precision the transform and its application stay in float32.
    """
    return "float64" if layer.compute_dtype == "float64" else "float32"
