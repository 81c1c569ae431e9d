"""What a run is made of: all that follows from its settings and its data before it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fofa.data import DataSource, TrainOrder
from fofa.distributed import Processes
from fofa.recipes import Recipe, get_recipe
from fofa.space import Architecture, Subnet, parse_architecture
from fofa.supernet.config import SupernetConfig
from fofa.supernet.weights import fresh_supernet
from fofa.train.finetune import finetune_recipe, make_teacher
from fofa.train.learner import Learner, on_device
from fofa.train.pretrained import Pretrained, without_warmup
from fofa.train.reporting import CHOSEN
from fofa.train.schedule import IMAGES_PER_LEARNING_RATE, TrainPlan
from fofa.train.settings import RATE_IMAGES, RunOptions, TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Settings with their recipe, data, order of images, plan of steps and supernet.

    Raises:
        UserError: if the recipe is not known or the data is smaller than a step.
    """

    settings: TrainSettings
    recipe: Recipe
    data: DataSource
    order: TrainOrder
    plan: TrainPlan
    config: SupernetConfig
    pretrained: Pretrained | None = None

    @classmethod
    def of(
        cls,
        settings: TrainSettings,
        data: DataSource,
        processes: Processes,
        recipe: Recipe | None = None,
    ) -> Setup:
        """By default with the recipe that the settings name."""
        pretrained = None
        if settings.init is not None:
            pretrained = Pretrained.of(settings, data)
            settings, data = pretrained.recorded(settings), pretrained.data(data)
        if settings.architecture is not None and pretrained is not None:
            pretrained.check_head()
            subnet = _architecture(settings).subnet
            recipe = finetune_recipe(pretrained.run.record.supernet, subnet)
        chosen = adapted(recipe or get_recipe(settings.recipe), settings)
        order = TrainOrder(
            num_images=data.num_train,
            batch_size=settings.batch_size,
            seed=settings.seed,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        config = chosen.supernet_config(
            family=settings.family,
            width_mult=settings.width_mult,
            num_classes=len(data.class_names),
        )
        if pretrained is not None:
            pretrained.check_fits(config, settings.recipe)
        return cls(
            settings=settings,
            recipe=chosen,
            data=data,
            order=order,
            plan=plan_of(chosen, settings, order),
            config=config,
            pretrained=pretrained,
        )

    @property
    def watched(self) -> dict[str, Subnet]:
        """The subnets that are validated while training goes on, by their roles."""
        family = self.config.family
        if self.settings.architecture is not None:
            return {CHOSEN: _architecture(self.settings).subnet}
        return {"largest": self.recipe.largest(family), "smallest": self.recipe.smallest(family)}

    def with_epoch_scale(self, epoch_scale: float) -> Setup:
        """The same for another length."""
        settings = self.settings.model_copy(update={"epoch_scale": epoch_scale})
        plan = plan_of(self.recipe, settings, self.order)
        return replace(self, settings=settings, plan=plan)

    def learner(self, processes: Processes, options: RunOptions) -> Learner:
        """A supernet at its beginning, the same in every process."""
        settings = self.settings
        if self.pretrained is not None:
            alone = settings.architecture is not None
            supernet = self.pretrained.supernet(self.config, settings.seed, is_sorted=alone)
        else:
            supernet = fresh_supernet(
                self.config, settings.seed, zero_init_residual=settings.zero_init_residual
            )
        teacher = None
        if self.recipe.begins_with_teacher:
            placed = on_device(supernet, processes.device)
            teacher = make_teacher(placed, self.data, settings.resolutions[0])
        if options.compile_blocks:
            supernet.compile_blocks()
        return Learner.of(
            self.recipe,
            supernet,
            processes,
            teacher=teacher,
            precision=settings.precision,
            one_at_a_time=options.one_at_a_time,
        )


def _architecture(settings: TrainSettings) -> Architecture:
    """The network that is trained alone."""
    assert settings.architecture is not None
    return parse_architecture(settings.architecture, settings.family)


def plan_of(recipe: Recipe, settings: TrainSettings, order: TrainOrder) -> TrainPlan:
    """The steps of a run, before any of them is rescaled to a budget."""
    return TrainPlan.of(
        recipe,
        resolutions=settings.resolutions,
        seed=settings.seed,
        steps_per_epoch=order.steps_per_epoch,
        global_batch=order.global_batch,
        epoch_scale=settings.epoch_scale,
        family=settings.family,
    )


def adapted(recipe: Recipe, settings: TrainSettings) -> Recipe:
    """The recipe with the learning rate that the settings ask for, and what a good start needs.

    The rate is the highest one's; the phases' rates keep their proportions.
    """
    if settings.init_head in ("kept", "fitted"):
        recipe = without_warmup(recipe)
    if settings.learning_rate is None:
        return recipe
    highest = max(phase.learning_rate for phase in recipe.phases)
    factor = settings.learning_rate * IMAGES_PER_LEARNING_RATE / RATE_IMAGES / highest
    phases = tuple(replace(p, learning_rate=factor * p.learning_rate) for p in recipe.phases)
    return replace(recipe, phases=phases)
