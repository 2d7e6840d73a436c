//! Meta-learning over tasks: the gradient is the estimator's on the data that were sampled, and ascent by it climbs.

use ad::Var;
use ndarray::{Array2, ArrayD, array};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::env::{Navigation, TabularMdp};
use rl::error::Error;
use rl::meta::sampled::{self, Credit, MetaBatch, Outer};
use rl::policy::{Numbers, Params, Table};
use rl::rollout::Episodes;
use rl::stream::stream;
use rl::truth::{SampledUpdate, max_abs};
use train::{MetaLearner, Sampling};

type Surrogate = fn(&MetaBatch<'_>) -> Var;

const POLICY: Table = Table { states: 2, actions: 2 };

fn process(seed: u64, early_end: bool) -> (TabularMdp, Array2<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mdp = TabularMdp::random(2, 2, 1.0, &mut rng).unwrap();
    let mdp = if early_end { mdp.with_termination(array![0.1, 0.4]).unwrap() } else { mdp };
    (mdp, Array2::from_shape_simple_fn((2, 2), || rng.random_range(-1.0..1.0)))
}

fn sampling(steps: usize, inner: usize, outer: usize) -> Sampling {
    Sampling { horizon: 2, gamma: 0.9, rate: 0.8, credit: Credit::ReturnToGo, steps, inner, outer }
}

/// What an estimator is a function of, with the numbers of [`sampling`].
fn batch<'a>(theta: &'a Params, inner: &'a [Episodes], outer: Outer, credit: Credit) -> MetaBatch<'a> {
    MetaBatch { policy: &POLICY, theta, inner, outer, gamma: 0.9.into(), rate: 0.8, credit }
}

/// For tables of 2 states and 2 actions.
fn learner(surrogate: Surrogate, sampling: Sampling) -> Result<MetaLearner, Error> {
    let (mdp, logits) = process(0, false);
    MetaLearner::new(surrogate, &POLICY, &Table::numbers(&logits), &mdp.walk(), sampling)
}

#[test]
fn a_learners_gradient_is_the_estimators_on_the_data_it_sampled() {
    let mdps: Vec<TabularMdp> = (0..3).map(|seed| process(20 + seed, true).0).collect();
    let tasks: Vec<_> = mdps.iter().map(TabularMdp::walk).collect();
    let logits = process(20, true).1;
    for estimator in sampled::all() {
        let credit = estimator.credit;
        let learner = learner(estimator.surrogate, Sampling { credit, ..sampling(2, 3, 4) }).unwrap();
        let found = learner.gradient(&tasks, &Table::numbers(&logits), 9).unwrap().swap_remove("logits").unwrap();
        let mut expected = ArrayD::<f64>::zeros(vec![2, 2]);
        for (task, mdp) in mdps.iter().enumerate() {
            let mut seeds = stream(9, task as u64);
            let tape = ad::Tape::new();
            let theta = Table::params(tape.input("theta", &logits));
            let process = mdp.record(&tape);
            let mut sample = |here: Var, trajectories: usize| {
                let policy = here.softmax().value().into_dimensionality().unwrap();
                mdp.sample(&policy, 2, trajectories, seeds.next_u64()).unwrap().record(&tape)
            };
            let mut inner = Vec::new();
            let mut here = theta["logits"];
            for _ in 0..2 {
                inner.push(sample(here, 3));
                let points =
                    batch(&theta, &inner, Outer::Exact(process), credit).adapt(|inner| credit.fixed_data(inner));
                here = points.last().unwrap()["logits"];
            }
            let outer = Outer::Sampled(sample(here, 4));
            let estimate = (estimator.surrogate)(&batch(&theta, &inner, outer, credit)).grad(theta["logits"]).value();
            expected += &(estimate / 3.0);
        }
        let difference = max_abs(&(&found - &expected));
        assert!(difference <= 1e-12, "{}: {found} {expected}", estimator.name);
    }
}

#[test]
fn sampled_gradients_of_sgmrl_average_to_that_of_the_objective_and_those_of_maml_do_not() {
    // 20 000 independent tasks of seed 3, all alike: within 4 standard errors, and beyond 10.
    let (mdp, logits) = process(21, false);
    let problem = SampledUpdate::new(&mdp, &logits, 2, 0.9).trajectories(2).rate(0.8);
    let truth = problem.check(sampled::sgmrl, 1).unwrap().orders.swap_remove(1).truth;
    let count = 20_000;
    let worst = |surrogate: Surrogate| {
        let learner = learner(surrogate, sampling(1, 2, 1)).unwrap();
        let theta = Table::numbers(&logits);
        let alone = |seed: u64| learner.gradient(&[mdp.walk()], &theta, seed).unwrap();
        let estimates: Vec<Numbers> = (0..count).map(|k| alone(stream(3, k).next_u64())).collect();
        let entry = |s: usize, a: usize| {
            let numbers = estimates.iter().map(|estimate| estimate["logits"][[s, a]]);
            let mean = numbers.clone().sum::<f64>() / count as f64;
            let variance = numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
            (mean - truth[[s, a]]).abs() / (variance / count as f64).sqrt()
        };
        entry(0, 0).max(entry(1, 0))
    };
    let (sgmrl, maml) = (worst(sampled::sgmrl), worst(sampled::maml));
    assert!(sgmrl < 4.0 && maml > 10.0, "{sgmrl} {maml}");
}

#[test]
fn ascent_raises_the_objective_with_the_same_bits_at_any_number_of_threads() {
    let mdps: Vec<TabularMdp> = (0..4).map(|seed| process(30 + seed, false).0).collect();
    let tasks: Vec<_> = mdps.iter().map(TabularMdp::walk).collect();
    let start = Table::numbers(&Array2::zeros((2, 2)));
    let learner = learner(sampled::linearised_score_function, sampling(1, 10, 10)).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| learner.ascend(|_| tasks.clone(), &start, 0.5, 60, 1).unwrap())
    };
    let learned = on(1);
    assert_eq!(learned, on(3));
    let objective = |theta: &Numbers| -> f64 {
        let of = |mdp: &TabularMdp| {
            let problem = SampledUpdate::new(mdp, &Table::logits(theta), 2, 0.9).trajectories(2).rate(0.8);
            problem.check(sampled::sgmrl, 0).unwrap().orders[0].truth.sum()
        };
        mdps.iter().map(of).sum::<f64>() / mdps.len() as f64
    };
    assert!(objective(&learned) > objective(&start) + 0.02, "{} {}", objective(&learned), objective(&start));
}

#[test]
fn a_learner_refuses_what_does_not_fit() {
    let (mdp, logits) = process(0, false);
    let theta = Table::numbers(&logits);
    for (sampling, words) in [
        (sampling(0, 1, 1), "no inner steps"),
        (sampling(1, 0, 1), "no trajectories for an inner step"),
        (sampling(1, 1, 0), "no trajectories for the outer estimate"),
        (Sampling { horizon: 0, ..sampling(1, 1, 1) }, "no steps in a trajectory"),
        (Sampling { gamma: 2.0, ..sampling(1, 1, 1) }, "the discount is 2, but must lie in [0, 1]"),
    ] {
        let error = learner(sampled::maml, sampling).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let sound = learner(sampled::maml, sampling(1, 1, 1)).unwrap();
    for rate in [f64::NAN, f64::NEG_INFINITY, -1.0] {
        for error in [
            learner(sampled::maml, Sampling { rate, ..sampling(1, 1, 1) }).unwrap_err(),
            sound.ascend(|_| vec![mdp.walk()], &theta, rate, 1, 0).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Rate(_)), "{error}");
            assert!(error.to_string().ends_with("but must be finite and not negative"), "{error}");
        }
    }
    assert!(matches!(sound.gradient(&[] as &[Navigation], &theta, 0).unwrap_err(), Error::Empty { what: "tasks" }));
}

#[test]
fn tasks_and_parameters_of_another_kind_are_refused() {
    let (mdp, logits) = process(0, false);
    let theta = Table::numbers(&logits);
    let learner = learner(sampled::maml, sampling(1, 1, 1)).unwrap();
    let words = |what, theirs| format!("the policy is for {what} that are one of 2 numbers, but they are {theirs}");
    for (states, actions, words) in
        [(3, 2, words("observations", "one of 3 numbers")), (2, 3, words("actions", "one of 3 numbers"))]
    {
        let other = TabularMdp::random(states, actions, 1.0, &mut stream(0, 0)).unwrap();
        let error = learner.gradient(&[mdp.walk(), other.walk()], &theta, 0).unwrap_err();
        assert_eq!(error.to_string(), words);
        let error = MetaLearner::new(sampled::maml, &POLICY, &theta, &other.walk(), sampling(1, 1, 1)).unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    let error = learner.gradient(&[Navigation::to([0.0, 0.0])], &theta, 0).unwrap_err();
    assert_eq!(error.to_string(), words("observations", "arrays of f64 of shape [2]"));
    let error = learner.gradient(&[mdp.walk()], &Table::numbers(&Array2::zeros((3, 2))), 0).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

#[test]
fn a_gradient_that_is_none_is_an_error_and_no_parameter() {
    let (mdp, logits) = process(0, false);
    // 0·∞, the derivative of √ at 0 of a number that is always 0.
    let learner = learner(|batch| (batch.theta["logits"].sum() * 0.0).sqrt(), sampling(1, 1, 1)).unwrap();
    let error = learner.ascend(|_| vec![mdp.walk()], &Table::numbers(&logits), 0.1, 1, 0).unwrap_err().to_string();
    assert_eq!(error, "an entry of the gradient by `logits` = NaN must be finite");
}
