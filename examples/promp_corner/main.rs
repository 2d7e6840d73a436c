//! ProMP beside what it is made of (Rothfuss et al. 2019, section 4.1, in kind): on the corner environment of its repository, where
//! one of four corners pays, ProMP, LVC-VPG, E-MAML-VPG, TRPO-MAML and TRPO-E-MAML by the steps made in environments.
//!
//! The settings are those of the paper's code (the preset `promp-corner`); by default with fewer tasks and trajectories, in single
//! precision.

use clap::Parser;
use study::claims::Claims;
use study::learning::{LearningOptions, Named, Size};
use study::lines::picture;
use study::statistics::minus;

/// Returns of ProMP, LVC-VPG, E-MAML-VPG, TRPO-MAML and TRPO-E-MAML in the corner, by steps in environments.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    learning: LearningOptions,
}

const PRESET: &str = "promp-corner";
const VARIANTS: [Named<'_>; 5] = [
    ("ProMP", PRESET, ""),
    ("LVC-VPG", PRESET, "algorithm = \"lvc-vpg\"\nouter-steps = 1\n"),
    ("E-MAML-VPG", PRESET, "algorithm = \"emaml-vpg\"\ninner = \"ad\"\nouter-steps = 1\n"),
    ("TRPO-MAML", PRESET, "algorithm = \"trpo-maml\"\ninner = \"ad\"\nouter = \"trpo\"\nouter-steps = 1\n"),
    ("TRPO-E-MAML", PRESET, "algorithm = \"trpo-emaml\"\ninner = \"ad\"\nouter = \"trpo\"\nouter-steps = 1\n"),
];
const PROMP: usize = 0;
const LVC_VPG: usize = 1;
const EMAML_VPG: usize = 2;
const TRPO_MAML: usize = 3;
const TRPO_EMAML: usize = 4;

const SIZES: [Size; 3] = [
    Size::QUICK,
    Size { seeds: 8, iterations: 80, others: "tasks = 16\nrollouts = 10\nhidden = [32, 32]\nprecision = \"f32\"" },
    Size { seeds: 3, iterations: 1001, others: "" },
];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| promp_corner(&options.learning))
}

fn promp_corner(options: &LearningOptions) -> study::Outcome {
    let comparison = options.comparison(SIZES, &VARIANTS)?;
    let (compared, mut output, saved) = options.learn("promp_corner", &comparison, |_, _, _| Ok(Vec::new()))?;

    compared.print(&mut output);
    writeln!(output);
    let pairs = [(PROMP, LVC_VPG), (LVC_VPG, EMAML_VPG), (PROMP, TRPO_MAML), (PROMP, TRPO_EMAML)];
    compared.print_differences(&mut output, &pairs);
    compared.write(&mut output);
    output.file("promp_corner.svg", picture(&[vec![compared.panel("return after one inner step")]])?);
    if options.study.check {
        let mut claims = Claims::default();
        let mut above = |sentence: &str, others: &[usize], better: usize| {
            let claim = claims.claim(sentence);
            for &other in others {
                let what = format!("{} − {}", compared.names[better], compared.names[other]);
                claim.above(
                    format!("{what}, mean over learning"),
                    &minus(&compared.mean(better), &compared.mean(other)),
                );
                claim.above(format!("{what}, in the end"), &minus(&compared.last(better), &compared.last(other)));
            }
        };
        above("ProMP is paid more than LVC-VPG after as many steps in environments", &[LVC_VPG], PROMP);
        above("ProMP is paid more than TRPO-MAML and TRPO-E-MAML", &[TRPO_MAML, TRPO_EMAML], PROMP);
        writeln!(output);
        claims.judge(&mut output);
    }
    output.finish(Some(saved))
}
