#!/usr/bin/env python3
"""Meta-gradients of ProMP, LVC-VPG, MAML and E-MAML (as released) in JAX, in double precision, of two inner steps of one task, away
from the parameters that sampled the data: for `tests/peer.rs`. Needs jax and numpy; writes golden.npz beside itself."""
import os
import numpy as np
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)

N, H, D, A, HIDDEN, K = 3, 8, 2, 2, 5, 2
RATE, CLIP, PRICE, GAMMA = 0.1, 0.05, 0.7, 0.95
rng = np.random.default_rng(0)
sizes = [D, HIDDEN, HIDDEN, A]
theta = {}
for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
    theta[f"w{i + 1}"], theta[f"b{i + 1}"] = rng.normal(size=(m, n)) / m ** .5, rng.normal(size=n) * .1
theta["log_std"] = rng.normal(size=A) * .2
moved = {k: v + rng.normal(size=v.shape) * .02 for k, v in theta.items()}


def dist(q, o):
    h = jnp.tanh(jnp.tanh(o @ q["w1"] + q["b1"]) @ q["w2"] + q["b2"])
    return h @ q["w3"] + q["b3"], q["log_std"]


def log_prob(q, o, a):
    m, s = dist(q, o)
    return (-.5 * ((a - m) / jnp.exp(s)) ** 2 - s - .5 * jnp.log(2 * jnp.pi)).sum(-1)


def process(q, o, a, r):
    """Linear feature baseline on the same data, GAE(1), normalised."""
    ret, c = [], np.zeros(N)
    for t in range(H)[::-1]:
        c = r[:, t] + GAMMA * c
        ret.insert(0, c)
    ret = np.stack(ret, 1)
    t = np.broadcast_to((np.arange(H) / 100)[None, :, None], (N, H, 1))
    oc = np.clip(o, -10, 10)
    f = np.concatenate([oc, oc ** 2, t, t ** 2, t ** 3, np.ones_like(t)], -1).reshape(N * H, -1)
    w = np.linalg.solve(f.T @ f + 1e-5 * np.eye(f.shape[1]), f.T @ ret.reshape(-1))
    v = np.concatenate([(f @ w).reshape(N, H), np.zeros((N, 1))], 1)
    adv, c = [], np.zeros(N)
    for t in range(H)[::-1]:
        c = r[:, t] + GAMMA * v[:, t + 1] - v[:, t] + GAMMA * c
        adv.insert(0, c)
    adv = np.stack(adv, 1)
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    m, s = dist(q, o)
    return dict(o=o, a=a, adv=adv, m=m, s=s, lp=log_prob(q, o, a))


def inner(q, d, kind):
    lp = log_prob(q, d["o"], d["a"])
    return (jnp.exp(lp - d["lp"]) * d["adv"]).mean() if kind in ("promp", "lvc") else (lp * d["adv"]).mean()


def adapt(q, d, kind):
    return jax.tree.map(lambda x, g: x + RATE * g, q, jax.grad(inner)(q, d, kind))


def kl(q, d):
    m, s = dist(q, d["o"])
    square = (d["m"] - m) ** 2 + jnp.exp(2 * d["s"]) - jnp.exp(2 * s)
    return (square / (2 * jnp.exp(2 * s)) + s - d["s"]).sum(-1).mean()


def outer(q, data, kind, reward, shift, scale):
    x, kls, score = q, 0., None
    for d in data[:-1]:
        kls = kls + kl(x, d)
        score = log_prob(x, d["o"], d["a"]).mean() if score is None else score
        x = adapt(x, d, kind)
    d = data[-1]
    ratio = jnp.exp(log_prob(x, d["o"], d["a"]) - d["lp"])
    if kind == "promp":
        return jnp.minimum(ratio * d["adv"], jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * d["adv"]).mean() - PRICE * kls / K
    surrogate = (ratio * d["adv"]).mean()
    return surrogate + ((reward - shift) * scale * score if kind == "emaml" else 0.)


out = {f"theta_{k}": v for k, v in theta.items()} | {f"moved_{k}": v for k, v in moved.items()}
raw = [(rng.normal(size=(N, H + 1, D)), rng.normal(size=(N, H, A)), rng.normal(size=(N, H))) for _ in range(K + 1)]
for k, (o, a, r) in enumerate(raw):
    out |= {f"observations_{k}": o, f"actions_{k}": a, f"rewards_{k}": r}
for kind in ["promp", "lvc", "maml", "emaml"]:
    q, data = theta, []
    for k, (o, a, r) in enumerate(raw):
        data.append(process(q, o[:, :H], a, r))
        q = adapt(q, data[-1], kind) if k < K else q
    g = jax.grad(outer)({k: jnp.array(v) for k, v in moved.items()}, data, kind, raw[-1][2].mean(), .3, 1.7)
    out |= {f"{kind}_{k}": np.asarray(v) for k, v in g.items()}
np.savez(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.npz"), **{k: np.asarray(v, dtype=np.float64) for k, v in out.items()})
