//! What is said when something is wrong, and where: every message's words, and that a panic is the caller's line.

mod common;

use ad::{DType, Error, Handle, Index, Program, Tape, Triangle, Var, values, vmap, vmap_many};
use common::panics::{assert_said, caught};
use indexmap::IndexMap;
use ndarray::{Array1, Array2, ArrayD, arr0, arr1, arr2};

/// The expression panics on its own line with a message that has all the words.
macro_rules! refused {
    ($body:expr, $($words:expr),+) => {{
        let line = line!();
        let (message, file, at) = caught(|| { let _ = $body; });
        assert!(file.ends_with("tests/messages.rs") && (at == line || at == line + 1), "blamed {file}:{at}, not {line}: {message}");
        assert_said(&message, &[$($words),+]);
        message
    }};
}

#[track_caller]
fn vector(tape: &Tape, length: usize) -> Var {
    tape.input("x", Array1::linspace(1.0, 2.0, length))
}

#[track_caller]
fn matrix(tape: &Tape, rows: usize, columns: usize) -> Var {
    tape.input("m", Array2::from_elem((rows, columns), 0.5))
}

#[test]
fn shapes_that_do_not_broadcast_are_named_with_their_operation_and_origins() {
    let tape = Tape::new();
    let (a, b) = (matrix(&tape, 2, 3), vector(&tape, 4));
    let origin = format!("messages.rs:{}", line!() - 1);
    let origin = origin.as_str();
    refused!(a + b, "plus", "[2, 3]", "[4]", "do not broadcast", origin);
    refused!(a - b, "minus", "[2, 3]", "[4]");
    refused!(a * b, "times", "[2, 3]", "[4]");
    refused!(a / b, "over", "[2, 3]", "[4]");
    refused!(a.max(b), "max", "[2, 3]", "[4]");
    refused!(a.pow(b), "pow", "[2, 3]", "[4]");
    refused!(a.less(b), "less", "[2, 3]", "[4]");
    refused!(a.select(b, 0.0), "select", "[2, 3]", "[4]");
    refused!(a + arr1(&[1.0, 2.0]), "plus", "[2, 3]", "[2]");
    refused!(arr1(&[1.0, 2.0]) * a, "times", "[2, 3]", "[2]");
    refused!(a.dot(b), "dot", "[2, 3]", "[4]", "equal shapes", origin);
    refused!(a.broadcast_to(&[2, 4]), "broadcast_to", "[2, 3]", "[2, 4]", origin);
    refused!(a.scan(b, 0), "broadcast_to", "[4]", "[2, 3]");
}

#[test]
fn products_and_systems_of_shapes_that_do_not_fit_are_named() {
    let tape = Tape::new();
    let (a, b, x) = (matrix(&tape, 2, 3), matrix(&tape, 2, 4), vector(&tape, 4));
    let origin = format!("messages.rs:{}", line!() - 1);
    let origin = origin.as_str();
    refused!(a.matmul(b), "matmul", "[2, 3]", "[2, 4]", "do not fit", origin);
    refused!(a.matmul(x), "matmul", "[2, 3]", "[4]");
    refused!(x.matmul(a), "matmul", "[4]", "[2, 3]");
    refused!(x.sum().matmul(a), "matmul", "[]", "[2, 3]");
    let stack = tape.input("s", ArrayD::<f64>::zeros(vec![3, 3, 2]));
    let other = tape.input("t", ArrayD::<f64>::zeros(vec![2, 2, 3]));
    refused!(stack.matmul(other), "matmul", "[3, 3, 2]", "[2, 2, 3]");
    refused!(a.solve(x), "solve", "[2, 3]", "[4]", "square", origin);
    refused!(x.solve(x), "solve", "[4]");
    refused!(matrix(&tape, 3, 3).solve(x), "solve", "[3, 3]", "[4]");
    refused!(
        tape.input("s", ArrayD::<f64>::zeros(vec![2, 3, 3])).solve(matrix(&tape, 4, 3)),
        "solve",
        "[2, 3, 3]",
        "[4, 3]"
    );
}

#[test]
fn movements_and_reductions_that_do_not_suit_the_shape_are_named() {
    let tape = Tape::new();
    let a = matrix(&tape, 2, 3);
    let origin = format!("messages.rs:{}", line!() - 1);
    let origin = origin.as_str();
    refused!(a.reshape(&[4]), "reshape", "[2, 3] has 6", "[4] has 4", origin);
    refused!(a.transpose(&[0, 0]), "transpose", "[0, 0]", "no permutation", "[2, 3]");
    refused!(a.slice(0, 1..3), "slice", "1..3", "axis 0", "[2, 3]");
    refused!(a.slice(2, 0..1), "slice", "axis 2", "[2, 3]");
    refused!(a.at(1, 3), "at: entry 3", "axis 1", "[2, 3]", origin);
    refused!(a.pad(5, 1, 1), "pad", "axis 5", "[2, 3]");
    refused!(a.insert_axis(3), "insert_axis", "axis 3", "[2, 3]", origin);
    refused!(a.sum().t(), "t: ", "[]");
    refused!(Var::concat(&[a, matrix(&tape, 3, 3)], 1), "concat", "[2, 3]", "[3, 3]", "axis 1");
    refused!(Var::stack(&[a, matrix(&tape, 3, 3)], 0), "stack", "[2, 3]", "[3, 3]", origin);
    refused!(Var::concat(&[], 0), "concat: no arrays");
    refused!(Var::stack(&[a], 4), "stack", "axis 4", "[2, 3]");
    refused!(Var::stack(&[], 0), "stack: no arrays");
    let (image, filters) = (a.reshape(&[1, 2, 3, 1]), a.reshape(&[1, 2, 1, 3]));
    let made = format!("messages.rs:{}", line!() - 1);
    let made = made.as_str();
    refused!(a.patches([1, 1], 1), "patches", "[2, 3]", "no three axes", origin);
    refused!(image.patches([3, 1], 1), "patches", "window of [3, 1]", "does not fit", "image of [2, 3]");
    refused!(image.patches([1, 4], 1), "patches", "window of [1, 4]", "does not fit", "image of [2, 3]");
    refused!(image.patches([1, 1], 0), "patches", "window of [1, 1]", "stride 0", "1 or more");
    refused!(image.patches([0, 1], 1), "patches", "window of [0, 1]", "stride 1", "1 or more");
    refused!(a.add_patches([1, 1], 1, [2, 3]), "add_patches", "[2, 3]", "no three axes", origin);
    refused!(
        image.add_patches([2, 2], 1, [3, 3]),
        "add_patches",
        "[1, 2, 3, 1]",
        "images of [3, 3]",
        "[2, 2] patches of 4 pixels"
    );
    refused!(image.add_patches([1, 2], 1, [2, 4]), "add_patches", "[1, 2, 3, 1]", "[2, 3] patches of 2 pixels");
    refused!(image.add_patches([1, 1], 1, [usize::MAX, 3]), "add_patches", "images of [18446744073709551615, 3]");
    refused!(image.add_patches([3, 1], 1, [2, 3]), "add_patches", "window of [3, 1]", "image of [2, 3]");
    refused!(a.conv(filters, 1), "conv", "[2, 3]", "[1, 2, 1, 3]", "[…, height, width, channels]", origin);
    refused!(image.conv(a, 1), "conv", "[1, 2, 3, 1]", "[2, 3]", "[rows, columns, channels, filters]", origin);
    refused!(image.conv(filters.reshape(&[1, 1, 2, 3]), 1), "conv", "[1, 1, 2, 3]", "channels must be equal", made);
    refused!(image.conv(filters.reshape(&[3, 2, 1, 1]), 1), "conv", "[3, 2, 1, 1]", "no larger than the images");
    refused!(image.conv(filters, 0), "conv", "stride 0", "1 or more");
    refused!(a.sum_axes(&[2]), "sum", "axis 2", "[2, 3]", origin);
    refused!(a.mean_axes(&[2]), "sum", "axis 2", "[2, 3]");
    refused!(a.sum_axes(&[1, 1]), "sum", "[1, 1]", "not distinct");
    refused!(a.logsumexp(&[3]), "logsumexp", "axis 3");
    refused!(a.sum().log_softmax(), "log_softmax", "scalar");
    refused!(matrix(&tape, 2, 0).max_axes(&[1]), "max_axes", "maximum of no entries", "[2, 0]");
    refused!(a.scan(1.0, 2), "scan", "axis 2", "[2, 3]");
    refused!(a.scan_from(1.0, a, 2), "scan", "axis 2", "[2, 3]");
    refused!(a.cumprod(2), "cumprod", "axis 2", "[2, 3]");
    refused!(a.item(), "item", "[2, 3]", "6 entries");
}

#[test]
fn the_mean_of_an_empty_batch_is_refused() {
    let tape = Tape::new();
    let empty = matrix(&tape, 0, 3);
    let origin = format!("messages.rs:{}", line!() - 1);
    refused!(empty.mean(), "mean", "[0, 3]", "empty batch", &origin);
    refused!(empty.mean_axes(&[0]), "mean", "[0, 3]", "axes [0]");
    assert_eq!(empty.mean_axes(&[1]).value().shape(), [0]);
    assert_eq!(empty.sum().item(), 0.0);
}

#[test]
fn only_a_scalar_has_a_gradient() {
    let tape = Tape::new();
    let x = vector(&tape, 3);
    let y = x.sin();
    let origin = format!("messages.rs:{}", line!() - 1);
    refused!(y.grad(x), "grad", "shape [3]", "only a scalar", "jacobian", &origin);
    refused!(y.grad_or_zeros(x), "grad_or_zeros", "only a scalar");
    refused!(y.hvp(x, x), "hvp", "only a scalar", "derivative of order 2");
    refused!(y.hessian(x), "hessian", "only a scalar", "derivative of order 2");
    refused!(ad::grad(|x: Var| x.sin(), &arr1(&[1.0, 2.0])), "grad", "shape [2]");
    refused!(ad::value_and_grad(|x: Var| x.sin(), &arr1(&[1.0, 2.0])), "value_and_grad: ", "shape [2]");
    refused!(ad::hvp(|x: Var| x.sin(), &arr1(&[1.0, 2.0]), &arr1(&[1.0, 2.0])), "hvp", "shape [2]");
    refused!(ad::hessian(|x: Var| x.sin(), &arr1(&[1.0, 2.0])), "hessian", "shape [2]", "derivative of order 2");
    refused!(ad::hessian(|x: Var| x.sum().stop_gradient(), &arr1(&[1.0, 2.0])), "only through `stop_gradient`");
}

#[test]
fn a_gradient_by_something_without_a_path_to_the_loss_is_refused_and_names_it() {
    let tape = Tape::new();
    let x = tape.input("theta", arr1(&[1.0, 2.0]));
    let y = tape.input("phi", arr1(&[1.0, 2.0, 3.0]));
    let of_phi = format!("messages.rs:{}", line!() - 1);
    let loss = x.square().sum();
    let of_loss = format!("messages.rs:{}", line!() - 1);
    refused!(loss.grad(y), "grad", "does not depend on", "\"phi\"", "[3]", "grad_or_zeros", &of_phi, &of_loss);
    refused!(loss.grad([x, y]), "variable 1", "\"phi\"");
    // Each by its own name, and with an advice that exists for it.
    let told = |message: String, operation: &str, advice: &str| {
        assert!(message.starts_with(&format!("{operation}: ")), "{message}");
        assert!(message.ends_with(&format!("if a zero is meant, {advice}")), "{message}");
    };
    let zero = "write it";
    told(refused!(loss.grad(y), "\"phi\""), "grad", "use grad_or_zeros");
    told(refused!(loss.hvp(y, y), "does not depend on", "\"phi\""), "hvp", "use hvp_or_zeros");
    told(refused!(loss.hvp([x, y], [x, y]), "variable 1", "\"phi\""), "hvp", "use hvp_or_zeros");
    told(refused!(x.vjp(y, x), "does not depend on", "\"phi\""), "vjp", "use vjp_or_zeros");
    told(refused!(x.jvp(y, y), "does not depend on", "\"phi\""), "jvp", "use jvp_or_zeros");
    told(refused!(loss.hessian(y), "does not depend on", "\"phi\""), "hessian", "use hessian_or_zeros");
    told(refused!(x.jacobian(y), "does not depend on", "\"phi\""), "jacobian", "use jacobian_or_zeros");
    told(refused!(y.jacobian(x), "does not depend on", "\"theta\""), "jacobian", "use jacobian_or_zeros");
    told(refused!(x.jacobian_forward(y), "does not depend on"), "jacobian_forward", zero);
    told(refused!(x.jacobian_reverse(y), "does not depend on"), "jacobian_reverse", zero);
    told(refused!(x.derivative(y, 1), "does not depend on"), "derivative", zero);
    told(refused!(x.derivative(y, 2), "does not depend on"), "derivative", zero);
    let (at, unused) = (arr1(&[1.0, 2.0]), arr1(&[1.0]));
    let pair = |(x, _): (Var, Var)| x.square().sum();
    told(refused!(ad::grad(pair, (&at, &unused)), "variable 1"), "grad", "use grad_or_zeros");
    told(
        refused!(ad::value_and_grad(pair, (&at, &unused)), "variable 1"),
        "value_and_grad",
        "use value_and_grad_or_zeros",
    );
    told(refused!(ad::hvp(pair, (&at, &unused), (&at, &unused)), "variable 1"), "hvp", "use hvp_or_zeros");
    told(refused!(ad::vjp(pair, (&at, &unused), |u| u), "variable 1"), "vjp", "use vjp_or_zeros");
    told(refused!(ad::jvp(|_: Var| loss, y, y), "does not depend on"), "jvp", "use jvp_or_zeros");
    told(refused!(ad::jacobian(|_: Var| x, y), "does not depend on"), "jacobian", "use jacobian_or_zeros");
    told(refused!(ad::hessian(|_: Var| loss, y), "does not depend on"), "hessian", "use hessian_or_zeros");
    told(refused!(ad::derivative(|_: Var| loss, y, 3), "does not depend on"), "derivative", zero);
    refused!(loss.grad(x.sin()), "does not depend on", "sin", "[2]");
    refused!(x.at(0, 0).grad(loss), "does not depend on");
    refused!(ad::grad(|(x, _): (Var, Var)| x * x, (1.0, 2.0)), "variable 1", "messages.rs");
    assert_eq!(loss.grad_or_zeros(y).value(), arr1(&[0.0; 3]).into_dyn());
    let [by_x, by_y] = loss.grad_or_zeros([x, y]);
    assert_eq!((by_x.value(), by_y.value()), (arr1(&[2.0, 4.0]).into_dyn(), arr1(&[0.0; 3]).into_dyn()));
}

#[test]
fn a_gradient_through_a_barrier_only_is_refused_and_names_the_barrier() {
    let tape = Tape::new();
    let x = tape.input("theta", arr1(&[1.0, 2.0]));
    let stopped = (x.stop_gradient() * 2.0).sum();
    let barrier = format!("messages.rs:{}", line!() - 1);
    refused!(stopped.grad(x), "\"theta\"", "only through `stop_gradient`", &barrier, "grad_or_zeros");
    refused!(stopped.jvp(x, x), "only through `stop_gradient`");
    refused!(stopped.hessian(x), "only through `stop_gradient`");
    let compared = x.greater(0.5).sum();
    refused!(compared.grad(x), "\"theta\"", "only through `greater`");
    refused!(x.sign().sum().grad(x), "only through");
    refused!(x.select(1.0, 2.0).sum().grad(x), "only through `select`");
    assert_eq!(stopped.grad_or_zeros(x).value(), arr1(&[0.0, 0.0]).into_dyn());
    assert_eq!(compared.grad_or_zeros(x).value(), arr1(&[0.0, 0.0]).into_dyn());
}

#[test]
fn derivatives_that_truly_vanish_are_exact_zeros_and_no_error() {
    let tape = Tape::new();
    let (x, w) = (tape.input("x", arr1(&[1.0, 2.0])), tape.input("w", arr1(&[3.0, 4.0])));
    let linear = (x * arr1(&[2.0, -1.0])).sum();
    assert_eq!(linear.hessian(x).value(), Array2::<f64>::zeros((2, 2)).into_dyn());
    assert_eq!(linear.hvp(x, x).value(), Array1::<f64>::zeros(2).into_dyn());
    assert_eq!(linear.grad(x).jvp(x, x).value(), Array1::<f64>::zeros(2).into_dyn());
    assert_eq!(linear.grad(x).sum().grad(x).value(), Array1::<f64>::zeros(2).into_dyn());
    assert_eq!(linear.jvp(x, w).grad(x).value(), Array1::<f64>::zeros(2).into_dyn());
    assert_eq!(linear.grad(x).sum().hessian(x).value(), Array2::<f64>::zeros((2, 2)).into_dyn());
    let quadratic = x.square().sum();
    assert_eq!(quadratic.derivative(x, 3).value(), ArrayD::<f64>::zeros(vec![2, 2, 2]));
    assert_eq!(quadratic.derivative(x, 4).value(), ArrayD::<f64>::zeros(vec![2; 4]));
    assert_eq!(quadratic.hvp(x, w).sum().grad(x).value(), Array1::<f64>::zeros(2).into_dyn());
    assert_eq!(quadratic.hessian(x).sum().grad(x).value(), Array1::<f64>::zeros(2).into_dyn());
    // Of several variables, one in which the loss is linear.
    let [by_x, by_w] = (x.square().sum() + w.sum()).hvp([x, w], [x, w]);
    assert_eq!((by_x.value(), by_w.value()), (arr1(&[2.0, 4.0]).into_dyn(), arr1(&[0.0, 0.0]).into_dyn()));
    // Inside a map too.
    let mapped = vmap(|x| (x * w).sum().grad(x).sum().grad(x), tape.input("batch", arr2(&[[1.0, 2.0]])));
    assert_eq!(mapped.value(), arr2(&[[0.0, 0.0]]).into_dyn());
    let nested = ad::grad(|x: Var| ad::grad(|y: Var| y * 3.0, x) * 1.0, 2.0);
    assert_eq!(nested, 0.0);
}

#[test]
fn two_tapes_in_one_operation_are_refused_with_both_places() {
    let (one, other) = (Tape::new(), Tape::new());
    let x = one.input("x", arr1(&[1.0, 2.0]));
    let y = other.input("y", arr1(&[1.0, 2.0]));
    let (of_x, of_y) = (format!("messages.rs:{}", line!() - 2), format!("messages.rs:{}", line!() - 1));
    let (of_x, of_y) = (of_x.as_str(), of_y.as_str());
    let index = other.index("i", arr1(&[0, 1]));
    refused!(x + y, "plus", "two tapes", of_x, of_y);
    refused!(x.max(y), "max", "two tapes", of_x, of_y);
    refused!(x.select(y, x), "select", "two tapes", of_x, of_y);
    refused!(x.matmul(y), "matmul", "two tapes", of_x, of_y);
    refused!(x.dot(y), "two tapes", of_x, of_y);
    refused!(Var::concat(&[x, y], 0), "concat", "two tapes", of_x, of_y);
    refused!(Var::stack(&[x, y], 0), "stack", "two tapes", of_x, of_y);
    refused!(x.gather([index]), "gather", "two tapes", of_x);
    refused!(x.scatter_add([index], &[2]), "scatter_add", "two tapes", of_x);
    refused!(x.reshape(&[1, 2]).pick(other.index("i", arr1(&[0]))), "pick", "two tapes");
    refused!(x.scan(y, 0), "scan", "two tapes", of_x, of_y);
    refused!(x.scan_from(1.0, y.sum(), 0), "two tapes");
    refused!(x.sum().grad(y), "grad", "two tapes", of_y);
    refused!(x.sum().grad_or_zeros([x, y]), "grad", "two tapes", of_y);
    refused!(x.vjp(x, y), "vjp", "two tapes", of_x, of_y);
    refused!(x.vjp(y, x), "vjp", "two tapes", of_x, of_y);
    refused!(x.jvp(x, y), "jvp", "two tapes", of_x, of_y);
    refused!(x.jvp(y, y), "jvp", "two tapes", of_x, of_y);
    refused!(x.sum().hvp(x, y), "hvp", "two tapes", of_y);
    refused!(x.jacobian(y), "jacobian", "two tapes", of_x, of_y);
    refused!(x.sum().hessian(y), "two tapes", of_y);
    refused!(vmap(|x| x + y.sum(), x), "plus", "two tapes");
    refused!(vmap(|_| y, x), "vmap", "two tapes", of_x, of_y);
    refused!(vmap_many(|x| x[0].var(), ad::handles![x, y]), "vmap", "two tapes", of_x, of_y);
    refused!(one.compile([y], [x]), "compile", "another tape", of_y);
    refused!(one.compile([x], [y]), "compile", "another tape", of_y);
}

#[test]
fn a_handle_of_a_dropped_tape_is_refused_with_its_place() {
    let (x, index) = {
        let tape = Tape::new();
        (tape.input("x", arr1(&[1.0, 2.0])), tape.index("i", arr1(&[0, 1])))
    };
    let place = format!("messages.rs:{}", line!() - 2);
    let place = place.as_str();
    refused!(x + 1.0, "belongs to a tape that has been dropped", "Var", place);
    refused!(1.0 + x, "dropped", place);
    refused!(x.sin(), "dropped", place);
    refused!(-x, "dropped", place);
    refused!(x.powf(2.0), "dropped", place);
    refused!(x.sum(), "dropped", place);
    refused!(x.sum_axes(&[]), "dropped", place);
    refused!(x.reshape(&[2]), "dropped", place);
    refused!(x.transpose(&[0]), "dropped", place);
    refused!(x.matmul(x), "dropped", place);
    refused!(x.scan(0.9, 0), "dropped", place);
    refused!(x.cumsum(0), "dropped", place);
    refused!(x.gather([index]), "dropped", place);
    refused!(x.stop_gradient(), "dropped", place);
    refused!(x.magic_box(), "dropped", place);
    refused!(x.grad(x), "dropped", place);
    refused!(x.jvp(x, x), "dropped", place);
    refused!(x.hvp(x, x), "dropped", place);
    refused!(x.jacobian(x), "dropped", place);
    refused!(x.value(), "dropped", place);
    refused!(x.item(), "dropped", place);
    refused!(x.shape(), "dropped", place);
    refused!(x.location(), "dropped", place);
    refused!(vmap(|x| x, x), "dropped", place);
    refused!(ad::evaluate(&[x]), "dropped", place);
    refused!(Var::concat(&[x], 0), "dropped", place);
    refused!(ad::grad(|x: Var| x.sum(), x), "dropped", place);
    refused!(index.cast(DType::F64), "dropped", "Index", place);
    refused!(index.reshape(&[1, 2]), "dropped", "Index", place);
    refused!(Index::constant(x, arr1(&[1])), "dropped", place);
    // To print one is no use of it.
    assert!(format!("{x:?}").contains(place));
}

#[test]
fn an_index_out_of_range_is_refused_where_it_is_recorded() {
    let tape = Tape::new();
    let table = matrix(&tape, 3, 2);
    let (high, low) = (tape.index("states", arr1(&[0, 3])), tape.index("states", arr1(&[1, 0, -1])));
    let place = format!("messages.rs:{}", line!() - 1);
    refused!(table.gather([high]), "gather", "index 3 at position 1", "axis 0, which has length 3", &place);
    refused!(table.gather([low]), "gather", "index -1 at position 2");
    let fine = tape.index("states", arr1(&[0, 1]));
    refused!(table.gather([fine, high]), "gather", "index 3 at position 1", "axis 1", "length 2");
    refused!(table.slice(0, 0..2).scatter_add([high], &[3]), "scatter_add", "index 3 at position 1", "length 3");
    refused!(table.slice(0, 0..2).pick(high), "pick", "index 3 at position 1", "axis 1", "length 2");
    refused!(table.gather([Index::constant(table, arr2(&[[0, 1], [2, 7]]))]), "index 7 at position 3");
}

#[test]
fn index_arrays_that_do_not_suit_the_table_are_refused() {
    let tape = Tape::new();
    let table = matrix(&tape, 3, 2);
    let (two, three) = (tape.index("i", arr1(&[0, 1])), tape.index("j", arr1(&[0, 1, 1])));
    refused!(table.gather([two, three]), "gather", "different shapes", "[2]", "[3]");
    refused!(table.gather([two, two, two]), "gather", "3 index arrays", "[3, 2]");
    refused!(table.gather([]), "gather", "0 index arrays", "[3, 2]");
    refused!(table.scatter_add([two], &[5]), "scatter_add", "[3, 2]", "[2]");
    refused!(table.scatter_add([], &[]), "scatter_add", "0 index arrays");
    refused!(table.pick(two), "pick", "[3, 2]", "[3], got [2]");
}

#[test]
fn an_index_out_of_range_at_replay_is_an_error_with_its_position() {
    let tape = Tape::new();
    let table = matrix(&tape, 3, 2);
    let states = tape.index("states", arr2(&[[0, 1], [2, 0]]));
    let gathered = table.gather([states]);
    let line = line!() - 1;
    let program = tape.compile([states], [gathered]);
    let error = program.run(&values![arr2(&[[0, 1], [3, 0]])]).unwrap_err();
    let Error::IndexOutOfRange { operation, location, index, position, axis, length } = error else {
        panic!("{error:?}")
    };
    assert_eq!((operation, index, position, axis, length, location.line()), ("gather", 3, 2, 0, 3, line));
    assert_said(&error.to_string(), &["gather at", "messages.rs", "index 3 at position 2", "length 3"]);
    let negative = program.run(&values![arr2(&[[0, -1], [0, 0]])]).unwrap_err();
    assert_said(&negative.to_string(), &["index -1 at position 1"]);
    // Its gradient scatters by the same indices; that is found as well, and the program can be run again after it.
    let program = tape.compile([states], [gathered.square().sum().grad(table)]);
    assert!(matches!(program.run(&values![arr2(&[[9, 0], [0, 0]])]), Err(Error::IndexOutOfRange { index: 9, .. })));
    assert!(program.run(&values![arr2(&[[2, 0], [0, 0]])]).is_ok());
    let scattered = gathered.scatter_add([states], &[3]);
    let error = tape.compile([states], [scattered.sum()]).run(&values![arr2(&[[0, 1], [0, 5]])]).unwrap_err();
    assert_said(&error.to_string(), &["index 5 at position 3"]);
}

fn program_of_three() -> Program {
    let tape = Tape::new();
    let x = tape.input("theta", arr1(&[1.0, 2.0]));
    let w = tape.input("scale", 3.0);
    let states = tape.index("states", arr1(&[0, 1]));
    tape.compile([Handle::from(x), w.into(), states.into()], [(x * w).gather([states]).sum()])
}

#[test]
fn a_replay_with_the_wrong_values_is_an_error_that_names_the_input() {
    let program = program_of_three();
    let (x, w, states) = (arr1(&[1.0, 2.0]), 3.0, arr1(&[0, 1]));
    let told = |values: &[ad::Value<'_>], words: &[&str]| {
        let error = program.run(values).unwrap_err();
        assert_said(&error.to_string(), words);
        assert_eq!(program.check_finite(values), Err(error));
    };
    told(&values![arr1(&[1.0, 2.0, 3.0]), w, states], &["`theta`", "[3]", "[2]", "fixed shapes"]);
    told(&values![x, arr1(&[3.0]), states], &["`scale`", "[1]", "[]"]);
    told(&values![x, w, arr2(&[[0, 1]])], &["`states`", "[1, 2]", "[2]"]);
    told(&values![arr1(&[1.0_f32, 2.0]), w, states], &["`theta`", "f32", "f64"]);
    told(&values![arr1(&[1, 2]), w, states], &["`theta`", "i32", "f64"]);
    told(&values![x, w, arr1(&[0.0, 1.0])], &["`states`", "f64", "i32"]);
    told(&values![x], &["missing input", "`scale`, `states`", "takes 3 inputs", "given 1"]);
    told(&[], &["missing input", "`theta`, `scale`, `states`"]);
    told(&values![x, w, states, x], &["too many values", "takes 3 inputs", "given 4"]);
    assert_eq!(program.run(&values![x, w, states]).unwrap()[0].sum(), 9.0);
}

#[test]
fn a_replay_in_single_precision_wants_single_precision() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0_f32, 2.0]));
    let program = tape.compile([x], [x.square()]);
    let error = program.run_as::<f32>(&values![arr1(&[1.0_f64, 2.0])]).unwrap_err();
    assert_eq!(error, Error::Dtype { input: "x".to_owned(), expected: DType::F32, given: DType::F64 });
    assert_eq!(program.run_as::<f32>(&values![arr1(&[3.0_f32, 1.0])]).unwrap()[0], arr1(&[9.0_f32, 1.0]).into_dyn());
}

#[test]
fn what_is_no_input_cannot_be_one_of_a_program() {
    let tape = Tape::new();
    let x = vector(&tape, 2);
    let y = x.sin();
    let place = format!("messages.rs:{}", line!() - 1);
    refused!(tape.compile([y], [y.sum()]), "compile", "sin", &place);
    refused!(tape.compile([tape.constant(1.0)], [y]), "compile", "constant");
}

#[test]
fn what_depends_on_a_placeholder_has_no_value() {
    let tape = Tape::new();
    let x = vector(&tape, 2);
    let mut kept = None;
    let _ = vmap(|x| *kept.insert(x.sin()), x);
    let place = format!("messages.rs:{}", line!() - 1);
    let kept = kept.unwrap();
    refused!(kept.value(), "placeholder", &place);
    refused!(tape.compile([x], [kept]), "compile", "placeholder", &place);
    refused!(vmap(|x| x * x.item(), x), "placeholder");
}

#[test]
fn maps_over_what_has_no_common_leading_axis_are_refused() {
    let tape = Tape::new();
    let (scalar, two, three) = (tape.input("s", 1.0), vector(&tape, 2), vector(&tape, 3));
    let place = format!("messages.rs:{}", line!() - 1);
    refused!(vmap(|x| x, scalar), "vmap", "scalar", &place);
    refused!(vmap_many(|x| x[0].var(), ad::handles![two, three]), "vmap", "[2]", "[3]", &place);
    refused!(vmap_many(|x| x[0].var(), ad::handles![two, scalar]), "vmap", "[2]", "[]");
    refused!(vmap_many(|_| two, ad::handles![]), "vmap: nothing");
    refused!(vmap_many(|x| x[0].index().cast(DType::F64), ad::handles![two]), "expected an Index");
}

#[test]
fn directions_and_cotangents_of_the_wrong_shape_or_number_are_refused() {
    let tape = Tape::new();
    let (x, y) = (vector(&tape, 2), vector(&tape, 3));
    refused!(x.sin().jvp(x, y), "jvp", "direction", "[3]", "[2]");
    refused!(x.sin().sum().hvp(x, y), "hvp", "direction", "[3]", "[2]");
    refused!(x.sin().vjp(x, y), "vjp", "cotangent", "[3]", "[2]");
    refused!(
        x.sin().jvp([x, x].as_slice(), [x].as_slice()),
        "jvp: as many directions as variables",
        "1 were given for 2"
    );
    // Directions in a tree are each for the variable of the same name.
    let tree =
        |names: [&str; 2]| -> IndexMap<String, Var> { names.map(|name| (name.to_owned(), x)).into_iter().collect() };
    let (right, exchanged) = (tree(["a", "b"]), tree(["b", "a"]));
    refused!(x.sin().sum().hvp(&right, &exchanged), "hvp", "`b`, `a`", "`a`, `b`");
    refused!(x.sin().jvp(&right, &exchanged), "jvp", "by the same names");
    let f = |x: IndexMap<String, Var>| (x["a"] * x["b"]).sum();
    refused!(ad::hvp(f, &right, &exchanged), "hvp", "by the same names");
    refused!(ad::jvp(|(x, _)| f(x), (&right, x), (&exchanged, x)), "jvp", "by the same names");
    refused!(x.sin().sum().hvp((x, &right), (x, &exchanged)), "hvp", "by the same names");
}

#[test]
fn check_finite_names_the_operation_and_the_line_that_first_made_a_number_that_is_none() {
    let tape = Tape::new();
    let x = tape.input("theta", arr1(&[1.0, 4.0]));
    let centred = x - 1.0;
    let root = centred.sqrt();
    let root_line = line!() - 1;
    let ratio = root.exp() / centred;
    let ratio_line = line!() - 1;
    let loss = ratio.sum();
    let program = tape.compile([x], [loss, loss.grad(x)]);
    let found = |x: [f64; 2]| match program.check_finite(&values![arr1(&x)]) {
        Err(Error::NotFinite { operation, location, value, entry, shape }) => {
            assert!(location.file().ends_with("messages.rs"));
            assert_eq!(shape.as_slice(), [2]);
            (operation, location.line(), value, entry)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(program.check_finite(&values![arr1(&[2.0, 5.0])]), Ok(()));
    let (operation, line, value, entry) = found([2.0, 0.0]);
    assert_eq!((operation.as_str(), line, entry), ("sqrt", root_line, 1));
    assert!(value.is_nan());
    assert_eq!(found([1.0, 5.0]), ("over".to_owned(), ratio_line, f64::INFINITY, 0));
    let (operation, line, value, entry) = found([2.0, f64::INFINITY]);
    assert_eq!((operation.as_str(), value, entry), ("input `theta`", f64::INFINITY, 1));
    assert_eq!(line, root_line - 2);
    let message = program.check_finite(&values![arr1(&[2.0, 0.0])]).unwrap_err().to_string();
    assert_said(&message, &["NaN", "sqrt at", &format!("messages.rs:{root_line}"), "entry 1 of shape [2]"]);
    let message = program.check_finite(&values![arr1(&[f64::NEG_INFINITY, 0.0])]).unwrap_err().to_string();
    assert_said(&message, &["-inf", "input `theta` at", "entry 0 of shape [2]"]);
}

#[test]
fn check_finite_finds_what_only_a_derivative_makes() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 4.0]));
    let loss = (x * 2.0).sqrt().sum();
    let line = line!() - 1;
    let program = tape.compile([x], [loss, loss.grad(x)]);
    let error = program.check_finite(&values![arr1(&[1.0, 0.0])]).unwrap_err();
    let Error::NotFinite { location, value, .. } = error else { panic!("{error}") };
    assert_eq!((location.line(), value), (line, f64::INFINITY));
}

#[test]
fn check_finite_lets_infinite_constants_mask_but_not_make_a_nan() {
    let tape = Tape::new();
    let x = tape.input("logits", arr1(&[1.0, 2.0, 3.0]));
    let mask = arr1(&[0.0, f64::NEG_INFINITY, 0.0]);
    let masked = x + &mask;
    let log_z = masked.logsumexp(&[0]);
    let program = tape.compile([x], [log_z, log_z.grad(x)]);
    assert_eq!(program.check_finite(&values![arr1(&[1.0, 2.0, 3.0])]), Ok(()));
    let nan = masked - &mask;
    let line = line!() - 1;
    let error = tape.compile([x], [nan]).check_finite(&values![arr1(&[1.0, 2.0, 3.0])]).unwrap_err();
    let Error::NotFinite { operation, location, entry, .. } = error else { panic!("{error}") };
    assert_eq!((operation.as_str(), location.line(), entry), ("minus", line, 1));
    let of_nan = tape.compile([x], [x * arr1(&[1.0, f64::NAN, 1.0])]);
    assert!(of_nan.check_finite(&values![arr1(&[1.0, 2.0, 3.0])]).is_err());
}

#[test]
fn check_finite_tells_which_constant_made_a_result_infinite() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let mask = tape.constant(arr1(&[0.0, f64::NEG_INFINITY]));
    let line = line!() - 1;
    let given = [ad::Value::from(arr1(&[1.0, 2.0]))];
    let masked = x + mask;
    let found = |outputs: Vec<Var>| match tape.compile([x], outputs).check_finite(&given) {
        Err(Error::NotFinite { operation, location, value, entry, .. }) => (operation, location.line(), value, entry),
        other => panic!("{other:?}"),
    };
    let constant = ("constant".to_owned(), line, f64::NEG_INFINITY, 1);
    assert_eq!(found(vec![masked * 2.0]), constant);
    assert_eq!(found(vec![masked.exp().sum(), masked.log_softmax()]), constant);
    assert_eq!(found(vec![mask]), constant);
    assert_eq!(tape.compile([x], [masked.exp().sum(), masked.softmax().sum()]).check_finite(&given), Ok(()));
    // A gradient that is a NaN where the value is −∞.
    let loss = (masked * x).sum();
    let gradient = (loss * 0.0).grad(x);
    assert!(found(vec![loss, gradient]).2.is_nan());
}

#[test]
fn check_finite_judges_what_runs() {
    // (x·c)·d is x·(c·d), which stays in the range of numbers where x·c does not.
    let tape = Tape::new();
    let (x, a) = (tape.input("x", 1e200), tape.input("a", arr1(&[1.0; 4])));
    let program = tape.compile([x, a], [(x * 1e200) * 1e-200 * a]);
    assert_eq!(program.run(&values![1e200, arr1(&[1.0; 4])]).unwrap()[0], arr1(&[1e200; 4]).into_dyn());
    assert_eq!(program.check_finite(&values![1e200, arr1(&[1.0; 4])]), Ok(()));
    // Here it is the recorded operations that stay, and what runs.
    let index = Index::constant(a, arr1(&[0; 4]));
    let table = tape.input("table", arr1(&[0.25]));
    let scattered = (a * table.gather([index])).scatter_add([index], &[1]);
    let program = tape.compile([a, table], [scattered]);
    let given = [ad::Value::from(arr1(&[1e308; 4])), arr1(&[0.25]).into()];
    assert_eq!(program.run(&given).unwrap()[0], arr1(&[1e308]).into_dyn());
    assert_eq!(program.check_finite(&given), Ok(()));
}

#[test]
fn a_singular_system_is_an_error_that_names_its_line_and_matrix() {
    let tape = Tape::new();
    let eye = Array2::<f64>::eye(2);
    let a = tape.input("a", ndarray::stack![ndarray::Axis(0), eye, eye]);
    let b = tape.input("b", arr2(&[[1.0, 2.0], [3.0, 4.0]]));
    let x = a.solve(b);
    let line = line!() - 1;
    let program = tape.compile([a], [x]);
    let singular = arr2(&[[1.0, 2.0], [2.0, 4.0]]);
    let error = program.run(&values![ndarray::stack![ndarray::Axis(0), eye, singular]]).unwrap_err();
    let Error::Singular { location, matrix } = error else { panic!("{error}") };
    assert_eq!((matrix, location.line()), (1, line));
    assert_said(&error.to_string(), &["solve at", "messages.rs", "matrix 1", "singular"]);
    let zeros = tape.constant(Array2::<f64>::zeros((2, 2)));
    refused!(zeros.solve(b).value(), "solve", "singular");
}

#[test]
fn a_triangle_with_a_zero_on_its_diagonal_is_a_singular_system() {
    let tape = Tape::new();
    let a = tape.input("a", ndarray::stack![ndarray::Axis(0), Array2::<f64>::eye(2), Array2::<f64>::eye(2)]);
    let x = a.solve_triangular(tape.input("b", arr2(&[[1.0, 2.0]])), Triangle::Lower);
    let line = line!() - 1;
    let singular = arr2(&[[0.0, 1.0], [1.0, 1.0]]);
    let stack = ndarray::stack![ndarray::Axis(0), Array2::<f64>::eye(2), singular];
    let error = tape.compile([a], [x]).run(&values![stack]).unwrap_err();
    let Error::Singular { location, matrix } = error else { panic!("{error}") };
    assert_eq!((matrix, location.line()), (1, line));
}

#[test]
fn a_matrix_that_is_not_positive_definite_is_an_error_that_names_its_line_and_number() {
    let n = 5000;
    let tape = Tape::new();
    let eyes = ArrayD::from_shape_fn(vec![n, 2, 2], |i| if i[1] == i[2] { 1.0 } else { 0.0 });
    let a = tape.input("a", &eyes);
    let l = a.cholesky();
    let line = line!() - 1;
    let mut indefinite = eyes.clone();
    indefinite[[n - 3, 0, 1]] = -2.5;
    for x in [l, a.ln_determinant(), l.square().sum().grad(a), vmap(|a| a.cholesky(), a)] {
        let error = tape.compile([a], [x]).run(&values![indefinite]).unwrap_err();
        assert_said(
            &error.to_string(),
            &["cholesky at", "messages.rs", "matrix 4997 of the batch", "positive definite"],
        );
        let Error::NotPositiveDefinite { location, matrix } = error else { panic!("{error}") };
        assert!(matrix == n - 3 && location.line() - line <= 4, "matrix {matrix} of line {}", location.line());
    }
    // Of one matrix; not even semidefinite, and just so.
    let x = matrix(&tape, 2, 2);
    for bad in [arr2(&[[-1.0, 0.0], [0.0, 1.0]]), arr2(&[[1.0, 1.0], [1.0, 1.0]]), arr2(&[[0.0, 0.0], [0.0, 1.0]])] {
        let error = tape.compile([x], [x.cholesky()]).run(&values![bad]).unwrap_err();
        assert!(matches!(error, Error::NotPositiveDefinite { matrix: 0, .. }), "{error}");
    }
    refused!(tape.zeros(&[2, 2]).cholesky().value(), "cholesky at", "matrix 0", "not positive definite");
    // A NaN is no error: it goes on, and `check_finite` says where it came from.
    let program = tape.compile([x], [x.cholesky()]);
    let nan = arr2(&[[1.0, f64::NAN], [0.0, 1.0]]);
    assert!(program.run(&values![nan]).unwrap()[0][[1, 1]].is_nan());
    assert!(
        matches!(program.check_finite(&values![nan]), Err(Error::NotFinite { operation, .. }) if operation == "input `m`")
    );
}

// What is documented of derivatives at bad points.

fn gradient(f: impl Fn(Var) -> Var, at: f64) -> f64 {
    ad::grad(f, at)
}

/// Both partial derivatives.
fn gradients(f: impl Fn(Var, Var) -> Var, at: (f64, f64)) -> (f64, f64) {
    ad::grad(|(a, b)| f(a, b), at)
}

#[test]
fn where_a_function_has_a_kink_or_a_pole_its_derivative_is_what_is_documented() {
    assert_eq!(gradient(Var::abs, 0.0), 0.0);
    assert_eq!(gradient(Var::abs, -0.0), 0.0);
    assert_eq!(gradient(Var::sqrt, 0.0), f64::INFINITY);
    assert!(gradient(Var::sqrt, -1.0).is_nan());
    assert_eq!(gradient(Var::ln, 0.0), f64::INFINITY);
    assert_eq!(gradient(Var::ln, -0.0), f64::NEG_INFINITY);
    assert_eq!(gradient(|x| x.powf(2.0), 0.0), 0.0);
    assert_eq!(gradient(|x| x.powf(1.5), 0.0), 0.0);
    assert_eq!(gradient(|x| x.powf(1.0), 0.0), 1.0);
    assert_eq!(gradient(|x| x.powf(0.0), 0.0), 0.0);
    assert_eq!(gradient(|x| x.powf(0.5), 0.0), f64::INFINITY);
    assert_eq!(gradient(|x| x.powf(-1.0), 0.0), f64::NEG_INFINITY);
    assert_eq!(gradient(|x| x.clip(-1.0, 1.0), 1.0), 0.5);
    assert_eq!(gradient(|x| x.clip(-1.0, 1.0), -1.0), 0.5);
    assert_eq!(gradient(|x| x.clip(-1.0, 1.0), 2.0), 0.0);
    assert_eq!(ad::grad(|x: Var| x.sign() * x, 0.0), 0.0);
}

#[test]
fn higher_derivatives_of_powers_at_zero_are_finite_where_the_mathematics_is() {
    for (exponent, expected) in
        [(2.0, [0.0, 2.0, 0.0, 0.0]), (3.0, [0.0, 0.0, 6.0, 0.0]), (1.0, [1.0, 0.0, 0.0, 0.0]), (0.0, [0.0; 4])]
    {
        for order in 1..=4 {
            let derivative = ad::derivative(|x: Var| x.powf(exponent), 0.0_f64, order).sum();
            assert_eq!(derivative, expected[order - 1], "derivative {order} of x^{exponent}");
        }
    }
}

#[test]
fn pow_at_zero_has_the_documented_derivatives() {
    assert_eq!(gradients(Var::pow, (0.0, 2.0)), (0.0, 0.0));
    assert_eq!(gradients(Var::pow, (0.0, 1.0)), (1.0, 0.0));
    assert_eq!(gradients(Var::pow, (0.0, 0.0)), (0.0, 0.0));
    let (by_base, by_exponent) = gradients(Var::pow, (3.0, 0.0));
    assert!(by_base == 0.0 && (by_exponent - 3.0_f64.ln()).abs() < 1e-15, "{by_exponent}");
    assert_eq!(gradients(Var::pow, (-2.0, 3.0)).0, 12.0);
    assert!(gradients(Var::pow, (-2.0, 3.0)).1.is_nan());
    let tape = Tape::new();
    assert!(tape.constant(-2.0).pow(0.5).item().is_nan());
}

#[test]
fn ties_share_the_derivative() {
    assert_eq!(gradients(Var::max, (1.0, 1.0)), (0.5, 0.5));
    assert_eq!(gradients(Var::min, (1.0, 1.0)), (0.5, 0.5));
    assert_eq!(gradients(Var::max, (1.0, 2.0)), (0.0, 1.0));
    assert_eq!(gradients(Var::min, (1.0, 2.0)), (1.0, 0.0));
    let third = 1.0 / 3.0;
    let tied = ad::grad(|x: Var| x.max_axes(&[0]), &arr1(&[2.0, 1.0, 2.0, 2.0]));
    assert_eq!(tied, arr1(&[third, 0.0, third, third]));
    let rows = ad::grad(|x: Var| (x.max_axes(&[1]) * arr1(&[1.0, 10.0])).sum(), &arr2(&[[1.0, 1.0], [0.0, 3.0]]));
    assert_eq!(rows, arr2(&[[0.5, 0.5], [0.0, 10.0]]));
}

#[test]
fn maxima_and_minima_of_nan_are_nan() {
    let tape = Tape::new();
    let (nan, one) = (tape.constant(f64::NAN), tape.constant(1.0));
    for value in [nan.max(one), one.max(nan), nan.min(one), one.min(nan)] {
        assert!(value.item().is_nan());
    }
    assert!(tape.constant(arr1(&[1.0, f64::NAN, 2.0])).max_axes(&[0]).item().is_nan());
    assert!(tape.constant(arr1(&[1.0, f64::NAN, 2.0])).logsumexp(&[0]).item().is_nan());
    for comparison in [nan.less(one), nan.greater(one), nan.equal(nan), nan.less_equal(nan)] {
        assert_eq!(comparison.item(), 0.0);
    }
    assert_eq!(nan.not_equal(nan).item(), 1.0);
}

#[test]
fn logsumexp_and_softmax_neither_overflow_nor_make_a_nan_of_masks() {
    let infinity = f64::INFINITY;
    let tape = Tape::new();
    let lse = |x: &[f64]| tape.constant(arr1(x)).logsumexp(&[0]).item();
    assert_eq!(lse(&[1000.0, 1000.0]), 1000.0 + 2.0_f64.ln());
    assert_eq!(lse(&[-1000.0, -infinity]), -1000.0);
    assert_eq!(lse(&[-infinity, -infinity]), -infinity);
    assert_eq!(lse(&[]), -infinity);
    assert_eq!(lse(&[infinity, 0.0]), infinity);
    let derivative = |x: &[f64], order| ad::derivative(|x: Var| x.logsumexp(&[0]), &arr1(x), order);
    assert_eq!(derivative(&[-infinity, -infinity], 1), arr1(&[0.0, 0.0]).into_dyn());
    assert_eq!(derivative(&[0.0, -infinity], 1), arr1(&[1.0, 0.0]).into_dyn());
    assert_eq!(derivative(&[0.0, -infinity], 2), Array2::<f64>::zeros((2, 2)).into_dyn());
    assert_eq!(derivative(&[-infinity, -infinity], 2), Array2::<f64>::zeros((2, 2)).into_dyn());
    assert_eq!(tape.constant(arr1(&[1e4, -1e4])).softmax().value(), arr1(&[1.0, 0.0]).into_dyn());
}

#[test]
fn sigmoid_and_softplus_overflow_on_neither_side() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[-1e3, 0.0, 1e3]));
    assert_eq!(x.sigmoid().value(), arr1(&[0.0, 0.5, 1.0]).into_dyn());
    assert_eq!(x.softplus().value(), arr1(&[0.0, 2.0_f64.ln(), 1e3]).into_dyn());
    assert_eq!(x.softplus().sum().grad(x).value(), arr1(&[0.0, 0.5, 1.0]).into_dyn());
    assert!(x.softplus().sum().derivative(x, 3).value().iter().all(|x| x.is_finite()));
    let tiny = tape.constant(-40.0);
    assert!((tiny.softplus().item() / (-40.0_f64).exp() - 1.0).abs() < 1e-15);
}

#[test]
fn select_keeps_a_nan_out_of_what_is_chosen() {
    let root = |x: Var| x.greater(0.0).select(x.greater(0.0).select(x, 1.0).sqrt(), 0.0);
    assert_eq!(gradient(root, -1.0), 0.0);
    assert_eq!(gradient(root, 4.0), 0.25);
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, f64::NAN]));
    let chosen = tape.constant(arr1(&[1.0, 0.0])).select(x, 5.0);
    assert_eq!(chosen.value(), arr1(&[1.0, 5.0]).into_dyn());
    assert_eq!(chosen.sum().grad(x).value(), arr1(&[1.0, 0.0]).into_dyn());
}

#[test]
fn an_input_that_is_listed_twice_is_refused() {
    let tape = Tape::new();
    let (x, y) = (vector(&tape, 3), vector(&tape, 3));
    refused!(tape.compile([x, y, x], [x + y]), "listed twice", "inputs 0 and 2", "made at");
}

/// What was said is the user's look-up, whichever operation met the index.
#[test]
fn an_index_out_of_range_is_reported_for_what_the_user_wrote_and_where() {
    // Of few rows and of many, which are a region of several blocks.
    for n in [4, 5000] {
        let tape = Tape::new();
        let table = tape.input("table", Array2::from_shape_fn((3, 2), |(s, a)| 0.1 + (s * 2 + a) as f64));
        let right: Array1<i32> = Array1::zeros(n);
        let (states, actions) = (tape.index("states", &right), tape.index("actions", &right));
        let both = tape.index("both", Array2::<i32>::zeros((n, 3)));
        let entries = tape.input("entries", Array1::<f64>::zeros(n));
        let data = [Handle::from(states), actions.into(), both.into(), entries.into()];
        let mut wrong = right.clone();
        wrong[n - 2] = 7;
        let position = n - 2;
        #[track_caller]
        fn told(program: &Program, values: &[ad::Value<'_>], expected: (&str, u32, usize, usize, usize)) {
            let error = program.run(values).unwrap_err();
            let Error::IndexOutOfRange { operation, location, index, position, axis, length } = error else {
                panic!("{error}")
            };
            assert_eq!(
                (operation, location.line(), position, axis, length, index),
                (expected.0, expected.1, expected.2, expected.3, expected.4, 7),
                "{error}\n{program}"
            );
        }
        let zeros = Array2::<f64>::zeros((n, 3)).mapv(|_| 0_i32);
        let x = Array1::<f64>::ones(n);
        // A gather; its derivatives, which scatter; what lowering makes of functions of it.
        let gathered = table.gather([states, actions]);
        let line = line!() - 1;
        let loss = gathered.exp().sum();
        let of_linear = (gathered * entries).sum().grad(table);
        for outputs in
            [gathered, loss, gathered.exp(), loss.grad(table), loss.hvp(table, table), of_linear, loss.hessian(table)]
        {
            let program = tape.compile(data, [outputs]);
            told(&program, &values![wrong, right, zeros, x], ("gather", line, position, 0, 3));
            told(&program, &values![right, wrong, zeros, x], ("gather", line, position, 1, 2));
        }
        // A pick from rows, along the last axis.
        let rows = table.gather([states]).sin();
        let picked = rows.pick(actions);
        let line = line!() - 1;
        for outputs in [picked, picked.square().sum().grad(table), picked.exp().sum().hvp(table, table)] {
            told(&tape.compile(data, [outputs]), &values![right, wrong, zeros, x], ("pick", line, position, 1, 2));
        }
        // A scatter, and its derivative, which gathers.
        let scattered = entries.scatter_add([states], &[3]);
        let line = line!() - 1;
        for outputs in [scattered, scattered.square().sum().grad(entries), scattered.exp().sum().hvp(entries, entries)]
        {
            told(
                &tape.compile(data, [outputs]),
                &values![wrong, right, zeros, x],
                ("scatter_add", line, position, 0, 3),
            );
        }
        // Mapped over examples: with tables of their own, and with one for all.
        let tables = tape.input("tables", ArrayD::from_elem(vec![n, 3, 2], 0.5));
        let of_one = |x: &[Handle]| x[0].var().gather([x[1].index(), x[2].index()]);
        let line = line!() - 1;
        let own = vmap_many(of_one, ad::handles![tables, states, actions]);
        for outputs in [own, own.square().sum().grad(tables)] {
            told(&tape.compile(data, [outputs]), &values![right, wrong, zeros, x], ("gather", line, position, 1, 2));
        }
        // Indices that a movement made: the position is that of the array that is looked up at.
        let moved = table.gather([both.slice(1, 1..3)]);
        let line = line!() - 1;
        let mut at = zeros.clone();
        at[[n - 2, 1]] = 7;
        for outputs in [moved, moved.exp(), moved.square().sum().grad(table)] {
            told(&tape.compile(data, [outputs]), &values![right, right, at, x], ("gather", line, 2 * (n - 2), 0, 3));
        }
    }
}

#[test]
fn a_singular_matrix_of_many_is_named_by_its_number() {
    let n = 5000;
    let tape = Tape::new();
    let eyes = ArrayD::from_shape_fn(vec![n, 2, 2], |i| if i[1] == i[2] { 1.0 } else { 0.0 });
    let (a, b) = (tape.input("a", &eyes), tape.input("b", Array2::<f64>::ones((n, 2))));
    let matrices = tape.input("c", ArrayD::<f64>::ones(vec![n, 2, 3]));
    let mut singular = eyes.clone();
    singular[[n - 3, 1, 1]] = 0.0;
    for x in [a.solve(b.insert_axis(2)), a.solve(matrices), a.solve(matrices).square().sum().grad(a)] {
        let error = tape.compile([a], [x]).run(&values![singular]).unwrap_err();
        let Error::Singular { matrix, .. } = error else { panic!("{error}") };
        assert_eq!(matrix, n - 3);
    }
}

#[test]
fn sizes_that_no_memory_holds_are_refused_where_they_are_recorded() {
    let tape = Tape::new();
    let x = vector(&tape, 3);
    let origin = format!("messages.rs:{}", line!() - 1);
    let origin = origin.as_str();
    let huge = 1 << 32;
    let one = tape.input("one", 1.0);
    let index = tape.index("i", arr1(&[0, 1, 2]));
    refused!(one.broadcast_to(&[huge, huge]), "broadcast_to", "[4294967296, 4294967296]", "larger than any memory");
    refused!(one.broadcast_to(&[huge, huge]).sum(), "broadcast_to");
    refused!(index.broadcast_to(&[usize::MAX, 3]), "broadcast_to", "larger than any memory");
    refused!(x.broadcast_to(&[usize::MAX / 8, 3]), "broadcast_to", "[3] repeated to", origin);
    // 2^61 numbers of 8 bytes; an array without entries, of which a part would be too long.
    refused!(one.broadcast_to(&[1 << 31, 1 << 30]), "broadcast_to");
    refused!(one.broadcast_to(&[0, huge, huge]), "broadcast_to");
    let long = one.broadcast_to(&[huge]);
    refused!(long.insert_axis(1) + long, "broadcast_to", "[4294967296, 4294967296]");
    refused!(
        long.insert_axis(1).matmul(long.insert_axis(0)),
        "matmul",
        "[4294967296, 4294967296]",
        "larger than any memory"
    );
    refused!(x.pad(0, usize::MAX, 0), "pad", "axis 0", "[3]", "too many", origin);
    refused!(x.pad(0, 1, usize::MAX), "pad", "too many");
    refused!(x.pad(0, usize::MAX / 2, usize::MAX / 2), "pad");
    refused!(x.pad(0, 1 << 60, 0), "pad", "larger than any memory", origin);
    refused!(index.pad(0, usize::MAX, 1), "pad", "too many");
    refused!(x.reshape(&[huge, huge]), "reshape", "[3] has 3", "too many", origin);
    refused!(matrix(&tape, 0, 3).reshape(&[huge, huge]), "reshape", "too many");
    let most = one.broadcast_to(&[(1 << 60) - 1]);
    refused!(Var::concat(&[most, most], 0), "concat", "larger than any memory");
    refused!(
        Var::concat(&[matrix(&tape, 0, 1).broadcast_to(&[0, 1 << 59]); 32], 1),
        "concat",
        "larger than any memory"
    );
    refused!(x.scatter_add([index], &[usize::MAX]), "scatter_add", "18446744073709551615");
    refused!(x.scatter_add([index, index], &[huge, huge]), "scatter_add", "[4294967296, 4294967296]", "2^32");
    refused!(one.broadcast_to(&[huge, 3]).gather([index, index]), "gather", "[4294967296, 3]", "2^32");
    refused!(long.square().sum().hessian(long), "hessian", "[4294967296, 4294967296]", "larger than any memory");
    refused!(long.sin().jacobian(long), "jacobian", "larger than any memory");
    refused!(long.sin().jacobian_reverse(long), "jacobian_reverse", "larger than any memory");
    refused!(long.sin().derivative(long, 2), "derivative", "larger than any memory");
    refused!(
        one.broadcast_to(&[huge, 2]).pick(tape.index("j", arr0(0)).broadcast_to(&[huge])),
        "pick",
        "4294967296 rows"
    );
    refused!(vmap(|x| x.broadcast_to(&[1 << 40]), one.broadcast_to(&[1 << 40])), "larger than any memory");
    // What is large and never computed is no error.
    assert_eq!(long.sum().shape().len(), 0);
    assert_eq!(matrix(&tape, 0, 3).broadcast_to(&[0, 3]).sum().item(), 0.0);
}

/// The message and place of every function that takes axes, shapes, ranges or other arrays, at bad ones.
#[test]
fn misuse_of_every_function_is_blamed_on_the_callers_line_and_names_the_function() {
    let (tape, others) = (Tape::new(), Tape::new());
    let a = matrix(&tape, 2, 3);
    let (v, s) = (vector(&tape, 3), tape.input("s", 1.0));
    let i = tape.index("i", arr1(&[0, 1]));
    let other = others.index("k", arr1(&[0, 1]));
    macro_rules! misuse {
        ($($words:literal: $body:expr;)*) => {
            $({
                let (message, file, at) = caught(|| { let _ = $body; });
                let call = stringify!($body);
                assert!(file.ends_with("tests/messages.rs"), "{call}: `{message}` is blamed on {file}:{at}");
                assert!(message.contains($words), "{call}: `{}` is not in: {message}", $words);
            })*
        };
    }
    for axis in [2, 3, 1 << 40, usize::MAX] {
        misuse! {
            "sum: axis": a.sum_axes(&[axis]);
            "sum": a.mean_axes(&[axis]);
            "max_axes": a.max_axes(&[axis]);
            "logsumexp": a.logsumexp(&[0, axis]);
            "slice: axis": a.slice(axis, 0..1);
            "slice: axis": i.slice(axis, 0..0);
            "at: entry 0 along axis": a.at(axis, 0);
            "at: entry": a.at(0, axis);
            "at: entry": i.at(0, axis);
            "pad: axis": a.pad(axis, 0, 0);
            "scan: axis": a.scan(0.9, axis);
            "scan: axis": a.scan_reverse(a, axis);
            "scan: axis": a.scan_from(a, a, axis);
            "scan: axis": a.scan_reverse_from(0.5, a, axis);
            "scan: axis": a.cumsum(axis);
            "scan: axis": a.cumsum_exclusive(axis);
            "cumprod": a.cumprod(axis);
            "concat: axis": Var::concat(&[a, a], axis);
            "transpose: axes": a.transpose(&[0, axis]);
            "transpose: axes": i.transpose(&[axis]);
            "insert_axis: a new axis": v.insert_axis(axis);
            "insert_axis: a new axis": i.insert_axis(axis);
            "stack: arrays of shapes": Var::stack(&[v, v], axis);
        }
    }
    #[allow(clippy::reversed_empty_ranges)]
    let (reversed, beyond) = (2..1, 0..usize::MAX);
    misuse! {
        "slice: range 2..1": a.slice(0, reversed.clone());
        "slice: range 2..1": i.slice(0, reversed.clone());
        "slice: range 0..": a.slice(1, beyond.clone());
        "slice: range 0..": i.slice(0, beyond.clone());
        "transpose: axes [1, 1]": a.transpose(&[1, 1]);
        "transpose: axes []": a.transpose(&[]);
        "transpose: axes [0, 1, 2]": a.transpose(&[0, 1, 2]);
        "t: shape [3]": v.t();
        "t: shape []": s.t();
        "reshape: shape [2, 3] has 6": a.reshape(&[]);
        "reshape: shape [2] has 2": i.reshape(&[0]);
        "broadcast_to: shape [2, 3]": a.broadcast_to(&[]);
        "broadcast_to: shape [2, 3]": a.broadcast_to(&[2]);
        "broadcast_to: shape [2]": i.broadcast_to(&[3]);
        "sum: axes [0, 0]": a.sum_axes(&[0, 0]);
        "scan: axis 0": s.cumsum(0);
        "concat: shapes": Var::concat(&[a, v], 0);
        "concat: no arrays": Var::concat(&[], 0);
        "stack: no arrays": Var::stack(&[], 0);
        "stack: arrays of shapes": Var::stack(&[a, v], 0);
        "log_softmax": s.log_softmax();
        "softmax": s.softmax();
        "matmul": s.matmul(s);
        "solve": a.solve(a);
        "solve_triangular: shapes [2, 3]": a.solve_triangular(a, Triangle::Lower);
        "solve_triangular_transposed: shapes [2, 3]": a.solve_triangular_transposed(a, Triangle::Upper);
        "solve_triangular: shapes [3]": v.solve_triangular(v, Triangle::Lower);
        "cholesky: needs square matrices, got shape [2, 3]": a.cholesky();
        "cholesky: needs square matrices, got shape [3]": v.cholesky();
        "ln_determinant: needs square matrices, got shape [2, 3]": a.ln_determinant();
        "ln_determinant: needs square matrices, got shape []": s.ln_determinant();
        "ln_abs_determinant: needs square matrices, got shape [3]": v.ln_abs_determinant();
        "tril: shape [3] is no matrix": v.tril(0);
        "triu: shape [] is no matrix": s.triu(0);
        "diagonal: shape [3] is no matrix": v.diagonal();
        "diag: a scalar is no vector": s.diag();
        "eye: a matrix of 4294967296 rows and columns is larger than any memory": tape.eye(1 << 32);
        "gather: operands of two tapes": a.gather([other]);
        "gather: 3 index arrays": a.gather([i, i, i]);
        "gather: 0 index arrays": s.gather([]);
        "scatter_add: entries of shape": a.scatter_add([i], &[2, 2]);
        "scatter_add: index 0": a.scatter_add([i], &[0]);
        "scatter_add: operands of two tapes": a.scatter_add([other], &[2]);
        "pick: an array of shape []": s.pick(i);
        "pick: operands of two tapes": a.pick(other);
        "patches: shape [2, 3]": a.patches([1, 1], 1);
        "patches: shape [2]": i.patches([1, 1], 1);
        "add_patches: shape []": s.add_patches([1, 1], 1, [1, 1]);
        "conv: images of shape [2, 3]": a.conv(v, 1);
        "conv: operands of two tapes": a.conv(others.input("w", 1.0), 1);
        "select": a.select(a, matrix(&tape, 3, 2));
        "custom: an operation needs an operand": ad::custom(Nothing, &[]);
        "item: shape [2, 3]": a.item();
        "grad: the loss has shape": a.grad(a);
        "vjp: a cotangent of shape [3]": a.vjp(a, v);
        "jvp: a direction of shape [3]": a.jvp(a, v);
        "hvp: a direction of shape [3]": a.sum().hvp(a, v);
        "vmap: a scalar": vmap(|x| x, s);
        "vmap: nothing": vmap_many(|_| s, ad::handles![]);
        "expected a Var": Handle::from(i).var();
        "expected an Index": Handle::from(a).index();
        "compile: only what": tape.compile([a.sin()], [a]);
        "compile: only what": tape.compile([tape.constant(1.0)], [a]);
        "is of another tape": tape.compile([other], [a]);
        "listed twice": tape.compile([a, a], [a]);
    }
}

/// An operation that is never recorded.
struct Nothing;

impl ad::CustomOperation for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<ad::Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, _operands: &[ndarray::ArrayViewD<'_, f64>], _out: ndarray::ArrayViewMutD<'_, f64>) {}
    fn vjp(&self, _operands: &[Var], _output: Var, _cotangent: Var) -> Vec<Option<Var>> {
        Vec::new()
    }
}

#[test]
fn programs_of_nothing_and_of_empty_arrays_are_programs() {
    let tape = Tape::new();
    let nothing: Program = tape.compile([] as [Var; 0], [] as [Var; 0]);
    assert_eq!(nothing.run(&[]).unwrap(), Vec::<ArrayD<f64>>::new());
    assert_eq!(nothing.cost().operations, 0);
    let x = tape.input("x", Array2::<f64>::zeros((0, 3)));
    let unused = tape.compile([x], [] as [Var; 0]);
    assert_eq!(unused.run(&values![Array2::<f64>::zeros((0, 3))]).unwrap().len(), 0);
    assert!(matches!(unused.run(&[]), Err(Error::MissingInput { .. })));
    let itself = tape.compile([x], [x, x.exp(), x.sum_axes(&[0])]);
    let results = itself.run(&values![Array2::<f64>::zeros((0, 3))]).unwrap();
    assert_eq!((results[0].shape(), results[1].shape()), (&[0, 3][..], &[0, 3][..]));
    assert_eq!(results[2], arr1(&[0.0; 3]).into_dyn());
    assert!(matches!(itself.run(&values![Array2::<f64>::zeros((3, 0))]), Err(Error::Shape { .. })));
    assert!(matches!(itself.run_into(&values![Array2::<f64>::zeros((0, 3))], &mut []), Err(Error::Results { .. })));
    assert_eq!(ad::evaluate(&[]).len(), 0);
    let scalar = tape.input("s", 2.0);
    assert_eq!(tape.compile([scalar], [scalar]).run(&values![3.0]).unwrap()[0].sum(), 3.0);
}
