//! A run, whatever happens to it: resumed to the bit, stopped by numbers that are none, refused where it would overwrite.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use indexmap::IndexMap;
use ndarray::ArrayD;
use rand::RngExt;
use rl::error::Error as DataError;
use rl::stream::stream;
use train::run::config::Config;
use train::run::{Before, Ended, Error, Message, Run, evaluation_seed};
use train::{Iteration, Learner, State};

/// A random walk whose numbers have all their digits, and faults on demand.
struct Walk {
    seed: u64,
    theta: ArrayD<f64>,
    steps: f64,
    fault: Option<(u64, Fault)>,
    evaluates: bool,
    /// Of something outside, if there is something.
    version: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Fault {
    Return,
    Loss,
    State,
    Refusal,
}

impl Walk {
    fn new(config: &Config) -> Self {
        Self {
            seed: config.seed,
            theta: ArrayD::zeros(vec![2, 3]),
            steps: 0.0,
            fault: None,
            evaluates: true,
            version: None,
        }
    }
}

impl Learner for Walk {
    fn returns(&self) -> Vec<String> {
        vec!["return_0".to_owned(), "return_1".to_owned()]
    }

    fn iterate(&mut self, iteration: u64) -> rl::error::Result<Iteration> {
        let mut rng = stream(self.seed, iteration);
        self.theta.mapv_inplace(|x| 0.9 * x + rng.random::<f64>() - 0.5);
        self.steps += 0.1;
        let returns = (0..2).map(|k| (0..5).map(|task| self.theta.sum() * 0.3 + f64::from(k * task) / 7.0).collect());
        let mut made = Iteration {
            env_steps: 100 + iteration,
            returns: returns.collect(),
            loss: self.theta.sum() / 3.0,
            gradient_norm: self.steps,
            kl: 1e-9 * rng.random::<f64>(),
            seconds: [0.0; 3],
        };
        match self.fault {
            Some((at, fault)) if at == iteration => match fault {
                Fault::Return => made.returns[1][3] = f64::NAN,
                Fault::Loss => made.loss = f64::INFINITY,
                Fault::State => self.theta[[1, 1]] = f64::NAN,
                Fault::Refusal => return Err(DataError::Rate(-1.0)),
            },
            _ => {}
        }
        Ok(made)
    }

    fn state(&self) -> State {
        State {
            arrays: IndexMap::from([("theta".to_owned(), self.theta.clone())]),
            numbers: IndexMap::from([("steps".to_owned(), self.steps)]),
        }
    }

    fn restore(&mut self, mut state: State) -> rl::error::Result<()> {
        let theta = state.arrays.shift_remove("theta").filter(|theta| theta.shape() == [2, 3]);
        self.theta = theta.ok_or(DataError::Empty { what: "parameters" })?;
        self.steps = state.numbers["steps"];
        Ok(())
    }

    fn versions(&self) -> Vec<(String, String)> {
        self.version.iter().map(|&version| ("simulator".to_owned(), version.to_owned())).collect()
    }

    fn not_saved(&self) -> Option<String> {
        self.version.map(|_| "the simulator's memory is in no checkpoint".to_owned())
    }

    fn evaluate(&self, tasks: usize, steps: usize, seed: u64) -> rl::error::Result<Vec<Vec<f64>>> {
        if !self.evaluates {
            return Err(DataError::NoEvaluation);
        }
        let of = |task: usize| stream(seed, task as u64).random::<f64>() - self.theta.sum().abs();
        Ok((0..=steps).map(|_| (0..tasks).map(of).collect()).collect())
    }
}

/// A folder of its own for each test, deleted in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("train-{name}-{}", std::process::id())))
    }

    /// Every file but the lock: CSV files without times, event files by their length (they have times), the others as they are.
    fn files(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&self.0).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let bytes = fs::read(&path).unwrap();
            let contents = match &*name {
                ".lock" | "config.toml" | "checkpoint.previous.safetensors" => continue,
                "metrics.csv" => {
                    let text = String::from_utf8(bytes).unwrap();
                    text.lines().map(|line| line.rsplitn(5, ',').last().unwrap().to_owned() + "\n").collect()
                }
                name if name.contains("tfevents") => bytes.len().to_string(),
                _ => format!("{:?}", String::from_utf8_lossy(&bytes)),
            };
            all.insert(name, contents);
        }
        all
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(iterations: u64) -> Config {
    Config { iterations, checkpoint_every: 4, validate_every: 3, validation_tasks: 6, ..Config::default() }
}

/// Runs, and stops after `stop` iterations if that is given.
fn go(
    folder: &Temporary,
    config: &Config,
    learner: &mut Walk,
    before: Before,
    stop: Option<u64>,
) -> (Result<Ended, Error>, Vec<Message>) {
    let stopped = AtomicBool::new(stop == Some(0));
    let mut told = Vec::new();
    let ended = Run { config, out: &folder.0, before, stop: &stopped }.go(learner, &mut |message| {
        if let Message::Row(row) = &message {
            stopped.store(stop.is_some_and(|stop| row.iteration + 1 >= stop), Ordering::Relaxed);
        }
        told.push(message);
    });
    (ended, told)
}

fn unbroken(name: &str, config: &Config) -> (Temporary, BTreeMap<String, String>) {
    let folder = Temporary::new(name);
    go(&folder, config, &mut Walk::new(config), Before::Ask, None).0.unwrap();
    let files = folder.files();
    (folder, files)
}

#[test]
fn what_a_run_leaves_is_what_was_made() {
    let config = config(5);
    let (folder, files) = unbroken("files", &config);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = [
        "best.safetensors",
        "checkpoint.safetensors",
        "events.out.tfevents.train",
        "metrics.csv",
        "returns.csv",
        "validation.csv",
    ];
    assert_eq!(names, expected);
    let text = fs::read_to_string(folder.0.join("metrics.csv")).unwrap();
    let header = "iteration,env_steps,return_0,return_1,loss,gradient_norm,kl,sample_s,adapt_s,outer_s,total_s";
    assert_eq!(text.lines().next(), Some(header));
    // Numbers are those of the learner, to the bit; steps are counted from the begin.
    let mut walk = Walk::new(&config);
    for (iteration, line) in (0..).zip(text.lines().skip(1)) {
        let made = walk.iterate(iteration).unwrap();
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[..2], [iteration.to_string(), (0..=iteration).map(|i| 100 + i).sum::<u64>().to_string()]);
        let written: Vec<u64> = fields[2..7].iter().map(|field| field.parse::<f64>().unwrap().to_bits()).collect();
        let mean = |k: usize| made.returns[k].iter().sum::<f64>() / 5.0;
        let right = [mean(0), mean(1), made.loss, made.gradient_norm, made.kl];
        assert_eq!(written, right.map(f64::to_bits));
    }
    let returns = fs::read_to_string(folder.0.join("returns.csv")).unwrap();
    assert_eq!((returns.lines().count(), returns.lines().next()), (26, Some("iteration,task,return_0,return_1")));
    let validation = fs::read_to_string(folder.0.join("validation.csv")).unwrap();
    let iterations: Vec<&str> = validation.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(iterations, ["0", "3"]);
}

#[test]
fn a_run_that_is_stopped_anywhere_goes_on_to_the_same_bits() {
    let config = config(13);
    let (_right, files) = unbroken("unbroken", &config);
    for stops in [&[0][..], &[1], &[4], &[5], &[12], &[13], &[2, 7, 9]] {
        let folder = Temporary::new("stopped");
        let mut before = Before::Ask;
        for &stop in stops {
            let ended = go(&folder, &config, &mut Walk::new(&config), before, Some(stop)).0.unwrap();
            assert_eq!((ended.iterations, ended.is_stopped), (stop, stop < 13));
            before = Before::Resume;
        }
        let (ended, told) = go(&folder, &config, &mut Walk::new(&config), before, None);
        assert_eq!((ended.unwrap().is_stopped, folder.files() == files), (false, true), "{stops:?}");
        assert_eq!(told[0], Message::Begun(*stops.last().unwrap()));
    }
}

/// As after `kill -9`: files are ahead of the checkpoint, with half a row, and a half record.
#[test]
fn what_is_ahead_of_the_checkpoint_is_made_again() {
    let config = config(13);
    let (right, files) = unbroken("ahead", &config);
    let folder = Temporary::new("killed");
    go(&folder, &config, &mut Walk::new(&config), Before::Ask, Some(6)).0.unwrap();
    let checkpoint = fs::read(folder.0.join("checkpoint.safetensors")).unwrap();
    for name in ["metrics.csv", "returns.csv", "validation.csv", "events.out.tfevents.train", "best.safetensors"] {
        let bytes = fs::read(right.0.join(name)).unwrap();
        let end = if name.ends_with("safetensors") { bytes.len() } else { bytes.len() - 7 };
        fs::write(folder.0.join(name), &bytes[..end]).unwrap();
    }
    fs::write(folder.0.join("checkpoint.safetensors"), checkpoint).unwrap();
    go(&folder, &config, &mut Walk::new(&config), Before::Resume, None).0.unwrap();
    assert_eq!(folder.files(), files);
}

#[test]
fn a_longer_run_is_a_shorter_one_that_goes_on() {
    let (_right, files) = unbroken("longer", &config(13));
    let (folder, _) = unbroken("shorter", &config(7));
    let config = Config { checkpoint_every: 5, ..config(13) };
    go(&folder, &config, &mut Walk::new(&config), Before::Resume, None).0.unwrap();
    // (Checkpoints say for how many iterations, and how often one was written.)
    let tables = |mut files: BTreeMap<String, String>| {
        files.retain(|name, _| !name.ends_with(".safetensors"));
        files
    };
    assert_eq!(tables(folder.files()), tables(files));
}

#[test]
fn a_run_with_another_configuration_is_not_gone_on_with() {
    let (folder, files) = unbroken("other", &config(7));
    let other = Config { gamma: 0.5, hidden: vec![3], ..config(7) };
    let error = go(&folder, &other, &mut Walk::new(&other), Before::Resume, None).0.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`gamma` was 0.99 and is 0.5, `hidden` was [64, 64] and is [3]"), "{message}");
    assert!(message.contains("--fresh"), "{message}");
    assert_eq!(folder.files(), files);
    // Nor deleted unasked.
    let message = go(&folder, &other, &mut Walk::new(&other), Before::Ask, None).0.unwrap_err().to_string();
    assert!(["--resume", "--fresh", "--out"].iter().all(|words| message.contains(words)), "{message}");
    assert_eq!(folder.files(), files);
    go(&folder, &other, &mut Walk::new(&other), Before::Delete, None).0.unwrap();
    assert_eq!(folder.files()["metrics.csv"], files["metrics.csv"], "the walk does not depend on γ");
}

#[test]
fn numbers_that_are_none_stop_a_run_and_the_last_good_checkpoint_is_kept() {
    for (fault, words) in [
        (Fault::Return, "iteration 6: return_1 of task 3 = NaN must be finite"),
        (Fault::Loss, "iteration 6: loss = inf must be finite"),
        (Fault::State, "iteration 6: entry 4 of `theta` after it = NaN must be finite"),
        (Fault::Refusal, "iteration 6: the rate is -1, but must be finite and not negative"),
    ] {
        let (config, folder) = (config(13), Temporary::new("faults"));
        let mut walk = Walk { fault: Some((6, fault)), ..Walk::new(&config) };
        let message = go(&folder, &config, &mut walk, Before::Ask, None).0.unwrap_err().to_string();
        assert!(message.starts_with(words), "{message}");
        assert!(
            message.contains("--resume goes on with iteration 4 from") && message.contains("checkpoint.safetensors")
        );
        assert_eq!(folder.files()["metrics.csv"].lines().count(), 7, "six iterations");
        // Had it been a passing fault, all would be as if it had not been.
        go(&folder, &config, &mut Walk::new(&config), Before::Resume, None).0.unwrap();
        assert_eq!(folder.files(), unbroken("faultless", &config).1);
    }
}

#[test]
fn validation_needs_a_learner_that_evaluates() {
    let (config, folder) = (config(13), Temporary::new("evaluates"));
    let mut walk = Walk { evaluates: false, ..Walk::new(&config) };
    let message = go(&folder, &config, &mut walk, Before::Ask, None).0.unwrap_err().to_string();
    assert!(message.starts_with("iteration 0: this algorithm has no evaluation on fresh tasks"), "{message}");
}

#[test]
fn the_best_on_validation_tasks_is_kept() {
    let config = config(13);
    let folder = Temporary::new("best");
    let ended = go(&folder, &config, &mut Walk::new(&config), Before::Ask, None).0.unwrap();
    let best = ended.best.unwrap();
    let text = fs::read_to_string(folder.0.join("validation.csv")).unwrap();
    let rows: Vec<(u64, f64)> = (text.lines().skip(1))
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|fields| (fields[0].parse().unwrap(), fields[2].parse().unwrap()))
        .collect();
    let right = rows.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!((best.iteration, best.value), right);
    let kept = train::run::checkpoint::Checkpoint::read(&folder.0.join("best.safetensors")).unwrap();
    let mut walk = Walk::new(&config);
    (0..best.iteration).for_each(|iteration| drop(walk.iterate(iteration)));
    assert_eq!(kept.state, walk.state());
    assert_ne!(evaluation_seed(config.seed), evaluation_seed(config.seed + 1));
}

#[test]
fn a_run_whose_checkpoints_are_lost_is_not_begun_anew_unasked() {
    let config = config(7);
    let (folder, _) = unbroken("lost", &config);
    for name in ["checkpoint.safetensors", "checkpoint.previous.safetensors"] {
        fs::remove_file(folder.0.join(name)).unwrap();
    }
    let message = go(&folder, &config, &mut Walk::new(&config), Before::Resume, None).0.unwrap_err().to_string();
    assert!(message.contains("whose checkpoints are lost") && message.contains("--fresh"), "{message}");
    // Where there is nothing, there is nothing to lose.
    let folder = Temporary::new("nothing");
    let (ended, told) = go(&folder, &config, &mut Walk::new(&config), Before::Resume, None);
    assert_eq!(ended.unwrap().iterations, 7);
    assert!(matches!(&told[0], Message::Note(note) if note.starts_with("nothing to resume in ")), "{told:?}");
}

#[test]
fn a_table_that_is_missing_is_begun_with_a_note() {
    let config = config(13);
    let folder = Temporary::new("missing");
    go(&folder, &config, &mut Walk::new(&config), Before::Ask, Some(6)).0.unwrap();
    fs::remove_file(folder.0.join("metrics.csv")).unwrap();
    let (ended, told) = go(&folder, &config, &mut Walk::new(&config), Before::Resume, Some(9));
    ended.unwrap();
    assert!(
        matches!(&told[0], Message::Note(note) if note.ends_with("metrics.csv is missing: it is begun with iteration 6"))
    );
    go(&folder, &config, &mut Walk::new(&config), Before::Resume, None).0.unwrap();
    let text = fs::read_to_string(folder.0.join("metrics.csv")).unwrap();
    let iterations: Vec<&str> = text.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(iterations, ["iteration", "6", "7", "8", "9", "10", "11", "12"]);
}

#[test]
fn a_folder_belongs_to_one_run_at_a_time() {
    let (config, folder) = (config(7), Temporary::new("twice"));
    let held = go(&folder, &config, &mut Walk::new(&config), Before::Ask, None).0.unwrap();
    let message = go(&folder, &config, &mut Walk::new(&config), Before::Resume, None).0.unwrap_err().to_string();
    assert!(message.starts_with("another run is writing to the folder"), "{message}");
    drop(held);
    go(&folder, &config, &mut Walk::new(&config), Before::Resume, None).0.unwrap();
}

#[test]
fn a_run_is_resumed_with_the_versions_that_it_was_made_with_and_says_what_is_not_saved() {
    let config = config(6);
    let folder = Temporary::new("versions");
    let of = |version| Walk { version, ..Walk::new(&config) };
    let resume = |version| go(&folder, &config, &mut of(version), Before::Resume, None);
    go(&folder, &config, &mut of(Some("2.0")), Before::Ask, Some(3)).0.unwrap();
    let before = folder.files();
    for (version, words) in
        [(Some("2.1"), "simulator was 2.0, but is 2.1 here"), (None, "simulator was 2.0, but is none here")]
    {
        let error = resume(version).0.unwrap_err();
        assert!(matches!(error, Error::Versions { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("checkpoint.safetensors: ") && text.contains(words) && text.contains("--fresh"),
            "{text}"
        );
        assert_eq!(folder.files(), before, "nothing is changed");
    }
    let (ended, told) = resume(Some("2.0"));
    ended.unwrap();
    let said = Message::Note("the simulator's memory is in no checkpoint".to_owned());
    assert_eq!(told.iter().filter(|message| **message == said).count(), 1);

    // A run that knew of no versions is resumed with any, which it notes.
    let (folder, _) = unbroken("no-versions", &config);
    let longer = Config { iterations: 8, ..config.clone() };
    let go_on = |version| go(&folder, &longer, &mut of(version), Before::Resume, None).0;
    go_on(Some("3.0")).unwrap();
    assert!(matches!(go_on(Some("3.1")), Err(Error::Versions { .. })));
}
