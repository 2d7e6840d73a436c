//! A batch of trajectories, as data: what was seen, done and earned, how long, and how it ended.
//!
//! Trajectories of different lengths share rectangular arrays. A [`Rollout`] is canonical: whatever stood behind an end
//! is overwritten by 0 when it is made, so that nothing there, not even a NaN, can reach a number. Whatever makes a
//! rollout goes through [`Rollout::new`] or keeps what it promises. Nothing here knows of policies or estimators.

use std::ops::Range;

use ad::Value;
use ndarray::{Array2, ArrayBase, ArrayD, ArrayView2, Axis, Data, Dimension, concatenate};

use crate::error::{Error, Result};

mod files;
pub mod npy;
mod space;
mod steps;

pub use space::Space;
pub(crate) use steps::split_leading;
pub use steps::{Episodes, Steps, per_trajectory_gradients};

/// N trajectories s_0, a_0, r_0, s_1, …, s_L of at most H steps, 1 ≤ L ≤ H.
///
/// ```text
/// observations  s_0 s_1 s_2 … s_L  0   0      [N, H + 1, …]    f64, f32, i32 or u8
/// actions       a_0 a_1 … a_{L-1}  0   0      [N, H, …]        f64, f32, i32 or u8
/// rewards       r_0 r_1 … r_{L-1}  0   0      [N, H]
/// ```
///
/// Observations are numbers of states, vectors or frames; actions numbers, or vectors. What has one integer or byte for each
/// step counts from 0, and is an i32.
///
/// A trajectory is *terminated* if the episode ended in the environment: no reward follows, the value of s_L is 0. If
/// not, it is *truncated*: it was only watched no longer, and the value of s_L is a critic's. Both may happen at L = H.
/// A row may also be a *segment* of a longer trajectory ([`segments`](Self::segments)): then it *goes on* behind s_L, in
/// another row, and to whoever needs the value of s_L it is truncated there.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    observations: Value<'static>,
    actions: Value<'static>,
    rewards: Array2<f64>,
    lengths: Vec<usize>,
    terminated: Vec<bool>,
    goes_on: Vec<bool>,
}

impl Rollout {
    /// Trajectories of full length in which all is 0, of numbered states and actions: to record programs with that others are
    /// given to later.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] if `trajectories` or `horizon` is 0; [`Error::TooLarge`].
    pub fn zeros(trajectories: usize, horizon: usize) -> Result<Self> {
        Self::zeros_in(trajectories, horizon, [&Space::NUMBER; 2])
    }

    /// The same with observations and actions of these spaces.
    ///
    /// # Errors
    ///
    /// Those of [`zeros`](Self::zeros).
    pub fn zeros_in(trajectories: usize, horizon: usize, [observation, action]: [&Space; 2]) -> Result<Self> {
        check_count(trajectories, horizon, observation.size().saturating_add(action.size()))?;
        Self::new(
            observation.zeros(&[trajectories, horizon + 1]),
            action.zeros(&[trajectories, horizon]),
            Array2::zeros((trajectories, horizon)),
            vec![horizon; trajectories],
            vec![false; trajectories],
        )
    }

    /// Checks the trajectories and overwrites by 0 what stands behind their ends: observations after s_L, actions and rewards
    /// from step L on, whatever they were.
    ///
    /// Shapes: `observations` `[N, H + 1, …]`, `actions` `[N, H, …]`, `rewards` `[N, H]`, `lengths` and `terminated` `[N]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the shapes disagree (`rewards` sets N and H); [`Error::Empty`] if N or H is 0;
    /// [`Error::Length`] unless 1 ≤ L ≤ H; [`Error::Step`] for a negative number of a state or an action, or for a reward or
    /// another number that is not finite, inside an episode.
    pub fn new<'a>(
        observations: impl Into<Value<'a>>,
        actions: impl Into<Value<'a>>,
        rewards: Array2<f64>,
        lengths: Vec<usize>,
        terminated: Vec<bool>,
    ) -> Result<Self> {
        let (observations, actions) = (observations.into(), actions.into());
        check_steps(observations.shape(), actions.shape(), rewards.dim())?;
        check_ends(rewards.dim(), &lengths, &terminated)?;
        Ok(Self {
            observations: canonical_value("state", "observation", observations, &lengths, 1)?,
            actions: canonical_value("action", "action", actions, &lengths, 0)?,
            rewards: canonical_rewards(rewards, &lengths)?,
            goes_on: vec![false; lengths.len()],
            lengths,
            terminated,
        })
    }

    /// The same rows, of which some are segments that go on behind their ends, in other rows.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], or [`Error::Step`] for a trajectory that was terminated and goes on.
    pub fn going_on(self, goes_on: Vec<bool>) -> Result<Self> {
        check_shape("goes_on", &[goes_on.len()], &[self.trajectories()])?;
        match (0..goes_on.len()).find(|&n| goes_on[n] && self.terminated[n]) {
            Some(trajectory) => {
                let (step, what) = (self.lengths[trajectory], "the episode is terminated here, so it cannot go on");
                Err(Error::Step { trajectory, step, what: what.to_owned() })
            }
            None => Ok(Self { goes_on, ..self }),
        }
    }

    /// These trajectories cut into rows of at most `steps` steps, one behind another: each begins with the observation that the
    /// one before ended with. All but a trajectory's last go on.
    ///
    /// # Panics
    ///
    /// If `steps` is 0.
    #[track_caller]
    pub fn segments(&self, steps: usize) -> Self {
        assert!(steps > 0, "segments: a segment needs at least one step");
        let pieces: Vec<(usize, Range<usize>)> = (self.lengths.iter().enumerate())
            .flat_map(|(n, &length)| (0..length).step_by(steps).map(move |begin| (n, begin..length.min(begin + steps))))
            .collect();
        let is_last = |(n, steps): &(usize, Range<usize>)| steps.end == self.lengths[*n];
        let cut_value = |value: &Value<'static>, extra: usize| match value {
            Value::F64(array) => cut(array, &pieces, steps, extra).into(),
            Value::F32(array) => cut(array, &pieces, steps, extra).into(),
            Value::I32(array) => cut(array, &pieces, steps, extra).into(),
            Value::U8(array) => cut(array, &pieces, steps, extra).into(),
        };
        let rewards = cut(&self.rewards, &pieces, steps, 0);
        Self {
            observations: cut_value(&self.observations, 1),
            actions: cut_value(&self.actions, 0),
            rewards: rewards.into_dimensionality().expect("two axes, as before"),
            lengths: pieces.iter().map(|(_, range)| range.len()).collect(),
            terminated: pieces.iter().map(|piece| is_last(piece) && self.terminated[piece.0]).collect(),
            goes_on: pieces.iter().map(|piece| !is_last(piece) || self.goes_on[piece.0]).collect(),
        }
    }

    /// The number of trajectories, N.
    pub fn trajectories(&self) -> usize {
        self.lengths.len()
    }

    /// The number of steps there is room for, H.
    pub fn horizon(&self) -> usize {
        self.rewards.ncols()
    }

    /// The observations s_0 … s_L and then 0, `[N, H + 1, …]`.
    pub fn observations(&self) -> &Value<'static> {
        &self.observations
    }

    /// The actions a_0 … a_{L-1} and then 0, `[N, H, …]`.
    pub fn actions(&self) -> &Value<'static> {
        &self.actions
    }

    /// The observations as numbers of states, `[N, H + 1]`.
    ///
    /// # Panics
    ///
    /// If they are something else.
    #[track_caller]
    pub fn states(&self) -> ArrayView2<'_, i32> {
        numbers("states: the observations", &self.observations)
    }

    /// The actions as numbers, `[N, H]`.
    ///
    /// # Panics
    ///
    /// If they are something else.
    #[track_caller]
    pub fn action_numbers(&self) -> ArrayView2<'_, i32> {
        numbers("action_numbers: the actions", &self.actions)
    }

    /// The rewards r_0 … r_{L-1} and then 0, `[N, H]`, undiscounted.
    pub fn rewards(&self) -> &Array2<f64> {
        &self.rewards
    }

    /// The lengths L in steps, `[N]`.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Whether the episode ended in the environment (true) or was truncated (false), `[N]`.
    pub fn terminated(&self) -> &[bool] {
        &self.terminated
    }

    /// Whether the row is a segment that goes on in another row, `[N]`.
    pub fn goes_on(&self) -> &[bool] {
        &self.goes_on
    }

    /// Which steps were taken, `[N, H]`: 1 where t < L, and 0 elsewhere.
    pub fn taken(&self) -> Array2<f64> {
        Array2::from_shape_fn(self.rewards.dim(), |(n, t)| f64::from(t < self.lengths[n]))
    }

    /// Where V(s_t) counts, `[N, H + 1]`: 1 where t < L, and at t = L if the trajectory was truncated there or goes on; 0
    /// elsewhere, so after termination too.
    pub fn counted(&self) -> Array2<f64> {
        let (trajectories, horizon) = self.rewards.dim();
        Array2::from_shape_fn((trajectories, horizon + 1), |(n, t)| {
            let length = self.lengths[n];
            f64::from(t < length || (t == length && !self.terminated[n]))
        })
    }

    /// The trajectories of these numbers, in this order; a number may come more than once.
    ///
    /// # Panics
    ///
    /// If `trajectories` is empty or holds a number that is not below N.
    #[track_caller]
    pub fn select(&self, trajectories: &[usize]) -> Self {
        assert!(!trajectories.is_empty(), "select: no trajectories chosen");
        let count = self.trajectories();
        if let Some(n) = trajectories.iter().find(|&&n| n >= count) {
            panic!("select: there is no trajectory {n}, there are {count}");
        }
        Self {
            observations: self.observations.select(0, trajectories),
            actions: self.actions.select(0, trajectories),
            rewards: self.rewards.select(Axis(0), trajectories),
            lengths: trajectories.iter().map(|&n| self.lengths[n]).collect(),
            terminated: trajectories.iter().map(|&n| self.terminated[n]).collect(),
            goes_on: trajectories.iter().map(|&n| self.goes_on[n]).collect(),
        }
    }

    /// The trajectories of all `rollouts`, one after the other.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] if there are no rollouts, [`Error::Shape`] if their horizons or the shapes of their observations or
    /// actions differ, [`Error::Types`] if the types do.
    pub fn concatenate(rollouts: &[&Self]) -> Result<Self> {
        let first = rollouts.first().ok_or(Error::Empty { what: "rollouts" })?;
        let stack = |what: &'static str, part: fn(&Rollout) -> &Value<'static>| {
            for rollout in rollouts {
                let (found, expected) = (part(rollout), part(first));
                let rows = [&[rollout.trajectories()], &expected.shape()[1..]].concat();
                check_shape(what, found.shape(), &rows)?;
                if found.dtype() != expected.dtype() {
                    return Err(Error::Types { what, found: found.dtype(), expected: expected.dtype() });
                }
            }
            let parts: Vec<Value<'_>> = rollouts.iter().map(|rollout| part(rollout).view()).collect();
            Ok(Value::concatenate(&parts, 0).expect("one shape and type"))
        };
        let (actions, observations) = (stack("actions", Self::actions)?, stack("observations", Self::observations)?);
        let rewards: Vec<_> = rollouts.iter().map(|rollout| rollout.rewards.view()).collect();
        Ok(Self {
            observations,
            actions,
            rewards: concatenate(Axis(0), &rewards).expect("the horizons are equal"),
            lengths: rollouts.iter().flat_map(|rollout| rollout.lengths.clone()).collect(),
            terminated: rollouts.iter().flat_map(|rollout| rollout.terminated.clone()).collect(),
            goes_on: rollouts.iter().flat_map(|rollout| rollout.goes_on.clone()).collect(),
        })
    }

    /// Whether tables of `states` states and `actions` actions may be indexed by this rollout.
    ///
    /// # Errors
    ///
    /// [`Error::IndexOutOfRange`] names the first state or action that is too large.
    ///
    /// # Panics
    ///
    /// If states and actions are no numbers.
    #[track_caller]
    pub fn check_within(&self, states: usize, actions: usize) -> Result<()> {
        for (what, entries, size) in [("state", self.states(), states), ("action", self.action_numbers(), actions)] {
            // Entries are never negative, so the conversion keeps them.
            if let Some(((trajectory, step), &index)) = entries.indexed_iter().find(|&(_, &i)| i as usize >= size) {
                return Err(Error::IndexOutOfRange { trajectory, step, what, index, size });
            }
        }
        Ok(())
    }

    /// Whether `log_behaviour`, `[N, H]`, can be the log-probabilities log μ(a_t|s_t) of what was done: on every step taken
    /// a number that is not positive, and not −∞ either, because what was done can be done.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], or [`Error::Step`] for the first that cannot.
    pub fn check_log_behaviour(&self, log_behaviour: &Array2<f64>) -> Result<()> {
        check_shape("log_behaviour", log_behaviour.shape(), self.rewards.shape())?;
        let taken = |&((trajectory, step), _): &((usize, usize), &f64)| step < self.lengths[trajectory];
        let wrong = log_behaviour.indexed_iter().filter(taken).find(|(_, x)| !(x.is_finite() && **x <= 0.0));
        let Some(((trajectory, step), x)) = wrong else { return Ok(()) };
        let why = match x {
            _ if *x == f64::NEG_INFINITY => "but the action was taken, and so has a positive probability",
            _ => "but the logarithm of a probability is finite and not positive",
        };
        Err(Error::Step { trajectory, step, what: format!("log μ is {x}, {why}") })
    }
}

/// Of a canonical array `[N, T, …]` these steps of these rows, and `extra` more, as rows with room for `steps` + `extra`.
fn cut<A, S, D>(array: &ArrayBase<S, D>, pieces: &[(usize, Range<usize>)], steps: usize, extra: usize) -> ArrayD<A>
where
    A: Copy + Default,
    S: Data<Elem = A>,
    D: Dimension,
{
    let (shape, array) = (array.shape(), array.as_standard_layout());
    let entries = array.as_slice().expect("row-major");
    let (row, size) = (shape[1..].iter().product::<usize>(), shape[2..].iter().product::<usize>());
    let mut rows = Vec::with_capacity(pieces.len() * (steps + extra) * size);
    for (number, (n, range)) in pieces.iter().enumerate() {
        rows.extend_from_slice(&entries[n * row..][range.start * size..(range.end + extra) * size]);
        rows.resize((number + 1) * (steps + extra) * size, A::default());
    }
    let shape = [&[pieces.len(), steps + extra], &shape[2..]].concat();
    ArrayD::from_shape_vec(shape, rows).expect("as many entries")
}

/// An array `[N, T]` of integers.
#[track_caller]
fn numbers<'v>(what: &str, value: &'v Value<'_>) -> ArrayView2<'v, i32> {
    let (dtype, shape) = (value.dtype(), value.shape());
    let array = value.array::<i32>().and_then(|array| array.into_dimensionality().ok());
    array.unwrap_or_else(|| panic!("{what} are no numbers, one for each step, but {dtype} of shape {shape:?}"))
}

/// What a rollout asks of what there is for each step, of N trajectories and H steps.
fn check_steps(observations: &[usize], actions: &[usize], (trajectories, horizon): (usize, usize)) -> Result<()> {
    let front = |shape: &[usize], steps: usize| [&[trajectories, steps], shape.get(2..).unwrap_or(&[])].concat();
    check_shape("actions", actions, &front(actions, horizon))?;
    check_shape("observations", observations, &front(observations, horizon + 1))?;
    check_count(trajectories, horizon, 2)
}

/// An error unless there is something to hold, and memory for it: `size` numbers and a reward for each step.
pub(crate) fn check_count(trajectories: usize, horizon: usize, size: usize) -> Result<()> {
    match (trajectories, horizon) {
        (_, 0) => Err(Error::Empty { what: "steps (the horizon is 0)" }),
        (0, _) => Err(Error::Empty { what: "trajectories" }),
        _ => {
            // Asked for in vain, they would end the process.
            let steps = horizon.checked_add(1).and_then(|states| states.checked_mul(trajectories));
            let bytes = steps.and_then(|steps| steps.checked_mul(size.checked_mul(4)?.checked_add(8)?));
            let room = bytes.map(|bytes| Vec::<u8>::new().try_reserve_exact(bytes));
            room.is_some_and(|room| room.is_ok()).then_some(()).ok_or(Error::TooLarge { trajectories, horizon })
        }
    }
}

/// And of what there is for each trajectory.
fn check_ends((trajectories, horizon): (usize, usize), lengths: &[usize], terminated: &[bool]) -> Result<()> {
    check_shape("lengths", &[lengths.len()], &[trajectories])?;
    check_shape("terminated", &[terminated.len()], &[trajectories])?;
    match lengths.iter().position(|&length| length == 0 || length > horizon) {
        Some(trajectory) => {
            let length = i64::try_from(lengths[trajectory]).unwrap_or(i64::MAX);
            Err(Error::Length { trajectory, length, horizon })
        }
        None => Ok(()),
    }
}

/// An error unless the array called `what` has the expected shape.
pub(crate) fn check_shape(what: &'static str, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape { what, found: found.to_vec(), expected: expected.to_vec() })
}

fn canonical_rewards(rewards: Array2<f64>, lengths: &[usize]) -> Result<Array2<f64>> {
    let not_finite = |&r: &f64| (!r.is_finite()).then(|| format!("the reward is {r}, but must be finite"));
    let rewards = canonical(rewards.into_dyn(), lengths, 0, not_finite)?;
    Ok(rewards.into_dimensionality().expect("two axes, as before"))
}

/// Observations or actions, checked and made canonical. One integer or byte for each step is the number of a `number`, anything
/// else part of a `thing`.
fn canonical_value(
    number: &str,
    thing: &str,
    value: Value<'_>,
    lengths: &[usize],
    extra: usize,
) -> Result<Value<'static>> {
    let infinite = |x: f64| (!x.is_finite()).then(|| format!("a number of the {thing} is {x}, but must be finite"));
    let is_number = value.shape().len() == 2;
    Ok(match value {
        Value::F64(array) => canonical(array.into_owned(), lengths, extra, |&x| infinite(x))?.into(),
        Value::F32(array) => canonical(array.into_owned(), lengths, extra, |&x| infinite(x.into()))?.into(),
        Value::I32(array) if is_number => {
            let negative = |&i: &i32| (i < 0).then(|| format!("the {number} is {i}, but must not be negative"));
            canonical(array.into_owned(), lengths, extra, negative)?.into()
        }
        Value::I32(array) => canonical(array.into_owned(), lengths, extra, |_| None)?.into(),
        Value::U8(array) if is_number => canonical(array.mapv(i32::from), lengths, extra, |_| None)?.into(),
        Value::U8(array) => canonical(array.into_owned(), lengths, extra, |_| None)?.into(),
    })
}

/// `array`, `[N, T, …]`, in row-major order, with row n checked up to its length L + `extra` and 0 from there on. `fault` says
/// what is wrong with an entry, if anything.
fn canonical<A: Copy + Default>(
    array: ArrayD<A>,
    lengths: &[usize],
    extra: usize,
    fault: impl Fn(&A) -> Option<String>,
) -> Result<ArrayD<A>> {
    let mut array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() };
    let (steps, size) = (array.shape()[1], array.shape()[2..].iter().product::<usize>());
    let entries = array.as_slice_mut().expect("row-major");
    // (What has no entries has no rows either.)
    for (trajectory, row) in entries.chunks_exact_mut((steps * size).max(1)).enumerate() {
        let (inside, behind) = row.split_at_mut((lengths[trajectory] + extra) * size);
        if let Some((place, what)) = inside.iter().enumerate().find_map(|(place, x)| Some((place, fault(x)?))) {
            return Err(Error::Step { trajectory, step: place / size, what });
        }
        behind.fill(A::default());
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use ndarray::{ShapeBuilder, array};
    use ndarray_npy::write_npy;

    use super::*;

    /// Three trajectories, H = 2: truncated at the horizon, terminated at the horizon, terminated after one step.
    fn rollout() -> Rollout {
        Rollout::new(
            array![[0, 1, 2], [2, 1, 0], [1, 3, 0]],
            array![[1, 0], [0, 1], [1, 0]],
            array![[0.5, 1.5], [-1.0, 2.0], [3.0, 0.0]],
            vec![2, 2, 1],
            vec![false, true, true],
        )
        .unwrap()
    }

    /// An empty folder of this name that is gone when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rl-rollout-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_lies_behind_an_end_is_overwritten_by_zero() {
        let rollout = Rollout::new(
            array![[4, 5, i32::MIN], [4, 5, 6]],
            array![[1, i32::MIN], [1, 1]],
            array![[1.0, f64::NAN], [1.0, 1.0]],
            vec![1, 2],
            vec![false, false],
        )
        .unwrap();
        assert_eq!(rollout.states(), array![[4, 5, 0], [4, 5, 6]]);
        assert_eq!(rollout.action_numbers(), array![[1, 0], [1, 1]]);
        assert_eq!(rollout.rewards(), array![[1.0, 0.0], [1.0, 1.0]]);
    }

    #[test]
    fn masks_separate_steps_from_ends_and_truncation_from_termination() {
        let mut rollout = rollout();
        assert_eq!(rollout.taken(), array![[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]);
        assert_eq!(rollout.counted(), array![[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]);
        rollout.terminated[2] = false;
        assert_eq!(rollout.counted().row(2), array![1.0, 1.0, 0.0]);
    }

    #[test]
    fn faults_inside_an_episode_are_errors_that_say_where() {
        let message = |states, actions, rewards, length| {
            Rollout::new(states, actions, rewards, vec![length], vec![false]).unwrap_err().to_string()
        };
        let (s, a, r) = (array![[0, 1, 2]], array![[0, 1]], array![[0.0, 1.0]]);
        assert_eq!(
            message(array![[0, 1, -3]], a.clone(), r.clone(), 2),
            "trajectory 0, step 2: the state is -3, but must not be negative"
        );
        assert_eq!(
            message(s.clone(), array![[-1, 0]], r.clone(), 1),
            "trajectory 0, step 0: the action is -1, but must not be negative"
        );
        assert_eq!(
            message(s.clone(), a.clone(), array![[0.0, f64::NAN]], 2),
            "trajectory 0, step 1: the reward is NaN, but must be finite"
        );
        for length in [0, 3] {
            assert_eq!(
                message(s.clone(), a.clone(), r.clone(), length),
                format!("trajectory 0 has length {length}, but an episode has between 1 and 2 steps (the horizon)")
            );
        }
    }

    #[test]
    fn shapes_that_disagree_and_empty_batches_are_errors() {
        let new = |states: [usize; 2], actions: [usize; 2], rewards: [usize; 2], lengths, terminated| {
            Rollout::new(
                Array2::<i32>::zeros(states),
                Array2::<i32>::zeros(actions),
                Array2::zeros(rewards),
                vec![1; lengths],
                vec![true; terminated],
            )
        };
        assert!(new([3, 5], [3, 4], [3, 4], 3, 3).is_ok());
        for (rollout, name) in [
            (new([3, 4], [3, 4], [3, 4], 3, 3), "observations"),
            (new([3, 5], [3, 4], [4, 3], 3, 3), "actions"),
            (new([3, 5], [3, 4], [3, 4], 2, 3), "lengths"),
            (new([3, 5], [3, 4], [3, 4], 3, 1), "terminated"),
        ] {
            assert!(matches!(rollout, Err(Error::Shape { what, .. }) if what == name));
        }
        assert_eq!(
            new([3, 4], [3, 4], [3, 4], 3, 3).unwrap_err().to_string(),
            "observations has shape [3, 4], but must have shape [3, 5]"
        );
        assert!(matches!(new([0, 5], [0, 4], [0, 4], 0, 0), Err(Error::Empty { .. })));
        assert!(matches!(new([3, 1], [3, 0], [3, 0], 3, 3), Err(Error::Empty { .. })));
    }

    #[test]
    fn arrays_in_column_order_are_stored_in_row_order() {
        let states = Array2::from_shape_vec((2, 3).f(), vec![0, 1, 2, 3, 4, 5]).unwrap();
        let rollout =
            Rollout::new(states, Array2::<i32>::zeros((2, 2)), Array2::zeros((2, 2)), vec![2; 2], vec![false; 2]);
        assert_eq!(rollout.unwrap().states().as_slice(), Some(&[0, 2, 4, 1, 3, 5][..]));
    }

    #[test]
    fn select_takes_trajectories_in_order_with_repeats_and_concatenate_undoes_a_split() {
        let rollout = rollout();
        let chosen = rollout.select(&[2, 0, 2]);
        assert_eq!(chosen.states(), array![[1, 3, 0], [0, 1, 2], [1, 3, 0]]);
        assert_eq!((chosen.lengths(), chosen.terminated()), (&[1, 2, 1][..], &[true, false, true][..]));
        let (head, tail) = (rollout.select(&[0]), rollout.select(&[1, 2]));
        assert_eq!(Rollout::concatenate(&[&head, &tail]).unwrap(), rollout);
    }

    #[test]
    fn concatenate_refuses_nothing_and_different_horizons() {
        let short = Rollout::new(array![[0, 0]], array![[0]], array![[0.0]], vec![1], vec![true]).unwrap();
        assert!(matches!(Rollout::concatenate(&[]), Err(Error::Empty { .. })));
        assert!(matches!(Rollout::concatenate(&[&rollout(), &short]), Err(Error::Shape { .. })));
    }

    #[test]
    #[should_panic(expected = "select: there is no trajectory 3, there are 3")]
    fn select_panics_on_a_trajectory_that_is_not_there() {
        rollout().select(&[0, 3]);
    }

    #[test]
    fn indices_beyond_a_table_are_errors_that_say_where() {
        let rollout = rollout();
        assert!(rollout.check_within(4, 2).is_ok());
        assert_eq!(
            rollout.check_within(3, 2).unwrap_err().to_string(),
            "trajectory 2, step 1: state 3 is out of range, there are 3 (0 to 3 - 1)"
        );
        assert!(matches!(
            rollout.check_within(4, 1),
            Err(Error::IndexOutOfRange { trajectory: 0, step: 0, what: "action", index: 1, size: 1 })
        ));
    }

    #[test]
    fn files_written_are_read_back_the_same() {
        let folder = Folder::new("round-trip");
        let rollout = rollout();
        rollout.to_npy(folder.0.join("made/on/demand")).unwrap();
        assert_eq!(Rollout::from_npy(folder.0.join("made/on/demand")).unwrap(), rollout);
    }

    #[test]
    fn wide_integers_narrow_floats_and_garbage_behind_ends_are_read() {
        let folder = Folder::new("types");
        let file = |name: &str| folder.0.join(name);
        write_npy(file("states.npy"), &array![[0_i64, 1, 1 << 40]]).unwrap();
        write_npy(file("actions.npy"), &array![[1_i64, i64::MIN]]).unwrap();
        write_npy(file("rewards.npy"), &array![[0.5_f32, f32::NAN]]).unwrap();
        write_npy(file("lengths.npy"), &array![1_i64]).unwrap();
        let rollout = Rollout::from_npy(&folder.0).unwrap();
        assert_eq!(rollout.states(), array![[0, 1, 0]]);
        assert_eq!(rollout.action_numbers(), array![[1, 0]]);
        assert_eq!(rollout.rewards(), array![[0.5, 0.0]]);
        assert_eq!(rollout.terminated(), [false]);

        fs::remove_file(file("lengths.npy")).unwrap();
        write_npy(file("rewards.npy"), &array![[0.5, 0.5]]).unwrap();
        let message = Rollout::from_npy(&folder.0).unwrap_err().to_string();
        let expected = "states.npy: trajectory 0, step 2: the state is 1099511627776, but must be less than 2^31";
        assert!(message.ends_with(expected), "{message}");
    }

    #[test]
    fn without_optional_files_every_episode_is_truncated_at_the_horizon() {
        let folder = Folder::new("optional");
        rollout().to_npy(&folder.0).unwrap();
        fs::remove_file(folder.0.join("lengths.npy")).unwrap();
        fs::remove_file(folder.0.join("terminated.npy")).unwrap();
        let read = Rollout::from_npy(&folder.0).unwrap();
        assert_eq!((read.lengths(), read.terminated()), (&[2; 3][..], &[false; 3][..]));
    }

    #[test]
    fn file_errors_name_the_file() {
        let folder = Folder::new("errors");
        let message = || Rollout::from_npy(&folder.0).unwrap_err().to_string();
        assert!(message().contains("states.npy"), "{}", message());

        rollout().to_npy(&folder.0).unwrap();
        write_npy(folder.0.join("lengths.npy"), &array![2, -7, 1]).unwrap();
        assert!(message().contains("lengths.npy: trajectory 1 has length -7"), "{}", message());

        write_npy(folder.0.join("lengths.npy"), &array![2, 2]).unwrap();
        assert!(message().ends_with("errors: lengths has shape [2], but must have shape [3]"), "{}", message());

        write_npy(folder.0.join("actions.npy"), &array![0.0]).unwrap();
        assert!(message().contains("actions.npy"), "{}", message());

        fs::write(folder.0.join("states.npy"), "no array").unwrap();
        assert!(message().contains("states.npy"), "{}", message());
    }
}
