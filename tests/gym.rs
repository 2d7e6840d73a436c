//! Training in environments of Gymnasium, whatever happens to it: runs that are killed and resumed, versions that changed,
//! environments that break.
//!
//! Needs Python with `gymnasium==1.4.0`, and is therefore built only with the feature `python-tests`; then it fails without.
#![cfg(unix)]

mod harness;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Ended, Place, lasting, names, program, succeeds};
use train::run::checkpoint::Checkpoint;

const LAST: &str = "checkpoint.safetensors";

/// The training example, whose Python finds `probe`. (Its own module has a version of its own, which a variable says.)
fn train(out: &Path, options: &[&str]) -> Command {
    let mut command = program("train");
    let probe = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/sim/tests/python");
    command.args(options).arg("--out").arg(out).env("PYTHONPATH", probe).env_remove("PROBE_VERSION");
    command
}

/// A run of a few seconds.
const RUN: [&str; 9] = [
    "--algorithm=maml",
    "--env=gym:CartPole-v1",
    "--tasks=3",
    "--rollouts=25",
    "--horizon=30",
    "--iterations=30",
    "--hidden=8",
    "--checkpoint-every=5",
    "--validate-every=10",
];

/// A shorter one in an environment of the probe.
fn short(env: &str) -> [&str; 9] {
    [
        "--algorithm=ppo",
        env,
        "--tasks=2",
        "--rollouts=3",
        "--horizon=10",
        "--iterations=6",
        "--hidden=8",
        // Of bytes, too.
        "--baseline=linear-time",
        "--checkpoint-every=2",
    ]
}

fn fails(command: Command) -> String {
    let ended = Ended::of(command);
    assert!(ended.is_clean_error(), "{}", ended.errors);
    ended.errors
}

#[test]
fn a_run_that_is_killed_or_interrupted_goes_on_to_the_same_bits() {
    let right = Place::new();
    let begin = Instant::now();
    succeeds(train(&right.out(), &RUN));
    let (whole, right) = (begin.elapsed(), lasting(&right));
    assert_eq!(right.len(), 4, "{}", names(&right));

    let place = Place::new();
    for (number, part) in [0.3, 0.6, 0.8].into_iter().enumerate() {
        let mut command = train(&place.out(), &RUN);
        command.args((number > 0).then_some("--resume"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(part));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let mut command = train(&place.out(), &RUN);
    command.arg("--resume");
    let ended = succeeds(command);
    assert!(ended.errors.contains("gym:CartPole-v1: no checkpoint has what an environment"), "{}", ended.errors);
    assert!(lasting(&place) == right, "after it was killed");

    // Ctrl-C reaches every process of the terminal's group.
    let place = Place::new();
    let mut command = train(&place.out(), &RUN);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let begin = Instant::now();
    while fs::read_to_string(place.out().join("metrics.csv")).map_or(0, |text| text.lines().count()) < 4 {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing is learned");
        std::thread::sleep(Duration::from_millis(1));
    }
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    let ended = Ended::wait(child);
    assert_eq!(ended.status.code(), Some(130), "{}", ended.errors);
    assert!(ended.errors.contains("and saved; to go on: --resume"), "{}", ended.errors);
    succeeds(train(&place.out(), &["--resume"]));
    assert!(lasting(&place) == right, "after Ctrl-C");
}

#[test]
fn a_run_is_not_resumed_with_another_version() {
    let place = Place::new();
    let run = |version: &str, more: &[&str]| {
        let mut command = train(&place.out(), &[&short("--env=gym:probe:Bytes-v0"), more].concat());
        command.env("PROBE_VERSION", version);
        command
    };
    succeeds(run("0.7", &[]));
    let checkpoint = Checkpoint::read(&place.out().join(LAST)).unwrap();
    let of = |name: &str| checkpoint.versions.iter().find(|(of, _)| of == name).map(|(_, version)| &**version);
    assert_eq!((of("gymnasium"), of("probe")), (Some("1.4.0"), Some("0.7")));
    assert!(of("python").is_some() && of("numpy").is_some(), "{:?}", checkpoint.versions);

    let before = place.files();
    let errors = fails(run("0.8", &["--resume"]));
    assert!(errors.contains("probe was 0.7, but is 0.8 here; install those"), "{errors}");
    assert!(errors.contains("--fresh"), "{errors}");
    assert!(place.files() == before, "nothing is changed");
    // An evaluation is made, and says so.
    let mut evaluation = program("train");
    let probe = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/sim/tests/python");
    evaluation.args(["evaluate", "--tasks=2", "--checkpoint"]).arg(place.out().join(LAST));
    evaluation.env("PYTHONPATH", probe).env("PROBE_VERSION", "0.8");
    let ended = succeeds(evaluation);
    assert!(ended.errors.contains("other versions here: probe was 0.7, but is 0.8 here"), "{}", ended.errors);
    // A checkpoint that notes no versions, as those before there were any.
    let first = Checkpoint { versions: Vec::new(), ..checkpoint };
    fs::write(place.out().join(LAST), first.to_bytes()).unwrap();
    succeeds(run("0.8", &["--resume"]));
    succeeds(run("0.9", &["--fresh"]));
    succeeds(run("0.9", &["--resume"]));
}

#[test]
fn a_run_ends_with_an_environment_that_breaks_and_keeps_what_it_has() {
    for (env, words) in [
        ("--env=gym:probe:Raises-v0", "trajectory 0, step 2: gym:probe:Raises-v0: ValueError: the joint broke ("),
        ("--env=gym:probe:Exits-v0", "its process ended (exit status: 3)"),
    ] {
        let place = Place::new();
        let errors = fails(train(&place.out(), &short(env)));
        assert!(errors.contains("error: iteration 0: ") && errors.contains(words), "{errors}");
        assert!(errors.contains("--resume goes on with iteration 0"), "{errors}");
        assert_eq!(Checkpoint::read(&place.out().join(LAST)).unwrap().iteration, 0);
    }
}

/// The processes of the system whose command line has these words; nothing where that cannot be told.
fn processes(words: &str) -> Option<usize> {
    let lines = fs::read_dir("/proc").ok()?.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    Some(lines.filter(|line| String::from_utf8_lossy(line).contains(words)).count())
}

#[test]
fn python_ends_with_a_run_that_is_killed_even_in_a_step_that_takes_forever() {
    // As the server is told of it, and not the program.
    const SERVER: &str = r#""id":"probe:Sleeps-v0""#;
    let place = Place::new();
    let options = short("--env=gym:probe:Sleeps-v0");
    let mut child = train(&place.out(), &options).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while !place.out().join("config.toml").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    // (By now it is in the step that sleeps, or nearly so.)
    std::thread::sleep(Duration::from_secs(2));
    let running = processes(SERVER);
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(running) = running else { return };
    assert!(running > 0, "no process of Python");
    let begin = Instant::now();
    while processes(SERVER) != Some(0) {
        assert!(begin.elapsed() < Duration::from_secs(20), "Python is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_cannot_be_started_is_refused_before_anything_is_written() {
    for (env, words) in [
        ("--env=gym:CardPole-v1", "Did you mean: `CartPole`?"),
        ("--env=gym:probe:Dict-v0", "but only Box and Discrete can be used"),
        ("--env=gym:probe:Made-v0", "RuntimeError: no display"),
    ] {
        let place = Place::new();
        let errors = fails(train(&place.out(), &short(env)));
        assert!(errors.contains(words), "{errors}");
        assert!(!place.out().exists());
    }
}

#[test]
fn vectors_numbers_and_bytes_are_learned_from() {
    for env in ["Pendulum-v1", "MountainCarContinuous-v0", "probe:Numbers-v0", "probe:Bytes-v0"] {
        let place = Place::new();
        succeeds(train(&place.out(), &short(&format!("--env=gym:{env}"))));
        let rows = fs::read_to_string(place.out().join("metrics.csv")).unwrap();
        assert_eq!(rows.lines().count(), 7, "{env}: {rows}");
    }
}
