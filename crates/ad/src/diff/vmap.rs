//! `vmap`: a function of one example becomes a function of a batch.

use crate::op::batch::Mapping;
use crate::tape::{Handle, Var};

/// Applies a function of one example to a whole batch: `f` is called once, with arguments that lack the leading axis of
/// `batch`, and what it recorded is rewritten for all entries along that axis at once. The result has the axis in front.
///
/// The function may use other Vars (which are shared by all examples) and take derivatives. Per-example gradients are
/// therefore one computation:
///
/// ```
/// let tape = ad::Tape::new();
/// let w = tape.input("w", &ndarray::arr1(&[1.0, -1.0]));
/// let x = tape.input("x", &ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
/// let gradients = ad::vmap(|x| (w * x).sum().square().grad(w), x);     // [3, 2]
/// assert_eq!(gradients.value().shape(), [3, 2]);
/// ```
#[track_caller]
pub fn vmap(f: impl FnOnce(Var) -> Var, batch: Var) -> Var {
    vmap_many(|arguments| f(arguments[0].var()), [batch])
}

/// [`vmap`] over several arrays, of any types, that share their leading axis.
#[track_caller]
pub fn vmap_many<H: Into<Handle>>(f: impl FnOnce(&[Handle]) -> Var, batch: impl IntoIterator<Item = H>) -> Var {
    let mapping = Mapping::begin(&batch.into_iter().map(Into::into).collect::<Vec<_>>());
    let result = f(&mapping.arguments);
    mapping.end(&[result.into()])[0].var()
}
