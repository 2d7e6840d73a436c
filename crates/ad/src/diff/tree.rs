//! Structures of variables: derivatives come back in the structure that the variables were given in.

use indexmap::IndexMap;

use crate::real::Real;
use crate::tape::Var;

/// One variable, several, or a tree of them by name (whose order is kept).
pub trait Tree<T: Real> {
    /// The structure a derivative comes back in.
    type Output;
    /// The variables, in order.
    fn leaves(&self) -> Vec<Var<T>>;
    /// Their names, where they have some: directions are to have the same, in the same order.
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
    /// The same structure with others in their places.
    fn rebuild(&self, leaves: Vec<Var<T>>) -> Self::Output;
}

impl<T: Real> Tree<T> for Var<T> {
    type Output = Var<T>;
    fn leaves(&self) -> Vec<Var<T>> {
        vec![*self]
    }
    fn rebuild(&self, leaves: Vec<Var<T>>) -> Var<T> {
        leaves[0]
    }
}

impl<T: Real, const N: usize> Tree<T> for [Var<T>; N] {
    type Output = [Var<T>; N];
    fn leaves(&self) -> Vec<Var<T>> {
        self.to_vec()
    }
    fn rebuild(&self, leaves: Vec<Var<T>>) -> [Var<T>; N] {
        leaves.try_into().expect("as many as leaves() gave")
    }
}

impl<T: Real> Tree<T> for &[Var<T>] {
    type Output = Vec<Var<T>>;
    fn leaves(&self) -> Vec<Var<T>> {
        self.to_vec()
    }
    fn rebuild(&self, leaves: Vec<Var<T>>) -> Vec<Var<T>> {
        leaves
    }
}

impl<T: Real> Tree<T> for &Vec<Var<T>> {
    type Output = Vec<Var<T>>;
    fn leaves(&self) -> Vec<Var<T>> {
        self.to_vec()
    }
    fn rebuild(&self, leaves: Vec<Var<T>>) -> Vec<Var<T>> {
        leaves
    }
}

impl<T: Real> Tree<T> for &IndexMap<String, Var<T>> {
    type Output = IndexMap<String, Var<T>>;
    fn leaves(&self) -> Vec<Var<T>> {
        self.values().copied().collect()
    }
    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
    fn rebuild(&self, leaves: Vec<Var<T>>) -> IndexMap<String, Var<T>> {
        self.keys().cloned().zip(leaves).collect()
    }
}
