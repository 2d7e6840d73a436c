//! Adam on a policy's parameters, saved in the middle and resumed: to the bit what the run would have been that was not ended.
use rl::prelude::*;

/// What a run goes on from. Everything random is a function of seed and iteration.
type State = (u64, Numbers, Optimiser);

fn train((first, mut theta, mut adam): State, last: u64) -> Result<State> {
    let goal = rl::env::Navigation::to([0.3, -0.2]);
    let policy = Network::new(&Space::vector(2)).dense(8, Activation::Tanh).normal(2);
    let tape = Tape::new();
    let params = policy::record(&theta, &tape);
    let episodes = sample(&goal, &policy, &theta, 20, 50, 0)?.record(&tape);
    let batch = Batch::new(episodes, policy.log_prob(&params, &episodes), 0.99);
    let loss = -ScoreFunction.surrogate(&batch);
    let inputs = policy::handles(&params).into_iter().chain(episodes.handles());
    let gradient = tape.compile(inputs, loss.grad(&params).into_values());
    for iteration in first..last {
        let rollout = sample(&goal, &policy, &theta, 20, 50, iteration)?;
        let mut values = policy::values(&theta);
        values.extend(rollout.values());
        let gradient = gradient.run(&values)?;
        adam.step_all(theta.values_mut(), &gradient)?;
    }
    Ok((last, theta, adam))
}

#[test]
fn adam_is_saved_and_resumed() -> Result<()> {
    let policy = Network::new(&Space::vector(2)).dense(8, Activation::Tanh).normal(2);
    let start: State = (0, policy.init(&mut stream(0, 0)), Optimiser::new(Rule::adam(1e-2)));
    let whole = train(start.clone(), 6)?;
    let file = std::env::temp_dir().join(format!("adam-{}.json", std::process::id()));
    // Written whole or not at all: a run that is killed here leaves the state before.
    rl::files::write_whole([(&file, serde_json::to_vec(&train(start, 3)?).expect("numbers"))])?;
    let saved: State = serde_json::from_slice(&std::fs::read(&file).expect("just written")).expect("a state");
    std::fs::remove_file(file).expect("just read");
    assert!(train(saved, 6)? == whole);
    Ok(())
}
