//! MAML on its authors' point environment (Finn et al. 2017, section 5.3, Fig. 4; returns from their released arrays): from the
//! origin to a goal that is not seen, paid minus the distance. One inner step of rate 0.5 in learning; up to four at test, the later
//! ones of half the rate.
//!
//! The settings are those of the authors' code (the preset `maml-navigation`), but for TRPO's damping: by default with more
//! trajectories and fewer iterations, in single precision, and with the divergence's Hessian by a quarter of the trajectories. What
//! the policy does before it adapts is of no account in MAML's objective but for what is learned there, and TRPO's divergence is that
//! of adapted policies: along directions that these hardly feel, only damping holds a step back. With the authors' 1e-5 about every
//! third run goes, in one step or a few, far away before it adapts (returns of −100 to −650, and −35 after), with layers of any width
//! and of tanh, too; with 1e-2 none did.

use clap::Parser;
use rl::env::Navigation;
use study::claims::Claims;
use study::learning::{Comparison, LearningOptions, Named, Paths, Size, Test};
use study::lines::picture;
use study::statistics::mean_in_words;

/// Returns of MAML on a point's way to a goal, by inner steps at test, beside those of its authors.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    learning: LearningOptions,
}

const VARIANTS: [Named<'_>; 1] = [("MAML", "maml-navigation", "")];

const SIZES: [Size; 3] = [
    Size::QUICK,
    Size { seeds: 10, iterations: 46, others: "rollouts = 40\ncurvature-rollouts = 10\nprecision = \"f32\"" },
    Size { seeds: 4, iterations: 100, others: "rollouts = 40" },
];

/// Inner steps at test.
const STEPS: usize = 4;
/// Tasks of each test: with --quick, and else. (Of 40, as the authors have, a mean after two steps is off by .5: more than runs
/// differ.)
const TASKS: [usize; 2] = [40, 80];
/// Mean returns after 0 … 4 steps in the authors' arrays.
const AUTHORS: [f64; STEPS + 1] = [-40.41, -11.68, -3.33, -3.23, -3.35];
const GOALS: [[f64; 2]; 4] = [[-0.4, -0.3], [0.35, -0.4], [-0.3, 0.4], [0.4, 0.25]];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| maml_navigation(&options.learning))
}

fn maml_navigation(options: &LearningOptions) -> study::Outcome {
    let seed = options.study.common.seed;
    let tasks = options.study.size(TASKS[0], TASKS[1], TASKS[1]);
    let test = Some(Test { tasks, inner_steps: STEPS });
    let comparison = Comparison { test, ..options.comparison(SIZES, &VARIANTS)? };
    let paths = Paths { goals: GOALS.to_vec(), inner_steps: 2, count: 3, horizon: 100 };
    let walked = |learner: &_, _, run| match run {
        0 => paths.walked(learner, Navigation::to, seed),
        _ => Ok(Vec::new()),
    };
    let (compared, mut output, saved) = options.learn("maml_navigation", &comparison, walked)?;

    let after = |step: usize| compared.tested(0, step);
    let runs = &compared.runs[0];
    writeln!(
        output,
        "Mean return on {tasks} fresh tasks after each of the last {} iterations, {} runs, with 95 % intervals:\n",
        runs[0].tested.len(),
        runs.len()
    );
    writeln!(output, "inner steps              here     authors");
    for (step, authors) in AUTHORS.iter().enumerate() {
        writeln!(output, "{step:>11}{:>18}{authors:>12}", mean_in_words(&after(step)));
    }
    compared.write(&mut output);
    let rows = (0..=STEPS).flat_map(|step| {
        let returns = after(step).into_iter().enumerate();
        returns.map(move |(run, value)| [run.to_string(), step.to_string(), value.to_string()])
    });
    output.table("test.csv", &["seed", "inner_steps", "return"], rows);
    let shown = compared.shown();
    paths.write(&mut output, &shown);
    let mut panels: Vec<_> = paths.panels(&shown, 0.8).concat();
    panels.push(compared.panel("return after one inner step"));
    output.file("maml_navigation.svg", picture(&[panels])?);
    if options.study.check {
        let mut claims = Claims::default();
        for (step, least) in [(1, -15.0), (2, -5.0)] {
            let claim = claims.claim(&format!("at test, a task is paid at least {least} after {step} inner step(s)"));
            let above: Vec<f64> = after(step).iter().map(|value| value - least).collect();
            claim.above(format!("return after {step}, less {least}"), &above);
        }
        writeln!(output);
        claims.judge(&mut output);
    }
    output.finish(Some(saved))
}
