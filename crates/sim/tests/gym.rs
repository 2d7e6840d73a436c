//! Environments of Gymnasium, in a process of Python: what they do, and what becomes of those that misbehave.
//!
//! Needs Python with `gymnasium==1.4.0`, and is therefore built only with the feature `python-tests`; then it fails without.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ad::{DType, Value};
use ndarray::{ArrayD, Axis};
use rl::env::{Action, Actor, CartPole, Environment, Slot, Tasks};
use rl::error::Error as DataError;
use rl::policy::{Activation::Tanh, Network, Numbers, Policy};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;
use sim::gym::{Error, Gym, PYTHON, Setup};

/// The environment of this id, as Python has it that is to be tested with, and which finds `probe`.
fn setup(id: &str) -> Setup {
    static CHECKED: OnceLock<Result<(), String>> = OnceLock::new();
    let checked = CHECKED.get_or_init(|| {
        let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
        let text = "import gymnasium; assert gymnasium.__version__ == '1.4.0', gymnasium.__version__";
        match Command::new(&python).args(["-c", text]).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{python}: {}", String::from_utf8_lossy(&output.stderr))),
            Err(cause) => Err(format!("{python}: {cause}")),
        }
    });
    if let Err(why) = checked {
        panic!(
            "these tests need Python with gymnasium 1.4.0: python3 -m venv venv && venv/bin/pip install gymnasium==1.4.0 && \
             export GYM_PYTHON=$PWD/venv/bin/python\n{why}"
        );
    }
    Gym::of(id).variable("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python"))
}

fn started(id: &str) -> Gym {
    setup(id).start().unwrap_or_else(|error| panic!("{error}"))
}

/// Why it cannot be started.
fn refused(setup: Setup) -> Error {
    match setup.start() {
        Ok(gym) => panic!("{gym:?} is started"),
        Err(error) => error,
    }
}

/// A policy for these spaces, with a hidden layer; its parameters are a function of the spaces.
fn actor(spaces: &[Space; 2]) -> (Actor, Numbers) {
    let network = Network::new(&spaces[0]).dense(8, Tanh);
    let policy: Box<dyn Policy> = match &spaces[1] {
        Space::Discrete(actions) => Box::new(network.categorical(*actions)),
        vectors => Box::new(network.normal(vectors.size())),
    };
    let theta = policy.init(&mut stream(1, 0));
    (Actor::new(&*policy, &theta, spaces, DType::F32).unwrap(), theta)
}

fn sample(gym: &Gym, horizon: usize, trajectories: usize, seed: u64) -> rl::error::Result<Rollout> {
    let (actor, theta) = actor(&gym.spaces());
    gym.sample(&mut stream(0, 0), &actor, &theta, horizon, trajectories, seed)
}

/// What went wrong, in which trajectory and step.
fn failed(gym: &Gym, trajectories: usize) -> (usize, usize, String) {
    match sample(gym, 20, trajectories, 0) {
        Err(DataError::Step { trajectory, step, what }) => (trajectory, step, what),
        other => panic!("{other:?}"),
    }
}

fn floats(value: &Value<'_>) -> ArrayD<f64> {
    match value.dtype() {
        DType::F64 => value.array::<f64>().unwrap().to_owned(),
        DType::F32 => value.array::<f32>().unwrap().mapv(f64::from),
        DType::I32 => value.array::<i32>().unwrap().mapv(f64::from),
        DType::U8 => value.array::<u8>().unwrap().mapv(f64::from),
    }
}

#[test]
fn the_spaces_are_those_of_gymnasium() {
    let of = |id| started(id).spaces();
    let array = |shape: &[usize], dtype| Space::Array { shape: shape.to_vec(), dtype };
    assert_eq!(of("CartPole-v1"), CartPole::new().spaces());
    assert_eq!(of("Pendulum-v1"), [array(&[3], DType::F32), Space::vector(1)]);
    assert_eq!(of("probe:Bytes-v0"), [array(&[2, 3], DType::U8), Space::Discrete(3)]);
    assert_eq!(of("probe:Numbers-v0"), [Space::Discrete(4), Space::Discrete(2)]);
    assert_eq!(of("probe:Doubles-v0"), [array(&[4], DType::F64), Space::Discrete(2)]);
}

#[test]
fn cart_pole_is_the_one_of_this_workspace() {
    const TRAJECTORIES: usize = 30;
    let (seen, whole) = (started("CartPole-v1"), started("probe:Doubles-v0"));
    let (seen, whole) = (sample(&seen, 600, TRAJECTORIES, 3).unwrap(), sample(&whole, 600, TRAJECTORIES, 3).unwrap());
    assert_eq!(seen.lengths(), whole.lengths());
    assert_eq!(seen.action_numbers(), whole.action_numbers(), "the same is drawn from what is seen");
    let (seen_floats, states) = (floats(seen.observations()), floats(whole.observations()));
    let mut steps = 0;
    for (row, &length) in seen.lengths().iter().enumerate() {
        let start = std::array::from_fn(|i| states[[row, 0, i]]);
        assert!(start.iter().all(|x: &f64| x.abs() < 0.05 && *x != f64::from(*x as f32)), "{start:?}");
        let mut ours = CartPole::at(start, 0);
        for t in 0..length {
            let action = seen.action_numbers()[[row, t]] as usize;
            let mut observation = [0.0_f32; 4];
            let step = ours.step(Action::Number(action), &mut stream(0, 0), Slot::F32(&mut observation)).unwrap();
            for i in 0..4 {
                let difference = states[[row, t + 1, i]] - ours.state()[i];
                assert!(difference.abs() <= 1e-13, "trajectory {row}, step {t}: {difference}");
                assert_eq!(seen_floats[[row, t + 1, i]], f64::from(states[[row, t + 1, i]] as f32));
            }
            assert_eq!(seen.rewards()[[row, t]], step.reward);
            assert_eq!(step.terminated, t + 1 == length, "trajectory {row}, step {t}");
            steps += 1;
        }
        assert!(seen.terminated()[row]);
    }
    assert!(steps > 200, "{steps}");
}

#[test]
fn a_limit_of_time_truncates_and_a_horizon_does_too() {
    let gym = started("probe:Short-v0");
    let rollout = sample(&gym, 20, 25, 0).unwrap();
    // (Nothing falls within seven steps.)
    assert_eq!(rollout.lengths(), [7; 25]);
    assert_eq!(rollout.terminated(), [false; 25]);
    assert_eq!(sample(&gym, 5, 25, 0).unwrap().lengths(), [5; 25]);
    let ends = sample(&started("probe:Numbers-v0"), 20, 25, 0).unwrap();
    assert_eq!(ends.lengths(), [3; 25]);
    assert_eq!(ends.terminated(), [true; 25]);
    assert_eq!(ends.states().row(24).iter().take(4).copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_trajectory_is_a_function_of_seed_and_number() {
    for id in ["CartPole-v1", "MountainCarContinuous-v0", "probe:Bytes-v0"] {
        let gym = started(id);
        let within = |threads: usize, trajectories| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sample(&gym, 40, trajectories, 7).unwrap())
        };
        let many = within(2, 61);
        assert!(same(&within(1, 61), &many), "{id}: one thread and two");
        assert!(same(&within(2, 61), &many), "{id}: with processes that were used before");
        for few in [1, 20, 33] {
            let first = many.select(&Vec::from_iter(0..few));
            assert!(same(&within(2, few), &first), "{id}: the first {few} of 61");
        }
        assert!(!same(&sample(&gym, 40, 61, 8).unwrap(), &many), "{id}: another seed");
        let (one, other) = (many.select(&[3]), many.select(&[43]));
        assert!(!same(&one, &other), "{id}: trajectories differ");
    }
}

/// Whether all that was seen, done and earned has the same bits.
fn same(a: &Rollout, b: &Rollout) -> bool {
    let bits = |value: &Value<'_>| floats(value).mapv(f64::to_bits);
    bits(a.observations()) == bits(b.observations())
        && bits(a.actions()) == bits(b.actions())
        && a.rewards().mapv(f64::to_bits) == b.rewards().mapv(f64::to_bits)
        && (a.lengths(), a.terminated(), a.goes_on()) == (b.lengths(), b.terminated(), b.goes_on())
}

#[test]
fn vectors_are_brought_within_their_bounds() {
    let rollout = sample(&started("probe:Echo-v0"), 20, 40, 0).unwrap();
    assert_eq!(rollout.lengths(), [4; 40]);
    let (drawn, seen) = (floats(rollout.actions()), floats(rollout.observations()));
    let mut beyond = 0;
    for row in 0..40 {
        for t in 0..4 {
            let [a, b] = [drawn[[row, t, 0]], drawn[[row, t, 1]]];
            beyond += usize::from(a.abs() > 1.0) + usize::from(b < 0.0);
            let within = [a.clamp(-1.0, 1.0), b.max(0.0)].map(|x| f64::from(x as f32));
            assert_eq!([seen[[row, t + 1, 0]], seen[[row, t + 1, 1]]], within);
        }
    }
    assert!(beyond > 50, "{beyond} were beyond");
}

#[test]
fn a_pendulum_is_paid_by_its_formula() {
    let rollout = sample(&started("Pendulum-v1"), 300, 3, 0).unwrap();
    assert_eq!((rollout.lengths(), rollout.terminated()), (&[200; 3][..], &[false; 3][..]));
    let (drawn, seen) = (floats(rollout.actions()), floats(rollout.observations()));
    for row in 0..3 {
        for t in 0..200 {
            let [cos, sin, spin] = [0, 1, 2].map(|i| seen[[row, t, i]]);
            let torque = drawn[[row, t, 0]].clamp(-2.0, 2.0);
            let cost = sin.atan2(cos).powi(2) + 0.1 * spin * spin + 0.001 * torque * torque;
            let reward = rollout.rewards()[[row, t]];
            assert!((reward + cost).abs() < 1e-4 * (1.0 + cost), "trajectory {row}, step {t}: {reward}, not {}", -cost);
        }
    }
}

#[test]
fn bytes_arrive_as_they_are_and_actions_with_their_start() {
    let rollout = sample(&started("probe:Bytes-v0"), 20, 30, 0).unwrap();
    assert_eq!(rollout.lengths(), [6; 30]);
    let seen = rollout.observations().array::<u8>().unwrap();
    assert_eq!(seen.shape(), [30, 21, 2, 3]);
    let (mut drawn, mut done) = (Vec::new(), Vec::new());
    for row in 0..30 {
        drawn.push(seen[[row, 0, 1, 0]]);
        for t in 0..6 {
            let action = rollout.action_numbers()[[row, t]] as u8;
            done.push(action);
            let after = seen.index_axis(Axis(0), row);
            let after = after.index_axis(Axis(0), t + 1);
            assert_eq!(
                after.iter().copied().collect::<Vec<_>>(),
                [t as u8 + 1, action + 5, 255, drawn[row], 0, 1],
                "trajectory {row}, step {t}"
            );
            assert_eq!(rollout.rewards()[[row, t]], (t + 1) as f64 / 4.0);
        }
    }
    assert!([0, 1, 2].iter().all(|action| done.contains(action)));
    drawn.sort();
    drawn.dedup();
    assert!(drawn.len() > 20, "each begins with a seed of its own: {drawn:?}");
}

#[test]
fn versions_are_of_what_decides() {
    let versions = started("probe:Bytes-v0").versions();
    let of = |name: &str| versions.iter().find(|(of, _)| of == name).map(|(_, version)| &**version);
    assert_eq!((of("gymnasium"), of("probe")), (Some("1.4.0"), Some("0.7")));
    assert!(of("numpy").is_some() && of("python").is_some_and(|version| version.starts_with("3.")), "{versions:?}");
    assert_eq!(of("ale_py"), None);
    let sentence = started("CartPole-v1").not_saved().unwrap();
    assert!(sentence.contains("gym:CartPole-v1") && sentence.contains("no checkpoint"), "{sentence}");
}

#[test]
fn an_exception_is_told_with_the_row_and_the_line_and_the_next_sampling_is_well() {
    let gym = started("probe:Raises-v0");
    for _ in 0..2 {
        let (trajectory, step, what) = failed(&gym, 5);
        assert_eq!((trajectory, step), (0, 2));
        assert!(
            what.contains("gym:probe:Raises-v0: ValueError: the joint broke (") && what.contains("probe.py, line ")
        );
    }
    let (_, step, what) = failed(&started("probe:Leaves-v0"), 5);
    assert!(step == 2 && what.contains("SystemExit: enough"), "{what}");
    let (_, step, what) = failed(&started("probe:Shape-v0"), 5);
    assert!(step == 2 && what.contains("an observation has shape (2,), but the space says (1,)"), "{what}");
    let (_, step, what) = failed(&started("probe:Type-v0"), 5);
    assert!(step == 2 && what.contains("is of type complex128, but the space says float32"), "{what}");
    // What is short enough is well, in the process that is started anew.
    assert_eq!(sample(&gym, 2, 45, 0).unwrap().lengths(), [2; 45]);
}

#[test]
fn numbers_that_are_none_are_told() {
    let (trajectory, step, what) = failed(&started("probe:Nan-v0"), 5);
    assert_eq!((trajectory, step), (0, 2));
    assert!(what.contains("reward") && what.contains("NaN"), "{what}");
    let (trajectory, _, what) = failed(&started("probe:Unseen-v0"), 5);
    assert!(trajectory == 0 && what.contains("NaN"), "{what}");
}

#[test]
fn what_is_printed_does_no_harm() {
    let rollout = sample(&started("probe:Prints-v0"), 20, 45, 0).unwrap();
    assert_eq!(rollout.lengths(), [5; 45]);
    assert_eq!(rollout.rewards().sum(), 5.0 * 45.0);
}

#[test]
fn a_process_that_ends_is_an_error_with_its_status_and_last_words() {
    let gym = started("probe:Exits-v0");
    let (_, step, what) = failed(&gym, 5);
    assert_eq!(step, 2);
    assert!(
        what.contains("gym:probe:Exits-v0: its process ended (exit status: 3); its last lines:\nline 10\n"),
        "{what}"
    );
    assert!(what.ends_with("line 29"), "{what}");
    assert_eq!(sample(&gym, 2, 45, 0).unwrap().lengths(), [2; 45], "another one is started");
    // One that leaves another process behind, which holds on to what it had.
    let begin = Instant::now();
    let (_, _, what) = failed(&started("probe:Orphans-v0"), 5);
    assert!(what.contains("its process ended (") && begin.elapsed() < Duration::from_secs(20), "{what}");
}

#[test]
fn a_process_that_hangs_is_an_error_after_its_time() {
    let gym = setup("probe:Sleeps-v0").within(Duration::from_secs(60), Duration::from_secs(1)).start().unwrap();
    let begin = Instant::now();
    let (_, step, what) = failed(&gym, 5);
    assert_eq!(step, 2);
    assert!(what.contains("no answer within 1s to the command to make a step"), "{what}");
    assert!(what.contains("; its last lines:\n") && what.ends_with("\nfalls asleep"), "{what}");
    let waited = begin.elapsed();
    assert!((1..30).contains(&waited.as_secs()), "{waited:?}");
    let error = refused(setup("CartPole-v1").within(Duration::from_millis(1), Duration::from_secs(1)));
    assert!(matches!(error, Error::Silent { command: "start", .. }), "{error}");
}

/// The processes of the system whose command line has this word; nothing where that cannot be told.
fn processes(word: &str) -> Option<usize> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    Some(lines.filter(|line| String::from_utf8_lossy(line).contains(word)).count())
}

#[test]
fn no_process_and_no_file_is_left() {
    // An environment that no other test has: what is counted is this test's.
    let gym = started("MountainCar-v0");
    sample(&gym, 5, 45, 0).unwrap();
    let Some(running) = processes("MountainCar-v0") else { return };
    assert!((1..=3).contains(&running), "{running}");
    drop(gym);
    assert_eq!(processes("MountainCar-v0"), Some(0));
    // A file has a name for a moment; those of other tests, which start processes just now, too.
    let of_ours = format!("environments-{}-", std::process::id());
    let is_ours = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&of_ours);
    let any = || std::fs::read_dir("/dev/shm").into_iter().flatten().flatten().any(|entry| is_ours(&entry));
    let begin = Instant::now();
    while any() {
        assert!(begin.elapsed() < Duration::from_secs(30), "a file is left in /dev/shm");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_what_can() {
    let unsupported = |id| match refused(setup(id)) {
        Error::Unsupported { what, .. } => what,
        other => panic!("{other}"),
    };
    let what = unsupported("probe:Int64-v0");
    assert_eq!(what, "observations are of type int64, but only float32, float64 and uint8 can be used");
    assert!(unsupported("probe:Dict-v0").contains("observations are Dict("));
    assert!(unsupported("probe:Several-v0").contains("actions are MultiDiscrete("));
}

#[test]
fn what_there_is_not_is_told() {
    let raised = |id| match refused(setup(id)) {
        Error::Raised { what, .. } => what,
        other => panic!("{other}"),
    };
    assert!(raised("CartPole-v99").contains("CartPole"), "{}", raised("CartPole-v99"));
    assert!(
        raised("CardPole-v1").contains("NameNotFound: Environment `CardPole` doesn't exist. Did you mean: `CartPole`?")
    );
    assert!(raised("").contains("Malformed environment ID"), "{}", raised(""));
    assert!(raised("no_such_module:Some-v0").contains("No module named 'no_such_module'"));
    assert!(raised("probe:Made-v0").contains("RuntimeError: no display"));
}

#[test]
fn a_module_that_is_missing_is_named_with_its_package() {
    // Without any packages.
    let interpreter = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
    let bare = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/bare");
    let error = refused(setup("CartPole-v1").python(bare).variable("INTERPRETER", interpreter));
    assert!(matches!(&error, Error::Module { module, .. } if module == "gymnasium"), "{error}");
    let text = error.to_string();
    assert!(text.contains("-m pip install gymnasium==1.4.0") && text.contains("GYM_PYTHON"), "{text}");
    let without = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/without_ale");
    let error = refused(setup("ALE/Pong-v5").variable("PYTHONPATH", without));
    assert!(error.to_string().contains("-m pip install ale-py==0.12.1"), "{error}");
}
