//! Programs: what they print, cost and give, on whatever inputs and threads they run; and where nodes say they come from.

use ad::{DType, Handle, Lowering, Program, Tape, Value, Var, values};
use ndarray::{Array1, Array2, ArrayD, Axis, Order, ShapeBuilder, arr1, arr2, s};

#[test]
fn a_program_prints_one_line_for_each_operation_with_its_shape_and_place() {
    let tape = Tape::new();
    let x = tape.input("theta", arr2(&[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]));
    let actions = tape.index("actions", arr1(&[1, 0]));
    let first = line!() + 1;
    let picked = x.logsumexp(&[1]);
    let loss = picked.exp().sum();
    let gathered = x.gather([actions]);
    let program = tape.compile([Handle::from(x), actions.into()], [loss, gathered]);
    let text = program.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let steps: Vec<&str> = lines.iter().filter(|line| line.starts_with('%')).copied().collect();
    assert_eq!(lines[0], "input  theta: f64[2, 3]");
    assert_eq!(lines[1], "input  actions: i32[2]");
    assert_eq!(steps.len(), program.cost().operations);
    let expected = [
        ("= logsumexp(theta) axes=[1]", "f64[2]", first),
        ("= exp(%0)", "f64[2]", first + 1),
        ("= sum(%1) axes=[0]", "f64[]", first + 1),
        ("= gather(theta, actions) axis=0", "f64[2, 3]", first + 2),
    ];
    assert_eq!(steps.len(), expected.len(), "{text}");
    for (i, (step, (call, shape, line))) in steps.iter().zip(expected).enumerate() {
        assert!(step.starts_with(&format!("%{i} ")), "{step}");
        for words in [call, shape, &format!("programs.rs:{line}:")] {
            assert!(step.contains(words), "`{words}` is not in: {step}");
        }
    }
    assert_eq!(lines.last(), Some(&"return %2, %3"));
}

#[test]
fn a_program_prints_its_constants() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0_f32, 2.0]));
    let text = tape.compile([x], [x * 2.5 + arr1(&[1.0_f32, 3.0])]).to_string();
    assert!(text.contains("f32[] = 2.5"), "one number is not written out: {text}");
    assert!(text.lines().any(|line| line.starts_with("const ") && line.ends_with("f32[2]")), "{text}");
}

#[test]
fn costs_are_those_counted_by_hand() {
    let tape = Tape::new();
    let a = tape.input("a", Array2::<f64>::zeros((2, 3)));
    let b = tape.input("b", Array2::<f64>::zeros((3, 4)));
    let product = a.matmul(b);
    let cost = |outputs: &[Var]| tape.compile([a, b], outputs.iter().copied()).cost();
    // 2·m·n·k; both operands read, the result written.
    let one = cost(&[product]);
    assert_eq!((one.operations, one.flops), (1, 2 * 2 * 3 * 4));
    assert_eq!(one.bytes, 8 * (6 + 12 + 8));
    assert_eq!(one.peak_memory, 8 * (6 + 12 + 8));
    // Two more: exp reads and writes 8, sum reads 8 and writes 1.
    let three = cost(&[product.exp().sum()]);
    assert_eq!((three.operations, three.flops), (3, 48 + 8 + 8));
    assert_eq!(three.bytes, 8 * (26 + 16 + 9));
    // At most two of the results are held at once.
    assert!(three.peak_memory <= 8 * (18 + 16), "{three}");
    assert_eq!(
        three.to_string(),
        format!("3 operations, 64 flops, {} bytes moved, {} bytes of memory at most", three.bytes, three.peak_memory)
    );
}

#[test]
fn what_nobody_asks_for_and_what_is_done_already_costs_nothing() {
    let tape = Tape::new();
    let x = tape.input("x", Array1::<f64>::zeros(100));
    let _unused = x.exp().sum();
    let twice = x.sin() * x.sin();
    let program = tape.compile([x], [twice, x.sin(), x.sin() * x.sin()]);
    assert_eq!(program.cost().operations, 2, "{program}");
}

#[test]
fn memory_does_not_grow_with_the_length_of_a_chain() {
    let peak = |length: usize| {
        let tape = Tape::new();
        let x = tape.input("x", Array1::<f64>::zeros(1000));
        let y = (0..length).fold(x, |y, _| y.sin());
        tape.compile([x], [y]).cost().peak_memory
    };
    assert_eq!(peak(100), peak(10));
}

#[test]
fn a_program_is_send_and_sync_and_gives_equal_results_from_every_thread() {
    fn shared<T: Send + Sync>(_: &T) {}
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.1, 0.2, 0.3]));
    let loss = (x.sin().exp() * x).sum();
    let program = tape.compile([x], [loss, loss.grad(x), loss.hessian(x)]);
    shared(&program);
    drop(tape);
    let input = |k: usize| arr1(&[0.1 * k as f64, -0.4, 1.0 / (1.0 + k as f64)]);
    let alone: Vec<Vec<ArrayD<f64>>> = (0..8).map(|k| program.run(&values![input(k)]).unwrap()).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (program, alone) = (&program, &alone);
            scope.spawn(move || {
                for round in 0..200 {
                    let k = (thread + round) % 8;
                    assert_eq!(program.run(&values![input(k)]).unwrap(), alone[k]);
                }
            });
        }
    });
}

#[test]
fn a_program_outlives_its_tape_and_its_thread() {
    let program: Program = std::thread::spawn(|| {
        let tape = Tape::new();
        let x = tape.input("x", 1.0);
        tape.compile([x], [x.exp().grad(x)])
    })
    .join()
    .unwrap();
    assert_eq!(program.run(&values![0.0]).unwrap()[0].sum(), 1.0);
}

#[test]
fn inputs_that_are_not_listed_keep_the_values_they_were_recorded_with() {
    let tape = Tape::new();
    let (x, w) = (tape.input("x", arr1(&[1.0, 2.0])), tape.input("w", arr1(&[10.0, 20.0])));
    let states = tape.index("states", arr1(&[1, 1]));
    let y = (x * w).gather([states]);
    let run = |program: Program, values: &[Value<'_>]| program.run(values).unwrap().swap_remove(0);
    assert_eq!(run(tape.compile([x], [y]), &values![arr1(&[0.0, 3.0])]), arr1(&[60.0, 60.0]).into_dyn());
    assert_eq!(run(tape.compile([w], [y]), &values![arr1(&[7.0, 5.0])]), arr1(&[10.0, 10.0]).into_dyn());
    assert_eq!(run(tape.compile([states], [y]), &values![arr1(&[0, 1])]), arr1(&[10.0, 40.0]).into_dyn());
    assert_eq!(run(tape.compile([] as [Var; 0], [y]), &[]), y.value());
    // Listed in another order, and one that nothing uses.
    let unused = tape.input("unused", 0.0);
    let program = tape.compile([w, unused, x], [y]);
    assert_eq!(run(program, &values![arr1(&[1.0, 2.0]), 5.0, arr1(&[3.0, 4.0])]), arr1(&[8.0, 8.0]).into_dyn());
}

#[test]
fn an_input_or_a_constant_may_be_an_output() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let program = tape.compile([x], [x, tape.constant(3.0), x, x.alias()]);
    let results = program.run(&values![arr1(&[5.0, 6.0])]).unwrap();
    let x = arr1(&[5.0, 6.0]).into_dyn();
    assert_eq!(results, [x.clone(), ndarray::arr0(3.0).into_dyn(), x.clone(), x]);
}

#[test]
fn runs_do_not_disturb_each_other() {
    let tape = Tape::new();
    let x = tape.input("x", arr2(&[[0.1, 0.2], [0.3, 0.4]]));
    let index = tape.index("i", arr1(&[0, 0]));
    let y = (x.sin() * 2.0).gather([index]).scatter_add([index], &[2]).pad(0, 1, 1).cumsum(0);
    let program = tape.compile([Handle::from(x), index.into()], [y, y.sum().grad(x)]);
    let run = || program.run(&values![arr2(&[[0.1, 0.2], [0.3, 0.4]]), arr1(&[0, 1])]).unwrap();
    let first = run();
    assert!(program.run(&values![arr2(&[[f64::NAN, 1.0], [1.0, 1.0]]), arr1(&[0, 0])]).is_ok());
    assert!(program.run(&values![arr2(&[[1.0, 1.0], [1.0, 1.0]]), arr1(&[0, 2])]).is_err());
    assert_eq!(run(), first);
}

#[test]
fn a_var_says_on_which_line_it_was_made_and_a_derivative_what_it_comes_from() {
    let tape = Tape::new();
    let here = |line: u32, var: Var| {
        assert!(var.location().file().ends_with("tests/programs.rs"), "{}", var.location());
        assert_eq!(var.location().line(), line);
    };
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    here(line!() - 1, x);
    let y = x.sin();
    here(line!() - 1, y);
    let product = y * 3.0;
    here(line!() - 1, product);
    let normalised = product.softmax();
    here(line!() - 1, normalised);
    let composed = normalised.matmul(x.scan_reverse(0.9, 0));
    here(line!() - 1, composed);
    let gradient = y.sum().grad(x);
    // The last step of that derivative is the sine's, and so is its line.
    here(y.location().line(), gradient);
    here(y.location().line(), y.jvp(x, x));
    let mapped = ad::vmap(|x| x.exp(), x);
    here(line!() - 1, mapped);
    let repeated = ad::vmap(|_| composed, x);
    here(line!() - 1, repeated);
    let zeros = composed.grad_or_zeros(tape.input("unrelated", 1.0));
    here(line!() - 1, zeros);
    // A closure's argument is made where the derivative is asked for.
    let mut argument = None;
    let asked = line!() + 1;
    let _ = ad::grad(|x: Var| argument.insert(x).sum(), x);
    here(asked, argument.unwrap());
    let program = tape.compile_with([x], [gradient], Lowering::Off).to_string();
    let cosine = program.lines().find(|line| line.contains("= cos")).unwrap();
    assert!(cosine.contains(&format!("tests/programs.rs:{}:", y.location().line())), "{program}");
    let steps = || program.lines().filter(|line| line.starts_with('%'));
    assert!(steps().count() > 1 && steps().all(|step| step.contains("tests/programs.rs:")), "{program}");
}

/// Of two numbers, in two types by turns, and a long way in one of them: what is made on the way is asked for, too, and what is
/// asked for is read again.
fn numbers_by_turns(shape: &[usize], at: [f64; 2], lowering: Lowering) -> Vec<u64> {
    let tape = Tape::new();
    let x = ArrayD::from_elem(shape, at[0]);
    let y = ArrayD::from_elem(shape, at[1] as f32);
    let inputs = [tape.input("x", &x), tape.input("y", &y)];
    let [mut a, mut b] = inputs;
    let mut outputs = inputs.to_vec();
    for i in 0..120 {
        a = (a * 1.25 - inputs[0]).sin() + a.square() * 0.25;
        b = (b - 0.5).tanh() * inputs[1] / (b * b + 1.0);
        if i % 30 == 0 {
            a += b.cast(DType::F64);
            b += inputs[0].cast(DType::F32).max(b);
            outputs.extend([a, b]);
        }
    }
    let c = (0..700).fold(a, |c, i| if i % 2 == 0 { c.cos() } else { c * 0.9 - inputs[0] });
    outputs.extend([c, c.sum().grad(inputs[0]), b.sum().grad(inputs[1])]);
    let program = tape.compile_with(inputs, outputs, lowering);
    let once = program.run_values(&values![x, y]).unwrap();
    assert_eq!(program.run_values(&values![x, y]).unwrap(), once);
    let first = |value: &Value<'_>| match value {
        Value::F64(array) => array.first().unwrap().to_bits(),
        Value::F32(array) => u64::from(array.first().unwrap().to_bits()),
        _ => unreachable!("floating-point numbers"),
    };
    once.iter().map(first).collect()
}

#[test]
fn many_operations_on_numbers_have_the_bits_of_those_on_entries() {
    for lowering in [Lowering::On, Lowering::Off] {
        for at in [[0.3, -0.7], [-1.0, 2.0]] {
            let alone = numbers_by_turns(&[], at, lowering);
            assert_eq!(alone, numbers_by_turns(&[2], at, lowering), "{at:?}, {lowering:?}");
            assert!(alone.iter().all(|&bits| !f64::from_bits(bits).is_nan()), "{alone:?}");
        }
    }
}

#[test]
fn a_chain_of_a_million_operations_is_compiled_and_run() {
    let tape = Tape::new();
    let x = tape.input("x", 0.3);
    let y = (0..500_000).fold(x, |y, _| (y * 0.999).sin());
    let results = tape.compile([x], [y, y.grad(x)]).run(&values![0.4]).unwrap();
    let step = |(y, d): (f64, f64), _| ((y * 0.999).sin(), d * (y * 0.999).cos() * 0.999);
    let (value, derivative) = (0..500_000).fold((0.4, 1.0), step);
    assert!((results[0].sum() - value).abs() <= 1e-12 * value.abs());
    assert!((results[1].sum() - derivative).abs() <= 1e-9 * derivative.abs());
}

#[test]
fn a_chain_of_200_000_operations_is_recorded_differentiated_compiled_and_run() {
    let length = 200_000;
    let tape = Tape::new();
    let x = tape.input("x", 0.3);
    let y = (0..length / 2).fold(x, |y, _| (y * 0.999).sin());
    assert!(tape.len() >= length);
    let (gradient, tangent) = (y.grad(x), y.jvp(x, tape.constant(1.0)));
    let program = tape.compile([x], [y, gradient, tangent]);
    let results = program.run(&values![0.4]).unwrap();
    let (mut value, mut derivative) = (0.4_f64, 1.0);
    for _ in 0..length / 2 {
        (value, derivative) = ((value * 0.999).sin(), derivative * (value * 0.999).cos() * 0.999);
    }
    assert!((results[0].sum() - value).abs() <= 1e-12 * value.abs());
    for result in &results[1..] {
        assert!((result.sum() - derivative).abs() <= 1e-9 * derivative.abs(), "{result} and {derivative:e}");
    }
    assert!(program.check_finite(&values![0.4]).is_ok());
    assert!(program.to_string().lines().count() > length);
    assert!(ad::vmap(|x| (0..length / 2).fold(x, |x, _| x.sin()), tape.input("v", arr1(&[1.0]))).item() > 0.0);
    // With no path to what is asked for, the search for one is as long.
    assert_eq!(y.grad_or_zeros(tape.input("other", 1.0)).item(), 0.0);
}

#[test]
fn a_wide_sum_of_100_000_terms_is_differentiated() {
    let tape = Tape::new();
    let x = tape.input("x", 0.3);
    let sum = (0..100_000).fold(x * 0.0, |sum, _| sum + x);
    assert_eq!(sum.grad(x).item(), 100_000.0);
}

#[test]
fn arrays_in_any_layout_are_taken_for_what_they_are() {
    let tape = Tape::new();
    let matrix = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let transposed = matrix.t();
    let fortran = Array2::from_shape_vec((2, 3).f(), vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]).unwrap();
    assert_eq!(fortran, matrix);
    let weights = arr2(&[[1.0, 10.0], [100.0, 1e3], [1e4, 1e5]]);
    let expected = (&transposed * &weights).into_dyn();
    // As what is recorded, by reference and by value; as a constant; as an operand.
    assert_eq!((tape.input("x", transposed) * &weights).value(), expected);
    assert_eq!((tape.input("x", transposed.to_owned()) * &weights).value(), expected);
    assert_eq!((tape.constant(transposed) * &weights).value(), expected);
    assert_eq!((tape.constant(&weights) * transposed.to_owned()).value(), expected);
    assert_eq!(tape.input("x", &fortran).value(), matrix.clone().into_dyn());
    assert_eq!(tape.input("x", fortran.clone()).value(), matrix.clone().into_dyn());
    let reversed = matrix.slice(s![.., ..;-1]);
    assert_eq!(tape.input("x", reversed).value(), reversed.to_owned().into_dyn());
    // As what a program is run on.
    let x = tape.input("x", &weights);
    let states = tape.index("states", arr2(&[[0, 1], [2, 0], [1, 1]]));
    let program = tape.compile([Handle::from(x), states.into()], [x * &weights, states.cast(DType::F64)]);
    let indices = arr2(&[[0, 2, 1], [1, 0, 1]]);
    let results = program.run(&values![transposed, indices.t()]).unwrap();
    assert_eq!(results[0], expected);
    assert_eq!(results[1], indices.t().mapv(f64::from).into_dyn());
    let strided = Array2::from_shape_fn((6, 4), |(i, j)| (4 * i + j) as f64);
    let view = strided.slice(s![..;2, 1..;2]);
    assert_eq!(program.run(&values![view, indices.t()]).unwrap()[0], (&view * &weights).into_dyn());
    let broadcast = arr1(&[1.0, 2.0]);
    let broadcast = broadcast.broadcast((3, 2)).unwrap();
    assert_eq!(program.run(&values![broadcast, indices.t()]).unwrap()[0], (&broadcast * &weights).into_dyn());
    // And the closures.
    let gradient = ad::grad(|x: Var| (x.square() * &weights).sum(), &transposed.to_owned());
    assert_eq!(gradient.into_dyn(), expected * 2.0);
    let flat = fortran.to_shape(((6,), Order::RowMajor)).unwrap();
    assert_eq!(tape.input("x", &fortran).reshape(&[6]).value(), flat.to_owned().into_dyn());
}

#[test]
fn arrays_without_entries_pass_through_programs() {
    let tape = Tape::new();
    let x = tape.input("x", Array2::<f64>::zeros((0, 3)));
    let y = (x.exp() * 2.0).transpose(&[1, 0]).cumsum(1);
    let program = tape.compile([x], [y, y.sum(), y.sum().grad(x)]);
    let results = program.run(&values![Array2::<f64>::zeros((0, 3))]).unwrap();
    assert_eq!(results[0].shape(), [3, 0]);
    assert_eq!(results[1].sum(), 0.0);
    assert_eq!(results[2].shape(), [0, 3]);
    assert_eq!(results[2].len_of(Axis(0)), 0);
}

#[test]
fn a_pair_of_indices_is_made_one_only_where_an_i32_can_count_the_places() {
    let text = |rows: usize, columns: usize, count: usize| {
        let tape = Tape::new();
        let [x, y] = ["x", "y"].map(|name| tape.input(name, 1.0));
        // Nothing of this size is ever computed.
        let table = x.broadcast_to(&[rows, 1]).sin() * y.broadcast_to(&[columns]).cos();
        let index = tape.index("i", arr1(&[0])).broadcast_to(&[count]);
        let table = table.cumsum(1);
        tape.compile([x, y], [table.gather([index, index]).exp()]).to_string()
    };
    let (small, large) = (text(50, 40, 5000), text(1 << 16, 40_000, 1 << 33));
    assert!(small.contains("flat_index"), "{small}");
    assert!(!large.contains("flat_index") && large.contains("gather"), "{large}");
}

#[test]
fn what_waits_for_others_runs_when_they_do_and_is_not_kept() {
    let (rows, columns) = (20_000, 50);
    let tape = Tape::new();
    let a = tape.input("a", Array2::from_shape_fn((rows, 3), |(i, j)| ((3 * i + j) as f64).sin()));
    let b = tape.input("b", Array2::from_shape_fn((columns, 3), |(i, j)| ((3 * i + j) as f64).cos()));
    let norms = |x: Var| x.square().sum_axes(&[1]);
    // Large enough a b that its norms are a region of their own.
    let wide = b.square().broadcast_to(&[rows, columns, 3]).sum_axes(&[0, 2]) / rows as f64;
    for squares in [norms(b), wide] {
        let distances = norms(a).insert_axis(1) - a.matmul(b.t()) * 2.0 + squares;
        let program = tape.compile([a, b], [(-distances).exp().sum()]);
        let whole = 8 * rows * columns;
        assert!(program.cost().peak_memory < whole, "{}\n{program}", program.cost());
        let off = tape.compile_with([a, b], [(-distances).exp().sum()], Lowering::Off);
        let (points, centres) = (a.value(), b.value());
        let given = values![points, centres];
        let (on, off) = (program.run(&given).unwrap()[0].sum(), off.run(&given).unwrap()[0].sum());
        assert!((on - off).abs() <= 1e-12 * off.abs(), "{on} and {off}");
    }
}

#[test]
fn a_slice_and_a_look_up_cost_what_they_read() {
    let tape = Tape::new();
    let x = tape.input("x", Array2::<f64>::zeros((100, 10)));
    let rows = tape.index("rows", arr1(&[3, 5]));
    let cost = |output: Var| tape.compile([Handle::from(x), rows.into()], [output]).cost().bytes;
    assert_eq!(cost(x.slice(0, 2..4)), 8 * (20 + 20));
    assert_eq!(cost(x.gather([rows])), 8 * (20 + 20) + 4 * 2);
}

#[test]
fn what_depends_on_constants_alone_is_computed_once() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let c = arr2(&[[1.0, 2.0], [3.0, 5.0]]);
    let wide = tape.constant(&c);
    let single = tape.constant(c.mapv(|x| x as f32));
    let rows = ad::Index::constant(x, arr1(&[1, 1]));
    let ones = tape.ones(&[2]);
    let folded = [
        ("transpose, exp", x * wide.t().exp(), 1),
        ("sum", x * wide.sum_axes(&[0]), 1),
        ("gather", x * wide.gather([rows]), 1),
        ("product", x * wide.matmul(wide), 1),
        ("single", x.cast(DType::F32) * single.t().sum_axes(&[1]), 2),
        ("cast", x * single.cast(DType::F64), 1),
        ("zeros and ones", x * ones + tape.zeros(&[2]) * ones, 0),
        ("0·1", x + tape.constant(0.0) * 1.0, 0),
        ("an array of ones", x * tape.constant(arr1(&[1.0, 1.0])), 0),
        ("full", x * tape.full(&[2], 2.0) * 0.5, 0),
    ];
    for (name, output, operations) in folded {
        let program = tape.compile([x], [output]);
        assert_eq!(program.cost().operations, operations, "{name}\n{program}");
        let off = tape.compile_with([x], [output], Lowering::Off);
        let at = arr1(&[0.5, -3.0]);
        let given = values![at];
        assert_eq!(program.run_values(&given).unwrap(), off.run_values(&given).unwrap(), "{name}");
    }
    // What two places make of the same constants is still one.
    let twice = tape.compile([x], [(x * wide.t().sum_axes(&[0])) - (x * wide.t().sum_axes(&[0]))]);
    assert_eq!(twice.cost().operations, 2, "{twice}");
    // What is repeated is not written out.
    let rows = tape.input("rows", Array2::<f64>::zeros((50, 2)));
    let repeated = tape.compile([rows], [rows * tape.constant(arr1(&[1.5, 2.5])).broadcast_to(&[50, 2])]);
    assert!(repeated.cost().peak_memory <= 8 * (100 + 100 + 2), "{repeated}");
    // A large one is computed when it is needed, and kept by nobody.
    let large = tape.constant(Array2::from_shape_fn((300, 300), |(i, j)| (i * j) as f64));
    assert!(tape.compile([x], [x * large.t().sum()]).cost().operations > 1);
}

#[test]
fn a_constant_that_is_not_finite_is_reported_where_it_was_made() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let c = tape.constant(arr1(&[0.0, 1.0]));
    let line = line!() + 1;
    let output = x * c.ln();
    let error = tape.compile([x], [output]).check_finite(&values![arr1(&[1.0, 1.0])]).unwrap_err().to_string();
    assert!(error.contains("ln") && error.contains(&format!("programs.rs:{line}")), "{error}");
}

#[test]
fn an_index_out_of_range_among_constants_is_still_an_error_of_the_run() {
    let tape = Tape::new();
    let x = tape.input("x", 1.0);
    let c = tape.constant(arr1(&[0.5, 1.5]));
    let index = tape.index("index", arr1(&[0])).slice(0, 0..1);
    let program = tape.compile([x], [x * c.gather([index])]);
    assert!(program.run(&values![1.0]).is_ok());
}
