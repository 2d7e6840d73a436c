//! A loop with a body recorded once is the loop that is written out: its numbers, derivatives and errors.
#![allow(clippy::cast_possible_wrap)]

mod common;

use ad::{
    CustomOperation, DType, DerivativeLimit, Error, Handle, Lowering, Modes, Steps, Tape, Value, Var, check_gradients,
    custom, fold, fold_every, fold_while, grad, vmap, vmap_many,
};
use common::panics::{assert_said, caught};
use common::{assert_close, numbers};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, arr0, arr1, arr2};

type Step<'a> = &'a dyn Fn(Vec<Var>, &[Handle]) -> Vec<Var>;

/// The loop written out.
fn unrolled(initial: Vec<Var>, steps: usize, sequences: &[Handle], step: Step<'_>) -> Vec<Var> {
    let mut carry = initial.clone();
    let mut all: Vec<Vec<Var>> = vec![Vec::new(); initial.len()];
    for t in 0..steps {
        let entries: Vec<Handle> = sequences.iter().map(|sequence| sequence.at(0, t)).collect();
        carry = step(carry, &entries);
        all.iter_mut().zip(&carry).for_each(|(all, &carry)| all.push(carry));
    }
    all.iter().map(|carries| Var::stack(carries, 0)).collect()
}

/// Numbers and derivatives to third order, in both modes, of a function that is given a loop.
#[track_caller]
fn assert_same(
    f: impl Fn(&dyn Fn(Vec<Var>, usize, &[Handle], Step<'_>) -> Vec<Var>, &[Var]) -> Var,
    x: &[ArrayD<f64>],
) {
    let folded = |initial: Vec<Var>, steps: usize, sequences: &[Handle], step: Step<'_>| match sequences {
        [] => fold(initial, steps, |carry, entries| step(carry, entries)),
        sequences => fold(initial, sequences.to_vec(), |carry, entries| step(carry, entries)),
    };
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-4)] {
        let tape = Tape::new();
        let inputs: Vec<Var> = x.iter().map(|x| tape.input("x", Value::from(x).rounded(dtype))).collect();
        let v: Vec<Var> = x.iter().map(|x| tape.constant(Value::from(&x.mapv(|x| x.cos())).rounded(dtype))).collect();
        let [a, b] = [f(&folded, &inputs), f(&unrolled, &inputs)];
        let derivatives = |y: Var| {
            let loss = common::weighted(y);
            let reverse = loss.grad_or_zeros(&inputs);
            let dot =
                |gradient: &[Var]| gradient.iter().zip(&v).map(|(g, v)| (*g * *v).sum()).reduce(|a, b| a + b).unwrap();
            let tangent = loss.jvp(&inputs, &v);
            let second = dot(&reverse).grad_or_zeros(&inputs);
            let third = dot(&second).grad_or_zeros(&inputs);
            let forward = tangent.jvp(&inputs, &v);
            let mixed = [forward, forward.jvp(&inputs, &v), dot(&loss.hvp(&inputs, &v)), y.jvp(&inputs, &v)];
            let list = [vec![y, loss, tangent], reverse, second, third, mixed.to_vec()].concat();
            list.into_iter().map(|x| x.cast(DType::F64)).collect::<Vec<Var>>()
        };
        let (a, b) = (derivatives(a), derivatives(b));
        for lowering in [Lowering::On, Lowering::Off] {
            let program = tape.compile_with(inputs.clone(), [a.clone(), b.clone()].concat(), lowering);
            let values: Vec<Value<'_>> = x.iter().map(|x| Value::from(x).rounded(dtype)).collect();
            let results = program.run(&values).unwrap();
            for (i, (a, b)) in results[..a.len()].iter().zip(&results[a.len()..]).enumerate() {
                let scale = b.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
                assert_close(&format!("{dtype}, {lowering:?}, result {i}"), &(a / scale), &(b / scale), tolerance);
            }
        }
    }
}

#[test]
fn a_matrix_recurrence() {
    for steps in [1, 2, 5] {
        assert_same(
            |run, x| {
                let &[w, u, b, h, xs] = x else { unreachable!() };
                run(vec![h], steps, &[xs.into()], &|h, x| vec![(h[0].matmul(w) + x[0].var().matmul(u) + b).tanh()])[0]
            },
            &[
                numbers(&[3, 3], -0.6, 0.6),
                numbers(&[2, 3], -1.0, 1.0),
                numbers(&[3], -1.0, 1.0),
                numbers(&[4, 3], -1.0, 1.0),
                numbers(&[steps, 4, 2], -1.0, 1.0),
            ],
        );
    }
}

#[test]
fn a_scalar_carry_without_sequences() {
    for steps in [1, 2, 5] {
        assert_same(
            |run, x| run(vec![x[0]], steps, &[], &|c, _| vec![(c[0] * x[1]).sin() + c[0].square() * 0.1])[0],
            &[arr0(0.7).into_dyn(), arr0(1.3).into_dyn()],
        );
    }
}

#[test]
fn several_carries_of_several_shapes() {
    assert_same(
        |run, x| {
            let &[a, b, c, xs] = x else { unreachable!() };
            let all = run(vec![a, b, c], 4, &[xs.into()], &|carry, x| {
                let &[a, b, c] = &carry[..] else { unreachable!() };
                vec![
                    a.matmul(b.insert_axis(1)).reshape(&[2]).sin().sum() * a,
                    (b + x[0].var()).tanh() * c,
                    c * 0.9 + a.sum() * 0.1,
                ]
            });
            all[0].sum() * all[2].sum() + all[1].square().sum() + all[1].at(0, 3).sum()
        },
        &[numbers(&[2, 3], -1.0, 1.0), numbers(&[3], -1.0, 1.0), arr0(0.4).into_dyn(), numbers(&[4, 3], -1.0, 1.0)],
    );
}

#[test]
fn the_last_carry_alone_and_carries_that_are_ignored() {
    assert_same(
        |run, x| run(vec![x[0]], 3, &[x[1].into()], &|h, x| vec![h[0] * x[0].var() + h[0].exp() * 0.1])[0].at(0, 2),
        &[numbers(&[2], -1.0, 1.0), numbers(&[3, 2], -1.0, 1.0)],
    );
    // The carry is not read; the sequence is the carry.
    assert_same(
        |run, x| {
            let mapped = run(vec![x[0]], 3, &[x[1].into()], &|_, x| vec![x[0].var().sin()])[0];
            let copied = run(vec![x[0]], 3, &[x[1].into()], &|_, x| vec![x[0].var()])[0];
            let kept = run(vec![x[0]], 3, &[x[1].into()], &|c, _| vec![c[0]])[0];
            let other = run(vec![x[0]], 3, &[x[1].into()], &|_, _| vec![x[0].square()])[0];
            mapped.square() * copied.exp() + kept.square() * other
        },
        &[numbers(&[2], -1.0, 1.0), numbers(&[3, 2], -1.0, 1.0)],
    );
}

#[test]
fn nested_loops() {
    assert_same(
        |run, x| {
            let &[h, w, xs] = x else { unreachable!() };
            run(vec![h], 3, &[xs.into()], &|h, x| {
                let inner =
                    run(vec![h[0]], 2, &[x[0].var().into()], &|g, y| vec![(g[0] * w + y[0].var() * h[0]).sin()])[0];
                vec![inner.at(0, 1) + inner.at(0, 0) * 0.5]
            })[0]
        },
        &[numbers(&[2], -1.0, 1.0), numbers(&[2], -1.0, 1.0), numbers(&[3, 2, 2], -1.0, 1.0)],
    );
}

#[test]
fn a_loop_mapped_over_a_batch_of_some_operands() {
    for batched in 0..8 {
        let is = |i: usize| batched & (1 << i) != 0;
        let shapes: [&[usize]; 3] = [&[2], &[2, 2], &[3, 2]];
        let arrays: Vec<ArrayD<f64>> = (0..3)
            .map(|i| numbers(&if is(i) { [&[4], shapes[i]].concat() } else { shapes[i].to_vec() }, -1.0, 1.0))
            .collect();
        assert_same(
            |run, x| {
                let step = |given: &[Var]| {
                    let &[h, w, xs] = given else { unreachable!() };
                    run(vec![h], 3, &[xs.into()], &|h, x| {
                        vec![(w.matmul(h[0].insert_axis(1)).reshape(&[2]) + x[0].var()).tanh()]
                    })[0]
                };
                let batch: Vec<Handle> = (0..3).filter(|&i| is(i)).map(|i| x[i].into()).collect();
                if batch.is_empty() {
                    return step(x);
                }
                vmap_many(
                    |arguments| {
                        let mut arguments = arguments.iter();
                        let given: Vec<Var> =
                            (0..3).map(|i| if is(i) { arguments.next().unwrap().var() } else { x[i] }).collect();
                        step(&given)
                    },
                    &batch,
                )
            },
            &arrays,
        );
    }
}

#[test]
fn a_batch_mapped_within_a_step_and_a_derivative_taken_there() {
    assert_same(
        |run, x| {
            run(vec![x[0]], 3, &[x[1].into()], &|h, x| {
                let squares = vmap(|row| row * row.sum(), h[0]);
                let inner = grad(|y: Var| (y * y * x[0].var()).sin().sum(), h[0]);
                vec![squares * 0.3 + inner * 0.2 + h[0]]
            })[0]
        },
        &[numbers(&[2, 2], -1.0, 1.0), numbers(&[3, 2, 2], -1.0, 1.0)],
    );
}

#[test]
fn look_ups_by_the_indices_of_a_step() {
    let states = arr2(&[[0, 1], [2, 2], [1, 0], [2, 1]]);
    assert_same(
        |run, x| {
            let index = ad::Index::constant(x[0], &states);
            run(vec![x[1]], 4, &[index.into()], &|c, s| vec![(x[0].gather([s[0].index()]) * c[0]).sin() + 0.1])[0]
        },
        &[numbers(&[3], -1.0, 1.0), numbers(&[2], -1.0, 1.0)],
    );
}

#[test]
fn derivatives_by_finite_differences() {
    let x = [numbers(&[2, 2], -0.6, 0.6), numbers(&[2], -1.0, 1.0), numbers(&[3, 2], -1.0, 1.0)];
    let f = |x: &[Var]| {
        let w = x[0];
        fold(x[1], x[2], |h, x| (w.matmul(h.insert_axis(1)).reshape(&[2]) + x[0].var()).tanh())
    };
    check_gradients(f, &x, 3, Modes::Both).unwrap();
    let single: Vec<ArrayD<f32>> = x.iter().map(|x| x.mapv(|x| x as f32)).collect();
    check_gradients(f, &single, 2, Modes::Both).unwrap();
    check_gradients(|x| fold_every(2, x[1], x[2], |h, s| (h * s[0].var() + x[0].sum()).sin()), &x, 3, Modes::Both)
        .unwrap();
    let condition = |x: Var| x.square().sum().less(30.0);
    check_gradients(|x| fold_while(x[1], x[2], condition, |h, s| h * 2.0 + s[0].var()), &x, 3, Modes::Both).unwrap();
}

#[test]
fn hessians_and_jacobians() {
    let tape = Tape::new();
    let (w, xs) = (tape.input("w", numbers(&[3], -1.0, 1.0)), tape.input("x", numbers(&[4, 3], -1.0, 1.0)));
    let step = |h: Vec<Var>, x: &[Handle]| vec![(h[0] * w + x[0].var()).sin()];
    let a = fold(w * 0.5, xs, |h, x| step(vec![h], x)[0]);
    let b = unrolled(vec![w * 0.5], 4, &[xs.into()], &step)[0];
    for (a, b) in [
        (a.square().sum().hessian(w), b.square().sum().hessian(w)),
        (a.jacobian_forward(w), b.jacobian_forward(w)),
        (a.jacobian_reverse(xs), b.jacobian_reverse(xs)),
        (a.sum().derivative(w, 3), b.sum().derivative(w, 3)),
    ] {
        assert_close("derivative", &a.value(), &b.value(), 1e-13);
    }
}

#[test]
fn no_steps_at_all() {
    let tape = Tape::new();
    let (h, xs) = (tape.input("h", arr1(&[1.0, 2.0])), tape.input("x", ArrayD::<f64>::zeros(vec![0, 2])));
    for carries in
        [fold(h, xs, |h, x| h * x[0].var()), fold(h, 0, |h, _| h * 2.0), fold_every(3, h, xs, |h, x| h * x[0].var())]
    {
        assert_eq!(carries.value().shape(), [0, 2]);
        let gradient = carries.sum().grad(h);
        assert_eq!(gradient.value(), arr1(&[0.0, 0.0]).into_dyn());
        assert_eq!(carries.sum().jvp(h, h).item(), 0.0);
    }
}

#[test]
fn carries_kept_now_and_then_are_those_of_the_whole_loop() {
    for steps in [1, 3, 4, 7, 8] {
        for every in [1, 2, 3, 10] {
            let tape = Tape::new();
            let inputs = [numbers(&[2, 2], -0.6, 0.6), numbers(&[2], -1.0, 1.0), numbers(&[steps, 2], -1.0, 1.0)];
            let x = [0, 1, 2].map(|i| tape.input("x", &inputs[i]));
            let step = |(a, b): (Var, Var), s: &[Handle]| {
                ((x[0].matmul(a.insert_axis(1)).reshape(&[2]) * b + s[0].var()).tanh(), (a * b).sum().cos())
            };
            let all = fold((x[1], x[1].sum()), x[2], step).0;
            let kept = fold_every(every, (x[1], x[1].sum()), x[2], step).0;
            let mut places: Vec<usize> = (1..=steps / every).map(|i| i * every - 1).collect();
            if !steps.is_multiple_of(every) {
                places.push(steps - 1);
            }
            let wanted = Var::stack(&places.iter().map(|&t| all.at(0, t)).collect::<Vec<_>>(), 0);
            let results = |y: Var| {
                let loss = common::weighted(y);
                let gradient = loss.grad(x);
                let dot = (gradient[0] * gradient[0]).sum() + gradient[2].sin().sum();
                let (second, forward) = (dot.grad(x), loss.jvp(x, x));
                [vec![y, forward, forward.jvp(x, x)], gradient.to_vec(), second.to_vec(), loss.hvp(x, x).to_vec()]
                    .concat()
            };
            for (a, b) in results(kept).into_iter().zip(results(wanted)) {
                assert_close(&format!("{steps} steps, every {every}"), &a.value(), &b.value(), 1e-12);
            }
        }
    }
}

#[test]
fn a_loop_that_ends_early_has_no_part_in_what_comes_after() {
    let tape = Tape::new();
    let (x, w) = (tape.input("x", 3.0), tape.input("w", 0.5));
    // Where x is at most 1, √(x − 1) is a NaN.
    let step = |x: Var| x - (x - 1.0).sqrt() * w;
    let folded = fold_while(x, 12, |x| x.greater(1.5), |x, _| step(x));
    let mut y = x;
    let mut count = 0;
    while y.item() > 1.5 {
        y = step(y);
        count += 1;
    }
    assert!((2..10).contains(&count));
    for (a, b) in [
        (folded.at(0, 11), y),
        (folded.at(0, 11).grad(x), y.grad(x)),
        (folded.at(0, 11).grad(w).grad(x), y.grad(w).grad(x)),
        (folded.at(0, 11).jvp([x, w], [w, x]), y.jvp([x, w], [w, x])),
    ] {
        assert_close("derivative", &a.value(), &b.value(), 1e-13);
    }
    // In a batch each example ends where it ends.
    let batch = tape.input("x", arr1(&[1.2, 3.0, 9.0, 2.0]));
    let many = vmap(|x| fold_while(x, 12, |x| x.greater(1.5), |x, _| step(x)).at(0, 11), batch);
    assert_eq!(many.value()[0], 1.2);
    assert_close("in a batch", &many.at(0, 1).value(), &y.value(), 1e-13);
    assert!(many.sum().grad(batch).value().iter().all(|x| x.is_finite()));
}

struct Cube;

impl CustomOperation for Cube {
    fn name(&self) -> &str {
        "cube"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<ad::Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.zip_mut_with(&operands[0], |out, x| *out = x * x * x);
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some(cotangent * operands[0] * operands[0] * 3.0)]
    }
}

#[test]
fn a_custom_operation_within_a_step() {
    assert_same(
        |run, x| run(vec![x[0]], 3, &[x[1].into()], &|h, x| vec![custom(Cube, &[h[0] * 0.7]) + x[0].var()])[0],
        &[numbers(&[2], -1.0, 1.0), numbers(&[3, 2], -0.3, 0.3)],
    );
}

#[test]
fn what_no_derivative_passes_within_a_step() {
    assert_same(
        |run, x| {
            run(vec![x[0]], 3, &[x[1].into()], &|h, x| vec![h[0].stop_gradient() * h[0] + x[0].var().stop_gradient()])
                [0]
                + x[1] * x[0]
        },
        &[numbers(&[2], -1.0, 1.0), numbers(&[3, 2], -1.0, 1.0)],
    );
    assert_same(
        |run, x| {
            run(vec![x[0]], 3, &[x[1].into()], &|h, x| vec![h[0].magic_box() * h[0] + (x[0].var() * h[0]).magic_box()])
                [0]
        },
        &[numbers(&[2], -1.0, 1.0), numbers(&[3, 2], -1.0, 1.0)],
    );
    let tape = Tape::new();
    let (x, h) = (tape.input("x", arr1(&[1.0, 2.0])), tape.input("h", 1.0));
    let stopped = fold(h, x, |h, x| h * x[0].var().stop_gradient());
    let (message, ..) = caught(|| _ = stopped.sum().grad(x));
    assert_said(&message, &["lets no derivative pass", "`fold`", file!()]);
    assert_eq!(stopped.sum().grad(h).item(), 3.0);
}

/// Whether a function of a loop panics as it does where the loop is written out.
#[track_caller]
fn assert_same_limits(f: impl Fn(&dyn Fn(Var, Var, &dyn Fn(Var, Var) -> Var) -> Var, Var, Var) -> Var) {
    let fine = |is_folded: bool| {
        let tape = Tape::new();
        let (x, h) = (tape.input("x", arr1(&[0.3, 0.5, -0.4])), tape.input("h", 0.7));
        let run = |h: Var, x: Var, step: &dyn Fn(Var, Var) -> Var| {
            if is_folded {
                return fold(h, x, |h, x| step(h, x[0].var()));
            }
            unrolled(vec![h], 3, &[x.into()], &|h, x| vec![step(h[0], x[0].var())])[0]
        };
        let mut value = None;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| value = Some(f(&run, x, h).value())));
        outcome.map(|()| value.unwrap()).map_err(|problem| problem.downcast_ref::<String>().unwrap().clone())
    };
    match (fine(true), fine(false)) {
        (Ok(a), Ok(b)) => assert_close("limited", &a, &b, 1e-13),
        (Err(a), Err(b)) => {
            assert_said(&a, &["the surrogate: a derivative of order", file!()]);
            assert_said(&b, &["the surrogate: a derivative of order"]);
        }
        (a, b) => panic!("as a fold {a:?}, written out {b:?}"),
    }
}

#[test]
fn limits_of_derivatives_are_those_of_the_loop_written_out() {
    let limit = |order: usize| DerivativeLimit::new("the surrogate", order, "do not");
    for order in [1, 2] {
        for wrt in 0..2 {
            for derivatives in 0..4 {
                for forward in 0..1 << derivatives {
                    // The limit inside of a step, around what is linear or not; outside, in front, and on what is read.
                    for place in 0..7 {
                        assert_same_limits(|run, x, h| {
                            let limit = limit(order);
                            let y = match place {
                                0 => run(h, x, &|h, x| limit.apply((h * x).sin()) + h * 0.5),
                                1 => run(h, x, &|h, x| limit.apply(h * 2.0) + x * 0.5),
                                2 => run(h, x, &|h, x| h.square() + limit.apply(x * 2.0)),
                                3 => limit.apply(run(h, x, &|h, x| (h * x).sin()).sum()),
                                4 => run(limit.apply(h.sin()), x, &|h, x| h * 0.5 + x),
                                5 => run(limit.apply(h.sin()), x, &|h, x| (h * x).sin()),
                                _ => run(h, limit.apply(x.sin()), &|h, x| h * h.exp() + x * 0.3),
                            };
                            let mut y = y.square().sum();
                            let at = [h, x][wrt];
                            for i in 0..derivatives {
                                y = match forward & (1 << i) != 0 {
                                    true => y.tangent_or_zero(at),
                                    false => y.grad_or_zeros(at).sum(),
                                };
                            }
                            y
                        });
                    }
                }
            }
        }
    }
}

trait Tangent {
    fn tangent_or_zero(self, at: Var) -> Var;
}

impl Tangent for Var {
    /// A tangent along ones.
    fn tangent_or_zero(self, at: Var) -> Var {
        (self + at.sum() * 0.0).jvp(at, at.full_like(1.0))
    }
}

#[test]
fn a_number_that_is_not_finite_is_reported_where_a_step_makes_it() {
    let tape = Tape::new();
    let (x, h) = (tape.input("x", arr1(&[1.0, 0.0, 2.0])), tape.input("h", 1.0));
    let (line, carries) = (line!(), fold(h, x, |h, x| (h + x[0].var().ln()).exp()));
    for program in [tape.compile([x], [carries]), tape.compile_with([x], [carries], Lowering::Off)] {
        program.check_finite(&ad::values![arr1(&[1.0, 0.5, 2.0])]).unwrap();
        match program.check_finite(&ad::values![arr1(&[1.0, 0.0, 2.0])]) {
            Err(Error::NotFinite { operation, location, value, .. }) => {
                assert_eq!((operation.as_str(), location.file(), location.line()), ("ln", file!(), line));
                assert_eq!(value, f64::NEG_INFINITY);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_index_out_of_range_is_reported_where_a_step_uses_it() {
    let tape = Tape::new();
    let (table, h) = (tape.input("t", arr1(&[1.0, 2.0])), tape.input("h", 0.0));
    let s = tape.index("s", arr1(&[0, 1, 1]));
    let (line, sums) = (line!(), fold(h, s, |h, s| h + table.gather([s[0].index()])));
    let program = tape.compile([Handle::from(s)], [sums]);
    assert_eq!(program.run(&ad::values![arr1(&[0, 1, 1])]).unwrap()[0], arr1(&[1.0, 3.0, 5.0]).into_dyn());
    match program.run(&ad::values![arr1(&[0, 1, 2])]) {
        Err(Error::IndexOutOfRange { location, index, .. }) => assert_eq!((location.line(), index), (line, 2)),
        other => panic!("{other:?}"),
    }
    // The next run is as good as any.
    assert_eq!(program.run(&ad::values![arr1(&[1, 1, 1])]).unwrap()[0], arr1(&[2.0, 4.0, 6.0]).into_dyn());
}

#[test]
fn what_leaves_its_range_within_a_step_is_computed_as_recorded() {
    let tape = Tape::new();
    let (x, h) = (tape.input("x", arr1(&[1.0, 2.0, 3.0])), tape.input("h", 1.0));
    let carries = fold(h, x, |h, x| {
        let x = x[0].var();
        (x - 800.0).exp().or_usual(x.exp() * (-800.0_f64).exp(), 1.0) + h * 0.0 + x * 0.0
    });
    let program = tape.compile([x], [carries]);
    assert_eq!(program.run(&ad::values![arr1(&[1.0, 800.0, 3.0])]).unwrap()[0][1], 1.0);
}

#[test]
fn numbers_that_are_none_stay_in_their_steps() {
    for special in [f64::NAN, f64::INFINITY, 0.0] {
        let tape = Tape::new();
        let x = tape.input("x", arr2(&[[1.0, 2.0], [special, 0.5], [0.3, 0.0]]));
        let h = tape.input("h", arr1(&[0.5, 0.0]));
        let step = |h: Vec<Var>, x: &[Handle]| {
            let x = x[0].var();
            vec![Var::stack(&[h[0], x], 0).max_axes(&[0]) * x.sqrt() + x.max(0.0)]
        };
        let a = fold(h, x, |h, x| step(vec![h], x)[0]);
        let b = unrolled(vec![h], 3, &[x.into()], &step)[0];
        let results = |y: Var| [y, y.sum().grad(x), y.sum().grad(h), y.sum().hvp(x, x)].map(Var::value);
        for (a, b) in results(a).iter().zip(results(b)) {
            let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() < 1e-13;
            assert!(a.iter().zip(&b).all(same), "{special}: {a} {b}");
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let run = || {
        let tape = Tape::new();
        let arrays =
            [numbers(&[64, 64], -0.1, 0.1), numbers(&[200, 64], -1.0, 1.0), numbers(&[20, 200, 64], -1.0, 1.0)];
        let [w, h, xs] = [0, 1, 2].map(|i| tape.input("x", &arrays[i]));
        let carries = fold(h, xs, |h, x| (h.matmul(w) + x[0].var()).tanh());
        let gradient = carries.square().sum().grad([w, h, xs]);
        tape.compile([w, h, xs], gradient).run(&arrays.each_ref().map(Value::from)).unwrap()
    };
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(run);
    let together = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(run);
    assert_eq!(alone, together);
}

#[test]
fn a_program_shows_what_a_step_does_and_costs_all_steps() {
    let tape = Tape::new();
    let (w, xs) = (tape.input("w", numbers(&[3, 3], -1.0, 1.0)), tape.input("x", numbers(&[50, 2, 3], -1.0, 1.0)));
    let h = tape.input("h", numbers(&[2, 3], -1.0, 1.0));
    let program = tape.compile([w, h, xs], [fold(h, xs, |h, x| (h.matmul(w) + x[0].var()).tanh())]);
    let text = program.to_string();
    assert_said(
        &text,
        &["fold(h, x, w) 50 steps", "\n    input  x0: f64[2, 3]", "\n    %0 = matmul(x0, x2)", "tests/fold.rs"],
    );
    assert!(program.cost().flops >= 50 * (2 * 2 * 3 * 3 + 12), "{}", program.cost());
    assert!(program.cost().peak_memory < 3 * 50 * 6 * 8, "{}", program.cost());
}

#[test]
fn recording_takes_as_many_nodes_for_many_steps_as_for_few() {
    let nodes = |steps: usize| {
        let tape = Tape::new();
        let (w, h) = (tape.input("w", 0.5), tape.input("h", 0.1));
        let loss = fold(h, steps, |h, _| (h * w).sin()).square().sum();
        let _ = loss.hvp([w, h], [h, w]);
        tape.len()
    };
    assert_eq!(nodes(3), nodes(1000));
    assert!(nodes(3) < 200, "{}", nodes(3));
}

#[test]
fn misuse_panics_and_says_where() {
    let tape = Tape::new();
    let (h, x) = (tape.input("h", arr1(&[1.0, 2.0])), tape.input("x", numbers(&[3, 2], -1.0, 1.0)));
    let other = tape.input("y", numbers(&[4], -1.0, 1.0));
    let line = line!() + 1;
    let (message, file, at) = caught(|| _ = fold(h, x, |h, _| h.sum()));
    assert_said(&message, &["fold: a step gave for array 0 of the carry f64[]", "f64[2]"]);
    assert_eq!((file.as_str(), at), (file!(), line));
    let (message, ..) = caught(|| _ = fold(h, [x, other], |h, _| h));
    assert_said(&message, &["sequences of 3 and of 4 steps", file!()]);
    let (message, ..) = caught(|| _ = fold(h, [x, h.sum()], |h, _| h));
    assert_said(&message, &["a scalar has no entry for each step"]);
    let (message, ..) = caught(|| _ = fold(h, Steps::from(Vec::new()), |h, _| h));
    assert_said(&message, &["the number of steps is needed"]);
    let (message, ..) = caught(|| _ = fold(vec![h, h], 2, |h, _| vec![h[0]]));
    assert_said(&message, &["a carry of 1 arrays", "has 2"]);
    let (message, ..) = caught(|| _ = fold_while(h, 2, |h| h, |h, _| h));
    assert_said(&message, &["the condition has shape [2]"]);
    let (message, ..) = caught(|| _ = fold_every(0, h, 2, |h, _| h));
    assert_said(&message, &["every 0-th carry"]);
    let strange = Tape::new();
    let (message, ..) = caught(|| _ = fold(h, 2, |_, _| strange.input("z", arr1(&[1.0, 2.0]))));
    assert_said(&message, &["operands of two tapes"]);
    let (message, ..) = caught(|| _ = fold((h, h.cast(DType::F32)), 2, |h, _| h));
    assert_said(&message, &["operands of types f64 and f32"]);
    // And the tape is as good as before.
    assert_eq!(fold(h, 2, |h, _| h * 2.0).at(0, 1).value(), arr1(&[4.0, 8.0]).into_dyn());
}

#[test]
fn derivatives_by_what_a_step_reads_are_by_that_node() {
    let tape = Tape::new();
    let (w, h) = (tape.input("w", 0.5), tape.input("h", 1.0));
    let [alias, fill, spread] = [w.alias(), w.full_like(0.25), w.broadcast_to(&[1])];
    let y = fold(h, 3, |h, _| h * alias + fill + spread.sum()).sum();
    let z = unrolled(vec![h], 3, &[], &|h, _| vec![h[0] * alias + fill + spread.sum()])[0].sum();
    for by in [w, alias, fill, spread] {
        assert_close("by", &y.grad(by).value(), &z.grad(by).value(), 1e-15);
    }
}
