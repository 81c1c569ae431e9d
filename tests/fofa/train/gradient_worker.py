"""One process of a job: the averaged gradients of a step, written to a file per process.

Started by `test_many_processes.py`, under torchrun or alone. BatchNorm runs in evaluation mode: in
training, every process normalises with the statistics of its own images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from fofa.data import TrainOrder, open_data
from fofa.distributed import connected, find_place
from fofa.recipes import get_recipe
from fofa.supernet.weights import fresh_supernet
from fofa.train.schedule import TrainPlan
from fofa.train.step import backward_one_at_a_time, backward_shared

GLOBAL_BATCH = 16


def main(folder: Path, recipe_name: str, way: str) -> None:
    torch.set_num_threads(1)
    recipe, place = get_recipe(recipe_name), find_place("cpu")
    data = open_data("shapes", train_fraction=0.02)
    order = TrainOrder(
        num_images=data.num_train,
        batch_size=GLOBAL_BATCH // place.world_size,
        seed=5,
        rank=place.rank,
        world_size=place.world_size,
    )
    plan = TrainPlan.of(
        recipe, resolutions=(16, 24), seed=5, steps_per_epoch=5, global_batch=GLOBAL_BATCH
    )
    step = plan.num_steps - 2
    config = recipe.supernet_config(width_mult=0.25, num_classes=10)
    supernet = fresh_supernet(config, seed=5).double().eval()
    teacher = fresh_supernet(config, seed=6).double().eval().extract(recipe.largest())
    backward = backward_shared if way == "shared" else backward_one_at_a_time
    with connected(place):
        batches = data.train_batches(order, range(step, step + 1), plan.resolution)
        images, labels = next(iter(batches))
        backward(
            supernet,
            plan.draw(step).subnets,
            plan.phase_at(step).phase.loss,
            images.double(),
            labels,
            teacher=teacher if recipe_name == "ofa" else None,
        )
        place.average_gradients(supernet.parameters())
    gradients = {
        name: parameter.grad.contiguous()
        for name, parameter in supernet.named_parameters()
        if parameter.grad is not None
    }
    save_file(gradients, folder / f"{place.rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
