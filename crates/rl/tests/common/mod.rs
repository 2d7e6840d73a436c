//! What several files of tests need.

use ad::{Handle, Var};
use rl::policy::{Dist, Numbers, Params, Policy};
use rl::rollout::Space;

/// The same policy, made to run its program in each step: it remembers what it does not use.
pub struct Remembering<P>(pub P);

impl<P: Policy> Policy for Remembering<P> {
    fn init(&self, rng: &mut dyn rand::Rng) -> Numbers {
        self.0.init(rng)
    }
    fn spaces(&self) -> Option<[Space; 2]> {
        self.0.spaces()
    }
    fn along(&self, theta: &Params, observations: Handle) -> Dist {
        self.0.along(theta, observations)
    }
    fn memory(&self) -> Vec<Vec<usize>> {
        vec![vec![]]
    }
    fn once(&self, theta: &Params, memory: &[Var], observation: Handle) -> (Dist, Vec<Var>) {
        (self.0.along(theta, observation), memory.to_vec())
    }
}
