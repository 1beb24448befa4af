"""A finished study as something to look at: one self-contained HTML file, and its figures as PNG."""

from dropscope.report.writing import write_report

__all__ = ["write_report"]
