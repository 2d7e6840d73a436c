//! Training in MuJoCo: runs that are killed and resumed, and what stands in a checkpoint. Needs the feature `mujoco`.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use harness::{Place, lasting, names, program, succeeds};
use train::run::checkpoint::Checkpoint;

fn train(out: &Path, more: &[&str]) -> Command {
    let mut command = program("train");
    command.args(["--preset=promp-hopper-parameters", "--tasks=3", "--rollouts=22", "--horizon=40", "--iterations=24"]);
    command.args(["--hidden=8", "--checkpoint-every=5", "--validate-every=10", "--validation-tasks=2"]);
    command.args(more).arg("--out").arg(out);
    command
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bits_at_another_number_of_threads() {
    let right = Place::new();
    let begin = Instant::now();
    succeeds(train(&right.out(), &[]));
    let (whole, right) = (begin.elapsed(), lasting(&right));
    assert_eq!(right.len(), 4, "{}", names(&right));

    let place = Place::new();
    for (number, part) in [0.3, 0.6, 0.8].into_iter().enumerate() {
        let mut command = train(&place.out(), &[]);
        command.args((number > 0).then_some("--resume")).env("RAYON_NUM_THREADS", (number + 1).to_string());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(part));
        let _ = child.kill();
        child.wait().unwrap();
    }
    succeeds(train(&place.out(), &["--resume"]));
    assert!(lasting(&place) == right, "after it was killed");
    let checkpoint = Checkpoint::read(&place.out().join("checkpoint.safetensors")).unwrap();
    assert_eq!(checkpoint.versions, [("mujoco".to_owned(), "3.17.0".to_owned())]);
}
