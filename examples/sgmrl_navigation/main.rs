//! SG-MRL beside MAML and E-MAML on navigation in the plane (Fallah et al. 2021, section 5, Table 1 and Fig. 1, and its claim about
//! cost): in full and to first order, with and without a baseline on V(θ′), by ζ = 1, 2, 3 inner steps.
//!
//! The settings are those of the authors' code (the preset `sgmrl-navigation`): paid minus the distance, where the paper writes of its
//! square, and with the multi-step form of the paper's appendix C. By default with fewer tasks and trajectories, a smaller network in
//! single precision and a larger outer rate. The authors' released SG-MRL multiplies scores by a mean of normalised advantages, which
//! is 0: its Table 1 is then MAML against MAML, and no order of ours is to be expected from it.

use clap::Parser;
use cpu_time::ProcessTime;
use rl::env::Navigation;
use study::claims::Claims;
use study::learning::{Compared, LearningOptions, Paths, Size, Variant};
use study::lines::{Panel, picture};
use study::statistics::{mean_in_words, minus};
use train::{Learner, MetaLearner};

/// Returns of SG-MRL, MAML and E-MAML on navigation, by inner steps, and what an iteration of SG-MRL costs.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    learning: LearningOptions,
}

const PRESET: &str = "sgmrl-navigation";
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Names, and what is other than in the preset.
const ALGORITHMS: [(&str, &str); 6] = [
    ("SG-MRL", "algorithm = \"sgmrl\"\n"),
    ("SG-MRL, baseline", "algorithm = \"sgmrl\"\nscore-baseline = true\n"),
    ("first-order SG-MRL", "algorithm = \"sgmrl-first-order\"\n"),
    ("first-order SG-MRL, baseline", "algorithm = \"sgmrl-first-order\"\nscore-baseline = true\n"),
    ("MAML", "algorithm = \"maml\"\n"),
    ("E-MAML", "algorithm = \"emaml\"\n"),
];
const MAML: usize = 4;
/// The paper's ζ.
const INNER_STEPS: [usize; 3] = [1, 2, 3];
/// Those whose paths are drawn, after one inner step.
const DRAWN: [usize; 4] = [0, 1, MAML, 5];

const SIZES: [Size; 3] = [
    Size::QUICK,
    Size {
        seeds: 6,
        iterations: 100,
        others: "tasks = 10\nrollouts = 10\nhidden = [32, 32]\nouter-rate = 5e-3\nprecision = \"f32\"\n",
    },
    Size { seeds: 10, iterations: 500, others: "" },
];

/// What a policy that stands still is paid: −100 E|g|, g ~ U([−½, ½]²).
const STANDING_STILL: f64 = -38.26;
/// Mean returns in Table 1, with what is said to be their deviation.
const TABLE_1: [(&str, &str); 3] =
    [("SG-MRL", "-16.901 ± .699"), ("MAML", "-17.767 ± .106"), ("E-MAML", "-17.803 ± .115")];
const GOALS: [[f64; 2]; 4] = [[-0.4, -0.3], [0.35, -0.4], [-0.3, 0.4], [0.4, 0.25]];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| sgmrl_navigation(&options.learning))
}

fn sgmrl_navigation(options: &LearningOptions) -> study::Outcome {
    let named = named();
    let variants: Vec<_> = named.iter().map(|(name, text)| (&name[..], PRESET, &text[..])).collect();
    let comparison = options.comparison(SIZES, &variants)?;
    let paths = Paths { goals: GOALS.to_vec(), inner_steps: 1, count: 3, horizon: 100 };
    let (compared, mut output, saved) = options.learn("sgmrl_navigation", &comparison, |learner, variant, run| {
        match run == 0 && variant < ALGORITHMS.len() {
            true => paths.walked(learner, Navigation::bounded, options.study.common.seed),
            false => Ok(Vec::new()),
        }
    })?;

    compared.print(&mut output);
    writeln!(
        output,
        "\nStanding still is paid {STANDING_STILL}. In the paper's Table 1 (one step), not to be compared in size or order:"
    );
    TABLE_1.iter().for_each(|(name, value)| writeln!(output, "{name:<10}{value}"));
    writeln!(output);
    let against_maml =
        |zeta: usize| (0..ALGORITHMS.len()).filter(|&of| of != MAML).map(move |of| (at(of, zeta), at(MAML, zeta)));
    let pairs: Vec<(usize, usize)> = (0..INNER_STEPS.len()).flat_map(against_maml).collect();
    compared.print_differences(&mut output, &pairs);
    let ratios = cost(options)?;
    writeln!(
        output,
        "\nAn iteration of SG-MRL takes {} of MAML's time (ratios of neighbouring iterations).",
        mean_in_words(&ratios)
    );
    compared.write(&mut output);
    let all = compared.shown();
    let shown: Vec<(&str, &[f64])> = DRAWN.map(|of| all[at(of, 0)]).to_vec();
    paths.write(&mut output, &shown);
    let mut rows = vec![panels(&compared)];
    rows.extend(paths.panels(&shown, 0.8));
    output.file("sgmrl_navigation.svg", picture(&rows)?);
    if options.study.check {
        writeln!(output);
        claims(&compared, &ratios).judge(&mut output);
    }
    output.finish(Some(saved))
}

/// The name and configuration of each variant: every algorithm with one inner step, and then with two, and three.
fn named() -> Vec<(String, String)> {
    let with = |steps: &usize| {
        ALGORITHMS.map(|(name, text)| (format!("{name}, ζ = {steps}"), format!("{text}inner-steps = {steps}\n")))
    };
    INNER_STEPS.iter().flat_map(with).collect()
}

/// The number of the variant of an algorithm, by the number of its ζ.
fn at(algorithm: usize, zeta: usize) -> usize {
    zeta * ALGORITHMS.len() + algorithm
}

/// The processors' time for an iteration of SG-MRL over that for the iterations of MAML before and after it, at the preset's size.
fn cost(options: &LearningOptions) -> Result<Vec<f64>> {
    let (pairs, others) = options.study.size((4, Size::QUICK.others), (96, ""), (96, ""));
    let learner = |algorithm: usize| -> Result<MetaLearner> {
        let (name, text) = ALGORITHMS[algorithm];
        Ok(Variant::of(name, PRESET, &[others, text])?.learner(0))
    };
    let (mut sgmrl, mut maml) = (learner(0)?, learner(MAML)?);
    let timed = |learner: &mut MetaLearner, iteration: u64| -> Result<f64> {
        let begin = ProcessTime::now();
        learner.iterate(iteration)?;
        Ok(begin.elapsed().as_secs_f64())
    };
    let mut before = timed(&mut maml, 0)?;
    let mut ratios = Vec::new();
    for iteration in 1..=pairs {
        let (one, after) = (timed(&mut sgmrl, iteration)?, timed(&mut maml, iteration)?);
        ratios.push(one / ((before + after) / 2.0));
        before = after;
    }
    Ok(ratios)
}

fn claims(compared: &Compared, ratios: &[f64]) -> Claims {
    let mut claims = Claims::default();
    let claim =
        claims.claim("MAML's learned policies are paid more than standing still, and more than before learning");
    for (zeta, steps) in INNER_STEPS.iter().enumerate() {
        let last = compared.last(at(MAML, zeta));
        let above: Vec<f64> = last.iter().map(|value| value - STANDING_STILL).collect();
        claim.above(format!("ζ = {steps}: return less {STANDING_STILL}"), &above);
        claim.above(format!("ζ = {steps}: last tenth − first"), &minus(&last, &compared.first(at(MAML, zeta))));
    }
    let cheap: Vec<f64> = ratios.iter().map(|ratio| 1.05 - ratio).collect();
    claims.claim("an iteration of SG-MRL costs at most 1.05 of MAML's").above("1.05 less the ratio of times", &cheap);
    claims
}

/// A panel for each ζ.
fn panels(compared: &Compared) -> Vec<Panel> {
    let panel = |(zeta, steps): (usize, &usize)| {
        let part = Compared {
            names: ALGORITHMS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            runs: (0..ALGORITHMS.len()).map(|of| compared.runs[at(of, zeta)].clone()).collect(),
        };
        part.panel(&format!("return, ζ = {steps}"))
    };
    INNER_STEPS.iter().enumerate().map(panel).collect()
}
