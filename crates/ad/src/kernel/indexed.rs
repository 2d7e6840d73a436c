//! Reading and adding at integer indices: of a table with rows of `behind` numbers, one of the rows for each position of
//! the index arrays.

use super::simd::{self, Kernel};
use crate::real::Real;

/// Positions that are worked on at once.
const BLOCK: usize = 256;

/// Where in a table the rows are: one index array for each of its axes.
#[derive(Clone, Copy)]
pub struct Indices<'a> {
    pub arrays: &'a [&'a [i32]],
    pub dims: &'a [usize],
}

impl Indices<'_> {
    /// The first index that is outside its axis: (which axis, position).
    pub fn outside(&self) -> Option<(usize, usize)> {
        self.arrays.iter().zip(self.dims).enumerate().find_map(|(axis, (array, &length))| {
            let outside = |&i: &i32| usize::try_from(i).map_or(true, |i| i >= length);
            // Vectors tell whether; looking for where is slower.
            let position = if simd::run(AnyOutside { array, length }) { array.iter().position(outside) } else { None };
            position.map(|position| (axis, position))
        })
    }

    fn count(&self) -> usize {
        self.arrays.first().map_or(0, |array| array.len())
    }

    /// Calls `visit(position of the first, rows)` for all positions, a block at a time.
    #[inline(always)]
    fn for_each_block(&self, mut visit: impl FnMut(usize, &[usize])) {
        let mut rows = [0; BLOCK];
        for start in (0..self.count()).step_by(BLOCK) {
            let rows = &mut rows[..BLOCK.min(self.count() - start)];
            for (axis, (array, &length)) in self.arrays.iter().zip(self.dims).enumerate() {
                let array = &array[start..][..rows.len()];
                for (row, &i) in rows.iter_mut().zip(array) {
                    *row = if axis == 0 { i as usize } else { *row * length + i as usize };
                }
            }
            visit(start, rows);
        }
    }
}

struct AnyOutside<'a> {
    array: &'a [i32],
    length: usize,
}

impl Kernel for AnyOutside<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> bool {
        // Unsigned, a negative index is at least 2^31.
        let length = self.length.min(1 << 31) as u32;
        let mut outside = false;
        for &i in self.array {
            outside |= i as u32 >= length;
        }
        outside
    }
}

/// out[n] = table[row n], where no index is outside.
pub fn gather<T: Real>(table: &[T], indices: Indices<'_>, behind: usize, out: &mut [T]) {
    if !out.is_empty() {
        simd::run(Gather { table, indices, behind, out });
    }
}

struct Gather<'a, T> {
    table: &'a [T],
    indices: Indices<'a>,
    behind: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel for Gather<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Gather { table, indices, behind, out } = self;
        indices.for_each_block(|start, rows| {
            let out = &mut out[start * behind..][..rows.len() * behind];
            if behind == 1 {
                // The minimum changes no index, but shows that none needs to be checked.
                let last = table.len() - 1;
                let table = &table[..last + 1];
                for (out, &row) in out.iter_mut().zip(rows) {
                    *out = table[row.min(last)];
                }
            } else {
                for (out, &row) in out.chunks_exact_mut(behind).zip(rows) {
                    out.copy_from_slice(&table[row * behind..][..behind]);
                }
            }
        });
    }
}

/// table[row n] += x[n], where no index is outside.
pub fn scatter_add<T: Real>(x: &[T], indices: Indices<'_>, behind: usize, table: &mut [T]) {
    if behind == 1 { scatter_numbers(x, indices, table) } else { simd::run(ScatterRows { x, indices, behind, table }) }
}

/// Number by number: nothing for vectors to do.
fn scatter_numbers<T: Real>(x: &[T], indices: Indices<'_>, table: &mut [T]) {
    // An addition to what has just been added to has to wait for it. In a small table that is common, and positions take
    // turns to add to one of several copies.
    const COPIES: usize = 4;
    const SMALL: usize = 128;
    if table.len() <= SMALL && x.len() >= 2 * COPIES * table.len() {
        let mut copies = [[T::zero(); SMALL]; COPIES];
        indices.for_each_block(|start, rows| {
            let (x, rest) = x[start..][..rows.len()].as_chunks::<COPIES>();
            let (rows, rest_rows) = rows.as_chunks::<COPIES>();
            for (x, rows) in x.iter().zip(rows) {
                for k in 0..COPIES {
                    copies[k][rows[k].min(SMALL - 1)] += x[k];
                }
            }
            for (x, &row) in rest.iter().zip(rest_rows) {
                copies[0][row.min(SMALL - 1)] += *x;
            }
        });
        for (i, entry) in table.iter_mut().enumerate() {
            *entry += (copies[0][i] + copies[1][i]) + (copies[2][i] + copies[3][i]);
        }
        return;
    }
    indices.for_each_block(|start, rows| {
        for (&x, &row) in x[start..].iter().zip(rows) {
            table[row] += x;
        }
    });
}

struct ScatterRows<'a, T> {
    x: &'a [T],
    indices: Indices<'a>,
    behind: usize,
    table: &'a mut [T],
}

impl<T: Real> Kernel for ScatterRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let ScatterRows { x, indices, behind, table } = self;
        indices.for_each_block(|start, rows| {
            for (x, &row) in x[start * behind..].chunks_exact(behind).zip(rows) {
                let to = &mut table[row * behind..][..behind];
                for (to, &x) in to.iter_mut().zip(x) {
                    *to += x;
                }
            }
        });
    }
}
