//! The studies of papers: the same bits at any number of threads, and after a run that was ended and resumed. What is saved on
//! the way belongs to one run at a time, and is believed only if it is whole and of the same run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indicatif::ProgressBar;
use rl::env::Momentum;
use rl::error::Error;
use rl::meta::Permutation;
use study::gradient_variance::experiment::Study as GradientVariance;
use study::hessian_bias::accuracy::Experiment;
use study::learning::{Comparison, Paths, Test, Variant};
use study::lola_ipd::experiment::{Correlations, Study as Players};
use study::lsf_navigation::{training, variance};
use study::meta_gradient_bias::experiment::{Cell, Study};
use study::options::Precision;
use study::output::Folder;
use study::saved::{Before, Saved};
use study::score_function_1d::experiment::{errors, learn};
use study::{credit_assignment_1d, step_or_trajectory, tmaml};
use train::run::checkpoint::Checkpoint;
use train::run::config;
use train::{Learner, MetaLearner};

/// A folder of its own for each test, deleted in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("studies-{name}-{}", std::process::id())))
    }

    fn open(&self, settings: &str, before: Before) -> Result<Saved, String> {
        let folder = Folder::open(self.0.clone()).map_err(|error| error.to_string())?;
        Saved::open(&folder, settings, before).map_err(|error| error.to_string())
    }

    fn file(&self) -> PathBuf {
        self.0.join("finished.txt")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn with_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

/// Every number of meta_gradient_bias on two processes.
fn meta_gradients(saved: &Saved) -> Vec<Vec<f64>> {
    let cell = |estimator, permutation, steps| Cell { estimator, permutation, samples: 3, steps, rate: 3.0 };
    let cells = (Permutation::ALL.iter())
        .flat_map(|&permutation| [cell("lvc", permutation, 2), cell("dice", permutation, 1)])
        .collect();
    let study = Study { seed: 3, mdps: [1, 2], repeats: 2, cells };
    let (measured, _) = study.run(saved).unwrap();
    measured.into_iter().flat_map(|cell| [cell.correlations, cell.deviations]).collect()
}

/// Every number of hessian_bias on small processes.
fn accuracies(saved: &Saved) -> Vec<Vec<f64>> {
    let (samples, epsilons) = (vec![3, 7], vec![0.0, 0.5]);
    let experiment = Experiment { seed: 3, states: 3, actions: 2, mdps: 3, horizon: 4, samples, epsilons };
    experiment.run(saved).unwrap().into_iter().map(|row| row.correlations).collect()
}

/// Every number of a comparison of two learners, with the paths of the first run of each.
fn learners(saved: &Saved) -> Vec<Vec<f64>> {
    let small = "tasks = 3\nrollouts = 3\nhorizon = 12\nhidden = [4]\niterations = 2\nprecision = \"f32\"";
    let [lvc, maml] =
        ["lvc", "maml"].map(|name| Variant::of(name, &format!("exploration-{name}-trpo"), &[small]).unwrap());
    let comparison = Comparison { variants: vec![lvc, maml], seed: 3, repeats: 2, test: None };
    let paths = Paths { goals: vec![[2.0, 2.0], [-2.0, 2.0]], inner_steps: 3, count: 2, horizon: 12 };
    let walked = |learner: &MetaLearner, _, run| match run {
        0 => paths.walked(learner, Momentum::to, 5),
        _ => Ok(Vec::new()),
    };
    let compared = comparison.run(saved, &ProgressBar::hidden(), walked).unwrap();
    compared
        .runs
        .into_iter()
        .flatten()
        .flat_map(|run| run.returns.into_iter().chain([run.env_steps, run.after]))
        .collect()
}

/// Every number of lola_ipd in short games.
fn players(saved: &Saved) -> Vec<Vec<f64>> {
    let study = Players { seed: 3, seeds: 2, large_seeds: 3, ablations: 1, updates: 7, batches: [3, 30], horizon: 5 };
    let measured = study.run(saved, &ProgressBar::hidden()).unwrap();
    let correlations = |at: Vec<_>| at.into_iter().flat_map(|one: Correlations| [one.pearson, one.cosine]);
    measured.into_iter().flat_map(|one| one.returns.into_iter().chain(correlations(one.correlations))).collect()
}

/// Every number of gradient_variance of small networks.
fn scatters(saved: &Saved) -> Vec<Vec<f64>> {
    let study = GradientVariance {
        seed: 3,
        env: "momentum".to_owned(),
        runs: 2,
        iterations: 2,
        every: 2,
        rounds: 2,
        tasks: 3,
        rollouts: 2,
        horizon: 12,
        hidden: vec![3],
        precision: config::Precision::F32,
    };
    let numbers = study.run(saved).unwrap().concat().into_iter().flat_map(|one| {
        let scatters = one.scatters.into_iter().map(|scatter| vec![scatter.variance, scatter.square]);
        scatters.chain([vec![one.returns]])
    });
    numbers.collect()
}

/// Every number of lsf_navigation with small networks.
fn navigation(saved: &Saved) -> Vec<Vec<f64>> {
    let (seed, horizon, hidden, precision) = (3, 10, vec![3], Precision::F32);
    let variances = variance::Study {
        seed,
        problems: 2,
        samples: vec![2, 3],
        outer: 4,
        rounds: 3,
        horizon,
        hidden: hidden.clone(),
        rate: 0.003,
        precision,
    };
    let training = training::Study { seed, runs: 2, iterations: 1, horizon, hidden, tasks: 2, precision };
    let hidden = ProgressBar::hidden();
    let plain = variances.run(saved, &hidden).unwrap();
    let trained = training.variances(2, &[2, 3], 2, saved, &hidden).unwrap();
    let runs = training.run(saved, &hidden).unwrap().concat();
    plain
        .concat()
        .into_iter()
        .chain(trained.concat())
        .chain(runs.into_iter().map(|run| [run.curve, vec![run.last]].concat()))
        .collect()
}

/// Every number of score_function_1d's, at some N.
fn learning() -> Vec<Vec<f64>> {
    let errors = errors(-1.0, 20_000, 7, 3).differences;
    let curves = learn(3, 2, 4, 20_000, 3, &ProgressBar::hidden());
    errors.into_iter().chain(curves.map(|curve| curve.numbers())).collect()
}

/// Every number of tmaml on three processes.
fn tamed(saved: &Saved) -> Vec<Vec<f64>> {
    let study = tmaml::experiment::Study { seed: 3, mdps: 3, horizon: 2 };
    study.run(saved).unwrap().iter().map(tmaml::experiment::Measured::numbers).collect()
}

/// Every number of step_or_trajectory on three processes, and of two sets.
fn credited(saved: &Saved) -> Vec<Vec<f64>> {
    let samples = vec![1, 3, 20_000];
    let study = step_or_trajectory::experiment::Study { seed: 3, mdps: 3, horizon: 2, sets: 2, estimates: 5, samples };
    let (tables, sets) = study.run(saved).unwrap();
    let tables = tables.iter().map(step_or_trajectory::experiment::Table::numbers);
    tables.chain(sets.iter().map(|set| set.concat())).collect()
}

/// Every number of credit_assignment_1d, of two runs.
fn on_a_line(saved: &Saved) -> Vec<Vec<f64>> {
    let (runs, iterations, tasks, trajectories, estimates) = (2, 3, 1, 4, 3);
    let rates = vec![0.001, 0.1];
    let study =
        credit_assignment_1d::experiment::Study { seed: 3, runs, rates, iterations, tasks, trajectories, estimates };
    let measured = study.run(saved).unwrap();
    let courses = measured.iter().flat_map(|variant| variant.courses.iter().flatten()).map(|course| course.numbers());
    let variations = measured.iter().flat_map(|variant| &variant.variations).map(|variation| variation.numbers());
    courses.chain(variations).collect()
}

/// A study on a small problem, as all its numbers.
type Small = fn(&Saved) -> Vec<Vec<f64>>;

const STUDIES: [Small; 9] =
    [meta_gradients, scatters, navigation, accuracies, learners, players, tamed, credited, on_a_line];

#[test]
fn studies_have_the_same_bits_at_any_number_of_threads() {
    let folder = Temporary::new("threads");
    let new = || folder.open("threads", Before::Delete).unwrap();
    for study in STUDIES {
        assert_eq!(with_threads(1, || study(&new())), with_threads(3, || study(&new())));
    }
    assert_eq!(with_threads(1, learning), with_threads(3, learning));
}

#[test]
fn a_study_that_was_ended_goes_on_to_the_same_bits() {
    let folder = Temporary::new("resumed");
    for study in STUDIES {
        let whole = study(&folder.open("settings", Before::Delete).unwrap());
        let text = folder.text();
        // One part is finished, and of the next only half is written.
        let first = text.match_indices('\n').nth(1).unwrap().0 + 1;
        let next = text[first..].find('\n').unwrap() / 2;
        std::fs::write(folder.file(), &text[..first + next]).unwrap();
        assert_eq!(study(&folder.open("settings", Before::Resume).unwrap()), whole);
        // All is in the file again, in whatever order.
        let sorted = |text: &str| {
            let names = text.lines().skip(1).map(|line| line.split(' ').nth(1).unwrap().to_owned());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&folder.text()), sorted(&text));
    }
}

#[test]
fn a_run_that_was_ended_goes_on_from_where_it_was_kept() {
    let small = "tasks = 3\nrollouts = 3\nhorizon = 12\nhidden = [4]\niterations = 4";
    // By Adam, and within a region of trust.
    for (preset, precision) in [("promp-momentum", "f64"), ("exploration-lvc-trpo", "f32")] {
        let precision = format!("precision = \"{precision}\"");
        goes_on(Variant::of(preset, preset, &[small, &precision]).unwrap());
    }
}

fn goes_on(variant: Variant) {
    let folder = Temporary::new("under-way");
    let comparison =
        Comparison { variants: vec![variant], seed: 3, repeats: 1, test: Some(Test { tasks: 2, inner_steps: 1 }) };
    let run = |before, is_ended: bool| {
        let saved = folder.open("settings", before)?;
        let after = |learner: &MetaLearner, _, _| match is_ended {
            true => Err(Error::NoEvaluation),
            false => Ok(learner.evaluate(2, 2, 5)?.concat()),
        };
        let compared = comparison.run(&saved, &ProgressBar::hidden(), after).map_err(|error| error.to_string())?;
        Ok::<_, String>(compared.runs[0][0].clone())
    };
    let parts = folder.0.join("under_way");
    let path = parts.join("0,0");
    let whole = run(Before::Delete, false).unwrap();
    assert!(!path.exists());

    // Ended in the last moment.
    run(Before::Delete, true).unwrap_err();
    let kept = Checkpoint::read(&path).unwrap();
    assert!((1..=4).contains(&kept.iteration), "{}", kept.iteration);
    let message = folder.open("settings", Before::Ask).err().unwrap();
    assert!(message.contains("under way") && message.contains("--resume"), "{message}");
    assert_eq!(run(Before::Resume, false).unwrap(), whole);
    assert!(!path.exists());

    // What was made before is taken from there, and not made again.
    let put = |bytes: &[u8]| {
        drop(folder.open("settings", Before::Delete).unwrap());
        std::fs::create_dir(&parts).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    let mut other = kept.clone();
    other.state.arrays["study.numbers"][[1]] = 123.0;
    put(&other.to_bytes());
    let resumed = run(Before::Resume, false).unwrap();
    assert_eq!((resumed.returns[0][0], &resumed.returns[1..]), (123.0, &whole.returns[1..]));
    assert_eq!((&resumed.tested, &resumed.after), (&whole.tested, &whole.after));

    // What is damaged is computed again.
    let mut damaged = kept.to_bytes();
    *damaged.last_mut().unwrap() ^= 1;
    put(&damaged);
    assert_eq!(run(Before::Resume, false).unwrap(), whole);
    // Another part's, or another study's, is refused, and stays.
    for what in ["part", "study"] {
        let mut foreign = kept.clone();
        foreign.versions.iter_mut().find(|(name, _)| name == what).unwrap().1 = "another".to_owned();
        put(&foreign.to_bytes());
        let message = run(Before::Resume, false).unwrap_err();
        assert!(message.contains("another run, or part") && message.contains(what), "{message}");
        assert!(message.contains("--fresh") && path.exists(), "{message}");
    }
    // Without a file of finished parts that can be read, it is not deleted either unless that is asked for.
    put(&kept.to_bytes());
    for text in ["", "run \n"] {
        std::fs::write(folder.file(), text).unwrap();
        assert!(folder.open("settings", Before::Ask).is_err());
        drop(folder.open("settings", Before::Resume).unwrap());
        assert!(path.exists());
    }
    drop(folder.open("settings", Before::Delete).unwrap());
    assert!(!path.exists());
}

#[test]
fn what_is_saved_is_read_and_not_computed_again() {
    let folder = Temporary::new("saved");
    let numbers = vec![0.1 + 0.2, -0.0, f64::MIN_POSITIVE / 4.0, f64::INFINITY, 1e300, f64::NAN];
    let saved = folder.open("settings", Before::Ask).unwrap();
    saved.part("3,4", || Ok(numbers.clone())).unwrap();
    drop(saved);
    let again = folder.open("settings", Before::Resume).unwrap().part("3,4", || unreachable!()).unwrap();
    assert!(numbers.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()));
    let new = folder.open("other settings", Before::Delete).unwrap();
    assert_eq!(new.part("3,4", || Ok(vec![1.0])).unwrap(), [1.0]);
}

#[test]
fn a_folder_belongs_to_one_run_at_a_time() {
    let folder = Temporary::new("lock");
    let first = Folder::open(folder.0.clone()).unwrap();
    let message = Folder::open(folder.0.join(".")).unwrap_err().to_string();
    assert!(message.starts_with("another run is writing to the folder"), "{message}");
    assert!(message.contains(folder.0.to_str().unwrap()) && message.contains("another folder"), "{message}");
    drop(first);
    // The lock's file is still there, as after a process that was killed.
    assert!(folder.0.join(".lock").exists());
    Folder::open(folder.0.clone()).unwrap();
}

/// Three parts, saved.
fn three_parts(folder: &Temporary) -> Saved {
    let saved = folder.open("settings of seed 3", Before::Delete).unwrap();
    for (name, numbers) in three() {
        saved.part(name, || Ok(numbers)).unwrap();
    }
    saved
}

fn three() -> BTreeMap<&'static str, Vec<f64>> {
    BTreeMap::from([("a", vec![1.25, -3.0]), ("b", vec![1e-7]), ("c", vec![4.5, 6.25, 0.1])])
}

#[test]
fn finished_parts_are_not_deleted_without_a_word() {
    let folder = Temporary::new("asked");
    three_parts(&folder);
    let text = folder.text();
    for settings in ["settings of seed 3", "settings of seed 4"] {
        let message = folder.open(settings, Before::Ask).err().unwrap();
        for words in ["finished.txt", "3 parts", "settings of seed 3", "--resume", "--fresh"] {
            assert!(message.contains(words), "{words}: {message}");
        }
        assert_eq!(folder.text(), text);
    }
    // What nobody can read may be somebody's.
    std::fs::write(folder.file(), "my notes\n").unwrap();
    for before in [Before::Ask, Before::Resume] {
        let message = folder.open("settings of seed 3", before).err().unwrap();
        assert!(message.contains("--fresh"), "{message}");
        assert_eq!(folder.text(), "my notes\n");
    }
    // Where results are made of them, they are gone, and the next run begins anew.
    three_parts(&folder).delete().unwrap();
    let new = folder.open("settings of seed 4", Before::Resume).unwrap();
    assert!(new.notes[0].starts_with("nothing to resume in "), "{:?}", new.notes);
    assert_eq!(new.part("a", || Ok(vec![7.0])).unwrap(), [7.0]);
}

#[test]
fn parts_of_another_run_are_refused() {
    let folder = Temporary::new("other");
    three_parts(&folder);
    let text = folder.text();
    let message = folder.open("settings of seed 4", Before::Resume).err().unwrap();
    for words in ["another run", "settings of seed 3", "settings of seed 4", "--fresh"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    // As if by another version of the program, or by two runs at once: one line of the other's, or its first one.
    std::fs::remove_file(folder.file()).unwrap();
    drop(folder.open("settings of seed 4", Before::Ask).unwrap().part("d", || Ok(vec![2.0])).unwrap());
    let mixed = text.clone() + folder.text().lines().last().unwrap() + "\n";
    let behind = folder.text().lines().next().unwrap().to_owned() + &text[text.find('\n').unwrap()..];
    for found in [mixed, behind] {
        std::fs::write(folder.file(), &found).unwrap();
        let message = folder.open("settings of seed 3", Before::Resume).err().unwrap();
        assert!(message.contains("another run") && message.contains("--fresh"), "{message}");
        assert_eq!(folder.text(), found);
    }
}

/// Which of the three parts are computed again if the file is as given, each with a note that names the file, and that all are
/// right in the end.
#[track_caller]
fn computed_again(folder: &Temporary, found: &[u8]) -> Vec<&'static str> {
    std::fs::write(folder.file(), found).unwrap();
    let mut again = Vec::new();
    let saved = folder.open("settings of seed 3", Before::Resume).unwrap();
    assert!(saved.notes.iter().all(|note| note.starts_with(folder.file().to_str().unwrap())), "{:?}", saved.notes);
    let notes = saved.notes.clone();
    for (name, numbers) in three() {
        let part = saved.part(name, || {
            again.push(name);
            Ok(numbers.clone())
        });
        assert_eq!(part.unwrap(), numbers);
    }
    assert!(again.is_empty() || !notes.is_empty(), "{again:?} without a note");
    // The damage is gone.
    assert!(folder.open("settings of seed 3", Before::Resume).unwrap().notes.is_empty());
    assert_eq!(folder.text().lines().count(), 4);
    again
}

#[test]
fn damaged_parts_are_computed_again() {
    let folder = Temporary::new("damaged");
    three_parts(&folder);
    let text = folder.text();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let [run, a, b, c] = lines[..] else { panic!("{text}") };
    let cases = [
        ("nothing", text.clone(), vec![]),
        ("a digit is another", [run, a, &b.replace("1e-7", "2e-7"), c].concat(), vec!["b"]),
        ("a number is missing", [run, &a.replace(" -3e0", ""), b, c].concat(), vec!["a"]),
        ("a name is another's", [run, &a.replace(" a ", " b "), b, c].concat(), vec!["a"]),
        ("a part is listed twice", [run, a, b, c, b].concat(), vec!["b"]),
        ("two lines are one", [run, a.trim_end(), b, c].concat(), vec!["a", "b"]),
        ("two lines are one, with a space", [run, a.trim_end(), " ", b, c].concat(), vec!["a", "b"]),
        ("the last line is cut", text[..text.len() - 9].to_owned(), vec!["c"]),
        ("the last line's end is missing", text.trim_end().to_owned(), vec!["c"]),
        ("the first line is damaged", [&run.replace("seed 3", "seed 5"), a, b, c].concat(), vec![]),
        ("the first line is missing", [a, b, c].concat(), vec![]),
        ("the first part is cut", text[..run.len() + 9].to_owned(), vec!["a", "b", "c"]),
        ("an empty line", [run, a, "\n", b, c].concat(), vec![]),
    ];
    for (what, found, again) in cases {
        assert_eq!(computed_again(&folder, found.as_bytes()), again, "{what}");
    }
    std::fs::write(folder.file(), [run, a, &b.replace("1e-7", "2e-7"), c, c].concat()).unwrap();
    let notes = folder.open("settings of seed 3", Before::Resume).unwrap().notes;
    let [damaged, twice] = &notes[..] else { panic!("{notes:?}") };
    assert!(damaged.ends_with("finished.txt: line 3 is damaged; part b is computed again"), "{damaged}");
    assert!(twice.ends_with("finished.txt: part c is listed twice; it is computed again"), "{twice}");

    let mut bytes = text.clone().into_bytes();
    bytes[run.len() + 20] = 0xFF;
    assert_eq!(computed_again(&folder, &bytes), ["a"], "no text");
}

#[test]
fn no_flip_of_a_bit_of_a_part_goes_unseen() {
    let folder = Temporary::new("flipped");
    three_parts(&folder);
    let bytes = std::fs::read(folder.file()).unwrap();
    let parts = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        let again = computed_again(&folder, &flipped);
        // A line's end that is none damages the line and the next. The first line is no part.
        let next = bytes[place] == b'\n' && place + 1 < bytes.len();
        let damaged = usize::from(place >= parts) + usize::from(next);
        assert_eq!(again.len(), damaged, "{place}: {}", String::from_utf8_lossy(&flipped));
    }
}
