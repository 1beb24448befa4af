"""Results as something to look at: self-contained HTML files, and figures for papers and notebooks.

`write_report` and `write_pdf` show a finished study, `write_spectrum` the spectrum of one model. `draw_shares`,
`draw_survival`, `draw_spectra`, `draw_terms`, `draw_detection`, `draw_reliability`, `draw_coverage`, `draw_pit` and
`draw_intervals` describe single figures; `to_png` and `to_pdf` save one, `to_plotly` shows it in a notebook.
"""

from dropscope.report.comparison_figure import draw_spectra
from dropscope.report.coverage_figures import draw_coverage, draw_pit
from dropscope.report.detection_figure import draw_detection
from dropscope.report.interval_figure import draw_intervals
from dropscope.report.model_writing import write_spectrum
from dropscope.report.notebook import to_plotly
from dropscope.report.paper_drawing import to_pdf, to_png
from dropscope.report.pdf_pages import write_pdf
from dropscope.report.picture import Figure
from dropscope.report.reliability_figure import draw_reliability
from dropscope.report.share_figures import draw_shares, draw_survival
from dropscope.report.terms_figure import draw_terms
from dropscope.report.writing import write_report

__all__ = [
    "Figure",
    "draw_coverage",
    "draw_detection",
    "draw_intervals",
    "draw_pit",
    "draw_reliability",
    "draw_shares",
    "draw_spectra",
    "draw_survival",
    "draw_terms",
    "to_pdf",
    "to_plotly",
    "to_png",
    "write_pdf",
    "write_report",
    "write_spectrum",
]
