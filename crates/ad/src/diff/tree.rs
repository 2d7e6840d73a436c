//! Structures of variables: derivatives come back in the structure that the variables were given in.

use indexmap::IndexMap;

use crate::tape::Var;

/// One variable, several, a tree of them by name (whose order is kept), or a pair of such.
pub trait Tree {
    /// The structure a derivative comes back in.
    type Output;
    /// The variables, in order.
    fn leaves(&self) -> Vec<Var>;
    /// What is different in another one's structure, if it is to have a direction for each of these variables.
    #[doc(hidden)]
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        match (self.leaves().len(), other.leaves().len()) {
            (n, m) if n == m => Ok(()),
            (n, m) => Err(format!("as many directions as variables are needed: {m} were given for {n}")),
        }
    }
    /// The same structure with others in their places.
    fn rebuild(&self, leaves: Vec<Var>) -> Self::Output;
}

impl Tree for Var {
    type Output = Var;
    fn leaves(&self) -> Vec<Var> {
        vec![*self]
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Var {
        leaves[0]
    }
}

impl Tree for &Var {
    type Output = Var;
    fn leaves(&self) -> Vec<Var> {
        vec![**self]
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Var {
        leaves[0]
    }
}

impl<const N: usize> Tree for [Var; N] {
    type Output = [Var; N];
    fn leaves(&self) -> Vec<Var> {
        self.to_vec()
    }
    fn rebuild(&self, leaves: Vec<Var>) -> [Var; N] {
        leaves.try_into().expect("as many as leaves() gave")
    }
}

impl Tree for &[Var] {
    type Output = Vec<Var>;
    fn leaves(&self) -> Vec<Var> {
        self.to_vec()
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Vec<Var> {
        leaves
    }
}

impl Tree for &Vec<Var> {
    type Output = Vec<Var>;
    fn leaves(&self) -> Vec<Var> {
        self.to_vec()
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Vec<Var> {
        leaves
    }
}

impl Tree for Vec<Var> {
    type Output = Vec<Var>;
    fn leaves(&self) -> Vec<Var> {
        self.clone()
    }
    fn rebuild(&self, leaves: Vec<Var>) -> Vec<Var> {
        leaves
    }
}

impl Tree for &IndexMap<String, Var> {
    type Output = IndexMap<String, Var>;
    fn leaves(&self) -> Vec<Var> {
        self.values().copied().collect()
    }
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        same_names(self, other)
    }
    fn rebuild(&self, leaves: Vec<Var>) -> IndexMap<String, Var> {
        self.keys().cloned().zip(leaves).collect()
    }
}

/// Two structures side by side: a policy's parameters and the rates they learn with.
impl<A: Tree, B: Tree> Tree for (A, B) {
    type Output = (A::Output, B::Output);
    fn leaves(&self) -> Vec<Var> {
        [self.0.leaves(), self.1.leaves()].concat()
    }
    fn expect_like(&self, other: &Self) -> Result<(), String> {
        self.0.expect_like(&other.0).and_then(|()| self.1.expect_like(&other.1))
    }
    fn rebuild(&self, mut leaves: Vec<Var>) -> Self::Output {
        let second = leaves.split_off(self.0.leaves().len());
        (self.0.rebuild(leaves), self.1.rebuild(second))
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
