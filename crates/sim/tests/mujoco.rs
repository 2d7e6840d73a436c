//! Locomotion against what Gymnasium 1.4.0 with mujoco 3.17.0 and the papers' formulas say (`scripts/mujoco_trajectories.py`).

use std::fs::File;

use ad::DType;
use mujoco_rs::prelude::{MjData, MjModel, MjtDisableBit, MjtState};
use ndarray::{Array1, Array2, Array3, s};
use ndarray_npy::{ReadNpyExt, ReadableElement};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rl::env::{Action, Actor, Environment, Failure, Slot, Tasks};
use rl::policy::{Activation::Tanh, Network, Policy};
use rl::rollout::Space;
use rl::stream::stream;
use sim::benchmarks::BENCHMARKS;
use sim::mujoco::{self, Aim, Body, Data, Locomotion, Scales, Simulation};

/// The benchmark of this name.
fn named(name: &str) -> fn(&mut ChaCha8Rng) -> Locomotion {
    mujoco::named(name).unwrap_or_else(|| panic!("{name} is in the list"))
}

struct Golden(zip::ZipArchive<File>);

impl Golden {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mujoco.npz");
        Self(zip::ZipArchive::new(File::open(path).unwrap()).unwrap())
    }

    fn array<A: ReadableElement, D: ndarray::Dimension>(&mut self, name: &str) -> ndarray::Array<A, D> {
        let file = self.0.by_name(&format!("{name}.npy")).unwrap_or_else(|error| panic!("{name}: {error}"));
        ndarray::Array::read_npy(file).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// What `-v5` shows: of bodies all but the world, which nothing happens to.
fn seen_in_gymnasium(body: Body, data: &Data) -> Vec<f64> {
    let (qpos, qvel) = (data.qpos().to_vec(), data.qvel().to_vec());
    let clipped = |x: &f64, most: f64| x.clamp(-most, most);
    match body {
        Body::HalfCheetah => [&qpos[1..], &qvel].concat(),
        Body::Swimmer => [&qpos[2..], &qvel].concat(),
        Body::Walker2d | Body::Hopper => [qpos[1..].to_vec(), qvel.iter().map(|x| clipped(x, 10.0)).collect()].concat(),
        Body::Ant => {
            let forces = data.cfrc_ext()[1..].as_flattened().iter().map(|x| clipped(x, 1.0)).collect();
            [qpos[2..].to_vec(), qvel, forces].concat()
        }
        Body::Humanoid => [
            &qpos[2..],
            &qvel,
            data.cinert()[1..].as_flattened(),
            data.cvel()[1..].as_flattened(),
            &data.qfrc_actuator()[6..],
            data.cfrc_ext()[1..].as_flattened(),
        ]
        .concat(),
    }
}

#[test]
fn fifty_steps_of_all_bodies_have_the_bits_of_gymnasium() {
    let mut golden = Golden::open();
    for (body, name) in Body::ALL.into_iter().zip(["HalfCheetah", "Ant", "Walker2d", "Hopper", "Swimmer", "Humanoid"]) {
        let skip = if matches!(body, Body::HalfCheetah | Body::Ant | Body::Humanoid) { 5 } else { 4 };
        let mut simulation = Simulation::new(body);
        // Another one of the body, whose steps are made in between, in the same data.
        let mut other = Simulation::new(body);
        let start: Array1<f64> = golden.array(&format!("{name}.start"));
        let (qpos, qvel) = start.as_slice().unwrap().split_at(simulation.qpos().len());
        simulation.begin(qpos, qvel, |_| ());
        let actions: Array2<f64> = golden.array(&format!("{name}.actions"));
        let states: Array2<f64> = golden.array(&format!("{name}.states"));
        let observations: Array2<f64> = golden.array(&format!("{name}.observations"));
        for (t, action) in actions.rows().into_iter().enumerate() {
            let action = action.as_slice().unwrap();
            let seen = simulation.step(action, skip, |data| seen_in_gymnasium(body, data)).unwrap();
            let state = [simulation.qpos(), simulation.qvel()].concat();
            assert_eq!(state.as_slice(), states.row(t).as_slice().unwrap(), "{name}, step {t}");
            if t % 10 == 9 {
                assert_eq!(seen.as_slice(), observations.row(t / 10).as_slice().unwrap(), "{name}, step {t}");
            }
            other.step(&vec![0.3; action.len()], skip, |_| ()).unwrap();
        }
        assert_eq!(observations.dim().0, 5);
    }
}

/// Islands of constraints, of which one tree has one, and forces that nobody feels.
#[test]
fn what_is_not_computed_changes_no_bit() {
    for body in Body::ALL {
        let mut simulation = Simulation::new(body);
        let (qpos, qvel) = (simulation.start(), vec![0.0; simulation.qvel().len()]);
        let mut model = simulation.begin(&qpos, &qvel, |data| Box::new(MjModel::clone(data.model())));
        assert_eq!(model.opt().disableflags, MjtDisableBit::mjDSBL_ISLAND as i32, "{body}");
        model.opt_mut().disableflags = 0;
        let mut all = MjData::new(model);
        all.forward();
        let (rng, ranges) = (&mut stream(11, 0), simulation.control_ranges().to_vec());
        let mut touched = 0;
        for t in 0..300 {
            let controls: Vec<f64> = ranges.iter().map(|&[least, most]| rng.random_range(least..most)).collect();
            all.ctrl_mut().copy_from_slice(&controls);
            for _ in 0..4 {
                all.step();
            }
            all.rne_post_constraint();
            simulation.step(&controls, 4, |_| ()).unwrap();
            let mut state = vec![0.0; simulation.state().len()];
            all.read_state_into(MjtState::mjSTATE_INTEGRATION as u32, &mut state);
            let bits = |state: &[f64]| state.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(simulation.state()), bits(&state), "{body}, step {t}");
            touched += usize::from(all.nefc() > 0);
        }
        assert!(touched > 0, "{body}: nothing constrains it");
    }
}

/// The tasks of the stored trajectories.
fn task(golden: &mut Golden, name: &str) -> Locomotion {
    let aim: Array1<f64> = golden.array(&format!("{name}.aim"));
    let body = named(name)(&mut stream(0, 0)).simulation().body();
    let aim = match aim[2] {
        0.0 => Aim::Direction([aim[0], aim[1]]),
        1.0 => Aim::Velocity(aim[0]),
        2.0 => Aim::Goal([aim[0], aim[1]]),
        _ => Aim::Forward,
    };
    if aim != Aim::Forward {
        return Locomotion::new(body, aim);
    }
    let mut vectors = |field: &str| {
        let array: Array2<f64> = golden.array(&format!("{name}.{field}"));
        array.rows().into_iter().map(|row| [row[0], row[1], row[2]]).collect::<Vec<_>>()
    };
    let (inertia, friction) = (vectors("body_inertia"), vectors("geom_friction"));
    let mut numbers = |field: &str| golden.array::<f64, ndarray::Ix1>(&format!("{name}.{field}")).to_vec();
    let scales = Scales { mass: numbers("body_mass"), inertia, friction, damping: numbers("dof_damping") };
    Locomotion::scaled(body, aim, scales).unwrap()
}

#[test]
fn rewards_and_observations_are_those_of_the_papers_formulas() {
    let mut golden = Golden::open();
    let mut ended = 0;
    for benchmark in BENCHMARKS {
        let name = benchmark.name;
        let mut one = task(&mut golden, name);
        let start: Array1<f64> = golden.array(&format!("{name}.start"));
        let mut seen = vec![0.0; one.spaces()[0].size()];
        let (qpos, qvel) = start.as_slice().unwrap().split_at(one.simulation().qpos().len());
        one.begin(qpos, qvel, Slot::F64(&mut seen));
        let actions: Array2<f64> = golden.array(&format!("{name}.actions"));
        let (rewards, ends): (Array1<f64>, Array1<f64>) =
            (golden.array(&format!("{name}.rewards")), golden.array(&format!("{name}.ends")));
        for (t, action) in actions.rows().into_iter().enumerate() {
            let action = Action::Vector(action.as_slice().unwrap());
            let step = one.step(action, &mut stream(0, 0), Slot::F64(&mut seen)).unwrap();
            let apart = (step.reward - rewards[t]).abs();
            assert!(apart <= 1e-12 * rewards[t].abs().max(1.0), "{name}, step {t}: {} {}", step.reward, rewards[t]);
            assert_eq!(f64::from(step.terminated), ends[t], "{name}, step {t}");
            ended += usize::from(step.terminated);
        }
        let observation: Array1<f64> = golden.array(&format!("{name}.observation"));
        assert_eq!(seen.as_slice(), observation.as_slice().unwrap(), "{name}");
    }
    assert!(ended > 0, "somebody falls");
}

#[test]
fn tasks_are_drawn_as_the_papers_say() {
    let draw = |name: &str| {
        let benchmark = named(name);
        (0..200).map(move |number| benchmark(&mut stream(7, number))).collect::<Vec<_>>()
    };
    let velocities = |name: &str| {
        let of = |one: &Locomotion| if let Aim::Velocity(v) = one.aim() { v } else { panic!("{name}") };
        let mut all: Vec<f64> = draw(name).iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        [all[0], all[100], all[199]]
    };
    for (name, most, least) in
        [("half-cheetah-velocity", 3.0, 0.0), ("walker2d-velocity", 10.0, 0.0), ("swimmer-velocity", 0.2, 0.1)]
    {
        let at = velocities(name).map(|v| (v - least) / (most - least));
        assert!(at[0] >= 0.0 && at[0] < 0.05 && (at[1] - 0.5).abs() < 0.15 && at[2] > 0.95 && at[2] < 1.0, "{at:?}");
    }
    for name in ["half-cheetah-direction", "ant-direction", "walker2d-direction", "humanoid-direction"] {
        let forward = draw(name).iter().filter(|one| one.aim() == Aim::Direction([1.0, 0.0])).count();
        let backward = draw(name).iter().filter(|one| one.aim() == Aim::Direction([-1.0, 0.0])).count();
        assert!(forward + backward == 200 && forward.abs_diff(100) < 30, "{name}: {forward} {backward}");
    }
    for name in ["ant-direction-2d", "humanoid-direction-2d"] {
        let mut upwards = 0;
        for one in draw(name) {
            let Aim::Direction([x, y]) = one.aim() else { panic!("{name}") };
            assert!((x.hypot(y) - 1.0).abs() < 1e-14);
            upwards += usize::from(y > 0.0);
        }
        assert!(upwards.abs_diff(100) < 30, "{name}: {upwards}");
    }
    // Half of a disc's area is within 0.707 of its radius.
    let goals = draw("ant-goal");
    let near = |one: &&Locomotion| matches!(one.aim(), Aim::Goal([x, y]) if x.hypot(y) < 3.0 / 2f64.sqrt());
    let within = goals.iter().filter(near);
    assert!(within.count().abs_diff(100) < 30);
    let masses = draw("hopper-parameters");
    assert!(masses[0].simulation().state().len() == masses[1].simulation().state().len());
}

fn same_bits(of: &Locomotion, other: &Locomotion) -> bool {
    of.simulation().state().iter().map(|x| x.to_bits()).eq(other.simulation().state().iter().map(|x| x.to_bits()))
}

#[test]
fn what_is_saved_goes_on_to_the_bit_also_on_another_thread() {
    for benchmark in BENCHMARKS {
        let rng = &mut stream(3, 0);
        let mut one = named(benchmark.name)(rng);
        let [seen, done] = one.spaces();
        let mut buffer = vec![0.0; seen.size()];
        one.reset(rng, Slot::F64(&mut buffer)).unwrap();
        let action = |t: usize| (0..done.size()).map(|i| 9.0 * ((t * 7 + i * 3) as f64).sin()).collect::<Vec<f64>>();
        let mut go = |one: &mut Locomotion, steps: std::ops::Range<usize>| {
            let step =
                |t| one.step(Action::Vector(&action(t)), &mut stream(0, 0), Slot::F64(&mut buffer)).unwrap().reward;
            steps.map(step).collect::<Vec<f64>>()
        };
        go(&mut one, 0..7);
        let saved = serde_json::to_string(&one).unwrap();
        let rewards = go(&mut one, 7..15);
        let (restored, again) = std::thread::scope(|scope| {
            let job = || {
                let mut restored: Locomotion = serde_json::from_str(&saved).unwrap();
                let mut seen = vec![0.0; seen.size()];
                let mut step = |t| {
                    restored.step(Action::Vector(&action(t)), &mut stream(0, 0), Slot::F64(&mut seen)).unwrap().reward
                };
                let again: Vec<f64> = (7..15).map(&mut step).collect();
                (restored, again)
            };
            scope.spawn(job).join().unwrap()
        });
        assert!(same_bits(&one, &restored) && rewards == again, "{}", benchmark.name);
    }
    let bad = r#"{"body":"Hopper","aim":"Forward","scales":null,"state":[1.0],"place":[0.0,0.0]}"#;
    let error = serde_json::from_str::<Locomotion>(bad).unwrap_err().to_string();
    assert!(error.contains("no state of the hopper"), "{error}");
}

#[test]
fn a_simulation_that_diverges_is_an_error_and_others_go_on() {
    let mut simulation = Simulation::new(Body::Hopper);
    let before = simulation.state().to_vec();
    let mut qvel = vec![0.0; 6];
    qvel[0] = 1e12;
    simulation.begin(&simulation.start(), &qvel, |_| ());
    let Failure(what) = simulation.step(&[0.0; 3], 4, |_| ()).unwrap_err();
    assert!(what.contains("BADQVEL") && what.ends_with(" 0"), "{what}");
    // The same thread's data are as good as new.
    let (mut again, mut fresh) = (Simulation::new(Body::Hopper), Simulation::new(Body::Hopper));
    again.set_state(&before).unwrap();
    for _ in 0..5 {
        again.step(&[0.1; 3], 4, |_| ()).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| (0..5).for_each(|_| fresh.step(&[0.1; 3], 4, |_| ()).unwrap()));
    });
    assert_eq!(again.state(), fresh.state());

    /// Is thrown in its fourth step.
    #[derive(Clone)]
    struct Thrown(Locomotion, usize);
    impl Environment for Thrown {
        fn spaces(&self) -> [Space; 2] {
            self.0.spaces()
        }
        fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
            self.1 = 0;
            self.0.reset(rng, observation)
        }
        fn step(
            &mut self,
            action: Action<'_>,
            rng: &mut ChaCha8Rng,
            observation: Slot<'_>,
        ) -> Result<rl::env::Step, Failure> {
            self.1 += 1;
            if self.1 == 4 {
                let (mut qpos, qvel) = (self.0.simulation().qpos().to_vec(), self.0.simulation().qvel().to_vec());
                qpos[0] = 1e30;
                self.0.begin(&qpos, &qvel, Slot::F64(&mut [0.0; 17]));
            }
            self.0.step(action, rng, observation)
        }
    }
    let thrown = Thrown(Locomotion::new(Body::HalfCheetah, Aim::Velocity(1.0)), 0);
    let policy = Network::new(&Space::vector(17)).normal(6);
    let theta = policy.init(&mut stream(0, 0));
    let actor = Actor::new(&policy, &theta, &thrown.spaces(), DType::F64).unwrap();
    let error = actor.sample(&thrown, &theta, 10, 3, 0).unwrap_err().to_string();
    assert!(error.starts_with("trajectory 0, step 3: MuJoCo warns") && error.contains("BADQPOS"), "{error}");
    assert!(!std::path::Path::new("MUJOCO_LOG.TXT").exists(), "nothing is written into the user's folder");
}

#[test]
fn trajectories_are_the_same_at_any_number_of_threads() {
    let policy = Network::new(&Space::vector(11)).dense(8, Tanh).normal(3);
    let theta = policy.init(&mut stream(0, 0));
    let tasks: &dyn Tasks = &named("hopper-parameters");
    let actor = Actor::new(&policy, &theta, &tasks.spaces(), DType::F32).unwrap();
    let sampled = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| tasks.sample(&mut stream(1, 0), &actor, &theta, 30, 50, 2).unwrap())
    };
    let one = sampled(1);
    assert_eq!(one, sampled(3));
    let seen = one.observations().view().rounded(DType::F64).into_array::<f64>().unwrap();
    let seen: Array3<f64> = seen.into_dimensionality().unwrap();
    assert!(seen.slice(s![.., 0, 0]).iter().any(|x| *x != seen[[0, 0, 0]]), "episodes begin in different places");
}

#[test]
fn misuse_is_said_to_be() {
    let caught = |job: &dyn Fn()| {
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).unwrap_err();
        payload.downcast_ref::<String>().cloned().unwrap_or_default()
    };
    let message = caught(&|| drop(Simulation::new(Body::Ant).step(&[0.0; 3], 5, |_| ())));
    assert_eq!(message, "step: the ant has 8 controls, not 3");
    let message = caught(&|| Simulation::new(Body::Ant).begin(&[0.0; 3], &[0.0; 14], |_| ()));
    assert_eq!(message, "begin: the ant has 15 positions and 14 velocities, not 3 and 14");
    let mut scales = Scales::random(Body::Hopper, &mut stream(0, 0));
    assert!(Simulation::scaled(Body::Ant, &scales).is_err());
    scales.mass[2] = -1.0;
    assert!(Simulation::scaled(Body::Hopper, &scales).is_err());
}
