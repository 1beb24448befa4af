"""Losses smoothed over rates: the posterior of scikit-learn's process, its limits, and what it is good for."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from dropscope.study import Options
from dropscope.study.rates import profile
from dropscope.study.smoothing import SIGNAL, residual_square, smoothed

ARMS = Options().arms()


def coordinates(arms):
    return np.log1p(9 * np.array(arms, float))


def noisy(generator, arms, depth, spread, seeds=5):
    """Losses around a bowl over the rates, all seeds shifted; noise in parts of the loss."""
    u = coordinates(arms)
    means = 1 + depth * np.square(u - [0.3, 0.8]).sum(1)
    own = 1 + spread * generator.normal(size=(len(u), seeds))
    return means, means[:, None] * own + 0.1 * generator.normal(size=seeds)


def test_it_is_scikit_learns_gaussian_process_of_the_highest_likelihood(seed):
    generator = np.random.default_rng(seed)
    losses = noisy(generator, ARMS, 0.1, 0.01)[1]
    noise = residual_square(losses) / 5
    y = losses.mean(1) - losses.mean()
    u = coordinates(ARMS)

    def fitted(log_signal):
        kernel = ConstantKernel(np.exp(log_signal) * noise, "fixed") * Matern(1.0, "fixed", nu=1.5)
        return GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(u, y)

    grid = np.linspace(*np.log(SIGNAL), 200)
    coarse = grid[np.argmax([fitted(one).log_marginal_likelihood_value_ for one in grid])]
    fine = optimize.minimize_scalar(
        lambda one: -fitted(one).log_marginal_likelihood_value_, bounds=(coarse - 0.1, coarse + 0.1), method="bounded"
    ).x
    posterior = fitted(np.clip(fine, grid[0], grid[-1])).predict(u)
    np.testing.assert_allclose(smoothed(losses, ARMS), losses.mean() + posterior, rtol=0, atol=1e-3 * noise**0.5)


def test_without_noise_means_stay_as_they_are():
    losses = np.array([[2.0, 2.0], [1.0, 1.0], [4.0, 4.0]])
    np.testing.assert_allclose(smoothed(losses, [(0, 0), (0, 0.1), (0, 0.2)]), [2, 1, 4], rtol=1e-15)


def test_what_is_known_well_is_not_smoothed_away(seed):
    """Losses with a jump, and little noise: no estimate leaves its own mean by more than its noise allows."""
    generator = np.random.default_rng(seed)
    losses = 40 + 10 * (coordinates(ARMS)[:, :1] > 0.8) + 0.1 * generator.normal(size=(len(ARMS), 5))
    noise = (residual_square(losses) / 5) ** 0.5
    assert abs(smoothed(losses, ARMS) - losses.mean(1)).max() < 5 * noise


def test_neither_units_nor_sign_matter(seed):
    losses = noisy(np.random.default_rng(seed), ARMS, 0.1, 0.02)[1]
    np.testing.assert_allclose(smoothed(1000 * losses, ARMS), 1000 * smoothed(losses, ARMS), rtol=1e-9)
    np.testing.assert_allclose(smoothed(losses - 5, ARMS), smoothed(losses, ARMS) - 5, rtol=1e-9)


def test_a_flat_profile_is_the_flat_rate(seed):
    losses = noisy(np.random.default_rng(seed), ARMS, 0.1, 0.02)[1] + 3
    spread = [(p_input, (p_hidden,) * 3) for p_input, p_hidden in ARMS]
    np.testing.assert_allclose(smoothed(losses, spread), smoothed(losses, ARMS), rtol=1e-9)
    assert smoothed(losses[:3], [(0, 0), (0, 0.2), (0, profile("rising", 0.2, 3))]).shape == (3,)


@pytest.mark.parametrize("depth", [0.03, 0.1])
def test_the_arm_it_finds_is_better_than_that_of_the_lowest_mean(depth, seed):
    """Where losses change little from rate to rate, against their noise, neighbours help."""
    generator, lost = np.random.default_rng(seed), []
    for _ in range(2000):
        means, losses = noisy(generator, ARMS, depth, 0.05)
        lost.append(means[smoothed(losses, ARMS).argmin()] - means[losses.mean(1).argmin()])
    error = np.std(lost, ddof=1) / len(lost) ** 0.5
    print(f"smoothed minus lowest mean: {np.mean(lost):.4f} ± {error:.4f}")
    assert np.mean(lost) < -5 * error
