//! The two number types, and the little that the rest of the crate needs to know about them.

use std::cell::RefCell;
use std::fmt::{Debug, Display, LowerExp};
use std::mem::ManuallyDrop;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::error::Error;
use crate::kernel::functions::Number;
use crate::kernel::{Accumulate, Matrix};
use crate::op::{Op, Rules, rules_for};
use crate::program::{self, Lowering, Program};
use crate::tape::{Graph, Handle, Var};

/// A floating-point type a tape can be made of: `f64` (the default everywhere) or `f32`.
///
/// The trait is sealed: its methods beyond [`num_traits`]' are the crate's own business.
pub trait Real:
    num_traits::Float
    + Number
    + num_traits::NumAssign
    + Default
    + Debug
    + Display
    + LowerExp
    + Send
    + Sync
    + std::iter::Sum
    + 'static
    + Sealed
{
    /// `f64` or `f32`, as printed in messages and programs.
    const NAME: &'static str;
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    /// This number as an `f64`, exactly.
    fn as_f64(self) -> f64;
}

/// What only this crate may implement: the registry of this thread's tapes, one for each number type.
pub trait Sealed: Sized {
    /// Runs `f` on the registry of this thread.
    #[doc(hidden)]
    fn with_registry<R>(f: impl FnOnce(&RefCell<Registry<Self>>) -> R) -> R
    where
        Self: Real;
    /// The answers of an operation on numbers of this type.
    #[doc(hidden)]
    fn rules(op: &Op<Self>) -> &dyn Rules<Self>
    where
        Self: Real;
    /// The program of outputs of a tape of this type.
    #[doc(hidden)]
    #[track_caller]
    fn compile(
        tape: u32,
        inputs: &[Handle<Self>],
        outputs: &[Var<Self>],
        lowering: Lowering,
    ) -> Result<Program<Self>, Error>
    where
        Self: Real;
    /// Runs `f` with room of this thread's, so that a replay need not allocate any. It holds anything.
    #[doc(hidden)]
    fn with_scratch<R>(f: impl FnOnce(&mut Vec<Self>) -> R) -> R;
    /// out = a·b or out += a·b, row-major.
    #[doc(hidden)]
    fn matmul(out: &mut [Self], a: Matrix<'_, Self>, b: Matrix<'_, Self>, accumulate: Accumulate);
    /// The array of a value of this type.
    #[doc(hidden)]
    fn borrow<'v, 'a>(value: &'v crate::Value<'a>) -> Option<&'v ndarray::CowArray<'a, Self, ndarray::IxDyn>>;
}

/// The tapes of one thread, by number.
pub type Registry<T> = FxHashMap<u32, Graph<T>>;

macro_rules! real {
    ($type:ident, $variant:ident) => {
        impl Real for $type {
            const NAME: &'static str = stringify!($type);
            fn of(x: f64) -> Self {
                x as $type
            }
            fn as_f64(self) -> f64 {
                self as f64
            }
        }
        impl Sealed for $type {
            fn with_registry<R>(f: impl FnOnce(&RefCell<Registry<Self>>) -> R) -> R {
                // Never dropped: a tape in another thread-local may be used, and drops, when the thread is ending.
                thread_local! {
                    static REGISTRY: ManuallyDrop<RefCell<Registry<$type>>> =
                        const { ManuallyDrop::new(RefCell::new(Registry::with_hasher(FxBuildHasher))) };
                }
                REGISTRY.with(|registry| f(registry))
            }
            // These two are no generic functions: what they need is compiled with this crate, and not again with each that
            // uses it. Inlined there, they would bring it along.
            #[inline(never)]
            fn rules(op: &Op<Self>) -> &dyn Rules<Self> {
                rules_for!($type, op)
            }
            #[inline(never)]
            #[track_caller]
            fn compile(
                tape: u32,
                inputs: &[Handle<Self>],
                outputs: &[Var<Self>],
                lowering: Lowering,
            ) -> Result<Program<Self>, Error> {
                program::compile(tape, inputs, outputs, lowering)
            }
            fn with_scratch<R>(f: impl FnOnce(&mut Vec<Self>) -> R) -> R {
                thread_local!(static SCRATCH: RefCell<Vec<$type>> = const { RefCell::new(Vec::new()) });
                // Where the thread is ending, there may be none left.
                let mut room = SCRATCH.try_with(RefCell::take).unwrap_or_default();
                let result = f(&mut room);
                let _ = SCRATCH.try_with(|scratch| scratch.replace(room));
                result
            }
            fn matmul(out: &mut [Self], a: Matrix<'_, Self>, b: Matrix<'_, Self>, accumulate: Accumulate) {
                crate::kernel::matmul(out, a, b, accumulate);
            }
            fn borrow<'v, 'a>(
                value: &'v crate::Value<'a>,
            ) -> Option<&'v ndarray::CowArray<'a, Self, ndarray::IxDyn>> {
                if let crate::Value::$variant(array) = value { Some(array) } else { None }
            }
        }
    };
}
real!(f64, F64);
real!(f32, F32);
