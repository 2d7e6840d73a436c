//! Reading and adding at integer indices: of a table with rows of `behind` numbers, one of the rows for each position of
//! the index arrays.

use super::functions::Number;
use crate::machine::simd::{self, Kernel};
use crate::tensor::Element;

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

    /// How many rows such a table has. Their numbers are computed in 32 bits.
    fn rows(&self) -> usize {
        let rows = self.dims.iter().product();
        assert!(u32::try_from(rows).is_ok(), "a table with more than 2^32 rows");
        rows
    }

    /// out[i] = the number of the row at position `start + i`.
    #[inline(always)]
    fn flatten(&self, start: usize, out: &mut [i32]) {
        let count = out.len();
        // Most tables have two axes.
        let done = match (self.arrays, self.dims) {
            (&[first, second, ..], &[_, length, ..]) => {
                let (first, second) = (&first[start..][..count], &second[start..][..count]);
                for i in 0..count {
                    out[i] = first[i].wrapping_mul(length as i32).wrapping_add(second[i]);
                }
                2
            }
            _ => 0,
        };
        for (axis, (array, &length)) in self.arrays.iter().zip(self.dims).enumerate().skip(done) {
            let array = &array[start..][..count];
            if axis == 0 {
                out.copy_from_slice(array);
            } else {
                for (row, &i) in out.iter_mut().zip(array) {
                    *row = row.wrapping_mul(length as i32).wrapping_add(i);
                }
            }
        }
    }

    /// Gives the rows of all positions to `visitor`, a block at a time.
    #[inline(always)]
    fn for_each_block(&self, visitor: &mut impl Visitor) {
        const BLOCK: usize = 256;
        if let &[rows] = self.arrays {
            return visitor.visit(0, rows);
        }
        let mut rows = [0; BLOCK];
        for start in (0..self.count()).step_by(BLOCK) {
            let rows = &mut rows[..BLOCK.min(self.count() - start)];
            self.flatten(start, rows);
            visitor.visit(start, rows);
        }
    }
}

/// What is done with a block of rows. To be marked `#[inline(always)]`, which a closure cannot be.
trait Visitor {
    /// The rows (of which each is a `u32` in fact) of the positions from `start` on.
    fn visit(&mut self, start: usize, rows: &[i32]);
}

/// out[n] = row n, where no index is outside.
pub fn flatten(indices: Indices<'_>, out: &mut [i32]) {
    struct Flatten<'a>(Indices<'a>, &'a mut [i32]);
    impl Kernel for Flatten<'_> {
        type Output = ();

        #[inline(always)]
        fn run<const FMA: bool>(self) {
            self.0.flatten(0, self.1);
        }
    }
    indices.rows();
    simd::run(Flatten(indices, out));
}

/// out[place] = its number, or how many places there are and the number of the last entry that is put there, where no index is
/// outside.
pub fn origin(indices: Indices<'_>, out: &mut [i32]) {
    struct Last<'a>(&'a mut [i32]);
    impl Visitor for Last<'_> {
        #[inline(always)]
        fn visit(&mut self, start: usize, rows: &[i32]) {
            let first = self.0.len() + start;
            for (i, &row) in rows.iter().enumerate() {
                self.0[row as usize] = (first + i) as i32;
            }
        }
    }
    out.iter_mut().enumerate().for_each(|(place, out)| *out = place as i32);
    simd::run(Each(indices, Last(out)));
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
pub fn gather<T: Element>(table: &[T], indices: Indices<'_>, behind: usize, out: &mut [T]) {
    if !out.is_empty() {
        let table = &table[..indices.rows() * behind];
        if behind == 1 && table.len() <= SMALL && out.len() >= table.len() {
            let mut copy = [T::default(); SMALL];
            copy[..table.len()].copy_from_slice(table);
            simd::run(Each(indices, GatherFromCopy { table: &copy, out }));
        } else if behind == 1 {
            simd::run(Each(indices, GatherNumbers { table, out }));
        } else {
            simd::run(Each(indices, GatherRows { table, behind, out }));
        }
    }
}

/// table[row n] += x[n], where no index is outside. In double precision, so that many small numbers of single precision
/// are not lost in their sum.
pub fn scatter_add<T: Number>(x: &[T], indices: Indices<'_>, behind: usize, table: &mut [f64]) {
    let table = &mut table[..indices.rows() * behind];
    if behind != 1 {
        simd::run(Each(indices, ScatterRows { x, behind, table }));
    } else if table.len() <= SMALL && x.len() >= 2 * COPIES * table.len() {
        let mut copies = [[0.0; SMALL]; COPIES];
        simd::run(Each(indices, ScatterToCopies { x, copies: &mut copies }));
        for (i, entry) in table.iter_mut().enumerate() {
            *entry += (copies[0][i] + copies[1][i]) + (copies[2][i] + copies[3][i]);
        }
    } else {
        simd::run(Each(indices, ScatterNumbers { x, table }));
    }
}

struct Each<'a, V>(Indices<'a>, V);

impl<V: Visitor> Kernel for Each<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        self.0.for_each_block(&mut self.1);
    }
}

struct GatherNumbers<'a, T> {
    table: &'a [T],
    out: &'a mut [T],
}

impl<T: Element> Visitor for GatherNumbers<'_, T> {
    #[inline(always)]
    fn visit(&mut self, start: usize, rows: &[i32]) {
        for (out, &row) in self.out[start..].iter_mut().zip(rows) {
            *out = self.table[row as u32 as usize];
        }
    }
}

/// From a table whose length is known, several numbers at once, of which none needs to be checked.
struct GatherFromCopy<'a, T> {
    table: &'a [T; SMALL],
    out: &'a mut [T],
}

impl<T: Element> Visitor for GatherFromCopy<'_, T> {
    #[inline(always)]
    fn visit(&mut self, start: usize, rows: &[i32]) {
        let (out, rest) = self.out[start..][..rows.len()].as_chunks_mut::<8>();
        let (rows, rest_rows) = rows.as_chunks::<8>();
        for (out, rows) in out.iter_mut().zip(rows) {
            for k in 0..8 {
                out[k] = self.table[rows[k] as usize % SMALL];
            }
        }
        for (out, &row) in rest.iter_mut().zip(rest_rows) {
            *out = self.table[row as usize % SMALL];
        }
    }
}

struct GatherRows<'a, T> {
    table: &'a [T],
    behind: usize,
    out: &'a mut [T],
}

impl<T: Element> Visitor for GatherRows<'_, T> {
    #[inline(always)]
    fn visit(&mut self, start: usize, rows: &[i32]) {
        let behind = self.behind;
        for (out, &row) in self.out[start * behind..].chunks_exact_mut(behind).zip(rows) {
            out.copy_from_slice(&self.table[row as u32 as usize * behind..][..behind]);
        }
    }
}

/// An addition to what has just been added to has to wait for it. In a small table that is common, and positions take
/// turns to add to one of several copies.
const COPIES: usize = 4;
const SMALL: usize = 128;

struct ScatterToCopies<'a, T> {
    x: &'a [T],
    copies: &'a mut [[f64; SMALL]; COPIES],
}

impl<T: Number> Visitor for ScatterToCopies<'_, T> {
    #[inline(always)]
    fn visit(&mut self, start: usize, rows: &[i32]) {
        let (x, rest) = self.x[start..][..rows.len()].as_chunks::<COPIES>();
        let (rows, rest_rows) = rows.as_chunks::<COPIES>();
        // The remainder changes no row, but shows that none needs to be checked.
        for (x, rows) in x.iter().zip(rows) {
            for k in 0..COPIES {
                self.copies[k][rows[k] as usize % SMALL] += x[k].as_f64();
            }
        }
        for (x, &row) in rest.iter().zip(rest_rows) {
            self.copies[0][row as usize % SMALL] += x.as_f64();
        }
    }
}

struct ScatterNumbers<'a, T> {
    x: &'a [T],
    table: &'a mut [f64],
}

impl<T: Number> Visitor for ScatterNumbers<'_, T> {
    #[inline(always)]
    fn visit(&mut self, start: usize, rows: &[i32]) {
        for (&x, &row) in self.x[start..].iter().zip(rows) {
            self.table[row as u32 as usize] += x.as_f64();
        }
    }
}

struct ScatterRows<'a, T> {
    x: &'a [T],
    behind: usize,
    table: &'a mut [f64],
}

impl<T: Number> Visitor for ScatterRows<'_, T> {
    #[inline(always)]
    fn visit(&mut self, start: usize, rows: &[i32]) {
        let behind = self.behind;
        for (x, &row) in self.x[start * behind..].chunks_exact(behind).zip(rows) {
            let to = &mut self.table[row as u32 as usize * behind..][..behind];
            for (to, &x) in to.iter_mut().zip(x) {
                *to += x.as_f64();
            }
        }
    }
}
