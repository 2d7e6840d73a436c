//! What surrounds a process and its threads: environment variables, threads that cannot be had, and threads that end. Each test
//! runs itself in a process of its own, where `AD_TEST_CHILD` is set.

use std::cell::RefCell;
use std::process::{Command, Output};

use ad::{Program, Tape, Var, values};
use ndarray::{Array2, arr1};

fn is_child() -> bool {
    std::env::var_os("AD_TEST_CHILD").is_some()
}

/// Runs a test of this file in a process of its own.
fn child(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env("AD_TEST_CHILD", "1").env_remove("AD_LOWERING").env_remove("RAYON_NUM_THREADS");
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The words behind `result:` in what a child printed.
#[track_caller]
fn result(child: &Output) -> String {
    let (out, err) = (text(&child.stdout), text(&child.stderr));
    assert!(child.status.success(), "{}\n{out}\n{err}", child.status);
    let line = out.lines().find_map(|line| line.split_once("result:"));
    line.unwrap_or_else(|| panic!("no result in {out}\n{err}")).1.to_owned()
}

#[test]
fn lowering_is_turned_off_by_a_variable_in_any_case_and_by_no_other_word() {
    if is_child() {
        let tape = Tape::new();
        let x = tape.input("x", arr1(&[1.0, 2.0]));
        let operations = tape.compile([x], [x.magic_box() * x]).cost().operations;
        return println!("result:{operations}");
    }
    let name = "lowering_is_turned_off_by_a_variable_in_any_case_and_by_no_other_word";
    // x·□(x) is two operations, and lowered none.
    for (value, operations) in [("off", "2"), ("Off", "2"), ("OFF", "2"), ("on", "0"), ("On", "0"), ("", "0")] {
        assert_eq!(result(&child(name, &[("AD_LOWERING", value)])), operations, "AD_LOWERING={value}");
    }
    assert_eq!(result(&child(name, &[])), "0");
    for value in ["0", "false", "no", "off "] {
        let refused = child(name, &[("AD_LOWERING", value)]);
        assert!(!refused.status.success());
        let message = text(&refused.stderr);
        for words in [&format!("AD_LOWERING is `{value}`"), "`on` or `off`", "tests/process.rs:"] {
            assert!(message.contains(words), "`{words}` is not in: {message}");
        }
    }
}

/// A program with regions that are shared among threads, and its inputs.
fn large() -> (Program, Array2<f64>, Array2<f64>) {
    let tape = Tape::new();
    let x = Array2::from_shape_fn((5000, 20), |(i, j)| ((i * 20 + j) as f64).sin());
    let w = Array2::from_shape_fn((20, 8), |(i, j)| ((i * 8 + j) as f64).cos());
    let (data, weights) = (tape.input("x", &x), tape.input("w", &w));
    let loss = data.matmul(weights).tanh().square().sum();
    (tape.compile([data, weights], [loss, loss.grad(weights)]), x, w)
}

#[test]
fn where_no_threads_are_to_be_had_one_does_all_with_the_same_bits() {
    let bits = || {
        let (program, x, w) = large();
        let results = program.run(&values![x, w]).unwrap();
        format!("{:?}", results.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>())
    };
    if is_child() {
        // The stacks that are asked for are larger than the address space.
        assert!(std::thread::Builder::new().spawn(|| ()).is_err());
        let first = bits();
        assert_eq!(first, bits());
        return println!("result:{first}");
    }
    let name = "where_no_threads_are_to_be_had_one_does_all_with_the_same_bits";
    let stack = (1_usize << 60).to_string();
    let alone = child(name, &[("RUST_MIN_STACK", &stack), ("RAYON_NUM_THREADS", "4")]);
    assert_eq!(result(&alone), bits());
}

#[test]
fn some_threads_that_have_none_to_help_each_do_all() {
    if is_child() {
        let run = || {
            let (program, x, w) = large();
            program.run(&values![x, w]).unwrap()[0].sum().to_bits()
        };
        // These have small stacks, and are to be had; those of the pool are not.
        let others: Vec<_> =
            (0..3).map(|_| std::thread::Builder::new().stack_size(1 << 21).spawn(run).unwrap()).collect();
        let results: Vec<u64> = others.into_iter().map(|other| other.join().unwrap()).collect();
        assert_eq!(results, [run(); 3]);
        return println!("result:{}", results[0]);
    }
    let name = "some_threads_that_have_none_to_help_each_do_all";
    let stack = (1_usize << 60).to_string();
    let none = child(name, &[("RUST_MIN_STACK", &stack), ("RAYON_NUM_THREADS", "4")]);
    assert_eq!(result(&none), result(&child(name, &[("RAYON_NUM_THREADS", "4")])));
}

/// A tape that is kept in a thread-local, and used once more when that is dropped.
struct Kept(Tape, Var);

impl Drop for Kept {
    fn drop(&mut self) {
        let (tape, x) = (&self.0, self.1);
        let loss = x.matmul(x).sum();
        let program = tape.compile([x], [loss.grad(x)]);
        let gradient = program.run(&values![arr1(&[3.0, 4.0])]).unwrap();
        println!("result:{} {}", loss.item(), gradient[0]);
    }
}

#[test]
fn a_tape_in_a_thread_local_can_be_used_while_its_thread_is_ending() {
    thread_local!(static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) });
    if is_child() {
        let used = std::thread::spawn(|| {
            // The first to be registered is the last to be dropped.
            KEPT.set(None);
            let tape = Tape::new();
            let x = tape.input("x", arr1(&[1.0, 2.0]));
            assert_eq!(x.matmul(x).item(), 5.0);
            KEPT.set(Some(Kept(tape, x)));
        });
        return used.join().unwrap();
    }
    let name = "a_tape_in_a_thread_local_can_be_used_while_its_thread_is_ending";
    assert_eq!(result(&child(name, &[])), "5 [6, 8]");
}
