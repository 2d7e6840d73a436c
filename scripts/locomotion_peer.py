"""ProMP's meta-iteration on a half-cheetah with directions, as one would write it with Gymnasium and PyTorch: what the preset
`promp-cheetah-direction` is compared with. The sizes, the reward and the formulas are the preset's.

    pip install gymnasium==1.4.0 mujoco==3.17.0 imageio packaging torch
    python scripts/locomotion_peer.py --iterations 4            # a row of returns and seconds by phase an iteration, and medians

- Sampling: two processes, each with the environments of half of the tasks, in which a policy acts in all trajectories at once (NumPy,
  single precision, as many products as there are tasks). Parameters go there, and trajectories come back, once.
- Gradients: PyTorch, single precision, two threads; all tasks at once, by products of stacks.
"""
import argparse
import multiprocessing
import os
import statistics
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # Of a process that samples.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # Of PyTorch's threads: where cores are busy, to spin costs more than to wake.
import gymnasium
import mujoco
import numpy as np

WORKERS = 2
HIDDEN, SEEN, DONE = 64, 17, 6
SHAPES = {"w1": (SEEN, HIDDEN), "b1": (1, HIDDEN), "w2": (HIDDEN, HIDDEN), "b2": (1, HIDDEN), "w3": (HIDDEN, DONE), "b3": (1, DONE)}
SHAPES["log_std"] = (1, DONE)
GAMMA, LAMBDA, INNER_RATE, OUTER_RATE, OUTER_STEPS, CLIP, KL_PRICE = 0.99, 1.0, 0.1, 1e-3, 5, 0.3, 5e-4


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in [("iterations", 4), ("tasks", 40), ("trajectories", 20), ("horizon", 100), ("seed", 0)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def work(pipe, tasks, trajectories, horizon, seed):
    """Samples whenever it is told directions and parameters, [tasks, ...] each: observations, actions and rewards, [tasks, N, H, ...]."""

    def make():
        # As the papers have it: velocity times direction (the weight, which is set below) - 0.05 |control|^2. Without wrappers.
        return gymnasium.make("HalfCheetah-v5", ctrl_cost_weight=0.05, disable_env_checker=True).unwrapped

    # Each would say that its model has an attribute that is deprecated, and write it to a file.
    mujoco.set_mju_user_warning(lambda _: None)
    environments = [[make() for _ in range(trajectories)] for _ in range(tasks)]
    rng = np.random.default_rng(seed)
    for number, environment in enumerate(sum(environments, [])):
        environment.reset(seed=seed * 100_000 + number)
    each = (tasks, trajectories, horizon)
    while (told := pipe.recv()) is not None:
        directions, p = told
        observations, actions = np.empty((*each, SEEN), np.float32), np.empty((*each, DONE), np.float32)
        rewards = np.empty(each, np.float32)
        seen = np.empty((tasks, trajectories, SEEN), np.float32)
        std = np.exp(p["log_std"])
        for i, row in enumerate(environments):
            for j, environment in enumerate(row):
                environment._forward_reward_weight = directions[i]
                seen[i, j] = environment.reset()[0]
        for t in range(horizon):
            hidden = np.tanh(seen @ p["w1"] + p["b1"])
            hidden = np.tanh(hidden @ p["w2"] + p["b2"])
            action = hidden @ p["w3"] + p["b3"] + std * rng.standard_normal((tasks, trajectories, DONE), np.float32)
            observations[:, :, t], actions[:, :, t] = seen, action
            controls = np.clip(action / 10, -1, 1)
            for i, row in enumerate(environments):
                for j, environment in enumerate(row):
                    seen[i, j], rewards[i, j, t], _, _, _ = environment.step(controls[i, j])
        pipe.send((observations, actions, rewards))


def main():
    import torch

    args = options()
    torch.set_num_threads(2)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    shares = np.array_split(np.arange(args.tasks), WORKERS)
    pipes, processes = [], []
    context = multiprocessing.get_context("spawn")
    for number, share in enumerate(shares):
        here, there = context.Pipe()
        given = (there, len(share), args.trajectories, args.horizon, WORKERS * args.seed + number)
        processes.append(context.Process(target=work, args=given, daemon=True))
        processes[-1].start()
        pipes.append(here)

    def stacked(theta):
        return {name: x.expand(args.tasks, *SHAPES[name]) for name, x in theta.items()}

    def sample(directions, thetas):
        numbers = {name: x.detach().numpy() for name, x in thetas.items()}
        for pipe, share in zip(pipes, shares):
            pipe.send((directions[share], {name: x[share] for name, x in numbers.items()}))
        parts = zip(*(pipe.recv() for pipe in pipes))
        return [torch.from_numpy(np.concatenate(part)) for part in parts]

    def backwards(x, factor):
        """x_t + factor x_{t+1} + factor^2 x_{t+2} ..."""
        sums, running = torch.empty_like(x), torch.zeros_like(x[..., 0])
        for t in reversed(range(x.shape[-1])):
            running = x[..., t] + factor * running
            sums[..., t] = running
        return sums

    def prepare(thetas, observations, actions, rewards):
        """Rows of all trajectories of a task, with normalised advantages by a linear baseline, and what sampled them."""
        rewards, rows = rewards.double(), (args.tasks, args.trajectories * args.horizon)
        returns = backwards(rewards, GAMMA)
        time = (torch.arange(args.horizon, dtype=torch.float64) / 100)[:, None].expand(*rewards.shape, 1)
        clipped = observations.double().clip(-10, 10)
        features = torch.cat([clipped, clipped**2, time, time**2, time**3, torch.ones_like(time)], -1).reshape(*rows, -1)
        gram = features.mT @ features + 1e-5 * torch.eye(features.shape[-1], dtype=torch.float64)
        weights = torch.linalg.solve(gram, features.mT @ returns.reshape(*rows, 1))
        values = (features @ weights).reshape(rewards.shape)
        after = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], -1)
        advantages = backwards(rewards + GAMMA * after - values, GAMMA * LAMBDA).reshape(rows)
        advantages = (advantages - advantages.mean(-1, True)) / (advantages.std(-1, correction=0, keepdim=True) + 1e-8)
        data = {"seen": observations.reshape(*rows, SEEN), "done": actions.reshape(*rows, DONE), "advantages": advantages.float()}
        with torch.no_grad():
            data["mean"], data["log_std"] = distribution(thetas, data["seen"])
            data["log_prob"] = log_prob(data["mean"], data["log_std"], data["done"])
        return data

    def distribution(thetas, seen):
        hidden = torch.tanh(torch.baddbmm(thetas["b1"], seen, thetas["w1"]))
        hidden = torch.tanh(torch.baddbmm(thetas["b2"], hidden, thetas["w2"]))
        return torch.baddbmm(thetas["b3"], hidden, thetas["w3"]), thetas["log_std"]

    def log_prob(mean, log_std, done):
        return (-0.5 * ((done - mean) * torch.exp(-log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)).sum(-1)

    def kl(data, mean, log_std):
        wider = data["log_std"] - log_std
        squares = torch.exp(2 * wider) + ((data["mean"] - mean) * torch.exp(-log_std)) ** 2
        return (0.5 * squares - 0.5 - wider).sum(-1).mean()

    def adapt(thetas, data, mean, log_std, differentiably):
        """An inner step of ascent of the ratio's surrogate (LVC), of each task."""
        ratio = torch.exp(log_prob(mean, log_std, data["done"]) - data["log_prob"])
        value = (ratio * data["advantages"]).mean(-1).sum()
        gradient = torch.autograd.grad(value, list(thetas.values()), create_graph=differentiably)
        return {name: x + INNER_RATE * g for (name, x), g in zip(thetas.items(), gradient)}

    def outer_loss(theta, before, after):
        thetas = stacked(theta)
        mean, log_std = distribution(thetas, before["seen"])
        adapted = adapt(thetas, before, mean, log_std, True)
        ratio = torch.exp(log_prob(*distribution(adapted, after["seen"]), after["done"]) - after["log_prob"])
        advantages = after["advantages"]
        gain = torch.minimum(ratio * advantages, ratio.clip(1 - CLIP, 1 + CLIP) * advantages).mean()
        return KL_PRICE * kl(before, mean, log_std) - gain

    theta = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    for name in ["w1", "w2", "w3"]:
        torch.nn.init.xavier_uniform_(theta[name])
    for x in theta.values():
        x.requires_grad_()
    optimiser = torch.optim.Adam(theta.values(), OUTER_RATE)
    # The processes have made their environments when they answer.
    sample(np.ones(args.tasks), stacked(theta))

    phases = ["sample", "adapt", "outer", "total"]
    print("iteration  return_0  return_1" + "".join(f"{phase + '_s':>10}" for phase in phases))
    rows = []
    for iteration in range(args.iterations):
        seconds = dict.fromkeys(phases, 0.0)
        begin = last = time.perf_counter()

        def lap(phase):
            nonlocal last
            now = time.perf_counter()
            seconds[phase] += now - last
            last = now

        directions = rng.choice([-1.0, 1.0], args.tasks)
        thetas = stacked(theta)
        sampled = sample(directions, thetas)
        lap("sample")
        before = prepare(thetas, *sampled)
        adapted = adapt(thetas, before, *distribution(thetas, before["seen"]), False)
        lap("adapt")
        sampled_after = sample(directions, adapted)
        lap("sample")
        after = prepare(adapted, *sampled_after)
        lap("adapt")
        for _ in range(OUTER_STEPS):
            optimiser.zero_grad()
            outer_loss(theta, before, after).backward()
            optimiser.step()
        lap("outer")
        seconds["total"] = last - begin
        returns = [rewards.sum(-1).mean().item() for _, _, rewards in [sampled, sampled_after]]
        rows.append(seconds)
        print(f"{iteration:9}" + "".join(f"{x:10.3f}" for x in returns + list(seconds.values())), flush=True)
    medians = [statistics.median(row[phase] for row in rows) for phase in phases]
    print(f"{'medians':29}" + "".join(f"{x:10.3f}" for x in medians))
    for pipe, process in zip(pipes, processes):
        pipe.send(None)
        process.join()


if __name__ == "__main__":
    main()
