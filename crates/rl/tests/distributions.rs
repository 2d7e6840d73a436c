//! Distributions over vectors: their formulas against numbers of fifty digits, derivatives against differences, samples against
//! distribution functions, expectations by quadrature; and networks that act by them.

use ad::{DType, Handle, Modes, Real, Tape, Value, Var, check_gradients};
use ndarray::{Array2, ArrayD, arr1, arr2, array};
use rand::RngExt;
use rl::batch::Batch;
use rl::env::{Action, Actor, Environment, Failure, Navigation, Slot, Step};
use rl::error::Error;
use rl::objective::{Estimator, ScoreFunction};
use rl::policy::Activation::Tanh;
use rl::policy::{
    Beta, Dirichlet, Dist, FullNormal, Gamma, Mixture, Network, NetworkPolicy, Normal, Numbers, Params, Policy,
    SquashedNormal, record,
};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;

// Against numbers of fifty digits.

/// A line of `data/distributions.csv`, which `scripts/distributions.py` writes.
struct Reference {
    kind: &'static str,
    what: &'static str,
    arrays: Vec<Vec<f64>>,
    value: f64,
    /// The largest magnitude of what is added up.
    terms: f64,
}

fn references() -> impl Iterator<Item = Reference> {
    include_str!("data/distributions.csv").lines().skip(1).map(|line| {
        let [kind, what, arrays, value, terms] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let numbers = |array: &str| array.split(' ').map(|x| x.parse().unwrap()).collect();
        let arrays = arrays.split(';').map(numbers).collect();
        Reference { kind, what, arrays, value: value.parse().unwrap(), terms: terms.parse().unwrap() }
    })
}

impl Reference {
    /// What is found, computed in `T`.
    fn found<T: Real>(&self) -> f64 {
        let tape = Tape::new();
        let vars: Vec<Var> =
            self.arrays.iter().map(|x| tape.input("x", Value::from(arr1(x)).rounded(T::DTYPE))).collect();
        let square = |x: Var| {
            let size = x.size().isqrt();
            x.reshape(&[size, size])
        };
        let (dists, rest): (Vec<Dist>, &[Var]) = match self.kind {
            "beta" => {
                let of = |x: &[Var]| Beta::new(x[0], x[1]).between(x[2], x[3]).into();
                (vars.chunks_exact(4).map(of).collect(), vars.chunks_exact(4).remainder())
            }
            "gamma" => {
                let of = |x: &[Var]| Gamma::new(x[0], x[1]).into();
                (vars.chunks_exact(2).map(of).collect(), vars.chunks_exact(2).remainder())
            }
            "dirichlet" if self.what == "kl" => (vars.iter().map(|&x| Dirichlet::new(x).into()).collect(), &[]),
            "dirichlet" => (vec![Dirichlet::new(vars[0]).into()], &vars[1..]),
            "squashed" => {
                let of = |x: &[Var]| SquashedNormal::new(x[0], x[1]).between(x[2], x[3]);
                if self.what == "log_prob_at" {
                    return of(&vars).log_prob_at(vars[4]).item_as::<T>().as_f64();
                }
                (vars.chunks_exact(4).map(|x| of(x).into()).collect(), vars.chunks_exact(4).remainder())
            }
            "full" => {
                let of = |x: &[Var]| FullNormal::of_factor(x[0], square(x[1])).into();
                (vars.chunks_exact(2).map(of).collect(), vars.chunks_exact(2).remainder())
            }
            "mixture" => {
                let (count, size) = (vars[0].size(), vars[3].size());
                let [means, log_stds] = [vars[1], vars[2]].map(|x| x.reshape(&[count, size]));
                (vec![Mixture::new(vars[0], Normal::new(means, log_stds)).into()], &vars[3..])
            }
            kind => panic!("{kind}"),
        };
        let value = match self.what {
            "log_prob" => dists[0].log_prob(rest[0].into()),
            "entropy" => dists[0].entropy(),
            "kl" => dists[0].kl(&dists[1]),
            what => panic!("{what}"),
        };
        value.item_as::<T>().as_f64()
    }

    /// How many roundings of the largest term it is off, if not more than one of its own.
    fn roundings<T: Real>(&self) -> f64 {
        let (found, expected) = (self.found::<T>(), T::of(self.value).as_f64());
        if found == expected {
            return 0.0;
        }
        // These are computed in double precision, and rounded.
        let in_double = ["beta", "gamma", "dirichlet"].contains(&self.kind);
        let epsilon = if in_double { f64::EPSILON } else { T::epsilon().as_f64() };
        let own = if in_double { T::epsilon().as_f64() * self.value.abs() } else { 0.0 };
        ((found - self.value).abs() - own).max(0.0) / (epsilon * self.terms.max(1e-3))
    }
}

fn assert_references<T: Real>() {
    let mut worst: std::collections::BTreeMap<(&str, &str), f64> = Default::default();
    for reference in references() {
        let roundings = reference.roundings::<T>();
        let Reference { kind, what, arrays, value, terms } = &reference;
        let found = reference.found::<T>();
        assert!(roundings <= 16.0, "{kind} {what} {arrays:?}: {found}, not {value} (terms {terms}): {roundings}");
        let worst = worst.entry((kind, what)).or_default();
        *worst = worst.max(roundings);
    }
    println!("{}: {worst:?}", T::DTYPE);
}

#[test]
fn values_are_those_of_fifty_digits_within_16_roundings_of_their_largest_term() {
    assert_references::<f64>();
}

#[test]
fn values_in_single_precision_are_those_of_fifty_digits() {
    assert_references::<f32>();
}

#[test]
fn what_is_no_distribution_and_what_is_no_point_is_nan() {
    let tape = Tape::new();
    let one = |x: f64| tape.input("x", arr1(&[x]));
    for bad in [0.0, -1.5, f64::NAN] {
        for (a, b) in [(bad, 2.0), (2.0, bad)] {
            let (beta, gamma) = (Beta::new(one(a), one(b)), Gamma::new(one(a), one(b)));
            let found =
                [beta.log_prob(one(0.5)), beta.entropy(), beta.kl(&beta), gamma.log_prob(one(0.5)), gamma.entropy()];
            assert!(found.iter().all(|x| x.item().is_nan()), "{a}, {b}");
            let dirichlet = Dirichlet::new(tape.input("x", arr1(&[a, b])));
            assert!(dirichlet.log_prob(tape.input("x", arr1(&[0.25, 0.75]))).item().is_nan());
        }
    }
    let nan = one(f64::NAN);
    let dists: [Dist; 5] = [
        Beta::new(one(1.0), one(1.0)).into(),
        Gamma::new(one(1.0), one(1.0)).into(),
        SquashedNormal::new(one(0.0), one(0.0)).into(),
        FullNormal::new(one(0.0), one(0.0), tape.input("below", arr1(&[0.0; 0]))).into(),
        Mixture::new(one(0.0), Normal::new(one(0.0).reshape(&[1, 1]), one(0.0))).into(),
    ];
    for dist in dists {
        assert!(dist.log_prob(nan.into()).item().is_nan(), "{}", dist.name());
    }
}

#[test]
fn divergences_between_other_bounds_are_not_numbers() {
    let tape = Tape::new();
    let x = |x: f64| tape.input("x", arr1(&[x, x]));
    let (beta, squashed) = (Beta::new(x(2.0), x(3.0)), SquashedNormal::new(x(0.5), x(0.0)));
    let bounds = [tape.constant(arr1(&[0.0, 0.0])), tape.constant(arr1(&[1.0, 2.0]))];
    assert!(beta.kl(&beta.between(bounds[0], bounds[1])).item().is_nan());
    assert!(squashed.kl(&squashed.between(bounds[0], bounds[1])).item().is_nan());
    let [beta, squashed] =
        [Dist::from(beta.between(bounds[0], bounds[1])), Dist::from(squashed.between(bounds[0], bounds[1]))];
    assert_eq!(beta.kl(&beta).item(), 0.0);
    assert_eq!(squashed.kl(&squashed).item(), 0.0);
}

// Cases of every kind.

/// Distributions of a kind over vectors, of a batch of three, as a function of arrays.
struct Case {
    name: &'static str,
    of: fn(&[Var]) -> Dist,
    parameters: Vec<ArrayD<f64>>,
    points: ArrayD<f64>,
}

fn cases() -> Vec<Case> {
    let inner = array![[0.2, 0.7], [0.55, 0.01], [0.9, 0.35]].into_dyn();
    let wide = array![[0.2, -0.7], [1.5, 0.1], [-2.0, 0.35]].into_dyn();
    let positive = array![[0.2, 1.7], [0.55, 0.05], [4.0, 0.8]].into_dyn();
    let shares = array![[0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]].into_dyn();
    vec![
        Case {
            name: "beta",
            of: |x| Beta::new(x[0], x[1]).into(),
            parameters: vec![array![[1.0, 2.5], [0.6, 40.0], [7.0, 1.3]].into_dyn(), array![[3.0, 0.75]].into_dyn()],
            points: inner.clone(),
        },
        Case {
            name: "beta between bounds",
            of: |x| Beta::new(x[0], x[1]).between(x[2] - 3.0, x[2]).into(),
            parameters: vec![
                array![[1.0, 2.5], [0.6, 40.0], [7.0, 1.3]].into_dyn(),
                array![3.0, 0.75].into_dyn(),
                array![2.0, 1.5].into_dyn(),
            ],
            points: wide.mapv(|x: f64| x * 0.3),
        },
        Case {
            name: "gamma",
            of: |x| Gamma::new(x[0], x[1]).into(),
            parameters: vec![array![[1.0, 2.5], [0.6, 40.0], [7.0, 1.3]].into_dyn(), array![3.0, 0.75].into_dyn()],
            points: positive,
        },
        Case {
            name: "Dirichlet",
            of: |x| Dirichlet::new(x[0]).into(),
            parameters: vec![array![[1.0, 2.5, 0.7], [0.6, 40.0, 3.0], [7.0, 1.3, 1.0]].into_dyn()],
            points: shares,
        },
        Case {
            name: "squashed normal",
            of: |x| SquashedNormal::new(x[0], x[1]).into(),
            parameters: vec![array![[0.1, -0.5], [1.5, 0.3], [-0.7, 2.0]].into_dyn(), array![0.25, -0.5].into_dyn()],
            points: inner.mapv(|x: f64| 1.9 * x - 0.95),
        },
        Case {
            name: "squashed normal between bounds",
            of: |x| SquashedNormal::new(x[0], x[1]).between(x[2] - 3.0, x[2]).into(),
            parameters: vec![
                array![[0.1, -0.5], [1.5, 0.3], [-0.7, 2.0]].into_dyn(),
                array![0.25, -0.5].into_dyn(),
                array![2.0, 1.5].into_dyn(),
            ],
            points: wide.mapv(|x: f64| x * 0.3),
        },
        Case {
            name: "full normal, each its own",
            of: |x| FullNormal::new(x[0], x[1], x[2]).into(),
            parameters: vec![
                array![[0.1, -0.5], [1.5, 0.3], [-0.7, 2.0]].into_dyn(),
                array![[0.25, -0.5], [0.1, 0.7], [-0.3, 0.2]].into_dyn(),
                array![[0.5], [-1.25], [2.0]].into_dyn(),
            ],
            points: wide.clone(),
        },
        Case {
            name: "full normal, one triangle",
            of: |x| FullNormal::of_factor(x[0], x[1]).into(),
            parameters: vec![
                array![[0.1, -0.5], [1.5, 0.3], [-0.7, 2.0]].into_dyn(),
                array![[1.25, 0.0], [-0.5, 0.7]].into_dyn(),
            ],
            points: wide.clone(),
        },
        Case {
            name: "mixture of normals",
            of: |x| Mixture::new(x[0], Normal::new(x[1], x[2])).into(),
            parameters: vec![
                array![[0.3, -0.5], [1.5, 0.0], [-0.7, 2.0]].into_dyn(),
                array![[0.5, -1.0], [1.5, 0.25]].into_dyn(),
                array![[0.25, -0.5], [0.1, 0.7]].into_dyn(),
            ],
            points: wide,
        },
        Case {
            name: "mixture of betas",
            of: |x| Mixture::new(x[0], Beta::new(x[1], x[2])).into(),
            parameters: vec![
                array![[0.3, -0.5], [1.5, 0.0], [-0.7, 2.0]].into_dyn(),
                array![[2.5, 1.0], [1.5, 0.75]].into_dyn(),
                array![[1.25, 0.5], [3.0, 2.0]].into_dyn(),
            ],
            points: inner,
        },
    ]
}

/// Other arrays, near these.
fn moved(arrays: &[ArrayD<f64>]) -> Vec<ArrayD<f64>> {
    arrays.iter().map(|array| array.mapv(|x| x + 0.15 * x.abs())).collect()
}

#[test]
fn derivatives_by_parameters_and_points_are_those_of_differences_to_third_order_in_both_modes() {
    for Case { name, of, parameters, points } in cases() {
        let count = parameters.len();
        let arrays = [&parameters[..], &[points]].concat();
        let log_prob = |x: &[Var]| of(&x[..count]).log_prob(x[count].into());
        check_gradients(log_prob, &arrays, 3, Modes::Both).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let singles: Vec<ArrayD<f32>> = arrays.iter().map(|array| array.mapv(|x| x as f32)).collect();
        check_gradients(log_prob, &singles, 2, Modes::Both).unwrap_or_else(|problem| panic!("{name}, f32: {problem}"));
        let tape = Tape::new();
        let vars: Vec<Var> = parameters.iter().map(|array| tape.input("x", array)).collect();
        if of(&vars).closed_entropy().is_some() {
            let entropy = |x: &[Var]| of(x).entropy();
            check_gradients(entropy, &parameters, 3, Modes::Both).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
        if of(&vars).closed_kl(&of(&vars)).is_some() {
            // Bounds are the same on both sides, so that they are no arguments.
            let both = if name.contains("bounds") { 2 } else { count };
            let fixed = parameters[both..].to_vec();
            let arrays = [&parameters[..both], &moved(&parameters)[..both]].concat();
            let kl = |x: &[Var]| {
                let fixed: Vec<Var> = fixed.iter().map(|array| x[0].constant(array)).collect();
                of(&[&x[..both], &fixed].concat()).kl(&of(&[&x[both..], &fixed].concat()))
            };
            check_gradients(kl, &arrays, 3, Modes::Both).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
    }
}

#[test]
fn far_in_saturation_the_logarithm_of_the_slope_has_the_derivatives_of_differences() {
    for u in [[-40.0, 25.0], [-700.0, 400.0], [19.5, -9.25]] {
        let arrays = [array![[0.5, -0.25]], array![[2.0, 3.0]], array![u]].map(|x: Array2<f64>| x.into_dyn());
        let f = |x: &[Var]| SquashedNormal::new(x[0], x[1]).log_prob_at(x[2]);
        check_gradients(f, &arrays, 3, Modes::Both).unwrap();
    }
}

#[test]
fn no_derivative_at_a_bound_or_beyond_is_a_nan() {
    let tape = Tape::new();
    for x in [-1.5, -1.0, 1.0, 2.5, f64::NEG_INFINITY, f64::INFINITY] {
        let point = tape.input("point", arr1(&[x]));
        for parameter in [0.5, 1.0, 2.0] {
            let of = || tape.input("x", arr1(&[parameter]));
            let (a, b) = (of(), of());
            let (low, high) = (tape.constant(arr1(&[-1.0])), tape.constant(arr1(&[1.0])));
            let dists: [Dist; 3] =
                [Beta::new(a, b).between(low, high).into(), Gamma::new(a, b).into(), SquashedNormal::new(a, b).into()];
            for dist in dists {
                let log_prob = dist.log_prob(point.into());
                for by in [a, b, point] {
                    for order in 1..=2 {
                        let derivative = log_prob.derivative(by, order).value();
                        assert!(!derivative.iter().any(|x| x.is_nan()), "{} at {x}: {derivative}", dist.name());
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_squashed_is_where_it_is_asked_about() {
    let tape = Tape::new();
    let u = array![[-30.0, 0.1], [-3.0, 2.5], [0.0, 14.0]];
    let of = SquashedNormal::new(tape.constant(arr1(&[0.5, -0.25])), tape.constant(arr1(&[1.0, 2.0])));
    // Next to a bound of 0 every number has its digits, and next to another one fewer.
    for (bounds, tolerance) in [([[0.0, 0.0], [2.0, 4.0]], 1e-13), ([[-1.0, -1.0], [1.0, 1.0]], 1e-13)] {
        let of = of.between(tape.constant(arr1(&bounds[0])), tape.constant(arr1(&bounds[1])));
        for row in u.rows() {
            let u = tape.constant(row.to_owned());
            let inside = row.iter().all(|&u| u < 10.0 && (u > -10.0 || bounds[0][0] == 0.0));
            let points = of.squash(u);
            for (x, (low, high)) in points.value().iter().zip(bounds[0].iter().zip(&bounds[1])) {
                assert!(low <= x && x <= high);
            }
            if inside {
                let [found, expected] = [of.log_prob(points), of.log_prob_at(u)].map(|x| x.item());
                assert!((found - expected).abs() < tolerance * expected.abs().max(1.0), "{found}, not {expected}");
            }
        }
    }
}

#[test]
fn divergences_are_not_negative_and_vanish_between_equals() {
    let mut rng = stream(71, 0);
    for Case { name, of, parameters, .. } in cases() {
        let tape = Tape::new();
        let record = |arrays: &[ArrayD<f64>]| of(&arrays.iter().map(|x| tape.input("x", x)).collect::<Vec<_>>());
        let one = record(&parameters);
        let Some(zero) = one.closed_kl(&one) else { continue };
        // (Of a triangle, L⁻¹L is off by roundings.)
        assert!(zero.value().iter().all(|x| x.abs() < 1e-15), "{name}: {zero:?}");
        for round in 0..200 {
            // Nearer and nearer: the divergence is of second order.
            let by = 10.0_f64.powi(-(round % 10));
            let both = if name.contains("bounds") { 2 } else { parameters.len() };
            let mut others = parameters.clone();
            others[..both].iter_mut().for_each(|array| array.mapv_inplace(|x| x + by * rng.random::<f64>() * x.abs()));
            let kl = one.kl(&record(&others)).value();
            // (What cancels are logarithms of gamma functions of up to some 100, each a few units in its last place off.)
            assert!(kl.iter().all(|&x| x > if by > 1e-6 { 0.0 } else { -1e-13 }), "{name}, {by}: {kl}");
        }
    }
}

#[test]
fn heads_describe_a_distribution_and_a_fixed_one_is_the_same() {
    for Case { name, of, parameters, points } in cases() {
        let tape = Tape::new();
        let vars: Vec<Var> = parameters.iter().map(|x| tape.input("x", x)).collect();
        let points = tape.constant(points);
        let dist = of(&vars);
        let heads: Vec<Var> = dist.heads().iter().map(|head| tape.constant(head.value())).collect();
        assert!(heads.iter().all(|head| head.shape()[0] == 3), "{name}");
        let log_prob = dist.log_prob(points.into());
        let again = dist.with_heads(&heads).log_prob(points.into()).value();
        // (A triangle that all rows share is one right-hand side; each its own is another order of additions.)
        assert!((log_prob.value() - &again).iter().all(|x| x.abs() < 1e-14), "{name}");
        assert_eq!(dist.with_heads(&dist.heads()).name(), dist.name());
        let fixed = dist.stop_gradient().log_prob(points.into());
        assert!((log_prob.value() - fixed.value()).iter().all(|x| x.abs() < 1e-14), "{name}");
        assert!(
            fixed.sum().grad_or_zeros(&vars[..2.min(vars.len())]).iter().all(|x| x.value().iter().all(|&x| x == 0.0))
        );
        let message = refused(|| dist.with_heads(&heads[1..]));
        assert!(message.contains("with_heads") && message.contains(dist.name()), "{message}");
    }
}

#[test]
fn batches_broadcast() {
    // One of [2, 1] with points of [3], position by position.
    for Case { name, of, parameters, points } in cases() {
        let tape = Tape::new();
        let rows = |array: &ArrayD<f64>, row: usize| match array.ndim() {
            // A mixture's components are not the batch.
            2 if array.shape()[0] == 3 => array.index_axis(ndarray::Axis(0), row).to_owned(),
            _ => array.clone(),
        };
        let spread = |array: &ArrayD<f64>| match array.ndim() {
            2 if array.shape()[0] == 3 => {
                array.slice(ndarray::s![..2, ..]).to_owned().insert_axis(ndarray::Axis(1)).into_dyn()
            }
            _ => array.clone(),
        };
        let all = of(&parameters.iter().map(|x| tape.constant(spread(x))).collect::<Vec<_>>());
        let found = all.log_prob(tape.constant(&points).into()).value();
        assert_eq!(found.shape(), [2, 3], "{name}");
        for i in 0..2 {
            let one = of(&parameters.iter().map(|x| tape.constant(rows(x, i))).collect::<Vec<_>>());
            for j in 0..3 {
                let point = tape.constant(points.index_axis(ndarray::Axis(0), j).to_owned());
                let expected = one.log_prob(point.into()).value();
                let expected = expected.iter().next().unwrap();
                let found = found[[i, j]];
                assert!((found - expected).abs() <= 1e-13 * expected.abs().max(1.0), "{name}: {found}, not {expected}");
            }
        }
    }
}

// Expectations by quadrature.

/// Points and their weights: of a kind of case by its number of components and where they may be.
fn nodes(name: &str, size: usize) -> (Array2<f64>, Vec<f64>) {
    // By the trapezoidal rule over a number that is mapped onto where a component may be.
    let (map, reach, step): (fn(f64) -> [f64; 2], f64, f64) = match name {
        "interval" => (
            |t| {
                let (x, y) = (1.0 / (1.0 + (-t).exp()), 1.0 / (1.0 + t.exp()));
                [x, x * y]
            },
            36.0,
            0.1,
        ),
        "positive" => (|t| [t.exp(), t.exp()], 36.0, 0.05),
        _ => (|t| [t, 1.0], 14.0, 0.05),
    };
    let count = (2.0 * reach / step) as usize;
    let line: Vec<[f64; 2]> = (0..=count).map(|i| map(i as f64 * step - reach)).collect();
    let total = line.len().pow(size as u32);
    let at = |n: usize, j: usize| line[n / line.len().pow(j as u32) % line.len()];
    let points = Array2::from_shape_fn((total, size), |(n, j)| at(n, j)[0]);
    let weights = (0..total).map(|n| (0..size).map(|j| at(n, j)[1] * step).product()).collect();
    (points, weights)
}

/// What it is called, where its points may be, how many components they have, how it is made of which parameters.
type SingleCase = (&'static str, &'static str, usize, fn(&[Var]) -> Dist, Vec<ArrayD<f64>>);

/// One distribution each.
fn single_cases() -> Vec<SingleCase> {
    let x = |x: &[f64]| arr1(x).into_dyn();
    vec![
        ("beta", "interval", 1, |x| Beta::new(x[0], x[1]).into(), vec![x(&[2.5]), x(&[0.75])]),
        ("gamma", "positive", 1, |x| Gamma::new(x[0], x[1]).into(), vec![x(&[2.5]), x(&[0.75])]),
        ("squashed", "interval", 1, |x| squashed_in_unit(x).into(), vec![x(&[0.4]), x(&[-0.5])]),
        (
            "full",
            "line",
            2,
            |x| FullNormal::new(x[0], x[1], x[2]).into(),
            vec![x(&[0.4, -0.3]), x(&[-0.25, 0.2]), x(&[0.8])],
        ),
        (
            "mixture",
            "line",
            1,
            |x| Mixture::new(x[0], Normal::new(x[1].reshape(&[2, 1]), x[2].reshape(&[2, 1]))).into(),
            vec![x(&[0.4, -0.3]), x(&[-1.0, 1.5]), x(&[-0.5, 0.2])],
        ),
    ]
}

fn squashed_in_unit(x: &[Var]) -> SquashedNormal {
    SquashedNormal::new(x[0], x[1]).between(x[0].constant(arr1(&[0.0])), x[0].constant(arr1(&[1.0])))
}

#[test]
fn densities_integrate_to_one_scores_to_zero_and_the_information_identity_holds() {
    for (name, space, size, of, parameters) in single_cases() {
        let (points, weights) = nodes(space, size);
        let tape = Tape::new();
        let vars: Vec<Var> = parameters.iter().map(|x| tape.input("x", x)).collect();
        let log_prob = of(&vars).log_prob(tape.constant(&points).into());
        let mass = log_prob.stop_gradient().exp() * tape.constant(arr1(&weights));
        let total = mass.sum().item();
        assert!((total - 1.0).abs() < 1e-10, "{name}: {total}");
        // E log π is minus the entropy.
        if let Some(entropy) = of(&vars).closed_entropy() {
            let found = -(mass * log_prob).sum().item();
            let expected = entropy.sum().item();
            assert!((found - expected).abs() < 1e-10, "{name}: {found}, not {expected}");
        }
        // E ∇ log π = 0.
        let score = (mass * log_prob).sum();
        for (&var, gradient) in vars.iter().zip(score.grad(&vars[..])) {
            assert!(gradient.value().iter().all(|x| x.abs() < 1e-9), "{name}: {gradient:?}");
            // E ∇² log π + E ∇ log π ∇ log πᵀ = 0: the second derivative of ∫ π.
            let whole = (log_prob.exp() * tape.constant(arr1(&weights))).sum();
            assert!(whole.hessian(var).value().iter().all(|x| x.abs() < 1e-8), "{name}");
        }
    }
    // Two of three shares, s and (1 − s)·t.
    let (points, weights) = nodes("interval", 2);
    let shares = Array2::from_shape_fn((points.nrows(), 3), |(n, j)| {
        let (s, t) = (points[[n, 0]], points[[n, 1]]);
        [s, (1.0 - s) * t, (1.0 - s) * (1.0 - t)][j]
    });
    // (Next to the corner a share rounds to 0: there, nothing is left of the mass.)
    let weights: Vec<f64> = weights.iter().zip(points.rows()).map(|(w, x)| w * (1.0 - x[0])).collect();
    let kept: Vec<usize> = (0..weights.len()).filter(|&n| shares.row(n).iter().all(|&x| x > 1e-14)).collect();
    let shares = shares.select(ndarray::Axis(0), &kept);
    let weights = arr1(&kept.iter().map(|&n| weights[n]).collect::<Vec<_>>());
    let tape = Tape::new();
    let concentration = tape.input("concentration", arr1(&[2.5, 1.75, 3.0]));
    let dist = Dirichlet::new(concentration);
    let log_prob = dist.log_prob(tape.constant(&shares));
    let mass = log_prob.stop_gradient().exp() * tape.constant(weights);
    assert!((mass.sum().item() - 1.0).abs() < 1e-9);
    assert!((-(mass * log_prob).sum().item() - dist.entropy().item()).abs() < 1e-8);
    assert!((mass * log_prob).sum().grad(concentration).value().iter().all(|x| x.abs() < 1e-8));
}

// Samples.

/// How far the distribution function of samples is from that of a density, known up to a factor as a logarithm: the largest distance
/// times √n. Beyond 2.7 it is with a probability of 10⁻⁶, if they have this density (Kolmogorov).
fn kolmogorov(samples: &[f64], log_density: impl Fn(f64) -> f64, [low, high]: [f64; 2]) -> f64 {
    const CELLS: usize = 40_000;
    let width = (high - low) / CELLS as f64;
    let logarithms: Vec<f64> = (0..=CELLS).map(|i| log_density(low + i as f64 * width)).collect();
    let largest = logarithms.iter().fold(f64::NEG_INFINITY, |a: f64, &b| a.max(b));
    let mut sums = vec![0.0];
    for pair in logarithms.windows(2) {
        sums.push(sums[sums.len() - 1] + (pair[0] - largest).exp() + (pair[1] - largest).exp());
    }
    let total = sums[CELLS];
    let function = |x: f64| {
        let place = ((x - low) / width).clamp(0.0, CELLS as f64 - 1e-6);
        let cell = place as usize;
        (sums[cell] + (place - cell as f64) * (sums[cell + 1] - sums[cell])) / total
    };
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = sorted.iter().enumerate().fold(0.0, |largest: f64, (i, &x)| {
        let f = function(x);
        largest.max((f - i as f64 / n).abs()).max((f - (i + 1) as f64 / n).abs())
    });
    distance * n.sqrt()
}

const LIMIT: f64 = 2.7;
const SAMPLES: usize = 40_000;

/// So many samples of one distribution, `[SAMPLES, D]`.
fn samples(of: &dyn Fn(&Tape) -> Dist, seed: u64) -> Array2<f64> {
    let tape = Tape::new();
    let dist = of(&tape);
    let heads: Vec<Var> =
        dist.heads().iter().map(|head| head.broadcast_to(&[&[SAMPLES], &head.shape()[..]].concat())).collect();
    let points = dist.with_heads(&heads).sample(&mut stream(seed, 0));
    points.into_array().unwrap().into_dimensionality().unwrap()
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The samples have the density, and would not have that of parameters that are a tenth off.
#[track_caller]
fn assert_drawn(name: &str, samples: &[f64], log_density: &dyn Fn(f64, f64) -> f64, range: [f64; 2]) {
    let right = kolmogorov(samples, |t| log_density(t, 1.0), range);
    assert!(right < LIMIT, "{name}: {right}");
    let wrong = kolmogorov(samples, |t| log_density(t, 1.1), range);
    assert!(wrong > LIMIT, "{name}: {wrong} with another distribution");
}

#[test]
fn forty_thousand_samples_have_the_distribution_functions_of_their_densities() {
    let one = |tape: &Tape, x: f64| tape.constant(arr1(&[x]));
    let column = |points: &Array2<f64>, j: usize, f: &dyn Fn(f64) -> f64| -> Vec<f64> {
        points.column(j).iter().map(|&x| f(x)).collect()
    };
    let pairs = [(2.5, 0.75), (0.3, 0.2), (40.0, 90.0), (0.01, 3.0)];
    for (seed, (a, b)) in pairs.into_iter().enumerate() {
        // In (−2, 0.5), by its logit: a density of the logit that has no singularity.
        let beta = |tape: &Tape| Beta::new(one(tape, a), one(tape, b)).between(one(tape, -2.0), one(tape, 0.5)).into();
        let points = samples(&beta, 100 + seed as u64);
        assert!(points.iter().all(|&x| -2.0 < x && x < 0.5));
        // Where numbers end next to a bound, so does what can be told: samples are put together there.
        let logits = column(&points, 0, &|x| ((x + 2.0) / (0.5 - x)).ln().clamp(-25.0, 25.0));
        if a > 0.1 {
            let log_density = |t: f64, scale: f64| -a * scale * softplus(-t) - b * softplus(t);
            assert_drawn("beta", &logits, &log_density, [-200.0, 200.0]);
        }
        let gamma = |tape: &Tape| Gamma::new(one(tape, a), one(tape, b)).into();
        let logarithms = column(&samples(&gamma, 200 + seed as u64), 0, &f64::ln);
        let log_density = |t: f64, scale: f64| a * scale * t - b * t.exp();
        if a > 0.1 {
            assert_drawn("gamma", &logarithms, &log_density, [-200.0, 10.0]);
        } else {
            // Three in four of a thousand orders of magnitude are beyond the least number: those that are not.
            let least = f64::MIN_POSITIVE.ln();
            let right = logarithms.iter().filter(|&&t| t <= least + 1e-9).count() as f64 / SAMPLES as f64;
            // P(x ≤ x₀) = (βx₀)^α / Γ(α + 1) to first order.
            let expected = (a * (least + f64::ln(b))).exp() / 0.994_325_851_2;
            assert!((right - expected).abs() < 5.0 * (expected / SAMPLES as f64).sqrt(), "{right}, not {expected}");
        }
    }
    for (seed, (m, s)) in [(0.4, -0.5), (-3.0, 0.7)].into_iter().enumerate() {
        let squashed = |tape: &Tape| SquashedNormal::new(one(tape, m), one(tape, s)).into();
        let u = column(&samples(&squashed, 300 + seed as u64), 0, &f64::atanh);
        let log_density = |t: f64, scale: f64| -0.5 * ((t - m) / s.exp() / scale).powi(2);
        assert_drawn("squashed normal", &u, &log_density, [-20.0, 20.0]);
    }
    let mixture = |tape: &Tape| {
        let [means, log_stds] = [[-1.0, 0.5, 3.0], [-0.5, -2.0, 0.3]].map(|x| tape.constant(arr1(&x)).reshape(&[3, 1]));
        Mixture::new(tape.constant(arr1(&[0.3, -0.5, 1.0])), Normal::new(means, log_stds)).into()
    };
    let log_density = |t: f64, scale: f64| {
        let component = |logit: f64, m: f64, s: f64| (logit - s - 0.5 * ((t - m) / s.exp()).powi(2)).exp();
        (component(0.3, -1.0, -0.5) + component(-0.5, 0.5, -2.0) + component(scale * scale, 3.0, 0.3)).ln()
    };
    let points = samples(&mixture, 400);
    assert_drawn("mixture", &column(&points, 0, &|x| x), &log_density, [-15.0, 20.0]);
}

/// The covariance of samples, within five standard errors of what it has to be; their fourth moments are those of the samples.
#[track_caller]
fn assert_covariance(points: &Array2<f64>, mean: &[f64], covariance: &Array2<f64>) {
    for i in 0..mean.len() {
        for j in 0..=i {
            let products: Vec<f64> = points.rows().into_iter().map(|x| (x[i] - mean[i]) * (x[j] - mean[j])).collect();
            let n = products.len() as f64;
            let found = products.iter().sum::<f64>() / n;
            let variance = products.iter().map(|x| (x - found).powi(2)).sum::<f64>() / n;
            let (expected, error) = (covariance[[i, j]], (variance / n).sqrt());
            assert!((found - expected).abs() < 5.0 * error, "({i}, {j}): {found} ± {error}, not {expected}");
            // And the test would see a tenth of the deviations' product.
            assert!(0.1 * (covariance[[i, i]] * covariance[[j, j]]).sqrt() > 5.0 * error);
        }
    }
}

#[test]
fn samples_of_dependent_components_have_their_margins_and_covariances() {
    let mean = [0.5, -1.0, 2.0];
    let factor = arr2(&[[1.5, 0.0, 0.0], [-0.7, 0.4, 0.0], [0.3, 2.0, 0.9]]);
    let full = |tape: &Tape| FullNormal::of_factor(tape.constant(arr1(&mean)), tape.constant(&factor)).into();
    let points = samples(&full, 500);
    let covariance = factor.dot(&factor.t());
    for j in 0..3 {
        let log_density = |t: f64, scale: f64| -0.5 * ((t - mean[j]) / scale).powi(2) / covariance[[j, j]];
        assert_drawn("full normal", &points.column(j).to_vec(), &log_density, [-20.0, 20.0]);
    }
    assert_covariance(&points, &mean, &covariance);
    let concentration = [2.5, 0.75, 4.0];
    let total: f64 = concentration.iter().sum();
    let dirichlet = |tape: &Tape| Dirichlet::new(tape.constant(arr1(&concentration))).into();
    let points = samples(&dirichlet, 501);
    assert!(points.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-15 * 3.0));
    for (j, a) in concentration.into_iter().enumerate() {
        let b = total - a;
        let logits: Vec<f64> = points.column(j).iter().map(|x| (x / (1.0 - x)).ln()).collect();
        let log_density = |t: f64, scale: f64| -a * scale * softplus(-t) - b * softplus(t);
        assert_drawn("Dirichlet", &logits, &log_density, [-60.0, 60.0]);
    }
    let means = concentration.map(|a| a / total);
    let covariance =
        Array2::from_shape_fn((3, 3), |(i, j)| (f64::from(i == j) * means[i] - means[i] * means[j]) / (total + 1.0));
    assert_covariance(&points, &means, &covariance);
}

#[test]
fn whatever_is_drawn_has_a_finite_density_in_both_precisions() {
    for dtype in [DType::F64, DType::F32] {
        let tape = Tape::new();
        let x = |numbers: &[f64]| tape.constant(Value::from(arr1(numbers)).rounded(dtype));
        // A thousand times each: concentrations of which nearly all samples round to a bound, and means far in saturation.
        let tiny = x(&[1e-3, 0.01, 1e-5, 1e3]).broadcast_to(&[1000, 4]);
        let other = x(&[1.0, 1e-3, 1e-5, 1e-3]);
        let (low, high) = (x(&[0.0, -1.0, 0.1, -0.3]), x(&[1.0, 0.0, 0.7, 7.0]));
        let means = x(&[40.0, -40.0, 9.0, 300.0]).broadcast_to(&[1000, 4]);
        let logits = x(&[0.0, -1.0]).broadcast_to(&[1000, 2]);
        let two = |part: Var| part.insert_axis(1).broadcast_to(&[1000, 2, 4]);
        let dists: [Dist; 7] = [
            Beta::new(tiny, other).into(),
            Beta::new(tiny, other).between(low, high).into(),
            Gamma::new(tiny, other).into(),
            Dirichlet::new(tiny).into(),
            SquashedNormal::new(means, x(&[1.0; 4])).into(),
            SquashedNormal::new(means, x(&[1.0; 4])).between(low, high).into(),
            Mixture::new(logits, Beta::new(two(tiny), two(other.broadcast_to(&[1000, 4])))).into(),
        ];
        for (i, dist) in dists.iter().enumerate() {
            let points = dist.sample(&mut stream(600, i as u64)).rounded(dtype);
            let points = tape.input("points", points);
            let log_prob = dist.log_prob(points.into());
            let values = log_prob.cast(DType::F64).value();
            assert!(values.iter().all(|x| x.is_finite()), "{} in {dtype}", dist.name());
        }
    }
}

#[test]
fn samples_are_a_function_of_the_stream_and_what_is_no_distribution_is_refused() {
    let tape = Tape::new();
    for Case { name, of, parameters, .. } in cases() {
        let record = |arrays: &[ArrayD<f64>]| of(&arrays.iter().map(|x| tape.constant(x)).collect::<Vec<_>>());
        let dist = record(&parameters);
        let draw = |seed: u64| dist.sample(&mut stream(seed, 0)).into_array::<f64>().unwrap();
        assert_eq!(draw(1), draw(1), "{name}");
        assert_ne!(draw(1), draw(2), "{name}");
        assert_eq!(draw(1).shape()[0], 3);
        let mut bad = parameters.clone();
        bad[0].iter_mut().for_each(|x| *x = f64::NAN);
        let message = refused(|| record(&bad).sample(&mut stream(1, 0)));
        assert!(message.contains("sample: row 0 is no distribution"), "{name}: {message}");
    }
}

// Networks that act by them.

/// Policies of every kind of distribution, and the bounds of their actions.
fn policies() -> Vec<(NetworkPolicy, [f64; 2])> {
    let network = || Network::new(&Space::vector(2)).dense(4, Tanh);
    let everywhere = [f64::NEG_INFINITY, f64::INFINITY];
    vec![
        (network().normal(2), everywhere),
        (network().full_normal(2).deviation(-0.5, 1e-3), everywhere),
        (network().squashed_normal(2), [-1.0, 1.0]),
        (network().squashed_normal(2).between(&[-0.5, 0.0], &[0.25, 0.5]), [-0.5, 0.5]),
        (network().beta(2), [0.0, 1.0]),
        (network().beta(2).between(&[-0.5, 0.0], &[0.25, 0.5]), [-0.5, 0.5]),
        (network().gamma(2), [0.0, f64::INFINITY]),
        (network().dirichlet(2), [0.0, 1.0]),
        (network().normal(2).mixture(3), everywhere),
        (network().full_normal(2).mixture(2), everywhere),
        (network().beta(2).between(&[-0.5, 0.0], &[0.25, 0.5]).mixture(2), [-0.5, 0.5]),
        (network().squashed_normal(2).mixture(2), [-1.0, 1.0]),
        (network().dirichlet(2).mixture(1), [0.0, 1.0]),
    ]
}

fn random(policy: &dyn Policy, seed: u64) -> Numbers {
    let rng = &mut stream(seed, 0);
    let mut numbers = policy.init(rng);
    numbers.values_mut().for_each(|array| array.mapv_inplace(|x| x + rng.random_range(-0.3..0.3)));
    numbers
}

#[test]
fn networks_act_by_every_kind_and_their_surrogates_have_finite_gradients() {
    for (policy, [low, high]) in policies() {
        let theta = random(&policy, 3);
        let environment = Navigation::to([0.3, 0.2]);
        for dtype in [DType::F64, DType::F32] {
            let actor = Actor::new(&policy, &theta, &environment.spaces(), dtype).unwrap();
            let rollout = actor.sample(&environment, &theta, 5, 30, 1).unwrap();
            assert_eq!(rollout.actions(), actor.sample(&environment, &theta, 5, 30, 1).unwrap().actions());
            let tape = Tape::new();
            let params = rl::policy::record_as(&theta, &tape, dtype);
            let episodes = rollout.record_as(&tape, dtype);
            let actions: ArrayD<f64> = episodes.actions.var().cast(DType::F64).value();
            assert!(actions.iter().all(|&x| low <= x && x <= high), "{policy:?}");
            let log_prob = policy.log_prob(&params, &episodes);
            // Behind an end there are zeros for actions, whose logarithm may be −∞: a batch does not look at them.
            let batch = Batch::new(episodes, log_prob, 0.9);
            assert!(batch.log_prob().cast(DType::F64).value().iter().all(|x| x.is_finite()), "{policy:?}");
            let surrogate = ScoreFunction.surrogate(&batch);
            for (name, gradient) in surrogate.grad(&params) {
                let gradient = gradient.cast(DType::F64).value();
                assert!(gradient.iter().all(|x| x.is_finite()), "{policy:?}: {name}: {gradient}");
            }
        }
    }
}

#[test]
fn what_actors_draw_has_the_distribution_that_the_policy_says() {
    // The first step of 4000 trajectories, all from one observation: each component's margin through its own distribution function is
    // that of samples of `Dist`, within the limit of two samples (Smirnov).
    for (policy, _) in policies() {
        let theta = random(&policy, 5);
        let environment = Navigation::to([0.3, 0.2]);
        let rollout = rl::env::sample(&environment, &policy, &theta, 1, 4000, 2).unwrap();
        let tape = Tape::new();
        let episodes = rollout.record(&tape);
        let dist = policy.along(&record(&theta, &tape), episodes.acted_on());
        let drawn = dist.sample(&mut stream(9, 9)).into_array::<f64>().unwrap();
        let acted: ArrayD<f64> = episodes.actions.var().value();
        for j in 0..2 {
            let sorted = |all: &ArrayD<f64>| {
                let mut x: Vec<f64> = all.index_axis(ndarray::Axis(2), j).iter().copied().collect();
                x.sort_by(f64::total_cmp);
                x
            };
            let (one, other) = (sorted(&drawn), sorted(&acted));
            let below = |all: &[f64], x: f64| all.partition_point(|&y| y <= x) as f64 / all.len() as f64;
            let distance =
                one.iter().chain(&other).map(|&x| (below(&one, x) - below(&other, x)).abs()).fold(0.0, f64::max);
            let statistic = distance * (4000.0_f64 / 2.0).sqrt();
            assert!(statistic < LIMIT, "{policy:?}: {statistic}");
        }
    }
}

#[test]
fn derivatives_by_all_parameters_of_networks_are_those_of_differences() {
    for (policy, _) in policies() {
        let theta = random(&policy, 7);
        let names: Vec<String> = theta.keys().cloned().collect();
        let arrays: Vec<ArrayD<f64>> = theta.values().cloned().collect();
        let observations = array![[0.3, -0.7], [1.2, 0.4]];
        let actions = {
            let tape = Tape::new();
            let dist = policy.along(&record(&theta, &tape), tape.constant(&observations).into());
            dist.sample(&mut stream(8, 0))
        };
        let f = |vars: &[Var]| {
            let params: Params = names.iter().cloned().zip(vars.iter().copied()).collect();
            let dist = policy.along(&params, vars[0].constant(&observations).into());
            let log_prob = dist.log_prob(Handle::Var(vars[0].constant(actions.view()))).sum();
            dist.closed_entropy().map_or(log_prob, |entropy| log_prob + entropy.mean())
        };
        check_gradients(f, &arrays, 2, Modes::Both).unwrap_or_else(|problem| panic!("{policy:?}: {problem}"));
    }
}

#[test]
fn one_step_of_a_beta_policy_has_the_gradient_of_its_mean() {
    // A reward of a is worth low + (high − low)·α/(α + β). The trajectories are the nodes of a quadrature, paid what they weigh: then the
    // score-function surrogate's gradient is no estimate.
    let policy = Network::new(&Space::vector(1)).dense(3, Tanh).beta(1).between(&[-1.0], &[3.0]);
    let theta = random(&policy, 11);
    let (nodes, weights) = nodes("interval", 1);
    let count = nodes.nrows();
    let tape = Tape::new();
    let params = record(&theta, &tape);
    let seen = ndarray::Array3::from_elem((count, 2, 1), 0.4);
    // The nodes by their distance from the nearer bound are inside as long as they do not round to it.
    let actions = nodes.mapv(|x| (-1.0 + 4.0 * x).clamp((-1.0_f64).next_up(), 3.0_f64.next_down()));
    let Dist::Beta(beta) = policy.along(&params, tape.constant(arr2(&[[0.4]])).into()) else { panic!("a beta one") };
    let density = beta.log_prob(tape.constant(&actions)).exp().value();
    let rewards =
        Array2::from_shape_fn((count, 1), |(n, _)| actions[[n, 0]] * density[n] * 4.0 * weights[n] * count as f64);
    let actions = actions.into_shape_with_order((count, 1, 1)).unwrap();
    let rollout = Rollout::new(seen, actions, rewards, vec![1; count], vec![true; count]).unwrap();
    let episodes = rollout.record(&tape);
    let batch = Batch::new(episodes, policy.log_prob(&params, &episodes), 1.0);
    let found = ScoreFunction.surrogate(&batch).grad(&params);
    let expected = beta.mean().sum().grad(&params);
    for (name, expected) in expected {
        let (found, expected) = (found[&name].value(), expected.value());
        assert!((&found - &expected).iter().all(|x| x.abs() < 1e-10), "{name}: {found}, not {expected}");
    }
}

#[test]
fn a_policy_without_a_distribution_is_an_error_of_its_step() {
    for (policy, _) in policies().into_iter().skip(1) {
        let mut theta = random(&policy, 13);
        theta["b2"].fill(f64::NAN);
        let environment = Navigation::to([0.3, 0.2]);
        let error = rl::env::sample(&environment, &policy, &theta, 3, 5, 0).unwrap_err();
        let Error::Step { trajectory: 0, step: 0, what } = &error else { panic!("{error}") };
        assert!(what.contains("the policy gives no distribution over actions, but"), "{what}");
    }
    let three = Network::new(&Space::vector(2)).beta(3);
    let theta = three.init(&mut stream(0, 0));
    let error = rl::env::sample(&Navigation::to([0.3, 0.2]), &three, &theta, 3, 5, 0).unwrap_err();
    assert!(matches!(error, Error::Space { what: "actions", .. }), "{error}");
}

/// A world that fails at an action which is not between its bounds.
#[derive(Clone)]
struct Strict;

impl Environment for Strict {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(1), Space::Array { shape: vec![1], dtype: DType::F32 }]
    }
    fn reset(&mut self, _: &mut rand_chacha::ChaCha8Rng, seen: Slot<'_>) -> Result<(), Failure> {
        seen_zero(seen);
        Ok(())
    }
    fn step(&mut self, action: Action<'_>, _: &mut rand_chacha::ChaCha8Rng, seen: Slot<'_>) -> Result<Step, Failure> {
        seen_zero(seen);
        let Action::Vector(&[x]) = action else { panic!("a vector") };
        if x > 0.1 && x < 0.7 && f64::from(x as f32) == x {
            Ok(Step { reward: x, terminated: false, truncated: false })
        } else {
            Err(Failure(format!("{x} is not between 0.1 and 0.7, or no number of single precision")))
        }
    }
}

fn seen_zero(seen: Slot<'_>) {
    seen.put(&[0.0]);
}

#[test]
fn actions_of_single_precision_stay_strictly_between_bounds_that_are_not() {
    // Far in saturation, where all of them round to a bound.
    for policy in [
        Network::new(&Space::vector(1)).squashed_normal(1).between(&[0.1], &[0.7]),
        Network::new(&Space::vector(1)).beta(1).between(&[0.1], &[0.7]),
    ] {
        for bias in [-60.0, 60.0] {
            let mut theta = policy.init(&mut stream(0, 0));
            theta["b1"].iter_mut().enumerate().for_each(|(i, b)| *b = if i == 0 { bias * 1e6 } else { -60.0 });
            rl::env::sample(&Strict, &policy, &theta, 5, 40, 0).unwrap();
        }
    }
}

/// The message of a panic.
fn refused<T>(f: impl FnOnce() -> T) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    let payload = caught.err().expect("it is refused");
    payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|&x| x.into())).unwrap()
}

#[test]
fn what_does_not_fit_is_refused_with_its_shapes() {
    let tape = Tape::new();
    let zeros = |shape: &[usize]| tape.constant(ArrayD::<f64>::ones(shape));
    let singles = |shape: &[usize]| tape.constant(ArrayD::<f32>::ones(shape));
    let says = |message: String, words: &[&str]| {
        words.iter().for_each(|words| assert!(message.contains(words), "`{words}` is not in: {message}"));
    };
    says(refused(|| Beta::new(zeros(&[4, 3]), zeros(&[1]))), &["Beta", "β", "[…, 3]", "[1]"]);
    says(refused(|| Beta::new(zeros(&[4, 3]), zeros(&[5, 3]))), &["Beta", "[4]", "[5]"]);
    says(refused(|| Beta::new(zeros(&[3]), singles(&[3]))), &["Beta", "f64", "f32", "`cast`"]);
    let beta = Beta::new(zeros(&[4, 3]), zeros(&[3]));
    says(refused(|| beta.log_prob(zeros(&[4, 2]))), &["Beta", "points", "[…, 3]", "[4, 2]"]);
    says(refused(|| beta.log_prob(zeros(&[5, 3]))), &["log_prob", "points", "[4]", "[5]"]);
    says(refused(|| beta.log_prob(singles(&[3]))), &["Beta", "points", "f32"]);
    says(refused(|| beta.between(zeros(&[2]), zeros(&[3]))), &["Beta", "lower bounds", "[2]", "[4, 3]"]);
    says(refused(|| Gamma::new(zeros(&[]), zeros(&[]))), &["Gamma", "scalar"]);
    says(refused(|| Dirichlet::new(zeros(&[4, 1]))), &["Dirichlet", "D > 1", "[4, 1]"]);
    says(refused(|| FullNormal::new(zeros(&[3]), zeros(&[3]), zeros(&[2]))), &["FullNormal", "below", "[…, 3]", "[2]"]);
    says(refused(|| FullNormal::of_factor(zeros(&[3]), zeros(&[3, 2]))), &["FullNormal", "factor", "[3]", "[3, 2]"]);
    let normal = Normal::new(zeros(&[4, 3, 2]), zeros(&[2]));
    says(refused(|| Mixture::new(zeros(&[4]), normal)), &["Mixture", "[4, 3]", "[…, 3]", "[4]"]);
    let one = Normal::new(zeros(&[2]), zeros(&[2]));
    says(refused(|| Mixture::new(zeros(&[2]), one)), &["Mixture", "[…, K]", "[2]"]);
    let mixture = Dist::from(Mixture::new(zeros(&[3]), normal));
    says(refused(|| mixture.entropy()), &["entropy", "a mixture", "no closed form"]);
    says(refused(|| mixture.kl(&mixture)), &["kl", "a mixture", "no closed form"]);
    says(refused(|| Dist::from(beta).kl(&mixture)), &["kl", "a beta distribution", "a mixture"]);
    let squashed = Dist::from(SquashedNormal::new(zeros(&[2]), zeros(&[2])));
    says(refused(|| squashed.entropy()), &["entropy", "a squashed normal distribution", "no closed form"]);
    let numbers = tape.index("actions", arr1(&[0, 1]));
    says(refused(|| Dist::from(beta).log_prob(numbers.into())), &["a beta distribution is over vectors", "[2]"]);
    let network = || Network::new(&Space::vector(2));
    says(refused(|| network().normal(2).between(&[0.0; 2], &[1.0; 2])), &["between", "a normal policy has no bounds"]);
    says(refused(|| network().beta(2).between(&[0.0], &[1.0])), &["between", "1 lower", "2 components"]);
    says(refused(|| network().beta(1).between(&[1.0], &[1.0])), &["between", "bounds 1 and 1"]);
    says(refused(|| network().beta(1).between(&[0.0], &[f64::INFINITY])), &["between", "inf", "finite"]);
    says(refused(|| network().beta(1).deviation(0.0, 0.0)), &["deviation", "a beta policy has no deviations"]);
    says(refused(|| network().categorical(2).mixture(2)), &["mixture", "categorical"]);
    says(refused(|| network().normal(2).mixture(2).mixture(2)), &["mixture", "already"]);
}
