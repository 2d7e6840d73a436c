//! Distributions over actions, on the tape: log-probability, entropy, divergence, and sampling.

use ndarray::{Array, Dimension, RemoveAxis};

mod categorical;
mod normal;

pub use categorical::Categorical;
pub use normal::Normal;

/// e^x / Σ e^x along the last axis, of numbers.
pub fn softmax<D: Dimension + RemoveAxis>(logits: &Array<f64, D>) -> Array<f64, D> {
    let mut probabilities = logits.clone();
    for mut row in probabilities.rows_mut() {
        let largest = row.fold(f64::NEG_INFINITY, |largest, &x| largest.max(x));
        row.mapv_inplace(|x| (x - largest).exp());
        row /= row.sum();
    }
    probabilities
}
