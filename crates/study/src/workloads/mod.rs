//! The workloads W1 … W8: objectives of reinforcement learning and their derivatives, each a formula and its program.
//!
//! The example `workloads` compares and times them, `tests/golden.rs` checks them, and the benches measure them. Each is
//! recorded from the arrays of a [`Source`] (a folder of `.npy` files, or generated) by a [`Recorder`] as a list of
//! [`Task`]s: a compiled program, the arrays it runs on, and the names of what it computes.

use std::path::PathBuf;

use ad::DType;

pub mod arrays;
pub mod elementwise;
pub mod exact;
pub mod gaussian;
pub mod lola;
mod recorder;
pub mod tabular;

pub use arrays::{Folder, Source};
pub use recorder::{Recorder, Task};

/// Why a workload could not be recorded, run or compared.
#[derive(Debug)]
pub enum Error {
    /// A file that is not there.
    Absent(PathBuf),
    /// A file that cannot be read, or whose contents do not fit the other files'.
    Unusable(String),
    /// A program that refused to run.
    Run(ad::Error),
}

/// A result or why there is none.
pub type Result<T> = std::result::Result<T, Error>;

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Absent(path) => write!(f, "{} does not exist", path.display()),
            Error::Unusable(problem) => f.write_str(problem),
            Error::Run(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<ad::Error> for Error {
    fn from(problem: ad::Error) -> Self {
        Error::Run(problem)
    }
}

/// Records one objective and compiles its quantities' programs.
pub type Part = fn(&Recorder<'_>) -> Result<Vec<Task>>;

/// The files of W6's largest vectors, inputs and outputs. A small data set may leave them out, all of them.
pub const LARGEST: [&str; 5] = ["x_100000", "v_100000", "expsin100000_value", "expsin100000_grad", "expsin100000_hvp"];

/// The workloads by name.
pub const WORKLOADS: [(&str, &[Part]); 8] = [
    ("W1", &[|x| Ok(tabular::dice(x)?.tasks(x, ""))]),
    ("W2", &[|x| Ok(tabular::lvc(x)?.tasks(x, "lvc_")), |x| Ok(tabular::ad(x)?.tasks(x, "ad_"))]),
    ("W3", &[|x| Ok(tabular::doubly_robust(x)?.tasks(x, "dr_")), |x| Ok(tabular::taypo2(x)?.tasks(x, "taypo2_"))]),
    ("W4", &[gaussian::policy_gradient, gaussian::kl_divergence]),
    ("W5", &[|x| gaussian::maml(x, 1), |x| gaussian::maml(x, 3)]),
    (
        "W6",
        &[
            |x| elementwise::exp_sin(x, 10),
            |x| elementwise::exp_sin(x, 1000),
            |x| elementwise::exp_sin(x, 100_000),
            elementwise::rosenbrock,
            elementwise::rosenbrock_hessian,
        ],
    ),
    ("W7", &[lola::inner, lola::meta]),
    ("W8", &[exact::value, exact::meta]),
];

/// The largest relative error that counts as right: third derivatives and linear systems lose some digits.
pub fn bound(workload: &str, quantity: &str, precision: DType) -> f64 {
    match precision {
        DType::F32 => 1e-4,
        _ if workload == "W8" || quantity == "k1_hvp" => 1e-7,
        _ => 1e-9,
    }
}
