"""How much variance a model learned at each interaction order, and how sure that is.

`interaction_spectrum` measures any model, `output_spectra` each of its outputs, `stack_spectra` many stacked models in
one pass; `column_blocks`, `patch_blocks` and `lag_blocks` say which columns belong together; `rank_terms` says which
interactions they are; `purify` takes a function on a grid apart under dependent inputs; `distill` is the biased scheme
of the literature, for comparison.
`known` holds functions with known answers, `theory` what masks do to interactions in closed form.
"""

from dropscope.spectrum import known as known
from dropscope.spectrum import theory as theory
from dropscope.spectrum.blocks import column_blocks, lag_blocks, patch_blocks
from dropscope.spectrum.distillation import distill
from dropscope.spectrum.estimate import interaction_spectrum, output_spectra, stack_spectra
from dropscope.spectrum.purification import PureEffects, purify
from dropscope.spectrum.ranking import rank_terms
from dropscope.spectrum.result import Spectrum
from dropscope.spectrum.scores import centre_logits
from dropscope.spectrum.survival import SurvivalCurve
from dropscope.spectrum.tabulation import tabulate_density, tabulate_sample
from dropscope.spectrum.terms import Terms

__all__ = [
    "PureEffects",
    "Spectrum",
    "SurvivalCurve",
    "Terms",
    "centre_logits",
    "column_blocks",
    "distill",
    "interaction_spectrum",
    "lag_blocks",
    "output_spectra",
    "patch_blocks",
    "purify",
    "rank_terms",
    "stack_spectra",
    "tabulate_density",
    "tabulate_sample",
]
