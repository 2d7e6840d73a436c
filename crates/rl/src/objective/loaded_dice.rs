//! Loaded DiCE: DiCE with advantages, and two ways to trade bias for variance.

use ad::Var;

use super::{Claim, End, Estimator, Facts, Orders};
use crate::batch::{Batch, Decay};

/// V(s_0) + A_0 + Σ_t γ^t A_t (W_t − W′_t), where A_t is the advantage by GAE(τ), W_t = Π_{k≤t} ρ_k^(λ^{t−k}), and W′_t is the
/// same product without k = t.
///
/// Farquhar, Whiteson & Foerster 2019. The first two terms do not depend on θ; they make it an estimate of
/// the value.
///
/// - λ = τ = 1 ([`UNBIASED`](Self::UNBIASED)): unbiased at every order, the any-order baseline of Mao et al. 2019. All
///   derivatives are those of the doubly robust estimate, sample by sample.
/// - λ < 1 forgets how earlier actions led to later ones: on policy right up to order 1, and at λ = 0 it is LVC. Off policy
///   the value is biased by O(‖π − μ‖²) and the gradient by O(‖π − μ‖).
/// - τ < 1 trusts the critic: nothing is claimed, unless the critic is exact (the value of the sampling policy), which only
///   its user can know; then all is right again at λ = 1.
///
/// Not weighted by γ^t it is a [`Deep`](super::Deep) form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadedDice {
    /// λ, in [0, 1]: how far back an action counts as a cause.
    pub lambda: f64,
    /// τ, in [0, 1]: the λ of GAE, how far ahead rewards are looked at before the critic is believed.
    pub tau: f64,
}

impl LoadedDice {
    /// λ = τ = 1.
    pub const UNBIASED: Self = Self { lambda: 1.0, tau: 1.0 };
}

impl Estimator for LoadedDice {
    /// The name is `loaded`, and which of its parts are not as in [`UNBIASED`](Self::UNBIASED), whatever their values.
    fn facts(&self) -> Facts {
        let parts = [(self.lambda != 1.0, "_lambda"), (self.tau != 1.0, "_tau")];
        let name =
            parts.iter().filter(|(differs, _)| *differs).fold("loaded".to_owned(), |name, (_, part)| name + part);
        let claim = match (self.lambda == 1.0, self.tau == 1.0) {
            (true, true) => Claim::ALL,
            (false, true) => Claim { off_policy_residual: Some(1), ..Claim::on_policy(Orders::UpTo(1)) },
            (_, false) => Claim::NONE,
        };
        Facts { name, claim, end: End::Critic, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        Decay::Number(self.lambda).checked("LoadedDice", "λ");
        let weights = batch.discounts();
        let (advantages, value) = (batch.gae(self.tau), batch.values().at(1, 0));
        if self.lambda < 1.0 {
            return value + advantages.at(1, 0) + batch.decayed_weighted_sum(advantages * weights, self.lambda);
        }
        // Summed by parts, A_0 + Σ_t γ^t A_t (W_t − W_{t−1}) = Σ_t γ^t (A_t − γ A_{t+1}) W_t: no difference of two large weights is
        // left. With A_t = δ_t + γτ A_{t+1} it is δ_t that remains at τ = 1.
        let later = advantages.slice(1, 1..batch.steps.horizon()).pad(1, 0, 1);
        let differences =
            batch.temporal_differences() - later * (batch.step_discount() - batch.gamma() * Decay::Number(self.tau));
        value + batch.importance_weighted_sum(differences * weights)
    }
}
