//! A value network: fitted by Adam to the returns of all trajectories of an iteration, so that it is of use from the next one on.

use std::sync::Arc;

use ad::{DType, Handle, Program, Tape, Value};
use ndarray::Array2;
use rl::batch::Batch;
use rl::error::Result;
use rl::optim::{Optimiser, Rule};
use rl::policy::{self, Network, Numbers};
use rl::rollout::Rollout;

use crate::trajectories::Shape;

/// V(s) by a network with one output, in double precision.
#[derive(Clone, Debug)]
pub struct ValueNetwork {
    /// Its parameters.
    pub parameters: Numbers,
    /// How they follow from gradients.
    pub optimiser: Optimiser,
    /// How many steps are made with the trajectories of an iteration.
    pub epochs: usize,
    /// (w, observations) ↦ V, `[N, H + 1]`.
    values: Arc<Program>,
    /// (w, trajectories, V before the fit) ↦ mean square over the steps, and its gradient.
    fit: Arc<Program>,
}

impl ValueNetwork {
    /// For trajectories of this shape. λ of `shape.form` says how far ahead rewards count for the values it is fitted to, before V
    /// itself does.
    ///
    /// # Errors
    ///
    /// Those of [`Shape::blank`].
    pub fn new(network: &Network, parameters: Numbers, shape: &Shape, rule: Rule, epochs: usize) -> Result<Self> {
        let tape = Tape::new();
        let w = policy::record(&parameters, &tape);
        let episodes = shape.blank()?.record(&tape);
        let before = tape.input("values", Array2::<f64>::zeros((shape.trajectories, shape.horizon + 1)));
        let values = network.along(&w, episodes.observations).at(2, 0);
        let observations = [episodes.observations];
        let program = tape.compile(policy::handles(&w).into_iter().chain(observations), [values]);

        // (No estimator looks at what the policy did.)
        let batch = Batch::new(episodes, episodes.steps.rewards, shape.gamma).with_critic(before);
        let (here, _) = batch.values_here_and_next();
        let targets = here + batch.gae(shape.form.lambda);
        let errors = episodes.steps.on_steps(values.slice(1, 0..shape.horizon) - targets.stop_gradient());
        let loss = errors.square().sum() / episodes.steps.taken.sum();
        let inputs = policy::handles(&w).into_iter().chain(episodes.handles()).chain([Handle::from(before)]);
        let results = [loss].into_iter().chain(loss.grad(&w).into_values());
        let fit = tape.compile(inputs, results);
        Ok(Self { parameters, optimiser: Optimiser::new(rule), epochs, values: Arc::new(program), fit: Arc::new(fit) })
    }

    /// V(s_0) … V(s_H), `[N, H + 1]`.
    ///
    /// # Errors
    ///
    /// Those of the program.
    pub fn values(&self, rollout: &Rollout) -> Result<Array2<f64>> {
        let mut inputs = policy::values(&self.parameters);
        inputs.push(rollout.observations().view().rounded(DType::F64));
        let values = self.values.run(&inputs)?.swap_remove(0);
        Ok(values.into_dimensionality().expect("two axes"))
    }

    /// The mean square of what is wrong, and its gradient, one number behind another; with the values from before the fit.
    ///
    /// # Errors
    ///
    /// Those of the program.
    pub fn gradient(&self, rollout: &Rollout, before: &Array2<f64>) -> Result<Vec<f64>> {
        let mut inputs = policy::values(&self.parameters);
        inputs.extend(rollout.values());
        inputs.push(Value::from(before));
        Ok(self.fit.run(&inputs)?.iter().flatten().copied().collect())
    }

    /// A step by what [`gradient`](Self::gradient) gave.
    ///
    /// # Errors
    ///
    /// Those of [`Optimiser::step_tree`].
    pub fn step(&mut self, gradient: &[f64]) -> Result<()> {
        let gradient = policy::from_flat(&self.parameters, &gradient[1..]);
        self.optimiser.step_tree(&mut self.parameters, &gradient)
    }
}
