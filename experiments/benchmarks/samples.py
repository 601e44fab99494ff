"""Samples per image of the sequential tests, of a fixed number and of betting.

    python -m experiments.benchmarks.samples runs/cifar_ls/certified.tsv --radii=0.25,0.5

Takes the fraction of votes that the selected class of each image got in a file of certificates
(`--method=fixed`; the more samples, the better) for its true probability, and gives the exact
expectations: samples per image up to the horizon, undecided images included, and images certified.

`betting` is the Krichevsky-Trofimov mixture of Voracek (2024) with the threshold 1 / alpha at the
same looks, which stops for either answer; `sequential` is `lsrs_tf.certify(method="sequential")`.

A second table compares `tolerance=` with input-specific sampling, by simulated votes.
"""

import dataclasses
import math

import numpy as np
import scipy.special
import scipy.stats
from absl import flags

from experiments import command_line
from experiments.benchmarks.input_specific import input_specific_samples
from experiments.shared_flags import number_list
from lsrs_tf.certification.decisions import decisions
from lsrs_tf.certification.settings import Settings
from lsrs_tf.evaluation import markdown_table
from lsrs_tf.records.summary import UNKNOWN, read_run
from lsrs_tf.sampling import random_streams
from lsrs_tf.statistics import sequential
from lsrs_tf.statistics.radius_scale import RadiusScale

flags.DEFINE_list("radii", ["0.25", "0.5", "0.75"], "Target radii.")
flags.DEFINE_integer("horizon", 100_000, "The most samples, and those of the fixed method.")
flags.DEFINE_float("radius_tolerance", 0.05, "How much smaller than at the horizon radii may be.")
flags.DEFINE_integer(
    "repetitions", 5, "Simulated votes of each image, for the tolerance.", lower_bound=1
)
flags.adopt_module_key_flags(command_line)

_SCALE = ("sigma", "lipschitz", "alpha")


def betting_test(p0, n, alpha):
    """Returns the test of Voracek (2024), stopped for p > p0 and for p < p0 alike.

    Args:
        p0: float in (0, 1).
        n: int, the most samples.
        alpha: float in (0, 1).
    """
    looks = sequential.sequential_looks(n)
    certify_from, give_up_to = [], []
    for look in looks.tolist():
        hits = np.arange(look + 1)
        wealth = (
            scipy.special.betaln(hits + 0.5, look - hits + 0.5)
            - scipy.special.betaln(0.5, 0.5)
            - hits * math.log(p0)
            - (look - hits) * math.log1p(-p0)
        )
        decided = wealth >= math.log(1 / alpha)
        above = np.flatnonzero(decided & (hits > p0 * look))
        below = np.flatnonzero(decided & (hits < p0 * look))
        certify_from.append(above[0] if above.size else look + 1)
        give_up_to.append(below[-1] if below.size else -1)
    return sequential.SequentialTest(p0, alpha, looks, np.array(certify_from), np.array(give_up_to))


def expectations(test, probabilities):
    """Returns mean samples and the expected fraction of images certified.

    Args:
        test: `sequential.SequentialTest`.
        probabilities: float array [images], probability of the selected class of each image.
    """
    samples, certified = [], []
    for p in probabilities:
        at_looks, given_up = sequential.outcome_probabilities(test, p)
        samples.append(float((at_looks + given_up) @ test.looks))
        certified.append(float(at_looks.sum()))
    return np.mean(samples), np.mean(certified)


def table(run, radii, horizon):
    """Returns a Markdown table for a run of certificates."""
    first = run.records[0]
    alpha, scale = first.value("alpha"), _scale(first)
    probabilities = [_fraction(record) for record in run.records]
    rows = []
    for radius in radii:
        p0 = scale.probability_needed(radius)
        least = sequential.least_certifying_hits(p0, horizon, alpha)
        fixed = np.mean(scipy.stats.binom.sf(least - 1, horizon, probabilities))
        rows.append([str(radius), "fixed", str(horizon), "100", "-", f"{100 * fixed:.2f}", "1"])
        betting, bet_certified = expectations(betting_test(p0, horizon, alpha), probabilities)
        samples, certified = expectations(
            sequential.sequential_test(p0, horizon, alpha), probabilities
        )
        for name, mean, share in (
            ("betting", betting, bet_certified),
            ("sequential", samples, certified),
        ):
            rows.append(
                [
                    str(radius),
                    name,
                    f"{mean:.0f}",
                    f"{100 * mean / horizon:.2f}",
                    f"{mean / betting:.2f}",
                    f"{100 * share:.2f}",
                    f"{share / fixed:.4f}",
                ]
            )
    return markdown_table(
        [
            "radius",
            "method",
            "samples per image",
            "% of fixed",
            "/ betting",
            "certified (%)",
            "of those of fixed",
        ],
        rows,
    )


def tolerance_table(run, tolerance, horizon, repetitions):
    """Returns a Markdown table on radii within a tolerance, by simulated votes."""
    first = run.records[0]
    alpha, scale = first.value("alpha"), dataclasses.replace(_scale(first), loss=0.0)
    rng = np.random.default_rng(0)
    probabilities = np.tile([_fraction(record) for record in run.records], repetitions)

    def radius(hits, samples):
        return scale.proven([hits], 0, n=samples, alpha=alpha)[0]

    fixed = np.array([radius(rng.binomial(horizon, p), horizon) for p in probabilities])

    def row(name, allowed, outcomes):
        samples, radii = np.array(outcomes).T
        lost = np.mean((fixed > 0) & (radii == 0)) / max(1e-9, np.mean(fixed > 0))
        cells = [f"{samples.mean():.0f}", f"{np.mean(fixed - radii):.4f}", f"{100 * lost:.1f}"]
        return [name, f"{allowed:g}", *cells]

    settings = Settings(method="sequential", tolerance=tolerance, n=horizon, alpha=alpha)
    new_decision = decisions(settings, scale, num_classes=2)
    planned = [_planned(new_decision(0), p, rng) for p in probabilities]
    rows = [row("tolerance", tolerance, planned)]
    for pilot in (100, 1_000):
        for allowed in (tolerance / 2, tolerance, 2 * tolerance, 4 * tolerance):
            outcomes = []
            for p in probabilities:
                hits, units = int(rng.binomial(pilot, p)), allowed * scale.lipschitz / scale.sigma
                n = input_specific_samples(hits, pilot, horizon, alpha, units)
                outcomes.append((100 + pilot + n, radius(rng.binomial(n, p), n)))
            rows.append(row(f"input-specific, {pilot} pilot samples", allowed, outcomes))
    return markdown_table(
        ["method", "tolerance", "samples per image", "mean loss of radius", "not certified (%)"],
        rows,
    )


def _scale(record):
    return RadiusScale(*(record.value(name) for name in ("sigma", "lipschitz", "radius_loss")))


def _planned(estimate, probability, rng):
    """Returns (samples, radius) of an estimate whose votes are simulated."""
    while (certificate := estimate.certificate()) is None:
        count = estimate.missing
        hits = rng.binomial(count, probability)
        # The class is the first one; an image that selects wrongly counts as one of p < 1/2.
        votes = [count, 0] if estimate.purpose == random_streams.SELECTION else [hits, count - hits]
        estimate.add(np.array(votes), count)
    return certificate.samples, certificate.radius


def _fraction(record):
    selection, counts = record.votes
    # Half a vote on either side keeps unanimous votes from a probability of 1.
    return float((counts[selection.argmax()] + 0.5) / (record.value("n") + 1))


def main(argv):
    """Computes and prints."""
    if len(argv) != 2:
        raise ValueError("Give one file of certificates, or the folder of a training run.")
    run = read_run(argv[1])
    if (
        run.records[0].value("method") != "fixed"
        or run.class_probabilities is None
        or UNKNOWN in [run.setting(name) for name in (*_SCALE, "n")]
    ):
        raise ValueError(
            f"{run.path} does not hold the votes of --method=fixed, which true probabilities are "
            "taken from here."
        )
    flag = flags.FLAGS
    radii = number_list("radii")
    print(table(run, radii, flag.horizon), flush=True)
    print(tolerance_table(run, flag.radius_tolerance, flag.horizon, flag.repetitions))


if __name__ == "__main__":
    command_line.run(main)
