//! The meta-gradient as the chain rule of Liu et al. 2022, Prop. 3.1, over three derivatives of objectives, each of which
//! may be exact or estimated: which is exact is a choice per role, and what an estimate is made of a matter of its program.

use std::fmt::{self, Display};
use std::str::FromStr;

use ad::{Handle, Program, Tape, Value, Var};
use ndarray::ArrayD;

use crate::error::{Error, Result, check_rate};
use crate::rollout::check_shape;

/// An objective J(φ, θ; data), compiled once, to be run at any (φ, θ) and data.
pub struct Objective {
    shapes: [Vec<usize>; 2],
    /// (φ, θ, data) ↦ ∇_φ J, ∇_θ J.
    gradient: Program,
    /// (φ, θ, v, data) ↦ ∇_φ ⟨∇_θ J, v⟩, ∇_θ ⟨∇_θ J, v⟩; only where the Hessian is asked for.
    curvature: Option<Program>,
}

/// The shapes of meta-parameters φ and parameters θ.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// Of φ.
    pub meta: &'a [usize],
    /// Of θ.
    pub theta: &'a [usize],
}

impl<'a> Shapes<'a> {
    /// No φ (an empty one) beside θ: the meta-gradient is by the start θ_0.
    pub fn of_theta(theta: &'a [usize]) -> Self {
        Self { meta: &[0], theta }
    }
}

impl Objective {
    /// For the roles that need a gradient: inner and outer. `record(tape, φ, θ)` records J, a scalar, and lists the inputs
    /// that are its data.
    ///
    /// Panics if J does not depend on θ.
    #[track_caller]
    pub fn once(shapes: Shapes<'_>, record: impl FnOnce(&Tape, Var, Var) -> (Var, Vec<Handle>)) -> Self {
        Self::new(shapes, record, false)
    }

    /// For the Hessian's role too. An estimator that claims order 1 alone refuses this, by name, unless it is wrapped in
    /// [`allow_biased`](crate::objective::allow_biased): a derivative by θ and then by φ counts as order 2 as well.
    #[track_caller]
    pub fn twice(shapes: Shapes<'_>, record: impl FnOnce(&Tape, Var, Var) -> (Var, Vec<Handle>)) -> Self {
        Self::new(shapes, record, true)
    }

    #[track_caller]
    fn new(shapes: Shapes<'_>, record: impl FnOnce(&Tape, Var, Var) -> (Var, Vec<Handle>), twice: bool) -> Self {
        let tape = Tape::new();
        let meta = tape.input("meta", ArrayD::<f64>::zeros(shapes.meta));
        let theta = tape.input("theta", ArrayD::<f64>::zeros(shapes.theta));
        let (objective, data) = record(&tape, meta, theta);
        let by_theta = objective.grad(theta);
        let inputs = |first: &[Var]| -> Vec<Handle> {
            first.iter().map(|&var| var.into()).chain(data.iter().copied()).collect()
        };
        let gradient = tape.compile(inputs(&[meta, theta]), [objective.grad_or_zeros(meta), by_theta]);
        let curvature = twice.then(|| {
            let direction = tape.input("direction", ArrayD::<f64>::zeros(shapes.theta));
            let product = (by_theta * direction).sum();
            tape.compile(inputs(&[meta, theta, direction]), product.grad_or_zeros([meta, theta]))
        });
        Self { shapes: [shapes.meta.to_vec(), shapes.theta.to_vec()], gradient, curvature }
    }
}

/// Where an objective's data come from: their values at inner step i (for the outer objective i = K) and parameters θ_i.
pub type Data<'a> = dyn Fn(usize, &ArrayD<f64>) -> Result<Vec<Value<'static>>> + 'a;

/// An [`Objective`] and where its data come from.
#[derive(Clone, Copy)]
pub struct Role<'a> {
    /// What is differentiated.
    pub objective: &'a Objective,
    /// Called once for each derivative, so that two roles share trajectories if and only if their functions return the same.
    pub data: &'a Data<'a>,
}

/// A pair of partial derivatives, ∇_φ and ∇_θ.
type Partials = [ArrayD<f64>; 2];

impl Role<'_> {
    fn gradient(&self, step: usize, meta: &ArrayD<f64>, theta: &ArrayD<f64>) -> Result<Partials> {
        run(&self.objective.gradient, [meta, theta].map(owned), (self.data)(step, theta)?)
    }

    /// `direction` times the derivative of ∇_θ J by φ, and by θ.
    fn curvature(
        &self,
        step: usize,
        meta: &ArrayD<f64>,
        theta: &ArrayD<f64>,
        direction: &ArrayD<f64>,
    ) -> Result<Partials> {
        let program = self.objective.curvature.as_ref().expect("checked by `meta_gradient`");
        run(program, [meta, theta, direction].map(owned), (self.data)(step, theta)?)
    }
}

fn owned(array: &ArrayD<f64>) -> Value<'static> {
    array.clone().into()
}

fn run<const N: usize>(
    program: &Program,
    parameters: [Value<'static>; N],
    data: Vec<Value<'static>>,
) -> Result<Partials> {
    let values: Vec<Value<'static>> = parameters.into_iter().chain(data).collect();
    let results = program.run(&values)?;
    Ok(results.try_into().expect("a program of two outputs"))
}

/// What plays each of the three roles.
///
/// ```
/// use ndarray::Array2;
/// use rl::{mdp::TabularMdp, meta::{Objective, Permutation, Role, Roles, Shapes, exact_value, surrogate}};
/// use rl::{objective::ImportanceSampling, policy::softmax, truth::Horizon};
///
/// let mdp = TabularMdp::random(3, 2, 1.0, &mut rl::stream::stream(0, 0))?;
/// let (shapes, gamma) = (Shapes::of_theta(&[3, 2]), 0.9);
/// let exact = Objective::twice(shapes, exact_value(&mdp, gamma, &Horizon::Infinite)?);
/// let dice = Objective::twice(shapes, surrogate(&ImportanceSampling, &mdp, gamma, 10, 50)?);
///
/// let known = |_: usize, _: &ndarray::ArrayD<f64>| Ok(mdp.to_values().into());
/// let exact = Roles::all(Role { objective: &exact, data: &known });
/// // 50 trajectories of 10 steps for each role and step, by the policy reached there.
/// let sample = |seed: u64| {
///     let mdp = &mdp;
///     move |step: usize, theta: &ndarray::ArrayD<f64>| {
///         let logits: Array2<f64> = theta.clone().into_dimensionality().expect("a table");
///         let rollout = mdp.sample(&softmax(&logits), 10, 50, seed + step as u64)?;
///         Ok([&rollout.into_values()[..], &[ndarray::Array1::<f64>::zeros(3).into()]].concat())
///     }
/// };
/// let (one, two, three) = (sample(100), sample(200), sample(300));
/// let role = |data| Role { objective: &dice, data };
/// let sampled = Roles { inner: role(&one), hessian: Some(role(&two)), outer: role(&three) };
///
/// let start = Array2::zeros((3, 2)).into_dyn();
/// let none = ndarray::ArrayD::zeros(vec![0]);
/// let truth = exact.meta_gradient(&none, &start, 3, 1.0)?.by_start;
/// let estimate = "SES".parse::<Permutation>()?.of(exact, sampled).meta_gradient(&none, &start, 3, 1.0)?.by_start;
/// assert_eq!(truth.shape(), estimate.shape());
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
    pub adapted: ArrayD<f64>,
    /// d J^Out(φ, θ_K) / dθ_0: the meta-gradient of MAML.
    pub by_start: ArrayD<f64>,
    /// d J^Out(φ, θ_K) / dφ at a fixed θ_0: the meta-gradient of LIRPG and of meta-gradient RL.
    pub by_meta: ArrayD<f64>,
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
    /// [`ascend`](super::ascend) with the steps stop(θ_c) + θ_h − stop(θ_h) ([`evaluates_to`](super::evaluates_to)), θ_c from
    /// the inner role and θ_h from the Hessian's, but each step is a replay of its own, so that trajectories can be sampled
    /// in between.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`]; those of the data; [`Error::Shape`] unless φ and θ_0 have the shapes recorded; [`Error::NotFinite`] if
    /// an inner step leads to what is not finite (from what is), or the result is not; [`Error::Program`] for data that do
    /// not fit.
    ///
    /// # Panics
    ///
    /// If the Hessian role's objective was not made by [`Objective::twice`].
    #[track_caller]
    pub fn meta_gradient(
        &self,
        meta: &ArrayD<f64>,
        start: &ArrayD<f64>,
        steps: usize,
        rate: f64,
    ) -> Result<MetaGradient> {
        check_rate(rate)?;
        for objective in [Some(self.inner), self.hessian, Some(self.outer)].iter().flatten().map(|role| role.objective)
        {
            check_shape("meta-parameters", meta.shape(), &objective.shapes[0])?;
            check_shape("parameters", start.shape(), &objective.shapes[1])?;
        }
        assert!(
            self.hessian.is_none_or(|role| role.objective.curvature.is_some()),
            "meta_gradient: the Hessian's role needs an objective recorded by Objective::twice"
        );
        let mut path = Vec::with_capacity(steps);
        let mut theta = start.clone();
        for step in 0..steps {
            let [_, gradient] = self.inner.gradient(step, meta, &theta)?;
            let next = &theta + &(gradient * rate);
            // What was infinite already is the logit of an action that is never taken.
            let changed =
                ndarray::Zip::from(&next).and(&theta).map_collect(|&next, &here| if next == here { 0.0 } else { next });
            check_finite("theta after inner step", step, &changed)?;
            path.push(std::mem::replace(&mut theta, next));
        }
        let [mut by_meta, mut by_theta] = self.outer.gradient(steps, meta, &theta)?;
        if let Some(hessian) = self.hessian {
            for (step, theta) in path.iter().enumerate().rev() {
                let [change_of_meta, change_of_theta] = hessian.curvature(step, meta, theta, &by_theta)?;
                by_meta.scaled_add(rate, &change_of_meta);
                by_theta.scaled_add(rate, &change_of_theta);
            }
        }
        check_finite("the meta-gradient by theta, inner steps", steps, &by_theta)?;
        check_finite("the meta-gradient by phi, inner steps", steps, &by_meta)?;
        Ok(MetaGradient { adapted: theta, by_start: by_theta, by_meta })
    }
}

fn check_finite(what: &str, step: usize, array: &ArrayD<f64>) -> Result<()> {
    match array.iter().find(|x| !x.is_finite()) {
        Some(&value) => Err(Error::NotFinite { what: format!("{what} {step}"), value }),
        None => Ok(()),
    }
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
