import numpy as np

from lsrs_tf import models
from tests.commands import imported_command


def test_table_has_the_ratio_of_an_attack_to_a_certificate():
    model = models.convnet(width=2, orthogonal_layers=1)
    images = np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype(np.float32)
    with imported_command("experiments.benchmarks.attacks") as attacks:
        table = attacks.attack_table([("small", model, images)], 2, 100, rounds=1)
    *_, row = table.strip().splitlines()
    _, name, count, attack, certificate, ratio, _ = (cell.strip() for cell in row.split("|"))
    assert name == "small"
    assert 1 <= int(count) <= 8
    assert min(map(float, (attack, certificate, ratio))) > 0
