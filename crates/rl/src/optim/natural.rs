//! Natural gradients: linear systems of which only products are known.

use crate::error::{Error, Result, check_finite};
use crate::policy::{Numbers, Structure, zeros_like};

/// x with A x = b, for a symmetric positive definite A of which `product` gives A v for any v: the method of conjugate gradients
/// (Hestenes & Stiefel 1952), from 0, for at most `iterations` products, or until |b − A x| ≤ `tolerance` |b|. Vectors are trees
/// of parameters.
///
/// With the Hessian of the mean divergence KL(stop(π) ‖ π) for A and a gradient for b it is the natural gradient, as TRPO has it
/// (10 iterations, 1e-10).
///
/// # Errors
///
/// Those of `product`; [`Error::Shape`] or [`Error::Name`] if what it gives is no tree like b; [`Error::NotFinite`] for a product
/// or a b that is not finite; [`Error::NotPositive`] where vᵀ A v < 0.
///
/// ```
/// use rl::{optim::conjugate_gradient, policy::Numbers};
/// let b = Numbers::from([("x".to_owned(), ndarray::arr1(&[1.0, 2.0]).into_dyn())]);
/// let product = |v: &Numbers| Ok(v.iter().map(|(name, v)| (name.clone(), v * 4.0)).collect());
/// let x = conjugate_gradient(product, &b, 10, 1e-10)?;
/// assert_eq!(x["x"], ndarray::arr1(&[0.25, 0.5]).into_dyn());
/// # Ok::<(), rl::error::Error>(())
/// ```
pub fn conjugate_gradient(
    mut product: impl FnMut(&Numbers) -> Result<Numbers>,
    b: &Numbers,
    iterations: usize,
    tolerance: f64,
) -> Result<Numbers> {
    let structure = Structure::of(b);
    let mut x = zeros_like(b);
    let mut residual = b.clone();
    let mut direction = b.clone();
    let mut square = finite("the right-hand side", dot(&residual, &residual))?;
    let enough = tolerance * tolerance * square;
    for iteration in 0..iterations {
        if square <= enough {
            break;
        }
        let along = product(&direction)?;
        structure.check("a product", &along)?;
        let curvature = finite(&format!("the curvature in iteration {iteration}"), dot(&direction, &along))?;
        if curvature < 0.0 {
            return Err(Error::NotPositive(curvature));
        }
        if curvature == 0.0 {
            // Along what A maps to 0 there is nothing to find.
            break;
        }
        let step = square / curvature;
        add(&mut x, step, &direction);
        add(&mut residual, -step, &along);
        let next = finite(&format!("the residual after iteration {iteration}"), dot(&residual, &residual))?;
        for (direction, residual) in direction.values_mut().zip(residual.values()) {
            direction.zip_mut_with(residual, |d, &r| *d = r + *d * (next / square));
        }
        square = next;
    }
    Ok(x)
}

/// Σ of the products of entries, of leaves of the same name.
///
/// Panics unless both have the same names and shapes.
#[track_caller]
pub fn dot(a: &Numbers, b: &Numbers) -> f64 {
    expect_alike("dot", a, b);
    a.iter().flat_map(|(name, a)| a.iter().zip(&b[name])).map(|(a, b)| a * b).sum()
}

/// `tree` += `factor` · `change`, in place, each leaf by that of the same name.
///
/// Panics unless both have the same names and shapes.
#[track_caller]
pub fn add(tree: &mut Numbers, factor: f64, change: &Numbers) {
    expect_alike("add", tree, change);
    tree.iter_mut().for_each(|(name, array)| array.scaled_add(factor, &change[name]));
}

#[track_caller]
fn expect_alike(operation: &str, a: &Numbers, b: &Numbers) {
    let shapes =
        |tree: &Numbers| tree.iter().map(|(name, array)| format!("{name} {:?}", array.shape())).collect::<Vec<_>>();
    let alike = a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| a.shape() == b.shape()));
    assert!(alike, "{operation}: the trees differ: {} and {}", shapes(a).join(", "), shapes(b).join(", "));
}

fn finite(what: &str, value: f64) -> Result<f64> {
    check_finite([&value], |_| what.to_owned()).map(|()| value)
}
