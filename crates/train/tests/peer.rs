//! The same meta-gradients as another implementation's, of two inner steps, away from where the data were sampled: those of
//! `data/promp/write.py`, in JAX.

use ad::{DType, Tape, Value, Var};
use ndarray::{Array1, ArrayD, arr0};
use rl::batch::Form;
use rl::meta::Inner;
use rl::optim::{Rule, add};
use rl::policy::{self, Activation::Tanh, Network, Numbers, Params, Policy};
use rl::rollout::npy::Source;
use rl::rollout::{Rollout, Space};
use rl::stream::stream;
use rl::truth::max_abs;
use train::algorithm::{Adapted, Algorithm, Emaml, Factor, InnerObjective, Maml, Promp, through};
use train::baseline::{Baseline, Features, Linear};
use train::{Recorded, Shape, Trajectories};

const STEPS: usize = 2;

#[test]
fn meta_gradients_are_those_of_jax() {
    let mut file = Source::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/promp/golden.npz")).unwrap();
    let mut read = |name: &str| -> ArrayD<f64> { file.read(name).unwrap().into_value().unwrap().into_array().unwrap() };
    let spaces = [Space::vector(2), Space::vector(2)];
    let form = Form { discounted: false, normalised: true, lambda: 1.0 };
    let shape = Shape { trajectories: 3, horizon: 8, spaces, dtype: DType::F64, gamma: 0.95, form, over_steps: true };
    let policy = Network::new(&shape.spaces[0]).dense(5, Tanh).dense(5, Tanh).normal(2);
    let like = policy.init(&mut stream(0, 0));
    let mut tree = |prefix: &str| -> Numbers {
        like.keys().map(|name| (name.clone(), read(&format!("{prefix}_{name}")))).collect()
    };
    let (theta, moved) = (tree("theta"), tree("moved"));
    let expected = ["promp", "lvc", "maml", "emaml"].map(&mut tree);
    let rollouts: Vec<Rollout> = (0..=STEPS)
        .map(|step| {
            let [observations, actions, rewards] =
                ["observations", "actions", "rewards"].map(|what| read(&format!("{what}_{step}")));
            Rollout::new(observations, actions, rewards.into_dimensionality().unwrap(), vec![8; 3], vec![false; 3])
                .unwrap()
        })
        .collect();
    let linear = Linear::new(Features::Observation, &shape.spaces[0], 3, 8, 0.95).unwrap();
    let baseline = Baseline::Linear(Box::new(linear));

    let maml = |inner| Maml { inner, first_order: false };
    let algorithms: [Box<dyn Algorithm>; 4] = [
        Box::new(Promp { inner: InnerObjective::Lvc, clip: 0.05 }),
        Box::new(maml(InnerObjective::Lvc)),
        Box::new(maml(InnerObjective::Ad)),
        Box::new(Emaml { inner: InnerObjective::Ad, factor: Factor::Released }),
    ];
    for (algorithm, expected) in algorithms.iter().zip(&expected) {
        let tape = Tape::new();
        let params = policy::record(&theta, &tape);
        let recorded: Vec<Recorded> = (0..=STEPS).map(|_| shape.record(&tape, &policy, &params).unwrap()).collect();
        // What sampled each step's data, and where an inner step leads from there.
        let fresh = recorded[0].fresh(&shape, &policy, &params);
        let results = fresh.dist.heads().into_iter().chain(algorithm.inner(&fresh).grad(&params).into_values());
        let step = tape.compile(policy::handles(&params).into_iter().chain(recorded[0].handles()), results);
        let mut here = theta.clone();
        let mut data: Vec<Trajectories> = Vec::new();
        for rollout in &rollouts {
            let mut this = shape.trajectories(rollout, &baseline.values(rollout, false).unwrap());
            let inputs: Vec<Value<'_>> =
                policy::values(&here).into_iter().chain(this.iter().map(Value::view)).collect();
            let mut results = step.run(&inputs).unwrap();
            let gradient: Numbers = here.keys().cloned().zip(results.split_off(2)).collect();
            add(&mut here, 0.1, &gradient);
            this.extend(results.into_iter().map(Value::from));
            data.push(this);
        }

        let inner = |_| Inner::<Params>::from(Rule::sgd(0.1));
        let under = |step: usize, theta: &Params| recorded[step].under(&shape, &policy, theta);
        let (_, sampled) = through(&**algorithm, &params, inner, STEPS, under);
        let (last, steps) = sampled.split_last().unwrap();
        let kl_price = Some(tape.constant(Array1::from_elem(STEPS, 0.7)));
        let (shift, scale) = (tape.constant(arr0(0.3)), tape.constant(arr0(1.7)));
        let gradient = algorithm.outer(&Adapted { steps, last, kl_price, shift, scale }).grad(&params);
        let inputs = recorded.iter().flat_map(Recorded::handles_with_heads);
        let outputs: Vec<Var> = gradient.values().copied().collect();
        let program = tape.compile(policy::handles(&params).into_iter().chain(inputs), outputs);
        let values: Vec<Value<'_>> =
            policy::values(&moved).into_iter().chain(data.iter().flatten().map(Value::view)).collect();
        for ((name, expected), found) in expected.iter().zip(program.run(&values).unwrap()) {
            let difference = max_abs(&(&found - expected));
            assert!(difference < 1e-9 * max_abs(expected), "{name}: {difference:e} of {:e}", max_abs(expected));
        }

        // By learned rates (Meta-SGD), as differences have it.
        let rates: Numbers = theta.iter().map(|(name, array)| (name.clone(), array.mapv(|x| 0.1 + 0.01 * x))).collect();
        let alpha = policy::record(&rates, &tape);
        let inner = |_| Inner::<Params>::from(Rule::sgd(0.1)).rates(alpha.clone());
        let (_, sampled) = through(&**algorithm, &params, inner, STEPS, under);
        let (last, steps) = sampled.split_last().unwrap();
        let outer = algorithm.outer(&Adapted { steps, last, kl_price, shift, scale });
        let inputs = recorded.iter().flat_map(Recorded::handles_with_heads).chain(policy::handles(&alpha));
        let outputs = [outer].into_iter().chain(outer.grad(&alpha).into_values());
        let program = tape.compile(policy::handles(&params).into_iter().chain(inputs), outputs);
        let at = |rates: &Numbers| {
            let values: Vec<Value<'_>> = values.iter().map(Value::view).chain(policy::values(rates)).collect();
            program.run(&values).unwrap()
        };
        let gradient = at(&rates);
        for (place, name) in ["w1", "b3", "log_std"].into_iter().map(|name| (rates.get_index_of(name).unwrap(), name)) {
            let there = |step: f64| {
                let mut moved = rates.clone();
                *moved[name].iter_mut().next().unwrap() += step;
                at(&moved)[0].sum()
            };
            let (difference, found) = ((there(1e-4) - there(-1e-4)) / 2e-4, gradient[1 + place].iter().next().unwrap());
            assert!((difference - found).abs() < 1e-7, "{name}: {difference} {found}");
        }
    }
}
