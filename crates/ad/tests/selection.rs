//! Choosing among entries: positions by the order of numbers, look-ups along an axis, entries replaced, and how indices are made.
//! Compared with loops over numbers, in both precisions, as recorded and lowered, block by block and at once.

mod common;

use ad::{
    DType, DerivativeLimit, Error, Handle, Index, Lowering, Modes, Program, Real, Tape, Value, Var, check_gradients,
    fold, values, vmap_many,
};
use common::panics::{assert_said, caught};
use common::{assert_close, indices, numbers, weighted};
use ndarray::{Array1, Array2, ArrayD, Axis, Dimension, IxDyn, arr0, arr1, arr2};

const LOWERINGS: [Lowering; 2] = [Lowering::On, Lowering::Off];
const INFINITY: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// The expression panics on its own lines, of which there are five at most, and the message has all the words.
macro_rules! refused {
    ($words:expr, $body:expr) => {{
        let line = line!();
        let (message, file, at) = caught(|| {
            let _ = $body;
        });
        let own = file.ends_with("tests/selection.rs") && (line..line + 5).contains(&at);
        assert!(own, "blamed {file}:{at}: {message}");
        let words: &[&str] = $words;
        assert_said(&message, words);
    }};
}

/// A place in this file, as messages name it. (With a colon behind, so that line 1 is not found in 10.)
fn place(line: u32) -> String {
    format!("tests/selection.rs:{line}:")
}

/// Numbers of which many are equal, infinite or NaN.
fn hard(shape: &[usize]) -> ArrayD<f64> {
    let special = [0.0, -0.0, 1.0, 1.0, -1.0, INFINITY, -INFINITY, NAN, 2.5, -3.0, 1.0];
    let count: usize = shape.iter().product();
    let entry = |i: usize| match (7 * i * i + 3 * i + i / 5) % 17 {
        place if place < special.len() => special[place],
        place => place as f64 - 13.0,
    };
    Array1::from_iter((0..count).map(entry)).into_shape_with_order(shape).unwrap()
}

const SHAPES: [(&[usize], usize); 12] = [
    (&[1], 0),
    (&[9], 0),
    (&[3, 5], 0),
    (&[3, 5], 1),
    (&[4, 1], 1),
    (&[2, 11, 3], 1),
    (&[0, 3], 1),
    (&[3, 0], 0),
    // Block by block, and at once.
    (&[3000, 7], 1),
    (&[3000, 7], 0),
    (&[500, 4, 5], 1),
    (&[300, 4, 5], 2),
];

/// Calls `law` with every lane of an array along an axis.
fn lanes<T: Copy, U>(x: &ArrayD<T>, axis: usize, law: impl FnMut(Vec<T>) -> U) -> Vec<U> {
    x.lanes(Axis(axis)).into_iter().map(|lane| lane.to_vec()).map(law).collect()
}

/// NumPy's: the first NaN, else the first of the best.
fn first(lane: &[f64], wins: fn(f64, f64) -> bool) -> i32 {
    let mut best = 0;
    for (j, &x) in lane.iter().enumerate() {
        if !lane[best].is_nan() && (x.is_nan() || wins(x, lane[best])) {
            best = j;
        }
    }
    best as i32
}

/// Insertion sort, which is stable.
fn in_order(lane: &[f64]) -> Vec<i32> {
    let mut order: Vec<usize> = Vec::new();
    for (j, &x) in lane.iter().enumerate() {
        let is_behind = |&&i: &&usize| lane[i] > x || lane[i].is_nan() && !x.is_nan();
        let at = order.len() - order.iter().rev().take_while(is_behind).count();
        order.insert(at, j);
    }
    order.into_iter().map(|j| j as i32).collect()
}

fn check_positions<T: Real>() {
    for (shape, axis) in SHAPES {
        let at = hard(shape).mapv(T::of);
        let tape = Tape::new();
        let x = tape.input("x", &at);
        for lowering in LOWERINGS {
            let run = |index: Index| -> ArrayD<i32> {
                let program = tape.compile_with([x], [index], lowering);
                program.run_as::<i32>(&values![at]).unwrap().swap_remove(0)
            };
            let exact = at.mapv(|x| x.as_f64());
            let largest = lanes(&exact, axis, |lane| first(&lane, |x, best| x > best));
            let smallest = lanes(&exact, axis, |lane| first(&lane, |x, best| x < best));
            let name = format!("axis {axis} of {shape:?}, {lowering:?}, {}", T::DTYPE);
            let (argmax, argmin) = (run(x.argmax(axis)), run(x.argmin(axis)));
            assert_eq!(argmax.iter().copied().collect::<Vec<_>>(), largest, "{name}");
            assert_eq!(argmin.iter().copied().collect::<Vec<_>>(), smallest, "{name}");
            let mut without = shape.to_vec();
            without.remove(axis);
            assert_eq!((argmax.shape(), argmin.shape()), (&without[..], &without[..]), "{name}");
            let argsort = run(x.argsort(axis));
            assert_eq!(argsort.shape(), shape, "{name}");
            assert_eq!(lanes(&argsort, axis, |lane| lane), lanes(&exact, axis, |lane| in_order(&lane)), "{name}");
            // And what is computed on the way to it.
            let (twice, sorted) = ((x * 2.0).argsort(axis), (x * 2.0).sort(axis));
            assert_eq!(run(twice), argsort, "{name}");
            let program = tape.compile_with([x], [sorted], lowering);
            let sorted = program.run_as::<T>(&values![at]).unwrap().swap_remove(0).mapv(|x| x.as_f64());
            let doubled =
                |lane: Vec<f64>| in_order(&lane).into_iter().map(|j| 2.0 * lane[j as usize]).collect::<Vec<f64>>();
            let expected = lanes(&exact, axis, doubled);
            for (sorted, expected) in lanes(&sorted, axis, |lane| lane).iter().zip(expected) {
                let equal = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
                assert!(sorted.iter().zip(&expected).all(equal), "{name}: {sorted:?}, not {expected:?}");
            }
        }
    }
}

#[test]
fn positions_are_those_of_loops_in_double_precision() {
    check_positions::<f64>();
}

#[test]
fn positions_are_those_of_loops_in_single_precision() {
    check_positions::<f32>();
}

/// As NumPy gives them.
#[test]
fn positions_among_special_numbers_are_these() {
    let tape = Tape::new();
    let at = |numbers: &[f64]| tape.constant(arr1(numbers));
    let (x, y) = (at(&[1.0, NAN, 3.0, NAN, INFINITY]), at(&[3.0, NAN, 1.0, 1.0, -INFINITY, INFINITY, -0.0, 0.0]));
    assert_eq!((x.argmax(0).value(), x.argmin(0).value()), (arr0(1).into_dyn(), arr0(1).into_dyn()));
    assert_eq!(y.argsort(0).value(), arr1(&[4, 6, 7, 2, 3, 0, 5, 1]).into_dyn());
    let ties = at(&[-INFINITY, 7.0, 7.0, -INFINITY]);
    assert_eq!((ties.argmax(0).value(), ties.argmin(0).value()), (arr0(1).into_dyn(), arr0(0).into_dyn()));
    assert_eq!(at(&[-INFINITY; 3]).argmax(0).value(), arr0(0).into_dyn());
    assert_eq!(at(&[0.0, -0.0]).argmin(0).value(), arr0(0).into_dyn());
    assert_eq!(at(&[-0.0, 0.0]).argmax(0).value(), arr0(0).into_dyn());
    assert_eq!(tape.constant(arr2(&[[2.0, 1.0], [0.0, 3.0]])).argsort(0).value(), arr2(&[[1, 0], [0, 1]]).into_dyn());
    assert_eq!(x.argsort(0).dtype(), DType::I32);
}

#[test]
fn no_derivative_flows_through_a_position() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 4.0, 2.0]));
    for (name, index) in [("argmax", x.argmax(0)), ("argmin", x.argmin(0)), ("argsort", x.argsort(0))] {
        let number = index.cast(DType::F64).sum();
        refused!(&["grad: ", &format!("only through `{name}`"), "lets no derivative pass"], number.grad(x));
        refused!(&["jvp: ", &format!("only through `{name}`")], number.jvp(x, x));
        assert_eq!(number.grad_or_zeros(x).value(), arr1(&[0.0; 3]).into_dyn());
        // Beside a path that is open.
        let loss = (x * (index.cast(DType::F64) + 1.0)).sum();
        assert_eq!(loss.grad(x).value(), loss.jacobian_forward(x).value());
        assert_eq!(loss.hessian(x).value(), ArrayD::zeros(vec![3, 3]));
    }
    assert_eq!((x * x.argmax(0).cast(DType::F64)).sum().grad(x).value(), arr1(&[1.0; 3]).into_dyn());
}

/// d/dx of Σ_i w_i·f(sorted x)_i is that of the places, whatever the ties.
#[test]
fn a_sorted_array_has_the_derivatives_of_its_entries() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[3.0, -1.0, 3.0, 0.5, -1.0]));
    let weights = arr1(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let loss = (x.sort(0).powf(3.0) * &weights).sum();
    // Sorted: −1 (1), −1 (4), 0.5 (3), 3 (0), 3 (2).
    let (numbers, weight) = ([3.0, -1.0, 3.0, 0.5, -1.0], [4.0, 1.0, 5.0, 3.0, 2.0]);
    let diagonal = |f: &dyn Fn(f64) -> f64| Array1::from_iter((0..5).map(|i| weight[i] * f(numbers[i])));
    let first = diagonal(&|x| 3.0 * x * x);
    assert_eq!(loss.grad(x).value(), first.clone().into_dyn());
    assert_eq!(loss.jacobian_forward(x).value(), first.into_dyn());
    let second = Array2::from_diag(&diagonal(&|x| 6.0 * x)).into_dyn();
    assert_eq!(loss.hessian(x).value(), second);
    assert_eq!(loss.grad(x).jacobian_reverse(x).value(), second);
    let third = loss.hessian(x).jacobian_reverse(x).value();
    assert_eq!(third, loss.derivative(x, 3).value());
    let expected = |i: &IxDyn| if i[0] == i[1] && i[1] == i[2] { 6.0 * weight[i[0]] } else { 0.0 };
    assert_eq!(third, ArrayD::from_shape_fn(vec![5, 5, 5], |i| expected(&i)));
}

// Look-ups along an axis.

/// What an index array says along an axis, by a loop.
fn taken(x: &ArrayD<f64>, axis: usize, index: &ArrayD<i32>) -> ArrayD<f64> {
    ArrayD::from_shape_fn(index.raw_dim(), |mut at| {
        at[axis] = index[&at] as usize;
        x[&at]
    })
}

#[test]
fn look_ups_along_an_axis_are_loops_and_their_transposes_are_transposed() {
    let shapes: [(&[usize], usize, usize); 6] =
        [(&[5], 0, 3), (&[4, 3], 0, 6), (&[4, 3], 1, 2), (&[2, 3, 4], 1, 5), (&[2000, 6], 1, 6), (&[30, 200], 0, 40)];
    for (shape, axis, count) in shapes {
        let mut places = shape.to_vec();
        places[axis] = count;
        let (at, index, entries) = (hard(shape), indices(&places, shape[axis]), numbers(&places, -1.0, 1.0));
        let tape = Tape::new();
        let (x, i) = (tape.input("x", &at), tape.index("i", &index));
        let e = tape.input("e", &entries);
        let (take, add) = (x.take_along(axis, i), e.add_along(axis, i, shape[axis]));
        for lowering in LOWERINGS {
            let program = tape.compile_with([Handle::from(x), i.into(), e.into()], [take, add], lowering);
            let results = program.run(&values![at, index, entries]).unwrap();
            assert_close("take_along", &results[0], &taken(&at, axis, &index), 0.0);
            // ⟨add e, y⟩ = ⟨e, take y⟩
            let y = numbers(shape, 0.5, 1.5);
            let (left, right) = ((&results[1] * &y).sum(), (&entries * &taken(&y, axis, &index)).sum());
            assert!((left - right).abs() < 1e-12 * places.iter().product::<usize>() as f64, "{left} {right}");
        }
        let weights = numbers(&places, 0.5, 1.5);
        let mut expected = ArrayD::zeros(at.raw_dim());
        for (mut to, weight) in weights.indexed_iter() {
            to[axis] = index[&to] as usize;
            expected[&to] += weight;
        }
        assert_close("gradient", &weighted(take).grad(x).value(), &expected, 1e-13);
        assert_close(
            "gradient",
            &weighted(add).grad(e).value(),
            &taken(&numbers(shape, 0.5, 1.5), axis, &index),
            1e-15,
        );
    }
}

// Entries replaced.

/// One after the other, so that the last stays.
fn put(x: &ArrayD<f64>, index: &[ArrayD<i32>], values: &ArrayD<f64>, add: bool) -> ArrayD<f64> {
    let mut result = x.clone();
    for (at, _) in index[0].indexed_iter() {
        let mut places = result.view_mut();
        let mut value = values.view();
        for array in index {
            places.index_axis_inplace(Axis(0), array[&at] as usize);
        }
        for axis in 0..at.ndim() {
            value.index_axis_inplace(Axis(0), at[axis]);
        }
        if add { places += &value } else { places.assign(&value) }
    }
    result
}

#[test]
fn entries_are_replaced_one_after_the_other() {
    let shapes: [(&[usize], usize, &[usize]); 9] = [
        (&[4], 1, &[7]),
        (&[4], 1, &[0]),
        (&[4], 1, &[]),
        (&[1], 1, &[3]),
        (&[0, 2], 1, &[0]),
        (&[3, 2], 1, &[2, 4]),
        (&[3, 2], 2, &[9]),
        (&[3, 2, 2], 2, &[9]),
        (&[100, 60], 2, &[5000]),
    ];
    for (shape, axes, places) in shapes {
        let at = numbers(shape, -1.0, 1.0);
        let index: Vec<ArrayD<i32>> = shape[..axes].iter().map(|&length| indices(places, length)).collect();
        let given = numbers(&[places, &shape[axes..]].concat(), 2.0, 3.0);
        let tape = Tape::new();
        let (x, v) = (tape.input("x", &at), tape.input("v", &given));
        let i: Vec<Index> = index.iter().map(|index| tape.index("i", index)).collect();
        for lowering in LOWERINGS {
            let (set, added, seven) = (x.set(&i, v), x.add_at(&i, v), x.set(&i, 7.0));
            let sum = set.sum() + set.set(&i, v).sum();
            let handles = [Handle::from(x), v.into()].into_iter().chain(i.iter().map(|&i| i.into()));
            let program = tape.compile_with(handles, [set, added, seven, sum], lowering);
            let mut values = values![at, given].to_vec();
            values.extend(index.iter().map(Value::from));
            let results = program.run(&values).unwrap();
            let expected = put(&at, &index, &given, false);
            assert_eq!(results[0], expected, "{shape:?} {places:?} {lowering:?}");
            assert_close("add_at", &results[1], &put(&at, &index, &given, true), 1e-13);
            assert_eq!(results[2], put(&at, &index, &(&given * 0.0 + 7.0), false));
            assert!((results[3].sum() - 2.0 * expected.sum()).abs() < 1e-9);
        }
        // Whose number stands where: a loss that tells places apart says, too.
        let marks = numbers(shape, 0.5, 1.5);
        let loss = (x.set(&i, v).square() * &marks).sum() * 0.5;
        let [by_x, by_v] = loss.grad_or_zeros([x, v]);
        let kept = put(&Array1::ones(at.len()).into_shape_with_order(shape).unwrap(), &index, &(&given * 0.0), false);
        assert_close("by what was there", &by_x.value(), &(&at * &marks * kept), 1e-15);
        let mut expected = ArrayD::zeros(given.raw_dim());
        let last = put(&(&at * 0.0 - 1.0), &index, &numbered(given.shape()), false);
        for (place, &number) in last.indexed_iter().filter(|(_, number)| **number >= 0.0) {
            let number = number as usize;
            let flat = expected.as_slice_mut().unwrap();
            flat[number] = given.as_slice().unwrap()[number] * marks[&place];
        }
        assert_close("by what is put there", &by_v.value(), &expected, 1e-15);
        let forward = [loss.jacobian_forward(x).value(), loss.jacobian_forward(v).value()];
        assert_close("forward", &forward[0], &by_x.value(), 1e-15);
        assert_close("forward", &forward[1], &expected, 1e-15);
    }
}

/// 0, 1, 2, … as an array.
fn numbered(shape: &[usize]) -> ArrayD<f64> {
    let count: usize = shape.iter().product();
    Array1::from_iter((0..count).map(|i| i as f64)).into_shape_with_order(shape).unwrap()
}

#[test]
fn bytes_are_replaced_moved_and_looked_up_as_numbers_are() {
    let tape = Tape::new();
    let frames = tape.input("frames", arr2(&[[1_u8, 2], [3, 4], [5, 6]]));
    let i = tape.index("i", arr1(&[2, 0, 2]));
    let set = frames.set([i], tape.constant(arr2(&[[7_u8, 7], [8, 8], [9, 9]])));
    assert_eq!(set.value_as::<u8>(), arr2(&[[8, 8], [3, 4], [9, 9]]).into_dyn());
    assert_eq!(frames.set([i], arr1(&[0_u8, 1])).value_as::<u8>(), arr2(&[[0, 1], [3, 4], [0, 1]]).into_dyn());
    assert_eq!(frames.flip(0).roll(1, 1).value_as::<u8>(), arr2(&[[6, 5], [4, 3], [2, 1]]).into_dyn());
    let along = tape.index("along", arr2(&[[1], [0], [1]]));
    assert_eq!(frames.take_along(1, along).value_as::<u8>(), arr2(&[[2], [3], [6]]).into_dyn());
    refused!(&["set: ", "u8", "`cast`"], frames.set([i], 1.0));
    refused!(&["argmax: ", "u8", "`cast`"], frames.argmax(0));
    refused!(
        &["scatter_add: needs floating-point numbers, got u8"],
        frames.add_along(0, i.insert_axis(1).repeat(1, 2), 3)
    );
}

// How entries are moved.

#[test]
fn entries_are_turned_round_rolled_repeated_and_tiled() {
    let tape = Tape::new();
    let x = tape.input("x", arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    let is = |y: Var, rows: &[&[f64]]| {
        let expected = Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j]);
        assert_eq!(y.value(), expected.into_dyn());
    };
    is(x.flip(0), &[&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]]);
    is(x.flip(1), &[&[3.0, 2.0, 1.0], &[6.0, 5.0, 4.0]]);
    for by in [1, 4, -2, -5] {
        is(x.roll(1, by), &[&[3.0, 1.0, 2.0], &[6.0, 4.0, 5.0]]);
    }
    is(x.roll(0, 3), &[&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]]);
    is(x.roll(1, 0), &[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
    is(x.slice(1, 0..2).repeat(1, 2), &[&[1.0, 1.0, 2.0, 2.0], &[4.0, 4.0, 5.0, 5.0]]);
    is(x.slice(1, 0..2).tile(1, 2), &[&[1.0, 2.0, 1.0, 2.0], &[4.0, 5.0, 4.0, 5.0]]);
    is(x.repeat(0, 2).slice(0, 0..2), &[&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]]);
    is(x.set_slice(1, 1, x.slice(1, 0..2)), &[&[1.0, 1.0, 2.0], &[4.0, 4.0, 5.0]]);
    let i = tape.index("i", arr1(&[3, 1]));
    assert_eq!(i.flip(0).repeat(0, 2).value(), arr1(&[1, 1, 3, 3]).into_dyn());
    assert_eq!(i.tile(0, 2).value(), arr1(&[3, 1, 3, 1]).into_dyn());
    // Turned round twice is nothing, and what is repeated is turned round once for all.
    let text =
        tape.compile([x], [x.flip(0).flip(0).exp(), (x.sum_axes(&[0]).broadcast_to(&[4, 3]).flip(0) * x.sum()).sum()]);
    assert!(!text.to_string().contains("flip"), "{text}");
    let rows = Array2::from_shape_fn((3000, 4), |(i, j)| (i * 4 + j) as f64);
    let x = tape.input("rows", &rows);
    let program = tape.compile([x], [(x.flip(1) * 2.0).flip(0) + x]);
    let flipped = rows.slice(ndarray::s![..;-1, ..;-1]).mapv(|x| 2.0 * x) + &rows;
    assert_eq!(program.run(&values![rows]).unwrap()[0], flipped.into_dyn());
}

// Programs, loops, maps and limits.

#[test]
fn a_position_is_a_result_of_a_program_as_numbers_are() {
    let tape = Tape::new();
    let q = tape.input("q", arr2(&[[0.0_f32, 1.0], [2.0, 1.0]]));
    let (best, value) = (q.argmax(1), q.max_axes(&[1]));
    let program = tape.compile([q], [Handle::from(best), value.into()]);
    let at = arr2(&[[5.0_f32, 4.0], [3.0, 4.0]]);
    let results = program.run_values(&values![at]).unwrap();
    assert_eq!(results[0], Value::from(arr1(&[0, 1])));
    assert_eq!(results[1], Value::from(arr1(&[5.0_f32, 4.0])));
    assert_eq!(program.check_finite(&values![at]), Ok(()));
    assert!(matches!(program.run(&values![at]), Err(Error::ResultDtype { result: 0, dtype: DType::I32, .. })));
    let program = tape.compile([q], [best]);
    assert_eq!(program.run_as::<i32>(&values![at]).unwrap()[0], arr1(&[0, 1]).into_dyn());
    let mut into = [arr1(&[9, 9]).into_dyn()];
    program.run_into_as(&values![at], &mut into).unwrap();
    assert_eq!(into[0], arr1(&[0, 1]).into_dyn());
    // What is given comes out.
    let i = tape.index("i", arr1(&[1, 2]));
    let program = tape.compile([i], [i, i.flip(0)]);
    assert_eq!(program.run_as::<i32>(&values![arr1(&[3, 4])]).unwrap()[1], arr1(&[4, 3]).into_dyn());
    assert!(tape.compile([q], [best]).to_string().contains("argmax"));
}

/// A loop that sorts, looks up and replaces within its body.
#[test]
fn a_loop_that_chooses_is_the_loop_written_out() {
    let tape = Tape::new();
    let (x, steps) = (tape.input("x", arr1(&[0.3, -0.8, 0.6])), tape.input("s", numbers(&[4, 3], -1.0, 1.0)));
    let which = tape.index("which", arr1(&[2, 0, 0, 1]));
    let next = |carry: Var, step: Var, i: Index| {
        let sorted = (carry * step + step).sort(0);
        let set = sorted.set([i.reshape(&[1])], carry.gather([carry.argmax(0)]).square());
        set.tanh() + carry.take_along(0, step.argsort(0)) * 0.5
    };
    let carries =
        fold(x, [Handle::from(steps), which.into()], |carry, step| next(carry, step[0].var(), step[1].index()));
    let looped = carries.at(0, 3);
    let unrolled = (0..4).fold(x, |carry, k| next(carry, steps.at(0, k), which.at(0, k)));
    assert_close("value", &looped.value(), &unrolled.value(), 1e-15);
    let (looped, unrolled) = (weighted(looped), weighted(unrolled));
    for wrt in [x, steps] {
        assert_close("gradient", &looped.grad(wrt).value(), &unrolled.grad(wrt).value(), 1e-14);
        assert_close("forward", &looped.jacobian_forward(wrt).value(), &unrolled.grad(wrt).value(), 1e-14);
        assert_close("Hessian", &looped.hessian(wrt).value(), &unrolled.hessian(wrt).value(), 1e-13);
    }
}

#[test]
fn positions_within_a_map_are_those_of_a_loop() {
    let tape = Tape::new();
    for rows in [3, 2000] {
        let at = hard(&[rows, 4]);
        let x = tape.input("x", &at);
        let f = |x: Var| {
            x.argmax(0).cast(DType::F64) * 100.0 + (x.argsort(0).cast(DType::F64) * arr1(&[1.0, 4.0, 16.0, 64.0])).sum()
        };
        let mapped = vmap_many(|x| f(x[0].var()), [x]).value();
        for (k, row) in at.outer_iter().enumerate() {
            let lane = row.iter().copied().collect::<Vec<_>>();
            let order: f64 = in_order(&lane).iter().zip([1.0, 4.0, 16.0, 64.0]).map(|(&j, w)| f64::from(j) * w).sum();
            assert_eq!(mapped[[k]], f64::from(first(&lane, |x, best| x > best)) * 100.0 + order, "row {k}");
        }
    }
}

#[test]
fn a_limit_on_derivatives_holds_where_its_gradient_is_sorted_or_put_somewhere() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.5, 2.0]));
    let limit = DerivativeLimit::new("my surrogate", 1, "take another one");
    let gradient = limit.apply(x.square().sum()).grad(x);
    assert_eq!(gradient.sort(0).value(), arr1(&[1.0, 4.0]).into_dyn());
    let words = ["my surrogate", "order 2"];
    refused!(&words, gradient.sort(0).at(0, 0).grad(x));
    refused!(&words, x.set([tape.index("i", vec![0])], gradient.at(0, 1)).sum().grad(x));
    // A choice by the gradient is no derivative of it.
    let chosen = x.gather([gradient.argmax(0)]);
    assert_eq!(chosen.square().grad(x).value(), arr1(&[0.0, 4.0]).into_dyn());
}

// How indices are made.

#[test]
fn what_rust_indexes_by_becomes_indices() {
    let tape = Tape::new();
    let expected = arr1(&[2, 0, 1]).into_dyn();
    let numbers = vec![2_usize, 0, 1];
    assert_eq!(tape.index("i", numbers.clone()).value(), expected);
    assert_eq!(tape.index("i", &numbers[..]).value(), expected);
    assert_eq!(tape.index("i", Array1::from_vec(numbers.clone())).value(), expected);
    let array = Array1::from_vec(numbers.clone());
    assert_eq!(tape.index("i", &array).value(), expected);
    let view = array.slice(ndarray::s![..;2]);
    assert_eq!(tape.index("i", &view).value(), arr1(&[2, 1]).into_dyn());
    assert_eq!(tape.index("i", 7_usize).value(), arr0(7).into_dyn());
    assert_eq!(tape.index("i", vec![2, 0, 1]).value(), expected);
    assert_eq!(tape.index("i", i32::MAX as usize).value(), arr0(i32::MAX).into_dyn());
    assert_eq!(tape.constant_index(numbers.clone()).value(), expected);
    assert_eq!(tape.constant_index(arr1(&[2, 0, 1])).value(), expected);
    assert_eq!(Index::constant(tape.constant(1.0), numbers.clone()).value(), expected);
    assert_eq!(tape.range_index(3).value(), arr1(&[0, 1, 2]).into_dyn());
    assert_eq!(tape.range_index(0).value().len(), 0);
    assert_eq!(tape.input("x", vec![1.0, 2.0]).value(), arr1(&[1.0, 2.0]).into_dyn());
    // A program takes them, too.
    let i = tape.index("i", vec![0_usize, 1, 2]);
    let program = tape.compile([i], [i]);
    assert_eq!(program.run_as::<i32>(&[numbers.into()]).unwrap()[0], expected);
    // An argument that changes is no constant of the program; a constant is.
    let x = tape.input("x", arr1(&[1.0, 2.0, 3.0]));
    let program = tape.compile([x], [x.gather([tape.range_index(3).flip(0)])]);
    assert_eq!(program.run(&values![arr1(&[4.0, 5.0, 6.0])]).unwrap()[0], arr1(&[6.0, 5.0, 4.0]).into_dyn());
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_number_that_no_index_can_be_is_refused_by_name_where_it_is_given() {
    let tape = Tape::new();
    let large = 1_usize << 31;
    let words = ["index 2147483648 at position 1 is more than the largest 32-bit index, 2147483647"];
    refused!(&words, tape.index("i", vec![0, large]));
    refused!(&words, tape.index("i", &[0, large][..]));
    refused!(&words, tape.constant_index(arr1(&[0, large])));
    refused!(&words, Value::from(&arr1(&[0, large])));
    refused!(&["index 2147483648 at position 0"], tape.index("i", large));
    refused!(&["constant index: needs integers of type i32, got an array of f64"], tape.constant_index(arr1(&[0.0])));
    refused!(&["constant: integers are recorded by `Tape::constant_index`"], tape.constant(arr1(&[0])));
    refused!(&["range_index: 4294967296 rows"], tape.range_index(1 << 32));
}

#[test]
fn labels_are_rows_of_zeros_and_a_one() {
    let tape = Tape::new();
    let labels = tape.index("labels", arr2(&[[2, 0], [1, 1]]));
    let expected = ArrayD::from_shape_fn(vec![2, 2, 3], |i| f64::from(u8::from([[2, 0], [1, 1]][i[0]][i[1]] == i[2])));
    assert_eq!(labels.one_hot(3).value(), expected);
    assert_eq!(tape.index("label", 1).one_hot(2).value(), arr1(&[0.0, 1.0]).into_dyn());
    assert_eq!(tape.index("none", Vec::<usize>::new()).one_hot(2).value().shape(), [0, 2]);
    assert_eq!(tape.index("none", Vec::<usize>::new()).one_hot(0).value().shape(), [0, 0]);
    // With a matrix it looks up rows.
    let (w, many) = (tape.input("w", numbers(&[5, 3], -1.0, 1.0)), tape.index("many", indices(&[3000], 5)));
    let (product, looked_up) = (many.one_hot(5).matmul(w), w.gather([many]));
    assert_close("rows", &product.value(), &looked_up.value(), 1e-15);
    assert_close("their gradient", &weighted(product).grad(w).value(), &weighted(looked_up).grad(w).value(), 1e-11);
}

// What is refused.

#[test]
fn shapes_that_do_not_fit_are_refused_with_their_place() {
    let tape = Tape::new();
    let (x, none) = (tape.input("x", numbers(&[2, 3], 0.0, 1.0)), tape.input("none", Array2::<f64>::zeros((0, 3))));
    let i = tape.index("i", arr1(&[0, 1]));
    let square = tape.index("square", arr2(&[[0, 1], [1, 0]]));
    refused!(&["argmax: the largest of no entries, along axis 0 of shape [0, 3]"], none.argmax(0));
    refused!(&["argmin: the smallest of no entries, along axis 0 of shape [0, 3]"], none.argmin(0));
    refused!(&["min_axes: the minimum of no entries, in axes [0] of shape [0, 3]"], none.min_axes(&[0]));
    refused!(&["argmax: axis 2 of shape [2, 3], which has 2"], x.argmax(2));
    refused!(&["argsort: axis 2 of shape [2, 3], which has 2"], x.argsort(2));
    refused!(&["argsort: axis 0 of shape [], which has 0"], x.sum().argsort(0));
    refused!(&["sort: axis 2 of shape [2, 3], which has 2"], x.sort(2));
    refused!(&["flip: axis 2 of shape [2, 3], which has 2"], x.flip(2));
    refused!(&["roll: axis 2 of shape [2, 3], which has 2"], x.roll(2, 1));
    refused!(&["repeat: axis 2 of shape [2, 3], which has 2"], x.repeat(2, 1));
    refused!(&["tile: axis 2 of shape [2, 3], which has 2"], x.tile(2, 1));
    refused!(&["larger than any memory"], x.tile(1, usize::MAX));
    refused!(&["take_along: an index array of shape [2] along axis 0 of shape [2, 3]"], x.take_along(0, i));
    refused!(&["take_along: an index array of shape [2, 2] along axis 0 of shape [2, 3]"], x.take_along(0, square));
    refused!(&["take_along: axis 2 of shape [2, 3], which has 2"], x.take_along(2, square));
    refused!(
        &["add_along: an array of shape [2, 3] needs an index array of this shape, got [2, 2]"],
        x.add_along(1, square, 3)
    );
    refused!(&["set: values of shape [3, 2] for entries of shape [2, 3]"], x.set([i], x.t()));
    refused!(
        &["add_at: values of shape [4, 2, 3] for entries of shape [2, 3]"],
        x.add_at([i], ArrayD::<f64>::zeros(vec![4, 2, 3]))
    );
    refused!(&["set: index arrays of different shapes, [2] and [2, 2]"], x.set([i, square], 1.0));
    refused!(&["set: 3 index arrays for the leading axes of shape [2, 3]"], x.set([i, i, i], 1.0));
    refused!(&["set: 0 index arrays for the leading axes of shape [2, 3]"], x.set([], 1.0));
    refused!(&["set: operands of types f64 and f32"], x.set([i], tape.input("f", 1.0_f32)));
    refused!(
        &["set_slice: values of shape [2, 2] do not fit into an array of shape [2, 3] from 2 on along axis 1"],
        x.set_slice(1, 2, x.slice(1, 0..2))
    );
    refused!(
        &["set_slice: values of shape [2, 3] do not fit", "from 18446744073709551615 on"],
        x.set_slice(1, usize::MAX, x)
    );
    refused!(
        &["set_slice: values of shape [3] do not fit into an array of shape [2, 3]"],
        x.set_slice(0, 0, x.at(0, 0))
    );
    refused!(&["scatter_add", "[2, 3]", "axis 1"], x.scatter_add_along(1, [i], &[4]));
    let other = Tape::new();
    refused!(&["take_along: operands of two tapes"], x.take_along(0, other.index("i", arr2(&[[0, 0, 0]]))));
    refused!(&["set: operands of two tapes"], x.set([other.index("i", arr1(&[0]))], 1.0));
    refused!(&["set: operands of two tapes"], x.set([i], other.input("v", 1.0)));
    refused!(&["set_slice: operands of two tapes"], x.set_slice(0, 0, other.input("v", arr2(&[[1.0, 2.0, 3.0]]))));
}

/// An index out of range is the user's look-up's, also where it is met by a derivative, mapped or not, lowered or not.
#[test]
fn an_index_out_of_range_is_reported_for_what_the_user_wrote() {
    let tape = Tape::new();
    let x = tape.input("x", numbers(&[4, 3], -1.0, 1.0));
    let along = tape.index("along", Array2::<i32>::zeros((4, 3)));
    let rows = tape.index("rows", Array1::<i32>::zeros(2));
    type Case<'a> = (&'static str, u32, Var, Index, usize, usize);
    let cases: [Case<'_>; 6] = [
        ("take_along", line!(), x.sin().take_along(1, along), along, 1, 3),
        ("add_along", line!(), x.sin().add_along(1, along, 2), along, 1, 2),
        ("set", line!(), x.sin().set([rows], x.at(0, 1)), rows, 0, 4),
        ("add_at", line!(), x.sin().add_at([rows], x.at(0, 1)), rows, 0, 4),
        ("scatter_add_along", line!(), x.slice(1, 0..2).scatter_add_along(1, [rows], &[5]), rows, 1, 5),
        ("one_hot", line!(), rows.one_hot(4) * x.sum(), rows, 1, 4),
    ];
    for (name, line, result, index, axis, length) in cases {
        for derivative in [result, weighted(result.sin()).grad_or_zeros(x), weighted(result.sin()).hvp(x, x)] {
            for lowering in LOWERINGS {
                let program: Program = tape.compile_with([Handle::from(x), index.into()], [derivative], lowering);
                for wrong in [-1, length as i32] {
                    let mut integers = index.value();
                    integers.as_slice_mut().unwrap()[1] = wrong;
                    let outcome = program.run(&values![numbers(&[4, 3], -1.0, 1.0), integers]);
                    let Err(Error::IndexOutOfRange { operation, location, index, position, axis: at, length: of }) =
                        outcome
                    else {
                        panic!("{name} {lowering:?}: {outcome:?}")
                    };
                    assert_eq!((operation, index, position, at, of), (name, wrong, 1, axis, length));
                    assert!(location.to_string().contains(&place(line)), "{name}: {location}");
                }
            }
        }
    }
    // Where it is recorded, if the numbers are there.
    let bad = tape.index("bad", arr1(&[0, 9]));
    let words = |name: &str, axis: usize, length: usize| {
        format!("{name}: index 9 at position 1 is outside axis {axis}, which has length {length}")
    };
    refused!(&[&words("set", 0, 4)], x.set([bad], 1.0));
    refused!(&[&words("add_at", 0, 4)], x.add_at([bad], 1.0));
    refused!(&[&words("take_along", 0, 3)], x.at(0, 0).take_along(0, bad));
    refused!(&[&words("add_along", 0, 5)], x.at(0, 0).slice(0, 0..2).add_along(0, bad, 5));
    refused!(&[&words("one_hot", 1, 9)], bad.one_hot(9));
    refused!(&[&words("scatter_add_along", 1, 9)], x.slice(1, 0..2).scatter_add_along(1, [bad], &[9]));
    refused!(&[&words("gather_along", 1, 3)], x.gather_along(1, [bad]));
}

// Sums of products by names.

/// Σ over all assignments of numbers to letters, of a product.
fn summed(subscripts: &str, operands: &[ArrayD<f64>]) -> ArrayD<f64> {
    let (given, out) = subscripts.split_once("->").unwrap();
    let given: Vec<&str> = given.split(',').collect();
    let mut lengths: Vec<(char, usize)> = Vec::new();
    for (names, x) in given.iter().zip(operands) {
        for (name, &length) in names.chars().zip(x.shape()) {
            if !lengths.contains(&(name, length)) {
                lengths.push((name, length));
            }
        }
    }
    let all: Vec<usize> = lengths.iter().map(|(_, length)| *length).collect();
    let number = |name: char| lengths.iter().position(|(other, _)| *other == name).unwrap();
    let place = |names: &str, at: &IxDyn| -> Vec<usize> { names.chars().map(|name| at[number(name)]).collect() };
    let shape: Vec<usize> = out.chars().map(|name| all[number(name)]).collect();
    let mut sums = ArrayD::zeros(shape);
    for (at, _) in ArrayD::<u8>::zeros(all).indexed_iter() {
        let product: f64 = given.iter().zip(operands).map(|(names, x)| x[place(names, &at).as_slice()]).product();
        sums[place(out, &at).as_slice()] += product;
    }
    sums
}

#[test]
fn sums_of_products_by_names_are_loops_over_all_names() {
    let cases: [(&str, &[&[usize]]); 24] = [
        ("ij->ij", &[&[2, 3]]),
        ("ij->ji", &[&[2, 3]]),
        ("ijk->ki", &[&[2, 3, 2]]),
        ("ij->", &[&[2, 3]]),
        ("->", &[&[]]),
        ("i->i", &[&[0]]),
        ("nd,kd->nk", &[&[3, 2], &[1, 2]]),
        ("nd,kd->kn", &[&[3, 4], &[2, 4]]),
        ("ij,jk->ik", &[&[2, 3], &[3, 2]]),
        ("ij,jk->k", &[&[2, 3], &[3, 1]]),
        ("i,j->ij", &[&[2], &[3]]),
        ("i,j->ji", &[&[2], &[3]]),
        ("i,i->", &[&[3], &[3]]),
        ("i,i->i", &[&[3], &[3]]),
        ("ij,ij->i", &[&[2, 3], &[2, 3]]),
        ("ij,ji->j", &[&[2, 3], &[3, 2]]),
        (",ij->ji", &[&[], &[2, 3]]),
        ("bij,bjk->bik", &[&[2, 1, 3], &[2, 3, 2]]),
        ("bthd,bshd->bhts", &[&[2, 2, 1, 2], &[2, 1, 1, 2]]),
        ("aibj,jbk->kai", &[&[2, 1, 3, 1], &[1, 3, 2]]),
        ("ab,cd->", &[&[2, 3], &[1, 2]]),
        ("ij,jk->ik", &[&[2, 0], &[0, 3]]),
        ("ij,jk->ik", &[&[0, 2], &[2, 3]]),
        ("bi,bi->b", &[&[2, 0], &[2, 0]]),
    ];
    for (subscripts, shapes) in cases {
        let at: Vec<ArrayD<f64>> = shapes.iter().map(|shape| numbers(shape, -1.0, 1.0)).collect();
        let tape = Tape::new();
        let x: Vec<Var> = at.iter().map(|x| tape.input("x", x)).collect();
        let spaced = subscripts.replace(',', " , ").replace("->", " -> ");
        assert_close(subscripts, &ad::einsum(&spaced, &x).value(), &summed(subscripts, &at), 1e-14);
        let f = |x: &[Var]| {
            let inner: Vec<Var> = x.iter().map(|x| x.sin() + *x).collect();
            (ad::einsum(subscripts, &inner) * 0.7).tanh()
        };
        check_gradients(f, &at, 3, Modes::Both).unwrap_or_else(|problem| panic!("{subscripts}: {problem}"));
        // Mapped over each.
        let doubled: Vec<ArrayD<f64>> = at.iter().map(|x| x * 2.0).collect();
        let batch: Vec<Handle> = (at.iter().zip(&doubled))
            .map(|(x, twice)| tape.input("x", ndarray::stack![Axis(0), x.view(), twice.view()]).into())
            .collect();
        let vars = |x: &[Handle]| x.iter().map(|x| x.var()).collect::<Vec<_>>();
        let mapped = vmap_many(|x| ad::einsum(subscripts, &vars(x)), &batch).value();
        assert_close(subscripts, &common::example(&mapped, 0), &summed(subscripts, &at), 1e-13);
        assert_close(subscripts, &common::example(&mapped, 1), &summed(subscripts, &doubled), 1e-13);
    }
    // One variable twice.
    let tape = Tape::new();
    let x = tape.input("x", numbers(&[3, 2], -1.0, 1.0));
    let (gram, product) = (ad::einsum("ij,kj->ik", &[x, x]), x.matmul(x.t()));
    assert_close("gradient", &weighted(gram).grad(x).value(), &weighted(product).grad(x).value(), 1e-14);
}

#[test]
fn a_text_that_names_no_sum_of_products_is_refused() {
    let tape = Tape::new();
    let (x, y) = (tape.input("x", numbers(&[2, 3], 0.0, 1.0)), tape.input("y", numbers(&[3, 2], 0.0, 1.0)));
    refused!(&["einsum: `ij,jk` has no `->`"], ad::einsum("ij,jk", &[x, y]));
    refused!(&["einsum: `ij->ij` is of 1 arrays, and 2 are given"], ad::einsum("ij->ij", &[x, y]));
    refused!(&["einsum: `ij->ij` is of 1 arrays, and 0 are given"], ad::einsum("ij->ij", &[]));
    refused!(&["is of 3 arrays, and 3 are given (there can be one or two)"], ad::einsum("ij,jk,k->i", &[x, y, y]));
    refused!(&["einsum: `...i->i` has `.`, which is no letter"], ad::einsum("...i->i", &[x]));
    refused!(&["einsum: `ij->i->j` has `-`, which is no letter"], ad::einsum("ij->i->j", &[x]));
    refused!(&["einsum: `ii->i` has `i` twice in one array"], ad::einsum("ii->i", &[x]));
    refused!(&["einsum: `ij->ii` has `i` twice in one array"], ad::einsum("ij->ii", &[x]));
    refused!(&["einsum: `ij->ik` has `k` behind the arrow alone"], ad::einsum("ij->ik", &[x]));
    refused!(&["einsum: `i->i` names 1 axes of an array of shape [2, 3]"], ad::einsum("i->i", &[x]));
    refused!(&["einsum: `ij,kj->ik` has `j` for axes of lengths 3 and 2"], ad::einsum("ij,kj->ik", &[x, y]));
    refused!(&["einsum: operands of types f64 and f32"], ad::einsum("ij,jk->ik", &[x, y.cast(DType::F32)]));
    let other = Tape::new();
    refused!(&["einsum: operands of two tapes"], ad::einsum("ij,->ij", &[x, other.input("z", 1.0)]));
}
