//! Random programs: whatever is composed of smooth operations, its derivatives, its batched form and its replays are right.

mod common;

use ad::{Index, Modes, Tape, Var, check_gradients, vmap_many};
use common::{assert_close, example, weighted};
use ndarray::{Array1, ArrayD, Axis};
use proptest::prelude::*;

/// One step of a random program: an operation, and numbers that choose its operands, axes and indices.
#[derive(Clone, Debug)]
struct Step {
    operation: usize,
    a: usize,
    b: usize,
    c: usize,
}

const OPERATIONS: usize = 22;

/// The variables have these shapes; a program may use each as often as it likes.
const SHAPES: [&[usize]; 3] = [&[3], &[2, 3], &[]];

/// NumPy's rule.
fn broadcasts(a: &[usize], b: &[usize]) -> bool {
    a.iter().rev().zip(b.iter().rev()).all(|(m, n)| m == n || *m == 1 || *n == 1)
}

/// Runs the steps; each adds an array to a pool, from which later ones draw. What does not suit its operands does
/// something simpler instead. Every result stays of moderate size, and no operation has a kink or a pole nearby.
fn run(steps: &[Step], variables: &[Var]) -> Var {
    let mut pool = variables.to_vec();
    for step in steps {
        let x = pool[step.a % pool.len()];
        let y = pool[step.b % pool.len()];
        let (shape, other) = (x.shape(), y.shape());
        let axis = if shape.is_empty() { 0 } else { step.c % shape.len() };
        let fits = broadcasts(&shape, &other) && shape.len() + other.len() <= 6;
        let result = match step.operation {
            0 => x.sin(),
            1 => x.tanh(),
            2 => x.sigmoid(),
            3 => (x * 0.5).softplus(),
            4 => x.tanh().exp(),
            5 => (x.square() + 1.0).ln(),
            6 => (x.square() + 0.5).sqrt(),
            7 if fits => x + y,
            8 if fits => x - y.cos(),
            9 if fits => x * y,
            10 if fits => x / (y.square() + 1.0),
            11 if fits => (x.square() + 1.0).pow(y.tanh()),
            12 if !shape.is_empty() => x.sum_axes(&[axis]),
            13 if !shape.is_empty() => x.logsumexp(&[axis]),
            14 if !shape.is_empty() => x.log_softmax(),
            15 if shape == other && !shape.is_empty() => x.scan(y.tanh(), axis),
            16 if !shape.is_empty() => x.scan_reverse(x.sigmoid(), axis),
            17 if !shape.is_empty() => {
                let index = Array1::from_iter((0..3).map(|i| ((step.b + i * step.c) % shape[0]) as i32));
                x.gather(&[Index::constant(x, &index)])
            }
            18 if !shape.is_empty() => {
                let index = Array1::from_iter((0..shape[0]).map(|i| ((step.b + i * step.c) % 2) as i32));
                x.scatter_add(&[Index::constant(x, &index)], &[2])
            }
            19 if shape.len() == 2 => x.t().matmul(x),
            20 if shape.len() == 1 => x.insert_axis(step.c % 2).tanh(),
            21 if !shape.is_empty() => Var::concat(&[x, x.cos()], axis).slice(axis, 1..shape[axis] + 1),
            _ => x.mean() + y.mean(),
        };
        pool.push(result * 0.7);
    }
    // Everything that was made counts.
    pool.iter().map(|x| weighted(x.sin())).reduce(|sum, x| sum + x).expect("not empty")
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..OPERATIONS, 0..64_usize, 0..64_usize, 0..64_usize).prop_map(|(operation, a, b, c)| Step {
        operation,
        a,
        b,
        c,
    });
    prop::collection::vec(step, 1..10)
}

fn points() -> impl Strategy<Value = Vec<ArrayD<f64>>> {
    let numbers = prop::collection::vec(-1.0..1.0_f64, 10);
    numbers.prop_map(|numbers| {
        let mut numbers = numbers.into_iter();
        let array = |shape: &[usize]| {
            let entries: Vec<f64> = numbers.by_ref().take(shape.iter().product()).collect();
            ArrayD::from_shape_vec(shape, entries).unwrap()
        };
        SHAPES.map(array).to_vec()
    })
}

fn record(tape: &Tape, at: &[ArrayD<f64>]) -> Vec<Var> {
    at.iter().map(|x| tape.input("x", x)).collect()
}

/// The value, gradients and Hessian-vector products (along the variables themselves).
fn everything(steps: &[Step], x: &[Var]) -> Vec<Var> {
    let loss = run(steps, x);
    let gradients = loss.grad(x);
    let products = loss.hvp(x, x);
    [vec![loss], gradients, products].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn its_derivatives_are_those_of_finite_differences(steps in steps(), at in points()) {
        let outcome = check_gradients(|x| run(&steps, x), &at, 2, Modes::Both);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }

    #[test]
    fn mapped_it_is_a_loop(steps in steps(), batch in prop::collection::vec(points(), 3), mask in 1..8_usize) {
        let tape = Tape::new();
        let is_batched = |i: usize| mask & (1 << i) != 0;
        let x: Vec<Var> = (0..3)
            .map(|i| {
                let examples: Vec<_> = batch.iter().map(|at| at[i].view()).collect();
                let stacked = ndarray::stack(Axis(0), &examples).unwrap();
                tape.input("x", if is_batched(i) { stacked } else { example(&stacked, 0) })
            })
            .collect();
        let mapped_ones: Vec<ad::Handle> = (0..3).filter(|&i| is_batched(i)).map(|i| x[i].into()).collect();
        for which in 0..7 {
            let mapped = vmap_many(
                |arguments| {
                    let mut arguments = arguments.iter();
                    let choose = |i: usize| if is_batched(i) { arguments.next().unwrap().var() } else { x[i] };
                    everything(&steps, &(0..3).map(choose).collect::<Vec<_>>())[which]
                },
                &mapped_ones,
            );
            let one = |k: usize| {
                let choose = |i: usize| if is_batched(i) { x[i].at(0, k) } else { x[i] };
                everything(&steps, &(0..3).map(choose).collect::<Vec<_>>())[which]
            };
            let looped = Var::stack(&[one(0), one(1), one(2)], 0);
            assert_close(&format!("result {which}"), &mapped.value(), &looped.value(), 1e-11);
            let (mapped, looped) = (weighted(mapped).grad(&x), weighted(looped).grad(&x));
            for (mapped, looped) in mapped.iter().zip(&looped) {
                assert_close(&format!("gradient of result {which}"), &mapped.value(), &looped.value(), 1e-10);
            }
        }
    }

    #[test]
    fn replayed_at_other_inputs_it_is_what_would_be_recorded_there(
        steps in steps(), here in points(), there in points()
    ) {
        let tape = Tape::new();
        let x = record(&tape, &here);
        let program = tape.compile(x.iter().copied(), everything(&steps, &x));
        let fresh = Tape::new();
        let recorded = ad::evaluate(&everything(&steps, &record(&fresh, &there)));
        let replayed = program.run(&ad::values![there[0], there[1], there[2]]).unwrap();
        prop_assert_eq!(&replayed, &recorded);
        // And back again.
        let back = program.run(&ad::values![here[0], here[1], here[2]]).unwrap();
        prop_assert_eq!(back, ad::evaluate(&everything(&steps, &x)));
    }

    #[test]
    fn its_hessian_is_symmetric_and_both_modes_agree(steps in steps(), at in points()) {
        let tape = Tape::new();
        let x = record(&tape, &at);
        let loss = run(&steps, &x);
        for x in x {
            let hessian = loss.hessian(x).reshape(&[x.size(), x.size()]).value();
            assert_close("symmetry", &hessian, &hessian.t().to_owned().into_dyn(), 1e-12);
            let reverse = loss.grad(x).jacobian_reverse(x).reshape(&[x.size(), x.size()]);
            assert_close("modes", &hessian, &reverse.value(), 1e-12);
        }
    }
}
