//! A seat: what one actor has in a block of trajectories that make each step together. Whoever acts in an environment has one,
//! and each of two who play a game has one.
//!
//! In a step it looks at what all rows see (a run of its program: [`Computed`]; or nothing where a table is looked up:
//! [`LookedUp`]), and then acts in one row after the other. What is seen, done and paid is put where it stays, in the arrays of
//! the [`Rollout`]. All that a step needs is there before the first: a step allocates nothing.

use std::ops::Range;

use ad::{DType, Element, Value};
use ndarray::{Array1, Array2, ArrayD, CowArray, IxDyn};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::sample::{Actor, BLOCK, Drawing};
use super::{Action, Slot, Step};
use crate::error::{Error, Result};
use crate::rollout::{Rollout, Space};
use crate::stream::{draw, draw_of_two};

/// What a program computes in: `f64` or `f32`.
pub(super) trait Number: Element + Into<f64> {}

impl Number for f64 {}
impl Number for f32 {}

/// At most [`BLOCK`] trajectories, numbered from 0 (`row`), of one actor.
pub(super) trait Seat: Sized {
    /// Where what is seen at the begin is put.
    fn begin(&mut self, row: usize) -> Slot<'_>;
    /// Computes what all rows do in step `t`, unless it is looked up.
    fn look(&mut self, t: usize) -> Result<()>;
    /// Draws what is done in step `t`, and writes it down.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] if there is no distribution to draw it from.
    fn act(&mut self, row: usize, t: usize, rng: &mut ChaCha8Rng) -> Result<()>;
    /// What is done in step `t`, and where what is seen next is put: there stands what is seen now.
    fn turn(&mut self, row: usize, t: usize) -> (Action<'_>, Slot<'_>);
    /// Writes down what step `t` led to, and says whether it was the last.
    fn earn(&mut self, row: usize, t: usize, step: Step) -> bool;
}

/// All trajectories of an actor, as they are written down.
pub(super) struct Written {
    horizon: usize,
    seen: Value<'static>,
    done: Value<'static>,
    rewards: Vec<f64>,
    lengths: Vec<usize>,
    terminated: Vec<bool>,
}

impl Written {
    /// Nothing yet of so many trajectories.
    pub fn nothing([observation, action]: &[Space; 2], trajectories: usize, horizon: usize) -> Self {
        Self {
            horizon,
            seen: observation.zeros(&[trajectories, horizon + 1]),
            done: action.zeros(&[trajectories, horizon]),
            rewards: vec![0.0; trajectories * horizon],
            lengths: vec![0; trajectories],
            terminated: vec![false; trajectories],
        }
    }

    /// The parts of blocks of [`BLOCK`] trajectories.
    pub fn blocks(&mut self) -> Vec<Part<'_>> {
        let horizon = self.horizon;
        let lengths = self.lengths.chunks_mut(BLOCK).zip(self.terminated.chunks_mut(BLOCK));
        let earned = self.rewards.chunks_mut(BLOCK * horizon).zip(lengths);
        let earned = earned.map(|(rewards, (lengths, terminated))| Earned { horizon, rewards, lengths, terminated });
        let [seen, done] = [&mut self.seen, &mut self.done].map(blocks_of);
        seen.into_iter().zip(done).zip(earned).map(|((seen, done), earned)| Part { seen, done, earned }).collect()
    }

    /// # Errors
    ///
    /// Those of [`Rollout::new`].
    pub fn into_rollout(self) -> Result<Rollout> {
        let shape = (self.lengths.len(), self.horizon);
        let rewards = Array2::from_shape_vec(shape, self.rewards).expect("as many as were asked for");
        Rollout::new(self.seen, self.done, rewards, self.lengths, self.terminated)
    }
}

/// The entries of each block's rows.
fn blocks_of<'v>(all: &'v mut Value<'static>) -> Vec<Slot<'v>> {
    fn cut<'v, A>(all: &'v mut CowArray<'static, A, IxDyn>, slot: fn(&'v mut [A]) -> Slot<'v>) -> Vec<Slot<'v>>
    where
        A: Clone,
    {
        let rows = all.shape()[0];
        let entries = all.as_slice_mut().expect("row-major");
        let (size, blocks) = (entries.len() / rows * BLOCK, rows.div_ceil(BLOCK));
        if size == 0 {
            return (0..blocks).map(|_| slot(&mut [])).collect();
        }
        entries.chunks_mut(size).map(slot).collect()
    }
    match all {
        Value::F64(array) => cut(array, Slot::F64),
        Value::F32(array) => cut(array, Slot::F32),
        Value::I32(array) => cut(array, Slot::I32),
        Value::U8(array) => cut(array, Slot::U8),
    }
}

/// Where the trajectories of a block are written down.
pub(super) struct Part<'w> {
    seen: Slot<'w>,
    done: Slot<'w>,
    earned: Earned<'w>,
}

/// What each step of each row led to.
struct Earned<'w> {
    horizon: usize,
    rewards: &'w mut [f64],
    lengths: &'w mut [usize],
    terminated: &'w mut [bool],
}

impl Earned<'_> {
    #[inline]
    fn earn(&mut self, row: usize, t: usize, step: Step) -> bool {
        self.rewards[row * self.horizon + t] = step.reward;
        self.lengths[row] = t + 1;
        self.terminated[row] = step.terminated;
        step.terminated || step.truncated
    }
}

/// An actor who sees a number and does a number, by a table of probabilities ([`Actor::table`]) of states and actions.
pub(super) struct LookedUp<'a, T> {
    probabilities: &'a [T],
    states: &'a Space,
    actions: usize,
    horizon: usize,
    /// One row behind the other, each of `horizon + 1`.
    seen: &'a mut [i32],
    /// The same, of `horizon`.
    done: &'a mut [i32],
    earned: Earned<'a>,
}

impl<'a, T: Number> LookedUp<'a, T> {
    /// What that actor does is written down there.
    pub fn new(actor: &'a Actor, probabilities: &'a [T], Part { seen, done, earned }: Part<'a>) -> Self {
        let ([states, Space::Discrete(actions)], Slot::I32(seen), Slot::I32(done)) = (&actor.spaces, seen, done) else {
            unreachable!("what has a table is numbered")
        };
        Self { probabilities, states, actions: *actions, horizon: earned.horizon, seen, done, earned }
    }

    /// Nothing for a state that there is not.
    #[inline]
    fn probabilities(&self, state: i32) -> Option<&'a [T]> {
        let state = usize::try_from(state).ok()?;
        self.probabilities.get(state * self.actions..(state + 1) * self.actions)
    }

    #[cold]
    fn why_none(&self, state: i32) -> String {
        match self.probabilities(state) {
            Some(found) => no_distribution(&Array1::from_iter(found.iter().map(|&p| p.into()))),
            None => format!("the state is {state}, but must be {}, counted from 0", self.states),
        }
    }
}

impl<T: Number> Seat for LookedUp<'_, T> {
    #[inline]
    fn begin(&mut self, row: usize) -> Slot<'_> {
        let at = row * (self.horizon + 1);
        Slot::I32(&mut self.seen[at..=at])
    }

    #[inline]
    fn look(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn act(&mut self, row: usize, t: usize, rng: &mut ChaCha8Rng) -> Result<()> {
        let state = self.seen[row * (self.horizon + 1) + t];
        let drawn = self.probabilities(state).and_then(|probabilities| draw_number(probabilities, rng));
        let Some(action) = drawn else {
            return Err(Error::Step { trajectory: row, step: t, what: self.why_none(state) });
        };
        self.done[row * self.horizon + t] = action as i32;
        Ok(())
    }

    #[inline]
    fn turn(&mut self, row: usize, t: usize) -> (Action<'_>, Slot<'_>) {
        let at = row * (self.horizon + 1) + t;
        self.seen[at + 1] = self.seen[at];
        (Action::Number(self.done[row * self.horizon + t] as usize), Slot::I32(&mut self.seen[at + 1..at + 2]))
    }

    #[inline]
    fn earn(&mut self, row: usize, t: usize, step: Step) -> bool {
        self.earned.earn(row, t, step)
    }
}

/// What is drawn from in a row of a block.
#[inline(always)] // What it gives stays in registers: of a network's steps that is 3 % of the time.
fn row_of<T>(of_block: &ArrayD<T>, row: usize) -> &[T] {
    let all = of_block.as_slice().expect("row-major");
    let size = all.len() / BLOCK;
    &all[row * size..(row + 1) * size]
}

/// The number of an action.
#[inline]
fn draw_number<T: Number>(probabilities: &[T], rng: &mut ChaCha8Rng) -> Option<usize> {
    match *probabilities {
        [first, second] => draw_of_two([first.into(), second.into()], rng),
        ref all => draw(all.iter().map(|&p| p.into()), rng),
    }
}

fn no_distribution(probabilities: &Array1<f64>) -> String {
    format!("the policy gives no distribution over actions, but {probabilities}")
}

/// An actor whose program says, for the whole block at once, what actions are drawn from.
pub(super) struct Computed<'a, T> {
    actor: &'a Actor,
    /// θ, memory and what is seen. (Rows that are not there see zeros.)
    inputs: Vec<Value<'static>>,
    /// Probabilities, means and deviations, or what a [`Draw`](crate::policy::Draw) takes; then comes memory.
    outputs: Vec<ArrayD<T>>,
    observations: Things<'a>,
    actions: Things<'a>,
    earned: Earned<'a>,
    /// The last action, where they are vectors.
    vector: Vec<f64>,
    /// What it was drawn from, where they are no normal ones.
    row: Vec<f64>,
    /// Whether those are of single precision.
    single: bool,
}

impl<'a, T: Number> Computed<'a, T> {
    /// What that actor does is written down there. The parameters are those that the program takes.
    pub fn new(actor: &'a Actor, parameters: &[Value<'_>], Part { seen: written, done, earned }: Part<'a>) -> Self {
        let [observation, action] = &actor.spaces;
        let memory = actor.outputs[actor.heads..].iter().map(|shape| Value::zeros(T::DTYPE, shape));
        let seen = observation.zeros(&[BLOCK]).rounded(T::DTYPE);
        let from =
            if matches!(actor.drawing, Drawing::Other(_)) { actor.outputs[0].iter().skip(1).product() } else { 0 };
        Self {
            actor,
            inputs: parameters.iter().map(|array| array.view().owned()).chain(memory).chain([seen]).collect(),
            outputs: actor.outputs.iter().map(|shape| ArrayD::default(shape.as_slice())).collect(),
            observations: Things {
                space: observation,
                size: observation.size(),
                steps: earned.horizon + 1,
                entries: written,
            },
            actions: Things { space: action, size: action.size(), steps: earned.horizon, entries: done },
            earned,
            vector: vec![0.0; action.size()],
            row: vec![0.0; from],
            single: [T::DTYPE, action.dtype()].contains(&DType::F32),
        }
    }

    /// Nothing if there is no distribution.
    #[inline]
    fn draw(&mut self, row: usize, t: usize, rng: &mut ChaCha8Rng) -> Option<()> {
        let head = |head| row_of(&self.outputs[head], row);
        match self.actor.drawing {
            Drawing::Number => {
                let number = draw_number(head(0), rng)?;
                self.actions.slot(row, t).put_number(number);
                return Some(());
            }
            Drawing::Normal => {
                for ((x, &mean), &deviation) in self.vector.iter_mut().zip(head(0)).zip(head(1)) {
                    let noise: f64 = StandardNormal.sample(rng);
                    *x = mean.into() + deviation.into() * noise;
                    // What is done is what is written down.
                    if self.single {
                        *x = f64::from(*x as f32);
                    }
                }
            }
            Drawing::Other(draw) => {
                self.row.iter_mut().zip(head(0)).for_each(|(to, &from)| *to = from.into());
                draw.draw(&self.row, self.single, rng, &mut self.vector);
            }
        }
        let finite = self.vector.iter().all(|x| x.is_finite());
        finite.then(|| self.actions.slot(row, t).put(&self.vector))
    }

    /// Why there is none. (Of a NaN that is seen a policy makes NaN.)
    #[cold]
    fn why_none(&mut self, row: usize, t: usize) -> String {
        if let Some(x) = not_finite(&self.observations.slot(row, t)) {
            return format!("a number of the observation is {x}, but must be finite");
        }
        let head = |head| Array1::from_iter(row_of(&self.outputs[head], row).iter().map(|&x: &T| x.into()));
        let found = head(0);
        match self.actor.drawing {
            Drawing::Number => no_distribution(&found),
            Drawing::Normal => {
                format!("the policy gives no distribution over actions, but means {found} and deviations {}", head(1))
            }
            Drawing::Other(draw) => {
                let of = if draw.mixed > 0 { "mixture, of probabilities and " } else { "" };
                format!("the policy gives no distribution over actions, but {of}{} of {found}", draw.name)
            }
        }
    }
}

impl<T: Number> Seat for Computed<'_, T> {
    fn begin(&mut self, row: usize) -> Slot<'_> {
        self.observations.slot(row, 0)
    }

    fn look(&mut self, t: usize) -> Result<()> {
        let Self { actor, inputs, outputs, observations, earned, .. } = self;
        let (shown, before) = inputs.split_last_mut().expect("an observation");
        observations.show(earned.lengths.len(), t, shown);
        let memory = before.len() + actor.heads - outputs.len();
        actor.program.run_into_as(inputs, outputs)?;
        for (before, after) in inputs[memory..].iter_mut().zip(&outputs[actor.heads..]) {
            match before {
                Value::F32(before) => before.zip_mut_with(after, |before, &x| *before = x.into() as f32),
                Value::F64(before) => before.zip_mut_with(after, |before, &x| *before = x.into()),
                _ => unreachable!("memory is of a floating-point type"),
            }
        }
        Ok(())
    }

    #[inline]
    fn act(&mut self, row: usize, t: usize, rng: &mut ChaCha8Rng) -> Result<()> {
        self.draw(row, t, rng).ok_or_else(|| Error::Step { trajectory: row, step: t, what: self.why_none(row, t) })
    }

    #[inline(always)] // The same.
    fn turn(&mut self, row: usize, t: usize) -> (Action<'_>, Slot<'_>) {
        let action = match self.actions.space {
            Space::Discrete(_) => Action::Number(self.actions.number(row, t) as usize),
            Space::Array { .. } => Action::Vector(&self.vector),
        };
        (action, self.observations.repeat(row, t))
    }

    #[inline]
    fn earn(&mut self, row: usize, t: usize, step: Step) -> bool {
        self.earned.earn(row, t, step)
    }
}

/// Observations or actions: for each row one behind the other.
struct Things<'a> {
    space: &'a Space,
    /// How many numbers one is.
    size: usize,
    /// How many there are in a row.
    steps: usize,
    entries: Slot<'a>,
}

impl Things<'_> {
    /// Where one is.
    #[inline]
    fn place(&self, row: usize, t: usize) -> Range<usize> {
        let begin = (row * self.steps + t) * self.size;
        begin..begin + self.size
    }

    #[inline]
    fn slot(&mut self, row: usize, t: usize) -> Slot<'_> {
        let place = self.place(row, t);
        match &mut self.entries {
            Slot::F64(entries) => Slot::F64(&mut entries[place]),
            Slot::F32(entries) => Slot::F32(&mut entries[place]),
            Slot::I32(entries) => Slot::I32(&mut entries[place]),
            Slot::U8(entries) => Slot::U8(&mut entries[place]),
        }
    }

    /// Copies one to behind it, and says where that is.
    #[inline(always)] // The same.
    fn repeat(&mut self, row: usize, t: usize) -> Slot<'_> {
        #[inline]
        fn behind<A: Copy>(entries: &mut [A], place: Range<usize>) -> &mut [A] {
            let (before, behind) = entries[place.start..].split_at_mut(place.len());
            let behind = &mut behind[..place.len()];
            behind.copy_from_slice(before);
            behind
        }
        let place = self.place(row, t);
        match &mut self.entries {
            Slot::F64(entries) => Slot::F64(behind(entries, place)),
            Slot::F32(entries) => Slot::F32(behind(entries, place)),
            Slot::I32(entries) => Slot::I32(behind(entries, place)),
            Slot::U8(entries) => Slot::U8(behind(entries, place)),
        }
    }

    /// Which one of a discrete space.
    #[inline]
    fn number(&self, row: usize, t: usize) -> i32 {
        match &self.entries {
            Slot::I32(entries) => entries[row * self.steps + t],
            _ => unreachable!("{} have no number", self.space),
        }
    }

    /// Copies those of all rows in step `t` to an array of them, real numbers rounded to its type.
    fn show(&self, rows: usize, t: usize, to: &mut Value<'_>) {
        fn copy<A: Copy, B: Copy>(
            from: &[A],
            to: &mut CowArray<'_, B, IxDyn>,
            place: impl Fn(usize) -> Range<usize>,
            (rows, size): (usize, usize),
            convert: impl Fn(A) -> B,
        ) {
            let to = to.as_slice_mut().expect("row-major");
            for row in 0..rows {
                let to = &mut to[row * size..(row + 1) * size];
                to.iter_mut().zip(&from[place(row)]).for_each(|(to, &from)| *to = convert(from));
            }
        }
        let (place, all) = (|row| self.place(row, t), (rows, self.size));
        match (&self.entries, to) {
            (Slot::F64(from), Value::F64(to)) => copy(from, to, place, all, |x| x),
            (Slot::F64(from), Value::F32(to)) => copy(from, to, place, all, |x| x as f32),
            (Slot::F32(from), Value::F64(to)) => copy(from, to, place, all, f64::from),
            (Slot::F32(from), Value::F32(to)) => copy(from, to, place, all, |x| x),
            (Slot::I32(from), Value::I32(to)) => copy(from, to, place, all, |x| x),
            (Slot::U8(from), Value::U8(to)) => copy(from, to, place, all, |x| x),
            (_, to) => unreachable!("{} are shown as {}", self.space, to.dtype()),
        }
    }
}

/// The first number that is not finite.
fn not_finite(of: &Slot<'_>) -> Option<f64> {
    match of {
        Slot::F64(entries) => entries.iter().copied().find(|x| !x.is_finite()),
        Slot::F32(entries) => entries.iter().copied().map(f64::from).find(|x| !x.is_finite()),
        Slot::I32(_) | Slot::U8(_) => None,
    }
}
