//! What there is to gain: four derivatives against loops that a person derived and wrote for this one purpose.
//!
//! For a softmax policy, everything comes down to sums by state and action. With e\[s,b\] the unit arrays, π the policy and
//! d\[s,b\] = v\[s,b\] − Σ_c π(c|s) v\[s,c\],
//!
//! - ∇lp_t·v = d\[s_t,a_t\],
//! - ∇lp_t = e\[s_t,a_t\] − Σ_b π(b|s_t) e\[s_t,b\],
//! - ∇²lp_t·v = −Σ_b π(b|s_t) d\[s_t,b\] e\[s_t,b\].

use std::hint::black_box;
use std::time::Duration;

use ad::{DType, Real};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array1;

#[allow(dead_code, reason = "another bench uses more of it")]
mod generated;
use generated::Episodes;
use study::workloads::arrays::relative_error;
use study::workloads::{Recorder, Source, Task, elementwise, tabular};

const GAMMA: f64 = 0.8;
const ACTIONS: usize = 5;

/// Arrays, flat and row-major.
struct Data<T> {
    logits: Vec<T>,
    v: Vec<T>,
    states: Vec<i32>,
    actions: Vec<i32>,
    rewards: Vec<T>,
    discounts: Vec<T>,
    log_mu: Vec<T>,
    critic: Vec<T>,
}

/// The real numbers of this name.
fn real<T: Real>(source: &Episodes, name: &str) -> Vec<T> {
    source.real(name).expect("generated").iter().map(|&x| T::of(x)).collect()
}

impl<T: Real> Data<T> {
    fn new(source: &Episodes, rewards: &str) -> Self {
        let real = |name| real(source, name);
        let index = |name| source.index(name).expect("generated").into_raw_vec_and_offset().0;
        Self {
            logits: real("logits"),
            v: real("v"),
            states: index("states"),
            actions: index("actions"),
            rewards: real(rewards),
            discounts: (0..source.h).map(|t| T::of(GAMMA.powi(t as i32))).collect(),
            log_mu: real("log_mu"),
            critic: real("critic"),
        }
    }

    /// Each episode's states, actions and rewards, of a horizon that all share.
    fn episodes(&self) -> impl ExactSizeIterator<Item = (&[i32], &[i32], &[T])> {
        let horizon = self.discounts.len();
        let count = self.actions.len() / horizon;
        let states = self.states.chunks_exact(self.states.len() / count);
        let steps = self.actions.chunks_exact(horizon).zip(self.rewards.chunks_exact(horizon));
        states.zip(steps).map(|(states, (actions, rewards))| (states, actions, rewards))
    }
}

/// Where \[s,a\] stands in an array by state and action.
fn entry(state: i32, action: i32) -> usize {
    state as usize * ACTIONS + action as usize
}

fn softmax<T: Real>(logits: &[T]) -> Vec<T> {
    let mut pi: Vec<T> = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(ACTIONS) {
        let largest = row.iter().copied().fold(T::neg_infinity(), T::max);
        let total: T = row.iter().map(|&x| (x - largest).exp()).sum();
        pi.extend(row.iter().map(|&x| (x - largest).exp() / total));
    }
    pi
}

/// d\[s,b\] = v\[s,b\] − Σ_c π(c|s) v\[s,c\].
fn centred<T: Real>(pi: &[T], v: &[T]) -> Vec<T> {
    let mut d = v.to_vec();
    for (d, pi) in d.chunks_exact_mut(ACTIONS).zip(pi.chunks_exact(ACTIONS)) {
        let mean: T = d.iter().zip(pi).map(|(&v, &pi)| v * pi).sum();
        d.iter_mut().for_each(|d| *d -= mean);
    }
    d
}

/// Σ x\[s,a\]·∇lp\[s,a\], in place.
fn pull_back<T: Real>(x: &mut [T], pi: &[T]) {
    for (x, pi) in x.chunks_exact_mut(ACTIONS).zip(pi.chunks_exact(ACTIONS)) {
        let total: T = x.iter().copied().sum();
        x.iter_mut().zip(pi).for_each(|(x, &pi)| *x -= total * pi);
    }
}

/// (Σ x\[s,a\]·∇lp\[s,a\] + Σ_s weights\[s\]·∇²lp\[s,·\]·v) / count.
fn curvature<T: Real>(mut x: Vec<T>, weights: &[T], pi: &[T], d: &[T], count: usize) -> Vec<T> {
    pull_back(&mut x, pi);
    for (i, x) in x.iter_mut().enumerate() {
        *x = (*x - weights[i / ACTIONS] * pi[i] * d[i]) / T::of(count as f64);
    }
    x
}

/// W1: with S_t = Σ_{k≤t} lp_k and w_t = γ^t r_t, H·v = mean_n Σ_t w_t [ (∇S_t·v) ∇S_t + ∇²S_t·v ]. The sum over t ≥ k
/// that each ∇lp_k gets is taken from behind.
fn dice_hvp<T: Real>(data: &Data<T>) -> Vec<T> {
    let pi = softmax(&data.logits);
    let d = centred(&pi, &data.v);
    let (mut x, mut weights) = (vec![T::zero(); pi.len()], vec![T::zero(); pi.len() / ACTIONS]);
    let mut scored = vec![T::zero(); data.discounts.len()];
    for (states, actions, rewards) in data.episodes() {
        let mut score = T::zero();
        for (t, scored) in scored.iter_mut().enumerate() {
            score += d[entry(states[t], actions[t])];
            *scored = data.discounts[t] * rewards[t] * score;
        }
        let (mut behind, mut weight) = (T::zero(), T::zero());
        for (t, &scored) in scored.iter().enumerate().rev() {
            behind += scored;
            weight += data.discounts[t] * rewards[t];
            x[entry(states[t], actions[t])] += behind;
            weights[states[t] as usize] += weight;
        }
    }
    curvature(x, &weights, &pi, &d, data.episodes().len())
}

/// W2: mean_n Σ_t γ^t A_t, and mean_n Σ_t γ^t A_t ∇lp_t behind it.
fn lvc_value_and_gradient<T: Real>(data: &Data<T>) -> Vec<T> {
    let pi = softmax(&data.logits);
    let (mut x, mut value) = (vec![T::zero(); pi.len()], T::zero());
    for (states, actions, advantages) in data.episodes() {
        for (t, &discount) in data.discounts.iter().enumerate() {
            x[entry(states[t], actions[t])] += discount * advantages[t];
            value += discount * advantages[t];
        }
    }
    pull_back(&mut x, &pi);
    let count = T::of(data.episodes().len() as f64);
    std::iter::once(value).chain(x).map(|x| x / count).collect()
}

/// W3: with q_t = r_t + γ v_{t+1} − critic\[s_t\] and the cotangent u_t of v_t, the cotangent of lp_t is g_t = u_t ρ_t q_t, and
/// H·v = mean_n Σ_t g'_t ∇lp_t + g_t ∇²lp_t·v, where g' is g's tangent.
fn doubly_robust_hvp<T: Real>(data: &Data<T>) -> Vec<T> {
    let pi = softmax(&data.logits);
    let d = centred(&pi, &data.v);
    let (gamma, none) = (T::of(GAMMA), T::zero());
    let ratios: Vec<T> = pi.iter().zip(&data.log_mu).map(|(&pi, log_mu)| pi / log_mu.exp()).collect();
    let (mut x, mut weights) = (vec![T::zero(); pi.len()], vec![T::zero(); pi.len() / ACTIONS]);
    // q_t and its tangent, γ v'_{t+1}.
    let mut surprises = vec![(none, none); data.discounts.len()];
    for (states, actions, rewards) in data.episodes() {
        let (mut v, mut v_tangent) = (data.critic[states[surprises.len()] as usize], none);
        for (t, surprise) in surprises.iter_mut().enumerate().rev() {
            let (i, critic) = (entry(states[t], actions[t]), data.critic[states[t] as usize]);
            let (q, q_tangent) = (rewards[t] + gamma * v - critic, gamma * v_tangent);
            *surprise = (q, q_tangent);
            v = critic + ratios[i] * q;
            v_tangent = ratios[i] * (d[i] * q + q_tangent);
        }
        let (mut u, mut u_tangent) = (T::one(), none);
        for (t, &(q, q_tangent)) in surprises.iter().enumerate() {
            let i = entry(states[t], actions[t]);
            // The cotangents times ρ_t.
            let (scaled, scaled_tangent) = (u * ratios[i], (u_tangent + u * d[i]) * ratios[i]);
            x[i] += scaled_tangent * q + scaled * q_tangent;
            weights[states[t] as usize] += scaled * q;
            (u, u_tangent) = (gamma * scaled, gamma * scaled_tangent);
        }
    }
    curvature(x, &weights, &pi, &d, data.episodes().len())
}

/// W6: f'' v for f = exp(sin x)·x.
fn exp_sin_hvp<T: Real>(x: &[T], v: &[T]) -> Vec<T> {
    let second = |x: T| {
        let (sin, cos) = x.sin_cos();
        sin.exp() * (T::of(2.0) * cos + x * (cos * cos - sin))
    };
    x.iter().zip(v).map(|(&x, &v)| second(x) * v).collect()
}

/// Times both, once they are seen to agree.
fn compare<T: Real>(
    criterion: &mut Criterion,
    name: &str,
    entries: usize,
    task: &Task,
    handwritten: impl Fn() -> Vec<T>,
) {
    let results: Vec<f64> = task.run().expect("valid inputs").into_iter().flatten().collect();
    let by_hand: Vec<f64> = handwritten().into_iter().map(T::as_f64).collect();
    let error = relative_error(&Array1::from(by_hand).into_dyn(), &Array1::from(results).into_dyn());
    let bound = if T::DTYPE == DType::F32 { 1e-4 } else { 1e-10 };
    assert!(error < bound, "{name}: the handwritten loop is off by {error:e}");

    let mut group = criterion.benchmark_group(format!("{} {name}", T::DTYPE));
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(entries as u64));
    let values = task.values();
    group.bench_function("ad", |bencher| {
        bencher.iter(|| black_box(task.program.run_values(&values).expect("valid inputs")));
    });
    group.bench_function("handwritten", |bencher| bencher.iter(|| black_box(handwritten())));
}

fn comparisons<T: Real>(criterion: &mut Criterion) {
    let (n, h) = (1000, 20);

    let source = Episodes { n, h, last_state: false };
    let x = Recorder::in_precision(&source, T::DTYPE);
    let task = tabular::dice(&x).expect("generated").hvp(&x, "");
    let data = Data::<T>::new(&source, "rewards");
    compare(criterion, "W1 hvp", n * h, &task, || dice_hvp(&data));

    let x = Recorder::in_precision(&source, T::DTYPE);
    let task = tabular::lvc(&x).expect("generated").value_and_gradient(&x, "");
    let data = Data::<T>::new(&source, "advantages");
    compare(criterion, "W2 lvc_grad", n * h, &task, || lvc_value_and_gradient(&data));

    let source = Episodes { n, h, last_state: true };
    let x = Recorder::in_precision(&source, T::DTYPE);
    let task = tabular::doubly_robust(&x).expect("generated").hvp(&x, "");
    let data = Data::<T>::new(&source, "rewards");
    compare(criterion, "W3 dr_hvp", n * h, &task, || doubly_robust_hvp(&data));

    let tasks = elementwise::exp_sin(&Recorder::in_precision(&source, T::DTYPE), 1000).expect("generated");
    let (at, along) = (real::<T>(&source, "x_1000"), real::<T>(&source, "v_1000"));
    compare(criterion, "W6 expsin1000_hvp", at.len(), &tasks[1], || exp_sin_hvp(&at, &along));
}

criterion_group!(benches, comparisons::<f64>, comparisons::<f32>);
criterion_main!(benches);
