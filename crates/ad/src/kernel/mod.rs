//! The loops over numbers. They know slices and lengths, nothing of tapes or shapes.
//!
//! Each is compiled for every kind of processor ([`crate::machine::simd`]). [`functions`] are the functions of one
//! number, written once, without branches; [`map`] applies them to slices; [`reduce`] and [`scan`] are what runs along
//! an axis, [`softmax`] log-probabilities along one, [`order`] where along one entries are, [`indexed`] what reads and writes at
//! indices, [`patches`] windows of images. [`special`] are functions of one number with branches. [`linear`] is what is left to a
//! library.
//!
//! The same numbers give the same bits wherever they stand in a slice, however long it is and in whatever pieces it is
//! computed, on one kind of processor. Kinds differ in the last bit, since some round a·b + c once and some twice.

pub mod cast;
pub mod functions;
pub mod indexed;
mod linear;
pub mod map;
pub mod order;
pub mod patches;
pub mod reduce;
pub mod scan;
pub mod softmax;
pub mod special;

pub use linear::{
    Accumulate, Matrix, NotPositiveDefinite, Singular, Triangular, cholesky, factor, ln_abs_determinant, matmul,
    solve_factored,
};
