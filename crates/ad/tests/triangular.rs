//! Triangles of matrices: numbers of an ill-conditioned matrix found with 80 digits, the density of a normal distribution
//! written with them against one with an explicit inverse, what is not read, and large matrices, which go in blocks.

mod common;

use ad::{Lowering, Real, Tape, Triangle, Var, values, vmap};
use common::{assert_close, numbers, triangles, weighted};
use ndarray::{Array1, Array2, ArrayD, arr0, arr1, arr2};

const NAN: f64 = f64::NAN;

/// A symmetric, positive definite matrix with a condition of some hundred.
fn positive(n: usize) -> Array2<f64> {
    let x = numbers(&[n, n], -1.0, 1.0).into_dimensionality::<ndarray::Ix2>().unwrap();
    x.dot(&x.t()) / n as f64 + Array2::<f64>::eye(n) * 0.1
}

#[test]
fn lowered_and_recorded_derivatives_are_the_same() {
    for case in triangles() {
        let tape = Tape::new();
        let x: Vec<Var> = case.at.iter().map(|x| tape.input("x", x)).collect();
        let loss = weighted((case.f)(&x));
        let mut outputs = vec![loss];
        outputs.extend(loss.grad_or_zeros(&x));
        outputs.extend(weighted(loss.grad_or_zeros(x[0])).grad_or_zeros(&x));
        if x[0].size() < 10 {
            outputs.push(loss.grad_or_zeros(x[0]).jacobian(x[0]));
        }
        let run = |lowering| {
            let program = tape.compile_with(x.iter().copied(), outputs.iter().copied(), lowering);
            program.run(&case.at.iter().map(ad::Value::from).collect::<Vec<_>>()).unwrap()
        };
        for (i, (on, off)) in run(Lowering::On).iter().zip(&run(Lowering::Off)).enumerate() {
            assert_close(&format!("output {i} of {}", case.name), on, off, 1e-12);
        }
    }
}

// The Hilbert matrix of 6 rows, rounded, whose condition is 1.5·10⁷: what is said of it is with 80 digits, derivatives by
// differences of 10⁻³⁰.

fn hilbert() -> Array2<f64> {
    Array2::from_shape_fn((6, 6), |(i, j)| 1.0 / (i + j + 1) as f64)
}

const FACTOR: [[f64; 6]; 6] = [
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.5, 0.28867513459481287, 0.0, 0.0, 0.0, 0.0],
    [0.3333333333333333, 0.2886751345948129, 0.0745355992499929, 0.0, 0.0, 0.0],
    [0.25, 0.2598076211353317, 0.11180339887498908, 0.01889822365046265, 0.0, 0.0],
    [0.2, 0.23094010767585027, 0.12777531299998793, 0.03779644730092259, 0.004761904761907256, 0.0],
    [
        0.16666666666666666,
        0.20619652471058064,
        0.1330992843749875,
        0.052495065695724076,
        0.011904761904774889,
        0.0011964735895474874,
    ],
];

const LN_DETERMINANT: f64 = -39.76620670617473;

/// Rows of the lower triangle of a symmetric matrix.
type Lower = [&'static [f64]; 6];

/// Of Σ (1 + i/2 − j/4)·L_ij.
const GRADIENT_OF_FACTOR: Lower = [
    &[1.690109605412828],
    &[-10.427801706647857, 118.86870134310861],
    &[21.78379869655369, -361.2827917643328, 1525.158950204302],
    &[-20.242213932877004, 472.5244573541534, -2587.491056478893, 5500.07720937235],
    &[10.223385443126856, -284.8799441091157, 1937.6079199677386, -5000.8213071906475, 5430.394550647425],
    &[
        -1.3295915380774934,
        66.09553663893567,
        -535.0652365378747,
        1637.23177906284,
        -2088.1578202578303,
        940.2631281025441,
    ],
];

/// Along the symmetric part of V_ij = (2i + 3j) mod 5 − 2.
const HVP_OF_FACTOR: Lower = [
    &[299764.84953933477],
    &[-7968279.816687434, 215128777.2454223],
    &[51348374.6097323, -1400392322.2969592, 9172876392.793283],
    &[-128869291.61747986, 3540135846.1799173, -23287663693.658676, 59285522336.711044],
    &[138382322.176125, -3822456632.5895424, 25223095757.52096, -64336129030.741875, 69904842871.76534],
    &[
        -53345350.73705718,
        1479953009.416902,
        -9788893142.247541,
        25003231173.81304,
        -27190764641.45252,
        10582084186.079844,
    ],
];

const INVERSE: Lower = [
    &[36.0000000009228],
    &[-630.0000000276893, 14700.000000827442],
    &[3360.0000001927638, -88200.00000574645, 564480.0000398513],
    &[-7560.000000510887, 211680.00001520544, -1411200.0001053484, 3628800.000278317],
    &[7560.0000005714755, -220500.00001698907, 1512000.0001176258, -3969000.000310611, 4410000.00034654],
    &[
        -2772.000000227437,
        83160.00000675544,
        -582120.0000467481,
        1552320.000123404,
        -1746360.0001376444,
        698544.0000546618,
    ],
];

const HVP_OF_LN_DETERMINANT: Lower = [
    &[333698472.04733765],
    &[-9496739071.379713, 270587986240.1951],
    &[64087740369.444916, -1827418710875.0852, 12347522310682.322],
    &[-166352039304.75494, 4745943128520.864, -32078496295332.137, 83359306712122.5],
    &[183304560627.47092, -5231663924299.852, 35370651083472.15, -91931073458336.64, 101398106895904.97],
    &[
        -72124909174.86742,
        2059137151156.3882,
        -13924360464484.436,
        36195626679030.445,
        -39927281908490.58,
        15723367630455.938,
    ],
];

fn symmetric(lower: Lower) -> ArrayD<f64> {
    Array2::from_shape_fn((6, 6), |(i, j)| if i < j { lower[j][i] } else { lower[i][j] }).into_dyn()
}

#[test]
fn an_ill_conditioned_matrix_has_the_numbers_of_eighty_digits_to_what_its_condition_leaves() {
    // The relative error that the condition lets a rounding make, of whatever is linear in an inverse.
    let of_inverse = 1.5e7 * f64::EPSILON;
    let tape = Tape::new();
    let a = tape.input("a", hilbert());
    let v = Array2::from_shape_fn((6, 6), |(i, j)| ((2 * i + 3 * j) % 5) as f64 - 2.0);
    let direction = tape.constant((&v + &v.t()) / 2.0);
    let l = a.cholesky();
    // Backwards: it is the factor of a matrix that is off by a few roundings.
    assert_close("L·Lᵀ", &l.matmul(l.t()).value(), &hilbert().into_dyn(), 4.0 * f64::EPSILON);
    assert_close("L", &l.value(), &arr2(&FACTOR).into_dyn(), of_inverse);
    let weights = Array2::from_shape_fn((6, 6), |(i, j)| 1.0 + 0.5 * i as f64 - 0.25 * j as f64);
    let logarithm = a.ln_determinant();
    assert_close("ln det", &logarithm.value(), &arr0(LN_DETERMINANT).into_dyn(), of_inverse);
    assert_close("ln |det|", &a.ln_abs_determinant().value(), &arr0(LN_DETERMINANT).into_dyn(), of_inverse);
    for (name, loss, gradient, product) in [
        ("L", (l * weights).sum(), GRADIENT_OF_FACTOR, HVP_OF_FACTOR),
        ("ln det", logarithm, INVERSE, HVP_OF_LN_DETERMINANT),
        ("ln |det|", a.ln_abs_determinant(), INVERSE, HVP_OF_LN_DETERMINANT),
    ] {
        let found = loss.grad(a).value();
        assert_close(&format!("gradient of {name}"), &found, &symmetric(gradient), of_inverse);
        let found = loss.hvp(a, direction).value();
        assert_close(&format!("product of {name}"), &found, &symmetric(product), of_inverse);
    }
}

/// A scale of each row and column, by powers of two, is exact, and leaves every rounding where it was: of a matrix with
/// variances of 2⁻⁸⁰ to 2⁸⁰ all digits are right, in derivatives, too.
#[test]
fn rows_and_columns_of_very_different_sizes_lose_no_digits() {
    let (n, tape) = (5, Tape::new());
    let scale = Array1::from_shape_fn(n, |i| 2.0_f64.powi(20 * i as i32 - 40));
    let outer = Array2::from_shape_fn((n, n), |(i, j)| scale[i] * scale[j]);
    let weights = Array2::from_shape_fn((n, n), |(i, j)| 1.0 + 0.5 * i as f64 - 0.25 * j as f64);
    let rows = Array2::from_shape_fn((n, n), |(i, _)| scale[i]);
    let (a, scaled) = (tape.input("a", positive(n)), tape.input("scaled", positive(n) * &outer));
    let (l, scaled_l) = (a.cholesky(), scaled.cholesky());
    assert_eq!(scaled_l.value(), l.value() * &rows);
    let f = |l: Var, rows: &Array2<f64>| (l / rows * &weights).square().sum();
    let (f, scaled_f) = (f(l, &Array2::ones((n, n))), f(scaled_l, &rows));
    assert_eq!(scaled_f.grad(scaled).value() * &outer, f.grad(a).value());
    let v = numbers(&[n, n], -1.0, 1.0);
    let product = f.hvp(a, tape.constant(&v)).value();
    assert_eq!(scaled_f.hvp(scaled, tape.constant(v * &outer)).value() * &outer, product);
}

#[test]
fn a_gradient_is_symmetric_to_the_bit() {
    let tape = Tape::new();
    let a = tape.input("a", numbers(&[7, 7], -1.0, 1.0) + Array2::from_diag_elem(7, 9.0));
    let l = a.cholesky();
    let solved = l.solve_triangular_transposed(tape.constant(numbers(&[7, 2], -1.0, 1.0)), Triangle::Lower);
    for loss in [weighted(l), a.ln_determinant(), weighted(solved)] {
        for derivative in [loss.grad(a), loss.hvp(a, a)] {
            let derivative = derivative.value();
            assert_eq!(derivative, derivative.t());
        }
    }
}

// The density of a normal distribution.

/// ln N(x; μ, A) by the factor of A.
fn log_density(x: Var, mean: Var, covariance: Var) -> Var {
    let d = mean.size() as f64;
    let white = covariance.cholesky().solve_triangular(x - mean, Triangle::Lower);
    (white.square().sum() + covariance.ln_determinant() + d * (2.0 * std::f64::consts::PI).ln()) * -0.5
}

/// The same by an inverse and a determinant of three rows, written out.
fn log_density_written_out(x: Var, mean: Var, covariance: Var) -> Var {
    let a = (covariance + covariance.t()) * 0.5;
    let at = |i: usize, j: usize| a.at(0, i % 3).at(0, j % 3);
    let cofactor = |i: usize, j: usize| at(i + 1, j + 1) * at(i + 2, j + 2) - at(i + 1, j + 2) * at(i + 2, j + 1);
    let determinant = at(0, 0) * cofactor(0, 0) + at(0, 1) * cofactor(0, 1) + at(0, 2) * cofactor(0, 2);
    let r = |i: usize| (x - mean).at(0, i);
    let terms = (0..9).map(|k| r(k / 3) * cofactor(k % 3, k / 3) * r(k % 3) / determinant);
    let square = terms.reduce(|sum, term| sum + term).unwrap();
    (square + determinant.ln() + 3.0 * (2.0 * std::f64::consts::PI).ln()) * -0.5
}

#[test]
fn the_density_of_a_normal_distribution_is_that_of_an_explicit_inverse_and_determinant() {
    let tape = Tape::new();
    let at = [
        arr1(&[0.5, -1.25, 2.0]).into_dyn(),
        arr1(&[0.25, -0.5, 1.0]).into_dyn(),
        arr2(&[[2.0, 0.5, -0.25], [0.5, 1.5, 0.75], [-0.25, 0.75, 3.0]]).into_dyn(),
    ];
    let v = [
        arr1(&[0.3, -0.7, 0.2]).into_dyn(),
        arr1(&[-1.0, 0.4, 0.6]).into_dyn(),
        arr2(&[[1.0, -0.5, 0.25], [0.75, -1.0, 0.5], [0.0, 1.5, 2.0]]).into_dyn(),
    ];
    let x: [Var; 3] = [0, 1, 2].map(|i| tape.input("x", &at[i]));
    let along = [0, 1, 2].map(|i| tape.constant(&v[i]));
    let all = |f: fn(Var, Var, Var) -> Var| {
        let loss = f(x[0], x[1], x[2]);
        let third = loss.hvp(x, along).map(|product| product.sum()).into_iter().reduce(|a, b| a + b).unwrap();
        [vec![loss], loss.grad(x).to_vec(), loss.hvp(x, along).to_vec(), third.grad(x).to_vec()].concat()
    };
    let (by_factor, written_out) = (all(log_density), all(log_density_written_out));
    for (i, (a, b)) in by_factor.iter().zip(&written_out).enumerate() {
        assert_close(&format!("derivative {i}"), &a.value(), &b.value(), 1e-14);
    }
    // By scipy.stats, and with 80 digits.
    assert_close("density", &by_factor[0].value(), &arr0(-4.433_095_385_268_524).into_dyn(), 1e-15);
    let gradient = arr2(&[
        [-0.19159316945017826, -0.08488146619128041, 0.07831362982423219],
        [-0.08488146619128041, 0.017243176747774234, -0.1696795312858364],
        [0.07831362982423219, -0.1696795312858364, -0.016502992014344988],
    ]);
    assert_close("gradient by A", &by_factor[3].value(), &gradient.into_dyn(), 1e-15);
    let product = arr2(&[
        [0.16935549517544649, -0.22093807382882152, 0.07588924991281444],
        [-0.22093807382882152, 0.6484794675734917, -0.2737894368893143],
        [0.07588924991281444, -0.2737894368893143, 0.17422727122560291],
    ]);
    let found = by_factor[0].hvp(x[2], along[2]).value();
    assert_close("product by A", &found, &product.into_dyn(), 1e-15);
    // A batch of points is a batch of densities.
    let points = tape.input("points", numbers(&[4, 3], -2.0, 2.0));
    let each = vmap(|point| log_density(point, x[1], x[2]), points);
    let one = |k: usize| log_density_written_out(points.at(0, k), x[1], x[2]);
    assert_close("batch", &each.value(), &Var::stack(&[one(0), one(1), one(2), one(3)], 0).value(), 1e-14);
}

// What is not read.

#[test]
fn the_other_triangle_is_not_read() {
    let tape = Tape::new();
    let lower = arr2(&[[2.0, NAN, f64::INFINITY], [1.0, 4.0, NAN], [-1.0, 3.0, 0.5]]);
    let zeros = arr2(&[[2.0, 0.0, 0.0], [1.0, 4.0, 0.0], [-1.0, 3.0, 0.5]]);
    let b = tape.input("b", arr2(&[[1.0, -2.0], [0.5, 3.0], [2.0, 1.0]]));
    for (triangle, nan, zero) in
        [(Triangle::Lower, lower.clone(), zeros.clone()), (Triangle::Upper, lower.t().to_owned(), zeros.t().to_owned())]
    {
        let (a, z) = (tape.input("a", &nan), tape.input("z", &zero));
        for solve in [Var::solve_triangular, Var::solve_triangular_transposed] {
            let (x, y) = (solve(a, b, triangle), solve(z, b, triangle));
            assert_eq!(x.value(), y.value());
            // By A with zeros it is the solution of a full system.
            let full = if std::ptr::fn_addr_eq(solve as Solve, Var::solve_triangular as Solve) { z } else { z.t() };
            assert_close("full", &x.value(), &full.solve(b).value(), 1e-15);
            let (by_a, by_z) = (weighted(x), weighted(y));
            assert_eq!(by_a.grad(a).value(), by_z.grad(z).value());
            assert_eq!(by_a.hvp(a, b.matmul(b.t())).value(), by_z.hvp(z, b.matmul(b.t())).value());
            let gradient = by_a.grad(a).value();
            assert!(gradient.indexed_iter().all(|(at, &x)| zero[[at[0], at[1]]] != 0.0 || x == 0.0), "{gradient}");
        }
        let kept = if triangle == Triangle::Lower { a.tril(0) } else { a.triu(0) };
        assert_eq!(kept.value(), zero.into_dyn());
        assert_eq!(kept.square().sum().grad(a).value(), (kept * 2.0).value());
    }
}

type Solve = fn(Var, Var, Triangle) -> Var;

#[test]
fn what_a_cotangent_has_above_the_diagonal_of_a_factor_does_no_harm() {
    let tape = Tape::new();
    let a = tape.input("a", positive(4));
    // The logarithms of the zeros above are −∞, and their derivatives 0/0.
    let l = a.cholesky();
    let found = l.ln().diagonal().sum().grad(a).value();
    assert_eq!(found, l.diagonal().ln().sum().grad(a).value());
    assert!(found.iter().all(|x| x.is_finite()));
}

#[test]
fn a_nan_stays_in_its_own_matrix() {
    let tape = Tape::new();
    let mut stack = ArrayD::from_shape_fn(vec![3, 4, 4], |i| positive(4)[[i[1], i[2]]]);
    let good = tape.input("good", &stack);
    stack[[1, 2, 0]] = NAN;
    let bad = tape.input("bad", &stack);
    for f in [Var::cholesky as fn(Var) -> Var, Var::ln_determinant, Var::ln_abs_determinant] {
        let loss = |a: Var| weighted(f(a));
        for (good, bad) in [(f(good), f(bad)), (loss(good).grad(good), loss(bad).grad(bad))] {
            for k in [0, 2] {
                assert_eq!(bad.at(0, k).value(), good.at(0, k).value());
            }
            assert!(bad.at(0, 1).value().iter().any(|x| x.is_nan()));
        }
    }
    // The rows of the factor in front of it have none.
    let l = bad.cholesky().at(0, 1).value();
    assert!(l.slice(ndarray::s![..2, ..]).iter().all(|x| x.is_finite()) && l[[2, 0]].is_nan() && l[[3, 3]].is_nan());
}

#[test]
fn a_determinant_that_is_zero_has_a_logarithm_and_no_derivative() {
    let tape = Tape::new();
    let a = tape.input("a", arr2(&[[1.0, 2.0], [2.0, 4.0]]));
    assert_eq!(a.ln_abs_determinant().item(), f64::NEG_INFINITY);
    let program = tape.compile([a], [a.ln_abs_determinant().grad(a)]);
    let error = program.run(&values![arr2(&[[1.0, 2.0], [2.0, 4.0]])]).unwrap_err();
    assert!(matches!(error, ad::Error::Singular { matrix: 0, .. }), "{error}");
    // Beside a NaN it is none.
    let a = tape.input("a", arr2(&[[0.0, NAN], [0.0, 1.0]]));
    assert!(a.ln_abs_determinant().item().is_nan());
}

#[test]
fn a_determinant_beyond_the_range_of_numbers_has_a_logarithm() {
    let tape = Tape::new();
    for (scale, n) in [(1e-200, 5), (1e200, 7)] {
        let a = tape.input("a", Array2::from_diag_elem(n, scale));
        let expected = n as f64 * f64::ln(scale);
        for logarithm in [a.ln_determinant(), a.ln_abs_determinant(), (-a).ln_abs_determinant()] {
            assert_close("ln det", &logarithm.value(), &arr0(expected).into_dyn(), 1e-15);
        }
        assert_close("inverse", &(a.ln_determinant().grad(a) * a).value(), &Array2::eye(n).into_dyn(), 1e-15);
    }
}

#[test]
fn matrices_without_entries_have_determinant_one() {
    let tape = Tape::new();
    let a = tape.input("a", Array2::<f64>::zeros((0, 0)));
    assert_eq!((a.ln_determinant().item(), a.ln_abs_determinant().item()), (0.0, 0.0));
    assert_eq!(a.ln_determinant().grad(a).value().shape(), [0, 0]);
    assert_eq!(a.cholesky().value().shape(), [0, 0]);
    assert_eq!((a.diagonal().value().shape(), a.diagonal().diag().value().shape()), (&[0][..], &[0, 0][..]));
    assert_eq!((a.tril(1).value().shape(), a.triu(-1).value().shape()), (&[0, 0][..], &[0, 0][..]));
    assert_eq!(tape.eye(0).value().shape(), [0, 0]);
    let stack = tape.input("stack", ArrayD::<f64>::zeros(vec![3, 0, 0]));
    assert_eq!(stack.ln_determinant().value(), arr1(&[0.0; 3]).into_dyn());
    assert_eq!(stack.ln_abs_determinant().value(), arr1(&[0.0; 3]).into_dyn());
    let b = tape.input("b", ArrayD::<f64>::zeros(vec![3, 0]));
    assert_eq!(stack.solve_triangular(b, Triangle::Upper).value().shape(), [3, 0]);
}

#[test]
fn diagonals_and_triangles_are_those_of_their_entries() {
    let tape = Tape::new();
    let x = tape.input("x", arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    assert_eq!(x.diagonal().value(), arr1(&[1.0, 5.0]).into_dyn());
    assert_eq!(x.t().diagonal().value(), arr1(&[1.0, 5.0]).into_dyn());
    assert_eq!(x.at(0, 0).diag().value(), Array2::from_diag(&arr1(&[1.0, 2.0, 3.0])).into_dyn());
    assert_eq!(x.tril(0).value(), arr2(&[[1.0, 0.0, 0.0], [4.0, 5.0, 0.0]]).into_dyn());
    assert_eq!(x.triu(0).value(), arr2(&[[1.0, 2.0, 3.0], [0.0, 5.0, 6.0]]).into_dyn());
    assert_eq!(x.triu(1).value(), arr2(&[[0.0, 2.0, 3.0], [0.0, 0.0, 6.0]]).into_dyn());
    assert_eq!((x.tril(0) + x.triu(1)).value(), x.value());
    for (k, all) in [(isize::MAX, 6.0), (isize::MIN, 0.0), (5, 6.0), (-5, 0.0)] {
        assert_eq!(x.full_like(1.0).tril(k).sum().item(), all);
        assert_eq!(x.full_like(1.0).triu(k).sum().item(), 6.0 - all);
    }
    let stack = tape.input("stack", numbers(&[2, 3, 3], -1.0, 1.0));
    for k in 0..2 {
        assert_eq!(stack.diagonal().at(0, k).value(), stack.at(0, k).diagonal().value());
        assert_eq!(stack.diagonal().diag().at(0, k).value(), stack.at(0, k).diagonal().diag().value());
        assert_eq!(stack.triu(-1).at(0, k).value(), stack.at(0, k).triu(-1).value());
    }
    assert_eq!(tape.eye(3).value(), Array2::<f64>::eye(3).into_dyn());
    assert_eq!(tape.eye(2).matmul(x).value(), x.value());
    // Of anything that can be looked up.
    let bytes = tape.input("bytes", arr2(&[[1_u8, 2], [3, 4]]));
    assert_eq!(bytes.diagonal().value_as::<u8>(), arr1(&[1_u8, 4]).into_dyn());
}

// Large matrices, which are worked on in blocks of 64 rows.

fn check_large<T: Real>(tolerance: f64) {
    for n in [63, 64, 65, 128, 150] {
        let tape = Tape::new();
        let array = positive(n);
        let rounded = array.mapv(T::of);
        let exact = rounded.mapv(T::as_f64);
        let a = tape.input("a", &rounded);
        let l = a.cholesky().value_as::<T>().mapv(T::as_f64).into_dimensionality::<ndarray::Ix2>().unwrap();
        assert_close(&format!("factor, {n}"), &l.dot(&l.t()).into_dyn(), &exact.into_dyn(), tolerance);
        assert!(l.indexed_iter().all(|((i, j), &x)| i >= j || x == 0.0));
        for (triangle, l) in [(Triangle::Lower, l.clone()), (Triangle::Upper, l.t().to_owned())] {
            for m in [1, 3, 70] {
                let b = numbers(&[n, m], -1.0, 1.0).into_dimensionality::<ndarray::Ix2>().unwrap();
                let (l_var, b_var) = (tape.constant(l.mapv(T::of)), tape.constant(b.mapv(T::of)));
                for (solve, op) in
                    [(Var::solve_triangular as Solve, l.view()), (Var::solve_triangular_transposed, l.t())]
                {
                    let x = solve(l_var, b_var, triangle).value_as::<T>().mapv(T::as_f64);
                    let again = op.dot(&x.into_dimensionality::<ndarray::Ix2>().unwrap());
                    let name = format!("{triangle:?}, {n}×{m}");
                    assert_close(&name, &again.into_dyn(), &b.clone().into_dyn(), 10.0 * tolerance);
                }
            }
        }
        let (ln, ln_abs) = (a.ln_determinant(), a.ln_abs_determinant());
        let scalar = |x: Var| arr0(x.item_as::<T>().as_f64()).into_dyn();
        assert_close("determinants", &scalar(ln), &scalar(ln_abs), 10.0 * tolerance);
    }
}

#[test]
fn large_matrices_in_double_precision() {
    check_large::<f64>(1e-14);
}

#[test]
fn large_matrices_in_single_precision() {
    check_large::<f32>(5e-6);
}

#[test]
fn the_derivatives_of_a_large_factor_are_those_of_its_inverse() {
    let (n, tape) = (80, Tape::new());
    let a = tape.input("a", positive(n));
    let v = tape.constant(numbers(&[n, n], -1.0, 1.0));
    let inverse = tape.constant(a.solve(tape.eye(n)).value());
    let symmetric = (v + v.t()) * 0.5;
    let loss = a.ln_determinant();
    assert_close("gradient", &loss.grad(a).value(), &inverse.value(), 1e-12);
    let product = -inverse.matmul(symmetric).matmul(inverse);
    assert_close("product", &loss.hvp(a, v).value(), &product.value(), 1e-12);
    // L̇ = L·Φ(L⁻¹·Ȧ·L⁻ᵀ), in forward mode.
    let l = a.cholesky();
    let inner = l.solve_triangular(l.solve_triangular(symmetric, Triangle::Lower).t(), Triangle::Lower);
    let tangent = l.matmul(inner.tril(0) - inner.diagonal().diag() * 0.5);
    assert_close("tangent", &l.jvp(a, v).value(), &tangent.value(), 1e-12);
}

#[test]
fn results_are_the_same_bits_at_any_number_of_threads_and_in_any_stack() {
    let tape = Tape::new();
    for (k, n) in [(3000, 3), (5, 70)] {
        let mut stack = ArrayD::zeros(vec![k, n, n]);
        for (i, mut matrix) in stack.outer_iter_mut().enumerate() {
            matrix.assign(&(positive(n) * (1.0 + 0.01 * i as f64)));
        }
        let a = tape.input("a", &stack);
        let b = tape.constant(numbers(&[n, 2], -1.0, 1.0));
        let numbers_of = |a: Var| {
            let (l, shape) = (a.cholesky(), a.shape());
            let b = b.broadcast_to(&[&shape[..shape.len() - 1], &[2]].concat());
            let x = l.solve_triangular(b, Triangle::Lower);
            let y = l.solve_triangular_transposed(b, Triangle::Lower);
            [l, x, y, a.ln_determinant(), a.ln_abs_determinant()]
        };
        let all = numbers_of(a);
        let loss = all.iter().map(|x| x.square().sum()).reduce(|sum, x| sum + x).unwrap();
        let program = tape.compile([a], [&all[..], &[loss.grad(a), loss.hvp(a, a)]].concat());
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| program.run(&values![stack]).unwrap())
        };
        let one = on(1);
        for threads in [2, 3] {
            assert_eq!(one, on(threads), "{threads} threads");
        }
        assert_eq!(one, program.run(&values![stack]).unwrap());
        // A matrix of the stack by itself.
        let alone = numbers_of(tape.input("alone", common::example(&stack, k - 2)));
        for (alone, one) in alone.iter().zip(&one) {
            assert_eq!(alone.value(), common::example(one, k - 2));
        }
    }
}

#[test]
fn one_triangle_for_a_batch_of_right_hand_sides_is_not_repeated() {
    let tape = Tape::new();
    let (l, b) = (tape.input("l", positive(3)), tape.input("b", numbers(&[5, 3], -1.0, 1.0)));
    let mapped = vmap(|b| l.solve_triangular(b, Triangle::Lower), b);
    let text = tape.compile([l, b], [mapped]).to_string();
    assert!(!text.contains("[5, 3, 3]"), "{text}");
    assert_close("mapped", &mapped.t().value(), &l.solve_triangular(b.t(), Triangle::Lower).value(), 1e-15);
}
