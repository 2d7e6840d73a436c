//! MAML with an inner rate for each parameter, learned (Meta-SGD), of sines of random amplitude and phase; parameters and rates are
//! trees of Vars, and tasks a batch that the loss of one is mapped over.
use ad::vmap_many;
use rl::{prelude::*, rand::RngExt};

fn error(theta: &Params, x: Var, y: Var) -> Var {
    let hidden = (x.insert_axis(1).matmul(theta["w"]) + theta["b"]).tanh();
    (hidden.matmul(theta["v"]).reshape(&[10]) - y).square().mean()
}

#[test]
fn maml_with_learned_rates() -> Result<()> {
    let mut rng = stream(0, 0);
    let mut draw = |shape: [usize; 2]| ArrayD::from_shape_simple_fn(&shape[..], || rng.random_range(-1.0..1.0));
    let shapes = [("w", [1, 20]), ("b", [1, 20]), ("v", [20, 1])];
    let mut numbers: Numbers = shapes.iter().map(|&(name, shape)| (name.to_owned(), draw(shape))).collect();
    numbers.extend(shapes.map(|(name, shape)| (format!("rate_{name}"), ArrayD::from_elem(&shape[..], 0.05))));
    let tape = Tape::new();
    let all = policy::record(&numbers, &tape);
    let part = |prefix: &str| -> Params { shapes.map(|(n, _)| (n.to_owned(), all[&format!("{prefix}{n}")])).into() };
    let data = ["x", "y", "x'", "y'"].map(|name| tape.input(name, Array2::<f64>::zeros((25, 10))));
    let loss_of_one = |one: &[ad::Handle]| {
        let inner = Inner::from(Rule::sgd(1.0)).rates(part("rate_"));
        let points = adapt(&part(""), inner, 1, |_, theta| -error(theta, one[0].var(), one[1].var()));
        error(&points[1], one[2].var(), one[3].var())
    };
    let loss = vmap_many(loss_of_one, data).mean();
    let step = tape.compile(all.values().chain(&data), [vec![loss], loss.grad(&all).into_values().collect()].concat());
    let (mut adam, mut losses) = (Optimiser::new(Rule::adam(1e-2)), Vec::new());
    for _ in 0..300 {
        let (amplitude, phase) = (draw([25, 1]) * 0.5 + 1.0, draw([25, 1]) * 1.5);
        let x = [draw([25, 10]) * 3.0, draw([25, 10]) * 3.0];
        let y = x.each_ref().map(|x| &amplitude * (x + &phase).mapv(f64::sin));
        let mut results = step.run(&[policy::values(&numbers), values![x[0], y[0], x[1], y[1]].into()].concat())?;
        losses.push(results.remove(0).sum() / 50.0);
        adam.step_all(numbers.values_mut(), &results)?;
    }
    assert!(losses[250..].iter().sum::<f64>() < 0.6 * losses[..50].iter().sum::<f64>());
    Ok(())
}
