//! Acting in MuJoCo, as in one half of a meta-iteration of ProMP's: 40 tasks of a benchmark at once, 20 trajectories of 100 steps in
//! each, by a network of two layers of 64; on one thread and on two. The throughput is steps of environments.

use std::time::Duration;

use ad::DType;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;
use rl::env::{Actor, Tasks};
use rl::policy::Activation::Tanh;
use rl::policy::{Network, Policy};
use rl::stream::stream;
use sim::mujoco::named;

const TASKS: u64 = 40;

fn locomotion(c: &mut Criterion) {
    let mut group = c.benchmark_group("locomotion");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(10));
    for (name, tasks) in [("half-cheetah-direction", TASKS), ("ant-direction-2d", 4), ("humanoid-direction-2d", 4)] {
        let benchmark: &dyn Tasks = &named(name).expect("it is in the list");
        let [seen, done] = benchmark.spaces();
        let policy = Network::new(&seen).dense(64, Tanh).dense(64, Tanh).normal(done.size());
        let theta = policy.init(&mut stream(0, 0));
        let actor = Actor::new(&policy, &theta, &benchmark.spaces(), DType::F32).expect("for such tasks");
        let sample =
            |task| benchmark.sample(&mut stream(1, task), &actor, &theta, 100, 20, task).expect("it stays sane");
        let steps: usize = (0..tasks).map(|task| sample(task).lengths().iter().sum::<usize>()).sum();
        group.throughput(Throughput::Elements(steps as u64));
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let all = || pool.install(|| (0..tasks).into_par_iter().map(sample).collect::<Vec<_>>());
            group.bench_function(format!("{name}/{threads}"), |b| b.iter(all));
        }
    }
    group.finish();
}

criterion_group!(benches, locomotion);
criterion_main!(benches);
