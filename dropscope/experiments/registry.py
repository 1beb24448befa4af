"""Which experiments there are, what each costs, and where its code lies, which is loaded when it is run."""

import importlib
from dataclasses import dataclass
from types import ModuleType

__all__ = ["EXPERIMENTS", "Experiment"]


@dataclass(frozen=True)
class Experiment:
    """A published experiment that can be run again.

    Attributes:
        name: what `dropscope reproduce` calls it.
        source: who published it.
        measures: what is measured.
        cost: of the small version, on two cores.
        full_cost: of the whole of it.
        module: the module whose `run` runs it.
    """

    name: str
    source: str
    measures: str
    cost: str
    full_cost: str
    module: str

    def load(self) -> ModuleType:
        """Import its module."""
        return importlib.import_module(self.module)


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in [
        Experiment(
            name="uci",
            source="Gal & Ghahramani 2016, table 1",
            measures="RMSE and log-likelihood of MC dropout on nine regression tables",
            cost="3 min",
            full_cost="1 h",
            module="dropscope.experiments.uci",
        ),
    ]
}
