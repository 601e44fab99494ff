"""New certificates from votes that were counted before, without the model."""

import dataclasses

import numpy as np

from lsrs_tf.certification.settings import checked_against, checked_certification_settings
from lsrs_tf.statistics import confidence


def recertify(result, alpha, against="half"):
    """Returns the certificates of a result at another alpha, or against another probability.

    The votes are the same, so that nothing is sampled. Settings are to be chosen for their own
    sake: those picked for the certificates they give prove less than they say.

    Args:
        result: `CertificationResult` of `lsrs_tf.certify` with `method="fixed"`.
        alpha: float in (0, 1), probability that one certificate is wrong.
        against: 'half' or 'runner_up', see `lsrs_tf.certify`.

    Returns:
        A `CertificationResult`.

    Raises:
        ValueError: if a setting is impossible, or the samples were taken sequentially: how many
            there are then depends on the votes at the alpha of that time.
    """
    against = checked_against(against)
    _, _, alpha = checked_certification_settings(result.n0, result.n, alpha, against)
    if result.method != "fixed":
        raise ValueError(
            "Votes of sequential tests cannot be used at another alpha: their number depends on "
            "the alpha at which they were taken. Certify again, or use method='fixed'."
        )
    certificates = [
        recertified(
            selection,
            counts,
            result.n,
            alpha,
            result.sigma,
            result.lipschitz,
            result.radius_loss,
            against,
        )
        for selection, counts in zip(result.selection_counts, result.counts, strict=True)
    ]
    labels, radii, p_lower = zip(*certificates, strict=True) if certificates else ((), (), ())
    return dataclasses.replace(
        result,
        labels=np.array(labels, np.int64),
        radii=np.array(radii, np.float64),
        p_lower=np.array(p_lower, np.float64),
        alpha=alpha,
        against=against,
    )


def recertified(selection_counts, counts, n, alpha, sigma, lipschitz, radius_loss, against):
    """Returns (label, radius, p_lower) of votes with a fixed number of samples.

    Args:
        selection_counts: int array [classes].
        counts: int array [classes].
        n: int, samples of estimation, votes for no class included.
        alpha: float in (0, 1).
        sigma: float, standard deviation of the noise in the latent.
        lipschitz: float, upper bound of the encoder's Lipschitz constant.
        radius_loss: float, by how much rounding lowers a radius in the latent.
        against: 'half' for the radius of a class that has more than half of the votes, 'runner_up'
            for that of a class that has more than any other.
    """
    label = int(np.argmax(selection_counts))
    if against == "runner_up":
        p_lower, p_upper = confidence.runner_up_bounds(counts, label, n, alpha)
        radius = confidence.certified_radius_against(
            p_lower, p_upper, sigma, lipschitz, radius_loss
        )
        return label if radius > 0 else -1, radius, p_lower
    p_lower = confidence.lower_confidence_bound(int(counts[label]), n, alpha)
    radius = confidence.certified_radius(p_lower, sigma, lipschitz, radius_loss)
    return label if radius > 0 else -1, radius, p_lower
