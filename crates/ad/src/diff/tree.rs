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
    /// What is different in another one's structure, if it is to have a direction for each of these variables.
    #[doc(hidden)]
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        match (self.leaves().len(), other.leaves().len()) {
            (n, m) if n == m => Ok(()),
            (n, m) => Err(format!("as many directions as variables are needed: {m} were given for {n}")),
        }
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
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        same_names(self, other)
    }
    fn rebuild(&self, leaves: Vec<Var<T>>) -> IndexMap<String, Var<T>> {
        self.keys().cloned().zip(leaves).collect()
    }
}

/// Two trees of the same names in the same order.
pub(super) fn same_names<V, W>(
    variables: &IndexMap<String, V>,
    directions: &IndexMap<String, W>,
) -> Result<(), String> {
    if variables.keys().eq(directions.keys()) {
        return Ok(());
    }
    let names =
        |names: &mut dyn Iterator<Item = &String>| names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (variables, directions) = (names(&mut variables.keys()), names(&mut directions.keys()));
    Err(format!("directions {directions} for variables {variables}: each in its place, by the same names"))
}
