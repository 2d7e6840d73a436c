//! Derivatives of any order, of a loss written once.
//!
//! ```
//! use ad::Tape;
//! let tape = Tape::new();
//! let theta = tape.input("theta", &ndarray::arr1(&[0.5, -1.0, 2.0]));
//! let loss = (theta.sin().exp() * theta).sum();          // recorded; nothing is computed
//! let gradient = loss.grad(theta);                       // a Var like any other: differentiate it again
//! let product = loss.hvp(theta, gradient);               // the Hessian times the gradient
//! let step = tape.compile([theta], [loss, gradient, product]);
//! let results = step.run(&ad::values![ndarray::arr1(&[0.0, 0.0, 0.0])])?;
//! assert_eq!(results[1], ndarray::arr1(&[1.0, 1.0, 1.0]).into_dyn());
//! # Ok::<(), ad::Error>(())
//! ```
//!
//! The story, in the order of the modules: operations are **recorded** on a [`Tape`] as [`Var`]s (shapes are checked, no
//! number is computed); **differentiated**, which records more operations; **compiled** to a [`Program`]; and **run**.
//!
//! - Numbers are `f64`, `f32`, `i32` or `u8`: a [`DType`], a property of each node like its shape. Those of two types do not
//!   mix; [`Var::cast`] is an operation.
//! - Derivatives of Vars are methods: [`Var::grad`], [`Var::hvp`], [`Var::hessian`], [`Var::jacobian`], [`Var::jvp`],
//!   [`Var::vjp`], [`Var::derivative`]. Of functions: [`grad`], [`value_and_grad`], [`hvp`], [`hessian`] …
//! - [`vmap`] turns a function of one example into one of a batch.
//! - [`fold`] is a loop whose body is recorded once, [`fold_while`] one that may end early. Which loop is for what: [`loops`].
//! - [`Var::stop_gradient`], [`Var::magic_box`] and [`DerivativeLimit`] say what differentiation may see.
//! - [`check_gradients`] compares a function's derivatives with finite differences.
//! - What is written in JAX, PyTorch or NumPy, and what here: [`coming_from`].
//!
//! Misuse of a tape panics, naming the operation, the shapes and the places in the caller's code. What depends on data
//! from outside (running a program) returns a `Result`.

mod check;
mod diff;
mod dtype;
mod equal;
mod error;
mod kernel;
mod machine;
mod op;
mod program;
mod real;
mod tape;
mod tensor;
#[cfg(debug_assertions)]
mod trial;

#[doc = include_str!("../docs/coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("../docs/loops.md")]
pub mod loops {}

pub use check::{GradientCheck, Modes, check_gradients};
pub use diff::closures::{
    Arguments, derivative, grad, grad_or_zeros, hessian, hessian_or_zeros, hvp, hvp_or_zeros, jacobian,
    jacobian_or_zeros, jvp, jvp_or_zeros, value_and_grad, value_and_grad_or_zeros, vjp, vjp_or_zeros,
};
pub use diff::fold::{Steps, fold, fold_every, fold_while};
pub use diff::tree::{self, Tree};
pub use diff::vmap::{vmap, vmap_many};
pub use dtype::DType;
pub use error::Error;
#[doc(hidden)]
pub use machine::{simd::Level, team::ready_threads};
pub use op::barrier::DerivativeLimit;
pub use op::custom::{CustomOperation, custom};
pub use op::einsum::einsum;
pub use op::elementwise::Term;
pub use op::triangular::Triangle;
pub use program::{Cost, Lowering, Program, evaluate};
pub use real::Real;
pub use tape::{Handle, Index, Tape, Var};
pub use tensor::{Element, Shape, Value, broadcast_shape};

// Of the versions that this crate's functions take.
pub use {indexmap, ndarray};

/// What a loss is written with: `use ad::prelude::*;`.
pub mod prelude {
    pub use crate::{DType, Index, Program, Tape, Tree, Value, Var, fold, handles, tree, values, vmap};
    pub use ndarray::{self, Array, Array1, Array2, ArrayD, arr0, arr1, arr2, array};
}
