use std::time::Instant;
use ad::{DType, Handle, Tape, Value, Var};
use ndarray::{Array2, Array3};
use rand::RngExt;
use rayon::prelude::*;
use rl::batch::{Batch, Form};
use rl::meta::{Inner, adapt};
use rl::objective::{Deep, Estimator, TayPo, allow_biased};
use rl::optim::Rule;
use rl::policy::{self, Activation::Tanh, Dist, Network, Normal, Policy};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;

fn main() {
    let dtype = if std::env::args().any(|a| a == "f64") { DType::F64 } else { DType::F32 };
    let (n, h) = (20, 100);
    let space = Space::vector(2);
    let policy = Network::new(&space).dense(64, Tanh).dense(64, Tanh).normal(2).deviation(0.0, 1e-6);
    let theta = policy.init(&mut stream(0, 0));
    let mut rng = stream(1, 0);
    let random = |rng: &mut _| {
        let rng: &mut rand_chacha::ChaCha8Rng = rng;
        Rollout::new(
            Array3::from_shape_simple_fn((n, h + 1, 2), || rng.random_range(-1.0..1.0)),
            Array3::from_shape_simple_fn((n, h, 2), || rng.random_range(-1.0..1.0)),
            Array2::from_shape_simple_fn((n, h), || rng.random_range(-1.0..1.0)),
            vec![h; n],
            vec![false; n],
        )
        .unwrap()
    };
    let rollouts: Vec<[Rollout; 2]> = (0..40).map(|_| [random(&mut rng), random(&mut rng)]).collect();
    let tape = Tape::new();
    let th = policy::record_as(&theta, &tape, dtype);
    let form = Form { discounted: false, normalised: true, lambda: 1.0 };
    let mut inputs: Vec<Handle> = policy::handles(&th);
    let mut data = vec![];
    for k in 0..2 {
        let e = rollouts[0][k].record_as(&tape, dtype);
        let z = |s: &[usize]| Value::zeros(dtype, s);
        let v = tape.input("v", z(&[n, h + 1]));
        let lp = tape.input("lp", z(&[n, h]));
        let m = tape.input("m", z(&[n, h, 2]));
        let s = tape.input("s", z(&[2]));
        inputs.extend(e.handles());
        inputs.extend([v, lp, m, s].map(Handle::from));
        data.push((e, v, lp, m, s));
    }
    let batch = |k: usize, th: &policy::Params| {
        let (e, v, lp, ..) = data[k];
        let dist = policy.along(th, e.acted_on());
        (dist, Batch::new(e, dist.log_prob(e.actions), 0.99).with_critic(v).off_policy(lp).in_form(form))
    };
    let lvc = Deep { estimator: TayPo { order: 1 }, form, over_steps: true };
    let points = adapt(&th, Inner::from(Rule::sgd(0.1)), 1, |k, th| allow_biased(&lvc).surrogate(&batch(k, th).1));
    let (dist0, _) = batch(0, &th);
    let old: Dist = Normal::new(data[0].3, data[0].4).into();
    let kl = old.kl(&dist0).mean();
    let (_, last) = batch(1, &points[1]);
    let adv = last.credit(last.advantages());
    let ratio = last.ratio();
    let outer = (ratio * adv).min(ratio.clip(0.7, 1.3) * adv).mean() - kl * 5e-4;
    let gradient = outer.grad(&th);
    let program = tape.compile(inputs.iter().copied(), gradient.values().copied());
    if std::env::args().any(|a| a == "print") {
        println!("{program}");
    }
    let zeros = [Value::zeros(dtype, &[n, h + 1]), Value::zeros(dtype, &[n, h]), Value::zeros(dtype, &[n, h, 2]), Value::zeros(dtype, &[2])];
    let run = |r: &[Rollout; 2]| {
        let mut values: Vec<Value> = policy::values_as(&theta, dtype);
        for r in r {
            values.extend(r.values_as(dtype));
            values.extend(zeros.iter().map(Value::view));
        }
        program.run_values(&values).unwrap()
    };
    for _ in 0..3 {
        let t = Instant::now();
        for _ in 0..5 {
            let _: Vec<_> = rollouts.par_iter().map(run).collect();
        }
        println!("5 outer steps: {:.3} s", t.elapsed().as_secs_f64());
    }
    let t = Instant::now();
    for _ in 0..20 { run(&rollouts[0]); }
    println!("one task alone {:.2} ms", t.elapsed().as_secs_f64() * 50.0);
    let _ : Option<Var> = None;
}
