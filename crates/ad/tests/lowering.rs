//! Lowering: each rule alone does what it says, and lowered programs give the numbers of plain ones.

mod common;

use ad::{DType, Index, Lowering, Program, Tape, Var};
use common::{assert_close, numbers};
use ndarray::{Array1, Array2, ArrayD, arr1, arr2};
use proptest::prelude::*;

/// Numbers without a pattern.
fn random(shape: &[usize], seed: usize) -> ArrayD<f64> {
    numbers(shape, -1.0, 1.0).mapv(|x| (x * 7.3 + seed as f64 * 1.7).sin())
}

/// The operations of a program, in order, by name.
fn operations(program: &Program) -> Vec<String> {
    let name = |line: &str| Some(line.split_once(" = ")?.1.split_once('(')?.0.to_owned());
    program.to_string().lines().filter(|line| !line.starts_with("const")).filter_map(name).collect()
}

/// Compiles f(x, y), x and y of shapes [6, 4], with and without lowering, and compares their numbers; gives the
/// operations that are left.
fn lowered(f: impl Fn(Var, Var, Index) -> Var) -> Vec<String> {
    let tape = Tape::new();
    let (x, y) = (tape.input("x", random(&[6, 4], 1)), tape.input("y", random(&[6, 4], 2)));
    let index = tape.index("index", Array1::from_iter((0..24).map(|i| i * 5 % 6)));
    let result = f(x, y, index);
    let replayed = Array1::from_iter((0..24).map(|i| i * 7 % 6));
    let values: [ad::Value<'_>; 3] = [random(&[6, 4], 3).into(), random(&[6, 4], 4).into(), replayed.into()];
    let compile = |lowering| tape.compile_with([ad::Handle::from(x), y.into(), index.into()], [result], lowering);
    let (on, off) = (compile(Lowering::On), compile(Lowering::Off));
    let (a, b) = (on.run(&values).unwrap(), off.run(&values).unwrap());
    assert_close("lowered", &a[0], &b[0], 1e-13);
    operations(&on)
}

#[test]
fn a_magic_box_is_one_and_barriers_are_nothing() {
    assert_eq!(lowered(|x, y, _| x * y.magic_box() + y.stop_gradient()), ["plus"]);
}

#[test]
fn what_is_one_number_everywhere_is_computed_once() {
    assert_eq!(lowered(|x, y, _| (y.magic_box() * 2.0).exp().sin() + x), ["plus"]);
    assert_eq!(lowered(|x, y, _| y.magic_box().sum() * x), ["times"]);
}

#[test]
fn neutral_elements_vanish() {
    assert_eq!(lowered(|x, _, _| x * 1.0 / 1.0 + 0.0 - 0.0), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| 1.0 * (0.0 + x)), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| -(-x)), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| 0.0 - x * -1.0), Vec::<String>::new());
}

#[test]
fn a_product_with_zero_is_kept_because_it_may_be_nan() {
    assert_eq!(lowered(|x, _, _| x * 0.0), ["times"]);
}

#[test]
fn constant_factors_are_one_and_leave_sums_scans_and_scatters() {
    assert_eq!(lowered(|x, _, _| 2.0 * (x * 3.0)), ["times"]);
    assert_eq!(lowered(|x, _, _| (x * 3.0).sum() * 2.0), ["sum", "times"]);
    assert_eq!(lowered(|x, y, _| (-x).scan(y, 1) * 2.0), ["scan", "times"]);
    assert_eq!(lowered(|x, _, i| (x.reshape(&[24]) * 3.0).scatter_add([i], &[6]) * 2.0), ["scatter_add", "times"]);
    assert_eq!(lowered(|x, _, _| (x * 3.0).t() * 2.0), ["transpose", "times"]);
    // A sum of what is divided stays in range where the divided sum leaves it; and so for the other two.
    assert_eq!(lowered(|x, _, _| (x * 0.25).sum()), ["times", "sum"]);
    assert_eq!(lowered(|x, y, _| (x * 3.0).scan(y, 1)), ["times", "scan"]);
    assert_eq!(lowered(|x, y, _| (x * 3.0).sin() + (x * 3.0) * y), ["times", "sin", "fused"]);
}

#[test]
fn movements_in_a_row_are_one_or_none() {
    assert_eq!(lowered(|x, _, _| x.reshape(&[24]).reshape(&[2, 12]).reshape(&[6, 4])), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| x.t().t()), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| x.pad(1, 2, 3).slice(1, 2..6)), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| x.sum().broadcast_to(&[4]).broadcast_to(&[6, 4])), ["sum", "broadcast"]);
}

#[test]
fn functions_of_repeated_arrays_are_repeated_functions() {
    assert_eq!(lowered(|x, _, _| (x.at(0, 0).broadcast_to(&[50, 4]) * 2.0).exp())[1..], ["times", "exp", "broadcast"]);
    assert_eq!(
        lowered(|x, y, _| x.sum().broadcast_to(&[50, 4]) * y.at(0, 0).broadcast_to(&[50, 4]))[2..],
        ["times", "broadcast"]
    );
}

#[test]
fn sums_of_repeated_arrays_are_multiples() {
    assert_eq!(lowered(|x, _, _| x.broadcast_to(&[7, 6, 4]).sum_axes(&[0])), ["times"]);
    assert_eq!(lowered(|x, _, _| x.broadcast_to(&[7, 6, 4]).sum()), ["sum", "times"]);
    assert_eq!(lowered(|x, _, _| x.sum_axes(&[1]).sum()), ["sum"]);
    assert_eq!(lowered(|x, y, _| (x * y.at(1, 0).insert_axis(1)).sum_axes(&[1])), ["slice", "times", "sum"]);
    assert_eq!(lowered(|x, _, _| x.at(0, 0).broadcast_to(&[0, 4]).sum()), Vec::<String>::new());
}

#[test]
fn sums_over_axes_of_length_one_are_none() {
    assert_eq!(lowered(|x, _, _| x.slice(1, 0..1).sum_axes(&[1])), ["slice"]);
}

#[test]
fn a_recurrence_of_one_step_is_what_is_added_at_it() {
    let one = |x: Var| x.slice(1, 0..1);
    assert_eq!(lowered(|x, _, _| one(x).cumsum(1)), ["slice"]);
    assert_eq!(lowered(|x, _, _| one(x).scan_reverse(0.5, 1)), ["slice"]);
    // Shifted, as the adjoint of a recurrence is, its factor reaches no step.
    assert_eq!(lowered(|x, y, _| one(y).scan(one(x), 1).vjp(y, one(x))), ["slice", "pad"]);
    // What comes before is 0; an unknown or infinite factor makes a NaN of it.
    assert_eq!(lowered(|x, y, _| one(x).scan(one(y), 1)), ["slice", "slice", "scan"]);
    assert_eq!(lowered(|x, y, _| one(x).scan_from(0.5, y.at(1, 0), 1))[2..], ["scan"]);
}

#[test]
fn what_a_number_selects_is_not_asked_for() {
    assert_eq!(lowered(|x, y, _| x.full_like(1.0).select(y, x.exp())), Vec::<String>::new());
    assert_eq!(lowered(|x, y, _| x.full_like(0.0).select(y.exp(), x)), Vec::<String>::new());
    assert_eq!(lowered(|x, y, _| x.full_like(f64::NAN).select(y, x)), Vec::<String>::new());
    assert_eq!(lowered(|x, y, _| x.constant(Array2::from_elem((6, 4), 1.0)).select(y, x).sin()), ["sin"]);
    // Nor multiplied by 0 where a derivative flows elsewhere.
    assert_eq!(lowered(|x, y, _| x.full_like(1.0).select(y, 0.0).sum().grad(y) * x), Vec::<String>::new());
    assert_eq!(lowered(|x, y, _| x.select(y, 0.0)), ["select"]);
}

#[test]
fn equal_constants_are_one_number() {
    let ones = |like: Var| like.constant(Array2::from_elem((6, 4), 1.0));
    assert_eq!(lowered(|x, _, _| x * ones(x)), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| x * x.constant(arr1(&[1.0])).broadcast_to(&[6, 4])), Vec::<String>::new());
    assert_eq!(lowered(|x, _, _| x * x.constant(arr1(&[1.0, 1.0, 1.0, 2.0]))), ["times"]);
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[2.0_f32, 3.0]));
    let program = tape.compile([x], [x * x.constant(arr1(&[1.0, 1.0]))]);
    assert_eq!(operations(&program), Vec::<String>::new());
    // Nothing is nowhere one number.
    assert_eq!(x.constant(Array1::<f64>::zeros(0)).sum().item_as::<f32>(), 0.0);
}

#[test]
fn what_usually_does_runs_watched() {
    assert_eq!(lowered(|x, _, _| ((x - 1.0).exp() * 1.0_f64.exp()).or_usual(x.exp(), 9.0)), ["checked_exp"]);
    assert_eq!(lowered(|x, y, _| (x / (1.0 / y)).or_usual(x * y, 9.0)), ["times", "checked"]);
    assert_eq!(lowered(|x, y, _| (x - 9.0).max(0.0).exp().or_usual(x.full_like(1.0), 1.0) * y), Vec::<String>::new());
}

#[test]
fn negated_terms_are_subtracted_and_first_powers_are_nothing() {
    assert_eq!(lowered(|x, y, _| x + -y), ["minus"]);
    assert_eq!(lowered(|x, y, _| -x + y), ["minus"]);
    assert_eq!(lowered(|x, y, _| x - -y), ["plus"]);
    assert_eq!(lowered(|x, _, _| x.powf(1.0)), Vec::<String>::new());
}

#[test]
fn repeated_factors_are_one() {
    let row = |x: Var| x.at(0, 0).broadcast_to(&[6, 4]);
    assert_eq!(lowered(|x, y, _| y * row(x) * row(x.sin()))[2..], ["slice", "checked_times", "times"]);
    assert_eq!(lowered(|x, y, _| y * row(x) * 3.0)[1..], ["checked_times", "times"]);
    assert_eq!(lowered(|x, y, _| y * row(x) + y * row(x.sin()))[2..], ["slice", "plus", "checked_times"]);
}

#[test]
fn multiples_of_the_same_are_one() {
    assert_eq!(lowered(|x, _, _| (x.sin() + x.sin()) * 3.0), ["sin", "times"]);
    assert_eq!(lowered(|x, _, _| x * 3.0 + x), ["times"]);
    assert_eq!(lowered(|x, _, _| -x - x), ["times"]);
    // These are a NaN where x is infinite.
    assert_eq!(lowered(|x, _, _| x - x), ["minus"]);
    assert_eq!(lowered(|x, _, _| x * 3.0 - x), ["fused"]);
}

#[test]
fn arithmetic_on_what_nobody_else_reads_is_one_pass() {
    let of = |f: fn(Var, Var) -> Var| lowered(move |x, y, _| f(x, y));
    assert_eq!(of(|x, y| x * y - x), ["fused"]);
    assert_eq!(of(|x, y| x / (x + y)), ["fused"]);
    assert_eq!(of(|x, y| x * y + x.square()), ["fused"]);
    assert_eq!(of(|x, y| (x * y) / (x - y)), ["minus", "fused"]);
    assert_eq!(of(|x, y| (x - y).square()), ["fused"]);
    let twice = |x: Var, y: Var| {
        let product = x * y;
        product.exp() + (product - x)
    };
    assert_eq!(of(twice), ["times", "exp", "fused"]);
}

/// Every fused operation, at numbers, zeros, infinities and NaN, and with operands that are repeated.
#[test]
fn fused_operations_give_the_bits_of_each_in_turn() {
    let binary: [fn(Var, Var) -> Var; 4] = [|a, b| a + b, |a, b| a - b, |a, b| a * b, |a, b| a / b];
    let special = [0.0, -0.0, 1.5, -2.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e300];
    let value = |k: usize| {
        ArrayD::from_shape_fn(vec![30, 4], |i| special[(i[0] * (2 * k + 3) + i[1] * (k + 1)) % 8] + k as f64)
    };
    let values: Vec<ad::Value<'_>> = (0..4).map(|k| value(k + 4).into()).collect();
    let check = |f: &dyn Fn(&[Var], [Var; 2]) -> Var| {
        let tape = Tape::new();
        let x: Vec<Var> = (0..4).map(|k| tape.input("x", value(k))).collect();
        let narrow = [x[1].at(0, 2).broadcast_to(&[30, 4]), x[2].at(1, 1).insert_axis(1).broadcast_to(&[30, 4])];
        let output = f(&x, narrow);
        let compile = |lowering| tape.compile_with(x.iter().copied(), [output], lowering);
        let program = compile(Lowering::On).to_string();
        assert!(program.contains("fused"), "{program}");
        let [a, b] = [Lowering::On, Lowering::Off].map(|lowering| compile(lowering).run(&values).unwrap().remove(0));
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert!(a.iter().zip(&b).all(same), "{program}\n{a}\n{b}");
    };
    for f in binary {
        for g in binary {
            check(&|x, _| g(f(x[0], x[1]), x[2]));
            check(&|x, _| g(x[0], f(x[1], x[2])));
            check(&|x, narrow| g(f(x[0], narrow[1]), x[3]));
            check(&|x, narrow| g(f(x[3], x[0]), narrow[0]));
            for h in binary {
                check(&|x, narrow| g(f(x[0], narrow[1]), h(x[2], x[3])));
            }
        }
    }
}

#[test]
fn pairs_of_indices_are_made_one_number_once() {
    let pairs = |x: Var, y: Var, i: Index| {
        let (i, table) = (i.broadcast_to(&[3, 24]), x.matmul(y.t()));
        (table.gather([i, i]).sin() * table.sin().exp().gather([i, i])).cumsum(1).scatter_add([i, i], &[6, 6])
    };
    let names = lowered(pairs);
    assert_eq!(names.iter().filter(|name| *name == "flat_index").count(), 1, "{names:?}");
}

#[test]
fn stacks_stay_stacks_in_products() {
    let network =
        |x: Var, y: Var, i: Index| y.gather([i.broadcast_to(&[2, 24])]).matmul(x.t()).tanh().square().sum().hvp(x, x);
    let names = lowered(network);
    assert!(!names.iter().any(|name| name == "reshape"), "{names:?}");
}

#[test]
fn the_derivative_of_what_a_stack_shares_is_one_product() {
    let gradient = |x: Var, y: Var, _: Index| x.reshape(&[2, 2, 6]).matmul(y).tanh().sum().grad(y);
    assert_eq!(lowered(gradient), ["matmul", "tanh", "tanh_slope", "matmul"]);
    // Of two matrices that were stacked apart, the rows of either.
    let product = |x: Var, y: Var, _: Index| {
        let (a, b) = (x.reshape(&[3, 2, 4]).sin(), y.reshape(&[2, 3, 4]).cos());
        a.reshape(&[6, 4]).t().matmul(b.reshape(&[6, 4]))
    };
    assert_eq!(lowered(product), ["sin", "cos", "matmul"]);
    // A constant factor that has left a reshape is no end of the stack.
    let scaled = |x: Var, y: Var, _: Index| {
        let tall = (x.reshape(&[3, 2, 4]).sin() * 3.0).reshape(&[6, 4]);
        tall.matmul(y.t()).reshape(&[3, 2, 6]).sin()
    };
    assert_eq!(lowered(scaled), ["sin", "times", "matmul", "sin"]);
    let tape = Tape::new();
    let (x, w) = (tape.input("x", random(&[300, 5, 4], 1)), tape.input("w", random(&[4, 6], 2)));
    let program = tape.compile([x, w], [x.matmul(w).square().mean().hvp(w, w)]);
    let text = program.to_string();
    assert!(!text.contains("[1500, ") && text.contains("sum of A^T B"), "{text}");
}

#[test]
fn movements_of_repeated_arrays_are_repeated_movements() {
    let pad = |x: Var, _: Var, _: Index| x.sum_axes(&[0]).broadcast_to(&[6, 4]).pad(1, 1, 2).sin();
    assert_eq!(lowered(pad), ["sum", "pad", "sin", "broadcast"]);
    let shift = |x: Var, _: Var, _: Index| x.sum_axes(&[0]).broadcast_to(&[6, 4]).cumsum_exclusive(1).sin();
    assert_eq!(lowered(shift)[..2], ["sum", "broadcast"]);
    let scatter = |x: Var, y: Var, i: Index| {
        let each = ad::vmap(|_| x.reshape(&[24]).scatter_add([i], &[6]), y);
        each.sin()
    };
    assert_eq!(lowered(scatter), ["scatter_add", "sin", "broadcast"]);
}

#[test]
fn a_sum_of_products_is_a_matrix_product() {
    let product = |x: Var, y: Var, _: Index| {
        let tall = |x: Var| Var::concat(&[x, x.sin(), x.cos(), x.exp(), -x, x + 1.0, x * 2.0, x.tanh()], 0);
        (tall(x).insert_axis(1) * tall(y).insert_axis(0)).sum_axes(&[2])
    };
    assert_eq!(lowered(product).last().unwrap(), "matmul");
}

#[test]
fn solutions_share_a_factorisation() {
    let solutions = |x: Var, y: Var, _: Index| {
        let a = x.t().matmul(x) + Array2::<f64>::eye(4);
        let solution = a.solve(y.t());
        (solution.sin().sum().grad(x) + solution.sum()).hessian_of_sum(x)
    };
    let names = lowered(solutions);
    assert_eq!(names.iter().filter(|name| *name == "factor").count(), 1, "{names:?}");
    assert!(names.iter().filter(|name| *name == "solve").count() > 2, "{names:?}");
}

trait HessianOfSum {
    fn hessian_of_sum(self, x: Var) -> Var;
}

impl HessianOfSum for Var {
    /// The Jacobian of this array's squares' sum's gradient.
    fn hessian_of_sum(self, x: Var) -> Var {
        self.square().sum().grad(x).jacobian_forward(x)
    }
}

type Objective = fn(Var, Var, Index) -> Var;

/// Objectives whose Hessians go through gathers, scans, products, systems and reductions with the directions innermost.
#[test]
fn derivatives_in_all_directions_are_those_of_plain_programs() {
    let objectives: [(&str, Objective); 5] = [
        ("dice", |x, _, i| {
            let score = x.log_softmax().reshape(&[24]).gather([i]).reshape(&[50, 12]);
            (score.cumsum(1).magic_box() * score.cumsum_exclusive(1).sin()).sum_axes(&[1]).mean()
        }),
        ("recurrence", |x, y, i| {
            let ratio = (x - y).reshape(&[24]).gather([i]).reshape(&[50, 12]).exp();
            ratio.scan_reverse(ratio * 0.5, 1).at(1, 0).mean() + ratio.slice(1, 3..9).max_axes(&[1]).mean()
        }),
        ("network", |x, y, i| {
            let inputs = y.reshape(&[24]).gather([i]).reshape(&[100, 6]);
            (inputs.matmul(x).tanh().matmul(x.t()).square()).sum_axes(&[1]).mean()
        }),
        ("system", |x, y, _| {
            let a = x.t().matmul(x) + Array2::<f64>::eye(4);
            a.solve(y.t()).sin().sum() + a.solve(y.at(0, 1)).square().sum()
        }),
        ("products of one", |x, y, _| {
            let (column, row) = (x.slice(1, 0..1), y.slice(0, 0..1));
            (column.matmul(row).sin().matmul(row.t()) * column).sum() + row.matmul(x.t()).square().sum()
        }),
    ];
    for (name, objective) in objectives {
        let tape = Tape::new();
        let (x, y) = (tape.input("x", random(&[6, 4], 1)), tape.input("y", random(&[6, 4], 2)));
        let index = tape.index("index", Array1::from_iter((0..600).map(|i| i * 5 % 24)));
        let loss = objective(x, y, index);
        let outputs = [loss.hessian(x), loss.derivative(x, 3), loss.grad(x).jacobian_forward(x).sin().sum().grad(x)];
        let replayed = Array1::from_iter((0..600).map(|i| i * 7 % 24));
        let values: [ad::Value<'_>; 3] = [random(&[6, 4], 3).into(), random(&[6, 4], 4).into(), replayed.into()];
        let run = |lowering| {
            tape.compile_with([ad::Handle::from(x), y.into(), index.into()], outputs, lowering).run(&values).unwrap()
        };
        for (i, (a, b)) in run(Lowering::On).iter().zip(&run(Lowering::Off)).enumerate() {
            assert_close(&format!("{name}, output {i}"), a, b, 1e-12);
        }
    }
}

/// Both by forward mode over all directions: the Hessian of a sum, the Jacobian of an array.
fn second_and_first(x: Var, of: fn(Var) -> Var) -> [Var; 2] {
    [of(x).sum().hessian(x), of(x).jacobian_forward(x)]
}

#[test]
fn a_jacobian_of_few_diagonals_is_made_of_them() {
    fn left(x: Var) -> Var {
        x.slice(0, 0..x.size() - 1)
    }
    fn right(x: Var) -> Var {
        x.slice(0, 1..x.size())
    }
    type Case = (&'static str, fn(Var) -> Var, [&'static str; 2]);
    let cases: [Case; 6] = [
        ("each by itself", |x| x.sin().exp() * x, ["0", "0"]),
        (
            "neighbours",
            |x| (right(x) - left(x).square()).square() * 100.0 + (1.0 - left(x)).square(),
            ["0, -1, 1", "-1, 0"],
        ),
        ("neighbours' quotients", |x| left(x) / right(x) - x.at(0, 0), ["-1, 0, 1", ""]),
        (
            "with some that are further",
            |x| (x.slice(0, 0..x.size() - 2) * x.slice(0, 2..x.size())).tanh(),
            ["-2, 0, 2", "-2, 0"],
        ),
        ("side by side", |x| Var::concat(&[right(x).exp(), left(x).cos()], 0), ["0", "-1, 29"]),
        ("all with all", |x| (x * x.sum()).cos(), ["", ""]),
    ];
    for dtype in [DType::F64, DType::F32] {
        for (name, f, diagonals) in cases {
            for n in [3, 4, 30] {
                let tape = Tape::new();
                let x = tape.input("x", ad::Value::from(random(&[n], 1)).rounded(dtype));
                let outputs = second_and_first(x, f);
                let [on, off] = [Lowering::On, Lowering::Off].map(|way| tape.compile_with([x], outputs, way));
                for (result, diagonals) in std::iter::zip(outputs, diagonals).filter(|_| n == 30) {
                    let text = tape.compile([x], [result]).to_string();
                    let made = text.split_once("below the diagonal ").map_or("", |(_, rest)| rest);
                    let made = made.split_once(" f").map_or("", |(made, _)| made);
                    assert_eq!(made.trim(), diagonals, "{name}: {text}");
                }
                let with = |number: f64| {
                    let mut at = random(&[n], 2);
                    at[1] = number;
                    at
                };
                let specials = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e200, 0.0];
                for at in [random(&[n], 2), ArrayD::zeros(vec![n])].into_iter().chain(specials.map(with)) {
                    let values = [ad::Value::from(at).rounded(dtype)];
                    let run = |program: &Program| {
                        let results = program.run_values(&values).unwrap();
                        results.into_iter().map(|value| value.rounded(DType::F64).into_array::<f64>().unwrap())
                    };
                    for (i, (a, b)) in run(&on).zip(run(&off)).enumerate() {
                        let tolerance = if dtype == DType::F64 { 1e-13 } else { 1e-5 };
                        assert_close(&format!("{name}, {n} of {dtype}, output {i}"), &a, &b, tolerance);
                    }
                }
            }
        }
    }
}

#[test]
fn functions_of_gathered_entries_are_gathered_functions() {
    assert_eq!(lowered(|x, y, i| (x.gather([i]) * 2.0).exp() - y.gather([i])), ["times", "exp", "minus", "gather"]);
}

#[test]
fn what_a_number_makes_of_what_is_looked_up_anyway_is_not_looked_up() {
    let both = |f: fn(Var) -> Var| lowered(move |x, _, i| x.sin().gather([i]).scan(f(x.sin()).gather([i]), 0));
    assert_eq!(both(|table| table * 2.0), ["sin", "gather", "times", "scan"]);
    assert_eq!(both(|table| 1.0 - table), ["sin", "gather", "minus", "scan"]);
    assert_eq!(both(|table| table - 1.0), ["sin", "gather", "minus", "scan"]);
    // A function is for the table, and so is a table that nobody looks up as it is.
    assert_eq!(both(|table| table.exp()), ["sin", "gather", "exp", "gather", "scan"]);
    assert_eq!(lowered(|x, y, i| y.gather([i]).scan((x * 2.0).gather([i]), 0)), ["gather", "times", "gather", "scan"]);
    let three = |x: Var, _: Var, i: Index| {
        let at = |table: Var| table.gather([i]);
        at(x).scan(at(x - 1.0), 0).scan(at((x - 1.0) * 3.0), 0)
    };
    assert_eq!(lowered(three), ["gather", "minus", "scan", "times", "scan"]);
}

#[test]
fn a_scan_starts_from_an_operand() {
    let from = |x: Var, y: Var| x.scan_from(y, y.at(1, 0), 1);
    assert_eq!(lowered(|x, y, _| from(x, y)), ["slice", "scan"]);
    // A start is no multiple of the factor.
    assert_eq!(lowered(|x, y, _| from(x * 3.0, y)), ["times", "slice", "scan"]);
    // λ_t = g_t + b_{t+1} λ_{t+1}; the cotangent of b is λ_t y_{t−1}, in which the start is shifted.
    let of_factor = |x: Var, y: Var, _: Index| {
        let b = x * 1.0;
        let start = y.at(1, 0).stop_gradient();
        y.scan_from(b, start, 1).vjp(b, y)
    };
    assert_eq!(lowered(of_factor), ["slice", "scan", "scan", "shift", "times"]);
    let mapped =
        |x: Var, y: Var, _: Index| ad::vmap(|y| from(x, y) + from(y, x), y.insert_axis(1).broadcast_to(&[6, 6, 4]));
    assert_eq!(lowered(mapped).iter().filter(|name| *name == "scan").count(), 2);
}

#[test]
fn what_is_scattered_to_where_it_was_gathered_is_a_product_of_tables() {
    let rows = |f: fn(Var, Var, Index) -> Var| lowered(move |x, y, i| f(x.sum_axes(&[1]), y.reshape(&[24]), i));
    let ops = rows(|t, y, i| (y * t.gather([i])).scatter_add([i], &[6]));
    assert_eq!(ops[1..], ["scatter_add", "checked_times"]);
    let ops = rows(|t, _, i| t.gather([i]).scatter_add([i], &[6]));
    assert_eq!(ops[1..], ["scatter_add", "times", "equal", "select"]);
}

#[test]
fn a_table_that_is_infinite_where_nobody_looks_makes_no_nan() {
    // The ratio π/μ of an action that μ never takes is infinite, and no sample has it.
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.1, 0.2, -0.3]));
    let log_behaviour = tape.input("log_behaviour", arr1(&[0.5_f64.ln(), f64::NEG_INFINITY, 0.5_f64.ln()]));
    let actions = tape.index("actions", Array1::from_iter((0..5000).map(|i| 2 * (i % 2))));
    let ratio = (theta.log_softmax().gather([actions]) - log_behaviour.gather([actions])).exp();
    let loss = ratio.square().mean();
    let outputs = [loss, loss.grad(theta), loss.hessian(theta)];
    let [on, off] = [Lowering::On, Lowering::Off]
        .map(|lowering| tape.compile_with([theta], outputs, lowering).run(&ad::values![theta.value()]).unwrap());
    for (a, b) in on.iter().zip(&off) {
        assert!(b.iter().all(|x| x.is_finite()));
        assert_close("lowered", a, b, 1e-12);
    }
}

#[test]
fn transposes_of_matrices_are_flags_of_their_product() {
    assert_eq!(lowered(|x, y, _| x.t().matmul(y)), ["matmul"]);
    assert_eq!(lowered(|x, y, _| x.matmul(y.t())), ["matmul"]);
}

#[test]
fn the_hessian_product_of_dice_is_what_one_writes_by_hand() {
    // The rewards over n; gather, scan, product, reverse scan, scatter; and the same without the tangent.
    let tape = Tape::new();
    let (n, h) = (300, 20);
    let theta = tape.input("theta", random(&[5, 3], 1));
    let v = tape.input("v", random(&[5, 3], 2));
    let states = tape.index("states", Array2::from_shape_fn((n, h), |(n, t)| ((n * 7 + t * 3) % 5) as i32));
    let actions = tape.index("actions", Array2::from_shape_fn((n, h), |(n, t)| ((n + t * 5) % 3) as i32));
    let rewards = tape.input("rewards", random(&[n, h], 3));
    let lp = theta.log_softmax().gather([states, actions]);
    let loss = (rewards * lp.cumsum(1).magic_box()).sum_axes(&[1]).mean();
    let inputs = [theta.into(), v.into(), states.into(), actions.into(), ad::Handle::from(rewards)];
    let program = tape.compile(inputs, [loss.hvp(theta, v)]);
    let text = program.to_string();
    let by_row = text.lines().filter(|line| line.starts_with("  "));
    let names: Vec<&str> = by_row.filter_map(|line| Some(line.split_once(" = ")?.1.split_once('(')?.0)).collect();
    assert_eq!(
        names,
        ["times", "scan", "flat_index", "scatter_add", "gather", "scan", "times", "scan", "scatter_add"],
        "{text}"
    );
}

/// A batch of samples, large enough for regions, with everything a row can go through.
fn samples(tape: &Tape, n: usize) -> (Vec<ad::Handle>, Vec<Var>) {
    let (w, table) = (tape.input("w", random(&[3, 4], 1)), tape.input("table", random(&[5, 3], 2)));
    let x = tape.input("x", random(&[n, 7, 3], 3));
    let y = tape.input("y", random(&[n, 7], 4));
    let index = tape.index("index", Array2::from_shape_fn((n, 7), |(n, t)| ((n * 3 + t) % 5) as i32));
    let gathered = table.gather([index]);
    let hidden = ((x * gathered).reshape(&[n * 7, 3]).matmul(w)).tanh().reshape(&[n, 7, 4]);
    let score = hidden.logsumexp(&[2]) + y.cumsum(1).magic_box() * y.scan_reverse(0.9, 1);
    let loss = (score * y.shift_like()).sum_axes(&[1]).square().mean() + hidden.max_axes(&[1]).sum() * 0.01;
    let (gw, gt) = (loss.grad(w), loss.grad(table));
    let per_row = score.sum_axes(&[1]);
    let outputs = vec![loss, gw, gt, loss.hvp(w, w), per_row, loss.hessian(table), per_row.jacobian_reverse(y).sum()];
    (vec![w.into(), table.into(), x.into(), y.into(), index.into()], outputs)
}

trait ShiftLike {
    fn shift_like(self) -> Self;
}

impl ShiftLike for Var {
    /// Moved by one step, as a cumulative sum without its own entry does.
    fn shift_like(self) -> Self {
        self.slice(1, 0..6).pad(1, 1, 0) + 1.0
    }
}

#[test]
fn regions_give_the_numbers_of_whole_arrays_at_any_number_of_rows() {
    for n in [100, 257, 700] {
        let tape = Tape::new();
        let (inputs, outputs) = samples(&tape, n);
        let compile = |lowering| tape.compile_with(inputs.iter().copied(), outputs.iter().copied(), lowering);
        let (on, off) = (compile(Lowering::On), compile(Lowering::Off));
        let values = [
            ad::Value::from(random(&[3, 4], 11)),
            random(&[5, 3], 12).into(),
            random(&[n, 7, 3], 13).into(),
            random(&[n, 7], 14).into(),
            Array2::from_shape_fn((n, 7), |(n, t)| ((n + 2 * t) % 5) as i32).into(),
        ];
        let (a, b) = (on.run(&values).unwrap(), off.run(&values).unwrap());
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            assert_close(&format!("{n} rows, output {i}"), a, b, 1e-12);
        }
        // Twice in a row it is the same, whatever is left in the workspace.
        assert_eq!(a, on.run(&values).unwrap());
    }
}

#[test]
fn results_are_the_same_bits_at_any_number_of_threads() {
    let tape = Tape::new();
    let (inputs, outputs) = samples(&tape, 3000);
    let program = tape.compile(inputs[..2].iter().copied(), outputs);
    let values = [ad::Value::from(random(&[3, 4], 11)), random(&[5, 3], 12).into()];
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| program.run(&values).unwrap())
    };
    let one = on(1);
    for threads in [2, 3, 7] {
        assert_eq!(one, on(threads), "{threads} threads");
    }
    assert_eq!(one, program.run(&values).unwrap(), "all threads there are, in no pool");
}

#[test]
fn columns_of_an_array_are_made_at_once() {
    // Of 1003 rows no block has a size that eight divides. What is read of a row: (its length, columns, of them the first so many
    // are results, too), from an input, and from what the region makes itself.
    for (length, read, kept) in
        [(15, 0..15, 0), (15, 7..15, 0), (5, 1..5, 2), (6, 0..6, 1), (15, 0..7, 0), (4, 1..4, 0)]
    {
        for made in [false, true] {
            let tape = Tape::new();
            let x = tape.input("x", random(&[1003, length], 1));
            let array = if made { x.exp() } else { x };
            let columns: Vec<Var> = read.clone().map(|k| array.at(1, k)).collect();
            let sums = (1..columns.len()).fold(columns[0].square(), |sum, k| sum + columns[k] * columns[k - 1]);
            let outputs = [&[sums, sums.sum().grad(x)], &columns[..kept]].concat();
            let compile = |lowering| tape.compile_with([x], outputs.iter().copied(), lowering);
            let (on, off) = (compile(Lowering::On), compile(Lowering::Off));
            let value: ad::Value<'_> = random(&[1003, length], 2).into();
            for (a, b) in on.run(&[value.view()]).unwrap().iter().zip(&off.run(&[value.view()]).unwrap()) {
                assert_close("columns", a, b, 1e-15);
            }
            let transposes = operations(&on).iter().filter(|name| *name == "transpose").count();
            let together = read.len() - kept;
            let expected = usize::from(together >= 4 && 2 * together >= length);
            assert_eq!(transposes, expected, "{together} of {length}, made: {made}\n{on}");
            let slices = operations(&on).iter().filter(|name| *name == "slice").count();
            assert_eq!(slices, if expected == 1 { kept } else { read.len() }, "{on}");
        }
    }
}

#[test]
fn an_index_out_of_range_in_a_region_is_found_at_its_place_in_the_whole() {
    let tape = Tape::new();
    let table = tape.input("table", random(&[5], 1));
    let index = tape.index("index", Array2::<i32>::zeros((3000, 4)));
    let loss = table.gather([index]).scan(0.5, 1).square().sum();
    let program = tape.compile([ad::Handle::from(table), index.into()], [loss]);
    let mut bad = Array2::<i32>::zeros((3000, 4));
    bad[[2345, 2]] = 9;
    let error = program.run(&[random(&[5], 1).into(), bad.into()]).unwrap_err();
    assert!(matches!(error, ad::Error::IndexOutOfRange { index: 9, position: 9382, length: 5, .. }), "{error}");
    // The program can be run again.
    program.run(&[random(&[5], 1).into(), Array2::<i32>::zeros((3000, 4)).into()]).unwrap();
}

#[test]
fn nan_and_infinity_stay_where_they_are() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.0, f64::NAN, f64::INFINITY, -1.0]));
    let y = tape.input("y", arr2(&[[1.0, 1.0, 0.0, 0.0]]));
    let outputs = [x * 0.0, x - x, (x * 2.0).sum(), (y * x).sum_axes(&[0]), x.ln().exp(), -(x * -1.0), 0.0 - x];
    let values: Vec<Vec<ArrayD<f64>>> = [Lowering::On, Lowering::Off]
        .map(|lowering| tape.compile_with([x, y], outputs, lowering).run(&ad::values![x.value(), y.value()]).unwrap())
        .to_vec();
    for (a, b) in values[0].iter().zip(&values[1]) {
        let same = a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        assert!(same, "{a} {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_program_and_its_derivatives_are_the_same_lowered_and_plain(
        steps in common::random_program::steps(), at in common::random_program::points()
    ) {
        let tape = Tape::new();
        let x: Vec<Var> = at.iter().map(|x| tape.input("x", x)).collect();
        let loss = common::random_program::run(&steps, &x);
        let outputs = [vec![loss], loss.grad(&x), loss.hvp(&x, &x), vec![loss.hessian(x[0])]].concat();
        let run = |lowering| {
            let program = tape.compile_with(x.iter().copied(), outputs.iter().copied(), lowering);
            program.run(&ad::values![at[0], at[1], at[2]]).unwrap()
        };
        for (i, (a, b)) in run(Lowering::On).iter().zip(&run(Lowering::Off)).enumerate() {
            assert_close(&format!("output {i}"), a, b, 1e-12);
        }
    }
}
