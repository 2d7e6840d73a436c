//! `vmap` is a loop: for every operation, whichever operands are batched, nested, inside derivatives and around them.

mod common;

use ad::{DType, Handle, Index, Tape, Var, vmap, vmap_many};
use common::{assert_close, every_case, indices, numbers, weighted};
use ndarray::{Array1, Array2, ArrayD, Axis, arr1, arr2};

type Transform = fn(&dyn Fn(&[Var]) -> Var, &[Var]) -> Var;

fn flat(parts: &[Var]) -> Var {
    let parts: Vec<Var> = parts.iter().map(|part| part.reshape(&[part.size()])).collect();
    Var::concat(&parts, 0)
}

/// A function itself; its gradients; its Hessian-vector products.
const TRANSFORMS: [(&str, Transform); 3] = [
    ("value", |f, x| f(x)),
    ("gradient", |f, x| flat(&weighted(f(x)).grad_or_zeros(x))),
    ("hvp", |f, x| {
        let along = flat(&weighted(f(x)).grad_or_zeros(x));
        flat(&weighted(along).grad_or_zeros(x))
    }),
];

/// `n` examples, each a little different.
fn batch_of(x: &ArrayD<f64>, n: usize) -> ArrayD<f64> {
    let examples: Vec<ArrayD<f64>> = (0..n).map(|k| x * (1.0 + 0.1 * k as f64)).collect();
    let views: Vec<_> = examples.iter().map(|example| example.view()).collect();
    ndarray::stack(Axis(0), &views).unwrap()
}

/// The arguments of one example: those of `x` in the places that are mapped, the shared ones elsewhere.
fn example(x: &[Var], is_batched: &[bool], mut argument: impl FnMut(usize) -> Var) -> Vec<Var> {
    x.iter().zip(is_batched).enumerate().map(|(i, (x, batched))| if *batched { argument(i) } else { *x }).collect()
}

#[test]
fn every_operation_mapped_over_any_of_its_operands_is_a_loop() {
    for case in every_case() {
        for (what, transform) in TRANSFORMS {
            for mask in 1..1 << case.at.len() {
                let is_batched: Vec<bool> = (0..case.at.len()).map(|i| mask & (1 << i) != 0).collect();
                let name = format!("{} of {}, batched {is_batched:?}", what, case.name);
                let tape = Tape::new();
                let inputs = case.at.iter().zip(&is_batched);
                let x: Vec<Var> = inputs
                    .map(|(x, batched)| tape.input("x", if *batched { batch_of(x, 3) } else { x.clone() }))
                    .collect();
                let batch: Vec<Handle> =
                    x.iter().zip(&is_batched).filter(|(_, batched)| **batched).map(|(x, _)| (*x).into()).collect();
                let mapped = vmap_many(
                    |arguments| {
                        let mut arguments = arguments.iter();
                        transform(&case.f, &example(&x, &is_batched, |_| arguments.next().unwrap().var()))
                    },
                    &batch,
                );
                let each = |k| transform(&case.f, &example(&x, &is_batched, |i| x[i].at(0, k)));
                let looped = Var::stack(&[each(0), each(1), each(2)], 0);
                assert_close(&name, &mapped.value(), &looped.value(), 1e-12);
                // And a derivative of what is mapped, by what is batched and by what is shared.
                let (mapped, looped) = (weighted(mapped).grad_or_zeros(&x), weighted(looped).grad_or_zeros(&x));
                for (i, (mapped, looped)) in mapped.iter().zip(&looped).enumerate() {
                    assert_close(&format!("gradient {i} of {name}"), &mapped.value(), &looped.value(), 1e-11);
                }
            }
        }
    }
}

#[test]
fn a_map_within_a_map_is_a_loop_within_a_loop() {
    for case in every_case() {
        for (what, transform) in TRANSFORMS {
            let tape = Tape::new();
            let inputs = case.at.iter().map(|x| tape.input("x", batch_of(&batch_of(x, 2), 3)));
            let x: Vec<Var> = inputs.collect();
            let handles = |x: &[Var]| x.iter().map(|x| Handle::from(*x)).collect::<Vec<_>>();
            let vars = |handles: &[Handle]| handles.iter().map(|handle| handle.var()).collect::<Vec<_>>();
            let mapped = vmap_many(|outer| vmap_many(|inner| transform(&case.f, &vars(inner)), outer), handles(&x));
            let rows = (0..3).map(|k| {
                let entries = (0..2).map(|l| {
                    let one: Vec<Var> = x.iter().map(|x| x.at(0, k).at(0, l)).collect();
                    transform(&case.f, &one)
                });
                Var::stack(&entries.collect::<Vec<_>>(), 0)
            });
            let looped = Var::stack(&rows.collect::<Vec<_>>(), 0);
            assert_close(&format!("{what} of {}", case.name), &mapped.value(), &looped.value(), 1e-12);
        }
    }
}

#[test]
fn nested_maps_over_different_operands_are_an_outer_product() {
    for case in every_case().into_iter().filter(|case| case.at.len() == 2) {
        for (what, transform) in TRANSFORMS {
            let tape = Tape::new();
            let a = tape.input("a", batch_of(&case.at[0], 2));
            let b = tape.input("b", batch_of(&case.at[1], 3));
            let mapped = vmap(|a| vmap(|b| transform(&case.f, &[a, b]), b), a);
            let row = |k| {
                let entries: Vec<Var> = (0..3).map(|l| transform(&case.f, &[a.at(0, k), b.at(0, l)])).collect();
                Var::stack(&entries, 0)
            };
            let looped = Var::stack(&[row(0), row(1)], 0);
            assert_close(&format!("{what} of {}", case.name), &mapped.value(), &looped.value(), 1e-12);
        }
    }
}

#[test]
fn a_batch_of_none_gives_none_and_a_batch_of_one_gives_one() {
    for case in every_case() {
        for n in [0, 1] {
            let tape = Tape::new();
            let mut shapes = case.at.iter().map(|x| x.shape().to_vec());
            let x: Vec<Handle> = (case.at.iter())
                .map(|x| match n {
                    0 => tape.input("x", ArrayD::<f64>::zeros([vec![0], shapes.next().unwrap()].concat())).into(),
                    _ => tape.input("x", batch_of(x, n)).into(),
                })
                .collect();
            let vars: Vec<Var> = case.at.iter().map(|x| tape.input("x", x)).collect();
            let mapped = vmap_many(|x| (case.f)(&x.iter().map(|x| x.var()).collect::<Vec<_>>()), &x).value();
            let one = (case.f)(&vars).value();
            assert_eq!(mapped.shape(), [vec![n], one.shape().to_vec()].concat(), "{}", case.name);
            if n == 1 {
                assert_close(&case.name, &mapped.index_axis_move(Axis(0), 0), &one, 1e-13);
            }
        }
    }
}

/// Integer operands: calls `f` with a table (or entries) and index arrays, batched or not in every combination.
fn indexed(source: &[usize], index_shape: &[usize], lengths: &[usize], f: impl Fn(Var, &[Index]) -> Var) {
    for mask in 1_usize..1 << (1 + lengths.len()) {
        let is_batched = |operand: usize| mask & (1 << operand) != 0;
        let tape = Tape::new();
        let leading = |batched: bool, shape: &[usize]| if batched { [&[3], shape].concat() } else { shape.to_vec() };
        let x = tape.input("x", numbers(&leading(is_batched(0), source), -1.0, 1.0));
        let index = |i: usize| tape.index("i", indices(&leading(is_batched(i + 1), index_shape), lengths[i]));
        let all: Vec<Index> = (0..lengths.len()).map(index).collect();
        let mut batch: Vec<Handle> = Vec::new();
        if is_batched(0) {
            batch.push(x.into());
        }
        batch.extend((0..all.len()).filter(|i| is_batched(i + 1)).map(|i| Handle::from(all[i])));
        let through = |what: fn(Var, Var) -> Var| {
            let mapped = vmap_many(
                |arguments| {
                    let mut arguments = arguments.iter();
                    let x = if is_batched(0) { arguments.next().unwrap().var() } else { x };
                    let choose = |(i, &index): (usize, &Index)| {
                        if is_batched(i + 1) { arguments.next().unwrap().index() } else { index }
                    };
                    let chosen: Vec<Index> = all.iter().enumerate().map(choose).collect();
                    what(f(x, &chosen), x)
                },
                &batch,
            );
            let row = |k| {
                let x = if is_batched(0) { x.at(0, k) } else { x };
                let choose = |(i, index): (usize, &Index)| if is_batched(i + 1) { index.at(0, k) } else { *index };
                let chosen: Vec<Index> = all.iter().enumerate().map(choose).collect();
                what(f(x, &chosen), x)
            };
            let looped = Var::stack(&[row(0), row(1), row(2)], 0);
            assert_close(&format!("batched {mask:b}"), &mapped.value(), &looped.value(), 1e-13);
            let (mapped, looped) = (weighted(mapped).grad(x), weighted(looped).grad(x));
            assert_close(&format!("gradient, batched {mask:b}"), &mapped.value(), &looped.value(), 1e-12);
        };
        through(|y, _| y.exp());
        through(|y, x| weighted(y.exp()).grad(x));
        through(|y, x| weighted(y.exp()).hvp(x, x));
    }
}

#[test]
fn gather_and_scatter_add_by_batched_indices_are_loops() {
    for shape in [&[4][..], &[], &[2, 2], &[0]] {
        let values = |lengths: &[usize], behind: &[usize]| {
            let table = [lengths, behind].concat();
            let entries = [shape, behind].concat();
            indexed(&table, shape, lengths, |x, i| x.sin().gather(i));
            indexed(&entries, shape, lengths, |x, i| x.sin().scatter_add(i, lengths));
        };
        values(&[3], &[]);
        values(&[3], &[2]);
        values(&[3, 2], &[]);
        values(&[3, 2], &[2]);
        values(&[2, 3, 2], &[]);
    }
}

#[test]
fn pick_by_batched_indices_is_a_loop() {
    indexed(&[3, 4], &[3], &[4], |x, i| x.log_softmax().pick(i[0]));
    indexed(&[2, 2, 3], &[2, 2], &[3], |x, i| x.log_softmax().pick(i[0]));
    indexed(&[3], &[], &[3], |x, i| x.log_softmax().pick(i[0]));
}

#[test]
fn selections_by_batched_indices_are_loops() {
    for (shape, axis, count) in [(&[4][..], 0, 3), (&[1], 0, 2), (&[2, 3], 0, 4), (&[2, 3], 1, 2), (&[2, 3], 1, 0)] {
        let mut places = shape.to_vec();
        places[axis] = count;
        indexed(shape, &places, &[shape[axis]], |x, i| x.sin().take_along(axis, i[0]));
        indexed(&places, &places, &[shape[axis]], |x, i| x.sin().add_along(axis, i[0], shape[axis]));
    }
    for (table, lengths, shape) in
        [(&[4][..], &[4][..], &[6][..]), (&[3, 2], &[3], &[4]), (&[3, 2], &[3, 2], &[2, 2]), (&[3], &[3], &[])]
    {
        indexed(table, shape, lengths, |x, i| {
            let values = x.sum() * numbers(&[shape, &table[lengths.len()..]].concat(), 0.5, 1.5);
            x.sin().set(i, values) + x.cos().add_at(i, values.square())
        });
    }
    indexed(&[2, 3, 2], &[4], &[3], |x, i| x.sin().gather_along(1, i).scatter_add_along(1, i, &[3]));
    indexed(&[4], &[2, 3], &[4], |x, i| x * i[0].one_hot(4) + i[0].flip(1).cast(DType::F64).sum());
    indexed(&[4], &[3], &[4], |x, i| x.gather([i[0].flip(0)]).sum() * i[0].repeat(0, 2).tile(0, 2).cast(DType::F64));
}

#[test]
fn moved_and_converted_indices_are_loops() {
    indexed(&[4], &[2, 3], &[4], |x, i| x.gather([i[0].transpose(&[1, 0])]) * i[0].transpose(&[1, 0]).cast(DType::F64));
    indexed(&[4], &[2, 3], &[4], |x, i| x.gather([i[0].reshape(&[6])]) * i[0].reshape(&[6]).equal(1));
    indexed(&[4], &[2, 3], &[4], |x, i| x.gather([i[0].slice(1, 1..3).pad(0, 1, 0)]));
    indexed(&[4], &[3], &[4], |x, i| x.gather([i[0].broadcast_to(&[2, 3])]) * i[0].insert_axis(0).cast(DType::F64));
    indexed(&[4], &[3], &[4], |x, i| x.gather([i[0].at(0, 1)]));
}

#[test]
fn indices_batched_by_two_maps_are_a_loop_within_a_loop() {
    let tape = Tape::new();
    let table = tape.input("table", numbers(&[3, 4, 2], -1.0, 1.0));
    let states = tape.index("states", indices(&[5, 6], 3));
    let actions = tape.index("actions", indices(&[5, 6], 4));
    let mapped = vmap_many(
        |outer| vmap_many(|inner| table.sin().gather([inner[0].index(), inner[1].index()]), outer),
        ad::handles![states, actions],
    );
    assert_eq!(mapped.value(), table.sin().gather([states, actions]).value());
    // The table batched by the outer map alone, the indices by the inner one alone, and the other way round.
    let rows = tape.index("rows", indices(&[5], 4));
    let crossed = vmap(|table| vmap_many(|row| table.gather([row[0].index()]), ad::handles![rows]), table);
    let other = vmap_many(|row| vmap(|table| table.gather([row[0].index()]), table), ad::handles![rows]);
    let expected = table.transpose(&[1, 0, 2]).gather([rows]);
    assert_eq!(other.value(), expected.value());
    assert_eq!(crossed.value(), expected.transpose(&[1, 0, 2]).value());
    let entries = tape.input("entries", numbers(&[5, 6], -1.0, 1.0));
    let scattered = vmap_many(
        |outer| {
            let (entries, states) = (outer[0].var(), outer[1].index());
            vmap(|scale| (entries * scale).scatter_add([states], &[3]), tape.constant(arr1(&[1.0, 2.0])))
        },
        ad::handles![entries, states],
    );
    let row = |k, scale: f64| (entries.at(0, k) * scale).scatter_add([states.at(0, k)], &[3]);
    let looped: Vec<Var> = (0..5).map(|k| Var::stack(&[row(k, 1.0), row(k, 2.0)], 0)).collect();
    assert_eq!(scattered.value(), Var::stack(&looped, 0).value());
}

#[test]
fn per_example_gradients_and_hessians_are_one_computation() {
    let tape = Tape::new();
    let w = tape.input("w", arr1(&[0.3, -0.8]));
    let x = tape.input("x", arr2(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
    let loss = |x: Var| (w * x).sin().sum().square();
    let (gradients, hessians) = (vmap(|x| loss(x).grad(w), x).value(), vmap(|x| loss(x).hessian(w), x).value());
    for k in 0..3 {
        assert_close("gradient", &common::example(&gradients, k), &loss(x.at(0, k)).grad(w).value(), 1e-15);
        assert_close("hessian", &common::example(&hessians, k), &loss(x.at(0, k)).hessian(w).value(), 1e-14);
    }
}

#[test]
fn a_derivative_of_derivatives_in_a_map_is_that_of_the_loop() {
    // MAML's shape: per-task inner steps inside the map, the meta-gradient outside.
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.3, -0.8]));
    let tasks = tape.input("tasks", arr2(&[[1.0, 0.2], [-0.5, 0.7], [0.1, -1.1]]));
    let loss = |theta: Var, task: Var| (theta.sin() * task - theta).square().sum();
    let adapted = |task: Var| (0..2).fold(theta, |theta, _| theta - loss(theta, task).grad(theta) * 0.1);
    let mapped = vmap(|task| loss(adapted(task), task), tasks).mean();
    let looped = (0..3).map(|k| loss(adapted(tasks.at(0, k)), tasks.at(0, k))).reduce(|sum, x| sum + x).unwrap() / 3.0;
    assert_close("meta-gradient", &mapped.grad(theta).value(), &looped.grad(theta).value(), 1e-14);
    assert_close("meta-Hessian", &mapped.hessian(theta).value(), &looped.hessian(theta).value(), 1e-13);
}

#[test]
fn a_result_that_ignores_the_argument_is_repeated() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0, 3.0]));
    let w = tape.input("w", arr1(&[5.0, 7.0]));
    let mapped = vmap(|_| w.square(), x);
    assert_eq!(mapped.value(), arr2(&[[25.0, 49.0], [25.0, 49.0], [25.0, 49.0]]).into_dyn());
    assert_eq!(mapped.sum().grad(w).value(), arr1(&[30.0, 42.0]).into_dyn());
}

#[test]
fn a_result_that_is_the_argument_is_the_batch_as_a_node_of_its_own() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0, 3.0]));
    let same = vmap(|x| x, x);
    assert_eq!(same.value(), x.value());
    assert_eq!((x.sum() * 3.0 + same.sum()).grad(same).value(), Array1::<f64>::ones(3).into_dyn());
}

#[test]
fn one_array_may_be_mapped_as_two_arguments() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0, 3.0]));
    let product = vmap_many(|x| x[0].var() * x[1].var(), ad::handles![x, x]);
    assert_eq!(product.sum().grad(x).value(), arr1(&[2.0, 4.0, 6.0]).into_dyn());
}

#[test]
fn a_singular_matrix_in_a_map_is_found() {
    let tape = Tape::new();
    let a = tape.input("a", ndarray::stack![Axis(0), Array2::<f64>::eye(2), Array2::<f64>::zeros((2, 2))]);
    let b = tape.input("b", arr1(&[1.0, 2.0]));
    let x = vmap(|a| a.solve(b), a);
    let error = tape.compile([a], [x]).run(&ad::values![ndarray::stack![
        Axis(0),
        Array2::<f64>::eye(2),
        Array2::<f64>::zeros((2, 2))
    ]]);
    assert!(matches!(error, Err(ad::Error::Singular { matrix: 1, .. })), "{error:?}");
}
