//! The workloads W1 … W8 against reference outputs: every quantity of `tests/golden`, within its bound.

use std::path::Path;

use ad::DType;
use study::workloads::{Error, Folder, Recorder, WORKLOADS, bound};

/// Compares all quantities of a workload, and checks that they are all there.
#[track_caller]
fn agrees(workload: &str, quantities: &[&str]) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let inputs = Folder::open(&data, workload, "in").expect("inputs");
    let outputs = Folder::open(&data, workload, "out").expect("outputs");
    let (_, parts) = WORKLOADS.iter().find(|(name, _)| *name == workload).expect("a workload");
    let mut compared = Vec::new();
    for part in *parts {
        let tasks = match part(&Recorder::new(&inputs)) {
            Err(Error::Absent(_)) => continue,
            tasks => tasks.unwrap_or_else(|problem| panic!("{workload}: {problem}")),
        };
        for task in &tasks {
            for (quantity, error) in task.errors(&outputs).unwrap_or_else(|problem| panic!("{workload}: {problem}")) {
                let bound = bound(workload, quantity, DType::F64);
                assert!(error < bound, "{workload} {quantity}: relative error {error:.2e}, bound {bound:e}");
                compared.push(quantity.to_owned());
            }
        }
    }
    assert_eq!(compared, quantities);
}

#[test]
fn tabular_dice() {
    agrees("W1", &["value", "grad", "hvp", "hessian"]);
}

#[test]
fn tabular_credit() {
    let quantities = ["lvc_value", "lvc_grad", "lvc_hvp", "lvc_hessian", "ad_value", "ad_grad", "ad_hvp", "ad_hessian"];
    agrees("W2", &quantities);
}

#[test]
fn tabular_off_policy() {
    let doubly_robust = ["dr_value", "dr_grad", "dr_hvp", "dr_hessian"];
    let taypo2 = ["taypo2_value", "taypo2_grad", "taypo2_hvp", "taypo2_hessian"];
    agrees("W3", &[doubly_robust, taypo2].concat());
}

#[test]
fn gaussian_policy() {
    agrees("W4", &["value", "grad", "hvp", "kl_hvp"]);
}

#[test]
fn maml() {
    agrees("W5", &["k1_value", "k1_grad", "k1_hvp", "k3_value", "k3_grad"]);
}

#[test]
fn elementwise_functions() {
    let small = ["expsin10_value", "expsin10_grad", "expsin10_hvp"];
    let large = ["expsin1000_value", "expsin1000_grad", "expsin1000_hvp"];
    let rosenbrock = ["rosen1000_value", "rosen1000_grad", "rosen1000_hvp"];
    agrees("W6", &[&small[..], &large, &rosenbrock, &["rosen100_hessian"]].concat());
}

#[test]
fn lola() {
    agrees("W7", &["inner_grad", "adapted", "value", "meta_grad"]);
}

#[test]
fn exact_meta_gradient() {
    agrees("W8", &["value", "grad", "hessian", "meta_value", "meta_grad"]);
}
