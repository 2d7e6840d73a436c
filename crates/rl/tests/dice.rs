//! The family of DiCE: baselines, Loaded DiCE with λ and τ, and the advantages they are made of.

use ad::{Tape, Var};
use ndarray::{Array1, Array2, ArrayD, array};
use rl::batch::{Batch, Form};
use rl::env::Horizon;
use rl::objective::{
    Deep, DiceBaseline, DiceCentred, DiceLeaveOneOut, DiceMao, DoublyRobust, Estimator, ImportanceSampling, LoadedDice,
    TayPo, allow_biased,
};
use rl::policy::{Table, softmax};
use rl::rollout::Rollout;
use rl::truth::{Report, Setting, check_estimator, check_unbiased, derivatives, max_abs};
use study::exact::{Problem, biases};

const GAMMA: f64 = 0.9;

#[track_caller]
fn assert_equal(a: &ArrayD<f64>, b: &ArrayD<f64>) {
    let difference = max_abs(&(a - b));
    assert!(difference <= 1e-13 * max_abs(a).max(1.0), "they differ by {difference}");
}

// What compares a trajectory with the others of its batch: over every n-tuple of trajectories.

fn over_tuples(estimator: &dyn Estimator, n: usize, off_policy: bool) -> Report {
    // Some episodes end early: there the mean reward goes on.
    let problem = Problem::new(5, true, 2).unwrap();
    let setting = Setting::new(&problem.mdp, &problem.logits, 2, GAMMA);
    let setting = if off_policy { setting.off_policy(&problem.behaviour) } else { setting };
    check_unbiased(|batch| allow_biased(estimator).surrogate(batch), &setting, 3, n).unwrap()
}

#[test]
fn rewards_centred_by_their_batch_make_every_derivative_too_small_by_one_minus_one_over_n() {
    for n in [2, 3] {
        for off_policy in [false, true] {
            let report = over_tuples(&DiceCentred, n, off_policy);
            for order in &report.orders[1..] {
                assert_equal(&order.expectation, &(&order.truth * (1.0 - 1.0 / n as f64)));
                assert!(!order.is_unbiased(), "{report}");
            }
            assert!(!report.is_unbiased(0), "{report}");
        }
    }
}

#[test]
fn rewards_centred_by_the_others_are_unbiased_at_every_order() {
    for n in [2, 3] {
        for off_policy in [false, true] {
            let report = over_tuples(&DiceLeaveOneOut, n, off_policy);
            (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
        }
    }
}

#[test]
#[should_panic(expected = "a batch of 1 has no others")]
fn a_single_trajectory_has_no_others() {
    let problem = Problem::new(5, true, 2).unwrap();
    let setting = Setting::new(&problem.mdp, &problem.logits, 2, GAMMA);
    let _ = check_unbiased(|batch| DiceLeaveOneOut.surrogate(batch), &setting, 1, 1);
}

// Baselines.

/// The exact variance of the k-th derivative of one trajectory's surrogate: Σ over its entries, over every trajectory.
fn variance(estimator: &dyn Estimator, order: usize) -> f64 {
    let problem = Problem::new(3, true, 3).unwrap();
    // What is left on average, in the middle of an episode; with a bad critic a baseline adds variance.
    let critic = values(&problem, &problem.logits, &Horizon::Finite { steps: 2, terminal: None });
    let all = problem.mdp.enumerate(&softmax(&problem.logits), 3).unwrap();
    let derivatives = per_trajectory(estimator, order, &problem, &all.rollout, &critic, false);
    let size: usize = derivatives.shape()[1..].iter().product();
    let rows = derivatives.into_shape_with_order((all.probabilities.len(), size)).unwrap();
    let probabilities = Array1::from(all.probabilities);
    let (mean, square) = (probabilities.dot(&rows), probabilities.dot(&rows.mapv(|x| x * x)));
    square.sum() - mean.mapv(|x| x * x).sum()
}

#[test]
fn the_first_baseline_lowers_the_variance_of_the_gradient_and_the_second_that_of_the_hessian_too() {
    let at =
        |order: usize| [&ImportanceSampling as &dyn Estimator, &DiceBaseline, &DiceMao].map(|e| variance(e, order));
    let [plain, first, second] = at(1);
    assert!(first < 0.9 * plain, "{first} {plain}");
    approx::assert_relative_eq!(first, second, max_relative = 1e-12);
    let [plain, first, second] = at(2);
    assert!(second < 0.5 * first && first < plain, "{second} {first} {plain}");
    let [_, first, second] = at(3);
    assert!(second < 0.9 * first, "{second} {first}");
}

#[test]
fn the_second_order_baseline_is_doubly_robust_where_every_episode_has_ended() {
    let problem = Problem::new(2, true, 4).unwrap();
    let sampled = problem.mdp.sample(&softmax(&problem.behaviour), 4, 40, 7).unwrap();
    let (states, actions, rewards) = (sampled.states(), sampled.actions(), sampled.rewards());
    let lengths = sampled.lengths().to_vec();
    let ended = Rollout::new(states.to_owned(), actions.to_owned(), rewards.clone(), lengths, vec![true; 40]).unwrap();
    for off_policy in [false, true] {
        for order in 0..=3 {
            let of = |estimator: &dyn Estimator, rollout: &Rollout| {
                per_trajectory(estimator, order, &problem, rollout, &array![1.7, -0.6], off_policy)
            };
            assert_equal(&of(&DiceMao, &ended), &of(&DoublyRobust, &ended));
            assert!((&of(&DiceMao, &sampled) - &of(&DoublyRobust, &sampled)).iter().any(|x| x.abs() > 1e-3));
        }
    }
}

// Loaded DiCE.

#[test]
fn forgetting_causes_is_right_to_first_order_and_biased_beyond() {
    let lambda = LoadedDice { lambda: 0.5, ..LoadedDice::UNBIASED };
    let on_policy = biases(&lambda, 0, false, 3).unwrap();
    assert!(on_policy[0].max_abs_bias <= 1e-10 && on_policy[1].max_abs_bias <= 1e-10, "{on_policy:?}");
    assert!(on_policy[2].max_abs_bias > 1e-3 && on_policy[3].max_abs_bias > 1e-3, "{on_policy:?}");
    let off_policy = biases(&lambda, 0, true, 3).unwrap();
    off_policy.iter().for_each(|bias| assert!(bias.max_abs_bias > 1e-4, "{off_policy:?}"));
}

#[test]
fn trusting_a_wrong_critic_is_biased_and_an_exact_one_is_not() {
    let tau = LoadedDice { tau: 0.5, ..LoadedDice::UNBIASED };
    for off_policy in [false, true] {
        let problem = Problem::new(0, true, 3).unwrap();
        let sampler = if off_policy { &problem.behaviour } else { &problem.logits };
        let setting = Setting::new(&problem.mdp, &problem.logits, 3, GAMMA);
        let setting = if off_policy { setting.off_policy(sampler) } else { setting };
        // The value without horizon stays itself when it is bootstrapped from at a horizon.
        let exact = setting.clone().with_critic(&values(&problem, sampler, &Horizon::Infinite));
        let report = check_estimator(&tau, &exact, 3).unwrap();
        (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
        let report = check_estimator(&tau, &setting.with_critic(&array![1.7, -0.6]), 3).unwrap();
        (0..=3).for_each(|order| assert!(report.orders[order].max_abs_bias() > 1e-4, "{report}"));
    }
}

/// Not weighted by γ^t.
fn unweighted(estimator: LoadedDice) -> Deep<LoadedDice> {
    Deep { estimator, form: Form { discounted: false, ..Form::VALUE }, over_steps: false }
}

#[test]
fn without_the_weights_of_the_discount_it_is_biased_unless_there_is_no_discount() {
    let unweighted = unweighted(LoadedDice::UNBIASED);
    let problem = Problem::new(1, true, 3).unwrap();
    for off_policy in [false, true] {
        let report =
            |gamma: f64| check_estimator(&unweighted, &problem.setting(gamma, off_policy, false).unwrap(), 3).unwrap();
        let (discounted, plain) = (report(GAMMA), report(1.0));
        (1..=3).for_each(|order| assert!(discounted.orders[order].max_abs_bias() > 1e-4, "{discounted}"));
        (0..=3).for_each(|order| assert!(plain.is_unbiased(order), "{plain}"));
    }
}

#[test]
fn forgetting_every_cause_is_lvc() {
    let problem = Problem::new(2, true, 5).unwrap();
    let forgetful = LoadedDice { lambda: 0.0, ..LoadedDice::UNBIASED };
    for off_policy in [false, true] {
        let sampler = if off_policy { &problem.behaviour } else { &problem.logits };
        let rollout = problem.mdp.sample(&softmax(sampler), 5, 40, 7).unwrap();
        for order in 0..=3 {
            let of = |estimator: &dyn Estimator| {
                per_trajectory(estimator, order, &problem, &rollout, &array![1.7, -0.6], off_policy)
            };
            assert_equal(&of(&forgetful), &of(&TayPo { order: 1 }));
        }
    }
}

#[test]
fn lambda_weights_the_past_as_its_recursion_does() {
    // W_t = λ W_{t−1} + log ρ_t, and A_t (exp(W_t) − exp(W_t − log ρ_t)), by a loop, off policy.
    let problem = Problem::new(6, true, 5).unwrap();
    let rollout = problem.mdp.sample(&softmax(&problem.behaviour), 5, 40, 9).unwrap();
    let critic = array![1.7, -0.6];
    for (lambda, tau, gamma_weighted) in [(0.3, 0.6, true), (0.8, 1.0, false), (1.0, 0.0, true)] {
        let estimator = LoadedDice { lambda, tau };
        let estimator: Box<dyn Estimator> =
            if gamma_weighted { Box::new(estimator) } else { Box::new(unweighted(estimator)) };
        let found = per_trajectory(&*estimator, 0, &problem, &rollout, &critic, true);
        let log_ratio = softmax(&problem.logits).ln() - softmax(&problem.behaviour).ln();
        for n in 0..40 {
            let path = Path { rollout: &rollout, n, critic: &critic };
            let advantages: Vec<f64> =
                (0..path.length()).map(|t| path.sum_of_differences(t, tau, usize::MAX)).collect();
            let mut value = path.value(0) + advantages[0];
            let mut sum = 0.0;
            for (t, advantage) in advantages.iter().enumerate() {
                let log_ratio = log_ratio[[path.state(t), rollout.action_numbers()[[n, t]] as usize]];
                sum = lambda * sum + log_ratio;
                let weight = if gamma_weighted { GAMMA.powi(t as i32) } else { 1.0 };
                value += weight * advantage * (sum.exp() - (sum - log_ratio).exp());
            }
            approx::assert_relative_eq!(found[[n]], value, max_relative = 1e-12);
        }
    }
}

#[test]
fn lvc_on_the_ratio_to_the_old_policy_is_lvc_where_the_policy_is_the_old_one() {
    let problem = Problem::new(2, true, 5).unwrap();
    let rollout = problem.mdp.sample(&softmax(&problem.logits), 5, 40, 7).unwrap();
    let old = Problem { behaviour: problem.logits.clone(), ..Problem::new(2, true, 5).unwrap() };
    for order in 0..=3 {
        let of =
            |off_policy| per_trajectory(&TayPo { order: 1 }, order, &old, &rollout, &array![1.7, -0.6], off_policy);
        assert_equal(&of(true), &of(false));
    }
}

#[test]
fn an_estimator_is_named_for_what_it_leaves_out() {
    let name = |lambda, tau| LoadedDice { lambda, tau }.facts().name;
    assert_eq!(name(1.0, 1.0), "loaded");
    assert_eq!(name(0.9, 1.0), "loaded_lambda");
    assert_eq!(name(1.0, 0.0), "loaded_tau");
    assert_eq!(unweighted(LoadedDice { lambda: 0.0, tau: 0.0 }).facts().name, "loaded_lambda_tau_undiscounted");
}

// Advantages, beside loops over each trajectory.

/// One trajectory of a rollout, and a critic.
struct Path<'a> {
    rollout: &'a Rollout,
    n: usize,
    critic: &'a Array1<f64>,
}

impl Path<'_> {
    fn length(&self) -> usize {
        self.rollout.lengths()[self.n]
    }

    fn state(&self, t: usize) -> usize {
        self.rollout.states()[[self.n, t]] as usize
    }

    fn value(&self, t: usize) -> f64 {
        let ended = t == self.length() && self.rollout.terminated()[self.n];
        if ended { 0.0 } else { self.critic[self.state(t)] }
    }

    /// Σ_{l<steps} (γ·decay)^l δ_{t+l}, up to the end.
    fn sum_of_differences(&self, t: usize, decay: f64, steps: usize) -> f64 {
        (t..self.length())
            .take(steps)
            .map(|k| {
                let difference = self.rollout.rewards()[[self.n, k]] + GAMMA * self.value(k + 1) - self.value(k);
                (GAMMA * decay).powi((k - t) as i32) * difference
            })
            .sum()
    }
}

fn advantages(of: impl Fn(&Batch) -> Var, by_loop: impl Fn(&Path<'_>, usize) -> f64) {
    let problem = Problem::new(7, true, 6).unwrap();
    let rollout = problem.mdp.sample(&softmax(&problem.logits), 6, 50, 3).unwrap();
    let critic = array![1.7, -0.6];
    assert!(rollout.terminated().contains(&false) && rollout.lengths().contains(&2));
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let values = tape.constant(&critic).gather([episodes.states()]);
    let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), GAMMA).with_critic(values);
    let found = of(&batch).value();
    for n in 0..50 {
        let path = Path { rollout: &rollout, n, critic: &critic };
        for t in 0..6 {
            let expected = if t < path.length() { by_loop(&path, t) } else { 0.0 };
            approx::assert_abs_diff_eq!(found[[n, t]], expected, epsilon = 1e-13);
        }
    }
}

#[test]
fn monte_carlo_advantages_are_the_discounted_rewards_to_go_less_the_critic() {
    advantages(Batch::advantages, |path, t| {
        let length = path.length();
        let rewards = (t..length).map(|k| GAMMA.powi((k - t) as i32) * path.rollout.rewards()[[path.n, k]]);
        rewards.sum::<f64>() + GAMMA.powi((length - t) as i32) * path.value(length) - path.value(t)
    });
}

#[test]
fn gae_is_the_decaying_sum_of_temporal_differences() {
    for lambda in [0.0, 0.35, 1.0] {
        advantages(|batch| batch.gae(lambda), |path, t| path.sum_of_differences(t, lambda, usize::MAX));
    }
}

#[test]
fn n_step_advantages_look_n_steps_ahead_or_to_the_end() {
    for n in [1, 2, 4, 6, 100] {
        advantages(
            |batch| batch.n_step_advantages(n),
            |path, t| {
                let last = (t + n).min(path.length());
                let rewards = (t..last).map(|k| GAMMA.powi((k - t) as i32) * path.rollout.rewards()[[path.n, k]]);
                rewards.sum::<f64>() + GAMMA.powi((last - t) as i32) * path.value(last) - path.value(t)
            },
        );
    }
}

/// A batch of trajectories with these rewards, in one state.
fn with_rewards(rewards: Array2<f64>, gamma: f64, f: impl FnOnce(&Batch) -> Var) -> ArrayD<f64> {
    let (count, horizon) = rewards.dim();
    let (states, actions) = (Array2::<i32>::zeros((count, horizon + 1)), Array2::<i32>::zeros((count, horizon)));
    let rollout = Rollout::new(states, actions, rewards, vec![horizon; count], vec![true; count]).unwrap();
    let tape = Tape::new();
    let episodes = rollout.record(&tape);
    f(&Batch::new(episodes, Table::log_prob_of(tape.constant(array![[0.0, 0.0]]), &episodes), gamma)).value()
}

#[test]
fn what_is_large_and_far_ahead_takes_nothing_from_what_is_near() {
    let rewards = array![[1.0, 0.0, 0.0, 1e17, 2.0, 0.0, 4.0]];
    for (n, expected) in [
        (1, [1.0, 0.0, 0.0, 1e17, 2.0, 0.0, 4.0]),
        (2, [1.0, 0.0, 1e17, 1e17, 2.0, 4.0, 4.0]),
        (3, [1.0, 1e17, 1e17, 1e17, 6.0, 4.0, 4.0]),
        (5, [1e17, 1e17, 1e17, 1e17, 6.0, 4.0, 4.0]),
    ] {
        let found = with_rewards(rewards.clone(), 1.0, |batch| batch.n_step_advantages(n));
        assert_eq!(found, ndarray::arr2(&[expected]).into_dyn(), "n = {n}");
    }
    // γ = 0 looks at one reward, whatever n is.
    assert_eq!(with_rewards(rewards.clone(), 0.0, |batch| batch.n_step_advantages(5)), rewards.into_dyn());
}

#[test]
fn the_mean_of_the_others_is_not_lost_beside_ones_own() {
    // r W + (1 − W) r̄ is r̄ where W is 0: of what the policy never does.
    let mean_of_others = |rewards: Array2<f64>| {
        with_rewards(rewards, 1.0, |batch| {
            let zero = batch.log_prob() * 0.0;
            DiceLeaveOneOut.formula(&Batch::new(batch.steps, zero - 1e9, 1.0).off_policy(zero))
        })
    };
    assert_eq!(mean_of_others(array![[1e17], [1.0], [3.0]]), array![2.0, 0.5e17, 0.5e17].into_dyn());
    assert_eq!(mean_of_others(array![[5.0], [1e17], [3.0], [1.0]])[1], 3.0);
    assert_eq!(mean_of_others(array![[1.0], [1e17]]), array![1e17, 1.0].into_dyn());
}

#[test]
#[should_panic(expected = "n must be at least 1")]
fn looking_no_step_ahead_is_no_advantage() {
    advantages(|batch| batch.n_step_advantages(0), |_, _| 0.0);
}

#[test]
#[should_panic(expected = "gae: λ is 1.5")]
fn gae_beyond_one_is_refused() {
    advantages(|batch| batch.gae(1.5), |_, _| 0.0);
}

// Helpers.

/// V(s), of a policy's logits.
fn values(problem: &Problem, logits: &Array2<f64>, horizon: &Horizon) -> Array1<f64> {
    let from = |state: usize| {
        let mdp = problem.mdp.clone().with_start(Array1::from_shape_fn(2, |s| f64::from(s == state))).unwrap();
        derivatives(&mdp, logits, GAMMA, horizon, 0).unwrap()[0].sum()
    };
    array![from(0), from(1)]
}

/// The k-th derivative of each trajectory's surrogate.
fn per_trajectory(
    estimator: &dyn Estimator,
    order: usize,
    problem: &Problem,
    rollout: &Rollout,
    critic: &Array1<f64>,
    off_policy: bool,
) -> ArrayD<f64> {
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let values = tape.constant(critic).gather([episodes.states()]);
    let mut batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), GAMMA).with_critic(values);
    if off_policy {
        batch = batch.off_policy(episodes.look_up(tape.constant(&problem.behaviour).log_softmax()));
    }
    allow_biased(estimator).per_trajectory(&batch).derivative(theta, order).value()
}
