//! Evaluations of a growing tape: what was computed once is known, and later ones start there.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ad::{CustomOperation, Lowering, Shape, Tape, Var, custom, evaluate, values};
use common::{assert_close, numbers};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, arr1};

/// The cosine, which counts how often it is computed.
struct Counted(Arc<AtomicUsize>);

impl CustomOperation for Counted {
    fn name(&self) -> &str {
        "counted"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        out.zip_mut_with(&operands[0], |out, x| *out = x.cos());
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some(-(cotangent * operands[0].sin()))]
    }
}

/// Gradient steps on a tape, each of which looks at its loss; how often the loss's operation was computed, and the last point.
fn descent(iterations: usize, size: usize) -> (usize, ArrayD<f64>) {
    let (tape, count) = (Tape::new(), Arc::new(AtomicUsize::new(0)));
    let mut x = tape.input("x", numbers(&[size], -1.0, 1.0));
    for _ in 0..iterations {
        let loss = custom(Counted(Arc::clone(&count)), &[x]).sum();
        assert!(loss.item().is_finite());
        x = x - loss.grad(x) * 0.1;
    }
    let computed = count.load(Ordering::Relaxed);
    (computed, x.value())
}

#[test]
fn a_loop_that_looks_at_its_own_value_computes_each_step_once_or_twice() {
    // In debug builds a custom operation's rule is tried out.
    let tried = descent(1, 3).0 - 1;
    for iterations in [10, 40] {
        let (computed, _) = descent(iterations, 3);
        assert!(computed <= 2 * iterations + tried * iterations, "{computed} in {iterations} iterations");
    }
}

#[test]
fn what_is_known_is_what_is_computed_without_it() {
    let (_, looked_at) = descent(25, 3);
    let tape = Tape::new();
    let x = tape.input("x", numbers(&[3], -1.0, 1.0));
    let at = (0..25).fold(x, |x, _| x - x.cos().sum().grad(x) * 0.1);
    assert_close("the last point", &looked_at, &at.value(), 1e-15);
}

#[test]
fn too_large_to_be_kept_is_computed_again() {
    // More than is kept: each evaluation computes all of it, as the first.
    let (_, looked_at) = descent(3, 10_000_000);
    let (_, small) = descent(3, 3);
    assert_eq!((looked_at.len(), small.len()), (10_000_000, 3));
    assert!(looked_at.iter().all(|x| x.is_finite()));
}

#[test]
fn a_program_computes_anew_what_is_known_at_other_inputs() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let y = x.exp();
    assert_eq!(y.value(), arr1(&[1.0, 2.0]).exp().into_dyn());
    let z = (y * 2.0).sum();
    assert!(z.item() > 0.0);
    for lowering in [Lowering::On, Lowering::Off] {
        let program = tape.compile_with([x], [z, y], lowering);
        let results = program.run(&values![arr1(&[0.0, 0.0])]).unwrap();
        assert_eq!(results[0].sum(), 4.0);
        assert_eq!(results[1], arr1(&[1.0, 1.0]).into_dyn());
    }
    // Derivatives go through what is known.
    assert_eq!(z.grad(x).value(), (arr1(&[1.0, 2.0]).exp() * 2.0).into_dyn());
}

#[test]
fn several_types_and_results_are_known_together() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0_f32, 2.0]));
    let y = x.square();
    assert_eq!(y.value_as::<f32>(), arr1(&[1.0, 4.0]).into_dyn());
    assert_eq!(y.value_as::<f32>(), arr1(&[1.0, 4.0]).into_dyn());
    let z = y.cast(ad::DType::F64);
    assert_eq!(
        evaluate(&[z, z + 1.0, z]),
        [arr1(&[1.0, 4.0]), arr1(&[2.0, 5.0]), arr1(&[1.0, 4.0])].map(|x| x.into_dyn())
    );
}
