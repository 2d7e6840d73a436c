//! The truth, for problems small enough: exact values and their derivatives, and estimators' exact expectations by
//! enumeration of every trajectory.

mod additive;
mod enumeration;
mod sampled_update;
mod tuples;
mod value;

pub use additive::check_additive;
pub(crate) use enumeration::derivative_or_zero;
pub use enumeration::{OrderReport, Report, Setting, check_estimator, check_unbiased};
pub use sampled_update::SampledUpdate;
pub(crate) use value::check_discount;
pub use value::{Horizon, Process, derivatives};
