//! Lengths and norms of small arrays, as the statements measure with them.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::truth::max_abs;

/// The Euclidean length ‖x‖₂ of all entries (of a matrix: its Frobenius norm).
pub fn length<'a>(x: impl IntoIterator<Item = &'a f64>) -> f64 {
    x.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖A‖, the largest ‖A x‖₂ over ‖x‖₂ = 1: the root of the largest eigenvalue of AᵀA, by Jacobi's rotations. NaN if an entry is.
///
/// ```
/// use ndarray::array;
/// assert!((rl::truth::bounds::operator_norm(array![[3.0, 0.0], [4.0, 0.0]].view()) - 5.0).abs() < 1e-15);
/// ```
pub fn operator_norm(a: ArrayView2<'_, f64>) -> f64 {
    let scale = max_abs(a);
    if scale == 0.0 || !scale.is_finite() {
        return scale;
    }
    // Of numbers up to 1, whose squares are in range.
    let a = &a / scale;
    let mut square = a.t().dot(&a);
    let size = square.nrows();
    // Each sweep squares what is left beside the diagonal; ten are many.
    for _ in 0..30 {
        let beside: f64 = square.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, x)| x * x).sum();
        if beside == 0.0 {
            break;
        }
        for i in 0..size {
            for j in i + 1..size {
                rotate(&mut square, i, j);
            }
        }
    }
    scale * square.diag().fold(0.0, |largest: f64, &x| largest.max(x)).sqrt()
}

/// The rotation of axes i and j that makes a symmetric matrix's entry (i, j) zero.
fn rotate(matrix: &mut Array2<f64>, i: usize, j: usize) {
    let beside = matrix[[i, j]];
    if beside == 0.0 {
        return;
    }
    let cotangent = (matrix[[j, j]] - matrix[[i, i]]) / (2.0 * beside);
    let tangent = cotangent.signum() / (cotangent.abs() + cotangent.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for axis in [Axis(0), Axis(1)] {
        let (x, y) = (matrix.index_axis(axis, i).to_owned(), matrix.index_axis(axis, j).to_owned());
        matrix.index_axis_mut(axis, i).assign(&(&x * cosine - &y * sine));
        matrix.index_axis_mut(axis, j).assign(&(&x * sine + &y * cosine));
    }
    matrix[[i, j]] = 0.0;
    matrix[[j, i]] = 0.0;
}

/// x yᵀ.
pub(super) fn outer(x: &Array1<f64>, y: &Array1<f64>) -> Array2<f64> {
    x.view().insert_axis(Axis(1)).dot(&y.view().insert_axis(Axis(0)))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_norm_of_a_matrix_is_that_of_its_singular_values() {
        // (Eigenvalues 1, 3 and 4 of a symmetric one; a rotation; something of rank 1; nothing.)
        let symmetric = array![[2.0, -1.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 0.0, -4.0]];
        let (sine, cosine) = 0.3_f64.sin_cos();
        for (matrix, expected) in [
            (symmetric, 4.0),
            (array![[cosine, -sine], [sine, cosine]], 1.0),
            (array![[1e200, 2e200], [2e200, 4e200]], 5e200),
            (array![[0.0, 0.0], [0.0, 0.0]], 0.0),
        ] {
            let found = operator_norm(matrix.view());
            assert!((found - expected).abs() <= 1e-14 * expected, "{matrix}: {found}");
        }
        assert!(operator_norm(array![[1.0, f64::NAN]].view()).is_nan());
    }
}
