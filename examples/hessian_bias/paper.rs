//! What Tang et al. 2021 say of their figure 1 (section 5.1), as claims about paired differences over the MDPs.

use rl::truth::max_abs;
use study::claims::Claims;
use study::hessian_bias::accuracy::Accuracy;
use study::statistics::minus;

/// The estimators in the figure, with its critic: one of states.
const FIGURE: [&str; 5] = ["is", "dr", "dr_truncated", "lvc", "taypo2"];
/// Those beside the second-order estimate.
const OTHERS: [&str; 4] = ["is", "dr", "dr_truncated", "lvc"];

#[derive(Clone, Copy)]
enum What {
    Gradient = 1,
    Hessian = 2,
}

impl What {
    const BOTH: [Self; 2] = [What::Gradient, What::Hessian];

    fn name(self) -> &'static str {
        ["gradient", "Hessian"][self as usize - 1]
    }
}

/// The correlations of every MDP, by estimator, ε, N and derivative.
struct Data<'a>(&'a [Accuracy]);

impl Data<'_> {
    fn get(&self, estimator: &str, (epsilon, samples): (f64, usize), what: What) -> &[f64] {
        let row = self.0.iter().find(|row| {
            row.estimator == estimator && (row.samples, row.order) == (samples, what as usize) && row.epsilon == epsilon
        });
        &row.expect("an accuracy for each estimator, ε, N and order").correlations
    }

    /// By how much the first estimator is the more accurate.
    fn lead(&self, a: &str, b: &str, place: (f64, usize), what: What) -> Vec<f64> {
        minus(self.get(a, place, what), self.get(b, place, what))
    }
}

/// Figure 1 (a) and (b): what happens as the policy leaves the one that samples. One of the ε is 0.
pub fn of_epsilons(accuracies: &[Accuracy], epsilons: &[f64], samples: usize) -> Claims {
    let data = Data(accuracies);
    let apart: Vec<f64> = epsilons.iter().copied().filter(|&epsilon| epsilon > 0.0).collect();
    let last = apart.iter().copied().fold(0.0, f64::max);
    let mut claims = Claims::default();

    let claim = claims.claim("Accuracy decreases with ε (the paper: for most estimates)");
    for what in What::BOTH {
        for name in FIGURE {
            let fall = minus(data.get(name, (0.0, samples), what), data.get(name, (last, samples), what));
            claim.above(format!("{}: {name}, ε = 0 against {last}", what.name()), &fall);
        }
    }

    let claim = claims.claim("The second-order estimate dominates across all ε (at 0 together with DR, see below)");
    for what in What::BOTH {
        for &epsilon in &apart {
            for name in OTHERS {
                let lead = data.lead("taypo2", name, (epsilon, samples), what);
                claim.above(format!("{}, ε = {epsilon}: above {name}", what.name()), &lead);
            }
        }
    }

    let claim = claims.claim("It degrades more slowly than the others (loss of accuracy since ε = 0, mean over ε > 0)");
    for what in What::BOTH {
        let loss = |name: &str| -> Vec<f64> {
            let start = data.get(name, (0.0, samples), what);
            let now =
                |mdp: usize| apart.iter().map(|&epsilon| data.get(name, (epsilon, samples), what)[mdp]).sum::<f64>();
            (0..start.len()).map(|mdp| start[mdp] - now(mdp) / apart.len() as f64).collect()
        };
        for name in OTHERS {
            claim.above(format!("{}: {name} loses more", what.name()), &minus(&loss(name), &loss("taypo2")));
        }
    }

    let claim = claims.claim("Truncated DR does not perform well unless π ≈ μ: it is below DR for every ε > 0");
    for what in What::BOTH {
        for &epsilon in &apart {
            let lead = data.lead("dr", "dr_truncated", (epsilon, samples), what);
            claim.above(format!("{}, ε = {epsilon}: DR above it", what.name()), &lead);
        }
    }

    let claim = claims.claim("On policy all gradients are equally accurate, except that of step-wise IS");
    for name in ["dr_truncated", "lvc", "taypo2"] {
        let largest = max_abs(&data.lead("dr", name, (0.0, samples), What::Gradient));
        // One estimate, sample by sample; but for the truncation, up to the 1e-8 in its ratio.
        claim.equal(format!("{name} is DR in every MDP"), largest, 1e-6);
    }
    claim.above("DR above IS", &data.lead("dr", "is", (0.0, samples), What::Gradient));

    let claim = claims.claim("On policy the first-order Hessian is less accurate than the unbiased ones");
    claim.above("second order above it", &data.lead("taypo2", "lvc", (0.0, samples), What::Hessian));
    claim.above("DR above it", &data.lead("dr", "lvc", (0.0, samples), What::Hessian));
    let largest = max_abs(&data.lead("dr", "taypo2", (0.0, samples), What::Hessian));
    claim.equal("second order is DR in every MDP", largest, 1e-6);
    claims
}

/// Figure 1 (c): Hessians at one ε, as the number of samples grows.
pub fn of_samples(accuracies: &[Accuracy], epsilon: f64, samples: &[usize]) -> Claims {
    let data = Data(accuracies);
    let least = samples.iter().copied().min().unwrap_or_default();
    let most = samples.iter().copied().max().unwrap_or_default();
    let mut claims = Claims::default();
    let claim =
        claims.claim(&format!("For Hessians from few samples (N = {least}) the first-order estimate dominates"));
    for name in FIGURE.into_iter().filter(|&name| name != "lvc") {
        claim.above(format!("above {name}"), &data.lead("lvc", name, (epsilon, least), What::Hessian));
    }
    let claim = claims.claim(&format!("From many (N = {most}) the second-order estimate surpasses it"));
    claim.above("above lvc", &data.lead("taypo2", "lvc", (epsilon, most), What::Hessian));
    claims
}
