//! Every environment is a function of its state and its random stream, and both can be saved.

use std::fmt::Debug;

use ad::DType;
use ndarray::array;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rl::env::{
    Action, Bandit, CartPole, Corner, Distance, Environment, Line, LinearQuadratic, Momentum, Navigation, Reward, Slot,
    TabularMdp, Walk, Walls,
};
use rl::rollout::Space;
use rl::stream::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A task drawn from a stream.
type Draw<E> = fn(&mut ChaCha8Rng) -> E;

/// Someone who acts at random in an environment: all of it is saved, with how far its random streams are.
#[derive(Clone, Debug, PartialEq)]
struct Run<E> {
    environment: E,
    /// For the environment, and for the actions.
    streams: [ChaCha8Rng; 2],
    /// What is seen, as numbers of which every type's are some.
    seen: Vec<f64>,
    ended: bool,
}

impl<E: Environment + Serialize + DeserializeOwned> Run<E> {
    fn new(task: Draw<E>, seed: u64) -> Self {
        let environment = task(&mut stream(seed, 0));
        let seen = vec![0.0; environment.spaces()[0].size()];
        Self { environment, streams: [stream(seed, 1), stream(seed, 2)], seen, ended: true }
    }

    fn save(&self) -> String {
        let streams = self.streams.each_ref().map(|rng| (rng.get_seed(), rng.get_stream(), rng.get_word_pos()));
        serde_json::to_string(&(&self.environment, streams, &self.seen, self.ended)).unwrap()
    }

    fn restore(saved: &str) -> Self {
        type Place = ([u8; 32], u64, u128);
        let (environment, streams, seen, ended): (E, [Place; 2], _, _) = serde_json::from_str(saved).unwrap();
        let streams = streams.map(|(seed, number, position)| {
            let mut rng = <ChaCha8Rng as rand::SeedableRng>::from_seed(seed);
            rng.set_stream(number);
            rng.set_word_pos(position);
            rng
        });
        Self { environment, streams, seen, ended }
    }

    /// Begins an episode if the last one ended, else makes a step. All that comes of it, as bits.
    fn go_on(&mut self) -> Vec<u64> {
        let [observations, actions] = self.environment.spaces();
        let [rng, chance] = &mut self.streams;
        let mut wide: Vec<f64> = self.seen.clone();
        let mut single: Vec<f32> = self.seen.iter().map(|&x| x as f32).collect();
        let mut number: Vec<i32> = self.seen.iter().map(|&x| x as i32).collect();
        let slot = match observations.dtype() {
            DType::F64 => Slot::F64(&mut wide),
            DType::F32 => Slot::F32(&mut single),
            DType::I32 => Slot::I32(&mut number),
            DType::U8 => unreachable!("no environment here shows bytes"),
        };
        let mut outcome = Vec::new();
        if self.ended {
            self.environment.reset(rng, slot).unwrap();
            self.ended = false;
        } else {
            let action: Vec<f64> =
                (0..actions.size()).map(|_| 5.0 * Distribution::<f64>::sample(&StandardNormal, chance)).collect();
            let action = match actions {
                Space::Discrete(count) => Action::Number(chance.random_range(0..count)),
                Space::Array { .. } => Action::Vector(&action),
            };
            let step = self.environment.step(action, rng, slot).unwrap();
            assert!(step.reward.is_finite());
            self.ended = step.terminated || step.truncated;
            outcome = vec![step.reward.to_bits(), step.terminated.into(), step.truncated.into()];
        }
        self.seen = match observations.dtype() {
            DType::F64 => wide,
            DType::F32 => single.into_iter().map(f64::from).collect(),
            _ => number.into_iter().map(f64::from).collect(),
        };
        match observations {
            Space::Discrete(count) => assert!((0..count).contains(&(self.seen[0] as usize))),
            Space::Array { .. } => assert!(self.seen.iter().all(|x| x.is_finite())),
        }
        outcome.extend(self.seen.iter().map(|x| x.to_bits()));
        outcome
    }
}

/// Saved and restored after any number of steps, it goes on as if nothing had been; the same seed gives the same bits, another
/// one others.
fn check<E>(name: &str, task: Draw<E>)
where
    E: Environment + Clone + Debug + PartialEq + Serialize + DeserializeOwned,
{
    for saved_at in [0, 1, 2, 7, 120] {
        let [mut whole, mut again, mut other] = [9, 9, 10].map(|seed| Run::new(task, seed));
        let before: Vec<_> = (0..saved_at).map(|_| whole.go_on()).collect();
        assert_eq!(before, Vec::from_iter((0..saved_at).map(|_| again.go_on())), "{name}: the same seed");
        let mut restored = Run::<E>::restore(&whole.save());
        assert_eq!(restored, whole, "{name}: saved after {saved_at} steps");
        let after: Vec<_> = (0..600).map(|_| whole.go_on()).collect();
        assert_eq!(after, Vec::from_iter((0..600).map(|_| restored.go_on())), "{name}: saved after {saved_at} steps");
        assert_eq!(restored, whole, "{name}");
        assert_ne!(after, Vec::from_iter((0..600).map(|_| other.go_on())), "{name}: another seed");
        assert!(whole.environment.clone() == whole.environment);
    }
}

#[test]
fn what_is_saved_goes_on_as_if_nothing_had_been() {
    check("navigation", Navigation::random);
    check("bounded navigation", |rng| Navigation::random_bounded(rng).paying(Distance::Squared));
    check("corner", Corner::random);
    check("dense corner", |rng| Corner::random(rng).paying(Reward::Dense(Distance::Squared)));
    check("momentum", Momentum::random);
    check("walls", Walls::random);
    check("line", Line::random);
    check("bandit", |rng| Bandit::random(5, rng).unwrap());
    check("walk", |rng| Walk::random(10, 5, rng).unwrap());
    check("walk that ends", |rng| {
        let mdp = TabularMdp::random(3, 2, 0.5, rng).unwrap();
        mdp.with_termination(array![0.0, 0.1, 0.4]).unwrap().walk()
    });
    check("linear-quadratic", |rng| LinearQuadratic::random(3, 2, rng).unwrap());
    check("cart-pole", |_| CartPole::new());
}

#[test]
fn what_no_environment_can_have_been_is_refused() {
    let message = |error: serde_json::Error| error.to_string();
    let damaged = |whole: String, right: &str, wrong: &str| {
        assert!(whole.contains(right), "{whole}");
        whole.replacen(right, wrong, 1)
    };
    let bandit = serde_json::to_string(&Bandit::new(array![0.5, 0.25]).unwrap()).unwrap();
    let refused = message(serde_json::from_str::<Bandit>(&damaged(bandit, "0.25", "1.25")).unwrap_err());
    assert_eq!(refused, "the probability of arm 1 = 1.25 is not a probability; it must lie in [0, 1]");
    let mdp = TabularMdp::new(array![[[0.5, 0.5]], [[0.0, 1.0]]], array![[1.0], [2.0]]).unwrap();
    let walk = serde_json::to_string(&mdp.walk()).unwrap();
    let refused =
        |right, wrong| message(serde_json::from_str::<Walk>(&damaged(walk.clone(), right, wrong)).unwrap_err());
    let words = "the saved environment is damaged: it is in state 2, but there are 2 (0 to 2 - 1)";
    assert_eq!(refused("\"state\":0", "\"state\":2"), words);
    assert!(refused("[0.5,0.5,", "[0.5,0.4,").starts_with("transition[s = 0, a = 0] sums to 0.9"));
    assert!(refused("\"noise\":0.0", "\"noise\":-1.0").starts_with("a standard deviation is -1"));
    assert!(refused("\"noise\"", "\"noises\"").starts_with("unknown field `noises`"));
    let problem = LinearQuadratic::random(2, 1, &mut stream(0, 0)).unwrap();
    let problem = damaged(
        serde_json::to_string(&problem).unwrap(),
        "\"dim\":[2],\"data\":[0.0,0.0]",
        "\"dim\":[1],\"data\":[0.0]",
    );
    let refused = message(serde_json::from_str::<LinearQuadratic>(&problem).unwrap_err());
    assert_eq!(refused, "state has shape [1], but must have shape [2]");
}
