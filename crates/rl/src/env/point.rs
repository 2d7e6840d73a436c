//! What points in the plane share: how far an action moves one, the corners there are to go to, and what is paid by distance.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Action;

/// Somewhere in the plane.
pub(super) type Point = [f64; 2];

/// (±2, ±2): where ProMP's points go to.
pub(super) const CORNERS: [Point; 4] = [[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]];

/// How far away a goal is, to who pays for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distance {
    /// |s − g|.
    Plain,
    /// |s − g|².
    Squared,
}

/// What the step from s to s' is paid, with a goal g.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reward {
    /// Something in a part of the plane, and 0 elsewhere; the environment says what and where.
    Sparse,
    /// Minus the distance from s' to g, everywhere.
    Dense(Distance),
}

impl Distance {
    /// From one point to another.
    pub(super) fn between(self, [x, y]: Point, [to_x, to_y]: Point) -> f64 {
        let (dx, dy) = (x - to_x, y - to_y);
        let square = dx * dx + dy * dy;
        match self {
            Distance::Plain => square.sqrt(),
            Distance::Squared => square,
        }
    }
}

impl Reward {
    /// Of arriving in `arrived`, if `sparse` is what is paid sparsely.
    pub(super) fn of(self, arrived: Point, goal: Point, sparse: impl FnOnce() -> f64) -> f64 {
        match self {
            Reward::Sparse => sparse(),
            Reward::Dense(distance) => -distance.between(arrived, goal),
        }
    }
}

/// |p − q|.
pub(super) fn distance(p: Point, q: Point) -> f64 {
    Distance::Plain.between(p, q)
}

/// Where an action moves by, which is `unit` for each unit of its components, and these are clipped to ±`limit`.
///
/// ProMP's environments move by what their action is, clipped to ±u, and its experiments hand them a policy's action times u/10
/// (`normalize(env)`): that is a unit of u/10 and a limit of 10.
#[track_caller]
pub(super) fn displacement(action: Action<'_>, unit: f64, limit: f64) -> Point {
    let action = action.vector();
    let [x, y] = action else { panic!("a point's action has two components, not {}", action.len()) };
    [x, y].map(|component| unit * component.clamp(-limit, limit))
}

/// p + q.
pub(super) fn sum([x, y]: Point, [dx, dy]: Point) -> Point {
    [x + dx, y + dy]
}

/// A point that is uniform in [−`bound`, `bound`]².
pub(super) fn uniform(bound: f64, rng: &mut ChaCha8Rng) -> Point {
    [(); 2].map(|()| rng.random_range(-bound..bound))
}

/// One of the corners, each as likely.
pub(super) fn any_corner(rng: &mut ChaCha8Rng) -> Point {
    CORNERS[rng.random_range(0..CORNERS.len())]
}
