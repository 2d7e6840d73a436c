//! Where the operating system has no more threads to give, one does all, with the same bits: sampling, enumeration, reports.

use std::process::Command;

use ndarray::Array2;
use rl::env::TabularMdp;
use rl::objective::all;
use rl::report::{EstimatorReport, Plan};
use rl::stream::stream;
use rl::truth::{Setting, check_unbiased};

/// Results of all that is done in parallel, to the bit.
fn results() -> String {
    let mdp = TabularMdp::random(3, 2, 1.0, &mut stream(0, 0)).unwrap();
    let setting = Setting::new(&mdp, &Array2::zeros((3, 2)), 4, 0.9);
    let rollout = mdp.sample(&Array2::from_elem((3, 2), 0.5), 30, 50, 7).unwrap();
    let unbiased = check_unbiased(|batch| all()[0].surrogate(batch), &setting, 1, 1).unwrap();
    let plan = Plan { samples: vec![8], repeats: 10, ..Plan::default() };
    let report = EstimatorReport::new(&setting, &all(), &plan).unwrap();
    format!("{:?} {unbiased:?} {report:?}", rollout.rewards().sum()).replace('\n', " ")
}

#[test]
fn where_no_threads_are_to_be_had_one_does_all_with_the_same_bits() {
    if std::env::var_os("THREADS_TEST_CHILD").is_some() {
        assert!(std::thread::Builder::new().spawn(|| ()).is_err());
        return println!("result:{}", results());
    }
    // Stacks larger than the address space.
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "where_no_threads_are_to_be_had_one_does_all_with_the_same_bits",
            "--nocapture",
            "--test-threads=1",
        ])
        .envs([("THREADS_TEST_CHILD", "1"), ("RAYON_NUM_THREADS", "4"), ("RUST_MIN_STACK", "1152921504606846976")])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{out}\n{err}");
    let result = out.lines().find_map(|line| line.split_once("result:")).expect("a result").1;
    assert_eq!(result, results());
}
