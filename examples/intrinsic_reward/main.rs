//! The meta-gradient by an intrinsic reward through K inner steps, with the derivative of each step estimated by LVC or by
//! the usual surrogate (AD): the LIRPG experiment of Liu et al. 2022 (Fig. 1 c, d; its correlations and variances, Fig. 7).

use clap::Parser;
use ndarray::{Array2, ArrayD};
use rayon::prelude::*;
use rl::env::{Horizon, TabularMdp};
use rl::error::Result;
use rl::meta::{Objective, Role, Roles, exact_value};
use rl::objective::{Estimator, allow_biased};
use rl::policy::{Numbers, Table, softmax};
use rl::truth::max_abs;
use study::claims::Claims;
use study::intrinsic_reward::objectives::{Credit, REWARD, inner_surrogate, inner_value};
use study::lines::{Axis, Line, Panel, picture};
use study::options::{List, StudyOptions, increasing, whole};
use study::output::{Output, progress};
use study::statistics::{mean_and_std, mean_with_error, minus, pearson};
use study::tables::{ACTIONS, GAMMA, HORIZON, POLICY, RATE, STATES, key, noise, process, sum_of_std};

/// The correlation of meta-gradients by an intrinsic reward with the exact one, and how they vary, by LVC and AD, through K
/// inner steps.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many random processes to average over [default: 200; --quick: 4; --paper: 10, on which fewer claims are decided].
    #[arg(long, value_parser = whole(1..=100_000))]
    mdps: Option<usize>,
    /// How many independent estimates on each process [default: 4; --quick: 2; --paper: 20].
    #[arg(long, value_parser = whole(2..=100_000))]
    repeats: Option<usize>,
    /// The numbers of trajectories to estimate from, separated by commas, in increasing order.
    #[arg(long, default_value = "16,32,64,128,256", value_parser = increasing(whole(1..=1_000_000)))]
    samples: List<usize>,
}

const ESTIMATORS: [Credit; 2] = [Credit::LowVarianceCurvature, Credit::ScoreFunction];
const STEPS: [usize; 5] = [1, 2, 3, 4, 5];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| intrinsic_reward(&options))
}

/// What is recorded and compiled once, and run on every process.
struct Programs {
    inner: Objective,
    /// For each number of samples, one of each estimator.
    hessian: Vec<[Objective; 2]>,
    outer: Objective,
}

/// On one process, a number for each number of samples, estimator and number of steps.
type Cells = Vec<[[f64; STEPS.len()]; 2]>;

/// On one process.
struct Measured {
    /// The mean over repeats of the correlation.
    correlations: Cells,
    /// The sum over entries of the standard deviation over repeats: what the paper's code calls the variance.
    deviations: Cells,
    /// The largest relative difference of LVC's and AD's meta-gradients through one step, of any repeat and N.
    difference_after_one_step: f64,
}

impl Measured {
    /// As they are saved: the difference, and then the correlations and the deviations.
    fn into_numbers(self) -> Vec<f64> {
        let cells = [self.correlations, self.deviations].concat().concat().concat();
        std::iter::once(self.difference_after_one_step).chain(cells).collect()
    }

    fn from_numbers(numbers: &[f64]) -> Self {
        let (pairs, _) = numbers[1..].as_chunks::<{ STEPS.len() }>().0.as_chunks::<2>();
        let (correlations, deviations) = pairs.split_at(pairs.len() / 2);
        Self {
            correlations: correlations.to_vec(),
            deviations: deviations.to_vec(),
            difference_after_one_step: numbers[0],
        }
    }
}

/// What is measured.
#[derive(Debug)]
struct Study {
    seed: u64,
    mdps: usize,
    repeats: usize,
    samples: Vec<usize>,
}

fn intrinsic_reward(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let (mdps, repeats) = options.study.size((4, 2), (200, 4), (10, 20));
    let study = Study {
        seed: common.seed,
        mdps: options.mdps.unwrap_or(mdps),
        repeats: options.repeats.unwrap_or(repeats),
        samples: options.samples.0.clone(),
    };
    let folder = common.folder("intrinsic_reward")?;
    let saved = options.study.saved(&folder, &format!("intrinsic_reward {study:?}"))?;
    let programs = programs(&study)?;
    let progress = progress(study.mdps * study.repeats, "repeats");
    let measured: Vec<Measured> = (0..study.mdps)
        .into_par_iter()
        .map(|index| {
            let numbers = saved.part(&index.to_string(), || Ok(measure(index, &study, &programs)?.into_numbers()))?;
            progress.inc(study.repeats as u64);
            Ok(Measured::from_numbers(&numbers))
        })
        .collect::<Result<_>>()?;
    progress.finish_and_clear();

    // For each process one number.
    let table = |cells: fn(&Measured) -> &Cells| {
        let measured = &measured;
        move |estimator: usize, n: usize, k: usize| -> Vec<f64> {
            measured.iter().map(|process| cells(process)[n][estimator][k]).collect()
        }
    };
    let correlations = table(|process| &process.correlations);
    let deviations = table(|process| &process.deviations);
    let mut output = Output::new(folder);
    writeln!(
        output,
        "Correlation with the exact meta-gradient by the reward, and sum over entries of the standard deviation over repeats,\n\
         means over {} processes and {} repeats (inner and outer gradient exact, the derivative of the inner one estimated\n\
         from N trajectories)\n",
        study.mdps, study.repeats
    );
    let steps: String = STEPS.iter().map(|steps| format!("{:>8}", format!("K = {steps}"))).collect();
    writeln!(output, "{:19}{:>40}    {:>40}", "", "correlation", "standard deviation");
    writeln!(output, "estimator  {:>8}{steps}    {steps}", "");
    for (e, estimator) in ESTIMATORS.iter().enumerate() {
        for (n, samples) in study.samples.iter().enumerate() {
            let cells = |at: &At| -> String {
                (0..STEPS.len()).map(|k| format!("{:>8.2}", mean_and_std(&at(e, n, k)).0)).collect()
            };
            let place = format!("N = {samples}");
            let name = estimator.facts().name;
            writeln!(output, "{name:<9}  {place:>8}{}    {}", cells(&correlations), cells(&deviations));
        }
    }
    write(&mut output, &study.samples, &correlations, &deviations);
    let panels = [(&correlations as &At, CORRELATION), (&deviations, DEVIATION)]
        .map(|(at, axis)| panels(&study.samples, at, axis));
    output.file("intrinsic_reward.svg", picture(&panels)?);
    if *check {
        let difference = max_abs(&measured.iter().map(|process| process.difference_after_one_step).collect::<Vec<_>>());
        writeln!(output);
        claims_of_the_paper(&study.samples, &correlations, &deviations, difference).judge(&mut output);
    }
    output.finish(Some(saved))
}

/// Of an estimator, N and K (by their places), for each process one number.
type At<'a> = dyn Fn(usize, usize, usize) -> Vec<f64> + 'a;

fn programs(study: &Study) -> Result<Programs> {
    let mdp = process(study.seed, 0)?;
    let (phi, start) = zeros();
    let hessian = |&samples: &usize| -> Result<[Objective; 2]> {
        let objective = |credit: &Credit| -> Result<Objective> {
            // Derivatives by θ and then by φ are of order 2, which neither claims: that is what is measured.
            let allowed = allow_biased(credit);
            Ok(Objective::twice(&phi, &start, inner_surrogate(&allowed, &mdp, GAMMA, HORIZON, samples)?))
        };
        Ok([objective(&ESTIMATORS[0])?, objective(&ESTIMATORS[1])?])
    };
    Ok(Programs {
        inner: Objective::twice(&phi, &start, inner_value(&mdp, GAMMA)),
        hessian: study.samples.iter().map(hessian).collect::<Result<_>>()?,
        outer: Objective::once(&phi, &start, exact_value(&POLICY, &mdp, GAMMA, &Horizon::Infinite)?),
    })
}

fn measure(index: usize, study: &Study, programs: &Programs) -> Result<Measured> {
    let mdp = process(study.seed, index)?;
    let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
    let exact = || {
        let [inner, outer] = [&programs.inner, &programs.outer].map(|objective| Role { objective, data: &known });
        Roles { inner, hessian: Some(inner), outer }
    };
    let truths: Vec<ArrayD<f64>> = STEPS.iter().map(|&steps| by_reward(exact(), steps)).collect::<Result<_>>()?;
    // Of each repeat the meta-gradients, in the order of the cells.
    let repeats: Vec<Vec<ArrayD<f64>>> = (0..study.repeats)
        .into_par_iter()
        .map(|repeat| {
            let seed = |step: usize| key(&[study.seed, index as u64, repeat as u64, step as u64]);
            let mut estimates = Vec::new();
            for (&samples, hessian) in study.samples.iter().zip(&programs.hessian) {
                let data = |step: usize, theta: &Numbers| sample(&mdp, theta, samples, seed(step));
                for objective in hessian {
                    let roles = Roles { hessian: Some(Role { objective, data: &data }), ..exact() };
                    for steps in STEPS {
                        estimates.push(by_reward(roles, steps)?);
                    }
                }
            }
            Ok(estimates)
        })
        .collect::<Result<_>>()?;

    let place = |n: usize, e: usize, k: usize| (2 * n + e) * STEPS.len() + k;
    let of_cell = |place: usize| -> Vec<ArrayD<f64>> { repeats.iter().map(|repeat| repeat[place].clone()).collect() };
    let cells = |number: &dyn Fn(&[ArrayD<f64>], usize) -> f64| -> Cells {
        let table = |n: usize| [0, 1].map(|e| std::array::from_fn(|k| number(&of_cell(place(n, e, k)), k)));
        (0..study.samples.len()).map(table).collect()
    };
    let correlation = |estimates: &[ArrayD<f64>], k: usize| {
        mean_and_std(&estimates.iter().map(|estimate| pearson(estimate, &truths[k])).collect::<Vec<_>>()).0
    };
    let differences = repeats.iter().flat_map(|repeat| {
        (0..study.samples.len()).map(|n| relative_difference(&repeat[place(n, 0, 0)], &repeat[place(n, 1, 0)]))
    });
    Ok(Measured {
        correlations: cells(&correlation),
        deviations: cells(&|estimates, _| sum_of_std(estimates)),
        difference_after_one_step: max_abs(&differences.collect::<Vec<_>>()),
    })
}

/// φ and θ_0: neither the reward nor the policy prefers anything.
fn zeros() -> (Numbers, Numbers) {
    let zeros = Array2::zeros((STATES, ACTIONS));
    (Numbers::from([(REWARD.to_owned(), zeros.clone().into_dyn())]), Table::numbers(&zeros))
}

fn by_reward(roles: Roles<'_>, steps: usize) -> Result<ArrayD<f64>> {
    let (phi, start) = zeros();
    Ok(roles.meta_gradient(&phi, &start, steps, RATE)?.by_meta[REWARD].clone())
}

/// Trajectories of the current policy, the process, and the critic's noise.
fn sample(mdp: &TabularMdp, theta: &Numbers, samples: usize, seed: u64) -> Result<Vec<ad::Value<'static>>> {
    let rollout = mdp.sample(&softmax(&Table::logits(theta)), HORIZON, samples, seed)?;
    Ok(rollout.into_values().into_iter().chain(mdp.to_values()).chain([noise(seed).into()]).collect())
}

fn relative_difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    max_abs(&(a - b)) / max_abs(b).max(f64::MIN_POSITIVE)
}

fn claims_of_the_paper(samples: &[usize], at: &At, deviations: &At, largest: f64) -> Claims {
    let mut claims = Claims::default();
    let names = ESTIMATORS.map(|estimator| estimator.facts().name);
    // Averages over N, or over K.
    let mean = |columns: Vec<Vec<f64>>| -> Vec<f64> {
        let count = columns.len() as f64;
        (0..columns[0].len()).map(|i| columns.iter().map(|column| column[i]).sum::<f64>() / count).collect()
    };
    let over_samples = |e: usize, k: usize| mean((0..samples.len()).map(|n| at(e, n, k)).collect());
    let over_steps = |e: usize, n: usize| mean((0..STEPS.len()).map(|k| at(e, n, k)).collect());
    let (last_n, last_k) = (samples.len() - 1, STEPS.len() - 1);

    let claim = claims.claim("with one inner step both estimators are the same, sample by sample (LVC = AD)");
    claim.equal("largest relative difference of an entry", largest, 1e-12);
    let claim = claims.claim("with more trajectories the correlation increases for both (mean over K)");
    for (e, name) in names.iter().enumerate() {
        let what = format!("{name}: N = {} − N = {}", samples[last_n], samples[0]);
        claim.above(what, &minus(&over_steps(e, last_n), &over_steps(e, 0)));
    }
    let claim = claims.claim("with fewer inner steps the correlation increases for both (mean over N)");
    for (e, name) in names.iter().enumerate() {
        claim.above(format!("{name}: K = 1 − K = 5"), &minus(&over_samples(e, 0), &over_samples(e, last_k)));
    }
    let claim = claims.claim("with more than one inner step LVC is better than AD, at every number of trajectories");
    for (n, samples) in samples.iter().enumerate() {
        for (k, steps) in STEPS.iter().enumerate().skip(1) {
            claim.above(format!("N = {samples}, K = {steps}: LVC − AD"), &minus(&at(0, n, k), &at(1, n, k)));
        }
    }
    let claim = claims.claim("with more inner steps AD's Hessian costs more (LVC − AD, mean over N)");
    let cost = |k: usize| minus(&over_samples(0, k), &over_samples(1, k));
    claim.above(format!("K = {} minus K = {}", STEPS[last_k], STEPS[1]), &minus(&cost(last_k), &cost(1)));
    let claim = claims.claim("after five steps LVC still correlates highly (above 3/4), and AD does not (below 2/3)");
    let what = format!("N = {}", samples[last_n]);
    claim.above(format!("{what}: LVC − 3/4"), &at(0, last_n, last_k).iter().map(|x| x - 0.75).collect::<Vec<_>>());
    claim.above(format!("{what}: 2/3 − AD"), &at(1, last_n, last_k).iter().map(|x| 2.0 / 3.0 - x).collect::<Vec<_>>());
    let claim = claims
        .claim("with more than one inner step AD has \"higher variance\" than LVC (standard deviations, mean over N)");
    for (k, steps) in STEPS.iter().enumerate().skip(1) {
        let over_samples = |e: usize| mean((0..samples.len()).map(|n| deviations(e, n, k)).collect());
        claim.above(format!("K = {steps}: AD − LVC"), &minus(&over_samples(1), &over_samples(0)));
    }
    claims
}

fn write(output: &mut Output, samples: &[usize], correlations: &At, deviations: &At) {
    let mut rows = Vec::new();
    for (e, estimator) in ESTIMATORS.iter().enumerate() {
        for (n, samples) in samples.iter().enumerate() {
            for (k, steps) in STEPS.iter().enumerate() {
                let numbers = [correlations, deviations].map(|at| mean_and_std(&at(e, n, k)));
                let place = [estimator.facts().name, samples.to_string(), steps.to_string()];
                rows.push(
                    place
                        .into_iter()
                        .chain(numbers.into_iter().flat_map(|(mean, std)| [mean.to_string(), std.to_string()])),
                );
            }
        }
    }
    let columns = [
        "estimator",
        "samples",
        "inner_steps",
        "correlation_mean",
        "correlation_std",
        "sum_of_std_mean",
        "sum_of_std_std",
    ];
    output.table("correlation.csv", &columns, rows);
}

const CORRELATION: &str = "correlation";
const DEVIATION: &str = "sum of standard deviations";

fn panels(samples: &[usize], at: &At, what: &str) -> Vec<Panel> {
    let panel = |(e, estimator): (usize, &Credit)| {
        let line = |(k, steps): (usize, &usize)| {
            let point = |(n, &samples): (usize, &usize)| (samples as f64, mean_with_error(&at(e, n, k)));
            Line::with_intervals(format!("K = {steps}"), samples.iter().enumerate().map(point))
        };
        Panel {
            title: estimator.facts().name,
            x: Axis::logarithmic("trajectories"),
            y: if what == CORRELATION { Axis::linear(what).within(0.0, 1.02) } else { Axis::logarithmic(what) },
            lines: STEPS.iter().enumerate().map(line).collect(),
        }
    };
    ESTIMATORS.iter().enumerate().map(panel).collect()
}
