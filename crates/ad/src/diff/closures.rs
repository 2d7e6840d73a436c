//! Derivatives of functions: each records a closure and asks its result for the derivative.
//!
//! The argument decides what comes back. Numbers and arrays give numbers and arrays, through a tape of their own; a
//! [`Var`] gives a `Var` on its own tape, so that derivatives nest: the closure gets a fresh alias of it, and a derivative
//! by that alias is never confused with one by the Var.

use std::fmt::Display;
use std::hash::Hash;

use indexmap::IndexMap;
use ndarray::{Array, ArrayD, Dimension, Ix0};

use super::derivatives::Unrelated;
use super::tree::different;
use crate::dtype::DType;
use crate::program::evaluate_values;
use crate::real::Real;
use crate::tape::{Tape, Var};
use crate::tensor::{Element, Value};

/// What a function can be differentiated at: a number, an array, a [`Var`], a named tree of arrays or Vars, or an array or a
/// tuple of such.
pub trait Arguments: Sized {
    /// What the closure is called with.
    type Vars;
    /// The argument's structure, filled with derivatives.
    type Values;
    /// A result that has no such structure: an array (or a Var).
    type Tensor;
    /// A scalar result: a number (or a Var).
    type Scalar;
    /// The type of numbers that such results have, if they are not Vars.
    #[doc(hidden)]
    const DTYPE: Option<DType>;

    /// Records the argument, on a new tape if it has none.
    #[doc(hidden)]
    #[track_caller]
    fn record(&self, tape: &mut Option<Tape>) -> Self::Vars;
    /// The recorded variables, in order.
    #[doc(hidden)]
    fn leaves(vars: &Self::Vars) -> Vec<Var>;
    /// What is different in the structure of a tangent or direction.
    #[doc(hidden)]
    fn expect_like(&self, _other: &Self) -> Result<(), String> {
        Ok(())
    }
    /// Takes this argument's share of the results.
    #[doc(hidden)]
    fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> Self::Values;
    #[doc(hidden)]
    fn tensor(answer: Answer) -> Self::Tensor;
    #[doc(hidden)]
    fn scalar(answer: Answer) -> Self::Scalar;
}

/// A result, and its numbers if the argument was made of numbers.
#[derive(Debug)]
pub struct Answer {
    var: Var,
    numbers: Option<Value<'static>>,
}

impl Answer {
    fn numbers<T: Real>(self) -> ArrayD<T> {
        let numbers = self.numbers.expect("arguments made of numbers have a tape of their own, and are evaluated");
        numbers.into_array().expect("derivatives are of their variables' types, and of other results it is checked")
    }
}

/// Panics unless a function's result is of the type that its value is returned in.
#[track_caller]
fn expect_type<A: Arguments>(operation: &str, result: Var) {
    let dtype = result.dtype();
    if let Some(own) = A::DTYPE.filter(|&own| own != dtype) {
        panic!(
            "{operation}: the function's result is {dtype}, but its arguments are {own}, and so is what is returned for it; \
             `cast` the result\n  result made at {}",
            result.location()
        );
    }
}

/// Evaluates the results, all at once, where the arguments were numbers.
#[track_caller]
fn answers(tape: &Option<Tape>, results: Vec<Var>) -> std::vec::IntoIter<Answer> {
    let numbers: Vec<Option<Value<'static>>> = match tape {
        Some(_) => evaluate_values(&results).into_iter().map(Some).collect(),
        None => results.iter().map(|_| None).collect(),
    };
    let answers: Vec<_> = results.into_iter().zip(numbers).map(|(var, numbers)| Answer { var, numbers }).collect();
    answers.into_iter()
}

impl Arguments for Var {
    type Vars = Var;
    type Values = Var;
    type Tensor = Var;
    type Scalar = Var;
    const DTYPE: Option<DType> = None;

    #[track_caller]
    fn record(&self, _tape: &mut Option<Tape>) -> Var {
        self.alias()
    }
    fn leaves(vars: &Var) -> Vec<Var> {
        vec![*vars]
    }
    fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> Var {
        results.next().expect("one result for each leaf").var
    }
    fn tensor(answer: Answer) -> Var {
        answer.var
    }
    fn scalar(answer: Answer) -> Var {
        answer.var
    }
}

impl<T: Real, D: Dimension> Arguments for &Array<T, D> {
    type Vars = Var;
    type Values = Array<T, D>;
    type Tensor = ArrayD<T>;
    type Scalar = T;
    const DTYPE: Option<DType> = Some(T::DTYPE);

    #[track_caller]
    fn record(&self, tape: &mut Option<Tape>) -> Var {
        tape.get_or_insert_default().input("x", *self)
    }
    fn leaves(vars: &Var) -> Vec<Var> {
        vec![*vars]
    }
    fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> Array<T, D> {
        let numbers = results.next().expect("one result for each leaf").numbers();
        numbers.into_dimensionality().expect("a derivative has its variable's shape")
    }
    fn tensor(answer: Answer) -> ArrayD<T> {
        answer.numbers()
    }
    fn scalar(answer: Answer) -> T {
        number(answer.numbers())
    }
}

impl<K: Display + Clone + Hash + Eq, T: Real> Arguments for &IndexMap<K, ArrayD<T>> {
    type Vars = IndexMap<K, Var>;
    type Values = IndexMap<K, ArrayD<T>>;
    type Tensor = ArrayD<T>;
    type Scalar = T;
    const DTYPE: Option<DType> = Some(T::DTYPE);

    #[track_caller]
    fn record(&self, tape: &mut Option<Tape>) -> Self::Vars {
        let tape = tape.get_or_insert_default();
        let mut vars = IndexMap::with_capacity(self.len());
        for (name, array) in *self {
            vars.insert(name.clone(), tape.input(&name.to_string(), array));
        }
        vars
    }
    fn leaves(vars: &Self::Vars) -> Vec<Var> {
        vars.values().copied().collect()
    }
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        same_names(self, other)
    }
    fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> Self::Values {
        self.keys().map(|name| (name.clone(), results.next().expect("one result for each leaf").numbers())).collect()
    }
    fn tensor(answer: Answer) -> ArrayD<T> {
        answer.numbers()
    }
    fn scalar(answer: Answer) -> T {
        number(answer.numbers())
    }
}

impl<K: Display + Clone + Hash + Eq> Arguments for &IndexMap<K, Var> {
    type Vars = IndexMap<K, Var>;
    type Values = IndexMap<K, Var>;
    type Tensor = Var;
    type Scalar = Var;
    const DTYPE: Option<DType> = None;

    #[track_caller]
    fn record(&self, _tape: &mut Option<Tape>) -> Self::Vars {
        let mut vars = IndexMap::with_capacity(self.len());
        for (name, var) in *self {
            vars.insert(name.clone(), var.alias());
        }
        vars
    }
    fn leaves(vars: &Self::Vars) -> Vec<Var> {
        vars.values().copied().collect()
    }
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        same_names(self, other)
    }
    fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> Self::Values {
        self.keys().map(|name| (name.clone(), results.next().expect("one result for each leaf").var)).collect()
    }
    fn tensor(answer: Answer) -> Var {
        answer.var
    }
    fn scalar(answer: Answer) -> Var {
        answer.var
    }
}

/// Panics unless two trees have the same names in the same order.
fn same_names<K: Display + Eq, V, W>(variables: &IndexMap<K, V>, directions: &IndexMap<K, W>) -> Result<(), String> {
    if variables.keys().eq(directions.keys()) {
        return Ok(());
    }
    let names = |names: &mut dyn Iterator<Item = &K>| names.map(K::to_string).collect::<Vec<_>>();
    Err(different("directions", &names(&mut directions.keys()), &names(&mut variables.keys())))
}

macro_rules! tuple {
    ($first:ident 0 $(, $part:ident $i:tt)*) => {
        impl<$first: Arguments $(, $part: Arguments)*> Arguments for ($first, $($part,)*) {
            type Vars = ($first::Vars, $($part::Vars,)*);
            type Values = ($first::Values, $($part::Values,)*);
            type Tensor = $first::Tensor;
            type Scalar = $first::Scalar;
            const DTYPE: Option<DType> = $first::DTYPE;

            #[track_caller]
            fn record(&self, tape: &mut Option<Tape>) -> Self::Vars {
                (self.0.record(tape), $(self.$i.record(tape),)*)
            }
            fn leaves(vars: &Self::Vars) -> Vec<Var> {
                [$first::leaves(&vars.0), $($part::leaves(&vars.$i),)*].concat()
            }
            fn expect_like(&self, other: &Self) -> Result<(), String> {
                self.0.expect_like(&other.0)$(.and_then(|()| self.$i.expect_like(&other.$i)))*
            }
            fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> Self::Values {
                (self.0.collect(results), $(self.$i.collect(results),)*)
            }
            fn tensor(answer: Answer) -> $first::Tensor {
                $first::tensor(answer)
            }
            fn scalar(answer: Answer) -> $first::Scalar {
                $first::scalar(answer)
            }
        }
    };
}
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

impl<A: Arguments, const N: usize> Arguments for [A; N] {
    type Vars = [A::Vars; N];
    type Values = [A::Values; N];
    type Tensor = A::Tensor;
    type Scalar = A::Scalar;
    const DTYPE: Option<DType> = A::DTYPE;

    #[track_caller]
    fn record(&self, tape: &mut Option<Tape>) -> Self::Vars {
        self.each_ref().map(|part| part.record(tape))
    }
    fn leaves(vars: &Self::Vars) -> Vec<Var> {
        vars.iter().flat_map(A::leaves).collect()
    }
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        self.iter().zip(other).try_for_each(|(part, other)| part.expect_like(other))
    }
    fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> Self::Values {
        self.each_ref().map(|part| part.collect(results))
    }
    fn tensor(answer: Answer) -> A::Tensor {
        A::tensor(answer)
    }
    fn scalar(answer: Answer) -> A::Scalar {
        A::scalar(answer)
    }
}

macro_rules! number_arguments {
    ($type:ident) => {
        impl Arguments for $type {
            type Vars = Var;
            type Values = $type;
            type Tensor = ArrayD<$type>;
            type Scalar = $type;
            const DTYPE: Option<DType> = Some(<$type as Element>::DTYPE);

            #[track_caller]
            fn record(&self, tape: &mut Option<Tape>) -> Var {
                tape.get_or_insert_default().input("x", *self)
            }
            fn leaves(vars: &Var) -> Vec<Var> {
                vec![*vars]
            }
            fn collect(&self, results: &mut dyn Iterator<Item = Answer>) -> $type {
                number(results.next().expect("one result for each leaf").numbers())
            }
            fn tensor(answer: Answer) -> ArrayD<$type> {
                answer.numbers()
            }
            fn scalar(answer: Answer) -> $type {
                number(answer.numbers())
            }
        }
    };
}
number_arguments!(f64);
number_arguments!(f32);

fn number<T: Real>(array: ArrayD<T>) -> T {
    array.into_dimensionality::<Ix0>().expect("a scalar").into_scalar()
}

/// The gradient of `f` at `x`.
///
/// ```
/// assert_eq!(ad::grad(|x| x * x * x, 2.0), 12.0);
/// let g = ad::grad(|x| x.square().sum(), &ndarray::arr1(&[0.0, 1.0]));
/// assert_eq!(g, ndarray::arr1(&[0.0, 2.0]));
/// ```
///
/// At a [`Var`] the result is a Var, so that derivatives nest: d/dx \[x · d/dy (x + y)\] is
///
/// ```
/// let d = ad::grad(|x: ad::Var| x * ad::grad(|y| x + y, x.full_like(1.0)), 3.0);
/// assert_eq!(d, 1.0);
/// ```
#[track_caller]
pub fn grad<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A) -> A::Values {
    // Its value, which nobody asks for, need not be of the arguments' type.
    gradient("grad", f, x, Unrelated::Panic).1
}

/// [`grad`] that is zero with respect to what `f` does not depend on.
#[track_caller]
pub fn grad_or_zeros<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A) -> A::Values {
    gradient("grad_or_zeros", f, x, Unrelated::Zero).1
}

/// The value of `f` at `x` and its gradient, in one computation.
#[track_caller]
pub fn value_and_grad<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A) -> (A::Scalar, A::Values) {
    let (value, gradients) = gradient("value_and_grad", f, x, Unrelated::Panic);
    (A::scalar(value), gradients)
}

/// [`value_and_grad`] whose gradient is zero with respect to what `f` does not depend on.
#[track_caller]
pub fn value_and_grad_or_zeros<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A) -> (A::Scalar, A::Values) {
    let (value, gradients) = gradient("value_and_grad_or_zeros", f, x, Unrelated::Zero);
    (A::scalar(value), gradients)
}

#[track_caller]
fn gradient<A: Arguments>(
    operation: &str,
    f: impl FnOnce(A::Vars) -> Var,
    x: A,
    unrelated: Unrelated,
) -> (Answer, A::Values) {
    let mut tape = None;
    let vars = x.record(&mut tape);
    let leaves = A::leaves(&vars);
    let loss = f(vars);
    let gradients = loss.gradient(operation, &leaves, unrelated);
    if operation.starts_with("value") {
        expect_type::<A>(operation, loss);
    }
    let results = std::iter::once(loss).chain(gradients).collect();
    let mut answers = answers(&tape, results);
    let value = answers.next().expect("the value comes first");
    (value, x.collect(&mut answers))
}

/// The cotangents Jᵀ·u of `x`, for a cotangent `u` made from the value of `f` (so that it may be a Var or a constant of
/// its shape).
#[track_caller]
pub fn vjp<A: Arguments>(
    f: impl FnOnce(A::Vars) -> Var,
    x: A,
    cotangent: impl FnOnce(Var) -> Var,
) -> (A::Tensor, A::Values) {
    pulled_back("vjp", f, x, cotangent, Unrelated::Panic)
}

/// [`vjp`] that is zero with respect to what `f` does not depend on.
#[track_caller]
pub fn vjp_or_zeros<A: Arguments>(
    f: impl FnOnce(A::Vars) -> Var,
    x: A,
    cotangent: impl FnOnce(Var) -> Var,
) -> (A::Tensor, A::Values) {
    pulled_back("vjp_or_zeros", f, x, cotangent, Unrelated::Zero)
}

#[track_caller]
fn pulled_back<A: Arguments>(
    operation: &str,
    f: impl FnOnce(A::Vars) -> Var,
    x: A,
    cotangent: impl FnOnce(Var) -> Var,
    unrelated: Unrelated,
) -> (A::Tensor, A::Values) {
    let mut tape = None;
    let vars = x.record(&mut tape);
    let leaves = A::leaves(&vars);
    let output = f(vars);
    expect_type::<A>(operation, output);
    let cotangents = output.pulled_back(operation, leaves.as_slice(), cotangent(output), unrelated);
    let mut answers = answers(&tape, std::iter::once(output).chain(cotangents).collect());
    let value = A::tensor(answers.next().expect("the value comes first"));
    (value, x.collect(&mut answers))
}

/// The value of `f` at `x` and its tangent J·t, for the tangent `t` of `x`. (Forward mode.)
#[track_caller]
pub fn jvp<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A, tangent: A) -> (A::Tensor, A::Tensor) {
    pushed_forward("jvp", f, x, tangent, Unrelated::Panic)
}

/// [`jvp`] whose tangent is zero if `f` does not depend on x.
#[track_caller]
pub fn jvp_or_zeros<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A, tangent: A) -> (A::Tensor, A::Tensor) {
    pushed_forward("jvp_or_zeros", f, x, tangent, Unrelated::Zero)
}

#[track_caller]
fn pushed_forward<A: Arguments>(
    operation: &str,
    f: impl FnOnce(A::Vars) -> Var,
    x: A,
    tangent: A,
    unrelated: Unrelated,
) -> (A::Tensor, A::Tensor) {
    let mut tape = None;
    let (vars, tangents) = with_directions(operation, &mut tape, &x, &tangent);
    let leaves = A::leaves(&vars);
    let output = f(vars);
    expect_type::<A>(operation, output);
    let tangent = output.pushed_forward(operation, leaves.as_slice(), tangents.as_slice(), unrelated);
    let mut answers = answers(&tape, vec![output, tangent]);
    let mut next = || A::tensor(answers.next().expect("a value and a tangent"));
    (next(), next())
}

/// The Hessian of `f` at `x` times a direction.
///
/// ```
/// let (x, v) = (ndarray::arr1(&[1.0, 2.0]), ndarray::arr1(&[1.0, 0.0]));
/// assert_eq!(ad::hvp(|x| (x * x * x).sum(), &x, &v), ndarray::arr1(&[6.0, 0.0]));
/// ```
#[track_caller]
pub fn hvp<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A, direction: A) -> A::Values {
    hessian_product("hvp", f, x, direction, Unrelated::Panic)
}

/// [`hvp`] that is zero with respect to what `f` does not depend on.
#[track_caller]
pub fn hvp_or_zeros<A: Arguments>(f: impl FnOnce(A::Vars) -> Var, x: A, direction: A) -> A::Values {
    hessian_product("hvp_or_zeros", f, x, direction, Unrelated::Zero)
}

#[track_caller]
fn hessian_product<A: Arguments>(
    operation: &str,
    f: impl FnOnce(A::Vars) -> Var,
    x: A,
    direction: A,
    unrelated: Unrelated,
) -> A::Values {
    let mut tape = None;
    let (vars, directions) = with_directions(operation, &mut tape, &x, &direction);
    let leaves = A::leaves(&vars);
    let products = f(vars).hessian_product(operation, leaves.as_slice(), directions.as_slice(), unrelated);
    x.collect(&mut answers(&tape, products))
}

/// An argument, and a direction for each of its variables.
#[track_caller]
fn with_directions<A: Arguments>(
    operation: &str,
    tape: &mut Option<Tape>,
    x: &A,
    direction: &A,
) -> (A::Vars, Vec<Var>) {
    if let Err(problem) = x.expect_like(direction) {
        panic!("{operation}: {problem}");
    }
    let vars = x.record(tape);
    let direction = direction.record(tape);
    (vars, A::leaves(&direction))
}

/// The derivative of each entry of `f(x)` by each of x: of shape `f(x).shape() + x.shape()`.
#[track_caller]
pub fn jacobian<A: Arguments<Vars = Var>>(f: impl FnOnce(Var) -> Var, x: A) -> A::Tensor {
    derivative_of("jacobian", f, x, 1, Unrelated::Panic)
}

/// [`jacobian`] that is zero if `f` does not depend on x.
#[track_caller]
pub fn jacobian_or_zeros<A: Arguments<Vars = Var>>(f: impl FnOnce(Var) -> Var, x: A) -> A::Tensor {
    derivative_of("jacobian_or_zeros", f, x, 1, Unrelated::Zero)
}

/// The Hessian of `f` at `x`, of shape `x.shape() + x.shape()`.
///
/// ```
/// let h = ad::hessian(|x| (x * x * x).sum(), &ndarray::arr1(&[1.0, 2.0]));
/// assert_eq!(h, ndarray::arr2(&[[6.0, 0.0], [0.0, 12.0]]).into_dyn());
/// ```
#[track_caller]
pub fn hessian<A: Arguments<Vars = Var>>(f: impl FnOnce(Var) -> Var, x: A) -> A::Tensor {
    hessian_of("hessian", f, x, Unrelated::Panic)
}

/// [`hessian`] that is zero if `f` does not depend on x.
#[track_caller]
pub fn hessian_or_zeros<A: Arguments<Vars = Var>>(f: impl FnOnce(Var) -> Var, x: A) -> A::Tensor {
    hessian_of("hessian_or_zeros", f, x, Unrelated::Zero)
}

/// The n-th derivative of `f` at `x`, of shape `f(x).shape()` followed by n times `x.shape()`.
#[track_caller]
pub fn derivative<A: Arguments<Vars = Var>>(f: impl FnOnce(Var) -> Var, x: A, order: usize) -> A::Tensor {
    derivative_of("derivative", f, x, order, Unrelated::Panic)
}

#[track_caller]
fn hessian_of<A: Arguments<Vars = Var>>(
    operation: &str,
    f: impl FnOnce(Var) -> Var,
    x: A,
    unrelated: Unrelated,
) -> A::Tensor {
    let mut tape = None;
    let var = x.record(&mut tape);
    let result = f(var).hessian_called(operation, var, unrelated);
    one_answer::<A>(operation, &tape, result)
}

#[track_caller]
fn derivative_of<A: Arguments<Vars = Var>>(
    operation: &str,
    f: impl FnOnce(Var) -> Var,
    x: A,
    order: usize,
    unrelated: Unrelated,
) -> A::Tensor {
    let mut tape = None;
    let var = x.record(&mut tape);
    let result = f(var).derivative_called(operation, var, order, unrelated);
    one_answer::<A>(operation, &tape, result)
}

#[track_caller]
fn one_answer<A: Arguments>(operation: &str, tape: &Option<Tape>, result: Var) -> A::Tensor {
    expect_type::<A>(operation, result);
    A::tensor(answers(tape, vec![result]).next().expect("one result"))
}
