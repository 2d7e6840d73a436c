//! Neural networks, as functions of parameters and observations, and policies whose distributions they parameterise.
//!
//! A network is a list of layers, written from the observation on: `Network::new(&space).dense(64, Tanh).dense(64, Tanh)`. Its
//! parameters are leaves by the layer's number: `w1`, `b1`, `w2` …

use ad::{DType, Handle, Var};
use ndarray::{Array2, ArrayD, arr1};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::{
    Beta, Categorical, Component, Dirichlet, Dist, FullNormal, Gamma, Mixture, Normal, Numbers, Params, Policy,
    SquashedNormal, parameter as named,
};
use crate::rollout::Space;

/// What follows a layer's sum.
#[derive(Clone, Copy, Debug)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// tanh x.
    Tanh,
    /// max(x, 0).
    Relu,
    /// 1 / (1 + e^−x).
    Sigmoid,
    /// ln(1 + e^x).
    Softplus,
    /// Any other function, entry by entry, such as `|x| x * x.sigmoid()`.
    Of(fn(Var) -> Var),
}

impl Activation {
    #[track_caller]
    fn apply(self, x: Var) -> Var {
        match self {
            Activation::Identity => x,
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.max(0.0),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Softplus => x.softplus(),
            Activation::Of(function) => function(x),
        }
    }
}

/// How a layer's weights are drawn to begin with; biases are 0. `fan_in` and `fan_out` are how many numbers each output is a sum
/// of, and how many outputs each input goes into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±√(6 / (fan_in + fan_out)): Glorot & Bengio 2010, as in MAML, ProMP and SG-MRL.
    Xavier,
    /// A random matrix with orthonormal columns (or rows, if there are fewer of them) times a gain: Saxe et al. 2014, as in A2C and
    /// PPO with √2 for hidden layers, 0.01 for a policy's last, 1 for a value's.
    Orthogonal(f64),
    /// Uniform in ±1 / √fan_in, as PyTorch's layers.
    Uniform,
    /// 0.
    Zero,
}

impl Init {
    /// A matrix `[fan_in, fan_out]`.
    fn draw(self, [rows, columns]: [usize; 2], fan: [usize; 2], rng: &mut dyn Rng) -> Array2<f64> {
        let mut uniform =
            |bound: f64| Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-bound..bound));
        match self {
            Init::Xavier => uniform((6.0 / (fan[0] + fan[1]) as f64).sqrt()),
            Init::Uniform => uniform(1.0 / (fan[0] as f64).sqrt()),
            Init::Orthogonal(gain) => orthonormal(rows, columns, rng) * gain,
            Init::Zero => Array2::zeros((rows, columns)),
        }
    }
}

/// A matrix whose shorter side is orthonormal, uniform among such: Gram–Schmidt, twice, of normal numbers.
fn orthonormal(rows: usize, columns: usize, rng: &mut dyn Rng) -> Array2<f64> {
    if rows < columns {
        return orthonormal(columns, rows, rng).reversed_axes();
    }
    let mut matrix: Array2<f64> = Array2::from_shape_simple_fn((rows, columns), || StandardNormal.sample(rng));
    for column in 0..columns {
        for _ in 0..2 {
            for before in 0..column {
                let (earlier, mut this) = matrix.multi_slice_mut((ndarray::s![.., before], ndarray::s![.., column]));
                let along: f64 = this.dot(&earlier);
                this.scaled_add(-along, &earlier);
            }
        }
        let mut this = matrix.column_mut(column);
        let length = this.dot(&this).sqrt();
        this /= length;
    }
    matrix
}

#[derive(Clone, Debug)]
struct Layer {
    kind: Kind,
    activation: Activation,
    init: Init,
}

#[derive(Clone, Debug)]
enum Kind {
    /// x·w + b, of vectors; of a number among so many the row w\[x\] + b, as if it were one-hot.
    Dense { inputs: usize, outputs: usize },
    /// Filters `[rows, columns, channels, filters]` moved over frames by `stride`.
    Convolution { filters: [usize; 4], stride: usize },
    /// A gated recurrent unit: h′ = (1 − z)∘n + z∘h, r, z = σ(x·w + b + h·u), n = tanh(x·w + b + r∘(h·u + c)).
    Recurrent { inputs: usize, size: usize },
}

/// A network: a function of parameters and observations, with or without memory.
///
/// ```
/// use rl::{policy::{Activation::{Relu, Tanh}, Network}, rollout::Space};
///
/// let policy = Network::new(&Space::vector(3)).dense(64, Tanh).dense(64, Tanh).normal(2);
/// let atari = Network::new(&Space::frames(84, 84, 4))
///     .convolution(32, 8, 4, Relu).convolution(64, 4, 2, Relu).convolution(64, 3, 1, Relu).dense(512, Relu).categorical(6);
/// let recurrent = Network::new(&Space::vector(3)).dense(32, Tanh).recurrent(32).categorical(4);
/// let bounded = Network::new(&Space::vector(3)).dense(64, Tanh).beta(2).between(&[-1.0, 0.0], &[1.0, 5.0]);
/// let critic = Network::new(&Space::vector(3)).named("critic_").dense(64, Tanh).dense(1, rl::policy::Activation::Identity);
/// # let _ = (policy, atari, recurrent, bounded, critic);
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    observation: Space,
    prefix: String,
    layers: Vec<Layer>,
    /// The shape of what comes out so far, for each observation.
    output: Vec<usize>,
    init: Init,
}

/// How far a network goes at a time.
#[derive(Clone, Copy)]
enum Steps {
    One,
    All,
}

impl Network {
    /// No layers yet: what comes out is the observation. Bytes count as 1/255 each. (A number among so many needs a layer.)
    pub fn new(observation: &Space) -> Self {
        let output = match observation {
            Space::Discrete(number) => vec![*number],
            Space::Array { shape, .. } => shape.clone(),
        };
        Self { observation: observation.clone(), prefix: String::new(), layers: Vec::new(), output, init: Init::Xavier }
    }

    /// With this in front of the names of all parameters, so that two networks' parameters can be in one tree.
    #[must_use]
    pub fn named(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// With weights drawn so, of the layers that follow; [`Init::Xavier`] before that is said.
    #[must_use]
    pub fn init(self, init: Init) -> Self {
        Self { init, ..self }
    }

    /// A dense layer. What comes in is taken as one vector.
    #[must_use]
    pub fn dense(self, outputs: usize, activation: Activation) -> Self {
        let inputs = self.output.iter().product();
        self.layer(Kind::Dense { inputs, outputs }, activation, vec![outputs])
    }

    /// A convolution of frames `[rows, columns, channels]` by `filters` square filters, `stride` apart and nowhere beyond the
    /// frame.
    ///
    /// Panics unless frames come in, and are at least as large as a filter.
    #[track_caller]
    #[must_use]
    pub fn convolution(self, filters: usize, size: usize, stride: usize, activation: Activation) -> Self {
        let [rows, columns, channels] = self.output[..] else {
            panic!("convolution: needs frames of the shape [rows, columns, channels], got {:?}", self.output)
        };
        assert!(
            stride > 0 && size > 0 && size <= rows.min(columns),
            "convolution: filters of {size} by {size}, {stride} apart, on a frame of {rows} by {columns}"
        );
        let output = vec![(rows - size) / stride + 1, (columns - size) / stride + 1, filters];
        self.layer(Kind::Convolution { filters: [size, size, channels, filters], stride }, activation, output)
    }

    /// A gated recurrent unit with a memory of `size` numbers, which are what comes out (Cho et al. 2014).
    #[must_use]
    pub fn recurrent(self, size: usize) -> Self {
        let inputs = self.output.iter().product();
        self.layer(Kind::Recurrent { inputs, size }, Activation::Identity, vec![size])
    }

    fn layer(mut self, kind: Kind, activation: Activation, output: Vec<usize>) -> Self {
        self.layers.push(Layer { kind, activation, init: self.init });
        Self { output, ..self }
    }

    /// A policy over so many numbered actions, by logits that a last dense layer makes.
    #[must_use]
    pub fn categorical(self, actions: usize) -> NetworkPolicy {
        NetworkPolicy { network: self.dense(actions, Activation::Identity), head: Head::Categorical }
    }

    /// A policy over vectors of so many components: a normal distribution whose means a last dense layer makes, and whose
    /// deviations are parameters that do not depend on the observation, `log_std`, 0 to begin with.
    #[must_use]
    pub fn normal(self, components: usize) -> NetworkPolicy {
        self.over_vectors(Vector::Normal, components)
    }

    /// A policy over vectors of so many components: a [normal distribution of any covariance](FullNormal) whose means a last dense layer
    /// makes, and whose triangle is parameters that do not depend on the observation, `log_std` (the logarithms of its diagonal) and `below`,
    /// 0 to begin with.
    #[must_use]
    pub fn full_normal(self, components: usize) -> NetworkPolicy {
        self.over_vectors(Vector::FullNormal, components)
    }

    /// A policy over vectors of so many components in (−1, 1): a [normal distribution squashed by tanh](SquashedNormal), whose means and deviations
    /// before that are those of [`normal`](Self::normal). [`NetworkPolicy::between`] says other bounds.
    #[must_use]
    pub fn squashed_normal(self, components: usize) -> NetworkPolicy {
        self.over_vectors(Vector::SquashedNormal, components)
    }

    /// A policy over vectors of so many components in (0, 1): a [beta distribution](Beta) of α, β = 1 + softplus of what a last dense layer makes, so
    /// that its density has one mode and is finite (Chou et al. 2017). [`NetworkPolicy::between`] says other bounds.
    #[must_use]
    pub fn beta(self, components: usize) -> NetworkPolicy {
        self.over_vectors(Vector::Beta, components)
    }

    /// A policy over vectors of so many positive components: a [gamma distribution](Gamma) of concentration 1 + softplus and rate softplus of what a
    /// last dense layer makes.
    #[must_use]
    pub fn gamma(self, components: usize) -> NetworkPolicy {
        self.over_vectors(Vector::Gamma, components)
    }

    /// A policy over so many positive shares that add up to 1: a [Dirichlet distribution](Dirichlet) of concentrations 1 + softplus of what a last
    /// dense layer makes.
    #[must_use]
    pub fn dirichlet(self, components: usize) -> NetworkPolicy {
        self.over_vectors(Vector::Dirichlet, components)
    }

    fn over_vectors(self, kind: Vector, components: usize) -> NetworkPolicy {
        let network = self.dense(kind.outputs(components), Activation::Identity);
        let head = Vectors { kind, components, mixed: None, log_std: 0.0, floor: f64::NEG_INFINITY, bounds: None };
        NetworkPolicy { network, head: Head::Vectors(head) }
    }

    /// The shape of what it gives for each observation.
    pub fn output(&self) -> &[usize] {
        &self.output
    }

    /// Its weights, drawn, and biases of 0.
    pub fn draw(&self, rng: &mut dyn Rng) -> Numbers {
        let mut numbers = Numbers::new();
        for (i, Layer { kind, init, .. }) in self.layers.iter().enumerate() {
            let mut leaf = |letter: &str, array: ArrayD<f64>| numbers.insert(self.name(letter, i), array);
            let zeros = |size: usize| ArrayD::zeros(vec![size]);
            match *kind {
                Kind::Dense { inputs, outputs } => {
                    leaf("w", init.draw([inputs, outputs], [inputs, outputs], rng).into_dyn());
                    leaf("b", zeros(outputs));
                }
                Kind::Convolution { filters, .. } => {
                    let [rows, columns, channels, outputs] = filters;
                    let area = rows * columns;
                    let weights = init.draw([area * channels, outputs], [area * channels, area * outputs], rng);
                    leaf("w", weights.into_shape_with_order(filters).expect("as many entries").into_dyn());
                    leaf("b", zeros(outputs));
                }
                Kind::Recurrent { inputs, size } => {
                    let gates = |rows: usize, rng: &mut dyn Rng| {
                        let three: Vec<_> = (0..3).map(|_| init.draw([rows, size], [rows, size], rng)).collect();
                        let views: Vec<_> = three.iter().map(|one| one.view()).collect();
                        ndarray::concatenate(ndarray::Axis(1), &views).expect("equal heights").into_dyn()
                    };
                    leaf("w", gates(inputs, rng));
                    leaf("u", gates(size, rng));
                    leaf("b", zeros(3 * size));
                    leaf("c", zeros(size));
                }
            }
        }
        numbers
    }

    /// The shapes of its memory, for each trajectory: one for each recurrent layer.
    pub fn memory(&self) -> Vec<Vec<usize>> {
        let size = |layer: &Layer| if let Kind::Recurrent { size, .. } = layer.kind { Some(vec![size]) } else { None };
        self.layers.iter().filter_map(size).collect()
    }

    /// What it gives at every step of trajectories from their begin: of observations `[N, H, …]`, `[N, H, …]`. Without recurrent
    /// layers, any axes may be in front.
    ///
    /// Panics for observations of another shape, or parameters that are missing or of another shape.
    #[track_caller]
    pub fn along(&self, theta: &Params, observations: Handle) -> Var {
        self.apply(theta, observations, None, &mut Vec::new())
    }

    /// The same of rows that begin with this memory, `[N, …]` for each of [`memory`](Self::memory), as segments of longer
    /// trajectories do; and the memory after their H steps.
    ///
    /// Panics as [`along`](Self::along) does, and for another memory.
    #[track_caller]
    pub fn along_from(&self, theta: &Params, memory: &[Var], observations: Handle) -> (Var, Vec<Var>) {
        self.expect_memory("along_from", memory);
        let mut after = Vec::with_capacity(memory.len());
        (self.apply(theta, observations, Some((memory, Steps::All)), &mut after), after)
    }

    /// What it gives for observations `[N, …]` given its memory before, and its memory after.
    ///
    /// Panics as [`along`](Self::along) does, and for another memory.
    #[track_caller]
    pub fn once(&self, theta: &Params, memory: &[Var], observation: Handle) -> (Var, Vec<Var>) {
        self.expect_memory("once", memory);
        let mut after = Vec::with_capacity(memory.len());
        (self.apply(theta, observation, Some((memory, Steps::One)), &mut after), after)
    }

    #[track_caller]
    fn expect_memory(&self, operation: &str, memory: &[Var]) {
        let (found, expected) = (memory.len(), self.memory().len());
        assert!(found == expected, "{operation}: {found} arrays of memory, but the network has {expected}");
    }

    /// The axes in front of an observation's own.
    #[track_caller]
    fn front(&self, observations: Handle) -> Vec<usize> {
        let (shape, own) = (observations.shape(), self.observation.shape());
        if let (Space::Discrete(number), Handle::Var(other)) = (&self.observation, observations) {
            panic!(
                "Network: observations are numbers below {number}, integers, but these are {} of shape {shape:?}",
                other.dtype()
            );
        }
        let front = shape.len().checked_sub(own.len());
        let fits = front.is_some_and(|front| shape[front..] == *own);
        assert!(fits, "Network: observations of shape {own:?} each are needed, got {:?}", &shape[..]);
        shape[..shape.len() - own.len()].to_vec()
    }

    fn name(&self, letter: &str, layer: usize) -> String {
        format!("{}{letter}{}", self.prefix, layer + 1)
    }

    #[track_caller]
    fn parameter(&self, theta: &Params, letter: &str, layer: usize, shape: &[usize]) -> Var {
        parameter(theta, &self.name(letter, layer), shape)
    }

    /// With a memory to begin with, if it is not of zeros, and what is after it.
    #[track_caller]
    fn apply(
        &self,
        theta: &Params,
        observations: Handle,
        memory: Option<(&[Var], Steps)>,
        after: &mut Vec<Var>,
    ) -> Var {
        let front = &self.front(observations)[..];
        // All observations in one row: products are of matrices.
        let rows: usize = front.iter().product();
        let dtype = theta.values().next().map_or(DType::F64, |parameter| parameter.dtype());
        let mut x = observations.reshape(&[&[rows], self.observation.shape()].concat());
        for (i, Layer { kind, activation, .. }) in self.layers.iter().enumerate() {
            let sum = match *kind {
                Kind::Dense { inputs, outputs } => {
                    product(x, self.parameter(theta, "w", i, &[inputs, outputs]))
                        + self.parameter(theta, "b", i, &[outputs])
                }
                Kind::Convolution { filters, stride } => {
                    as_numbers(x, dtype).conv(self.parameter(theta, "w", i, &filters), stride)
                        + self.parameter(theta, "b", i, &[filters[3]])
                }
                Kind::Recurrent { inputs, size } => {
                    let x = product(x, self.parameter(theta, "w", i, &[inputs, 3 * size]))
                        + self.parameter(theta, "b", i, &[3 * size]);
                    let u = self.parameter(theta, "u", i, &[size, 3 * size]);
                    let c = self.parameter(theta, "c", i, &[size]);
                    if let Some((memory, Steps::One)) = memory {
                        let hidden = recur(x, memory[after.len()], u, c, size);
                        after.push(hidden);
                        hidden
                    } else {
                        assert!(
                            front.len() == 2,
                            "Network: to go along trajectories, a recurrent layer needs observations [N, H, …], got {:?}",
                            &observations.shape()[..]
                        );
                        let x = x.reshape(&[front[0], front[1], 3 * size]).transpose(&[1, 0, 2]);
                        let begin = match memory {
                            Some((memory, _)) => memory[after.len()],
                            None => x.at(0, 0).slice(1, 0..size).full_like(0.0),
                        };
                        let hidden = ad::fold(begin, x, |hidden, step| recur(step[0].var(), hidden, u, c, size));
                        after.push(hidden.at(0, front[1] - 1));
                        hidden.transpose(&[1, 0, 2]).reshape(&[rows, size])
                    }
                }
            };
            x = activation.apply(sum).into();
        }
        let numbers = matches!(self.observation, Space::Discrete(_)) && self.layers.is_empty();
        assert!(!numbers, "Network: no layer yet, which makes of a number what one computes with");
        as_numbers(x, dtype).reshape(&[front, &self.output].concat())
    }
}

/// The parameter of this name, which must be of this shape.
#[track_caller]
fn parameter(theta: &Params, name: &str, shape: &[usize]) -> Var {
    let parameter = named(theta, name);
    let found = parameter.shape();
    assert!(*found == *shape, "Network: the parameter `{name}` has shape {:?}, but must have {shape:?}", &found[..]);
    parameter
}

/// Observations, or what a layer made of them, times weights: of a number among so many, the weights' row of that number.
#[track_caller]
fn product(x: Handle, weights: Var) -> Var {
    let (shape, inputs) = (x.shape(), weights.shape()[0]);
    match x {
        Handle::Index(numbers) if shape.len() == 1 => weights.gather([numbers]),
        _ => as_numbers(x, weights.dtype()).reshape(&[shape[0], inputs]).matmul(weights),
    }
}

/// One step of a gated recurrent unit: `x` is the input times its weights plus the bias, `[N, 3 size]`, for r, z and n.
#[track_caller]
fn recur(x: Var, hidden: Var, u: Var, c: Var, size: usize) -> Var {
    let gates = hidden.matmul(u);
    let part = |x: Var, i: usize| x.slice(1, i * size..(i + 1) * size);
    let r = (part(x, 0) + part(gates, 0)).sigmoid();
    let z = (part(x, 1) + part(gates, 1)).sigmoid();
    let n = (part(x, 2) + r * (part(gates, 2) + c)).tanh();
    n + z * (hidden - n)
}

/// What a layer computes with: bytes as parts of 255, integers as they are.
#[track_caller]
fn as_numbers(x: Handle, dtype: DType) -> Var {
    match x {
        Handle::Index(integers) => integers.cast(dtype),
        Handle::Var(bytes) if bytes.dtype() == DType::U8 => bytes.cast(dtype) * (1.0 / 255.0),
        Handle::Var(x) => x,
    }
}

/// A policy whose distributions a [`Network`] parameterises. Its memory is the network's.
#[derive(Clone, Debug)]
pub struct NetworkPolicy {
    network: Network,
    head: Head,
}

#[derive(Clone, Debug)]
enum Head {
    Categorical,
    Vectors(Vectors),
}

/// Which distributions over vectors, and what is said of them beside the network.
#[derive(Clone, Debug)]
struct Vectors {
    kind: Vector,
    components: usize,
    /// Of how many it is a mixture.
    mixed: Option<usize>,
    log_std: f64,
    floor: f64,
    bounds: Option<[Vec<f64>; 2]>,
}

/// Kinds of distributions over vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vector {
    Normal,
    FullNormal,
    SquashedNormal,
    Beta,
    Gamma,
    Dirichlet,
}

impl Vector {
    /// How many numbers a network has to give for vectors of so many components.
    fn outputs(self, components: usize) -> usize {
        if matches!(self, Vector::Beta | Vector::Gamma) { 2 * components } else { components }
    }

    /// Whether it has deviations, as parameters.
    fn has_deviations(self) -> bool {
        matches!(self, Vector::Normal | Vector::FullNormal | Vector::SquashedNormal)
    }
}

impl Vectors {
    /// The shapes of the parameters that it has beside the network's.
    fn parameters(&self) -> Vec<(&'static str, Vec<usize>)> {
        let each = |size: usize| self.mixed.into_iter().chain([size]).collect();
        let size = self.components;
        match self.kind {
            Vector::Normal | Vector::SquashedNormal => vec![("log_std", each(size))],
            Vector::FullNormal => vec![("log_std", each(size)), ("below", each(size * size.saturating_sub(1) / 2))],
            Vector::Beta | Vector::Gamma | Vector::Dirichlet => vec![],
        }
    }

    /// The distributions of what a network gives, `[…, outputs]`, and of these parameters.
    #[track_caller]
    fn component(&self, output: Var, parameters: &[Var]) -> Component {
        let (axis, size) = (output.shape().len() - 1, self.components);
        let log_std = || match self.floor {
            f64::NEG_INFINITY => parameters[0],
            floor => parameters[0].max(floor),
        };
        let half = |i: usize| output.slice(axis, i * size..(i + 1) * size).softplus();
        let bounds = self.bounds.as_ref().map(|bounds| bounds.each_ref().map(|bound| output.constant(arr1(bound))));
        match (self.kind, bounds) {
            (Vector::Normal, _) => Normal::new(output, log_std()).into(),
            (Vector::FullNormal, _) => FullNormal::new(output, log_std(), parameters[1]).into(),
            (Vector::SquashedNormal, None) => SquashedNormal::new(output, log_std()).into(),
            (Vector::SquashedNormal, Some([low, high])) => {
                SquashedNormal::new(output, log_std()).between(low, high).into()
            }
            (Vector::Beta, None) => Beta::new(half(0) + 1.0, half(1) + 1.0).into(),
            (Vector::Beta, Some([low, high])) => Beta::new(half(0) + 1.0, half(1) + 1.0).between(low, high).into(),
            (Vector::Gamma, _) => Gamma::new(half(0) + 1.0, half(1)).into(),
            (Vector::Dirichlet, _) => Dirichlet::new(output.softplus() + 1.0).into(),
        }
    }

    #[track_caller]
    fn dist(&self, output: Var, parameters: &[Var]) -> Dist {
        let Some(count) = self.mixed else { return self.component(output, parameters).into() };
        let shape = output.shape();
        let (&outputs, front) = shape.split_last().expect("a dense layer's");
        let (logits, each) = (output.slice(front.len(), 0..count), output.slice(front.len(), count..outputs));
        let each = each.reshape(&[front, &[count, self.kind.outputs(self.components)]].concat());
        Mixture::new(logits, self.component(each, parameters)).into()
    }
}

impl NetworkPolicy {
    /// With deviations that are e^`log_std` to begin with, and never below `floor` (1e-6 in ProMP): where a parameter is below
    /// its logarithm it has no derivative. (Of a [full normal](Network::full_normal) one: the diagonal of its triangle.)
    ///
    /// Panics unless it has deviations and 0 ≤ `floor` is finite.
    #[track_caller]
    #[must_use]
    pub fn deviation(mut self, log_std: f64, floor: f64) -> Self {
        let name = self.head_name();
        let Head::Vectors(head) = &mut self.head else { panic!("deviation: a categorical policy has no deviations") };
        assert!(head.kind.has_deviations(), "deviation: a {name} policy has no deviations");
        assert!(
            floor >= 0.0 && floor.is_finite(),
            "deviation: the floor is {floor}, but must be finite and not negative"
        );
        (head.log_std, head.floor) = (log_std, floor.ln());
        self
    }

    /// With actions between these bounds, one of each for every component.
    ///
    /// Panics unless it is a [squashed normal](Network::squashed_normal) or a [beta](Network::beta) one, and every lower bound is below the
    /// upper one and both are finite.
    #[track_caller]
    #[must_use]
    pub fn between(mut self, low: &[f64], high: &[f64]) -> Self {
        let name = self.head_name();
        match &mut self.head {
            Head::Vectors(head) if matches!(head.kind, Vector::SquashedNormal | Vector::Beta) => {
                let size = head.components;
                assert!(
                    low.len() == size && high.len() == size,
                    "between: {} lower and {} upper bounds, but actions have {size} components",
                    low.len(),
                    high.len()
                );
                for (low, high) in low.iter().zip(high) {
                    assert!(
                        low < high && (high - low).is_finite(),
                        "between: bounds {low} and {high}, but the first must be below the second, and both finite"
                    );
                }
                head.bounds = Some([low.to_vec(), high.to_vec()]);
            }
            _ => panic!("between: a {name} policy has no bounds"),
        }
        self
    }

    /// A [mixture](Mixture) of so many of its distributions, as `network.normal(2).mixture(3)`: the last layer makes logits, and what each one is
    /// made of; deviations are each one's own.
    ///
    /// Panics unless it is over vectors, no mixture yet, and `count` is positive.
    #[track_caller]
    #[must_use]
    pub fn mixture(self, count: usize) -> Self {
        let (mut network, mut head) = match self.head {
            Head::Vectors(head) if head.mixed.is_none() => (self.network, head),
            Head::Vectors(_) => panic!("mixture: the policy is a mixture already"),
            Head::Categorical => panic!("mixture: one of categorical distributions is a categorical distribution"),
        };
        assert!(count > 0, "mixture: of no distributions");
        let last = network.layers.pop().expect("the head's");
        let Kind::Dense { inputs, .. } = last.kind else { unreachable!("the head's layer is dense") };
        let outputs = count + count * head.kind.outputs(head.components);
        network.layers.push(Layer { kind: Kind::Dense { inputs, outputs }, ..last });
        network.output = vec![outputs];
        head.mixed = Some(count);
        Self { network, head: Head::Vectors(head) }
    }

    fn head_name(&self) -> &'static str {
        match &self.head {
            Head::Categorical => "categorical",
            Head::Vectors(head) => match head.kind {
                Vector::Normal => "normal",
                Vector::FullNormal => "full normal",
                Vector::SquashedNormal => "squashed normal",
                Vector::Beta => "beta",
                Vector::Gamma => "gamma",
                Vector::Dirichlet => "Dirichlet",
            },
        }
    }

    /// The distributions at every step of rows that begin with this memory, as segments of longer trajectories do; and the memory
    /// after them ([`Network::along_from`]).
    ///
    /// Panics for another memory.
    #[track_caller]
    pub fn along_from(&self, theta: &Params, memory: &[Var], observations: Handle) -> (Dist, Vec<Var>) {
        let (output, after) = self.network.along_from(theta, memory, observations);
        (self.dist(theta, output), after)
    }

    /// The network, with its last layer.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The parameters that are not the network's, with their shapes.
    fn beside(&self) -> Vec<(String, &'static str, Vec<usize>)> {
        let Head::Vectors(head) = &self.head else { return Vec::new() };
        let named = |(name, shape)| (format!("{}{name}", self.network.prefix), name, shape);
        head.parameters().into_iter().map(named).collect()
    }

    #[track_caller]
    fn dist(&self, theta: &Params, output: Var) -> Dist {
        let Head::Vectors(head) = &self.head else { return Categorical::new(output).into() };
        // (A closure would not pass on where this is called from.)
        let mut parameters = Vec::new();
        for (name, _, shape) in self.beside() {
            parameters.push(parameter(theta, &name, &shape));
        }
        head.dist(output, &parameters)
    }
}

impl Policy for NetworkPolicy {
    fn init(&self, rng: &mut dyn Rng) -> Numbers {
        let mut numbers = self.network.draw(rng);
        for (name, what, shape) in self.beside() {
            let begin = match &self.head {
                Head::Vectors(head) if what == "log_std" => head.log_std,
                _ => 0.0,
            };
            numbers.insert(name, ArrayD::from_elem(shape, begin));
        }
        numbers
    }

    fn spaces(&self) -> Option<[Space; 2]> {
        let action = match &self.head {
            Head::Categorical => Space::Discrete(self.network.output[0]),
            Head::Vectors(head) => Space::vector(head.components),
        };
        Some([self.network.observation.clone(), action])
    }

    #[track_caller]
    fn along(&self, theta: &Params, observations: Handle) -> Dist {
        self.dist(theta, self.network.along(theta, observations))
    }

    fn memory(&self) -> Vec<Vec<usize>> {
        self.network.memory()
    }

    #[track_caller]
    fn once(&self, theta: &Params, memory: &[Var], observation: Handle) -> (Dist, Vec<Var>) {
        let (output, after) = self.network.once(theta, memory, observation);
        (self.dist(theta, output), after)
    }
}
