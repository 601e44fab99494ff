"""New certificates from votes that were counted before, without the model."""

import dataclasses

import numpy as np


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
    if result.settings.method != "fixed":
        raise ValueError(
            "Votes of sequential tests cannot be used at another alpha: their number depends on "
            "the alpha at which they were taken. Certify again, or use method='fixed'."
        )
    settings = dataclasses.replace(result.settings, alpha=alpha, against=against)
    labels = result.selection_counts.argmax(axis=1)
    proven = [
        result.scale.proven(
            counts, label, n=settings.n, alpha=settings.alpha, against=settings.against
        )
        for label, counts in zip(labels, result.counts, strict=True)
    ]
    radii, p_lower = np.array(proven, np.float64).reshape(-1, 2).T
    return dataclasses.replace(
        result,
        labels=np.where(radii > 0, labels, -1),
        radii=radii,
        p_lower=p_lower,
        settings=settings,
    )
