import copy

import numpy as np
import pytest

from export import checking


def test_answers_of_another_model_are_noticed(version, certifier, signatures, monkeypatch):
    ask, asked = checking.ask, []

    def remembered(*arguments):
        asked.append(ask(*arguments))
        return asked[-1]

    monkeypatch.setattr(checking, "ask", remembered)
    checking.check_export(version, certifier, signatures)

    def spoiled(change):
        answers = copy.deepcopy(asked[0])
        change(answers)
        return lambda *_: answers

    def one_more_vote(answers):
        answers["certify_with"]["votes"][0, 0] += 1

    def larger_radius(answers):
        radius = answers["certify_with"]["radius"]
        radius[0] *= 1.001

    def another_latent(answers):
        answers["encode"]["latents"][0].flat[3] += 1e-6

    def bad_row_is_answered(answers):
        answers["certify"]["label"][-1] = 0

    for change in (one_more_vote, larger_radius, another_latent, bad_row_is_answered):
        monkeypatch.setattr(checking, "ask", spoiled(change))
        with pytest.raises(ArithmeticError, match="this process"):
            checking.check_export(version, certifier, signatures)


def test_what_does_not_load_is_said(tmp_path):
    with pytest.raises(RuntimeError, match="does not load"):
        checking.ask(tmp_path, {"certify": {"images": np.zeros([1, 8, 8, 1], np.float32)}})
