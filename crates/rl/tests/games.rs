//! Games of two players: what they pay and show, their exact values, and how they are played.

use ad::{Tape, Var};
use ndarray::{Array1, arr1, array};
use rand_chacha::ChaCha8Rng;
use rl::env::{Action, Game, IteratedGame, Players, Slot, Step, play};
use rl::error::Error;
use rl::meta::adapt;
use rl::optim::Rule;
use rl::policy::{Activation::Tanh, Network, Policy, Sigmoid, Table, record};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;
use rl::truth::max_abs;

use common::Remembering;

mod common;

const POLICY: Sigmoid = Sigmoid { states: IteratedGame::STATES };
const ONE: [f64; 5] = [0.1, -0.2, 0.3, 0.4, -0.5];
const TWO: [f64; 5] = [0.2, 0.5, -0.3, -0.1, 0.6];

/// What both see and are paid after both actions.
fn after(game: &IteratedGame, actions: [usize; 2]) -> ([i32; 2], [f64; 2]) {
    let (mut one, mut two) = ([9], [9]);
    let rng = &mut stream(0, 0);
    let mut game = game.clone();
    game.reset(rng, [Slot::I32(&mut one), Slot::I32(&mut two)]);
    assert_eq!([one, two], [[0], [0]]);
    let steps = game.step(actions.map(Action::Number), rng, [Slot::I32(&mut one), Slot::I32(&mut two)]);
    assert!(steps.iter().all(|step| !step.terminated && !step.truncated));
    ([one[0], two[0]], steps.map(|step| step.reward))
}

#[test]
fn both_see_what_they_and_the_other_did_and_are_paid_by_the_table() {
    let dilemma = IteratedGame::prisoners_dilemma();
    assert_eq!(after(&dilemma, [0, 0]), ([1, 1], [-2.0, -2.0]));
    assert_eq!(after(&dilemma, [0, 1]), ([2, 3], [0.0, -3.0]));
    assert_eq!(after(&dilemma, [1, 0]), ([3, 2], [-3.0, 0.0]));
    assert_eq!(after(&dilemma, [1, 1]), ([4, 4], [-1.0, -1.0]));
    // The same game by other names: who defects alone is paid 0.
    let renamed = IteratedGame::prisoners_dilemma_cooperating_first();
    for actions in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        assert_eq!(after(&renamed, actions).1, after(&dilemma, actions.map(|action| 1 - action)).1);
    }
    assert_eq!(after(&renamed, [0, 0]).1, [-1.0, -1.0]);
    let pennies = IteratedGame::matching_pennies();
    for (actions, reward) in [([0, 0], 1.0), ([0, 1], -1.0), ([1, 0], -1.0), ([1, 1], 1.0)] {
        assert_eq!(after(&pennies, actions).1, [reward, -reward]);
    }
}

#[test]
fn a_game_is_saved_and_read_and_one_that_is_none_refused() {
    let game = IteratedGame::new([[[0.1, -3.0], [1e-300, 2.0]], [[-1.0, 1.0], [1.0, 0.3]]]).unwrap();
    let saved = serde_json::to_string(&game).unwrap();
    assert_eq!(serde_json::from_str::<IteratedGame>(&saved).unwrap(), game);
    let message = IteratedGame::new([[[0.0; 2]; 2], [[0.0, 0.0], [f64::NAN, 0.0]]]).unwrap_err().to_string();
    assert_eq!(message, "the payoff of player 1 for actions 1 and 0 of the other = NaN must be finite");
}

/// The value of both players of the dilemma as a function of logits.
fn values([one, two]: [Var; 2]) -> [Var; 2] {
    IteratedGame::prisoners_dilemma().value([one, two].map(Sigmoid::probabilities), 0.96)
}

fn close(found: &ndarray::ArrayD<f64>, expected: &[f64], tolerance: f64) {
    assert!(max_abs(&(found - &arr1(expected))) < tolerance, "{found} {expected:?}");
}

#[test]
fn values_of_the_dilemma_are_those_known() {
    let at = |one: &Array1<f64>, two: &Array1<f64>| {
        let tape = Tape::new();
        values([tape.input("one", one), tape.input("two", two)]).map(|value| value.item())
    };
    for (logit, expected) in [(0.0, -37.5), (800.0, -50.0), (-800.0, -25.0)] {
        let logits = Array1::from_elem(5, logit);
        for value in at(&logits, &logits) {
            assert!((value - expected).abs() < 1e-10, "{value} {expected}");
        }
    }
    let [one, two] = at(&arr1(&ONE), &arr1(&TWO));
    assert!((one + 39.28435428513948).abs() < 1e-10 && (two + 36.81984521233168).abs() < 1e-10, "{one} {two}");
    // Matching pennies is a game of zero sum.
    let tape = Tape::new();
    let policies = [ONE, TWO].map(|logits| Sigmoid::probabilities(tape.input("logits", arr1(&logits))));
    let [one, two] = IteratedGame::matching_pennies().value(policies, 0.96).map(|value| value.item());
    assert!((one + two).abs() < 1e-12 && one.abs() > 1e-3, "{one} {two}");
}

#[test]
fn gradients_through_a_step_of_the_other_are_those_known() {
    let tape = Tape::new();
    let (one, two) = (tape.input("one", arr1(&ONE)), tape.input("two", arr1(&TWO)));
    let known = [0.23494311, 1.3679845, 1.43720474, 1.68171594, 1.05359976];
    close(&values([one, two])[0].grad(one).value(), &known, 5e-9);
    let adapted = adapt(&two, Rule::sgd(0.3), 1, |_, &two| values([one, two])[1])[1];
    let value = values([one, adapted])[0];
    assert!((value.item() + 43.6040581094943).abs() < 1e-10, "{}", value.item());
    let known = [0.22705051, 2.38452321, -0.30051218, 2.30950131, -0.25130192];
    close(&value.grad(one).value(), &known, 5e-9);
    let lookahead = |x: &[Var]| {
        let adapted = adapt(&x[1], Rule::sgd(0.3), 1, |_, &two| values([x[0], two])[1])[1];
        values([x[0], adapted])[0]
    };
    let logits = [arr1(&ONE).into_dyn(), arr1(&TWO).into_dyn()];
    ad::check_gradients(lookahead, &logits, 2, ad::Modes::Both).unwrap();
}

#[test]
fn values_of_some_steps_are_sums_over_all_sequences_of_actions() {
    let game = IteratedGame::new([[[1.0, -2.0], [0.5, 3.0]], [[-1.0, 0.3], [2.0, 0.7]]]).unwrap();
    let policies = [ONE, TWO].map(|logits| logits.map(|x: f64| 1.0 / (1.0 + (-x).exp())));
    let mut expected = [0.0; 2];
    for sequence in 0..64 {
        let (mut states, mut probability, mut earned) = ([0, 0], 1.0, [0.0; 2]);
        for t in 0..3 {
            let actions = [sequence >> (2 * t) & 1, sequence >> (2 * t + 1) & 1];
            for i in 0..2 {
                let p = policies[i][states[i]];
                probability *= if actions[i] == 0 { p } else { 1.0 - p };
                earned[i] += 0.9_f64.powi(t) * game.payoffs()[i][actions[i]][actions[1 - i]];
            }
            states = [0, 1].map(|i| 1 + 2 * actions[i] + actions[1 - i]);
        }
        (0..2).for_each(|i| expected[i] += probability * earned[i]);
    }
    let tape = Tape::new();
    let policies = [ONE, TWO].map(|logits| Sigmoid::probabilities(tape.input("logits", arr1(&logits))));
    let found = game.finite_value(policies, 0.9, 3).map(|value| value.item());
    assert!((0..2).all(|i| (found[i] - expected[i]).abs() < 1e-14), "{found:?} {expected:?}");
    let [long, endless] = [game.finite_value(policies, 0.9, 400), game.value(policies, 0.9)];
    assert!((0..2).all(|i| (long[i] - endless[i]).abs().item() < 1e-13));
}

/// What the games of a batch are worth to a player, and the standard error of that.
fn returns(rollout: &Rollout, gamma: f64) -> [f64; 2] {
    let discounts = Array1::from_shape_fn(rollout.horizon(), |t| gamma.powi(t as i32));
    let returns = rollout.rewards().dot(&discounts);
    let (mean, count) = (returns.mean().unwrap(), returns.len() as f64);
    [mean, (returns.mapv(|x| (x - mean).powi(2)).sum() / count / (count - 1.0)).sqrt()]
}

#[test]
fn games_that_are_played_are_worth_their_value() {
    // 20 000 games of 30 steps, seed 5: within 4 standard errors.
    let game = IteratedGame::prisoners_dilemma();
    let thetas = [ONE, TWO].map(|logits| Sigmoid::numbers(&logits));
    let rollouts = play(&game, [&POLICY; 2], [&thetas[0], &thetas[1]], 30, 20_000, 5).unwrap();
    let tape = Tape::new();
    let policies = [ONE, TWO].map(|logits| Sigmoid::probabilities(tape.input("logits", arr1(&logits))));
    for (rollout, value) in rollouts.iter().zip(game.finite_value(policies, 0.96, 30)) {
        let [mean, error] = returns(rollout, 0.96);
        assert!((mean - value.item()).abs() < 4.0 * error && error < 0.1, "{mean} {error} {}", value.item());
    }
    // What one did is what the other saw.
    let ([one, two], states) = (&rollouts, [rollouts[0].states(), rollouts[1].states()]);
    for (n, t) in (0..200).flat_map(|n| (0..30).map(move |t| (n, t))) {
        let [a, b] = [one, two].map(|rollout| rollout.action_numbers()[[n, t]]);
        assert_eq!([states[0][[n, t + 1]], states[1][[n, t + 1]]], [1 + 2 * a + b, 1 + 2 * b + a]);
    }
}

#[test]
fn games_are_the_same_bits_looked_up_or_computed_at_any_number_of_threads_and_in_any_batch() {
    let game = IteratedGame::matching_pennies();
    let thetas = [ONE, TWO].map(|logits| Sigmoid::numbers(&logits));
    let on = |policies: [&dyn Policy; 2], threads: usize, games: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| play(&game, policies, [&thetas[0], &thetas[1]], 7, games, 3).unwrap())
    };
    let (looked_up, computed): (&dyn Policy, &dyn Policy) = (&POLICY, &Remembering(POLICY));
    let expected = on([looked_up; 2], 1, 100);
    assert_eq!(expected, on([looked_up; 2], 3, 100));
    assert_eq!(expected, on([computed, looked_up], 2, 100));
    assert_eq!(expected, on([looked_up, computed], 1, 100));
    let fewer: Vec<usize> = (0..40).collect();
    assert_eq!(expected.map(|rollout| rollout.select(&fewer)), on([looked_up; 2], 1, 40));
}

#[test]
fn a_sigmoid_is_a_table_without_logits_of_action_1() {
    let game = IteratedGame::prisoners_dilemma();
    let table = array![[0.1, 0.0], [-0.2, 0.0], [0.3, 0.0], [0.4, 0.0], [-0.5, 0.0]];
    let [sigmoids, tables] = [Sigmoid::numbers(&ONE), Table::numbers(&table)];
    let as_table = Table { states: 5, actions: 2 };
    let played = play(&game, [&POLICY; 2], [&sigmoids; 2], 6, 50, 1).unwrap();
    assert_eq!(played, play(&game, [&as_table; 2], [&tables; 2], 6, 50, 1).unwrap());
    let tape = Tape::new();
    let (theta, params) = (record(&sigmoids, &tape), record(&tables, &tape));
    let episodes = played[0].record(&tape);
    let [own, others] = [POLICY.log_prob(&theta, &episodes), as_table.log_prob(&params, &episodes)];
    assert_eq!(own.value(), others.value());
    let (by_own, by_others) = (own.sum().grad(theta["logits"]).value(), others.sum().grad(params["logits"]).value());
    assert_eq!(by_own, by_others.index_axis(ndarray::Axis(1), 0));
    let probabilities = Sigmoid::probabilities(theta["logits"]).value();
    assert!(max_abs(&(probabilities - params["logits"].softmax().value())) < 1e-15);
}

/// Both say numbers and see the sum of all; it is over for the first above 7, and for the second after four steps.
#[derive(Clone)]
struct Counting {
    sum: f64,
    steps: usize,
}

impl Game for Counting {
    fn spaces(&self) -> [[Space; 2]; 2] {
        [[Space::vector(1), Space::Discrete(2)], [Space::vector(1), Space::vector(2)]]
    }
    fn reset(&mut self, _: &mut ChaCha8Rng, _: [Slot<'_>; 2]) {
        (self.sum, self.steps) = (0.0, 0);
    }
    fn step(&mut self, actions: [Action<'_>; 2], _: &mut ChaCha8Rng, observations: [Slot<'_>; 2]) -> [Step; 2] {
        self.sum += actions[0].number() as f64 + actions[1].vector()[1].abs();
        self.steps += 1;
        observations.into_iter().for_each(|slot| slot.put(&[self.sum]));
        let step = |terminated, truncated| Step { reward: self.sum, terminated, truncated };
        [step(self.sum > 7.0, false), step(false, self.steps == 4)]
    }
}

#[test]
fn an_episode_that_ends_for_one_ends_for_both() {
    let game = Counting { sum: 0.0, steps: 0 };
    let number = Network::new(&Space::vector(1)).dense(4, Tanh).recurrent(3).categorical(2);
    let vector = Network::new(&Space::vector(1)).normal(2);
    let thetas = [number.init(&mut stream(1, 0)), vector.init(&mut stream(1, 1))];
    let [one, two] = play(&game, [&number, &vector], [&thetas[0], &thetas[1]], 9, 300, 2).unwrap();
    assert_eq!((one.lengths(), one.rewards()), (two.lengths(), two.rewards()));
    assert!(two.terminated().iter().all(|&terminated| !terminated));
    let mut ends = [0, 0];
    for n in 0..300 {
        let (length, sum) = (one.lengths()[n], one.rewards()[[n, one.lengths()[n] - 1]]);
        assert_eq!(one.terminated()[n], sum > 7.0);
        assert!(one.terminated()[n] || length == 4, "{n}: {length} {sum}");
        ends[usize::from(one.terminated()[n])] += 1;
    }
    assert!(ends.iter().all(|&count| count > 20), "{ends:?}");
    // In single precision what is done is what can be written down.
    let players = Players::new(&game, [&number, &vector], [&thetas[0], &thetas[1]], ad::DType::F32).unwrap();
    let [_, two] = players.play(&game, [&thetas[0], &thetas[1]], 9, 40, 2).unwrap();
    assert!(two.actions().array::<f64>().unwrap().iter().all(|&x| f64::from(x as f32) == x));
}

#[test]
fn players_that_do_not_fit_are_refused_and_named() {
    let game = IteratedGame::prisoners_dilemma();
    let theta = Sigmoid::numbers(&ONE);
    let error = |logits: &[f64; 5], steps, games| {
        play(&game, [&POLICY; 2], [&theta, &Sigmoid::numbers(logits)], steps, games, 0).unwrap_err().to_string()
    };
    let mut logits = ONE;
    logits[2] = f64::NAN;
    let message = error(&logits, 50, 40);
    assert!(message.contains("player 1: the policy gives no distribution over actions, but [NaN, NaN]"), "{message}");
    assert!(error(&ONE, 0, 3).contains("the horizon is 0") && error(&ONE, 3, 0).contains("no trajectories"));
    let narrow = Sigmoid { states: 4 };
    let thin = narrow.init(&mut stream(0, 0));
    let message = play(&game, [&POLICY, &narrow], [&theta, &thin], 3, 3, 0).unwrap_err().to_string();
    let words = "the policy is for observations that are one of 4 numbers, but they are one of 5 numbers";
    assert_eq!(message, words);
    let players = Players::new(&game, [&POLICY; 2], [&theta; 2], ad::DType::F64).unwrap();
    assert!(matches!(players.play(&game, [&theta, &thin], 3, 3, 0), Err(Error::Shape { what: "parameters", .. })));
}

/// Shows the second player a state that there is not, and pays the first no number, each in a step that is given.
#[derive(Clone)]
struct Broken {
    shows: usize,
    pays: usize,
    steps: usize,
}

impl Game for Broken {
    fn spaces(&self) -> [[Space; 2]; 2] {
        [(); 2].map(|()| [Space::Discrete(3), Space::Discrete(2)])
    }
    fn reset(&mut self, _: &mut ChaCha8Rng, _: [Slot<'_>; 2]) {}
    fn step(&mut self, _: [Action<'_>; 2], _: &mut ChaCha8Rng, [_, second]: [Slot<'_>; 2]) -> [Step; 2] {
        self.steps += 1;
        second.put_number(if self.steps == self.shows { 3 } else { 2 });
        let reward = if self.steps == self.pays { f64::NAN } else { 1.0 };
        [reward, 0.0].map(|reward| Step { reward, terminated: false, truncated: false })
    }
}

#[test]
fn what_is_wrong_with_a_game_is_said_with_whose_it_is() {
    let policy = Table { states: 3, actions: 2 };
    let theta = policy.init(&mut stream(0, 0));
    let error = |shows, pays| {
        let game = Broken { shows, pays, steps: 0 };
        play(&game, [&policy; 2], [&theta; 2], 5, 30, 0).unwrap_err().to_string()
    };
    let message = "trajectory 0, step 2: player 1: the state is 3, but must be one of 3 numbers, counted from 0";
    assert_eq!(error(2, 9), message);
    assert_eq!(error(9, 4), "trajectory 0, step 3: player 0: the reward is NaN, but must be finite");
}
