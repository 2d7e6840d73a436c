//! Work that has no samples in it, or has them elsewhere: recurrences written step by step, columns of an array, programs of a
//! few numbers, squared distances, mixtures with their axes in another order, loops that look at their own value. Each is
//! measured in a process of its own: the time until the first result (recording, differentiation, preparation and one run; of the
//! recurrent network without the run), the median of the replays after it, and the most memory that the process ever had.
//!
//! `cargo bench --bench other_work` measures all, `cargo bench --bench other_work -- slices` those of that name;
//! `scripts/other_work_peer.py` prints the rows that JAX has, too.

use std::process::{Command, ExitCode};
use std::time::Instant;

use ad::{Index, Program, Tape, Value, Var, vmap};
use ndarray::{Array1, Array2, ArrayD, IxDyn, arr0};

/// What is measured: its name, and what to do.
type Case = (&'static str, fn() -> Measured);

const CASES: &[Case] = &[
    ("slices, 1024 steps", || slices(1024, by_slice)),
    ("slices, 4096 steps", || slices(4096, by_slice)),
    ("slices, 8192 steps", || slices(8192, by_slice)),
    ("slices by look-ups, 1024 steps", || slices(1024, by_look_up)),
    ("columns of one array [30000, 15]", columns),
    ("columns, each an input", separate_columns),
    ("GRU of 64, 100 steps, 32 at once", || gru(100)),
    ("GRU of 64, 1000 steps, 32 at once", || gru(1000)),
    ("GRU of 64, 10000 steps, 32 at once", || gru(10_000)),
    ("x·2, run_into", || few_numbers(1, false)),
    ("x·2, call", || few_numbers(1, true)),
    ("25 operations on a number, call", || few_numbers(25, true)),
    ("distances [10000, 1000]", || distances(false)),
    ("distances, centres' norms given", || distances(true)),
    ("mixture [30000, 8, 4]", || mixture(true)),
    ("mixture [8, 30000, 4]", || mixture(false)),
    ("1000 iterations with item()", || looks(1000)),
    ("4000 iterations with item()", || looks(4000)),
    ("constants [300, 200]", constants),
];

/// Seconds.
struct Measured {
    first: f64,
    replay: Option<f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--bench")).collect();
    if let [flag, name] = arguments.as_slice()
        && flag == "--one"
    {
        let (_, measure) = CASES.iter().find(|(case, _)| case == name).expect("one of the cases");
        let Measured { first, replay } = measure();
        let replay = replay.map_or("–".into(), microseconds);
        println!("{name:<36} {:>14} {replay:>14} {:>8}", microseconds(first), peak_memory());
        return ExitCode::SUCCESS;
    }
    println!("{:<36} {:>14} {:>14} {:>8}", "", "first", "replay", "MB");
    let this = std::env::current_exe().expect("this program's path");
    let chosen = CASES.iter().filter(|(name, _)| arguments.iter().all(|word| name.contains(word.as_str())));
    let ran = chosen.map(|(name, _)| Command::new(&this).args(["--one", name]).status());
    if ran.fold(true, |all, status| all & status.is_ok_and(|status| status.success())) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn microseconds(seconds: f64) -> String {
    format!("{:.2} µs", seconds * 1e6)
}

/// In megabytes, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    peak.map_or("?".into(), |kilobytes: f64| format!("{:.0}", kilobytes / 1024.0))
}

/// Of a run, the median of nine times as many as take a tenth of a second.
fn median(mut run: impl FnMut()) -> f64 {
    let mut times = |count: usize| {
        let start = Instant::now();
        (0..count).for_each(|_| run());
        start.elapsed().as_secs_f64() / count as f64
    };
    let count = ((0.1 / times(1)) as usize).clamp(1, 1_000_000);
    let mut medians: Vec<f64> = (0..9).map(|_| times(count)).collect();
    medians.sort_by(f64::total_cmp);
    medians[4]
}

/// A program, made by `prepare`, and its replays at the values that `prepare` gives.
fn replayed(prepare: impl FnOnce() -> (Program, Vec<Value<'static>>)) -> Measured {
    let start = Instant::now();
    let (program, values) = prepare();
    let mut results = program.run(&values).expect("valid inputs");
    let first = start.elapsed().as_secs_f64();
    let mut results: Vec<_> = results.iter_mut().map(|result| result.view_mut()).collect();
    let replay = median(|| program.run_into(&values, &mut results).expect("valid inputs"));
    Measured { first, replay: Some(replay) }
}

fn numbers(shape: &[usize]) -> ArrayD<f64> {
    let mut i = 0.0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        i += 1.0;
        f64::sin(i)
    })
}

fn by_slice(x: Var, t: usize) -> Var {
    x.at(0, t)
}

fn by_look_up(x: Var, t: usize) -> Var {
    x.gather([Index::constant(x, arr0(t as i32))])
}

/// The gradient of Σ h_T, h ← tanh(h/2 + x_t), by x [T, 14].
fn slices(steps: usize, row: fn(Var, usize) -> Var) -> Measured {
    replayed(|| {
        let tape = Tape::new();
        let at = numbers(&[steps, 14]);
        let x = tape.input("x", &at);
        let h = (0..steps).fold(x.at(0, 0).full_like(0.0), |h, t| (h * 0.5 + row(x, t)).tanh());
        (tape.compile([x], [h.sum().grad(x)]), vec![at.into()])
    })
}

fn of_columns(columns: &[Var]) -> Var {
    (1..columns.len()).fold(columns[0].square(), |sum, k| sum + (columns[k] * columns[k - 1]).sin())
}

/// The gradient of a function of 15 numbers, of each row.
fn columns() -> Measured {
    replayed(|| {
        let tape = Tape::new();
        let at = numbers(&[30_000, 15]);
        let x = tape.input("x", &at);
        let loss = vmap(|row| of_columns(&(0..15).map(|k| row.at(0, k)).collect::<Vec<_>>()), x).sum();
        (tape.compile([x], [loss.grad(x)]), vec![at.into()])
    })
}

fn separate_columns() -> Measured {
    replayed(|| {
        let tape = Tape::new();
        let at: Vec<ArrayD<f64>> =
            numbers(&[30_000, 15]).columns().into_iter().map(|c| c.to_owned().into_dyn()).collect();
        let x: Vec<Var> = at.iter().map(|at| tape.input("column", at)).collect();
        let loss = of_columns(&x).sum();
        (tape.compile(x.iter().copied(), loss.grad(&x)), at.into_iter().map(Value::from).collect())
    })
}

/// The gradient of Σ_t h_t² of a gated recurrent unit, by its parameters, in single precision. (At 10 000 steps it runs once. Of the
/// last state alone most steps' cotangents are too small for normal numbers, with which processors are many times slower.)
fn gru(steps: usize) -> Measured {
    const SIZE: usize = 64;
    let start = Instant::now();
    let tape = Tape::new();
    let single = |shape: &[usize]| numbers(shape).mapv(|x| 0.1 * x as f32);
    let at = [&[SIZE, 3 * SIZE][..], &[SIZE, 3 * SIZE], &[3 * SIZE], &[steps, 32, SIZE], &[32, SIZE]].map(single);
    let x = at.each_ref().map(|at| tape.input("x", at));
    let [weights, recurrent, bias, observations, initial] = x;
    let hidden = ad::fold(initial, observations, |h, step| {
        let (gates, own) = (step[0].var().matmul(weights) + bias, h.matmul(recurrent));
        let part = |of: Var, i: usize| of.slice(1, i * SIZE..(i + 1) * SIZE);
        let reset = (part(gates, 0) + part(own, 0)).sigmoid();
        let update = (part(gates, 1) + part(own, 1)).sigmoid();
        let new = (part(gates, 2) + reset * part(own, 2)).tanh();
        new + update * (h - new)
    });
    let loss = hidden.square().sum();
    let program = tape.compile(x, loss.grad(&x[..3]));
    let first = start.elapsed().as_secs_f64();
    let values = ad::values![at[0], at[1], at[2], at[3], at[4]];
    let mut results = program.run_as::<f32>(&values).expect("valid inputs");
    let replay = (steps < 10_000).then(|| {
        let mut results: Vec<_> = results.iter_mut().map(|result| result.view_mut()).collect();
        median(|| program.run_into_as(&values, &mut results).expect("valid inputs"))
    });
    Measured { first, replay }
}

fn few_numbers(operations: usize, call: bool) -> Measured {
    let start = Instant::now();
    let tape = Tape::new();
    let x = tape.input("x", 1.0);
    let y = (0..operations).fold(x, |y, i| if i % 2 == 1 { y.tanh() } else { y * 2.0 });
    let program = tape.compile([x], [y]);
    let mut result = [0.0];
    program.call(&[&[0.5]], &mut [&mut result]).expect("valid inputs");
    let first = start.elapsed().as_secs_f64();
    let values = ad::values![0.5];
    let mut array = arr0(0.0).into_dyn();
    let replay = if call {
        median(|| program.call(&[&[0.5]], &mut [&mut result]).expect("valid inputs"))
    } else {
        median(|| program.run_into(&values, &mut [array.view_mut()]).expect("valid inputs"))
    };
    Measured { first, replay: Some(replay) }
}

/// Σ exp(−|a_i − b_j|²), multiplied out.
fn distances(given: bool) -> Measured {
    replayed(|| {
        let tape = Tape::new();
        let (a, b) = (numbers(&[10_000, 16]), numbers(&[1000, 16]));
        let norms = |x: Var| x.square().sum_axes(&[1]);
        let squares = b.mapv(|x| x * x).sum_axis(ndarray::Axis(1));
        let (x, y, of_y) = (tape.input("a", &a), tape.input("b", &b), tape.input("norms", &squares));
        let of_centres = if given { of_y } else { norms(y) };
        let loss = (-(norms(x).insert_axis(1) - x.matmul(y.t()) * 2.0 + of_centres)).exp().sum();
        (tape.compile([x, y, of_y], [loss]), vec![a.into(), b.into(), squares.into()])
    })
}

/// Value and gradient of a mixture's log-likelihood.
fn mixture(samples_first: bool) -> Measured {
    replayed(|| {
        let tape = Tape::new();
        let (at, means) = (numbers(&[30_000, 4]), numbers(&[8, 4]));
        let (x, m) = (tape.input("x", &at), tape.input("means", &means));
        let difference = if samples_first { x.insert_axis(1) - m } else { x - m.insert_axis(1) };
        let loss = (difference.square().sum_axes(&[2]) * -0.5).logsumexp(&[usize::from(samples_first)]).sum();
        (tape.compile([x, m], [loss, loss.grad(m)]), vec![at.into(), means.into()])
    })
}

/// Gradient steps on one tape, each of which looks at its loss.
fn looks(iterations: usize) -> Measured {
    let start = Instant::now();
    let tape = Tape::new();
    let scale = tape.input("scale", Array1::from_vec(vec![1.0, 2.0, 3.0]));
    let mut x = tape.input("x", Array1::from_vec(vec![3.0, -2.0, 1.0]));
    for _ in 0..iterations {
        let loss = (x.square() * scale).sum();
        assert!(loss.item() >= 0.0);
        x = (x - loss.grad(x) * 1e-3).cos();
    }
    Measured { first: start.elapsed().as_secs_f64(), replay: None }
}

/// A vector, times what is made of a constant.
fn constants() -> Measured {
    replayed(|| {
        let tape = Tape::new();
        let c = tape.constant(Array2::from_shape_fn((300, 200), |(i, j)| f64::sin((i * 200 + j) as f64)));
        let at = numbers(&[300]);
        let x = tape.input("x", &at);
        (tape.compile([x], [(c.t().exp() * x).sum() + c.sum() * 0.0]), vec![at.into()])
    })
}
