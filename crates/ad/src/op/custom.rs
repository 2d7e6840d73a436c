//! Operations of a user's own: a forward kernel, and a derivative written in tape operations. Higher orders, forward mode
//! and batching follow from these two.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use smallvec::SmallVec;

use super::batch::Mapping;
use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::real::Real;
use crate::tape::{Handle, Var};
use crate::tensor::{Shape, SliceMut, size};

/// An operation that the crate does not have, on arrays of floating-point numbers.
///
/// ```
/// use ad::{CustomOperation, Tape, Var, custom};
/// use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
///
/// /// x³, as if the crate had no powers.
/// struct Cube;
/// impl CustomOperation for Cube {
///     fn name(&self) -> &str { "cube" }
///     fn shape(&self, operands: &[&[usize]]) -> Result<ad::Shape, String> { Ok(operands[0].into()) }
///     fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
///         out.zip_mut_with(&operands[0], |out, x| *out = x * x * x);
///     }
///     fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
///         vec![Some(cotangent * operands[0] * operands[0] * 3.0)]
///     }
/// }
/// let tape = Tape::new();
/// let x = tape.input("x", 2.0);
/// let y = custom(Cube, &[x]);
/// assert_eq!(y.grad(x).grad(x).item(), 12.0);
/// ```
pub trait CustomOperation: Send + Sync + 'static {
    /// Its name, in messages and printed programs.
    fn name(&self) -> &str;

    /// The shape of the result. An error says what is wrong with the operands' shapes.
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String>;

    /// Writes the result into `out`, which is full of zeros.
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], out: ArrayViewMutD<'_, f64>);

    /// The same in single precision. By default it is done in double, and rounded: which is right, but allocates, and is no
    /// faster. (In debug builds its first use is compared with [`forward`](Self::forward).)
    fn forward_f32(&self, operands: &[ArrayViewD<'_, f32>], mut out: ArrayViewMutD<'_, f32>) {
        let wide: Vec<ArrayD<f64>> = operands.iter().map(|operand| operand.mapv(f64::from)).collect();
        let views: Vec<ArrayViewD<'_, f64>> = wide.iter().map(|operand| operand.view()).collect();
        let mut result = ArrayD::zeros(out.raw_dim());
        self.forward(&views, result.view_mut());
        out.zip_mut_with(&result, |out, &x| *out = x as f32);
    }

    /// The cotangent of each operand (`None` where no derivative flows) from that of the result, in tape operations and
    /// linear in the cotangent. In debug builds its first use tries out whether it is, and whether the result depends on
    /// operands that are all `None`; [`check_gradients`](crate::check_gradients) compares it with finite differences.
    fn vjp(&self, operands: &[Var], output: Var, cotangent: Var) -> Vec<Option<Var>>;
}

/// A custom operation, perhaps over new leading axes.
#[derive(Clone)]
pub struct Custom {
    op: Arc<dyn CustomOperation>,
    /// The lengths of the leading axes that all operands have, outermost first.
    leading: Shape,
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Custom({:?}, over {:?})", self.op.name(), self.leading)
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.op, &other.op) && self.leading == other.leading
    }
}

impl Eq for Custom {}

impl Hash for Custom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.op).cast::<()>() as usize).hash(state);
        self.leading.hash(state);
    }
}

impl Rules for Custom {
    fn name(&self) -> &str {
        self.op.name()
    }

    fn parameters(&self) -> String {
        if self.leading.is_empty() { String::new() } else { format!("over {:?}", self.leading.as_slice()) }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let inner: Vec<&[usize]> = operands.iter().map(|shape| &shape[self.leading.len()..]).collect();
        let shape = self.op.shape(&inner)?;
        Ok(self.leading.iter().copied().chain(shape).collect())
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        let operands: Vec<Var> = (0..call.operands.len()).map(|operand| call.var(operand)).collect();
        self.cotangents(&operands, call.output(), g).into()
    }

    fn with_leading_axis(&self, size: usize) -> Op {
        let leading = std::iter::once(size).chain(self.leading.iter().copied()).collect();
        Op::Custom(Custom { op: Arc::clone(&self.op), leading })
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| !self.leading.is_empty())
    }

    fn on_rows(&self, rows: usize) -> Option<Op> {
        let mut op = self.clone();
        op.leading[0] = rows;
        Some(Op::Custom(op))
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        match out {
            SliceMut::F64(out) => self.compute(operands, shape, out, |views, out| self.op.forward(views, out)),
            SliceMut::F32(out) => self.compute(operands, shape, out, |views, out| self.op.forward_f32(views, out)),
            SliceMut::I32(_) | SliceMut::U8(_) => unreachable!("types are checked when an operation is recorded"),
        }
        Ok(())
    }
}

impl Custom {
    fn compute<T: Real>(
        &self,
        operands: &[Operand<'_>],
        shape: &[usize],
        out: &mut [T],
        forward: impl Fn(&[ArrayViewD<'_, T>], ArrayViewMutD<'_, T>),
    ) {
        let rank = self.leading.len();
        // Else it would hold what some other operation has left there.
        out.fill(T::zero());
        let result = size(&shape[rank..]);
        for i in 0..size(&self.leading) {
            let views: SmallVec<[_; 4]> = operands
                .iter()
                .map(|operand| {
                    let inner = &operand.shape[rank..];
                    let entries = &operand.numbers::<T>()[i * size(inner)..][..size(inner)];
                    ArrayViewD::from_shape(inner, entries).expect("sizes are checked when an operation is recorded")
                })
                .collect();
            let out = &mut out[i * result..][..result];
            let out = ArrayViewMutD::from_shape(&shape[rank..], out).expect("the result has the recorded shape");
            forward(&views, out);
        }
    }

    #[track_caller]
    fn cotangents(&self, operands: &[Var], output: Var, g: Var) -> Vec<Option<Var>> {
        let Some((_, inner)) = self.leading.split_first() else {
            let cotangents = self.op.vjp(operands, output, g);
            let count = (cotangents.len(), operands.len());
            assert_eq!(
                count.0,
                count.1,
                "{}: its vjp gave {} cotangents for {} operands",
                self.op.name(),
                count.0,
                count.1
            );
            for (cotangent, operand) in cotangents.iter().zip(operands) {
                let Some(cotangent) = cotangent else { continue };
                let name = self.op.name();
                let places = || {
                    format!("\n  cotangent made at {}\n  operand made at {}", cotangent.location(), operand.location())
                };
                let (given, wanted) = (cotangent.shape(), operand.shape());
                assert!(
                    given == wanted,
                    "{name}: its vjp gave a cotangent of another shape than its operand, {given:?} for {wanted:?}{}",
                    places()
                );
                let (given, wanted) = (cotangent.dtype(), operand.dtype());
                assert!(
                    given == wanted,
                    "{name}: its vjp gave a cotangent of another type than its operand, {given} for {wanted}; `cast` it{}",
                    places()
                );
            }
            return cotangents;
        };
        // One leading axis less, mapped over that axis.
        let inner = Custom { op: Arc::clone(&self.op), leading: inner.into() };
        let arguments: Vec<Handle> = operands.iter().chain([&output, &g]).map(|&var| var.into()).collect();
        let mapping = Mapping::begin(&arguments);
        let vars: Vec<Var> = mapping.arguments.iter().map(|handle| handle.var()).collect();
        let (g, rest) = vars.split_last().expect("operands, output and cotangent");
        let (output, operands) = rest.split_last().expect("operands and output");
        let cotangents = inner.cotangents(operands, *output, *g);
        let flowing: Vec<Handle> = cotangents.iter().flatten().map(|&cotangent| cotangent.into()).collect();
        let mut mapped = mapping.end(&flowing).into_iter().map(Handle::var);
        cotangents.into_iter().map(|cotangent| cotangent.and_then(|_| mapped.next())).collect()
    }
}

/// Records an operation of the user's own.
#[track_caller]
pub fn custom(op: impl CustomOperation, operands: &[Var]) -> Var {
    let (first, rest) = operands.split_first().expect("custom: an operation needs an operand");
    first.check_same_tape_all(op.name(), rest);
    let nodes: Vec<_> = operands.iter().map(|operand| operand.node).collect();
    let op = Custom { op: Arc::new(op), leading: Shape::new() };
    apply(first.tape, Op::Custom(op), &nodes)
}
