//! How time grows: with the number of episodes, their length, the number of inner steps, and the order of differentiation.

use std::hint::black_box;
use std::time::Duration;

use ad::{Tape, values};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array1;

#[allow(dead_code, reason = "another bench uses more of it")]
mod generated;
use generated::{Episodes, SmallMaml};
use study::workloads::{Recorder, Task, gaussian, tabular};

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, by: &str, size: usize, task: &Task) {
    let values = task.values();
    let run = || task.program.run(&values).expect("valid inputs");
    group.bench_function(BenchmarkId::new(by, size), |bencher| bencher.iter(|| black_box(run())));
}

fn scaling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scaling");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));

    let episodes = |n, h| {
        let source = Episodes { n, h, last_state: false };
        let x = Recorder::new(&source);
        tabular::dice(&x).expect("W1").hvp(&x, "")
    };
    for n in [100, 1000, 10_000, 100_000] {
        group.throughput(Throughput::Elements(n as u64 * 20));
        measure(&mut group, "W1 hvp, episodes", n, &episodes(n, 20));
    }
    for h in [5, 20, 80, 320] {
        group.throughput(Throughput::Elements(1000 * h as u64));
        measure(&mut group, "W1 hvp, steps", h, &episodes(1000, h));
    }
    for order in 1..=6 {
        group.throughput(Throughput::Elements(order as u64));
        order_of_differentiation(&mut group, order);
    }
    for k in 1..=4 {
        group.throughput(Throughput::Elements(k as u64));
        let tasks = gaussian::maml(&Recorder::new(&SmallMaml), k).expect("W5");
        measure(&mut group, "MAML gradient, inner steps", k, &tasks[0]);
    }
}

/// The directional derivative of an order of f(x) = Σ_i exp(sin x_i)·x_i.
fn order_of_differentiation(group: &mut BenchmarkGroup<'_, WallTime>, order: usize) {
    let (at, along) = (Array1::linspace(-1.0, 1.0, 1000), Array1::linspace(1.0, -1.0, 1000));
    let tape = Tape::new();
    let (x, v) = (tape.input("x", &at), tape.input("v", &along));
    let f = (x.sin().exp() * x).sum();
    let derivative = (0..order).fold(f, |f, _| f.grad(x).dot(v));
    let program = tape.compile([x, v], [derivative]);
    let values = values![at, along];
    group.bench_function(BenchmarkId::new("order of differentiation", order), |bencher| {
        bencher.iter(|| black_box(program.run(&values).expect("valid inputs")));
    });
}

criterion_group!(benches, scaling);
criterion_main!(benches);
