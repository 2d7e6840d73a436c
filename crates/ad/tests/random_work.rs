//! Work of other kinds than Monte-Carlo objectives, at random sizes and in random spellings: recurrences written step by step,
//! squared distances, mixtures with the axes in any order, programs of a few numbers. Lowered and as recorded they are the
//! same, with all derivatives up to the second, in both types; and however it is spelled, it is the same program.

mod common;

use ad::{DType, Index, Lowering, Tape, Value, Var};
use common::{numbers, random_program, weighted};
use ndarray::{ArrayD, arr0};
use proptest::prelude::*;

type Loss = Box<dyn Fn(&[Var]) -> Var>;

/// A loss of some arrays, which are of these shapes.
struct Work {
    shapes: Vec<Vec<usize>>,
    loss: Loss,
}

/// h ← tanh(a·h + x_t), with x read step by step in one of several ways.
fn recurrence(steps: usize, width: usize, way: usize) -> Work {
    let row = move |x: Var, t: usize| match way {
        0 => x.at(0, t),
        1 => x.slice(0, t..t + 1).sum_axes(&[0]),
        2 => x.gather([Index::constant(x, arr0(t as i32))]),
        3 => x.slice(0, t.saturating_sub(2)..t + 1).mean_axes(&[0]),
        _ => x.at(0, steps - 1 - t) + x.at(0, 0),
    };
    Work {
        shapes: vec![vec![steps, width], vec![width]],
        loss: Box::new(move |x| {
            let h = (0..steps).fold(x[1], |h, t| (h * x[1] + row(x[0], t)).tanh());
            h.square().sum() + x[0].at(1, 0).sum()
        }),
    }
}

/// Σ exp(−½|a_i − b_j|²) by the square of the difference, or multiplied out; points or centres first.
fn distances(points: usize, centres: usize, dimensions: usize, way: usize) -> Work {
    let norms = |x: Var| x.square().sum_axes(&[1]);
    Work {
        shapes: vec![vec![points, dimensions], vec![centres, dimensions]],
        loss: Box::new(move |x| {
            let (a, b) = (x[0], x[1]);
            let squares = match way {
                0 => (a.insert_axis(1) - b).square().sum_axes(&[2]),
                1 => (a - b.insert_axis(1)).square().sum_axes(&[2]),
                2 => norms(a).insert_axis(1) - a.matmul(b.t()) * 2.0 + norms(b),
                _ => norms(b).insert_axis(1) - b.matmul(a.t()) * 2.0 + norms(a),
            };
            (squares * -0.5).exp().sum() / points as f64
        }),
    }
}

/// The log-likelihood of a mixture of normals with weights and scales, samples first, second or last.
fn mixture(samples: usize, components: usize, dimensions: usize, way: usize) -> Work {
    Work {
        shapes: vec![vec![samples, dimensions], vec![components, dimensions], vec![components], vec![components]],
        loss: Box::new(move |x| {
            let (x, mean, logits, log_scale) = (x[0], x[1], x[2], x[3] * 0.3);
            let prior = logits.log_softmax() - log_scale * dimensions as f64;
            let precision = (log_scale * -2.0).exp() * -0.5;
            let densities = match way {
                0 => (x.insert_axis(1) - mean).square().sum_axes(&[2]) * precision + prior,
                1 => {
                    let squares = (x - mean.insert_axis(1)).square().sum_axes(&[2]);
                    squares * precision.insert_axis(1) + prior.insert_axis(1)
                }
                _ => {
                    let squares = (x.t() - mean.insert_axis(2)).square().sum_axes(&[1]);
                    squares * precision.insert_axis(1) + prior.insert_axis(1)
                }
            };
            densities.logsumexp(&[if way == 0 { 1 } else { 0 }]).mean()
        }),
    }
}

/// The largest difference of two results, relative to the largest entry of all of the first's kind.
fn differs(a: &[Value<'_>], b: &[Value<'_>]) -> f64 {
    let entries = |value: &Value<'_>| -> Vec<f64> {
        match value {
            Value::F64(array) => array.iter().copied().collect(),
            Value::F32(array) => array.iter().map(|&x| f64::from(x)).collect(),
            _ => unreachable!("results are numbers"),
        }
    };
    let difference = |(a, b): (&Value<'_>, &Value<'_>)| {
        let (a, b) = (entries(a), entries(b));
        assert!(a.len() == b.len() && a.iter().chain(&b).all(|x| x.is_finite()), "{a:?} {b:?}");
        let scale = a.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max)
    };
    a.iter().zip(b).map(difference).fold(0.0, f64::max)
}

/// The loss, its gradients, products with its Hessian, and, of something small, the Hessian; lowered and as recorded.
fn assert_lowered_is_recorded(work: &Work, dtype: DType, small: usize) {
    let tape = Tape::new();
    let at: Vec<ArrayD<f64>> =
        work.shapes.iter().enumerate().map(|(i, shape)| numbers(shape, -0.9 + 0.1 * i as f64, 0.8)).collect();
    let values: Vec<Value<'_>> = at.iter().map(|at| Value::from(at).rounded(dtype)).collect();
    let x: Vec<Var> = values.iter().map(|value| tape.input("x", value.view())).collect();
    let loss = (work.loss)(&x);
    let mut outputs = vec![loss];
    outputs.extend(loss.grad(&x[..]));
    outputs.extend(loss.hvp(&x[..], &x.iter().map(|x| x.full_like(0.7)).collect::<Vec<_>>()[..]));
    outputs.push(loss.hessian(x[small]));
    let [on, off] = [Lowering::On, Lowering::Off]
        .map(|lowering| tape.compile_with(x.iter().copied(), outputs.iter().copied(), lowering));
    let given: Vec<Value<'_>> = values.iter().map(Value::view).collect();
    let difference = differs(&off.run_values(&given).unwrap(), &on.run_values(&given).unwrap());
    let tolerance = if dtype == DType::F32 { 2e-4 } else { 1e-11 };
    assert!(difference <= tolerance, "{difference:e} in {dtype}\n{on}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn recurrences(steps in 1..60_usize, width in 1..5_usize, way in 0..5_usize) {
        for dtype in [DType::F64, DType::F32] {
            assert_lowered_is_recorded(&recurrence(steps, width, way), dtype, 1);
        }
    }

    #[test]
    fn squared_distances(points in 1..300_usize, centres in 1..40_usize, dimensions in 1..4_usize, way in 0..4_usize) {
        for dtype in [DType::F64, DType::F32] {
            let small = if centres < points { 1 } else { 0 };
            assert_lowered_is_recorded(&distances(points, centres.min(12), dimensions, way), dtype, small);
        }
    }

    #[test]
    fn mixtures(samples in 1..400_usize, components in 1..9_usize, dimensions in 1..4_usize, way in 0..3_usize) {
        for dtype in [DType::F64, DType::F32] {
            assert_lowered_is_recorded(&mixture(samples, components, dimensions, way), dtype, 1);
        }
    }

    #[test]
    fn programs_of_a_few_numbers(steps in random_program::steps(), at in random_program::points()) {
        for dtype in [DType::F64, DType::F32] {
            let steps = steps.clone();
            let work = Work {
                shapes: at.iter().map(|at| at.shape().to_vec()).collect(),
                loss: Box::new(move |x| random_program::run(&steps, x)),
            };
            assert_lowered_is_recorded(&work, dtype, 0);
        }
    }
}

#[test]
fn the_order_of_axes_does_not_decide_what_a_program_costs() {
    let cost = |way: usize, derivative: fn(Var, Var) -> Var| {
        let Work { shapes, loss } = mixture(3000, 8, 4, way);
        let tape = Tape::new();
        let x: Vec<Var> = shapes.iter().map(|shape| tape.input("x", numbers(shape, -1.0, 1.0))).collect();
        let loss = loss(&x);
        tape.compile(x.iter().copied(), [loss, derivative(loss, x[1])]).cost()
    };
    for derivative in [(|loss, mean| loss.grad(mean)) as fn(Var, Var) -> Var, |loss, mean| loss.hvp(mean, mean)] {
        let (first, second) = (cost(0, derivative), cost(1, derivative));
        assert!(second.flops as f64 <= 1.2 * first.flops as f64, "{second}; samples first {first}");
        assert!(second.bytes as f64 <= 1.2 * first.bytes as f64, "{second}; samples first {first}");
        assert!(second.peak_memory as f64 <= 1.2 * first.peak_memory as f64, "{second}; samples first {first}");
    }
}

#[test]
fn a_plain_call_is_a_run() {
    let tape = Tape::new();
    let (x, y) = (tape.input("x", 1.5), tape.input("y", numbers(&[2, 3], -1.0, 1.0)));
    let loss = weighted(y * x).sin();
    let program = tape.compile([x, y], [loss, loss.grad(y)]);
    let at = numbers(&[2, 3], 0.0, 1.0);
    let (mut value, mut gradient) = ([0.0], [0.0; 6]);
    program.call(&[&[0.5], at.as_slice().unwrap()], &mut [&mut value, &mut gradient]).unwrap();
    let run = program.run(&ad::values![0.5, at]).unwrap();
    assert_eq!((run[0].sum().to_bits(), run[1].as_slice().unwrap()), (value[0].to_bits(), &gradient[..]));
    let call = |inputs: &[&[f64]], results: &mut [&mut [f64]]| program.call(inputs, results).unwrap_err().to_string();
    let (mut one, mut five) = ([0.0], [0.0; 5]);
    for (said, words) in [
        (call(&[&[0.5]], &mut [&mut one, &mut [0.0; 6]]), "`y`"),
        (call(&[&[0.5], &[0.0; 5]], &mut [&mut one, &mut [0.0; 6]]), "[5]"),
        (call(&[&[0.5], &[0.0; 6]], &mut [&mut one, &mut five]), "[5]"),
        (call(&[&[0.5], &[0.0; 6], &[0.0]], &mut [&mut one, &mut [0.0; 6]]), "3"),
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(program.call::<f32>(&[&[0.5], &[0.0; 6]], &mut [&mut [0.0], &mut [0.0; 6]]).is_err());
    // Numbers that lie in another order are copied.
    let turned = numbers(&[3, 2], 0.0, 1.0).reversed_axes();
    let in_order = turned.as_standard_layout().to_owned();
    assert_eq!(program.run(&ad::values![0.5, turned]).unwrap(), program.run(&ad::values![0.5, in_order]).unwrap());
}
