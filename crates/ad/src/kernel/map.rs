//! Functions of one, two or three numbers, applied to each entry of slices.

use super::simd::{self, Kernel};
use crate::real::Real;

/// A function of `N` numbers, without branches. What it is made of, and itself, is to be marked `#[inline(always)]`.
pub trait Function<T, const N: usize>: Copy {
    /// Its value; `FMA` as in [`Kernel::run`].
    fn value<const FMA: bool>(self, x: [T; N]) -> T;

    /// Is this where [`value`](Self::value) is wrong, and [`exception`](Self::exception) right?
    fn is_exception(self, _x: [T; N]) -> bool {
        false
    }

    /// Its value there, by any means.
    fn exception(self, x: [T; N]) -> T {
        self.value::<false>(x)
    }
}

/// out = f(x, y, …), entry by entry.
pub fn map<T: Real, const N: usize>(f: impl Function<T, N>, operands: [&[T]; N], out: &mut [T]) {
    simd::run(Map { f, operands, out });
}

struct Map<'a, T, F, const N: usize> {
    f: F,
    operands: [&'a [T]; N],
    out: &'a mut [T],
}

impl<T: Real, F: Function<T, N>, const N: usize> Kernel for Map<'_, T, F, N> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        // Entries are looked at twice where there may be exceptions: in blocks that stay in the nearest cache.
        const BLOCK: usize = 512;
        let mut operands = self.operands;
        for out in self.out.chunks_mut(BLOCK) {
            let mut here = operands;
            for k in 0..N {
                (here[k], operands[k]) = operands[k].split_at(out.len());
            }
            block::<T, F, N, FMA>(self.f, here, out);
        }
    }
}

#[inline(always)]
fn block<T: Real, F: Function<T, N>, const N: usize, const FMA: bool>(f: F, operands: [&[T]; N], out: &mut [T]) {
    let length = out.len();
    let operands = operands.map(|operand| &operand[..length]);
    let mut exceptions = false;
    for i in 0..length {
        let mut x = [T::zero(); N];
        for k in 0..N {
            x[k] = operands[k][i];
        }
        exceptions |= f.is_exception(x);
        out[i] = f.value::<FMA>(x);
    }
    if exceptions {
        for i in 0..length {
            let mut x = [T::zero(); N];
            for k in 0..N {
                x[k] = operands[k][i];
            }
            if f.is_exception(x) {
                out[i] = f.exception(x);
            }
        }
    }
}
