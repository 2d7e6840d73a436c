//! Network policies: their layers against loops, derivatives against differences, acting against going along, initialisations
//! against what their papers say.

use ad::{DType, Handle, Modes, Tape, Value, Var, check_gradients};
use indexmap::IndexMap;
use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Axis, array, s};
use rand::RngExt;
use rl::policy::Activation::{Identity, Relu, Tanh};
use rl::policy::{
    Activation, Dist, Init, Network, NetworkPolicy, Numbers, OfFeatures, Params, Policy, record, record_as,
};
use rl::rollout::Space;
use rl::stream::stream;

/// Parameters that are nowhere 0, in place of those to begin with.
fn random(policy: &dyn Policy, seed: u64) -> Numbers {
    let rng = &mut stream(seed, 0);
    let mut numbers = policy.init(rng);
    numbers.values_mut().for_each(|array| array.mapv_inplace(|_| rng.random_range(-0.8..0.8)));
    numbers
}

fn numbers(shape: &[usize], seed: u64) -> ArrayD<f64> {
    let rng = &mut stream(seed, 1);
    ArrayD::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

#[track_caller]
fn assert_close(found: &ArrayD<f64>, expected: &ArrayD<f64>) {
    assert_eq!(found.shape(), expected.shape());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found}, not {expected}");
    }
}

fn table(array: &ArrayD<f64>) -> Array2<f64> {
    array.clone().into_dimensionality().unwrap()
}

#[test]
fn dense_layers_are_sums_of_products() {
    let policy = Network::new(&Space::vector(3)).dense(4, Tanh).dense(5, Relu).normal(2).deviation(-0.5, 1e-6);
    let theta = random(&policy, 1);
    assert_eq!(theta.keys().collect::<Vec<_>>(), ["w1", "b1", "w2", "b2", "w3", "b3", "log_std"]);
    let x = numbers(&[6, 3], 2);
    let tape = Tape::new();
    let params = record(&theta, &tape);
    let Dist::Normal(normal) = policy.along(&params, tape.input("x", &x).into()) else { panic!("a normal one") };
    let hidden = (table(&x).dot(&table(&theta["w1"])) + &theta["b1"]).mapv(f64::tanh);
    let hidden = (table(&hidden).dot(&table(&theta["w2"])) + &theta["b2"]).mapv(|x| x.max(0.0));
    let mean = table(&hidden).dot(&table(&theta["w3"])) + &theta["b3"];
    assert_close(&normal.mean().value(), &mean);
    let log_std = theta["log_std"].broadcast(vec![6, 2]).unwrap().to_owned();
    assert_close(&normal.log_std().value(), &log_std);
    // Any axes may be in front, and nothing is one of them.
    for front in [vec![], vec![2, 3], vec![1, 6, 1]] {
        let count = front.iter().product::<usize>().min(6);
        let shape = [&front[..], &[3]].concat();
        let some = x.slice(s![..count, ..]).to_owned().into_shape_with_order(shape).unwrap();
        let Dist::Normal(one) = policy.along(&params, tape.input("x", some).into()) else { panic!("a normal one") };
        let expected =
            mean.slice(s![..count, ..]).to_owned().into_shape_with_order([&front[..], &[2]].concat()).unwrap();
        assert_close(&one.mean().value(), &expected);
    }
}

#[test]
fn activations_are_what_they_are_called() {
    let x = numbers(&[5, 2], 22);
    let tape = Tape::new();
    let softplus = |x: f64| x.exp().ln_1p();
    type Function = fn(f64) -> f64;
    let cases: [(Activation, Function); 6] = [
        (Identity, |x| x),
        (Tanh, f64::tanh),
        (Relu, |x| x.max(0.0)),
        (Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Activation::Softplus, softplus),
        (Activation::Of(|x| x * x.sigmoid()), |x| x / (1.0 + (-x).exp())),
    ];
    for (activation, expected) in cases {
        let network = Network::new(&Space::vector(2)).dense(3, activation);
        let theta = network.draw(&mut stream(23, 0));
        let found = network.along(&record(&theta, &tape), tape.input("x", &x).into()).value();
        assert_close(&found, &table(&x).dot(&table(&theta["w1"])).mapv(expected).into_dyn());
    }
}

#[test]
fn a_numbered_observation_is_one_hot_and_bytes_are_parts_of_255() {
    let network = Network::new(&Space::Discrete(4)).dense(3, Tanh);
    let theta = network.draw(&mut stream(3, 0));
    let tape = Tape::new();
    let params = record(&theta, &tape);
    let states = array![[0, 3, 1], [2, 2, 0]];
    let found = network.along(&params, tape.index("states", &states).into());
    let one_hot = Array3::from_shape_fn((2, 3, 4), |(n, t, s)| f64::from(states[[n, t]] == s as i32));
    let vectors = Network::new(&Space::vector(4)).dense(3, Tanh);
    let expected = vectors.along(&params, tape.input("one_hot", one_hot).into());
    assert_close(&found.value(), &expected.value());

    let space = Space::Array { shape: vec![3], dtype: DType::U8 };
    let network = Network::new(&space).dense(2, Identity);
    let params = record(&network.draw(&mut stream(4, 0)), &tape);
    let bytes = array![[0_u8, 51, 255], [102, 204, 1]];
    let found = network.along(&params, tape.input("bytes", &bytes).into());
    let expected = bytes.mapv(|byte| f64::from(byte) / 255.0).dot(&table(&params["w1"].value()));
    assert_close(&found.value(), &expected.into_dyn());
}

#[test]
fn convolutions_are_sums_over_windows() {
    // Filters of 3 by 3, 2 apart, and what they miss at the edge of 8 columns.
    let network = Network::new(&Space::Array { shape: vec![7, 8, 2], dtype: DType::F64 }).convolution(3, 3, 2, Relu);
    assert_eq!(network.output(), [3, 3, 3]);
    let policy = network.clone().dense(4, Tanh).categorical(5);
    let theta = random(&policy, 5);
    let x = numbers(&[2, 7, 8, 2], 6);
    let tape = Tape::new();
    let params = record(&theta, &tape);
    let found = network.along(&params, tape.input("x", &x).into()).value();
    let (w, b) = (&theta["w1"], &theta["b1"]);
    let expected = Array4::from_shape_fn((2, 3, 3, 3), |(n, i, j, o)| {
        let mut sum = b[[o]];
        for (di, dj, c) in (0..3).flat_map(|di| (0..3).flat_map(move |dj| (0..2).map(move |c| (di, dj, c)))) {
            sum += x[[n, 2 * i + di, 2 * j + dj, c]] * w[[di, dj, c, o]];
        }
        sum.max(0.0)
    });
    assert_close(&found, &expected.into_dyn());
    let Dist::Categorical(dist) = policy.along(&params, tape.input("x", &x).into()) else {
        panic!("a categorical one")
    };
    assert_eq!(dist.log_probabilities().shape()[..], [2, 5]);
}

#[test]
fn a_gated_recurrent_unit_is_its_recursion_and_acting_is_going_along() {
    let policy = Network::new(&Space::vector(2)).dense(3, Tanh).recurrent(4).dense(3, Tanh).categorical(2);
    assert_eq!(policy.memory(), [[4]]);
    let theta = random(&policy, 7);
    let x = numbers(&[3, 5, 2], 8);
    let tape = Tape::new();
    let params = record(&theta, &tape);
    let Dist::Categorical(along) = policy.along(&params, tape.input("x", &x).into()) else { panic!("categorical") };
    let along = along.log_probabilities().value();

    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut memory, mut hidden) = (vec![tape.constant(Array2::<f64>::zeros((3, 4)))], Array2::<f64>::zeros((3, 4)));
    for t in 0..5 {
        let now = x.index_axis(Axis(1), t).to_owned();
        let (dist, after) = policy.once(&params, &memory, tape.input("now", &now).into());
        let Dist::Categorical(dist) = dist else { panic!("categorical") };
        assert_close(&dist.log_probabilities().value(), &along.index_axis(Axis(1), t).to_owned());

        let seen = (table(&now).dot(&table(&theta["w1"])) + &theta["b1"]).mapv(f64::tanh);
        let into = table(&seen).dot(&table(&theta["w2"])) + &theta["b2"];
        let from = hidden.dot(&table(&theta["u2"]));
        let c = &theta["c2"];
        hidden = Array2::from_shape_fn((3, 4), |(n, i)| {
            let gate = |g: usize| sigmoid(into[[n, 4 * g + i]] + from[[n, 4 * g + i]]);
            let (r, z) = (gate(0), gate(1));
            let new = (into[[n, 8 + i]] + r * (from[[n, 8 + i]] + c[[i]])).tanh();
            (1.0 - z) * new + z * hidden[[n, i]]
        });
        assert_close(&after[0].value(), &hidden.clone().into_dyn());
        memory = after;
    }
}

#[test]
fn a_segment_begins_with_what_was_remembered_at_the_end_of_the_one_before() {
    let policy = Network::new(&Space::vector(2)).recurrent(3).dense(3, Tanh).recurrent(2).normal(1);
    let theta = random(&policy, 20);
    let x = numbers(&[3, 7, 2], 21);
    let tape = Tape::new();
    let params = record(&theta, &tape);
    let mean = |dist: Dist| if let Dist::Normal(normal) = dist { normal.mean() } else { panic!("a normal one") };
    let whole = mean(policy.along(&params, tape.input("x", &x).into()));
    let zeros: Vec<Var> =
        policy.memory().iter().map(|size| tape.constant(ArrayD::<f64>::zeros(vec![3, size[0]]))).collect();
    let part = |range: std::ops::Range<usize>| tape.input("x", x.slice(s![.., range, ..]).to_owned()).into();
    let (first, memory) = policy.along_from(&params, &zeros, part(0..4));
    let (second, _) = policy.along_from(&params, &memory, part(4..7));
    let both = Var::concat(&[mean(first), mean(second)], 1);
    assert_close(&both.value(), &whole.value());
    // And derivatives flow from one to the other.
    let (both, whole) = (both.sum().grad(params["w1"]).value(), whole.sum().grad(params["w1"]).value());
    assert_close(&both, &whole);
}

/// Networks of every kind of layer, and observations for them.
fn networks() -> Vec<(NetworkPolicy, Value<'static>)> {
    let frames = numbers(&[2, 5, 5, 2], 9);
    let bytes = numbers(&[2, 5, 5, 2], 9).mapv(|x| ((x + 1.0) * 127.0) as u8);
    vec![
        (Network::new(&Space::vector(2)).dense(3, Tanh).normal(2), numbers(&[4, 2], 1).into()),
        (Network::new(&Space::vector(2)).dense(3, Tanh).categorical(3), numbers(&[4, 2], 2).into()),
        (Network::new(&Space::Discrete(3)).dense(3, Tanh).categorical(2), array![0, 2, 1, 1].into()),
        (Network::new(&Space::vector(2)).dense(2, Tanh).recurrent(2).normal(1), numbers(&[2, 3, 2], 3).into()),
        (Network::new(&Space::Discrete(3)).recurrent(2).categorical(2), array![[0, 2, 1], [1, 1, 0]].into()),
        (
            Network::new(&Space::Array { shape: vec![5, 5, 2], dtype: DType::F64 })
                .convolution(2, 3, 2, Tanh)
                .categorical(2),
            frames.into(),
        ),
        (Network::new(&Space::frames(5, 5, 2)).convolution(2, 2, 1, Tanh).dense(2, Tanh).normal(1), bytes.into()),
    ]
}

#[test]
fn derivatives_by_all_parameters_are_those_of_differences_to_third_order_in_both_modes() {
    for (policy, observations) in networks() {
        let theta = random(&policy, 11);
        let arrays: Vec<ArrayD<f64>> = theta.values().cloned().collect();
        let names: Vec<String> = theta.keys().cloned().collect();
        let f = |vars: &[Var]| {
            let params: Params = names.iter().cloned().zip(vars.iter().copied()).collect();
            let observations: Handle = match observations.array::<i32>() {
                Some(numbers) => ad::Index::constant(vars[0], numbers.to_owned()).into(),
                None => vars[0].constant(observations.view()).into(),
            };
            let dist = policy.along(&params, observations);
            let actions: Handle = match &dist {
                Dist::Categorical(categorical) => {
                    let shape = categorical.log_probabilities().shape();
                    let (&count, batch) = shape.split_last().unwrap();
                    let mut next = 0..;
                    let taken = ArrayD::from_shape_simple_fn(batch, || next.next().unwrap() % count as i32);
                    ad::Index::constant(vars[0], taken).into()
                }
                Dist::Normal(normal) => vars[0].constant(numbers(&normal.mean().shape(), 12)).into(),
                _ => unreachable!("these networks have no other heads; those of others are in distributions.rs"),
            };
            dist.log_prob(actions).sum() + dist.entropy().mean()
        };
        check_gradients(f, &arrays, 3, Modes::Both).unwrap_or_else(|problem| panic!("{policy:?}: {problem}"));
    }
}

#[test]
fn acting_once_is_going_along_one_step() {
    for (policy, observations) in networks().into_iter().filter(|(policy, _)| policy.memory().is_empty()) {
        let tape = Tape::new();
        let params = record(&random(&policy, 13), &tape);
        let observations = tape.input_or_index("x", observations);
        let (once, memory) = policy.once(&params, &[], observations);
        assert!(memory.is_empty());
        let kl = once.kl(&policy.along(&params, observations)).value();
        assert!(kl.iter().all(|x| x.abs() < 1e-15), "{kl}");
    }
}

#[test]
fn single_precision_follows_the_parameters() {
    for (policy, observations) in networks() {
        let theta = random(&policy, 14);
        let [double, single] = [DType::F64, DType::F32].map(|dtype| {
            let tape = Tape::new();
            let params = record_as(&theta, &tape, dtype);
            let dist = policy.along(&params, tape.input_or_index("x", observations.clone().rounded(dtype)));
            let entropy = dist.entropy();
            assert_eq!(entropy.dtype(), dtype);
            let gradient = (entropy.sum() + dist.kl(&dist.stop_gradient()).sum()).grad_or_zeros(&params);
            gradient.values().map(|x| x.cast(DType::F64).value()).collect::<Vec<_>>()
        });
        for (double, single) in double.iter().zip(&single) {
            let largest = double.iter().fold(1e-3, |largest: f64, x| largest.max(x.abs()));
            assert!((double - single).iter().all(|x| x.abs() < 1e-5 * largest), "{policy:?}: {single}, not {double}");
        }
    }
}

#[test]
fn initialisations_have_the_spread_and_the_shape_that_they_are_named_for() {
    let draw = |init: Init, sizes: [usize; 2]| {
        let network = Network::new(&Space::vector(sizes[0])).init(init).dense(sizes[1], Tanh);
        table(&network.draw(&mut stream(15, 0))["w1"])
    };
    for sizes in [[30, 50], [50, 30]] {
        // 1500 uniform numbers in ±bound: the largest is beyond 0.99 bound but for one draw in 3 million.
        for (init, bound) in [(Init::Xavier, (6.0_f64 / 80.0).sqrt()), (Init::Uniform, 1.0 / (sizes[0] as f64).sqrt())]
        {
            let largest = draw(init, sizes).fold(0.0, |largest: f64, x| largest.max(x.abs()));
            assert!(largest <= bound && largest > 0.99 * bound, "{init:?}: {largest}, of {bound}");
        }
        let w = draw(Init::Orthogonal(2.0), sizes);
        let product = if sizes[0] > sizes[1] { w.t().dot(&w) } else { w.dot(&w.t()) };
        let identity = Array2::<f64>::eye(30) * 4.0;
        assert!((&product - &identity).iter().all(|x| x.abs() < 1e-12), "columns, or rows, are orthogonal");
        assert!(draw(Init::Zero, sizes).iter().all(|&x| x == 0.0));
    }
    // An outlying matrix is no less likely than another: of 400 first columns of length 1 in three dimensions, the mean of a
    // component is 0 and that of its square 1/3, within five standard errors.
    let mut rng = stream(16, 0);
    let network = Network::new(&Space::vector(3)).init(Init::Orthogonal(1.0)).dense(2, Tanh);
    let first: Array1<f64> = (0..400).map(|_| network.draw(&mut rng)["w1"][[0, 0]]).collect();
    assert!(first.mean().unwrap().abs() < 5.0 * (1.0 / 3.0_f64 / 400.0).sqrt());
    assert!((first.mapv(|x| x * x).mean().unwrap() - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0_f64 / 400.0).sqrt());
    // Biases, and what a convolution's filters count.
    let network = Network::new(&Space::frames(9, 9, 2)).convolution(4, 3, 1, Relu);
    let numbers = network.draw(&mut rng);
    assert!(numbers["b1"].iter().all(|&b| b == 0.0));
    let (bound, w) = ((6.0_f64 / (9.0 * 2.0 + 9.0 * 4.0)).sqrt(), &numbers["w1"]);
    assert!(w.iter().all(|x| x.abs() <= bound) && w.iter().any(|x| x.abs() > 0.9 * bound));
}

#[test]
fn deviations_have_a_floor_and_a_start() {
    let policy = Network::new(&Space::vector(1)).normal(2).deviation(0.25, 0.5);
    let mut theta = policy.init(&mut stream(17, 0));
    assert_eq!(theta["log_std"], array![0.25, 0.25].into_dyn());
    theta["log_std"] = array![0.3, -4.0].into_dyn();
    let tape = Tape::new();
    let params = record(&theta, &tape);
    let Dist::Normal(normal) = policy.along(&params, tape.input("x", array![[1.0]]).into()) else { panic!("normal") };
    assert_close(&normal.log_std().value(), &array![[0.3, 0.5_f64.ln()]].into_dyn());
    let gradient = normal.entropy().sum().grad(params["log_std"]).value();
    assert_eq!(gradient, array![1.0, 0.0].into_dyn());
}

#[test]
fn two_networks_share_a_tree_under_names_of_their_own() {
    let policy = Network::new(&Space::vector(2)).dense(3, Tanh).normal(1);
    let critic = Network::new(&Space::vector(2)).named("critic_").dense(1, Identity);
    let mut theta: IndexMap<_, _> = policy.init(&mut stream(18, 0));
    theta.extend(critic.draw(&mut stream(18, 1)));
    assert_eq!(theta.keys().collect::<Vec<_>>(), ["w1", "b1", "w2", "b2", "log_std", "critic_w1", "critic_b1"]);
    let tape = Tape::new();
    let (params, x) = (record(&theta, &tape), tape.input("x", numbers(&[4, 2], 3)));
    let value = critic.along(&params, x.into());
    let Dist::Normal(normal) = policy.along(&params, x.into()) else { panic!("a normal one") };
    let gradient = (value.sum() + normal.mean().sum() + normal.entropy().sum()).grad(&params);
    assert_eq!(gradient.len(), 7);
}

/// The message of a panic.
fn refused<T>(f: impl FnOnce() -> T) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    let payload = caught.err().expect("it is refused");
    payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|&x| x.into())).unwrap()
}

#[test]
fn what_does_not_fit_a_network_is_refused_with_its_shapes() {
    let tape = Tape::new();
    let policy = Network::new(&Space::vector(3)).dense(4, Tanh).categorical(2);
    let params = record(&policy.init(&mut stream(19, 0)), &tape);
    let wrong = tape.input("x", numbers(&[5, 2], 1));
    let message = refused(|| policy.along(&params, wrong.into()).entropy());
    assert!(message.contains("observations of shape [3] each are needed, got [5, 2]"), "{message}");
    let mut fewer = params.clone();
    fewer.shift_remove("b2");
    let message = refused(|| policy.along(&fewer, tape.input("x", numbers(&[5, 3], 1)).into()).entropy());
    assert!(message.contains("there is no parameter `b2` among w1, b1, w2"), "{message}");
    let wider = record(&Network::new(&Space::vector(3)).dense(4, Tanh).categorical(5).init(&mut stream(19, 0)), &tape);
    let message = refused(|| policy.along(&wider, tape.input("x", numbers(&[5, 3], 1)).into()).entropy());
    assert!(message.contains("the parameter `w2` has shape [4, 5], but must have [4, 2]"), "{message}");
    let normal = Network::new(&Space::vector(3)).normal(2);
    let mut deviations = record(&normal.init(&mut stream(19, 0)), &tape);
    deviations["log_std"] = tape.input("log_std", 0.0);
    let message = refused(|| normal.along(&deviations, tape.input("x", numbers(&[5, 3], 1)).into()).entropy());
    assert!(message.contains("the parameter `log_std` has shape [], but must have [2]"), "{message}");
    let recurrent = Network::new(&Space::vector(3)).recurrent(2).categorical(2);
    let params = record(&recurrent.init(&mut stream(19, 1)), &tape);
    let message = refused(|| recurrent.along(&params, tape.input("x", numbers(&[5, 3], 1)).into()).entropy());
    assert!(message.contains("a recurrent layer needs observations [N, H, …], got [5, 3]"), "{message}");
    let message = refused(|| recurrent.once(&params, &[], tape.input("x", numbers(&[5, 3], 1)).into()).0.entropy());
    assert!(message.contains("0 arrays of memory, but the network has 1"), "{message}");
    let message = refused(|| Network::new(&Space::frames(4, 9, 1)).convolution(2, 5, 1, Relu));
    assert!(message.contains("filters of 5 by 5, 1 apart, on a frame of 4 by 9"), "{message}");
    let message = refused(|| Network::new(&Space::vector(4)).convolution(2, 5, 1, Relu));
    assert!(message.contains("needs frames of the shape [rows, columns, channels], got [4]"), "{message}");
    let message = refused(|| {
        policy
            .along(&record(&policy.init(&mut stream(19, 0)), &tape), tape.input("x", numbers(&[5, 3], 1)).into())
            .log_prob(wrong.into())
    });
    assert!(message.contains("a categorical distribution is over numbered actions"), "{message}");
    let features = OfFeatures { policy, features: numbers(&[2, 3], 5).into() };
    assert_eq!(features.spaces(), Some([Space::Discrete(2), Space::Discrete(2)]));
}
