//! The table that every law about operations is checked over: each operation, over the shapes that hurt.

#![allow(dead_code)]

pub mod panics;
pub mod random_program;

use ad::{Index, Triangle, Var};
use ndarray::{Array1, Array2, ArrayD, Axis, arr0, arr1, arr2};

/// A function of some arrays, and a point where it is smooth.
pub struct Case {
    pub name: String,
    pub at: Vec<ArrayD<f64>>,
    pub f: Function,
}

pub type Function = Box<dyn Fn(&[Var]) -> Var>;

fn case(name: impl Into<String>, at: &[ArrayD<f64>], f: impl Fn(&[Var]) -> Var + 'static) -> Case {
    Case { name: name.into(), at: at.to_vec(), f: Box::new(f) }
}

/// All families.
pub fn every_case() -> Vec<Case> {
    [
        unary(),
        powers(),
        binary(),
        comparisons(),
        movements(),
        convolutions(),
        reductions(),
        softmaxes(),
        indexing(),
        selections(),
        orders(),
        products(),
        systems(),
        triangles(),
        recurrences(),
        repeated_variables(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Numbers without a pattern between two bounds.
pub fn numbers(shape: &[usize], low: f64, high: f64) -> ArrayD<f64> {
    let count: usize = shape.iter().product();
    let fraction = |i: usize| ((i + 1) as f64 * 0.618_033_988_75 + shape.len() as f64 * 0.37).fract();
    let entries = (0..count).map(|i| low + (high - low) * fraction(i));
    Array1::from_iter(entries).into_shape_with_order(shape).unwrap()
}

/// Numbers on a grid (offset by less than its step of 0.3), 0 not among them, equal ones at least 13 apart: so that of
/// two arrays with other offsets no two entries are close, and of one array the largest is clear.
pub fn grid(shape: &[usize], offset: f64) -> ArrayD<f64> {
    let count: usize = shape.iter().product();
    let entries = (0..count).map(|i| 0.3 * ((5 * i + 2) % 13) as f64 - 1.75 + offset);
    Array1::from_iter(entries).into_shape_with_order(shape).unwrap()
}

/// Weights that depend on nothing but the shape, as a constant.
pub fn weighted(x: Var) -> Var {
    (x * x.constant(numbers(&x.shape(), 0.5, 1.5))).sum()
}

const SHAPES: [&[usize]; 5] = [&[], &[1], &[3], &[0], &[2, 3]];

pub fn unary() -> Vec<Case> {
    type Unary = fn(Var) -> Var;
    let table: [(&str, f64, f64, Unary); 30] = [
        ("negate", -1.5, 1.5, |x| -x),
        ("exp", -1.5, 1.5, Var::exp),
        ("ln", 0.5, 2.0, Var::ln),
        ("tanh", -1.5, 1.5, Var::tanh),
        ("sigmoid", -3.0, 3.0, Var::sigmoid),
        ("softplus", -3.0, 3.0, Var::softplus),
        ("sin", -1.5, 1.5, Var::sin),
        ("cos", -1.5, 1.5, Var::cos),
        ("sqrt", 0.5, 2.0, Var::sqrt),
        ("abs where positive", 0.2, 1.5, |x| x.abs() * x),
        ("abs where negative", -1.5, -0.2, |x| x.abs() * x),
        ("alias", -1.5, 1.5, |x| x.alias() * x.sin()),
        ("exp_m1", -1.5, 1.5, Var::exp_m1),
        ("ln_1p", -0.6, 2.0, Var::ln_1p),
        ("log2", 0.5, 2.0, Var::log2),
        ("log10", 0.5, 2.0, Var::log10),
        ("sinh", -1.5, 1.5, Var::sinh),
        ("cosh", -1.5, 1.5, Var::cosh),
        ("tan", -1.0, 1.0, Var::tan),
        ("atan", -2.0, 2.0, Var::atan),
        ("asin", -0.8, 0.8, Var::asin),
        ("acos", -0.8, 0.8, Var::acos),
        ("erf", -2.0, 2.0, Var::erf),
        ("erfc", -1.0, 3.0, Var::erfc),
        ("ln_gamma", 0.5, 4.0, Var::ln_gamma),
        ("ln_gamma between poles", -1.7, -1.3, Var::ln_gamma),
        ("digamma", 0.7, 4.0, Var::digamma),
        ("digamma between poles", -2.7, -2.3, Var::digamma),
        ("polygamma 1", 0.7, 4.0, |x| x.polygamma(1)),
        ("polygamma 2 between poles", -1.7, -1.3, |x| x.polygamma(2)),
    ];
    let each = |(name, low, high, f): (&str, f64, f64, Unary)| {
        SHAPES.map(|shape| case(format!("{name} over {shape:?}"), &[numbers(shape, low, high)], move |x| f(x[0])))
    };
    table.into_iter().flat_map(each).collect()
}

pub fn powers() -> Vec<Case> {
    let mut cases = Vec::new();
    for exponent in [0.0, 1.0, 2.0, 3.0, 5.0, -1.0, -2.0, 0.5, 1.5, -0.5] {
        let at = numbers(&[3], 0.6, 1.8);
        cases.push(case(format!("powf {exponent}"), &[at], move |x: &[Var]| x[0].powf(exponent) * x[0]));
    }
    for exponent in [2.0, 3.0, -1.0] {
        let at = numbers(&[3], -1.8, -0.6);
        cases.push(case(format!("powf {exponent} of negative numbers"), &[at], move |x| x[0].powf(exponent)));
    }
    cases.push(case("square around 0", &[arr1(&[-0.5, 0.0, 0.5]).into_dyn()], |x| x[0].square()));
    cases.push(case("powf 3 at 0", &[arr0(0.0).into_dyn()], |x| x[0].powf(3.0)));
    cases.push(case("powf over no entries", &[numbers(&[0], 0.0, 1.0)], |x| x[0].powf(2.5)));
    cases
}

pub fn binary() -> Vec<Case> {
    type Binary = fn(Var, Var) -> Var;
    let table: [(&str, Binary); 9] = [
        ("plus", |a, b| (a + b).sin()),
        ("minus", |a, b| (a - b).sin()),
        ("times", |a, b| a * b),
        ("over", |a, b| a / (b.abs() + 1.0)),
        ("max", |a, b| a.max(b) * a * b),
        ("min", |a, b| a.min(b) * a * b),
        ("pow", |a, b| (a.abs() + 0.5).pow(b)),
        ("hypot", |a, b| a.hypot(b)),
        ("atan2", |a, b| a.atan2(b)),
    ];
    let shapes: [[&[usize]; 2]; 11] = [
        [&[], &[]],
        [&[1], &[1]],
        [&[3], &[3]],
        [&[], &[3]],
        [&[3], &[]],
        [&[2, 3], &[3]],
        [&[3], &[2, 1]],
        [&[2, 1], &[1, 3]],
        [&[0], &[0]],
        [&[1], &[0]],
        [&[2, 0], &[2, 1]],
    ];
    let mut cases = Vec::new();
    for (name, f) in table {
        for [a, b] in shapes {
            let at = [grid(a, 0.0), grid(b, 0.1)];
            cases.push(case(format!("{name} of {a:?} and {b:?}"), &at, move |x: &[Var]| f(x[0], x[1])));
        }
    }
    let three = || 3.0;
    cases.push(case("plus a number", &[grid(&[3], 0.0)], move |x: &[Var]| (x[0] + three()).sin()));
    cases.push(case("minus a number", &[grid(&[3], 0.0)], move |x: &[Var]| (x[0] - three()).sin()));
    cases.push(case("times a number", &[grid(&[3], 0.0)], move |x: &[Var]| (x[0] * three()).sin()));
    cases.push(case("over a number", &[grid(&[3], 0.0)], move |x: &[Var]| (x[0] / three()).sin()));
    cases.push(case("times a larger array", &[grid(&[3], 0.0)], |x: &[Var]| {
        (x[0] * x[0].constant(numbers(&[2, 3], 0.5, 1.0))).sin()
    }));
    cases
}

pub fn comparisons() -> Vec<Case> {
    type Comparison = fn(Var, Var) -> Var;
    let table: [(&str, Comparison); 6] = [
        ("less", |a, b| a.less(b)),
        ("less_equal", |a, b| a.less_equal(b)),
        ("greater", |a, b| a.greater(b)),
        ("greater_equal", |a, b| a.greater_equal(b)),
        ("equal", |a, b| a.equal(b)),
        ("not_equal", |a, b| a.not_equal(b)),
    ];
    let mut cases = Vec::new();
    for (name, f) in table {
        for [a, b] in [[&[3][..], &[3][..]], [&[], &[3]], [&[2, 3], &[2, 1]], [&[0], &[1]]] {
            let at = [grid(a, 0.0), grid(b, 0.1)];
            cases.push(case(format!("{name} of {a:?} and {b:?}, as a factor"), &at, move |x: &[Var]| {
                f(x[0], x[1]) * x[0] * x[1].sin()
            }));
        }
    }
    for [condition, a, b] in [
        [&[3][..], &[3][..], &[3][..]],
        [&[], &[3], &[2, 1]],
        [&[2, 3], &[], &[3]],
        [&[2, 1], &[3], &[]],
        [&[0], &[], &[1]],
        [&[1], &[0], &[1]],
    ] {
        let at = [grid(condition, 0.0), grid(a, 0.1), grid(b, 0.2)];
        cases.push(case(format!("select by {condition:?} of {a:?} and {b:?}"), &at, |x: &[Var]| {
            x[0].greater(0.0).select(x[1].sin() * x[0], x[2].exp())
        }));
    }
    cases.push(case("select of a number and an array", &[grid(&[3], 0.0)], |x: &[Var]| {
        x[0].less(0.0).select(x[0].exp(), 2.0) * x[0].less(0.0).select(2.0, x[0].sin())
    }));
    cases.push(case("sign", &[grid(&[2, 3], 0.0)], |x: &[Var]| x[0].sign() * x[0].exp()));
    cases.push(case("clip", &[grid(&[2, 6], 0.0)], |x: &[Var]| x[0].clip(-0.9, 0.7) * x[0].sin()));
    cases
}

/// A linear operation between two that are not, so that its higher derivatives are seen too.
fn within(name: &str, shapes: &[&[usize]], f: impl Fn(&[Var]) -> Var + 'static) -> Case {
    let at: Vec<_> = shapes.iter().map(|shape| numbers(shape, -1.2, 1.2)).collect();
    case(format!("{name} of {shapes:?}"), &at, move |x| {
        let inner: Vec<Var> = x.iter().map(|x| x.sin() + *x).collect();
        (f(&inner) * 0.7).tanh()
    })
}

pub fn movements() -> Vec<Case> {
    vec![
        within("broadcast_to", &[&[]], |x| x[0].broadcast_to(&[2, 3])),
        within("broadcast_to", &[&[3]], |x| x[0].broadcast_to(&[2, 3])),
        within("broadcast_to", &[&[2, 1]], |x| x[0].broadcast_to(&[2, 3])),
        within("broadcast_to", &[&[1, 3, 1]], |x| x[0].broadcast_to(&[2, 3, 2])),
        within("broadcast_to itself", &[&[3]], |x| x[0].broadcast_to(&[3])),
        within("broadcast_to nothing", &[&[1]], |x| x[0].broadcast_to(&[2, 0])),
        within("reshape", &[&[2, 3]], |x| x[0].reshape(&[3, 2])),
        within("reshape", &[&[]], |x| x[0].reshape(&[1, 1])),
        within("reshape to a scalar", &[&[1, 1]], |x| x[0].reshape(&[])),
        within("reshape", &[&[2, 0]], |x| x[0].reshape(&[0, 5])),
        within("reshape to itself", &[&[2]], |x| x[0].reshape(&[2])),
        within("insert_axis", &[&[3]], |x| x[0].insert_axis(1)),
        within("transpose", &[&[2, 3]], |x| x[0].transpose(&[1, 0])),
        within("transpose", &[&[2, 3, 4]], |x| x[0].transpose(&[2, 0, 1])),
        within("transpose", &[&[2, 1, 3, 2]], |x| x[0].transpose(&[3, 1, 0, 2])),
        within("transpose of nothing", &[&[0, 3]], |x| x[0].transpose(&[1, 0])),
        within("transpose of a scalar", &[&[]], |x| x[0].transpose(&[])),
        within("t", &[&[2, 3, 2]], |x| x[0].t()),
        within("slice", &[&[4]], |x| x[0].slice(0, 1..3)),
        within("slice of all", &[&[4]], |x| x[0].slice(0, 0..4)),
        within("slice of none", &[&[4]], |x| x[0].slice(0, 2..2)),
        within("slice along axis 1", &[&[2, 4, 2]], |x| x[0].slice(1, 1..4)),
        within("slice along the last axis", &[&[2, 2, 3]], |x| x[0].slice(2, 0..1)),
        within("slice of nothing", &[&[0, 3]], |x| x[0].slice(1, 1..2)),
        within("at", &[&[3]], |x| x[0].at(0, 2)),
        within("at axis 1", &[&[2, 3]], |x| x[0].at(1, 0)),
        within("pad", &[&[3]], |x| x[0].pad(0, 1, 2)),
        within("pad by nothing", &[&[3]], |x| x[0].pad(0, 0, 0)),
        within("pad along axis 1", &[&[2, 2, 2]], |x| x[0].pad(1, 2, 1)),
        within("pad of nothing", &[&[0]], |x| x[0].pad(0, 1, 1)),
        within("concat", &[&[2], &[3]], |x| Var::concat(x, 0)),
        within("concat of one", &[&[2]], |x| Var::concat(x, 0)),
        within("concat along axis 1", &[&[2, 1, 2], &[2, 3, 2]], |x| Var::concat(x, 1)),
        within("concat with nothing", &[&[0], &[2], &[0]], |x| Var::concat(x, 0)),
        within("concat of one twice", &[&[2], &[1]], |x| Var::concat(&[x[0], x[1], x[0]], 0)),
        within("stack", &[&[2], &[2]], |x| Var::stack(x, 0)),
        within("stack along axis 1", &[&[2], &[2], &[2]], |x| Var::stack(x, 1)),
        within("stack of scalars", &[&[], &[]], |x| Var::stack(x, 0)),
        within("flip", &[&[4]], |x| x[0].flip(0)),
        within("flip along axis 1", &[&[2, 3, 2]], |x| x[0].flip(1)),
        within("flip of nothing", &[&[2, 0]], |x| x[0].flip(1)),
        within("flip of no rows", &[&[0, 2]], |x| x[0].flip(1)),
        within("roll", &[&[4]], |x| x[0].roll(0, 1)),
        within("roll back", &[&[2, 3]], |x| x[0].roll(1, -4)),
        within("roll of nothing", &[&[2, 0]], |x| x[0].roll(1, 3)),
        within("repeat", &[&[3]], |x| x[0].repeat(0, 2)),
        within("repeat along axis 1", &[&[2, 2, 2]], |x| x[0].repeat(1, 3)),
        within("repeat never", &[&[3]], |x| x[0].repeat(0, 0)),
        within("tile", &[&[3]], |x| x[0].tile(0, 2)),
        within("tile along axis 1", &[&[2, 2, 2]], |x| x[0].tile(1, 3)),
        within("tile once", &[&[3]], |x| x[0].tile(0, 1)),
        within("set_slice", &[&[4], &[2]], |x| x[0].set_slice(0, 1, x[1])),
        within("set_slice along axis 1", &[&[2, 3], &[2, 1]], |x| x[0].set_slice(1, 2, x[1])),
        within("set_slice of all", &[&[2], &[2]], |x| x[0].set_slice(0, 0, x[1])),
        within("set_slice of none", &[&[2], &[0]], |x| x[0].set_slice(0, 1, x[1])),
    ]
}

pub fn convolutions() -> Vec<Case> {
    let images: [(&[usize], [usize; 2], usize); 10] = [
        (&[2, 4, 3, 2], [3, 2], 1),
        (&[2, 5, 4, 1], [2, 2], 2),
        (&[1, 5, 4, 1], [2, 1], 3),
        (&[2, 2, 3, 1], [2, 3], 1),
        (&[2, 3, 2, 1], [1, 1], 1),
        (&[1, 3, 2, 2], [1, 1], 2),
        (&[3, 3, 1], [2, 2], 1),
        (&[2, 1, 2, 2, 1], [1, 2], 1),
        (&[0, 3, 3, 1], [2, 2], 1),
        (&[1, 3, 3, 0], [2, 2], 1),
    ];
    let mut cases = Vec::new();
    for (shape, window, stride) in images {
        let (front, image) = shape.split_at(shape.len() - 3);
        let count = |axis: usize| (image[axis] - window[axis]) / stride + 1;
        let patches = [front, &[count(0), count(1), window[0] * window[1] * image[2]]].concat();
        let (filters, image) = ([window[0], window[1], image[2], 2], [image[0], image[1]]);
        let name = |what: &str| format!("{what} by {window:?} at stride {stride}");
        cases.push(within(&name("patches"), &[shape], move |x| x[0].patches(window, stride)));
        cases.push(within(&name("add_patches"), &[&patches], move |x| x[0].add_patches(window, stride, image)));
        cases.push(within(&name("conv"), &[shape, &filters], move |x| x[0].conv(x[1], stride)));
    }
    cases.push(within("conv by no filters", &[&[1, 2, 2, 1], &[1, 2, 1, 0]], |x| x[0].conv(x[1], 1)));
    cases.push(within("conv of x by x", &[&[1, 1, 2, 2]], |x| x[0].conv(x[0], 1)));
    cases
}

pub fn reductions() -> Vec<Case> {
    let shapes: [(&[usize], &[&[usize]]); 8] = [
        (&[2, 3, 2], &[&[], &[0], &[1], &[2], &[0, 2], &[2, 1], &[0, 1, 2]]),
        (&[3], &[&[], &[0]]),
        (&[1], &[&[0]]),
        (&[], &[&[]]),
        (&[2, 1], &[&[0], &[1]]),
        (&[0, 2], &[&[1]]),
        (&[12], &[&[0]]),
        (&[1, 2, 2, 1, 3], &[&[0, 2, 4], &[1, 4]]),
    ];
    let mut cases = Vec::new();
    for (shape, lists) in shapes {
        for &axes in lists {
            let name = |what: &str| format!("{what} over {axes:?} of {shape:?}");
            let at = [grid(shape, 0.0)];
            cases.push(case(name("sum"), &at, move |x: &[Var]| x[0].sin().sum_axes(axes).sin()));
            cases.push(case(name("mean"), &at, move |x: &[Var]| x[0].sin().mean_axes(axes).sin()));
            cases.push(case(name("max"), &at, move |x: &[Var]| (x[0] * 0.5).exp().max_axes(axes).sin()));
            cases.push(case(name("min"), &at, move |x: &[Var]| (x[0] * 0.5).exp().min_axes(axes).sin()));
            cases.push(case(name("logsumexp"), &at, move |x: &[Var]| x[0].logsumexp(axes)));
        }
    }
    let nothing = || [numbers(&[0, 2], 0.0, 1.0)];
    cases.push(case("sum of nothing", &nothing(), |x: &[Var]| x[0].sum_axes(&[0]).exp()));
    cases.push(case("sum of no rows", &nothing(), |x: &[Var]| x[0].sum()));
    cases.push(case("logsumexp of nothing", &nothing(), |x: &[Var]| x[0].logsumexp(&[0]).exp()));
    cases.push(case("mean beside nothing", &[numbers(&[2, 0], 0.0, 1.0)], |x: &[Var]| x[0].mean_axes(&[0])));
    for shape in [&[3][..], &[2, 3], &[1, 4, 1]] {
        cases.push(case("standard deviation", &[grid(shape, 0.0)], |x: &[Var]| x[0].sin().std() * x[0].variance()));
        cases.push(case("norm", &[grid(shape, 0.0)], |x: &[Var]| (x[0] + 0.2).norm()));
        cases.push(case("relu of two", &[grid(shape, 0.03)], |x: &[Var]| (x[0].relu() * x[0].sin()).mean()));
    }
    cases.push(case("sum of all", &[grid(&[2, 3], 0.0)], |x: &[Var]| x[0].square().sum().exp() * 0.01));
    cases.push(case("mean of all", &[grid(&[2, 3], 0.0)], |x: &[Var]| x[0].square().mean().exp()));
    cases
}

pub fn softmaxes() -> Vec<Case> {
    let shapes: [&[usize]; 6] = [&[3], &[2, 3], &[2, 1], &[0, 3], &[2, 0], &[2, 2, 2]];
    let each = |shape: &[usize]| {
        let at = [grid(shape, 0.0)];
        [
            case(format!("log_softmax of {shape:?}"), &at, |x: &[Var]| x[0].log_softmax()),
            case(format!("softmax of {shape:?}"), &at, |x: &[Var]| x[0].softmax()),
        ]
    };
    shapes.into_iter().flat_map(each).collect()
}

/// An index array that repeats itself and stays below `length`.
pub fn indices(shape: &[usize], length: usize) -> ArrayD<i32> {
    let count: usize = shape.iter().product();
    let entries = (0..count).map(|i| ((2 * i * i + i + 1) % length.max(1)) as i32);
    Array1::from_iter(entries).into_shape_with_order(shape).unwrap()
}

pub fn indexing() -> Vec<Case> {
    let mut cases = Vec::new();
    // (table, the number of axes indexed, the index arrays' shape)
    let shapes: [(&[usize], usize, &[usize]); 11] = [
        (&[4], 1, &[6]),
        (&[4], 1, &[]),
        (&[4], 1, &[0]),
        (&[4], 1, &[2, 3]),
        (&[1], 1, &[3]),
        (&[3, 2], 1, &[4]),
        (&[3, 2], 2, &[4]),
        (&[3, 2], 2, &[]),
        (&[3, 0], 1, &[2]),
        (&[2, 2, 3], 3, &[5]),
        (&[2, 3, 2], 2, &[2, 2]),
    ];
    for (table, axes, shape) in shapes {
        let arrays = move |beside: Var| -> Vec<Index> {
            table[..axes].iter().map(|&length| Index::constant(beside, indices(shape, length))).collect()
        };
        let name = |what: &str| format!("{what} {axes} axes of {table:?} by {shape:?}");
        cases.push(within(&name("gather"), &[table], move |x| x[0].gather(arrays(x[0]))));
        let entries = [shape, &table[axes..]].concat();
        let scattered = move |x: &[Var]| x[0].scatter_add(arrays(x[0]), &table[..axes]);
        cases.push(within(&name("scatter_add into"), &[&entries], scattered));
    }
    for shape in [&[3, 2][..], &[2, 2, 3], &[1, 1], &[0, 2], &[3]] {
        let (&last, rows) = shape.split_last().unwrap();
        cases.push(within("pick", &[shape], move |x| x[0].pick(Index::constant(x[0], indices(rows, last)))));
    }
    cases
}

/// Look-ups along an axis, at each place its own; and arrays with some entries replaced.
pub fn selections() -> Vec<Case> {
    let mut cases = Vec::new();
    // (array, axis, entries looked up along it)
    let along: [(&[usize], usize, usize); 11] = [
        (&[4], 0, 6),
        (&[4], 0, 0),
        (&[1], 0, 3),
        (&[0], 0, 0),
        (&[3, 2], 0, 4),
        (&[3, 2], 1, 3),
        (&[2, 3, 2], 1, 4),
        (&[2, 1, 3], 2, 1),
        (&[2, 0], 0, 3),
        (&[0, 2], 1, 3),
        (&[2, 2, 1, 2], 1, 2),
    ];
    for (shape, axis, count) in along {
        let mut places = shape.to_vec();
        places[axis] = count;
        let index = indices(&places, shape[axis]);
        let name = |what: &str| format!("{what} axis {axis}, {count} of");
        let taken = index.clone();
        let take = move |x: &[Var]| x[0].take_along(axis, Index::constant(x[0], &taken));
        cases.push(within(&name("take_along"), &[shape], take));
        let add = move |x: &[Var]| x[0].add_along(axis, Index::constant(x[0], &index), shape[axis]);
        cases.push(within(&name("add_along"), &[&places], add));
    }
    // (table, the first axis indexed, the number of axes indexed, the index arrays' shape)
    let from: [(&[usize], usize, usize, &[usize]); 5] = [
        (&[2, 3, 2], 1, 1, &[4]),
        (&[2, 3, 2], 1, 2, &[2, 2]),
        (&[2, 3], 1, 1, &[]),
        (&[0, 3], 1, 1, &[2]),
        (&[2, 3, 1], 2, 1, &[0]),
    ];
    for (table, axis, axes, shape) in from {
        let lengths = &table[axis..axis + axes];
        let arrays = move |beside: Var| -> Vec<Index> {
            lengths.iter().map(|&length| Index::constant(beside, indices(shape, length))).collect()
        };
        let name = |what: &str| format!("{what} axis {axis}, {axes} axes by {shape:?},");
        cases.push(within(&name("gather_along"), &[table], move |x| x[0].gather_along(axis, arrays(x[0]))));
        let entries = [&table[..axis], shape, &table[axis + axes..]].concat();
        let scattered = move |x: &[Var]| x[0].scatter_add_along(axis, arrays(x[0]), lengths);
        cases.push(within(&name("scatter_add_along"), &[&entries], scattered));
    }
    // (table, the number of axes indexed, the index arrays' shape, that of the values)
    type Put = (&'static [usize], usize, &'static [usize], &'static [usize]);
    let put: [Put; 12] = [
        (&[4], 1, &[6], &[6]),
        (&[4], 1, &[2], &[]),
        (&[4], 1, &[], &[]),
        (&[4], 1, &[0], &[0]),
        (&[0], 1, &[0], &[0]),
        (&[1], 1, &[3], &[3]),
        (&[3, 2], 1, &[4], &[4, 2]),
        (&[3, 2], 1, &[4], &[2]),
        (&[3, 2], 2, &[5], &[5]),
        (&[3, 0], 1, &[2], &[2, 0]),
        (&[2, 2, 3], 2, &[2, 3], &[2, 3, 3]),
        (&[2, 2], 1, &[2, 2], &[2, 1, 2]),
    ];
    for (table, axes, shape, values) in put {
        let arrays = move |beside: Var| -> Vec<Index> {
            table[..axes].iter().map(|&length| Index::constant(beside, indices(shape, length))).collect()
        };
        let name = |what: &str| format!("{what} at {axes} axes by {shape:?}");
        cases.push(within(&name("set"), &[table, values], move |x| x[0].set(arrays(x[0]), x[1])));
        cases.push(within(&name("add_at"), &[table, values], move |x| x[0].add_at(arrays(x[0]), x[1])));
        cases.push(within(&name("set to a number"), &[table], move |x| x[0].set(arrays(x[0]), 0.5)));
    }
    cases
}

/// What is chosen by the order of numbers, at points where that does not change nearby.
pub fn orders() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&[usize], usize); 10] = [
        (&[4], 0),
        (&[1], 0),
        (&[0], 0),
        (&[2, 3], 0),
        (&[2, 3], 1),
        (&[3, 1], 1),
        (&[2, 3, 2], 1),
        (&[2, 3, 2], 0),
        (&[0, 3], 1),
        (&[3, 0], 0),
    ];
    for (shape, axis) in shapes {
        let name = |what: &str| format!("{what} along axis {axis} of {shape:?}");
        let (one, two) = ([grid(shape, 0.0)], [grid(shape, 0.0), grid(shape, 0.1)]);
        cases.push(case(name("sort"), &one, move |x: &[Var]| (x[0] * 0.5).exp().sort(axis).sin()));
        cases.push(case(name("sorted by another"), &two, move |x: &[Var]| {
            x[1].sin().take_along(axis, x[0].argsort(axis)) * x[0].exp()
        }));
        cases.push(case(name("times what is sorted to there"), &one, move |x: &[Var]| {
            x[0].argsort(axis).cast(x[0].dtype()) * x[0].sin()
        }));
        if shape[axis] > 0 {
            let at = move |x: Var, index: Index| x.take_along(axis, index.insert_axis(axis)).sin();
            cases.push(case(name("at the largest of another"), &two, move |x: &[Var]| {
                at(x[1], x[0].argmax(axis)) * x[0].sin().sum()
            }));
            cases.push(case(name("at the smallest"), &one, move |x: &[Var]| at(x[0].exp(), x[0].argmin(axis))));
        }
    }
    cases
}

pub fn products() -> Vec<Case> {
    let shapes: [[&[usize]; 2]; 14] = [
        [&[3], &[3]],
        [&[2, 3], &[3]],
        [&[2], &[2, 3]],
        [&[2, 3], &[3, 2]],
        [&[1, 1], &[1, 1]],
        [&[2, 0], &[0, 3]],
        [&[0, 2], &[2, 3]],
        [&[2, 2, 3], &[2, 3, 1]],
        [&[2, 2, 3], &[3, 1]],
        [&[2, 3], &[2, 3, 1]],
        [&[2, 1, 1, 2], &[3, 2, 1]],
        [&[2, 2, 3], &[3]],
        [&[3], &[2, 3, 1]],
        [&[0, 2, 2], &[2, 2]],
    ];
    let mut cases: Vec<Case> = shapes.iter().map(|shapes| within("matmul", shapes, |x| x[0].matmul(x[1]))).collect();
    cases.push(within("matmul of transposes", &[&[3, 2], &[2, 3]], |x| x[0].t().matmul(x[1].t())));
    cases.push(within("dot", &[&[3], &[3]], |x| x[0].dot(x[1])));
    cases.push(within("dot", &[&[2, 2], &[2, 2]], |x| x[0].dot(x[1])));
    cases.push(within("dot", &[&[0], &[0]], |x| x[0].dot(x[1])));
    cases
}

pub fn systems() -> Vec<Case> {
    let shapes: [[&[usize]; 2]; 11] = [
        [&[2, 2], &[2]],
        [&[3, 3], &[3]],
        [&[2, 2], &[2, 3]],
        [&[1, 1], &[1]],
        [&[0, 0], &[0]],
        [&[2, 2], &[2, 0]],
        [&[2, 2, 2], &[2, 2]],
        [&[2, 2, 2], &[2, 2, 3]],
        [&[2, 2], &[3, 2, 1]],
        [&[2, 2, 2], &[1, 2]],
        [&[2, 1, 2, 2], &[2, 3, 2]],
    ];
    let solve = |shapes: [&[usize]; 2]| {
        let n = *shapes[0].last().unwrap();
        let at = [numbers(shapes[0], -1.2, 1.2), numbers(shapes[1], -1.2, 1.2)];
        // Rows exchanged, so that a pivot has to be looked for.
        let rotated = Array2::from_shape_fn((n, n), |(i, j)| if (i + 1) % n == j { 3.0 } else { 0.0 });
        case(format!("solve {shapes:?}"), &at, move |x: &[Var]| (x[0] + x[0].constant(&rotated)).solve(x[1].sin()))
    };
    shapes.into_iter().map(solve).collect()
}

pub fn triangles() -> Vec<Case> {
    let mut cases = Vec::new();
    // Not symmetric: both triangles count, where both are read.
    let strong = |x: Var| {
        let n = x.shape()[x.shape().len() - 1];
        x + x.constant(Array2::from_diag_elem(n, 2.0 * n as f64 + 1.0))
    };
    let matrices: [&[usize]; 7] = [&[1, 1], &[2, 2], &[5, 5], &[0, 0], &[2, 2, 2], &[0, 2, 2], &[2, 1, 3, 3]];
    for shape in matrices {
        let (at, n) = ([numbers(shape, -1.2, 1.2)], shape[shape.len() - 1]);
        // Rows exchanged, so that a pivot has to be looked for, and determinants have both signs.
        let rotated = Array2::from_shape_fn((n, n), |(i, j)| if (i + 1) % n == j { 3.0 } else { 0.0 });
        cases.push(case(format!("cholesky of {shape:?}"), &at, move |x: &[Var]| strong(x[0]).cholesky()));
        cases.push(case(format!("ln_determinant of {shape:?}"), &at, move |x: &[Var]| strong(x[0]).ln_determinant()));
        cases.push(case(format!("ln_abs_determinant of {shape:?}"), &at, move |x: &[Var]| {
            (x[0] + x[0].constant(&rotated)).ln_abs_determinant()
        }));
    }
    let systems: [[&[usize]; 2]; 9] = [
        [&[1, 1], &[1]],
        [&[2, 2], &[2]],
        [&[3, 3], &[3, 2]],
        [&[0, 0], &[0]],
        [&[2, 2], &[2, 0]],
        [&[2, 2, 2], &[2, 2]],
        [&[2, 2], &[3, 2, 1]],
        [&[2, 2, 2], &[1, 2]],
        [&[2, 1, 2, 2], &[2, 3, 2]],
    ];
    for shapes in systems {
        let at = [numbers(shapes[0], -1.2, 1.2), numbers(shapes[1], -1.2, 1.2)];
        for triangle in [Triangle::Lower, Triangle::Upper] {
            cases.push(case(format!("solve_triangular, {triangle:?}, {shapes:?}"), &at, move |x: &[Var]| {
                strong(x[0]).solve_triangular(x[1].sin(), triangle)
            }));
            cases.push(case(
                format!("solve_triangular_transposed, {triangle:?}, {shapes:?}"),
                &at,
                move |x: &[Var]| strong(x[0]).solve_triangular_transposed(x[1].sin(), triangle),
            ));
        }
    }
    for shape in [&[2, 3][..], &[3, 2], &[1, 1], &[0, 2], &[2, 0], &[2, 2, 2], &[0, 3, 3]] {
        for k in [-2, -1, 0, 1] {
            cases.push(within(&format!("tril {k}"), &[shape], move |x| x[0].tril(k)));
            cases.push(within(&format!("triu {k}"), &[shape], move |x| x[0].triu(k)));
        }
        cases.push(within("diagonal", &[shape], |x| x[0].diagonal()));
    }
    for shape in [&[3][..], &[1], &[0], &[2, 3], &[2, 0], &[0, 2], &[2, 1, 2]] {
        cases.push(within("diag", &[shape], |x| x[0].diag()));
    }
    let matrix = || [numbers(&[2, 2], 0.3, 1.4)];
    cases.push(case("cholesky of x·xᵀ + 1", &matrix(), move |x: &[Var]| strong(x[0].matmul(x[0].t())).cholesky()));
    cases.push(case("two triangles of one matrix", &matrix(), move |x: &[Var]| {
        let x = strong(x[0]);
        x.solve_triangular(x.solve_triangular_transposed(x, Triangle::Upper), Triangle::Lower)
    }));
    cases.push(case("a matrix by its factor", &matrix(), move |x: &[Var]| {
        let l = strong(x[0]).cholesky();
        l.solve_triangular_transposed(l.solve_triangular(x[0], Triangle::Lower), Triangle::Lower)
    }));
    cases
}

pub fn recurrences() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&[usize], usize); 8] =
        [(&[4], 0), (&[1], 0), (&[0], 0), (&[2, 3], 0), (&[2, 3], 1), (&[2, 3, 2], 1), (&[0, 3], 1), (&[3, 0], 0)];
    for (shape, axis) in shapes {
        let mut start = shape.to_vec();
        start.remove(axis);
        let name = |what: &str| format!("{what} along axis {axis}");
        let plain = [shape, shape];
        let from = [shape, shape, &start];
        cases.push(within(&name("scan"), &plain, move |x| x[0].scan(x[1], axis)));
        cases.push(within(&name("scan_reverse"), &plain, move |x| x[0].scan_reverse(x[1], axis)));
        cases.push(within(&name("scan_from"), &from, move |x| x[0].scan_from(x[1], x[2], axis)));
        cases.push(within(&name("scan_reverse_from"), &from, move |x| x[0].scan_reverse_from(x[1], x[2], axis)));
        cases.push(within(&name("cumsum"), &[shape], move |x| x[0].cumsum(axis)));
        cases.push(within(&name("cumsum_exclusive"), &[shape], move |x| x[0].cumsum_exclusive(axis)));
        cases.push(within(&name("cumprod"), &[shape], move |x| x[0].cumprod(axis)));
    }
    cases.push(within("scan by a scalar", &[&[2, 3], &[]], |x| x[0].scan(x[1], 1)));
    cases.push(within("scan by a row", &[&[2, 3], &[3]], |x| x[0].scan(x[1], 0)));
    cases.push(within("scan_reverse by a number", &[&[4]], |x| x[0].scan_reverse(0.9, 0)));
    cases.push(within("scan_from a scalar", &[&[2, 3], &[]], |x| x[0].scan_from(0.9, x[1], 0)));
    cases.push(within("scan_reverse_from a scalar", &[&[2, 3], &[]], |x| x[0].scan_reverse_from(x[0], x[1], 1)));
    cases.push(case("cumprod with zeros", &[arr1(&[0.5, 0.0, -1.5, 0.0]).into_dyn()], |x: &[Var]| x[0].cumprod(0)));
    cases
}

pub fn repeated_variables() -> Vec<Case> {
    let same = |x: Var, f: fn(Var, Var) -> Var| f(x, x);
    let vector = || [numbers(&[3], 0.3, 1.4)];
    let matrix = || [numbers(&[2, 2], 0.3, 1.4)];
    vec![
        case("x + x", &vector(), |x: &[Var]| (x[0] + x[0]).sin()),
        case("x − x", &vector(), move |x: &[Var]| same(x[0], |x, y| x - y)),
        case("x·x", &vector(), |x: &[Var]| x[0] * x[0]),
        case("x/x", &vector(), move |x: &[Var]| same(x[0], |x, y| x / y)),
        case("max(x, x)", &vector(), |x: &[Var]| x[0].max(x[0]).sin()),
        case("min(x, x)", &vector(), |x: &[Var]| x[0].min(x[0]).sin()),
        case("x^x", &vector(), |x: &[Var]| x[0].pow(x[0])),
        case("√(x² + x²)", &vector(), |x: &[Var]| x[0].hypot(x[0]).sin()),
        case("the angle of (x, x)", &vector(), |x: &[Var]| x[0].atan2(x[0]) * x[0]),
        case("x where x < 1, else x²", &vector(), |x: &[Var]| x[0].less(1.0).select(x[0], x[0] * x[0])),
        case("x broadcast against itself", &vector(), |x: &[Var]| (x[0].insert_axis(1) * x[0]).sin()),
        case("x·x as vectors", &vector(), |x: &[Var]| x[0].matmul(x[0]).exp() * 0.1),
        case("x·xᵀ", &matrix(), |x: &[Var]| x[0].matmul(x[0].t())),
        case("x·x as matrices", &matrix(), |x: &[Var]| x[0].matmul(x[0])),
        case("solve of a matrix for itself", &matrix(), |x: &[Var]| {
            (x[0] + x[0].constant(arr2(&[[3.0, 0.0], [0.0, 3.0]]))).solve(x[0])
        }),
        case("scan of x by x", &vector(), |x: &[Var]| x[0].scan(x[0], 0)),
        case("scan_reverse of x by x", &vector(), |x: &[Var]| x[0].scan_reverse(x[0], 0)),
        case("shifted", &matrix(), |x: &[Var]| x[0].shift(0, true) * x[0].shift(1, false)),
        case("gathered along the last axis", &matrix(), |x: &[Var]| {
            x[0].gather_along(1, [Index::constant(x[0], arr1(&[1, 0, 1]))]).sin()
        }),
        case("gathered twice", &vector(), |x: &[Var]| {
            let index = Index::constant(x[0], arr1(&[2, 2, 0]));
            x[0].gather([index]) * x[0].gather([index]) * x[0]
        }),
        case("one index array for two axes", &matrix(), |x: &[Var]| {
            let index = Index::constant(x[0], arr1(&[1, 1, 0]));
            x[0].exp().gather([index, index]).sin()
        }),
        case("powers, sums and quotients of one", &vector(), |x: &[Var]| x[0].powf(2.5) / (x[0].sum() + x[0].sin())),
    ]
}

/// The entries `k` of arrays that have a new leading axis.
pub fn example(batch: &ArrayD<f64>, k: usize) -> ArrayD<f64> {
    batch.index_axis(Axis(0), k).to_owned()
}

/// Panics unless the two agree, relative to the larger of 1 and the largest finite number; infinities are to be equal.
#[track_caller]
pub fn assert_close(what: &str, a: &ArrayD<f64>, b: &ArrayD<f64>, tolerance: f64) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    let finite = a.iter().chain(b).filter(|x| x.is_finite());
    let scale = finite.fold(1.0, |scale: f64, x| scale.max(x.abs()));
    for (a, b) in a.iter().zip(b) {
        let close = (a - b).abs() <= tolerance * scale || (a == b) || (a.is_nan() && b.is_nan());
        assert!(close, "{what}: {a:e} and {b:e} differ by more than {tolerance:e} of {scale:e}");
    }
}
