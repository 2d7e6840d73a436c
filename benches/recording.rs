//! What comes before the first number: the time to record, to differentiate and to compile, per node of the tape.

use std::time::Duration;

use ad::{Tape, Var};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array1;

const STEPS: usize = 1000;

/// A long chain of operations on small arrays.
fn chain() -> (Tape, Var, Var) {
    let tape = Tape::new();
    let x = tape.input("x", Array1::from_elem(4, 0.5));
    let y = (0..STEPS).fold(x, |y, _| y.sin() * x + y);
    let loss = y.sum();
    (tape, x, loss)
}

fn recording(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recording");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));

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

criterion_group!(benches, recording);
criterion_main!(benches);
