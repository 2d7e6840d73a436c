//! What a linear-quadratic problem is worth under a linear policy, on a tape: exact, and so are its derivatives of every order.

use ad::{Tape, Var};
use ndarray::{Array1, Array2, ArrayView1, Axis, array, concatenate, s};

use super::LinearQuadratic;
use crate::decay::Decay;
use crate::env::Environment;
use crate::error::{Error, Result, check_discount, check_finite};
use crate::policy::{self, Dist, Numbers, Params, Policy, check_spaces};
use crate::rollout::check_shape;

/// x ↦ xᵀ M x + vᵀ x + c for x in ℝⁿ. Of M only the symmetric part counts.
///
/// What a linear-quadratic problem is worth is one of these, and so are the critics that can be judged exactly in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Quadratic {
    /// M, `[n, n]`.
    pub matrix: Array2<f64>,
    /// v, `[n]`.
    pub linear: Array1<f64>,
    /// c.
    pub constant: f64,
}

impl Quadratic {
    /// Its value at a point, `[n]`.
    ///
    /// Panics for a point of another size.
    #[track_caller]
    pub fn at(&self, x: ArrayView1<'_, f64>) -> f64 {
        super::quadratic(x, &self.matrix) + self.linear.dot(&x) + self.constant
    }

    /// An error, in the name of `what`, unless it is a finite function on ℝⁿ of this n.
    pub(crate) fn check(&self, what: &'static str, size: usize) -> Result<()> {
        check_shape(what, self.matrix.shape(), &[size, size])?;
        check_shape(what, self.linear.shape(), &[size])?;
        let all = self.matrix.iter().chain(&self.linear).chain([&self.constant]);
        check_finite(all, |_| format!("a coefficient of {what}"))
    }

    pub(crate) fn record(&self, tape: &Tape) -> QuadraticVars {
        QuadraticVars {
            matrix: tape.constant(&self.matrix),
            linear: tape.constant(self.linear.clone().insert_axis(Axis(0))),
            constant: tape.constant(array![[self.constant]]),
        }
    }
}

/// A [`Quadratic`] on a tape: x M xᵀ + x vᵀ + c of rows x.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuadraticVars {
    /// `[n, n]`.
    matrix: Var,
    /// `[1, n]`.
    linear: Var,
    /// `[1, 1]`.
    constant: Var,
}

impl QuadraticVars {
    /// Its values at points `[…, n]`, `[…]`.
    #[track_caller]
    pub fn at(&self, points: Var) -> Var {
        let last = points.shape().len() - 1;
        let form = (points.matmul(self.matrix) * points).sum_axes(&[last]);
        form + (points * self.linear.reshape(&[self.linear.size()])).sum_axes(&[last]) + self.constant.sum()
    }

    /// x ↦ E of it at x C + g + e, where e is of mean 0 and has the covariance `spread`, `[n, n]`: of C `[m, n]` and g `[1, n]`.
    fn after(&self, c: Var, g: Var, spread: Var) -> Self {
        let twice = self.matrix + self.matrix.t();
        Self {
            matrix: c.matmul(self.matrix).matmul(c.t()),
            linear: (g.matmul(twice) + self.linear).matmul(c.t()),
            constant: g.matmul(self.matrix).matmul(g.t())
                + g.matmul(self.linear.t())
                + self.constant
                + (self.matrix * spread).sum(),
        }
    }

    fn times(&self, x: Decay) -> Self {
        Self { matrix: self.matrix * x, linear: self.linear * x, constant: self.constant * x }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            matrix: self.matrix + other.matrix,
            linear: self.linear + other.linear,
            constant: self.constant + other.constant,
        }
    }

    fn value(&self) -> Quadratic {
        let [matrix, linear, constant] = [self.matrix, self.linear, self.constant].map(|var| var.value());
        Quadratic {
            matrix: matrix.into_dimensionality().expect("two axes"),
            linear: linear.into_iter().collect(),
            constant: constant.sum(),
        }
    }
}

/// A [`LinearQuadratic`] on a tape.
#[derive(Clone, Copy, Debug)]
pub struct LinearProcess {
    /// The next state is x·`transition` and noise, of x = (s, a): Aᵀ above Bᵀ, `[n + m, n]`.
    transition: Var,
    /// −(sᵀQs + aᵀRa), a function of (s, a).
    reward: QuadraticVars,
    /// σ² I, `[n, n]`.
    noise: Var,
    /// σ_0² I, `[n, n]`.
    start: Var,
}

/// a = s K + k and noise of these variances: a policy whose value is known.
struct LinearPolicy {
    /// `[n, m]`.
    gain: Var,
    /// `[1, m]`.
    shift: Var,
    /// diag σ², `[m, m]`.
    variance: Var,
}

impl LinearPolicy {
    /// (s, a) given s: x ↦ x C + g and noise of a covariance.
    fn with_state(&self) -> [Var; 3] {
        let (states, actions) = (self.gain.shape()[0], self.gain.shape()[1]);
        let identity = self.gain.constant(Array2::<f64>::eye(states));
        [
            Var::concat(&[identity, self.gain], 1),
            self.shift.pad(1, states, 0),
            self.variance.pad(0, states, 0).pad(1, states, 0).reshape(&[states + actions, states + actions]),
        ]
    }
}

impl LinearQuadratic {
    /// Records the problem as constants of a tape.
    pub fn record(&self, tape: &Tape) -> LinearProcess {
        let (states, actions) = self.b.dim();
        let mut costs = Array2::zeros((states + actions, states + actions));
        costs.slice_mut(s![..states, ..states]).assign(&-&self.q);
        costs.slice_mut(s![states.., states..]).assign(&-&self.r);
        let reward = Quadratic { matrix: costs, linear: Array1::zeros(states + actions), constant: 0.0 };
        let transition = concatenate![Axis(0), self.a.t(), self.b.t()];
        let isotropic = |deviation: f64| tape.constant(Array2::<f64>::eye(states) * (deviation * deviation));
        LinearProcess {
            transition: tape.constant(transition),
            reward: reward.record(tape),
            noise: isotropic(self.noise),
            start: isotropic(self.start),
        }
    }

    /// What `horizon` steps from a state are worth under a policy with these parameters, as a function of that state.
    ///
    /// # Errors
    ///
    /// [`Error::NotLinear`] unless the policy is N(K s + k, diag σ²).
    ///
    /// ```
    /// use ndarray::{arr1, array};
    /// use rl::{env::LinearQuadratic, policy::{Network, Policy}, rollout::Space, stream::stream};
    /// let problem = LinearQuadratic::new(array![[0.8]], array![[1.0]], array![[1.0]], array![[0.5]])?;
    /// let policy = Network::new(&Space::vector(1)).normal(1);
    /// let value = problem.value(&policy, &policy.init(&mut stream(0, 0)), 0.9, 3)?;
    /// assert!(value.at(arr1(&[1.0]).view()) < value.at(arr1(&[0.0]).view()));
    /// # Ok::<(), rl::error::Error>(())
    /// ```
    pub fn value(&self, policy: &dyn Policy, theta: &Numbers, gamma: f64, horizon: usize) -> Result<Quadratic> {
        check_discount(gamma)?;
        self.linear_policy(policy, theta)?;
        let tape = Tape::new();
        let (process, params) = (self.record(&tape), policy::record(theta, &tape));
        Ok(process.value_from(policy, &params, gamma.into(), horizon, None).value())
    }

    /// Q(s, a) = r(s, a) + γ E V(s′), a function of (s, a) in one row, `[n + m]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if V is not a function of states.
    pub fn action_values(&self, values: &Quadratic, gamma: f64) -> Result<Quadratic> {
        values.check("the values", self.a.nrows())?;
        let tape = Tape::new();
        let (process, values) = (self.record(&tape), values.record(&tape));
        Ok(process.action_values(&values, Decay::Number(gamma)).value())
    }

    /// The policy as numbers.
    ///
    /// # Errors
    ///
    /// [`Error::NotLinear`] unless it is N(s K + k, diag σ²); [`Error::Space`] unless it is for these states and actions.
    pub(crate) fn linear_policy(&self, policy: &dyn Policy, theta: &Numbers) -> Result<LinearNumbers> {
        let not = |what: &str| Err(Error::NotLinear { what: what.to_owned() });
        let [seen, done] = self.spaces();
        check_spaces(policy, [&seen, &done])?;
        if !policy.memory().is_empty() {
            return not("remembers what was before");
        }
        let (states, actions) = self.b.dim();
        let tape = Tape::new();
        let params = policy::record(theta, &tape);
        // 0 and the unit vectors say which linear function it is, points where all components are mixed whether it is one.
        let mixed = Array2::from_shape_fn((3, states), |(i, j)| ((i + 2 * j + 1) as f64 * 0.7).sin() * 3.0);
        let points = concatenate![Axis(0), probes(states), mixed];
        let Dist::Normal(normal) = policy.along(&params, tape.constant(&points).into()) else {
            return not("has no normal distributions");
        };
        let [mean, deviation] = [normal.mean(), normal.log_std().exp()]
            .map(|var| var.value().into_shape_with_order((points.nrows(), actions)).expect("an action for each state"));
        let shift = mean.row(0).to_owned();
        let gain = &mean.slice(s![1..=states, ..]) - &shift;
        let expected = points.dot(&gain) + &shift;
        let size = mean.iter().chain(&expected).fold(1.0, |largest: f64, x| largest.max(x.abs()));
        if !(&mean - &expected).iter().all(|difference| difference.abs() <= 1e-12 * size) {
            return not("has means that are not linear in the state, or not finite");
        }
        let deviation_at = deviation.row(0);
        if !deviation.rows().into_iter().all(|row| row == deviation_at) {
            return not("has standard deviations that depend on the state");
        }
        if let Some(&wrong) = deviation_at.iter().find(|&&x| !(x > 0.0 && x.is_finite())) {
            return Err(Error::Deviation(wrong));
        }
        Ok(LinearNumbers { gain, shift, deviation: deviation_at.to_owned() })
    }
}

/// a ~ N(s K + k, diag σ²).
pub(crate) struct LinearNumbers {
    /// K, `[n, m]`.
    pub gain: Array2<f64>,
    /// k, `[m]`.
    pub shift: Array1<f64>,
    /// σ, `[m]`.
    pub deviation: Array1<f64>,
}

/// 0 and the unit vectors, `[n + 1, n]`.
fn probes(states: usize) -> Array2<f64> {
    concatenate![Axis(0), Array2::zeros((1, states)), Array2::eye(states)]
}

impl LinearProcess {
    /// The value of `horizon` steps from the start distribution, a scalar: a function of the parameters.
    ///
    /// The policy is taken to be N(K s + k, diag σ²); of another one only what it does at 0 and at the unit vectors is seen.
    #[track_caller]
    pub fn value(&self, policy: &dyn Policy, theta: &Params, gamma: impl Into<Decay>, horizon: usize) -> Var {
        self.start_value(&self.value_from(policy, theta, gamma.into(), horizon, None))
    }

    /// E V(s_0), a scalar.
    pub(crate) fn start_value(&self, values: &QuadraticVars) -> Var {
        (values.matrix * self.start).sum() + values.constant.sum()
    }

    /// What `horizon` steps from a state are worth, and what is at their end, `terminal`.
    ///
    /// V ← E_a[r(s, a) + γ E V(s′)].
    pub(crate) fn value_from(
        &self,
        policy: &dyn Policy,
        theta: &Params,
        gamma: Decay,
        horizon: usize,
        terminal: Option<QuadraticVars>,
    ) -> QuadraticVars {
        let policy = self.linear(policy, theta);
        let nothing = |var: Var| var.full_like(0.0);
        let zero = QuadraticVars {
            matrix: nothing(self.noise),
            linear: nothing(self.noise.slice(0, 0..1)),
            constant: nothing(self.reward.constant),
        };
        let last = terminal.unwrap_or(zero);
        (0..horizon).fold(last, |values, _| self.expected(&policy, &self.action_values(&values, gamma)))
    }

    /// E_{a ~ π} Q(s, a), a function of s.
    pub(crate) fn expected_action_values(
        &self,
        policy: &dyn Policy,
        theta: &Params,
        action_values: &QuadraticVars,
    ) -> QuadraticVars {
        self.expected(&self.linear(policy, theta), action_values)
    }

    fn expected(&self, policy: &LinearPolicy, action_values: &QuadraticVars) -> QuadraticVars {
        let [c, g, spread] = policy.with_state();
        action_values.after(c, g, spread)
    }

    fn action_values(&self, values: &QuadraticVars, gamma: Decay) -> QuadraticVars {
        let nowhere = self.transition.slice(0, 0..1).full_like(0.0);
        let ahead = values.after(self.transition, nowhere, self.noise);
        self.reward.plus(&ahead.times(gamma))
    }

    /// K, k and σ², as what the policy does at 0 and at the unit vectors.
    #[track_caller]
    fn linear(&self, policy: &dyn Policy, theta: &Params) -> LinearPolicy {
        let states = self.noise.shape()[0];
        let actions = self.transition.shape()[0] - states;
        let points = self.noise.constant(probes(states));
        let Dist::Normal(normal) = policy.along(theta, points.into()) else {
            panic!("the actions of a linear-quadratic problem are normal vectors, but the policy's are not")
        };
        let shift = normal.mean().slice(0, 0..1);
        let gain = normal.mean().slice(0, 1..states + 1) - shift.broadcast_to(&[states, actions]);
        let variance = (normal.log_std().slice(0, 0..1) * 2.0).exp();
        let identity = shift.constant(Array2::<f64>::eye(actions));
        LinearPolicy { gain, shift, variance: identity * variance }
    }
}
