//! What an N-sample objective needs of a distribution p_θ: a log-probability on the tape and a sampler; for enumeration the
//! list of outcomes, for path-wise derivatives a reparameterisation.
//!
//! To add a distribution: implement [`Distribution`], and [`Finite`] or [`Reparameterised`] if it is one.

use ad::{Handle, Index, Tape, Var};
use ndarray::{Array1, ArrayD, Axis, Ix2};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::env::TabularMdp;
use crate::error::Result;
use crate::policy::{Table, softmax};
use crate::rollout::{Episodes, Rollout};
use crate::stream::draw;

/// N samples as numbers: an array of reals or integers with N in front, or trajectories.
pub trait Data: Sized {
    /// The same on a tape.
    type Recorded: Recorded;

    /// Records them as inputs of a tape.
    #[track_caller]
    fn record(&self, tape: &Tape) -> Self::Recorded;

    /// The samples of these numbers, in this order.
    fn select(&self, members: &[usize]) -> Self;
}

/// N samples on a tape: a [`Var`], an [`Index`] or [`Episodes`], all of whose arrays have N in front.
pub trait Recorded: Copy {
    /// The arrays it is made of.
    fn handles(&self) -> Vec<Handle>;

    /// The same from such arrays.
    fn from_handles(handles: &[Handle]) -> Self;
}

/// The samples of a distribution, on a tape.
pub type Samples<D> = <<D as Distribution>::Data as Data>::Recorded;

/// A distribution p_θ: its log-probability and a sampler.
pub trait Distribution {
    /// Its samples, as numbers.
    type Data: Data;

    /// log p_θ(X_i), `[N]`. Terms that do not depend on θ may be left out.
    #[track_caller]
    fn log_prob(&self, samples: Samples<Self>, theta: Var) -> Var
    where
        Self: Sized;

    /// N independent samples.
    ///
    /// Panics if θ is none of this distribution's.
    #[track_caller]
    fn sample(&self, theta: &ArrayD<f64>, samples: usize, rng: &mut ChaCha8Rng) -> Self::Data;
}

/// A distribution over finitely many outcomes, all of which can be listed.
pub trait Finite: Distribution {
    /// All outcomes, `[K]`, and for each the factor of its probability that `log_prob` leaves out: outcome k has the
    /// probability `factors[k]` · exp(log_prob of k), at any θ.
    ///
    /// # Errors
    ///
    /// If there are too many to list.
    fn outcomes(&self) -> Result<(Self::Data, Array1<f64>)>;
}

/// A distribution whose samples are functions X = T_θ(ζ) of noise ζ that does not depend on θ.
pub trait Reparameterised: Distribution {
    /// T_θ(ζ_i).
    #[track_caller]
    fn transform(&self, noise: Samples<Self>, theta: Var) -> Samples<Self>
    where
        Self: Sized;

    /// N independent ζ.
    fn noise(&self, theta: &ArrayD<f64>, samples: usize, rng: &mut ChaCha8Rng) -> Self::Data;
}

impl Data for ArrayD<f64> {
    type Recorded = Var;
    fn record(&self, tape: &Tape) -> Var {
        tape.input("samples", self)
    }
    fn select(&self, members: &[usize]) -> Self {
        self.view().select(Axis(0), members)
    }
}

impl Data for ArrayD<i32> {
    type Recorded = Index;
    fn record(&self, tape: &Tape) -> Index {
        tape.index("samples", self)
    }
    fn select(&self, members: &[usize]) -> Self {
        self.view().select(Axis(0), members)
    }
}

impl Data for Rollout {
    type Recorded = Episodes;
    fn record(&self, tape: &Tape) -> Episodes {
        Rollout::record(self, tape)
    }
    fn select(&self, members: &[usize]) -> Self {
        Rollout::select(self, members)
    }
}

impl Recorded for Var {
    fn handles(&self) -> Vec<Handle> {
        vec![(*self).into()]
    }
    fn from_handles(handles: &[Handle]) -> Self {
        handles[0].var()
    }
}

impl Recorded for Index {
    fn handles(&self) -> Vec<Handle> {
        vec![(*self).into()]
    }
    fn from_handles(handles: &[Handle]) -> Self {
        handles[0].index()
    }
}

impl Recorded for Episodes {
    fn handles(&self) -> Vec<Handle> {
        Episodes::handles(self).to_vec()
    }
    fn from_handles(handles: &[Handle]) -> Self {
        Episodes::from_handles(handles)
    }
}

/// Normal distributions N(θ, σ²) of independent components: θ and each sample have D entries.
#[derive(Clone, Copy, Debug)]
pub struct Gaussian {
    /// σ, positive and finite.
    pub std: f64,
}

impl Gaussian {
    #[track_caller]
    fn std(&self) -> f64 {
        let std = self.std;
        assert!(std > 0.0 && std.is_finite(), "Gaussian: σ is {std}, but must be positive and finite");
        std
    }
}

impl Distribution for Gaussian {
    type Data = ArrayD<f64>;

    /// −½ Σ_j ((X_ij − θ_j) / σ)², `[N]`.
    fn log_prob(&self, samples: Var, theta: Var) -> Var {
        let (found, size) = (samples.shape(), theta.size());
        assert!(found.len() == 2 && found[1] == size, "Gaussian: samples need the shape [N, {size}], got {found:?}");
        ((samples - theta) / self.std()).square().sum_axes(&[1]) * -0.5
    }

    fn sample(&self, theta: &ArrayD<f64>, samples: usize, rng: &mut ChaCha8Rng) -> ArrayD<f64> {
        self.noise(theta, samples, rng) * self.std() + theta
    }
}

impl Reparameterised for Gaussian {
    fn transform(&self, noise: Var, theta: Var) -> Var {
        theta + noise * self.std()
    }

    fn noise(&self, theta: &ArrayD<f64>, samples: usize, rng: &mut ChaCha8Rng) -> ArrayD<f64> {
        ArrayD::from_shape_simple_fn(vec![samples, theta.len()], || StandardNormal.sample(rng))
    }
}

/// The distribution p_θ(k) ∝ e^θ_k over K outcomes, θ `[K]`: any distribution over finitely many things.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// K.
    pub outcomes: usize,
}

impl Distribution for Softmax {
    type Data = ArrayD<i32>;

    fn log_prob(&self, samples: Index, theta: Var) -> Var {
        theta.log_softmax().gather([samples])
    }

    fn sample(&self, theta: &ArrayD<f64>, samples: usize, rng: &mut ChaCha8Rng) -> ArrayD<i32> {
        assert!(theta.shape() == [self.outcomes], "sample: θ has shape {:?}, not [{}]", theta.shape(), self.outcomes);
        let theta = theta.clone().into_shape_with_order(self.outcomes).expect("one axis");
        let probabilities = softmax(&theta);
        let mut drawn = ArrayD::zeros(vec![samples]);
        for outcome in &mut drawn {
            *outcome = match draw(probabilities.iter().copied(), rng) {
                Some(outcome) => outcome as i32,
                None => panic!("sample: θ = {theta} is that of no distribution, its probabilities are {probabilities}"),
            };
        }
        drawn
    }
}

impl Finite for Softmax {
    fn outcomes(&self) -> Result<(ArrayD<i32>, Array1<f64>)> {
        let numbers = Array1::from_iter(0..self.outcomes as i32).into_dyn();
        Ok((numbers, Array1::ones(self.outcomes)))
    }
}

/// The trajectories of a decision process under the softmax policy with logits θ, `[S, A]`.
#[derive(Clone, Debug)]
pub struct Trajectories {
    /// The process.
    pub mdp: TabularMdp,
    /// Their largest number of steps, H.
    pub horizon: usize,
}

impl Distribution for Trajectories {
    type Data = Rollout;

    /// Σ_t log π_θ(a_t|s_t), `[N]`: without the transitions, which do not depend on θ.
    fn log_prob(&self, samples: Episodes, theta: Var) -> Var {
        samples.steps.on_steps(Table::log_prob_of(theta, &samples)).sum_axes(&[1])
    }

    fn sample(&self, theta: &ArrayD<f64>, samples: usize, rng: &mut ChaCha8Rng) -> Rollout {
        let logits = theta.view().into_dimensionality::<Ix2>().expect("θ has the shape [S, A]").to_owned();
        let rollout = self.mdp.sample(&softmax(&logits), self.horizon, samples, rng.next_u64());
        rollout.unwrap_or_else(|problem| panic!("sample: {problem}"))
    }
}

impl Finite for Trajectories {
    fn outcomes(&self) -> Result<(Rollout, Array1<f64>)> {
        self.mdp.outcomes(self.horizon)
    }
}
