//! Every trajectory that a tabular process can produce.

use ndarray::{Array1, Array2};

use super::{Rows, TabularMdp, positive};
use crate::error::{Error, LISTED_LIMIT, Result};
use crate::rollout::{Rollout, check_count};

/// Every trajectory a decision process can produce under a policy, with its probability.
///
/// The expectation of f(trajectory) is exactly Σ_n `probabilities[n]` · f(trajectory n).
#[derive(Clone, Debug)]
pub struct Enumeration {
    /// The N trajectories, all different.
    pub rollout: Rollout,
    /// Their probabilities, `[N]`; they sum to 1.
    pub probabilities: Vec<f64>,
}

impl TabularMdp {
    /// Lists every trajectory of at most `horizon` steps that has positive probability under `policy` π(a | s), `[S, A]`,
    /// and its probability. Ended in s_L and truncated in s_L are different trajectories.
    ///
    /// # Errors
    ///
    /// Those of [`check_policy`](Self::check_policy); [`Error::Empty`] if `horizon` is 0;
    /// [`Error::TooManyTrajectories`] if there are more than 10^6.
    pub fn enumerate(&self, policy: &Array2<f64>, horizon: usize) -> Result<Enumeration> {
        self.check_policy(policy)?;
        check_count(1, horizon, 2)?;
        let count = self.count_trajectories(policy, horizon);
        if count > LISTED_LIMIT as f64 {
            return Err(Error::TooManyTrajectories { count, limit: LISTED_LIMIT });
        }

        // The tree of all beginnings of trajectories, level by level; its leaves are the trajectories.
        struct Node {
            parent: usize,
            action: usize,
            state: usize,
            steps: usize,
            terminated: bool,
            probability: f64,
        }
        let mut tree: Vec<Node> = positive(self.start.view())
            .map(|(state, probability)| Node {
                parent: usize::MAX,
                action: 0,
                state,
                steps: 0,
                terminated: false,
                probability,
            })
            .collect();
        let mut leaves = Vec::new();
        let mut next = 0;
        while next < tree.len() {
            let parent = next;
            next += 1;
            let Node { state, steps, terminated, probability, .. } = tree[parent];
            if terminated || steps == horizon {
                leaves.push(parent);
                continue;
            }
            for (action, chosen) in positive(policy.row(state)) {
                for (state, moved) in positive(self.next_states(state, action)) {
                    let end = self.termination[state];
                    for (terminated, ended) in [(true, end), (false, 1.0 - end)] {
                        if ended > 0.0 {
                            let probability = probability * chosen * moved * ended;
                            tree.push(Node { parent, action, state, steps: steps + 1, terminated, probability });
                        }
                    }
                }
            }
        }

        let mut rows = Rows::new(horizon, leaves.len());
        let mut probabilities = Vec::with_capacity(leaves.len());
        for (n, &leaf) in leaves.iter().enumerate() {
            let mut node = &tree[leaf];
            rows.lengths[n] = node.steps;
            rows.terminated[n] = node.terminated;
            probabilities.push(node.probability);
            rows.states[n * (horizon + 1) + node.steps] = node.state as i32;
            while node.steps > 0 {
                let parent = &tree[node.parent];
                rows.states[n * (horizon + 1) + parent.steps] = parent.state as i32;
                rows.actions[n * horizon + parent.steps] = node.action as i32;
                rows.rewards[n * horizon + parent.steps] = self.reward[[parent.state, node.action]];
                node = parent;
            }
        }
        Ok(Enumeration { rollout: rows.into_rollout(horizon)?, probabilities })
    }

    /// Every trajectory that any policy can produce, and for each the factor of its probability that the process contributes:
    /// times Π_t π(a_t|s_t) it is the trajectory's probability under π.
    ///
    /// # Errors
    ///
    /// Those of [`enumerate`](Self::enumerate).
    pub fn outcomes(&self, horizon: usize) -> Result<(Rollout, Array1<f64>)> {
        // What a policy contributes that chooses blindly is known, and divided out.
        let choice = 1.0 / self.actions() as f64;
        let all = self.enumerate(&Array2::from_elem((self.states(), self.actions()), choice), horizon)?;
        let factor = |(probability, &length): (&f64, &usize)| probability / choice.powi(length as i32);
        let factors = all.probabilities.iter().zip(all.rollout.lengths()).map(factor).collect();
        Ok((all.rollout, factors))
    }

    /// The number of trajectories of positive probability, by dynamic programming over the steps that remain.
    pub(super) fn count_trajectories(&self, policy: &Array2<f64>, horizon: usize) -> f64 {
        let mut from = Array1::ones(self.states());
        for _ in 0..horizon {
            let arriving = |next: usize| {
                let end = self.termination[next];
                f64::from(end > 0.0) + if end < 1.0 { from[next] } else { 0.0 }
            };
            let leaving = |s: usize| -> f64 {
                positive(policy.row(s))
                    .flat_map(|(a, _)| positive(self.next_states(s, a)))
                    .map(|(next, _)| arriving(next))
                    .sum()
            };
            from = (0..self.states()).map(leaving).collect();
        }
        positive(self.start.view()).map(|(s, _)| from[s]).sum()
    }
}
