"""`run_model`: the study of a user's own model and rows, which no stack can train."""

from dropscope.study.own.models import run_model

__all__ = ["run_model"]
