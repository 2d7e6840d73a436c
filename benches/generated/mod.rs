//! Inputs of the workloads, of any size.

use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use study::workloads::{Result, Source};

const STATES: usize = 20;
const ACTIONS: usize = 5;

/// W1 … W3 and W6: N episodes of H steps (and of H + 1 states, if the last one's value counts too).
pub struct Episodes {
    pub n: usize,
    pub h: usize,
    pub last_state: bool,
}

impl Source for Episodes {
    fn real(&self, name: &str) -> Result<ArrayD<f64>> {
        let shape: &[usize] = match name {
            "logits" | "v" | "log_mu" => &[STATES, ACTIONS],
            "critic" => &[STATES],
            "x_1000" | "v_1000" => &[1000],
            _ => &[self.n, self.h],
        };
        Ok(reals(name, shape))
    }

    fn index(&self, name: &str) -> Result<ArrayD<i32>> {
        Ok(match name {
            "states" => indices(name, &[self.n, self.h + usize::from(self.last_state)], STATES),
            _ => indices(name, &[self.n, self.h], ACTIONS),
        })
    }
}

/// W5: five tasks of 50 rows, and a network of 16 units.
pub struct SmallMaml;

impl Source for SmallMaml {
    fn real(&self, name: &str) -> Result<ArrayD<f64>> {
        let shape: &[usize] = match name.trim_start_matches("v_") {
            "w1" => &[2, 16],
            "w2" => &[16, 16],
            "w3" => &[16, 2],
            "b1" | "b2" => &[16],
            "b3" | "log_std" => &[2],
            data if data.starts_with("advantages") => &[5, 50],
            _ => &[5, 50, 2],
        };
        Ok(reals(name, shape))
    }

    fn index(&self, name: &str) -> Result<ArrayD<i32>> {
        unreachable!("W5 has no integers, not `{name}` either")
    }
}

/// A generator of its own for each name.
fn generator(name: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(name.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte)))
}

fn reals(name: &str, shape: &[usize]) -> ArrayD<f64> {
    let mut rng = generator(name);
    ArrayD::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

fn indices(name: &str, shape: &[usize], below: usize) -> ArrayD<i32> {
    let mut rng = generator(name);
    ArrayD::from_shape_simple_fn(shape, || rng.random_range(0..below as i32))
}
