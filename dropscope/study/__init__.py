"""How much dropout should this data and model have, and where? Answered by a measured, paired grid."""

from dropscope.study.advice import advise
from dropscope.study.comparison import ArmDifference, Comparison, compare
from dropscope.study.decision import Decision, Losses, decide
from dropscope.study.keeping import KeptModel, load_model
from dropscope.study.opening import load_result
from dropscope.study.options import Options
from dropscope.study.own.models import run_model
from dropscope.study.result import Advice, Arm, StudyResult
from dropscope.study.runner import Progress, run

__all__ = [
    "Advice",
    "Arm",
    "ArmDifference",
    "Comparison",
    "Decision",
    "KeptModel",
    "Losses",
    "Options",
    "Progress",
    "StudyResult",
    "advise",
    "compare",
    "decide",
    "load_model",
    "load_result",
    "run",
    "run_model",
]
