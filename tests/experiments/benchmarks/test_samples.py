import numpy as np
import pytest

from experiments.benchmarks import samples
from lsrs_tf.records.summary import read_run
from lsrs_tf.statistics.sequential import outcome_probabilities, sequential_test


def test_betting_is_valid_and_needs_more_samples():
    p0, n, alpha = 0.75, 2_000, 0.05
    betting = samples.betting_test(p0, n, alpha)
    assert 0 < outcome_probabilities(betting, p0)[0].sum() <= alpha
    needed = [
        samples.expectations(test, [0.9, 0.5])[0]
        for test in (betting, sequential_test(p0, n, alpha))
    ]
    assert needed[1] < needed[0]


def test_expectations_are_those_of_simulated_votes():
    test = sequential_test(0.75, 500, 0.05)
    mean, certified = samples.expectations(test, [0.75, 0.82])
    rng = np.random.default_rng(0)
    taken, successes = [], 0
    for p in (0.75, 0.82):
        for _ in range(2_000):
            hits = 0
            for index, count in enumerate(np.diff(test.looks, prepend=0)):
                hits += rng.binomial(count, p)
                if hits >= test.certify_from[index] or hits <= test.give_up_to[index]:
                    break
            taken.append(test.looks[index])
            successes += hits >= test.certify_from[index]
    assert mean == pytest.approx(np.mean(taken), rel=0.05)
    assert certified == pytest.approx(successes / 4_000, abs=0.03)


def test_table_reads_certificates(tmp_path):
    path = tmp_path / "certified.tsv"
    header = "idx label predict radius correct time sigma n alpha lipschitz selection_counts counts"
    rows = [
        "0 1 1 0.324751 1 0:00:01 0.25 100 0.01 1.0 0,9 3,97",
        "1 0 -1 0 0 0:00:01 0.25 100 0.01 1.0 5,4 60,40",
    ]
    path.write_text("".join(line.replace(" ", "\t") + "\n" for line in (header, *rows)))
    rows = _cells(samples.table(read_run(path), [0.1], 1_000))
    assert [row[1] for row in rows[2:]] == ["fixed", "betting", "sequential"]
    assert ["0.1", "fixed", "1000", "100", "-", "50.00", "1"] in rows
    rows = _cells(samples.tolerance_table(read_run(path), 0.1, 2_000, 20))
    assert rows[2][0] == "tolerance"
    assert 100 < float(rows[2][2]) < 2_200
    # What is lost on the average stays near the tolerance.
    assert -0.02 < float(rows[2][3]) < 0.2
    # A smaller tolerance takes more samples.
    assert float(rows[3][2]) > float(rows[6][2])


def _cells(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
