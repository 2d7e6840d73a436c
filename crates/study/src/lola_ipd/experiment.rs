//! What two players learn by variants of LOLA-DiCE, and how well each variant's meta-gradient correlates with the exact one.
//!
//! Correlations of all variants are taken at the same parameters: those that players pass who learn by the plain variant
//! (inner and outer batch of the smaller size, one lookahead), with the baselines that they have there.

use indicatif::ProgressBar;
use ndarray::ArrayD;
use rayon::prelude::*;
use rl::env::IteratedGame;
use rl::error::Result;
use rl::stream::seed_of;
use train::Learner;
use train::lola::{Inner, Lola, Outer, Settings};

use crate::saved::Saved;
use crate::statistics::{cosine, pearson};

/// A way to learn.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name: by batches, or by what it is an ablation of.
    pub name: String,
    /// How its players learn.
    pub settings: Settings,
    /// The comparison it is part of.
    pub group: Group,
    /// How many pairs of players learn by it. (Its gradient is looked at in any case.)
    pub pairs: usize,
}

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The number of games of lookaheads and of the players' own gradients (figure 2a, 8a).
    Batches,
    /// What moves the other player, and where the derivative is taken from (figure 2b, 8b, 8c).
    Ablation,
    /// The same, with games of earlier lookaheads (figure 2d, 8d).
    OffPolicy,
    /// K.
    Lookaheads,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// All is a function of it.
    pub seed: u64,
    /// How many pairs of players learn, independently, by the variants that compare batches.
    pub seeds: usize,
    /// How many do by large inner batches: few of them end far below the others, so a mean of few pairs says little.
    pub large_seeds: usize,
    /// How many of them by the others, too, at most.
    pub ablations: usize,
    /// How long they do.
    pub updates: usize,
    /// The smaller number of games, of the plain variant, and the larger one.
    pub batches: [usize; 2],
    /// Steps in a game.
    pub horizon: usize,
}

/// Of how many pairs of players, at most, the gradients are compared with exact ones: the first. Learning differs more from pair to
/// pair than correlations do, and these take as long as learning.
pub const CORRELATED: usize = 16;

/// How many estimates are made at a point.
pub const ESTIMATES: usize = 3;

/// How a variant's meta-gradients correlate with the exact ones: for each point, the mean over estimates and both players.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlations {
    /// Over the five entries, Pearson's.
    pub pearson: Vec<f64>,
    /// The cosine of the angle.
    pub cosine: Vec<f64>,
}

/// What came of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Which.
    pub variant: Variant,
    /// For each pair that learns by it and each update, what both players earn in a step, on average.
    pub returns: Vec<Vec<f64>>,
    /// For each of the first seeds.
    pub correlations: Vec<Correlations>,
}

impl Measured {
    /// For each seed, the mean of the last 20 updates.
    pub fn ends(&self) -> Vec<f64> {
        let end = |returns: &Vec<f64>| {
            let last = &returns[returns.len().saturating_sub(20)..];
            last.iter().sum::<f64>() / last.len() as f64
        };
        self.returns.iter().map(end).collect()
    }

    /// For each seed, the mean over points.
    pub fn correlation(&self, of: impl Fn(&Correlations) -> &Vec<f64>) -> Vec<f64> {
        let mean = |one| of(one).iter().sum::<f64>() / of(one).len() as f64;
        self.correlations.iter().map(mean).collect()
    }
}

impl Study {
    /// The plain one first.
    pub fn variants(&self) -> Vec<Variant> {
        use Inner::{Exact, OffPolicy, Sampled};
        let [small, large] = self.batches;
        let plain =
            Settings { inner: Sampled(small), outer: Outer::Sampled(small), horizon: self.horizon, ..Settings::LIU };
        let mut all = Vec::new();
        let mut add = |name: String, group, learns: bool, settings: Settings| {
            let pairs = match group {
                _ if !learns => 0,
                Group::Batches if settings.inner == Sampled(large) => self.large_seeds,
                Group::Batches => self.seeds,
                _ => self.ablations.min(self.seeds),
            };
            all.push(Variant { name, settings, group, pairs });
        };

        let inners = [Sampled(small), Sampled(large), Exact];
        for outer in [Outer::Sampled(small), Outer::Sampled(large), Outer::Exact] {
            for inner in inners {
                let name = format!("inner {}, outer {}", inner_name(inner), outer_name(outer));
                let learns = outer == plain.outer || (inner, outer) == (Exact, Outer::Exact);
                add(name, Group::Batches, learns, Settings { inner, outer, ..plain });
            }
        }
        let pairs = |others: [Inner; 2]| others.map(|other| [(other, plain.inner), (plain.inner, other)]).concat();
        for (inner, derivative) in pairs([Exact, Sampled(large)]) {
            let name = format!("comp {}, hess {}", inner_name(inner), inner_name(derivative));
            add(name, Group::Ablation, true, Settings { inner, derivative: Some(derivative), ..plain });
        }
        // The same games for both, as the plain one has them.
        let kept = OffPolicy { fresh: small, kept: large };
        add("off policy".to_owned(), Group::OffPolicy, true, Settings { inner: kept, ..plain });
        for (inner, derivative, name) in
            [(kept, plain.inner, "comp off, hess on"), (plain.inner, kept, "comp on, hess off")]
        {
            let settings = Settings { inner, derivative: Some(derivative), ..plain };
            add(name.to_owned(), Group::OffPolicy, true, settings);
        }
        for lookaheads in [0, 2, 3] {
            let name = format!("{lookaheads} lookaheads");
            add(name, Group::Lookaheads, true, Settings { lookaheads, ..plain });
        }
        for lookaheads in [2, 3] {
            let name = format!("{lookaheads} lookaheads, outer exact");
            add(name, Group::Lookaheads, false, Settings { lookaheads, outer: Outer::Exact, ..plain });
        }
        all
    }

    /// The updates before which correlations are taken: a twentieth of all apart.
    pub fn points(&self) -> Vec<usize> {
        let mut points: Vec<usize> = (0..20).map(|i| i * self.updates / 20).collect();
        points.dedup();
        points
    }

    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.seeds.min(CORRELATED) + self.variants().iter().map(|variant| variant.pairs).sum::<usize>()
    }

    /// Measures all.
    ///
    /// # Errors
    ///
    /// Those of the players, and of what is saved.
    pub fn run(&self, saved: &Saved, progress: &ProgressBar) -> Result<Vec<Measured>> {
        let variants = self.variants();
        // Each seed: correlations, and what is learned by each variant.
        let work: Vec<(usize, Option<&Variant>)> = (0..self.seeds.max(self.large_seeds))
            .flat_map(|seed| {
                let learning = variants.iter().filter(move |variant| seed < variant.pairs).map(Some);
                let correlations = (seed < self.seeds.min(CORRELATED)).then_some(None);
                correlations.into_iter().chain(learning).map(move |variant| (seed, variant))
            })
            .collect();
        let done: Vec<Vec<f64>> = work
            .par_iter()
            .with_max_len(1)
            .map(|&(seed, variant)| {
                let what = variant.map_or("correlations".to_owned(), |variant| variant.name.replace(' ', "_"));
                let numbers = saved.part(&format!("{seed}:{what}"), || match variant {
                    None => self.correlations(&variants, seed),
                    Some(variant) => self.returns(variant, seed),
                })?;
                progress.inc(1);
                Ok(numbers)
            })
            .collect::<Result<_>>()?;

        let points = self.points().len();
        let of = |which: Option<&Variant>| -> Vec<&Vec<f64>> {
            work.iter().zip(&done).filter(|((_, of), _)| *of == which).map(|(_, numbers)| numbers).collect()
        };
        let at_points = of(None);
        let measured = |(v, variant): (usize, &Variant)| {
            let correlations = at_points.iter().map(|numbers| {
                let (pearson, cosine) = numbers[2 * points * v..2 * points * (v + 1)].split_at(points);
                Correlations { pearson: pearson.to_vec(), cosine: cosine.to_vec() }
            });
            let correlations = correlations.collect();
            Measured {
                variant: variant.clone(),
                returns: of(Some(variant)).into_iter().cloned().collect(),
                correlations,
            }
        };
        Ok(variants.iter().enumerate().map(measured).collect())
    }

    /// Players whose draws are those of these names.
    fn players(&self, settings: Settings, names: &[u64]) -> Result<Lola> {
        Lola::new(IteratedGame::prisoners_dilemma(), settings, seed_of(self.seed, names))
    }

    /// What both players earn in a step, on average, after each update.
    fn returns(&self, variant: &Variant, seed: usize) -> Result<Vec<f64>> {
        let mut players = self.players(variant.settings, &[seed as u64])?;
        let update = |update| Ok(players.iterate(update)?.returns[0].iter().sum::<f64>() / 2.0);
        (0..self.updates as u64).map(update).collect()
    }

    /// For each variant Pearson's correlations at all points, and then cosines.
    fn correlations(&self, variants: &[Variant], seed: usize) -> Result<Vec<f64>> {
        let points = self.points();
        let mut path = self.players(variants[0].settings, &[seed as u64])?;
        let estimates = |variant: &Variant| -> Result<Vec<Lola>> {
            // (Off policy, where each has games of its own from the updates before, one.)
            let count = if to_fill(&variant.settings) > 0 { 1 } else { ESTIMATES };
            (0..count).map(|number| self.players(variant.settings, &[seed as u64, number as u64])).collect()
        };
        let mut estimates: Vec<Vec<Lola>> = variants.iter().map(estimates).collect::<Result<_>>()?;
        let exact = |variant: &Variant| {
            let exact = Settings { inner: Inner::Exact, derivative: None, outer: Outer::Exact, ..variant.settings };
            self.players(exact, &[])
        };
        let mut exact: Vec<Lola> = variants.iter().map(exact).collect::<Result<_>>()?;
        let mut found = vec![[Vec::new(), Vec::new()]; variants.len()];
        for update in 0..self.updates {
            let thetas = [0, 1].map(|player| path.theta(player).clone());
            let baselines = [0, 1].map(|player| path.baseline(player).clone());
            let there = |of: &mut Lola| of.gradients(thetas.each_ref(), baselines.each_ref(), update as u64);
            for (v, variant) in variants.iter().enumerate() {
                if points.contains(&update) {
                    let truth = there(&mut exact[v])?;
                    let estimates: Vec<[ArrayD<f64>; 2]> = estimates[v].iter_mut().map(there).collect::<Result<_>>()?;
                    let pairs = || estimates.iter().flatten().zip(truth.iter().cycle());
                    let mean = |sum: f64| sum / (2 * estimates.len()) as f64;
                    found[v][0].push(mean(pairs().map(|(estimate, truth)| pearson(estimate, truth)).sum()));
                    found[v][1].push(mean(pairs().map(|(estimate, truth)| cosine(estimate, truth)).sum()));
                } else if points.iter().any(|&point| update < point && point <= update + to_fill(&variant.settings)) {
                    // What is kept for lookaheads is from the updates before.
                    estimates[v].iter_mut().map(there).collect::<Result<Vec<_>>>()?;
                }
            }
            path.iterate(update as u64)?;
        }
        Ok(found.concat().concat())
    }
}

/// How many updates it takes until all games that are kept are new: both players' lookaheads play them.
fn to_fill(settings: &Settings) -> usize {
    let updates = |inner| match inner {
        Inner::OffPolicy { fresh, kept } => kept.div_ceil(2 * fresh * settings.lookaheads.max(1)),
        _ => 0,
    };
    updates(settings.inner).max(settings.derivative.map_or(0, updates))
}

/// What an inner J is from: `exact`, a number of games, or `off-policy`.
pub fn inner_name(inner: Inner) -> String {
    match inner {
        Inner::Exact => "exact".to_owned(),
        Inner::Sampled(games) => games.to_string(),
        Inner::OffPolicy { .. } => "off-policy".to_owned(),
    }
}

/// What an outer J is from: `exact`, or a number of games.
pub fn outer_name(outer: Outer) -> String {
    match outer {
        Outer::Exact => "exact".to_owned(),
        Outer::Sampled(games) => games.to_string(),
    }
}
