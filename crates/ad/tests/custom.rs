//! Operations of a user's own have every derivative that the crate's own have, and wrong rules are found out.

mod common;

use ad::{CustomOperation, Modes, Shape, Tape, Var, check_gradients, custom, vmap, vmap_many};
use common::{assert_close, numbers, weighted};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Ix1, Ix2, arr1, arr2};

/// x³, entry by entry.
struct Cube;

impl CustomOperation for Cube {
    fn name(&self) -> &str {
        "cube"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.zip_mut_with(&operands[0], |out, x| *out = x * x * x);
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some(cotangent * operands[0] * operands[0] * 3.0)]
    }
}

/// (A, x, b) ↦ exp(A·x + b): several operands of different shapes, and a rule that uses the result.
struct ExpAffine;

impl CustomOperation for ExpAffine {
    fn name(&self) -> &str {
        "exp_affine"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        match operands {
            [[m, n], [k], [o]] if n == k && m == o => Ok(Shape::from_slice(&[*m])),
            _ => Err(format!("needs m×n, n and m entries, got {operands:?}")),
        }
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        let a = operands[0].view().into_dimensionality::<Ix2>().unwrap();
        let x = operands[1].view().into_dimensionality::<Ix1>().unwrap();
        out.assign(&(a.dot(&x).into_dyn() + &operands[2]).mapv(f64::exp));
    }
    fn vjp(&self, operands: &[Var], output: Var, cotangent: Var) -> Vec<Option<Var>> {
        let inner = cotangent * output;
        vec![Some(inner.insert_axis(1) * operands[1]), Some(inner.matmul(operands[0])), Some(inner)]
    }
}

/// sin(x)·stop(w): no derivative flows to w.
struct SineOfFirst;

impl CustomOperation for SineOfFirst {
    fn name(&self) -> &str {
        "sine_of_first"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.assign(&(operands[0].mapv(f64::sin) * &operands[1]));
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some(cotangent * operands[0].cos() * operands[1]), None]
    }
}

fn exp_affine(x: &[Var]) -> Var {
    custom(ExpAffine, &[x[0].sin(), x[1], x[2]])
}

fn point() -> [ArrayD<f64>; 3] {
    [numbers(&[2, 3], -0.8, 0.8), numbers(&[3], -0.8, 0.8), numbers(&[2], -0.8, 0.8)]
}

#[test]
fn a_custom_operation_passes_check_gradients_to_order_3_in_both_modes() {
    for shape in [&[][..], &[3], &[0], &[2, 3]] {
        check_gradients(|x| custom(Cube, &[x[0].sin()]), &[numbers(shape, -1.0, 1.0)], 3, Modes::Both).unwrap();
    }
    check_gradients(exp_affine, &point(), 3, Modes::Both).unwrap();
    check_gradients(
        |x| custom(Cube, &[x[0]]) * x[0].exp() + custom(Cube, &[x[0] * x[0]]),
        &[numbers(&[2], -1.0, 1.0)],
        3,
        Modes::Both,
    )
    .unwrap();
}

#[test]
fn custom_derivatives_of_orders_1_to_4_are_those_of_the_operation_written_out() {
    let f = |cube: fn(Var) -> Var| move |x: Var| cube(x.sin() * x).sum();
    let (x, custom_form, plain) = (arr1(&[0.4, -1.2]), f(|x| custom(Cube, &[x])), f(|x| x * x * x));
    for order in 0..=4 {
        let (a, b) = (ad::derivative(custom_form, &x, order), ad::derivative(plain, &x, order));
        assert_close(&format!("order {order}"), &a, &b, 1e-13);
    }
    assert_eq!(ad::derivative(|x: Var| custom(Cube, &[x]), 2.0_f64, 4).sum(), 0.0);
}

#[test]
fn a_mapped_custom_operation_is_a_loop() {
    let tape = Tape::new();
    let [a, x, b] = point();
    let (a, b) = (tape.input("a", &a), tape.input("b", &b));
    let batch = tape.input("x", numbers(&[4, 3], -0.8, 0.8));
    let scales = tape.input("scales", numbers(&[2], 0.5, 1.0));
    let forms: [fn(&[Var]) -> Var; 3] =
        [exp_affine, |x| exp_affine(x).sum().grad(x[1]), |x| exp_affine(x).sum().hvp([x[1]], [x[1]])[0]];
    for form in forms {
        let mapped = vmap(|x| form(&[a, x, b]), batch);
        let looped: Vec<Var> = (0..4).map(|k| form(&[a, batch.at(0, k), b])).collect();
        let looped = Var::stack(&looped, 0);
        assert_close("mapped", &mapped.value(), &looped.value(), 1e-14);
        for by in [a, batch, b] {
            let (mapped, looped) = (weighted(mapped).grad(by), weighted(looped).grad(by));
            assert_close("derivative of mapped", &mapped.value(), &looped.value(), 1e-13);
        }
        let nested = vmap(|scale| vmap(|x| form(&[a * scale, x, b]), batch), scales);
        let looped: Vec<Var> = (0..2)
            .map(|i| {
                let row: Vec<Var> = (0..4).map(|k| form(&[a * scales.at(0, i), batch.at(0, k), b])).collect();
                Var::stack(&row, 0)
            })
            .collect();
        let looped = Var::stack(&looped, 0);
        assert_close("nested", &nested.value(), &looped.value(), 1e-14);
        for by in [a, batch, b, scales] {
            let (nested, looped) = (weighted(nested).hvp([by], [by])[0], weighted(looped).hvp([by], [by])[0]);
            assert_close("hvp of nested", &nested.value(), &looped.value(), 1e-12);
        }
    }
    let _ = x;
}

#[test]
fn no_derivative_flows_where_a_rule_gives_none() {
    let tape = Tape::new();
    let (x, w) = (tape.input("x", arr1(&[0.5, 1.0])), tape.input("w", arr1(&[2.0, 3.0])));
    let y = custom(SineOfFirst, &[x, w]);
    assert_eq!(y.sum().grad(x).value(), (x.cos() * w).value());
    assert_eq!(y.sum().grad_or_zeros(w).value(), arr1(&[0.0, 0.0]).into_dyn());
    // Of the derivative by x, one by w does flow: the rule is written in tape operations.
    assert_eq!(y.sum().grad(x).sum().grad(w).value(), x.cos().value());
    let batch = tape.input("batch", arr2(&[[0.5, 1.0], [0.1, 0.2]]));
    let mapped = vmap(|x| custom(SineOfFirst, &[x, w]).sum().grad(x), batch);
    assert_close("mapped", &mapped.value(), &(batch.cos() * w).value(), 1e-15);
    let by_both = vmap_many(|x| custom(SineOfFirst, &[x[0].var(), x[1].var()]).sum(), ad::handles![batch, batch]);
    assert_close("both", &by_both.sum().grad(batch).value(), &(batch.cos() * batch).value(), 1e-15);
}

/// x³ with a derivative that was computed without the tape (so that it is a constant), or wrong, or not linear.
struct Wrong(fn(Var, Var) -> Vec<Option<Var>>);

impl CustomOperation for Wrong {
    fn name(&self) -> &str {
        "wrong_cube"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Cube.shape(operands)
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], out: ArrayViewMutD<'_, f64>) {
        Cube.forward(operands, out);
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        (self.0)(operands[0], cotangent)
    }
}

/// The sum of all operands, added to what is there.
struct Accumulated;

impl CustomOperation for Accumulated {
    fn name(&self) -> &str {
        "accumulated"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        operands.iter().for_each(|operand| out += operand);
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some(cotangent); operands.len()]
    }
}

#[test]
fn what_a_forward_writes_into_is_full_of_zeros_at_every_replay_and_in_every_block() {
    // 5000 rows are a region of several blocks, whose temporaries are used again and again; 3 rows are single steps.
    for rows in [3, 5000] {
        let tape = Tape::new();
        let x = numbers(&[rows, 4], -1.0, 1.0);
        let input = tape.input("x", &x);
        let twice = vmap(|x| custom(Accumulated, &[x, x]), input.sin());
        let sum = custom(Accumulated, &[twice.exp(), input]);
        let program = tape.compile([input], [twice * 1.0, sum, vmap(|x| custom(Accumulated, &[x.exp()]), sum.tanh())]);
        for scale in [1.0, -0.5, 1.0] {
            let x = &x * scale;
            let results = program.run(&ad::values![x]).unwrap();
            let twice = x.mapv(|x| 2.0 * x.sin());
            let sum = twice.mapv(f64::exp) + &x;
            assert_close("twice", &results[0], &twice, 1e-15);
            assert_close("sum", &results[1], &sum, 1e-14);
            assert_close("exp", &results[2], &sum.mapv(|x| x.tanh().exp()), 1e-14);
        }
    }
}

#[test]
fn check_gradients_finds_a_wrong_rule_and_names_it() {
    let at = [arr1(&[0.4, 1.2]).into_dyn()];
    let check = |rule| {
        let f = move |x: &[Var]| (custom(Wrong(rule), &[x[0].sin()]) * x[0].exp()).sum();
        check_gradients(f, &at, 2, Modes::Both).unwrap_err()
    };
    let line = line!() - 3;
    for (order, problem) in [
        (1, check(|x, g| vec![Some(g * x * x * 2.0)])),
        (1, check(|_, _| vec![None])),
        (1, check(|x, g| vec![Some(g * x * x * 3.0 + 1.0)])),
        // Right at first order, and only there.
        (2, check(|x, g| vec![Some(g * (x * x).stop_gradient() * 3.0)])),
        (2, check(|x, g| vec![Some(g * x.value().mapv(|x| 3.0 * x * x))])),
    ] {
        assert!(problem.contains(&format!("order {order}")), "{problem}");
        assert!(
            problem.contains(&format!("suspect `wrong_cube`, recorded at crates/ad/tests/custom.rs:{line}")),
            "{problem}"
        );
        assert!(problem.contains("finite differences give"), "{problem}");
    }
}

#[test]
fn check_gradients_finds_a_wrong_rule_in_either_mode_alone() {
    let at = [arr1(&[0.4, 1.2]).into_dyn()];
    for (modes, name) in [(Modes::Reverse, "reverse mode"), (Modes::Forward, "forward mode")] {
        let f = |x: &[Var]| custom(Wrong(|x, g| vec![Some(g * x * x * 2.0)]), x);
        let problem = check_gradients(f, &at, 1, modes).unwrap_err();
        assert!(problem.contains(name) && problem.contains("wrong_cube"), "{problem}");
    }
}

#[test]
#[should_panic(expected = "is not linear in its cotangent")]
fn forward_mode_finds_a_rule_that_is_not_linear_in_its_cotangent() {
    let tape = Tape::new();
    let x = tape.input("x", 2.0);
    let _ = custom(Wrong(|x, g| vec![Some(g * g * x * x * 3.0)]), &[x]).sin().jvp(x, x);
}

#[test]
fn the_line_of_a_rule_that_is_not_linear_is_named() {
    let line = line!() + 4;
    let outcome = std::panic::catch_unwind(|| {
        let tape = Tape::new();
        let x = tape.input("x", arr1(&[1.0, 2.0]));
        let y = custom(Wrong(|x, g| vec![Some(g * g.exp() * x)]), &[x.sin()]);
        (y * x).sum().jvp(x, x)
    });
    let message = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains(&format!("crates/ad/tests/custom.rs:{line}")), "{message}");
}

/// An implicit function: y with y + sin(y)/2 = x, found by Newton's method; its derivative from the derivative of the
/// equation, taken by the tape inside the rule.
struct Root;

fn equation(y: Var) -> Var {
    y + y.sin() * 0.5
}

impl CustomOperation for Root {
    fn name(&self) -> &str {
        "root"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.zip_mut_with(&operands[0], |y, &x| {
            *y = x;
            for _ in 0..50 {
                *y -= (*y + 0.5 * y.sin() - x) / (1.0 + 0.5 * y.cos());
            }
        });
    }
    fn vjp(&self, _operands: &[Var], output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some(cotangent / ad::grad(|y| equation(y).sum(), output))]
    }
}

#[test]
fn a_rule_may_take_a_derivative_itself() {
    let at = [numbers(&[3], -1.0, 1.0)];
    check_gradients(|x| custom(Root, &[x[0].exp()]), &at, 3, Modes::Both).unwrap();
    let tape = Tape::new();
    let x = tape.input("x", arr2(&[[0.3, 0.9], [-0.4, 1.7]]));
    assert_close("identity", &custom(Root, &[equation(x)]).value(), &x.value(), 1e-14);
    let identity = custom(Root, &[equation(x)]).sum();
    assert_close("its gradient", &identity.grad(x).value(), &ArrayD::ones(vec![2, 2]), 1e-14);
    assert_close("its Hessian", &identity.hessian(x).value(), &ArrayD::zeros(vec![2, 2, 2, 2]), 1e-13);
    let mapped = vmap(|x| custom(Root, &[x]).sum().grad(x), x);
    assert_close("mapped", &mapped.value(), &custom(Root, &[x]).sum().grad(x).value(), 1e-14);
}

/// An operation whose shape rule uses a tape.
struct Measured;

impl CustomOperation for Measured {
    fn name(&self) -> &str {
        "measured"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let length = ad::grad(|x| x.square(), operands[0][0] as f64 / 2.0);
        Ok(Shape::from_slice(&[length as usize]))
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.assign(&operands[0]);
    }
    fn vjp(&self, _operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some(cotangent)]
    }
}

#[test]
fn a_users_code_may_use_a_tape_wherever_it_is_called() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0, 3.0]));
    assert_eq!(custom(Measured, &[x]).square().sum().grad(x).value(), arr1(&[2.0, 4.0, 6.0]).into_dyn());
}

#[test]
#[should_panic(expected = "exp_affine: needs m×n, n and m entries, got [[2, 3], [2], [2]]")]
fn a_custom_shape_rule_s_objection_is_passed_on() {
    let tape = Tape::new();
    let (a, x) = (tape.input("a", numbers(&[2, 3], 0.0, 1.0)), tape.input("x", numbers(&[2], 0.0, 1.0)));
    let _ = custom(ExpAffine, &[a, x, x]);
}

#[test]
fn a_rule_whose_cotangents_are_of_another_number_or_shape_is_refused_where_the_derivative_is_asked_for() {
    thread_local!(static AT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        AT.set(info.location().filter(|at| at.file().ends_with("tests/custom.rs")).map_or(0, |at| at.line()));
        default(info);
    }));
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let refused = |rule, words: &str| {
        let loss = custom(Wrong(rule), &[x]).sum();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| loss.grad(x)));
        let line = line!() - 1;
        let message = *caught.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains(words), "{message}");
        assert_eq!(AT.get(), line, "{message}");
    };
    refused(|_, g| vec![Some(g), None], "wrong_cube: its vjp gave 2 cotangents for 1 operands");
    refused(|_, g| vec![Some(g.sum())], "wrong_cube: its vjp gave a cotangent of another shape than its operand");
}

#[test]
fn a_custom_operation_in_a_program_is_named_and_runs_on_new_inputs() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let loss = custom(Cube, &[x]).sum();
    let program = tape.compile([x], [loss, loss.grad(x)]);
    assert!(program.to_string().contains("cube(x)"), "{program}");
    drop(tape);
    let results = std::thread::spawn(move || program.run(&ad::values![arr1(&[2.0, -1.0])]).unwrap()).join().unwrap();
    assert_eq!(results[0].sum(), 7.0);
    assert_eq!(results[1], arr1(&[12.0, 3.0]).into_dyn());
}
