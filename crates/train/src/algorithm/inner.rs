//! What inner steps ascend: an estimator of the value, in the form that the data are in.

use ad::Var;
use rl::objective::{DiceCentred, DiceTmaml, Estimator, ImportanceSampling, LoadedDice, ScoreFunction, TayPo};

use crate::trajectories::Sampled;

/// An estimator. All have the same gradient where the data were sampled; they differ in what is differentiated of it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerObjective {
    /// Σ_t A_t log π: the log-likelihood of the original MAML.
    Ad,
    /// Σ_t r_t □(Σ_{k≤t} log π_k), without a baseline: Foerster et al. 2018.
    Dice,
    /// The same of rewards minus their mean at each time. (ProMP's authors have a cubic in time for the mean, and γ^t.)
    DiceCentred,
    /// With advantages, Σ_t A_t (□(Σ_{k≤t}) − □(Σ_{k<t})): Farquhar et al. 2019.
    Loaded,
    /// DiCE with the control variate of Taming MAML: Liu, Socher & Xiong 2019. (It only adds variance; by its paper's formula.)
    Tmaml,
    /// Σ_t A_t π/π_old: Rothfuss et al. 2019.
    Lvc,
    /// The same with the second term of Taylor's expansion: Tang et al. 2021.
    TayPo2,
}

impl InnerObjective {
    /// The objective, a scalar.
    #[track_caller]
    pub fn of(self, data: &Sampled) -> Var {
        let estimator: &dyn Estimator = match self {
            InnerObjective::Ad => &ScoreFunction,
            InnerObjective::Dice => &ImportanceSampling,
            InnerObjective::DiceCentred => &DiceCentred,
            InnerObjective::Loaded => &LoadedDice::UNBIASED,
            InnerObjective::Tmaml => &DiceTmaml,
            InnerObjective::Lvc => &TayPo { order: 1 },
            InnerObjective::TayPo2 => &TayPo { order: 2 },
        };
        // What is expanded around what sampled the data is so at other θ, too; boxes and logarithms are of the policy itself.
        let batch = match self {
            InnerObjective::Lvc | InnerObjective::TayPo2 => &data.off_policy,
            _ => &data.on_policy,
        };
        data.surrogate(estimator, batch)
    }
}
