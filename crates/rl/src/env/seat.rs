//! A seat: what one actor has in a block of trajectories that make each step together. Whoever acts in an environment has one,
//! and each of two who play a game has one.
//!
//! In a step it looks at what all rows see (a run of its program, or nothing where a table is looked up), and then acts in one
//! row after the other. What is seen, done and paid is put where it stays, in the arrays of the [`Rollout`]. All that a step
//! needs is there before the first: a step allocates nothing.

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

/// At most [`BLOCK`] trajectories, numbered from 0 (`row`), by an actor that computes in `T`.
pub(super) struct Seat<'a, T> {
    actor: &'a Actor,
    distributions: Distributions<'a, T>,
    observations: Things<'a>,
    actions: Things<'a>,
    rewards: Array2<f64>,
    lengths: Vec<usize>,
    terminated: Vec<bool>,
    /// The last action, where they are vectors.
    vector: Vec<f64>,
    /// What it was drawn from, where they are no normal ones.
    row: Vec<f64>,
    /// Whether those are of single precision.
    single: bool,
}

impl<'a, T: Number> Seat<'a, T> {
    /// For so many trajectories of at most `horizon` steps. The parameters are those that the program takes; the table, if it is
    /// to be looked up, is [`Actor::table`].
    pub fn new(
        actor: &'a Actor,
        parameters: &[Value<'_>],
        table: Option<&'a [T]>,
        rows: usize,
        horizon: usize,
    ) -> Self {
        let [observation, action] = &actor.spaces;
        let from =
            if matches!(actor.drawing, Drawing::Other(_)) { actor.outputs[0].iter().skip(1).product() } else { 0 };
        Self {
            actor,
            distributions: Distributions::new(actor, parameters, table),
            observations: Things::zeros(observation, rows, horizon + 1),
            actions: Things::zeros(action, rows, horizon),
            rewards: Array2::zeros((rows, horizon)),
            lengths: vec![0; rows],
            terminated: vec![false; rows],
            vector: vec![0.0; action.size()],
            row: vec![0.0; from],
            single: [T::DTYPE, action.dtype()].contains(&DType::F32),
        }
    }

    /// Where what is seen at the begin is put.
    pub fn begin(&mut self, row: usize) -> Slot<'_> {
        self.observations.slot(row, 0)
    }

    /// Computes what all rows do in step `t`, unless it is looked up.
    pub fn look(&mut self, t: usize) -> Result<()> {
        let Distributions::Computed { inputs, outputs } = &mut self.distributions else { return Ok(()) };
        let (shown, before) = inputs.split_last_mut().expect("an observation");
        self.observations.show(t, shown);
        let heads = self.actor.heads;
        let memory = before.len() + heads - outputs.len();
        self.actor.program.run_into_as(inputs, outputs)?;
        for (before, after) in inputs[memory..].iter_mut().zip(&outputs[heads..]) {
            match before {
                Value::F32(before) => before.zip_mut_with(after, |before, &x| *before = x.into() as f32),
                Value::F64(before) => before.zip_mut_with(after, |before, &x| *before = x.into()),
                _ => unreachable!("memory is of a floating-point type"),
            }
        }
        Ok(())
    }

    /// Draws what is done in step `t`, and writes it down.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] if there is no distribution to draw it from.
    #[inline]
    pub fn act(&mut self, row: usize, t: usize, rng: &mut ChaCha8Rng) -> Result<()> {
        self.draw(row, t, rng).ok_or_else(|| Error::Step { trajectory: row, step: t, what: self.why_none(row, t) })
    }

    /// What is done in step `t`, and where what is seen next is put: there stands what is seen now.
    #[inline(always)] // What it gives stays in registers: of a network's steps that is 3 % of the time.
    pub fn turn(&mut self, row: usize, t: usize) -> (Action<'_>, Slot<'_>) {
        let action = match self.actions.space {
            Space::Discrete(_) => Action::Number(self.actions.number(row, t) as usize),
            Space::Array { .. } => Action::Vector(&self.vector),
        };
        (action, self.observations.repeat(row, t))
    }

    /// Writes down what step `t` led to, and says whether it was the last.
    #[inline]
    pub fn earn(&mut self, row: usize, t: usize, step: Step) -> bool {
        self.rewards[[row, t]] = step.reward;
        self.lengths[row] = t + 1;
        self.terminated[row] = step.terminated;
        step.terminated || step.truncated
    }

    /// All that was written down.
    ///
    /// # Errors
    ///
    /// Those of [`Rollout::new`].
    pub fn into_rollout(self) -> Result<Rollout> {
        let (observations, actions) = (self.observations.into_value(), self.actions.into_value());
        Rollout::new(observations, actions, self.rewards, self.lengths, self.terminated)
    }

    /// Nothing if there is no distribution.
    #[inline]
    fn draw(&mut self, row: usize, t: usize, rng: &mut ChaCha8Rng) -> Option<()> {
        let head = |head| self.distributions.head(head, row, &self.observations, t);
        match self.actor.drawing {
            Drawing::Number => {
                let number = match *head(0)? {
                    [first, second] => draw_of_two([first.into(), second.into()], rng)?,
                    ref all => draw(all.iter().map(|&p| p.into()), rng)?,
                };
                self.actions.slot(row, t).put_number(number);
                return Some(());
            }
            Drawing::Normal => {
                for ((x, &mean), &deviation) in self.vector.iter_mut().zip(head(0)?).zip(head(1)?) {
                    let noise: f64 = StandardNormal.sample(rng);
                    *x = mean.into() + deviation.into() * noise;
                    // What is done is what is written down.
                    if self.single {
                        *x = f64::from(*x as f32);
                    }
                }
            }
            Drawing::Other(draw) => {
                self.row.iter_mut().zip(head(0)?).for_each(|(to, &from)| *to = from.into());
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
        let head = |head| {
            let head = self.distributions.head(head, row, &self.observations, t)?;
            Some(Array1::from_iter(head.iter().map(|&x| x.into())))
        };
        match (head(0), self.actor.drawing) {
            (Some(probabilities), Drawing::Number) => {
                format!("the policy gives no distribution over actions, but {probabilities}")
            }
            (Some(means), Drawing::Normal) => {
                let deviations = head(1).expect("beside means");
                format!("the policy gives no distribution over actions, but means {means} and deviations {deviations}")
            }
            (Some(numbers), Drawing::Other(draw)) => {
                let of = if draw.mixed > 0 { "mixture, of probabilities and " } else { "" };
                format!("the policy gives no distribution over actions, but {of}{} of {numbers}", draw.name)
            }
            (None, _) => {
                let (state, space) = (self.observations.number(row, t), self.observations.space);
                format!("the state is {state}, but must be {space}, counted from 0")
            }
        }
    }
}

/// What actions are drawn from: in each row probabilities, means and deviations, or what a [`Draw`](crate::policy::Draw) takes.
enum Distributions<'a, T> {
    /// Looked up by a state's number: its probabilities of so many actions.
    Table { probabilities: &'a [T], actions: usize },
    /// Computed for the whole block from θ, memory and what is seen; then comes memory. (Rows that are not there see zeros.)
    Computed { inputs: Vec<Value<'static>>, outputs: Vec<ArrayD<T>> },
}

impl<'a, T: Number> Distributions<'a, T> {
    fn new(actor: &Actor, parameters: &[Value<'_>], table: Option<&'a [T]>) -> Self {
        let [observation, action] = &actor.spaces;
        if let (Some(probabilities), &Space::Discrete(actions)) = (table, action) {
            return Distributions::Table { probabilities, actions };
        }
        let memory = actor.outputs[actor.heads..].iter().map(|shape| Value::zeros(T::DTYPE, shape));
        let seen = observation.zeros(&[BLOCK]).rounded(T::DTYPE);
        let inputs = parameters.iter().map(|array| array.view().owned()).chain(memory).chain([seen]).collect();
        let outputs = actor.outputs.iter().map(|shape| ArrayD::default(shape.as_slice())).collect();
        Distributions::Computed { inputs, outputs }
    }

    /// Probabilities, means or what else is drawn from (`head` 0), or deviations (1), of a row in step `t`. Nothing for a state that there is not.
    #[inline(always)] // The same.
    fn head(&self, head: usize, row: usize, observations: &Things<'_>, t: usize) -> Option<&[T]> {
        match self {
            Distributions::Table { probabilities, actions } => {
                let state = usize::try_from(observations.number(row, t)).ok()?;
                probabilities.get(state * actions..(state + 1) * actions)
            }
            Distributions::Computed { outputs, .. } => {
                let all = outputs[head].as_slice().expect("row-major");
                let size = all.len() / BLOCK;
                Some(&all[row * size..(row + 1) * size])
            }
        }
    }
}

/// Observations or actions: for each row one behind the other.
struct Things<'a> {
    space: &'a Space,
    /// How many numbers one is.
    size: usize,
    rows: usize,
    /// How many there are in a row.
    steps: usize,
    entries: Entries,
}

/// The numbers of an array, as they lie.
enum Entries {
    F64(Vec<f64>),
    F32(Vec<f32>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

impl<'a> Things<'a> {
    fn zeros(space: &'a Space, rows: usize, steps: usize) -> Self {
        let size = space.size();
        let count = rows * steps * size;
        let entries = match space.dtype() {
            DType::F64 => Entries::F64(vec![0.0; count]),
            DType::F32 => Entries::F32(vec![0.0; count]),
            DType::I32 => Entries::I32(vec![0; count]),
            DType::U8 => Entries::U8(vec![0; count]),
        };
        Self { space, size, rows, steps, entries }
    }

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
            Entries::F64(entries) => Slot::F64(&mut entries[place]),
            Entries::F32(entries) => Slot::F32(&mut entries[place]),
            Entries::I32(entries) => Slot::I32(&mut entries[place]),
            Entries::U8(entries) => Slot::U8(&mut entries[place]),
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
            Entries::F64(entries) => Slot::F64(behind(entries, place)),
            Entries::F32(entries) => Slot::F32(behind(entries, place)),
            Entries::I32(entries) => Slot::I32(behind(entries, place)),
            Entries::U8(entries) => Slot::U8(behind(entries, place)),
        }
    }

    /// Which one of a discrete space.
    #[inline]
    fn number(&self, row: usize, t: usize) -> i32 {
        match &self.entries {
            Entries::I32(entries) => entries[row * self.steps + t],
            _ => unreachable!("{} have no number", self.space),
        }
    }

    /// Copies those of all rows in step `t` to an array of them, real numbers rounded to its type.
    fn show(&self, t: usize, to: &mut Value<'_>) {
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
        let (place, all) = (|row| self.place(row, t), (self.rows, self.size));
        match (&self.entries, to) {
            (Entries::F64(from), Value::F64(to)) => copy(from, to, place, all, |x| x),
            (Entries::F64(from), Value::F32(to)) => copy(from, to, place, all, |x| x as f32),
            (Entries::F32(from), Value::F64(to)) => copy(from, to, place, all, f64::from),
            (Entries::F32(from), Value::F32(to)) => copy(from, to, place, all, |x| x),
            (Entries::I32(from), Value::I32(to)) => copy(from, to, place, all, |x| x),
            (Entries::U8(from), Value::U8(to)) => copy(from, to, place, all, |x| x),
            (_, to) => unreachable!("{} are shown as {}", self.space, to.dtype()),
        }
    }

    fn into_value(self) -> Value<'static> {
        fn array<A>(shape: &[usize], entries: Vec<A>) -> ArrayD<A> {
            ArrayD::from_shape_vec(shape, entries).expect("as many as were asked for")
        }
        let shape = [&[self.rows, self.steps], self.space.shape()].concat();
        match self.entries {
            Entries::F64(entries) => array(&shape, entries).into(),
            Entries::F32(entries) => array(&shape, entries).into(),
            Entries::I32(entries) => array(&shape, entries).into(),
            Entries::U8(entries) => array(&shape, entries).into(),
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
