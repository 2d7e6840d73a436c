"""Numbers of the special functions of `ad`, by mpmath (`pip install mpmath`), to 50 digits and more.

    python3 scripts/special_functions.py coefficients    prints the polynomials of crates/ad/src/kernel/special.rs
    python3 scripts/special_functions.py references      writes crates/ad/tests/data/special_functions.csv

A line of references is a function, its arguments, and its derivatives: of one argument of orders 0 to 3, of two by none, a, b,
aa, ab, bb, aaa, aab, abb, bbb. Where a derivative is what is left of larger terms, it is followed by | and their magnitude, of
which an error is to be seen in relation.
"""

import pathlib
import random
import struct
import sys

import mpmath as mp

mp.mp.dps = 60


# Polynomials: interpolated at Chebyshev nodes.


def interpolated(f, degree, low, high):
    """The coefficients of t^0, t^1, …, where t goes from -1 to 1 as f's argument does from low to high."""
    count = degree + 1
    angles = [mp.pi * (k + mp.mpf(1) / 2) / count for k in range(count)]
    values = [f((high - low) / 2 * mp.cos(angle) + (low + high) / 2) for angle in angles]
    chebyshev = [2 * sum(v * mp.cos(j * a) for v, a in zip(values, angles)) / count for j in range(count)]
    chebyshev[0] /= 2
    basis, result = [[mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]], [mp.mpf(0)] * count
    while len(basis) < count:
        following = [mp.mpf(0)] + [2 * c for c in basis[-1]]
        for i, c in enumerate(basis[-2]):
            following[i] -= c
        basis.append(following)
    for weight, polynomial in zip(chebyshev, basis):
        for i, c in enumerate(polynomial):
            result[i] += weight * c
    return result


def horner(c, t):
    total = mp.mpf(0)
    for coefficient in reversed(c):
        total = total * t + coefficient
    return total


ROOT = mp.findroot(mp.digamma, mp.mpf("1.4616321449683623412626595"))


def erf_part(square):
    """erf(x)/x - 1, of x squared."""
    return 2 / mp.sqrt(mp.pi) - 1 if square == 0 else mp.erf(mp.sqrt(square)) / mp.sqrt(square) - 1


def erfc_part(t):
    """(1 + 2x)·e^(x^2)·erfc(x) - 1.1875, where t = (x - 4)/(x + 3)."""
    x = (4 + 3 * t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x) - mp.mpf("1.1875")


def ln_gamma_part(z):
    """(ln Γ(2 + z)/z - (1 - γ))/z."""
    return (mp.loggamma(2 + z) / z - (1 - mp.euler)) / z


def digamma_part(t):
    """ψ(x)/(x - root), where x = 1.5 + t."""
    return mp.digamma(1.5 + t) / (1.5 + t - ROOT)


def coefficients():
    half = mp.mpf(1) / 2
    for name, f, degree, low, high in [
        ("ERF", erf_part, 13, mp.mpf(0), mp.mpf(1)),
        ("ERFC", erfc_part, 22, mp.mpf(-1), mp.mpf(1)),
        ("LN_GAMMA", ln_gamma_part, 17, -half, half),
        ("DIGAMMA", digamma_part, 22, -half, half),
    ]:
        inner = interpolated(f, degree, low, high)
        # In the argument itself where that is around 0.
        scale = (high - low) / 2
        if name == "ERF":
            # From t = 2s - 1 to s.
            expanded = [mp.mpf(0)] * len(inner)
            for i, c in enumerate(inner):
                for j in range(i + 1):
                    expanded[j] += c * mp.binomial(i, j) * 2**j * (-1) ** (i - j)
            c = expanded
        else:
            c = [value / scale**i for i, value in enumerate(inner)]
        c = [mp.mpf(float(value)) for value in c]
        points = [low + (high - low) * mp.mpf(k) / 301 for k in range(1, 301)]
        error = max(abs(horner(c, p) - f(p)) for p in points)
        print(f"{name}: error {mp.nstr(error, 3)}, coefficients {[float(value) for value in c]}")
    high = float(ROOT)
    print(f"ROOT: {high!r}, {float(ROOT - high)!r}")
    print("ln Γ:", [float(mp.bernoulli(2 * k) / (2 * k * (2 * k - 1))) for k in range(1, 11)])
    print("ψ:", [float(mp.bernoulli(2 * k) / (2 * k)) for k in range(1, 11)])
    print("ψ_n:", [float(mp.bernoulli(2 * k) / mp.factorial(2 * k)) for k in range(1, 13)])
    print("1 - γ, -γ, ½ ln 2π, ln π:", *(repr(float(x)) for x in [1 - mp.euler, -mp.euler, mp.log(2 * mp.pi) / 2, mp.log(mp.pi)]))



# References.

POSITIVE = [
    *[5e-324, 1e-310, 1e-300, 1e-154, 1e-45, 1e-38, 1e-20, 1e-10, 1e-5, 0.01, 0.1, 0.25, 0.49, 0.5, 0.51, 0.75, 0.9, 0.99],
    *[1 - 2.0**-53, 1 - 2.0**-24, 1 - 2.0**-10, 1.0, 1 + 2.0**-52, 1 + 2.0**-23, 1 + 2.0**-10, 1.2, 1.46, 1.46163214, 1.47],
    *[float(ROOT), 1.4616321449683625, 1.49, 1.5, 1.51, 1.9, 2 - 2.0**-52, 2 - 2.0**-23, 2.0, 2 + 2.0**-51, 2 + 2.0**-22],
    *[2.01, 2.3, 2.49, 2.5, 2.51, 3.0, 3.5, 4.2, 5.0, 6.7, 7.9, 7.999, 8.0, 8.1, 9.0, 9.99, 10.0, 10.1, 11.9, 12.0, 12.1, 13.0],
    *[14.1, 15.0, 20.0, 33.3, 50.0, 100.0, 171.0, 171.7, 1e3, 1e5, 1e10, 1e17, 1e30, 1e38, 1e100, 1e154, 1e200, 1e300, 1.7e308],
]
NEGATIVE = [
    *[-5e-324, -1e-300, -1e-154, -1e-45, -1e-20, -1e-5, -0.1, -0.25, -0.499, -0.5, -0.504, -0.504083008264455, -0.6, -0.9],
    *[-0.999, -1 + 2.0**-24, -1 - 2.0**-23, -1 - 2.0**-52, -1.0001, -1.25, -1.5, -1.573498473162, -1.9, -2 + 2.0**-51],
    *[-2.457024738220800, -2.5, -2.747682646727412, -3.1435808883499793, -3.5, -10.1, -10.5, -20.75, -100.001, -170.5],
    *[-1000.25, -100000.5, -1000000.125, -8388607.5, -1e10 - 0.25, -1e15 - 0.25],
]


def single(x):
    """The nearest number of single precision."""
    return struct.unpack("f", struct.pack("f", x))[0]


def several(low, high, count, logarithmic=False):
    """Random numbers of single precision between two bounds."""
    generator = random.Random(f"{low} {high}")
    if logarithmic:
        return [single(10 ** generator.uniform(low, high)) for _ in range(count)]
    return [single(generator.uniform(low, high)) for _ in range(count)]


def hermite(n, x, sign):
    """H_n(x), or the sum of the magnitudes of its terms for sign 1."""
    before, now = mp.mpf(0), mp.mpf(1)
    for k in range(n):
        before, now = now, 2 * x * now + sign * 2 * k * before
    return now


def gaussian(n, x):
    """The n-th derivative of e^(-x^2)·2/√π and the magnitude of its terms."""
    factor = 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)
    return (-1) ** n * factor * hermite(n, x, -1), factor * hermite(n, abs(x), 1)


def erf(x):
    return [mp.erf(x), gaussian(0, x), gaussian(1, x), gaussian(2, x)]


def erfc(x):
    return [mp.erfc(x)] + [(-value, scale) for value, scale in erf(x)[1:]]


def ln_gamma(x):
    if x > 0:
        return mp.loggamma(x)
    if x >= -0.5:
        return mp.loggamma(1 + x) - mp.log(-x)
    parts = mp.log(mp.pi / abs(x * mp.sinpi(x))), mp.loggamma(-x)
    return parts[0] - parts[1], max(map(abs, parts))


def polygamma(n, x):
    if x > 0:
        return mp.psi(n, x)
    if n == 0 and x >= -0.5:
        return mp.psi(0, x)
    if n == 0:
        parts = mp.psi(0, 1 - x), mp.pi * mp.cospi(x) / mp.sinpi(x)
        return parts[0] - parts[1], max(map(abs, parts))
    below = -x - mp.floor(-x)
    parts = [mp.factorial(n) * mp.zeta(n + 1, a) for a in (1 - below, below, 1 - x)]
    value = parts[0] + (-1) ** (n + 1) * (parts[1] - parts[2])
    return (-1) ** (n + 1) * value, max(parts)


def tan(x):
    y = mp.tan(x)
    return [y, 1 + y**2, 2 * y * (1 + y**2), 2 * (1 + y**2) * (1 + 3 * y**2)]


def atan(x):
    w = 1 / (1 + x**2)
    return [mp.atan(x), w, -2 * x * w**2, ((6 * x**2 - 2) * w**3, (6 * x**2 + 2) * w**3)]


def asin(x):
    u = 1 / mp.sqrt(1 - x**2)
    return [mp.asin(x), u, x * u**3, u**3 + 3 * x**2 * u**5]


def acos(x):
    return [mp.acos(x)] + [-value for value in asin(x)[1:]]


def logarithm(base):
    return lambda x: [mp.log(x) / mp.log(base)] + [c / x**n / mp.log(base) for c, n in [(1, 1), (-1, 2), (2, 3)]]


def hypot(a, b):
    r = mp.hypot(a, b)
    c, s = a / r, b / r
    third = lambda c, s: (s * (2 * c**2 - s**2) / r**2, abs(s) * (2 * c**2 + s**2) / r**2)
    second = [s**2 / r, -c * s / r, c**2 / r]
    return [r, c, s, *second, -3 * c * s**2 / r**2, third(c, s), third(s, c), -3 * s * c**2 / r**2]


def atan2(a, b):
    r = mp.hypot(a, b)
    s, c = a / r, b / r
    mixed = ((s**2 - c**2) / r**2, 1 / r**2)
    # 2·Im(i^n/z^3), z = b + ia, n derivatives by a.
    sine = (2 * (s**3 - 3 * c**2 * s) / r**3, 2 * (abs(s) ** 3 + 3 * c**2 * abs(s)) / r**3)
    cosine = (2 * (c**3 - 3 * s**2 * c) / r**3, 2 * (abs(c) ** 3 + 3 * s**2 * abs(c)) / r**3)
    minus = lambda pair: (-pair[0], pair[1])
    first = [c / r, -s / r, -2 * c * s / r**2, mixed, 2 * c * s / r**2]
    return [mp.atan2(a, b), *first, minus(cosine), minus(sine), cosine, sine]


GAMMA = POSITIVE + NEGATIVE + several(-3, 3, 40, True) + several(-20, 0, 30) + several(0, 15, 30)
ERF = [0.5, 0.49, 0.51, 0.999, 1.0, 1.001, 2.0, 3.0, 5.8, 6.0, 7.5, 10.0, 13.3, 17.0, 20.0, 25.0, 26.5, 27.2, 28.0, 40.0]
SMALL = [5e-324, 1e-300, 1e-45, 1e-20, 1e-9, 1e-5, 0.01, 0.1, 0.25]
SIGNED = SMALL + [-x for x in SMALL]
PAIRS = [
    *[(3.0, 4.0), (1.0, 0.0), (0.0, 2.0), (-1.0, 0.0), (0.0, -2.0), (1e-3, 1.0), (1.0, 1e-3), (-1e-10, 1.0), (1e10, -1.0)],
    *[(1e200, 1e200), (1e308, 1e308), (1e-200, -2e-200), (5e-324, 5e-324), (1e-310, 3e-310), (1e300, 1e-300), (1.0, -1.0)],
]
REFERENCES = {
    "ln_1p": (
        lambda x: [mp.log1p(x), 1 / (1 + x), -1 / (1 + x) ** 2, 2 / (1 + x) ** 3],
        SIGNED + several(-1, 1, 30) + several(-3, 30, 20, True) + [-0.5, -0.999, -1 + 2.0**-24, -1 + 2.0**-53, 1e200, 1.7e308],
    ),
    "exp_m1": (
        lambda x: [mp.expm1(x)] + [mp.exp(x)] * 3,
        SIGNED + several(-1, 1, 30) + several(-40, 80, 20) + [709.0, 709.7, 710.0, -37.0, -708.5, -720.0, -744.0, -1e5],
    ),
    "erf": (erf, SIGNED + ERF + [-x for x in ERF] + several(-1, 1, 30) + several(-4, 4, 30)),
    "erfc": (erfc, SIGNED + ERF + [-x for x in ERF] + several(-1, 1, 30) + several(0, 27, 50)),
    "ln_gamma": (lambda x: [ln_gamma(x)] + [polygamma(n, x) for n in range(3)], GAMMA),
    "digamma": (lambda x: [polygamma(n, x) for n in range(4)], GAMMA),
    "polygamma 1": (lambda x: [polygamma(n, x) for n in range(1, 5)], GAMMA),
    "polygamma 2": (lambda x: [polygamma(n, x) for n in range(2, 6)], several(-1, 2, 20, True) + several(-9, 0, 10)),
    "polygamma 9": (lambda x: [polygamma(n, x) for n in range(9, 13)], several(-1, 2, 20, True) + several(-9, 0, 10)),
    "tan": (tan, SIGNED + several(-1.5, 1.5, 20) + several(-1000, 1000, 20) + [1.5707963267948966, 1.57, 1e5]),
    "atan": (atan, SIGNED + several(-2, 2, 20) + several(-3, 20, 20, True) + [-1e5, 1e154, 1e300, -1e308, 0.5773502691896257]),
    "asin": (asin, SIGNED + several(-1, 1, 30) + [0.999, 1 - 2.0**-24, 1 - 2.0**-53, -1 + 2.0**-24, -1 + 2.0**-53]),
    "acos": (acos, SIGNED + several(-1, 1, 30) + [0.999, 1 - 2.0**-24, 1 - 2.0**-53, -1 + 2.0**-24, -1 + 2.0**-53]),
    "sinh": (lambda x: [mp.sinh(x), mp.cosh(x)] * 2, SIGNED + several(-80, 80, 30) + several(-1, 1, 20) + [-710.0, 710.4]),
    "cosh": (lambda x: [mp.cosh(x), mp.sinh(x)] * 2, SIGNED + several(-80, 80, 30) + several(-1, 1, 20) + [-710.0, 710.4]),
    "log2": (logarithm(2), several(-30, 30, 30, True) + [0.5, 0.999, 1.001, 2.0, 1e-300, 1e300]),
    "log10": (logarithm(10), several(-30, 30, 30, True) + [0.1, 0.999, 1.001, 10.0, 1e-300, 1e300]),
    "hypot": (hypot, PAIRS + list(zip(several(-2, 2, 30), several(-3, 2, 30)))),
    "atan2": (atan2, PAIRS + list(zip(several(-2, 2, 30), several(-3, 2, 30)))),
}


def number(derivative):
    value, scale = derivative if isinstance(derivative, tuple) else (derivative, 0)
    # Beyond the range of numbers is infinity.
    text = repr(float(value))
    return f"{text}|{float(scale):.3e}" if scale > abs(value) * 1.001 else text


def references():
    path = pathlib.Path(__file__).parent.parent / "crates/ad/tests/data/special_functions.csv"
    path.parent.mkdir(exist_ok=True)
    lines = ["# By scripts/special_functions.py: function, arguments, derivatives"]
    for name, (f, points) in REFERENCES.items():
        for point in points:
            arguments = point if isinstance(point, tuple) else (point,)
            numbers = [*map(repr, arguments), *map(number, f(*map(mp.mpf, arguments)))]
            lines.append(",".join([name, *numbers]))
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    {"coefficients": coefficients, "references": references}[sys.argv[1]]()
