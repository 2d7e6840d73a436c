"""The rows of `cargo bench --bench other_work` that JAX has, too: medians of jitted calls, in double precision unless named.

    pip install jax
    taskset -c 0 python scripts/other_work_peer.py

It prints for each row the time of the first call, with compilation, and the median of nine times as many as take a tenth of a
second.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)


def measure(name, function, *arguments):
    start = time.perf_counter()
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    first = time.perf_counter() - start

    def times(count):
        start = time.perf_counter()
        for _ in range(count):
            jax.block_until_ready(compiled(*arguments))
        return (time.perf_counter() - start) / count

    count = max(1, int(0.1 / times(1)))
    median = sorted(times(count) for _ in range(9))[4]
    print(f"{name:<36} {first * 1e6:>14.2f} µs {median * 1e6:>14.2f} µs")


def numbers(*shape, dtype=np.float64):
    return jnp.asarray(np.sin(1.0 + np.arange(np.prod(shape))).reshape(shape), dtype=dtype)


def slices(x):
    step = lambda h, row: (jnp.tanh(h * 0.5 + row), None)
    return jnp.sum(jax.lax.scan(step, jnp.zeros(14), x)[0])


def columns(x):
    total = x[:, 0] ** 2
    for k in range(1, 15):
        total = total + jnp.sin(x[:, k] * x[:, k - 1])
    return jnp.sum(total)


def distances(a, b):
    squares = jnp.sum(a**2, 1)[:, None] - 2 * a @ b.T + jnp.sum(b**2, 1)
    return jnp.sum(jnp.exp(-squares))


def mixture(x, m):
    difference = x[:, None] - m
    return jnp.sum(jax.scipy.special.logsumexp(-0.5 * jnp.sum(difference**2, 2), 1))


def gru(parameters, x):
    """The sum of all states' squares, of a gated recurrent unit of 64 over 1000 steps of a batch of 32, in single precision."""
    weights, recurrent, bias = parameters

    def step(h, row):
        gates = row @ weights + bias
        own = h @ recurrent
        reset = jax.nn.sigmoid(gates[:, :64] + own[:, :64])
        update = jax.nn.sigmoid(gates[:, 64:128] + own[:, 64:128])
        new = jnp.tanh(gates[:, 128:] + reset * own[:, 128:])
        h = (1 - update) * new + update * h
        return h, h

    return jnp.sum(jax.lax.scan(step, jnp.zeros((32, 64), jnp.float32), x)[1] ** 2)


if __name__ == "__main__":
    for steps in (1024, 4096, 8192):
        measure(f"slices, {steps} steps", jax.grad(slices), numbers(steps, 14))
    measure("columns of one array [30000, 15]", jax.grad(columns), numbers(30_000, 15))
    measure("distances [10000, 1000]", distances, numbers(10_000, 16), numbers(1000, 16))
    value_and_gradient = jax.value_and_grad(mixture, argnums=1)
    measure("mixture [30000, 8, 4]", value_and_gradient, numbers(30_000, 4), numbers(8, 4))
    single = lambda *shape: 0.1 * numbers(*shape, dtype=np.float32)
    parameters = (single(64, 192), single(64, 192), single(192))
    measure("GRU of 64, 1000 steps, 32 at once", jax.grad(gru), parameters, single(1000, 32, 64))
