//! Random programs of smooth operations.

use ad::{Index, Var};
use ndarray::{Array1, ArrayD};
use proptest::prelude::*;

use super::weighted;

/// One step of a random program: an operation, and numbers that choose its operands, axes and indices.
#[derive(Clone, Debug)]
pub struct Step {
    operation: usize,
    a: usize,
    b: usize,
    c: usize,
}

const OPERATIONS: usize = 30;

/// The variables have these shapes; a program may use each as often as it likes.
const SHAPES: [&[usize]; 3] = [&[3], &[2, 3], &[]];

/// NumPy's rule.
fn broadcasts(a: &[usize], b: &[usize]) -> bool {
    a.iter().rev().zip(b.iter().rev()).all(|(m, n)| m == n || *m == 1 || *n == 1)
}

/// Runs the steps; each adds an array to a pool, from which later ones draw. What does not suit its operands does
/// something simpler instead. Every result stays of moderate size, and no operation has a kink or a pole nearby.
pub fn run(steps: &[Step], variables: &[Var]) -> Var {
    run_with(steps, variables, |x| x)
}

/// The same, with something done to each array on the way.
pub fn run_with(steps: &[Step], variables: &[Var], with: impl Fn(Var) -> Var) -> Var {
    let mut pool: Vec<Var> = variables.iter().map(|&x| with(x)).collect();
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
                x.gather([Index::constant(x, &index)])
            }
            18 if !shape.is_empty() => {
                let index = Array1::from_iter((0..shape[0]).map(|i| ((step.b + i * step.c) % 2) as i32));
                x.scatter_add([Index::constant(x, &index)], &[2])
            }
            19 if shape.len() == 2 => x.t().matmul(x),
            20 if shape.len() == 1 => x.insert_axis(step.c % 2).tanh(),
            21 if !shape.is_empty() => Var::concat(&[x, x.cos()], axis).slice(axis, 1..shape[axis] + 1),
            22 if !shape.is_empty() => x.scan_reverse_from(x.cos(), x.at(axis, 0) * y.mean(), axis),
            23 => x.erf(),
            24 => (x.square() + 0.5).ln_gamma(),
            25 if fits => x.atan2(y.square() + 1.0),
            26 if !shape.is_empty() => x.flip(axis),
            27 if !shape.is_empty() => x.take_along(axis, places(x, step)),
            28 if !shape.is_empty() => {
                let index = Array1::from_iter((0..2).map(|i| ((step.b + i * step.c) % shape[0]) as i32));
                x.set([Index::constant(x, &index)], y.mean().tanh())
            }
            _ => x.mean() + y.mean(),
        };
        pool.push(with(result * 0.7));
    }
    // Everything that was made counts.
    pool.iter().map(|x| weighted(x.sin())).reduce(|sum, x| sum + x).expect("not empty")
}

/// For each entry a place along an axis.
fn places(x: Var, step: &Step) -> Index {
    let shape = x.shape();
    let length = shape[step.c % shape.len()];
    let entries = (0..x.size()).map(|i| ((step.b + i * i) % length) as i32);
    Index::constant(x, Array1::from_iter(entries)).reshape(&shape)
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..OPERATIONS, 0..64_usize, 0..64_usize, 0..64_usize).prop_map(|(operation, a, b, c)| Step {
        operation,
        a,
        b,
        c,
    });
    prop::collection::vec(step, 1..10)
}

pub fn points() -> impl Strategy<Value = Vec<ArrayD<f64>>> {
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
