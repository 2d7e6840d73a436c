//! Environments against numbers from their definitions, and how they are sampled in.

use rl::env::{Action, Environment, Slot, Step};
use rl::stream::stream;
use serde::de::DeserializeOwned;

mod cart_pole;
#[path = "../common/mod.rs"]
mod common;
mod linear_quadratic;
mod points;
mod sampling;
mod saved;
mod tables;
mod together;

/// An environment in a state that is written as it is saved.
fn in_state<E: DeserializeOwned>(saved: &serde_json::Value) -> E {
    E::deserialize(saved).unwrap_or_else(|error| panic!("{saved}: {error}"))
}

/// One step by a vector: what is seen, and the rest.
fn step(environment: &mut impl Environment, action: &[f64]) -> (Vec<f64>, Step) {
    let mut seen = vec![0.0; environment.spaces()[0].size()];
    let step = environment.step(Action::Vector(action), &mut stream(0, 0), Slot::F64(&mut seen)).unwrap();
    (seen, step)
}

/// Fails unless they are equal within 1e-14.
#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    let near = found.len() == expected.len() && found.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-14);
    assert!(near, "{found:?}, not {expected:?}");
}

/// Fails unless the mean of these numbers is what it should be, within five standard errors.
#[track_caller]
fn assert_mean(numbers: &[f64], expected: f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let error = (variance / count).sqrt();
    assert!((mean - expected).abs() < 5.0 * error, "{mean}, not {expected}: the standard error is {error}");
}

/// The message of a panic.
fn refused<T>(f: impl FnOnce() -> T) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    let payload = caught.err().expect("it is refused");
    payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|&x| x.into())).unwrap()
}
