//! Time and memory of a DiCE Hessian-vector product against the number of trajectories.
//!
//! ```sh
//! cargo run --release --example scaling -- --samples 1000,10000,100000,1000000
//! ```
//!
//! The objective is that of workload W1: 20 states, 5 actions, 20 steps. A program goes through the trajectories block by
//! block, so that beside its inputs it needs the same memory for any number of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ad::{DType, Handle, Program, Tape, Value};
use clap::Parser;
use ndarray::{Array, Array2};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::batch::Batch;
use rl::objective::{Estimator, ImportanceSampling};
use rl::policy::{Policy, Table};
use rl::rollout::Steps;
use study::options::{List, Precision, increasing, whole};
use study::output::print;

const STATES: usize = 20;
const ACTIONS: usize = 5;
const HORIZON: usize = 20;
const GAMMA: f64 = 0.8;

/// Time and memory of a DiCE Hessian-vector product against the number of trajectories.
#[derive(Parser)]
struct Options {
    /// Numbers of trajectories, separated by commas, in increasing order.
    #[arg(long, default_value = "1000,10000,100000,1000000", value_parser = increasing(whole(1..=1_000_000_000)))]
    samples: List<usize>,
    /// What to compute in.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// The seed of the trajectories.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| scaling(&options))
}

fn scaling(options: &Options) -> study::Outcome {
    print("trajectories   inputs MB   beside them MB   process MB   time ms   ns per step\n")?;
    for &n in &options.samples.0 {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let data = Data::random(n, options.precision.dtype(), &mut rng);
        let program = data.hvp();
        let time = data.time(&program)?;
        let beside = program.cost().peak_memory - data.bytes();
        print(&format!(
            "{n:>12} {:>11.1} {:>16.2} {:>12} {:>9.2} {:>13.2}\n",
            megabytes(data.bytes()),
            megabytes(beside),
            peak_of_process().map_or_else(|| "?".to_owned(), |bytes| format!("{:.1}", megabytes(bytes))),
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() * 1e9 / (n * HORIZON) as f64
        ))?;
    }
    print(
        "beside them: what the program holds at once beyond its inputs; process: the peak of the whole process so far\n",
    )?;
    Ok(())
}

struct Data {
    logits: Value<'static>,
    direction: Value<'static>,
    states: Array2<i32>,
    actions: Array2<i32>,
    rewards: Value<'static>,
}

impl Data {
    /// Trajectories without a process behind them: nothing here depends on where numbers come from.
    fn random(n: usize, precision: DType, rng: &mut impl Rng) -> Self {
        let mut random = |shape: (usize, usize), low: f64| {
            let numbers = Array::from_shape_simple_fn(shape, || rng.random_range(low..1.0));
            Value::from(numbers).rounded(precision)
        };
        let (logits, direction) = (random((STATES, ACTIONS), -1.0), random((STATES, ACTIONS), -1.0));
        let rewards = random((n, HORIZON), 0.0);
        Self {
            logits,
            direction,
            states: Array::from_shape_simple_fn((n, HORIZON), || rng.random_range(0..STATES as i32)),
            actions: Array::from_shape_simple_fn((n, HORIZON), || rng.random_range(0..ACTIONS as i32)),
            rewards,
        }
    }

    fn values(&self) -> [Value<'_>; 5] {
        let Self { logits, direction, states, actions, rewards } = self;
        [logits.view(), direction.view(), states.into(), actions.into(), rewards.view()]
    }

    fn bytes(&self) -> usize {
        self.values().iter().map(|value| value.shape().iter().product::<usize>() * value.dtype().bytes()).sum()
    }

    /// ∇(∇J·v) of DiCE, J = mean_n Σ_t γ^t r_t □(Σ_{k≤t} log π(a_k|s_k)).
    fn hvp(&self) -> Program {
        let tape = Tape::new();
        let (logits, direction) =
            (tape.input("logits", self.logits.view()), tape.input("direction", self.direction.view()));
        let (states, actions) = (tape.index("states", &self.states), tape.index("actions", &self.actions));
        let rewards = tape.input("rewards", self.rewards.view());
        let policy = Table { states: STATES, actions: ACTIONS }.along(&Table::params(logits), states.into());
        let batch = Batch::new(Steps::full(rewards), policy.log_prob(actions.into()), GAMMA);
        let objective = ImportanceSampling.surrogate(&batch);
        let inputs: [Handle; 5] = [logits.into(), direction.into(), states.into(), actions.into(), rewards.into()];
        tape.compile(inputs, [objective.hvp(logits, direction)])
    }

    /// The median of some runs.
    fn time(&self, program: &Program) -> Result<Duration, ad::Error> {
        let values = self.values();
        let (mut double, mut single) = (Array2::zeros((STATES, ACTIONS)), Array2::zeros((STATES, ACTIONS)));
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < 5 || (begin.elapsed() < Duration::from_millis(500) && times.len() < 1000) {
            let start = Instant::now();
            match self.logits.dtype() {
                DType::F32 => program.run_into_as::<f32>(&values, &mut [single.view_mut().into_dyn()])?,
                _ => program.run_into(&values, &mut [double.view_mut().into_dyn()])?,
            }
            black_box((&double, &single));
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// The most memory that this process has had at once, where the system tells.
fn peak_of_process() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
}
