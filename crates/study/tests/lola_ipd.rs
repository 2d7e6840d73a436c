//! What `lola_ipd` measures is what it says: correlations near what many games give, returns that are the players' own, and games
//! that are kept from where the players were.

use indicatif::ProgressBar;
use ndarray::arr1;
use rl::env::IteratedGame;
use rl::stream::seed_of;
use study::lola_ipd::experiment::{Measured, Study};
use study::output::Folder;
use study::saved::{Before, Saved};
use study::statistics::{cosine, pearson};
use train::Learner;
use train::lola::Lola;

fn measured(study: &Study, name: &str) -> Vec<Measured> {
    let path = std::env::temp_dir().join(format!("lola-ipd-{name}-{}", std::process::id()));
    let folder = Folder::open(path.clone()).unwrap();
    let saved = Saved::open(&folder, "test", Before::Delete).unwrap();
    let measured = study.run(&saved, &ProgressBar::hidden()).unwrap();
    drop((saved, folder));
    std::fs::remove_dir_all(path).unwrap();
    measured
}

#[test]
fn the_cosine_is_of_the_angle_and_pearson_of_the_deviations() {
    let (a, b) = (arr1(&[1.0, 2.0, 3.0]), arr1(&[2.0, 4.0, 6.0]));
    assert!((cosine(&a, &b) - 1.0).abs() < 1e-15 && (cosine(&a, &-&b) + 1.0).abs() < 1e-15);
    assert!(cosine(&a, &arr1(&[-2.0, 1.0, 0.0])).abs() < 1e-15);
    assert_eq!(cosine(&a, &arr1(&[0.0; 3])), 0.0);
    let shifted = &a + 10.0;
    assert!((pearson(&a, &shifted) - 1.0).abs() < 1e-12 && cosine(&a, &shifted) < 0.95);
    assert!(cosine(&a, &arr1(&[f64::NAN, 0.0, 0.0])).is_nan());
}

#[test]
fn the_exact_gradient_is_the_truth_and_many_games_come_near_it() {
    let study =
        Study { seed: 1, seeds: 1, large_seeds: 1, ablations: 1, updates: 1, batches: [10, 6000], horizon: 100 };
    for one in measured(&study, "truth") {
        let name = one.variant.name.as_str();
        let cosines = one.correlation(|one| &one.cosine);
        match name {
            "inner exact, outer exact" => assert!(cosines.iter().all(|x| (x - 1.0).abs() < 1e-14), "{cosines:?}"),
            "inner 6000, outer 6000" | "inner exact, outer 6000" | "inner 6000, outer exact" => {
                assert!(cosines.iter().all(|&x| x > 0.8), "{name}: {cosines:?}");
            }
            "inner 10, outer 10" => assert!(cosines.iter().all(|&x| x < 0.8), "{name}: {cosines:?}"),
            _ => {}
        }
    }
}

#[test]
fn returns_are_those_of_the_players_and_the_plain_variant_is_the_first() {
    let study = Study { seed: 1, seeds: 2, large_seeds: 3, ablations: 1, updates: 25, batches: [6, 12], horizon: 20 };
    let all = measured(&study, "returns");
    assert_eq!(all[0].variant.name, "inner 6, outer 6");
    // Correlations; four variants of batches, one of them a large inner batch; and ten others.
    assert_eq!(study.parts(), 2 + 2 * 3 + 3 + 10);
    for one in &all {
        let settings = one.variant.settings;
        assert_eq!(one.correlations.len(), 2);
        assert!(one.correlations.iter().all(|of| of.pearson.len() == study.points().len()), "{}", one.variant.name);
        let learn = |seed: u64| -> Vec<f64> {
            let mut lola = Lola::new(IteratedGame::prisoners_dilemma(), settings, seed_of(1, &[seed])).unwrap();
            (0..25).map(|update| lola.iterate(update).unwrap().returns[0].iter().sum::<f64>() / 2.0).collect()
        };
        let expected: Vec<Vec<f64>> = (0..one.variant.pairs as u64).map(learn).collect();
        assert_eq!(one.returns, expected, "{}", one.variant.name);
        for (end, returns) in one.ends().iter().zip(&expected) {
            assert!((end - returns[5..].iter().sum::<f64>() / 20.0).abs() < 1e-15);
        }
    }
}

#[test]
fn off_policy_games_are_from_where_the_players_were() {
    // However far apart points are, the games that are kept are those of the last updates: a gradient is asked for at each of
    // these, and the same as if it had been at all of them.
    let study = Study { seed: 2, seeds: 1, large_seeds: 1, ablations: 1, updates: 200, batches: [4, 16], horizon: 10 };
    let variants = study.variants();
    let measured = measured(&study, "kept");
    let of =
        |settings, names: &[u64]| Lola::new(IteratedGame::prisoners_dilemma(), settings, seed_of(2, names)).unwrap();
    for one in measured.iter().filter(|one| one.variant.name.contains("off")) {
        let exact = measured.iter().find(|one| one.variant.name == "inner exact, outer exact").unwrap();
        let (mut path, mut estimate) = (of(variants[0].settings, &[0]), of(one.variant.settings, &[0, 0]));
        let mut truth = of(exact.variant.settings, &[]);
        let mut cosines = Vec::new();
        for update in 0..200 {
            let thetas = [0, 1].map(|player| path.theta(player).clone());
            let baselines = [0, 1].map(|player| path.baseline(player).clone());
            let found = estimate.gradients(thetas.each_ref(), baselines.each_ref(), update).unwrap();
            let exact = truth.gradients(thetas.each_ref(), baselines.each_ref(), update).unwrap();
            if update % 10 == 0 {
                cosines.push((cosine(&found[0], &exact[0]) + cosine(&found[1], &exact[1])) / 2.0);
            }
            path.iterate(update).unwrap();
        }
        assert_eq!(one.correlations[0].cosine, cosines, "{}", one.variant.name);
    }
}
