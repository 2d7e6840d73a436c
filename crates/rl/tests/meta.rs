//! Meta-gradients: exact against finite differences and stored results; by roles against the same recorded on one tape;
//! and the expectations of estimated ones, by enumeration of every sample of every role.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ad::{Tape, Value, Var};
use ndarray::{Array1, Array2, Array3, ArrayD, array};
use ndarray_npy::read_npy;
use rand::RngExt;
use rl::batch::Batch;
use rl::env::{Horizon, TabularMdp};
use rl::error::{Error, Result};
use rl::meta::{Data, Objective, Permutation, Role, Roles, adapt, evaluates_to, exact_value, surrogate};
use rl::objective::{End, Estimator, ImportanceSampling, ScoreFunction, TayPo, all, allow_biased};
use rl::optim::Rule;
use rl::policy::{Numbers, Table, softmax};
use rl::rollout::Rollout;
use rl::stream::stream;
use rl::truth::{derivatives, max_abs};
use study::intrinsic_reward::objectives::{Credit, REWARD, inner_surrogate, inner_value};

const GAMMA: f64 = 0.8;

fn estimator(name: &str) -> Box<dyn Estimator> {
    all().into_iter().find(|estimator| estimator.facts().name == name).expect("a listed estimator")
}

/// The table of logits of a process.
fn table(mdp: &TabularMdp) -> Table {
    Table { states: mdp.states(), actions: mdp.actions() }
}

/// Parameters of one leaf.
fn leaf(name: &str, array: ArrayD<f64>) -> Numbers {
    Numbers::from([(name.to_owned(), array)])
}

fn logits(array: &ArrayD<f64>) -> Numbers {
    leaf(Table::LOGITS, array.clone())
}

/// No meta-parameters.
fn none() -> Numbers {
    Numbers::new()
}

fn problem(states: usize, actions: usize, seed: u64) -> (TabularMdp, Numbers) {
    let rng = &mut stream(seed, 0);
    let mdp = TabularMdp::random(states, actions, 1.0, rng).unwrap();
    let logits = Array2::from_shape_simple_fn((states, actions), || rng.random_range(-1.0..1.0));
    (mdp, Table::numbers(&logits))
}

/// |a − b| in units of the largest |b|.
fn relative(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    max_abs(&(a - b)) / max_abs(b)
}

#[track_caller]
fn assert_close(a: &ArrayD<f64>, b: &ArrayD<f64>, bound: f64) {
    let error = relative(a, b);
    assert!(error <= bound, "relative error {error:.2e}, not at most {bound:e}");
}

// Exact.

#[test]
fn three_exact_steps_agree_with_the_stored_results_on_the_tape_and_by_roles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/W8");
    let read = |file: &str| -> ArrayD<f64> { read_npy(folder.join(file)).unwrap() };
    let transition: Array3<f64> = read_npy(folder.join("in/P.npy")).unwrap();
    let reward: Array2<f64> = read_npy(folder.join("in/R.npy")).unwrap();
    let mdp = TabularMdp::new(transition, reward).unwrap();
    let start = logits(&read("in/logits.npy"));

    let value = exact_value(table(&mdp), &mdp, GAMMA, &Horizon::Infinite).unwrap();
    let objective = Objective::twice(&none(), &start, value);
    let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
    let exact = Roles::all(Role { objective: &objective, data: &known });
    let found = exact.meta_gradient(&none(), &start, 3, 10.0).unwrap();
    assert_close(&found.by_start["logits"], &read("out/meta_grad.npy"), 1e-10);
    let value = &derivatives(&mdp, &Table::logits(&found.adapted), GAMMA, &Horizon::Infinite, 0).unwrap()[0];
    assert_close(value, &read("out/meta_value.npy"), 1e-12);

    let tape = Tape::new();
    let (process, theta) = (mdp.record(&tape), tape.input("theta", &start["logits"]));
    let value = |theta: Var| process.start.dot(process.value(theta.softmax(), GAMMA));
    let value = value(adapt(&theta, Rule::sgd(10.0), 3, |_, &theta| value(theta))[3]);
    assert_close(&value.value(), &read("out/meta_value.npy"), 1e-12);
    assert_close(&value.grad(theta).value(), &read("out/meta_grad.npy"), 1e-10);
}

/// Central differences of `f` along every axis of `x`.
fn differences(x: &ArrayD<f64>, f: impl Fn(&ArrayD<f64>) -> f64) -> ArrayD<f64> {
    let mut gradient = x.clone();
    for (i, entry) in gradient.iter_mut().enumerate() {
        let at = |shift: f64| {
            let mut moved = x.clone();
            *moved.iter_mut().nth(i).unwrap() += shift;
            f(&moved)
        };
        // Sixth order: the error is that of rounding.
        let h = 1e-3;
        let odd = |k: f64| at(k * h) - at(-k * h);
        *entry = (45.0 * odd(1.0) - 9.0 * odd(2.0) + odd(3.0)) / (60.0 * h);
    }
    gradient
}

#[test]
fn exact_meta_gradients_are_the_differences_of_the_exact_objective() {
    for seed in 0..3 {
        let (mdp, start) = problem(3, 2, seed);
        for horizon in [Horizon::Infinite, Horizon::Finite { steps: 5, terminal: Some(array![0.5, -1.0, 2.0]) }] {
            let value = exact_value(table(&mdp), &mdp, GAMMA, &horizon).unwrap();
            let objective = Objective::twice(&none(), &start, value);
            let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
            let exact = Roles::all(Role { objective: &objective, data: &known });
            for (steps, rate) in [(0, 1.0), (1, 1.0), (2, 0.5), (5, 1.0)] {
                let run = |start: &Numbers| exact.meta_gradient(&none(), start, steps, rate).unwrap();
                let value = |start: &ArrayD<f64>| {
                    let adapted = Table::logits(&run(&logits(start)).adapted);
                    derivatives(&mdp, &adapted, GAMMA, &horizon, 0).unwrap()[0].sum()
                };
                assert_close(&run(&start).by_start["logits"], &differences(&start["logits"], value), 1e-9);
            }
        }
    }
}

#[test]
fn exact_meta_gradients_by_an_intrinsic_reward_are_the_differences_of_the_exact_objective() {
    let (mdp, start) = problem(3, 2, 5);
    let phi = leaf(REWARD, array![[0.3, -0.1], [0.0, 0.2], [-0.4, 0.1]].into_dyn());
    let inner = Objective::twice(&phi, &start, inner_value(&mdp, GAMMA));
    let outer = exact_value(table(&mdp), &mdp, GAMMA, &Horizon::Infinite).unwrap();
    let outer = Objective::once(&phi, &start, outer);
    let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
    let [inner, outer] = [&inner, &outer].map(|objective| Role { objective, data: &known });
    let exact = Roles { inner, hessian: Some(inner), outer };
    for steps in [1, 2, 4] {
        let run = |phi: &Numbers, start: &Numbers| exact.meta_gradient(phi, start, steps, 1.0).unwrap();
        let value = |phi: &Numbers, start: &Numbers| {
            derivatives(&mdp, &Table::logits(&run(phi, start).adapted), GAMMA, &Horizon::Infinite, 0).unwrap()[0].sum()
        };
        let found = run(&phi, &start);
        let by_reward = differences(&phi[REWARD], |reward| value(&leaf(REWARD, reward.clone()), &start));
        assert_close(&found.by_meta[REWARD], &by_reward, 1e-8);
        let by_start = differences(&start["logits"], |start| value(&phi, &logits(start)));
        assert_close(&found.by_start["logits"], &by_start, 1e-8);
    }
}

// Roles.

#[test]
fn a_permutation_is_written_as_three_letters_and_says_who_plays_which_role() {
    let written: Vec<String> = Permutation::ALL.iter().map(|permutation| permutation.to_string()).collect();
    assert_eq!(written, ["EES", "ESE", "ESS", "SEE", "SES", "SSE", "SSS"]);
    for permutation in Permutation::ALL {
        assert_eq!(permutation.to_string().parse::<Permutation>().unwrap(), permutation);
    }
    for letters in ["", "SE", "SEEE", "see", "XEE"] {
        let error = letters.parse::<Permutation>().unwrap_err();
        assert!(matches!(&error, Error::Permutation(given) if given == letters), "{error}");
    }
}

/// A recorded problem with a given rollout for each role and step.
struct Sampled {
    mdp: TabularMdp,
    start: Numbers,
    rollouts: [Vec<Rollout>; 3],
}

impl Sampled {
    const CRITIC: [f64; 3] = [0.7, -0.2, 0.4];

    /// All under the policy of the start: what matters is that they are the same on both sides of a comparison.
    fn new(steps: usize) -> Self {
        let (mdp, start) = problem(3, 2, 8);
        let mdp = mdp.with_termination(array![0.1, 0.0, 0.3]).unwrap();
        let rollouts = [0, 1, 2].map(|role| {
            let sample =
                |step: usize| mdp.sample(&softmax(&Table::logits(&start)), 6, 9, (role * 100 + step) as u64).unwrap();
            (0..=steps).map(sample).collect()
        });
        Self { mdp, start, rollouts }
    }

    fn data(&self, role: usize) -> impl Fn(usize, &Numbers) -> Result<Vec<Value<'static>>> {
        move |step, _| {
            let rollout = self.rollouts[role][step].clone().into_values();
            Ok(rollout.into_iter().chain([Array1::from(Self::CRITIC.to_vec()).into()]).collect())
        }
    }
}

#[test]
fn the_chain_rule_by_roles_is_the_derivative_of_the_same_steps_on_one_tape() {
    let (steps, rate) = (3, 0.4);
    let problem = Sampled::new(steps);
    let (mdp, start) = (&problem.mdp, &problem.start);
    let exact = exact_value(table(mdp), mdp, GAMMA, &Horizon::Infinite).unwrap();
    let exact = Objective::twice(&none(), start, exact);
    let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
    let exact = Roles::all(Role { objective: &exact, data: &known });
    for name in ["ad", "lvc", "loaded", "is"] {
        let estimator = estimator(name);
        let estimator = allow_biased(&*estimator);
        let objective = surrogate(&estimator, table(mdp), mdp, GAMMA, 6, 9).unwrap();
        let objective = Objective::twice(&none(), start, objective);
        let data = [0, 1, 2].map(|role| problem.data(role));
        let [inner, hessian, outer] = data.each_ref().map(|data| Role { objective: &objective, data });
        let sampled = Roles { inner, hessian: Some(hessian), outer };
        for permutation in Permutation::ALL.into_iter().chain(["EEE".parse().unwrap()]) {
            let found = permutation.of(exact, sampled).meta_gradient(&none(), start, steps, rate).unwrap();

            let tape = Tape::new();
            let (process, theta) = (mdp.record(&tape), tape.input("theta", &start["logits"]));
            let objective = |role: usize, step: usize, theta: Var| {
                if !permutation.estimated[role] {
                    return process.start.dot(process.value(theta.softmax(), GAMMA));
                }
                let episodes = problem.rollouts[role][step].record(&tape);
                let critic = tape.constant(Array1::from(Sampled::CRITIC.to_vec())).gather([episodes.states()]);
                let log_prob = Table::log_prob_of(theta, &episodes);
                estimator.surrogate(&Batch::new(episodes, log_prob, GAMMA).with_critic(critic))
            };
            let mut adapted = theta;
            for step in 0..steps {
                let by = |role: usize| adapted + objective(role, step, adapted).grad(adapted) * rate;
                adapted = evaluates_to(&by(0), &by(1));
            }
            let value = objective(2, steps, adapted);
            assert_close(&found.adapted["logits"], &adapted.value(), 1e-13);
            assert_close(&found.by_start["logits"], &value.grad(theta).value(), 1e-11);
        }
        let all_exact = exact.meta_gradient(&none(), start, steps, rate).unwrap();
        assert_eq!(
            "EEE"
                .parse::<Permutation>()
                .unwrap()
                .of(exact, sampled)
                .meta_gradient(&none(), start, steps, rate)
                .unwrap(),
            all_exact
        );
    }
}

#[test]
fn without_a_hessian_it_is_the_first_order_method_and_any_estimator_may_play() {
    let problem = Sampled::new(2);
    let objective = surrogate(&ScoreFunction, table(&problem.mdp), &problem.mdp, GAMMA, 6, 9).unwrap();
    let objective = Objective::once(&none(), &problem.start, objective);
    let (inner, outer) = (problem.data(0), problem.data(2));
    let roles = Roles {
        inner: Role { objective: &objective, data: &inner },
        hessian: None,
        outer: Role { objective: &objective, data: &outer },
    };
    let found = roles.meta_gradient(&none(), &problem.start, 2, 0.4).unwrap();
    let gradient = |logits: &ArrayD<f64>, rollout: &Rollout| {
        let tape = Tape::new();
        let theta = tape.input("theta", logits);
        let episodes = rollout.record(&tape);
        let critic = tape.constant(Array1::from(Sampled::CRITIC.to_vec())).gather([episodes.states()]);
        let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), GAMMA).with_critic(critic);
        ScoreFunction.surrogate(&batch).grad(theta).value()
    };
    let start = &problem.start["logits"];
    let first = start + &(gradient(start, &problem.rollouts[0][0]) * 0.4);
    let second = &first + &(gradient(&first, &problem.rollouts[0][1]) * 0.4);
    assert_close(&found.adapted["logits"], &second, 1e-13);
    assert_close(&found.by_start["logits"], &gradient(&second, &problem.rollouts[2][2]), 1e-13);
}

#[test]
fn one_source_of_data_for_two_roles_is_one_batch_for_both() {
    // MAML as it is run: the inner gradient is differentiated on its own trajectories.
    let problem = Sampled::new(1);
    let objective = surrogate(&ImportanceSampling, table(&problem.mdp), &problem.mdp, GAMMA, 6, 9).unwrap();
    let objective = Objective::twice(&none(), &problem.start, objective);
    let (inner, outer) = (problem.data(0), problem.data(2));
    let [inner, outer] = [&inner as &Data<'_>, &outer].map(|data| Role { objective: &objective, data });
    let found = Roles { inner, hessian: Some(inner), outer }.meta_gradient(&none(), &problem.start, 1, 0.4).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.start["logits"]);
    let objective = |rollout: &Rollout, theta: Var| {
        let episodes = rollout.record(&tape);
        ImportanceSampling.surrogate(&Batch::new(episodes, Table::log_prob_of(theta, &episodes), GAMMA))
    };
    let points = adapt(&theta, Rule::sgd(0.4), 1, |step, &theta| objective(&problem.rollouts[0][step], theta));
    let by_start = objective(&problem.rollouts[2][1], points[1]).grad(theta).value();
    assert_close(&found.by_start["logits"], &by_start, 1e-12);
}

// Expectations, over every sample of every role.

/// The largest bias of a permutation's meta-gradient, and the largest entry of the truth: 2 states, 2 actions, trajectories
/// of 2 steps, a wrong critic that the truth counts at the end as the estimator does.
fn bias(estimator: &dyn Estimator, permutation: &str, trajectories: usize, steps: usize, rate: f64) -> (f64, f64) {
    let (mdp, start) = problem(2, 2, 3);
    let critic = array![0.8, -0.5];
    let terminal = (estimator.facts().end != End::Nothing).then(|| critic.clone());
    let horizon = Horizon::Finite { steps: 2, terminal };
    let exact = exact_value(table(&mdp), &mdp, GAMMA, &horizon).unwrap();
    let exact = Objective::twice(&none(), &start, exact);
    let allowed = allow_biased(estimator);
    let estimated = surrogate(&allowed, table(&mdp), &mdp, GAMMA, 2, trajectories).unwrap();
    let estimated = Objective::twice(&none(), &start, estimated);
    let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
    let exact = Roles::all(Role { objective: &exact, data: &known });
    let permutation: Permutation = permutation.parse().unwrap();

    let count = mdp.enumerate(&softmax(&Table::logits(&start)), 2).unwrap().probabilities.len();
    // How many batches each role draws, and where its draws stand among all.
    let batches: Vec<usize> = (permutation.estimated.iter().zip([steps, steps, 1]))
        .map(|(&estimated, batches)| if estimated { batches } else { 0 })
        .collect();
    let first = [0, batches[0], batches[0] + batches[1]];
    let draws = trajectories * batches.iter().sum::<usize>();
    let (draw, probability) = (Cell::new(0), Cell::new(1.0));
    let data = [0, 1, 2].map(|role| {
        let (mdp, critic, draw, probability) = (&mdp, &critic, &draw, &probability);
        move |step: usize, theta: &Numbers| {
            let all = mdp.enumerate(&softmax(&Table::logits(theta)), 2)?;
            assert_eq!(all.probabilities.len(), count);
            let batch = first[role] + if role == 2 { 0 } else { step };
            let chosen: Vec<usize> =
                (0..trajectories).map(|n| draw.get() / count.pow((batch * trajectories + n) as u32) % count).collect();
            probability.set(chosen.iter().fold(probability.get(), |product, &n| product * all.probabilities[n]));
            let rollout = all.rollout.select(&chosen).into_values();
            Ok(rollout.into_iter().chain([critic.clone().into()]).collect())
        }
    });
    let [inner, hessian, outer] = data.each_ref().map(|data| Role { objective: &estimated, data });
    let roles = permutation.of(exact, Roles { inner, hessian: Some(hessian), outer });

    let by_start = |roles: Roles<'_>| {
        roles.meta_gradient(&none(), &start, steps, rate).unwrap().by_start.swap_remove("logits").unwrap()
    };
    let truth = by_start(exact);
    let (mut expectation, mut total) = (ArrayD::zeros(truth.raw_dim()), 0.0);
    for number in 0..count.pow(draws as u32) {
        draw.set(number);
        probability.set(1.0);
        let found = by_start(roles);
        expectation.scaled_add(probability.get(), &found);
        total += probability.get();
    }
    assert!((total - 1.0).abs() < 1e-12, "probabilities sum to {total}");
    (max_abs(&(&expectation - &truth)), max_abs(&truth))
}

#[test]
fn with_an_exact_inner_gradient_an_estimator_right_to_order_2_gives_unbiased_meta_gradients() {
    for name in ["is", "dr", "loaded", "taypo2"] {
        for (permutation, trajectories, steps) in
            [("EES", 1, 3), ("EES", 2, 1), ("ESE", 1, 1), ("ESE", 2, 1), ("ESE", 1, 2), ("ESS", 1, 1), ("EEE", 1, 2)]
        {
            let (bias, truth) = bias(&*estimator(name), permutation, trajectories, steps, 0.7);
            assert!(bias <= 1e-12 && truth > 1e-2, "{name} {permutation}, K = {steps}: bias {bias}, truth {truth}");
        }
    }
}

#[test]
fn an_estimator_right_to_order_1_is_biased_where_the_hessian_is_its_own_and_only_there() {
    for name in ["ad", "lvc"] {
        let (outer, _) = bias(&*estimator(name), "EES", 1, 2, 0.7);
        assert!(outer <= 1e-12, "{name} EES: {outer}");
        for permutation in ["ESE", "ESS"] {
            let (hessian, truth) = bias(&*estimator(name), permutation, 1, 1, 0.7);
            assert!(hessian > 1e-3 * truth, "{name} {permutation}: {hessian} of {truth}");
        }
    }
}

#[test]
fn an_estimated_inner_gradient_makes_every_meta_gradient_biased_by_order_one_over_n() {
    // The compositional bias (Liu et al. 2022, Sec. 4.1): E f(θ + α ĝ) is not f(θ + α E ĝ). Its first term is
    // α²/2 tr(∇³V Cov ĝ), inversely proportional to the number of trajectories.
    for permutation in ["SEE", "SES", "SSE", "SSS"] {
        let (bias, truth) = bias(&ImportanceSampling, permutation, 1, 1, 0.7);
        assert!(bias > 1e-4 * truth, "{permutation}: {bias} of {truth}");
    }
    let at = |trajectories: usize| bias(&ImportanceSampling, "SEE", trajectories, 1, 0.01).0;
    let [one, two, three] = [1, 2, 3].map(at);
    assert!((one / two - 2.0).abs() < 0.02 && (one / three - 3.0).abs() < 0.03, "{one:e} {two:e} {three:e}");
}

// Limits.

fn panic_message(f: impl FnOnce() -> Objective) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("it must panic");
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn an_estimator_right_to_order_1_may_not_play_the_hessians_role_unless_asked_for_by_name() {
    let (mdp, start) = problem(3, 2, 0);
    for estimator in [&ScoreFunction as &dyn Estimator, &TayPo { order: 1 }] {
        let of = |estimator| surrogate(estimator, table(&mdp), &mdp, GAMMA, 4, 5).unwrap();
        let _ = Objective::once(&none(), &start, of(estimator));
        let message = panic_message(|| Objective::twice(&none(), &start, of(estimator)));
        let words = format!("{}: a derivative of order 2 was asked for", estimator.facts().name);
        assert!(message.contains(&words) && message.contains("allow_biased"), "{message}");
        let _ = Objective::twice(&none(), &start, of(&allow_biased(estimator)));
    }
}

#[test]
fn a_derivative_by_theta_and_then_by_the_reward_counts_as_order_2() {
    let (mdp, start) = problem(3, 2, 0);
    let phi = leaf(REWARD, ArrayD::zeros(vec![3, 2]));
    for estimator in [&ScoreFunction as &dyn Estimator, &TayPo { order: 1 }] {
        let of = |estimator| inner_surrogate(estimator, &mdp, GAMMA, 4, 5).unwrap();
        let message = panic_message(|| Objective::twice(&phi, &start, of(estimator)));
        assert!(message.contains("a derivative of order 2 was asked for"), "{message}");
        // Even where it is by the reward alone that the gradient is differentiated.
        let message = panic_message(|| {
            Objective::once(&phi, &start, |tape, phi, theta| {
                let (surrogate, data) = of(estimator)(tape, phi, theta);
                (surrogate.grad(theta["logits"]).square().sum().grad(phi[REWARD]).sum(), data)
            })
        });
        assert!(message.contains("a derivative of order 2 was asked for"), "{message}");
    }
    // By the reward alone, the value is differentiated once.
    let _ = Objective::once(&phi, &start, inner_surrogate(&TayPo { order: 1 }, &mdp, GAMMA, 4, 5).unwrap());
}

#[test]
fn what_does_not_fit_is_an_error_and_so_is_a_step_to_infinity() {
    let problem = Sampled::new(2);
    let of = || surrogate(&ImportanceSampling, table(&problem.mdp), &problem.mdp, GAMMA, 6, 9).unwrap();
    let objective = Objective::twice(&none(), &problem.start, of());
    let data = problem.data(0);
    let roles = Roles::all(Role { objective: &objective, data: &data });
    let error = |start: &Numbers, rate: f64| roles.meta_gradient(&none(), start, 2, rate).unwrap_err();
    let found = error(&logits(&ArrayD::zeros(vec![2, 2])), 0.1);
    assert!(matches!(found, Error::Shape { what: "parameters", .. }), "{found}");
    let found = error(&leaf("theta", ArrayD::zeros(vec![3, 2])), 0.1);
    assert_eq!(found.to_string(), "a parameter is called `theta`, but in its place `logits` was recorded");
    let found = roles.meta_gradient(&problem.start, &problem.start, 2, 0.1).unwrap_err();
    assert!(matches!(found, Error::Shape { what: "meta-parameters", .. }), "{found}");
    let found = error(&problem.start, f64::INFINITY);
    assert!(matches!(found, Error::Rate(_)), "{found}");
    // The first step leads far away, where the policy is all but certain, and the second beyond.
    let found = error(&problem.start, f64::MAX);
    assert!(matches!(found, Error::NotFinite { .. }), "{found}");
    assert!(found.to_string().contains("inner step 1"), "{found}");
    let nothing = |_: usize, _: &Numbers| Ok(Vec::new());
    let roles = Roles::all(Role { objective: &objective, data: &nothing });
    let found = roles.meta_gradient(&none(), &problem.start, 2, 0.1).unwrap_err();
    assert!(matches!(found, Error::Program(_)) && found.to_string().contains("missing input"), "{found}");

    let first_order = Objective::once(&none(), &problem.start, of());
    let roles = Roles::all(Role { objective: &first_order, data: &data });
    let panicked = catch_unwind(AssertUnwindSafe(|| roles.meta_gradient(&none(), &problem.start, 2, 0.1)));
    let message = panicked.expect_err("it must panic").downcast_ref::<&str>().map(|message| (*message).to_owned());
    assert!(message.unwrap_or_default().contains("Objective::twice"));
}

// An intrinsic reward.

/// The meta-gradient by the reward with an exact inner gradient and an estimated derivative of it.
fn by_reward(estimator: &dyn Estimator, steps: usize, trajectories: usize, seed: u64) -> ArrayD<f64> {
    let (mdp, start) = problem(4, 3, seed);
    let phi = leaf(REWARD, ArrayD::zeros(vec![4, 3]));
    let inner = Objective::once(&phi, &start, inner_value(&mdp, GAMMA));
    let allowed = allow_biased(estimator);
    let hessian = Objective::twice(&phi, &start, inner_surrogate(&allowed, &mdp, GAMMA, 7, trajectories).unwrap());
    let outer = exact_value(table(&mdp), &mdp, GAMMA, &Horizon::Infinite).unwrap();
    let outer = Objective::once(&phi, &start, outer);
    let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
    let sample = |step: usize, theta: &Numbers| {
        let rollout = mdp.sample(&softmax(&Table::logits(theta)), 7, trajectories, seed * 100 + step as u64)?;
        let noise = Array1::from_elem(4, 0.3);
        Ok(rollout.into_values().into_iter().chain(mdp.to_values()).chain([noise.into()]).collect())
    };
    let roles = Roles {
        inner: Role { objective: &inner, data: &known },
        hessian: Some(Role { objective: &hessian, data: &sample }),
        outer: Role { objective: &outer, data: &known },
    };
    roles.meta_gradient(&phi, &start, steps, 1.0).unwrap().by_meta[REWARD].clone()
}

#[test]
fn after_one_step_ad_and_lvc_give_the_same_meta_gradient_by_the_reward_sample_by_sample() {
    for seed in 0..5 {
        let ad = by_reward(&Credit::ScoreFunction, 1, 3, seed);
        let lvc = by_reward(&Credit::LowVarianceCurvature, 1, 3, seed);
        assert_close(&ad, &lvc, 1e-13);
        let ad = by_reward(&Credit::ScoreFunction, 2, 3, seed);
        let lvc = by_reward(&Credit::LowVarianceCurvature, 2, 3, seed);
        assert!(relative(&ad, &lvc) > 1e-3);
    }
}

#[test]
fn the_intrinsic_reward_is_noticed_by_reward_and_critic_alike() {
    // With every action of every state paid more by c, advantages stay: the gradient does not change.
    let (mdp, start) = problem(3, 2, 1);
    let paid = |reward: f64| leaf(REWARD, ArrayD::from_elem(vec![3, 2], reward));
    let objective = Objective::once(
        &paid(0.0),
        &start,
        inner_surrogate(&allow_biased(&Credit::LowVarianceCurvature), &mdp, GAMMA, 6, 8).unwrap(),
    );
    let sample = |_: usize, theta: &Numbers| {
        let rollout = mdp.sample(&softmax(&Table::logits(theta)), 6, 8, 4)?;
        Ok(rollout.into_values().into_iter().chain(mdp.to_values()).chain([Array1::<f64>::zeros(3).into()]).collect())
    };
    let role = Role { objective: &objective, data: &sample };
    let roles = Roles { inner: role, hessian: None, outer: role };
    let adapted = |reward: f64| roles.meta_gradient(&paid(reward), &start, 1, 0.5).unwrap().adapted;
    assert_close(&adapted(2.5)["logits"], &adapted(0.0)["logits"], 1e-12);
}
