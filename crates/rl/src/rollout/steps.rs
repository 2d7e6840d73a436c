//! Trajectories on a tape: what estimators see of them ([`Steps`]), and what policies see besides ([`Episodes`]).
//!
//! Masks are applied here and nowhere else, by selection and not by multiplication, so that a NaN behind an end reaches nothing.
//! The order of a rollout's arrays stands here and nowhere else ([`Columns`]).

use ad::{DType, Handle, Index, Tape, Tree, Value, Var, vmap_many};

use super::Rollout;

/// What estimators see of N trajectories of up to H steps.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// r_0 … r_{L−1}, `[N, H]`.
    pub rewards: Var,
    /// 1 where a step was taken (t < L), `[N, H]`.
    pub taken: Var,
    /// 1 where V(s_t) counts (t < L, and t = L unless the episode terminated there), `[N, H + 1]`.
    pub counted: Var,
}

impl Steps {
    /// Trajectories of full length that are truncated at their ends, with these rewards, `[N, H]`. Their masks are constants, of
    /// which lowering leaves nothing.
    ///
    /// Panics if the rewards have other axes.
    #[track_caller]
    pub fn full(rewards: Var) -> Self {
        let shape = rewards.shape();
        assert!(shape.len() == 2, "Steps: rewards need the shape [N, H], got {shape:?}");
        let taken = rewards.full_like(1.0);
        Self { rewards, taken, counted: taken.at(1, 0).insert_axis(1).broadcast_to(&[shape[0], shape[1] + 1]) }
    }

    /// The number of trajectories N.
    pub fn trajectories(&self) -> usize {
        self.rewards.shape()[0]
    }

    /// The number of steps H there is room for.
    pub fn horizon(&self) -> usize {
        self.rewards.shape()[1]
    }

    /// `x`, `[N, H]`, on the steps taken, and 0 behind.
    #[track_caller]
    pub fn on_steps(&self, x: Var) -> Var {
        self.taken.select(x, 0.0)
    }

    /// `x`, `[N, H + 1]`, where a value counts, and 0 elsewhere.
    #[track_caller]
    pub fn where_counted(&self, x: Var) -> Var {
        self.counted.select(x, 0.0)
    }
}

/// A [`Rollout`] on a tape. All are inputs, and can be replaced on replay.
#[derive(Clone, Copy, Debug)]
pub struct Episodes {
    /// s_0 … s_L, `[N, H + 1, …]`.
    pub observations: Handle,
    /// a_0 … a_{L−1}, `[N, H, …]`.
    pub actions: Handle,
    /// Rewards, and which steps there are.
    pub steps: Steps,
}

impl From<Episodes> for Steps {
    fn from(episodes: Episodes) -> Self {
        episodes.steps
    }
}

/// What trajectories are made of, in the order in which a program's inputs and their values come.
struct Columns<T> {
    observations: T,
    actions: T,
    rewards: T,
    taken: T,
    counted: T,
}

impl<T> Columns<T> {
    fn in_order(self) -> [T; Episodes::COLUMNS] {
        let Self { observations, actions, rewards, taken, counted } = self;
        [observations, actions, rewards, taken, counted]
    }

    fn from_order([observations, actions, rewards, taken, counted]: [T; Episodes::COLUMNS]) -> Self {
        Self { observations, actions, rewards, taken, counted }
    }
}

impl Rollout {
    /// Records the trajectories as inputs of a tape, to be computed with in double precision.
    #[track_caller]
    pub fn record(&self, tape: &Tape) -> Episodes {
        self.record_as(tape, DType::F64)
    }

    /// [`record`](Self::record) with rewards, masks, and what is real of observations and actions, of a floating-point type:
    /// that of the policy's parameters. All that an estimator makes of them is of this type.
    ///
    /// Panics for a type that is not a floating-point one.
    #[track_caller]
    pub fn record_as(&self, tape: &Tape, dtype: DType) -> Episodes {
        assert!(dtype.is_float(), "record_as: rewards are floating-point numbers, not {dtype}");
        let Columns { observations, actions, rewards, taken, counted } = Columns::from_order(self.values_as(dtype));
        Episodes {
            observations: tape.input_or_index("observations", observations),
            actions: tape.input_or_index("actions", actions),
            steps: Steps {
                rewards: tape.input("rewards", rewards),
                taken: tape.input("taken", taken),
                counted: tape.input("counted", counted),
            },
        }
    }

    /// These trajectories as values for a program, in the order of [`Episodes::handles`].
    pub fn values(&self) -> [Value<'_>; Episodes::COLUMNS] {
        self.values_as(DType::F64)
    }

    /// [`values`](Self::values) for a program of trajectories [recorded](Self::record_as) in this floating-point type.
    ///
    /// Panics for a type that is not a floating-point one.
    #[track_caller]
    pub fn values_as(&self, dtype: DType) -> [Value<'_>; Episodes::COLUMNS] {
        assert!(dtype.is_float(), "values_as: rewards are floating-point numbers, not {dtype}");
        let columns = Columns {
            observations: self.observations().view(),
            actions: self.actions().view(),
            rewards: self.rewards().into(),
            taken: self.taken().into(),
            counted: self.counted().into(),
        };
        columns.in_order().map(|value| value.rounded(dtype))
    }

    /// The same, to keep when the rollout is gone.
    pub fn into_values(self) -> [Value<'static>; Episodes::COLUMNS] {
        let (taken, counted) = (self.taken().into(), self.counted().into());
        let Self { observations, actions, rewards, .. } = self;
        let columns = Columns { observations, actions, rewards: rewards.into(), taken, counted };
        columns.in_order().map(|value| value.rounded(DType::F64))
    }
}

impl Episodes {
    /// The number of arrays that trajectories are made of.
    pub const COLUMNS: usize = 5;

    /// The inputs, in the order that [`Rollout::values`] gives their values in.
    pub fn handles(&self) -> [Handle; Self::COLUMNS] {
        let Self { observations, actions, steps: Steps { rewards, taken, counted } } = *self;
        let (rewards, taken, counted) = (rewards.into(), taken.into(), counted.into());
        Columns { observations, actions, rewards, taken, counted }.in_order()
    }

    /// Trajectories made of these arrays, in the order of [`handles`](Self::handles).
    ///
    /// Panics unless there are as many.
    #[track_caller]
    pub fn from_handles(handles: &[Handle]) -> Self {
        let Ok(handles) = <[Handle; Self::COLUMNS]>::try_from(handles) else {
            panic!("from_handles: trajectories are made of {} arrays, not {}", Self::COLUMNS, handles.len())
        };
        let Columns { observations, actions, rewards, taken, counted } = Columns::from_order(handles);
        let steps = Steps { rewards: rewards.var(), taken: taken.var(), counted: counted.var() };
        Self { observations, actions, steps }
    }

    /// The number of trajectories N.
    pub fn trajectories(&self) -> usize {
        self.steps.trajectories()
    }

    /// The number of steps H there is room for.
    pub fn horizon(&self) -> usize {
        self.steps.horizon()
    }

    /// The observations that were acted on, s_0 … s_{H−1}, `[N, H, …]`.
    #[track_caller]
    pub fn acted_on(&self) -> Handle {
        self.observations.slice(1, 0..self.horizon())
    }

    /// The observations as numbers of states, `[N, H + 1]`.
    ///
    /// Panics if they are something else.
    #[track_caller]
    pub fn states(&self) -> Index {
        numbers("states: the observations", self.observations)
    }

    /// The entries of a table `[S, A]` at (s_t, a_t), `[N, H]`.
    ///
    /// Panics if states and actions are no numbers.
    #[track_caller]
    pub fn look_up(&self, table: Var) -> Var {
        let states = numbers("look_up: the observations", self.acted_on());
        table.gather([states, numbers("look_up: the actions", self.actions)])
    }

    /// Maps a function of batches over the leading axis of arrays that have one more: all batches at once.
    #[track_caller]
    pub(crate) fn map(&self, f: impl FnOnce(Episodes) -> Var) -> Var {
        vmap_many(|handles| f(Self::from_handles(handles)), self.handles())
    }

    /// These N trajectories as N / `batch` batches, along a new leading axis, ready for [`map`](Self::map).
    #[track_caller]
    pub(crate) fn in_batches(&self, batch: usize) -> Self {
        Self::from_handles(&split_leading(&self.handles(), batch))
    }
}

/// An array of integers.
#[track_caller]
fn numbers(what: &str, handle: Handle) -> Index {
    match handle {
        Handle::Index(index) => index,
        Handle::Var(var) => {
            panic!("{what} are no numbers, one for each step, but {} of shape {:?}", var.dtype(), var.shape())
        }
    }
}

/// Arrays of N · `size` in front, as arrays `[N, size, …]`.
#[track_caller]
pub(crate) fn split_leading(handles: &[Handle], size: usize) -> Vec<Handle> {
    let split = |handle: &Handle| {
        let shape = handle.shape();
        handle.reshape(&[&[shape[0] / size, size], &shape[1..]].concat())
    };
    handles.iter().map(split).collect()
}

/// The gradient by `theta` of a surrogate of each single trajectory, in one computation: for each of θ's variables `[N]`
/// followed by its shape.
///
/// `surrogate` is called once, with a batch of one trajectory; its mean over trajectories is the batch's surrogate where
/// nothing couples them (no batch baseline).
///
/// ```
/// # use rl::{batch::Batch, env::TabularMdp, objective::{Estimator, ImportanceSampling}, policy::{self, Table}};
/// # use rl::rollout::per_trajectory_gradients;
/// # let mdp = TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0]]))?;
/// # let logits = ndarray::Array2::zeros((2, 2));
/// # let rollout = mdp.sample(&policy::softmax(&logits), 5, 8, 0)?;
/// let tape = ad::Tape::new();
/// let theta = tape.input("theta", &logits);
/// let gradients = per_trajectory_gradients(&rollout.record(&tape), theta, |one| {
///     ImportanceSampling.surrogate(&Batch::new(one, Table::log_prob_of(theta, &one), 0.9))
/// });
/// assert_eq!(gradients.value().shape(), [8, 2, 2]);
/// # Ok::<(), rl::error::Error>(())
/// ```
#[track_caller]
pub fn per_trajectory_gradients<P: Tree>(
    episodes: &Episodes,
    theta: P,
    surrogate: impl FnOnce(Episodes) -> Var,
) -> P::Output {
    let leaves = theta.leaves();
    let rows = episodes.in_batches(1).map(|one| {
        let gradients = surrogate(one).grad(leaves.as_slice());
        let flat: Vec<Var> = gradients.iter().map(|gradient| gradient.reshape(&[gradient.size()])).collect();
        if flat.len() == 1 { flat[0] } else { Var::concat(&flat, 0) }
    });
    let mut begin = 0;
    let split = leaves.iter().map(|leaf| {
        let part = rows.slice(1, begin..begin + leaf.size());
        begin += leaf.size();
        part.reshape(&[&[rows.shape()[0]], &leaf.shape()[..]].concat())
    });
    theta.rebuild(split.collect())
}
