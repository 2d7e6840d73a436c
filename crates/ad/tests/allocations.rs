//! A replay allocates nothing.
#![allow(unsafe_code)] // An allocator is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ad::{DType, Element, Handle, Program, Real, Tape, Triangle, Value, Var};
use ndarray::{Array, ArrayD, ArrayViewMutD, Dimension, ShapeBuilder};

/// Counts what is asked of the system's allocator, by any thread.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn numbers<T: Real, D: Dimension>(shape: impl ShapeBuilder<Dim = D>) -> Array<T, D> {
    let mut i = 0.0;
    Array::from_shape_simple_fn(shape, || {
        i += 1.0;
        T::of(f64::sin(i))
    })
}

/// The least allocations of ten replays in a row: in some, a thread may have its first turn, in which it makes room for all
/// later ones. (What every replay allocates is in all of them.)
fn allocations<E: Element>(program: &Program, values: &[Value<'_>]) -> usize {
    let mut results: Vec<ArrayD<E>> = program.run_as(values).unwrap();
    let mut into: Vec<ArrayViewMutD<'_, E>> = results.iter_mut().map(|result| result.view_mut()).collect();
    let mut of_ten = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..10).for_each(|_| program.run_into_as(values, &mut into).unwrap());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    (0..20).map(|_| of_ten()).min().expect("some")
}

/// DiCE on a table: gathers, scans and scatters over many samples, in regions.
fn dice<T: Real>(samples: usize) -> usize {
    let tape = Tape::new();
    let (logits, direction) = (numbers::<T, _>((20, 5)), numbers::<T, _>((20, 5)));
    let states = Array::from_shape_fn((samples, 20), |(n, t)| ((n * 7 + t * 3) % 20) as i32);
    let actions = Array::from_shape_fn((samples, 20), |(n, t)| ((n * 5 + t * 2) % 5) as i32);
    let rewards = numbers::<T, _>((samples, 20));
    let (theta, v) = (tape.input("logits", &logits), tape.input("v", &direction));
    let (s, a, r) = (tape.index("states", &states), tape.index("actions", &actions), tape.input("rewards", &rewards));
    let boxed = theta.log_softmax().gather([s, a]).cumsum(1).magic_box();
    let value = (r * boxed).sum_axes(&[1]).mean();
    let outputs = [value, value.grad(theta), value.hvp(theta, v), value.hessian(theta)];
    let inputs: [Handle; 5] = [theta.into(), v.into(), s.into(), a.into(), r.into()];
    allocations::<T>(&tape.compile(inputs, outputs), &ad::values![logits, direction, states, actions, rewards])
}

/// A network's loss: matrix products, activations, sums over rows.
fn network<T: Real>(rows: usize) -> usize {
    let tape = Tape::new();
    let arrays: [Array<T, _>; 3] = [numbers((30, 16)), numbers((16, 3)), numbers((rows, 30))];
    let x: Vec<Var> = arrays.iter().map(|array| tape.input("x", array)).collect();
    let loss = x[2].matmul(x[0]).tanh().matmul(x[1]).square().sum_axes(&[1]).mean();
    let (first, second) = (loss.grad(x[0]), loss.hvp(x[1], x[1]));
    let values: Vec<Value<'_>> = arrays.iter().map(Value::from).collect();
    allocations::<T>(&tape.compile(x, [first, second]), &values)
}

/// A network in single precision on bytes, with a loss in double.
fn network_of_bytes(rows: usize) -> usize {
    let tape = Tape::new();
    let bytes = Array::from_shape_fn((rows, 30), |(i, j)| (7 * i + j) as u8);
    let actions = Array::from_shape_fn(rows, |i| (i % 3) as i32);
    let w = numbers::<f32, _>((30, 3));
    let (x, weights, a) = (tape.input("x", &bytes), tape.input("w", &w), tape.index("a", &actions));
    let logits = (x.cast(DType::F32) / 255.0).matmul(weights);
    let loss = (logits.log_softmax().pick(a).cast(DType::F64) * a.cast(DType::F64)).mean();
    let (values, inputs) = (ad::values![bytes, w, actions], [Handle::from(x), weights.into(), a.into()]);
    allocations::<f64>(&tape.compile(inputs, [loss]), &values)
        + allocations::<f32>(&tape.compile(inputs, [loss.grad(weights)]), &values)
}

/// A convolution of frames of bytes, a loss, its gradient and a Hessian-vector product.
fn convolution_of_bytes(frames: usize) -> usize {
    let tape = Tape::new();
    let bytes = Array::from_shape_fn((frames, 12, 10, 3), |(n, i, j, c)| (7 * n + 31 * i + j * j + c) as u8);
    let filters = numbers::<f32, _>((4, 3, 3, 5));
    let (x, w) = (tape.input("x", &bytes), tape.input("w", &filters));
    let layer = (x.cast(DType::F32) / 255.0).conv(w, 2).tanh();
    let loss = layer.conv(w.reshape(&[2, 6, 3, 5]).slice(1, 0..2).sum_axes(&[2]).insert_axis(3) * 0.1, 1);
    let loss = loss.square().sum_axes(&[1, 2, 3]).mean();
    let program = tape.compile([Handle::from(x), w.into()], [loss, loss.grad(w), loss.hvp(w, w)]);
    allocations::<f32>(&program, &ad::values![bytes, filters])
}

/// A network of so many layers: many inputs, many operands of one operation, and many results of a region.
fn deep_network<T: Real>(rows: usize, layers: usize) -> usize {
    let tape = Tape::new();
    let weights: Vec<Array<T, _>> = (0..layers).map(|_| numbers((8, 8))).collect();
    let data = numbers::<T, _>((rows, 8));
    let x = tape.input("x", &data);
    let w: Vec<Var> = weights.iter().map(|w| tape.input("w", w)).collect();
    let mut made = vec![x];
    for &w in &w {
        made.push(made[made.len() - 1].matmul(w).tanh());
    }
    let loss = Var::concat(&made, 1).square().sum_axes(&[1]).mean();
    let outputs = [vec![loss], loss.grad(&w), loss.hvp(&w, &w), made].concat();
    let values: Vec<Value<'_>> = std::iter::once(&data).chain(&weights).map(Value::from).collect();
    allocations::<T>(&tape.compile([vec![x], w].concat(), outputs), &values)
}

/// A few numbers.
fn few_numbers<T: Real>() -> usize {
    let tape = Tape::new();
    let x = tape.input("x", T::of(0.5));
    let y = (0..40).fold(x, |y, i| if i % 2 == 1 { y.tanh() } else { y * 1.5 - x });
    allocations::<T>(&tape.compile([x], [y, y.grad(x)]), &[Value::from(T::of(0.7))])
}

/// A loop, with a loop within its steps, and its derivatives.
fn recurrent<T: Real>(rows: usize) -> usize {
    let tape = Tape::new();
    let arrays: [Array<T, _>; 3] =
        [numbers((8, 8)).into_dyn(), numbers((rows, 8)).into_dyn(), numbers((5, rows, 8)).into_dyn()];
    let x: Vec<Var> = arrays.iter().map(|array| tape.input("x", array)).collect();
    let (w, xs) = (x[0], x[2]);
    let carries = ad::fold((x[1], x[1].sum()), xs, |(h, sum), step| {
        let inner = ad::fold(h, 3, |h, _| (h.matmul(w) * 0.1 + step[0].var()).tanh());
        (inner.at(0, 2), sum + inner.sum() * 0.01)
    });
    let kept = ad::fold_every(2, x[1], xs, |h, step| (h.matmul(w) * 0.1 + step[0].var()).tanh());
    let loss = carries.0.square().mean() + carries.1.mean() + kept.mean();
    let values: Vec<Value<'_>> = arrays.iter().map(Value::from).collect();
    allocations::<T>(&tape.compile(x.clone(), [loss.grad(&x), loss.hvp(&x, &x)].concat()), &values)
}

/// Linear systems, with any matrix and with a triangle, determinants, and their derivatives.
fn system<T: Real>() -> usize {
    let tape = Tape::new();
    let matrix = numbers::<T, _>((20, 20)) + Array::from_diag_elem(20, T::of(5.0));
    let x = tape.input("x", &matrix);
    let b = tape.constant(numbers::<T, _>(20));
    let square = x.matmul(x.t());
    let whitened = square.cholesky().solve_triangular(b, Triangle::Lower).sin().sum();
    let y = x.solve(b).sin().sum() + whitened + square.ln_determinant() + x.ln_abs_determinant();
    allocations::<T>(&tape.compile([x], [y.grad(x), y.hvp(x, x)]), &ad::values![matrix])
}

/// Movements, sums, scans and look-ups of arrays of many axes. (An input of more than four is allocated by `ndarray`.)
fn many_axes<T: Real>(rows: usize) -> usize {
    let tape = Tape::new();
    let array = numbers::<T, _>((rows, 2, 3, 4));
    let (input, y) = (tape.input("x", &array), tape.input("y", numbers::<T, _>((3, 1, 2))));
    let x = input.reshape(&[rows, 2, 3, 2, 2]);
    let index = tape.index("i", Array::from_elem(rows, 1));
    let moved = x.transpose(&[0, 3, 1, 4, 2]).sin().pad(2, 1, 0).slice(4, 0..2).transpose(&[0, 4, 1, 3, 2]);
    let broadcast = x.insert_axis(3) * y.insert_axis(2).sin().broadcast_to(&[rows, 2, 3, 1, 2, 2]);
    let sums = broadcast.sum_axes(&[1, 4]).max_axes(&[2]).logsumexp(&[2]);
    let rest = Var::concat(&[x.cumsum(3), x.gather([index])], 0);
    let rest = (rest * rest).sum() + input.gather([index; 4]).square().sum();
    let loss = moved.square().sum() + sums.tanh().sum() + rest;
    let programs = [[moved.reshape(&[rows, 8, 3]), sums], [loss, loss.grad(input)], [loss, loss.hvp(input, input)]];
    programs.map(|outputs| allocations::<T>(&tape.compile([input], outputs), &ad::values![array])).iter().sum()
}

/// Of one type, on few samples and on many; at last on all threads there are, and in a pool.
fn replays<T: Real>() {
    let dtype = T::DTYPE;
    assert_eq!(dice::<T>(50), 0, "DiCE on few samples, {dtype}");
    assert_eq!(network::<T>(40), 0, "a network on few rows, {dtype}");
    assert_eq!(system::<T>(), 0, "a linear system, {dtype}");
    assert_eq!(many_axes::<T>(3), 0, "arrays of many axes, {dtype}");
    assert_eq!(many_axes::<T>(500), 0, "many arrays of many axes, {dtype}");
    assert_eq!(few_numbers::<T>(), 0, "a few numbers, {dtype}");
    assert_eq!(recurrent::<T>(2), 0, "a loop of few rows, {dtype}");
    assert_eq!(recurrent::<T>(600), 0, "a loop of many rows, {dtype}");
    assert_eq!(deep_network::<T>(3, 40), 0, "a deep network on few rows, {dtype}");
    assert_eq!(deep_network::<T>(64, 40), 0, "a deep network on many rows, {dtype}");
    assert_eq!(dice::<T>(5000), 0, "DiCE on many samples, {dtype}");
    assert_eq!(network::<T>(4000), 0, "a network on many rows, {dtype}");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    assert_eq!(pool.install(|| dice::<T>(5000)), 0, "DiCE on many samples, {dtype}, in a pool");
    assert_eq!(pool.install(|| network::<T>(4000)), 0, "a network on many rows, {dtype}, in a pool");
}

/// One test, so that no other thread allocates at the same time.
#[test]
fn a_replay_allocates_nothing() {
    replays::<f64>();
    replays::<f32>();
    assert_eq!(network_of_bytes(40), 0, "a network on few rows of bytes");
    assert_eq!(network_of_bytes(4000), 0, "a network on many rows of bytes");
    assert_eq!(convolution_of_bytes(3), 0, "a convolution of few frames");
    assert_eq!(convolution_of_bytes(300), 0, "a convolution of many frames");
}
