"""Every public name is there, documented and annotated; ruff keeps the lists sorted."""

import importlib
import inspect
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import dropscope

PACKAGES = [
    f"dropscope.{path.parent.name}" if path.name == "__init__.py" else f"dropscope.{path.stem}"
    for path in sorted(Path(dropscope.__file__).parent.glob("*/__init__.py"))
] + [f"dropscope.{path.stem}" for path in sorted(Path(dropscope.__file__).parent.glob("[!_]*.py"))]
PACKAGES += ["dropscope.ensemble.calibration"]


def public(package):
    module = importlib.import_module(package)
    return [(f"{package}.{name}", getattr(module, name)) for name in module.__all__]


@pytest.mark.parametrize("package", PACKAGES)
class TestEachPackage:
    def test_has_every_name_it_lists(self, package):
        module = importlib.import_module(package)
        assert all(hasattr(module, name) for name in module.__all__)

    def test_documents_every_name(self, package):
        for name, thing in public(package):
            assert inspect.getdoc(thing), name

    def test_annotates_every_argument(self, package):
        for name, thing in public(package):
            if inspect.isfunction(thing):
                hints = {k for k in inspect.signature(thing).parameters if k not in thing.__annotations__}
                assert not hints, f"{name}: {hints}"


def test_results_are_frozen_dataclasses():
    from dropscope import data, ensemble, experiments, moments, spectrum, study

    spectra = (spectrum.Spectrum, spectrum.SurvivalCurve, spectrum.Terms, spectrum.PureEffects)
    predictions = (ensemble.Prediction, ensemble.OrderBias, ensemble.Detection)
    calibration = ensemble.calibration
    judged = (calibration.Reliability, calibration.RegressionScores, calibration.Intervals, calibration.Bins)
    fitted = (
        calibration.Temperature,
        calibration.VarianceScale,
        calibration.ConformalIntervals,
        calibration.ConformalSets,
    )
    trained = (study.StudyResult, study.Advice, study.Arm, study.Decision)
    published = (data.Split, data.UciResults, experiments.Experiment)
    for kind in (*trained, *published, moments.Moments, *predictions, *judged, *fitted, *spectra):
        assert is_dataclass(kind)
        assert kind.__dataclass_params__.frozen


def test_parts_are_loaded_on_first_use():
    assert set(dropscope.__all__) <= set(dir(dropscope))
    with pytest.raises(AttributeError, match="its parts are"):
        _ = dropscope.nothing
