//! Environments side by side, which make each step together.

use std::sync::Mutex;

use rl::env::{Action, Actor, Failure, Slot, Step, Vectorised};
use rl::error::Error;
use rl::policy::{Numbers, Policy, Table};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;

/// In each row a count from its seed modulo 3, plus what is done; it pays the count, and ends at 7 or more.
struct Counters {
    counts: Vec<u32>,
    actions: Vec<u32>,
    /// (row, count) at which a step fails.
    fails: Option<(usize, u32)>,
}

impl Vectorised for Counters {
    fn reset(&mut self, seeds: &[u32]) -> Result<(), (usize, Failure)> {
        assert!(seeds.len() <= Actor::BLOCK && seeds.iter().all(|&seed| seed < 1 << 31));
        (self.counts, self.actions) = (seeds.iter().map(|seed| seed % 3).collect(), vec![0; seeds.len()]);
        Ok(())
    }
    fn act(&mut self, row: usize, action: Action<'_>) {
        self.actions[row] = action.number() as u32;
    }
    fn step(&mut self, goes_on: &[bool]) -> Result<(), (usize, Failure)> {
        for row in (0..goes_on.len()).filter(|&row| goes_on[row]) {
            self.counts[row] += self.actions[row];
            assert!(self.counts[row] < 9, "a row is stepped that had ended");
            if self.fails.is_some_and(|(failing, at)| row == failing && self.counts[row] >= at) {
                return Err((row, Failure("it broke".to_owned())));
            }
        }
        Ok(())
    }
    fn look(&self, row: usize, observation: Slot<'_>) -> Step {
        let count = self.counts[row];
        observation.put_number(count as usize);
        Step { reward: f64::from(count), terminated: count >= 7, truncated: false }
    }
}

fn spaces() -> [Space; 2] {
    [Space::Discrete(9), Space::Discrete(3)]
}

fn sampled(trajectories: usize, fails: Option<(usize, u32)>) -> Result<Rollout, Error> {
    let policy = Table { states: 9, actions: 3 };
    let theta: Numbers = policy.init(&mut stream(0, 0));
    let actor = Actor::new(&policy, &theta, &spaces(), ad::DType::F64).unwrap();
    // One after another is handed out again, as a pool does.
    let idle = Mutex::new(Vec::new());
    let hand_out = || {
        let used = idle.lock().unwrap().pop();
        Ok(used.unwrap_or_else(|| Counters { counts: Vec::new(), actions: Vec::new(), fails }))
    };
    actor.sample_together(&spaces(), &hand_out, &theta, 12, trajectories, 5)
}

#[test]
fn what_is_seen_done_and_paid_is_written_down_row_by_row() {
    let rollout = sampled(47, None).unwrap();
    let (states, actions) = (rollout.states(), rollout.action_numbers());
    let mut starts = [0; 3];
    for row in 0..47 {
        starts[states[[row, 0]] as usize] += 1;
        let length = rollout.lengths()[row];
        for t in 0..length {
            assert_eq!(states[[row, t + 1]], states[[row, t]] + actions[[row, t]], "row {row}, step {t}");
            assert_eq!(rollout.rewards()[[row, t]], f64::from(states[[row, t + 1]]));
        }
        assert_eq!(rollout.terminated()[row], states[[row, length]] >= 7);
        assert!(length == 12 || rollout.terminated()[row]);
    }
    assert!(starts.iter().all(|&count| count > 5), "seeds of all kinds: {starts:?}");
}

#[test]
fn a_trajectory_is_a_function_of_its_number() {
    let (few, many) = (sampled(23, None).unwrap(), sampled(47, None).unwrap());
    for row in 0..23 {
        assert_eq!(few.states().row(row), many.states().row(row));
        assert_eq!(few.rewards().row(row), many.rewards().row(row));
    }
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| sampled(47, None).unwrap());
    assert_eq!(alone, many);
}

#[test]
fn a_failure_says_which_trajectory_and_step() {
    // Of all blocks' third rows, the first block's fails first; its count is at least 5 in some step.
    let error = sampled(47, Some((2, 5))).unwrap_err();
    let rollout = sampled(47, None).unwrap();
    let step = (0..12).find(|&t| rollout.states()[[2, t + 1]] >= 5).unwrap();
    assert_eq!(error.to_string(), format!("trajectory 2, step {step}: it broke"));
    let policy = Table { states: 9, actions: 3 };
    let theta = policy.init(&mut stream(0, 0));
    let actor = Actor::new(&policy, &theta, &spaces(), ad::DType::F64).unwrap();
    let none = || Err::<Counters, _>(Failure("there is none".to_owned()));
    let error = actor.sample_together(&spaces(), &none, &theta, 12, 3, 5).unwrap_err();
    assert_eq!(error.to_string(), "trajectory 0, step 0: there is none");
}
