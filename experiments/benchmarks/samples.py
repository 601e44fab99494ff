"""Samples per image of the sequential tests, beside a fixed number and beside betting.

    python -m experiments.benchmarks.samples runs/cifar_ls/certified.tsv --radii=0.25,0.5

Takes the fraction of votes that the selected class of each image got in a file of certificates
(`--method=fixed`; the more samples, the better) for its true probability, and gives the exact
expectations: samples per image up to the horizon, undecided images included, and images certified.

`betting` is the Krichevsky-Trofimov mixture of Voracek (2024) with the threshold 1 / alpha at the
same looks, which stops for either answer; `sequential` is `lsrs_tf.certify(method="sequential")`.
"""

import math

import numpy as np
import scipy.special
import scipy.stats
from absl import flags

from experiments import command_line
from experiments.reporting import read_run
from lsrs_tf.smoothing import records, sequential

flags.DEFINE_list("radii", ["0.25", "0.5", "0.75"], "Target radii.")
flags.DEFINE_integer("horizon", 100_000, "The most samples, and those of the fixed method.")
flags.adopt_module_key_flags(command_line)


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
    """Returns the lines of a Markdown table for a run of certificates."""
    settings = run.records[0].extra
    sigma, lipschitz, alpha = (float(settings[name]) for name in ("sigma", "lipschitz", "alpha"))
    probabilities = [_fraction(record) for record in run.records]
    lines = [
        "| radius | method | samples per image | % of fixed | / betting | certified (%) | "
        "of those of fixed |",
        "|---|---|---|---|---|---|---|",
    ]
    for radius in radii:
        loss = float(settings.get("radius_loss", 0.0))
        p0 = sequential.probability_needed(radius, sigma, lipschitz, loss)
        least = sequential.least_certifying_hits(p0, horizon, alpha)
        fixed = np.mean(scipy.stats.binom.sf(least - 1, horizon, probabilities))
        lines.append(f"| {radius} | fixed | {horizon} | 100 | - | {100 * fixed:.2f} | 1 |")
        betting, bet_certified = expectations(betting_test(p0, horizon, alpha), probabilities)
        samples, certified = expectations(
            sequential.sequential_test(p0, horizon, alpha), probabilities
        )
        for name, mean, share in (
            ("betting", betting, bet_certified),
            ("sequential", samples, certified),
        ):
            lines.append(
                f"| {radius} | {name} | {mean:.0f} | {100 * mean / horizon:.2f} | "
                f"{mean / betting:.2f} | {100 * share:.2f} | {share / fixed:.4f} |"
            )
    return lines


def _fraction(record):
    selection, counts = records.votes_of(record)
    # Half a vote on either side keeps unanimous votes from a probability of 1.
    return float((counts[selection.argmax()] + 0.5) / (int(record.extra["n"]) + 1))


def main(argv):
    """Computes and prints."""
    if len(argv) != 2:
        raise ValueError("Give one file of certificates, or the folder of a training run.")
    run = read_run(argv[1])
    radii = [float(radius) for radius in flags.FLAGS.radii]
    print("\n".join(table(run, radii, flags.FLAGS.horizon)))


if __name__ == "__main__":
    command_line.run(main)
