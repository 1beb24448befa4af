"""How much variance a model learned at each interaction order, and how sure that is.

`interaction_spectrum` measures any callable; `stack_spectra` measures many stacked models in one pass.
`known` holds functions with known answers, `theory` what masks do to interactions in closed form.
"""

from dropscope.spectrum import known as known
from dropscope.spectrum import theory as theory
from dropscope.spectrum.estimate import centre_logits, interaction_spectrum, stack_spectra
from dropscope.spectrum.result import Spectrum

__all__ = ["Spectrum", "centre_logits", "interaction_spectrum", "stack_spectra"]
