"""Beginning from another run's weights (`--init`) instead of random ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fofa.data import DataSource
from fofa.data.normalising import normalised_as
from fofa.errors import UserError
from fofa.recipes import RECIPES, Phase, Recipe
from fofa.runs import PRETRAINED, Run
from fofa.supernet.channel_sorting import sort_channels
from fofa.supernet.config import SupernetConfig
from fofa.supernet.model import Supernet
from fofa.supernet.weights import fresh_supernet
from fofa.train.settings import InitHead, TrainSettings

LEARNING_RATE = 0.2
"""For 256 images: less than the 0.325 from random weights."""
PRETRAINED_RATE = 0.5
"""From one published network, whose smaller subnets have all to learn. Of EfficientNet-Lite0 on
1,200 photographs in four classes, after 140 steps at 96 and 128 px: at 0.05 the largest was right
about 93.5% of 800 others and the mean of 8 random subnets about 76.6%, at 0.2 92.6% and 80.1%, at
0.5 92.1% and 83.8%, at 1 90.5% and 83.3% (one seed each; docs/experiments.md)."""
RISE_SHARE = 0.1
"""Of the first phase, over which the learning rate rises where no warm-up phase did that."""
CLASSIFIER = "head.classifier."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A run whose weights another one begins from.

    Attributes:
        head: `kept` where the classes are the same, else `fitted`; `new`, at random, in older runs.
    """

    run: Run
    head: InitHead

    @classmethod
    def of(cls, settings: TrainSettings, data: DataSource) -> Pretrained:
        """The run that the settings name.

        Raises:
            UserError: if there is none, or its weights have changed since this run began.
        """
        assert settings.init is not None
        run = Run.open(Path(settings.init))
        if settings.init_sha256 not in (None, run.weights_checksum()):
            raise UserError(
                f"{run.folder}: its weights have changed since this run began with them"
            )
        same = list(data.class_names) == run.record.class_names
        return cls(run=run, head=settings.init_head or ("kept" if same else "fitted"))

    @property
    def has_statistics(self) -> bool:
        """Whether its running statistics are those that its largest subnet was made with.

        A supernet's are of all its subnets, and of none.
        """
        return self.run.record.recipe == PRETRAINED

    def recorded(self, settings: TrainSettings) -> TrainSettings:
        """Settings that say which weights those were."""
        known = {"init_sha256": self.run.weights_checksum(), "init_head": self.head}
        return settings.model_copy(update=known)

    def check_head(self) -> None:
        """Refuse other classes than the run's, where its head has to stay.

        Raises:
            UserError: saying so.
        """
        if self.head != "kept":
            raise UserError(f"{self.run.folder}: was trained on other classes than this data has")

    def check_fits(self, config: SupernetConfig, recipe: str) -> None:
        """Refuse weights that are not of such a supernet; the number of classes may differ.

        Raises:
            UserError: naming the difference.
        """
        found = self.run.record.supernet
        for field, what in (
            ("family", "of the family"),
            ("kind", "of the space"),
            ("width_mult", "of width"),
            ("kernel_mode", "of kernel mode"),
            ("max_kernels", "with kernels"),
        ):
            own, other = getattr(config, field), getattr(found, field)
            if own != other:
                raise UserError(
                    f"--init {self.run.folder}: its supernet is {what} {other}, {recipe} trains "
                    f"one {what} {own}"
                )

    def supernet(self, config: SupernetConfig, seed: int, *, is_sorted: bool = False) -> Supernet:
        """Its weights, the important channels first, with a new head where classes differ.

        The largest subnet computes the same as before, up to the head. So do the smaller ones
        where they have been trained: then channels are sorted only within what these have of them.
        """
        source = self.run.load_supernet()
        were_trained = self.run.record.recipe in RECIPES
        smaller = self.run.record.supernet.family.expands[:-1] if were_trained else ()
        if not is_sorted:
            sort_channels(source, smaller)
        supernet = fresh_supernet(config, seed)
        state = source.state_dict()
        if self.head != "kept":
            state |= {k: v for k, v in supernet.state_dict().items() if k.startswith(CLASSIFIER)}
        supernet.load_state_dict(state)
        return supernet

    def data(self, source: DataSource) -> DataSource:
        """The same images, normalised as the weights want them."""
        return normalised_as(source, self.run.record.mean, self.run.record.std)


def without_warmup(recipe: Recipe) -> Recipe:
    """A recipe for weights that are good already: no phase that only warms the largest up.

    The learning rate still rises over a little of what follows.
    """
    first, *rest = recipe.phases
    if not _only_warms_up(first) or not rest:
        return recipe
    following = rest[0]
    if not following.warmup_epochs:
        rise = RISE_SHARE * following.epochs
        following = replace(following, warmup_epochs=rise, epochs=following.epochs - rise)
    following = replace(following, epochs=following.epochs + first.warmup_epochs)
    return replace(recipe, phases=(following, *rest[1:]))


def _only_warms_up(phase: Phase) -> bool:
    return not phase.epochs and phase.anchors == ("largest",) and not phase.num_random
