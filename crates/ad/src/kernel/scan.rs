//! The recurrence y_t = a_t + b·y_{t∓1}, along an axis of length `length` between axes in front and `behind` numbers.

use super::functions::mul_add;
use super::simd::{self, Kernel};
use crate::real::Real;

/// A scan's operands, its result, and which of the four it is (see `op::scan`).
pub struct Scan<'a, T> {
    pub a: &'a [T],
    pub b: &'a [T],
    pub out: &'a mut [T],
    pub length: usize,
    pub behind: usize,
    pub reverse: bool,
    pub shifted: bool,
}

impl<T: Real> Scan<'_, T> {
    pub fn compute(self) {
        if !self.out.is_empty() {
            simd::run(self);
        }
    }
}

impl<T: Real> Kernel for Scan<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match (self.behind, self.reverse) {
            (1, false) => along_rows::<T, FMA, false>(self),
            (1, true) => along_rows::<T, FMA, true>(self),
            _ => across_rows::<T, FMA>(self),
        }
    }
}

/// Where nothing is behind, each step waits for the last. Several rows at once fill the time.
#[inline(always)]
fn along_rows<T: Real, const FMA: bool, const REVERSE: bool>(scan: Scan<'_, T>) {
    const ROWS: usize = 8;
    let Scan { a, b, out, length, shifted, .. } = scan;
    let together = out.len() / (ROWS * length) * (ROWS * length);
    let (first, rest) = out.split_at_mut(together);
    for (block, out) in first.chunks_exact_mut(ROWS * length).enumerate() {
        let here = block * ROWS * length..(block + 1) * ROWS * length;
        rows::<T, ROWS, FMA, REVERSE>(&a[here.clone()], &b[here], out, length, shifted);
    }
    for (row, out) in rest.chunks_exact_mut(length).enumerate() {
        let here = together + row * length..together + (row + 1) * length;
        rows::<T, 1, FMA, REVERSE>(&a[here.clone()], &b[here], out, length, shifted);
    }
}

#[inline(always)]
fn rows<T: Real, const ROWS: usize, const FMA: bool, const REVERSE: bool>(
    a: &[T],
    b: &[T],
    out: &mut [T],
    length: usize,
    shifted: bool,
) {
    let mut a_rows: [&[T]; ROWS] = [&[]; ROWS];
    let mut b_rows: [&[T]; ROWS] = [&[]; ROWS];
    let mut out_rows: [&mut [T]; ROWS] = std::array::from_fn(|_| Default::default());
    for (r, out) in out.chunks_exact_mut(length).enumerate() {
        (a_rows[r], b_rows[r], out_rows[r]) = (&a[r * length..][..length], &b[r * length..][..length], out);
    }
    let mut y = [T::zero(); ROWS];
    let start = if REVERSE { length - 1 } else { 0 };
    for r in 0..ROWS {
        y[r] = a_rows[r][start];
        out_rows[r][start] = y[r];
    }
    for step in 1..length {
        let (t, last) = if REVERSE { (length - 1 - step, length - step) } else { (step, step - 1) };
        let s = if shifted { last } else { t };
        for r in 0..ROWS {
            y[r] = mul_add::<T, FMA>(b_rows[r][s], y[r], a_rows[r][t]);
            out_rows[r][t] = y[r];
        }
    }
}

/// Each step is one of vectors.
#[inline(always)]
fn across_rows<T: Real, const FMA: bool>(scan: Scan<'_, T>) {
    let Scan { a, b, out, length, behind, reverse, shifted } = scan;
    for (block, out) in out.chunks_exact_mut(length * behind).enumerate() {
        let here = block * length * behind..(block + 1) * length * behind;
        let (a, b) = (&a[here.clone()], &b[here]);
        let row = |t: usize| t * behind..(t + 1) * behind;
        let start = row(if reverse { length - 1 } else { 0 });
        out[start.clone()].copy_from_slice(&a[start]);
        for step in 1..length {
            let (t, last) = if reverse { (length - 1 - step, length - step) } else { (step, step - 1) };
            let (earlier, later) = out.split_at_mut(t.max(last) * behind);
            let (y, previous) = if reverse {
                (&mut earlier[row(t)], &later[..behind])
            } else {
                (&mut later[..behind], &earlier[row(last)])
            };
            let (a, b) = (&a[row(t)], &b[row(if shifted { last } else { t })]);
            for i in 0..behind {
                y[i] = mul_add::<T, FMA>(b[i], previous[i], a[i]);
            }
        }
    }
}
