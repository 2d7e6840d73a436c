//! The truth, for problems small enough: exact values and their derivatives, and estimators' exact expectations by
//! enumeration of every trajectory, or by quadrature; and the papers' theorems beside them ([`bounds`]).

mod additive;
pub mod bounds;
mod enumeration;
mod quadrature;
mod sampled_update;
mod terms;
mod tuples;
mod value;
mod verdict;
mod world;

pub use additive::check_additive;
pub use enumeration::{Behaviour, Critic, Setting, check_estimator, check_unbiased};
pub use sampled_update::SampledUpdate;
pub(crate) use terms::derivative_or_zero;
pub use value::derivatives;
pub use verdict::{OrderReport, ROUNDING, Report, max_abs};
