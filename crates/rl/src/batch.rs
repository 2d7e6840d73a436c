//! A batch of trajectories on a tape, and the quantities that every estimator is made of: ratios, values, temporal
//! differences, advantages.
//!
//! What is handed in is masked at once ([`Steps`]), so that every quantity below is 0 (a ratio: 1) behind the end of its
//! trajectory. No estimator sees an observation or an action.

use ad::{DType, Var};

pub use crate::decay::Decay;
use crate::rollout::Steps;

/// What an estimator is a function of.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Rewards, and which steps there are.
    pub steps: Steps,
    log_prob: Var,
    log_behaviour: Option<Var>,
    critic: Option<Var>,
    /// Q(s_t, a_t) and Σ_a π_θ(a|s_t) Q(s_t, a).
    action_critic: Option<[Var; 2]>,
    gamma: Decay,
    form: Form,
    /// Whether estimators limit derivatives to the orders they claim.
    limited: bool,
}

/// How a surrogate is written: as an estimate of the value ([`VALUE`](Self::VALUE)), or with what deep algorithms change in it.
/// See [`Deep`](crate::objective::Deep).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form {
    /// Whether step t is weighted by γ^t, as it is in the value.
    pub discounted: bool,
    /// Whether what is credited (advantages, or rewards where there are none) is shifted and scaled to mean 0 and standard
    /// deviation 1 over the steps of the batch.
    pub normalised: bool,
    /// The λ of the advantages' GAE, in [0, 1]; 1 believes rewards alone.
    pub lambda: f64,
}

impl Form {
    /// As the value is: weighted by γ^t, credited with what it is, λ = 1.
    pub const VALUE: Self = Self { discounted: true, normalised: false, lambda: 1.0 };
}

impl Batch {
    /// A batch sampled on policy, without a critic. `log_prob` is log π_θ(a_t|s_t), `[N, H]`; `gamma` the discount, a number or a
    /// scalar of the tape.
    ///
    /// On policy a ratio is the number 1 at any θ, and only its derivatives know of θ: differences of a surrogate between two θ
    /// are not its derivatives. To compare with differences on fixed data, say what sampled them:
    /// [`off_policy`](Self::off_policy) by the log-probabilities of other inputs, of the same numbers as θ.
    ///
    /// ```
    /// # use rl::{batch::Batch, env::{Navigation, sample}, objective::{Estimator, ImportanceSampling}};
    /// # use rl::{policy::{self, Network, Policy}, rollout::Space, stream::stream};
    /// # let policy = Network::new(&Space::vector(2)).normal(2);
    /// # let numbers = policy.init(&mut stream(0, 0));
    /// # let rollout = sample(&Navigation::to([0.3, -0.2]), &policy, &numbers, 5, 10, 0)?;
    /// # let tape = ad::Tape::new();
    /// let (theta, mu) = (policy::record(&numbers, &tape), policy::record(&numbers, &tape));
    /// let episodes = rollout.record(&tape);
    /// let batch = Batch::new(episodes, policy.log_prob(&theta, &episodes), 0.9)
    ///     .off_policy(policy.log_prob(&mu, &episodes));
    /// let surrogate = ImportanceSampling.surrogate(&batch);
    /// let at = tape.compile([theta["b1"]], [surrogate, surrogate.grad(theta["b1"]).at(0, 0)]);
    /// let value = |b: f64| Ok::<_, ad::Error>(at.run(&ad::values![ndarray::arr1(&[b, 0.0])])?[0].sum());
    /// let derivative = at.run(&ad::values![numbers["b1"]])?[1].sum();
    /// assert!(((value(1e-5)? - value(-1e-5)?) / 2e-5 - derivative).abs() < 1e-6);
    /// # Ok::<(), rl::error::Error>(())
    /// ```
    ///
    /// Panics if a shape does not fit, or unless 0 ≤ γ ≤ 1.
    #[track_caller]
    pub fn new(steps: impl Into<Steps>, log_prob: Var, gamma: impl Into<Decay>) -> Self {
        let (steps, gamma) = (steps.into(), gamma.into().checked("Batch", "the discount"));
        expect_shape("log_prob", log_prob, &[steps.trajectories(), steps.horizon()]);
        let log_prob = steps.on_steps(log_prob);
        let (log_behaviour, critic, action_critic) = (None, None, None);
        Self { steps, log_prob, log_behaviour, critic, action_critic, gamma, form: Form::VALUE, limited: true }
    }

    /// The same, sampled by a behaviour policy μ: `log_behaviour` is log μ(a_t|s_t), `[N, H]`. Of outside data,
    /// [`Rollout::check_log_behaviour`](crate::rollout::Rollout::check_log_behaviour) says whether they can be that.
    #[track_caller]
    #[must_use]
    pub fn off_policy(self, log_behaviour: Var) -> Self {
        expect_shape("log_behaviour", log_behaviour, &self.log_prob.shape());
        Self { log_behaviour: Some(self.steps.on_steps(log_behaviour)), ..self }
    }

    /// The same, with a critic: `values` is V(s_t), `[N, H + 1]`, at the states s_0 … s_H. Its entry at the end of a
    /// truncated trajectory is bootstrapped from; whatever it says after termination counts as 0.
    ///
    /// No derivative flows through it, also where it shares parameters with the policy: to an estimator a critic is numbers,
    /// and claims are about that. [`with_differentiable_critic`](Self::with_differentiable_critic) is the other way. Of a
    /// [`Network`](crate::policy::Network) with one output, along all observations, it is
    /// `critic.along(&w, episodes.observations).at(2, 0)`.
    #[track_caller]
    #[must_use]
    pub fn with_critic(self, values: Var) -> Self {
        self.with_differentiable_critic(values.stop_gradient())
    }

    /// The same, with a critic that is differentiated like all else.
    ///
    /// That is right where V is part of the objective, as where rewards r_φ and the critic of r_φ are differentiated by φ; and
    /// by the policy's own parameters θ if a truncated end is to count V_θ(s_L) as a function of θ, for estimators that V
    /// cancels out of but for that end (`dr`, `loaded`, LVC, TayPO, those of DiCE). In others, `ad` and `loaded_tau` among
    /// them, E[∇V_θ] is left over: a bias.
    #[track_caller]
    #[must_use]
    pub fn with_differentiable_critic(self, values: Var) -> Self {
        expect_shape("critic", values, &[self.steps.trajectories(), self.steps.horizon() + 1]);
        Self { critic: Some(self.steps.where_counted(values)), ..self }
    }

    /// The same, with a critic of states and actions: `taken` is Q(s_t, a_t), `[N, H]`, and `expected` is
    /// Σ_a π_θ(a|s_t) Q(s_t, a), `[N, H + 1]`. The latter depends on θ, and its derivatives are part of the estimate: give it
    /// as a function of the policy's rows, not as numbers. What either says after termination counts as 0.
    ///
    /// Both are differentiated. If Q itself depends on θ, as where it shares parameters with the policy, make both of
    /// `q.stop_gradient()`; made of Q_θ, both of them, they estimate the value whose truncated end counts Σ_a π_θ Q_θ.
    ///
    /// ```
    /// # use rl::{batch::Batch, env::TabularMdp, policy};
    /// # let mdp = TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0]]))?;
    /// # let logits = ndarray::Array2::zeros((2, 2));
    /// # let rollout = mdp.sample(&policy::softmax(&logits), 5, 8, 0)?;
    /// # let tape = ad::Tape::new();
    /// # let theta = tape.input("theta", &logits);
    /// # let episodes = rollout.record(&tape);
    /// let q = tape.constant(ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]));                    // of a table, [S, A]
    /// let expected = (theta.softmax() * q).sum_axes(&[1]).gather(&[episodes.states()]);
    /// let batch = Batch::new(episodes, policy::Table::log_prob_of(theta, &episodes), 0.9)
    ///     .with_action_critic(episodes.look_up(q), expected);
    /// # let _ = batch;
    /// # Ok::<(), rl::error::Error>(())
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_action_critic(self, taken: Var, expected: Var) -> Self {
        let (trajectories, horizon) = (self.steps.trajectories(), self.steps.horizon());
        expect_shape("the action critic at the actions taken", taken, &[trajectories, horizon]);
        expect_shape("the expected action critic", expected, &[trajectories, horizon + 1]);
        Self { action_critic: Some([self.steps.on_steps(taken), self.steps.where_counted(expected)]), ..self }
    }

    /// The same, written in this form.
    ///
    /// Panics unless 0 ≤ λ ≤ 1.
    #[track_caller]
    #[must_use]
    pub fn in_form(self, form: Form) -> Self {
        Decay::Number(form.lambda).checked("in_form", "λ");
        Self { form, ..self }
    }

    /// Whether a behaviour policy was given.
    pub fn is_off_policy(&self) -> bool {
        self.log_behaviour.is_some()
    }

    /// The same, for derivatives beyond what estimators claim.
    pub(crate) fn without_limits(self) -> Self {
        Self { limited: false, ..self }
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited
    }

    /// γ.
    pub fn gamma(&self) -> Decay {
        self.gamma
    }

    /// What each step weighs less than the one before: γ, or 1 if the form is not [discounted](Form::discounted).
    pub fn step_discount(&self) -> Decay {
        if self.form.discounted { self.gamma } else { Decay::Number(1.0) }
    }

    /// γ^t, `[H]`, of the type that log-probabilities are of; 1 if the form is not [discounted](Form::discounted).
    #[track_caller]
    pub fn discounts(&self) -> Var {
        self.step_discount().powers(self.steps.horizon(), self.log_prob)
    }

    /// r_t, `[N, H]`.
    #[track_caller]
    pub fn rewards(&self) -> Var {
        self.steps.on_steps(self.steps.rewards)
    }

    /// log π_θ(a_t|s_t), `[N, H]`.
    pub fn log_prob(&self) -> Var {
        self.log_prob
    }

    /// log ρ_t on and off policy: log π_θ, and log π_θ − log μ.
    #[track_caller]
    fn log_ratio(&self) -> Var {
        match self.log_behaviour {
            None => self.log_prob,
            Some(log_behaviour) => self.log_prob - log_behaviour,
        }
    }

    /// ρ, given its logarithm as [`log_ratio`](Self::log_ratio) has it, or a sum of such.
    #[track_caller]
    fn ratio_of(&self, log_ratio: Var) -> Var {
        if self.is_off_policy() { log_ratio.exp() } else { log_ratio.magic_box() }
    }

    /// ρ_t, `[N, H]`: on policy the magic box of log π_θ.
    #[track_caller]
    pub fn ratio(&self) -> Var {
        self.ratio_of(self.log_ratio())
    }

    /// Π_{k≤t} ρ_k, `[N, H]`.
    #[track_caller]
    pub fn cumulative_ratio(&self) -> Var {
        self.ratio_of(self.log_ratio().cumsum(1))
    }

    /// Π_{k<t} ρ_k, `[N, H]`: what it was before step t; 1 for t = 0.
    #[track_caller]
    pub fn cumulative_ratio_before(&self) -> Var {
        self.ratio_of(self.log_ratio().cumsum_exclusive(1))
    }

    /// Σ_t x_t Π_{k≤t} ρ_k, `[N]`. Off policy the products may be beyond the range of numbers where x is 0, and add nothing
    /// there; the sum is infinite if it is itself beyond, and no NaN.
    #[track_caller]
    pub fn importance_weighted_sum(&self, x: Var) -> Var {
        if self.is_off_policy() {
            return sum_of_exponentials(x, self.log_ratio().cumsum(1));
        }
        (x * self.cumulative_ratio()).sum_axes(&[1])
    }

    /// Σ_t x_t (W_t − W′_t), `[N]`, with W_t = Π_{k≤t} ρ_k^(λ^{t−k}), the cumulative ratio that forgets what is long past, and
    /// W′_t the same product without k = t. At λ = 1 they are Π_{k≤t} ρ_k and Π_{k<t} ρ_k; at λ = 0, ρ_t and 1.
    ///
    /// Panics unless 0 ≤ λ ≤ 1.
    #[track_caller]
    pub fn decayed_weighted_sum(&self, x: Var, lambda: f64) -> Var {
        Decay::Number(lambda).checked("decayed_weighted_sum", "λ");
        let log_ratio = self.log_ratio();
        let (sum, before) = if lambda == 0.0 {
            // 0·log ρ would be NaN for an action that π never takes.
            (log_ratio, log_ratio.full_like(0.0))
        } else {
            let sum = log_ratio.scan(lambda, 1);
            (sum, sum.pad(1, 1, 0).slice(1, 0..self.steps.horizon()) * lambda)
        };
        if self.is_off_policy() {
            return sum_of_exponentials(x * (self.ratio() - 1.0), before);
        }
        (x * (sum.magic_box() - before.magic_box())).sum_axes(&[1])
    }

    /// V(s_t), `[N, H + 1]`: 0 where no critic was given, after termination, and behind the end.
    #[track_caller]
    pub fn values(&self) -> Var {
        self.critic.unwrap_or_else(|| self.steps.counted.full_like(0.0))
    }

    /// V(s_0) … V(s_{H−1}) and V(s_1) … V(s_H), `[N, H]` each.
    #[track_caller]
    pub fn values_here_and_next(&self) -> (Var, Var) {
        let (values, horizon) = (self.values(), self.steps.horizon());
        (values.slice(1, 0..horizon), values.slice(1, 1..horizon + 1))
    }

    /// Q(s_t, a_t), `[N, H]`. Without an action critic it is V(s_t): then Q does not depend on the action.
    #[track_caller]
    pub fn action_values(&self) -> Var {
        match self.action_critic {
            None => self.values_here_and_next().0,
            Some([taken, _]) => taken,
        }
    }

    /// Σ_a π_θ(a|s_t) Q(s_t, a), `[N, H + 1]`, a function of θ. Without an action critic it is V(s_t).
    #[track_caller]
    pub fn expected_action_values(&self) -> Var {
        match self.action_critic {
            None => self.values(),
            Some([_, expected]) => expected,
        }
    }

    /// δ_t = r_t + γ V(s_{t+1}) − V(s_t), `[N, H]`.
    #[track_caller]
    pub fn temporal_differences(&self) -> Var {
        let (here, next) = self.values_here_and_next();
        self.steps.on_steps(self.steps.rewards + next * self.gamma - here)
    }

    /// A_t = Σ_{l≥t} γ^{l−t} δ_l, `[N, H]`: the Monte-Carlo advantage (GAE with λ = 1). Without a critic it is the
    /// return-to-go. In another [form](Form) it is GAE with that λ.
    #[track_caller]
    pub fn advantages(&self) -> Var {
        self.gae(self.form.lambda)
    }

    /// A_t^{GAE(λ)} = Σ_{l≥t} (γλ)^{l−t} δ_l, `[N, H]` (Schulman et al. 2016): λ = 1 is the Monte-Carlo advantage, λ = 0 the
    /// temporal difference.
    ///
    /// λ may be a scalar of the tape, as γ may, and an inner step be differentiated by both (Xu et al. 2018):
    ///
    /// ```
    /// # use rl::{batch::Batch, env::{Navigation, sample}, meta::adapt, objective::{Estimator, ScoreFunction}, optim::Rule};
    /// # use rl::{policy::{self, Activation::{Identity, Tanh}, Network, Policy}, rollout::Space, stream::stream};
    /// # let policy = Network::new(&Space::vector(2)).normal(2);
    /// # let critic = Network::new(&Space::vector(2)).dense(8, Tanh).dense(1, Identity);
    /// # let theta = policy.init(&mut stream(0, 0));
    /// # let environment = Navigation::to([0.3, -0.2]);
    /// # let [first, second] = [0, 1].map(|seed| sample(&environment, &policy, &theta, 5, 10, seed).unwrap());
    /// # let tape = ad::Tape::new();
    /// # let (theta, w) = (policy::record(&theta, &tape), policy::record(&critic.draw(&mut stream(0, 1)), &tape));
    /// # let (first, second) = (first.record(&tape), second.record(&tape));
    /// # let values = critic.along(&w, first.observations).at(2, 0);
    /// let (gamma, lambda) = (tape.input("gamma", 0.9), tape.input("lambda", 0.8));
    /// let points = adapt(&theta, Rule::sgd(0.1), 1, |_, theta| {
    ///     let batch = Batch::new(first, policy.log_prob(theta, &first), gamma).with_critic(values);
    ///     batch.discounted_sum(batch.gae(lambda) * batch.log_prob()).mean()
    /// });
    /// let outer = ScoreFunction.surrogate(&Batch::new(second, policy.log_prob(&points[1], &second), 0.99));
    /// let [by_gamma, by_lambda] = outer.grad([gamma, lambda]);
    /// assert!(by_gamma.item() != 0.0 && by_lambda.item() != 0.0);
    /// # Ok::<(), rl::error::Error>(())
    /// ```
    ///
    /// Panics unless 0 ≤ λ ≤ 1.
    #[track_caller]
    pub fn gae(&self, lambda: impl Into<Decay>) -> Var {
        let differences = self.temporal_differences();
        match lambda.into().checked("gae", "λ") {
            Decay::Number(0.0) => differences,
            lambda => differences.scan_reverse(self.gamma * lambda, 1),
        }
    }

    /// `x`, `[N, H]`, as what each step is credited with: itself, or in a [normalised](Form::normalised) form shifted and scaled
    /// to mean 0 and standard deviation 1 over all steps taken (0, if all are equal).
    #[track_caller]
    pub fn credit(&self, x: Var) -> Var {
        if !self.form.normalised {
            return x;
        }
        let centred = self.centred(x);
        centred / self.deviation(centred)
    }

    /// What [`credit`](Self::credit) divides `x`, `[N, H]`, by: its standard deviation over all steps taken in a
    /// [normalised](Form::normalised) form, else 1.
    #[track_caller]
    pub fn credit_unit(&self, x: Var) -> Var {
        if self.form.normalised { self.deviation(self.centred(x)) } else { x.constant(1.0) }
    }

    /// `x` minus its mean over all steps taken; 0 behind them.
    #[track_caller]
    fn centred(&self, x: Var) -> Var {
        let on_steps = |x| self.steps.on_steps(x);
        // From a step that every batch has, so that equal numbers are 0 before a mean of them is rounded. (What all are shifted by
        // changes nothing, and has no derivative.)
        let x = on_steps(x - x.at(1, 0).at(0, 0).stop_gradient());
        on_steps(x - x.sum() / self.steps.taken.sum())
    }

    /// The root of the mean square over all steps taken, and 1e-8, so that it can be divided by.
    #[track_caller]
    fn deviation(&self, centred: Var) -> Var {
        let variance = centred.square().sum() / self.steps.taken.sum();
        // The root's derivative at 0 is infinite, and would be multiplied by 0.
        let varies = variance.greater(0.0);
        varies.select(varies.select(variance, 1.0).sqrt(), 0.0) + 1e-8
    }

    /// A_t^{(n)} = Σ_{l<n} γ^l r_{t+l} + γ^n V(s_{t+n}) − V(s_t), `[N, H]`: the advantage that looks n steps ahead, or up to the
    /// end if that comes first. n = 1 is the temporal difference, n ≥ H is [`advantages`](Self::advantages).
    ///
    /// Panics if n is 0.
    #[track_caller]
    pub fn n_step_advantages(&self, n: usize) -> Var {
        assert!(n > 0, "n_step_advantages: n must be at least 1");
        let horizon = self.steps.horizon();
        if n >= horizon {
            return self.advantages();
        }
        // Σ_{l<n} γ^l δ_{t+l}, put together from sums over 1, 2, 4, … steps, as n is from powers of two. (The difference of
        // two returns would be shorter, but what is large and far ahead would take away what is small and near.)
        let ahead = |x: Var, steps: usize| x.slice(1, steps..horizon).pad(1, 0, steps) * self.gamma.power(steps);
        let (mut window, mut length, mut sum, mut summed) = (self.temporal_differences(), 1, None, 0);
        loop {
            if n & length != 0 {
                let next = ahead(window, summed);
                sum = Some(sum.map_or(next, |sum: Var| sum + next));
                summed += length;
            }
            if summed == n {
                return sum.expect("n is not 0");
            }
            window = window + ahead(window, length);
            length *= 2;
        }
    }

    /// V̂^μ = V(s_0) + A_0, `[N]`: the value estimate without any ratio. It does not depend on θ (unless the critic may).
    #[track_caller]
    pub fn plain_value(&self) -> Var {
        self.values().at(1, 0) + self.advantages().at(1, 0)
    }

    /// Σ_t γ^t x_t, `[N]`.
    #[track_caller]
    pub fn discounted_sum(&self, x: Var) -> Var {
        (x * self.discounts()).sum_axes(&[1])
    }
}

/// Σ_t x_t e^{c_t} over the steps, `[N]`, of x and c `[N, H]`. Where e^c is beyond the range of numbers, 0·∞ and ∞ − ∞ are not
/// what is meant: all exponents of a trajectory are lowered by what the largest that counts has beyond it, those that do
/// not count by as much as they need, and the sum is raised again. Nearly always that is by 0.
#[track_caller]
fn sum_of_exponentials(x: Var, exponent: Var) -> Var {
    // The logarithm of the largest number, 709 or 88; and well below it, so that a sum of many terms is finite.
    let largest = exponent.dtype().largest().ln().floor();
    let kept: f64 = if exponent.dtype() == DType::F32 { 60.0 } else { 600.0 };
    // What multiplies 0 does not count.
    let raised = (x.select(exponent, 0.0).max_axes(&[1]) - kept).max(0.0).stop_gradient();
    let lowered = (exponent - raised.insert_axis(1)).min(kept).exp();
    // In two steps, each finite, so that a sum that is 0 stays so; what is beyond both is infinite.
    let half = (raised * 0.5).min(largest).exp();
    // Where no exponent is beyond, nothing is lowered and raised.
    let (lowered, half) = (lowered.or_usual(exponent.exp(), kept.exp()), half.or_usual(half.full_like(1.0), 1.0));
    (x * lowered * exponent.magic_box()).sum_axes(&[1]) * half * half
}

#[track_caller]
fn expect_shape(what: &str, var: Var, expected: &[usize]) {
    let found = var.shape();
    assert!(found.as_slice() == expected, "Batch: {what} has shape {found:?}, but the steps ask for {expected:?}");
}
