//! Structures of variables: derivatives come back in the structure that the variables were given in; and their arithmetic.
//!
//! ```
//! use ad::{Tape, tree};
//! let tape = Tape::new();
//! let (w, b) = (tape.input("w", &[1.0, 2.0]), tape.input("b", 0.5));
//! let loss = (w.square().sum() + b * w.sum()) * 0.5;
//! let gradient = loss.grad((w, b));                                                    // a pair, as the variables are
//! let stepped = tree::axpy(-0.1, gradient, (w, b));                                    // (w, b) − 0.1 (ḡ_w, ḡ_b)
//! let natural = tree::conjugate_gradient(|v| loss.hvp((w, b), v), gradient, 3, 1e-10); // H⁻¹ g
//! assert!((tree::norm(natural) - tree::norm((w, b))).item().abs() < 1e-12);            // of a quadratic form: (w, b)
//! # assert_eq!(stepped.1.item(), 0.5 - 0.1 * 1.5);
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::{BuildHasher, Hash};

use indexmap::IndexMap;

use super::fold::fold_while;
use crate::op::elementwise::Term;
use crate::tape::Var;

/// One variable; several, as an array, a list or a tuple; named ones (whose order is kept); and such of such, by value or by
/// reference.
pub trait Tree {
    /// The structure a derivative comes back in.
    type Output;
    /// The variables, in order.
    fn leaves(&self) -> Vec<Var>;
    /// What each is called within the structure: `1/bias` for that of the second of some layers. (A variable alone is nameless.)
    fn names(&self) -> Vec<String>;
    /// The same structure with others in their places.
    fn rebuild(&self, leaves: Vec<Var>) -> Self::Output;

    /// What is different in another one's structure, if it is to have a direction for each of these variables.
    #[doc(hidden)]
    fn expect_like(&self, other: &impl Tree) -> Result<(), String> {
        let (variables, directions) = (self.names(), other.names());
        if variables == directions {
            return Ok(());
        }
        if variables.iter().chain(&directions).all(|name| name.parse::<usize>().is_ok() || name.is_empty()) {
            let (n, m) = (variables.len(), directions.len());
            return Err(format!("as many directions as variables are needed: {m} were given for {n}"));
        }
        Err(different("directions", &directions, &variables))
    }
}

/// "directions `b`, `a` for variables `a`, `b`: each in its place, by the same names".
pub(super) fn different(what: &str, given: &[String], variables: &[String]) -> String {
    let names = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!("{what} {} for variables {}: each in its place, by the same names", names(given), names(variables))
}

impl Tree for Var {
    type Output = Var;
    fn leaves(&self) -> Vec<Var> {
        vec![*self]
    }
    fn names(&self) -> Vec<String> {
        vec![String::new()]
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Var {
        leaves[0]
    }
}

impl<T: Tree + ?Sized> Tree for &T {
    type Output = T::Output;
    fn leaves(&self) -> Vec<Var> {
        (**self).leaves()
    }
    fn names(&self) -> Vec<String> {
        (**self).names()
    }
    fn rebuild(&self, leaves: Vec<Var>) -> T::Output {
        (**self).rebuild(leaves)
    }
}

/// The leaves of several parts, one after another.
fn leaves_of<'t, T: Tree + 't>(parts: impl IntoIterator<Item = &'t T>) -> Vec<Var> {
    parts.into_iter().flat_map(Tree::leaves).collect()
}

fn names_of<'t, T: Tree + 't>(parts: impl IntoIterator<Item = (impl Display, &'t T)>) -> Vec<String> {
    parts.into_iter().flat_map(|(name, part)| within(name, part)).collect()
}

/// The names of a part's leaves within the whole.
fn within(name: impl Display, part: &impl Tree) -> Vec<String> {
    let inner = part.names().into_iter();
    inner.map(|inner| if inner.is_empty() { name.to_string() } else { format!("{name}/{inner}") }).collect()
}

/// Gives each part its share of the leaves.
struct Shares(std::vec::IntoIter<Var>);

impl Shares {
    fn of(leaves: Vec<Var>) -> Self {
        Self(leaves.into_iter())
    }
    fn rebuild<T: Tree>(&mut self, part: &T) -> T::Output {
        let count = part.leaves().len();
        part.rebuild(self.0.by_ref().take(count).collect())
    }
}

impl<T: Tree, const N: usize> Tree for [T; N] {
    type Output = [T::Output; N];
    fn leaves(&self) -> Vec<Var> {
        leaves_of(self)
    }
    fn names(&self) -> Vec<String> {
        names_of(self.iter().enumerate())
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Self::Output {
        let mut shares = Shares::of(leaves);
        self.each_ref().map(|part| shares.rebuild(part))
    }
}

impl<T: Tree> Tree for [T] {
    type Output = Vec<T::Output>;
    fn leaves(&self) -> Vec<Var> {
        leaves_of(self)
    }
    fn names(&self) -> Vec<String> {
        names_of(self.iter().enumerate())
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Self::Output {
        let mut shares = Shares::of(leaves);
        self.iter().map(|part| shares.rebuild(part)).collect()
    }
}

impl<T: Tree> Tree for Vec<T> {
    type Output = Vec<T::Output>;
    fn leaves(&self) -> Vec<Var> {
        self.as_slice().leaves()
    }
    fn names(&self) -> Vec<String> {
        self.as_slice().names()
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Self::Output {
        self.as_slice().rebuild(leaves)
    }
}

macro_rules! named {
    ($map:ident<K, T $(, $state:ident)?>, $($order:tt)*) => {
        impl<K: Display + Clone + $($order)*, T: Tree $(, $state: BuildHasher + Default)?> Tree for $map<K, T $(, $state)?> {
            type Output = $map<K, T::Output $(, $state)?>;
            fn leaves(&self) -> Vec<Var> {
                leaves_of(self.values())
            }
            fn names(&self) -> Vec<String> {
                names_of(self)
            }
            fn rebuild(&self, leaves: Vec<Var>) -> Self::Output {
                let mut shares = Shares::of(leaves);
                self.iter().map(|(name, part)| (name.clone(), shares.rebuild(part))).collect()
            }
        }
    };
}
named!(IndexMap<K, T, S>, Hash + Eq);
named!(BTreeMap<K, T>, Ord);

/// Structures side by side: a policy's parameters and the rates they learn with.
macro_rules! tuple {
    ($($part:ident $i:tt),*) => {
        impl<$($part: Tree),*> Tree for ($($part,)*) {
            type Output = ($($part::Output,)*);
            fn leaves(&self) -> Vec<Var> {
                [$(self.$i.leaves()),*].concat()
            }
            fn names(&self) -> Vec<String> {
                [$(within($i, &self.$i)),*].concat()
            }
            fn rebuild(&self, leaves: Vec<Var>) -> Self::Output {
                let mut shares = Shares::of(leaves);
                ($(shares.rebuild(&self.$i),)*)
            }
        }
    };
}
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

/// Panics unless two trees have the same structure.
#[track_caller]
fn expect_alike(operation: &str, a: &impl Tree, b: &impl Tree) {
    let (one, other) = (a.names(), b.names());
    assert!(one == other, "{operation}: trees of different structures: {}", different("parts", &other, &one));
}

/// The same structure, of a function of each variable.
#[track_caller]
#[must_use]
pub fn map<T: Tree>(tree: T, f: impl FnMut(Var) -> Var) -> T::Output {
    tree.rebuild(tree.leaves().into_iter().map(f).collect())
}

/// Σ of the products of entries: a scalar.
///
/// Panics for trees of different structures or shapes, and for two without any variable.
#[track_caller]
#[must_use]
pub fn dot(a: impl Tree, b: impl Tree) -> Var {
    expect_alike("dot", &a, &b);
    let products = a.leaves().into_iter().zip(b.leaves());
    let Some(sum) = products.map(|(a, b)| a.dot(b)).reduce(|sum, product| sum + product) else {
        panic!("dot: two trees without any variable");
    };
    sum
}

/// √Σ of the squares of all entries: a scalar.
///
/// Panics for a tree without any variable.
#[track_caller]
#[must_use]
pub fn norm(tree: impl Tree) -> Var {
    dot(&tree, &tree).sqrt()
}

/// `a` x + y, in the structure of y; `a` is a number, or a scalar.
///
/// Panics for trees of different structures or shapes.
#[track_caller]
#[must_use]
pub fn axpy<Y: Tree>(a: impl Into<Term>, x: impl Tree, y: Y) -> Y::Output {
    expect_alike("axpy", &y, &x);
    let a = a.into();
    let both = x.leaves().into_iter().zip(y.leaves());
    y.rebuild(both.map(|(x, y)| x * a.clone() + y).collect())
}

/// x with A x = b, for a symmetric positive definite A of which `product` is A v for any v: the method of conjugate gradients
/// (Hestenes & Stiefel 1952), from 0, until |b − A x| ≤ `tolerance` |b|, at most so many `iterations`. It is a
/// [`fold_while`], recorded once, and differentiable like any (with the result of that iteration, not with A⁻¹).
///
/// With a Hessian-vector product it is Newton's direction, with one of a divergence's Hessian a natural gradient:
/// `conjugate_gradient(|v| divergence.hvp(&theta, v), loss.grad(&theta), 10, 1e-10)`.
///
/// Panics if `product` is not like b, if b has no variable, or if there is no iteration.
#[track_caller]
#[must_use]
pub fn conjugate_gradient<T: Tree<Output = T>>(
    product: impl FnOnce(T) -> T,
    b: T,
    iterations: usize,
    tolerance: f64,
) -> T {
    assert!(iterations > 0, "conjugate_gradient: no iteration makes no step from 0");
    let parts = b.leaves();
    let count = parts.len();
    let square = dot(&b, &b);
    let enough = square * (tolerance * tolerance);
    // x, the residual, the direction, and the residual's square.
    let zeros = parts.iter().map(|part| part.full_like(0.0));
    let initial: Vec<Var> = zeros.chain(parts.iter().copied()).chain(parts.iter().copied()).chain([square]).collect();
    let goes_on = |carry: Vec<Var>| carry[3 * count].greater(enough);
    let carries = fold_while(initial, iterations, goes_on, |carry, _| {
        let (x, rest) = carry.split_at(count);
        let (residual, rest) = rest.split_at(count);
        let (direction, square) = (&rest[..count], rest[count]);
        let along = product(b.rebuild(direction.to_vec()));
        expect_alike("conjugate_gradient", &b, &along);
        let along = along.leaves();
        let step = square / dot(direction, along.as_slice());
        let residual = axpy(-step, along.as_slice(), residual);
        let next = dot(&residual, &residual);
        [axpy(step, direction, x), residual.clone(), axpy(next / square, direction, residual), vec![next]].concat()
    });
    b.rebuild(carries[..count].iter().map(|x| x.at(0, iterations - 1)).collect())
}
