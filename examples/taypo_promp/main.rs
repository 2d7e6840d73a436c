//! ProMP with an inner step of second order (Tang et al. 2021, section 5.2.1, Fig. 1 d): three inner steps towards a corner that is
//! not seen, by ProMP with TayPO-2 inside, ProMP, and MAML, E-MAML, first-order MAML and DiCE with TRPO outside.
//!
//! The settings are those of the preset `taypo-promp`; by default with fewer tasks and trajectories, a smaller network in single
//! precision, and fewer iterations of conjugate gradients. The paper speaks of marginal gains: which is better is printed where
//! intervals tell, and no order is demanded.

use clap::Parser;
use study::claims::Claims;
use study::learning::{LearningOptions, Named, Size};
use study::lines::picture;
use study::statistics::minus;

/// Returns of ProMP-TayPO-2, ProMP, MAML, E-MAML, first-order MAML and TRPO-DiCE after three inner steps in the corner.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    learning: LearningOptions,
}

const PRESET: &str = "taypo-promp";
const VARIANTS: [Named<'_>; 6] = [
    ("ProMP-TayPO-2", PRESET, ""),
    ("ProMP", PRESET, "algorithm = \"promp\"\ninner = \"lvc\"\n"),
    ("MAML", PRESET, "algorithm = \"trpo-maml\"\ninner = \"ad\"\nouter = \"trpo\"\nouter-steps = 1\n"),
    ("E-MAML", PRESET, "algorithm = \"trpo-emaml\"\ninner = \"ad\"\nouter = \"trpo\"\nouter-steps = 1\n"),
    ("FMAML", PRESET, "algorithm = \"trpo-fmaml\"\ninner = \"ad\"\nouter = \"trpo\"\nouter-steps = 1\n"),
    ("TRPO-DiCE", PRESET, "algorithm = \"trpo-dice\"\ninner = \"dice\"\nouter = \"trpo\"\nouter-steps = 1\n"),
];

const SIZES: [Size; 3] = [
    Size::QUICK,
    Size {
        seeds: 5,
        iterations: 40,
        others: "tasks = 12\nrollouts = 10\nhidden = [32, 32]\ncg-iterations = 5\nprecision = \"f32\"",
    },
    Size { seeds: 10, iterations: 150, others: "" },
];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| taypo_promp(&options.learning))
}

fn taypo_promp(options: &LearningOptions) -> study::Outcome {
    let comparison = options.comparison(SIZES, &VARIANTS)?;
    let (compared, mut output, saved) = options.learn("taypo_promp", &comparison, |_, _, _| Ok(Vec::new()))?;

    compared.print(&mut output);
    writeln!(output);
    let pairs: Vec<(usize, usize)> = (1..VARIANTS.len()).map(|other| (0, other)).collect();
    compared.print_differences(&mut output, &pairs);
    compared.write(&mut output);
    output.file("taypo_promp.svg", picture(&[vec![compared.panel("return after three inner steps")]])?);
    if options.study.check {
        let mut claims = Claims::default();
        let claim = claims.claim("both ProMPs learn: what they adapt is paid more in the end than at the beginning");
        for (variant, name) in compared.names.iter().enumerate().take(2) {
            claim.above(
                format!("{name}: last tenth − first"),
                &minus(&compared.last(variant), &compared.first(variant)),
            );
        }
        writeln!(output);
        claims.judge(&mut output);
    }
    output.finish(Some(saved))
}
