//! The meta-iteration, of any algorithm: sample, adapt, sample again; then outer steps with what was sampled.
//!
//! All that is recorded is recorded once, for one task's trajectories, and replayed for every task and iteration. What is drawn is
//! a function of (seed, iteration, task, step, trajectory), and tasks are added up in their order.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ad::{DType, Handle, Program, Tape, Value, Var};
use indexmap::IndexMap;
use ndarray::{Array1, Array2, ArrayD, ArrayView1, arr0};
use rl::env::{Actor, Tasks};
use rl::error::{Error, Result, check_finite};
use rl::meta::{Inner, adapt};
use rl::optim::{Optimiser, Rule, dot};
use rl::policy::{self, Numbers, Params, Policy};
use rl::rollout::Rollout;
use rl::stream::{seed_of, stream};

use crate::algorithm::{Adapted, Algorithm, Outcome, through};
use crate::baseline::Baseline;
use crate::learner::{Iteration, Learner, State, Taking};
use crate::outer::{Judged, TrustRegion};
use crate::trajectories::{Recorded, Sampled, Shape, Trajectories};
use crate::workers::Workers;

/// The numbers of a meta-learner.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything random is a function of it.
    pub seed: u64,
    /// How many tasks an iteration has.
    pub tasks: usize,
    /// What is sampled in each at each step, and how it counts.
    pub shape: Shape,
    /// K, how many inner steps there are; 0 for learning without adaptation.
    pub inner_steps: usize,
    /// α, of the first inner step.
    pub inner_rate: f64,
    /// What the rates of all later ones are multiplied by.
    pub rate_decay: f64,
    /// Whether every parameter has a rate of its own that is learned (Meta-SGD, Li et al. 2017).
    pub learn_rates: bool,
    /// How the parameters follow from the gradient.
    pub outer: Outer,
    /// By how many of a task's trajectories, if there are more, the divergence's Hessian is estimated where steps are within a
    /// region of trust: most of their time is in products with it, and all that it gives is a direction; how far to go is judged by
    /// all trajectories. 0 is all.
    pub curvature_trajectories: usize,
    /// How many outer steps are made with what was sampled.
    pub outer_steps: usize,
    /// What divergence costs at inner steps, for algorithms with a price on it.
    pub price: Price,
    /// Whether a baseline's value counts behind a trajectory that was truncated.
    pub bootstrap: bool,
}

impl Settings {
    /// How many trajectories the divergence's Hessian is of.
    fn curved(&self) -> usize {
        let all = self.shape.trajectories;
        if self.curvature_trajectories == 0 { all } else { all.min(self.curvature_trajectories) }
    }
}

/// How parameters follow from the gradient.
#[derive(Clone, Debug, PartialEq)]
pub enum Outer {
    /// By a rule of gradient descent.
    Rule(Rule),
    /// By steps within a region of trust.
    TrustRegion(TrustRegion),
}

/// What a unit of divergence costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// To begin with.
    pub initial: f64,
    /// If given, it is halved where the divergence of that inner step is below the target over 1.5 after an iteration, and doubled
    /// where it is above 1.5 times the target.
    pub target: Option<f64>,
}

/// The prefix of learned rates among the parameters.
const RATE: &str = "rate_";

/// What random numbers are for: the first name of every stream.
#[derive(Clone, Copy)]
enum Draw {
    Policy,
    Train,
    Evaluate,
    Gradient,
    Adapt,
}

/// An algorithm, a policy and a distribution over tasks, compiled.
pub struct MetaLearner {
    settings: Settings,
    tasks: Box<dyn Tasks>,
    workers: Box<dyn Workers>,
    algorithm: Box<dyn Algorithm>,
    baseline: Baseline,
    actor: Actor,
    programs: Programs,
    /// θ, and the learned rates.
    theta: Numbers,
    /// Nothing, where steps are within a region of trust.
    optimiser: Option<Optimiser>,
    /// What divergence costs at each inner step.
    prices: Vec<f64>,
}

/// What runs. In front of all inputs are θ and the rates.
struct Programs {
    /// (θ_k, rates, D_k) ↦ heads of π at θ_k, θ_{k+1}: of each inner step that has a program of its own, the last one of all later
    /// steps.
    adapt: Vec<Program>,
    /// (θ_K, rates, D_K) ↦ heads.
    describe: Program,
    /// How many arrays describe the policy's distributions.
    heads: usize,
    /// (θ, rates, D_0 … D_K, prices, shift, scale) ↦ objective, divergence at each step, gradient.
    gradient: Program,
    /// The same ↦ objective, divergence at each step.
    judge: Program,
    /// (θ, rates, some of D_0 … D_K, v) ↦ H v, H the Hessian of the divergence at step K from where it is.
    curvature: Option<Program>,
}

/// What a task has in an iteration.
struct Task {
    /// θ_k and the rates.
    here: Numbers,
    rollout: Option<Rollout>,
    /// For each step so far.
    data: Vec<Trajectories>,
    /// Those of them that the divergence's Hessian is of.
    curved: Vec<Trajectories>,
    /// Of a value network: the trajectories, and what it said of them.
    unfitted: Vec<(Rollout, Array2<f64>)>,
}

impl MetaLearner {
    /// With these parts; all is compiled now.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] for a number that is 0; [`Error::Rate`], [`Error::Decay`], [`Error::TooLarge`]; [`Error::Space`] if the
    /// policy is not for such tasks.
    pub fn new(
        settings: Settings,
        algorithm: Box<dyn Algorithm>,
        policy: &dyn Policy,
        tasks: Box<dyn Tasks>,
        baseline: Baseline,
        workers: Box<dyn Workers>,
    ) -> Result<Self> {
        for (what, number) in [("tasks", settings.tasks), ("outer steps", settings.outer_steps)] {
            if number == 0 {
                return Err(Error::Empty { what });
            }
        }
        rl::error::check_discount(settings.shape.gamma)?;
        rl::error::check_rate(settings.inner_rate)?;
        rl::error::check_rate(settings.rate_decay)?;
        let mut theta = policy.init(&mut stream(seed_of(settings.seed, &[Draw::Policy as u64]), 0));
        let actor = Actor::new(policy, &theta, &settings.shape.spaces, settings.shape.dtype)?;
        if settings.learn_rates {
            let rates =
                theta.iter().map(|(name, array)| (format!("{RATE}{name}"), array.mapv(|_| settings.inner_rate)));
            let rates: Vec<_> = rates.collect();
            theta.extend(rates);
        }
        let programs = Programs::new(&settings, &*algorithm, policy, &theta)?;
        let optimiser = match settings.outer {
            Outer::Rule(rule) => Some(Optimiser::new(rule)),
            Outer::TrustRegion(_) => None,
        };
        let prices = vec![settings.price.initial; settings.inner_steps];
        Ok(Self { settings, tasks, workers, algorithm, baseline, actor, programs, theta, optimiser, prices })
    }

    /// θ, and the learned rates.
    pub fn parameters(&self) -> &Numbers {
        &self.theta
    }

    /// What is sampled in a task before, between and after `steps` inner steps: in the task that these have at this seed.
    ///
    /// # Errors
    ///
    /// What goes wrong in an environment; [`Error::NoAdaptation`] for inner steps of who makes none.
    pub fn adaptation(&self, tasks: &dyn Tasks, steps: usize, seed: u64) -> Result<Vec<Rollout>> {
        self.check_steps(steps)?;
        let mut task = self.begin();
        let mut rollouts = Vec::with_capacity(steps + 1);
        for step in 0..=steps {
            let names = [Draw::Adapt as u64, seed, step as u64];
            self.sample(tasks, &mut task, &names[..2], &names)?;
            rollouts.extend(task.rollout.clone());
            if step < steps {
                self.adapt(&mut task, Some(step))?;
            }
        }
        Ok(rollouts)
    }

    fn check_steps(&self, steps: usize) -> Result<()> {
        let can = steps == 0 || !self.programs.adapt.is_empty();
        if can { Ok(()) } else { Err(Error::NoAdaptation(steps)) }
    }

    fn begin(&self) -> Task {
        Task { here: self.theta.clone(), rollout: None, data: Vec::new(), curved: Vec::new(), unfitted: Vec::new() }
    }

    /// Samples with the parameters that the task is at. Which task it is and what is sampled are draws with these names.
    fn sample(&self, tasks: &dyn Tasks, task: &mut Task, which: &[u64], names: &[u64]) -> Result<Outcome> {
        let Settings { seed, ref shape, .. } = self.settings;
        let Shape { horizon, trajectories, gamma, .. } = *shape;
        let mut which = stream(seed_of(seed, which), 0);
        let policy = self.policy_of(&task.here);
        let rollout = tasks.sample(&mut which, &self.actor, &policy, horizon, trajectories, seed_of(seed, names))?;
        let rewards = rollout.rewards();
        // (From the end, and 0 behind it.)
        let value =
            |rewards: ArrayView1<'_, f64>| rewards.iter().rev().fold(0.0, |value, reward| reward + gamma * value);
        let outcome = Outcome {
            steps: rollout.lengths().iter().sum::<usize>() as f64,
            rewards: rewards.sum(),
            squares: rewards.iter().map(|reward| reward * reward).sum(),
            value: rewards.rows().into_iter().map(value).sum::<f64>() / trajectories as f64,
        };
        task.rollout = Some(rollout);
        Ok(outcome)
    }

    /// The parameters that the policy has, without the learned rates.
    fn policy_of<'n>(&self, theta: &'n Numbers) -> Cow<'n, Numbers> {
        if !self.settings.learn_rates {
            return Cow::Borrowed(theta);
        }
        Cow::Owned(without_rates(theta))
    }

    /// Makes data of what was sampled, and inner step number `step` if there is one.
    fn adapt(&self, task: &mut Task, step: Option<usize>) -> Result<()> {
        let shape = &self.settings.shape;
        let rollout = task.rollout.take().expect("sampled before");
        let values = self.baseline.values(&rollout, self.settings.bootstrap)?;
        let mut data = shape.trajectories(&rollout, &values);
        let Programs { adapt, describe, .. } = &self.programs;
        let program = step.map_or(describe, |step| &adapt[step.min(adapt.len() - 1)]);
        let mut results = program.run_values(&values_of(&self.values(&task.here), [&data]))?.into_iter();
        data.extend(results.by_ref().take(self.programs.heads));
        for ((name, here), value) in task.here.iter_mut().zip(results) {
            *here = value.rounded(DType::F64).into_array().expect("floating-point numbers");
            check_finite(&*here, |entry| format!("entry {entry} of `{name}` after inner step {}", task.data.len()))?;
        }
        task.data.push(data);
        if matches!(self.baseline, Baseline::Network(_)) {
            task.unfitted.push((rollout, values));
        }
        Ok(())
    }

    /// θ and rates, as a program takes them.
    fn values<'n>(&self, theta: &'n Numbers) -> Vec<Value<'n>> {
        policy::values_as(theta, self.settings.shape.dtype)
    }

    /// Asks about each task, and says which one an error is about.
    fn ask(
        &self,
        tasks: &[Mutex<Task>],
        job: impl Fn(usize, &mut Task) -> Result<Vec<f64>> + Sync,
    ) -> Result<Vec<Vec<f64>>> {
        self.workers.answers(tasks.len(), &|number| {
            let mut task = tasks[number].lock().unwrap_or_else(PoisonError::into_inner);
            job(number, &mut task).map_err(|error| error.during(format!("task {number}")))
        })
    }

    /// The mean over tasks of a program's results, at these parameters: `data` are the trajectories that it takes, `given` a
    /// task's last inputs.
    fn mean<'g>(
        &self,
        program: &Program,
        tasks: &[Mutex<Task>],
        theta: &Numbers,
        data: fn(&Task) -> &[Trajectories],
        given: impl Fn(usize) -> Vec<Value<'g>> + Sync,
    ) -> Result<Vec<f64>> {
        let parameters = self.values(theta);
        let answers = self.ask(tasks, |number, task| {
            let given = given(number);
            let mut inputs = values_of(&parameters, data(task));
            inputs.extend(given.iter().map(Value::view));
            let results = program.run_values(&inputs)?;
            let mut numbers = Vec::new();
            for result in results {
                let array: ArrayD<f64> = result.rounded(DType::F64).into_array().expect("floating-point numbers");
                numbers.extend_from_slice(array.as_slice().expect("results are row-major"));
            }
            check_finite(&numbers, |entry| self.name_of(entry))?;
            Ok(numbers)
        })?;
        Ok(mean(&answers))
    }

    /// What stands at a place of the numbers that a program gives.
    fn name_of(&self, entry: usize) -> String {
        let facts = 2 + self.settings.inner_steps;
        match entry {
            0 => "the objective".to_owned(),
            step if step < facts => format!("the divergence at step {}", step - 1),
            _ => {
                let mut left = entry - facts;
                for (name, array) in &self.theta {
                    if left < array.len() {
                        return format!("entry {left} of the gradient by `{name}`");
                    }
                    left -= array.len();
                }
                format!("result {entry}")
            }
        }
    }

    /// What is given to a task beside its data: prices, shift and scale.
    fn given(&self, across: &[f64; 2]) -> Vec<Value<'static>> {
        let dtype = self.settings.shape.dtype;
        let prices = (self.settings.inner_steps > 0).then(|| Value::from(Array1::from(self.prices.clone())));
        let scalar = |x: f64| Value::from(arr0(x));
        prices.into_iter().chain(across.map(scalar)).map(|value| value.rounded(dtype)).collect()
    }
}

/// All that was sampled in a task.
fn all(task: &Task) -> &[Trajectories] {
    &task.data
}

/// What of it the divergence's Hessian is of.
fn some_of(task: &Task) -> &[Trajectories] {
    &task.curved
}

/// θ, rates and data, as a program takes them.
fn values_of<'v>(parameters: &'v [Value<'_>], data: impl IntoIterator<Item = &'v Trajectories>) -> Vec<Value<'v>> {
    parameters.iter().map(Value::view).chain(data.into_iter().flatten().map(Value::view)).collect()
}

/// What of a tree with learned rates is the policy's.
fn without_rates<T: Clone>(all: &IndexMap<String, T>) -> IndexMap<String, T> {
    all.iter().filter(|(name, _)| !name.starts_with(RATE)).map(|(name, x)| (name.clone(), x.clone())).collect()
}

/// The learned rates of a tree, by the names of the parameters that they are of.
fn rates_of(all: &Params) -> Params {
    all.iter().filter_map(|(name, &rate)| Some((name.strip_prefix(RATE)?.to_owned(), rate))).collect()
}

/// The mean of vectors, added in their order.
fn mean(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors[0].len()];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
    }
    sum.iter().map(|sum| sum / vectors.len() as f64).collect()
}

impl Learner for MetaLearner {
    fn returns(&self) -> Vec<String> {
        (0..=self.settings.inner_steps).map(|step| format!("return_{step}")).collect()
    }

    fn iterate(&mut self, iteration: u64) -> Result<Iteration> {
        self.iteration(iteration).map_err(|error| error.during(format!("iteration {iteration}")))
    }

    fn versions(&self) -> Vec<(String, String)> {
        self.tasks.versions()
    }

    fn not_saved(&self) -> Option<String> {
        self.tasks.not_saved()
    }

    fn evaluate(&self, tasks: usize, steps: usize, seed: u64) -> Result<Vec<Vec<f64>>> {
        if tasks == 0 {
            return Err(Error::Empty { what: "tasks" });
        }
        self.check_steps(steps)?;
        let blank: Vec<_> = (0..tasks).map(|_| Mutex::new(self.begin())).collect();
        let answers = self.ask(&blank, |number, task| {
            let names = |step: usize| [Draw::Evaluate as u64, seed, number as u64, step as u64];
            let mut returns = Vec::with_capacity(steps + 1);
            for step in 0..=steps {
                let outcome = self.sample(&*self.tasks, task, &names(0)[..3], &names(step))?;
                returns.push(outcome.rewards / self.settings.shape.trajectories as f64);
                if step < steps {
                    self.adapt(task, Some(step))?;
                    task.data.clear();
                }
            }
            Ok(returns)
        })?;
        Ok((0..=steps).map(|step| answers.iter().map(|returns| returns[step]).collect()).collect())
    }

    fn state(&self) -> State {
        let mut state = State::default();
        state.put_tree("theta", &self.theta);
        if let Some(optimiser) = &self.optimiser {
            state.put_optimiser("optimiser", optimiser, &self.theta);
        }
        let prices = self.prices.iter().enumerate().map(|(step, &price)| (format!("kl_price.{step}"), price));
        state.numbers.extend(prices);
        if let Baseline::Network(network) = &self.baseline {
            state.put_tree("baseline", &network.parameters);
            state.put_optimiser("baseline_optimiser", &network.optimiser, &network.parameters);
        }
        state
    }

    fn restore(&mut self, state: State) -> Result<()> {
        let mut state = Taking::from(state);
        let theta = state.tree("theta", &self.theta)?;
        let optimiser = match &self.settings.outer {
            Outer::Rule(rule) => Some(state.optimiser("optimiser", *rule, &theta)?),
            Outer::TrustRegion(_) => None,
        };
        let prices: Result<Vec<f64>> =
            (0..self.prices.len()).map(|step| state.number(&format!("kl_price.{step}"))).collect();
        let prices = prices?;
        let mut baseline = None;
        if let Baseline::Network(network) = &self.baseline {
            let mut network = network.clone();
            network.parameters = state.tree("baseline", &network.parameters)?;
            network.optimiser = state.optimiser("baseline_optimiser", network.optimiser.rule(), &network.parameters)?;
            baseline = Some(Baseline::Network(network));
        }
        state.end()?;
        (self.theta, self.optimiser, self.prices) = (theta, optimiser, prices);
        if let Some(baseline) = baseline {
            self.baseline = baseline;
        }
        Ok(())
    }
}

/// What was sampled for the outer steps.
struct Experience {
    tasks: Vec<Mutex<Task>>,
    /// What the outer objective of each task is told of the others.
    across: Vec<[f64; 2]>,
    /// Steps made in environments.
    env_steps: u64,
    /// Of each step, the mean return of each task.
    returns: Vec<Vec<f64>>,
    /// Seconds of sampling and of adapting.
    seconds: [f64; 2],
}

impl MetaLearner {
    /// Samples, adapts and samples again, in fresh tasks, by draws with these names.
    fn experience(&self, names: [u64; 2]) -> Result<Experience> {
        let Settings { inner_steps, ref shape, .. } = self.settings;
        let tasks: Vec<_> = (0..self.settings.tasks).map(|_| Mutex::new(self.begin())).collect();
        let (mut returns, mut env_steps, mut seconds) = (Vec::new(), 0, [0.0; 2]);
        let mut outcomes = Vec::new();
        for step in 0..=inner_steps {
            let begin = Instant::now();
            let answers = self.ask(&tasks, |number, task| {
                let names = [names[0], names[1], number as u64, step as u64];
                let Outcome { steps, rewards, squares, value } =
                    self.sample(&*self.tasks, task, &names[..3], &names)?;
                Ok(vec![steps, rewards, squares, value])
            })?;
            seconds[0] += begin.elapsed().as_secs_f64();
            outcomes =
                answers.iter().map(|x| Outcome { steps: x[0], rewards: x[1], squares: x[2], value: x[3] }).collect();
            returns.push(outcomes.iter().map(|one| one.rewards / shape.trajectories as f64).collect());
            env_steps += outcomes.iter().map(|one| one.steps as u64).sum::<u64>();
            let begin = Instant::now();
            let goes_on = (step < inner_steps).then_some(step);
            self.ask(&tasks, |_, task| self.adapt(task, goes_on).map(|()| Vec::new()))?;
            seconds[1] += begin.elapsed().as_secs_f64();
        }
        Ok(Experience { tasks, across: self.algorithm.across(&outcomes), env_steps, returns, seconds })
    }

    /// The objective and the divergence at each step, and the gradient, at these parameters.
    fn gradient(&self, experience: &Experience, theta: &Numbers) -> Result<(Vec<f64>, Numbers)> {
        let given = |number: usize| self.given(&experience.across[number]);
        let mut facts = self.mean(&self.programs.gradient, &experience.tasks, theta, all, given)?;
        let gradient = policy::from_flat(&self.theta, &facts.split_off(2 + self.settings.inner_steps));
        Ok((facts, gradient))
    }

    /// An estimate of the meta-gradient at θ, which is ascended: that of an iteration's first outer step, from fresh tasks and
    /// trajectories, which are a function of `seed`. Nothing is learned from it.
    ///
    /// # Errors
    ///
    /// What goes wrong in an environment, and [`Error::NotFinite`].
    pub fn meta_gradient(&self, seed: u64) -> Result<Numbers> {
        Ok(self.gradient(&self.experience([Draw::Gradient as u64, seed])?, &self.theta)?.1)
    }

    fn iteration(&mut self, iteration: u64) -> Result<Iteration> {
        let Settings { inner_steps, outer_steps, .. } = self.settings;
        let experience = self.experience([Draw::Train as u64, iteration])?;
        let Experience { tasks, across, .. } = &experience;

        let begin = Instant::now();
        let given = |number: usize| self.given(&across[number]);
        let some = self.settings.curved();
        let fewer = self.programs.curvature.is_some() && some < self.settings.shape.trajectories;
        if fewer {
            let first: Vec<usize> = (0..some).collect();
            self.ask(tasks, |_, task| {
                let of = |data: &Trajectories| data.iter().map(|column| column.select(0, &first)).collect();
                task.curved = task.data.iter().map(of).collect();
                Ok(Vec::new())
            })?;
        }
        let curved = if fewer { some_of } else { all };
        let (mut theta, mut optimiser) = (self.theta.clone(), self.optimiser.clone());
        let (mut facts, mut gradient) = (Vec::new(), Numbers::new());
        for _ in 0..outer_steps {
            (facts, gradient) = self.gradient(&experience, &theta)?;
            match (&mut optimiser, &self.settings.outer) {
                (Some(optimiser), _) => {
                    // A rule descends.
                    let descent: Vec<ArrayD<f64>> = gradient.values().map(|array| -array).collect();
                    optimiser.step_all(theta.values_mut(), &descent)?;
                }
                (None, Outer::TrustRegion(region)) => {
                    let curvature = self.programs.curvature.as_ref().expect("compiled for a region of trust");
                    let product = |v: &Numbers| {
                        let along = self.values(v);
                        let views = |_| along.iter().map(Value::view).collect();
                        let product = self.mean(curvature, tasks, &theta, curved, views)?;
                        Ok(policy::from_flat(&self.theta, &product))
                    };
                    let judge = |there: &Numbers| {
                        let facts = self.mean(&self.programs.judge, tasks, there, all, given)?;
                        Ok(Judged { objective: facts[0], divergence: facts[1 + inner_steps] })
                    };
                    if let Some((there, judged)) = region.step(&theta, facts[0], &gradient, product, judge)? {
                        (facts[0], facts[1 + inner_steps]) = (judged.objective, judged.divergence);
                        theta = there;
                    }
                }
                (None, Outer::Rule(_)) => unreachable!("a rule has an optimiser"),
            }
        }
        let mut prices = self.prices.clone();
        if let Some(target) = self.settings.price.target {
            let facts = self.mean(&self.programs.judge, tasks, &theta, all, given)?;
            for (price, divergence) in prices.iter_mut().zip(&facts[1..]) {
                if *divergence < target / 1.5 {
                    *price /= 2.0;
                } else if *divergence > target * 1.5 {
                    *price *= 2.0;
                }
            }
        }
        self.fit_baseline(tasks)?;
        (self.theta, self.optimiser, self.prices) = (theta, optimiser, prices);
        let Experience { env_steps, returns, seconds: [sampling, adapting], .. } = experience;
        let seconds = [sampling, adapting, begin.elapsed().as_secs_f64()];
        let gradient_norm = dot(&gradient, &gradient).sqrt();
        Ok(Iteration { env_steps, returns, loss: -facts[0], gradient_norm, kl: facts[1 + inner_steps], seconds })
    }

    /// Fits a value network to all that was sampled.
    fn fit_baseline(&mut self, tasks: &[Mutex<Task>]) -> Result<()> {
        let Baseline::Network(network) = &self.baseline else { return Ok(()) };
        let mut network = network.clone();
        for _ in 0..network.epochs {
            let answers = self.ask(tasks, |_, task| {
                let each = task.unfitted.iter().map(|(rollout, before)| network.gradient(rollout, before));
                Ok(mean(&each.collect::<Result<Vec<_>>>()?))
            })?;
            network.step(&mean(&answers))?;
        }
        self.baseline = Baseline::Network(network);
        Ok(())
    }
}

impl Programs {
    fn new(settings: &Settings, algorithm: &dyn Algorithm, policy: &dyn Policy, theta: &Numbers) -> Result<Self> {
        let Settings { shape, inner_steps, .. } = settings;
        let tape = Tape::new();
        let parameters = Parameters::record(settings, theta, &tape);
        let Parameters { all, start, rates } = &parameters;
        let inner = |step: usize| parameters.inner(settings, step);

        // One step, of trajectories that θ has sampled.
        let one = shape.record(&tape, policy, start)?;
        let fresh = |theta: &Params| one.fresh(shape, policy, theta);
        let dist = fresh(start).dist;
        if dist.closed_kl(&dist).is_none() {
            return Err(Error::NoClosedForm { what: "the divergence", of: dist.name() });
        }
        let described = dist.heads();
        let describe = tape.compile(parameters.then(one.handles()), described.clone());
        let different = match (*inner_steps, settings.rate_decay) {
            (0, _) => 0,
            (_, 1.0) => 1,
            _ => 2,
        };
        let step = |step: usize| {
            let points = adapt(start, inner(step), 1, |_, theta| algorithm.inner(&fresh(theta)));
            let there = points[1].values().chain(rates.values());
            tape.compile(parameters.then(one.handles()), described.iter().chain(there).copied())
        };
        let adapt = (0..different).map(step).collect();

        // All steps, as a function of where they begin.
        let recorded = shape.record_each(*inner_steps, &tape, policy, start)?;
        let scalar = |name: &str, x: f64| tape.input(name, Value::from(arr0(x)).rounded(shape.dtype));
        let prices = (*inner_steps > 0).then(|| tape.input("prices", Value::zeros(shape.dtype, &[*inner_steps])));
        let (shift, scale) = (scalar("shift", 0.0), scalar("scale", 1.0));
        let under = |step: usize, theta: &Params| recorded[step].under(shape, policy, theta);
        let (_, sampled) = through(algorithm, start, inner, *inner_steps, under);
        let (last, steps) = sampled.split_last().expect("at least one");
        let objective = algorithm.outer(&Adapted { steps, last, kl_price: prices, shift, scale });
        let divergences: Vec<Var> = sampled.iter().map(Sampled::kl).collect();
        let data = recorded.iter().flat_map(Recorded::handles_with_heads);
        let given = prices.into_iter().chain([shift, scale]).map(Handle::from);
        let inputs = parameters.then(data.chain(given));
        let facts = || [objective].into_iter().chain(divergences.iter().copied());
        let gradient = tape.compile(inputs.clone(), facts().chain(objective.grad_or_zeros(all).into_values()));
        let judge = tape.compile(inputs, facts());
        let curvature = match settings.outer {
            Outer::TrustRegion(_) => Some(Self::curvature(settings, algorithm, policy, theta)?),
            Outer::Rule(_) => None,
        };
        Ok(Self { adapt, describe, heads: described.len(), gradient, judge, curvature })
    }

    /// Products with the divergence's Hessian, of as many trajectories as that is of.
    fn curvature(
        settings: &Settings,
        algorithm: &dyn Algorithm,
        policy: &dyn Policy,
        theta: &Numbers,
    ) -> Result<Program> {
        let shape = Shape { trajectories: settings.curved(), ..settings.shape.clone() };
        let tape = Tape::new();
        let parameters = Parameters::record(settings, theta, &tape);
        let inner = |step: usize| parameters.inner(settings, step);
        let recorded = shape.record_each(settings.inner_steps, &tape, policy, &parameters.start)?;
        let under = |step: usize, theta: &Params| recorded[step].under(&shape, policy, theta);
        let (_, sampled) = through(algorithm, &parameters.start, inner, settings.inner_steps, under);
        let last = sampled.last().expect("at least one");
        let v = policy::record_as(&policy::zeros_like(theta), &tape, shape.dtype);
        // From where it is, so that it is positive also where earlier outer steps have led away from what sampled the data.
        let products = last.curvature(&parameters.all, &v);
        let data = recorded.iter().flat_map(Recorded::handles_with_heads);
        Ok(tape.compile(parameters.then(data.chain(policy::handles(&v))), products.into_values()))
    }
}

/// θ and the learned rates on a tape.
struct Parameters {
    all: Params,
    /// θ.
    start: Params,
    rates: Params,
}

impl Parameters {
    fn record(settings: &Settings, theta: &Numbers, tape: &Tape) -> Self {
        let all = policy::record_as(theta, tape, settings.shape.dtype);
        let (start, rates) = match settings.learn_rates {
            true => (without_rates(&all), rates_of(&all)),
            false => (all.clone(), Params::new()),
        };
        Self { all, start, rates }
    }

    fn inner(&self, settings: &Settings, step: usize) -> Inner {
        let decay = if step == 0 { 1.0 } else { settings.rate_decay };
        let inner = Inner::from(Rule::sgd(settings.inner_rate * decay));
        let learned = || self.rates.iter().map(|(name, &rate)| (name.clone(), rate * decay)).collect();
        if settings.learn_rates { inner.rates(learned()) } else { inner }
    }

    /// A program's inputs: these first.
    fn then(&self, others: impl IntoIterator<Item = Handle>) -> Vec<Handle> {
        policy::handles(&self.all).into_iter().chain(others).collect()
    }
}
