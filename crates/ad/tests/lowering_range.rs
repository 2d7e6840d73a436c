//! Lowering at the ends of the range of numbers: it loses none that the recorded operations keep.

use ad::{Error, Handle, Index, Lowering, Real, Tape, Value, Var, values};
use ndarray::{Array1, Array2, ArrayD, arr0, arr1};
use proptest::prelude::*;

/// The sum of f(x, a, b) over the entries, by a lowered program.
fn number(f: impl Fn(Var, Var, Var) -> Var, [x, a, b]: [ArrayD<f64>; 3]) -> f64 {
    let tape = Tape::new();
    let inputs = [tape.input("x", &x), tape.input("a", &a), tape.input("b", &b)];
    let result = f(inputs[0], inputs[1], inputs[2]).sum();
    let program = tape.compile(inputs, [result]);
    let given = values![x, a, b];
    let run = program.run(&given).unwrap()[0].sum();
    let mut into = arr0(0.0).into_dyn();
    program.run_into(&given, &mut [into.view_mut()]).unwrap();
    assert_eq!(run.to_bits(), into.sum().to_bits(), "run_into");
    run
}

fn at_zero(x: Var) -> Index {
    Index::constant(x, arr1(&[0; 4]))
}

/// Each number is right by hand, and was lost where a factor moved.
#[test]
fn no_factor_goes_where_a_product_or_a_sum_leaves_the_range() {
    type Case = (&'static str, fn(Var, Var, Var) -> Var, [ArrayD<f64>; 3], f64);
    let one = |x: f64| arr0(x).into_dyn();
    let four = |x: f64| arr1(&[x; 4]).into_dyn();
    let none = || one(0.0);
    let cases: [Case; 13] = [
        ("Σ x·c", |x, _, _| (x * 0.25).sum(), [four(1e308), none(), none()], 1e308),
        ("Σ x·0", |x, _, _| (x * 0.0).sum(), [four(1e308), none(), none()], 0.0),
        ("(x·c)·a where x·a overflows", |x, a, _| (x * 1e-30) * a, [one(1e200), one(1e120), none()], 1e290),
        ("a·(x·c)", |x, a, _| a * (x * 1e-30), [one(1e200), one(1e120), none()], 1e290),
        ("(x·c)·a where x·a vanishes", |x, a, _| (x * 1e30) * a, [one(1e-200), one(1e-120), none()], 1e-290),
        ("Σ x·broadcast a", |x, a, _| (x * a).sum(), [four(1e308), one(0.25), none()], 1e308),
        ("(x·a)·b where a·b overflows", |x, a, b| (x * a) * b, [four(1e-300), one(1e200), one(1e200)], 4e100),
        ("(x·a)·b where a·b vanishes", |x, a, b| (x * a) * b, [four(1e300), one(1e-200), one(1e-200)], 4e-100),
        ("(x·a)·c where a·c overflows", |x, a, _| (x * a) * 1e200, [four(1e-300), one(1e200), none()], 4e100),
        ("x·a + x·b", |x, a, b| x * a + x * b, [four(1e-10), one(1.2e308), one(1.2e308)], 9.6e298),
        ("x·c + x·d", |x, _, _| x * 1.2e308 + x * 1.2e308, [four(1e-10), none(), none()], 9.6e298),
        (
            "a scan that forgets",
            |x, _, _| (x * 1e100).scan(1e-25, 0).at(0, 1),
            [arr1(&[1e-300, 0.0]).into_dyn(), none(), none()],
            1e-225,
        ),
        (
            "scatter(x·gather a)",
            |x, a, _| (x * a.gather([at_zero(x)])).scatter_add([at_zero(x)], &[1]),
            [four(1e308), arr1(&[0.25]).into_dyn(), none()],
            1e308,
        ),
    ];
    for (name, f, at, right) in cases {
        let found = number(f, at);
        assert!((found - right).abs() <= 1e-14 * right, "{name}: {found:e}, right is {right:e}");
    }
}

#[test]
fn a_sum_of_a_constant_times_large_and_small_numbers_stays_in_range_in_single_precision() {
    let tape = Tape::new();
    let (w, r) = (tape.input("w", arr1(&[1e35_f32; 3])), tape.input("r", arr1(&[1e4_f32; 3])));
    let sum = ((w * 1e-30_f32) * r).sum();
    let program = tape.compile([w, r], [sum]);
    let found = program.run_as::<f32>(&values![arr1(&[1e35_f32; 3]), arr1(&[1e4_f32; 3])]).unwrap()[0].sum();
    assert!((found - 3e9).abs() <= 3e9 * 1e-6, "{found:e}");
}

/// What is infinite or a NaN stays so, also where a function that is finite at ∞ would hide it.
#[test]
fn infinite_inputs_stay_in_sums_and_products() {
    const INF: f64 = f64::INFINITY;
    type Case = (&'static str, fn(Var, Var, Var) -> Var, [ArrayD<f64>; 3]);
    let one = |x: f64| arr0(x).into_dyn();
    let pair = |x: [f64; 2]| arr1(&x).into_dyn();
    let four = |x: [f64; 4]| arr1(&x).into_dyn();
    let cases: [Case; 6] = [
        ("Σ x·broadcast ∞", |x, a, _| (x * a).sum().tanh(), [pair([0.0, 2.0]), one(INF), one(0.0)]),
        ("Σ x·broadcast ∞, constant", |x, _, _| (x * INF).sum().tanh(), [pair([0.0, 2.0]), one(0.0), one(0.0)]),
        ("∞·3 − ∞", |x, _, _| (x * 3.0 - x).tanh(), [one(INF), one(0.0), one(0.0)]),
        ("∞·a + ∞·b", |x, a, b| (x * a + x * b).tanh(), [pair([INF, 1.0]), one(3.0), one(-1.0)]),
        (
            "scatter(x·gather ∞)",
            |x, a, _| (x * a.gather([at_zero(x)])).scatter_add([at_zero(x)], &[1]).tanh(),
            [four([0.0, 1.0, 1.0, 1.0]), pair([INF, 1.0]), one(0.0)],
        ),
        (
            "scatter(0·gather ∞)",
            |x, a, _| (x * a.gather([at_zero(x)])).scatter_add([at_zero(x)], &[1]),
            [four([0.0; 4]), pair([INF, 1.0]), one(0.0)],
        ),
    ];
    for (name, f, at) in cases {
        let found = number(f, at);
        assert!(found.is_nan(), "{name}: {found}");
    }
}

#[test]
fn a_sum_of_no_entries_is_zero_whatever_they_were_made_of() {
    let nan = arr0(f64::NAN).into_dyn();
    let none = |x: Var| x.broadcast_to(&[0]).sum();
    assert_eq!(number(|x, _, _| none(x), [nan.clone(), nan.clone(), nan.clone()]), 0.0);
    assert_eq!(number(|x, _, _| none(x * 0.0 + f64::NAN), [nan.clone(), nan.clone(), nan.clone()]), 0.0);
    let tape = Tape::new();
    assert_eq!(none(tape.constant(f64::NAN)).item(), 0.0);
    assert_eq!(tape.constant(f64::NAN).broadcast_to(&[3, 0]).sum_axes(&[1]).value(), arr1(&[0.0; 3]).into_dyn());
}

/// (x·a)·b of many rows, where a·b is made once and leaves the range in some replays.
#[test]
fn a_replay_that_leaves_the_range_runs_as_recorded_and_the_next_one_lowered() {
    let tape = Tape::new();
    let rows = 20_000;
    let column = |x: f64| Array1::from_elem(rows, x);
    let x = tape.input("x", Array2::from_elem((rows, 8), 1.0));
    let (a, b) = (tape.input("a", column(1.0)), tape.input("b", column(1.0)));
    let spread = |column: Var| column.insert_axis(1).broadcast_to(&[rows, 8]);
    let result = ((x.sin() * spread(a)) * spread(b)).sum_axes(&[0]);
    let program = tape.compile([x, a, b], [result]);
    assert!(program.to_string().contains("checked_times"), "{program}");
    let angle = std::f64::consts::FRAC_PI_6;
    let on = |threads: usize, a: f64, b: f64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut factor = column(a);
        factor[rows - 1] = 0.0;
        pool.install(|| {
            program.run(&values![Array2::from_elem((rows, 8), angle), factor, column(b)]).unwrap().remove(0)
        })
    };
    let usual = on(1, 2.0, 3.0);
    let right = 0.5 * 6.0 * (rows - 1) as f64;
    assert!(usual.iter().all(|x| (x / right - 1.0).abs() < 1e-12), "{usual}");
    let edge = on(1, 1e200, 1e-200);
    assert!(edge.iter().all(|x| (x / right * 6.0 - 1.0).abs() < 1e-12), "{edge}");
    // 10⁻²⁰⁰ · 10⁻²⁰⁰ vanishes, but so it does as recorded.
    assert!(on(1, 1e-200, 1e-200).iter().all(|x| *x == 0.0));
    for threads in [1, 2, 5] {
        assert_eq!(on(threads, 2.0, 3.0), usual, "{threads} threads");
        assert_eq!(on(threads, 1e200, 1e-200), edge, "{threads} threads");
    }
}

/// e^{x − max x}·e^{max x − 1}, for which e^x·e^{−1} usually does.
#[test]
fn what_usually_does_is_left_where_it_does_not() {
    let shifted = |x: Var| {
        let largest = x.max_axes(&[0]);
        let scale = (largest - 1.0).exp();
        let careful = (x - largest).exp();
        let (careful, scale) =
            (careful.or_usual(x.exp(), 1e100), scale.or_usual(scale.full_like((-1.0_f64).exp()), 1.0));
        (careful * x.magic_box()).sum() * scale
    };
    let e = 1.0_f64.exp();
    // ln of the right value and of its derivative by the last entry.
    let cases = [
        ([0.0, 1.0, 1.0], (1.0 / e + 2.0).ln(), 0.0),
        // Beyond the limit, and beyond the range: Σ e^x is infinite, but not e^−1 of it.
        ([600.0, 0.0, 0.0], 599.0, -1.0),
        ([709.9, 0.0, 708.0], 708.9 + (-1.9_f64).exp().ln_1p(), 707.0),
        ([f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0], 0.0, 0.0),
    ];
    for lowering in [Lowering::On, Lowering::Off] {
        let tape = Tape::new();
        let x = tape.input("x", arr1(&[0.0; 3]));
        let value = shifted(x);
        let mapped = ad::vmap(shifted, x.broadcast_to(&[2, 3])).at(0, 1);
        let outputs = [value, value.grad(x).at(0, 2), value.hvp(x, x.full_like(1.0)).at(0, 2), mapped];
        let program = tape.compile_with([x], outputs, lowering);
        for (at, right, derivative) in cases {
            let found = program.run(&values![arr1(&at)]).unwrap();
            for (found, right) in found.iter().zip([right, derivative, derivative, right]) {
                let found = found.sum().ln();
                assert!((found - right).abs() <= 1e-12 * right.abs().max(1.0), "{lowering:?} {at:?}: {found}, {right}");
            }
            assert!(program.check_finite(&values![arr1(&at)]).is_ok() || at[0].is_infinite(), "{lowering:?} {at:?}");
        }
        assert!(program.run(&values![arr1(&[0.0, f64::NAN, 0.0])]).unwrap()[0].sum().is_nan());
    }
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.0_f32, 80.0]));
    let found = (x - 80.0).exp().or_usual(x.exp(), 1e30).value_as::<f32>();
    assert_eq!(found[1], 1.0);
    // Beyond a limit that the type has not there are infinities, which are seen.
    for (limit, expected) in [(1e300, 1e38_f32), (f64::INFINITY, f32::INFINITY)] {
        let found = (x * 2.0).exp().min(1e38).or_usual((x * 2.0).exp(), limit).value_as::<f32>();
        assert_eq!(found.as_slice(), Some(&[1.0, expected][..]), "{limit}");
    }
}

#[test]
#[should_panic(expected = "or_usual: what stands in for an array of shape [3] has shape [2]")]
fn what_stands_in_has_the_same_shape() {
    let tape = Tape::new();
    let _ = tape.input("x", arr1(&[0.0; 3])).or_usual(tape.input("y", arr1(&[0.0; 2])), 1.0);
}

#[test]
fn an_index_out_of_range_is_found_by_the_recorded_operations_too() {
    let tape = Tape::new();
    let (x, a) = (tape.input("x", arr1(&[1.0; 4])), tape.input("a", arr1(&[1.0, 1.0])));
    let index = tape.index("index", arr1(&[0; 4]));
    let sums = (x * a.gather([index])).scatter_add([index], &[2]);
    let program = tape.compile([Handle::from(x), a.into(), index.into()], [sums]);
    let run = |a: [f64; 2], index: [i32; 4]| program.run(&values![arr1(&[1.0; 4]), arr1(&a), arr1(&index)]);
    assert_eq!(run([f64::INFINITY, 2.0], [0, 1, 1, 1]).unwrap()[0], arr1(&[f64::INFINITY, 6.0]).into_dyn());
    assert!(matches!(run([f64::INFINITY, 2.0], [0, 1, 1, 2]), Err(Error::IndexOutOfRange { index: 2, .. })));
}

/// A random program of linear operations, products and selections by the signs of inputs; what lowering has rules for.
#[derive(Clone, Debug)]
struct Step {
    operation: usize,
    a: usize,
    b: usize,
    constant: usize,
}

const OPERATIONS: usize = 24;
const COLUMNS: usize = 4;
const TABLE: usize = 5;

/// How a program is recorded: as it is, or so that nothing cancels, for the scale of what is summed.
struct Build<'a> {
    constants: &'a [f64],
    index: Index,
    /// x, y `[n, 4]`, row `[4]`, column `[n]`, table `[5]`, and a number.
    inputs: &'a [Var],
    scale: bool,
}

impl Build<'_> {
    fn outputs(&self, steps: &[Step]) -> Vec<Var> {
        let &[x, y, row, column, table, number] = self.inputs else { panic!("six inputs") };
        let whole = x.shape();
        let mut pool = vec![x, y];
        let mut sums = Vec::new();
        let sign = if self.scale { 1.0 } else { -1.0 };
        for step in steps {
            let (a, b) = (pool[step.a % pool.len()], pool[step.b % pool.len()]);
            let constant = self.constants[step.constant % self.constants.len()];
            let c = if self.scale { constant.abs() } else { constant };
            let column_of = |column: Var| column.insert_axis(1).broadcast_to(&whole);
            pool.push(match step.operation {
                0 => a + b,
                1 if self.scale => a + b,
                1 => a - b,
                2 => a * b,
                3 => a * c,
                4 => a * c + b,
                5 => a * row.broadcast_to(&whole),
                6 => a * column_of(column),
                7 => a * number.broadcast_to(&whole),
                8 => a * sign,
                9 => column_of(a.sum_axes(&[1])),
                10 => a.sum_axes(&[0]).broadcast_to(&whole),
                11 => a.scan(c, 1),
                12 => a.scan_reverse(row.broadcast_to(&whole), 1),
                13 => a * column_of(table.gather([self.index])),
                14 => column_of(a.at(1, 2).scatter_add([self.index], &[TABLE]).gather([self.index])),
                15 => {
                    let entries = column * table.gather([self.index]);
                    column_of(entries.scatter_add([self.index], &[TABLE]).gather([self.index])) * a
                }
                16 if self.scale => a + b,
                16 => y.greater(0.0).select(a, b),
                17 => a.slice(1, 0..COLUMNS - 1).pad(1, 1, 0),
                18 => (a * c).t().t() * sign,
                19 => a.magic_box() * b,
                20 => a * c + a * (c * sign * 0.5),
                21 => a * row.broadcast_to(&whole) + a * (row * c).broadcast_to(&whole),
                22 => (a * row.broadcast_to(&whole)) * (row * number).broadcast_to(&whole),
                _ => {
                    sums.push((a * c).sum());
                    a.cumsum_exclusive(1) * c
                }
            });
        }
        let last = pool[pool.len() - 1];
        let gradients = last.sum().grad_or_zeros([x, row, column, table, number].as_slice());
        let product = last.sum().hvp_or_none(x, row);
        pool.into_iter().skip(2).chain(sums).chain(gradients).chain(product).collect()
    }
}

trait Mixed {
    fn hvp_or_none(self, x: Var, row: Var) -> Option<Var>;
}

impl Mixed for Var {
    /// The derivative of the gradient by x, by the row: that is, along ones.
    fn hvp_or_none(self, x: Var, row: Var) -> Option<Var> {
        self.grad_or_zeros([x].as_slice()).pop()?.sum().grad_or_zeros([row].as_slice()).pop()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..OPERATIONS, 0..64_usize, 0..64_usize, 0..64_usize).prop_map(|(operation, a, b, constant)| Step {
        operation,
        a,
        b,
        constant,
    });
    prop::collection::vec(step, 1..9)
}

/// Choices of numbers for the inputs of a program with so many rows.
fn entries(rows: usize) -> [(&'static str, Vec<usize>); 6] {
    [
        ("x", vec![rows, COLUMNS]),
        ("y", vec![rows, COLUMNS]),
        ("row", vec![COLUMNS]),
        ("column", vec![rows]),
        ("table", vec![TABLE]),
        ("number", vec![]),
    ]
}

/// The numbers of a program's outputs in one of both types, as f64.
fn run<T: Real>(
    steps: &[Step],
    rows: usize,
    inputs: &[ArrayD<f64>],
    constants: &[f64],
    scale: bool,
    lowering: Lowering,
) -> Vec<Vec<f64>> {
    let tape = Tape::new();
    let cast = |x: &ArrayD<f64>| x.mapv(|x| T::of(if scale { x.abs() } else { x }));
    let vars: Vec<Var> = entries(rows).iter().zip(inputs).map(|((name, _), x)| tape.input(name, cast(x))).collect();
    let index = tape.index("index", Array1::from_iter((0..rows).map(|i| (i * 7 % 4) as i32)));
    let outputs = Build { constants, index, inputs: &vars, scale }.outputs(steps);
    let program = tape.compile_with(vars.iter().copied(), outputs, lowering);
    let given: Vec<Value<'_>> = inputs.iter().map(|x| Value::from(cast(x))).collect();
    let results: Vec<ArrayD<T>> = program.run_as(&given).unwrap();
    results.into_iter().map(|result| result.iter().map(|x| x.as_f64()).collect()).collect()
}

fn arrays(rows: usize, choices: &'static [f64]) -> impl Strategy<Value = Vec<ArrayD<f64>>> {
    let sizes: Vec<Vec<usize>> = entries(rows).into_iter().map(|(_, shape)| shape).collect();
    let total: usize = sizes.iter().map(|shape| shape.iter().product::<usize>()).sum();
    prop::collection::vec(0..choices.len(), total).prop_map(move |which| {
        let mut which = which.into_iter().map(|i| choices[i]);
        let array = |shape: &Vec<usize>| {
            let count = shape.iter().product();
            ArrayD::from_shape_vec(shape.clone(), which.by_ref().take(count).collect()).unwrap()
        };
        sizes.iter().map(array).collect()
    })
}

/// Few rows, and as many as are run in blocks.
const ROWS: [usize; 2] = [3, 1100];

/// Of a few numbers, as many as an input needs.
fn tiled(few: &[ArrayD<f64>], rows: usize) -> Vec<ArrayD<f64>> {
    let tile = |(few, (_, shape)): (&ArrayD<f64>, (_, Vec<usize>))| {
        let few: Vec<f64> = few.iter().copied().collect();
        ArrayD::from_shape_vec(shape.clone(), few.iter().copied().cycle().take(shape.iter().product()).collect())
            .unwrap()
    };
    few.iter().zip(entries(rows)).map(tile).collect()
}

const SPECIAL: &[f64] = &[0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
const FINITE: &[f64] = &[0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1e-30, -1e-30, 1e30, -1e30, 3e-38, 3e38, 1e-42];
/// The same places of the range, in f64.
const FINITE_F64: &[f64] = &[0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1e-250, -1e-250, 1e250, -1e250, 2e-308, 1e308, 1e-320];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// A result is NaN, ∞ or −∞ if it is so as recorded; and else the same number.
    #[test]
    fn zeros_infinities_and_nans_stay_where_they_are(
        steps in steps(), few in arrays(3, SPECIAL), rows in 0..2_usize
    ) {
        let constants = [2.0, 0.5, -1.0, 3.0, 0.0, -0.25, 1.0];
        let inputs = tiled(&few, ROWS[rows]);
        let finite: Vec<ArrayD<f64>> = inputs.iter().map(|x| x.mapv(|x| if x.is_finite() { x } else { 1.0 })).collect();
        let scale = run::<f64>(&steps, ROWS[rows], &finite, &constants, true, Lowering::Off);
        let double = |lowering| run::<f64>(&steps, ROWS[rows], &inputs, &constants, false, lowering);
        let single = |lowering| run::<f32>(&steps, ROWS[rows], &inputs, &constants, false, lowering);
        let pairs = [
            (double(Lowering::On), double(Lowering::Off), 1e-12, f64::MAX),
            (single(Lowering::On), single(Lowering::Off), 1e-4, 1e30),
        ];
        for (on, off, tolerance, largest) in pairs {
            for (output, ((on, off), scale)) in on.iter().zip(&off).zip(&scale).enumerate() {
                for (entry, ((&on, &off), &scale)) in on.iter().zip(off).zip(scale).enumerate() {
                    let same = if off.is_finite() { (on - off).abs() <= tolerance * scale.max(1.0) } else {
                        on == off || (on.is_nan() && off.is_nan())
                    };
                    prop_assert!(
                        same || scale > largest,
                        "output {output}, entry {entry}: lowered {on:e}, recorded {off:e}, scale {scale:e}"
                    );
                }
            }
        }
    }

    /// Where the recorded operations are right in single precision (by double precision, which has room for all of it),
    /// so are the lowered ones: nothing overflows or vanishes that did not.
    #[test]
    fn what_is_right_as_recorded_is_right_lowered(steps in steps(), few in arrays(3, FINITE), rows in 0..2_usize) {
        let constants = [2.0, 0.25, -1.0, 1e-30, 1e30, -3.0, 1e-8];
        let inputs = tiled(&few, ROWS[rows]);
        // As single precision has them.
        let inputs: Vec<ArrayD<f64>> = inputs.iter().map(|x| x.mapv(|x| f64::from(x as f32))).collect();
        let constants = constants.map(|c| f64::from(c as f32));
        let exact = run::<f64>(&steps, ROWS[rows], &inputs, &constants, false, Lowering::Off);
        // Where the magnitudes of what is summed leave the range, so may their sums, in some orders.
        let scale = run::<f32>(&steps, ROWS[rows], &inputs, &constants, true, Lowering::Off);
        let single = |lowering| run::<f32>(&steps, ROWS[rows], &inputs, &constants, false, lowering);
        let (on, off) = (single(Lowering::On), single(Lowering::Off));
        for (output, exact) in exact.iter().enumerate() {
            for (entry, &exact) in exact.iter().enumerate() {
                let (on, off, scale) = (on[output][entry], off[output][entry], scale[output][entry]);
                let error = |x: f64| (x - exact).abs() / scale;
                let is_right = scale.is_finite() && (off == exact || error(off) <= 1e-4);
                prop_assert!(
                    !is_right || on == exact || error(on) <= 2e-4,
                    "output {output}, entry {entry}: lowered {on:e}, recorded {off:e}, right {exact:e}, scale {scale:e}"
                );
            }
        }
    }

    /// In double precision there is no wider type to tell what is right: no infinity and no NaN that was not recorded.
    #[test]
    fn what_is_finite_as_recorded_is_finite_lowered(steps in steps(), few in arrays(3, FINITE_F64), rows in 0..2_usize) {
        let constants = [2.0, 0.25, -1.0, 1e-250, 1e250, -3.0, 1e-60];
        let inputs = tiled(&few, ROWS[rows]);
        let scale = run::<f64>(&steps, ROWS[rows], &inputs, &constants, true, Lowering::Off);
        let double = |lowering| run::<f64>(&steps, ROWS[rows], &inputs, &constants, false, lowering);
        let (on, off) = (double(Lowering::On), double(Lowering::Off));
        for (output, scale) in scale.iter().enumerate() {
            for (entry, scale) in scale.iter().enumerate() {
                let (on, off) = (on[output][entry], off[output][entry]);
                let is_kept = on.is_finite() || !off.is_finite() || !scale.is_finite();
                prop_assert!(is_kept, "output {output}, entry {entry}: lowered {on:e}, recorded {off:e}");
            }
        }
    }
}
