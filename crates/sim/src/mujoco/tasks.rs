//! The papers' benchmarks, each a distribution over tasks.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::bodies::Body;
use super::locomotion::{Aim, Locomotion};
use super::simulation::Scales;

/// The distribution over tasks of the benchmark with this name in [`BENCHMARKS`](crate::benchmarks::BENCHMARKS), if there is one.
pub fn named(name: &str) -> Option<fn(&mut ChaCha8Rng) -> Locomotion> {
    Some(match name {
        "half-cheetah-direction" => |rng| Locomotion::new(Body::HalfCheetah, sign(rng)),
        "half-cheetah-velocity" => |rng| Locomotion::new(Body::HalfCheetah, velocity(0.0, 3.0, rng)),
        "ant-direction" => |rng| Locomotion::new(Body::Ant, sign(rng)),
        "ant-direction-2d" => |rng| Locomotion::new(Body::Ant, direction(rng)),
        "ant-goal" => |rng| Locomotion::new(Body::Ant, goal(rng)),
        "walker2d-direction" => |rng| Locomotion::new(Body::Walker2d, sign(rng)),
        "walker2d-velocity" => |rng| Locomotion::new(Body::Walker2d, velocity(0.0, 10.0, rng)),
        "walker2d-parameters" => |rng| parameters(Body::Walker2d, rng),
        "hopper-parameters" => |rng| parameters(Body::Hopper, rng),
        "swimmer-velocity" => |rng| Locomotion::new(Body::Swimmer, velocity(0.1, 0.2, rng)),
        "humanoid-direction" => |rng| Locomotion::new(Body::Humanoid, sign(rng)),
        "humanoid-direction-2d" => |rng| Locomotion::new(Body::Humanoid, direction(rng)),
        _ => return None,
    })
}

fn sign(rng: &mut ChaCha8Rng) -> Aim {
    Aim::Direction([if rng.random() { 1.0 } else { -1.0 }, 0.0])
}

fn velocity(least: f64, most: f64, rng: &mut ChaCha8Rng) -> Aim {
    Aim::Velocity(rng.random_range(least..most))
}

/// Uniform on the circle.
fn direction(rng: &mut ChaCha8Rng) -> Aim {
    let [x, y]: [f64; 2] = [(); 2].map(|()| StandardNormal.sample(rng));
    let length = x.hypot(y);
    Aim::Direction([x / length, y / length])
}

/// Uniform in the disc of radius 3.
fn goal(rng: &mut ChaCha8Rng) -> Aim {
    let (angle, distance) = (TAU * rng.random::<f64>(), 3.0 * rng.random::<f64>().sqrt());
    Aim::Goal([distance * angle.cos(), distance * angle.sin()])
}

fn parameters(body: Body, rng: &mut ChaCha8Rng) -> Locomotion {
    Locomotion::scaled(body, Aim::Forward, Scales::random(body, rng)).expect("factors of this body, all positive")
}
