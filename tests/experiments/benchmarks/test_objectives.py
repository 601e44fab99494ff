from experiments.benchmarks import objectives


def test_table_has_ratios_to_gaussian_training():
    header, _, gaussian, other = objectives.step_table(["consistency"], [0], 2, 2, rounds=1)
    assert "/ gaussian" in header
    assert gaussian.startswith("| 0/18 | gaussian |") and gaussian.endswith("| 1.00 |")
    assert other.startswith("| 0/18 | consistency |")
