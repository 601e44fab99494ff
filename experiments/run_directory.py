"""What a training run leaves on disk, and where."""

import json
import pathlib

from lsrs_tf.files import written_whole


class RunDirectory:
    """The folder of one training run.

    Args:
        path: the folder; it is created when something is written.

    Attributes:
        path: `pathlib.Path` of the folder.
        model: path of the trained model.
        checkpoints: folder of the checkpoints, gone once training has finished.
        certified: path of the certification file.
        report: folder of table and plot.
        saved_model: folder of the exported versions.
        saved_model_xla: folder of those that are compiled by XLA.
        class_names: file with the list of the names of the classes.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.model = self.path / "model.keras"
        self.checkpoints = self.path / "checkpoints"
        self.certified = self.path / "certified.tsv"
        self.report = self.path / "report"
        self.saved_model = self.path / "saved_model"
        self.saved_model_xla = self.path / "saved_model_xla"
        self.class_names = self.path / "class_names.json"
        self._settings = self.path / "settings.json"

    def claim(self, settings, defaults=None):
        """Records the settings of a run, or checks that they are those of the run begun here.

        Args:
            settings: dict of what decides the trained weights, JSON values only.
            defaults: dict of settings that a run of an earlier version may lack, and what they were
                there.

        Raises:
            FileExistsError: if the folder holds a run of other settings.
        """
        self.check(settings, defaults)
        if not self._is_begun():
            # Nothing has been trained yet: a mistyped flag can be fixed.
            with written_whole(self._settings) as path:
                path.write_text(json.dumps(settings, indent=2) + "\n")

    def check(self, settings, defaults=None):
        """Checks that settings are those of the run begun here, if any was, and writes nothing.

        Args:
            settings: dict, see `claim`.
            defaults: dict, see `claim`.

        Raises:
            FileExistsError: if the folder holds a run of other settings, or certificates of a model
                that is not there.
        """
        self._refuse_certificates_without_model()
        if not self._is_begun():
            return
        if not self._settings.is_file():
            raise FileExistsError(
                f"{self.path} holds a model but no settings.json, so that it is unknown how it "
                "was trained. Choose another --output_dir."
            )
        changed = self.differences(settings, defaults)
        if changed:
            raise FileExistsError(
                f"{self.path} holds a run of other settings ({'; '.join(changed)}). Choose another "
                "--output_dir, or remove that folder."
            )

    def _is_begun(self):
        return self.model.exists() or self.checkpoints.exists()

    def _refuse_certificates_without_model(self):
        """Raises if a model that is trained here would be taken for that of older certificates."""
        files = [] if self.model.exists() else sorted(self.path.glob("certified*.tsv"))
        if files:
            names = ", ".join(path.name for path in files)
            raise FileExistsError(
                f"{self.path} holds certificates ({names}) of a model that is not there: there is "
                f"no {self.model.name}. What is trained now would be another model. Put the model "
                "back, choose another --output_dir, or move the certificates away."
            )

    def differences(self, settings, defaults=None):
        """Returns in which settings the run differs from others, list of str.

        Args:
            settings: dict, see `claim`.
            defaults: dict, see `claim`.

        Raises:
            FileNotFoundError: if no run was begun here.
            ValueError: if the recorded settings are damaged.
        """
        before = {**(defaults or {}), **self.settings()}
        return [
            f"{name}: {before.get(name)!r} before, {settings.get(name)!r} now"
            for name in sorted({*before, *settings})
            if before.get(name) != settings.get(name)
        ]

    def settings(self):
        """Returns the recorded settings.

        Raises:
            FileNotFoundError: if no run was begun here.
            ValueError: if the file is damaged.
        """
        if not self._settings.is_file():
            raise FileNotFoundError(
                f"There is no training run in {self.path} (no settings.json). Train one with "
                "`python -m experiments.train --output_dir=...`."
            )
        try:
            settings = json.loads(self._settings.read_text())
        except ValueError as error:
            raise ValueError(f"{self._settings} is damaged: {error}.") from error
        if not isinstance(settings, dict):
            raise ValueError(
                f"{self._settings} is damaged: it holds a {type(settings).__name__}, not the names "
                "and values of settings."
            )
        return settings
