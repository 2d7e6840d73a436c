//! Bandits, and random tables.

use ndarray::array;
use rl::env::{Action, Bandit, Environment, Slot, Step, TabularMdp, Walk};
use rl::error::Error;
use rl::rollout::Space;
use rl::stream::stream;

use super::assert_mean;

#[test]
fn an_arm_pays_as_often_as_it_should_and_is_pulled_once() {
    let mut bandit = Bandit::new(array![0.0, 0.3, 1.0]).unwrap();
    assert_eq!(bandit.spaces(), [Space::Discrete(1), Space::Discrete(3)]);
    let rng = &mut stream(0, 0);
    let mut pull = |arm| {
        let mut seen = [7];
        bandit.reset(rng, Slot::I32(&mut seen)).unwrap();
        assert_eq!(seen, [0]);
        let Step { reward, terminated, truncated } =
            bandit.step(Action::Number(arm), rng, Slot::I32(&mut seen)).unwrap();
        assert!(terminated && !truncated && seen == [0] && [0.0, 1.0].contains(&reward));
        reward
    };
    assert!((0..1000).all(|_| pull(0) == 0.0 && pull(2) == 1.0));
    assert_mean(&Vec::from_iter((0..4000).map(|_| pull(1))), 0.3);
    // p is uniform in (0, 1).
    let tasks = (0..1000).flat_map(|i| Bandit::random(5, &mut stream(1, i)).unwrap().probabilities().to_vec());
    let numbers = Vec::from_iter(tasks);
    assert_eq!(numbers.len(), 5000);
    assert_mean(&numbers, 0.5);
    assert_mean(&Vec::from_iter(numbers.iter().map(|p| p * p)), 1.0 / 3.0);
    let message = Bandit::new(array![0.5, -0.1]).unwrap_err().to_string();
    assert_eq!(message, "the probability of arm 1 = -0.1 is not a probability; it must lie in [0, 1]");
    assert!(matches!(Bandit::new(array![f64::NAN]), Err(Error::Probability { .. })));
    assert!(matches!(Bandit::random(0, &mut stream(0, 0)), Err(Error::Empty { what: "arms" })));
}

#[test]
fn random_tables_have_normal_rewards_and_uniform_rows() {
    let tasks = Vec::from_iter((0..200).map(|i| Walk::random(10, 5, &mut stream(2, i)).unwrap()));
    assert_eq!(tasks[0].spaces(), [Space::Discrete(10), Space::Discrete(5)]);
    // 10 000 means ~ N(1, 1).
    let means = Vec::from_iter(tasks.iter().flat_map(|task| task.mdp().reward().iter().copied()));
    assert_mean(&means, 1.0);
    assert_mean(&Vec::from_iter(means.iter().map(|r| (r - 1.0).powi(2))), 1.0);
    assert_mean(&Vec::from_iter(means.iter().map(|r| (r - 1.0).powi(4))), 3.0);
    // Of a row that is uniform on the simplex of S = 10: E p² = 2/(S (S + 1)). One entry of each row, for they are not independent.
    let entries = tasks.iter().flat_map(|task| task.mdp().transition().rows().into_iter().map(|row| row[3]));
    let entries = Vec::from_iter(entries);
    assert_mean(&entries, 0.1);
    assert_mean(&Vec::from_iter(entries.iter().map(|p| p * p)), 2.0 / 110.0);
    assert!(tasks.iter().all(|task| task.mdp().start()[0] == 1.0 && task.mdp().termination().sum() == 0.0));
    assert!(matches!(Walk::random(0, 5, &mut stream(0, 0)), Err(Error::Empty { what: "states" })));
}

#[test]
fn noise_is_added_to_rewards_and_changes_nothing_else() {
    // In each state two actions, which both lead to the other state.
    let mdp =
        TabularMdp::new(array![[[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]], array![[1.0, 2.0], [-1.0, 0.5]])
            .unwrap();
    let mut walk = mdp.walk().with_noise(0.7).unwrap();
    let rng = &mut stream(3, 0);
    let mut seen = [0];
    walk.reset(rng, Slot::I32(&mut seen)).unwrap();
    let mut noise = Vec::new();
    for t in 0..10_000 {
        let (state, action) = (seen[0] as usize, t / 2 % 2);
        let step = walk.step(Action::Number(action), rng, Slot::I32(&mut seen)).unwrap();
        noise.push(step.reward - mdp.reward()[[state, action]]);
        assert!(seen[0] as usize == 1 - state && !step.terminated && !step.truncated);
    }
    assert_mean(&noise, 0.0);
    assert_mean(&Vec::from_iter(noise.iter().map(|x| x * x)), 0.49);
    assert_mean(&Vec::from_iter(noise.windows(2).map(|pair| pair[0] * pair[1])), 0.0);
    let message = mdp.walk().with_noise(-1.0).unwrap_err().to_string();
    assert_eq!(message, "a standard deviation is -1, but must be finite and not negative");
    assert!(matches!(mdp.walk().with_noise(f64::INFINITY), Err(Error::Deviation(_))));
}
