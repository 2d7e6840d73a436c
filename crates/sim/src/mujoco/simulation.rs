//! The state of a simulation, and the one place where MuJoCo computes.
//!
//! What MuJoCo computes in ([`Data`]) is 6 MB large for a half-cheetah. A thread has one for each body, and whoever makes a step
//! puts its state there before and takes it away afterwards: a state is some hundred numbers, and a step has the same bits.

use std::array;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use mujoco_rs::prelude::{MjData, MjModel, MjtDisableBit, MjtState, MjtWarning};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rl::env::Failure;
use serde::{Deserialize, Serialize};

use super::bodies::Body;
use super::log;

/// What MuJoCo computes in.
pub type Data = MjData<Arc<MjModel>>;

/// All that the next step is a function of.
const STATE: u32 = MjtState::mjSTATE_INTEGRATION as u32;

/// A body somewhere, with some velocity.
#[derive(Clone, Debug)]
pub struct Simulation {
    body: Body,
    model: Arc<MjModel>,
    /// Time, positions, velocities, and what else decides over the next step.
    state: Vec<f64>,
}

/// What numbers of a model are multiplied by, one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scales {
    /// Of the mass of each body.
    pub mass: Vec<f64>,
    /// Of each moment of inertia of each body.
    pub inertia: Vec<[f64; 3]>,
    /// Of the friction of each geometry: sliding, spinning, rolling.
    pub friction: Vec<[f64; 3]>,
    /// Of the damping of each degree of freedom.
    pub damping: Vec<f64>,
}

impl Scales {
    /// 1.5^U(−3, 3), and 1.3^U(−3, 3) of damping: as `rand_param_envs` has them.
    pub fn random(body: Body, rng: &mut ChaCha8Rng) -> Self {
        let model = Simulation::model(body);
        let mut factor = |base: f64| base.powf(rng.random_range(-3.0..3.0));
        Self {
            mass: model.body_mass().iter().map(|_| factor(1.5)).collect(),
            inertia: model.body_inertia().iter().map(|_| array::from_fn(|_| factor(1.5))).collect(),
            friction: model.geom_friction().iter().map(|_| array::from_fn(|_| factor(1.5))).collect(),
            damping: model.dof_damping().iter().map(|_| factor(1.3)).collect(),
        }
    }

    fn fit(&self, model: &MjModel) -> bool {
        let found = [self.mass.len(), self.inertia.len(), self.friction.len(), self.damping.len()];
        let of_vectors = self.inertia.iter().chain(&self.friction).flatten();
        let positive = self.mass.iter().chain(&self.damping).chain(of_vectors).all(|&x| x > 0.0 && x.is_finite());
        positive
            && found
                == [
                    model.body_mass().len(),
                    model.body_inertia().len(),
                    model.geom_friction().len(),
                    model.dof_damping().len(),
                ]
    }
}

impl Simulation {
    /// A body as its model has it, at rest where the model begins.
    pub fn new(body: Body) -> Self {
        Self::of(body, Arc::clone(Self::model(body)))
    }

    /// The same, of a model with other masses, inertias, friction and damping.
    ///
    /// # Errors
    ///
    /// For other numbers of factors than the model has, and factors that are not positive.
    pub fn scaled(body: Body, scales: &Scales) -> Result<Self, Failure> {
        let base = Self::model(body);
        if !scales.fit(base) {
            return Err(Failure(format!("factors for another body than {body}, or not positive: {scales:?}")));
        }
        let mut model = Box::new(MjModel::clone(base));
        let scale = |to: &mut [f64], by: &[f64]| to.iter_mut().zip(by).for_each(|(x, factor)| *x *= factor);
        scale(model.body_mass_mut(), &scales.mass);
        scale(model.body_inertia_mut().as_flattened_mut(), scales.inertia.as_flattened());
        scale(model.geom_friction_mut().as_flattened_mut(), scales.friction.as_flattened());
        scale(model.dof_damping_mut(), &scales.damping);
        // What follows from these.
        let mut data = MjData::new(model);
        data.set_const();
        let model = MjModel::clone(data.model());
        Ok(Self::of(body, Arc::new(model)))
    }

    fn of(body: Body, model: Arc<MjModel>) -> Self {
        let mut simulation = Self { body, state: vec![0.0; model.state_size(STATE)], model };
        simulation.begin(&simulation.start(), &vec![0.0; simulation.qvel().len()], |_| ());
        simulation
    }

    /// The model of a body: read once.
    pub(super) fn model(body: Body) -> &'static Arc<MjModel> {
        static MODELS: [OnceLock<Arc<MjModel>>; Body::ALL.len()] = [const { OnceLock::new() }; Body::ALL.len()];
        MODELS[body as usize].get_or_init(|| {
            log::quiet();
            let mut model = MjModel::from_xml_string(body.xml()).expect("a model that is part of the program");
            // All constraints of one tree are one island, and are solved to the same bits without looking for islands: of a
            // half-cheetah's step that is 7 % of the instructions.
            assert_eq!(model.ntree(), 1, "{body} is one tree");
            model.opt_mut().disableflags |= MjtDisableBit::mjDSBL_ISLAND as i32;
            Arc::new(model)
        })
    }

    /// Which body it is of.
    pub fn body(&self) -> Body {
        self.body
    }

    /// Positions at which the model begins.
    pub fn start(&self) -> Vec<f64> {
        self.model.qpos0().to_vec()
    }

    /// For each control, the least and the most that it may be.
    pub fn control_ranges(&self) -> &[[f64; 2]] {
        self.model.actuator_ctrlrange()
    }

    /// Seconds of a step of the simulation; a step of an environment is several of these.
    pub fn timestep(&self) -> f64 {
        self.model.opt().timestep
    }

    /// Generalised positions.
    pub fn qpos(&self) -> &[f64] {
        &self.state[1..=self.model.qpos0().len()]
    }

    /// Generalised velocities.
    pub fn qvel(&self) -> &[f64] {
        &self.state[1 + self.model.qpos0().len()..][..self.model.dof_damping().len()]
    }

    /// Begins anew at these positions and velocities, and says what is there to see.
    ///
    /// Panics for other numbers of them than there are.
    #[track_caller]
    pub fn begin<R>(&mut self, qpos: &[f64], qvel: &[f64], look: impl FnOnce(&Data) -> R) -> R {
        let sizes = [self.qpos().len(), self.qvel().len()];
        assert!(
            [qpos.len(), qvel.len()] == sizes,
            "begin: {} has {} positions and {} velocities, not {} and {}",
            self.body,
            sizes[0],
            sizes[1],
            qpos.len(),
            qvel.len()
        );
        let state = &mut self.state;
        with_data(self.body, &self.model, |data| {
            data.reset();
            data.qpos_mut().copy_from_slice(qpos);
            data.qvel_mut().copy_from_slice(qvel);
            data.forward();
            data.read_state_into(STATE, state);
            look(data)
        })
    }

    /// Makes `skip` steps of the simulation with these controls, and says what is there to see. Forces on bodies (`cfrc_ext`,
    /// `cfrc_int`, `cacc`) are there if the body feels them: if it is an ant or a humanoid.
    ///
    /// # Errors
    ///
    /// What MuJoCo warns of: a simulation that diverged, which it would begin anew. The state is as it was before.
    ///
    /// Panics for another number of controls than there are.
    #[track_caller]
    pub fn step<R>(&mut self, controls: &[f64], skip: usize, look: impl FnOnce(&Data) -> R) -> Result<R, Failure> {
        let expected = self.control_ranges().len();
        assert!(controls.len() == expected, "step: {} has {expected} controls, not {}", self.body, controls.len());
        let (body, state) = (self.body, &mut self.state);
        with_data(body, &self.model, |data| {
            data.set_state(state, STATE).expect("a state of this model");
            data.ctrl_mut().copy_from_slice(controls);
            for _ in 0..skip {
                data.step();
            }
            // Forces on bodies, which a step alone leaves as they were, and no step is a function of.
            if body.feels() {
                data.rne_post_constraint();
            }
            if let Some(failure) = warning(data) {
                data.reset();
                return Err(failure);
            }
            data.read_state_into(STATE, state);
            Ok(look(data))
        })
    }

    /// All that its steps are a function of, but for the model.
    pub fn state(&self) -> &[f64] {
        &self.state
    }

    /// Goes on from a state of the same model: with the same controls, to the bit.
    ///
    /// # Errors
    ///
    /// For another number of numbers, or one that is not finite.
    pub fn set_state(&mut self, state: &[f64]) -> Result<(), Failure> {
        if state.len() != self.state.len() || !state.iter().all(|x| x.is_finite()) {
            let (found, body, expected) = (state.len(), self.body, self.state.len());
            return Err(Failure(format!(
                "{found} numbers, some perhaps not finite, are no state of {body}: {expected} are"
            )));
        }
        self.state.copy_from_slice(state);
        Ok(())
    }
}

/// This thread's data of the body, with this model.
fn with_data<R>(body: Body, model: &Arc<MjModel>, job: impl FnOnce(&mut Data) -> R) -> R {
    thread_local! {
        static DATA: RefCell<[Option<Data>; Body::ALL.len()]> = const { RefCell::new([const { None }; Body::ALL.len()]) };
    }
    DATA.with_borrow_mut(|all| {
        let data = all[body as usize].get_or_insert_with(|| MjData::new(Arc::clone(model)));
        if !std::ptr::eq(data.model(), &**model) {
            data.swap_model(Arc::clone(model));
        }
        job(data)
    })
}

/// What MuJoCo warns of, and of which number.
fn warning(data: &Data) -> Option<Failure> {
    let kinds = [
        (MjtWarning::mjWARN_INERTIA, "an inertia that is close to singular, of degree of freedom"),
        (MjtWarning::mjWARN_CONTACTFULL, "more contacts than there is memory for:"),
        (MjtWarning::mjWARN_CNSTRFULL, "more constraints than there is memory for:"),
        (MjtWarning::mjWARN_BADQPOS, "it diverged (BADQPOS): no number, or a huge one, as position"),
        (MjtWarning::mjWARN_BADQVEL, "it diverged (BADQVEL): no number, or a huge one, as velocity"),
        (MjtWarning::mjWARN_BADQACC, "it diverged (BADQACC): no number, or a huge one, as acceleration"),
        (MjtWarning::mjWARN_BADCTRL, "no number, or a huge one, as control (BADCTRL)"),
    ];
    let warnings = data.warning();
    kinds.into_iter().find_map(|(kind, words)| {
        let found = &warnings[kind as usize];
        (found.number > 0).then(|| Failure(format!("MuJoCo warns of the simulation: {words} {}", found.lastinfo)))
    })
}
