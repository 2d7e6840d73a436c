//! What a run asks of whatever learns, and the state that it saves.

use indexmap::IndexMap;
use ndarray::ArrayD;
use rl::error::{Error, Result};
use rl::optim::{Optimiser, Rule};
use rl::policy::Numbers;

/// What learns: one iteration after another, from a state that can be saved.
pub trait Learner {
    /// The names of the returns of an iteration, such as `return_0`, `return_1`.
    fn returns(&self) -> Vec<String>;
    /// Makes iteration number `iteration` (from 0). Every draw is a function of the seed, the iteration, and names.
    ///
    /// # Errors
    ///
    /// What goes wrong in an environment, and [`Error::NotFinite`], which names iteration, task and
    /// quantity. Then the state is as it was before.
    fn iterate(&mut self, iteration: u64) -> Result<Iteration>;
    /// Each task's mean return after 0 … `steps` inner steps, `[steps + 1][tasks]`, on `tasks` fresh tasks, which are a function of
    /// `seed`.
    ///
    /// # Errors
    ///
    /// What goes wrong in an environment; [`Error::Empty`] without tasks; [`Error::NoEvaluation`] where there is nothing to adapt
    /// to, [`Error::NoAdaptation`] for inner steps of who makes none.
    fn evaluate(&self, tasks: usize, steps: usize, seed: u64) -> Result<Vec<Vec<f64>>> {
        let _ = (tasks, steps, seed);
        Err(Error::NoEvaluation)
    }

    /// What outside of this program decides over the bits of iterations, with its version.
    fn versions(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// A sentence: what of the environments no state has, if there is something.
    fn not_saved(&self) -> Option<String> {
        None
    }

    /// All that the next iterations depend on.
    fn state(&self) -> State;
    /// Goes on from there.
    ///
    /// # Errors
    ///
    /// If it is not the state of such a learner.
    fn restore(&mut self, state: State) -> Result<()>;
}

/// What an iteration did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Iteration {
    /// Steps made in environments.
    pub env_steps: u64,
    /// For each of [`Learner::returns`], the mean return of each task.
    pub returns: Vec<Vec<f64>>,
    /// What the outer steps descend, where the last of them began.
    pub loss: f64,
    /// The length of its gradient there.
    pub gradient_norm: f64,
    /// How far the adapted policies were from what had sampled the data, there.
    pub kl: f64,
    /// Seconds of sampling, adapting, and the outer steps.
    pub seconds: [f64; 3],
}

/// Arrays by name, and numbers that are no arrays (counts, rates that adapt) by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Arrays.
    pub arrays: IndexMap<String, ArrayD<f64>>,
    /// Numbers.
    pub numbers: IndexMap<String, f64>,
}

impl State {
    /// Adds a tree of parameters: `prefix.w1` and so on.
    pub fn put_tree(&mut self, prefix: &str, tree: &Numbers) {
        self.arrays.extend(tree.iter().map(|(name, array)| (format!("{prefix}.{name}"), array.clone())));
    }

    /// Adds what an optimiser of a tree goes on from.
    pub fn put_optimiser(&mut self, prefix: &str, optimiser: &Optimiser, tree: &Numbers) {
        self.numbers.insert(format!("{prefix}.steps"), optimiser.steps() as f64);
        for (name, moments) in tree.keys().zip(optimiser.moments()) {
            if let Some([mean, square]) = moments {
                self.arrays.insert(format!("{prefix}.mean.{name}"), mean.clone());
                self.arrays.insert(format!("{prefix}.square.{name}"), square.clone());
            }
        }
    }
}

/// A state that is taken to pieces: what is not there, or not what it should be, is an error.
#[derive(Debug)]
pub struct Taking(State);

impl From<State> for Taking {
    fn from(state: State) -> Self {
        Self(state)
    }
}

impl Taking {
    /// An array of this shape, of finite numbers.
    ///
    /// # Errors
    ///
    /// [`Error::SavedState`].
    pub fn array(&mut self, name: &str, shape: &[usize]) -> Result<ArrayD<f64>> {
        let wrong = |what: String| Error::SavedState(format!("the array `{name}` {what}"));
        let array = self.0.arrays.shift_remove(name).ok_or_else(|| wrong("is missing".to_owned()))?;
        if array.shape() != shape {
            return Err(wrong(format!("has shape {:?}, not {shape:?}", array.shape())));
        }
        match array.iter().find(|x| !x.is_finite()) {
            Some(x) => Err(wrong(format!("has an entry {x}"))),
            None => Ok(array),
        }
    }

    /// An array of this shape, of integers: numbers of states, or of actions.
    ///
    /// # Errors
    ///
    /// [`Error::SavedState`].
    pub fn integers(&mut self, name: &str, shape: &[usize]) -> Result<ArrayD<i32>> {
        let array = self.array(name, shape)?;
        match array.iter().find(|&&x| f64::from(x as i32) != x) {
            Some(x) => Err(Error::SavedState(format!("the array `{name}` has an entry {x}, which is no integer"))),
            None => Ok(array.mapv(|x| x as i32)),
        }
    }

    /// A finite number.
    ///
    /// # Errors
    ///
    /// [`Error::SavedState`].
    pub fn number(&mut self, name: &str) -> Result<f64> {
        match self.0.numbers.shift_remove(name) {
            Some(number) if number.is_finite() => Ok(number),
            Some(number) => Err(Error::SavedState(format!("the number `{name}` is {number}"))),
            None => Err(Error::SavedState(format!("the number `{name}` is missing"))),
        }
    }

    /// A whole number that counts.
    ///
    /// # Errors
    ///
    /// [`Error::SavedState`].
    pub fn count(&mut self, name: &str) -> Result<u64> {
        let number = self.number(name)?;
        let is_count = (number as u64) as f64 == number;
        if is_count {
            Ok(number as u64)
        } else {
            Err(Error::SavedState(format!("the number `{name}` is {number}, no count")))
        }
    }

    /// A tree of parameters like this one.
    ///
    /// # Errors
    ///
    /// [`Error::SavedState`].
    pub fn tree(&mut self, prefix: &str, like: &Numbers) -> Result<Numbers> {
        let leaves = like.iter().map(|(name, like)| {
            let array = self.array(&format!("{prefix}.{name}"), like.shape())?;
            Ok((name.clone(), array))
        });
        leaves.collect()
    }

    /// An optimiser by this rule, of a tree like this one.
    ///
    /// # Errors
    ///
    /// [`Error::SavedState`], [`Error::SavedOptimiser`].
    pub fn optimiser(&mut self, prefix: &str, rule: Rule, like: &Numbers) -> Result<Optimiser> {
        let steps = self.count(&format!("{prefix}.steps"))?;
        let mut moments = Vec::new();
        for (name, like) in like.iter().filter(|_| steps > 0) {
            moments.push(match rule {
                Rule::Sgd { .. } => None,
                Rule::Adam { .. } => {
                    let [mean, square] =
                        ["mean", "square"].map(|what| self.array(&format!("{prefix}.{what}.{name}"), like.shape()));
                    Some([mean?, square?])
                }
            });
        }
        Optimiser::resumed(rule, steps, moments)
    }

    /// An error if something is left.
    ///
    /// # Errors
    ///
    /// [`Error::SavedState`].
    pub fn end(self) -> Result<()> {
        match self.0.arrays.keys().chain(self.0.numbers.keys()).next() {
            Some(name) => Err(Error::SavedState(format!("`{name}` is not part of it"))),
            None => Ok(()),
        }
    }
}
