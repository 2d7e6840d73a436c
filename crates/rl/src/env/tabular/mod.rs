//! A Markov decision process as tables, and the ways to get trajectories from it: sample some by a table of probabilities
//! (here), by any policy (`walk.rs`), or enumerate all (`enumerate.rs`).
//!
//! All make the same three choices per step (action, next state, whether the episode ends there); a change to one is a
//! change to the others, and tests compare them. Its value as a function of the policy, on a tape, is in `process.rs`.

use ndarray::{Array1, Array2, Array3, ArrayView1, Axis, s};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rollout::{Rollout, check_count, check_shape};
use crate::stream::{draw, stream};

mod enumerate;
mod process;
mod walk;

pub use enumerate::Enumeration;
pub use process::{Horizon, Process};
pub use walk::Walk;

/// How far the sum of a distribution may be from 1.
const SUM_TOLERANCE: f64 = 1e-9;

/// A Markov decision process with S states and A actions, numbered from 0.
///
/// An episode starts in s_0 ~ `start`. In each step an action a_t ~ π(· | s_t) earns the reward `reward[s_t, a_t]` and
/// leads to s_{t+1} ~ `transition[s_t, a_t, ·]`, where the episode ends with probability `termination[s_{t+1}]`. A
/// terminal state has termination probability 1. An episode has at least one step: it does not end in s_0.
///
/// ```
/// use ndarray::array;
/// use rl::env::TabularMdp;
///
/// // Action 1 leads from state 0 to the terminal state 1, and action 0 stays.
/// let mdp = TabularMdp::new(
///     array![[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]],
///     array![[-1.0, 5.0], [0.0, 0.0]],
/// )?
/// .with_termination(array![0.0, 1.0])?;
/// let rollout = mdp.sample(&array![[0.5, 0.5], [0.5, 0.5]], 10, 4, 0)?;
/// assert_eq!(rollout.states().dim(), (4, 11));
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct TabularMdp {
    transition: Array3<f64>,
    reward: Array2<f64>,
    start: Array1<f64>,
    termination: Array1<f64>,
}

/// A [`TabularMdp`] as it was saved, by whomever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    transition: Array3<f64>,
    reward: Array2<f64>,
    start: Array1<f64>,
    termination: Array1<f64>,
}

impl TryFrom<Saved> for TabularMdp {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<Self> {
        let Saved { transition, reward, start, termination } = saved;
        Self::new(transition, reward)?.with_start(start)?.with_termination(termination)
    }
}

impl TabularMdp {
    /// The process with these transition probabilities P(s' | s, a), `[S, A, S]`, and rewards R(s, a), `[S, A]`, that
    /// starts in state 0 and never ends.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] and [`Error::Empty`] for the shapes; [`Error::Probability`] and [`Error::ProbabilitySum`]
    /// (within 1e-9) name the state and action whose transitions are no distribution; [`Error::NotFinite`] a reward.
    pub fn new(transition: Array3<f64>, reward: Array2<f64>) -> Result<Self> {
        let (states, actions) = reward.dim();
        check_size(states, actions)?;
        check_shape("transition", transition.shape(), &[states, actions, states])?;
        for ((s, a), &value) in reward.indexed_iter() {
            check_distribution(&transition.slice(s![s, a, ..]), || format!("transition[s = {s}, a = {a}]"))?;
            if !value.is_finite() {
                return Err(Error::NotFinite { what: format!("reward[s = {s}, a = {a}]"), value });
            }
        }
        let mut start = Array1::zeros(states);
        start[0] = 1.0;
        Ok(Self { transition, reward, start, termination: Array1::zeros(states) })
    }

    /// The same process, starting in s_0 ~ `start`, `[S]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], or [`Error::Probability`] and [`Error::ProbabilitySum`] if it is no distribution.
    pub fn with_start(self, start: Array1<f64>) -> Result<Self> {
        check_shape("start", start.shape(), &[self.states()])?;
        check_distribution(&start.view(), || "start".to_owned())?;
        Ok(Self { start, ..self })
    }

    /// The same process, with the probability `termination[s]`, `[S]`, that the episode ends on arriving in s.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], or [`Error::Probability`] for an entry outside [0, 1].
    pub fn with_termination(self, termination: Array1<f64>) -> Result<Self> {
        check_shape("termination", termination.shape(), &[self.states()])?;
        if let Some((s, &value)) = termination.indexed_iter().find(|(_, p)| !(0.0..=1.0).contains(*p)) {
            return Err(Error::Probability { what: format!("termination[s = {s}]"), value });
        }
        Ok(Self { termination, ..self })
    }

    /// A random process: every row P(· | s, a) ~ Dirichlet(`concentration`, …, `concentration`), every reward
    /// R(s, a) ~ U[0, 1), starting in state 0 and never ending.
    ///
    /// A small concentration gives a nearly deterministic process (at 0.001, rows are almost one-hot), concentration 1
    /// rows that are uniform on the simplex, a large one nearly uniform rows.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without states or actions; [`Error::Concentration`] unless it is positive and finite.
    pub fn random(states: usize, actions: usize, concentration: f64, rng: &mut impl Rng) -> Result<Self> {
        check_size(states, actions)?;
        let bad = || Error::Concentration(concentration);
        if !(concentration >= f64::MIN_POSITIVE && concentration.is_finite()) {
            return Err(bad());
        }
        let gamma = Gamma::new(concentration + 1.0, 1.0).map_err(|_| bad())?;
        let mut transition = Array3::zeros((states, actions, states));
        for mut row in transition.rows_mut() {
            // A Gamma(c) variable is a Gamma(c + 1) variable times U^(1/c). For small c that underflows, so rows are
            // drawn as logarithms and normalised by a softmax.
            row.mapv_inplace(|_: f64| {
                let uniform = 1.0 - rng.random::<f64>(); // in (0, 1]
                gamma.sample(rng).ln() + uniform.ln() / concentration
            });
            let largest = row.fold(f64::NEG_INFINITY, |x, &y| x.max(y));
            row.mapv_inplace(|log_gamma| (log_gamma - largest).exp());
            row /= row.sum();
        }
        let reward = Array2::from_shape_simple_fn((states, actions), || rng.random());
        Self::new(transition, reward)
    }

    /// The number of states, S.
    pub fn states(&self) -> usize {
        self.reward.nrows()
    }

    /// The number of actions, A.
    pub fn actions(&self) -> usize {
        self.reward.ncols()
    }

    /// The transition probabilities P(s' | s, a), `[S, A, S]`.
    pub fn transition(&self) -> &Array3<f64> {
        &self.transition
    }

    /// The rewards R(s, a), `[S, A]`.
    pub fn reward(&self) -> &Array2<f64> {
        &self.reward
    }

    /// The distribution of s_0, `[S]`.
    pub fn start(&self) -> &Array1<f64> {
        &self.start
    }

    /// The probability that the episode ends on arriving in a state, `[S]`.
    pub fn termination(&self) -> &Array1<f64> {
        &self.termination
    }

    /// Whether `policy` is a table π(a | s), `[S, A]`, of distributions over actions.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], or [`Error::Probability`] and [`Error::ProbabilitySum`] (within 1e-9) naming the state.
    pub fn check_policy(&self, policy: &Array2<f64>) -> Result<()> {
        check_shape("policy", policy.shape(), self.reward.shape())?;
        for (s, row) in policy.axis_iter(Axis(0)).enumerate() {
            check_distribution(&row, || format!("policy[s = {s}]"))?;
        }
        Ok(())
    }

    /// Samples trajectories of at most `horizon` steps under `policy` π(a | s), `[S, A]`.
    ///
    /// Trajectory i is a function of `seed` and i alone ([`stream`]): the same bits at any number of threads, the first
    /// of a larger batch are those of a smaller one, and a longer horizon continues a truncated trajectory.
    ///
    /// # Errors
    ///
    /// Those of [`check_policy`](Self::check_policy); [`Error::Empty`] if `horizon` or `trajectories` is 0;
    /// [`Error::TooLarge`].
    pub fn sample(&self, policy: &Array2<f64>, horizon: usize, trajectories: usize, seed: u64) -> Result<Rollout> {
        self.check_policy(policy)?;
        check_count(trajectories, horizon, 2)?;
        ad::ready_threads();
        let mut rows = Rows::new(horizon, trajectories);
        let states = rows.states.par_chunks_mut(horizon + 1);
        let steps = rows.actions.par_chunks_mut(horizon).zip(rows.rewards.par_chunks_mut(horizon));
        let ends = rows.lengths.par_iter_mut().zip(rows.terminated.par_iter_mut());
        (states, steps, ends).into_par_iter().enumerate().for_each(
            |(trajectory, (states, (actions, rewards), (length, terminated)))| {
                let rng = &mut stream(seed, trajectory as u64);
                let draw = |distribution: ArrayView1<'_, f64>, rng: &mut _| {
                    draw(distribution.iter().copied(), rng).expect("distributions, as was checked")
                };
                let mut s = draw(self.start.view(), rng);
                states[0] = s as i32;
                for t in 0..horizon {
                    let a = draw(policy.row(s), rng);
                    actions[t] = a as i32;
                    rewards[t] = self.reward[[s, a]];
                    s = draw(self.next_states(s, a), rng);
                    states[t + 1] = s as i32;
                    *length = t + 1;
                    *terminated = rng.random::<f64>() < self.termination[s];
                    if *terminated {
                        break;
                    }
                }
            },
        );
        rows.into_rollout(horizon)
    }

    /// Whether every episode under `policy` π(a | s), `[S, A]`, ends with probability 1: from every state it can reach,
    /// some path of positive probability leads to an end. Then values without discount (γ = 1) exist.
    ///
    /// # Panics
    ///
    /// If `policy` is smaller than `[S, A]`.
    pub fn terminates_surely(&self, policy: &Array2<f64>) -> bool {
        let states = self.states();
        let successors: Vec<Vec<usize>> = (0..states)
            .map(|s| {
                let arrives = |&next: &usize| positive(policy.row(s)).any(|(a, _)| self.transition[[s, a, next]] > 0.0);
                (0..states).filter(arrives).collect()
            })
            .collect();

        let mut reached: Vec<bool> = self.start.iter().map(|&p| p > 0.0).collect();
        let mut frontier: Vec<usize> = (0..states).filter(|&s| reached[s]).collect();
        while let Some(s) = frontier.pop() {
            for &next in &successors[s] {
                if self.termination[next] < 1.0 && !reached[next] {
                    reached[next] = true;
                    frontier.push(next);
                }
            }
        }

        // From the ends backwards, until nothing is added.
        let mut can_end = vec![false; states];
        let mut grown = true;
        while grown {
            grown = false;
            for s in 0..states {
                let ends = |&next: &usize| self.termination[next] > 0.0 || can_end[next];
                if !can_end[s] && successors[s].iter().any(ends) {
                    can_end[s] = true;
                    grown = true;
                }
            }
        }
        (0..states).all(|s| can_end[s] || !reached[s])
    }

    /// P(· | s, a).
    fn next_states(&self, s: usize, a: usize) -> ArrayView1<'_, f64> {
        self.transition.slice(s![s, a, ..])
    }
}

/// The parts of a rollout while trajectories are written into them, row after row.
struct Rows {
    states: Vec<i32>,
    actions: Vec<i32>,
    rewards: Vec<f64>,
    lengths: Vec<usize>,
    terminated: Vec<bool>,
}

impl Rows {
    fn new(horizon: usize, trajectories: usize) -> Self {
        Self {
            states: vec![0; trajectories * (horizon + 1)],
            actions: vec![0; trajectories * horizon],
            rewards: vec![0.0; trajectories * horizon],
            lengths: vec![0; trajectories],
            terminated: vec![false; trajectories],
        }
    }

    fn into_rollout(self, horizon: usize) -> Result<Rollout> {
        fn table<A>(columns: usize, entries: Vec<A>) -> Array2<A> {
            let shape = (entries.len() / columns, columns);
            Array2::from_shape_vec(shape, entries).expect("whole rows")
        }
        Rollout::new(
            table(horizon + 1, self.states),
            table(horizon, self.actions),
            table(horizon, self.rewards),
            self.lengths,
            self.terminated,
        )
    }
}

fn check_size(states: usize, actions: usize) -> Result<()> {
    match (states, actions) {
        (0, _) => Err(Error::Empty { what: "states" }),
        (_, 0) => Err(Error::Empty { what: "actions" }),
        _ => Ok(()),
    }
}

fn check_distribution(row: &ArrayView1<f64>, name: impl Fn() -> String) -> Result<()> {
    if let Some((i, &value)) = row.indexed_iter().find(|(_, p)| !(**p >= 0.0 && p.is_finite())) {
        return Err(Error::Probability { what: format!("{}, entry {i}", name()), value });
    }
    let sum = row.sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(Error::ProbabilitySum { what: name(), sum });
    }
    Ok(())
}

/// The entries of positive probability, with their indices.
fn positive<'a>(probabilities: impl IntoIterator<Item = &'a f64>) -> impl Iterator<Item = (usize, f64)> {
    probabilities.into_iter().copied().enumerate().filter(|&(_, p)| p > 0.0)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use ndarray::array;

    use super::*;

    /// Three states, two actions, two possible starts, an end that is uncertain in state 1 and certain in state 2.
    fn mdp() -> TabularMdp {
        TabularMdp::new(
            array![
                [[0.5, 0.3, 0.2], [0.0, 0.6, 0.4]],
                [[0.2, 0.8, 0.0], [0.3, 0.3, 0.4]],
                [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
            ],
            array![[1.0, 2.0], [-1.0, 0.5], [3.0, -2.0]],
        )
        .and_then(|mdp| mdp.with_start(array![0.6, 0.4, 0.0]))
        .and_then(|mdp| mdp.with_termination(array![0.0, 0.25, 1.0]))
        .unwrap()
    }

    fn policy() -> Array2<f64> {
        array![[0.3, 0.7], [0.6, 0.4], [0.5, 0.5]]
    }

    /// Trajectory n as something that can be compared and hashed.
    fn key(rollout: &Rollout, n: usize) -> (Vec<i32>, Vec<i32>, usize, bool) {
        let (states, actions) = (rollout.states().row(n).to_vec(), rollout.action_numbers().row(n).to_vec());
        (states, actions, rollout.lengths()[n], rollout.terminated()[n])
    }

    #[test]
    fn enumerated_probabilities_sum_to_one_and_no_trajectory_comes_twice() {
        for horizon in 1..=5 {
            let Enumeration { rollout, probabilities } = mdp().enumerate(&policy(), horizon).unwrap();
            let sum: f64 = probabilities.iter().sum();
            assert!((sum - 1.0).abs() < 1e-12, "horizon {horizon}: {sum}");
            assert!(probabilities.iter().all(|&p| p > 0.0));
            let different: HashSet<_> = (0..rollout.trajectories()).map(|n| key(&rollout, n)).collect();
            assert_eq!(different.len(), probabilities.len());
            assert_eq!(mdp().count_trajectories(&policy(), horizon), probabilities.len() as f64);
        }
    }

    #[test]
    fn the_probability_of_a_trajectory_is_the_product_of_its_choices() {
        let (mdp, policy) = (mdp(), policy());
        let Enumeration { rollout, probabilities } = mdp.enumerate(&policy, 3).unwrap();
        for (n, &probability) in probabilities.iter().enumerate() {
            let state = |t: usize| rollout.states()[[n, t]] as usize;
            let mut product = mdp.start()[state(0)];
            for t in 0..rollout.lengths()[n] {
                let action = rollout.action_numbers()[[n, t]] as usize;
                let last = t + 1 == rollout.lengths()[n];
                let end = mdp.termination()[state(t + 1)];
                product *= policy[[state(t), action]] * mdp.transition()[[state(t), action, state(t + 1)]];
                product *= if last && rollout.terminated()[n] { end } else { 1.0 - end };
                assert_eq!(rollout.rewards()[[n, t]], mdp.reward()[[state(t), action]]);
            }
            assert!((product - probability).abs() < 1e-15);
            assert!(rollout.terminated()[n] || rollout.lengths()[n] == 3);
        }
    }

    /// Pearson's statistic of counts against the enumeration under `policy`, in standard deviations from what is
    /// expected of a true claim. Trajectories expected fewer than 10 times share one cell.
    fn deviation(sampled: &Rollout, policy: &Array2<f64>) -> f64 {
        let Enumeration { rollout, probabilities } = mdp().enumerate(policy, sampled.horizon()).unwrap();
        let samples = sampled.trajectories() as f64;
        let mut cell = HashMap::new();
        let (mut expected, mut rare) = (vec![0.0], 0.0);
        for (n, &probability) in probabilities.iter().enumerate() {
            if probability * samples < 10.0 {
                rare += probability * samples;
                cell.insert(key(&rollout, n), 0);
            } else {
                cell.insert(key(&rollout, n), expected.len());
                expected.push(probability * samples);
            }
        }
        expected[0] = rare;
        let mut counts = vec![0.0; expected.len()];
        for n in 0..sampled.trajectories() {
            counts[cell[&key(sampled, n)]] += 1.0; // a trajectory that was not enumerated panics
        }
        let used = expected.iter().zip(&counts).filter(|(e, _)| **e > 0.0);
        let freedom = used.clone().count() as f64 - 1.0;
        let statistic: f64 = used.map(|(e, c)| (c - e).powi(2) / e).sum();
        (statistic - freedom) / (2.0 * freedom).sqrt()
    }

    #[test]
    fn sampled_frequencies_are_the_enumerated_probabilities() {
        let sampled = mdp().sample(&policy(), 3, 200_000, 20).unwrap();
        let right = deviation(&sampled, &policy());
        assert!(right.abs() < 4.0, "{right} standard deviations");
        // The same test sees an error of 0.02 in one probability.
        let wrong = deviation(&sampled, &array![[0.32, 0.68], [0.6, 0.4], [0.5, 0.5]]);
        assert!(wrong > 4.0, "{wrong} standard deviations");
    }

    #[test]
    fn samples_are_the_same_bits_at_any_number_of_threads_and_in_any_batch() {
        let on = |threads, trajectories| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| mdp().sample(&policy(), 6, trajectories, 3).unwrap())
        };
        let all = on(1, 1000);
        assert_eq!(all, on(2, 1000));
        assert_eq!(all.select(&Vec::from_iter(0..137)), on(2, 137));
    }

    #[test]
    fn a_longer_horizon_continues_truncated_trajectories_and_another_seed_gives_others() {
        let sample = |horizon, seed| mdp().sample(&policy(), horizon, 500, seed).unwrap();
        let (short, long) = (sample(2, 8), sample(7, 8));
        assert_eq!(short.rewards(), long.rewards().slice(s![.., ..2]));
        assert_ne!(short, sample(2, 9));
    }

    #[test]
    fn episodes_end_where_termination_is_certain_and_never_where_it_is_impossible() {
        let rollout = mdp().sample(&policy(), 10, 2000, 4).unwrap();
        for (n, (&length, &terminated)) in rollout.lengths().iter().zip(rollout.terminated()).enumerate() {
            assert!((1..length).all(|t| rollout.states()[[n, t]] != 2));
            assert!(!(terminated && rollout.states()[[n, length]] == 0));
            assert!(terminated || length == 10);
        }
    }

    #[test]
    fn too_many_trajectories_are_counted_and_not_listed() {
        let error =
            TabularMdp::random(5, 5, 1.0, &mut stream(0, 0)).unwrap().enumerate(&Array2::from_elem((5, 5), 0.2), 5);
        let Err(Error::TooManyTrajectories { count, limit: 1_000_000 }) = error else { panic!("{error:?}") };
        assert_eq!(count, 25_f64.powi(5));
    }

    #[test]
    fn random_rows_have_the_second_moment_of_the_dirichlet_distribution() {
        // E Σ_i p_i² = (c + 1)/(n c + 1) and E p_i = 1/n; 40 000 rows of n = 4, five standard errors.
        for concentration in [0.001, 0.1, 1.0, 20.0] {
            let mdp = TabularMdp::random(4, 10_000, concentration, &mut stream(5, 0)).unwrap();
            let rows = mdp.transition().to_shape((40_000, 4)).unwrap();
            for (values, mean) in [
                (rows.map_axis(Axis(1), |p| p.dot(&p)), (concentration + 1.0) / (4.0 * concentration + 1.0)),
                (rows.column(0).to_owned(), 0.25),
                (rows.column(3).to_owned(), 0.25),
            ] {
                let standard_error = values.std(1.0) / 40_000_f64.sqrt();
                let found = values.sum() / 40_000.0;
                assert!((found - mean).abs() < 5.0 * standard_error, "{concentration}: {found}, not {mean}");
            }
        }
    }

    #[test]
    fn random_rows_are_right_far_down_where_gamma_samples_underflow() {
        // With two states p_1 ~ Beta(c, c), so P(p_1 < x) = x^c / 2 up to terms of order c² and x: at c = 0.001 a
        // quarter of the rows lies below 1e-300. 100 000 rows, five standard errors.
        let mdp = TabularMdp::random(2, 50_000, 0.001, &mut stream(6, 0)).unwrap();
        for x in [1e-300_f64, 1e-100, 1e-10] {
            let expected = x.powf(0.001) / 2.0;
            let found = mdp.transition().slice(s![.., .., 0]).iter().filter(|&&p| p < x).count() as f64 / 100_000.0;
            let standard_error = (expected * (1.0 - expected) / 100_000.0).sqrt();
            assert!((found - expected).abs() < 5.0 * standard_error, "{x}: {found}, not {expected}");
        }
    }

    #[test]
    fn random_takes_any_positive_finite_concentration_and_no_other() {
        let random = |concentration| TabularMdp::random(3, 2, concentration, &mut stream(7, 0));
        for concentration in [f64::MIN_POSITIVE, 1e-100, 1e-3, 1e6] {
            assert!(random(concentration).is_ok(), "{concentration}");
        }
        for concentration in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-320] {
            assert!(matches!(random(concentration), Err(Error::Concentration(_))), "{concentration}");
        }
        assert!((0.0..1.0).contains(&random(1.0).unwrap().reward()[[2, 1]]));
    }

    #[test]
    fn termination_is_sure_if_and_only_if_every_state_reached_can_come_to_an_end() {
        assert!(mdp().terminates_surely(&policy()));
        assert!(!mdp().with_termination(Array1::zeros(3)).unwrap().terminates_surely(&policy()));

        // From state 0, action 0 ends in state 1 and action 1 falls into the trap 2.
        let next = [[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]; 2], [[0.0, 0.0, 1.0]; 2]];
        let trap = TabularMdp::new(Array3::from(next.to_vec()), Array2::zeros((3, 2))).unwrap();
        let trap = |end| trap.clone().with_termination(array![0.0, end, 0.0]).unwrap();
        let choose = |action: usize| Array2::from_shape_fn((3, 2), |(_, a)| f64::from(a == action));
        assert!(trap(1.0).terminates_surely(&choose(0)));
        assert!(!trap(1.0).terminates_surely(&choose(1)));
        assert!(!trap(1.0).terminates_surely(&Array2::from_elem((3, 2), 0.5)));
        // If the end in state 1 is not certain, the trap behind it is reached.
        assert!(!trap(0.9).terminates_surely(&choose(0)));
    }

    #[test]
    fn bad_tables_are_errors_that_say_where() {
        let transition = array![[[1.0, 0.0]], [[0.5, 0.5]]];
        let reward = array![[0.0], [1.0]];
        let message = |change: fn(&mut Array3<f64>, &mut Array2<f64>)| {
            let (mut transition, mut reward) = (transition.clone(), reward.clone());
            change(&mut transition, &mut reward);
            TabularMdp::new(transition, reward).unwrap_err().to_string()
        };
        assert_eq!(
            message(|transition, _| transition[[1, 0, 0]] = 0.25),
            "transition[s = 1, a = 0] sums to 0.75, but must sum to 1 within 1e-9; divide it by its sum"
        );
        assert_eq!(
            message(|transition, _| transition[[0, 0, 1]] = -0.5),
            "transition[s = 0, a = 0], entry 1 = -0.5 is not a probability; it must lie in [0, 1]"
        );
        assert!(message(|transition, _| transition[[0, 0, 1]] = f64::NAN).contains("NaN is not a probability"));
        assert_eq!(message(|_, reward| reward[[1, 0]] = f64::INFINITY), "reward[s = 1, a = 0] = inf must be finite");
        assert_eq!(
            message(|transition, _| *transition = Array3::zeros((2, 1, 3))),
            "transition has shape [2, 1, 3], but must have shape [2, 1, 2]"
        );
        assert_eq!(
            message(|transition, reward| (*transition, *reward) = (Array3::zeros((0, 0, 0)), Array2::zeros((0, 0)))),
            "no states: give at least one"
        );
    }

    #[test]
    fn bad_starts_terminations_policies_and_batches_are_errors() {
        assert!(matches!(mdp().with_start(array![1.0]), Err(Error::Shape { what: "start", .. })));
        assert!(matches!(mdp().with_start(array![0.5, 0.4, 0.0]), Err(Error::ProbabilitySum { .. })));
        assert!(matches!(mdp().with_termination(array![1.0]), Err(Error::Shape { what: "termination", .. })));
        assert!(matches!(mdp().with_termination(array![0.0, 1.5, 0.0]), Err(Error::Probability { .. })));
        assert!(matches!(mdp().check_policy(&policy().t().to_owned()), Err(Error::Shape { what: "policy", .. })));
        assert!(matches!(mdp().check_policy(&(policy() * 2.0)), Err(Error::ProbabilitySum { .. })));
        assert!(matches!(mdp().sample(&policy(), 0, 1, 0), Err(Error::Empty { .. })));
        assert!(matches!(mdp().sample(&policy(), 1, 0, 0), Err(Error::Empty { .. })));
        assert!(matches!(mdp().enumerate(&policy(), 0), Err(Error::Empty { .. })));
    }
}
