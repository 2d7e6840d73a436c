//! One operation at a time, at the sizes of a tabular batch (1000 episodes of 20 steps), of a network, and smaller.
//!
//! The throughput is of the bytes that the operation reads and writes; the time is of a whole run, which hands out a copy of
//! the result.

use std::hint::black_box;
use std::time::Duration;

use ad::{Index, Tape, Var, values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Its name, the shapes of its two operands, and itself.
type Operation = (&'static str, &'static [usize], &'static [usize], fn(&Tape, Var, Var) -> Var);

const BATCH: &[usize] = &[1000, 20];

const OPERATIONS: &[Operation] = &[
    ("add", BATCH, BATCH, |_, a, b| a + b),
    ("add of 10", &[10], &[10], |_, a, b| a + b),
    ("add of a million", &[1_000_000], &[1_000_000], |_, a, b| a + b),
    ("multiply", BATCH, BATCH, |_, a, b| a * b),
    ("multiply by a number", BATCH, &[], |_, a, _| a * 2.0),
    ("multiply by a row", BATCH, &[20], |_, a, b| a * b),
    ("multiply by a column", BATCH, &[1000, 1], |_, a, b| a * b),
    ("divide", BATCH, BATCH, |_, a, b| a / b),
    ("negate", BATCH, &[], |_, a, _| -a),
    ("square", BATCH, &[], |_, a, _| a.square()),
    ("exp", BATCH, &[], |_, a, _| a.exp()),
    ("ln", BATCH, &[], |_, a, _| a.ln()),
    ("sin", BATCH, &[], |_, a, _| a.sin()),
    ("tanh", BATCH, &[], |_, a, _| a.tanh()),
    ("sigmoid", BATCH, &[], |_, a, _| a.sigmoid()),
    ("softplus", BATCH, &[], |_, a, _| a.softplus()),
    ("max", BATCH, BATCH, |_, a, b| a.max(b)),
    ("select", BATCH, BATCH, |_, a, b| a.greater(0.5).select(a, b)),
    ("sum", BATCH, &[], |_, a, _| a.sum()),
    ("sum of a million", &[1_000_000], &[], |_, a, _| a.sum()),
    ("sum of each row", BATCH, &[], |_, a, _| a.sum_axes(&[1])),
    ("sum of each column", BATCH, &[], |_, a, _| a.sum_axes(&[0])),
    ("largest of each row", BATCH, &[], |_, a, _| a.max_axes(&[1])),
    ("log_softmax", BATCH, &[], |_, a, _| a.log_softmax()),
    ("cumsum", BATCH, &[], |_, a, _| a.cumsum(1)),
    ("scan", BATCH, BATCH, |_, a, b| a.scan(b, 1)),
    ("scan_reverse, episodes behind", &[20, 1000], &[20, 1000], |_, a, b| a.scan_reverse(b, 0)),
    ("gather", &[20, 5], &[], |tape, a, _| a.gather([indices(tape, 20), indices(tape, 5)])),
    ("scatter_add", BATCH, &[], |tape, a, _| a.scatter_add([indices(tape, 20), indices(tape, 5)], &[20, 5])),
    ("transpose", BATCH, &[], |_, a, _| a.t()),
    ("slice", BATCH, &[], |_, a, _| a.slice(1, 1..20)),
    ("pad", BATCH, &[], |_, a, _| a.pad(1, 1, 0)),
    ("concat", BATCH, BATCH, |_, a, b| Var::concat(&[a, b], 1)),
    ("matmul, layer", &[2000, 100], &[100, 100], |_, a, b| a.matmul(b)),
    ("matmul, input layer", &[2000, 20], &[20, 100], |_, a, b| a.matmul(b)),
    ("matmul, weight gradient", &[2000, 100], &[2000, 100], |_, a, b| a.t().matmul(b)),
    ("matmul, stack of small", &[20, 400, 2], &[20, 2, 64], |_, a, b| a.matmul(b)),
    ("solve", &[20, 20], &[20], |_, a, b| a.solve(b)),
];

fn indices(tape: &Tape, below: i32) -> Index {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    tape.index("indices", ArrayD::from_shape_simple_fn(BATCH, || rng.random_range(0..below)))
}

fn operations(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut group = criterion.benchmark_group("operations");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for &(name, a, b, operation) in OPERATIONS {
        let mut numbers = |shape: &[usize]| ArrayD::from_shape_simple_fn(shape, || rng.random_range(0.1..1.0));
        let (a, b) = (numbers(a), numbers(b));
        let tape = Tape::new();
        let inputs = [tape.input("a", &a), tape.input("b", &b)];
        let program = tape.compile(inputs, [operation(&tape, inputs[0], inputs[1])]);
        let values = values![a, b];
        group.throughput(Throughput::Bytes(program.cost().bytes as u64));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(program.run(&values).expect("valid inputs"))));
    }
}

criterion_group!(benches, operations);
criterion_main!(benches);
