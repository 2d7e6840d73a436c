//! Points in the plane and on the line.

use std::f64::consts::SQRT_2;

use rl::env::{Corner, Distance, Environment, Line, Momentum, Navigation, Reward, Slot, Walls};
use rl::stream::stream;
use serde_json::json;

use super::{assert_mean, assert_near, in_state, refused, step};

/// What is seen at the begin of an episode.
fn first(environment: &mut impl Environment, index: u64) -> Vec<f64> {
    let mut seen = vec![0.0; environment.spaces()[0].size()];
    environment.reset(&mut stream(1, index), Slot::F64(&mut seen)).unwrap();
    seen
}

/// Fails unless numbers are uniform in ±`bound`: none outside, and mean and mean square as they should be.
#[track_caller]
fn assert_uniform(numbers: &[f64], bound: f64) {
    assert!(numbers.iter().all(|x| x.abs() <= bound));
    assert_mean(numbers, 0.0);
    assert_mean(&Vec::from_iter(numbers.iter().map(|x| x * x)), bound * bound / 3.0);
}

/// Fails unless each corner is the goal of a quarter of 4000 tasks.
#[track_caller]
fn assert_corners(goals: impl Iterator<Item = [f64; 2]>) {
    let goals = Vec::from_iter(goals);
    for corner in [[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]] {
        assert_mean(&Vec::from_iter(goals.iter().map(|&goal| f64::from(goal == corner))), 0.25);
    }
}

#[test]
fn navigation_moves_by_a_tenth_and_is_paid_by_distance() {
    let mut point = Navigation::to([0.3, -0.15]);
    assert_eq!(first(&mut point, 0), [0.0, 0.0]);
    // Beyond one unit an action is clipped.
    let expected = [
        ([1.0, 0.5], [0.1, 0.05], -(0.08_f64.sqrt())),
        ([7.0, -30.0], [0.2, -0.05], -(0.02_f64.sqrt())),
        ([1.0, -1.0], [0.3, -0.15], 0.0),
    ];
    for (t, (action, there, paid)) in expected.into_iter().enumerate() {
        let (seen, step) = step(&mut point, &action);
        assert_near(&[&seen[..], &[step.reward]].concat(), &[there[0], there[1], paid]);
        assert_eq!((step.terminated, step.truncated), (t == 2, false));
    }
    // It ends only where both coordinates are near.
    let mut point = Navigation::to([0.105, 0.011]);
    assert!(!step(&mut point, &[1.0, 0.0]).1.terminated);
    assert!(step(&mut point, &[0.0, 0.02]).1.terminated);
    // Standing still for 100 steps costs a hundred times the distance.
    let mut point = Navigation::to([0.3, 0.4]);
    let paid: f64 = (0..100).map(|_| step(&mut point, &[0.0; 2]).1.reward).sum();
    assert!((paid + 50.0).abs() < 1e-12);
    let goals = Vec::from_iter((0..2000).flat_map(|i| Navigation::random(&mut stream(1, i)).goal));
    assert_uniform(&goals, 0.5);
    assert_eq!(refused(|| step(&mut point, &[0.0; 3])), "a point's action has two components, not 3");
}

#[test]
fn bounded_navigation_moves_by_a_hundredth_within_a_square() {
    let mut point = Navigation::bounded([0.3, -0.15]);
    assert_eq!(first(&mut point, 0), [0.0, 0.0]);
    let (seen, paid) = step(&mut point, &[3.0, -5.0]);
    assert_near(&[&seen[..], &[paid.reward]].concat(), &[0.03, -0.05, -((0.27_f64 * 0.27 + 0.01).sqrt())]);
    // An action is clipped at ten units, the position at the square's sides.
    assert_near(&step(&mut point, &[1000.0, 10.0]).0, &[0.13, 0.05]);
    (0..6).for_each(|_| drop(step(&mut point, &[8.0, -11.0])));
    let (seen, paid) = step(&mut point, &[0.0, 0.0]);
    assert_near(&[&seen[..], &[paid.reward]].concat(), &[0.5, -0.5, -((0.04_f64 + 0.1225).sqrt())]);
    // The paper's reward is the square.
    let (_, paid) = step(&mut Navigation::bounded([0.3, -0.4]).paying(Distance::Squared), &[0.0, 0.0]);
    assert_near(&[paid.reward], &[-0.25]);
    let (_, paid) = step(&mut Navigation::bounded([0.3, -0.4]), &[0.0, 0.0]);
    assert_near(&[paid.reward], &[-0.5]);
    // MAML's may leave the square.
    let mut free = Navigation::to([0.3, 0.4]);
    (0..10).for_each(|_| drop(step(&mut free, &[1.0, -1.0])));
    assert_near(&step(&mut free, &[0.0; 2]).0, &[1.0, -1.0]);
    let mut point = Navigation::bounded([0.105, 0.011]);
    assert!(!step(&mut point, &[10.0, 0.0]).1.terminated && step(&mut point, &[0.0, 0.2]).1.terminated);
    let goals = Vec::from_iter((0..2000).flat_map(|i| Navigation::random_bounded(&mut stream(1, i)).goal));
    assert_uniform(&goals, 0.5);
}

#[test]
fn a_corner_pays_for_progress_where_it_is_nearest() {
    let at = |position: [f64; 2], goal: [f64; 2]| -> Corner {
        in_state(&json!({ "goal": goal, "reward": "Sparse", "position": position }))
    };
    let goal = [2.0, 2.0];
    // From where, by which action, to where, and what is paid.
    let expected = [
        ([0.2, 0.2], [10.0, 10.0], [0.4, 0.4], 0.2 * SQRT_2),
        // Clipped at ten units, which are 0.2; paid for what it comes nearer by: √(2.06² + 1.1²) − √(1.86² + 1.16²).
        ([-0.06, 0.9], [100.0, -3.0], [0.14, 0.84], 5.4536_f64.sqrt() - 4.8052_f64.sqrt()),
        // Less than ½ from the origin, by the sum of both coordinates; at ½; and beyond.
        ([0.2, 0.2], [1.0, 1.0], [0.22, 0.22], 0.0),
        ([0.24, 0.24], [0.5, 0.5], [0.25, 0.25], 0.01 * SQRT_2),
        ([0.4, 0.05], [2.5, 0.0], [0.45, 0.05], 6.3625_f64.sqrt() - 6.205_f64.sqrt()),
        // Another corner is nearer, wherever one comes from; or as near.
        ([0.5, -0.1], [0.0, -5.0], [0.5, -0.2], 0.0),
        ([0.5, 0.1], [0.0, -10.0], [0.5, -0.1], 0.0),
        ([0.5, -0.1], [0.0, 5.0], [0.5, 0.0], 6.66_f64.sqrt() - 2.5),
        // Going away costs.
        ([0.5, 0.5], [-5.0, -5.0], [0.4, 0.4], -0.1 * SQRT_2),
        // Going past as well.
        ([2.0, 2.0], [5.0, 5.0], [2.1, 2.1], -0.1 * SQRT_2),
    ];
    for (from, action, to, paid) in expected {
        let (seen, step) = step(&mut at(from, goal), &action);
        assert_near(&[&seen[..], &[step.reward]].concat(), &[to[0], to[1], paid]);
        assert!(!step.terminated && !step.truncated);
        let mirrored = super::step(&mut at([-from[0], from[1]], [-2.0, 2.0]), &[-action[0], action[1]]).1;
        assert_eq!(mirrored.reward, step.reward, "the mirrored one");
    }
    // From the edge of what pays nothing to the corner: its distance, √2·1.75 = 2.47.
    let mut point = at([0.25, 0.25], goal);
    let paid: f64 = (0..35).map(|_| step(&mut point, &[2.5, 2.5]).1.reward).sum();
    assert!((paid - 1.75 * SQRT_2).abs() < 1e-12, "{paid}");
}

#[test]
fn corners_may_pay_everywhere_and_begin_near_the_origin() {
    let goal = [-2.0, 2.0];
    // 2.2 and 1.6 from (0.2, 0.4), where it arrives.
    for (reward, paid) in [(Distance::Plain, -(7.4_f64.sqrt())), (Distance::Squared, -7.4)] {
        let point: Corner = in_state(&json!({ "goal": goal, "reward": "Sparse", "position": [0.1, 0.45] }));
        let (seen, step) = step(&mut point.paying(Reward::Dense(reward)), &[5.0, -2.5]);
        assert_near(&[&seen[..], &[step.reward]].concat(), &[0.2, 0.4, paid]);
    }
    assert_uniform(&Vec::from_iter((0..2000).flat_map(|i| first(&mut Corner::to(goal), i))), 0.2);
    assert_corners((0..4000).map(|i| Corner::random(&mut stream(2, i)).goal));
}

#[test]
fn momentum_keeps_its_velocity_and_is_paid_near_its_corner() {
    let at = |position: [f64; 2], velocity: [f64; 2], reward: &serde_json::Value| -> Momentum {
        let goal = [2.0, 2.0];
        in_state(&json!({ "goal": goal, "reward": reward, "position": position, "velocity": velocity }))
    };
    let sparse = json!("Sparse");
    let mut point = at([0.0, 0.0], [0.05, -0.05], &sparse);
    // A unit is 0.01 of velocity, and clipped at ten.
    let (seen, paid) = step(&mut point, &[40.0, -2.0]);
    assert_near(&[&seen[..], &[paid.reward]].concat(), &[0.15, -0.07, 0.15, -0.07, 0.0]);
    let (seen, paid) = step(&mut point, &[-5.0, 0.0]);
    assert_near(&[&seen[..], &[paid.reward]].concat(), &[0.25, -0.14, 0.1, -0.07, 0.0]);
    assert!(!paid.terminated && !paid.truncated);
    // Arriving in (1.5, 1): √1.25 = 1.118 away.
    let expected = [
        (sparse, 2.0 - 1.25_f64.sqrt()),
        (json!({ "Dense": "Plain" }), -(1.25_f64.sqrt())),
        (json!({ "Dense": "Squared" }), -1.25),
    ];
    for (reward, paid) in expected {
        let (seen, step) = step(&mut at([1.4, 1.1], [0.0, 0.0], &reward), &[10.0, -10.0]);
        assert_near(&[&seen[..], &[step.reward]].concat(), &[1.5, 1.0, 0.1, -0.1, paid]);
    }
    let begins = Vec::from_iter((0..2000).map(|i| first(&mut Momentum::to([2.0, 2.0]), i)));
    assert_uniform(&Vec::from_iter(begins.iter().flat_map(|seen| seen[..2].to_vec())), 0.2);
    assert_uniform(&Vec::from_iter(begins.iter().flat_map(|seen| seen[2..].to_vec())), 0.1);
    assert_corners((0..4000).map(|i| Momentum::random(&mut stream(3, i)).goal));
}

#[test]
fn walls_are_crossed_outwards_through_their_gaps_alone() {
    let at = |position: [f64; 2]| -> Walls {
        let (goal, gaps) = ([2.0, 2.0], [[1.0, 0.0], [0.0, 2.0]]);
        in_state(&json!({ "goal": goal, "gaps": gaps, "reward": { "Dense": "Plain" }, "position": position }))
    };
    let expected = [
        // Through the gap of the inner wall, and back in.
        ([0.95, 0.0], [5.0, 0.0], [1.05, 0.0]),
        ([1.05, 0.0], [-5.0, 0.0], [0.95, 0.0]),
        // Where it is shut, to its inner side; but inwards it is open everywhere.
        ([0.0, 0.95], [0.0, 5.0], [0.0, 1.05 / 1.050001]),
        ([0.0, 1.05], [0.0, -5.0], [0.0, 0.95]),
        // The same at the outer wall, whose gap is elsewhere.
        ([0.0, 1.95], [0.0, 5.0], [0.0, 2.05]),
        ([1.95, 0.0], [5.0, 0.0], [2.05 / 1.025001, 0.0]),
        ([2.05, 0.0], [-5.0, 0.0], [1.95, 0.0]),
        // Between and beyond there is nothing.
        ([1.2, 0.9], [10.0, -10.0], [1.4, 0.7]),
        ([2.2, 0.9], [-1.0, -1.0], [2.18, 0.88]),
    ];
    for (from, action, to) in expected {
        let (seen, step) = step(&mut at(from), &action);
        assert_near(&seen, &to);
        // Paid where it would have been.
        let [x, y] = [0, 1].map(|i| from[i] + 0.02 * action[i]);
        assert_near(&[step.reward], &[-(x - 2.0).hypot(y - 2.0)]);
        assert!(!step.terminated && !step.truncated);
    }
    // Who was put back is inside, and is put back again.
    let mut point = at([0.0, 0.95]);
    (0..3).for_each(|_| assert_near(&step(&mut point, &[0.0, 5.0]).0[..1], &[0.0]));
    assert!(step(&mut point, &[0.0, 0.0]).0[1] < 1.0);
    // A gap is 1 wide to both sides: just outside the wall that is 59.7° from its middle.
    for (degrees, open) in [(59.0_f64, true), (61.0, false), (-59.0, true), (-61.0, false)] {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (seen, _) = step(&mut at([0.99 * cos, 0.99 * sin]), &[cos, sin]);
        let radius = seen[0].hypot(seen[1]);
        assert!(if open { (radius - 1.01).abs() < 1e-14 } else { radius < 1.0 }, "{degrees}°: {radius}");
    }
}

#[test]
fn walls_pay_for_progress_near_the_goal_and_have_gaps_anywhere() {
    let sparsely = |position: [f64; 2]| -> Walls {
        let (goal, gaps) = ([2.0, 2.0], [[1.0, 0.0], [0.0, 2.0]]);
        in_state(&json!({ "goal": goal, "gaps": gaps, "reward": "Sparse", "position": position }))
    };
    assert_near(&[step(&mut sparsely([1.0, 1.0]), &[5.0, 5.0]).1.reward], &[0.1 * SQRT_2]);
    assert_near(&[step(&mut sparsely([0.2, 0.2]), &[5.0, 5.0]).1.reward], &[0.0]);
    let squared = sparsely([1.0, 1.0]).paying(Reward::Dense(Distance::Squared));
    assert_near(&[step(&mut squared.clone(), &[5.0, 5.0]).1.reward], &[-1.62]);
    assert_uniform(&Vec::from_iter((0..2000).flat_map(|i| first(&mut squared.clone(), i))), 0.2);
    let tasks = Vec::from_iter((0..4000).map(|i| Walls::random(&mut stream(4, i))));
    assert_corners(tasks.iter().map(|task| task.goal));
    for (which, radius) in [(0, 1.0), (1, 2.0)] {
        let angles = Vec::from_iter(tasks.iter().map(|task| {
            let [x, y] = task.gaps[which];
            assert!((x.hypot(y) - radius).abs() < 1e-15);
            y.atan2(x)
        }));
        assert_uniform(&angles, std::f64::consts::PI);
    }
    // The goal says nothing of the gaps, nor one gap of the other.
    let product = |task: &Walls| task.gaps[0][0] * task.gaps[1][0];
    assert_mean(&Vec::from_iter(tasks.iter().map(product)), 0.0);
    assert_mean(&Vec::from_iter(tasks.iter().map(|task| task.gaps[0][0] * task.goal[0])), 0.0);
}

#[test]
fn on_the_line_one_goes_where_the_action_says() {
    let mut line = Line::to(1.0);
    let expected = [(1.0, 1.0, 1.0), (0.0, 0.0, (-0.1_f64).exp()), (-3.0, -2.0, (-0.9_f64).exp())];
    for (action, there, paid) in [expected, [(2.5, 2.0, (-0.1_f64).exp()); 3]].concat() {
        let (seen, step) = step(&mut line, &[action]);
        assert_near(&[seen[0], step.reward], &[there, paid]);
        assert!(!step.terminated && !step.truncated);
    }
    assert_near(&[step(&mut Line::to(-1.0), &[1.0]).1.reward], &[(-0.4_f64).exp()]);
    assert_uniform(&Vec::from_iter((0..2000).flat_map(|i| first(&mut Line::to(1.0), i))), 2.0);
    let goals = Vec::from_iter((0..2000).map(|i| Line::random(&mut stream(5, i)).goal));
    assert!(goals.iter().all(|goal| goal.abs() == 1.0));
    assert_mean(&goals, 0.0);
    assert_eq!(refused(|| step(&mut line, &[0.0; 2])), "Line: an action has one component, not 2");
}
