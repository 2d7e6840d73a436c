//! The recurrence y_t = a_t + b·y_{t∓1}, along an axis of length `length` between axes in front and `behind` numbers.
//!
//! Numbers of single precision are carried on in double where there are many: what is added last to a long sum would be
//! lost. Over a few it is below their roundings, and conversions would take longer than the recurrence.

use std::marker::PhantomData;

use super::functions::{Number, as_number, mul_add};
use super::map::View;
use crate::machine::simd::{self, Kernel};

/// A scan's operands, its result, and which of the four it is (see `op::scan`).
pub struct Scan<'a, T> {
    pub a: &'a [T],
    /// May be repeated in runs of 1, for all that is behind the axis at least.
    pub b: View<'a, T>,
    /// For each recurrence what it starts from, multiplied by the first b; of one that is not shifted.
    pub start: Option<&'a [T]>,
    pub out: &'a mut [T],
    pub length: usize,
    pub behind: usize,
    pub reverse: bool,
    pub shifted: bool,
}

impl<T: Number> Scan<'_, T> {
    pub fn compute(self) {
        if self.out.is_empty() {
            return;
        }
        if self.length > LONG {
            simd::run(Along::<T, f64>(self, PhantomData));
        } else {
            simd::run(Along::<T, T>(self, PhantomData));
        }
    }
}

/// Beyond this length, in double precision.
const LONG: usize = 128;

/// A scan carried on in numbers of type P.
struct Along<'a, T, P>(Scan<'a, T>, PhantomData<P>);

impl<T: Number, P: Number> Kernel for Along<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Along(scan, _) = self;
        let Scan { b: View { numbers, repeat }, length, .. } = scan;
        match (repeat, scan.behind, scan.reverse) {
            (None, 1, false) => along_rows::<T, P, _, FMA, false>(scan, |row| &numbers[row * length..][..length]),
            (None, 1, true) => along_rows::<T, P, _, FMA, true>(scan, |row| &numbers[row * length..][..length]),
            (Some(repeat), 1, reverse) if numbers.len() == 1 || repeat.times.is_multiple_of(length) => {
                let of_row = |row: usize| OneNumber(numbers[row * length / repeat.times % numbers.len()]);
                if reverse {
                    along_rows::<T, P, _, FMA, true>(scan, of_row);
                } else {
                    along_rows::<T, P, _, FMA, false>(scan, of_row);
                }
            }
            (Some(repeat), 1, reverse) => {
                let of_row = |row: usize| Repeated { numbers, times: repeat.times, first: row * length };
                if reverse {
                    along_rows::<T, P, _, FMA, true>(scan, of_row);
                } else {
                    along_rows::<T, P, _, FMA, false>(scan, of_row);
                }
            }
            (None, ..) if P::DTYPE != T::DTYPE => across_rows_in_double::<T, FMA>(scan),
            (Some(repeat), ..) if P::DTYPE != T::DTYPE => {
                across_rows_in_double_by_one_number::<T, FMA>(scan, repeat.times);
            }
            (None, ..) => across_rows::<T, FMA>(scan),
            (Some(repeat), ..) => across_rows_by_one_number::<T, FMA>(scan, repeat.times),
        }
    }
}

/// A row's factors b.
trait Factors<T>: Copy {
    fn at(self, t: usize) -> T;
    /// How many there are at least.
    fn length(self) -> usize;
}

impl<T: Number> Factors<T> for &[T] {
    #[inline(always)]
    fn at(self, t: usize) -> T {
        self[t]
    }
    #[inline(always)]
    fn length(self) -> usize {
        self.len()
    }
}

#[derive(Clone, Copy)]
struct OneNumber<T>(T);

impl<T: Number> Factors<T> for OneNumber<T> {
    #[inline(always)]
    fn at(self, _t: usize) -> T {
        self.0
    }
    #[inline(always)]
    fn length(self) -> usize {
        usize::MAX
    }
}

/// Each number so many times, from an entry on.
#[derive(Clone, Copy)]
struct Repeated<'a, T> {
    numbers: &'a [T],
    times: usize,
    first: usize,
}

impl<T: Number> Factors<T> for Repeated<'_, T> {
    #[inline(always)]
    fn at(self, t: usize) -> T {
        self.numbers[(self.first + t) / self.times % self.numbers.len()]
    }
    #[inline(always)]
    fn length(self) -> usize {
        usize::MAX
    }
}

/// Where nothing is behind, each step waits for the last. Several rows at once fill the time.
#[inline(always)]
fn along_rows<T: Number, P: Number, B: Factors<T>, const FMA: bool, const REVERSE: bool>(
    scan: Scan<'_, T>,
    factors: impl Fn(usize) -> B,
) {
    const ROWS: usize = 4;
    let Scan { a, start, out, length, shifted, .. } = scan;
    let (mut blocks, mut row) = (out.chunks_exact_mut(ROWS * length), 0);
    for block in &mut blocks {
        let (first, second) = block.split_at_mut(2 * length);
        let ((y0, y1), (y2, y3)) = (first.split_at_mut(length), second.split_at_mut(length));
        let rows = [row, row + 1, row + 2, row + 3];
        let addends = rows.map(|row| &a[row * length..][..length]);
        let starts = start.map(|start| rows.map(|row| start[row]));
        rows_together::<T, P, B, ROWS, FMA, REVERSE>(addends, rows.map(&factors), starts, [y0, y1, y2, y3], shifted);
        row += ROWS;
    }
    for y in blocks.into_remainder().chunks_exact_mut(length) {
        let addend = &a[row * length..][..length];
        let starts = start.map(|start| [start[row]]);
        rows_together::<T, P, B, 1, FMA, REVERSE>([addend], [factors(row)], starts, [y], shifted);
        row += 1;
    }
}

#[inline(always)]
fn rows_together<T: Number, P: Number, B: Factors<T>, const ROWS: usize, const FMA: bool, const REVERSE: bool>(
    a: [&[T]; ROWS],
    b: [B; ROWS],
    start: Option<[T; ROWS]>,
    out: [&mut [T]; ROWS],
    shifted: bool,
) {
    let length = out[0].len();
    // With this, no entry has to be checked.
    for r in 0..ROWS {
        assert!(length > 0 && a[r].len() == length && out[r].len() == length && b[r].length() >= length);
    }
    let mut y = [P::zero(); ROWS];
    let first = if REVERSE { length - 1 } else { 0 };
    for r in 0..ROWS {
        let addend = as_number(a[r][first]);
        y[r] = match start {
            Some(start) => mul_add::<P, FMA>(as_number(b[r].at(first)), as_number(start[r]), addend),
            None => addend,
        };
        out[r][first] = as_number(y[r]);
    }
    for step in 1..length {
        let (t, last) = if REVERSE { (length - 1 - step, length - step) } else { (step, step - 1) };
        let s = if shifted { last } else { t };
        for r in 0..ROWS {
            y[r] = mul_add::<P, FMA>(as_number(b[r].at(s)), y[r], as_number(a[r][t]));
            out[r][t] = as_number(y[r]);
        }
    }
}

/// Each step is one of vectors.
#[inline(always)]
fn across_rows<T: Number, const FMA: bool>(scan: Scan<'_, T>) {
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
fn across_rows_by_one_number<T: Number, const FMA: bool>(scan: Scan<'_, T>, times: usize) {
    let behind = scan.behind;
    let b = scan.b.numbers;
    steps(scan, |y, previous, a, at| {
        let b = b[at / times % b.len()];
        for i in 0..behind {
            y[i] = mul_add::<T, FMA>(b, previous[i], a[i]);
        }
    });
}

/// Calls `step(y, the y before, a, where b's vector begins)` for each vector, but the first of a recurrence without a start.
#[inline(always)]
fn steps<T: Number>(scan: Scan<'_, T>, step: impl Fn(&mut [T], &[T], &[T], usize)) {
    let Scan { a, start, out, length, behind, reverse, shifted, .. } = scan;
    for (block, out) in out.chunks_exact_mut(length * behind).enumerate() {
        let begin = block * length * behind;
        let a = &a[begin..begin + length * behind];
        let row = |t: usize| t * behind..(t + 1) * behind;
        let first = row(if reverse { length - 1 } else { 0 });
        match start {
            Some(start) => {
                let at = begin + first.start;
                step(&mut out[first.clone()], &start[block * behind..][..behind], &a[first], at);
            }
            None => out[first.clone()].copy_from_slice(&a[first]),
        }
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

/// So many columns are worked on at once.
const COLUMNS: usize = 256;

/// [`across_rows`], carried on in double precision.
#[inline(always)]
fn across_rows_in_double<T: Number, const FMA: bool>(scan: Scan<'_, T>) {
    let b = scan.b.numbers;
    steps_in_double(scan, |y, a, at| {
        let b = &b[at..at + y.len()];
        for i in 0..y.len() {
            y[i] = mul_add::<f64, FMA>(b[i].as_f64(), y[i], a[i].as_f64());
        }
    });
}

/// The same, where b is one number for each vector.
#[inline(always)]
fn across_rows_in_double_by_one_number<T: Number, const FMA: bool>(scan: Scan<'_, T>, times: usize) {
    let b = scan.b.numbers;
    steps_in_double(scan, |y, a, at| {
        let b = b[at / times % b.len()].as_f64();
        for i in 0..y.len() {
            y[i] = mul_add::<f64, FMA>(b, y[i], a[i].as_f64());
        }
    });
}

/// Calls `step(y, a, where b's vector begins)`, which makes the next y of the one before, for some columns after the others,
/// and of those for each step in turn.
#[inline(always)]
fn steps_in_double<T: Number>(scan: Scan<'_, T>, step: impl Fn(&mut [f64], &[T], usize)) {
    let Scan { a, start, out, length, behind, reverse, shifted, .. } = scan;
    let mut y = [0.0; COLUMNS];
    for (block, out) in out.chunks_exact_mut(length * behind).enumerate() {
        let begin = block * length * behind;
        for first_column in (0..behind).step_by(COLUMNS) {
            let columns = COLUMNS.min(behind - first_column);
            let y = &mut y[..columns];
            let place = |t: usize| t * behind + first_column;
            for i in 0..length {
                let (t, last) = match (reverse, i) {
                    (false, i) => (i, i.saturating_sub(1)),
                    (true, i) => (length - 1 - i, (length - i).min(length - 1)),
                };
                let addend = &a[begin + place(t)..][..columns];
                match (i, start) {
                    (0, None) => y.iter_mut().zip(addend).for_each(|(y, a)| *y = a.as_f64()),
                    (0, Some(start)) => {
                        let start = &start[block * behind + first_column..][..columns];
                        y.iter_mut().zip(start).for_each(|(y, start)| *y = start.as_f64());
                        step(y, addend, begin + place(t));
                    }
                    _ => step(y, addend, begin + place(if shifted { last } else { t })),
                }
                out[place(t)..][..columns].iter_mut().zip(&*y).for_each(|(out, &y)| *out = T::of(y));
            }
        }
    }
}
