//! What is learned, by presets, at full size. Minutes each: `cargo test --release -p train --test learning -- --ignored --nocapture`.

use toml::Table;
use train::Learner;
use train::registry::{configure, learner};

fn preset(name: &str, options: &str, seed: u64) -> (Box<dyn Learner>, u64) {
    let mut options: Table = options.parse().unwrap();
    options.insert("seed".to_owned(), (seed as i64).into());
    let config = configure(None, Some(name), None, options).unwrap();
    (learner(&config).unwrap(), config.iterations)
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// How soon a policy learns to adapt varies from seed to seed: in most runs it has first to leave a place where all go to one corner,
/// as those of the same algorithm written in JAX do from the same parameters. So the mean is over ten.
#[test]
#[ignore = "ten minutes"]
fn promp_learns_to_find_the_corner() {
    // 10 seeds of 150 iterations; of each the mean over the last ten, and around 50 and 100.
    let curves: Vec<[f64; 3]> = (1..=10)
        .map(|seed| {
            let (mut learner, _) = preset("promp-corner", "precision = 'f32'", seed);
            let returns: Vec<f64> = (0..150).map(|i| mean(&learner.iterate(i).unwrap().returns[1])).collect();
            let curve = [&returns[45..55], &returns[95..105], &returns[140..]].map(mean);
            println!("seed {seed}: at 50, 100 and 150: {curve:.3?}");
            curve
        })
        .collect();
    let of = |place: usize| mean(&curves.iter().map(|curve| curve[place]).collect::<Vec<_>>());
    println!("mean: {:.3} {:.3} {:.3}", of(0), of(1), of(2));
    assert!((of(0) - 0.43).abs() < 0.06 && of(1) > 0.55 && of(2) > 0.6, "{:.3} {:.3} {:.3}", of(0), of(1), of(2));
}

/// A mean return of 475 of 500 over 100 episodes that are not those of training, in each of 3 seeds.
#[test]
#[ignore = "two minutes"]
fn ppo_balances_the_pole() {
    for seed in 1..=3 {
        let (mut learner, iterations) = preset("ppo-cartpole", "precision = 'f32'", seed);
        (0..iterations).for_each(|iteration| drop(learner.iterate(iteration).unwrap()));
        let returns = learner.evaluate(5, 0, 99).unwrap();
        println!("seed {seed}: {:.1}", mean(&returns[0]));
        assert!(mean(&returns[0]) >= 475.0, "seed {seed}: {returns:?}");
    }
}
