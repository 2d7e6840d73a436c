//! The papers' experiments on MuJoCo's bodies: which method learns to adapt, by the steps made in simulations.
//!
//! | `--study` | reproduces | variants |
//! |---|---|---|
//! | `promp` | Rothfuss et al. 2019, Fig. 2, six environments | ProMP, TRPO-MAML, LVC-VPG, E-MAML-VPG, TRPO-E-MAML |
//! | `table2` | Fallah et al. 2021, Table 2, three environments | SG-MRL (as its tables were made, to first order) and MAML, 1, 2, 3 inner steps |
//! | `taypo` | Tang et al. 2021, Fig. 2, four environments | ProMP-TayPO-2, ProMP, TRPO-MAML, TRPO-FMAML, TRPO-DiCE |
//! | `lsf` | Tang 2022, Fig. 1 (c, d) and 2, three environments | LSF, SF |
//!
//! By default the first environment alone (`--env` is another, `--paper` all of them), with the first two variants, fewer tasks and
//! iterations, in single precision. Needs the feature `mujoco`: `cargo run --release --features mujoco --example locomotion`.

use clap::{Parser, ValueEnum};
use study::claims::Claims;
use study::learning::{Compared, LearningOptions, Named, Size};
use study::lines::picture;
use study::output::Output;
use study::statistics::minus;

/// Returns of meta-learners on MuJoCo's bodies, by steps in simulations.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    learning: LearningOptions,
    /// Which paper's experiment.
    #[arg(long, value_enum, default_value_t = Study::Promp)]
    study: Study,
    /// Which of its environments, as in the names of its presets [default: the first; --paper: all].
    #[arg(long)]
    env: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Study {
    Promp,
    Table2,
    Taypo,
    Lsf,
}

/// What a study compares.
struct Plan {
    /// In front of its presets' names.
    prefix: &'static str,
    environments: &'static [&'static str],
    /// Names, and what is other than in the presets. Those of the default size come first.
    variants: &'static [(&'static str, &'static str)],
    usual: Size,
    paper: Size,
    /// What the paper has for an environment and a variant in the end, where it prints a number.
    printed: &'static [(&'static str, &'static str, f64)],
}

/// One outer step, by whatever rule, instead of ProMP's several.
const VPG: &str = "outer-steps = 1\nkl-price = 0.0\nkl-adaptive = false\n";

const PROMP: Plan = Plan {
    prefix: "promp-",
    environments: &[
        "cheetah-direction",
        "ant-direction-2d",
        "walker2d-direction",
        "humanoid-direction-2d",
        "hopper-parameters",
        "walker2d-parameters",
    ],
    variants: &[
        ("ProMP", ""),
        ("TRPO-MAML", "algorithm = \"trpo-maml\"\ninner = \"ad\"\nouter = \"trpo\"\n"),
        ("LVC-VPG", "algorithm = \"lvc-vpg\"\n"),
        ("E-MAML-VPG", "algorithm = \"emaml-vpg\"\ninner = \"ad\"\n"),
        ("TRPO-E-MAML", "algorithm = \"trpo-emaml\"\ninner = \"ad\"\nouter = \"trpo\"\n"),
    ],
    usual: Size { seeds: 3, iterations: 100, others: "tasks = 20\nprecision = \"f32\"" },
    paper: Size { seeds: 3, iterations: 1001, others: "" },
    // (Rothfuss et al. have curves alone.)
    printed: &[],
};

const TABLE2: Plan = Plan {
    prefix: "sgmrl-",
    environments: &["cheetah-direction", "cheetah-velocity", "swimmer-velocity"],
    variants: &[
        ("SG-MRL, 1 step", "inner-steps = 1\n"),
        ("MAML, 1 step", "inner-steps = 1\nalgorithm = \"maml\"\n"),
        ("SG-MRL, 2 steps", "inner-steps = 2\n"),
        ("MAML, 2 steps", "inner-steps = 2\nalgorithm = \"maml\"\n"),
        ("SG-MRL, 3 steps", "inner-steps = 3\n"),
        ("MAML, 3 steps", "inner-steps = 3\nalgorithm = \"maml\"\n"),
    ],
    usual: Size { seeds: 3, iterations: 40, others: "tasks = 20\nhorizon = 100\nprecision = \"f32\"" },
    paper: Size { seeds: 4, iterations: 500, others: "" },
    printed: &[
        ("cheetah-direction", "SG-MRL, 1 step", 580.1),
        ("cheetah-direction", "MAML, 1 step", 465.6),
        ("cheetah-direction", "SG-MRL, 2 steps", 580.2),
        ("cheetah-direction", "MAML, 2 steps", 441.2),
        ("cheetah-direction", "SG-MRL, 3 steps", 504.7),
        ("cheetah-direction", "MAML, 3 steps", 477.1),
        ("cheetah-velocity", "SG-MRL, 1 step", -91.73),
        ("cheetah-velocity", "MAML, 1 step", -92.92),
        ("cheetah-velocity", "SG-MRL, 2 steps", -52.64),
        ("cheetah-velocity", "MAML, 2 steps", -56.71),
        ("cheetah-velocity", "SG-MRL, 3 steps", -33.39),
        ("cheetah-velocity", "MAML, 3 steps", -32.48),
        ("swimmer-velocity", "SG-MRL, 1 step", 118.8),
        ("swimmer-velocity", "MAML, 1 step", 104.5),
        ("swimmer-velocity", "SG-MRL, 2 steps", 134.6),
        ("swimmer-velocity", "MAML, 2 steps", 108.5),
        ("swimmer-velocity", "SG-MRL, 3 steps", 110.9),
        ("swimmer-velocity", "MAML, 3 steps", 90.6),
    ],
};

const TAYPO: Plan = Plan {
    prefix: "taypo-",
    environments: &["ant-direction-2d", "ant-goal", "humanoid-direction-2d", "walker2d-direction"],
    variants: &[
        ("ProMP-TayPO-2", ""),
        ("ProMP", "algorithm = \"promp\"\ninner = \"lvc\"\n"),
        ("TRPO-MAML", "algorithm = \"trpo-maml\"\ninner = \"ad\"\nouter = \"trpo\"\n"),
        ("TRPO-FMAML", "algorithm = \"trpo-fmaml\"\ninner = \"ad\"\nouter = \"trpo\"\n"),
        ("TRPO-DiCE", "algorithm = \"trpo-dice\"\ninner = \"dice\"\nouter = \"trpo\"\n"),
    ],
    usual: Size { seeds: 3, iterations: 20, others: "tasks = 20\nprecision = \"f32\"" },
    paper: Size { seeds: 10, iterations: 1001, others: "" },
    printed: &[],
};

const LSF: Plan = Plan {
    prefix: "lsf-",
    environments: &["cheetah-direction", "ant-direction-2d", "walker2d-direction"],
    variants: &[("LSF", ""), ("SF", "algorithm = \"sf\"\ninner = \"ad\"\n")],
    usual: Size { seeds: 3, iterations: 40, others: "precision = \"f32\"" },
    paper: Size { seeds: 5, iterations: 500, others: "" },
    printed: &[],
};

impl Study {
    fn plan(self) -> &'static Plan {
        match self {
            Study::Promp => &PROMP,
            Study::Table2 => &TABLE2,
            Study::Taypo => &TAYPO,
            Study::Lsf => &LSF,
        }
    }
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| locomotion(&options))
}

fn locomotion(options: &Options) -> study::Outcome {
    let plan = options.study.plan();
    let study = &options.learning.study;
    let environments: Vec<&str> = match &options.env {
        Some(name) => match plan.environments.iter().find(|one| *one == name) {
            Some(name) => vec![name],
            None => return Err(format!("--env is {name}, but must be one of {}", plan.environments.join(", ")).into()),
        },
        None => plan.environments[..study.size(1, 1, plan.environments.len())].to_vec(),
    };
    let variants = &plan.variants[..study.size(2, 2, plan.variants.len())];
    let texts: Vec<String> = variants.iter().map(|(name, text)| by_one_outer_step(name, text)).collect();
    let presets: Vec<String> = environments.iter().map(|environment| format!("{}{environment}", plan.prefix)).collect();
    let named: Vec<Named<'_>> = presets
        .iter()
        .flat_map(|preset| variants.iter().zip(&texts).map(|((name, _), text)| (*name, preset.as_str(), text.as_str())))
        .collect();
    let comparison = options.learning.comparison([Size::QUICK, plan.usual, plan.paper], &named)?;
    let name = format!("locomotion_{}", options.study.to_possible_value().expect("not hidden").get_name());
    let (compared, mut output, saved) = options.learning.learn(&name, &comparison, |_, _, _| Ok(Vec::new()))?;

    let (mut panels, mut claims, mut rows) = (Vec::new(), Claims::default(), Vec::new());
    let of_environments = compared.names.chunks(variants.len()).zip(compared.runs.chunks(variants.len()));
    for (environment, (names, runs)) in environments.iter().zip(of_environments) {
        let here = Compared { names: names.to_vec(), runs: runs.to_vec() };
        writeln!(output, "{environment}\n");
        here.print(&mut output);
        writeln!(output);
        if here.names.len() > 1 {
            let others: Vec<(usize, usize)> = (1..here.names.len()).map(|other| (0, other)).collect();
            here.print_differences(&mut output, &others);
            writeln!(output);
        }
        print_papers(&mut output, plan, environment, &here);
        panels.push(here.panel(&format!("{environment}: adapted")));
        judge(&mut claims, environment, &here);
        rows.extend(here.rows().map(|row| [vec![(*environment).to_owned()], row].concat()));
    }
    let columns = ["environment", "variant", "seed", "iteration", "env_steps", "inner_steps", "return"];
    output.table("returns.csv", &columns, rows);
    let pictures: Vec<Vec<_>> = panels.chunks(3).map(<[_]>::to_vec).collect();
    output.file("locomotion.svg", picture(&pictures)?);
    if study.check {
        claims.judge(&mut output);
    }
    output.finish(Some(saved))
}

/// What a variant is other in: by one outer step, unless it is of ProMP's kind.
fn by_one_outer_step(name: &str, text: &str) -> String {
    if name.starts_with("ProMP") { text.to_owned() } else { format!("{VPG}{text}") }
}

/// The paper's numbers beside those here, where it prints any.
fn print_papers(output: &mut Output, plan: &Plan, environment: &str, here: &Compared) {
    let of = |variant: &String| plan.printed.iter().find(|(there, name, _)| *there == environment && name == variant);
    if !here.names.iter().any(|name| of(name).is_some()) {
        return;
    }
    let steps = here.runs[0][0].env_steps.last().copied().unwrap_or(0.0);
    writeln!(
        output,
        "The paper's, after 500 iterations of 40 tasks, 160 million steps with one inner step (here {:.1} million):",
        steps / 1e6
    );
    for (_, variant, printed) in here.names.iter().filter_map(of) {
        writeln!(output, "{variant:<18}{printed:>10}");
    }
    writeln!(output);
}

/// Whoever meta-learns is paid more after adapting than before, and than after adapting what nobody taught.
fn judge(claims: &mut Claims, environment: &str, here: &Compared) {
    for (variant, name) in here.names.iter().enumerate() {
        let claim = claims.claim(&format!("{environment}: {name} learns to adapt (the last tenth of iterations)"));
        claim.above("after − before inner steps".to_owned(), &minus(&here.last(variant), &here.last_after(variant, 0)));
        claim.above(
            "after inner steps − in the first iteration".to_owned(),
            &minus(&here.last(variant), &here.first(variant)),
        );
    }
}
