//! The papers' locomotion benchmarks by name. What is simulated needs the feature `mujoco`; what they are is known without.

/// A distribution over tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Benchmark {
    /// What it is called.
    pub name: &'static str,
    /// What it is, and where it comes from.
    pub paper: &'static str,
    /// What its papers set otherwise than for other environments, as TOML.
    pub defaults: &'static str,
}

const fn benchmark(name: &'static str, paper: &'static str, defaults: &'static str) -> Benchmark {
    Benchmark { name, paper, defaults }
}

/// All of them.
pub const BENCHMARKS: &[Benchmark] = &[
    benchmark("half-cheetah-direction", "a half-cheetah that runs forwards or backwards (Finn et al. 2017)", ""),
    benchmark("half-cheetah-velocity", "a half-cheetah that runs at a velocity from 0 to 3 (Finn et al. 2017)", ""),
    benchmark(
        "ant-direction",
        "an ant that walks along x, forwards or backwards (Finn et al. 2017)",
        "horizon = 200\n",
    ),
    benchmark(
        "ant-direction-2d",
        "an ant that walks in a direction of the plane (Rothfuss et al. 2019)",
        "horizon = 200\n",
    ),
    benchmark(
        "ant-goal",
        "an ant that walks to a goal, at most 3 away (Rothfuss et al. 2019)",
        "horizon = 200\ninner-steps = 2\n",
    ),
    benchmark(
        "walker2d-direction",
        "a walker that walks forwards or backwards (Rothfuss et al. 2019)",
        "horizon = 200\n",
    ),
    benchmark(
        "walker2d-velocity",
        "a walker that walks at a velocity from 0 to 10 (Rothfuss et al. 2019)",
        "horizon = 200\n",
    ),
    benchmark(
        "walker2d-parameters",
        "a walker with masses, inertias, friction and damping of its own (Rothfuss et al. 2019)",
        "horizon = 200\ninner-rate = 0.05\n",
    ),
    benchmark(
        "hopper-parameters",
        "a hopper with masses, inertias, friction and damping of its own (Rothfuss et al. 2019)",
        "horizon = 200\ninner-rate = 0.05\n",
    ),
    benchmark(
        "swimmer-velocity",
        "a swimmer that is paid for another velocity than one from 0.1 to 0.2: the sign of the code (Rothfuss et al. 2019)",
        "horizon = 200\n",
    ),
    benchmark(
        "humanoid-direction",
        "a humanoid that walks along x, forwards or backwards (Rothfuss et al. 2019)",
        "horizon = 200\nhidden = [128, 128]\n",
    ),
    benchmark(
        "humanoid-direction-2d",
        "a humanoid that walks in a direction of the plane (Rothfuss et al. 2019)",
        "horizon = 200\nhidden = [128, 128]\n",
    ),
];
