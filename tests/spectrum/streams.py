"""One stream of random numbers, twice."""

import torch


def replay(generator):
    """A generator that gives the stream again from its start."""
    return torch.Generator().manual_seed(generator.initial_seed())
