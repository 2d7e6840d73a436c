//! Linear dynamics and a quadratic cost: control whose values are known in closed form (`value.rs`), and whose expectations are
//! sums over a few trajectories (`quadrature.rs`).

use ndarray::{Array1, Array2, ArrayView1};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{Action, Environment, Failure, Slot, Step};
use crate::error::{Error, Result, check_deviation};
use crate::rollout::{Space, check_shape};

mod quadrature;
mod value;

pub(crate) use value::{LinearNumbers, QuadraticVars};
pub use value::{LinearProcess, Quadratic};

/// The linear-quadratic problem: states s in ℝⁿ, actions a in ℝᵐ,
///
/// ```text
/// s_0 ~ N(0, σ_0² I)      s' = A s + B a + σ ε,  ε ~ N(0, I)      r = −(sᵀ Q s + aᵀ R a)
/// ```
///
/// It is never terminated. Of Q and R only the symmetric part counts.
///
/// For linear policies a ~ N(K s, Σ) the value of H steps is −(sᵀ P_H s + c_H), with P_0 = 0, c_0 = 0 and, F being A + B K,
/// P ← Q + Kᵀ R K + Fᵀ P F and c ← c + tr(R Σ) + tr(P (B Σ Bᵀ + σ² I)), with the P before.
///
/// ```
/// use ndarray::array;
/// use rl::env::LinearQuadratic;
///
/// // A mass on a line, pushed: position and velocity.
/// let mass = LinearQuadratic::new(
///     array![[1.0, 0.1], [0.0, 1.0]],
///     array![[0.0], [0.1]],
///     array![[1.0, 0.0], [0.0, 0.0]],
///     array![[0.1]],
/// )?
/// .with_noise(0.01)?;
/// # let _ = mass;
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct LinearQuadratic {
    a: Array2<f64>,
    b: Array2<f64>,
    q: Array2<f64>,
    r: Array2<f64>,
    noise: f64,
    start: f64,
    state: Array1<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    a: Array2<f64>,
    b: Array2<f64>,
    q: Array2<f64>,
    r: Array2<f64>,
    noise: f64,
    start: f64,
    state: Array1<f64>,
}

impl TryFrom<Saved> for LinearQuadratic {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<Self> {
        let Saved { a, b, q, r, noise, start, state } = saved;
        let whole = Self::new(a, b, q, r)?.with_noise(noise)?.with_start(start)?;
        check_shape("state", state.shape(), whole.state.shape())?;
        Ok(Self { state, ..whole })
    }
}

/// A random A's largest eigenvalue is at most this, in modulus.
const SPECTRAL_RADIUS: f64 = 0.9;

impl LinearQuadratic {
    /// With A `[n, n]`, B `[n, m]`, Q `[n, n]` and R `[m, m]`; s_0 ~ N(0, I), and no noise.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] if n or m is 0; [`Error::Shape`], where B sets n and m; [`Error::NotFinite`] names an entry.
    pub fn new(a: Array2<f64>, b: Array2<f64>, q: Array2<f64>, r: Array2<f64>) -> Result<Self> {
        let (states, actions) = b.dim();
        match (states, actions) {
            (0, _) => return Err(Error::Empty { what: "components of a state" }),
            (_, 0) => return Err(Error::Empty { what: "components of an action" }),
            _ => {}
        }
        for (name, matrix, size) in [("A", &a, states), ("Q", &q, states), ("R", &r, actions)] {
            check_shape(name, matrix.shape(), &[size, size])?;
        }
        for (name, matrix) in [("A", &a), ("B", &b), ("Q", &q), ("R", &r)] {
            if let Some(((row, column), &value)) = matrix.indexed_iter().find(|(_, x)| !x.is_finite()) {
                return Err(Error::NotFinite { what: format!("{name}[{row}, {column}]"), value });
            }
        }
        Ok(Self { a, b, q, r, noise: 0.0, start: 1.0, state: Array1::zeros(states) })
    }

    /// The same with noise of this standard deviation σ in each component of the state.
    ///
    /// # Errors
    ///
    /// [`Error::Deviation`] unless it is finite and not negative.
    pub fn with_noise(self, deviation: f64) -> Result<Self> {
        check_deviation(deviation)?;
        Ok(Self { noise: deviation, ..self })
    }

    /// The same with s_0 ~ N(0, σ_0² I).
    ///
    /// # Errors
    ///
    /// [`Error::Deviation`] unless it is finite and not negative.
    pub fn with_start(self, deviation: f64) -> Result<Self> {
        check_deviation(deviation)?;
        Ok(Self { start: deviation, ..self })
    }

    /// A random problem that is stable if nothing is done: A and B of normal entries, A scaled such that no eigenvalue is beyond
    /// 0.9 in modulus (and the largest is near), Q and R identities, σ = 0.1.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] if there are no components of states or actions.
    pub fn random(states: usize, actions: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let mut normal = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || StandardNormal.sample(rng));
        let (mut a, b): (Array2<f64>, Array2<f64>) = (normal(states, states), normal(states, actions));
        a *= SPECTRAL_RADIUS / spectral_radius(&a);
        Self::new(a, b, Array2::eye(states), Array2::eye(actions))?.with_noise(0.1)
    }

    /// A, B, Q and R.
    pub fn matrices(&self) -> [&Array2<f64>; 4] {
        [&self.a, &self.b, &self.q, &self.r]
    }

    /// The standard deviations σ_0 of s_0's components and σ of the noise's.
    pub fn deviations(&self) -> [f64; 2] {
        [self.start, self.noise]
    }
}

/// At least the largest modulus of a matrix's eigenvalues, and near it: ‖A^k‖^(1/k) at k = 1024 (Gelfand), in the Frobenius norm.
fn spectral_radius(matrix: &Array2<f64>) -> f64 {
    let norm = |power: &Array2<f64>| power.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (mut power, mut logarithm, mut exponent) = (matrix.clone(), 0.0, 1.0);
    for _ in 0..10 {
        // The power itself may be beyond the range of numbers: its norm is kept apart, as a logarithm of A's.
        let size = norm(&power);
        logarithm += size.ln() / exponent;
        power /= size;
        power = power.dot(&power);
        exponent *= 2.0;
    }
    (logarithm + norm(&power).ln() / exponent).exp()
}

/// xᵀ M x.
fn quadratic(x: ArrayView1<'_, f64>, matrix: &Array2<f64>) -> f64 {
    x.dot(&matrix.dot(&x))
}

/// Independent normal numbers of this deviation.
fn normal(count: usize, deviation: f64, rng: &mut impl Rng) -> Array1<f64> {
    Array1::from_shape_simple_fn(count, || deviation * Distribution::<f64>::sample(&StandardNormal, rng))
}

impl Environment for LinearQuadratic {
    fn spaces(&self) -> [Space; 2] {
        let (states, actions) = self.b.dim();
        [Space::vector(states), Space::vector(actions)]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        self.state = normal(self.state.len(), self.start, rng);
        observation.put(self.state.as_slice().expect("one after another"));
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        let action = ArrayView1::from(action.vector());
        let cost = quadratic(self.state.view(), &self.q) + quadratic(action, &self.r);
        self.state = self.a.dot(&self.state) + self.b.dot(&action) + normal(self.state.len(), self.noise, rng);
        observation.put(self.state.as_slice().expect("one after another"));
        Ok(Step { reward: -cost, terminated: false, truncated: false })
    }
}
