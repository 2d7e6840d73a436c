//! Exploration before adaptation (Rothfuss et al. 2019, section 4.3, Fig. 4): a point with momentum has to find out which of four
//! corners pays. LVC-TRPO, MAML-TRPO and E-MAML-TRPO with three inner steps, and the paths that their policies go.
//!
//! The settings are those of the paper's code (the presets `exploration-*`); by default with fewer tasks, trajectories and
//! iterations of conjugate gradients, and a smaller network in single precision.

use clap::Parser;
use rl::env::Momentum;
use study::claims::Claims;
use study::learning::{LearningOptions, Named, Paths, Size};
use study::lines::picture;
use study::statistics::minus;

/// Returns of LVC-TRPO, MAML-TRPO and E-MAML-TRPO on a point with momentum, and the paths before and after adaptation.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    learning: LearningOptions,
}

const VARIANTS: [Named<'_>; 3] = [
    ("LVC-TRPO", "exploration-lvc-trpo", ""),
    ("MAML-TRPO", "exploration-maml-trpo", ""),
    ("E-MAML-TRPO", "exploration-emaml-trpo", ""),
];
const LVC: usize = 0;
const MAML: usize = 1;
const EMAML: usize = 2;

const SIZES: [Size; 3] = [
    Size::QUICK,
    Size {
        seeds: 16,
        iterations: 150,
        others: "tasks = 12\nrollouts = 10\nhidden = [16, 16]\ncg-iterations = 5\nprecision = \"f32\"",
    },
    Size { seeds: 5, iterations: 501, others: "" },
];

const CORNERS: [[f64; 2]; 4] = [[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| exploration(&options.learning))
}

fn exploration(options: &LearningOptions) -> study::Outcome {
    let comparison = options.comparison(SIZES, &VARIANTS)?;
    let paths = Paths { goals: CORNERS.to_vec(), inner_steps: 3, count: 4, horizon: 100 };
    let (compared, mut output, saved) = options.learn("exploration", &comparison, |learner, _, run| match run {
        // The first run of each is shown.
        0 => paths.walked(learner, Momentum::to, options.study.common.seed),
        _ => Ok(Vec::new()),
    })?;

    compared.print(&mut output);
    writeln!(output);
    compared.print_differences(&mut output, &[(LVC, MAML), (LVC, EMAML), (MAML, EMAML)]);
    compared.write(&mut output);
    let shown = compared.shown();
    paths.write(&mut output, &shown);
    let mut rows = vec![vec![compared.panel("return after three inner steps")]];
    rows.extend(paths.panels(&shown, 4.0));
    output.file("exploration.svg", picture(&rows)?);
    if options.study.check {
        let mut claims = Claims::default();
        let claim = claims.claim("adapted, LVC-TRPO is paid more than MAML-TRPO (the last tenth of iterations)");
        claim.above("LVC-TRPO − MAML-TRPO", &minus(&compared.last(LVC), &compared.last(MAML)));
        writeln!(output);
        claims.judge(&mut output);
    }
    output.finish(Some(saved))
}
