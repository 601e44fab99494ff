import json

import lsrs_tf
from export.card_text import measurements_table
from export.version_changes import _PROMISED, changes_from_version_before
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.version import __version__
from tests.export.conftest import ABOUT


def test_card_tells_what_is_served(model, version):
    folder = version / "assets.extra"
    card = json.loads((folder / "model_card.json").read_text())
    assert {key: card[key] for key in ABOUT} == ABOUT
    assert card["input"] == {"shape": [8, 8, 1], "range": [0.0, 1.0], "channels": "last"}
    certificates = card["certificates"]
    assert (certificates["n0"], certificates["n"], certificates["alpha"]) == (20, 500, 0.01)
    assert (certificates["sigma"], certificates["max_n"]) == (0.5, 1_000_000)
    assert 1 <= certificates["lipschitz_bound"] < 1 + 1e-9
    assert any("conv1: distance" in method for method in certificates["lipschitz_method"])
    assert card["signatures"]["certify_with"]["inputs"]["alpha"]["dtype"] == "float64"
    assert card["signatures"]["certify_with"]["inputs"]["alpha"]["shape"] == [None]
    assert card["signatures"]["certify"]["outputs"]["votes"]["shape"] == [None, 3]
    assert card["fingerprint"] == fingerprint(model)
    assert card["versions"]["lsrs-tf"] == __version__
    text = (folder / "model_card.md").read_text()
    for part in ("# digits", "a, b, c", "`votes` int32 [B, 3]", "0.01", card["fingerprint"]):
        assert part in text


def test_changes_of_what_clients_rely_on_are_told(tmp_path):
    for number, alpha in ((2, 0.01), (10, 0.05)):
        card = {"certificates": dict.fromkeys(_PROMISED, 1), "input": 1, "classes": 3}
        card["signatures"] = {"serving_default": {"outputs": {"label": 1, "votes": 1}}}
        card["certificates"]["alpha"] = alpha
        folder = tmp_path / str(number) / "assets.extra"
        folder.mkdir(parents=True)
        (folder / "model_card.json").write_text(json.dumps(card))
    assert changes_from_version_before(tmp_path / "10") == ["alpha 0.01, now 0.05"]
    assert changes_from_version_before(tmp_path / "2") == []


def test_lost_signatures_are_told(tmp_path):
    cards = (
        {"certificates": {}, "signatures": {"certify": {}, "serving_default": {"votes", "label"}}},
        {"signatures": {"certify_margin": {}, "serving_default": {"margin", "label"}}},
    )
    for number, card in enumerate(cards, 1):
        outputs = dict.fromkeys(card["signatures"]["serving_default"], 1)
        card["signatures"]["serving_default"] = {"outputs": outputs}
        folder = tmp_path / str(number) / "assets.extra"
        folder.mkdir(parents=True)
        (folder / "model_card.json").write_text(json.dumps({**card, "input": 1, "classes": 3}))
    assert changes_from_version_before(tmp_path / "2") == [
        "signatures that are gone: certify",
        "serving_default with label, votes, now label, margin",
    ]


def test_card_of_margins_tells_of_proofs_without_alpha(base_model, base_version):
    folder = base_version / "assets.extra"
    card = json.loads((folder / "model_card.json").read_text())
    assert {key: card[key] for key in ABOUT} == ABOUT
    assert "certificates" not in card
    margins = card["margin_certificates"]
    certifier = lsrs_tf.Certifier(base_model, method="margin")
    scale = certifier.base_classifier.margin_scale
    assert "base" in margins["classifier"] and "without alpha" in margins["certainty"]
    assert margins["lipschitz_bound"] == certifier.base_classifier.lipschitz_report.bound
    assert margins["rounding_loss_of_a_margin"] == scale.loss > 0
    assert any("logits" in method for method in margins["lipschitz_method"])
    assert {"certify_margin", "certify_margin_bytes", "decode"} < set(card["signatures"])
    assert card["signatures"]["certify_margin"] == card["signatures"]["serving_default"]
    assert card["signatures"]["certify_margin"]["outputs"]["margin"]["dtype"] == "float64"
    text = (folder / "model_card.md").read_text()
    for part in (
        "## Margin certificates",
        "`margin` float64 [B]",
        "without alpha",
        "rounding loss",
    ):
        assert part in text
    assert "alpha:" not in text.split("## Signatures")[0]


def test_measurements_are_told_in_rounded_figures():
    measured = {
        "images": 360,
        "certified_accuracy": {"0.00": 0.9722222222222222, "0.25": 0.5},
        "average_certified_radius": 0.48199,
        "abstained": 0.0111,
        "settings": {"n": "5000", "target_radii": "-", "sigma": "0.25", "model": "0123"},
    }
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in measurements_table(measured).splitlines()
    ]
    for row in (
        ["test images", "360"],
        ["certified accuracy at radius 0.00", "97.2 %"],
        ["certified accuracy at radius 0.25", "50.0 %"],
        ["abstentions", "1.2 %"],
        ["average certified radius (ACR)", "0.481"],
    ):
        assert row in lines
    assert ["n", "5000"] in lines and ["sigma", "0.25"] in lines and ["model", "0123"] in lines
    assert not any("target radii" in line for line in lines)
    assert "{" not in measurements_table(measured)
