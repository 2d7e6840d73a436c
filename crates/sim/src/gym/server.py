"""Environments of Gymnasium side by side, for the program at the other end of standard input, which is a socket.

The only argument is JSON: `id`, and `rows`, how many environments are made. Every answer is its length (four bytes) and JSON; a length
of 0 is "done". The first one says what there is. Then comes a command of JSON, likewise behind its length: where arrays lie in
memory that both processes see. From then on a command is a byte: `r` begins an episode, `s` makes a step, in each row that goes on.

Who kills the program at the other end ends this one: the socket closes.
"""

import importlib.metadata
import json
import mmap
import os
import platform
import select
import socket
import struct
import sys
import threading
import traceback

# Packages that an environment's numbers depend on, if it has imported them.
DECISIVE = ("ale_py", "mujoco", "Box2D")


class Refused(Exception):
    """What the other end is told in place of an answer."""

    def __init__(self, **what):
        super().__init__(what)
        self.what = what


def receive(channel, size):
    """So many bytes; the program ends if nobody is there to send them."""
    received = b""
    while len(received) < size:
        part = channel.recv(size - len(received))
        if not part:
            os._exit(0)
        received += part
    return received


def answer(channel, value=None):
    text = b"" if value is None else json.dumps(value).encode()
    channel.sendall(struct.pack("<I", len(text)) + text)


def end_with(channel):
    """Ends the program when the other end is gone, even while an environment makes a step that takes forever."""
    poll = select.poll()
    poll.register(channel, 0)
    poll.poll()
    os._exit(0)


def described(error):
    """An exception, and the line that it comes from."""
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def imported(gymnasium, id):
    """Imports what registers environments of the namespace."""
    if id.startswith("ALE/"):
        try:
            import ale_py
        except ModuleNotFoundError:
            raise Refused(module="ale_py", package="ale-py==0.12.1") from None
        gymnasium.register_envs(ale_py)


def version(name):
    """The version of a module that is imported, if it has one."""
    module = sys.modules.get(name)
    if module is None:
        return None
    if hasattr(module, "__version__"):
        return str(module.__version__)
    distributions = importlib.metadata.packages_distributions().get(name, [])
    return importlib.metadata.version(distributions[0]) if distributions else None


def versions(environment):
    found = {"python": platform.python_version()}
    of_its_own = type(environment.unwrapped).__module__.partition(".")[0]
    for name in ("gymnasium", "numpy", of_its_own, *DECISIVE):
        of_name = version(name)
        if of_name is not None:
            found[name] = of_name
    return list(found.items())


def observed(space):
    """An observation space, as the other end is told of it."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return {"count": int(space.n)}
    if not isinstance(space, spaces.Box):
        raise Refused(unsupported=f"observations are {space}, but only Box and Discrete can be used")
    if str(space.dtype) not in ("float32", "float64", "uint8"):
        raise Refused(unsupported=f"observations are of type {space.dtype}, but only float32, float64 and uint8 can be used")
    return {"shape": list(space.shape), "dtype": str(space.dtype)}


def done(space):
    """An action space, likewise."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return {"count": int(space.n)}
    if not isinstance(space, spaces.Box):
        raise Refused(unsupported=f"actions are {space}, but only Box and Discrete can be used")
    if str(space.dtype) not in ("float32", "float64"):
        raise Refused(unsupported=f"actions are of type {space.dtype}, but of Box only float32 and float64 can be used")
    return {"shape": list(space.shape), "dtype": str(space.dtype)}


class Rows:
    """The environments, and the arrays that the other end sees, too."""

    def __init__(self, np, environments, layout):
        with open(layout["path"], "r+b") as file:
            memory = mmap.mmap(file.fileno(), layout["size"])
        count = len(environments)

        def array(name, dtype, shape=()):
            entries = count * int(np.prod(shape, dtype=np.int64))
            return np.frombuffer(memory, dtype, entries, layout[name]).reshape((count, *shape))

        self.np, self.environments = np, environments
        self.observation, self.action = environments[0].observation_space, environments[0].action_space
        self.numbered = hasattr(self.observation, "n")
        if self.numbered:
            self.observations = array("observations", np.int32)
        else:
            self.observations = array("observations", self.observation.dtype, self.observation.shape)
        if hasattr(self.action, "n"):
            self.actions = array("actions", np.int64)
        else:
            self.actions = array("actions", np.float64, self.action.shape)
        self.rewards = array("rewards", np.float64)
        self.terminated = array("terminated", np.uint8)
        self.truncated = array("truncated", np.uint8)
        self.goes_on = array("goes_on", np.uint8)
        self.seeds = array("seeds", np.int32)

    def chosen(self):
        """What is done in each row. Numbers of a policy have no bounds: the nearest action that there is."""
        if hasattr(self.action, "n"):
            return self.actions + int(self.action.start)
        within = self.np.clip(self.actions, self.action.low, self.action.high)
        return within.astype(self.action.dtype)

    def see(self, row, observation):
        if self.numbered:
            number = int(observation) - int(self.observation.start)
            if not 0 <= number < self.observation.n:
                raise ValueError(f"the observation {observation} is not in {self.observation}")
            self.observations[row] = number
            return
        there, space = self.np.asarray(observation), self.observation
        if there.shape != space.shape:
            raise ValueError(f"an observation has shape {there.shape}, but the space says {space.shape}")
        if there.dtype != space.dtype and not self.np.can_cast(there.dtype, space.dtype, "same_kind"):
            raise ValueError(f"an observation is of type {there.dtype}, but the space says {space.dtype}")
        self.observations[row] = there

    def reset(self, row):
        observation, _ = self.environments[row].reset(seed=int(self.seeds[row]))
        self.see(row, observation)

    def step(self, row, action):
        observation, reward, terminated, truncated, _ = self.environments[row].step(action)
        self.see(row, observation)
        self.rewards[row] = float(reward)
        self.terminated[row] = bool(terminated)
        self.truncated[row] = bool(truncated)

    def obey(self, command):
        """Carries out a command in each row that goes on, and says what stands in the way."""
        actions = self.chosen() if command == b"s" else None
        for row in self.np.flatnonzero(self.goes_on).tolist():
            try:
                if command == b"s":
                    self.step(row, actions[row])
                else:
                    self.reset(row)
            except BaseException as error:
                return {"raised": described(error), "row": row}
        return None


def made(channel, id, rows):
    """The environments, after the other end was told what they are."""
    # First, so that it is told which module is missing.
    try:
        import gymnasium
        import numpy as np
    except ModuleNotFoundError as error:
        raise Refused(module=error.name, package="gymnasium==1.4.0") from None
    imported(gymnasium, id)
    # (What the checker looks at in a first step is looked at here in every one.)
    environments = [gymnasium.make(id, disable_env_checker=True) for _ in range(rows)]
    observation, action = environments[0].observation_space, environments[0].action_space
    answer(
        channel,
        {"observation": observed(observation), "action": done(action), "versions": versions(environments[0])},
    )
    return np, environments


def main():
    asked = json.loads(sys.argv[1])
    channel = socket.socket(fileno=os.dup(0))
    # What a library reads is nothing, and what it prints is no answer.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    threading.Thread(target=end_with, args=(channel,), daemon=True).start()
    try:
        np, environments = made(channel, asked["id"], asked["rows"])
        (length,) = struct.unpack("<I", receive(channel, 4))
        rows = Rows(np, environments, json.loads(receive(channel, length)))
    except Refused as refused:
        return answer(channel, refused.what)
    except BaseException as error:
        return answer(channel, {"raised": described(error)})
    answer(channel)
    while True:
        answer(channel, rows.obey(receive(channel, 1)))


main()
