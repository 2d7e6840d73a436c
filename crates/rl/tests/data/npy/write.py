"""Writes the files beside it, as NumPy writes them. `tests/npy.rs` says what must be read from each.

    python -m venv somewhere && somewhere/bin/pip install numpy && somewhere/bin/python write.py
"""

import io
import pathlib
import zipfile

import numpy as np

here = pathlib.Path(__file__).parent


def save(name, array, version=None):
    with open(here / f"{name}.npy", "wb") as file:
        np.lib.format.write_array(file, np.asanyarray(array), version=version)


# Each type at its extremes.
save("bool", [[True, False], [False, True]])
for bits in 8, 16, 32, 64:
    for kind in "int", "uint":
        dtype = np.dtype(f"{kind}{bits}")
        limits = np.iinfo(dtype)
        save(dtype.name, np.array([limits.min, limits.max, 0, 1], dtype))
for bits in 16, 32, 64:
    dtype = np.dtype(f"float{bits}")
    limits = np.finfo(dtype)
    numbers = [limits.max, limits.min, limits.smallest_normal, limits.smallest_subnormal, -0.0, np.inf, -np.inf, np.nan, 0.1]
    save(dtype.name, np.array(numbers, dtype))

# Orders of bytes and of axes, shapes, versions of the format.
count = np.arange(1, 7)
for name in ">i2", ">u4", ">i8", ">f2", ">f4", ">f8":
    save(f"big_{np.dtype(name).name}", count.reshape(2, 3).astype(name))
save("columns", np.asfortranarray(count.reshape(1, 2, 3).astype("int16")))
save("columns_big", np.asfortranarray(count.reshape(2, 3).astype(">f8")))
save("scalar", np.array(-2.5))
save("scalar_bool", np.array(True))
save("empty", np.zeros((0, 3), "float32"))
save("five_axes", count.reshape(1, 3, 1, 2, 1).astype("uint8"))
for major in 1, 2, 3:
    save(f"version_{major}", count.astype("uint16"), (major, 0))

# What is no array of numbers that is read.
save("complex64", np.zeros(2, "complex64"))
save("complex128", np.zeros(2, "complex128"))
save("longdouble", np.zeros(2, "longdouble"))
save("strings", np.array(["left", "right"]))
save("bytes", np.array([b"left", b"right"]))
save("objects", np.array([[1], "two"], dtype=object))
save("dates", np.array(["2020-02-29"], "datetime64[D]"))
save("spans", np.array([5], "timedelta64[ns]"))
save("structured", np.zeros(2, [("state", "<i4"), ("θ", "<f8")]))  # version 3
save("void", np.zeros(2, "V4"))

# Archives.
arrays = {
    "observations": np.arange(24).reshape(2, 3, 2, 2).astype("uint8"),
    "actions": np.array([[0, 2], [1, -1]]),
    "rewards": np.array([[0.5, -1.0], [2.0, np.nan]], "float16"),
    "terminated": np.array([True, False]),
}
np.savez(here / "stored.npz", **arrays)
np.savez_compressed(here / "deflated.npz", **arrays)
np.savez(here / "positional.npz", np.zeros(1), np.zeros(2))
np.savez(here / "nothing.npz")


class Pipe(io.RawIOBase):
    """Cannot be sought in, so that lengths and checksums are written behind the data."""

    def __init__(self):
        self.bytes = b""

    def writable(self):
        return True

    def write(self, more):
        self.bytes += bytes(more)
        return len(more)


pipe = Pipe()
with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, array in arrays.items():
        with archive.open(f"{name}.npy", "w") as file:
            np.lib.format.write_array(file, array)
(here / "piped.npz").write_bytes(pipe.bytes)
