//! A batch of trajectories, as data: what was seen, done and earned, how long, and how it ended.
//!
//! Trajectories of different lengths share rectangular arrays. A [`Rollout`] is canonical: whatever stood behind an end
//! is overwritten by 0 when it is made, so that nothing there, not even a NaN, can reach a number. Whatever makes a
//! rollout goes through [`Rollout::new`] or keeps what it promises. Nothing here knows of policies or estimators.

use std::fs;
use std::path::Path;

use ndarray::{Array, Array1, Array2, Axis, Dimension, concatenate};
use ndarray_npy::{WritableElement, WriteNpyExt};

use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::npy;

/// N trajectories s_0, a_0, r_0, s_1, …, s_L of at most H steps, 1 ≤ L ≤ H, with states and actions numbered from 0.
///
/// ```text
/// states   s_0 s_1 s_2 … s_L  0   0      [N, H + 1]
/// actions  a_0 a_1 … a_{L-1}  0   0      [N, H]
/// rewards  r_0 r_1 … r_{L-1}  0   0      [N, H]
/// ```
///
/// A trajectory is *terminated* if the episode ended in the environment: no reward follows, the value of s_L is 0. If
/// not, it is *truncated*: it was only watched no longer, and the value of s_L is a critic's. Both may happen at L = H.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    states: Array2<i32>,
    actions: Array2<i32>,
    rewards: Array2<f64>,
    lengths: Vec<usize>,
    terminated: Vec<bool>,
}

impl Rollout {
    /// Trajectories of full length in which all is 0, to record programs with that others are given to later.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] if `trajectories` or `horizon` is 0; [`Error::TooLarge`].
    pub fn zeros(trajectories: usize, horizon: usize) -> Result<Self> {
        check_count(trajectories, horizon)?;
        Self::new(
            Array2::zeros((trajectories, horizon + 1)),
            Array2::zeros((trajectories, horizon)),
            Array2::zeros((trajectories, horizon)),
            vec![horizon; trajectories],
            vec![false; trajectories],
        )
    }

    /// Checks the trajectories and overwrites by 0 what stands behind their ends: states after s_L, actions and rewards
    /// from step L on, whatever they were.
    ///
    /// Shapes: `states` `[N, H + 1]`, `actions` and `rewards` `[N, H]`, `lengths` and `terminated` `[N]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the shapes disagree (`actions` sets N and H); [`Error::Empty`] if N or H is 0;
    /// [`Error::Length`] unless 1 ≤ L ≤ H; [`Error::Step`] for a negative state or action, or a reward that is not
    /// finite, inside an episode.
    pub fn new(
        states: Array2<i32>,
        actions: Array2<i32>,
        rewards: Array2<f64>,
        lengths: Vec<usize>,
        terminated: Vec<bool>,
    ) -> Result<Self> {
        check_steps(states.shape(), actions.dim(), rewards.shape())?;
        check_ends(actions.dim(), &lengths, &terminated)?;
        Ok(Self {
            states: canonical(states, &lengths, 1, |&s| not_a_number_of("state", s.into()))?,
            actions: canonical(actions, &lengths, 0, |&a| not_a_number_of("action", a.into()))?,
            rewards: canonical(rewards, &lengths, 0, |&r| not_a_reward(r))?,
            lengths,
            terminated,
        })
    }

    /// The number of trajectories, N.
    pub fn trajectories(&self) -> usize {
        self.lengths.len()
    }

    /// The number of steps there is room for, H.
    pub fn horizon(&self) -> usize {
        self.actions.ncols()
    }

    /// The states s_0 … s_L and then 0, `[N, H + 1]`.
    pub fn states(&self) -> &Array2<i32> {
        &self.states
    }

    /// The actions a_0 … a_{L-1} and then 0, `[N, H]`.
    pub fn actions(&self) -> &Array2<i32> {
        &self.actions
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

    /// Which steps were taken, `[N, H]`: 1 where t < L, and 0 elsewhere.
    pub fn step_mask(&self) -> Array2<f64> {
        Array2::from_shape_fn(self.actions.dim(), |(n, t)| f64::from(t < self.lengths[n]))
    }

    /// Where V(s_t) counts, `[N, H + 1]`: 1 where t < L, and at t = L if the trajectory was truncated; 0 elsewhere, so
    /// after termination too.
    pub fn value_mask(&self) -> Array2<f64> {
        Array2::from_shape_fn(self.states.dim(), |(n, t)| {
            let length = self.lengths[n];
            f64::from(t < length || (t == length && !self.terminated[n]))
        })
    }

    /// States, actions and rewards, to keep.
    pub(crate) fn into_arrays(self) -> (Array2<i32>, Array2<i32>, Array2<f64>) {
        (self.states, self.actions, self.rewards)
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
            states: self.states.select(Axis(0), trajectories),
            actions: self.actions.select(Axis(0), trajectories),
            rewards: self.rewards.select(Axis(0), trajectories),
            lengths: trajectories.iter().map(|&n| self.lengths[n]).collect(),
            terminated: trajectories.iter().map(|&n| self.terminated[n]).collect(),
        }
    }

    /// The trajectories of all `rollouts`, one after the other.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] if there are no rollouts, [`Error::Shape`] if their horizons differ.
    pub fn concatenate(rollouts: &[&Self]) -> Result<Self> {
        let first = rollouts.first().ok_or(Error::Empty { what: "rollouts" })?;
        for rollout in rollouts {
            let expected = [rollout.trajectories(), first.horizon()];
            check_shape("actions", rollout.actions.shape(), &expected)?;
        }
        fn stack<A: Clone>(rollouts: &[&Rollout], part: impl Fn(&Rollout) -> &Array2<A>) -> Array2<A> {
            let parts: Vec<_> = rollouts.iter().map(|rollout| part(rollout).view()).collect();
            concatenate(Axis(0), &parts).expect("the horizons are equal")
        }
        Ok(Self {
            states: stack(rollouts, Self::states),
            actions: stack(rollouts, Self::actions),
            rewards: stack(rollouts, Self::rewards),
            lengths: rollouts.iter().flat_map(|rollout| rollout.lengths.clone()).collect(),
            terminated: rollouts.iter().flat_map(|rollout| rollout.terminated.clone()).collect(),
        })
    }

    /// Whether tables of `states` states and `actions` actions may be indexed by this rollout.
    ///
    /// # Errors
    ///
    /// [`Error::IndexOutOfRange`] names the first state or action that is too large.
    pub fn check_within(&self, states: usize, actions: usize) -> Result<()> {
        for (what, entries, size) in [("state", &self.states, states), ("action", &self.actions, actions)] {
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
        check_shape("log_behaviour", log_behaviour.shape(), self.actions.shape())?;
        let taken = |&((trajectory, step), _): &((usize, usize), &f64)| step < self.lengths[trajectory];
        let wrong = log_behaviour.indexed_iter().filter(taken).find(|(_, x)| !(x.is_finite() && **x <= 0.0));
        let Some(((trajectory, step), x)) = wrong else { return Ok(()) };
        let why = match x {
            _ if *x == f64::NEG_INFINITY => "but the action was taken, and so has a positive probability",
            _ => "but the logarithm of a probability is finite and not positive",
        };
        Err(Error::Step { trajectory, step, what: format!("log μ is {x}, {why}") })
    }

    /// Reads a rollout from a folder of NumPy files.
    ///
    /// | file | type | shape | if missing |
    /// |---|---|---|---|
    /// | `states.npy` | int32 or int64 | `[N, H + 1]` | error |
    /// | `actions.npy` | int32 or int64 | `[N, H]` | error |
    /// | `rewards.npy` | float64 or float32 | `[N, H]` | error |
    /// | `lengths.npy` | int32 or int64 | `[N]` | every length is H |
    /// | `terminated.npy` | bool | `[N]` | every trajectory was truncated |
    ///
    /// Behind an end anything may stand. Inside an episode states and actions are at least 0 and less than 2³¹, and rewards
    /// are finite.
    ///
    /// # Errors
    ///
    /// [`Error::File`] with the path and the cause: a [`Fault`](npy::Fault) of the file, or one of the errors of
    /// [`Rollout::new`].
    pub fn from_npy(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let [states_path, actions_path, rewards_path, lengths_path, terminated_path] =
            ["states", "actions", "rewards", "lengths", "terminated"].map(|name| dir.join(format!("{name}.npy")));
        let states: Array2<i64> = npy::read(&states_path, "[N, H + 1]")?;
        let actions: Array2<i64> = npy::read(&actions_path, "[N, H]")?;
        let rewards: Array2<f64> = npy::read(&rewards_path, "[N, H]")?;
        let in_folder = |cause| Error::file(dir, cause);
        check_steps(states.shape(), actions.dim(), rewards.shape()).map_err(in_folder)?;

        let (trajectories, horizon) = actions.dim();
        let lengths = if exists(&lengths_path)? {
            let lengths: Array1<i64> = npy::read(&lengths_path, "[N]")?;
            let natural = |(trajectory, &length): (usize, &i64)| {
                let wrong = Error::Length { trajectory, length, horizon };
                let inside = usize::try_from(length).ok().filter(|length| (1..=horizon).contains(length));
                inside.ok_or_else(|| Error::file(&lengths_path, wrong))
            };
            lengths.iter().enumerate().map(natural).collect::<Result<_>>()?
        } else {
            vec![horizon; trajectories]
        };
        let terminated = if exists(&terminated_path)? {
            npy::read::<bool, _>(&terminated_path, "[N]").map(|terminated: Array1<bool>| terminated.to_vec())?
        } else {
            vec![false; trajectories]
        };
        check_ends(actions.dim(), &lengths, &terminated).map_err(in_folder)?;

        // Checked as they were written: in 32 bits a state may be another one.
        let numbers = |what: &'static str, path: &Path, numbers: Array2<i64>, extra: usize| {
            let numbers = canonical(numbers, &lengths, extra, |&i| not_a_number_of(what, i));
            numbers.map(|numbers| numbers.mapv(|i| i as i32)).map_err(|cause| Error::file(path, cause))
        };
        Ok(Self {
            states: numbers("state", &states_path, states, 1)?,
            actions: numbers("action", &actions_path, actions, 0)?,
            rewards: canonical(rewards, &lengths, 0, |&r| not_a_reward(r))
                .map_err(|cause| Error::file(&rewards_path, cause))?,
            lengths,
            terminated,
        })
    }

    /// Writes the rollout as [`Rollout::from_npy`] reads it: all five files, int32, float64 and bool, or none of
    /// them. Makes the folder if there is none, and replaces files of these names.
    ///
    /// # Errors
    ///
    /// [`Error::File`] with the path and the cause.
    ///
    /// # Panics
    ///
    /// If the horizon does not fit into 32 bits.
    pub fn to_npy(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|cause| Error::file(dir, cause))?;
        let lengths = self.lengths.iter().map(|&length| i32::try_from(length).expect("a horizon below 2^31"));
        write_whole([
            (dir.join("states.npy"), bytes_of(&self.states)),
            (dir.join("actions.npy"), bytes_of(&self.actions)),
            (dir.join("rewards.npy"), bytes_of(&self.rewards)),
            (dir.join("lengths.npy"), bytes_of(&lengths.collect::<Array1<i32>>())),
            (dir.join("terminated.npy"), bytes_of(&Array1::from(self.terminated.clone()))),
        ])
    }
}

/// What a rollout asks of what there is for each step, of N trajectories and H steps.
fn check_steps(states: &[usize], (trajectories, horizon): (usize, usize), rewards: &[usize]) -> Result<()> {
    check_shape("states", states, &[trajectories, horizon + 1])?;
    check_shape("rewards", rewards, &[trajectories, horizon])?;
    check_count(trajectories, horizon)
}

/// An error unless there is something to hold, and memory for it.
pub(crate) fn check_count(trajectories: usize, horizon: usize) -> Result<()> {
    match (trajectories, horizon) {
        (_, 0) => Err(Error::Empty { what: "steps (the horizon is 0)" }),
        (0, _) => Err(Error::Empty { what: "trajectories" }),
        _ => {
            // A state, an action and a reward; asked for in vain, they would end the process.
            let steps = horizon.checked_add(1).and_then(|states| states.checked_mul(trajectories));
            let room = steps.map(|steps| Vec::<[f64; 2]>::new().try_reserve_exact(steps));
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

/// Why a state or an action cannot have this number, if so.
fn not_a_number_of(what: &str, i: i64) -> Option<String> {
    match i32::try_from(i) {
        Ok(0..) => None,
        _ if i < 0 => Some(format!("the {what} is {i}, but must not be negative")),
        _ => Some(format!("the {what} is {i}, but must be less than 2^31")),
    }
}

/// Why a number cannot be a reward, if so.
fn not_a_reward(r: f64) -> Option<String> {
    (!r.is_finite()).then(|| format!("the reward is {r}, but must be finite"))
}

/// An error unless the array called `what` has the expected shape.
pub(crate) fn check_shape(what: &'static str, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape { what, found: found.to_vec(), expected: expected.to_vec() })
}

/// `array` in row-major order, with row n checked up to its length L + `extra` and 0 from there on. `fault` says what
/// is wrong with an entry, if anything.
fn canonical<A: Copy + Default>(
    mut array: Array2<A>,
    lengths: &[usize],
    extra: usize,
    fault: impl Fn(&A) -> Option<String>,
) -> Result<Array2<A>> {
    for (trajectory, mut row) in array.rows_mut().into_iter().enumerate() {
        let end = lengths[trajectory] + extra;
        for (step, entry) in row.iter_mut().enumerate() {
            if step >= end {
                *entry = A::default();
            } else if let Some(what) = fault(entry) {
                return Err(Error::Step { trajectory, step, what });
            }
        }
    }
    Ok(array.as_standard_layout().into_owned())
}

/// An array as the contents of a file.
fn bytes_of<A: WritableElement, D: Dimension>(array: &Array<A, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).expect("memory takes all that is written");
    bytes
}

/// Whether anything is there, if only a link to nothing.
fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(Error::file(path, cause)),
        Ok(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(rollout.actions(), array![[1, 0], [1, 1]]);
        assert_eq!(rollout.rewards(), array![[1.0, 0.0], [1.0, 1.0]]);
    }

    #[test]
    fn masks_separate_steps_from_ends_and_truncation_from_termination() {
        let mut rollout = rollout();
        assert_eq!(rollout.step_mask(), array![[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]);
        assert_eq!(rollout.value_mask(), array![[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]);
        rollout.terminated[2] = false;
        assert_eq!(rollout.value_mask().row(2), array![1.0, 1.0, 0.0]);
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
                Array2::zeros(states),
                Array2::zeros(actions),
                Array2::zeros(rewards),
                vec![1; lengths],
                vec![true; terminated],
            )
        };
        assert!(new([3, 5], [3, 4], [3, 4], 3, 3).is_ok());
        for (rollout, name) in [
            (new([3, 4], [3, 4], [3, 4], 3, 3), "states"),
            (new([3, 5], [3, 4], [4, 3], 3, 3), "rewards"),
            (new([3, 5], [3, 4], [3, 4], 2, 3), "lengths"),
            (new([3, 5], [3, 4], [3, 4], 3, 1), "terminated"),
        ] {
            assert!(matches!(rollout, Err(Error::Shape { what, .. }) if what == name));
        }
        assert_eq!(
            new([3, 4], [3, 4], [3, 4], 3, 3).unwrap_err().to_string(),
            "states has shape [3, 4], but must have shape [3, 5]"
        );
        assert!(matches!(new([0, 5], [0, 4], [0, 4], 0, 0), Err(Error::Empty { .. })));
        assert!(matches!(new([3, 1], [3, 0], [3, 0], 3, 3), Err(Error::Empty { .. })));
    }

    #[test]
    fn arrays_in_column_order_are_stored_in_row_order() {
        let states = Array2::from_shape_vec((2, 3).f(), vec![0, 1, 2, 3, 4, 5]).unwrap();
        let rollout = Rollout::new(states, Array2::zeros((2, 2)), Array2::zeros((2, 2)), vec![2; 2], vec![false; 2]);
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
        assert_eq!(rollout.actions(), array![[1, 0]]);
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
