"""A study as runs of MLflow: one for the study, with its advice and its page, and nested in it one for each arm."""

import time
from typing import Any

from dropscope.errors import need
from dropscope.integrations.telling import advice_numbers, arm_numbers, arm_rates, curves, file_names, option_texts
from dropscope.report.reading import arm_name
from dropscope.study import Arm, StudyResult

__all__ = ["MlflowTracker"]

PATIENCE = 5.0  # seconds until a server that does not answer is given up
METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100


class MlflowTracker:
    """Logs studies to MLflow.

    Args:
        uri: tracking URI, such as "sqlite:///mlflow.db" or "http://localhost:5000".
        experiment: name of the experiment; it is made if need be.

    Raises:
        MissingExtra: mlflow is not installed.
        ValueError: nothing can be logged there.

    Example:
        >>> tracker = MlflowTracker("sqlite:///mlflow.db")  # doctest: +SKIP
        >>> tracker.log_study(study.run("houses.csv", "price"))  # doctest: +SKIP
        'b7d0…'
    """

    def __init__(self, uri: str, *, experiment: str = "dropscope") -> None:
        self.uri, self.entities = uri, need("mlflow.entities", "trackers")
        try:
            _check_server(uri)
            self.client = need("mlflow", "trackers").MlflowClient(tracking_uri=uri)
            found = self.client.get_experiment_by_name(experiment)
            self.experiment = found.experiment_id if found else self.client.create_experiment(experiment)
        except Exception as error:  # of the client, its database driver or the network
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"`mlflow` must be a tracking URI to log to, got {uri!r}: {reason}") from error

    def log_study(self, result: StudyResult) -> str:
        """Log a study: options, advice, page, and for each arm its mean losses, shares by order and curves.

        Args:
            result: a finished study.

        Returns:
            The id of its run; logging it again makes another one.

        Raises:
            RuntimeError: the server failed meanwhile.
        """
        try:
            return self._log(result)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise RuntimeError(f"the study is finished, but could not be logged to {self.uri}: {reason}") from error

    def _log(self, result: StudyResult) -> str:
        advice = result.advice
        tags = {"dropscope.study": result.name}
        if advice is not None:
            tags |= {"dropscope.advice": advice.kind, "dropscope.code": advice.code}
            tags["mlflow.note.content"] = "\n\n".join(advice.sentences)
        study = self._run(result.name, tags, option_texts(result), advice_numbers(result), {})
        for path in file_names(result):
            self.client.log_artifact(study, str(path))
        for arm in result.arms:
            self._log_arm(result, arm, study)
        return study

    def _log_arm(self, result: StudyResult, arm: Arm, study: str) -> None:
        nested = {"mlflow.parentRunId": study, "dropscope.place": arm.place}
        rates = {name: str(rate) for name, rate in arm_rates(arm).items()}
        self._run(arm_name(arm), nested, rates, arm_numbers(result, arm), curves(result, arm))

    def _run(
        self, name: str, tags: dict[str, str], params: dict[str, str], numbers: dict[str, float],
        by_epoch: dict[str, list[tuple[int, float]]],
    ) -> str:  # fmt: skip
        """Log one run and return its id."""
        entities, now = self.entities, int(1000 * time.time())
        run = str(self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id)
        metrics = [entities.Metric(key, value, now, 0) for key, value in numbers.items()]
        metrics += [
            entities.Metric(key, value, now, epoch) for key, curve in by_epoch.items() for epoch, value in curve
        ]
        for part in _parts([entities.Param(key, value) for key, value in params.items()], PARAMS_AT_ONCE):
            self.client.log_batch(run, params=part)
        for part in _parts(metrics, METRICS_AT_ONCE):
            self.client.log_batch(run, metrics=part)
        self.client.set_terminated(run)
        return run


def _parts(items: list[Any], most: int) -> list[list[Any]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _check_server(uri: str) -> None:
    """Ask a server once: the client itself would ask again and again, for minutes."""
    if uri.startswith(("http://", "https://")):
        need("requests", "trackers").get(f"{uri.rstrip('/')}/health", timeout=PATIENCE)
