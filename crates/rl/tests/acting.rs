//! A step of acting allocates nothing.
#![allow(unsafe_code)] // An allocator is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ad::DType;
use rl::env::{Actor, CartPole, Environment, Momentum};
use rl::policy::Activation::Tanh;
use rl::policy::{Network, Policy};
use rl::stream::stream;

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

/// The least allocations of some samplings, of trajectories of at most so many steps.
fn allocations(policy: &dyn Policy, environment: &(impl Environment + Clone + Sync), dtype: DType) -> [usize; 2] {
    let theta = policy.init(&mut stream(0, 0));
    let actor = Actor::new(policy, &theta, &environment.spaces(), dtype).unwrap();
    [5, 200].map(|horizon| {
        let one = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            actor.sample(environment, &theta, horizon, 45, 1).unwrap();
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        (0..5).map(|_| one()).min().expect("some")
    })
}

#[test]
fn a_step_of_acting_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (point, cart) = (Momentum::to([2.0, 2.0]), CartPole::new());
    let normal = Network::new(&point.spaces()[0]).dense(8, Tanh).recurrent(4).normal(2);
    let categorical = Network::new(&cart.spaces()[0]).dense(8, Tanh).categorical(2);
    for dtype in [DType::F64, DType::F32] {
        for [short, long] in
            pool.install(|| [allocations(&normal, &point, dtype), allocations(&categorical, &cart, dtype)])
        {
            assert!(short > 0 && long == short, "{short} for 5 steps, {long} for 200");
        }
    }
}
