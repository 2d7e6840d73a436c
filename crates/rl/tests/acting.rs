//! A step of acting allocates nothing.
#![allow(unsafe_code)] // An allocator is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ad::DType;
use rand_chacha::ChaCha8Rng;
use rl::env::{Action, Actor, CartPole, Environment, Game, IteratedGame, Momentum, Players, Slot, Step, Walk};
use rl::policy::Activation::Tanh;
use rl::policy::{Network, Policy, Sigmoid, Table};
use rl::rollout::Space;
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

/// The least allocations of some samplings, of trajectories of so many steps.
fn allocations(sample: impl Fn(usize)) -> [usize; 2] {
    [5, 200].map(|horizon| {
        let one = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            sample(horizon);
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        (0..5).map(|_| one()).min().expect("some")
    })
}

fn in_environment(policy: &dyn Policy, environment: &(impl Environment + Clone + Sync), dtype: DType) -> [usize; 2] {
    let theta = policy.init(&mut stream(0, 0));
    let actor = Actor::new(policy, &theta, &environment.spaces(), dtype).unwrap();
    allocations(|horizon| drop(actor.sample(environment, &theta, horizon, 45, 1).unwrap()))
}

fn in_game(policies: [&dyn Policy; 2], game: &(impl Game + Clone + Sync), dtype: DType) -> [usize; 2] {
    let thetas = policies.map(|policy| policy.init(&mut stream(0, 0)));
    let thetas = thetas.each_ref();
    let players = Players::new(game, policies, thetas, dtype).unwrap();
    allocations(|horizon| drop(players.play(game, thetas, horizon, 45, 1).unwrap()))
}

/// Both see tanh of the sum of what was done.
#[derive(Clone)]
struct Sum;

impl Game for Sum {
    fn spaces(&self) -> [[Space; 2]; 2] {
        [[Space::vector(1), Space::Discrete(2)], [Space::vector(1), Space::vector(1)]]
    }
    fn reset(&mut self, _: &mut ChaCha8Rng, _: [Slot<'_>; 2]) {}
    fn step(&mut self, actions: [Action<'_>; 2], _: &mut ChaCha8Rng, observations: [Slot<'_>; 2]) -> [Step; 2] {
        let sum = (actions[0].number() as f64 + actions[1].vector()[0]).tanh();
        observations.into_iter().for_each(|slot| slot.put(&[sum]));
        [Step { reward: sum, terminated: false, truncated: false }; 2]
    }
}

#[test]
fn a_step_of_acting_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (point, cart) = (Momentum::to([2.0, 2.0]), CartPole::new());
    let walk = Walk::random(3, 2, &mut stream(0, 0)).unwrap();
    let normal = Network::new(&point.spaces()[0]).dense(8, Tanh).recurrent(4).normal(2);
    let categorical = Network::new(&cart.spaces()[0]).dense(8, Tanh).categorical(2);
    let table = Table { states: 3, actions: 2 };
    let number = Network::new(&Space::vector(1)).dense(4, Tanh).recurrent(3).categorical(2);
    let vector = Network::new(&Space::vector(1)).normal(1);
    let sigmoid = Sigmoid { states: IteratedGame::STATES };
    for dtype in [DType::F64, DType::F32] {
        let all = pool.install(|| {
            [
                in_environment(&normal, &point, dtype),
                in_environment(&categorical, &cart, dtype),
                in_environment(&table, &walk, dtype),
                in_game([&number, &vector], &Sum, dtype),
                in_game([&sigmoid, &sigmoid], &IteratedGame::prisoners_dilemma(), dtype),
            ]
        });
        for (i, [short, long]) in all.into_iter().enumerate() {
            assert!(short > 0 && long == short, "number {i}: {short} for 5 steps, {long} for 200");
        }
    }
}
