//! LOLA-DiCE (Foerster et al. 2018): two players of an iterated game, each of whom ascends what its policy is worth after the
//! other's next K steps, and differentiates through them.
//!
//! ```text
//! player i:  θ_j^0 = θ_j,  θ_j^{k+1} = θ_j^k + α ∇_{θ_j} J_j(θ_i, θ_j^k)        K lookaheads, functions of θ_i
//!            θ_i  ←  Adam by  d/dθ_i J_i(θ_i, θ_j^K)
//! ```
//!
//! Each J is exact, or DiCE's estimate from games that were played at the numbers that the policies then have. K = 0 is naive
//! learning; with both J exact it is exact LOLA. A lookahead from N games has a derivative that is right on average, but goes to
//! another place each time: the gradient is that of J_i(θ_i, E θ_j^K) up to O(1/N), and so it is for the objective of
//! players who do look ahead by N games, E J_i(θ_i, θ_j^K) (`tests/lola.rs` has both biases, by enumeration).
//!
//! What moves the other player and what that step's derivative is taken from may be two estimates ([`Settings::derivative`]):
//! that tells what an error of either costs (Liu et al. 2022, section 5.2).

use std::sync::Arc;
use std::time::Instant;

use ad::{Handle, Index, Program, Tape, Value, Var};
use ndarray::{Array1, Array2, ArrayD, Axis, concatenate};
use rand::Rng;
use rl::batch::Batch;
use rl::env::{IteratedGame, Players};
use rl::error::{Error, Result, check_discount, check_rate};
use rl::meta::{adapt, evaluates_to};
use rl::objective::{DiceBaseline, Estimator};
use rl::optim::{Optimiser, Rule};
use rl::policy::{Numbers, Policy, Sigmoid};
use rl::rollout::{Episodes, Rollout, Steps};
use rl::stream::stream;

use crate::learner::{Iteration, Learner, State, Taking};

const POLICY: Sigmoid = Sigmoid { states: IteratedGame::STATES };

/// How the J that a lookahead ascends is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// Exactly.
    Exact,
    /// From so many games, played for this lookahead.
    Sampled(usize),
    /// From the last `kept` games that either player's lookaheads were played by, weighted by how likely they are now; `fresh` of
    /// them are played for this one. (Liu et al. 2022, section 4.4. At the begin they are those of the first policies.)
    OffPolicy {
        /// The games played for each lookahead.
        fresh: usize,
        /// All that it is estimated from.
        kept: usize,
    },
}

/// How the J that a player ascends is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// Exactly.
    Exact,
    /// From so many games.
    Sampled(usize),
}

/// What the baseline of each state, which DiCE subtracts, is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The reward of the step, as in the published codes.
    Reward,
    /// The discounted rewards from there on, which is what the baseline is subtracted from.
    ReturnToGo,
}

/// How two players learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// γ.
    pub gamma: f64,
    /// The number of steps of a game that is played.
    pub horizon: usize,
    /// K.
    pub lookaheads: usize,
    /// How the lookaheads' J is known.
    pub inner: Inner,
    /// What the derivative of a lookahead is taken from, with games of its own, if not from the J that moves the other player
    /// (Liu et al. 2022: the Hessian's estimate and the compositional one).
    pub derivative: Option<Inner>,
    /// α, the rate of a lookahead.
    pub inner_rate: f64,
    /// How the players' own J is known.
    pub outer: Outer,
    /// The rate of the players' Adam.
    pub outer_rate: f64,
    /// What baselines are fitted to: in the player's own games, or, if its J is exact, in those of its last lookahead.
    pub baseline: Baseline,
    /// The rate of the baselines' Adam.
    pub baseline_rate: f64,
}

impl Settings {
    /// Those of Liu et al. 2022, table 3, for 500 iterations.
    pub const LIU: Self = Self {
        gamma: 0.96,
        horizon: 100,
        lookaheads: 1,
        inner: Inner::Sampled(128),
        derivative: None,
        inner_rate: 0.3,
        outer: Outer::Sampled(128),
        outer_rate: 0.1,
        baseline: Baseline::Reward,
        baseline_rate: 0.1,
    };

    fn check(&self) -> Result<()> {
        check_discount(self.gamma)?;
        for rate in [self.inner_rate, self.outer_rate, self.baseline_rate] {
            check_rate(rate)?;
        }
        let some = |what, number| if number == 0 { Err(Error::Empty { what }) } else { Ok(()) };
        some("steps in a game", self.horizon)?;
        for inner in self.inners() {
            match inner {
                Inner::Exact => {}
                Inner::Sampled(games) => some("games for a lookahead", games)?,
                Inner::OffPolicy { fresh, kept } => {
                    some("games for a lookahead", fresh)?;
                    if kept < fresh {
                        return Err(Error::TooFew { what: "games are kept".to_owned(), found: kept, least: fresh });
                    }
                }
            }
        }
        if let Outer::Sampled(games) = self.outer {
            some("games for a player's own step", games)?;
        }
        // An iterated game has no end.
        let exact =
            self.outer == Outer::Exact || self.lookaheads > 0 && self.inners().any(|inner| inner == Inner::Exact);
        if exact && self.gamma == 1.0 { Err(Error::UndiscountedWithoutTermination) } else { Ok(()) }
    }

    /// How J is known where it moves the other player, and where the derivative is taken from, if that is elsewhere.
    fn inners(&self) -> impl Iterator<Item = Inner> {
        [self.inner].into_iter().chain(self.derivative)
    }

    /// The number of games that are played in an iteration: for the lookaheads of both players, their own steps, and the returns.
    fn games(&self) -> usize {
        let games = |inner| match inner {
            Inner::Exact => 0,
            Inner::Sampled(games) | Inner::OffPolicy { fresh: games, .. } => games,
        };
        let ahead: usize = self.inners().map(games).sum();
        let own = if let Outer::Sampled(games) = self.outer { games } else { 0 };
        2 * (self.lookaheads * ahead + own) + own
    }
}

/// Games on a tape, as both players saw them.
#[derive(Clone, Copy, Debug)]
pub struct Games {
    /// What each of them saw, did and earned: N games of H steps.
    pub players: [Episodes; 2],
    /// log μ of what both did, `[N, H]`, if the games were played by other policies.
    pub log_behaviour: Option<Var>,
}

impl Games {
    /// What a program takes of them, in the order of [`Played::values`].
    fn handles(&self) -> Vec<Handle> {
        let of = |episodes: &Episodes| [episodes.observations, episodes.actions, episodes.steps.rewards.into()];
        self.players.iter().flat_map(of).chain(self.log_behaviour.map(Handle::from)).collect()
    }

    /// log π_θ of what both did, `[N, H]`.
    #[track_caller]
    fn log_prob(&self, thetas: [Var; 2]) -> Var {
        let [one, two] = [0, 1].map(|i| POLICY.log_prob(&Sigmoid::params(thetas[i]), &self.players[i]));
        one + two
    }
}

/// J of `player` by DiCE, from games that were played by the numbers of `thetas` (or by others, whose log-probabilities they come
/// with): with q_t = log π_0(a_t) + log π_1(a_t), mean Σ_t γ^t r_t □(Σ_{k≤t} q_k) + mean Σ_t γ^t b(s_t) (1 − □(q_t)). b is the player's
/// `baseline`, `[S]`. Off policy, □(q) is e^{q − log μ}.
#[track_caller]
pub fn surrogate(player: usize, thetas: [Var; 2], baseline: Var, games: &Games, gamma: f64) -> Var {
    let own = games.players[player];
    // A game has no end: all steps are taken.
    let batch = Batch::new(Steps::full(own.steps.rewards), games.log_prob(thetas), gamma)
        .with_critic(baseline.gather([own.states()]));
    DiceBaseline.surrogate(&games.log_behaviour.map_or(batch, |log_behaviour| batch.off_policy(log_behaviour)))
}

/// θ_j^{k+1} = θ_j^k + α ∇_{θ_j} J_j, a lookahead from `theta` = θ_j^k on the tape; `j` records J_j as a function of it. If `derivative`
/// is given, that records another J_j: then the numbers are those of a step by `j`, and the derivatives those of a step by `derivative`.
#[track_caller]
pub fn lookahead(theta: Var, rate: f64, j: impl Fn(Var) -> Var, derivative: Option<impl Fn(Var) -> Var>) -> Var {
    fn step(theta: Var, rate: f64, j: impl Fn(Var) -> Var) -> Var {
        adapt(&theta, Rule::sgd(rate), 1, |_, &theta| j(theta))[1]
    }
    let next = step(theta, rate, j);
    derivative.map_or(next, |j| evaluates_to(&next, &step(theta, rate, j)))
}

/// Games that were played.
#[derive(Clone, Debug, PartialEq)]
struct Played {
    rollouts: [Rollout; 2],
    log_behaviour: Option<Array2<f64>>,
}

impl Played {
    fn values(&self) -> impl Iterator<Item = Value<'_>> {
        fn of(rollout: &Rollout) -> [Value<'_>; 3] {
            [rollout.observations().view(), rollout.actions().view(), rollout.rewards().into()]
        }
        self.rollouts.iter().flat_map(of).chain(self.log_behaviour.as_ref().map(Value::from))
    }

    /// These and then the newer ones, without the oldest: as many as before.
    fn followed_by(&self, newer: &Self) -> Result<Self> {
        let count = self.rollouts[0].trajectories();
        let rest: Vec<usize> = (newer.rollouts[0].trajectories()..count).collect();
        if rest.is_empty() {
            return Ok(newer.clone());
        }
        let [one, two] = [0, 1].map(|i| Rollout::concatenate(&[&self.rollouts[i].select(&rest), &newer.rollouts[i]]));
        let log_behaviour = self.log_behaviour.as_ref().zip(newer.log_behaviour.as_ref()).map(|(old, new)| {
            concatenate(Axis(0), &[old.select(Axis(0), &rest).view(), new.view()]).expect("of the same horizon")
        });
        Ok(Self { rollouts: [one?, two?], log_behaviour })
    }

    /// The same, with how likely what both did was by the policies they were played by.
    fn with_behaviour(self, thetas: [&Numbers; 2]) -> Self {
        let tape = Tape::new();
        let [one, two] = [0, 1].map(|i| {
            let theta = rl::policy::record(thetas[i], &tape);
            POLICY.log_prob(&theta, &self.rollouts[i].record(&tape))
        });
        let log_behaviour = (one + two).value().into_dimensionality().expect("two axes");
        Self { log_behaviour: Some(log_behaviour), ..self }
    }
}

/// What a player computes. Programs take both θ, both baselines, and games.
#[derive(Debug)]
struct Programs {
    /// θ_j^{k+1} of θ_j^k, the other's.
    lookahead: Option<Program>,
    /// J_i(θ_i, θ_j^K), its gradient by θ_i, and that of the baseline's mean square error; of the games of all lookaheads, and
    /// the player's own.
    outer: Program,
}

impl Programs {
    fn new(game: &IteratedGame, settings: &Settings, player: usize) -> Result<Self> {
        let &Settings { gamma, horizon, lookaheads, inner_rate, outer, baseline, .. } = settings;
        let other = 1 - player;
        let tape = Tape::new();
        let input = |name: &str| tape.input(name, Array1::<f64>::zeros(IteratedGame::STATES));
        let (thetas, baselines) = ([(); 2].map(|()| input("theta")), [(); 2].map(|()| input("baseline")));
        let games = |number, off_policy: bool| -> Result<Games> {
            let blank = Rollout::zeros(number, horizon)?;
            let log_behaviour =
                off_policy.then(|| tape.input("log_behaviour", Array2::<f64>::zeros((number, horizon))));
            Ok(Games { players: [(); 2].map(|()| blank.record(&tape)), log_behaviour })
        };
        // Of each lookahead, what moves, and where the derivative is taken from, if that is elsewhere.
        let ahead: Vec<Vec<Option<Games>>> = (0..lookaheads)
            .map(|_| {
                let games = |inner| match inner {
                    Inner::Exact => Ok(None),
                    Inner::Sampled(number) => games(number, false).map(Some),
                    Inner::OffPolicy { kept, .. } => games(kept, true).map(Some),
                };
                settings.inners().map(games).collect()
            })
            .collect::<Result<_>>()?;
        let own = match outer {
            Outer::Exact => None,
            Outer::Sampled(number) => Some(games(number, false)?),
        };

        let j = |of: usize, thetas: [Var; 2], games: &Option<Games>| match games {
            None => game.value(thetas.map(Sigmoid::probabilities), gamma)[of],
            Some(games) => surrogate(of, thetas, baselines[of], games, gamma),
        };
        let against = |theta| in_order(player, thetas[player], theta);
        let mut points = vec![thetas[other]];
        for ahead in &ahead {
            let by = |games| move |theta| j(other, against(theta), games);
            let next = lookahead(points[points.len() - 1], inner_rate, by(&ahead[0]), ahead.get(1).map(by));
            points.push(next);
        }
        let value = j(player, against(points[lookaheads]), &own);
        let mut outputs = vec![value, value.grad(thetas[player])];
        if let Some(games) = own.as_ref().or(ahead.last().and_then(|ahead| ahead[0].as_ref())) {
            let (episodes, table) = (games.players[player], baselines[player]);
            let target = match baseline {
                Baseline::Reward => episodes.steps.rewards,
                Baseline::ReturnToGo => episodes.steps.rewards.scan_reverse(gamma, 1),
            };
            let found = table.gather([episodes.states().slice(1, 0..horizon)]);
            outputs.push((target - found).square().mean().grad(table));
        }
        let inputs = |games: &[Option<Games>]| -> Vec<Handle> {
            let numbers = thetas.iter().chain(&baselines).map(|&var| var.into());
            numbers.chain(games.iter().flatten().flat_map(Games::handles)).collect()
        };
        Ok(Self {
            lookahead: points.get(1).map(|&next| tape.compile(inputs(&ahead[0][..1]), [next])),
            outer: tape.compile(inputs(&[&ahead.concat()[..], &[own]].concat()), outputs),
        })
    }
}

/// What is the player's and what is the other's, in the order of players.
fn in_order<T>(player: usize, own: T, others: T) -> [T; 2] {
    if player == 0 { [own, others] } else { [others, own] }
}

/// What a player has learned.
#[derive(Clone, Debug, PartialEq)]
struct Player {
    theta: Numbers,
    baseline: ArrayD<f64>,
    by_theta: Optimiser,
    by_baseline: Optimiser,
}

/// Two players who learn.
///
/// ```
/// use rl::env::IteratedGame;
/// use train::{Learner, lola::{Inner, Lola, Outer, Settings}};
/// let exact = Settings { inner: Inner::Exact, outer: Outer::Exact, ..Settings::LIU };
/// let mut lola = Lola::new(IteratedGame::prisoners_dilemma(), exact, 0)?;
/// let mut last = 0.0;
/// for update in 0..50 {
///     last = lola.iterate(update)?.returns[0][0];
/// }
/// assert!(last > -1.1);                                           // both cooperate
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Lola {
    game: IteratedGame,
    settings: Settings,
    seed: u64,
    play: Players,
    programs: [Programs; 2],
    /// Of both θ before and both after: the mean over players and states of KL(before ‖ after), and, if the outer J is exact, both
    /// J after.
    judge: Program,
    players: [Player; 2],
    /// What lookaheads off policy are estimated from: what moves, and derivatives.
    kept: [Option<Arc<Played>>; 2],
}

/// What a player ascends by.
struct Ascent {
    /// J_i(θ_i, θ_j^K).
    value: f64,
    /// Its gradient by θ_i.
    gradient: ArrayD<f64>,
    /// The gradient of the baseline's mean square error, if there are games.
    by_baseline: Option<ArrayD<f64>>,
}

/// What draws are named by, besides the seed.
#[derive(Clone, Copy)]
enum Draw {
    /// The games kept at the begin: for what moves (0), or for derivatives (1).
    First(usize),
    /// For what moves, or for the derivative, in an iteration, by a player, of a lookahead.
    Lookahead(usize, u64, usize, usize),
    /// For a player's own step.
    Own(u64, usize),
    /// For the returns of an iteration.
    Returns(u64),
}

impl Draw {
    fn seed(self, seed: u64) -> u64 {
        let names = match self {
            Draw::First(0) => vec![0],
            Draw::First(_) => vec![4],
            Draw::Lookahead(what, iteration, player, k) => {
                vec![if what == 0 { 1 } else { 5 }, iteration, player as u64, k as u64]
            }
            Draw::Own(iteration, player) => vec![2, iteration, player as u64],
            Draw::Returns(iteration) => vec![3, iteration],
        };
        names.into_iter().fold(seed, |seed, name| stream(seed, name).next_u64())
    }
}

impl Lola {
    /// Players of this game with logits 0 and baselines 0.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] for a number of `settings` that is 0, [`Error::TooFew`] for fewer games kept than played,
    /// [`Error::Decay`], [`Error::Rate`], [`Error::TooLarge`]; [`Error::UndiscountedWithoutTermination`] for an exact J at γ = 1.
    pub fn new(game: IteratedGame, settings: Settings, seed: u64) -> Result<Self> {
        settings.check()?;
        let zeros = Sigmoid::numbers(&[0.0; IteratedGame::STATES]);
        let player = || Player {
            theta: zeros.clone(),
            baseline: ArrayD::zeros(vec![IteratedGame::STATES]),
            by_theta: Optimiser::new(Rule::adam(settings.outer_rate)),
            by_baseline: Optimiser::new(Rule::adam(settings.baseline_rate)),
        };
        let mut lola = Self {
            play: Players::new(&game, [&POLICY; 2], [&zeros; 2], ad::DType::F64)?,
            programs: [Programs::new(&game, &settings, 0)?, Programs::new(&game, &settings, 1)?],
            judge: judge(&game, &settings),
            players: [player(), player()],
            kept: [None, None],
            game,
            settings,
            seed,
        };
        for (what, inner) in settings.inners().enumerate() {
            if let (Inner::OffPolicy { kept, .. }, 1..) = (inner, settings.lookaheads) {
                let first = lola.play([&zeros; 2], kept, Draw::First(what))?.with_behaviour([&zeros; 2]);
                lola.kept[what] = Some(first.into());
            }
        }
        Ok(lola)
    }

    /// The logits of a player, `[S]`.
    ///
    /// Panics unless `player` is 0 or 1.
    #[track_caller]
    pub fn theta(&self, player: usize) -> &ArrayD<f64> {
        &self.players[player].theta[Sigmoid::LOGITS]
    }

    /// The baseline of a player, `[S]`.
    ///
    /// Panics unless `player` is 0 or 1.
    #[track_caller]
    pub fn baseline(&self, player: usize) -> &ArrayD<f64> {
        &self.players[player].baseline
    }

    /// What both players would ascend by at these logits and with these baselines, `[S]`: d/dθ_i J_i(θ_i, θ_j^K) as the settings say,
    /// with the draws of an iteration. Nothing is learned, but off policy the games for it are kept.
    ///
    /// # Errors
    ///
    /// Those of [`Learner::iterate`].
    pub fn gradients(
        &mut self,
        thetas: [&ArrayD<f64>; 2],
        baselines: [&ArrayD<f64>; 2],
        iteration: u64,
    ) -> Result<[ArrayD<f64>; 2]> {
        let before = self.kept.clone();
        let [one, two] = thetas.map(|theta| Numbers::from([(Sigmoid::LOGITS.to_owned(), theta.clone())]));
        let ascents = self.ascents([&one, &two], baselines, iteration, &mut [0.0; 3]);
        ascents.map(|ascents| ascents.map(|ascent| ascent.gradient)).inspect_err(|_| self.kept = before)
    }

    fn play(&self, thetas: [&Numbers; 2], games: usize, draw: Draw) -> Result<Played> {
        let rollouts = self.play.play(&self.game, thetas, self.settings.horizon, games, draw.seed(self.seed))?;
        Ok(Played { rollouts, log_behaviour: None })
    }

    /// The games that a lookahead is estimated from, if any, after those for it have been played: for what moves (0), or for
    /// the derivative (1).
    fn lookahead_games(
        &mut self,
        (what, inner): (usize, Inner),
        thetas: [&Numbers; 2],
        draw: Draw,
    ) -> Result<Option<Arc<Played>>> {
        Ok(match inner {
            Inner::Exact => None,
            Inner::Sampled(games) => Some(self.play(thetas, games, draw)?.into()),
            Inner::OffPolicy { fresh, .. } => {
                let fresh = self.play(thetas, fresh, draw)?.with_behaviour(thetas);
                let all = self.kept[what].as_ref().expect("filled at the begin").followed_by(&fresh)?;
                self.kept[what] = Some(all.into());
                self.kept[what].clone()
            }
        })
    }
}

/// What programs take: both θ, both baselines, games.
fn values<'a>(thetas: [&'a Numbers; 2], baselines: [&'a ArrayD<f64>; 2], games: &'a [Arc<Played>]) -> Vec<Value<'a>> {
    let thetas = thetas.into_iter().flat_map(|theta| theta.values().map(Value::from));
    let baselines = baselines.into_iter().map(Value::from);
    thetas.chain(baselines).chain(games.iter().flat_map(|played| played.values())).collect()
}

/// Of both θ before and both after: see [`Lola::judge`].
fn judge(game: &IteratedGame, settings: &Settings) -> Program {
    let tape = Tape::new();
    let thetas = [(); 4].map(|()| tape.input("theta", Array1::<f64>::zeros(IteratedGame::STATES)));
    let states = Index::constant(thetas[0], Array1::from_iter(0..IteratedGame::STATES as i32));
    let [one, two, one_after, two_after] = thetas.map(|theta| POLICY.along(&Sigmoid::params(theta), states.into()));
    let mut outputs = vec![(one.kl(&one_after).mean() + two.kl(&two_after).mean()) * 0.5];
    if settings.outer == Outer::Exact {
        outputs.extend(game.value([thetas[2], thetas[3]].map(Sigmoid::probabilities), settings.gamma));
    }
    tape.compile(thetas, outputs)
}

impl Learner for Lola {
    /// What each player is paid in a step, after the iteration, on average: (1 − γ) J if the outer J is exact; else the mean over games
    /// that are played for it.
    fn returns(&self) -> Vec<String> {
        vec!["reward_per_step".to_owned()]
    }

    fn iterate(&mut self, iteration: u64) -> Result<Iteration> {
        let before = (self.players.clone(), self.kept.clone());
        self.iteration(iteration).map_err(|error| {
            (self.players, self.kept) = before;
            error.during(format!("iteration {iteration}"))
        })
    }

    fn state(&self) -> State {
        let mut state = State::default();
        for (i, player) in self.players.iter().enumerate() {
            let baseline = baseline_tree(&player.baseline);
            for (what, tree, optimiser) in
                [("theta", &player.theta, &player.by_theta), ("baseline", &baseline, &player.by_baseline)]
            {
                state.put_tree(&format!("{what}_{i}"), tree);
                state.put_optimiser(&format!("{what}_{i}_optimiser"), optimiser, tree);
            }
        }
        for (prefix, kept) in KEPT.into_iter().zip(&self.kept) {
            let Some(Played { rollouts, log_behaviour }) = kept.as_deref() else { continue };
            let mut put = |name: String, array| state.arrays.insert(format!("{prefix}.{name}"), array);
            for (i, rollout) in rollouts.iter().enumerate() {
                put(format!("states_{i}"), rollout.states().mapv(f64::from).into_dyn());
                put(format!("actions_{i}"), rollout.action_numbers().mapv(f64::from).into_dyn());
                put(format!("rewards_{i}"), rollout.rewards().clone().into_dyn());
            }
            if let Some(log_behaviour) = log_behaviour {
                put("log_behaviour".to_owned(), log_behaviour.clone().into_dyn());
            }
        }
        state
    }

    fn restore(&mut self, state: State) -> Result<()> {
        let mut state = Taking::from(state);
        let mut players = Vec::with_capacity(2);
        for (i, player) in self.players.iter().enumerate() {
            let mut part = |what: &str, like: &Numbers, rate: f64| {
                let tree = state.tree(&format!("{what}_{i}"), like)?;
                let optimiser = state.optimiser(&format!("{what}_{i}_optimiser"), Rule::adam(rate), like)?;
                Ok::<_, Error>((tree, optimiser))
            };
            let (theta, by_theta) = part("theta", &player.theta, self.settings.outer_rate)?;
            let like = baseline_tree(&player.baseline);
            let (mut baseline, by_baseline) = part("baseline", &like, self.settings.baseline_rate)?;
            let baseline = baseline.swap_remove(VALUES).expect("a tree of one leaf");
            players.push(Player { theta, baseline, by_theta, by_baseline });
        }
        let mut all_kept = [None, None];
        for ((prefix, like), kept) in KEPT.into_iter().zip(&self.kept).zip(&mut all_kept) {
            let Some(Played { rollouts: [like, _], .. }) = like.as_deref() else { continue };
            let (number, horizon) = (like.trajectories(), like.horizon());
            let mut rollouts = Vec::with_capacity(2);
            for i in 0..2 {
                let states = state.integers(&format!("{prefix}.states_{i}"), &[number, horizon + 1])?;
                let actions = state.integers(&format!("{prefix}.actions_{i}"), &[number, horizon])?;
                let rewards = state.array(&format!("{prefix}.rewards_{i}"), &[number, horizon])?;
                let rewards = rewards.into_dimensionality().expect("two axes, as was checked");
                let rollout = Rollout::new(states, actions, rewards, vec![horizon; number], vec![false; number])?;
                rollout.check_within(IteratedGame::STATES, 2)?;
                rollouts.push(rollout);
            }
            let log_behaviour = state.array(&format!("{prefix}.log_behaviour"), &[number, horizon])?;
            let log_behaviour = log_behaviour.into_dimensionality().expect("two axes, as was checked");
            rollouts[0].check_log_behaviour(&log_behaviour)?;
            let rollouts = rollouts.try_into().expect("one of each player");
            *kept = Some(Arc::new(Played { rollouts, log_behaviour: Some(log_behaviour) }));
        }
        state.end()?;
        (self.players, self.kept) = (players.try_into().expect("two players"), all_kept);
        Ok(())
    }
}

impl Lola {
    /// What both players ascend by there. Adds to the seconds of an [`Iteration`].
    fn ascents(
        &mut self,
        thetas: [&Numbers; 2],
        baselines: [&ArrayD<f64>; 2],
        iteration: u64,
        seconds: &mut [f64; 3],
    ) -> Result<[Ascent; 2]> {
        let settings = self.settings;
        // Both players look ahead, each at the other.
        let mut ahead = [thetas[1].clone(), thetas[0].clone()];
        let mut data: [Vec<Arc<Played>>; 2] = Default::default();
        for k in 0..settings.lookaheads {
            for player in [0, 1] {
                let there = in_order(player, thetas[player], &ahead[player]);
                let begin = Instant::now();
                let before = data[player].len();
                for source in settings.inners().enumerate() {
                    let draw = Draw::Lookahead(source.0, iteration, player, k);
                    data[player].extend(self.lookahead_games(source, there, draw)?);
                }
                seconds[0] += begin.elapsed().as_secs_f64();
                let begin = Instant::now();
                // (Where the last lookahead leads is needed to play there alone.)
                if let Some(program) = &self.programs[player].lookahead {
                    let moves = usize::from(settings.inner != Inner::Exact);
                    let games = &data[player][before..before + moves];
                    let next = program.run(&values(there, baselines, games))?.swap_remove(0);
                    ahead[player][Sigmoid::LOGITS] = next;
                }
                seconds[1] += begin.elapsed().as_secs_f64();
            }
        }

        // And ascend what that is worth.
        let mut ascents = Vec::with_capacity(2);
        for player in [0, 1] {
            let begin = Instant::now();
            if let Outer::Sampled(number) = settings.outer {
                let there = in_order(player, thetas[player], &ahead[player]);
                data[player].push(self.play(there, number, Draw::Own(iteration, player))?.into());
            }
            seconds[0] += begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            let mut results = self.programs[player].outer.run(&values(thetas, baselines, &data[player]))?.into_iter();
            let mut next = || results.next();
            let (value, gradient) = next().zip(next()).expect("the program has these outputs");
            ascents.push(Ascent { value: value.sum(), gradient, by_baseline: next() });
            seconds[2] += begin.elapsed().as_secs_f64();
        }
        Ok(ascents.try_into().unwrap_or_else(|_| unreachable!("one of each player")))
    }

    fn iteration(&mut self, iteration: u64) -> Result<Iteration> {
        let Settings { gamma, outer, .. } = self.settings;
        let mut seconds = [0.0; 3];
        let before = self.players.each_ref().map(|player| player.theta.clone());
        let baselines = self.players.each_ref().map(|player| player.baseline.clone());
        let ascents = self.ascents(before.each_ref(), baselines.each_ref(), iteration, &mut seconds)?;
        for (player, Ascent { gradient, by_baseline, .. }) in self.players.iter_mut().zip(&ascents) {
            player.by_theta.step_all(player.theta.values_mut(), [&-gradient])?;
            if let Some(gradient) = by_baseline {
                player.by_baseline.step(&mut player.baseline, gradient)?;
            }
        }

        let begin = Instant::now();
        let after = self.players.each_ref().map(|player| &player.theta);
        let values: Vec<Value<'_>> = before.iter().chain(after).flat_map(Numbers::values).map(Value::from).collect();
        let judged = self.judge.run(&values)?;
        let returns: Vec<f64> = match outer {
            Outer::Exact => judged[1..].iter().map(|value| (1.0 - gamma) * value.sum()).collect(),
            Outer::Sampled(number) => {
                let played = self.play(after, number, Draw::Returns(iteration))?;
                played.rollouts.iter().map(|rollout| rollout.rewards().sum() / rollout.rewards().len() as f64).collect()
            }
        };
        seconds[0] += begin.elapsed().as_secs_f64();
        Ok(Iteration {
            env_steps: (self.settings.games() * self.settings.horizon) as u64,
            returns: vec![returns],
            loss: -ascents.iter().map(|ascent| ascent.value).sum::<f64>() / 2.0,
            gradient_norm: ascents.iter().map(|ascent| ascent.gradient.mapv(|x| x * x).sum()).sum::<f64>().sqrt(),
            kl: judged[0].sum(),
            seconds,
        })
    }
}

/// What saved games are named by: those for what moves, and those for derivatives.
const KEPT: [&str; 2] = ["games", "derivative_games"];

/// The only leaf of a baseline, as a tree.
const VALUES: &str = "values";

fn baseline_tree(values: &ArrayD<f64>) -> Numbers {
    Numbers::from([(VALUES.to_owned(), values.clone())])
}
