//! Learners side by side: variants of a configuration, each from the same seeds, a saved part for each run, which is kept while it is
//! under way, too; what they are paid as they learn, and the paths of what they adapt.
//!
//! Runs of one seed begin with the same parameters and tasks, whatever the variant: their differences are paired.

use indicatif::ProgressBar;
use ndarray::{ArrayView5, Axis, s};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rl::env::Environment;
use rl::error::{Error, Result};
use rl::stream::seed_of;
use train::registry;
use train::run::config::{Config, Layer};
use train::{Learner, MetaLearner};

use crate::lines::{self, Line, Panel};
use crate::options::{StudyOptions, whole};
use crate::output::{Output, progress};
use crate::saved::Saved;
use crate::statistics::{interval, mean_and_std, mean_in_words, minus, told_from_zero};
use crate::under_way::UnderWay;

/// A learner to be compared with others.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What it is called in tables.
    pub name: String,
    config: Config,
    /// What outside of this program decides over its numbers.
    versions: Vec<(String, String)>,
}

impl Variant {
    /// As a preset has it, but for what these texts say, each TOML, a later one before an earlier.
    ///
    /// # Errors
    ///
    /// What the configuration refuses, or the learner.
    pub fn of(name: &str, preset: &str, texts: &[&str]) -> train::run::Result<Self> {
        let mut options = toml::Table::new();
        for text in texts {
            // As a layer of its own, so that what is wrong is told with the variant's name.
            Layer::parse(name, text)?;
            options.extend(text.parse::<toml::Table>().expect("just read"));
        }
        let config = registry::configure(None, Some(preset), None, options)?;
        let versions = registry::meta_learner(&config)?.versions();
        Ok(Self { name: name.to_owned(), config, versions })
    }

    /// How many iterations it learns for.
    pub fn iterations(&self) -> u64 {
        self.config.iterations
    }

    /// How many numbers an iteration has in a [`Run`]: steps made in environments, and the return before and after each inner step.
    fn width(&self) -> usize {
        2 + self.config.inner_steps
    }

    /// The learner of this seed.
    pub fn learner(&self, seed: u64) -> MetaLearner {
        // (A configuration's seed is one of TOML's numbers, which have a sign.)
        let config = Config { seed: seed >> 1, ..self.config.clone() };
        registry::meta_learner(&config).expect("one was made of it before")
    }
}

/// The options of a study that compares learners.
#[derive(clap::Args, Debug)]
pub struct LearningOptions {
    /// What every study has.
    #[command(flatten)]
    pub study: StudyOptions,
    /// How many runs each variant has, each from a seed of its own; other defaults with --quick and --paper.
    #[arg(long, value_parser = whole(1..=1000))]
    pub seeds: Option<usize>,
    /// How many iterations a run learns for; other defaults with --quick and --paper.
    #[arg(long, value_parser = whole(1..=1_000_000))]
    pub iterations: Option<usize>,
}

/// How large a comparison is, where the options do not say so.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many runs each variant has.
    pub seeds: usize,
    /// How many iterations a run learns for.
    pub iterations: usize,
    /// What else is other than in the variants' presets, as TOML.
    pub others: &'static str,
}

impl Size {
    /// A matter of seconds.
    pub const QUICK: Self =
        Self { seeds: 2, iterations: 2, others: "tasks = 4\nrollouts = 4\nhidden = [8]\nprecision = \"f32\"" };
}

/// A learner to compare: its name, its preset, and what else is other than there, as TOML.
pub type Named<'a> = (&'a str, &'a str, &'a str);

impl LearningOptions {
    /// The comparison of variants, of the size that is asked for: `--quick`, usual, `--paper`.
    ///
    /// # Errors
    ///
    /// Those of [`Variant::of`].
    pub fn comparison(&self, sizes: [Size; 3], variants: &[Named<'_>]) -> train::run::Result<Comparison> {
        let [quick, usual, paper] = sizes;
        let size = self.study.size(quick, usual, paper);
        let iterations = format!("iterations = {}", self.iterations.unwrap_or(size.iterations));
        let of = |&(name, preset, text): &Named<'_>| Variant::of(name, preset, &[size.others, text, &iterations]);
        let variants = variants.iter().map(of).collect::<train::run::Result<_>>()?;
        let repeats = self.seeds.unwrap_or(size.seeds);
        Ok(Comparison { variants, seed: self.study.common.seed, repeats, test: None })
    }

    /// Runs a comparison for the example of this name, with a bar of its progress. Whoever prints the results goes on with the output,
    /// and ends it with the saved parts.
    ///
    /// # Errors
    ///
    /// What goes wrong with the folder, the parts, or a learner.
    pub fn learn(
        &self,
        example: &str,
        comparison: &Comparison,
        after: impl Fn(&MetaLearner, usize, usize) -> Result<Vec<f64>> + Sync,
    ) -> Result<(Compared, Output, Saved)> {
        let folder = self.study.common.folder(example)?;
        let saved = self.study.saved(&folder, &format!("{example} {}", comparison.settings()))?;
        let progress = progress(comparison.iterations(), "iterations");
        let compared = comparison.run(&saved, &progress, after)?;
        progress.finish_and_clear();
        Ok((compared, Output::new(folder), saved))
    }
}

/// Variants, each to be run from the same seeds.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Who is compared.
    pub variants: Vec<Variant>,
    /// What the runs' seeds are a function of.
    pub seed: u64,
    /// How many runs each variant has.
    pub repeats: usize,
    /// The test after each of the last tenth of iterations, if there is one. (A mean over those says more than the last policy.)
    pub test: Option<Test>,
}

/// What the policy is adapted to beside learning.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// How many tasks are drawn, others each time.
    pub tasks: usize,
    /// How many inner steps are made, which may be more than in learning.
    pub inner_steps: usize,
}

/// What a run was paid, and what was asked of it in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Mean return over tasks, before and after each inner step, for each iteration.
    pub returns: Vec<Vec<f64>>,
    /// Steps made in environments up to the end of each iteration.
    pub env_steps: Vec<f64>,
    /// At test: mean return over its tasks, before and after each inner step, for each of the last tenth of iterations.
    pub tested: Vec<Vec<f64>>,
    /// The answer when it had learned.
    pub after: Vec<f64>,
}

impl Comparison {
    /// All that the runs are a function of.
    pub fn settings(&self) -> String {
        let version = |(name, version): &(String, String)| format!(" ({name} {version})");
        let of = |variant: &Variant| {
            let versions: String = variant.versions.iter().map(version).collect();
            format!("{}{versions}: {}", variant.name, variant.config.table())
        };
        let variants: Vec<String> = self.variants.iter().map(of).collect();
        let test = self.test.map_or(String::new(), |test| format!(", {test:?}"));
        format!("seed {}, {} runs{test}, {}", self.seed, self.repeats, variants.join("; ").replace('\n', " "))
    }

    /// How many iterations there are in all.
    pub fn iterations(&self) -> usize {
        self.repeats * self.variants.iter().map(|variant| variant.iterations() as usize).sum::<usize>()
    }

    /// Makes all runs, and asks each something in the end: `after(learner, variant, run)`.
    ///
    /// # Errors
    ///
    /// Those of learners, with the variant's name.
    pub fn run(
        &self,
        saved: &Saved,
        progress: &ProgressBar,
        after: impl Fn(&MetaLearner, usize, usize) -> Result<Vec<f64>> + Sync,
    ) -> Result<Compared> {
        let jobs: Vec<(usize, usize)> = (0..self.repeats)
            .flat_map(|repeat| (0..self.variants.len()).map(move |variant| (variant, repeat)))
            .collect();
        let runs: Vec<Run> = jobs
            .into_par_iter()
            .map(|(number, repeat)| {
                let variant = &self.variants[number];
                let mut is_new = false;
                let name = format!("{number},{repeat}");
                let numbers = saved.part(&name, || {
                    is_new = true;
                    let under_way = UnderWay::new(saved, &name, &variant.config);
                    self.learn((number, repeat), under_way, progress, &after)
                })?;
                if !is_new {
                    progress.inc(variant.iterations());
                }
                Ok(self.read(&numbers, variant))
            })
            .collect::<Result<_>>()?;
        let names = self.variants.iter().map(|variant| variant.name.clone()).collect();
        let of = |variant: usize| runs.iter().skip(variant).step_by(self.variants.len()).cloned().collect();
        Ok(Compared { names, runs: (0..self.variants.len()).map(of).collect() })
    }

    /// The numbers of a [`Run`].
    fn learn(
        &self,
        (number, repeat): (usize, usize),
        mut under_way: UnderWay<'_>,
        progress: &ProgressBar,
        after: impl Fn(&MetaLearner, usize, usize) -> Result<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        let variant = &self.variants[number];
        let within = |error: Error| error.during(variant.name.clone());
        let mean = |tasks: &Vec<f64>| mean_and_std(tasks).0;
        let mut learner = variant.learner(seed_of(self.seed, &[repeat as u64]));
        let (first, mut numbers) = under_way.resume(&mut learner)?;
        let mut tested = numbers.split_off(variant.width() * first as usize);
        let last = variant.iterations() - last_tenth(variant.iterations() as usize) as u64;
        let mut steps = numbers.rchunks(variant.width()).next().map_or(0.0, |last| last[0]);
        progress.inc(first);
        for iteration in first..variant.iterations() {
            let made = learner.iterate(iteration).map_err(within)?;
            steps += made.env_steps as f64;
            numbers.push(steps);
            numbers.extend(made.returns.iter().map(mean));
            if let Some(Test { tasks, inner_steps }) = self.test.filter(|_| iteration >= last) {
                let seed = seed_of(self.seed, &[repeat as u64, iteration]);
                tested.extend(learner.evaluate(tasks, inner_steps, seed).map_err(within)?.iter().map(mean));
            }
            under_way.keep(&learner, iteration + 1, &[&numbers[..], &tested].concat())?;
            progress.inc(1);
        }
        numbers.extend(tested);
        numbers.extend(after(&learner, number, repeat).map_err(within)?);
        Ok(numbers)
    }

    /// From what is saved: for each iteration the steps made and the returns, then the tests, and the answer.
    fn read(&self, numbers: &[f64], variant: &Variant) -> Run {
        let (width, iterations) = (variant.width(), variant.iterations() as usize);
        let (learning, rest) = numbers.split_at(width * iterations);
        let at_test = self.test.map_or(0, |test| test.inner_steps + 1);
        let (tested, after) = rest.split_at(at_test * last_tenth(iterations));
        Run {
            returns: learning.chunks(width).map(|row| row[1..].to_vec()).collect(),
            env_steps: learning.chunks(width).map(|row| row[0]).collect(),
            tested: tested.chunks(at_test.max(1)).map(<[f64]>::to_vec).collect(),
            after: after.to_vec(),
        }
    }
}

/// How many of these iterations, at least one, are the last tenth.
fn last_tenth(iterations: usize) -> usize {
    iterations.div_ceil(10)
}

/// The mean of a column.
fn column(rows: &[Vec<f64>], at: usize) -> f64 {
    rows.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64
}

impl Run {
    /// The return after the last inner step, for each iteration.
    fn adapted(&self) -> impl Iterator<Item = f64> {
        self.returns.iter().map(|steps| *steps.last().expect("at least before the first step"))
    }
}

/// All runs.
pub struct Compared {
    /// Of the variants.
    pub names: Vec<String>,
    /// For each variant, its runs, in the order of seeds.
    pub runs: Vec<Vec<Run>>,
}

impl Compared {
    /// For each run of a variant, the mean return after `step` inner steps over the last tenth of its iterations.
    pub fn last_after(&self, variant: usize, step: usize) -> Vec<f64> {
        let of = |run: &Run| column(&run.returns[run.returns.len() - last_tenth(run.returns.len())..], step);
        self.runs[variant].iter().map(of).collect()
    }

    /// For each run of a variant, the mean return after `step` inner steps over its tests.
    pub fn tested(&self, variant: usize, step: usize) -> Vec<f64> {
        self.runs[variant].iter().map(|run| column(&run.tested, step)).collect()
    }

    /// For each run of a variant, the mean return of what was adapted over the last tenth of its iterations.
    pub fn last(&self, variant: usize) -> Vec<f64> {
        self.last_after(variant, self.inner_steps(variant))
    }

    /// The same over all of them: how well and how soon it learned.
    pub fn mean(&self, variant: usize) -> Vec<f64> {
        self.runs[variant].iter().map(|run| run.adapted().sum::<f64>() / run.returns.len() as f64).collect()
    }

    /// For each run of a variant, the return of what was adapted in the first iteration, before anything was learned.
    pub fn first(&self, variant: usize) -> Vec<f64> {
        self.runs[variant].iter().filter_map(|run| run.adapted().next()).collect()
    }

    fn inner_steps(&self, variant: usize) -> usize {
        self.runs[variant][0].returns[0].len() - 1
    }

    /// Prints a line for each variant: returns before and after each inner step in the last tenth of iterations, and over all.
    pub fn print(&self, output: &mut Output) {
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(7);
        let most = (0..self.names.len()).map(|variant| self.inner_steps(variant)).max().unwrap_or(0);
        let heads: String = (0..=most).map(|step| format!("{:>18}", format!("after {step} steps"))).collect();
        let runs = self.runs[0].len();
        writeln!(
            output,
            "Mean return over tasks in the last tenth of iterations, {runs} runs each, with 95 % intervals:\n"
        );
        writeln!(output, "{:<width$}{heads}{:>20}", "variant", "mean over learning");
        for (variant, name) in self.names.iter().enumerate() {
            let cells = (0..=most).map(|step| match step <= self.inner_steps(variant) {
                true => format!("{:>18}", mean_in_words(&self.last_after(variant, step))),
                false => format!("{:>18}", ""),
            });
            let cells: String = cells.collect();
            writeln!(output, "{name:<width$}{cells}{:>20}", mean_in_words(&self.mean(variant)));
        }
    }

    /// What was asked of each variant's first run, by the variant's name.
    pub fn shown(&self) -> Vec<(&str, &[f64])> {
        self.names.iter().zip(&self.runs).map(|(name, runs)| (name.as_str(), &runs[0].after[..])).collect()
    }

    /// Prints how much more is paid to the first of each pair than to the second, in the last tenth of iterations and over all of
    /// them, and whether the intervals tell which is better.
    pub fn print_differences(&self, output: &mut Output, pairs: &[(usize, usize)]) {
        let name = |&(a, b): &(usize, usize)| format!("{} − {}", self.names[a], self.names[b]);
        let width = pairs.iter().map(|pair| name(pair).chars().count()).max().unwrap_or(0);
        writeln!(output, "{:<width$}  {:>24}  {:>28}", "difference", "in the end", "mean over learning");
        for pair @ &(a, b) in pairs {
            let told = [minus(&self.last(a), &self.last(b)), minus(&self.mean(a), &self.mean(b))]
                .map(|differences| format!("{} {:<7}", mean_in_words(&differences), told_from_zero(&differences)));
            writeln!(output, "{:<width$}  {:>24}  {:>28}", name(pair), told[0], told[1]);
        }
    }

    /// For each variant, seed, iteration and number of inner steps: these (with the steps made in environments), and the return.
    pub fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.names.iter().zip(&self.runs).flat_map(|(name, runs)| {
            runs.iter().enumerate().flat_map(move |(seed, run)| {
                run.returns.iter().enumerate().flat_map(move |(iteration, returns)| {
                    returns.iter().enumerate().map(move |(step, value)| {
                        let steps = run.env_steps[iteration].to_string();
                        let whole = [seed.to_string(), iteration.to_string(), steps, step.to_string()];
                        [vec![name.clone()], whole.to_vec(), vec![value.to_string()]].concat()
                    })
                })
            })
        })
    }

    /// Writes `returns.csv`.
    pub fn write(&self, output: &mut Output) {
        let columns = ["variant", "seed", "iteration", "env_steps", "inner_steps", "return"];
        output.table("returns.csv", &columns, self.rows());
    }

    /// What is paid after the last inner step, by the steps that were made in environments: means over runs, with intervals.
    pub fn panel(&self, title: &str) -> Panel {
        Panel {
            title: title.to_owned(),
            x: lines::Axis::linear("steps in environments (thousands)"),
            y: lines::Axis::linear("return"),
            lines: (0..self.names.len()).map(|variant| self.line(variant)).collect(),
        }
    }

    fn line(&self, variant: usize) -> Line {
        let runs = &self.runs[variant];
        let point = |iteration: usize| {
            let of = |run: &Run| run.adapted().nth(iteration).expect("as many iterations in each run");
            let steps = runs.iter().map(|run| run.env_steps[iteration]).sum::<f64>() / runs.len() as f64;
            (steps / 1000.0, interval(&runs.iter().map(of).collect::<Vec<_>>()))
        };
        Line::with_intervals(self.names[variant].clone(), (0..runs[0].returns.len()).map(point))
    }
}

/// Paths in the plane of what a policy is adapted to: where they are to go, and how many there are of each kind.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The goal of each task.
    pub goals: Vec<[f64; 2]>,
    /// How many inner steps the policy makes.
    pub inner_steps: usize,
    /// How many trajectories are kept before and after each of them.
    pub count: usize,
    /// How many steps these have.
    pub horizon: usize,
}

impl Paths {
    fn shape(&self) -> (usize, usize, usize, usize, usize) {
        (self.goals.len(), self.inner_steps + 1, self.count, self.horizon + 1, 2)
    }

    /// Adapts to the task of each goal, where observations begin with a position: `[goals, inner steps + 1, count, horizon + 1, 2]`,
    /// in this order. A path that has ended stays where it was.
    ///
    /// # Errors
    ///
    /// What goes wrong in an environment.
    pub fn walked<E: Environment + Clone + Sync>(
        &self,
        learner: &MetaLearner,
        task: impl Fn([f64; 2]) -> E + Sync,
        seed: u64,
    ) -> Result<Vec<f64>> {
        let mut places = Vec::new();
        for &goal in &self.goals {
            let task = |_: &mut ChaCha8Rng| task(goal);
            for rollout in learner.adaptation(&task, self.inner_steps, seed)? {
                let seen = rollout.observations().array::<f64>().expect("positions are real numbers");
                for path in 0..self.count {
                    let last = rollout.lengths()[path];
                    places.extend(
                        (0..=self.horizon).flat_map(|t| [0, 1].map(|axis| seen[&[path, t.min(last), axis][..]])),
                    );
                }
            }
        }
        Ok(places)
    }

    fn read<'n>(&self, numbers: &'n [f64]) -> ArrayView5<'n, f64> {
        ArrayView5::from_shape(self.shape(), numbers).expect("walked with the same goals and numbers")
    }

    /// Writes `paths.csv`, of variants by name.
    pub fn write(&self, output: &mut Output, of: &[(&str, &[f64])]) {
        let mut rows = Vec::new();
        for (name, numbers) in of {
            let places = self.read(numbers);
            for (goal, step, path, t) in ndarray::indices_of(&places.index_axis(Axis(4), 0)) {
                let [goal_x, goal_y] = self.goals[goal];
                let [x, y] = [0, 1].map(|axis| places[[goal, step, path, t, axis]]);
                let whole = [step, path, t].map(|number| number.to_string());
                let row = [name.to_string(), goal_x.to_string(), goal_y.to_string()].into_iter().chain(whole);
                rows.push(row.chain([x, y].map(|number| number.to_string())));
            }
        }
        output.table("paths.csv", &["variant", "goal_x", "goal_y", "inner_steps", "path", "t", "x", "y"], rows);
    }

    /// Two rows with a panel for each variant: paths before the first inner step, and after the last, to each goal (a dot). The
    /// plane is drawn up to ± `border`.
    pub fn panels(&self, of: &[(&str, &[f64])], border: f64) -> Vec<Vec<Panel>> {
        let axis = |name: &str| lines::Axis::linear(name).within(-border, border);
        let panel = |name: &str, numbers: &[f64], step: usize| {
            let places = self.read(numbers);
            let mut lines = Vec::new();
            for (number, goal) in self.goals.iter().enumerate() {
                let name = format!("to ({}, {})", goal[0], goal[1]);
                lines.push(Line::new(name.clone(), [(goal[0], goal[1])]).dots());
                // Before the first step nothing is known of the goal: the paths are the same for all.
                let name = match (step, number) {
                    (0, 0) => "to any of them".to_owned(),
                    (0, _) => continue,
                    _ => name,
                };
                let paths = places.slice(s![number, step, .., .., ..]);
                lines.extend(paths.outer_iter().map(|path| {
                    Line::new(name.clone(), path.outer_iter().map(|place| (place[0], place[1]))).without_marks()
                }));
            }
            lines.sort_by_key(Line::is_connected);
            let when = if step == 0 { "before".to_owned() } else { format!("after {step} inner steps") };
            Panel { title: format!("{name}: {when}"), x: axis("x"), y: axis("y"), lines }
        };
        let row = |step: usize| of.iter().map(|(name, numbers)| panel(name, numbers, step)).collect();
        vec![row(0), row(self.inner_steps)]
    }
}
