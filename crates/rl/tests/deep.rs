//! The forms that deep algorithms write surrogates in, by enumeration: what changes in each, and that it is the derivative of no
//! value where it claims none.

use ad::DType;
use ndarray::{Array2, array};
use rl::batch::{Batch, Form};
use rl::objective::{
    Claim, Deep, DoublyRobust, Estimator, ImportanceSampling, LoadedDice, Orders, ScoreFunction, TayPo, allow_biased,
    deep,
};
use rl::rollout::Rollout;
use rl::truth::{Report, Setting, check_estimator, check_unbiased, max_abs};
use study::exact::Problem;

/// The orders of derivative that an estimator claims on policy, up to the third.
fn claimed(claim: Claim) -> Vec<usize> {
    (0..=3).filter(|&order| claim.contains(order, false)).collect()
}

fn inner() -> [Box<dyn Estimator>; 5] {
    [
        Box::new(ScoreFunction),
        Box::new(TayPo { order: 1 }),
        Box::new(TayPo { order: 2 }),
        Box::new(ImportanceSampling),
        Box::new(LoadedDice::UNBIASED),
    ]
}

fn report(estimator: &dyn Estimator, form: Form, setting: &Setting) -> Report {
    check_estimator(&Deep { estimator, form, over_steps: false }, setting, 3).unwrap()
}

#[test]
fn every_form_claims_nothing_and_names_what_it_changes() {
    let listed = deep();
    assert_eq!(listed.len(), 20);
    for estimator in &listed {
        assert_eq!(estimator.facts().claim, Claim::NONE, "{}", estimator.facts().name);
    }
    let names: Vec<String> = listed.iter().map(|estimator| estimator.facts().name).collect();
    assert_eq!(names[0], "ad_undiscounted");
    assert_eq!(names[5], "lvc_normalised");
    assert_eq!(names[19], "is_undiscounted_normalised_gae_over_steps");
    // With nothing changed it is the estimator itself.
    let same = Deep { estimator: TayPo { order: 2 }, form: Form::VALUE, over_steps: false };
    assert_eq!(same.facts(), TayPo { order: 2 }.facts());
    assert_eq!(same.facts().claim.on_policy, Orders::UpTo(2));
}

#[test]
fn without_the_weights_of_the_discount_it_is_biased_unless_there_is_no_discount() {
    let form = Form { discounted: false, ..Form::VALUE };
    let problem = Problem::new(1, true, 3).unwrap();
    for estimator in inner() {
        for order in claimed(estimator.facts().claim).into_iter().filter(|&order| order > 0) {
            let of = |gamma| report(&*estimator, form, &problem.setting(gamma, false, false).unwrap());
            let (plain, discounted) = (of(1.0), of(0.9));
            assert!(plain.is_unbiased(order), "{}: {plain}", estimator.facts().name);
            assert!(discounted.orders[order].relative_bias() > 1e-5, "{}: {discounted}", estimator.facts().name);
        }
    }
}

#[test]
fn the_mean_over_steps_is_that_over_trajectories_by_their_length_if_all_are_of_one() {
    for (early_end, holds) in [(false, true), (true, false)] {
        let problem = Problem::new(2, early_end, 2).unwrap();
        let setting = problem.setting(0.9, false, false).unwrap();
        for estimator in inner() {
            let facts = estimator.facts();
            let over_steps = Deep { estimator: &*estimator, form: Form::VALUE, over_steps: true };
            // By twos, because lengths are compared; times the length that all have, if they have.
            let surrogate = |batch: &Batch| allow_biased(&over_steps).surrogate(batch) * 2.0;
            let setting = setting.clone().ending(facts.end);
            let report = check_unbiased(surrogate, &setting, 2, 2).unwrap();
            for order in claimed(facts.claim).into_iter().filter(|&order| order <= 2 && (order > 0 || holds)) {
                assert_eq!(report.is_unbiased(order), holds, "{}: {report}", facts.name);
            }
        }
    }
}

#[test]
fn what_is_normalised_by_its_own_batch_is_biased_and_has_mean_0_and_deviation_1() {
    let problem = Problem::new(3, true, 2).unwrap();
    let form = Form { normalised: true, ..Form::VALUE };
    for estimator in &inner()[..4] {
        let report = report(&**estimator, form, &problem.setting(0.9, false, false).unwrap());
        assert!(report.orders[1].relative_bias() > 1e-2, "{}: {report}", estimator.facts().name);
    }
    // The credits of sampled trajectories, by hand.
    let rollout = problem.mdp.sample(&rl::policy::softmax(&problem.logits), 6, 30, 1).unwrap();
    let tape = ad::Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let batch = Batch::new(episodes, rl::policy::Table::log_prob_of(theta, &episodes), 0.9);
    let (plain, credit) = (batch.advantages().value(), batch.in_form(form).credit(batch.advantages()).value());
    let taken: Vec<f64> = rollout.taken().iter().copied().collect();
    let count: f64 = taken.iter().sum();
    assert!(count < 180.0, "some end early");
    let mean = plain.iter().zip(&taken).map(|(x, taken)| x * taken).sum::<f64>() / count;
    let variance = plain.iter().zip(&taken).map(|(x, taken)| taken * (x - mean).powi(2)).sum::<f64>() / count;
    for ((x, credit), taken) in plain.iter().zip(&credit).zip(&taken) {
        let expected = taken * (x - mean) / (variance.sqrt() + 1e-8);
        assert!((credit - expected).abs() < 1e-13, "{credit}, not {expected}");
    }
    // All equal: nothing is credited, and nothing is NaN.
    let equal = batch.in_form(form).credit(batch.advantages().full_like(3.0)).value();
    assert!(equal.iter().all(|&x| x == 0.0));
}

#[test]
fn advantages_that_believe_the_critic_are_right_if_it_is() {
    let form = Form { lambda: 0.5, ..Form::VALUE };
    let problem = Problem::new(4, false, 3).unwrap();
    for estimator in &inner()[..3] {
        let wrong = report(&**estimator, form, &problem.setting(0.9, false, false).unwrap());
        assert!(wrong.orders[1].relative_bias() > 1e-3, "{}: {wrong}", estimator.facts().name);
    }
    // λ = 0 at a horizon of one step is λ = 1.
    let problem = Problem::new(4, true, 1).unwrap();
    let setting = problem.setting(0.9, false, false).unwrap();
    let one = report(&TayPo { order: 1 }, Form { lambda: 0.0, ..Form::VALUE }, &setting);
    assert!(one.is_unbiased(1), "{one}");
    let exact = check_estimator(&DoublyRobust, &setting, 1).unwrap();
    assert!(max_abs(&(&one.orders[1].expectation - &exact.orders[1].truth)) < 1e-13);
}

#[test]
#[should_panic(expected = "in_form: λ is 1.5, but must lie in [0, 1]")]
fn a_decay_beyond_1_is_refused() {
    let tape = ad::Tape::new();
    let rewards = tape.input("rewards", array![[1.0, 2.0]]);
    let batch = Batch::new(rl::rollout::Steps::full(rewards), rewards, 0.9);
    let _ = batch.in_form(Form { lambda: 1.5, ..Form::VALUE });
}

#[test]
fn equal_credits_are_normalised_to_0_whatever_their_mean_is_rounded_to() {
    // Whether the sum of n equal numbers, divided by n, is that number depends on n.
    for (trajectories, reward) in [(3, 0.1), (3, 1e9 + 0.3), (13, 100.1), (41, 1e9 + 0.3)] {
        for dtype in [DType::F64, DType::F32] {
            let rollout = Rollout::new(
                Array2::<i32>::zeros((trajectories, 3)),
                Array2::<i32>::zeros((trajectories, 2)),
                Array2::from_elem((trajectories, 2), reward),
                vec![2; trajectories],
                vec![false; trajectories],
            );
            let tape = ad::Tape::new();
            let episodes = rollout.unwrap().record_as(&tape, dtype);
            let log_prob = episodes.steps.rewards.full_like(-0.7);
            let form = Form { normalised: true, ..Form::VALUE };
            let batch = Batch::new(episodes, log_prob, 0.9).in_form(form);
            let credit = batch.credit(batch.rewards());
            assert!(
                credit.cast(DType::F64).value().iter().all(|&x| x == 0.0),
                "{trajectories} times {reward}, {dtype}"
            );
            // x/(|x| + 10⁻⁸) of x = r − (the mean of r): 10⁸ (1 − 1/n) by its own r, −10⁸/n by others.
            let gradient = credit.at(0, 1).at(0, 1).grad(episodes.steps.rewards).cast(DType::F64).value();
            let n = 2.0 * trajectories as f64;
            for ((i, t), expected) in [((1, 1), 1e8 * (1.0 - 1.0 / n)), ((0, 0), -1e8 / n), ((2, 1), -1e8 / n)] {
                let found = gradient[[i, t]];
                assert!(
                    (found / expected - 1.0).abs() < 1e-5,
                    "{trajectories} times {reward}, {dtype}: {found}, {expected}"
                );
            }
        }
    }
}
