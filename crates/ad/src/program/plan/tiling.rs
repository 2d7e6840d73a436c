//! Tiling: how the rows of a region are cut. Into chunks, which may run in parallel, and each chunk into blocks, whose
//! temporaries fit into a core's cache. Sizes alone decide, never the number of threads, and so results do not depend on it.

use super::dataflow::Dataflow;
use crate::dtype::DType;
use crate::op::Op;
use crate::program::ir::Id;
use crate::program::region::CHUNKS;
use crate::tensor::size;

/// The temporaries of a block should fit into this many bytes, about half of a core's second cache: smaller blocks spend more
/// time on calls than they save.
const CACHE: usize = 1 << 18;

/// The fewest rows of a matrix of `f64` that a block takes part in a product with (of `f32` twice as many), if their temporaries
/// fit into so many bytes: rows may be frames of thousands of pixels.
const PRODUCT_ROWS: usize = 128;
const PRODUCT_BYTES: usize = 1 << 21;

/// A region with this many entries to compute is cut into chunks.
const PARALLEL: usize = 1 << 15;

#[derive(Clone, Copy)]
pub(super) struct Tiling {
    pub rows: usize,
    /// Rows of a chunk; the last may have fewer.
    pub chunk: usize,
    /// Rows of a block; the last of a chunk may have fewer.
    pub block: usize,
}

impl Tiling {
    /// Of a region whose temporaries take so many bytes for each row.
    pub fn new(flow: &Dataflow<'_>, rows: usize, members: &[Id], bytes_per_row: usize) -> Self {
        let nodes = &flow.ir.nodes;
        let work: usize = members.iter().map(|&id| size(&nodes[id].shape).max(rows)).sum();
        let chunk = rows.div_ceil(if work >= PARALLEL { CHUNKS.min(rows) } else { 1 });
        let bytes_per_row = bytes_per_row.max(8);
        // A matrix product that is cut too fine loses more than what leaves the cache.
        let products = members.iter().filter(|&&id| matches!(nodes[id].op, Op::MatMul(_)));
        let fewest = products.map(|&id| {
            let of = &nodes[nodes[id].operands[0]].shape;
            let matrix_rows = (size(&of[..of.len() - 1]) / rows).max(1);
            PRODUCT_ROWS * DType::F64.bytes() / nodes[id].dtype.bytes() / matrix_rows
        });
        let fewest = fewest.min().map_or(1, |fewest| fewest.min(PRODUCT_BYTES / bytes_per_row).clamp(1, chunk));
        let most = (CACHE / bytes_per_row).clamp(fewest, chunk);
        // Blocks of one size, as far as possible: of 250 rows and at most 100, they have 84, 84 and 82, not 100, 100 and 50.
        let block = chunk.div_ceil(chunk.div_ceil(most));
        Self { rows, chunk, block }
    }

    /// The rows of a whole block, of the last one of a whole chunk, and of the last one of all.
    pub fn block_sizes(&self) -> [usize; 3] {
        let last = |whole: usize, part: usize| if whole.is_multiple_of(part) { part } else { whole % part };
        let Self { rows, chunk, block } = *self;
        [block, last(chunk, block), last(last(rows, chunk), block)]
    }
}
