//! Locomotion in MuJoCo 3.17: the papers' benchmarks, with the models of Gymnasium's `-v5` environments and the same bits.
//!
//! | [benchmark](crate::benchmarks::BENCHMARKS) | body, frame-skip | drawn for a task | reward of a step |
//! |---|---|---|---|
//! | `half-cheetah-direction` | half-cheetah, 5 | ±1 | d·v − 0.05 ‖a‖² |
//! | `half-cheetah-velocity` | half-cheetah, 5 | v* ~ U(0, 3) | −\|v − v*\| − 0.05 ‖a‖² |
//! | `ant-direction`, `ant-direction-2d` | ant, 5 | ±1 on x, or a direction of the plane | d·v − 0.5 ‖a‖² − 0.0005 ‖c‖² + 1 |
//! | `ant-goal` | ant, 5 | g uniform in the disc of radius 3 | −‖p − g‖₁ − 0.1 ‖a‖² − 0.0005 ‖c‖² |
//! | `walker2d-direction` | walker, 8 | ±1 | d·v + 1 − 0.001 ‖a‖² |
//! | `walker2d-velocity` | walker, 8 | v* ~ U(0, 10) | −\|v − v*\| + 15 − 0.001 ‖a‖² |
//! | `walker2d-parameters`, `hopper-parameters` | 4 | masses, inertias, friction times 1.5^U(−3, 3), damping times 1.3^U(−3, 3) | v + 1 − 0.001 ‖a‖² |
//! | `swimmer-velocity` | swimmer, 4 | v* ~ U(0.1, 0.2) | +\|v − v*\| − 0.0001 ‖a‖² (the sign as in the code) |
//! | `humanoid-direction`, `humanoid-direction-2d` | humanoid, 5 | ±1 on x, or a direction of the plane | 1.25 d·v − 0.1 ‖a‖² − min(5·10⁻⁷ ‖f‖², 10) + 5 |
//!
//! v is the velocity of the torso over the whole step (of the humanoid that of its centre of mass), p where it is, a the controls, f
//! external forces on bodies, c the same between −1 and 1. The policy's action is ten times the control, which is clipped to its
//! range, as the code of ProMP has it. Sources: the code of Rothfuss et al. 2019 and, for random parameters, `rand_param_envs`.
//!
//! A simulation that MuJoCo would begin anew because it diverged is a [`Failure`](rl::env::Failure) here.

mod bodies;
mod locomotion;
mod log;
mod simulation;
mod tasks;

pub use bodies::Body;
pub use locomotion::{Aim, Locomotion};
pub use simulation::{Data, Scales, Simulation};
pub use tasks::named;
