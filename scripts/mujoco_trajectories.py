"""Trajectories of Gymnasium's MuJoCo environments, and of the papers' benchmarks, for the tests of `sim`.

    pip install gymnasium==1.4.0 mujoco==3.17.0 imageio packaging
    python scripts/mujoco_trajectories.py            # writes crates/sim/tests/data/mujoco.npz

- `<Body>.*`: 50 steps of <Body>-v5: where it began, actions, qpos, qvel, and the observation after each tenth step.
- `<benchmark>.*`: 12 steps as the papers' code makes them, each reward by that code's formula from what the simulation says.
"""
import os
import pathlib

import gymnasium
import mujoco
import numpy as np

BODIES = ["HalfCheetah", "Ant", "Walker2d", "Hopper", "Swimmer", "Humanoid"]
ASSETS = pathlib.Path(gymnasium.__file__).parent / "envs/mujoco/assets"
found = {}


def of_gymnasium(body, number):
    environment = gymnasium.make(f"{body}-v5").unwrapped
    environment.reset(seed=number)
    rng = np.random.default_rng(number)
    data = environment.data
    found[f"{body}.start"] = np.concatenate([data.qpos, data.qvel])
    space = environment.action_space
    actions = rng.uniform(space.low, space.high, (50, len(space.low))).astype(np.float32).astype(np.float64)
    found[f"{body}.actions"] = actions
    states, seen = [], []
    for t, action in enumerate(actions):
        observation = environment.step(action)[0]
        states.append(np.concatenate([data.qpos, data.qvel]))
        if t % 10 == 9:
            seen.append(observation)
    found[f"{body}.states"], found[f"{body}.observations"] = np.array(states), np.array(seen)


def clipped(x):
    return np.clip(x, -1, 1)


class Papers:
    """A simulation as the papers' code drives it."""

    def __init__(self, file, skip, start_scale, velocity):
        self.model = mujoco.MjModel.from_xml_path(str(ASSETS / file))
        self.data = mujoco.MjData(self.model)
        self.skip, self.start_scale, self.velocity = skip, start_scale, velocity
        self.dt = skip * self.model.opt.timestep

    def begin(self, rng):
        mujoco.mj_resetData(self.model, self.data)
        c = self.start_scale
        self.data.qpos[:] = self.model.qpos0 + rng.uniform(-c, c, self.model.nq)
        normal = self.velocity == "normal"
        self.data.qvel[:] = rng.normal(0, c, self.model.nv) if normal else rng.uniform(-c, c, self.model.nv)
        mujoco.mj_forward(self.model, self.data)
        return np.concatenate([self.data.qpos, self.data.qvel])

    def simulate(self, control):
        self.data.ctrl[:] = control
        mujoco.mj_step(self.model, self.data, nstep=self.skip)
        mujoco.mj_rnePostConstraint(self.model, self.data)

    def mass_centre(self):
        mass = self.model.body_mass[:, None]
        return (np.sum(mass * self.data.xipos, 0) / np.sum(mass))[:2].copy()


def cheetah(s, aim, control):
    before = s.data.qpos[0]
    s.simulate(control)
    velocity = (s.data.qpos[0] - before) / s.dt
    run = aim[0] * velocity if aim[2] == 0 else -np.abs(velocity - aim[0])
    seen = np.concatenate([s.data.qpos[1:], s.data.qvel])
    return run - 0.5 * 0.1 * np.square(control).sum(), False, seen


def ant(s, aim, control):
    before = s.data.body("torso").xpos[:2].copy()
    s.simulate(control)
    after = s.data.body("torso").xpos[:2].copy()
    contact = 0.5 * 1e-3 * np.sum(np.square(clipped(s.data.cfrc_ext)))
    forces = clipped(s.data.cfrc_ext).flatten()
    if aim[2] == 2:
        reward = -np.sum(np.abs(after - aim[:2])) - 0.1 * np.square(control).sum() - contact
        return reward, False, np.concatenate([s.data.qpos, s.data.qvel, forces])
    forward = np.sum(aim[:2] * (after - before)) / s.dt
    done = not 0.0 <= s.data.qpos[2] <= 1.0
    seen = np.concatenate([s.data.qpos[2:], s.data.qvel, forces])
    return forward - 0.5 * np.square(control).sum() - contact + 1.0, done, seen


def walker(s, aim, control):
    before = s.data.qpos[0]
    s.simulate(control)
    after, height, angle = s.data.qpos[0:3]
    velocity = (after - before) / s.dt
    if aim[2] == 1:
        reward = -np.abs(velocity - aim[0]) + 15.0
    else:
        reward = aim[0] * velocity + 1.0
    done = not (0.8 < height < 2.0 and -1.0 < angle < 1.0)
    seen = np.concatenate([s.data.qpos[1:], np.clip(s.data.qvel, -10, 10)])
    return reward - 1e-3 * np.square(control).sum(), done, seen


def hopper(s, aim, control):
    before = s.data.qpos[0]
    s.simulate(control)
    after, height, angle = s.data.qpos[0:3]
    state = np.concatenate([s.data.qpos, s.data.qvel])
    done = not (np.isfinite(state).all() and (np.abs(state[2:]) < 100).all() and height > 0.7 and abs(angle) < 0.2)
    seen = np.concatenate([s.data.qpos[1:], np.clip(s.data.qvel, -10, 10)])
    return (after - before) / s.dt + 1.0 - 1e-3 * np.square(control).sum(), done, seen


def swimmer(s, aim, control):
    before = s.data.qpos[0]
    s.simulate(control)
    reward = np.abs((s.data.qpos[0] - before) / s.dt - aim[0]) - 1e-4 * np.square(control).sum()
    return reward, False, np.concatenate([s.data.qpos[2:], s.data.qvel])


def humanoid(s, aim, control):
    before = s.mass_centre()
    s.simulate(control)
    linear = 0.25 * np.sum(aim[:2] * (s.mass_centre() - before)) / s.model.opt.timestep
    impact = min(0.5e-6 * np.square(s.data.cfrc_ext).sum(), 10)
    done = s.data.qpos[2] < 1.0 or s.data.qpos[2] > 2.0
    d = s.data
    parts = [d.qpos[2:], d.qvel, d.cinert.flatten(), d.cvel.flatten(), d.qfrc_actuator, d.cfrc_ext.flatten()]
    return linear - 0.1 * np.square(d.ctrl).sum() - impact + 5.0, done, np.concatenate(parts)


# Benchmark: file, skip, start, velocities, step, aim (two numbers, and 0 for a direction, 1 a velocity, 2 a goal, 3 forward).
BENCHMARKS = {
    "half-cheetah-direction": ("half_cheetah.xml", 5, 0.1, "normal", cheetah, [-1, 0, 0]),
    "half-cheetah-velocity": ("half_cheetah.xml", 5, 0.1, "normal", cheetah, [1.7, 0, 1]),
    "ant-direction": ("ant.xml", 5, 0.1, "normal", ant, [-1, 0, 0]),
    "ant-direction-2d": ("ant.xml", 5, 0.1, "normal", ant, [0.6, -0.8, 0]),
    "ant-goal": ("ant.xml", 5, 0.1, "normal", ant, [1.5, -0.7, 2]),
    "walker2d-direction": ("walker2d_v5.xml", 8, 0.005, "uniform", walker, [-1, 0, 0]),
    "walker2d-velocity": ("walker2d_v5.xml", 8, 0.005, "uniform", walker, [4.2, 0, 1]),
    "walker2d-parameters": ("walker2d_v5.xml", 4, 0.005, "uniform", walker, [1, 0, 3]),
    "hopper-parameters": ("hopper.xml", 4, 0.005, "uniform", hopper, [1, 0, 3]),
    "swimmer-velocity": ("swimmer.xml", 4, 0.1, "uniform", swimmer, [0.13, 0, 1]),
    "humanoid-direction": ("humanoid.xml", 5, 0.01, "uniform", humanoid, [1, 0, 0]),
    "humanoid-direction-2d": ("humanoid.xml", 5, 0.01, "uniform", humanoid, [-0.28, 0.96, 0]),
}


def of_papers(name, number):
    file, skip, scale, velocity, step, aim = BENCHMARKS[name]
    rng = np.random.default_rng(100 + number)
    s = Papers(file, skip, scale, velocity)
    if aim[2] == 3:
        model = s.model
        for field, base in [("body_mass", 1.5), ("body_inertia", 1.5), ("geom_friction", 1.5), ("dof_damping", 1.3)]:
            array = getattr(model, field)
            factors = base ** rng.uniform(-3, 3, array.shape)
            array[:] = array * factors
            found[f"{name}.{field}"] = factors
        mujoco.mj_setConst(model, s.data)
    start = s.begin(rng)
    low, high = s.model.actuator_ctrlrange.T
    actions = rng.normal(0, 7, (12, s.model.nu))
    rewards, ends, seen = [], [], []
    for action in actions:
        control = np.clip(low + (action + 10.0) * (high - low) / 20.0, low, high)
        reward, done, observation = step(s, np.array(aim, dtype=float), control)
        rewards.append(reward)
        ends.append(float(done))
        seen = observation
    found[f"{name}.aim"], found[f"{name}.start"] = np.array(aim, dtype=float), start
    found[f"{name}.actions"], found[f"{name}.rewards"] = actions, np.array(rewards)
    found[f"{name}.ends"], found[f"{name}.observation"] = np.array(ends), seen


for number, body in enumerate(BODIES):
    of_gymnasium(body, number)
for number, name in enumerate(BENCHMARKS):
    of_papers(name, number)
path = pathlib.Path(__file__).parent.parent / "crates/sim/tests/data/mujoco.npz"
path.parent.mkdir(parents=True, exist_ok=True)
np.savez_compressed(path, **found)
print(f"{len(found)} arrays, {os.path.getsize(path)} bytes: {path}")
print("ended:", [(name, int(found[f"{name}.ends"].sum())) for name in BENCHMARKS])
