//! The kernels alone, without a program around them, on arrays that stay in the nearest caches, for every kind of processor
//! that this one can play. Beside them a copy, which is what moving the numbers costs.
//!
//! The throughput is of the bytes read and written. Criterion's time divided by the number of entries, the last number of a
//! benchmark's name, is the time of an entry.

use std::hint::black_box;
use std::time::Duration;

use ad::{Index, Level, Real, Tape, Var};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array1, ArrayD};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Its name, the shapes of its operands, and itself.
type Kernel = (&'static str, &'static [&'static [usize]], fn(&Tape, &[Var]) -> Var);

const N: &[usize] = &[2048];
const BATCH: &[usize] = &[100, 20];

fn kernels() -> Vec<Kernel> {
    vec![
        ("copy", &[N], |_, x| x[0].reshape(&[2, 1024])),
        ("plus", &[N, N], |_, x| x[0] + x[1]),
        ("times", &[N, N], |_, x| x[0] * x[1]),
        ("over", &[N, N], |_, x| x[0] / x[1]),
        ("max", &[N, N], |_, x| x[0].max(x[1])),
        ("less", &[N, N], |_, x| x[0].less(x[1])),
        ("select", &[N, N, N], |_, x| x[0].select(x[1], x[2])),
        ("abs", &[N], |_, x| x[0].abs()),
        ("square", &[N], |_, x| x[0].square()),
        ("powf 7", &[N], |_, x| x[0].powf(7.0)),
        ("sqrt", &[N], |_, x| x[0].sqrt()),
        ("exp", &[N], |_, x| x[0].exp()),
        ("ln", &[N], |_, x| x[0].ln()),
        ("tanh", &[N], |_, x| x[0].tanh()),
        ("sigmoid", &[N], |_, x| x[0].sigmoid()),
        ("softplus", &[N], |_, x| x[0].softplus()),
        ("sin", &[N], |_, x| x[0].sin()),
        ("cos", &[N], |_, x| x[0].cos()),
        ("sum", &[N], |_, x| x[0].sum()),
        ("sum of each row", &[BATCH], |_, x| x[0].sum_axes(&[1])),
        ("sum of each column", &[BATCH], |_, x| x[0].sum_axes(&[0])),
        ("largest", &[N], |_, x| x[0].max_axes(&[0])),
        ("logsumexp", &[N], |_, x| x[0].logsumexp(&[0])),
        ("logsumexp of each row", &[BATCH], |_, x| x[0].logsumexp(&[1])),
        ("logsumexp of rows of 5", &[&[400, 5]], |_, x| x[0].logsumexp(&[1])),
        ("scan of each row", &[BATCH, BATCH], |_, x| x[0].scan(x[1], 1)),
        ("scan_reverse of each row", &[BATCH, BATCH], |_, x| x[0].scan_reverse(x[1], 1)),
        ("scan of each column", &[&[20, 100], &[20, 100]], |_, x| x[0].scan(x[1], 0)),
        ("gather, one index", &[&[20]], |tape, x| x[0].gather([indices(tape, 20)])),
        ("gather, two indices", &[&[20, 5]], |tape, x| x[0].gather([indices(tape, 20), indices(tape, 5)])),
        ("scatter_add, one index", &[N], |tape, x| x[0].scatter_add([indices(tape, 20)], &[20])),
        ("scatter_add, two indices", &[N], |tape, x| x[0].scatter_add([indices(tape, 20), indices(tape, 5)], &[20, 5])),
        ("transpose", &[BATCH], |_, x| x[0].t()),
    ]
}

fn indices(tape: &Tape, below: i32) -> Index {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    tape.index("indices", Array1::from_shape_simple_fn(N[0], || rng.random_range(0..below)))
}

fn every_kernel<T: Real>(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for (name, shapes, kernel) in kernels() {
        let tape = Tape::new();
        let arrays: Vec<ArrayD<T>> = shapes
            .iter()
            .map(|&shape| ArrayD::from_shape_simple_fn(shape, || T::of(rng.random_range(0.1..3.0))))
            .collect();
        let inputs: Vec<Var> = arrays.iter().map(|array| tape.input("x", array)).collect();
        let result = kernel(&tape, &inputs);
        let mut slices: Vec<&[T]> = arrays.iter().map(|array| array.as_slice().expect("row-major")).collect();
        slices.resize(3, &[]);
        let mut out = vec![T::zero(); result.size()];
        let entries = arrays[0].len().max(out.len());
        let bytes = (arrays.iter().map(ArrayD::len).sum::<usize>() + out.len()) * size_of::<T>();
        let mut group = criterion.benchmark_group(format!("kernels/{}/{name}", T::DTYPE));
        group.sample_size(20).warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200));
        group.throughput(Throughput::Bytes(bytes as u64));
        for &level in Level::available() {
            level.use_level();
            group.bench_function(BenchmarkId::new(format!("{level:?}"), entries), |bencher| {
                bencher.iter(|| result.run_kernel(black_box(&slices), black_box(&mut out)));
            });
        }
    }
}

criterion_group!(benches, every_kernel::<f64>, every_kernel::<f32>);
criterion_main!(benches);
