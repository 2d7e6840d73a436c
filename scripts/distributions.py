"""Log-probabilities, entropies and divergences of `rl`'s distributions, by mpmath (`pip install mpmath`), to 50 digits.

    python3 scripts/distributions.py        writes crates/rl/tests/data/distributions.csv

A line is a kind, what is asked, the numbers of the distribution (and of the other one, for a divergence) and of the point, all with
semicolons between arrays and spaces within, the value, and the largest magnitude of the terms that its formula adds up, of which
an error is to be seen in relation. All numbers that go in are of single precision. Entropies and divergences are in closed form,
which is asserted to be the integral (by NumPy, in double precision) where that is easily had.
"""

import pathlib
import struct

import mpmath as mp
import numpy as np
from scipy.special import gammaln

mp.mp.dps = 50

INFINITY = mp.inf
lines = []


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def singles(*numbers):
    return [mp.mpf(single(x)) for x in numbers]


def text(x):
    if mp.isinf(x):
        return "inf" if x > 0 else "-inf"
    return repr(float(x))


def write(kind, what, arrays, value, terms):
    arrays = ";".join(" ".join(text(x) for x in array) for array in arrays)
    finite = [abs(t) for t in terms if not mp.isinf(t)]
    lines.append(f"{kind},{what},{arrays},{text(value)},{text(max(finite, default=mp.mpf(0)))}")


def close(a, b):
    """An integral in double precision, and what it has to be."""
    a, b = float(a), float(b)
    assert abs(a - b) <= 1e-9 * max(1, abs(a)), (a, b)


def power(base, exponent):
    """ln base^exponent, by its limit at 0."""
    if base < 0:
        return -INFINITY
    if base == 0:
        return mp.mpf(0) if exponent == 0 else -mp.sign(exponent) * INFINITY
    return exponent * mp.log(base)


def total(terms):
    return sum(terms, mp.mpf(0))


# Beta.


def beta_terms(a, b, low, high, x):
    width = mp.log(high - low)
    return [
        power(x - low, a - 1),
        power(high - x, b - 1),
        -(a + b - 1) * width,
        mp.loggamma(a + b),
        -mp.loggamma(a),
        -mp.loggamma(b),
    ]


def beta_entropy(a, b, low, high):
    return [
        mp.loggamma(a),
        mp.loggamma(b),
        -mp.loggamma(a + b),
        -(a - 1) * mp.digamma(a),
        -(b - 1) * mp.digamma(b),
        (a + b - 2) * mp.digamma(a + b),
        mp.log(high - low),
    ]


def beta_kl(a, b, a2, b2):
    return [
        mp.loggamma(a2),
        mp.loggamma(b2),
        -mp.loggamma(a2 + b2),
        -mp.loggamma(a),
        -mp.loggamma(b),
        mp.loggamma(a + b),
        (a - a2) * mp.digamma(a),
        (b - b2) * mp.digamma(b),
        -(a - a2 + b - b2) * mp.digamma(a + b),
    ]


def beta_logarithm(a, b):
    a, b = float(a), float(b)
    constant = gammaln(a + b) - gammaln(a) - gammaln(b)
    return lambda x, y: (a - 1) * x + (b - 1) * y + constant


def over_logit(logarithm, f):
    """The integral over (0, 1) of e^logarithm·f, functions of ln x and ln (1 - x), by the trapezoidal rule over ln x/(1 - x)."""
    t = np.arange(-300, 300, 0.01)
    x, y = -np.logaddexp(0, -t), -np.logaddexp(0, t)
    return np.sum(np.exp(logarithm(x, y) + x + y) * f(x, y)) * 0.01


BETAS = [
    (1, 1), (2, 3), (0.5, 0.5), (1, 30), (30, 1), (1.5, 700), (1e-3, 2), (1e-10, 1e-10), (1e5, 1e5), (1e8, 3), (1e-20, 1e20),
    (3e-38, 1), (1.0000001, 1.0000001), (12.5, 7.25),
]
MILD = [(1, 1), (2, 3), (0.5, 0.5), (1, 30), (30, 1), (12.5, 7.25), (0.25, 8)]


def betas():
    bounds = [singles(0, 1), singles(-1, 1), singles(-2, 0.5), singles(3, 1003)]
    shares = [1e-37, 1e-20, 1e-5, 0.1, 0.5, 0.75, 1 - 1e-5, 1 - 2.0**-24]
    for a, b in (singles(*pair) for pair in BETAS):
        for low, high in bounds:
            points = [single(float(low + (high - low) * mp.mpf(share))) for share in shares]
            mean = single(float(low + (high - low) * a / (a + b)))
            edges = [float(low), float(high), float(low) - 0.5, float(high) + 0.5]
            for x in dict.fromkeys(points + [mean] + edges):
                terms = beta_terms(a, b, low, high, mp.mpf(x))
                write("beta", "log_prob", [[a], [b], [low], [high], [x]], total(terms), terms)
            terms = beta_entropy(a, b, low, high)
            write("beta", "entropy", [[a], [b], [low], [high]], total(terms), terms)
    for a, b in (singles(*pair) for pair in MILD):
        own = beta_logarithm(a, b)
        close(-over_logit(own, own), total(beta_entropy(a, b, 0, 1)))
        for a2, b2 in (singles(*pair) for pair in MILD):
            other = beta_logarithm(a2, b2)
            value = over_logit(own, lambda x, y: own(x, y) - other(x, y))
            terms = beta_kl(a, b, a2, b2)
            close(value, total(terms))
            write("beta", "kl", [[a], [b], [-1], [1], [a2], [b2], [-1], [1]], total(terms), terms)
    for a, b in (singles(*pair) for pair in BETAS):
        for a2, b2 in (singles(*pair) for pair in [(1e-5, 3), (1e5, 1e4), (2, 2)]):
            terms = beta_kl(a, b, a2, b2)
            write("beta", "kl", [[a], [b], [0], [1], [a2], [b2], [0], [1]], total(terms), terms)


# Gamma.


def gamma_terms(a, r, x):
    if mp.isinf(x):
        return [-INFINITY]
    return [power(x, a - 1), -r * x, a * mp.log(r), -mp.loggamma(a)]


def gamma_entropy(a, r):
    return [a, -mp.log(r), mp.loggamma(a), (1 - a) * mp.digamma(a)]


def gamma_kl(a, r, a2, r2):
    return [
        (a - a2) * mp.digamma(a),
        -mp.loggamma(a),
        mp.loggamma(a2),
        a2 * mp.log(r),
        -a2 * mp.log(r2),
        a * r2 / r,
        -a,
    ]


def gamma_logarithm(a, r):
    """Of s = ln x."""
    a, r = float(a), float(r)
    constant = a * np.log(r) - gammaln(a)
    return lambda s: (a - 1) * s - r * np.exp(s) + constant


def gammas():
    rates = [1, 1e-20, 1e20, 0.3, 12.5]
    for a in singles(1, 2, 0.5, 30, 1e-3, 1e-10, 3e-38, 1e5, 1e9, 1.0000001, 12.5):
        for r in singles(*rates):
            mean = single(float(a / r))
            points = [1e-37, 1e-10, 0.1, 1.0, 7.5, 1e3, 1e20, mean, 0.0, -0.5, INFINITY]
            for x in dict.fromkeys(single(float(x)) for x in points):
                terms = gamma_terms(a, r, mp.mpf(x))
                write("gamma", "log_prob", [[a], [r], [x]], total(terms), terms)
            terms = gamma_entropy(a, r)
            write("gamma", "entropy", [[a], [r]], total(terms), terms)
    mild = [(1, 1), (2, 0.5), (0.5, 3), (30, 20), (12.5, 1)]
    for a, r in (singles(*pair) for pair in mild):
        own = gamma_logarithm(a, r)
        s = np.arange(-120, 20, 0.005)

        def integral(f):
            return np.sum(np.exp(own(s) + s) * f(s)) * 0.005

        close(-integral(own), total(gamma_entropy(a, r)))
        for a2, r2 in (singles(*pair) for pair in mild):
            other = gamma_logarithm(a2, r2)
            value = integral(lambda s: own(s) - other(s))
            terms = gamma_kl(a, r, a2, r2)
            close(value, total(terms))
            write("gamma", "kl", [[a], [r], [a2], [r2]], total(terms), terms)
    for a, r in (singles(*pair) for pair in [(1e-10, 1), (1e9, 1e9), (3, 1e-20), (1e-3, 1e20)]):
        for a2, r2 in (singles(*pair) for pair in [(1e-10, 1), (1e9, 1e9), (3, 1e-20), (2, 1)]):
            terms = gamma_kl(a, r, a2, r2)
            write("gamma", "kl", [[a], [r], [a2], [r2]], total(terms), terms)


# Dirichlet.


def dirichlet_terms(a, x):
    return [power(x, a - 1) for a, x in zip(a, x)] + [mp.loggamma(total(a))] + [-mp.loggamma(a) for a in a]


def dirichlet_entropy(a):
    s = total(a)
    return (
        [mp.loggamma(x) for x in a]
        + [-mp.loggamma(s), (s - len(a)) * mp.digamma(s)]
        + [-(x - 1) * mp.digamma(x) for x in a]
    )


def dirichlet_kl(a, b):
    s = total(a)
    return (
        [mp.loggamma(s), -mp.loggamma(total(b))]
        + [-mp.loggamma(x) for x in a]
        + [mp.loggamma(x) for x in b]
        + [(x - y) * mp.digamma(x) for x, y in zip(a, b)]
        + [-total([x - y for x, y in zip(a, b)]) * mp.digamma(s)]
    )


def dirichlets():
    cases = [
        (1, 1), (1, 1, 1), (0.5, 0.5, 0.5), (2, 3, 4), (1e-5, 1e-5), (1e-10, 1, 1e5), (1e5, 2e5, 3e5, 4e5), (30, 1, 0.25, 2, 7.5),
    ]
    for a in (singles(*case) for case in cases):
        size = len(a)
        centre = [single(1 / size)] * size
        corner = [single(1 - 1e-5 * (size - 1))] + [single(1e-5)] * (size - 1)
        far = [single(1e-37)] + [single(1 / (size - 1))] * (size - 1)
        at_edge = [0.0] + [single(1 / (size - 1))] * (size - 1)
        beyond = [-0.5] + [single(1.5 / (size - 1))] * (size - 1)
        for x in [centre, corner, far, at_edge, beyond]:
            terms = dirichlet_terms(a, [mp.mpf(y) for y in x])
            write("dirichlet", "log_prob", [a, x], total(terms), terms)
        terms = dirichlet_entropy(a)
        write("dirichlet", "entropy", [a], total(terms), terms)
    mild = [(1, 1, 1), (2, 3, 4), (5, 1.5, 1), (1.5, 7, 2.5)]
    # By shares s and (1 - s)·t, over their ln x/(1 - x).
    t = np.arange(-60, 60, 0.1)
    x, y = -np.logaddexp(0, -t), -np.logaddexp(0, t)
    shares = [x[:, None] + 0 * x, y[:, None] + x, y[:, None] + y]
    weight = (x + 2 * y)[:, None] + x + y

    def logarithm(c):
        c = [float(k) for k in c]
        return sum((k - 1) * share for k, share in zip(c, shares)) + gammaln(sum(c)) - sum(map(gammaln, c))

    for a in (singles(*case) for case in mild):
        for b in (singles(*case) for case in mild):
            terms = dirichlet_kl(a, b)
            p = logarithm(a)
            close(np.sum(np.exp(p + weight) * (p - logarithm(b))) * 0.01, total(terms))
            write("dirichlet", "kl", [a, b], total(terms), terms)
        close(-np.sum(np.exp(logarithm(a) + weight) * logarithm(a)) * 0.01, total(dirichlet_entropy(a)))
    for a in (singles(*case) for case in [(1e-5, 1e-5), (1e5, 2e5), (0.5, 3)]):
        for b in (singles(*case) for case in [(1e-5, 1e-5), (1e5, 2e5), (0.5, 3)]):
            terms = dirichlet_kl(a, b)
            write("dirichlet", "kl", [a, b], total(terms), terms)


# Squashed normal.


def normal(m, s, u):
    return [-((u - m) / mp.exp(s)) ** 2 / 2, -s, -mp.log(2 * mp.pi) / 2]


def squashed():
    bounds = [singles(-1, 1), singles(0, 1), singles(-2, 0.5)]
    for m, s in (singles(*pair) for pair in [(0, 0), (0.3, -1), (-4, 0.5), (20, -1), (0, -5), (-300, 3), (0.0001, -9)]):
        for low, high in bounds:
            shares = [1e-37, 1e-20, 1e-7, 1e-3, 0.3, 0.5, 0.5 + 2.0**-22, 0.9, 1 - 1e-5, 1 - 2.0**-24]
            points = [single(float(low + (high - low) * mp.mpf(share))) for share in shares]
            inside = [x for x in dict.fromkeys(points) if low < x < high]
            for x in inside:
                x = mp.mpf(x)
                u = mp.log((x - low) / (high - x)) / 2
                sensitivity = abs((u - m) / mp.exp(2 * s)) * max(1, abs(mp.log(x - low)), abs(mp.log(high - x)))
                terms = normal(m, s, u) + [-mp.log(x - low), -mp.log(high - x), mp.log((high - low) / 2)]
                write("squashed", "log_prob", [[m], [s], [low], [high], [x]], total(terms), terms + [sensitivity])
            for x in [float(low), float(high), float(low) - 0.5, float(high) + 0.5]:
                write("squashed", "log_prob", [[m], [s], [low], [high], [x]], -INFINITY, [])
            for u in singles(0, 0.3, -0.3, 5, -5, 9.5, -19.5, 40, -1000, 1000, 1e10, -1e10):
                # 1 - tanh^2 u = 4 e^(2u)/(1 + e^(2u))^2, by the smaller exponential.
                slope = mp.log(4) - 2 * abs(u) - 2 * mp.log1p(mp.exp(-2 * abs(u)))
                terms = normal(m, s, u) + [-slope, 2 * u, -mp.log((high - low) / 2)]
                value = total(normal(m, s, u)) - slope - mp.log((high - low) / 2)
                write("squashed", "log_prob_at", [[m], [s], [low], [high], [u]], value, terms)


def squashed_kl():
    mild = [(0, 0), (0.3, -1), (-1, 0.5)]
    for m, s in (singles(*pair) for pair in mild):
        for m2, s2 in (singles(*pair) for pair in mild):
            # Over what is squashed, a = tanh u, by the trapezoidal rule over the logarithm of (1 + a)/(1 - a).
            t = np.arange(-60, 60, 0.005)
            below, above = 2 / (1 + np.exp(-t)), 2 / (1 + np.exp(t))
            u = np.log(below / above) / 2

            def density(m, s):
                return -(((u - float(m)) / np.exp(float(s))) ** 2) / 2 - float(s) - np.log(2 * np.pi) / 2 - np.log(below * above)

            p = density(m, s)
            value = np.sum(np.exp(p) * (p - density(m2, s2)) * below * above / 2) * 0.005
            ratio = mp.exp(s - s2)
            terms = [s2 - s, ratio**2 / 2, ((m - m2) / mp.exp(s2)) ** 2 / 2, mp.mpf(-1) / 2]
            close(value, total(terms))
            write("squashed", "kl", [[m], [s], [-1], [1], [m2], [s2], [-1], [1]], total(terms), terms)


# Normal of any covariance.


def matrix(size, entries):
    result, entries = mp.zeros(size), list(entries)
    for i in range(size):
        for j in range(i + 1):
            result[i, j] = entries.pop(0)
    return result


def full():
    triangles = [
        (1, [2]),
        (2, [1, 0, 1]),
        (2, [0.5, -1.25, 2]),
        (3, [1, 0.5, 0.25, -2, 3, 4]),
        (3, [1e-3, 5, 1e3, 0.1, -0.2, 1]),
        (3, [1e5, 3e4, 2e5, -1e5, 4e5, 1e4]),
    ]
    made = []
    for size, entries in triangles:
        factor = matrix(size, singles(*entries))
        mean = singles(*[0.3 * (i + 1) - 0.5 for i in range(size)])
        made.append((size, mean, factor))
        covariance = factor * factor.T
        rows = [factor[i, j] for i in range(size) for j in range(size)]
        for shift in [0, 1, -3, 1e3]:
            x = singles(*[float(m) + shift * (i + 1) for i, m in enumerate(mean)])
            difference = mp.matrix([a - b for a, b in zip(x, mean)])
            square = (difference.T * (covariance**-1) * difference)[0]
            terms = [-square / 2, -mp.log(mp.det(covariance)) / 2, -mp.mpf(size) / 2 * mp.log(2 * mp.pi)]
            # Of the solution's components, the largest that is subtracted.
            inverse = factor**-1
            condition = max(
                sum(abs(inverse[i, k] * factor[k, l] * inverse[l, j] * difference[j]) for k in range(size) for l in range(size))
                for i in range(size)
                for j in range(size)
            )
            write("full", "log_prob", [mean, rows, x], total(terms), terms + [condition * mp.sqrt(square)])
        terms = [mp.log(mp.det(covariance)) / 2, mp.mpf(size) / 2 * mp.log(2 * mp.pi * mp.e)]
        write("full", "entropy", [mean, rows], total(terms), terms)
    for size, mean, factor in made:
        for size2, mean2, factor2 in made:
            if size != size2 or size == 3 and mp.mnorm(factor * factor2**-1) > 1e4:
                continue
            mean2 = [m + singles(0.75)[0] * (i + 1) for i, m in enumerate(mean2)]
            covariance, covariance2 = factor * factor.T, factor2 * factor2.T
            inverse = covariance2**-1
            product = inverse * covariance
            trace = total([product[i, i] for i in range(size)])
            difference = mp.matrix([a - b for a, b in zip(mean, mean2)])
            square = (difference.T * inverse * difference)[0]
            ratio = mp.log(mp.det(covariance2) / mp.det(covariance)) / 2
            terms = [trace / 2, square / 2, ratio, -mp.mpf(size) / 2]
            condition = mp.mnorm(factor2) * mp.mnorm(factor2**-1)
            rows, rows2 = ([f[i, j] for i in range(size) for j in range(size)] for f in (factor, factor2))
            write("full", "kl", [mean, rows, mean2, rows2], total(terms), terms + [condition * (trace + square)])


# Mixtures of normal distributions.


def mixtures():
    cases = [
        (singles(0, 0), [singles(-1), singles(1)], [singles(0), singles(0)]),
        (singles(1, -2, 0.5), [singles(-1, 2), singles(1, 0.5), singles(0, 0)], [singles(0, -1), singles(-2, 0.5), singles(1, 1)]),
        (singles(0, -50), [singles(0), singles(100)], [singles(0), singles(-1)]),
        (singles(500, 500), [singles(3), singles(3)], [singles(0.5), singles(0.5)]),
    ]
    for logits, means, log_stds in cases:
        size = len(means[0])
        weights = [mp.exp(x) for x in logits]
        weights = [w / total(weights) for w in weights]
        for x in singles(0, 0.5, -7, 100, 1e4):
            point = [x * (1 - mp.mpf(j) / 2) for j in range(size)]
            each = [
                total([total(normal(m, s, x)) for m, s, x in zip(mean, log_std, point)])
                for mean, log_std in zip(means, log_stds)
            ]
            value = mp.log(total([w * mp.exp(p) for w, p in zip(weights, each)]))
            best = max(each)
            flat = lambda rows: [x for row in rows for x in row]
            write("mixture", "log_prob", [logits, flat(means), flat(log_stds), point], value, [value, best] + [mp.log(w) for w in weights[:1]])


betas()
gammas()
dirichlets()
squashed()
squashed_kl()
full()
mixtures()
path = pathlib.Path(__file__).parent.parent / "crates/rl/tests/data/distributions.csv"
path.write_text("kind,what,arrays,value,terms\n" + "\n".join(lines) + "\n")
print(len(lines), "lines")
