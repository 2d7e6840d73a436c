//! What a report says, against exact numbers: biases by enumeration, and intervals that contain them as often as they say.

use ad::Var;
use ndarray::{Array1, array};
use rl::batch::Batch;
use rl::error::Error;
use rl::objective::{
    Claim, DiceLeaveOneOut, DoublyRobust, End, Estimator, Facts, ImportanceSampling, ScoreFunction, TayPo, all,
    allow_biased,
};
use rl::policy::Table;
use rl::report::{EstimatorReport, Plan, Row};
use rl::truth::{Setting, check_estimator};
use study::exact::Problem;

fn setting(off_policy: bool) -> Setting {
    Problem::new(1, true, 3).unwrap().setting(0.9, off_policy, false).unwrap()
}

fn plan() -> Plan {
    Plan { orders: vec![0, 1, 2, 3], samples: vec![4, 16], repeats: 30, seed: 5 }
}

/// The exact ‖E ĝ − g‖.
fn exact_bias(estimator: &dyn Estimator, setting: &Setting, order: usize) -> f64 {
    let report = check_estimator(estimator, setting, order).unwrap();
    let order = &report.orders[order];
    (&order.expectation - &order.truth).mapv(|x| x * x).sum().sqrt()
}

#[test]
fn the_bias_of_every_estimator_lies_in_its_interval_at_every_order() {
    // 2 settings × 16 estimators × 3 orders, one number of trajectories: 96 intervals of 95 %, which are conservative. The
    // batches are the same for all, so that the intervals are not independent; at most 5 may miss (seed 0). Estimators that
    // compare trajectories are enumerated in batches of 2, which is what they are measured at.
    let mut missed = Vec::new();
    for off_policy in [false, true] {
        let setting = setting(off_policy);
        let plan = Plan { orders: vec![1, 2, 3], samples: vec![2], repeats: 400, seed: 0 };
        let report = EstimatorReport::new(&setting, &all(), &plan).unwrap();
        for estimator in all() {
            for order in 1..=3 {
                let row = report.row(&estimator.facts().name, order, 2).unwrap();
                let exact = exact_bias(&*estimator, &setting, order);
                if !row.bias.contains(exact) {
                    missed.push(format!("{} {order} off policy {off_policy}: {exact} {:?}", row.estimator, row.bias));
                }
                assert!(!row.claimed || exact < 1e-10);
            }
        }
    }
    assert!(missed.len() <= 5, "{missed:#?}");
}

#[test]
fn a_bias_is_found_out_and_a_proof_of_none_is_not_contradicted() {
    // 3000 batches of 30 trajectories, seed 0: AD's and LVC's Hessian.
    let setting = setting(false);
    let plan = Plan { orders: vec![2], samples: vec![30], repeats: 3000, seed: 0 };
    for (estimator, biased) in
        [(&ScoreFunction as &dyn Estimator, true), (&TayPo { order: 1 }, true), (&DoublyRobust, false)]
    {
        let report = EstimatorReport::new(&setting, &[allow_biased(estimator)], &plan).unwrap();
        let bias = report.rows[0].bias;
        let exact = exact_bias(estimator, &setting, 2);
        assert_eq!(bias.low > 0.0, biased, "{} {bias:?}", estimator.facts().name);
        assert!(bias.contains(exact), "{} {exact} {bias:?}", estimator.facts().name);
    }
}

#[test]
fn the_variance_is_the_exact_one_over_the_number_of_trajectories() {
    // Per-trajectory gradients over every trajectory, with their probabilities; 2000 repeats, seed 1.
    let problem = Problem::new(1, true, 3).unwrap();
    let setting = problem.setting(0.9, false, false).unwrap();
    let all = problem.mdp.enumerate(&rl::policy::softmax(&problem.logits), 3).unwrap();
    let tape = ad::Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let gradients = rl::rollout::per_trajectory_gradients(&all.rollout.record(&tape), theta, |one| {
        let critic = tape.constant(&array![1.7, -0.6]).gather([one.states()]);
        DoublyRobust.surrogate(&Batch::new(one, Table::log_prob_of(theta, &one), 0.9).with_critic(critic))
    });
    let gradients = gradients.reshape(&[all.probabilities.len(), 4]).value();
    let gradients = gradients.into_dimensionality::<ndarray::Ix2>().unwrap();
    let probabilities = Array1::from(all.probabilities);
    let mean = probabilities.dot(&gradients);
    let variance = probabilities.dot(&gradients.mapv(|x| x * x)).sum() - mean.dot(&mean);
    let signal = mean.dot(&mean).sqrt();

    let plan = Plan { orders: vec![1], samples: vec![5, 50], repeats: 2000, seed: 1 };
    let report = EstimatorReport::new(&setting, &[DoublyRobust], &plan).unwrap();
    for row in &report.rows {
        let exact = variance / row.samples as f64;
        assert!(row.variance.contains(exact) && row.mean_squared_error.contains(exact), "{exact} {row:?}");
        assert!(row.signal_to_noise.unwrap().contains(signal / exact.sqrt()), "{} {row:?}", signal / exact.sqrt());
        assert!((row.variance.value / exact - 1.0).abs() < 0.1, "{exact} {row:?}");
    }
}

#[test]
fn squared_bias_and_variance_add_up_to_the_mean_squared_error() {
    let report = EstimatorReport::new(&setting(true), &all(), &plan()).unwrap();
    for row in &report.rows {
        let (sum, whole) = (row.bias.value.powi(2) + row.variance.value, row.mean_squared_error.value);
        // Where the squared bias came out below 0, it counts as 0.
        if row.bias.value > 0.0 {
            approx::assert_relative_eq!(sum, whole, max_relative = 1e-9);
        } else {
            assert!(sum >= whole * (1.0 - 1e-9), "{row:?}");
        }
    }
}

#[test]
fn cosine_and_correlation_are_one_for_softmax_tables_and_undefined_for_the_value() {
    // Each state's row of derivatives sums to 0, so that nothing is left to centre.
    let report = EstimatorReport::new(&setting(false), &[DoublyRobust], &plan()).unwrap();
    for row in &report.rows {
        let cosine = row.cosine.unwrap();
        assert!((-1.0..=1.0).contains(&cosine.low) && (-1.0..=1.0).contains(&cosine.high));
        match (row.order, row.correlation) {
            (0, correlation) => assert_eq!(correlation, None),
            (_, correlation) => approx::assert_abs_diff_eq!(correlation.unwrap().value, cosine.value, epsilon = 1e-9),
        }
    }
}

#[test]
fn an_estimator_that_never_varies_has_no_signal_to_noise() {
    /// θ itself, whatever was sampled.
    struct Fixed;
    impl Estimator for Fixed {
        fn facts(&self) -> Facts {
            Facts { name: "fixed, \"always\"".to_owned(), claim: Claim::ALL, end: End::Nothing, smallest_batch: 1 }
        }
        fn formula(&self, batch: &Batch) -> Var {
            batch.rewards().sum_axes(&[1]).full_like(2.0)
        }
    }
    let report = EstimatorReport::new(&setting(false), &[Fixed], &plan()).unwrap();
    let value = report.row("fixed, \"always\"", 0, 4).unwrap();
    assert_eq!((value.variance.value, value.signal_to_noise, value.bias.low == value.bias.high), (0.0, None, true));
    approx::assert_relative_eq!(value.bias.value, (2.0 - value.truth_norm).abs(), max_relative = 1e-14);
    let gradient = report.row("fixed, \"always\"", 1, 4).unwrap();
    assert_eq!(gradient.cosine.unwrap().value, 0.0);
    let file = std::env::temp_dir().join(format!("report-{}.csv", std::process::id()));
    report.to_csv(&file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(text.contains("\n\"fixed, \"\"always\"\"\",0,4,true,30,"), "{text}");
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| EstimatorReport::new(&setting(true), &all(), &plan()).unwrap())
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one, three);
    assert_ne!(one, EstimatorReport::new(&setting(true), &all(), &Plan { seed: 6, ..plan() }).unwrap());
}

#[test]
fn the_files_say_what_the_report_says() {
    let report = EstimatorReport::new(&setting(false), &all(), &plan()).unwrap();
    let folder = std::env::temp_dir().join(format!("report-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    report.to_csv(folder.join("r.csv")).unwrap();
    report.to_json(folder.join("r.json")).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();

    let csv = read("r.csv");
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(
        header[..9],
        ["estimator", "order", "samples", "claimed", "repeats", "truth_norm", "bias", "bias_low", "bias_high"]
    );
    let records: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(records.len(), report.rows.len());
    for (record, row) in records.iter().zip(&report.rows) {
        let field = |name: &str| record[header.iter().position(|column| *column == name).unwrap()];
        assert_eq!(field("estimator"), row.estimator);
        assert_eq!(field("bias").parse(), Ok(row.bias.value));
        assert_eq!(field("mean_squared_error_high").parse(), Ok(row.mean_squared_error.high));
        assert_eq!(field("correlation").parse().ok(), row.correlation.map(|correlation| correlation.value));
    }

    let json: serde_json::Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!(json["repeats"], 30);
    assert_eq!(json["rows"][7]["variance"]["low"], report.rows[7].variance.low);
    assert_eq!(json["rows"][0]["correlation"], serde_json::Value::Null);

    let printed = report.to_string();
    for words in ["gradient\n", "third derivative\n", "signal/noise", "lvc*", "from 30 repeats"] {
        assert!(printed.contains(words), "{words}\n{printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 140), "{printed}");
    std::fs::remove_dir_all(folder).unwrap();
    let missing = report.to_csv("/no/such/folder/r.csv").unwrap_err().to_string();
    assert!(missing.starts_with("/no/such/folder/r.csv: "), "{missing}");
}

#[test]
fn the_best_row_has_the_least_error() {
    let report = EstimatorReport::new(&setting(false), &all(), &plan()).unwrap();
    let best = report.best(2, 16).unwrap();
    let rows = |row: &&Row| (row.order, row.samples) == (2, 16);
    assert_eq!(report.rows.iter().filter(rows).count(), all().len());
    assert!(report.rows.iter().filter(rows).all(|row| row.mean_squared_error.value >= best.mean_squared_error.value));
    assert_eq!(report.best(2, 17), None);
}

#[test]
fn what_cannot_be_measured_is_a_typed_error() {
    let error = |estimators: &[Box<dyn Estimator>], plan: Plan| {
        EstimatorReport::new(&setting(false), estimators, &plan).unwrap_err()
    };
    let one = || vec![Box::new(ImportanceSampling) as Box<dyn Estimator>];
    assert!(matches!(error(&[], plan()), Error::Empty { what: "estimators" }));
    assert!(matches!(error(&one(), Plan { samples: vec![], ..plan() }), Error::Empty { .. }));
    assert!(matches!(error(&one(), Plan { orders: vec![4], ..plan() }), Error::Order { order: 4, highest: 3 }));
    assert!(matches!(error(&one(), Plan { repeats: 1, ..plan() }), Error::TooFew { found: 1, least: 2, .. }));
    assert!(matches!(error(&one(), Plan { samples: vec![0], ..plan() }), Error::TooFew { found: 0, least: 1, .. }));
    let message = error(&[Box::new(DiceLeaveOneOut)], Plan { samples: vec![1], ..plan() }).to_string();
    assert_eq!(message, "1 trajectories, for dice_leave_one_out: at least 2 are needed");
}

#[test]
fn an_estimate_that_is_not_finite_is_an_error_that_names_its_estimator() {
    struct Bad;
    impl Estimator for Bad {
        fn facts(&self) -> Facts {
            Facts { name: "bad".to_owned(), claim: Claim::ALL, end: End::Nothing, smallest_batch: 1 }
        }
        fn formula(&self, batch: &Batch) -> Var {
            (batch.rewards().sum_axes(&[1]) - 1e9).sqrt() * batch.ratio().at(1, 0)
        }
    }
    let error = EstimatorReport::new(&setting(false), &[Bad], &plan()).unwrap_err();
    assert!(error.to_string().contains("order 0 by bad, N = 4, repeat"), "{error}");
}
