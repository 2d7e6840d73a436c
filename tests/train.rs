//! What unlucky and hostile users do to training: bad options, configurations and checkpoints, full disks, two runs in one folder,
//! Ctrl-C, and runs that are killed. Whatever happens, it ends with the right files, or with an error in words, and what was
//! learned is still there.
#![cfg(unix)]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::{Case, Ended, Expected, Files, Place, Verdict, elsewhere, judge, names, program, shell, try_all};
use rand::RngExt;
use rl::stream::stream;
use train::run::config::{Config, KEYS};

const LAST: &str = "checkpoint.safetensors";
const PREVIOUS: &str = "checkpoint.previous.safetensors";

fn train(out: &Path, options: &[&str]) -> Command {
    let mut command = program("train");
    command.args(options).arg("--out").arg(out);
    command
}

/// A run of a moment, and one of some seconds at most.
const SHORT: [&str; 7] = [
    "--algorithm=maml",
    "--env=bandit",
    "--rollouts=3",
    "--iterations=20",
    "--tasks=3",
    "--checkpoint-every=6",
    "--validate-every=5",
];
const LONG: [&str; 7] = [
    "--algorithm=maml",
    "--env=bandit",
    "--rollouts=3",
    "--iterations=2000",
    "--tasks=10",
    "--checkpoint-every=20",
    "--validate-every=70",
];

/// What a run has learned and written, without times and what depends on where it was ended.
fn without_times(mut files: Files) -> Files {
    files.retain(|name, _| {
        let is_litter = name.starts_with('.') && name.ends_with(".new");
        !is_litter && ![PREVIOUS, "config.toml", "learning_curve.svg"].contains(&&**name)
    });
    for (name, bytes) in &mut files {
        if name == "metrics.csv" {
            let text = String::from_utf8(std::mem::take(bytes)).unwrap();
            let lines = text.lines().map(|line| line.rsplitn(5, ',').last().unwrap().to_owned() + "\n");
            *bytes = lines.collect::<String>().into_bytes();
        }
        if name.contains("tfevents") {
            *bytes = bytes.len().to_string().into_bytes();
        }
    }
    files
}

/// The files of a run that nothing happens to.
fn unbroken(options: &'static [&'static str]) -> &'static Files {
    static KNOWN: [OnceLock<Files>; 2] = [OnceLock::new(), OnceLock::new()];
    KNOWN[usize::from(options == LONG)].get_or_init(|| {
        let place = Place::new();
        let ended = Ended::of(train(&place.out(), options));
        assert!(ended.status.success(), "{}", ended.errors);
        without_times(place.files())
    })
}

/// It must be refused in these words, and change nothing.
fn refused(
    kind: &'static str,
    what: impl Into<String>,
    words: &'static str,
    command: impl Fn(&Place) -> Command + Send + Sync + 'static,
) -> Case {
    Case::new(kind, what, move |place| {
        let command = command(place);
        let before = place.files();
        let ended = Ended::of(command);
        match judge(&ended, Expected::Refused, &before, &place.files(), &Files::new()) {
            Verdict::Error if !ended.errors.contains(words) => {
                Verdict::Wrong(format!("no `{words}`: {}", ended.words()))
            }
            verdict => verdict,
        }
    })
}

/// Options that must be refused before anything is written.
fn options() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut option = |option: String, words| {
        cases.push(refused("options", option.clone(), words, move |place| {
            let mut command = train(&place.out(), &[]);
            command.args(option.split(' '));
            command
        }));
    };
    for key in KEYS {
        let bad = if key.name() == "hidden" { ["0", "64,", "-1"] } else { ["", "some", "NaN,"] };
        for value in bad {
            // Whatever the type, none of these is one of its values; the message says what is.
            option(format!("--{}={value}", key.name()), "error: ");
        }
    }
    for (bad, words) in [
        ("--gamma=NaN", "must be a number from 0 to 1"),
        ("--gamma -0.5", "must be a number from 0 to 1"),
        ("--inner-rate=inf", "must be a number from 0"),
        ("--tasks=1e999", "must be a whole number from 1"),
        ("--seed=18446744073709551616", "must be a whole number from 0"),
        ("--algorithm=promb", "did you mean `promp`"),
        ("--env=bandits", "did you mean `bandit`"),
        ("--env=CartPole-v1", "did you mean `cartpole`"),
        ("--env=gym:", "there is no environment `gym:`"),
        ("--env=gym:CartPole-v1 --algorithm=naive", "is for one"),
        ("--preset=promp-corners", "did you mean `promp-corner`"),
        ("--preset=", "there is no preset"),
        ("--gama=1", "--gamma"),
        ("--seed=1 --seed=2", "cannot be used multiple times"),
        ("--resume --fresh", "cannot be used with"),
        ("results", "error: "),
        ("--out=/tmp", "cannot be used multiple times"),
    ] {
        option(bad.to_owned(), words);
    }
    // Without Python: nothing is written.
    cases.push(refused("options", "--env=gym:CartPole-v1 without Python", "cannot start `/no/such/python`", |place| {
        let mut command = train(&place.out(), &["--env=gym:CartPole-v1", "--algorithm=ppo"]);
        command.env("GYM_PYTHON", "/no/such/python");
        command
    }));
    cases.push(refused("options", "--env=gym:CartPole-v1 with none", "its process ended (exit status: 1)", |place| {
        let mut command = train(&place.out(), &["--env=gym:CartPole-v1", "--algorithm=ppo"]);
        command.env("GYM_PYTHON", "/bin/false");
        command
    }));
    for bad in [
        "",
        "--checkpoint",
        "--checkpoint x --tasks=1",
        "--checkpoint x --steps=-1",
        "--checkpoint x --seeds=1,1",
        "--checkpoint x --seeds=",
        "--checkpoint x --seeds=-1",
        "--checkpoint x --gamma=1",
        "--checkpoint x",
        "--checkpoint /",
        "--checkpoint /dev/zero",
    ] {
        cases.push(refused("options of an evaluation", bad, "error: ", move |_| {
            let mut command = program("train");
            command.arg("evaluate").args(bad.split(' ').filter(|word| !word.is_empty()));
            command
        }));
    }
    cases
}

fn configurations() -> Vec<Case> {
    let texts: [(&[u8], &str); 14] = [
        (b"gama = 0.5", "did you mean `gamma`"),
        (b"gamma = 2", "must be a number from 0 to 1"),
        (b"gamma = ", "TOML parse error"),
        (b"[policy]\nhidden = [3]", "there is no key `policy`"),
        (b"hidden = [[3]]", "must be a list"),
        (b"hidden = ['3']", "must be a list"),
        (b"tasks = 1979-05-27", "must be a whole number"),
        (b"algorithm = 'promb'", "there is no algorithm `promb`"),
        (b"env = 'bandit '", "did you mean `bandit`"),
        (b"normalise = 1", "must be true or false"),
        (b"seed = 1\nseed = 2", "duplicate key"),
        (b"\xff\xfe", "UTF-8"),
        (b"\0\0\0", "TOML parse error"),
        (b"a.b.c = 1", "there is no key `a`"),
    ];
    let mut cases: Vec<Case> = (texts.into_iter())
        .map(|(text, words)| {
            refused("configurations", String::from_utf8_lossy(text), words, move |place| {
                let path = place.0.join("run.toml");
                fs::write(&path, text).unwrap();
                let mut command = train(&place.out(), &SHORT);
                command.arg("--config").arg(path);
                command
            })
        })
        .collect();
    for (path, words) in [
        ("/no/such.toml", "No such file"),
        ("/", "a configuration is a file"),
        ("/dev/zero", "a configuration is a file"),
    ] {
        cases.push(refused("configurations", path, words, move |place| train(&place.out(), &["--config", path])));
    }
    cases
}

/// In the folder of a run that is finished.
fn after_a_run(place: &Place, change: impl Fn(&Path)) -> PathBuf {
    let ended = Ended::of(train(&place.out(), &SHORT));
    assert!(ended.status.success(), "{}", ended.errors);
    change(&place.out());
    place.out()
}

fn change(path: PathBuf, how: fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

type Damage = (&'static str, fn(&mut Vec<u8>));

/// What may befall a checkpoint.
const DAMAGES: [Damage; 11] = [
    ("empty", Vec::clear),
    ("cut after a byte", |bytes| bytes.truncate(1)),
    ("cut in the header", |bytes| bytes.truncate(100)),
    ("cut in the arrays", |bytes| bytes.truncate(bytes.len() - 9)),
    ("a byte more", |bytes| bytes.push(0)),
    ("a bit of the length flipped", |bytes| bytes[1] ^= 1),
    ("a bit of the header flipped", |bytes| bytes[200] ^= 4),
    ("a bit of an array flipped", |bytes| *bytes.last_mut().unwrap() ^= 1),
    ("a text", |bytes| *bytes = b"my notes".to_vec()),
    ("zeros", |bytes| bytes.fill(0)),
    ("a length beyond all", |bytes| bytes[..8].fill(0xff)),
];

fn checkpoints() -> Vec<Case> {
    const KIND: &str = "checkpoints";
    let mut cases = Vec::new();
    for (what, how) in DAMAGES {
        cases.push(refused(KIND, format!("both {what}"), "neither this checkpoint nor the one before", move |place| {
            let out = after_a_run(place, |out| [LAST, PREVIOUS].iter().for_each(|name| change(out.join(name), how)));
            train(&out, &["--resume"])
        }));
        cases.push(refused(KIND, format!("evaluated: {what}"), "no checkpoint, or a damaged one", move |place| {
            let out = after_a_run(place, |out| change(out.join(LAST), how));
            let mut command = program("train");
            command.args(["evaluate", "--checkpoint"]).arg(out.join(LAST));
            command
        }));
        cases.push(Case::new(KIND, format!("the last one {what}"), move |place| {
            let right = unbroken(&SHORT);
            let out = after_a_run(place, |out| change(out.join(LAST), how));
            let ended = Ended::of(train(&out, &["--resume"]));
            match judge(&ended, Expected::Right, right, &without_times(place.files()), right) {
                Verdict::Right if !ended.errors.contains("the one before is used, of iteration 18") => {
                    Verdict::Wrong(ended.words())
                }
                verdict => verdict,
            }
        }));
    }
    let of_other_runs: [(&[&str], &str); 5] = [
        (&["--resume", "--gamma=0.5"], "`gamma` was 0.99 and is 0.5"),
        (&["--resume", "--seed=1", "--hidden=3"], "`seed` was 0 and is 1"),
        (&["--resume", "--validate-every=4"], "`validate-every` was 5 and is 4"),
        (&[], "--resume goes on with it"),
        (&["--seed=1"], "--fresh deletes it"),
    ];
    for (options, words) in of_other_runs {
        cases.push(refused(KIND, format!("of another run: {}", options.join(" ")), words, move |place| {
            train(&after_a_run(place, |_| ()), options)
        }));
    }
    cases.push(refused(KIND, "lost", "whose checkpoints are lost", |place| {
        let out =
            after_a_run(place, |out| [LAST, PREVIOUS].iter().for_each(|name| fs::remove_file(out.join(name)).unwrap()));
        train(&out, &["--resume"])
    }));
    cases.push(refused(KIND, "a folder", LAST, |place| {
        let out = after_a_run(place, |out| {
            fs::remove_file(out.join(LAST)).unwrap();
            fs::remove_file(out.join(PREVIOUS)).unwrap();
            fs::create_dir(out.join(LAST)).unwrap();
        });
        train(&out, &["--resume"])
    }));
    cases
}

fn tables() -> Vec<Case> {
    let damages: [(Damage, &str); 6] = [
        (("metrics.csv", |bytes| bytes[3] ^= 1), "its first line is not"),
        (("metrics.csv", |bytes| bytes.truncate(bytes.len() / 2)), "is damaged"),
        (("metrics.csv", |bytes| *bytes = b"my notes\n".to_vec()), "its first line is not"),
        (("returns.csv", |bytes| bytes.truncate(bytes.len() / 2)), "is damaged"),
        (("validation.csv", |bytes| bytes[0] ^= 1), "its first line is not"),
        (("events.out.tfevents.train", |bytes| bytes[100] ^= 1), "it is damaged at byte"),
    ];
    (damages.into_iter())
        .map(|((name, how), words)| {
            refused("tables that are damaged", format!("{name}: {words}"), words, move |place| {
                train(&after_a_run(place, |out| change(out.join(name), how)), &["--resume"])
            })
        })
        .collect()
}

fn folders() -> Vec<Case> {
    const KIND: &str = "folders";
    let mut cases = Vec::new();
    for (out, words) in [
        ("", "a value is required for '--out <DIR>'"),
        ("/proc/results", "cannot write to the folder"),
        ("/dev/null", "cannot write to the folder"),
    ] {
        cases.push(refused(KIND, format!("`{out}`"), words, move |_| train(Path::new(out), &SHORT)));
    }
    cases.push(refused(KIND, "in a file", "cannot write to the folder", |place| {
        fs::write(place.0.join("file"), "a file").unwrap();
        train(&place.0.join("file/out"), &SHORT)
    }));
    cases.push(refused(KIND, "with a folder in a file's place", "metrics.csv", |place| {
        fs::create_dir_all(place.out().join("metrics.csv")).unwrap();
        train(&place.out(), &["--fresh"])
    }));
    // What was written before the disk was full is a run that goes on when it is not.
    for kib in [0, 1, 2, 3, 4, 6, 8, 16] {
        cases.push(Case::new("full disks", format!("files of at most {kib} KiB"), move |place| {
            let right = unbroken(&SHORT);
            let limited = format!("ulimit -f {kib}; trap '' XFSZ; exec \"$0\" \"$@\"");
            let ended = Ended::of(shell(&limited, &train(&place.out(), &SHORT)));
            goes_on(place, &ended, right)
        }));
    }
    for pages in [1, 2, 3, 4, 6, 8, 12, 16] {
        cases.push(Case::new("full disks", format!("a disk of {pages} pages"), move |place| {
            let (right, disk) = (unbroken(&SHORT), place.0.join("disk"));
            fs::create_dir(&disk).unwrap();
            let mounted = format!(
                "set -e; mount -t tmpfs -o size={}k tmpfs '{}'; set +e; \"$0\" \"$@\"; code=$?; cp -a '{}' '{}'; exit $code",
                pages * 4,
                disk.display(),
                disk.display(),
                place.out().display()
            );
            let ended = Ended::of(elsewhere(&mounted, &train(&disk, &SHORT)));
            if !place.out().exists() {
                return Verdict::Untried;
            }
            goes_on(place, &ended, right)
        }));
    }
    cases
}

/// A run that ended well, or in an error after which it can be resumed.
fn goes_on(place: &Place, ended: &Ended, right: &Files) -> Verdict {
    if ended.is_panic() {
        return Verdict::Panic(ended.words());
    }
    if !ended.status.success() && !ended.is_clean_error() {
        return Verdict::Wrong(ended.words());
    }
    let mut options = SHORT.to_vec();
    options.push("--resume");
    let again = Ended::of(train(&place.out(), &options));
    judge(&again, Expected::Right, right, &without_times(place.files()), right)
}

#[test]
fn bad_options_configurations_and_checkpoints_are_clear_errors_and_nothing_is_lost() {
    let cases: Vec<Case> =
        [options(), configurations(), checkpoints(), tables(), folders()].into_iter().flatten().collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    try_all(cases);
}

#[test]
fn a_usage_error_is_2_and_others_are_1() {
    let place = Place::new();
    let code = |options: &[&str]| Ended::of(train(&place.out(), options)).status.code();
    assert_eq!(code(&["--gamma=2"]), Some(2));
    assert_eq!(code(&["--algorithm=promb"]), Some(2));
    assert_eq!(code(&["--config=/no/such.toml"]), Some(1));
    assert_eq!(code(&SHORT), Some(0));
    assert_eq!(code(&SHORT), Some(1), "there are results");
}

/// Kills the run after each of these parts of the time that it takes, then lets it end.
fn killed(parts: &[f64], whole: Duration) -> Files {
    let place = Place::new();
    for (number, part) in parts.iter().enumerate() {
        let mut command = train(&place.out(), &LONG);
        command.args((number > 0).then_some("--resume"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(*part));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let mut command = train(&place.out(), &LONG);
    command.arg("--resume");
    let ended = Ended::of(command);
    assert!(ended.status.success(), "{parts:?}: {}", ended.errors);
    without_times(place.files())
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bits() {
    let right = unbroken(&LONG);
    let begin = Instant::now();
    assert!(Ended::of(train(&Place::new().out(), &LONG)).status.success());
    let whole = begin.elapsed();
    let rng = &mut stream(5, 0);
    for time in 0..8 {
        let parts: Vec<f64> = (0..=time % 3).map(|_| rng.random_range(0.0..0.9)).collect();
        let found = killed(&parts, whole);
        assert_eq!(names(&found), names(right), "{parts:?}");
        assert!(found == *right, "killed after {parts:?}");
    }
}

/// Waits until the run has made some iterations, then sends it a signal.
fn signalled(place: &Place, signal: &str, child: Child) -> Ended {
    let rows = || fs::read_to_string(place.out().join("metrics.csv")).map_or(0, |text| text.lines().count());
    let begin = Instant::now();
    while rows() < 50 && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    Ended::wait(child)
}

#[test]
fn ctrl_c_finishes_the_iteration_saves_and_says_how_to_go_on() {
    let right = unbroken(&LONG);
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        let child = train(&place.out(), &LONG).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let ended = signalled(&place, signal, child);
        assert_eq!(ended.status.code(), Some(130), "{}", ended.words());
        let go_on = format!("and saved; to go on: --resume --out {}", place.out().display());
        assert!(ended.errors.contains(&go_on), "{}", ended.errors);
        // All that was made is saved.
        let checkpoint = train::run::checkpoint::Checkpoint::read(&place.out().join(LAST)).unwrap();
        let rows = fs::read_to_string(place.out().join("metrics.csv")).unwrap().lines().count() as u64 - 1;
        assert_eq!(checkpoint.iteration, rows);
        assert!(rows < 3000, "it was stopped");
        assert!(place.out().join("learning_curve.svg").exists());
        // And the words that it said are enough.
        let again = Ended::of(train(&place.out(), &["--resume"]));
        assert!(again.status.success(), "{}", again.errors);
        assert!(without_times(place.files()) == *right);
    }
}

#[test]
fn of_two_runs_in_one_folder_the_second_is_refused() {
    let place = Place::new();
    let first = train(&place.out(), &LONG).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while !place.out().join("metrics.csv").exists() && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    for option in ["--seed=1", "--resume", "--fresh"] {
        let second = Ended::of(train(&place.out(), &[option]));
        assert_eq!(second.status.code(), Some(1), "{}", second.words());
        assert!(second.errors.contains("error: another run is writing to the folder"), "{}", second.errors);
    }
    assert!(Ended::wait(first).status.success());
    assert!(without_times(place.files()) == *unbroken(&LONG));
}

/// What a program prints.
fn printed(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_there_is_is_listed_with_its_paper() {
    let text = printed(program("train").arg("--list"));
    let environments = train::registry::environments();
    for entry in [train::registry::ALGORITHMS, &environments, train::registry::PRESETS].concat() {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(entry.name));
        assert!(line.is_some_and(|line| line.ends_with(entry.paper)), "{}: {text}", entry.name);
    }
}

#[test]
fn every_key_is_an_option_with_help() {
    let text = printed(program("train").arg("--help"));
    for key in KEYS {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("--{} ", key.name())));
        assert!(line.is_some_and(|line| line.contains(key.help())), "{}", key.name());
    }
}

#[test]
fn the_configuration_is_printed_and_written_and_makes_the_same_run_again() {
    let (place, again) = (Place::new(), Place::new());
    let text = printed(&mut train(
        &place.out(),
        &["--algorithm=maml", "--env=bandit", "--iterations=3", "--gamma=0.123", "--learn-rates"],
    ));
    let written = place.out().join("config.toml");
    let config: Config = fs::read_to_string(&written).unwrap().parse::<toml::Table>().unwrap().try_into().unwrap();
    assert_eq!((config.gamma, config.learn_rates, config.iterations), (0.123, true, 3));
    assert!(text.starts_with(&config.lines()), "{text}");
    printed(&mut train(&again.out(), &["--config", written.to_str().unwrap()]));
    assert_eq!(without_times(again.files()), without_times(place.files()));
    assert_eq!(again.files()["config.toml"], place.files()["config.toml"]);
}

#[test]
fn an_evaluation_is_on_fresh_tasks_with_an_interval() {
    let place = Place::new();
    let out = place.out();
    // Of enough trajectories, and far enough, that an inner step is for the better; the outer ones change next to nothing.
    let adapting = [&SHORT[..], &["--rollouts=30", "--inner-rate=2", "--outer-rate=1e-6"]].concat();
    let adapting: Vec<&str> = adapting.into_iter().filter(|option| *option != "--rollouts=3").collect();
    printed(&mut train(&out, &adapting));
    let evaluate = |options: &[&str]| {
        let mut command = program("train");
        command.arg("evaluate").arg("--checkpoint").arg(out.join(LAST)).args(options);
        printed(&mut command)
    };
    let text = evaluate(&["--tasks=400", "--steps=3", "--seeds=0,1"]);
    assert!(
        text.contains("parameters before iteration 20: mean return on 800 fresh tasks (400 of each seed)"),
        "{text}"
    );
    let rows: Vec<Vec<f64>> = (text.lines())
        .map(|line| line.split_whitespace().map_while(|word| word.parse().ok()).collect())
        .filter(|row: &Vec<f64>| row.len() == 4)
        .collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0]);
    for pair in rows.windows(2) {
        assert!(pair[1][1] > pair[0][1], "adapting helps: {text}");
    }
    // A policy that knows nothing has ½, with a variance over tasks of 1/12/5, and that of 30 coins.
    let [_, mean, low, high] = rows[0][..] else { panic!("{text}") };
    assert!((mean - 0.5).abs() < 4.0 * 0.156 / 800_f64.sqrt(), "{text}");
    assert!(((high - low) / (2.0 * 1.963 * 0.156 / 800_f64.sqrt()) - 1.0).abs() < 0.15, "{text}");
    assert_eq!(evaluate(&["--seeds=0"]), evaluate(&[]));
    assert_ne!(evaluate(&["--seeds=0"]), evaluate(&["--seeds=1"]));
}

#[test]
fn nobody_need_read_what_is_printed() {
    let right = unbroken(&SHORT);
    for words in
        ["exec \"$0\" \"$@\" >&-", "exec \"$0\" \"$@\" >/dev/full", "\"$0\" \"$@\" | true; exit ${PIPESTATUS[0]}"]
    {
        let place = Place::new();
        let ended = Ended::of(shell(words, &train(&place.out(), &SHORT)));
        assert!(ended.status.success(), "{words}: {}", ended.words());
        assert!(without_times(place.files()) == *right, "{words}");
    }
}
