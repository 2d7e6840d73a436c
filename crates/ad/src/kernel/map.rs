//! Functions of one, two or three numbers, applied to each entry of slices.

use smallvec::SmallVec;

use super::functions::Number;
use crate::machine::simd::{self, Kernel};

/// A function of `N` numbers, without branches. What it is made of, and itself, is to be marked `#[inline(always)]`.
pub trait Function<T, const N: usize>: Copy {
    /// Its value; `FMA` as in [`Kernel::run`].
    fn value<const FMA: bool>(self, x: [T; N]) -> T;

    /// Is this where [`value`](Self::value) is wrong, and [`exception`](Self::exception) right?
    fn is_exception(self, _x: [T; N]) -> bool {
        false
    }

    /// Its value there, by any means.
    fn exception(self, x: [T; N]) -> T {
        self.value::<false>(x)
    }
}

/// How an operand's numbers stand for the entries of a result: runs of `run` numbers, each so many `times` in a row, and
/// all of it again and again until the result is full.
///
/// That is a broadcast with new axes in front and between axes that are kept. (Behind them, `run` is 1.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repeat {
    pub run: usize,
    pub times: usize,
}

impl Repeat {
    /// Each number for so many entries.
    pub fn each(times: usize) -> Self {
        Self { run: 1, times }
    }
}

/// An operand that may have fewer numbers than the result has entries. (As many where `repeat` is `None`.)
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    pub numbers: &'a [T],
    pub repeat: Option<Repeat>,
}

impl<T: Copy> View<'_, T> {
    /// The number that stands for an entry of the result.
    pub fn at(&self, entry: usize) -> T {
        match self.repeat {
            None => self.numbers[entry],
            Some(Repeat { run, times }) => {
                self.numbers[(entry / (run * times) * run + entry % run) % self.numbers.len()]
            }
        }
    }
}

/// out = f(x, y, …), entry by entry.
pub fn map<T: Number, const N: usize>(f: impl Function<T, N>, operands: [View<'_, T>; N], out: &mut [T]) {
    // As many numbers as entries are not repeated.
    if operands.iter().all(|operand| operand.repeat.is_none() || operand.numbers.len() == out.len()) {
        simd::run(Map { f, operands: operands.map(|operand| operand.numbers), out });
    } else {
        map_repeated(operands, out, &mut |operands, out| simd::run(Map { f, operands, out }));
    }
}

/// A map of operands as long as the result.
type MapBlock<'a, T, const N: usize> = &'a mut dyn FnMut([&[T]; N], &mut [T]);

/// How the numbers of an operand get to be as many as entries, a block at a time.
#[derive(Clone, Copy)]
enum Way {
    /// They are.
    Whole,
    /// A run is so long that a block is within it: they are read where they lie.
    Run(Repeat),
    /// Each comes so often that a block has only one: that is written once for all of its blocks.
    Number { times: usize },
    /// They are written out.
    Written(Repeat),
}

impl Way {
    /// So many entries are worth a block of their own.
    const LONG: usize = 64;

    fn of<T>(View { numbers, repeat }: &View<'_, T>) -> Self {
        match *repeat {
            None => Way::Whole,
            Some(_) if numbers.len() == 1 => Way::Number { times: usize::MAX },
            Some(Repeat { run: 1, times }) if times >= Self::LONG => Way::Number { times },
            Some(repeat) if repeat.run >= Self::LONG => Way::Run(repeat),
            Some(repeat) => Way::Written(repeat),
        }
    }

    /// How many entries from this one on are of one block.
    fn together(self, start: usize) -> usize {
        match self {
            Way::Run(Repeat { run: length, .. }) | Way::Number { times: length } => length - start % length,
            Way::Whole | Way::Written(_) => usize::MAX,
        }
    }
}

/// A map with operands that are repeated, block by block, in the nearest cache.
fn map_repeated<T: Number, const N: usize>(operands: [View<'_, T>; N], out: &mut [T], map: MapBlock<'_, T, N>) {
    const BLOCK: usize = 256;
    let ways = operands.each_ref().map(Way::of);
    // If all that is written out comes again after a few entries, it is written once, for a block that is a multiple of them.
    let mut period = 1;
    for (way, View { numbers, .. }) in ways.iter().zip(&operands) {
        let again = match *way {
            Way::Written(repeat) => numbers.len() * repeat.times,
            Way::Whole | Way::Number { times: usize::MAX } => continue,
            Way::Run(_) | Way::Number { .. } => usize::MAX,
        };
        period = if period == 1 || period == again { again } else { usize::MAX };
    }
    let once = period <= BLOCK;
    let block = if once { BLOCK / period * period } else { BLOCK }.min(out.len());
    let mut written: [SmallVec<[T; BLOCK]>; N] = std::array::from_fn(|_| SmallVec::new());
    // Of each operand, the number that its block has been written for.
    let mut written_for = [None; N];
    let mut start = 0;
    while start < out.len() {
        let count = ways.iter().map(|way| way.together(start)).fold(block.min(out.len() - start), usize::min);
        let here = start..start + count;
        let mut blocks: [&[T]; N] = [&[]; N];
        for (k, (written, View { numbers, .. })) in written.iter_mut().zip(&operands).enumerate() {
            blocks[k] = match ways[k] {
                Way::Whole => &numbers[here.clone()],
                Way::Run(Repeat { run, times }) => {
                    let first = (start / (run * times) * run + start % run) % numbers.len();
                    &numbers[first..first + count]
                }
                Way::Number { times } => {
                    let number = start / times % numbers.len();
                    if written_for[k] != Some(number) {
                        enlarge(written, block);
                        written[..block].fill(numbers[number]);
                        written_for[k] = Some(number);
                    }
                    &written[..count]
                }
                Way::Written(repeat) => {
                    if !once || start == 0 {
                        enlarge(written, count);
                        simd::run(Write { numbers, repeat, start, written: &mut written[..count] });
                    }
                    &written[..count]
                }
            };
        }
        map(blocks, &mut out[here]);
        start += count;
    }
}

/// To at least so many. (In one go: `resize` would go entry by entry.)
fn enlarge<T: Number, const BLOCK: usize>(written: &mut SmallVec<[T; BLOCK]>, count: usize)
where
    [T; BLOCK]: smallvec::Array<Item = T>,
{
    while written.len() < count {
        written.extend_from_slice(&[T::zero(); 32]);
    }
}

/// Writes out what is repeated, from an entry of the result on.
struct Write<'a, T> {
    numbers: &'a [T],
    repeat: Repeat,
    start: usize,
    written: &'a mut [T],
}

impl<T: Number> Kernel for Write<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { numbers, repeat: Repeat { run, times }, start, written: mut rest } = self;
        if run == 1 {
            let (mut i, mut left) = (start / times % numbers.len(), times - start % times);
            while !rest.is_empty() {
                let (here, after) = rest.split_at_mut(left.min(rest.len()));
                here.fill(numbers[i]);
                (rest, left) = (after, times);
                i = if i + 1 == numbers.len() { 0 } else { i + 1 };
            }
            return;
        }
        // Which run, how often it still comes, and where in it.
        let (mut first, mut again) = (start / (run * times) * run % numbers.len(), times - start / run % times);
        let mut within = start % run;
        while !rest.is_empty() {
            let (here, after) = rest.split_at_mut((run - within).min(rest.len()));
            here.copy_from_slice(&numbers[first + within..][..here.len()]);
            (rest, within, again) = (after, 0, again - 1);
            if again == 0 {
                (first, again) = (if first + run == numbers.len() { 0 } else { first + run }, times);
            }
        }
    }
}

struct Map<'a, T, F, const N: usize> {
    f: F,
    operands: [&'a [T]; N],
    out: &'a mut [T],
}

impl<T: Number, F: Function<T, N>, const N: usize> Kernel for Map<'_, T, F, N> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        // Entries are looked at twice where there may be exceptions: in blocks that stay in the nearest cache.
        const BLOCK: usize = 512;
        let mut operands = self.operands;
        if let [out] = self.out {
            let x = operands.map(|operand| operand[0]);
            *out = if self.f.is_exception(x) { self.f.exception(x) } else { self.f.value::<FMA>(x) };
            return;
        }
        for out in self.out.chunks_mut(BLOCK) {
            let mut here = operands;
            for k in 0..N {
                (here[k], operands[k]) = operands[k].split_at(out.len());
            }
            block::<T, F, N, FMA>(self.f, here, out);
        }
    }
}

#[inline(always)]
fn block<T: Number, F: Function<T, N>, const N: usize, const FMA: bool>(f: F, operands: [&[T]; N], out: &mut [T]) {
    let length = out.len();
    let operands = operands.map(|operand| &operand[..length]);
    let mut exceptions = T::Count::default();
    for i in 0..length {
        let mut x = [T::zero(); N];
        for k in 0..N {
            x[k] = operands[k][i];
        }
        exceptions += f.is_exception(x).into();
        out[i] = f.value::<FMA>(x);
    }
    if exceptions != T::Count::default() {
        for i in 0..length {
            let mut x = [T::zero(); N];
            for k in 0..N {
                x[k] = operands[k][i];
            }
            if f.is_exception(x) {
                out[i] = f.exception(x);
            }
        }
    }
}

/// Whether all have a magnitude from `least` to `largest`. Without a way out in the middle, so that it runs in
/// vector instructions.
pub fn all_between<T: Number>(least: T, largest: T, numbers: &[T]) -> bool {
    simd::run(AllBetween { least, largest, numbers })
}

struct AllBetween<'a, T> {
    least: T,
    largest: T,
    numbers: &'a [T],
}

impl<T: Number> Kernel for AllBetween<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> bool {
        let mut outside = T::Count::default();
        for x in self.numbers {
            outside += (!((x.abs() >= self.least) & (x.abs() <= self.largest))).into();
        }
        outside == T::Count::default()
    }
}
