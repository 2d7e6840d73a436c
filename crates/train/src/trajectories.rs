//! What was sampled in one task at one step, as an algorithm sees it: numbers off the tape ([`Trajectories`]), and on it
//! ([`Sampled`]) a function of the parameters that it is differentiated by.

use ad::{DType, Handle, Tape, Value, Var};
use ndarray::Array2;
use rl::batch::{Batch, Form};
use rl::error::Result;
use rl::objective::{Deep, Estimator, allow_biased};
use rl::policy::{Dist, Params, Policy};
use rl::rollout::{Episodes, Rollout, Space};

/// How many trajectories there are, of what, and how they count: what a program is compiled for.
#[derive(Clone, Debug)]
pub struct Shape {
    /// N.
    pub trajectories: usize,
    /// H.
    pub horizon: usize,
    /// What observations and actions are.
    pub spaces: [Space; 2],
    /// The type that is computed in.
    pub dtype: DType,
    /// γ.
    pub gamma: f64,
    /// How surrogates are written.
    pub form: Form,
    /// Whether they are means over steps, and not over trajectories.
    pub over_steps: bool,
}

/// Trajectories on a tape, and what was known when they were sampled. All are inputs.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The trajectories.
    pub episodes: Episodes,
    /// The baseline's V(s_t), `[N, H + 1]`.
    pub values: Var,
    /// What describes the distributions that they were sampled from.
    heads: Vec<Var>,
}

/// Values for the inputs of a [`Recorded`], in the order of its handles.
pub type Trajectories = Vec<Value<'static>>;

impl Shape {
    /// Any trajectories of this shape, to record with.
    ///
    /// # Errors
    ///
    /// Those of [`Rollout::zeros_in`].
    pub fn blank(&self) -> Result<Rollout> {
        let [observation, action] = &self.spaces;
        Rollout::zeros_in(self.trajectories, self.horizon, [observation, action])
    }

    /// Records inputs for trajectories of this shape, sampled by the policy at any parameters.
    ///
    /// # Errors
    ///
    /// Those of [`blank`](Self::blank).
    #[track_caller]
    pub fn record(&self, tape: &Tape, policy: &dyn Policy, theta: &Params) -> Result<Recorded> {
        let Self { trajectories, horizon, dtype, .. } = *self;
        let input = |name: &str, shape: &[usize]| tape.input(name, Value::zeros(dtype, shape));
        let episodes = self.blank()?.record_as(tape, dtype);
        // (Nobody reads the distributions themselves: they are recorded, and never run.)
        let described = policy.along(theta, episodes.acted_on()).heads();
        let heads = described.iter().map(|head| input("head", &head.shape())).collect();
        let values = input("values", &[trajectories, horizon + 1]);
        Ok(Recorded { episodes, values, heads })
    }

    /// Records inputs for trajectories before, between and after `inner_steps` steps.
    ///
    /// # Errors
    ///
    /// Those of [`blank`](Self::blank).
    pub fn record_each(
        &self,
        inner_steps: usize,
        tape: &Tape,
        policy: &dyn Policy,
        theta: &Params,
    ) -> Result<Vec<Recorded>> {
        (0..=inner_steps).map(|_| self.record(tape, policy, theta)).collect()
    }

    /// What was sampled, with the baseline's values, `[N, H + 1]`. The heads of what sampled them are to follow.
    pub fn trajectories(&self, rollout: &Rollout, values: &Array2<f64>) -> Trajectories {
        let columns = rollout.values_as(self.dtype).into_iter().chain([Value::from(values).rounded(self.dtype)]);
        columns.map(Value::owned).collect()
    }
}

impl Recorded {
    /// The inputs, without the heads of what sampled them.
    pub fn handles(&self) -> Vec<Handle> {
        self.episodes.handles().into_iter().chain([self.values.into()]).collect()
    }

    /// All inputs.
    pub fn handles_with_heads(&self) -> Vec<Handle> {
        self.handles().into_iter().chain(self.heads.iter().map(|&head| head.into())).collect()
    }

    /// The trajectories under the policy with parameters θ that has just sampled them.
    #[track_caller]
    pub fn fresh(&self, shape: &Shape, policy: &dyn Policy, theta: &Params) -> Sampled {
        let dist = policy.along(theta, self.episodes.acted_on());
        Sampled::new(shape, self.episodes, dist, dist, Some(self.values))
    }

    /// The trajectories under the policy with parameters θ.
    #[track_caller]
    pub fn under(&self, shape: &Shape, policy: &dyn Policy, theta: &Params) -> Sampled {
        let dist = policy.along(theta, self.episodes.acted_on());
        Sampled::new(shape, self.episodes, dist, dist.with_heads(&self.heads), Some(self.values))
    }
}

/// Trajectories under a policy that is a function of the parameters.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// The trajectories.
    pub episodes: Episodes,
    /// π_θ at each step, `[N, H]`.
    pub dist: Dist,
    /// What sampled them.
    pub sampled_by: Dist,
    /// As an estimator sees them that takes them for the policy's own, at any θ.
    pub on_policy: Batch,
    /// As one sees them that weighs them by π_θ over what sampled them.
    pub off_policy: Batch,
    form: Form,
    over_steps: bool,
}

impl Sampled {
    /// Trajectories under `dist`, sampled by `sampled_by`, with a baseline's values, `[N, H + 1]`.
    #[track_caller]
    pub fn new(shape: &Shape, episodes: Episodes, dist: Dist, sampled_by: Dist, values: Option<Var>) -> Self {
        let sampled_by = sampled_by.stop_gradient();
        let batch = Batch::new(episodes, dist.log_prob(episodes.actions), shape.gamma);
        let on_policy = values.map_or(batch, |values| batch.with_critic(values)).in_form(shape.form);
        let off_policy = on_policy.off_policy(sampled_by.log_prob(episodes.actions));
        Self { episodes, dist, sampled_by, on_policy, off_policy, form: shape.form, over_steps: shape.over_steps }
    }

    /// An estimator's surrogate of one of the two batches, in the form that the data are in: a scalar, without limits on its
    /// derivatives.
    #[track_caller]
    pub fn surrogate(&self, estimator: &dyn Estimator, batch: &Batch) -> Var {
        let deep = Deep { estimator, form: self.form, over_steps: self.over_steps };
        allow_biased(&deep).surrogate(batch)
    }

    /// V̂, the mean of Σ_t γ^t r_t, in the unit that surrogates are in: a number.
    #[track_caller]
    pub fn value(&self) -> Var {
        let value = self.on_policy.in_form(Form::VALUE);
        value.discounted_sum(value.rewards()).mean().stop_gradient() * self.unit()
    }

    /// What surrogates multiply a value by: one over the mean length of trajectories if they are means over steps, over the
    /// deviation of advantages if these are normalised.
    #[track_caller]
    pub fn unit(&self) -> Var {
        let deviation = self.on_policy.credit_unit(self.on_policy.advantages()).stop_gradient();
        match self.over_steps {
            true => self.episodes.trajectories() as f64 / (self.steps_taken() * deviation),
            false => 1.0 / deviation,
        }
    }

    /// Σ_t x_t as surrogates count steps: the mean over all steps, or over trajectories the sum weighted by γ^t.
    #[track_caller]
    pub fn over_steps(&self, x: Var) -> Var {
        let x = self.on_policy.steps.on_steps(x);
        match self.over_steps {
            true => (x * self.on_policy.discounts()).sum() / self.steps_taken(),
            false => self.on_policy.discounted_sum(x).mean(),
        }
    }

    /// The mean of x, `[N, H]`, over all steps, a scalar.
    #[track_caller]
    pub fn mean(&self, x: Var) -> Var {
        self.on_policy.steps.on_steps(x).sum() / self.steps_taken()
    }

    /// A_t as it is credited, `[N, H]`: numbers.
    #[track_caller]
    pub fn advantages(&self) -> Var {
        self.on_policy.credit(self.on_policy.advantages()).stop_gradient()
    }

    /// The mean over steps of KL(what sampled them ‖ π_θ), a scalar.
    #[track_caller]
    pub fn kl(&self) -> Var {
        self.mean(self.sampled_by.kl(&self.dist))
    }

    /// The Hessian of the mean divergence KL(π_stop(θ) ‖ π_θ) times v, `[…]` like θ. There is no first derivative there, so it is
    /// Jᵀ F J v, J the derivative of the heads by θ and F the Fisher matrix by the heads: a product forwards through what θ is made
    /// by, one with a matrix of blocks, and one backwards, for 0.6 of the time that the Hessian's own takes through inner steps.
    #[track_caller]
    pub fn curvature(&self, theta: &Params, v: &Params) -> Params {
        let heads = self.dist.heads();
        let flat = Var::concat(&heads.iter().map(|head| head.reshape(&[head.size()])).collect::<Vec<_>>(), 0);
        let fixed = flat.stop_gradient();
        let mut start = 0;
        let parts = heads.iter().map(|head| {
            let end = start + head.size();
            let part = fixed.slice(0, start..end).reshape(&head.shape());
            start = end;
            part
        });
        let dist = self.dist.with_heads(&parts.collect::<Vec<_>>());
        let divergence = self.mean(dist.stop_gradient().kl(&dist));
        flat.vjp(theta, divergence.hvp(fixed, flat.jvp(theta, v)))
    }

    /// Σ log π_θ(a_t|s_t) over all steps of all trajectories, a scalar.
    #[track_caller]
    pub fn log_prob(&self) -> Var {
        self.on_policy.log_prob().sum()
    }

    fn steps_taken(&self) -> Var {
        self.on_policy.steps.taken.sum()
    }
}
