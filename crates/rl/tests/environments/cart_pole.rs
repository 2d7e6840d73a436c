//! CartPole against trajectories of Gymnasium's (`tests/data/cart_pole`).

use std::path::Path;

use ndarray::{ArrayD, s};
use rl::env::{Action, CartPole, Environment, Slot};
use rl::rollout::npy::Source;
use rl::stream::stream;

use super::{assert_mean, refused};

struct Stored {
    states: ArrayD<f64>,
    observations: ArrayD<f64>,
    actions: ArrayD<i64>,
    rewards: ArrayD<f64>,
    lengths: ArrayD<i64>,
    terminated: ArrayD<bool>,
    truncated: ArrayD<bool>,
}

fn stored() -> Stored {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cart_pole/trajectories.npz");
    let mut source = Source::open(path).unwrap();
    let mut read = |name: &str| source.read(name).unwrap();
    Stored {
        states: read("states").into_f64().unwrap(),
        observations: read("observations").into_f64().unwrap(),
        actions: read("actions").into_i64().unwrap(),
        rewards: read("rewards").into_f64().unwrap(),
        lengths: read("lengths").into_i64().unwrap(),
        terminated: read("terminated").into_bool().unwrap(),
        truncated: read("truncated").into_bool().unwrap(),
    }
}

/// Fails unless numbers differ by no more than `tolerance` of their size (1 for what is smaller).
#[track_caller]
fn assert_close(found: &[f64; 4], expected: &[f64], tolerance: f64, place: &str) {
    for (x, y) in found.iter().zip(expected) {
        assert!((x - y).abs() <= tolerance * y.abs().max(1.0), "{place}: {found:?}, not {expected:?}");
    }
}

#[test]
fn cart_pole_is_gymnasiums() {
    let stored = stored();
    let count = stored.lengths.len();
    assert_eq!(count, 9);
    let mut seen = [0.0_f32; 4];
    for n in 0..count {
        let state = |t: usize| stored.states.slice(s![n, t, ..]).to_vec();
        let mut whole = CartPole::at(state(0).try_into().unwrap(), 0);
        let length = stored.lengths[n] as usize;
        for t in 0..length {
            let place = format!("trajectory {n}, step {t}");
            let action = Action::Number(stored.actions[[n, t]] as usize);
            let ended = (t + 1 == length && stored.terminated[n], t + 1 == length && stored.truncated[n]);
            // One step from the stored state: to the last bit, but for what one machine's sines differ by from those of another.
            let mut one = CartPole::at(state(t).try_into().unwrap(), t as u32);
            let step = one.step(action, &mut stream(0, 0), Slot::F32(&mut seen)).unwrap();
            assert_close(&one.state(), &state(t + 1), 1e-15, &place);
            assert_eq!(seen.map(f64::from).to_vec(), stored.observations.slice(s![n, t + 1, ..]).to_vec(), "{place}");
            assert_eq!(step.reward, stored.rewards[[n, t]], "{place}");
            assert_eq!((step.terminated, step.truncated), ended, "{place}");
            // And all along from the begin.
            let step = whole.step(action, &mut stream(0, 0), Slot::F32(&mut seen)).unwrap();
            assert_close(&whole.state(), &state(t + 1), 1e-13, &place);
            assert_eq!((step.terminated, step.truncated), ended, "{place}");
        }
    }
    // Both sides of both thresholds, and the limit of time, are among them.
    let last = |n: usize, i: usize| stored.states[[n, stored.lengths[n] as usize, i]];
    let steepest = 12.0_f64.to_radians();
    assert!(last(0, 2) > steepest && last(1, 2) < -steepest && last(2, 0) > 2.4 && last(3, 0) < -2.4);
    assert!((6..9).all(|n| stored.lengths[n] == 500 && stored.truncated[n] && !stored.terminated[n]));
}

#[test]
fn it_ends_beyond_its_thresholds_and_not_at_them() {
    let after = |state, steps| {
        let step =
            CartPole::at(state, steps).step(Action::Number(1), &mut stream(0, 0), Slot::F32(&mut [0.0; 4])).unwrap();
        assert_eq!(step.reward, 1.0);
        (step.terminated, step.truncated)
    };
    let steepest = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
    for sign in [1.0, -1.0] {
        // At rest, place and angle stay what they are for one step.
        assert_eq!(after([sign * 2.4, 0.0, 0.0, 0.0], 0), (false, false));
        assert_eq!(after([sign * 2.4_f64.next_up(), 0.0, 0.0, 0.0], 0), (true, false));
        assert_eq!(after([0.0, 0.0, sign * steepest, 0.0], 0), (false, false));
        assert_eq!(after([0.0, 0.0, sign * steepest.next_up(), 0.0], 0), (true, false));
    }
    assert_eq!(after([0.0; 4], 498), (false, false));
    assert_eq!(after([0.0; 4], 499), (false, true));
    assert_eq!(after([2.5, 0.0, 0.0, 0.0], 499), (true, true));
}

#[test]
fn it_begins_near_upright() {
    let mut numbers = Vec::new();
    for i in 0..1000 {
        let (mut cart, mut seen) = (CartPole::at([9.0; 4], 499), [0.0_f32; 4]);
        cart.reset(&mut stream(6, i), Slot::F32(&mut seen)).unwrap();
        assert_eq!(seen, cart.state().map(|x| x as f32));
        numbers.extend(cart.state());
        // The steps are counted anew.
        assert!(!cart.step(Action::Number(0), &mut stream(0, 0), Slot::F32(&mut seen)).unwrap().truncated);
    }
    assert!(numbers.iter().all(|x| x.abs() <= 0.05));
    assert_mean(&numbers, 0.0);
    assert_mean(&Vec::from_iter(numbers.iter().map(|x| x * x)), 0.05 * 0.05 / 3.0);
    let third = || CartPole::new().step(Action::Number(2), &mut stream(0, 0), Slot::F32(&mut [0.0; 4]));
    assert_eq!(refused(third), "CartPole: an action is 0 or 1, not 2");
}
