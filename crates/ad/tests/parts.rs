//! Arrays that are read by parts: by slices, windows, columns and look-ups, one at a time. Derivatives are right, and what
//! they take grows as what is read.

mod common;

use ad::{DType, DerivativeLimit, Index, Modes, Program, Tape, Var, check_gradients, values, vmap};
use common::{assert_close, grid, numbers};
use ndarray::{Array2, arr0};

/// h ← tanh(0.5·h + x_t), over all rows, each read by `row`.
fn recurrence(x: Var, row: impl Fn(Var, usize) -> Var) -> Var {
    let steps = x.shape()[0];
    let start = x.at(0, 0).full_like(0.1);
    (0..steps).fold(start, |h, t| (h * 0.5 + row(x, t)).tanh()).square().sum()
}

fn by_slice(x: Var, t: usize) -> Var {
    x.at(0, t)
}

fn by_look_up(x: Var, t: usize) -> Var {
    x.gather([Index::constant(x, arr0(t as i32))])
}

fn by_pair(x: Var, t: usize) -> Var {
    let (row, columns) = (ndarray::arr1(&[t as i32; 3]), ndarray::arr1(&[2, 0, 1]));
    x.gather([Index::constant(x, row), Index::constant(x, columns)])
}

#[test]
fn derivatives_by_parts_are_those_of_finite_differences() {
    let at = grid(&[12, 3], 0.2);
    for (name, row) in [("slices", by_slice as fn(Var, usize) -> Var), ("look-ups", by_look_up), ("pairs", by_pair)] {
        let outcome = check_gradients(|x| recurrence(x[0], row), std::slice::from_ref(&at), 3, Modes::Both);
        assert!(outcome.is_ok(), "{name}: {}", outcome.unwrap_err());
    }
}

#[test]
fn parts_that_overlap_leave_gaps_or_are_the_same_are_added() {
    // Windows, the same part again, one entry and all of it, prefixes, a gap, and an empty part.
    let ranges = [(0, 3), (1, 4), (2, 5), (3, 6), (1, 4), (6, 7), (0, 8), (0, 1), (0, 2), (5, 5), (7, 8), (4, 5)];
    for axis in [0, 1] {
        let shape = if axis == 0 { [8, 2] } else { [2, 8] };
        let f = |x: &[Var]| {
            let weigh = |(i, &(start, end)): (usize, &(usize, usize))| {
                (x[0].slice(axis, start..end).square() * (i as f64 + 1.0)).exp().sum()
            };
            ranges.iter().enumerate().map(weigh).reduce(|sum, part| sum + part).unwrap() + x[0].sin().sum()
        };
        let outcome = check_gradients(f, &[numbers(&shape, -0.3, 0.3)], 3, Modes::Both);
        assert!(outcome.is_ok(), "axis {axis}: {}", outcome.unwrap_err());
    }
}

#[test]
fn parts_of_parts_and_along_two_axes_are_added() {
    let f = |x: &[Var]| {
        let entry = |i: usize| x[0].at(0, i / 4).at(0, i % 4);
        let entries = (1..20).fold(entry(0), |sum, i| sum * 0.5 + (entry(i) * entry(i - 1)).sin());
        let columns = (0..4).fold(x[0].at(1, 0), |sum, i| (sum + x[0].at(1, i)).tanh());
        entries.exp() + columns.sum()
    };
    let outcome = check_gradients(f, &[grid(&[5, 4], 0.1)], 3, Modes::Both);
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
}

#[test]
fn a_limit_is_followed_through_parts() {
    let tape = Tape::new();
    let x = tape.input("x", grid(&[4, 2], 0.3));
    let limit = DerivativeLimit::new("surrogate", 1, "use another");
    let surrogate = limit.apply(recurrence(x, by_slice));
    let gradient = surrogate.grad(x);
    let free = x.at(0, 0).square().sum();
    // What is not the surrogate's may be differentiated again, beside it and through it.
    let second = (free.grad(x) + gradient.stop_gradient()).square().sum().grad(x);
    assert!(second.value().iter().all(|entry| entry.is_finite()));
    let beyond = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gradient.square().sum().grad(x)));
    assert!(beyond.is_err(), "the surrogate's second derivative is refused");
}

/// The gradient's program, of a recurrence over so many rows.
fn gradient(steps: usize, row: fn(Var, usize) -> Var, dtype: DType) -> Program {
    let tape = Tape::new();
    let x = tape.input("x", grid(&[steps, 3], 0.2));
    tape.compile([x], [recurrence(x.cast(dtype), row).cast(DType::F64).grad(x)])
}

#[test]
fn what_a_gradient_takes_grows_as_the_number_of_parts() {
    for dtype in [DType::F64, DType::F32] {
        for row in [by_slice as fn(Var, usize) -> Var, by_look_up, by_pair] {
            let [few, many] = [200, 800].map(|steps| gradient(steps, row, dtype).cost());
            assert!(many.operations <= 4 * few.operations + 20, "{many}, and a quarter of it takes {few}");
            assert!(many.flops <= 4 * few.flops + 200, "{many}, and a quarter of it takes {few}");
            assert!(many.bytes <= 4 * few.bytes + 2000, "{many}, and a quarter of it takes {few}");
            assert!(many.peak_memory <= 4 * few.peak_memory + 2000, "{many}, and a quarter of it takes {few}");
        }
    }
}

#[test]
fn a_second_derivative_grows_as_the_number_of_parts_too() {
    let product = |steps: usize| {
        let tape = Tape::new();
        let x = tape.input("x", grid(&[steps, 3], 0.2));
        let v = tape.input("v", grid(&[steps, 3], 0.4));
        tape.compile([x, v], [recurrence(x, by_slice).hvp(x, v)]).cost()
    };
    let [few, many] = [100, 400].map(product);
    assert!(many.flops <= 4 * few.flops + 400 && many.bytes <= 4 * few.bytes + 4000, "{many}; of a quarter {few}");
    assert!(many.operations <= 4 * few.operations + 20, "{many}, and a quarter of it takes {few}");
}

#[test]
fn columns_read_under_a_map_are_what_separate_arrays_are() {
    let (rows, columns) = (700, 6);
    let numbers = Array2::from_shape_fn((rows, columns), |(i, j)| ((i * columns + j) as f64).sin());
    let f = |c: &[Var]| (1..c.len()).fold(c[0].square(), |sum, j| sum + (c[j] * c[j - 1]).sin());
    let tape = Tape::new();
    let x = tape.input("x", &numbers);
    let of_columns = |row: Var| f(&(0..columns).map(|j| row.at(0, j)).collect::<Vec<_>>());
    let together = tape.compile([x], [vmap(of_columns, x).sum().grad(x)]);
    let separate: Vec<Var> =
        numbers.columns().into_iter().map(|column| tape.input("column", column.to_owned())).collect();
    let apart = Var::stack(&f(&separate).sum().grad(&separate), 1);
    assert_close("gradient", &together.run(&values![numbers]).unwrap()[0], &apart.value(), 1e-14);
    let (one, other) = (together.cost(), tape.compile(separate, [apart]).cost());
    assert!(one.flops <= other.flops + rows * columns, "{one}, and apart {other}");
}
