//! Games of two actions that are played again and again, by players who remember what both did last; and their exact value.

use ad::{Index, Var};
use ndarray::{Array2, array};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Game;
use crate::decay::Decay;
use crate::env::{Action, Slot, Step};
use crate::error::{Error, Result};
use crate::rollout::Space;

/// What each player is paid: `payoffs[player][own action][the other's action]`.
type Payoffs = [[[f64; 2]; 2]; 2];

/// A game of two actions for each player, played for ever. Each sees what both did last: state 0 at the begin, and then
/// 1 + 2·(own action) + (the other's action).
///
/// It has no state of its own: what is seen next follows from what is done.
///
/// The coding of Foerster et al. 2018, whose policies are five logits ([`Sigmoid`](crate::policy::Sigmoid)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Payoffs", into = "Payoffs")]
pub struct IteratedGame {
    payoffs: Payoffs,
}

impl TryFrom<Payoffs> for IteratedGame {
    type Error = Error;

    fn try_from(payoffs: Payoffs) -> Result<Self> {
        Self::new(payoffs)
    }
}

impl From<IteratedGame> for Payoffs {
    fn from(game: IteratedGame) -> Self {
        game.payoffs
    }
}

impl IteratedGame {
    /// The number of states that a player sees, S.
    pub const STATES: usize = 5;

    /// The game that pays `payoffs[player][own action][the other's action]`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`].
    pub fn new(payoffs: [[[f64; 2]; 2]; 2]) -> Result<Self> {
        for (player, own, other) in (0..8).map(|i| (i / 4, i / 2 % 2, i % 2)) {
            let value = payoffs[player][own][other];
            if !value.is_finite() {
                let what = format!("the payoff of player {player} for actions {own} and {other} of the other");
                return Err(Error::NotFinite { what, value });
            }
        }
        Ok(Self { payoffs })
    }

    /// The iterated prisoner's dilemma in which action 0 defects: each is paid `[[−2, 0], [−3, −1]][own][other]`.
    ///
    /// As in the code of Foerster et al. 2018 and of Liu et al. 2022 (whose text calls action 0 cooperation).
    pub fn prisoners_dilemma() -> Self {
        Self { payoffs: [[[-2.0, 0.0], [-3.0, -1.0]]; 2] }
    }

    /// The same with the names of actions exchanged: action 0 cooperates, and each is paid `[[−1, −3], [0, −2]][own][other]`.
    ///
    /// As in the authors' code of LOLA-DiCE, whose table `[[−1, 0], [−3, −2]]` is indexed by the other's action first.
    pub fn prisoners_dilemma_cooperating_first() -> Self {
        Self { payoffs: [[[-1.0, -3.0], [0.0, -2.0]]; 2] }
    }

    /// Iterated matching pennies: the first player is paid 1 if both do the same and −1 if not, the second the opposite.
    pub fn matching_pennies() -> Self {
        Self { payoffs: [[[1.0, -1.0], [-1.0, 1.0]], [[-1.0, 1.0], [1.0, -1.0]]] }
    }

    /// `[player][own action][the other's action]`.
    pub fn payoffs(&self) -> &[[[f64; 2]; 2]; 2] {
        &self.payoffs
    }

    /// The value of each player, scalars, for policies π(a|s) `[5, 2]`: with rows and columns of both actions (a_1, a_2),
    /// J_i = φ_0ᵀ (I − γP)⁻¹ r_i, where φ(s) = π_1(a_1|s) π_2(a_2|s) are the probabilities of both actions, φ_0 of them at the begin
    /// and P of them after each pair.
    ///
    /// Panics unless 0 ≤ γ < 1: the game has no end.
    #[track_caller]
    pub fn value(&self, policies: [Var; 2], gamma: impl Into<Decay>) -> [Var; 2] {
        let gamma = gamma.into().checked("value", "the discount");
        assert!(!matches!(gamma, Decay::Number(1.0)), "value: a game without an end has no value at discount 1");
        let (start, transition, rewards) = self.process(policies);
        let values = (-(transition * gamma) + Array2::<f64>::eye(4)).solve(rewards);
        each(start, values)
    }

    /// The value of each player, scalars, of the first `steps` steps.
    ///
    /// Panics for no step, or unless 0 ≤ γ ≤ 1.
    #[track_caller]
    pub fn finite_value(&self, policies: [Var; 2], gamma: impl Into<Decay>, steps: usize) -> [Var; 2] {
        let gamma = gamma.into().checked("finite_value", "the discount");
        assert!(steps > 0, "finite_value: there is no step");
        let (start, transition, rewards) = self.process(policies);
        let mut values = rewards;
        for _ in 1..steps {
            values = rewards + transition.matmul(values) * gamma;
        }
        each(start, values)
    }

    /// φ_0, `[4]`, P, `[4, 4]`, and the rewards of both players, `[4, 2]`, by both actions.
    #[track_caller]
    fn process(&self, policies: [Var; 2]) -> (Var, Var, Var) {
        let [one, two] = policies;
        for policy in policies {
            let shape = policy.shape();
            assert!(shape[..] == [Self::STATES, 2], "a policy of an iterated game is a table [5, 2], not {shape:?}");
        }
        // The first player's states as the second sees them.
        let two = two.gather([Index::constant(two, array![0, 1, 3, 2, 4])]);
        let both = (one.insert_axis(2) * two.insert_axis(1)).reshape(&[Self::STATES, 4]);
        let rewards = Array2::from_shape_fn((4, 2), |(actions, player)| {
            let actions = [actions / 2, actions % 2];
            self.payoffs[player][actions[player]][actions[1 - player]]
        });
        (both.at(0, 0), both.slice(0, 1..Self::STATES), both.constant(rewards))
    }
}

/// What each player's values are worth at the begin.
#[track_caller]
fn each(start: Var, values: Var) -> [Var; 2] {
    [start.dot(values.at(1, 0)), start.dot(values.at(1, 1))]
}

impl Game for IteratedGame {
    fn spaces(&self) -> [[Space; 2]; 2] {
        [(); 2].map(|()| [Space::Discrete(Self::STATES), Space::Discrete(2)])
    }

    fn reset(&mut self, _: &mut ChaCha8Rng, observations: [Slot<'_>; 2]) {
        observations.into_iter().for_each(|slot| slot.put_number(0));
    }

    #[inline(always)] // What is done and seen stays in registers.
    fn step(&mut self, actions: [Action<'_>; 2], _: &mut ChaCha8Rng, observations: [Slot<'_>; 2]) -> [Step; 2] {
        let [first, second] = actions.map(Action::number);
        let [one, two] = observations;
        one.put_number(1 + 2 * first + second);
        two.put_number(1 + 2 * second + first);
        [self.payoffs[0][first][second], self.payoffs[1][second][first]].map(|reward| Step {
            reward,
            terminated: false,
            truncated: false,
        })
    }
}
