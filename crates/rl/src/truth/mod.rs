//! The truth, for problems small enough: exact values and their derivatives, and estimators' exact expectations by
//! enumeration of every trajectory.

mod enumeration;
mod value;

pub use enumeration::{OrderReport, Report, Setting, check_estimator, check_unbiased};
pub use value::{Horizon, Process, derivatives};

pub(crate) use value::check_discount;
