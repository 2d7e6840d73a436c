//! N-sample additive Monte-Carlo objectives G(θ) = E[f((1/N) Σ_i φ(X_i, θ), θ)], X_1 … X_N ~ p_θ independent, and three
//! surrogates whose gradients estimate ∇G (Tang 2022).
//!
//! What is adapted with N samples and then judged has this form: meta-reinforcement learning (`meta::sampled`) is one
//! instance. A mean inside a function f that is not affine is what makes it different from an ordinary expectation: the
//! exact gradient ([`Additive::score_function`]) has a variance that grows with N, and the one whose variance falls with
//! N ([`Additive::linearised_score_function`]) is biased. [`truth::check_additive`](crate::truth::check_additive) lists
//! every N-tuple of samples and says by how much.
//!
//! To add an estimator: one method of [`Additive`], its formula in its doc, and its row in `tests/additive.rs`.

use ad::Var;

mod distribution;

pub use distribution::{
    Data, Distribution, Finite, Gaussian, Recorded, Reparameterised, Samples, Softmax, Trajectories,
};

/// The objective G(θ) = E[f((1/N) Σ_i φ(X_i, θ), θ)], X_i ~ p_θ: a distribution p_θ, the features φ, and f.
///
/// - `features(samples, theta)` is φ(X_i, θ), `[N]` or `[N, …]`;
/// - `outer(mean, theta)` is f(φ̄, θ), a scalar, of the mean of the features, a scalar or `[…]`.
///
/// N is the number of samples that a method is given. Each method returns a surrogate: a scalar whose value is f(φ̄_N, θ)
/// and whose gradient by `theta` is the estimate.
///
/// ```
/// use rl::additive::{Additive, Data, Distribution, Gaussian, Reparameterised};
/// use rl::stream::stream;
/// // L(θ) = E[−(X̄_N − 1)²], X ~ N(θ, 1)
/// let objective = Additive::new(Gaussian { std: 1.0 }, |x, _| x, |mean, _| -(mean - 1.0).square().sum());
/// let theta = ndarray::arr1(&[-0.5]);
/// let samples = objective.distribution.sample(&theta.clone().into_dyn(), 10, &mut stream(0, 0));
///
/// let tape = ad::Tape::new();
/// let (samples, theta) = (samples.record(&tape), tape.input("theta", &theta));
/// let unbiased = objective.score_function(samples, theta).grad(theta);
/// let low_variance = objective.linearised_score_function(samples, theta).grad(theta);
/// # let _ = (unbiased.value(), low_variance.value());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Additive<D, P, F> {
    /// p_θ.
    pub distribution: D,
    /// φ.
    pub features: P,
    /// f.
    pub outer: F,
}

impl<D, P, F> Additive<D, P, F>
where
    D: Distribution,
    P: Fn(Samples<D>, Var) -> Var,
    F: Fn(Var, Var) -> Var,
{
    /// The objective with these parts.
    pub fn new(distribution: D, features: P, outer: F) -> Self {
        Self { distribution, features, outer }
    }

    /// f(φ̄_N, θ), with φ̄_N = (1/N) Σ_i φ(X_i, θ). Its derivatives see how φ and f depend on θ, and not that the samples do:
    /// term (ii) of Tang 2022, Eq. 6.
    #[track_caller]
    pub fn value(&self, samples: Samples<D>, theta: Var) -> Var {
        (self.outer)((self.features)(samples, theta).mean_axes(&[0]), theta)
    }

    /// The score-function estimate, f(φ̄_N, θ)·□(Σ_i log p_θ(X_i)), whose gradient is
    ///
    /// f(φ̄_N, θ) Σ_i ∇log p_θ(X_i) + ∇_θ f(φ̄_N, θ) + (1/N) Σ_i ∇_θ φ(X_i, θ) ∇_φ̄ f(φ̄_N, θ)
    ///
    /// (Tang 2022, Eq. 6; Eq. 4 where neither φ nor f depends on θ). Unbiased for G at every order; its variance is Θ(N).
    #[track_caller]
    pub fn score_function(&self, samples: Samples<D>, theta: Var) -> Var {
        self.value(samples, theta) * self.distribution.log_prob(samples, theta).sum().magic_box()
    }

    /// The linearised score-function estimate, f((1/N) Σ_i φ(X_i, θ)·□(log p_θ(X_i)), θ), whose gradient is
    ///
    /// (1/N) Σ_i \[∇_φ̄ f(φ̄_N, θ)ᵀ φ(X_i, θ)\] ∇log p_θ(X_i) + ∇_θ f(φ̄_N, θ) + (1/N) Σ_i ∇_θ φ(X_i, θ) ∇_φ̄ f(φ̄_N, θ)
    ///
    /// (Tang 2022, Eq. 10; Eq. 9 where neither φ nor f depends on θ): what the boxes of DiCE inside f amount to. Its
    /// variance is O(1/N). Unbiased where f is affine in φ̄; elsewhere biased for G by what falls with N (at most O(1/√N)).
    #[track_caller]
    pub fn linearised_score_function(&self, samples: Samples<D>, theta: Var) -> Var {
        let features = (self.features)(samples, theta);
        let boxes = self.distribution.log_prob(samples, theta).magic_box();
        let mut shape = vec![1; features.shape().len()];
        shape[0] = boxes.size();
        (self.outer)((features * boxes.reshape(&shape)).mean_axes(&[0]), theta)
    }

    /// The path-wise estimate, f((1/N) Σ_i φ(T_θ(ζ_i), θ), θ), of samples that are functions X = T_θ(ζ) of noise ζ: its
    /// gradient goes through them (Tang 2022, App. B). Unbiased for G at every order, where φ and f are smooth.
    #[track_caller]
    pub fn path_wise(&self, noise: Samples<D>, theta: Var) -> Var
    where
        D: Reparameterised,
    {
        self.value(self.distribution.transform(noise, theta), theta)
    }
}
