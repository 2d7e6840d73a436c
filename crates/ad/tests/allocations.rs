//! A replay allocates nothing.
#![allow(unsafe_code)] // An allocator is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ad::{Handle, Program, Tape, Value, Var};
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

fn numbers<D: Dimension>(shape: impl ShapeBuilder<Dim = D>) -> Array<f64, D> {
    let mut i = 0.0;
    Array::from_shape_simple_fn(shape, || {
        i += 1.0;
        f64::sin(i)
    })
}

/// The least allocations of ten replays in a row: in some, a thread may have its first turn, in which it makes room for all
/// later ones. (What every replay allocates is in all of them.)
fn allocations(program: &Program, values: &[Value<'_>]) -> usize {
    let mut results: Vec<ArrayD<f64>> = program.run(values).unwrap();
    let mut into: Vec<ArrayViewMutD<'_, f64>> = results.iter_mut().map(|result| result.view_mut()).collect();
    let mut of_ten = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..10).for_each(|_| program.run_into(values, &mut into).unwrap());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    (0..20).map(|_| of_ten()).min().expect("some")
}

/// DiCE on a table: gathers, scans and scatters over many samples, in regions.
fn dice(samples: usize) -> usize {
    let tape = Tape::new();
    let (logits, direction) = (numbers((20, 5)), numbers((20, 5)));
    let states = Array::from_shape_fn((samples, 20), |(n, t)| ((n * 7 + t * 3) % 20) as i32);
    let actions = Array::from_shape_fn((samples, 20), |(n, t)| ((n * 5 + t * 2) % 5) as i32);
    let rewards = numbers((samples, 20));
    let (theta, v) = (tape.input("logits", &logits), tape.input("v", &direction));
    let (s, a, r) = (tape.index("states", &states), tape.index("actions", &actions), tape.input("rewards", &rewards));
    let boxed = theta.log_softmax().gather(&[s, a]).cumsum(1).magic_box();
    let value = (r * boxed).sum_axes(&[1]).mean();
    let outputs = [value, value.grad(theta), value.hvp(theta, v), value.hessian(theta)];
    let inputs: [Handle; 5] = [theta.into(), v.into(), s.into(), a.into(), r.into()];
    allocations(&tape.compile(inputs, outputs), &ad::values![logits, direction, states, actions, rewards])
}

/// A network's loss: matrix products, activations, sums over rows.
fn network(rows: usize) -> usize {
    let tape = Tape::new();
    let arrays = [numbers((30, 16)), numbers((16, 3)), numbers((rows, 30))];
    let x: Vec<Var> = arrays.iter().map(|array| tape.input("x", array)).collect();
    let loss = x[2].matmul(x[0]).tanh().matmul(x[1]).square().sum_axes(&[1]).mean();
    let (first, second) = (loss.grad(x[0]), loss.hvp(x[1], x[1]));
    let values: Vec<Value<'_>> = arrays.iter().map(Value::from).collect();
    allocations(&tape.compile(x, [first, second]), &values)
}

/// A linear system and its derivatives.
fn system() -> usize {
    let tape = Tape::new();
    let matrix = numbers((20, 20)) + 5.0 * Array::eye(20);
    let x = tape.input("x", &matrix);
    let y = x.solve(tape.constant(numbers(20))).sin().sum();
    allocations(&tape.compile([x], [y.grad(x), y.hvp(x, x)]), &ad::values![matrix])
}

/// Movements, sums, scans and look-ups of arrays of many axes. (An input of more than four is allocated by `ndarray`.)
fn many_axes(rows: usize) -> usize {
    let tape = Tape::new();
    let array = numbers((rows, 2, 3, 4));
    let (input, y) = (tape.input("x", &array), tape.input("y", numbers((3, 1, 2))));
    let x = input.reshape(&[rows, 2, 3, 2, 2]);
    let index = tape.index("i", Array::from_elem(rows, 1));
    let moved = x.transpose(&[0, 3, 1, 4, 2]).sin().pad(2, 1, 0).slice(4, 0..2).transpose(&[0, 4, 1, 3, 2]);
    let broadcast = x.insert_axis(3) * y.insert_axis(2).sin().broadcast_to(&[rows, 2, 3, 1, 2, 2]);
    let sums = broadcast.sum_axes(&[1, 4]).max_axes(&[2]).logsumexp(&[2]);
    let rest = Var::concat(&[x.cumsum(3), x.gather(&[index])], 0);
    let loss = moved.square().sum() + sums.tanh().sum() + (rest * rest).sum();
    let programs = [[moved.reshape(&[rows, 8, 3]), sums], [loss, loss.grad(input)], [loss, loss.hvp(input, input)]];
    programs.map(|outputs| allocations(&tape.compile([input], outputs), &ad::values![array])).iter().sum()
}

/// One test, so that no other thread allocates at the same time.
#[test]
fn a_replay_allocates_nothing() {
    assert_eq!(dice(50), 0, "DiCE on few samples");
    assert_eq!(network(40), 0, "a network on few rows");
    assert_eq!(system(), 0, "a linear system");
    assert_eq!(many_axes(3), 0, "arrays of many axes");
    assert_eq!(many_axes(500), 0, "many arrays of many axes");
    // On all threads there are, and in a pool.
    assert_eq!(dice(5000), 0, "DiCE on many samples");
    assert_eq!(network(4000), 0, "a network on many rows");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    assert_eq!(pool.install(|| dice(5000)), 0, "DiCE on many samples, in a pool");
    assert_eq!(pool.install(|| network(4000)), 0, "a network on many rows, in a pool");
}
