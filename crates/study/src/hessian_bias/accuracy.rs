//! The experiment: on random MDPs, the correlation of estimated gradients and Hessians with the exact ones.

use ad::{Program, Tape, Value};
use ndarray::{Array1, Array2, ArrayD};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use rl::batch::Batch;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::objective::{Estimator, all, allow_biased};
use rl::policy::Table;
use rl::stream::stream;

use crate::output::progress;
use crate::saved::Saved;
use crate::statistics::{mean_and_std, pearson};

/// Tang et al. 2021: discount, and the concentration of the transitions' Dirichlet distribution (nearly deterministic).
const GAMMA: f64 = 0.8;
const CONCENTRATION: f64 = 0.001;

/// What is measured. Everything random is a function of the seed.
#[derive(Debug)]
pub struct Experiment {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// The number of states of each MDP.
    pub states: usize,
    /// The number of actions.
    pub actions: usize,
    /// How many random MDPs there are.
    pub mdps: usize,
    /// The number of steps of a trajectory.
    pub horizon: usize,
    /// The numbers of trajectories to estimate from.
    pub samples: Vec<usize>,
    /// How far π is from μ; 0 is on policy.
    pub epsilons: Vec<f64>,
}

/// One row of the result: the correlations of the estimated derivative with the exact one.
pub struct Accuracy {
    /// The estimator's name.
    pub estimator: String,
    /// How far π is from μ.
    pub epsilon: f64,
    /// The number of trajectories.
    pub samples: usize,
    /// The order of derivative.
    pub order: usize,
    /// One for each MDP.
    pub correlations: Vec<f64>,
    /// Whether the estimator claims to be unbiased at this order.
    pub claimed: bool,
}

impl Accuracy {
    /// The mean over the MDPs.
    pub fn mean(&self) -> f64 {
        mean_and_std(&self.correlations).0
    }

    /// The standard deviation over the MDPs.
    pub fn std(&self) -> f64 {
        mean_and_std(&self.correlations).1
    }
}

/// A random MDP with its critics, and the policy at one ε.
struct Problem {
    mdp: TabularMdp,
    critic: ArrayD<f64>,
    action_critic: ArrayD<f64>,
    /// Logarithms of the policy π and of the sampling policy μ, `[S, A]`.
    log_policy: Array2<f64>,
    log_behaviour: Array2<f64>,
    /// Gradient and Hessian of the value of state 0 in the infinite horizon.
    truth: [ArrayD<f64>; 2],
}

/// Programs are recorded and compiled once, and run on every problem.
struct Programs {
    samples: usize,
    estimators: Vec<(Box<dyn Estimator>, Program)>,
}

impl Experiment {
    /// The accuracies for each ε, N, estimator and order, in this order. What is saved are MDPs at one ε.
    pub fn run(&self, saved: &Saved) -> Result<Vec<Accuracy>> {
        let truth = self.truth_program()?;
        let programs: Vec<Programs> =
            self.samples.iter().map(|&samples| self.programs(samples)).collect::<Result<_>>()?;
        let cells: Vec<(usize, usize)> =
            (0..self.mdps).flat_map(|mdp| (0..self.epsilons.len()).map(move |epsilon| (mdp, epsilon))).collect();
        let progress = progress(cells.len(), "problems");
        // For each problem, of each N and estimator the numbers of both orders.
        let correlations: Vec<Vec<f64>> = cells
            .par_iter()
            .map(|&(mdp, epsilon)| {
                let correlations = saved.part(&format!("{mdp},{epsilon}"), || {
                    let problem = self.problem(mdp, self.epsilons[epsilon], &truth)?;
                    let of_one = |programs: &Programs| self.correlations(mdp, &problem, programs);
                    let all: Result<Vec<Vec<[f64; 2]>>> = programs.iter().map(of_one).collect();
                    Ok(all?.concat().concat())
                });
                progress.inc(1);
                correlations
            })
            .collect::<Result<_>>()?;
        progress.finish_and_clear();

        let mut rows = Vec::new();
        for (e, &epsilon) in self.epsilons.iter().enumerate() {
            for (n, programs) in programs.iter().enumerate() {
                for (i, (estimator, _)) in programs.estimators.iter().enumerate() {
                    for order in [1, 2] {
                        let number = 2 * (n * programs.estimators.len() + i) + order - 1;
                        let here = (0..self.mdps).map(|mdp| correlations[mdp * self.epsilons.len() + e][number]);
                        rows.push(Accuracy {
                            estimator: estimator.facts().name,
                            epsilon,
                            samples: programs.samples,
                            order,
                            correlations: here.collect(),
                            claimed: estimator.facts().claim.contains(order, epsilon > 0.0),
                        });
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Any process and policy of the right size, to record with.
    fn example(&self) -> Result<(TabularMdp, Array2<f64>)> {
        let mdp = TabularMdp::random(self.states, self.actions, 1.0, &mut stream(0, 0))?;
        Ok((mdp, self.uniform()))
    }

    /// μ, `[S, A]`.
    fn uniform(&self) -> Array2<f64> {
        Array2::from_elem((self.states, self.actions), 1.0 / self.actions as f64)
    }

    /// (P, R, start, termination, θ) ↦ V^π of every state, and the gradient and Hessian of V(s_0).
    fn truth_program(&self) -> Result<Program> {
        let (mdp, policy) = self.example()?;
        let tape = Tape::new();
        let (process, theta) = (mdp.record(&tape), tape.input("theta", policy.ln()));
        let values = process.value(theta.softmax(), GAMMA);
        let value = process.start.dot(values);
        let inputs = [process.transition, process.reward, process.start, process.termination, theta];
        Ok(tape.compile(inputs, [values, value.grad(theta), value.hessian(theta)]))
    }

    /// (trajectories, θ, log μ, V, Q) ↦ gradient and Hessian, for every estimator.
    fn programs(&self, samples: usize) -> Result<Programs> {
        let (mdp, policy) = self.example()?;
        let rollout = mdp.sample(&policy, self.horizon, samples, 0)?;
        let estimators = all().into_iter().map(|estimator| {
            let tape = Tape::new();
            let episodes = rollout.record(&tape);
            let theta = tape.input("theta", policy.ln());
            let log_behaviour = tape.input("log_behaviour", policy.ln());
            let critic = tape.input("critic", Array1::<f64>::zeros(self.states));
            let action_critic = tape.input("action_critic", Array2::<f64>::zeros((self.states, self.actions)));
            let expected = (theta.softmax() * action_critic).sum_axes(&[1]);
            let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), GAMMA)
                .off_policy(episodes.look_up(log_behaviour))
                .with_critic(critic.gather([episodes.states()]))
                .with_action_critic(episodes.look_up(action_critic), expected.gather([episodes.states()]));
            // Off policy most claim nothing; how far the others are from the truth is the question here.
            let surrogate = allow_biased(&*estimator).surrogate(&batch);
            let parameters = [theta, log_behaviour, critic, action_critic].map(ad::Handle::from);
            let inputs = episodes.handles().into_iter().chain(parameters);
            let program = tape.compile(inputs, [surrogate.grad(theta), surrogate.hessian(theta)]);
            (estimator, program)
        });
        Ok(Programs { samples, estimators: estimators.collect() })
    }

    fn problem(&self, index: usize, epsilon: f64, truth: &Program) -> Result<Problem> {
        let rng = &mut stream(self.seed, index as u64);
        let mdp = TabularMdp::random(self.states, self.actions, CONCENTRATION, rng)?;
        let behaviour = self.uniform();
        let mut policy = &behaviour * (1.0 - epsilon);
        for mut row in policy.rows_mut() {
            row[rng.random_range(0..self.actions)] += epsilon;
        }
        let (log_policy, log_behaviour) = (policy.ln(), behaviour.ln());
        let solve = |log_policy: &Array2<f64>| {
            let (transition, reward) = (mdp.transition(), mdp.reward());
            let values = ad::values![*transition, *reward, *mdp.start(), *mdp.termination(), *log_policy];
            truth.run(&values).expect("values of the shapes recorded, and γ < 1")
        };
        let values = solve(&log_behaviour).swap_remove(0);
        let next = |s: usize, a: usize| (&mdp.transition().slice(ndarray::s![s, a, ..]) * &values).sum();
        let exact_q = Array2::from_shape_fn(mdp.reward().dim(), |(s, a)| mdp.reward()[[s, a]] + GAMMA * next(s, a));
        // The critics are those of μ with noise, whose standard deviation is their norm divided by their entries.
        let critic = noisy(&values, rng);
        let action_critic = noisy(&exact_q.into_dyn(), rng);
        // On policy a ratio would sit just on the truncated estimate's bound; that of the paper's code is a little below.
        let log_behaviour = (behaviour + 1e-8).ln();
        let mut exact = solve(&log_policy);
        let (hessian, gradient) = (exact.swap_remove(2), exact.swap_remove(1));
        Ok(Problem { mdp, critic, action_critic, log_policy, log_behaviour, truth: [gradient, hessian] })
    }

    /// For each estimator, the correlations of the gradient and of the Hessian.
    fn correlations(&self, index: usize, problem: &Problem, programs: &Programs) -> Result<Vec<[f64; 2]>> {
        // Another key than the problem's own stream has: the same MDP at every ε and N, and fresh trajectories.
        let seed = self.seed ^ (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let behaviour = self.uniform();
        let rollout = problem.mdp.sample(&behaviour, self.horizon, programs.samples, seed)?;
        let parameters = ad::values![problem.log_policy, problem.log_behaviour, problem.critic, problem.action_critic];
        let values: Vec<Value<'_>> = rollout.values().into_iter().chain(parameters).collect();
        let run = |(_, program): &(Box<dyn Estimator>, Program)| {
            let results = program.run(&values).expect("values of the shapes recorded, and states and actions in range");
            [0, 1].map(|i| pearson(&results[i], &problem.truth[i]))
        };
        Ok(programs.estimators.iter().map(run).collect())
    }
}

/// The exact values, each with noise of standard deviation ‖exact‖₂ / (number of entries).
fn noisy(exact: &ArrayD<f64>, rng: &mut impl Rng) -> ArrayD<f64> {
    let size = exact.iter().map(|v| v * v).sum::<f64>().sqrt() / exact.len() as f64;
    exact.mapv(|v| v + size * Distribution::<f64>::sample(&StandardNormal, rng))
}
