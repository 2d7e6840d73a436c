//! The papers' benchmarks by name, each a distribution over tasks.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::bodies::Body;
use super::locomotion::{Aim, Locomotion};
use super::simulation::Scales;

/// A distribution over tasks.
#[derive(Clone, Copy, Debug)]
pub struct Benchmark {
    /// What it is called.
    pub name: &'static str,
    /// What it is, and where it comes from.
    pub paper: &'static str,
    /// H, as the papers have it.
    pub horizon: usize,
    /// Draws a task.
    pub draw: fn(&mut ChaCha8Rng) -> Locomotion,
}

const fn benchmark(
    name: &'static str,
    paper: &'static str,
    horizon: usize,
    draw: fn(&mut ChaCha8Rng) -> Locomotion,
) -> Benchmark {
    Benchmark { name, paper, horizon, draw }
}

/// All of them.
pub const BENCHMARKS: &[Benchmark] = &[
    benchmark(
        "half-cheetah-direction",
        "a half-cheetah that runs forwards or backwards (Finn et al. 2017)",
        100,
        |rng| Locomotion::new(Body::HalfCheetah, sign(rng)),
    ),
    benchmark(
        "half-cheetah-velocity",
        "a half-cheetah that runs at a velocity from 0 to 3 (Finn et al. 2017)",
        100,
        |rng| Locomotion::new(Body::HalfCheetah, Aim::Velocity(rng.random_range(0.0..3.0))),
    ),
    benchmark("ant-direction", "an ant that walks along x, forwards or backwards (Finn et al. 2017)", 200, |rng| {
        Locomotion::new(Body::Ant, sign(rng))
    }),
    benchmark("ant-direction-2d", "an ant that walks in a direction of the plane (Rothfuss et al. 2019)", 200, |rng| {
        Locomotion::new(Body::Ant, direction(rng))
    }),
    benchmark("ant-goal", "an ant that walks to a goal, at most 3 away (Rothfuss et al. 2019)", 200, |rng| {
        let (angle, distance) = (TAU * rng.random::<f64>(), 3.0 * rng.random::<f64>().sqrt());
        Locomotion::new(Body::Ant, Aim::Goal([distance * angle.cos(), distance * angle.sin()]))
    }),
    benchmark("walker2d-direction", "a walker that walks forwards or backwards (Rothfuss et al. 2019)", 200, |rng| {
        Locomotion::new(Body::Walker2d, sign(rng))
    }),
    benchmark(
        "walker2d-velocity",
        "a walker that walks at a velocity from 0 to 10 (Rothfuss et al. 2019)",
        200,
        |rng| Locomotion::new(Body::Walker2d, Aim::Velocity(rng.random_range(0.0..10.0))),
    ),
    benchmark(
        "walker2d-parameters",
        "a walker with masses, inertias, friction and damping of its own (Rothfuss et al. 2019)",
        200,
        |rng| parameters(Body::Walker2d, rng),
    ),
    benchmark(
        "hopper-parameters",
        "a hopper with masses, inertias, friction and damping of its own (Rothfuss et al. 2019)",
        200,
        |rng| parameters(Body::Hopper, rng),
    ),
    benchmark(
        "swimmer-velocity",
        "a swimmer that is paid for another velocity than one from 0.1 to 0.2 (the sign of the code of Rothfuss et al. 2019)",
        200,
        |rng| Locomotion::new(Body::Swimmer, Aim::Velocity(rng.random_range(0.1..0.2))),
    ),
    benchmark(
        "humanoid-direction",
        "a humanoid that walks along x, forwards or backwards (Rothfuss et al. 2019)",
        200,
        |rng| Locomotion::new(Body::Humanoid, sign(rng)),
    ),
    benchmark(
        "humanoid-direction-2d",
        "a humanoid that walks in a direction of the plane (Rothfuss et al. 2019)",
        200,
        |rng| Locomotion::new(Body::Humanoid, direction(rng)),
    ),
];

/// The version of MuJoCo's library, which decides over bits.
pub fn version() -> &'static str {
    mujoco_rs::mujoco_version()
}

fn sign(rng: &mut ChaCha8Rng) -> Aim {
    Aim::Direction([if rng.random() { 1.0 } else { -1.0 }, 0.0])
}

fn direction(rng: &mut ChaCha8Rng) -> Aim {
    let [x, y]: [f64; 2] = [(); 2].map(|()| StandardNormal.sample(rng));
    let length = x.hypot(y);
    Aim::Direction([x / length, y / length])
}

fn parameters(body: Body, rng: &mut ChaCha8Rng) -> Locomotion {
    Locomotion::scaled(body, Aim::Forward, Scales::random(body, rng)).expect("factors of this body, all positive")
}
