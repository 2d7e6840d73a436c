//! What a policy gives: distributions over actions, one for each observation.
//!
//! A distribution over vectors is a file of its own, with what [`OverVectors`] asks of it, and one line of `distributions!`
//! below. Then it is a variant of [`Dist`], acts in environments and may be mixed.

use ad::{DType, Handle, Shape, Value, Var};
use ndarray::{ArrayD, ArrayView1};
use rand::Rng;

use super::{Beta, Categorical, Dirichlet, FullNormal, Gamma, Mixture, Normal, SquashedNormal};
use crate::stream::draw;

/// What is asked of a distribution over vectors. Its own methods of the same names have the formulas.
pub(crate) trait OverVectors: Copy {
    /// As messages call it.
    fn name(&self) -> &'static str;

    /// The shape of points, `[…, D]`: the batch, and how many components they have.
    fn shape(&self) -> Shape;

    /// The arrays that describe it, each with the batch in front.
    #[track_caller]
    fn heads(&self) -> Vec<Var>;

    /// The same with other such arrays.
    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self;

    /// log π(a), `[…]`, of points `[…, D]`.
    #[track_caller]
    fn log_prob(&self, points: Var) -> Var;

    /// `[…]`, if it has a closed form.
    #[track_caller]
    fn entropy(&self) -> Option<Var> {
        None
    }

    /// KL(self ‖ other), `[…]`, if it has a closed form.
    #[track_caller]
    fn kl(&self, _other: &Self) -> Option<Var> {
        None
    }

    /// What a point is made of, `[…, S]`: the numbers that [`draw`](Self::draw) takes, one row for each distribution.
    #[track_caller]
    fn drawn_from(&self) -> Var;

    /// Draws a point from such a row, rounded to single precision if it is written down so; NaN if the row is no distribution. What is
    /// written down is always where the density is positive, though rounding would put it elsewhere.
    fn draw(numbers: &[f64], single: bool, rng: &mut dyn Rng, action: &mut [f64]);

    /// How points are drawn.
    fn drawing(&self) -> Draw {
        Draw { name: self.name(), mixed: 0, one: Self::draw }
    }
}

/// Which formulas of [`OverVectors`] a distribution has, as methods of its own.
macro_rules! own_formulas {
    (log_prob) => {
        #[track_caller]
        fn log_prob(&self, points: Var) -> Var {
            self.log_prob(points)
        }
    };
    (entropy) => {
        #[track_caller]
        fn entropy(&self) -> Option<Var> {
            Some(self.entropy())
        }
    };
    (kl) => {
        #[track_caller]
        fn kl(&self, other: &Self) -> Option<Var> {
            Some(self.kl(other))
        }
    };
    ($($formula:ident)*) => {
        $(own_formulas!($formula);)*
    };
}
pub(super) use own_formulas;

/// How a point is drawn from numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    /// What is drawn from.
    pub name: &'static str,
    /// Of how many distributions, whose probabilities are the first numbers; 0 if it is but one.
    pub mixed: usize,
    /// Of one of them, from its numbers.
    pub one: fn(&[f64], bool, &mut dyn Rng, &mut [f64]),
}

impl Draw {
    /// Draws a point. NaN if there is none.
    pub fn draw(self, numbers: &[f64], single: bool, rng: &mut impl Rng, action: &mut [f64]) {
        if self.mixed == 0 {
            return (self.one)(numbers, single, rng, action);
        }
        let (weights, each) = numbers.split_at(self.mixed);
        let Some(chosen) = draw(weights.iter().copied(), rng) else { return action.fill(f64::NAN) };
        let size = each.len() / self.mixed;
        (self.one)(&each[chosen * size..(chosen + 1) * size], single, rng, action);
    }
}

/// A point for each of a batch, `[…, D]`.
#[track_caller]
fn sample(of: &impl OverVectors, rng: &mut impl Rng) -> ArrayD<f64> {
    let (from, drawing, shape) = (of.drawn_from(), of.drawing(), of.shape());
    let single = from.dtype() == DType::F32;
    let numbers = from.cast(DType::F64).value();
    let mut points = ArrayD::zeros(&shape[..]);
    let rows = points.as_slice_mut().expect("row-major").chunks_exact_mut(shape[shape.len() - 1].max(1));
    let size = *numbers.shape().last().expect("an axis of numbers");
    let numbers = numbers.as_standard_layout();
    let from = numbers.as_slice().expect("row-major").chunks_exact(size.max(1));
    for (row, (numbers, point)) in from.zip(rows).enumerate() {
        drawing.draw(numbers, single, rng, point);
        assert!(
            !point.iter().any(|x| x.is_nan()),
            "sample: row {row} is no distribution, but {} of {}",
            drawing.name,
            ArrayView1::from(numbers)
        );
    }
    points
}

macro_rules! distributions {
    ($($(#[$doc:meta])* $name:ident)*; mixed: $mixture:ident) => {
        /// Distributions over actions, a batch of them.
        #[derive(Clone, Copy, Debug)]
        pub enum Dist {
            /// Over numbered actions.
            Categorical(Categorical),
            $($(#[$doc])* $name($name),)*
            /// Over vectors: one of several distributions of a kind, chosen at random.
            $mixture($mixture),
        }

        /// Distributions of one kind over vectors, that a [`Mixture`] may be of.
        #[derive(Clone, Copy, Debug)]
        pub enum Component {
            $($(#[$doc])* $name($name),)*
        }

        distributions!(@type $($name)* $mixture);
        distributions!(@component $($name)*);
        distributions!(@dist $($name)* $mixture);

        impl From<Component> for Dist {
            fn from(component: Component) -> Self {
                match component { $(Component::$name(one) => Dist::$name(one),)* }
            }
        }
    };
    (@type $($name:ident)*) => {
        $(
            impl From<$name> for Dist {
                fn from(one: $name) -> Self {
                    Dist::$name(one)
                }
            }

            impl $name {
                /// The same, held fixed: no derivative flows into it.
                #[track_caller]
                #[must_use]
                pub fn stop_gradient(&self) -> Self {
                    self.with_heads(&fixed(&self.heads()))
                }

                /// One point for each row, `[…, D]`: numbers of the type that the parameters are of, in double precision. Evaluates
                /// the parameters.
                ///
                /// Panics if a row is no distribution.
                #[track_caller]
                pub fn sample(&self, rng: &mut impl Rng) -> ArrayD<f64> {
                    sample(self, rng)
                }
            }
        )*
    };
    (@component $($name:ident)*) => {
        $(
            impl From<$name> for Component {
                fn from(one: $name) -> Self {
                    Component::$name(one)
                }
            }
        )*

        impl OverVectors for Component {
            fn name(&self) -> &'static str {
                match self { $(Component::$name(one) => one.name(),)* }
            }
            fn shape(&self) -> Shape {
                match self { $(Component::$name(one) => OverVectors::shape(one),)* }
            }
            #[track_caller]
            fn heads(&self) -> Vec<Var> {
                match self { $(Component::$name(one) => one.heads(),)* }
            }
            #[track_caller]
            fn with_heads(&self, heads: &[Var]) -> Self {
                match self { $(Component::$name(one) => one.with_heads(heads).into(),)* }
            }
            #[track_caller]
            fn log_prob(&self, points: Var) -> Var {
                match self { $(Component::$name(one) => OverVectors::log_prob(one, points),)* }
            }
            #[track_caller]
            fn entropy(&self) -> Option<Var> {
                match self { $(Component::$name(one) => OverVectors::entropy(one),)* }
            }
            #[track_caller]
            fn kl(&self, other: &Self) -> Option<Var> {
                match (self, other) {
                    $((Component::$name(one), Component::$name(other)) => OverVectors::kl(one, other),)*
                    _ => None,
                }
            }
            #[track_caller]
            fn drawn_from(&self) -> Var {
                match self { $(Component::$name(one) => one.drawn_from(),)* }
            }
            fn draw(_numbers: &[f64], _single: bool, _rng: &mut dyn Rng, _action: &mut [f64]) {
                unreachable!("`drawing` says how")
            }
            fn drawing(&self) -> Draw {
                match self { $(Component::$name(one) => one.drawing(),)* }
            }
        }
    };
    (@dist $($name:ident)*) => {
        impl Dist {
            /// As messages call it, such as `a normal distribution`.
            pub fn name(&self) -> &'static str {
                match self {
                    Dist::Categorical(_) => "a categorical distribution",
                    $(Dist::$name(one) => one.name(),)*
                }
            }

            /// log π(a|·) of one action for each, `[…]`: numbers `[…]`, or vectors `[…, D]`.
            ///
            /// Panics for actions of the other kind.
            #[track_caller]
            pub fn log_prob(&self, actions: Handle) -> Var {
                match (self, actions) {
                    (Dist::Categorical(categorical), Handle::Index(actions)) => categorical.log_prob(actions),
                    $((Dist::$name(one), Handle::Var(actions)) => one.log_prob(actions),)*
                    (_, Handle::Var(actions)) => panic!(
                        "log_prob: {} is over numbered actions, integers, but these are {} of shape {:?}",
                        self.name(),
                        actions.dtype(),
                        actions.shape()
                    ),
                    (_, Handle::Index(actions)) => panic!(
                        "log_prob: {} is over vectors, but these are numbered actions of shape {:?}",
                        self.name(),
                        actions.shape()
                    ),
                }
            }

            /// The entropy of each, `[…]`, if it has a closed form: those of a squashed normal distribution and of a mixture have
            /// none.
            #[track_caller]
            pub fn closed_entropy(&self) -> Option<Var> {
                match self {
                    Dist::Categorical(categorical) => Some(categorical.entropy()),
                    $(Dist::$name(one) => OverVectors::entropy(one),)*
                }
            }

            /// KL(self ‖ other) of each, `[…]`, if it has a closed form: that of mixtures has none, and that of distributions of two
            /// kinds is not known here.
            #[track_caller]
            pub fn closed_kl(&self, other: &Self) -> Option<Var> {
                match (self, other) {
                    (Dist::Categorical(one), Dist::Categorical(other)) => Some(one.kl(other)),
                    $((Dist::$name(one), Dist::$name(other)) => OverVectors::kl(one, other),)*
                    _ => None,
                }
            }

            /// The same distributions held fixed: no derivative flows into them.
            #[track_caller]
            #[must_use]
            pub fn stop_gradient(&self) -> Self {
                match self {
                    Dist::Categorical(categorical) => categorical.stop_gradient().into(),
                    $(Dist::$name(one) => one.stop_gradient().into(),)*
                }
            }

            /// One action for each, `[…]` or `[…, D]`. Evaluates the parameters.
            ///
            /// Panics if one of them is no distribution.
            #[track_caller]
            pub fn sample(&self, rng: &mut impl Rng) -> Value<'static> {
                match self {
                    Dist::Categorical(categorical) => categorical.sample(rng).into(),
                    $(Dist::$name(one) => one.sample(rng).into(),)*
                }
            }

            /// The arrays that describe them, each with the batch in front: log-probabilities of a categorical one, means and logarithms
            /// of deviations of a normal one. What is the same for all policies of a kind (bounds) is not among them.
            #[track_caller]
            pub fn heads(&self) -> Vec<Var> {
                match self {
                    Dist::Categorical(categorical) => vec![categorical.log_probabilities()],
                    $(Dist::$name(one) => one.heads(),)*
                }
            }

            /// Distributions of this kind with other such arrays.
            ///
            /// Panics if they are others in number, or do not fit.
            #[track_caller]
            #[must_use]
            pub fn with_heads(&self, heads: &[Var]) -> Self {
                let count = self.heads().len();
                assert!(heads.len() == count, "with_heads: {} has {count} heads, got {}", self.name(), heads.len());
                match self {
                    Dist::Categorical(_) => Categorical::new(heads[0]).into(),
                    $(Dist::$name(one) => one.with_heads(heads).into(),)*
                }
            }

            /// Of vectors: how many components they have, what they are made of, and how.
            #[track_caller]
            pub(crate) fn drawing(&self) -> Option<(usize, Var, Draw)> {
                match self {
                    Dist::Categorical(_) => None,
                    $(Dist::$name(one) => {
                        let size = *OverVectors::shape(one).last().expect("with components");
                        Some((size, one.drawn_from(), one.drawing()))
                    })*
                }
            }
        }
    };
}

distributions! {
    /// Over vectors, of independent components.
    Normal
    /// Over vectors, of any covariance.
    FullNormal
    /// Over vectors between bounds, of independent components: tanh of normal ones.
    SquashedNormal
    /// Over vectors between bounds, of independent components.
    Beta
    /// Over vectors of positive numbers, of independent components.
    Gamma
    /// Over vectors of positive numbers that add up to 1.
    Dirichlet
    ; mixed: Mixture
}

impl From<Categorical> for Dist {
    fn from(categorical: Categorical) -> Self {
        Dist::Categorical(categorical)
    }
}

impl Dist {
    /// The entropy of each, `[…]`.
    ///
    /// Panics if it has no closed form, as those of a squashed normal distribution and of a mixture:
    /// [`closed_entropy`](Self::closed_entropy) asks whether it has.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        let Some(entropy) = self.closed_entropy() else {
            panic!(
                "entropy: that of {} has no closed form (the mean of −log_prob over samples estimates it)",
                self.name()
            )
        };
        entropy
    }

    /// KL(self ‖ other) of each, `[…]`.
    ///
    /// Panics if they are of two kinds, or have no closed form, as mixtures: [`closed_kl`](Self::closed_kl) asks whether they have.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        let Some(divergence) = self.closed_kl(other) else {
            panic!(
                "kl: that of {} to {} has no closed form (the mean of differences of log_prob over samples of the first \
                 estimates it)",
                self.name(),
                other.name()
            )
        };
        divergence
    }
}

#[track_caller]
fn fixed(heads: &[Var]) -> Vec<Var> {
    heads.iter().map(|head| head.stop_gradient()).collect()
}
