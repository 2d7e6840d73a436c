//! What is said when something is wrong, and where: every message's words, and that a panic is the caller's line.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use ad::{Error, Handle, Index, Program, Tape, Var, values, vmap, vmap_many};
use ndarray::{Array1, Array2, ArrayD, arr1, arr2};

thread_local! {
    /// Message, file and line of this thread's last panic, while one is awaited.
    static CAUGHT: RefCell<Option<(String, String, u32)>> = const { RefCell::new(None) };
    static AWAITED: RefCell<bool> = const { RefCell::new(false) };
}

fn caught(f: impl FnOnce()) -> (String, String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !AWAITED.with_borrow(|awaited| *awaited) {
                return default(info);
            }
            let literal = || info.payload().downcast_ref::<&str>().map(|&message| message.to_owned());
            let message = info.payload().downcast_ref::<String>().cloned().or_else(literal).unwrap_or_default();
            let at = info.location().expect("a location");
            CAUGHT.set(Some((message, at.file().to_owned(), at.line())));
        }));
    });
    AWAITED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    AWAITED.set(false);
    assert!(outcome.is_err(), "it should have panicked");
    CAUGHT.take().expect("the hook saw it")
}

#[track_caller]
fn assert_said(message: &str, words: &[&str]) {
    for words in words {
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
}

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
    let stack = tape.input("s", ArrayD::zeros(vec![3, 3, 2]));
    let other = tape.input("t", ArrayD::zeros(vec![2, 2, 3]));
    refused!(stack.matmul(other), "matmul", "[3, 3, 2]", "[2, 2, 3]");
    refused!(a.solve(x), "solve", "[2, 3]", "[4]", "square", origin);
    refused!(x.solve(x), "solve", "[4]");
    refused!(matrix(&tape, 3, 3).solve(x), "solve", "[3, 3]", "[4]");
    refused!(tape.input("s", ArrayD::zeros(vec![2, 3, 3])).solve(matrix(&tape, 4, 3)), "solve", "[2, 3, 3]", "[4, 3]");
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
    refused!(a.at(1, 3), "slice", "3..4", "axis 1", "[2, 3]");
    refused!(a.pad(5, 1, 1), "pad", "axis 5", "[2, 3]");
    refused!(a.insert_axis(3), "insert_axis", "axis 3", "[2, 3]");
    refused!(a.sum().t(), "t: ", "[]");
    refused!(Var::concat(&[a, matrix(&tape, 3, 3)], 1), "concat", "[2, 3]", "[3, 3]", "axis 1");
    refused!(Var::stack(&[a, matrix(&tape, 3, 3)], 0), "concat", "[1, 2, 3]", "[1, 3, 3]");
    refused!(Var::<f64>::concat(&[], 0), "concat: no arrays");
    refused!(Var::stack(&[a], 4), "insert_axis", "axis 4");
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
    refused!(y.grad_or_zeros(x), "only a scalar");
    refused!(y.hvp(x, x), "only a scalar");
    refused!(y.hessian(x), "only a scalar");
    refused!(ad::grad(|x: Var| x.sin(), &arr1(&[1.0, 2.0])), "grad", "shape [2]");
    refused!(ad::value_and_grad(|x: Var| x.sin(), &arr1(&[1.0, 2.0])), "grad", "shape [2]");
    refused!(ad::hvp(|x: Var| x.sin(), &arr1(&[1.0, 2.0]), &arr1(&[1.0, 2.0])), "grad", "shape [2]");
    refused!(ad::hessian(|x: Var| (x * 0.0).stop_gradient(), &arr1(&[1.0, 2.0])), "only through `stop_gradient`");
}

#[test]
fn a_gradient_by_something_without_a_path_to_the_loss_is_refused_and_names_it() {
    let tape = Tape::<f64>::new();
    let x = tape.input("theta", arr1(&[1.0, 2.0]));
    let y = tape.input("phi", arr1(&[1.0, 2.0, 3.0]));
    let of_phi = format!("messages.rs:{}", line!() - 1);
    let loss = x.square().sum();
    let of_loss = format!("messages.rs:{}", line!() - 1);
    refused!(loss.grad(y), "grad", "does not depend on", "\"phi\"", "[3]", "grad_or_zeros", &of_phi, &of_loss);
    refused!(loss.grad([x, y]), "variable 1", "\"phi\"");
    refused!(loss.hvp(y, y), "does not depend on", "\"phi\"");
    refused!(loss.hessian(y), "does not depend on", "\"phi\"");
    refused!(x.jacobian(y), "jacobian", "does not depend on", "\"phi\"");
    refused!(y.jacobian(x), "jacobian", "does not depend on", "\"theta\"");
    refused!(x.jacobian_reverse(y), "jacobian", "does not depend on");
    refused!(x.derivative(y, 2), "jacobian", "does not depend on");
    refused!(x.jvp(y, y), "jvp", "does not depend on", "\"phi\"");
    refused!(x.vjp(y, x), "vjp", "does not depend on", "\"phi\"");
    refused!(loss.grad(x.sin()), "does not depend on", "sin", "[2]");
    refused!(x.at(0, 0).grad(loss), "does not depend on");
    refused!(ad::grad(|(x, _): (Var, Var)| x * x, (1.0, 2.0)), "variable 1", "messages.rs");
    assert_eq!(loss.grad_or_zeros(y).value(), arr1(&[0.0; 3]).into_dyn());
    let [by_x, by_y] = loss.grad_or_zeros([x, y]);
    assert_eq!((by_x.value(), by_y.value()), (arr1(&[2.0, 4.0]).into_dyn(), arr1(&[0.0; 3]).into_dyn()));
}

#[test]
fn a_gradient_through_a_barrier_only_is_refused_and_names_the_barrier() {
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let (one, other) = (Tape::<f64>::new(), Tape::<f64>::new());
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
    refused!(Var::stack(&[x, y], 0), "concat", "two tapes");
    refused!(x.gather(&[index]), "gather", "two tapes", of_x);
    refused!(x.scatter_add(&[index], &[2]), "scatter_add", "two tapes", of_x);
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
    refused!(vmap_many(|x| x[0].var(), &[x.into(), y.into()]), "vmap", "two tapes", of_x, of_y);
    refused!(one.compile([y], [x]), "compile", "another tape", of_y);
    refused!(one.compile([x], [y]), "compile", "another tape", of_y);
}

#[test]
fn a_handle_of_a_dropped_tape_is_refused_with_its_place() {
    let (x, index) = {
        let tape = Tape::<f64>::new();
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
    refused!(x.gather(&[index]), "dropped", place);
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
    refused!(index.to_real(), "dropped", "Index", place);
    refused!(index.reshape(&[1, 2]), "dropped", "Index", place);
    refused!(Index::constant(x, arr1(&[1])), "dropped", place);
    // To print one is no use of it.
    assert!(format!("{x:?}").contains(place));
}

#[test]
fn an_index_out_of_range_is_refused_where_it_is_recorded() {
    let tape = Tape::<f64>::new();
    let table = matrix(&tape, 3, 2);
    let (high, low) = (tape.index("states", arr1(&[0, 3])), tape.index("states", arr1(&[1, 0, -1])));
    let place = format!("messages.rs:{}", line!() - 1);
    refused!(table.gather(&[high]), "gather", "index 3 at position 1", "axis of length 3", &place);
    refused!(table.gather(&[low]), "gather", "index -1 at position 2");
    let fine = tape.index("states", arr1(&[0, 1]));
    refused!(table.gather(&[fine, high]), "gather", "index 3 at position 1", "length 2");
    refused!(table.slice(0, 0..2).scatter_add(&[high], &[3]), "scatter_add", "index 3 at position 1", "length 3");
    refused!(table.slice(0, 0..2).pick(high), "pick", "index 3 at position 1", "length 2");
    refused!(table.gather(&[Index::constant(table, arr2(&[[0, 1], [2, 7]]))]), "index 7 at position 3");
}

#[test]
fn index_arrays_that_do_not_suit_the_table_are_refused() {
    let tape = Tape::<f64>::new();
    let table = matrix(&tape, 3, 2);
    let (two, three) = (tape.index("i", arr1(&[0, 1])), tape.index("j", arr1(&[0, 1, 1])));
    refused!(table.gather(&[two, three]), "gather", "different shapes", "[2]", "[3]");
    refused!(table.gather(&[two, two, two]), "gather", "3 index arrays", "[3, 2]");
    refused!(table.gather(&[]), "gather", "0 index arrays", "[3, 2]");
    refused!(table.scatter_add(&[two], &[5]), "scatter_add", "[3, 2]", "[2]");
    refused!(table.scatter_add(&[], &[]), "scatter_add", "0 index arrays");
    refused!(table.pick(two), "pick", "[3, 2]", "[3], got [2]");
}

#[test]
fn an_index_out_of_range_at_replay_is_an_error_with_its_position() {
    let tape = Tape::<f64>::new();
    let table = matrix(&tape, 3, 2);
    let states = tape.index("states", arr2(&[[0, 1], [2, 0]]));
    let gathered = table.gather(&[states]);
    let line = line!() - 1;
    let program = tape.compile([states], [gathered]);
    let error = program.run(&values![arr2(&[[0, 1], [3, 0]])]).unwrap_err();
    let Error::IndexOutOfRange { operation, location, index, position, length } = error else { panic!("{error:?}") };
    assert_eq!((operation, index, position, length, location.line()), ("gather", 3, 2, 3, line));
    assert_said(&error.to_string(), &["gather at", "messages.rs", "index 3 at position 2", "length 3"]);
    let negative = program.run(&values![arr2(&[[0, -1], [0, 0]])]).unwrap_err();
    assert_said(&negative.to_string(), &["index -1 at position 1"]);
    // Its gradient scatters by the same indices; that is found as well, and the program can be run again after it.
    let program = tape.compile([states], [gathered.square().sum().grad(table)]);
    assert!(matches!(program.run(&values![arr2(&[[9, 0], [0, 0]])]), Err(Error::IndexOutOfRange { index: 9, .. })));
    assert!(program.run(&values![arr2(&[[2, 0], [0, 0]])]).is_ok());
    let scattered = gathered.scatter_add(&[states], &[3]);
    let error = tape.compile([states], [scattered.sum()]).run(&values![arr2(&[[0, 1], [0, 5]])]).unwrap_err();
    assert_said(&error.to_string(), &["index 5 at position 3"]);
}

fn program_of_three() -> Program {
    let tape = Tape::<f64>::new();
    let x = tape.input("theta", arr1(&[1.0, 2.0]));
    let w = tape.input("scale", 3.0);
    let states = tape.index("states", arr1(&[0, 1]));
    tape.compile([Handle::from(x), w.into(), states.into()], [(x * w).gather(&[states]).sum()])
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
    let tape = Tape::<f32>::new();
    let x = tape.input("x", arr1(&[1.0_f32, 2.0]));
    let program = tape.compile([x], [x.square()]);
    let error = program.run(&values![arr1(&[1.0_f64, 2.0])]).unwrap_err();
    assert_eq!(error, Error::Dtype { input: "x".to_owned(), expected: "f32", given: "f64" });
    assert_eq!(program.run(&values![arr1(&[3.0_f32, 1.0])]).unwrap()[0], arr1(&[9.0_f32, 1.0]).into_dyn());
}

#[test]
fn what_is_no_input_cannot_be_one_of_a_program() {
    let tape = Tape::<f64>::new();
    let x = vector(&tape, 2);
    let y = x.sin();
    let place = format!("messages.rs:{}", line!() - 1);
    refused!(tape.compile([y], [y.sum()]), "compile", "sin", &place);
    refused!(tape.compile([tape.constant(1.0)], [y]), "compile", "constant");
}

#[test]
fn what_depends_on_a_placeholder_has_no_value() {
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
    let (scalar, two, three) = (tape.input("s", 1.0), vector(&tape, 2), vector(&tape, 3));
    let place = format!("messages.rs:{}", line!() - 1);
    refused!(vmap(|x| x, scalar), "vmap", "scalar", &place);
    refused!(vmap_many(|x| x[0].var(), &[two.into(), three.into()]), "vmap", "[2]", "[3]", &place);
    refused!(vmap_many(|x| x[0].var(), &[two.into(), scalar.into()]), "vmap", "[2]", "[]");
    refused!(vmap_many(|_| two, &[]), "vmap: nothing");
    refused!(vmap_many(|x| x[0].index().to_real(), &[two.into()]), "expected an Index");
}

#[test]
fn directions_and_cotangents_of_the_wrong_shape_or_number_are_refused() {
    let tape = Tape::<f64>::new();
    let (x, y) = (vector(&tape, 2), vector(&tape, 3));
    refused!(x.sin().jvp(x, y), "jvp", "direction", "[3]", "[2]");
    refused!(x.sin().sum().hvp(x, y), "hvp", "direction", "[3]", "[2]");
    refused!(x.sin().vjp(x, y), "vjp", "cotangent", "[3]", "[2]");
    refused!(x.sin().jvp([x, x].as_slice(), [x].as_slice()), "jvp", "as many directions as variables");
}

#[test]
fn check_finite_names_the_operation_and_the_line_that_first_made_a_number_that_is_none() {
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
    let (x, a) = (tape.input("x", 1e200), tape.input("a", arr1(&[1.0; 4])));
    let program = tape.compile([x, a], [(x * 1e200) * 1e-200 * a]);
    assert_eq!(program.run(&values![1e200, arr1(&[1.0; 4])]).unwrap()[0], arr1(&[1e200; 4]).into_dyn());
    assert_eq!(program.check_finite(&values![1e200, arr1(&[1.0; 4])]), Ok(()));
    // Here it is the recorded operations that stay, and what runs.
    let index = Index::constant(a, arr1(&[0; 4]));
    let table = tape.input("table", arr1(&[0.25]));
    let scattered = (a * table.gather(&[index])).scatter_add(&[index], &[1]);
    let program = tape.compile([a, table], [scattered]);
    let given = [ad::Value::from(arr1(&[1e308; 4])), arr1(&[0.25]).into()];
    assert_eq!(program.run(&given).unwrap()[0], arr1(&[1e308]).into_dyn());
    assert_eq!(program.check_finite(&given), Ok(()));
}

#[test]
fn a_singular_system_is_an_error_that_names_its_line_and_matrix() {
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
    let x = tape.input("x", arr1(&[1.0, f64::NAN]));
    let chosen = tape.constant(arr1(&[1.0, 0.0])).select(x, 5.0);
    assert_eq!(chosen.value(), arr1(&[1.0, 5.0]).into_dyn());
    assert_eq!(chosen.sum().grad(x).value(), arr1(&[1.0, 0.0]).into_dyn());
}

#[test]
fn an_input_that_is_listed_twice_is_refused() {
    let tape = Tape::<f64>::new();
    let (x, y) = (vector(&tape, 3), vector(&tape, 3));
    refused!(tape.compile([x, y, x], [x + y]), "listed twice", "inputs 0 and 2", "made at");
}
