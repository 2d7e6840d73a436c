//! The recurrence y_t = a_t + b·y_{t∓1}, along an axis of length `length` between axes in front and `behind` numbers.

use super::functions::mul_add;
use super::map::View;
use super::simd::{self, Kernel};
use crate::real::Real;

/// A scan's operands, its result, and which of the four it is (see `op::scan`).
pub struct Scan<'a, T> {
    pub a: &'a [T],
    /// May be repeated in runs of 1, for all that is behind the axis at least.
    pub b: View<'a, T>,
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
        let numbers = self.b.numbers.len();
        match (self.b.repeat, self.behind, self.reverse) {
            (None, 1, false) => along_rows::<T, FMA, false>(self, |i| i),
            (None, 1, true) => along_rows::<T, FMA, true>(self, |i| i),
            (Some(_), 1, false) if numbers == 1 => along_rows::<T, FMA, false>(self, |_| 0),
            (Some(_), 1, true) if numbers == 1 => along_rows::<T, FMA, true>(self, |_| 0),
            (Some(repeat), 1, false) => along_rows::<T, FMA, false>(self, |i| i / repeat.times % numbers),
            (Some(repeat), 1, true) => along_rows::<T, FMA, true>(self, |i| i / repeat.times % numbers),
            (None, ..) => across_rows::<T, FMA>(self),
            (Some(repeat), ..) => across_rows_by_one_number::<T, FMA>(self, repeat.times),
        }
    }
}

/// Where nothing is behind, each step waits for the last. Several rows at once fill the time.
#[inline(always)]
fn along_rows<T: Real, const FMA: bool, const REVERSE: bool>(scan: Scan<'_, T>, at: impl Fn(usize) -> usize) {
    const ROWS: usize = 8;
    let Scan { a, b, out, length, shifted, .. } = scan;
    let together = out.len() / (ROWS * length) * (ROWS * length);
    let (first, rest) = out.split_at_mut(together);
    for (block, out) in first.chunks_exact_mut(ROWS * length).enumerate() {
        rows::<T, ROWS, FMA, REVERSE>(a, b.numbers, block * ROWS * length, &at, out, length, shifted);
    }
    for (row, out) in rest.chunks_exact_mut(length).enumerate() {
        rows::<T, 1, FMA, REVERSE>(a, b.numbers, together + row * length, &at, out, length, shifted);
    }
}

#[inline(always)]
fn rows<T: Real, const ROWS: usize, const FMA: bool, const REVERSE: bool>(
    a: &[T],
    b: &[T],
    begin: usize,
    at: impl Fn(usize) -> usize,
    out: &mut [T],
    length: usize,
    shifted: bool,
) {
    let mut a_rows: [&[T]; ROWS] = [&[]; ROWS];
    let mut out_rows: [&mut [T]; ROWS] = std::array::from_fn(|_| Default::default());
    for (r, out) in out.chunks_exact_mut(length).enumerate() {
        (a_rows[r], out_rows[r]) = (&a[begin + r * length..][..length], out);
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
            y[r] = mul_add::<T, FMA>(b[at(begin + r * length + s)], y[r], a_rows[r][t]);
            out_rows[r][t] = y[r];
        }
    }
}

/// Each step is one of vectors.
#[inline(always)]
fn across_rows<T: Real, const FMA: bool>(scan: Scan<'_, T>) {
    let behind = scan.behind;
    let b = scan.b.numbers;
    steps(scan, |y, previous, a, at| {
        let b = &b[at..at + behind];
        for i in 0..behind {
            y[i] = mul_add::<T, FMA>(b[i], previous[i], a[i]);
        }
    });
}

/// The same, where b is one number for each vector.
#[inline(always)]
fn across_rows_by_one_number<T: Real, const FMA: bool>(scan: Scan<'_, T>, times: usize) {
    let behind = scan.behind;
    let b = scan.b.numbers;
    steps(scan, |y, previous, a, at| {
        let b = b[at / times % b.len()];
        for i in 0..behind {
            y[i] = mul_add::<T, FMA>(b, previous[i], a[i]);
        }
    });
}

/// Calls `step(y, the y before, a, where b's vector begins)` for each vector but the first of each recurrence.
#[inline(always)]
fn steps<T: Real>(scan: Scan<'_, T>, step: impl Fn(&mut [T], &[T], &[T], usize)) {
    let Scan { a, out, length, behind, reverse, shifted, .. } = scan;
    for (block, out) in out.chunks_exact_mut(length * behind).enumerate() {
        let begin = block * length * behind;
        let a = &a[begin..begin + length * behind];
        let row = |t: usize| t * behind..(t + 1) * behind;
        let start = row(if reverse { length - 1 } else { 0 });
        out[start.clone()].copy_from_slice(&a[start]);
        for i in 1..length {
            let (t, last) = if reverse { (length - 1 - i, length - i) } else { (i, i - 1) };
            let (earlier, later) = out.split_at_mut(t.max(last) * behind);
            let (y, previous) = if reverse {
                (&mut earlier[row(t)], &later[..behind])
            } else {
                (&mut later[..behind], &earlier[row(last)])
            };
            step(y, previous, &a[row(t)], begin + if shifted { last } else { t } * behind);
        }
    }
}
