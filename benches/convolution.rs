//! The network of DQN on frames of bytes: 32 frames of 84×84×4 through convolutions with 32 filters of 8×8 at stride 4, 64 of
//! 4×4 at stride 2 and 64 of 3×3 at stride 1, in single precision. What it makes, and a loss of that with its gradient by all
//! filters and biases.

use std::time::Duration;

use ad::{DType, Tape, Value, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::{Array, ArrayD};

const FRAMES: usize = 32;
/// Rows, columns, channels and filters; and the stride.
const LAYERS: [([usize; 4], usize); 3] = [([8, 8, 4, 32], 4), ([4, 4, 32, 64], 2), ([3, 3, 64, 64], 1)];

/// Numbers without a pattern, small enough that no layer makes them large.
fn numbers(shape: &[usize], size: f64) -> ArrayD<f32> {
    let mut i = 0.0;
    Array::from_shape_simple_fn(shape, || {
        i += 1.0;
        (size * f64::sin(i * i)) as f32
    })
}

fn convolution(c: &mut Criterion) {
    let tape = Tape::new();
    let frames = Array::from_shape_fn([FRAMES, 84, 84, 4], |(n, i, j, k)| (7 * n + 31 * i + j * j + 5 * k) as u8);
    let pixels = tape.input("frames", &frames);
    let (mut inputs, mut values) = (vec![pixels], vec![Value::from(frames)]);
    let mut input = |name: &str, value: ArrayD<f32>| {
        let var = tape.input(name, &value);
        inputs.push(var);
        values.push(value.into());
        var
    };
    let mut x = pixels.cast(DType::F32) / 255.0;
    for (shape, stride) in LAYERS {
        let fan_in: usize = shape[..3].iter().product();
        let filters = input("filters", numbers(&shape, (6.0 / fan_in as f64).sqrt()));
        let biases = input("biases", numbers(&shape[3..], 0.1));
        x = (x.conv(filters, stride) + biases).max(0.0);
    }
    let loss = x.square().mean();
    let gradient: Vec<Var> = inputs[1..].iter().map(|&input| loss.grad(input)).collect();
    let programs = [("forward", vec![x]), ("value and gradient", [vec![loss], gradient].concat())];
    let mut group = c.benchmark_group("convolution");
    group.measurement_time(Duration::from_secs(3));
    for (name, outputs) in programs {
        let program = tape.compile(inputs.iter().copied(), outputs);
        let mut results = program.run_as::<f32>(&values).expect("of its shapes");
        let mut into: Vec<_> = results.iter_mut().map(|result| result.view_mut()).collect();
        group.bench_function(name, |b| b.iter(|| program.run_into_as(&values, &mut into).expect("of its shapes")));
    }
    group.finish();
}

criterion_group!(benches, convolution);
criterion_main!(benches);
