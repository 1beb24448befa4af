"""A study as event files of TensorBoard: one folder for each arm, and the advice as text."""

import re
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from dropscope.errors import need
from dropscope.integrations.telling import arm_numbers, arm_rates, curves, option_texts
from dropscope.report.reading import arm_name
from dropscope.study import Arm, StudyResult

__all__ = ["TensorboardTracker"]


class TensorboardTracker:
    """Logs studies to a folder that TensorBoard shows.

    Args:
        folder: the folder; it is made if need be.

    Raises:
        MissingExtra: tensorboard is not installed.
        ValueError: the folder cannot be written.

    Example:
        >>> tracker = TensorboardTracker("runs")  # doctest: +SKIP
        >>> tracker.log_study(study.run("houses.csv", "price", name="houses"))  # doctest: +SKIP
        'runs/houses'
    """

    def __init__(self, folder: str | Path) -> None:
        need("tensorboard", "trackers")
        self.open_writer: Any = need("torch.utils.tensorboard", "trackers").SummaryWriter
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise ValueError(
                f"`tensorboard` must be a folder that can be written, got {self.folder}: {error.strerror}."
            ) from error

    def log_study(self, result: StudyResult) -> str:
        """Log a study: advice and options as text, and for each arm its rates, scores, shares by order and curves.

        Args:
            result: a finished study.

        Returns:
            Its folder; logging it again makes another one.
        """
        folder = self._free_folder(result.name)
        with self.open_writer(str(folder)) as writer:
            if result.advice is not None:
                code = f"\n\n```\n{result.advice.code}\n```" if result.advice.code else ""
                writer.add_text("advice", "\n\n".join(result.advice.sentences) + code)
            writer.add_text("options", "\n".join(f"- {name}: {text}" for name, text in option_texts(result).items()))
        for arm in result.arms:
            self._log_arm(result, arm, folder)
        return str(folder)

    def _free_folder(self, name: str) -> Path:
        """Two studies in one folder would be drawn as one."""
        name = re.sub(r"[^\w.-]+", "_", name)
        tried = 1
        while (folder := self.folder / (name if tried == 1 else f"{name}-{tried}")).exists():
            tried += 1
        return folder

    def _log_arm(self, result: StudyResult, arm: Arm, folder: Path) -> None:
        with self.open_writer(str(folder / arm_name(arm).replace("/", "-"))) as writer:
            for name, curve in curves(result, arm).items():
                for epoch, loss in curve:
                    writer.add_scalar(name, loss, epoch)
            writer.add_hparams(arm_rates(arm), arm_numbers(result, arm), run_name=".")
