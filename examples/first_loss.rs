//! A loss written once; its gradient, a Hessian-vector product, its Hessian; and a replay at new inputs.

use ad::Tape;
use clap::Parser;
use ndarray::{Array1, arr1};
use rand::{RngExt, SeedableRng};
use study::options::Common;
use study::output::Output;

/// The loss of the README, its derivatives, and a replay.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| first_loss(&options))
}

fn first_loss(options: &Options) -> study::Outcome {
    // Recording computes nothing: `loss` and its derivatives are nodes on the tape.
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.5, -1.0, 2.0]));
    let direction = tape.input("direction", arr1(&[1.0, 0.0, 0.0]));
    let loss = (theta.sin().exp() * theta).sum();
    let gradient = loss.grad(theta);
    let product = loss.hvp(theta, direction);
    let hessian = loss.hessian(theta);

    let mut output = Output::new(options.common.folder("first_loss")?);
    writeln!(output, "loss      {:+.6}", loss.item());
    writeln!(output, "gradient  {:+.6}", gradient.value());
    writeln!(output, "H·v       {:+.6}", product.value());
    writeln!(output, "Hessian\n{:+.6}\n", hessian.value());

    // A program is run again and again, with other values for its inputs.
    let program = tape.compile([theta, direction], [loss, gradient, product]);
    writeln!(output, "the same, as a program ({}):\n{program}", program.cost());
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(options.common.seed);
    for _ in 0..if options.common.quick { 1 } else { 3 } {
        let at = Array1::from_shape_simple_fn(3, || rng.random_range(-1.0..1.0));
        let results = program.run(&ad::values![at, arr1(&[1.0, 1.0, 1.0])])?;
        writeln!(output, "at {at:+.3}: loss {:+.6}, gradient {:+.6}", results[0], results[1]);
    }
    output.file("program.txt", program.to_string());
    output.finish(None)
}
