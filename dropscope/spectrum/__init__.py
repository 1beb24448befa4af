"""How much variance a model learned at each interaction order, and how sure that is.

`interaction_spectrum` measures any callable; `stack_spectra` measures many stacked models in one pass; `rank_terms`
says which interactions they are; `purify` takes a function on a grid apart under dependent inputs; `distill` is the
biased scheme of the literature, for comparison.
`known` holds functions with known answers, `theory` what masks do to interactions in closed form.
"""

from dropscope.spectrum import known as known
from dropscope.spectrum import theory as theory
from dropscope.spectrum.distillation import distill
from dropscope.spectrum.estimate import centre_logits, interaction_spectrum, stack_spectra
from dropscope.spectrum.purification import PureEffects, purify
from dropscope.spectrum.ranking import rank_terms
from dropscope.spectrum.result import Spectrum
from dropscope.spectrum.tabulation import tabulate_density, tabulate_sample
from dropscope.spectrum.terms import Terms

__all__ = [
    "PureEffects",
    "Spectrum",
    "Terms",
    "centre_logits",
    "distill",
    "interaction_spectrum",
    "purify",
    "rank_terms",
    "stack_spectra",
    "tabulate_density",
    "tabulate_sample",
]
