import pytest

from experiments.benchmarks import certification


def test_tables_have_a_row_per_case():
    lines = certification.sampler_table(2, 32, 16, 1).splitlines()
    assert sum("float32" in line for line in lines) >= 4
    assert sum("bfloat16" in line for line in lines) >= 4
    lines = certification.depth_table(2, 32, 16, 1, depths=(0, 9)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["0/18", "9/18"]
    lines = certification.dense_table(32, 16, 1, sizes=(64, 128)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["64", "128"]


def test_torch_head_counts_votes():
    torch = pytest.importorskip("torch")
    from experiments.benchmarks.torch_resnet import TorchHead, count_votes

    head = TorchHead(2, [(4, 2)], 3).eval()
    assert count_votes(head, torch.zeros(2, 8, 8), 0.5, 25, 10, 3).sum() == 25
