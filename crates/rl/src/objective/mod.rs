//! The estimators. Each is one file's one function: the paper's formula, with the orders of derivative at which it is
//! unbiased.
//!
//! To add one: write its file with its [`Estimator`], list it in [`all`], and let `tests/estimators.rs` prove its claim.

use std::fmt::{self, Display};

use ad::{DerivativeLimit, Var};

use crate::batch::Batch;

mod deep;
mod dice;
mod doubly_robust;
mod hessian_terms;
mod importance_sampling;
mod loaded_dice;
mod score_function;
mod taypo;
mod taypo_subsampled;

pub use deep::{Deep, deep};
pub use dice::{DiceBaseline, DiceCentred, DiceLeaveOneOut, DiceMao, DiceTmaml};
pub use doubly_robust::{DoublyRobust, DoublyRobustQ, TruncatedDoublyRobust};
pub use hessian_terms::HessianTerms;
pub use importance_sampling::{ImportanceSampling, OneStepImportanceSampling};
pub use loaded_dice::LoadedDice;
pub use score_function::ScoreFunction;
pub use taypo::TayPo;
pub use taypo_subsampled::TayPo2Subsampled;

/// Every estimator, in the order of the README's table.
pub fn all() -> Vec<Box<dyn Estimator>> {
    vec![
        Box::new(ScoreFunction),
        Box::new(ImportanceSampling),
        Box::new(OneStepImportanceSampling),
        Box::new(DoublyRobust),
        Box::new(DoublyRobustQ),
        Box::new(TruncatedDoublyRobust::default()),
        Box::new(LoadedDice::UNBIASED),
        Box::new(TayPo { order: 1 }),
        Box::new(TayPo { order: 2 }),
        Box::new(TayPo { order: 3 }),
        Box::new(TayPo2Subsampled::new(1, 0)),
        Box::new(DiceBaseline),
        Box::new(DiceMao),
        Box::new(DiceTmaml),
        Box::new(DiceCentred),
        Box::new(DiceLeaveOneOut),
        Box::new(LoadedDice { lambda: 0.5, ..LoadedDice::UNBIASED }),
        Box::new(LoadedDice { tau: 0.5, ..LoadedDice::UNBIASED }),
    ]
}

/// A surrogate objective: a function of a batch whose derivatives by the policy's parameters estimate those of the value.
pub trait Estimator: Send + Sync {
    /// What is known of it.
    fn facts(&self) -> Facts;

    /// The formula, for each trajectory, `[N]`.
    #[track_caller]
    fn formula(&self, batch: &Batch) -> Var;

    /// What it may draw by itself for a trajectory of up to `horizon` steps, besides the data: each outcome's probability,
    /// and the estimator with that outcome. Nothing, if it draws nothing. For enumeration.
    fn draws(&self, _horizon: usize) -> Vec<(f64, Box<dyn Estimator>)> {
        Vec::new()
    }

    /// The same with other draws; nothing, if it draws nothing. For what repeats an estimate.
    fn redrawn(&self, _seed: u64) -> Option<Box<dyn Estimator>> {
        None
    }

    /// What is differentiated: the formula's mean over trajectories, a scalar. A derivative beyond the claim panics with
    /// this estimator's name, however it is nested; [`allow_biased`] opts out.
    #[track_caller]
    fn surrogate(&self, batch: &Batch) -> Var {
        self.per_trajectory(batch).mean()
    }

    /// The formula for each trajectory, `[N]`, with its derivatives limited as in [`surrogate`](Self::surrogate).
    #[track_caller]
    fn per_trajectory(&self, batch: &Batch) -> Var {
        let (formula, facts) = (self.formula(batch), self.facts());
        match facts.claim.limit(batch.is_off_policy()) {
            Some(order) if batch.is_limited() => {
                let advice = "use an estimator that claims that order, or rl::objective::allow_biased to differentiate it \
                              all the same";
                DerivativeLimit::new(&facts.name, order, advice).apply(formula)
            }
            _ => formula,
        }
    }
}

/// What is known of an estimator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its short name, as in tables and files.
    pub name: String,
    /// The orders of derivative at which it is unbiased.
    pub claim: Claim,
    /// What it counts the end of a truncated trajectory as, and so which truth it estimates.
    pub end: End,
    /// The fewest trajectories it means anything for: 2 if a trajectory is compared with others of its batch. It is the
    /// batches of this size that are enumerated to prove the claim.
    pub smallest_batch: usize,
}

/// What the state s_L counts as that a truncated trajectory ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As 0.
    Nothing,
    /// As the critic's V(s_L).
    Critic,
    /// As Σ_a π_θ(a|s_L) Q(s_L, a), a function of θ.
    ActionCritic,
}

/// The estimator without its limit: its derivatives of every order can be taken, also those that are known to be biased.
pub fn allow_biased<E: Estimator + ?Sized>(estimator: &E) -> AllowBiased<&E> {
    AllowBiased(estimator)
}

/// See [`allow_biased`].
#[derive(Clone, Copy, Debug)]
pub struct AllowBiased<E>(E);

/// What holds an estimator has all methods of it. One that is missing here would be the trait's default, whatever the
/// estimator made of it; so clippy is to refuse that.
macro_rules! holds_an_estimator {
    ([$($E:tt)*] $Holder:ty, |$holder:ident| $inner:expr, |$batch:ident| $given:expr, |$drawn:ident| $wrapped:expr) => {
        #[deny(clippy::missing_trait_methods)]
        impl<$($E)*> Estimator for $Holder {
            fn facts(&self) -> Facts {
                let $holder = self;
                $inner.facts()
            }
            fn formula(&self, $batch: &Batch) -> Var {
                let $holder = self;
                $inner.formula($given)
            }
            fn draws(&self, horizon: usize) -> Vec<(f64, Box<dyn Estimator>)> {
                let $holder = self;
                $inner.draws(horizon).into_iter().map(|(probability, $drawn)| (probability, $wrapped)).collect()
            }
            fn redrawn(&self, seed: u64) -> Option<Box<dyn Estimator>> {
                let $holder = self;
                $inner.redrawn(seed).map(|$drawn| $wrapped)
            }
            fn surrogate(&self, $batch: &Batch) -> Var {
                let $holder = self;
                $inner.surrogate($given)
            }
            fn per_trajectory(&self, $batch: &Batch) -> Var {
                let $holder = self;
                $inner.per_trajectory($given)
            }
        }
    };
}
holds_an_estimator!([E: Estimator + ?Sized] &E, |holder| (**holder), |batch| batch, |drawn| drawn);
holds_an_estimator!([E: Estimator + ?Sized] Box<E>, |holder| (**holder), |batch| batch, |drawn| drawn);
holds_an_estimator!(
    [E: Estimator] AllowBiased<E>,
    |holder| holder.0,
    |batch| &batch.without_limits(),
    |drawn| Box::new(AllowBiased(drawn)) as Box<dyn Estimator>
);

/// The orders of derivative at which an estimator is unbiased. Order 0 is the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Sampled by the policy itself.
    pub on_policy: Orders,
    /// Sampled by another policy.
    pub off_policy: Orders,
    /// Off policy, K if the bias of the m-th derivative is O(‖π − μ‖^{K+1−m}) for m up to K: small where the policies are
    /// close, but each derivative costs one power ([`off_policy_power`](Self::off_policy_power)).
    pub off_policy_residual: Option<usize>,
}

/// A set of orders of derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orders {
    /// None.
    None,
    /// This one alone.
    Only(usize),
    /// 0 up to and including this one.
    UpTo(usize),
    /// Every.
    All,
}

impl Claim {
    /// Unbiased at every order, on and off policy.
    pub const ALL: Self = Self { on_policy: Orders::All, off_policy: Orders::All, off_policy_residual: None };

    /// Unbiased at no order.
    pub const NONE: Self = Self::on_policy(Orders::None);

    /// Unbiased at these orders on policy, and at none off policy.
    pub const fn on_policy(orders: Orders) -> Self {
        Self { on_policy: orders, off_policy: Orders::None, off_policy_residual: None }
    }

    /// Whether the derivative of this order is claimed to be unbiased.
    pub fn contains(&self, order: usize, off_policy: bool) -> bool {
        if off_policy { self.off_policy } else { self.on_policy }.contains(order)
    }

    /// The power of ‖π − μ‖ that the bias of the derivative of this order falls with off policy, K + 1 − `order`; nothing where
    /// none is claimed.
    ///
    /// ```
    /// # use rl::objective::{Estimator, TayPo};
    /// let claim = TayPo { order: 2 }.facts().claim;
    /// assert_eq!([0, 1, 2, 3].map(|m| claim.off_policy_power(m)), [Some(3), Some(2), Some(1), None]);
    /// ```
    pub fn off_policy_power(&self, order: usize) -> Option<usize> {
        self.off_policy_residual.filter(|&last| order <= last).map(|last| last + 1 - order)
    }

    /// The highest order of derivative that may be taken without opting in; `None` if every.
    pub fn limit(&self, off_policy: bool) -> Option<usize> {
        match (off_policy, self.off_policy_residual) {
            (true, Some(order)) => Some(order),
            (true, None) => self.off_policy.last(),
            (false, _) => self.on_policy.last(),
        }
    }
}

impl Orders {
    /// Whether the order is one of these.
    pub fn contains(self, order: usize) -> bool {
        match self {
            Orders::None => false,
            Orders::Only(only) => order == only,
            Orders::UpTo(last) => order <= last,
            Orders::All => true,
        }
    }

    fn last(self) -> Option<usize> {
        match self {
            Orders::None => Some(0),
            Orders::Only(last) | Orders::UpTo(last) => Some(last),
            Orders::All => None,
        }
    }
}

impl Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Orders::None => write!(f, "none"),
            Orders::Only(only) => write!(f, "{only}"),
            Orders::UpTo(last) => {
                let orders: Vec<String> = (0..=*last).map(|order| order.to_string()).collect();
                write!(f, "{}", orders.join(", "))
            }
            Orders::All => write!(f, "0, 1, 2, 3, …"),
        }
    }
}
