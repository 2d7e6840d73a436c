//! Discounts and decays: numbers in [0, 1], or scalars of the tape.

use std::ops::{Mul, Sub};

use ad::{Term, Var};
use ndarray::Array1;

use crate::error::{check_decay, expect};

/// A discount γ or a decay λ: a number in [0, 1], or a scalar of the tape, to be differentiated by (as meta-gradients of both
/// are, Xu et al. 2018). The range of the latter is its user's.
#[derive(Clone, Copy, Debug)]
pub enum Decay {
    /// A number.
    Number(f64),
    /// A recorded scalar.
    Var(Var),
}

impl From<f64> for Decay {
    fn from(number: f64) -> Self {
        Decay::Number(number)
    }
}

impl From<Var> for Decay {
    fn from(var: Var) -> Self {
        Decay::Var(var)
    }
}

impl From<Decay> for Term {
    fn from(decay: Decay) -> Self {
        match decay {
            Decay::Number(number) => number.into(),
            Decay::Var(var) => var.into(),
        }
    }
}

impl Mul for Decay {
    type Output = Decay;
    #[track_caller]
    fn mul(self, other: Decay) -> Decay {
        match (self, other) {
            (Decay::Number(a), Decay::Number(b)) => (a * b).into(),
            (Decay::Var(a), b) => (a * b).into(),
            (a, Decay::Var(b)) => (b * a).into(),
        }
    }
}

impl Sub for Decay {
    type Output = Decay;
    #[track_caller]
    fn sub(self, other: Decay) -> Decay {
        match (self, other) {
            (Decay::Number(a), Decay::Number(b)) => (a - b).into(),
            (Decay::Var(a), b) => (a - b).into(),
            (a, Decay::Var(b)) => (-(b - a)).into(),
        }
    }
}

impl Decay {
    /// x^n.
    #[track_caller]
    pub(crate) fn power(self, n: usize) -> Decay {
        match self {
            Decay::Number(number) => number.powi(n as i32).into(),
            Decay::Var(var) => var.powf(n as f64).into(),
        }
    }

    /// 1, x, x², … up to the power `count` − 1, beside `like`: an array of its type, `[count]`.
    #[track_caller]
    pub(crate) fn powers(self, count: usize, like: Var) -> Var {
        match self {
            Decay::Number(number) => like.constant((0..count).map(|t| number.powi(t as i32)).collect::<Array1<f64>>()),
            Decay::Var(var) => var.pow(like.constant((0..count).map(|t| t as f64).collect::<Array1<f64>>())),
        }
    }

    /// Itself. Panics if it is a number outside [0, 1], or an array.
    #[track_caller]
    pub(crate) fn checked(self, operation: &str, name: &'static str) -> Self {
        match self {
            Decay::Number(number) => expect(operation, check_decay(name, number)),
            Decay::Var(var) => {
                let shape = var.shape();
                assert!(shape.is_empty(), "{operation}: {name} is an array of shape {shape:?}, but must be a scalar");
            }
        }
        self
    }
}
