//! What comes before the first number: the time to record, to differentiate and to compile, per node of the tape; and all
//! of it for one objective, the DiCE of 1000 episodes of 20 steps (W1 of `--example workloads`), its gradient and its
//! Hessian-vector product. `cargo bench --bench recording -- large` records, differentiates and compiles one long chain, once,
//! and tells how long that takes and the most memory that the process had until then.

use std::time::{Duration, Instant};

use ad::{Handle, Tape, Var};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array1, Array2};

const STEPS: usize = 1000;

/// A long chain of operations on small arrays.
fn chain(steps: usize) -> (Tape, Var, Var) {
    let tape = Tape::new();
    let x = tape.input("x", Array1::from_elem(4, 0.5));
    let y = (0..steps).fold(x, |y, _| y.sin() * x + y);
    let loss = y.sum();
    (tape, x, loss)
}

fn recording(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recording");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));

    let chain = || chain(STEPS);
    let (tape, x, loss) = chain();
    let recorded = tape.len();
    group.throughput(Throughput::Elements(recorded as u64));
    group.bench_function("record", |bencher| bencher.iter_with_large_drop(chain));

    let _gradient = loss.grad(x);
    let differentiated = tape.len();
    group.throughput(Throughput::Elements((differentiated - recorded) as u64));
    let gradient = |(tape, x, loss): (Tape, Var, Var)| {
        let gradient = loss.grad(x);
        (tape, x, gradient)
    };
    group.bench_function("differentiate", |bencher| bencher.iter_batched(chain, gradient, BatchSize::LargeInput));

    let _product = loss.hvp(x, x);
    group.throughput(Throughput::Elements((tape.len() - differentiated) as u64));
    let product = |(tape, x, loss): (Tape, Var, Var)| {
        let product = loss.hvp(x, x);
        (tape, x, product)
    };
    let with_gradient = || {
        let (tape, x, loss) = chain();
        let _gradient = loss.grad(x);
        (tape, x, loss)
    };
    group.bench_function("differentiate twice", |bencher| {
        bencher.iter_batched(with_gradient, product, BatchSize::LargeInput);
    });

    let (tape, x, gradient) = gradient(chain());
    group.throughput(Throughput::Elements(tape.len() as u64));
    group.bench_function("compile", |bencher| bencher.iter_with_large_drop(|| tape.compile([x], [gradient])));
}

fn from_data_to_programs(criterion: &mut Criterion) {
    let (n, h) = (1000, 20);
    let logits = Array2::from_shape_fn((20, 5), |(s, a)| ((s * 5 + a) as f64).sin());
    let direction = logits.mapv(f64::cos);
    let rewards = Array2::from_shape_fn((n, h), |(n, t)| ((n * h + t) as f64).cos());
    let states = Array2::from_shape_fn((n, h), |(n, t)| ((n * 7 + t * 3) % 20) as i32);
    let actions = Array2::from_shape_fn((n, h), |(n, t)| ((n + t * 2) % 5) as i32);
    let discounts = Array1::from_shape_fn(h, |t| 0.8_f64.powi(t as i32));
    let programs = || {
        let tape = Tape::new();
        let (logits, direction) = (tape.input("logits", &logits), tape.input("direction", &direction));
        let (states, actions) = (tape.index("states", &states), tape.index("actions", &actions));
        let rewards = tape.input("rewards", &rewards);
        let lp = logits.log_softmax().gather([states, actions]);
        let value = (rewards * lp.cumsum(1).magic_box() * &discounts).sum_axes(&[1]).mean();
        let data = [logits.into(), states.into(), actions.into(), rewards.into()];
        let gradient = tape.compile::<Handle>(data, [value, value.grad(logits)]);
        let inputs = [logits.into(), direction.into(), states.into(), actions.into(), rewards.into()];
        let product = tape.compile::<Handle>(inputs, [value.hvp(logits, direction)]);
        (tape, gradient, product)
    };
    let mut group = criterion.benchmark_group("from data to programs");
    group.sample_size(50).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("W1 gradient and HVP", |bencher| bencher.iter_with_large_drop(programs));
}

/// A chain of a million operations.
fn large(_: &mut Criterion) {
    if !std::env::args().any(|argument| argument == "large") {
        return;
    }
    let start = Instant::now();
    let report = |what: &str, start: Instant| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or(" unknown").trim();
        println!("{what:<30} {:>6.2} s, {peak} of memory at most", start.elapsed().as_secs_f64());
    };
    let (tape, x, loss) = chain(333_333);
    report(&format!("{} nodes recorded", tape.len()), start);
    let start = Instant::now();
    let gradient = loss.grad(x);
    report(&format!("{} with the gradient", tape.len()), start);
    let start = Instant::now();
    let program = tape.compile([x], [loss, gradient]);
    report("compiled", start);
    let start = Instant::now();
    let results = program.run(&ad::values![Array1::from_elem(4, 0.5)]);
    report("run", start);
    assert!(results.is_ok_and(|results| results.len() == 2));
}

criterion_group!(benches, large, recording, from_data_to_programs);
criterion_main!(benches);
