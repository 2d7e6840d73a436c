//! LOLA: its gradients are those of what it says it ascends, and both players end where they should.

use ad::{Program, Tape, Value, Var};
use ndarray::{Array1, Array2, ArrayD, arr1};
use rl::env::{Action, Game, IteratedGame, Slot};
use rl::error::Error;
use rl::meta::adapt;
use rl::optim::Rule;
use rl::policy::{Policy, Sigmoid};
use rl::rollout::Rollout;
use rl::stream::stream;
use rl::truth::max_abs;
use train::lola::{Baseline, Games, Inner, Lola, Outer, Settings, lookahead, surrogate};
use train::{Learner, State};

const ONE: [f64; 5] = [0.1, -0.2, 0.3, 0.4, -0.5];
const TWO: [f64; 5] = [0.2, 0.5, -0.3, -0.1, 0.6];
const EXACT: Settings = Settings { inner: Inner::Exact, outer: Outer::Exact, ..Settings::LIU };
/// Few steps of few games.
const SMALL: Settings = Settings { horizon: 6, inner: Inner::Sampled(10), outer: Outer::Sampled(12), ..Settings::LIU };

fn dilemma(settings: Settings, seed: u64) -> Lola {
    Lola::new(IteratedGame::prisoners_dilemma(), settings, seed).unwrap()
}

/// The mean of both players' rewards in a step over the last 20 of 500 iterations.
fn learned(settings: Settings) -> f64 {
    let mut lola = dilemma(settings, 0);
    let scores: Vec<f64> = (0..500).map(|i| lola.iterate(i).unwrap().returns[0].iter().sum::<f64>() / 2.0).collect();
    scores[480..].iter().sum::<f64>() / 20.0
}

#[test]
fn who_does_not_look_ahead_defects_and_who_does_cooperates() {
    let naive = learned(Settings { lookaheads: 0, ..EXACT });
    assert!((naive + 2.0).abs() < 0.01, "{naive}");
    let exact = learned(EXACT);
    assert!((exact + 1.0).abs() < 0.01, "{exact}");
}

#[test]
fn naive_learners_from_games_defect() {
    let naive = learned(Settings { lookaheads: 0, ..Settings::LIU });
    assert!((naive + 2.0).abs() < 0.01, "{naive}");
}

/// The state at which both have these logits, and nothing was learned yet.
fn beginning(lola: &Lola) -> State {
    let mut state = lola.state();
    state.arrays["theta_0.logits"] = arr1(&ONE).into_dyn();
    state.arrays["theta_1.logits"] = arr1(&TWO).into_dyn();
    state
}

/// The gradients that both players ascend by there: Adam's first mean is −0.1 of it.
fn first_gradients(settings: Settings, seed: u64) -> [ArrayD<f64>; 2] {
    let mut lola = dilemma(settings, seed);
    lola.restore(beginning(&lola)).unwrap();
    lola.iterate(0).unwrap();
    let state = lola.state();
    [0, 1].map(|player| &state.arrays[&format!("theta_{player}_optimiser.mean.logits")] / -0.1)
}

#[test]
fn the_exact_gradient_is_the_one_known() {
    let known = arr1(&[0.22705051, 2.38452321, -0.30051218, 2.30950131, -0.25130192]);
    let found = &first_gradients(EXACT, 0)[0];
    assert!(max_abs(&(found - &known)) < 5e-9, "{found}");
    let known = arr1(&[0.23494311, 1.3679845, 1.43720474, 1.68171594, 1.05359976]);
    let found = &first_gradients(Settings { lookaheads: 0, ..EXACT }, 0)[0];
    assert!(max_abs(&(found - &known)) < 5e-9, "{found}");
    let mut naive = dilemma(Settings { lookaheads: 0, ..EXACT }, 0);
    naive.restore(beginning(&naive)).unwrap();
    let loss = naive.iterate(0).unwrap().loss;
    assert!((loss - (39.28435428513948 + 36.81984521233168) / 2.0).abs() < 1e-10, "{loss}");
}

#[test]
fn gradients_from_games_are_right_on_average() {
    // An exact lookahead, and 400 times 50 games of 4 steps: within 4 standard errors, for both players.
    let settings = Settings { horizon: 4, inner: Inner::Exact, outer: Outer::Sampled(50), ..Settings::LIU };
    let estimates: Vec<[ArrayD<f64>; 2]> = (0..400).map(|seed| first_gradients(settings, seed)).collect();
    let game = IteratedGame::prisoners_dilemma();
    for player in [0, 1] {
        let tape = Tape::new();
        let thetas = [ONE, TWO].map(|logits| tape.input("theta", arr1(&logits)));
        let other = 1 - player;
        let against = |theta| if player == 0 { [thetas[0], theta] } else { [theta, thetas[1]] };
        let ahead = adapt(&thetas[other], Rule::sgd(0.3), 1, |_, &theta| {
            game.value(against(theta).map(Sigmoid::probabilities), 0.96)[other]
        })[1];
        let value = game.finite_value(against(ahead).map(Sigmoid::probabilities), 0.96, 4)[player];
        let truth = value.grad(thetas[player]).value();
        for s in 0..5 {
            let numbers = estimates.iter().map(|estimate| estimate[player][s]);
            let mean = numbers.clone().sum::<f64>() / 400.0;
            let error = (numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / 400.0 / 399.0).sqrt();
            assert!((mean - truth[s]).abs() < 4.0 * error && error < 0.05, "{player} {s}: {mean} {error} {truth}");
        }
    }
}

#[test]
fn gradients_anywhere_are_those_that_are_learned_by() {
    for settings in kinds() {
        let learned_by = first_gradients(settings, 3);
        let mut lola = dilemma(settings, 3);
        let before = lola.state();
        let thetas = [ONE, TWO].map(|logits| arr1(&logits).into_dyn());
        let baselines = [0, 1].map(|player| lola.baseline(player).clone());
        let found = lola.gradients(thetas.each_ref(), baselines.each_ref(), 0).unwrap();
        for (found, by) in found.iter().zip(&learned_by) {
            assert!(max_abs(&(found - by)) < 1e-13 * max_abs(by), "{settings:?}: {found} {by}");
        }
        // Nothing is learned.
        let after = lola.state();
        let numbers = |state: &State| state.arrays.iter().filter(|(name, _)| !name.contains("games")).count();
        assert_eq!(numbers(&before), numbers(&after));
        assert!(before.arrays.iter().all(|(name, array)| name.contains("games") || after.arrays[name] == array));
    }
}

#[test]
fn a_derivative_from_elsewhere_goes_where_one_estimate_leads_by_the_derivative_of_the_other() {
    // Two lookaheads that go by the value of one game, and are differentiated as those of another: the chain rule, term by term.
    let games = [
        IteratedGame::prisoners_dilemma(),
        IteratedGame::new([[[1.0, -2.0], [0.5, 3.0]], [[-1.0, 0.3], [2.0, 0.7]]]).unwrap(),
    ];
    let (rate, gamma) = (0.3, 0.9);
    let j = |game: usize, of: usize, thetas: [Var; 2]| games[game].value(thetas.map(Sigmoid::probabilities), gamma)[of];
    for (moves, derivative) in [(0, 1), (1, 0), (0, 0)] {
        let tape = Tape::new();
        let (thetas, _) = inputs(&tape);
        let step = |theta| {
            let by = |game| move |theta| j(game, 1, [thetas[0], theta]);
            lookahead(theta, rate, by(moves), Some(by(derivative)))
        };
        let found = j(0, 0, [thetas[0], step(step(thetas[1]))]).grad(thetas[0]).value();

        // Where it goes, by numbers.
        let mut points = vec![arr1(&TWO).into_dyn()];
        for k in 0..2 {
            let tape = Tape::new();
            let [one, two] = [&arr1(&ONE).into_dyn(), &points[k]].map(|logits| tape.input("theta", logits));
            let gradient = j(moves, 1, [one, two]).grad(two).value();
            points.push(&points[k] + &(gradient * rate));
        }
        // v_K = ∂J_i/∂θ_j, m_K = ∂J_i/∂θ_i; v_k = v + α ∂(∂_j J_j · v)/∂θ_j, m_k = m + α ∂(∂_j J_j · v)/∂θ_i.
        let at = |k: usize, of: &dyn Fn([Var; 2]) -> Var| {
            let tape = Tape::new();
            let vars = [&arr1(&ONE).into_dyn(), &points[k]].map(|logits| tape.input("theta", logits));
            vars.map(|var| of(vars).grad(var).value())
        };
        let [mut m, mut v] = at(2, &|thetas| j(0, 0, thetas));
        for k in [1, 0] {
            let [by_one, by_two] =
                at(k, &|thetas| (j(derivative, 1, thetas).grad(thetas[1]) * thetas[1].constant(v.clone())).sum());
            m += &(by_one * rate);
            v += &(by_two * rate);
        }
        assert!(max_abs(&(&found - &m)) < 1e-12, "{found} {m}");
        if moves == derivative {
            let plain = |theta| lookahead(theta, rate, |theta| j(0, 1, [thetas[0], theta]), None::<fn(Var) -> Var>);
            let plain = j(0, 0, [thetas[0], plain(plain(thetas[1]))]).grad(thetas[0]).value();
            assert!(max_abs(&(&found - &plain)) < 1e-13, "{found} {plain}");
        }
    }
}

#[test]
fn the_exact_gradient_is_the_one_known_also_with_its_derivative_apart() {
    let known = arr1(&[0.22705051, 2.38452321, -0.30051218, 2.30950131, -0.25130192]);
    let apart = Settings { derivative: Some(Inner::Exact), ..EXACT };
    let found = &first_gradients(apart, 0)[0];
    assert!(max_abs(&(found - &known)) < 5e-9, "{found}");
    for lookaheads in [1, 2, 3] {
        let [together, apart] = [EXACT, apart].map(|settings| first_gradients(Settings { lookaheads, ..settings }, 0));
        for (together, apart) in together.iter().zip(&apart) {
            assert!(max_abs(&(together - apart)) < 1e-12, "{together} {apart}");
        }
    }
}

#[test]
fn where_a_lookahead_leads_does_not_depend_on_where_its_derivative_is_from() {
    let first = |derivative| {
        let settings = Settings { outer: Outer::Exact, derivative, ..SMALL };
        let mut lola = dilemma(settings, 5);
        lola.restore(beginning(&lola)).unwrap();
        let iteration = lola.iterate(0).unwrap();
        (iteration.loss, iteration.gradient_norm)
    };
    let (loss, norm) = first(None);
    let off_policy = Inner::OffPolicy { fresh: 10, kept: 25 };
    for derivative in [Inner::Exact, Inner::Sampled(10), Inner::Sampled(7), off_policy] {
        let (other_loss, other_norm) = first(Some(derivative));
        // The same to rounding: what else a program computes may change the order of a sum.
        assert!((loss - other_loss).abs() < 1e-12 * loss && (norm - other_norm).abs() > 1e-3, "{derivative:?}");
    }
}

#[test]
fn gradients_with_the_derivative_alone_from_games_are_right_on_average() {
    // Two exact lookaheads differentiated as from 50 games of 4 steps each, and 50 more for the player's own J, 400 times: what is
    // multiplied is independent. Within 4 standard errors, for both players.
    let settings = Settings {
        horizon: 4,
        lookaheads: 2,
        inner: Inner::Exact,
        derivative: Some(Inner::Sampled(50)),
        outer: Outer::Sampled(50),
        ..Settings::LIU
    };
    let estimates: Vec<[ArrayD<f64>; 2]> = (0..400).map(|seed| first_gradients(settings, seed)).collect();
    let game = IteratedGame::prisoners_dilemma();
    for player in [0, 1] {
        let tape = Tape::new();
        let (thetas, _) = inputs(&tape);
        let other = 1 - player;
        let against = |theta: Var| if player == 0 { [thetas[0], theta] } else { [theta, thetas[1]] };
        let policies = |theta| against(theta).map(Sigmoid::probabilities);
        let step = |theta| {
            let of_four = |theta| game.finite_value(policies(theta), 0.96, 4)[other];
            lookahead(theta, 0.3, |theta| game.value(policies(theta), 0.96)[other], Some(of_four))
        };
        let value = game.finite_value(policies(step(step(thetas[other]))), 0.96, 4)[player];
        let truth = value.grad(thetas[player]).value();
        for s in 0..5 {
            let numbers = estimates.iter().map(|estimate| estimate[player][s]);
            let mean = numbers.clone().sum::<f64>() / 400.0;
            let error = (numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / 400.0 / 399.0).sqrt();
            assert!((mean - truth[s]).abs() < 4.0 * error && error < 0.05, "{player} {s}: {mean} {error} {truth}");
        }
    }
}

/// All sequences of both players' actions in `horizon` steps, as games that were played.
fn all_games(game: &IteratedGame, horizon: usize) -> [Rollout; 2] {
    let number = 1 << (2 * horizon);
    let mut observations = [(); 2].map(|()| Array2::<i32>::zeros((number, horizon + 1)));
    let mut actions = [(); 2].map(|()| Array2::<i32>::zeros((number, horizon)));
    let mut rewards = [(); 2].map(|()| Array2::zeros((number, horizon)));
    let (mut game, rng) = (game.clone(), &mut stream(0, 0));
    for (n, t) in (0..number).flat_map(|n| (0..horizon).map(move |t| (n, t))) {
        let done = [n >> (2 * t) & 1, n >> (2 * t + 1) & 1];
        let (mut one, mut two) = ([0], [0]);
        let steps = game.step(done.map(Action::Number), rng, [Slot::I32(&mut one), Slot::I32(&mut two)]);
        for (i, seen) in [one[0], two[0]].into_iter().enumerate() {
            observations[i][[n, t + 1]] = seen;
            actions[i][[n, t]] = done[i] as i32;
            rewards[i][[n, t]] = steps[i].reward;
        }
    }
    [0, 1].map(|i| {
        let (observations, actions) = (observations[i].clone(), actions[i].clone());
        let ends = (vec![horizon; number], vec![false; number]);
        Rollout::new(observations, actions, rewards[i].clone(), ends.0, ends.1).unwrap()
    })
}

/// Both θ and a baseline for each player on a tape.
fn inputs(tape: &Tape) -> ([Var; 2], [Var; 2]) {
    let thetas = [ONE, TWO].map(|logits| tape.input("theta", arr1(&logits)));
    let baselines = [[-1.0, 0.5, -2.0, 0.3, 1.0], [0.7, -3.0, 0.2, -0.4, 2.0]];
    (thetas, baselines.map(|baseline| tape.input("baseline", arr1(&baseline))))
}

#[test]
fn of_all_games_that_there_are_the_estimate_and_its_gradient_through_lookaheads_are_exact() {
    // Each of the 4³ sequences once, as if played by policies that do anything with the same probability: their mean, weighted by how
    // likely they are by θ, is the expectation. Two lookaheads, and the other's baseline and one's own.
    let game = IteratedGame::new([[[1.0, -2.0], [0.5, 3.0]], [[-1.0, 0.3], [2.0, 0.7]]]).unwrap();
    let rollouts = all_games(&game, 3);
    for player in [0, 1] {
        let tape = Tape::new();
        let (thetas, baselines) = inputs(&tape);
        let games = Games {
            players: [0, 1].map(|i| rollouts[i].record(&tape)),
            log_behaviour: Some(tape.constant(Array2::from_elem((64, 3), -(4.0_f64.ln())))),
        };
        let gradients = |j: &dyn Fn(usize, [Var; 2]) -> Var| {
            let against = |theta| if player == 0 { [thetas[0], theta] } else { [theta, thetas[1]] };
            let other = 1 - player;
            let points = adapt(&thetas[other], Rule::sgd(0.3), 2, |_, &theta| j(other, against(theta)));
            let value = j(player, against(points[2]));
            let hessian = value.grad(thetas[player]).sum().grad(thetas[other]);
            [value, j(player, thetas)]
                .map(|j| j.grad(thetas[player]).value())
                .into_iter()
                .chain([value.value(), hessian.value()])
        };
        let estimated = gradients(&|i, thetas| surrogate(i, thetas, baselines[i], &games, 0.9));
        let exact = gradients(&|i, thetas| game.finite_value(thetas.map(Sigmoid::probabilities), 0.9, 3)[i]);
        for (estimated, exact) in estimated.zip(exact) {
            assert!(max_abs(&(&estimated - &exact)) < 1e-12 && max_abs(&exact) > 1e-2, "{estimated} {exact}");
        }
    }
}

/// Of player 0 with one lookahead of rate 0.5 from games of 2 steps, played by both, and an exact J of 2 steps.
struct OneLookahead {
    /// Of the games: the estimate; J there; its gradient by θ_0 alone; and the score of the games by θ_0.
    program: Program,
    rollouts: [Rollout; 2],
    /// Of each game.
    probabilities: Vec<f64>,
}

impl OneLookahead {
    const GAMMA: f64 = 0.9;

    fn of(number: usize) -> Self {
        let game = IteratedGame::prisoners_dilemma();
        let rollouts = all_games(&game, 2);
        let tape = Tape::new();
        let (thetas, baselines) = inputs(&tape);
        let blank = Rollout::zeros(number, 2).unwrap();
        let players = [(); 2].map(|()| blank.record(&tape));
        let games = Games { players, log_behaviour: None };
        let j = |theta| game.finite_value([thetas[0], theta].map(Sigmoid::probabilities), Self::GAMMA, 2)[0];
        let ahead = adapt(&thetas[1], Rule::sgd(0.5), 1, |_, &theta| {
            surrogate(1, [thetas[0], theta], baselines[1], &games, Self::GAMMA)
        })[1];
        let log_prob =
            |i: usize, of: &rl::rollout::Episodes| Sigmoid { states: 5 }.log_prob(&Sigmoid::params(thetas[i]), of);
        let score = log_prob(0, &players[0]).sum().grad(thetas[0]);
        let there = j(ahead.stop_gradient());
        let outputs = [j(ahead).grad(thetas[0]), there, there.grad(thetas[0]), score];
        let all = [0, 1].map(|i| rollouts[i].record(&tape));
        let likely = (log_prob(0, &all[0]) + log_prob(1, &all[1])).sum_axes(&[1]).exp().value();
        let inputs = players.iter().flat_map(|episodes| episodes.handles());
        Self { program: tape.compile(inputs, outputs), rollouts, probabilities: likely.into_iter().collect() }
    }

    /// What the estimate is on average, and the gradient of what a lookahead by so many games is worth on average.
    fn averages(number: usize) -> [ArrayD<f64>; 2] {
        let problem = Self::of(number);
        let mut sums = [(); 2].map(|()| ArrayD::zeros(vec![5]));
        for tuple in 0..16_usize.pow(number as u32) {
            let numbers: Vec<usize> = (0..number as u32).map(|i| tuple / 16_usize.pow(i) % 16).collect();
            let probability: f64 = numbers.iter().map(|&n| problem.probabilities[n]).product();
            let games = problem.rollouts.each_ref().map(|rollout| rollout.select(&numbers));
            let values: Vec<Value<'_>> = games.iter().flat_map(Rollout::values).collect();
            let [estimate, there, alone, score] = problem.program.run(&values).unwrap().try_into().unwrap();
            sums[0] += &(estimate * probability);
            sums[1] += &((alone + score * there.sum()) * probability);
        }
        sums
    }
}

#[test]
fn a_lookahead_from_few_games_biases_the_gradient_by_one_over_their_number() {
    let game = IteratedGame::prisoners_dilemma();
    let tape = Tape::new();
    let (thetas, _) = inputs(&tape);
    let j = |theta| game.finite_value([thetas[0], theta].map(Sigmoid::probabilities), OneLookahead::GAMMA, 2);
    let ahead = adapt(&thetas[1], Rule::sgd(0.5), 1, |_, &theta| j(theta)[1])[1];
    let limit = j(ahead)[0].grad(thetas[0]).value();
    let mut biases = Vec::new();
    for number in 1..=3 {
        let [estimate, of_games] = OneLookahead::averages(number);
        let bias = |truth: &ArrayD<f64>| max_abs(&(&estimate - truth));
        biases.push([bias(&limit), bias(&of_games)]);
    }
    for i in 0..2 {
        let [one, two, three] = [0, 1, 2].map(|n| biases[n][i]);
        assert!(one > 0.01, "{biases:?}");
        assert!((0.4..0.6).contains(&(two / one)) && (0.27..0.4).contains(&(three / one)), "{biases:?}");
    }
}

#[test]
fn a_baseline_is_what_it_is_fitted_to() {
    // Policies that stay at ½, where every reward is −1.5 on average.
    let fitted = |baseline| {
        let settings = Settings {
            lookaheads: 0,
            horizon: 10,
            outer: Outer::Sampled(100),
            outer_rate: 0.0,
            baseline,
            baseline_rate: 0.1,
            ..Settings::LIU
        };
        let mut lola = dilemma(settings, 1);
        let mut mean = Array1::zeros(5);
        for i in 0..1000 {
            lola.iterate(i).unwrap();
            if i >= 500 {
                mean += &(&lola.state().arrays["baseline_1.values"] / 500.0);
            }
        }
        mean
    };
    let rewards = fitted(Baseline::Reward);
    assert!(rewards.iter().all(|b: &f64| (b + 1.5).abs() < 0.05), "{rewards}");
    let to_go = |t: i32| -1.5 * (1.0 - 0.96_f64.powi(10 - t)) / 0.04;
    let later = (1..10).map(to_go).sum::<f64>() / 9.0;
    let returns = fitted(Baseline::ReturnToGo);
    assert!((returns[0] - to_go(0)).abs() < 0.2, "{returns} {}", to_go(0));
    assert!(returns.iter().skip(1).all(|b: &f64| (b - later).abs() < 0.2), "{returns} {later}");
}

#[test]
fn games_kept_for_one_lookahead_alone_are_on_policy() {
    let after = |inner| {
        let mut lola = dilemma(Settings { inner, lookaheads: 2, ..SMALL }, 4);
        let losses: Vec<f64> = (0..5).map(|i| lola.iterate(i).unwrap().loss).collect();
        (losses, lola.state().arrays["theta_1.logits"].clone())
    };
    let (losses, theta) = after(Inner::Sampled(10));
    let (others, other_theta) = after(Inner::OffPolicy { fresh: 10, kept: 10 });
    assert!(losses.iter().zip(&others).all(|(a, b)| (a - b).abs() < 1e-9), "{losses:?} {others:?}");
    assert!(max_abs(&(&theta - &other_theta)) < 1e-9, "{theta} {other_theta}");
    // And games that are kept longer are used.
    assert!(max_abs(&(theta - after(Inner::OffPolicy { fresh: 10, kept: 25 }).1)) > 1e-3);
}

/// All kinds.
fn kinds() -> [Settings; 7] {
    [
        EXACT,
        SMALL,
        Settings { inner: Inner::OffPolicy { fresh: 10, kept: 25 }, lookaheads: 2, ..SMALL },
        Settings { inner: Inner::Exact, baseline: Baseline::ReturnToGo, ..SMALL },
        Settings { outer: Outer::Exact, lookaheads: 3, ..SMALL },
        Settings { inner: Inner::Exact, derivative: Some(Inner::Sampled(7)), lookaheads: 2, ..SMALL },
        Settings {
            inner: Inner::OffPolicy { fresh: 10, kept: 25 },
            derivative: Some(Inner::OffPolicy { fresh: 8, kept: 9 }),
            ..SMALL
        },
    ]
}

#[test]
fn a_state_that_was_saved_goes_on_to_the_bit_at_any_number_of_threads() {
    for settings in kinds() {
        let on = |threads: usize, saved_at: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut lola = dilemma(settings, 7);
                let mut returns = Vec::new();
                for i in 0..6 {
                    if i == saved_at {
                        let state = lola.state();
                        lola = dilemma(settings, 7);
                        lola.restore(state).unwrap();
                    }
                    returns.push(lola.iterate(i).unwrap().returns);
                }
                (returns, lola.state())
            })
        };
        let expected = on(1, 9);
        for (threads, saved_at) in [(1, 0), (2, 1), (3, 4)] {
            assert_eq!(on(threads, saved_at), expected, "{settings:?}");
        }
    }
}

#[test]
fn steps_are_counted_and_numbers_are_finite() {
    // For 2 players: lookaheads, own games; and the games for the returns.
    let steps = [
        0,
        (2 * (10 + 12) + 12) * 6,
        (2 * (2 * 10 + 12) + 12) * 6,
        (2 * 12 + 12) * 6,
        2 * 3 * 10 * 6,
        (2 * (2 * 7 + 12) + 12) * 6,
        (2 * (18 + 12) + 12) * 6,
    ];
    for (settings, steps) in kinds().into_iter().zip(steps) {
        let mut lola = dilemma(settings, 0);
        assert_eq!(lola.returns(), ["reward_per_step"]);
        let iteration = lola.iterate(0).unwrap();
        assert_eq!(iteration.env_steps, steps);
        assert_eq!(iteration.returns.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
        assert!(iteration.kl > 0.0 && iteration.gradient_norm > 0.0 && iteration.loss > 0.0, "{iteration:?}");
    }
    // Baselines are fitted wherever there are games.
    let fitted = |settings| {
        let mut lola = dilemma(settings, 0);
        lola.iterate(0).unwrap();
        lola.state().arrays["baseline_1.values"].iter().any(|&b| b != 0.0)
    };
    assert_eq!(kinds().map(fitted), [false, true, true, true, true, true, true]);
    // KL(½ ‖ σ(0.1)) in each state, after a step of Adam's first size.
    let kl = dilemma(EXACT, 0).iterate(0).unwrap().kl;
    let p = 1.0 / (1.0 + (-0.1_f64).exp());
    assert!((kl + 0.5 * (4.0 * p * (1.0 - p)).ln()).abs() < 1e-8, "{kl}");
}

#[test]
fn a_state_of_something_else_is_refused_by_name() {
    let settings = Settings { inner: Inner::OffPolicy { fresh: 10, kept: 25 }, ..SMALL };
    let mut lola = dilemma(settings, 0);
    lola.iterate(0).unwrap();
    let sound = lola.state();
    type Damage = fn(&mut State);
    let damages: [(Damage, &str); 10] = [
        (|state| state.arrays.retain(|name, _| name != "theta_1.logits"), "the array `theta_1.logits` is missing"),
        (
            |state| state.arrays["baseline_0.values"] = ArrayD::zeros(vec![4]),
            "the array `baseline_0.values` has shape [4], not [5]",
        ),
        (|state| state.arrays["theta_0.logits"][2] = f64::NAN, "the array `theta_0.logits` has an entry NaN"),
        (
            |state| state.numbers.retain(|name, _| name != "theta_0_optimiser.steps"),
            "the number `theta_0_optimiser.steps` is missing",
        ),
        (
            |state| state.numbers["baseline_1_optimiser.steps"] = 0.5,
            "the number `baseline_1_optimiser.steps` is 0.5, no count",
        ),
        (|state| state.arrays.extend([("more".to_owned(), ArrayD::zeros(vec![]))]), "`more` is not part of it"),
        (|state| state.arrays["theta_0_optimiser.square.logits"][1] = -1.0, "a mean square of array 0 is -1"),
        (|state| state.arrays["games.actions_0"][[3, 2]] = 0.5, "has an entry 0.5, which is no integer"),
        (|state| state.arrays["games.states_1"][[3, 2]] = 5.0, "trajectory 3, step 2: state 5 is out of range"),
        (|state| state.arrays["games.log_behaviour"][[3, 2]] = 0.1, "trajectory 3, step 2: log μ is 0.1"),
    ];
    for (damage, words) in damages {
        let mut state = sound.clone();
        damage(&mut state);
        let error = lola.restore(state).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(lola.state(), sound);
    }
    let error = dilemma(SMALL, 0).restore(sound).unwrap_err().to_string();
    assert_eq!(error, "the saved state is of other settings, or damaged: `games.states_0` is not part of it");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let off = |fresh, kept| Settings { inner: Inner::OffPolicy { fresh, kept }, ..SMALL };
    for (settings, words) in [
        (Settings { horizon: 0, ..SMALL }, "no steps in a game"),
        (Settings { inner: Inner::Sampled(0), ..SMALL }, "no games for a lookahead"),
        (off(0, 5), "no games for a lookahead"),
        (off(6, 5), "5 games are kept: at least 6 are needed"),
        (Settings { derivative: Some(Inner::Sampled(0)), ..SMALL }, "no games for a lookahead"),
        (Settings { derivative: Some(off(6, 5).inner), ..SMALL }, "5 games are kept: at least 6 are needed"),
        (Settings { gamma: 1.0, derivative: Some(Inner::Exact), ..SMALL }, "with discount 1 and no horizon"),
        (Settings { outer: Outer::Sampled(0), ..SMALL }, "no games for a player's own step"),
        (Settings { gamma: 1.5, ..SMALL }, "the discount is 1.5"),
        (Settings { gamma: 1.0, ..EXACT }, "with discount 1 and no horizon"),
        (Settings { gamma: 1.0, inner: Inner::Exact, ..SMALL }, "with discount 1 and no horizon"),
        (Settings { outer_rate: -1.0, ..SMALL }, "the rate is -1"),
        (Settings { inner_rate: f64::NAN, ..SMALL }, "the rate is NaN"),
        (Settings { baseline_rate: f64::INFINITY, ..SMALL }, "the rate is inf"),
    ] {
        let error = Lola::new(IteratedGame::prisoners_dilemma(), settings, 0).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(matches!(Lola::new(IteratedGame::prisoners_dilemma(), off(6, 5), 0), Err(Error::TooFew { .. })));
    // What is not used is not refused.
    Lola::new(IteratedGame::prisoners_dilemma(), Settings { gamma: 1.0, ..SMALL }, 0).unwrap();
}
