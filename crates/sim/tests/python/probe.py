"""Environments that tests look into, and some that misbehave."""

import os
import subprocess
import sys
import time

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv


class Doubles(CartPoleEnv):
    """CartPole whose whole state is seen."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float64)

    def reset(self, *, seed=None, options=None):
        _, info = super().reset(seed=seed, options=options)
        return np.array(self.state, np.float64), info

    def step(self, action):
        _, *rest = super().step(action)
        return np.array(self.state, np.float64), *rest


class Bytes(gymnasium.Env):
    """Sees the number of steps and the last action as it arrived; actions are 5, 6, 7."""

    observation_space = spaces.Box(0, 255, (2, 3), np.uint8)
    action_space = spaces.Discrete(3, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.drawn = 0, int(self.np_random.integers(256))
        return self.seen(0), {}

    def seen(self, action):
        return np.array([[self.steps, action, 255], [self.drawn, 0, 1]], np.uint8)

    def step(self, action):
        assert isinstance(action, np.int64) and self.action_space.contains(action)
        self.steps += 1
        return self.seen(action), self.steps / 4, False, False, {}


class Numbers(gymnasium.Env):
    """Observations are -2, -1, 0, 1, in this order; terminates after the last one."""

    observation_space = spaces.Discrete(4, start=-2)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = -2
        return self.at, {}

    def step(self, action):
        self.at += 1
        return np.int64(self.at), 1, self.at == 1, False, {}


class Echo(gymnasium.Env):
    """Sees its action, of bounds [-1, 1] and [0, infinity), as a matrix of one row."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(np.array([[-1, 0]], np.float32), np.array([[1, np.inf]], np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return action[0], 0.0, False, False, {}


class Badly(gymnasium.Env):
    """Does something in its third step. (The seed decides over which step that is, in none of the rows.)"""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, what):
        self.what = what
        if what == "made":
            raise RuntimeError("no display")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        print("printed at a reset")
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        seen, reward = np.zeros(1, np.float32), 1.0
        if self.steps == 3:
            match self.what:
                case "raises":
                    raise ValueError("the joint broke")
                case "exits":
                    for number in range(30):
                        print(f"line {number}", file=sys.stderr)
                    sys.stderr.flush()
                    os._exit(3)
                case "leaves":
                    sys.exit("enough")
                case "orphans":
                    # A process that holds standard error open when this one is gone.
                    subprocess.Popen(["sleep", "30"])
                    os._exit(4)
                case "sleeps":
                    print("falls asleep", file=sys.stderr, flush=True)
                    time.sleep(3600)
                case "shape":
                    seen = np.zeros(2, np.float32)
                case "type":
                    seen = np.zeros(1, np.complex128)
                case "nan":
                    reward = float("nan")
                case "unseen":
                    seen = np.full(1, np.nan, np.float32)
        if self.what == "prints":
            print("x" * 10_000)
            os.write(1, b"\x00\x00\x00\x00 straight to the descriptor\n")
            os.read(0, 1)
        return seen, reward, False, False, {}


class Spaces(Badly):
    def __init__(self, observation_space, action_space=Badly.action_space):
        super().__init__("nothing")
        self.observation_space, self.action_space = observation_space, action_space


gymnasium.register("Doubles-v0", Doubles, max_episode_steps=500)
gymnasium.register("Short-v0", CartPoleEnv, max_episode_steps=7)
gymnasium.register("Bytes-v0", Bytes, max_episode_steps=6)
gymnasium.register("Numbers-v0", Numbers)
gymnasium.register("Echo-v0", Echo, max_episode_steps=4)
for what in "raises exits leaves orphans sleeps shape type nan unseen prints made".split():
    gymnasium.register(f"{what.title()}-v0", Badly, kwargs={"what": what}, max_episode_steps=5)
gymnasium.register("Int64-v0", Spaces, kwargs={"observation_space": spaces.Box(0, 9, (2,), np.int64)})
gymnasium.register("Dict-v0", Spaces, kwargs={"observation_space": spaces.Dict(x=spaces.Discrete(2))})
gymnasium.register(
    "Several-v0",
    Spaces,
    kwargs={"observation_space": Badly.observation_space, "action_space": spaces.MultiDiscrete([2, 3])},
)

# As a package that some environments come from: its version is told.
__version__ = os.environ.get("PROBE_VERSION", "0.7")
