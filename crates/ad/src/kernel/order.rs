//! Where entries are: the position of the largest along an axis, or of the smallest, and the positions of all in increasing
//! order. Equal entries (0 and −0 are) keep their order.

use std::cmp::Ordering;

use super::functions::Number;
use crate::machine::simd::{self, Kernel};

/// out[i, k] = the first j at which x[i, j, k] is the largest over j, or the smallest; the first NaN, if there is one. Along an
/// axis of length n ≥ 1, between axes in front and `inner` numbers behind.
pub fn extreme<T: Number>(x: &[T], n: usize, inner: usize, largest: bool, out: &mut [i32]) {
    if out.is_empty() {
        return;
    }
    if largest {
        simd::run(Extreme::<T, true> { x, n, inner, out });
    } else {
        simd::run(Extreme::<T, false> { x, n, inner, out });
    }
}

struct Extreme<'a, T, const LARGEST: bool> {
    x: &'a [T],
    n: usize,
    inner: usize,
    out: &'a mut [i32],
}

/// Whether what comes later takes the place of the best so far.
#[inline(always)]
fn wins<T: Number, const LARGEST: bool>(x: T, best: T) -> bool {
    let beyond = if LARGEST { x > best } else { x < best };
    beyond || (x.is_nan() && !best.is_nan())
}

impl<T: Number, const LARGEST: bool> Kernel for Extreme<'_, T, LARGEST> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { x, n, inner, out } = self;
        if inner == 1 {
            for (row, out) in x.chunks_exact(n).zip(out) {
                let (mut at, mut best) = (0, row[0]);
                for (j, &x) in row.iter().enumerate().skip(1) {
                    if wins::<T, LARGEST>(x, best) {
                        (at, best) = (j, x);
                    }
                }
                *out = at as i32;
            }
            return;
        }
        for (x, out) in x.chunks_exact(n * inner).zip(out.chunks_exact_mut(inner)) {
            out.fill(0);
            for (j, row) in x.chunks_exact(inner).enumerate().skip(1) {
                for (k, (&entry, at)) in row.iter().zip(&mut *out).enumerate() {
                    if wins::<T, LARGEST>(entry, x[*at as usize * inner + k]) {
                        *at = j as i32;
                    }
                }
            }
        }
    }
}

/// Of each row of n ≥ 1 numbers, the positions in increasing order of what stands there; NaN are behind all numbers.
pub fn sorted<T: Number>(x: &[T], n: usize, out: &mut [i32]) {
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = i as i32);
        // With positions to tell equal entries apart, the order is one only, and nothing has to be allocated for it.
        out.sort_unstable_by(|&i, &j| compare(x[i as usize], x[j as usize]).then(i.cmp(&j)));
    }
}

fn compare<T: Number>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
