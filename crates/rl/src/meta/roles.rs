//! The meta-gradient as the chain rule of Liu et al. 2022, Prop. 3.1, over three derivatives of objectives, each of which
//! may be exact or estimated: which is exact is a choice per role, and what an estimate is made of a matter of its program.

use std::fmt::{self, Display};
use std::str::FromStr;

use ad::{Handle, Program, Tape, Value, Var};
use ndarray::Array1;

use crate::batch::Batch;
use crate::env::{Horizon, TabularMdp};
use crate::error::{Error, Result, check_finite, check_rate};
use crate::objective::Estimator;
use crate::optim::add;
use crate::policy::{self, Numbers, Params, Policy, Structure, expect_no_memory, softmax, table_of};
use crate::rollout::Rollout;

/// An objective J(φ, θ; data), compiled once, to be run at any (φ, θ) and data.
pub struct Objective {
    /// Names and shapes of φ and θ.
    parameters: [Structure; 2],
    /// (φ, θ, data) ↦ ∇_φ J, ∇_θ J.
    gradient: Program,
    /// (φ, θ, v, data) ↦ ∇_φ ⟨∇_θ J, v⟩, ∇_θ ⟨∇_θ J, v⟩; only where the Hessian is asked for.
    curvature: Option<Program>,
}

/// J on a tape, and the inputs that are its data.
pub type Recorded = (Var, Vec<Handle>);

impl Objective {
    /// For the roles that need a gradient: inner and outer. `record(tape, φ, θ)` records J, a scalar, and lists the inputs
    /// that are its data. φ and θ have the names and shapes of `meta` and `theta`; without meta-parameters (the meta-gradient is
    /// by the start θ_0), φ is an empty tree.
    ///
    /// Panics if J does not depend on θ.
    #[track_caller]
    pub fn once(meta: &Numbers, theta: &Numbers, record: impl FnOnce(&Tape, &Params, &Params) -> Recorded) -> Self {
        Self::new([meta, theta], record, false)
    }

    /// For the Hessian's role too. An estimator that claims order 1 alone refuses this, by name, unless it is wrapped in
    /// [`allow_biased`](crate::objective::allow_biased): a derivative by θ and then by φ counts as order 2 as well.
    #[track_caller]
    pub fn twice(meta: &Numbers, theta: &Numbers, record: impl FnOnce(&Tape, &Params, &Params) -> Recorded) -> Self {
        Self::new([meta, theta], record, true)
    }

    #[track_caller]
    fn new(like: [&Numbers; 2], record: impl FnOnce(&Tape, &Params, &Params) -> Recorded, twice: bool) -> Self {
        let tape = Tape::new();
        let [meta, theta] = like.map(|numbers| policy::record(numbers, &tape));
        let (objective, data) = record(&tape, &meta, &theta);
        let by_theta = objective.grad(&theta);
        let inputs = |trees: &[&Params]| -> Vec<Handle> {
            trees.iter().flat_map(|tree| policy::handles(tree)).chain(data.iter().copied()).collect()
        };
        let by_meta = objective.grad_or_zeros(&meta);
        let gradient = tape.compile(inputs(&[&meta, &theta]), by_meta.values().chain(by_theta.values()).copied());
        let curvature = twice.then(|| {
            let direction = policy::record(&policy::zeros_like(like[1]), &tape);
            let products = by_theta.iter().map(|(name, &gradient)| (gradient * direction[name]).sum());
            let product = products.reduce(|sum, product| sum + product).expect("there are parameters");
            let (by_meta, by_theta) = (product.grad_or_zeros(&meta), product.grad_or_zeros(&theta));
            let results = by_meta.values().chain(by_theta.values()).copied();
            tape.compile(inputs(&[&meta, &theta, &direction]), results)
        });
        Self { parameters: like.map(Structure::of), gradient, curvature }
    }

    /// An error unless φ and θ have the names and shapes that were recorded.
    fn check(&self, meta: &Numbers, theta: &Numbers) -> Result<()> {
        self.parameters[0].check("meta-parameters", meta)?;
        self.parameters[1].check("parameters", theta)
    }
}

/// Where an objective's data come from: their values at inner step i (for the outer objective i = K) and parameters θ_i.
pub type Data<'a> = dyn Fn(usize, &Numbers) -> Result<Vec<Value<'static>>> + 'a;

/// An [`Objective`] and where its data come from.
#[derive(Clone, Copy)]
pub struct Role<'a> {
    /// What is differentiated.
    pub objective: &'a Objective,
    /// Called once for each derivative, so that two roles share trajectories if and only if their functions return the same.
    pub data: &'a Data<'a>,
}

/// A pair of partial derivatives, ∇_φ and ∇_θ.
type Partials = [Numbers; 2];

impl Role<'_> {
    fn gradient(&self, step: usize, meta: &Numbers, theta: &Numbers) -> Result<Partials> {
        let data = (self.data)(step, theta)?;
        run(&self.objective.gradient, &[meta, theta], &data)
    }

    /// `direction` times the derivative of ∇_θ J by φ, and by θ.
    fn curvature(&self, step: usize, meta: &Numbers, theta: &Numbers, direction: &Numbers) -> Result<Partials> {
        let program = self.objective.curvature.as_ref().expect("checked by `meta_gradient`");
        let data = (self.data)(step, theta)?;
        run(program, &[meta, theta, direction], &data)
    }
}

/// Runs a program whose results are of the structure of the first two trees.
fn run(program: &Program, parameters: &[&Numbers], data: &[Value<'static>]) -> Result<Partials> {
    let values: Vec<Value<'_>> =
        parameters.iter().flat_map(|tree| policy::values(tree)).chain(data.iter().map(Value::view)).collect();
    let mut results = program.run(&values)?.into_iter();
    let mut like = |tree: &Numbers| tree.keys().cloned().zip(results.by_ref()).collect();
    let by_meta = like(parameters[0]);
    Ok([by_meta, like(parameters[1])])
}

/// What plays each of the three roles.
///
/// ```
/// use rl::{env::{Horizon, TabularMdp, sample}, meta::{Objective, Permutation, Role, Roles, exact_value, surrogate}};
/// use rl::{objective::ImportanceSampling, policy::{Numbers, Policy, Table}, stream::stream};
///
/// let mdp = TabularMdp::random(3, 2, 1.0, &mut stream(0, 0))?;
/// let (policy, gamma) = (Table { states: 3, actions: 2 }, 0.9);
/// let (none, start) = (Numbers::new(), policy.init(&mut stream(0, 1)));
/// let exact = Objective::twice(&none, &start, exact_value(&policy, &mdp, gamma, &Horizon::Infinite)?);
/// let dice = Objective::twice(&none, &start, surrogate(&ImportanceSampling, &policy, &mdp, gamma, 10, 50)?);
///
/// let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
/// let exact = Roles::all(Role { objective: &exact, data: &known });
/// // 50 trajectories of 10 steps for each role and step, by the policy reached there; and a critic of 0.
/// let sampled = |seed: u64| {
///     let (mdp, policy) = (&mdp, &policy);
///     move |step: usize, theta: &Numbers| {
///         let rollout = sample(&mdp.walk(), policy, theta, 10, 50, seed + step as u64)?;
///         Ok([&rollout.into_values()[..], &[ndarray::Array1::<f64>::zeros(3).into()]].concat())
///     }
/// };
/// let (one, two, three) = (sampled(100), sampled(200), sampled(300));
/// let role = |data| Role { objective: &dice, data };
/// let sampled = Roles { inner: role(&one), hessian: Some(role(&two)), outer: role(&three) };
///
/// let truth = exact.meta_gradient(&none, &start, 3, 1.0)?.by_start;
/// let estimate = "SES".parse::<Permutation>()?.of(exact, sampled).meta_gradient(&none, &start, 3, 1.0)?.by_start;
/// assert_eq!(truth["logits"].shape(), estimate["logits"].shape());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Roles<'a> {
    /// (I) ∇_θ J^In, which decides where the inner steps lead.
    pub inner: Role<'a>,
    /// (II) ∇²_θ J^In and ∇_φ ∇_θ J^In, the derivatives of the steps. `None` leaves them out: a first-order method, such as
    /// first-order MAML.
    pub hessian: Option<Role<'a>>,
    /// (III) ∇ J^Out at θ_K.
    pub outer: Role<'a>,
}

/// What [`Roles::meta_gradient`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct MetaGradient {
    /// θ_K.
    pub adapted: Numbers,
    /// d J^Out(φ, θ_K) / dθ_0: the meta-gradient of MAML.
    pub by_start: Numbers,
    /// d J^Out(φ, θ_K) / dφ at a fixed θ_0: the meta-gradient of LIRPG and of meta-gradient RL.
    pub by_meta: Numbers,
}

impl<'a> Roles<'a> {
    /// One objective and one source of data in every role.
    pub fn all(role: Role<'a>) -> Self {
        Self { inner: role, hessian: Some(role), outer: role }
    }

    /// The meta-gradient through K = `steps` inner steps of rate α from θ_0 = `start`:
    ///
    /// ```text
    /// θ_{i+1} = θ_i + α g_i                                 g_i the inner role's ∇_θ J^In(φ, θ_i)
    /// v_K = ∇_θ J^Out(φ, θ_K),  m_K = ∇_φ J^Out(φ, θ_K)      the outer role's
    /// v_i = (I + α H_i) v_{i+1},  m_i = m_{i+1} + α M_i v_{i+1}
    ///                                                       H_i, M_i the Hessian role's ∇²_θ J^In and ∇_φ ∇_θ J^In at θ_i
    /// ```
    ///
    /// and v_0, m_0 are the derivatives by θ_0 and by φ (Liu et al. 2022, Prop. 3.1 and Eq. 4). They are those of
    /// [`adapt`](super::adapt()) with the steps stop(θ_c) + θ_h − stop(θ_h) ([`evaluates_to`](super::evaluates_to)), θ_c from
    /// the inner role and θ_h from the Hessian's, but each step is a replay of its own, so that trajectories can be sampled
    /// in between.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`]; those of the data; [`Error::Shape`] and [`Error::Name`] unless φ and θ_0 are as recorded;
    /// [`Error::NotFinite`] if an inner step leads to what is not finite (from what is), or the result is not;
    /// [`Error::Program`] for data that do not fit.
    ///
    /// # Panics
    ///
    /// If the Hessian role's objective was not made by [`Objective::twice`].
    #[track_caller]
    pub fn meta_gradient(&self, meta: &Numbers, start: &Numbers, steps: usize, rate: f64) -> Result<MetaGradient> {
        check_rate(rate)?;
        for role in [Some(self.inner), self.hessian, Some(self.outer)].iter().flatten() {
            role.objective.check(meta, start)?;
        }
        assert!(
            self.hessian.is_none_or(|role| role.objective.curvature.is_some()),
            "meta_gradient: the Hessian's role needs an objective recorded by Objective::twice"
        );
        let mut path = Vec::with_capacity(steps);
        let mut theta = start.clone();
        for step in 0..steps {
            let [_, gradient] = self.inner.gradient(step, meta, &theta)?;
            let mut next = theta.clone();
            add(&mut next, rate, &gradient);
            for (next, here) in next.values().zip(theta.values()) {
                // What was infinite already is the logit of an action that is never taken.
                let changed = next.iter().zip(here).filter(|(next, here)| next != here).map(|(next, _)| next);
                check_finite(changed, |_| format!("theta after inner step {step}"))?;
            }
            path.push(std::mem::replace(&mut theta, next));
        }
        let [mut by_meta, mut by_theta] = self.outer.gradient(steps, meta, &theta)?;
        if let Some(hessian) = self.hessian {
            for (step, theta) in path.iter().enumerate().rev() {
                let [change_of_meta, change_of_theta] = hessian.curvature(step, meta, theta, &by_theta)?;
                add(&mut by_meta, rate, &change_of_meta);
                add(&mut by_theta, rate, &change_of_theta);
            }
        }
        check_finite(by_theta.values().flatten(), |_| format!("the meta-gradient by theta, inner steps {steps}"))?;
        check_finite(by_meta.values().flatten(), |_| format!("the meta-gradient by phi, inner steps {steps}"))?;
        Ok(MetaGradient { adapted: theta, by_start: by_theta, by_meta })
    }
}

/// The exact value of the start distribution of a tabular process under a policy without memory, for [`Objective`]: its data are
/// [`TabularMdp::to_values`], of any process of the same size. φ plays no part.
///
/// # Errors
///
/// Those of [`derivatives`](crate::truth::derivatives).
///
/// # Panics
///
/// For a policy with memory.
#[track_caller]
pub fn exact_value<'a>(
    policy: impl Policy + 'a,
    mdp: &'a TabularMdp,
    gamma: f64,
    horizon: &'a Horizon,
) -> Result<impl FnOnce(&Tape, &Params, &Params) -> Recorded + 'a> {
    expect_no_memory("exact_value", &policy);
    // By logits and softmaxes every action is taken: what ends surely under one policy ends surely under all.
    let blind = softmax(&ndarray::Array2::zeros((mdp.states(), mdp.actions())));
    mdp.check_value_exists(&blind, gamma, horizon)?;
    Ok(move |tape: &Tape, _: &Params, theta: &Params| {
        let process = mdp.record(tape);
        let values = process.values(table_of(&policy, theta, mdp.states(), process.start), gamma, horizon);
        (process.start.dot(values), process.handles().into())
    })
}

/// An estimator's surrogate on policy, with a critic, for [`Objective`]. Its data are a rollout of `trajectories` trajectories of
/// up to `horizon` steps ([`Rollout::into_values`]) sampled by the policy of parameters θ in any tabular process of the same
/// size, and the critic's V(s), `[S]`. φ plays no part.
///
/// # Errors
///
/// [`Error::Empty`] if `horizon` or `trajectories` is 0.
pub fn surrogate<'a>(
    estimator: impl Estimator + 'a,
    policy: impl Policy + 'a,
    mdp: &TabularMdp,
    gamma: f64,
    horizon: usize,
    trajectories: usize,
) -> Result<impl FnOnce(&Tape, &Params, &Params) -> Recorded + 'a> {
    let (states, blank) = (mdp.states(), Rollout::zeros(trajectories, horizon)?);
    Ok(move |tape: &Tape, _: &Params, theta: &Params| {
        let episodes = blank.record(tape);
        let critic = tape.input("critic", Array1::<f64>::zeros(states));
        let log_prob = policy.log_prob(theta, &episodes);
        let batch = Batch::new(episodes, log_prob, gamma).with_critic(critic.gather([episodes.states()]));
        let data = episodes.handles().into_iter().chain([critic.into()]);
        (estimator.surrogate(&batch), data.collect())
    })
}

/// Which of the three roles (inner, Hessian, outer) are estimated (S) and which exact (E), written as `SEE`: the inner
/// gradient estimated, Hessian and outer gradient exact (Liu et al. 2022, Sec. 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permutation {
    /// Whether inner, Hessian and outer are estimated.
    pub estimated: [bool; 3],
}

impl Permutation {
    /// The seven in which something is estimated. (The eighth, EEE, is the exact meta-gradient.)
    pub const ALL: [Self; 7] = [
        Self { estimated: [false, false, true] },
        Self { estimated: [false, true, false] },
        Self { estimated: [false, true, true] },
        Self { estimated: [true, false, false] },
        Self { estimated: [true, false, true] },
        Self { estimated: [true, true, false] },
        Self { estimated: [true, true, true] },
    ];

    /// The estimated roles of `estimated`, and the others of `exact`.
    pub fn of<'a>(self, exact: Roles<'a>, estimated: Roles<'a>) -> Roles<'a> {
        let [inner, hessian, outer] = self.estimated.map(|is_estimated| if is_estimated { estimated } else { exact });
        Roles { inner: inner.inner, hessian: hessian.hessian, outer: outer.outer }
    }
}

impl Display for Permutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: String = self.estimated.iter().map(|&estimated| if estimated { 'S' } else { 'E' }).collect();
        f.pad(&letters)
    }
}

impl FromStr for Permutation {
    type Err = Error;

    /// Three letters, each S or E.
    fn from_str(letters: &str) -> Result<Self> {
        let estimated = |letter| match letter {
            'S' => Some(true),
            'E' => Some(false),
            _ => None,
        };
        (letters.chars().map(estimated).collect::<Option<Vec<bool>>>())
            .and_then(|estimated| Some(Self { estimated: estimated.try_into().ok()? }))
            .ok_or_else(|| Error::Permutation(letters.to_owned()))
    }
}
