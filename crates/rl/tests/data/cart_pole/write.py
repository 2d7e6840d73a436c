"""Writes `trajectories.npz` beside it: what Gymnasium's CartPole-v1 does. `tests/environments/cart_pole.rs` compares with it.

    python -m venv somewhere && somewhere/bin/pip install gymnasium==1.4.0 && somewhere/bin/python write.py

Each of N trajectories begins in a state that is set, and is ended by Gymnasium: `states` [N, 501, 4] (f64: the environment's own),
`observations` [N, 501, 4] (f32: what it returns), `actions` [N, 500], `rewards` [N, 500], `lengths`, `terminated` and `truncated`
[N]; 0 behind an end.
"""

import pathlib

import gymnasium
import numpy as np

HORIZON = 500


def alternate(state, t):
    return t % 2


def balance(state, t):
    x, velocity, angle, spin = state
    return int(angle + 0.3 * spin + 0.02 * x + 0.06 * velocity > 0)


# Initial states, and what is done in each: first one for each of the four ends, then some that survive.
TRAJECTORIES = [
    ((0.01, -0.02, 0.03, 0.04), lambda state, t: 0),  # the pole falls to the right
    ((0.01, -0.02, -0.03, 0.04), lambda state, t: 1),  # to the left
    ((2.3, 1.0, 0.01, -0.1), balance),  # the cart leaves to the right
    ((-2.35, -0.5, 0.02, 0.0), lambda state, t: 0),  # to the left
    ((0.02, 0.01, -0.01, 0.03), alternate),  # the pole falls by itself
    ((-0.05, 0.05, 0.05, -0.05), lambda state, t: int(np.sin(3 * t) > -0.2)),
    ((0.0, 0.0, 0.0, 0.0), balance),
    ((0.03, -0.04, 0.05, 0.05), balance),
    ((-1.5, 0.3, 0.1, -0.5), balance),
]

n = len(TRAJECTORIES)
states, observations = np.zeros((n, HORIZON + 1, 4)), np.zeros((n, HORIZON + 1, 4), np.float32)
actions, rewards, lengths = np.zeros((n, HORIZON), int), np.zeros((n, HORIZON)), np.zeros(n, int)
terminated, truncated = np.zeros(n, bool), np.zeros(n, bool)
for i, (start, policy) in enumerate(TRAJECTORIES):
    environment = gymnasium.make("CartPole-v1")
    environment.reset(seed=0)
    environment.unwrapped.state = np.array(start)
    states[i, 0], observations[i, 0] = start, np.float32(start)
    for t in range(HORIZON):
        actions[i, t] = policy(environment.unwrapped.state, t)
        observations[i, t + 1], rewards[i, t], terminated[i], truncated[i], _ = environment.step(actions[i, t])
        states[i, t + 1], lengths[i] = environment.unwrapped.state, t + 1
        if terminated[i] or truncated[i]:
            break
    print(i, lengths[i], terminated[i], truncated[i], states[i, lengths[i]])

np.savez_compressed(
    pathlib.Path(__file__).parent / "trajectories.npz",
    states=states,
    observations=observations,
    actions=actions,
    rewards=rewards,
    lengths=lengths,
    terminated=terminated,
    truncated=truncated,
)
