//! Acting, as in one half of a meta-iteration of ProMP's: 40 tasks of the corner environment at once, 20 trajectories of 100 steps
//! in each, by a network of two layers of 64 with parameters of its own for each task; on all threads.

use ad::DType;
use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;
use rl::env::{Actor, Corner, Tasks};
use rl::policy::Activation::Tanh;
use rl::policy::{Network, Policy};
use rl::rollout::Space;
use rl::stream::stream;

const TASKS: u64 = 40;

fn sampling(c: &mut Criterion) {
    let policy = Network::new(&Space::vector(2)).dense(64, Tanh).dense(64, Tanh).normal(2);
    let thetas = Vec::from_iter((0..TASKS).map(|task| policy.init(&mut stream(0, task))));
    let mut group = c.benchmark_group("sampling");
    for dtype in [DType::F32, DType::F64] {
        let tasks: &dyn Tasks = &Corner::random;
        let actor = Actor::new(&policy, &thetas[0], &tasks.spaces(), dtype).expect("for such tasks");
        let all = || {
            let one = |task: u64| tasks.sample(&mut stream(1, task), &actor, &thetas[task as usize], 100, 20, task);
            (0..TASKS).into_par_iter().map(|task| one(task).expect("finite numbers")).collect::<Vec<_>>()
        };
        group.bench_function(dtype.to_string(), |b| b.iter(all));
    }
    group.finish();
}

criterion_group!(benches, sampling);
criterion_main!(benches);
