//! What only a bug in the caller's code can get wrong: a panic at the caller's line, with words that say what to do.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use ad::{DType, Tape, Var};
use ndarray::{Array2, ArrayD, array};
use rl::batch::Batch;
use rl::env::{Horizon, TabularMdp};
use rl::error::Error;
use rl::meta::sampled::{Credit, MetaBatch, Outer};
use rl::meta::{self, Objective, Role, Roles, sampled};
use rl::objective::{LoadedDice, ScoreFunction, TruncatedDoublyRobust};
use rl::optim::{self, Optimiser, Rule, TapeOptimiser};
use rl::policy::{self, Network, Normal, Numbers, Params, Policy, Table};
use rl::report::{EstimatorReport, Plan};
use rl::rollout::{Episodes, Rollout, Space};
use rl::stream::stream;
use rl::truth::{SampledUpdate, Setting, check_estimator, check_unbiased, derivatives};

thread_local! {
    /// Message, file and line of this thread's last panic.
    static CAUGHT: RefCell<(String, String, u32)> = const { RefCell::new((String::new(), String::new(), 0)) };
}

fn caught(f: impl FnOnce()) -> (String, String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let literal = || info.payload().downcast_ref::<&str>().map(|&message| message.to_owned());
            let message = info.payload().downcast_ref::<String>().cloned().or_else(literal).unwrap_or_default();
            let at = info.location().expect("a location");
            CAUGHT.set((message, at.file().to_owned(), at.line()));
            default(info);
        }));
    });
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "it should have panicked");
    CAUGHT.take()
}

/// The expression panics on its own line with a message that has all the words.
macro_rules! refused {
    ($body:expr, $($words:expr),+) => {{
        let line = line!();
        let (message, file, at) = caught(|| { let _ = $body; });
        assert!(file.ends_with("misuse.rs") && (line..line + 3).contains(&at), "blamed {file}:{at}, not {line}: {message}");
        $(assert!(message.contains($words), "`{}` is not in: {message}", $words);)+
    }};
}

fn mdp() -> TabularMdp {
    TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), array![[0.0, 1.0], [2.0, 3.0]]).unwrap()
}

/// Hands `f` a batch of two trajectories of three steps.
fn with_batch(f: impl FnOnce(&Tape, Episodes, &Batch, Var)) {
    let tape = Tape::new();
    let theta = tape.input("theta", Array2::<f64>::zeros((2, 2)));
    let rollout = mdp().sample(&Array2::from_elem((2, 2), 0.5), 3, 2, 0).unwrap();
    let episodes = rollout.record(&tape);
    f(&tape, episodes, &Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9), theta);
}

#[test]
fn a_batch_refuses_discounts_decays_and_shapes_that_do_not_fit() {
    with_batch(|tape, episodes, batch, theta| {
        let log_prob = batch.log_prob();
        for (gamma, says) in [(1.5, "is 1.5"), (-0.1, "is -0.1"), (f64::NAN, "is NaN"), (f64::INFINITY, "is inf")] {
            refused!(Batch::new(episodes, log_prob, gamma), "Batch: the discount", says, "must lie in [0, 1]");
            refused!(batch.gae(gamma), "gae: λ", says, "must lie in [0, 1]");
            refused!(
                batch.decayed_weighted_sum(log_prob, gamma),
                "decayed_weighted_sum: λ",
                says,
                "must lie in [0, 1]"
            );
        }
        for gamma in [0.0, 1.0, -0.0] {
            assert_eq!(Batch::new(episodes, log_prob, gamma).gae(gamma).value().shape(), [2, 3]);
        }
        let wrong = tape.constant(Array2::<f64>::zeros((2, 4)));
        refused!(Batch::new(episodes, wrong, 0.9), "Batch: log_prob has shape [2, 4]", "ask for [2, 3]");
        refused!(batch.off_policy(wrong), "Batch: log_behaviour has shape [2, 4]", "ask for [2, 3]");
        refused!(batch.with_critic(log_prob), "Batch: critic has shape [2, 3]", "ask for [2, 4]");
        refused!(batch.with_action_critic(wrong, wrong), "action critic at the actions taken has shape [2, 4]");
        refused!(batch.with_action_critic(log_prob, log_prob), "expected action critic has shape [2, 3]");
        refused!(Table::log_prob_of(theta.at(0, 0), &episodes), "Table: logits need the shape [S, A], got [2]");
        refused!(batch.n_step_advantages(0), "n_step_advantages: n must be at least 1");
    });
}

#[test]
fn rewards_are_floats_and_a_normal_is_of_one_type() {
    let tape = Tape::new();
    let rollout = Rollout::zeros(2, 3).unwrap();
    for dtype in [DType::U8, DType::I32] {
        refused!(rollout.record_as(&tape, dtype), "record_as: rewards are floating-point numbers", dtype.name());
        refused!(rollout.values_as(dtype), "values_as: rewards are floating-point numbers", dtype.name());
    }
    let (mean, log_std) = (tape.input("mean", array![[0.5_f32]]), tape.input("log_std", array![0.0]));
    refused!(Normal::new(mean, log_std), "Normal: means of type f32 and log_std of type f64", "`cast`", "misuse.rs");
}

#[test]
fn the_logits_of_what_is_no_table_are_refused() {
    let table = array![[0.5, -1.0], [2.0, 0.0], [0.0, 3.0]];
    assert_eq!(Table::logits(&Table::numbers(&table)), table);
    let of = |name: &str, shape: &[usize]| Numbers::from([(name.to_owned(), ArrayD::zeros(shape))]);
    refused!(Table::logits(&of("weights", &[3, 2])), "Table: the parameters are [\"weights\"], not `logits`");
    refused!(Table::logits(&of("logits", &[6])), "Table: logits need the shape [S, A], got [6]");
}

#[test]
fn rates_bounds_and_decays_that_are_none_are_refused() {
    with_batch(|_, episodes, _, theta| {
        let (policy, params) = (Table { states: 2, actions: 2 }, Table::params(theta));
        for rate in [f64::NAN, f64::INFINITY, -0.1] {
            let says = format!("the rate is {rate}, but must be finite and not negative");
            let objective = |_, theta: &Var| theta.square().sum();
            refused!(meta::adapt(&theta, Rule::sgd(rate), 1, objective), "adapt: ", says.as_str());
            refused!(TapeOptimiser::new(Rule::sgd(rate)), "TapeOptimiser: ", says.as_str());
            refused!(Optimiser::new(Rule::adam(rate)), "Optimiser: ", says.as_str());
            let (inner, outer, gamma) = ([episodes], Outer::Sampled(episodes), 0.9.into());
            let (theta, credit) = (&params, Credit::ReturnToGo);
            let meta = MetaBatch { policy: &policy, theta, inner: &inner, outer, gamma, rate, credit };
            refused!(sampled::maml(&meta), "adapt: ", says.as_str());
        }
        let adam = |beta1, beta2, epsilon| Rule::Adam { rate: 0.1, beta1, beta2, epsilon };
        refused!(Optimiser::new(adam(1.0, 0.9, 1e-8)), "beta1 of Adam is 1, but must lie in [0, 1)");
        refused!(Optimiser::new(adam(0.9, f64::NAN, 1e-8)), "beta2 of Adam is NaN, but must lie in [0, 1)");
        refused!(TapeOptimiser::new(adam(0.9, 0.9, 0.0)), "epsilon of Adam is 0, but must be positive and finite");
        let _ = (Optimiser::new(adam(0.0, 0.0, 1e-300)), TapeOptimiser::new(Rule::sgd(0.0)));
    });
    let setting = Setting::new(&mdp(), &Array2::zeros((2, 2)), 2, 0.9);
    for bound in [f64::NAN, -1.0] {
        let truncated = TruncatedDoublyRobust { difference_bound: bound, trace_bound: 1.0 };
        let (message, ..) = caught(|| drop(check_estimator(&truncated, &setting, 0)));
        assert!(message.contains("the bound ρ̄ is") && message.contains("must not be negative"), "{message}");
        let truncated = TruncatedDoublyRobust { difference_bound: 1.0, trace_bound: bound };
        assert!(caught(|| drop(check_estimator(&truncated, &setting, 0))).0.contains("the bound c̄ is"));
        let loaded = LoadedDice { lambda: bound, ..LoadedDice::UNBIASED };
        assert!(caught(|| drop(check_estimator(&loaded, &setting, 0))).0.contains("λ is"));
        let loaded = LoadedDice { tau: bound, ..LoadedDice::UNBIASED };
        assert!(caught(|| drop(check_estimator(&loaded, &setting, 0))).0.contains("λ is"));
    }
}

#[test]
fn settings_that_do_not_fit_the_process_are_errors_and_no_tables_of_nan() {
    let zeros = |s: usize, a: usize| Array2::<f64>::zeros((s, a));
    let setting = |gamma| Setting::new(&mdp(), &zeros(2, 2), 2, gamma);
    let cases: [(Setting, &str); 10] = [
        (setting(1.5), "the discount is 1.5, but must lie in [0, 1]"),
        (setting(f64::NAN), "the discount is NaN, but must lie in [0, 1]"),
        (Setting::new(&mdp(), &zeros(2, 2), 0, 0.9), "no steps (the horizon is 0)"),
        (
            Setting::new(&mdp(), &zeros(2, 3), 2, 0.9),
            "for actions that are one of 3 numbers, but they are one of 2 numbers",
        ),
        (Setting::new(&mdp(), &(zeros(2, 2) / 0.0), 2, 0.9), "NaN is not a probability"),
        (setting(0.9).off_policy(&zeros(3, 2)), "the behaviour policy's logits has shape [3, 2]"),
        (setting(0.9).with_critic(&array![1.0]), "critic has shape [1], but must have shape [2]"),
        (setting(0.9).with_critic(&array![1.0, f64::NAN]), "critic [1] = NaN must be finite"),
        (setting(0.9).with_action_critic(&zeros(2, 1)), "action critic has shape [2, 1]"),
        (
            setting(0.9).with_action_critic(&array![[0.0, 0.0], [f64::INFINITY, 0.0]]),
            "action critic [1, 0] = inf must be finite",
        ),
    ];
    for (setting, words) in cases {
        let surrogate = |batch: &Batch| batch.discounted_sum(batch.rewards() * batch.cumulative_ratio()).mean();
        let proof = check_unbiased(surrogate, &setting, 1, 1).unwrap_err().to_string();
        assert!(proof.contains(words), "{proof}");
        let plan = Plan { samples: vec![4], repeats: 2, ..Plan::default() };
        let report = EstimatorReport::new(&setting, &[ScoreFunction], &plan).unwrap_err().to_string();
        assert!(report.contains(words), "{report}");
        let expectation = setting.expectation(|batch, _, _| batch.rewards().sum()).unwrap_err().to_string();
        assert!(expectation.contains(words), "{expectation}");
    }
}

#[test]
fn a_process_of_one_state_and_one_action_and_one_step_is_as_good_as_any() {
    let one = TabularMdp::new(array![[[1.0]]], array![[2.0]]).unwrap();
    let setting = Setting::new(&one, &array![[0.7]], 1, 0.9);
    for estimator in rl::objective::all() {
        let report = check_estimator(&*estimator, &setting, 2).unwrap();
        for order in &report.orders {
            // There is nothing to choose: every derivative is 0.
            assert!(order.expectation.iter().all(|x| x.is_finite()), "{}: {report}", estimator.facts().name);
            assert!(order.order == 0 || order.max_abs_bias() == 0.0, "{}: {report}", estimator.facts().name);
        }
    }
    let rollout = one.sample(&array![[1.0]], 1, 3, 0).unwrap();
    assert_eq!(rollout.rewards(), array![[2.0], [2.0], [2.0]]);
    assert!(matches!(Rollout::zeros(3, 0), Err(Error::Empty { .. })));
    for (trajectories, horizon) in [(1, usize::MAX), (usize::MAX, 1), (1 << 40, 1 << 40), (1 << 62, 1)] {
        let error = one.sample(&array![[1.0]], horizon, trajectories, 0).unwrap_err();
        let words = format!("there is no memory for {trajectories} trajectories of up to {horizon} steps");
        assert_eq!(error.to_string(), words);
        assert!(matches!(Rollout::zeros(trajectories, horizon), Err(Error::TooLarge { .. })));
    }
}

#[test]
fn rates_and_discounts_of_what_returns_a_result_are_errors() {
    let zeros = Array2::<f64>::zeros((2, 2));
    for gamma in [1.5, -0.1, f64::NAN] {
        let error = derivatives(&mdp(), &zeros, gamma, &Horizon::Infinite, 1).unwrap_err();
        assert!(matches!(error, Error::Decay { name: "the discount", .. }), "{error}");
        let error = SampledUpdate::new(&mdp(), &zeros, 2, gamma).check(sampled::maml, 1).unwrap_err();
        assert!(matches!(error, Error::Decay { name: "the discount", .. }), "{error}");
    }
    let start = Numbers::from([("theta".to_owned(), ArrayD::zeros(vec![2]))]);
    let square = |_: &Tape, _: &Params, theta: &Params| (theta["theta"].square().sum(), Vec::new());
    let objective = Objective::once(&Numbers::new(), &start, square);
    let none = |_: usize, _: &Numbers| Ok(Vec::new());
    let roles = Roles { hessian: None, ..Roles::all(Role { objective: &objective, data: &none }) };
    for rate in [f64::NAN, f64::NEG_INFINITY, -1.0] {
        for error in [
            SampledUpdate::new(&mdp(), &zeros, 2, 0.9).rate(rate).check(sampled::maml, 1).unwrap_err(),
            roles.meta_gradient(&Numbers::new(), &start, 1, rate).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Rate(_)), "{error}");
            assert!(error.to_string().ends_with("but must be finite and not negative"), "{error}");
        }
    }
    // No step is no error where there is something to be said of it: the value is what the end counts.
    let at_once = Horizon::Finite { steps: 0, terminal: Some(array![3.0, -1.0]) };
    let truth = derivatives(&mdp(), &zeros, 0.9, &at_once, 2).unwrap();
    assert_eq!((truth[0].sum(), truth[1].sum(), truth[2].shape()), (3.0, 0.0, &[2, 2, 2, 2][..]));
}

#[test]
fn rates_of_another_shape_or_order_than_parameters_are_refused() {
    let tape = Tape::new();
    let vars = |names: [&str; 2]| Params::from(names.map(|name| (name.to_owned(), tape.input(name, array![1.0, 2.0]))));
    let (theta, other) = (vars(["a", "b"]), vars(["b", "a"]));
    let objective = |_, theta: &Params| theta["a"].square().sum() + theta["b"].sum();
    let by = |rates: &Params| meta::Inner::from(Rule::sgd(0.1)).rates(rates.clone());
    assert_eq!(meta::adapt(&theta, by(&vars(["a", "b"])), 1, objective).len(), 2);
    refused!(meta::adapt(&theta, by(&other), 1, objective), "adapt: the rates are not in the structure", "`b`, `a`");
    refused!(meta::evaluates_to(&theta, &other), "evaluates_to: the derivatives are not in the structure", "`b`, `a`");
    let (x, wide) = (theta["a"], tape.input("wide", array![[0.1, 0.2], [0.3, 0.4]]));
    let mut wider = TapeOptimiser::new(Rule::sgd(0.1)).with_rates(wide);
    refused!(wider.step(x, x), "step: a parameter of shape [2] has a rate of shape [2, 2]");
}

#[test]
fn sums_of_trees_go_by_names_and_refuse_others() {
    let tree = |leaves: [(&str, [f64; 2]); 2]| -> Numbers {
        leaves.map(|(name, x)| (name.to_owned(), ndarray::arr1(&x).into_dyn())).into()
    };
    let (mut a, b) = (tree([("x", [1.0, 2.0]), ("y", [3.0, 4.0])]), tree([("y", [10.0, 0.0]), ("x", [0.0, 1.0])]));
    assert_eq!(optim::dot(&a, &b), 32.0);
    optim::add(&mut a, 2.0, &b);
    assert_eq!(a, tree([("x", [1.0, 4.0]), ("y", [23.0, 4.0])]));
    let other = tree([("x", [1.0, 2.0]), ("z", [3.0, 4.0])]);
    refused!(optim::dot(&a, &other), "dot: the trees differ: x [2], y [2] and x [2], z [2]");
    refused!(optim::add(&mut a, 1.0, &Numbers::new()), "add: the trees differ");
}

#[test]
fn what_a_policy_lacks_or_cannot_see_is_named() {
    with_batch(|tape, episodes, _, _| {
        let table = Table { states: 2, actions: 2 };
        refused!(table.log_prob(&Params::new(), &episodes), "there is no parameter `logits` among none");
        let space = Space::Discrete(2);
        let network = Network::new(&space).dense(1, policy::Activation::Tanh);
        let theta = policy::record(&network.draw(&mut stream(0, 0)), tape);
        let of = |names: &[&str]| -> Params { names.iter().map(|&name| (name.to_owned(), theta[name])).collect() };
        refused!(network.along(&of(&["b1"]), episodes.observations), "there is no parameter `w1` among b1");
        let real = tape.input("x", Array2::<f64>::zeros((2, 3)));
        refused!(network.along(&theta, real.into()), "observations are numbers below 2, integers, but these are f64");
        refused!(Network::new(&space).along(&theta, episodes.observations), "Network: no layer yet");
        refused!(
            Network::new(&space).convolution(1, 1, 1, policy::Activation::Relu),
            "needs frames of the shape",
            "[2]"
        );
        for dtype in [DType::U8, DType::I32] {
            let numbers = network.draw(&mut stream(0, 0));
            refused!(
                policy::record_as(&numbers, tape, dtype),
                "record_as: parameters are floating-point",
                dtype.name()
            );
            refused!(policy::values_as(&numbers, dtype), "values_as: parameters are floating-point", dtype.name());
        }
    });
}

#[test]
fn what_needs_a_table_of_probabilities_refuses_memory() {
    let remembers = Network::new(&Space::Discrete(2)).recurrent(1).categorical(2);
    let theta = remembers.init(&mut stream(0, 0));
    let (mdp, horizon) = (mdp(), Horizon::Finite { steps: 2, terminal: None });
    refused!(SampledUpdate::of_policy(&mdp, remembers.clone(), &theta, 2, 0.9), "needs a policy without memory");
    refused!(meta::exact_value(&remembers, &mdp, 0.9, &horizon).is_ok(), "exact_value: needs a policy without memory");
}

#[test]
fn a_surrogate_for_each_trajectory_is_no_estimate() {
    let (mdp, logits) = (mdp(), Array2::zeros((2, 2)));
    let setting = Setting::new(&mdp, &logits, 2, 0.9);
    let each = |batch: &Batch| batch.discounted_sum(batch.rewards());
    refused!(
        check_unbiased(each, &setting, 1, 2).is_ok(),
        "check_unbiased: ",
        "shape [2]",
        "take their mean",
        "misuse.rs"
    );
}
